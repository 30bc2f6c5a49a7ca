//! `kinglet suggest-batch-size`.

use std::time::{Duration, Instant};

use kinglet::{BatchGoal, CalibrationOptions, GenerateOptions, Model, Workload};
use serde_json::{Value, json};

use crate::args::SuggestBatchSize;
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::random::SplitMix64;

/// Of each size of a sweep the fastest of so many runs counts.
const RUNS: usize = 3;
/// The most texts of a sweep.
const MOST_TEXTS: usize = 256;

pub fn run(model: &Model, args: &SuggestBatchSize) -> Outcome<()> {
    let workload = Workload {
        input_tokens: args.input_tokens,
        input_spread: args.input_spread,
        output_tokens: args.output_tokens,
        beams: args.beams,
    };
    let goal = match (args.latency, args.memory) {
        (Some(most), _) => BatchGoal::Latency(most),
        (_, Some(most)) => BatchGoal::Memory(most),
        _ => BatchGoal::Throughput,
    };
    let time = Duration::try_from_secs_f64(args.calibration_time).unwrap_or(Duration::MAX);
    let file = args.calibration.as_deref();
    let options = CalibrationOptions { time, file, skip: args.no_calibration, cancellation: None };
    let found = model.suggest_batch_size(&workload, goal, &options)?;
    let round = |value: f64| (value * 1e3).round() / 1e3;
    let mut report = json!({
        "batch_size": found.batch_size,
        "ms": round(1e3 * found.time.as_secs_f64()),
        "texts_per_s": round(found.texts_per_second),
        "tokens_per_s": round(found.tokens_per_second),
        "bytes": found.bytes,
        "within_bound": found.within_bound,
        "explanation": found.explanation,
    });
    if args.sweep {
        report["sweep"] = sweep(model, args, found.batch_size, goal)?;
    }
    let mut out = Output::new();
    if args.json {
        out.json(&report)?;
    } else {
        for (name, key) in [
            ("batch size", "batch_size"),
            ("ms per batch", "ms"),
            ("texts/s", "texts_per_s"),
            ("tokens/s", "tokens_per_s"),
            ("bytes", "bytes"),
        ] {
            out.line(format_args!("{name:<24} {:>14}", report[key].to_string()))?;
        }
        if args.sweep {
            out.line(format_args!("{:<24} {:>14}", "of the best measured", report["sweep"]["share"].to_string()))?;
        }
        out.line(&found.explanation)?;
    }
    out.flush()?;
    if found.within_bound { Ok(()) } else { Err(Failure::new("no batch size keeps the bound")) }
}

/// Measures batches of 1, 2, 4, … texts and of the suggested size: what the best size that keeps a bound in time gives, and the suggested one.
fn sweep(model: &Model, args: &SuggestBatchSize, suggested: usize, goal: BatchGoal) -> Outcome<Value> {
    let mut sizes: Vec<usize> =
        std::iter::successors(Some(1), |n| Some(2 * n)).take_while(|&n| n <= MOST_TEXTS).collect();
    sizes.push(suggested);
    sizes.sort_unstable();
    sizes.dedup();
    // A uniform distribution with the wanted deviation.
    let half = args.input_spread * 3f64.sqrt();
    let bounds = ((args.input_tokens - half).max(1.0) as usize, (args.input_tokens + half).max(1.0) as usize);
    let options = GenerateOptions {
        max_new_tokens: Some(args.output_tokens),
        num_beams: Some(args.beams),
        ignore_eos: true,
        ..GenerateOptions::default()
    };
    let (mut rates, mut best, mut of_suggested) = (Vec::new(), 0f64, 0.0);
    for texts in sizes {
        let (ids, lengths) = SplitMix64(1).sequences(texts, bounds, model.vocabulary_size());
        let once = || -> Outcome<f64> {
            let start = Instant::now();
            if args.output_tokens > 0 {
                model.generate_ids(&ids, &lengths, &options, None)?;
            } else {
                model.hidden_states(&ids, &lengths, None, None)?;
            }
            Ok(start.elapsed().as_secs_f64())
        };
        let mut seconds = f64::INFINITY;
        for _ in 0..RUNS {
            seconds = seconds.min(once()?);
        }
        let rate = texts as f64 / seconds;
        let keeps = !matches!(goal, BatchGoal::Latency(most) if seconds > most.as_secs_f64());
        if keeps {
            best = best.max(rate);
        }
        if texts == suggested {
            of_suggested = rate;
        }
        rates.push(json!({ "batch_size": texts, "texts_per_s": (rate * 1e3).round() / 1e3, "within_bound": keeps }));
    }
    let share = (of_suggested / best * 1e3).round() / 1e3;
    Ok(json!({ "sizes": rates, "share": share.is_finite().then_some(share) }))
}
