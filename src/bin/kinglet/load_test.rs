//! `kinglet load-test`: many callers at once, in this process, without a network.

pub mod callers;
mod report;
mod workload;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kinglet::Model;

use crate::args::LoadTest;
use crate::failure::{Failure, Outcome};
use crate::machine;

pub use callers::{Load, Tally};
use report::{BatchFigures, Measured};
pub use workload::{Calling, Workload};

/// The batch to compare with runs until so much time has passed, and so many times at least; the median counts.
const BATCH_TIME: Duration = Duration::from_millis(500);
const BATCH_RUNS: usize = 3;

pub fn run(model: &Model, args: &LoadTest) -> Outcome<()> {
    let workload = Workload::new(model, &args.workload)?;
    let (alone, wanted) = alone(&workload)?;
    let batch = batch(&workload, args.callers, &wanted)?;
    let load = Load {
        callers: args.callers,
        rate: args.rate,
        requests: args.requests,
        duration: args.duration,
        calling: Calling { priority: args.priority(), limit: args.call.limit },
        seed: args.workload.seed,
    };
    let idle = args.bulk.map(|_| callers::run(&load, &workload, &wanted)).transpose()?;
    let rss_before = machine::rss_mb();
    let (load, bulk) = match args.bulk {
        Some(count) => {
            let calling = Calling { priority: args.bulk_priority, limit: None };
            let (load, bulk) = beside_bulk(&load, &workload, &wanted, count, calling)?;
            (load, Some(bulk))
        }
        None => (callers::run(&load, &workload, &wanted)?, None),
    };
    let measured = Measured { alone, batch, idle, load, bulk, rss_before, rss_after: machine::rss_mb() };
    report::print(model, args, &measured)?;
    match measured.differences() {
        0 => Ok(()),
        n => Err(Failure::new(format!("{n} results differ from those of their inputs alone"))),
    }
}

/// Runs each input alone. Returns the hash of each result.
pub fn alone(workload: &Workload) -> Outcome<(Tally, Vec<u64>)> {
    // Not recorded: the first call allocates what later ones reuse.
    workload.call(0, Calling::default())?;
    let tally = Mutex::new(Tally::new()?);
    let start = Instant::now();
    let call = |i| Tally::call(&tally, workload, i, Calling::default(), None, Instant::now());
    let wanted = (0..workload.inputs()).map(call).collect();
    let seconds = start.elapsed().as_secs_f64();
    let tally = tally.into_inner().map_err(Failure::new)?;
    match tally.error {
        Some(error) => Err(Failure::new(error)),
        None => Ok((Tally { seconds, ..tally }, wanted)),
    }
}

/// Runs batches of `texts` inputs.
fn batch(workload: &Workload, texts: usize, wanted: &[u64]) -> Outcome<BatchFigures> {
    let start = Instant::now();
    let mut figures = BatchFigures { texts, ..BatchFigures::default() };
    let mut times = Vec::new();
    workload.batch(0..texts, Calling::default())?;
    while times.len() < BATCH_RUNS || start.elapsed() < BATCH_TIME {
        let begun = Instant::now();
        let answers = workload.batch(0..texts, Calling::default())?;
        times.push(begun.elapsed().as_secs_f64());
        figures.add(&answers, wanted);
    }
    times.sort_by(f64::total_cmp);
    figures.seconds = times[times.len() / 2] * times.len() as f64;
    Ok(figures)
}

/// Runs the callers beside a thread that makes one call of `texts` inputs again and again, and once at least.
fn beside_bulk(
    load: &Load,
    workload: &Workload,
    wanted: &[u64],
    texts: usize,
    calling: Calling,
) -> Outcome<(Tally, BatchFigures)> {
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let bulk = scope.spawn(|| {
            let mut figures = BatchFigures { texts, ..BatchFigures::default() };
            let start = Instant::now();
            while figures.calls == 0 || !ended.load(Ordering::Relaxed) {
                let answers = workload.batch(0..texts, calling)?;
                figures.add(&answers, wanted);
            }
            figures.seconds = start.elapsed().as_secs_f64();
            Ok::<_, kinglet::Error>(figures)
        });
        let load = callers::run(load, workload, wanted);
        ended.store(true, Ordering::Relaxed);
        let bulk = bulk.join().map_err(|_| Failure::new("the bulk call panicked"))?;
        Ok((load?, bulk?))
    })
}
