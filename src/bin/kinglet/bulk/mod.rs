//! `kinglet run`: a task over files of any length. One thread reads and parses rows, one calls the model, one writes: memory is bounded by
//! the batches between them. See [`manifest`] for how a run goes on after an interruption.

mod manifest;
mod rows;
mod tasks;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use kinglet::{Cancellation, Model, Status};
use serde_json::{Map, Value, json};

use crate::failure::{Failure, Outcome};
use crate::interrupt;
use crate::output;
use crate::progress::Meter;
use crate::run_args::{RowFormat, Run};

use manifest::{Manifest, Output};
use rows::{BadRow, Input, Reader, Row, RowBatch};
use tasks::{Fields, Line, Results, Task};

/// Batches that wait between two threads.
const WAITING: usize = 2;
/// The time between two manifests.
const SAVED: Duration = Duration::from_secs(1);
/// The time in which a signal is noticed.
const NOTICED: Duration = Duration::from_millis(50);

/// What can be said before the model is loaded.
pub struct Plan {
    inputs: Vec<Input>,
    output_format: RowFormat,
    rejected: PathBuf,
}

pub fn plan(args: &Run) -> Outcome<Plan> {
    Task::check(args)?;
    let output_format = match rows::format_of(&args.output) {
        Ok(RowFormat::Text) | Err(_) => {
            let what = format!("--output {}: the name must end in .jsonl or .csv", args.output.display());
            return Err(Failure::usage(what));
        }
        Ok(format) => format,
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
    Ok(Plan { inputs, output_format, rejected })
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
    task.run(model, &["a"], sample, 0, &Cancellation::new())?;
    let settings = json!({
        "task": args.task.name(),
        "model": args.model.model.display().to_string(),
        "precision": model.info()["precision"],
        "kinglet": env!("CARGO_PKG_VERSION"),
        "options": task.settings(),
        "fields": json!([args.text_field, args.pair_field, args.keep, args.keep_none]),
        "batch size": args.batch_size,
        "rejected": plan.rejected.display().to_string(),
    });
    interrupt::remember_endings();
    let output = Output::open(&args.output, &plan.rejected, settings, &plan.inputs, (args.overwrite, args.restart))?;
    let before = output.manifest.rows;
    if before > 0 {
        output::note(&format!("going on after {before} rows"));
    }
    let start = Instant::now();
    let manifest = if output.is_finished() { output.finish()? } else { work(model, args, plan, &task, output)? };
    report(args, plan, &manifest, before, start.elapsed())
}

fn work(model: &Model, args: &Run, plan: &Plan, task: &Task, output: Output) -> Outcome<Manifest> {
    let (batches, to_run) = sync_channel::<Outcome<RowBatch>>(WAITING);
    let fields = rows::Fields { text: args.text_field.clone(), pair: args.pair_field.clone() };
    let (inputs, place, size) = (plan.inputs.clone(), output.manifest.place.clone(), args.batch_size);
    let mut first = output.manifest.rows;
    // It is not joined: it may wait for standard input.
    thread::spawn(move || {
        let mut reader = Reader::new(inputs, fields, place);
        while let Some(batch) = reader.batch(size).transpose() {
            let is_last = batch.is_err();
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
        let writer = Writer { model, args, task, format: plan.output_format, inputs: &plan.inputs, output };
        let writer = scope.spawn(move || writer.run(to_write));
        let mut failure = None;
        while !cancellation.is_cancelled() {
            // Not longer, because a signal may come while nothing is read.
            let batch = match to_run.recv_timeout(NOTICED) {
                Ok(Ok(batch)) => batch,
                Ok(Err(error)) => {
                    failure = Some(error);
                    break;
                }
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => continue,
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
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
        let output =
            writer.join().map_err(|_| Failure::new("the results could not be written: a fault of kinglet"))??;
        match failure {
            Some(failure) => Err((output.manifest.rows, failure)),
            None if cancellation.is_cancelled() => Err((output.manifest.rows, Failure::new("stopped"))),
            None => Ok(output),
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

struct Writer<'a> {
    model: &'a Model,
    args: &'a Run,
    task: &'a Task,
    format: RowFormat,
    inputs: &'a [Input],
    output: Output,
}

impl Writer<'_> {
    /// Writes what comes, until no more does.
    fn run(mut self, batches: Receiver<Done>) -> Outcome<Output> {
        let mut meter = Meter::new("rows", None, false);
        let mut saved = Instant::now();
        for done in batches {
            meter.add(done.batch.rows.len() as u64);
            self.write(done)?;
            if saved.elapsed() >= SAVED {
                self.output.save()?;
                saved = Instant::now();
            }
        }
        self.output.save()?;
        Ok(self.output)
    }

    fn write(&mut self, done: Done) -> Outcome<()> {
        let Done { batch, results, places } = done;
        let (mut written, mut rejected) = (Vec::new(), Vec::new());
        let mut places = places.into_iter();
        for (input, number, row) in batch.rows {
            self.output.manifest.rows += 1;
            let refused = match row {
                Err(bad) => Some(bad),
                Ok(Row { fields, text, .. }) => {
                    let (kept, source) = self.kept(fields);
                    let result = match (places.next(), self.taken(&kept)) {
                        (_, Some(name)) => Err(format!("the task writes a field {name:?} of its own; see --keep")),
                        (Some(Ok((result, row))), _) => {
                            let fields = Fields { model: self.model, results: &results[result], row, text: &text };
                            self.line(&Line { kept: &kept, fields }, &mut written)
                        }
                        (Some(Err(reason)), _) => Err(reason),
                        (None, _) => Err("was not processed: a fault of kinglet".into()),
                    };
                    result.err().map(|reason| {
                        let whole: Map<String, Value> = kept.into_iter().chain(source).collect();
                        BadRow { reason, source: Value::Object(whole).to_string() }
                    })
                }
            };
            if let Some(BadRow { reason, source }) = refused {
                self.output.manifest.rejected += 1;
                let line = json!({"input": self.inputs[input].name(), "line": number, "reason": reason, "row": source});
                rejected.extend(format!("{line}\n").into_bytes());
            }
        }
        self.output.append(&written, &rejected)?;
        self.output.manifest.place = batch.end;
        Ok(())
    }

    /// The fields that are kept, and the others.
    fn kept(&self, fields: Map<String, Value>) -> (Map<String, Value>, Map<String, Value>) {
        let keeps =
            |name: &String| !self.args.keep_none && (self.args.keep.is_empty() || self.args.keep.contains(name));
        fields.into_iter().partition(|(name, _)| keeps(name))
    }

    /// A field that would be there twice.
    fn taken(&self, kept: &Map<String, Value>) -> Option<&'static str> {
        self.task.fields().iter().copied().find(|&name| kept.contains_key(name))
    }

    /// Appends a row, or says why it cannot be written.
    fn line(&mut self, line: &Line<'_>, written: &mut Vec<u8>) -> Result<(), String> {
        if self.format == RowFormat::Csv {
            let cells = line.cells();
            let columns = self.columns(line.kept, written)?;
            if let Some((name, _)) = cells.iter().find(|(name, _)| !columns.contains(name)) {
                return Err(format!(
                    "field {name:?} is no column of the output, which are those of the first row; see --keep"
                ));
            }
            let cell = |column: &String| cells.iter().find(|(name, _)| name == column).map_or("", |(_, cell)| cell);
            record(columns.iter().map(cell), written)?;
        } else {
            serde_json::to_writer(&mut *written, line).map_err(|error| error.to_string())?;
            written.push(b'\n');
        }
        self.output.manifest.truncated += u64::from(line.fields.truncated());
        Ok(())
    }

    /// The columns of CSV; the first row, which has them, gets the header before it.
    fn columns(&mut self, first: &Map<String, Value>, written: &mut Vec<u8>) -> Result<Vec<String>, String> {
        if let Some(columns) = &self.output.manifest.columns {
            return Ok(columns.clone());
        }
        let mut columns: Vec<String> =
            if self.args.keep.is_empty() { first.keys().cloned().collect() } else { self.args.keep.clone() };
        columns.extend(self.task.fields().iter().map(|&name| name.into()));
        record(columns.iter().map(String::as_str), written)?;
        self.output.manifest.columns = Some(columns.clone());
        Ok(columns)
    }
}

/// Appends a record of CSV.
fn record<'a>(cells: impl Iterator<Item = &'a str>, written: &mut Vec<u8>) -> Result<(), String> {
    let mut writer = csv::Writer::from_writer(written);
    writer.write_record(cells).and_then(|()| Ok(writer.flush()?)).map_err(|error| error.to_string())
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
