//! `kinglet run`: a task over files of any length. One thread reads and parses rows, one calls the model, one writes: memory is bounded by
//! the batches between them. See [`manifest`] for how a run goes on after an interruption.

// What only columns use is unused in a build without them.
#![cfg_attr(not(feature = "parquet"), allow(dead_code))]

#[cfg(feature = "parquet")]
mod columns;
#[cfg(not(feature = "parquet"))]
#[path = "no_columns.rs"]
mod columns;
mod manifest;
mod rows;
mod tasks;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use kinglet::{Cancellation, Model, Status};
use serde_json::json;

use crate::failure::{Failure, Outcome};
use crate::interrupt;
use crate::output;
use crate::run_args::{RowFormat, Run};

use columns::{Columns, Source};
use manifest::{Manifest, Output};
use rows::{Input, Reader, Row, RowBatch};
use tasks::{Results, Task};
use writer::Writer;

/// Batches that wait between two threads.
const WAITING: usize = 2;
/// The time in which a signal is noticed.
const NOTICED: Duration = Duration::from_millis(50);

/// What can be said before the model is loaded.
pub struct Plan {
    inputs: Vec<Input>,
    output_format: RowFormat,
    rejected: PathBuf,
    fields: rows::Fields,
    /// Of inputs that have columns: those that the output has.
    columns: Option<Columns>,
    /// A source of columns on standard input.
    stream: Mutex<Option<Source>>,
}

pub fn plan(args: &Run) -> Outcome<Plan> {
    Task::check(args)?;
    let output_format = match rows::format_of(&args.output) {
        Ok(format) if format != RowFormat::Text && !is_stream(&args.output) => format,
        _ => {
            let names = ".jsonl, .csv, .parquet or .arrow";
            return Err(Failure::usage(format!("--output {}: the name must end in {names}", args.output.display())));
        }
    };
    let mut inputs = Vec::new();
    for given in &args.input {
        if given == "-" {
            inputs.push(Input { path: None, format: args.input_format.unwrap_or(RowFormat::Jsonl) });
            continue;
        }
        for path in matching(given)? {
            let format = args.input_format.map_or_else(|| rows::format_of(&path), Ok)?;
            inputs.push(Input { path: Some(path), format });
        }
    }
    if inputs.iter().filter(|input| input.path.is_none()).count() > 1 {
        return Err(Failure::usage("--input -: standard input can be read once"));
    }
    let rejected = args.rejected.clone().unwrap_or_else(|| {
        let mut name = args.output.clone().into_os_string();
        name.push(".rejected.jsonl");
        name.into()
    });
    let written: Vec<PathBuf> =
        [&args.output, &rejected].into_iter().filter_map(|path| path.canonicalize().ok()).collect();
    for path in inputs.iter().filter_map(|input| input.path.as_ref()) {
        if path.canonicalize().is_ok_and(|path| written.contains(&path)) {
            return Err(Failure::usage(format!("{}: is read and written", path.display())));
        }
    }
    if args.output == rejected {
        return Err(Failure::usage("--rejected: is the output"));
    }
    let as_columns = output_format.has_columns();
    columns::check_build(inputs.iter().find(|input| input.format.has_columns()).map(Input::name), as_columns, args)?;
    let fields = rows::Fields {
        text: args.text_field.clone(),
        pair: args.pair_field.clone(),
        only: args.keep.clone(),
        none: args.keep_none,
        as_columns,
    };
    let (columns, stream) = look_at(&inputs, &fields)?;
    Ok(Plan { inputs, output_format, rejected, fields, columns, stream: Mutex::new(stream) })
}

/// The stream of Arrow, which an output cannot be: it is a file with a footer.
fn is_stream(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("arrows"))
}

/// Opens the inputs that have columns, and returns the columns that the output has of them.
fn look_at(inputs: &[Input], fields: &rows::Fields) -> Outcome<(Option<Columns>, Option<Source>)> {
    let (mut first, mut stream) = (None::<(String, Columns)>, None);
    for input in inputs.iter().filter(|input| input.format.has_columns()) {
        let source = Source::open(input, fields, 0)?;
        match &mut first {
            Some((name, columns)) if fields.as_columns => columns::join(columns, source.columns()).map_err(|what| {
                Failure::usage(format!(
                    "{}: {what} in {name}; the columns of an output are those of all inputs",
                    input.name()
                ))
            })?,
            Some(_) => {}
            none => *none = Some((input.name(), source.columns().clone())),
        }
        if input.path.is_none() {
            stream = Some(source);
        }
    }
    let other = inputs.iter().find(|input| !input.format.has_columns());
    if let (Some((name, _)), Some(other)) = (first.as_ref().filter(|_| fields.as_columns), other) {
        let what = format!("{} has no columns, and {name} has", other.name());
        return Err(Failure::usage(format!("--input: {what}; for an output with columns all inputs must be alike")));
    }
    Ok((first.map(|(_, columns)| columns), stream))
}

/// The files of a name or a pattern.
fn matching(given: &str) -> Outcome<Vec<PathBuf>> {
    let path = Path::new(given);
    if path.exists() || !given.contains(['*', '?', '[']) {
        return Ok(vec![path.into()]);
    }
    let found = glob::glob(given).map_err(|error| Failure::usage(format!("--input {given}: {error}")))?;
    let found = found.collect::<Result<Vec<_>, _>>().map_err(Failure::new)?;
    match found.is_empty() {
        true => Err(Failure::new(format!("--input {given}: no file has such a name"))),
        false => Ok(found),
    }
}

/// A batch with its results.
struct Done {
    batch: RowBatch,
    results: Vec<Results>,
    /// For each row that could be read: its result, and its place in that; or why it was rejected.
    places: Vec<Result<(usize, usize), String>>,
}

pub fn run(model: &Model, args: &Run, plan: &Plan) -> Outcome<()> {
    let task = Task::new(model, args)?;
    // What fails with any text is no fault of a row.
    let sample = args.pair_field.as_ref().map(|_| &["a"][..]);
    let sample = task.run(model, &["a"], sample, 0, &Cancellation::new())?;
    let taken = |name: &&str| plan.columns.iter().flatten().any(|column| column.name().as_str() == *name);
    if let Some(name) = task.fields().iter().copied().find(taken) {
        return Err(Failure::usage(format!(
            "the task writes a column {name:?} of its own, as the input has; see --keep"
        )));
    }
    let settings = json!({
        "task": args.task.name(),
        "model": args.model.model.display().to_string(),
        "precision": model.info()["precision"],
        "kinglet": env!("CARGO_PKG_VERSION"),
        "options": task.settings(),
        "fields": json!([args.text_field, args.pair_field, args.keep, args.keep_none]),
        "batch size": args.batch_size,
        "row group size": args.row_group_size,
        "rejected": plan.rejected.display().to_string(),
    });
    interrupt::remember_endings();
    let output = Output::open(&args.output, &plan.rejected, settings, &plan.inputs, (args.overwrite, args.restart))?;
    let before = output.manifest.rows;
    if before > 0 {
        output::note(&format!("going on after {before} rows"));
    }
    let start = Instant::now();
    let manifest =
        if output.is_finished() { output.finish()? } else { work((model, args, plan), &task, &sample, output)? };
    report(args, plan, &manifest, before, start.elapsed())
}

fn work(
    (model, args, plan): (&Model, &Run, &Plan),
    task: &Task,
    sample: &Results,
    output: Output,
) -> Outcome<Manifest> {
    let (batches, to_run) = sync_channel::<Outcome<Option<RowBatch>>>(WAITING);
    let (inputs, fields) = (plan.inputs.clone(), plan.fields.clone());
    let (place, size) = (output.manifest.place.clone(), args.batch_size);
    let stream = plan.stream.lock().unwrap_or_else(PoisonError::into_inner).take();
    let mut first = output.manifest.rows;
    let writer = Writer::new((model, args, plan), task, sample, output)?;
    // It is not joined: it may wait for standard input.
    thread::spawn(move || {
        let mut reader = Reader::new(inputs, fields, place, stream);
        loop {
            let batch = reader.batch(size);
            let is_last = !matches!(batch, Ok(Some(_)));
            if batches.send(batch).is_err() || is_last {
                break;
            }
        }
    });
    let (cancellation, over) = (Cancellation::new(), Arc::new(AtomicBool::new(false)));
    let watched = (cancellation.clone(), over.clone());
    thread::spawn(move || {
        while !watched.1.load(Ordering::Relaxed) {
            if interrupt::ending() {
                watched.0.cancel();
                break;
            }
            thread::sleep(NOTICED);
        }
    });
    let (finished, to_write) = sync_channel::<Done>(WAITING);
    let result = thread::scope(|scope| {
        let writer = scope.spawn(move || writer.run(to_write));
        let mut failure = None;
        while !cancellation.is_cancelled() {
            // Not longer, because a signal may come while nothing is read.
            let batch = match to_run.recv_timeout(NOTICED) {
                Ok(Ok(Some(batch))) => batch,
                Ok(Ok(None)) => break,
                Ok(Err(error)) => {
                    failure = Some(error);
                    break;
                }
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => continue,
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => {
                    failure = Some(Failure::new("the rows could not be read: a fault of kinglet"));
                    break;
                }
            };
            let count = batch.rows.len() as u64;
            match process(model, task, batch, first, &cancellation) {
                Ok(done) => {
                    first += count;
                    if finished.send(done).is_err() {
                        // The writer has failed.
                        break;
                    }
                }
                Err(error) => {
                    failure = Some(error.into());
                    break;
                }
            }
        }
        drop(finished);
        let writer =
            writer.join().map_err(|_| Failure::new("the results could not be written: a fault of kinglet"))??;
        match failure {
            Some(failure) => Err((writer.rows(), failure)),
            None if cancellation.is_cancelled() => Err((writer.rows(), Failure::new("stopped"))),
            None => Ok(writer),
        }
        .map_err(|(rows, failure)| {
            Failure::new(format!("{}; {rows} rows are done, and the same command goes on", failure.message()))
        })
    });
    over.store(true, Ordering::Relaxed);
    match result {
        Err(failure) if interrupt::ending() => {
            output::note(&failure.message());
            interrupt::end();
            Err(Failure::Verdict(1))
        }
        result => result?.finish(),
    }
}

/// Runs a batch. Where a text makes the call fail, the others are run without it.
fn process(
    model: &Model,
    task: &Task,
    batch: RowBatch,
    first: u64,
    cancellation: &Cancellation,
) -> kinglet::Result<Done> {
    let good: Vec<&Row> = batch.rows.iter().filter_map(|(.., row)| row.as_ref().ok()).collect();
    let texts: Vec<&str> = good.iter().map(|row| row.text.as_str()).collect();
    let pairs: Vec<&str> = good.iter().filter_map(|row| row.pair.as_deref()).collect();
    let (mut results, mut places, mut left) = (Vec::new(), Vec::new(), Vec::new());
    left.push(0..texts.len());
    while let Some(range) = left.pop() {
        if range.is_empty() {
            continue;
        }
        let pairs = (!pairs.is_empty()).then(|| &pairs[range.clone()]);
        match task.run(model, &texts[range.clone()], pairs, first + range.start as u64, cancellation) {
            Ok(result) => {
                places.extend((0..range.len()).map(|row| Ok((results.len(), row))));
                results.push(result);
            }
            Err(error) if error.status() != Status::InvalidArgument => return Err(error),
            Err(error) if range.len() == 1 => places.push(Err(error.message().to_string())),
            Err(_) => {
                // The first half is taken first.
                let middle = range.start + range.len() / 2;
                left.extend([middle..range.end, range.start..middle]);
            }
        }
    }
    Ok(Done { batch, results, places })
}

fn report(args: &Run, plan: &Plan, manifest: &Manifest, before: u64, time: Duration) -> Outcome<()> {
    let Manifest { rows, rejected, truncated, .. } = manifest;
    let (seconds, now) = (time.as_secs_f64(), rows - before);
    let rate = now as f64 / seconds.max(1e-9);
    if args.json {
        let mut out = output::Output::new();
        out.json(&json!({
            "rows": rows, "rejected": rejected, "truncated": truncated, "rows_now": now, "seconds": seconds,
            "rows_per_second": rate,
        }))?;
        out.flush()?;
    }
    output::note(&format!(
        "{rows} rows in {}, {now} of them now in {seconds:.1} s: {rate:.0} rows/s",
        args.output.display()
    ));
    if *truncated > 0 {
        output::note(&format!("{truncated} texts were too long and were truncated"));
    }
    if *rejected > 0 {
        output::note(&format!("{rejected} rows were rejected: see {}", plan.rejected.display()));
    }
    Ok(())
}
