//! `kinglet bench`: speed on random token ids. The JSON fields have the names that benchmark scripts of other engines use.

use std::time::Instant;

use kinglet::{GenerateOptions, Model, Stage};
use serde_json::json;

use crate::args::{Bench, Task};
use crate::failure::Outcome;
use crate::machine;
use crate::output::Output;
use crate::progress::Meter;
use crate::random::SplitMix64;

const SEED: u64 = 1;

pub fn run(model: &Model, args: &Bench) -> Outcome<()> {
    let (ids, lengths) = SplitMix64(SEED).sequences(args.batch, args.input_tokens, model.vocabulary_size());
    let options = GenerateOptions {
        max_new_tokens: Some(args.output_tokens),
        num_beams: Some(args.beams),
        ignore_eos: true,
        prompt_lookup_num_tokens: args.lookup.prompt_lookup_num_tokens,
        max_matching_ngram_size: args.lookup.max_matching_ngram_size,
        ..GenerateOptions::default()
    };
    // The number of generated tokens.
    let once = || match args.task {
        Task::Embed => model.hidden_states(&ids, &lengths, None, None).map(|_| 0),
        Task::Generate => model
            .generate_ids(&ids, &lengths, &options, None)
            .map(|g| g.outputs.iter().map(|outputs| outputs[0].tokens.len()).sum()),
    };
    let load_ms = model.counters().stage(Stage::Load).nanoseconds as f64 / 1e6;
    let generated: usize = once()?;
    model.reset_counters();
    let mut progress = Meter::new("runs", Some(args.repeat as u64), false);
    let mut times = Vec::with_capacity(args.repeat);
    for _ in 0..args.repeat {
        let start = Instant::now();
        once()?;
        times.push(start.elapsed().as_secs_f64());
        progress.add(1);
    }
    drop(progress);

    let p50 = median(&mut times);
    let tokens = if args.task == Task::Embed { ids.len() } else { generated };
    let tokens_per_s = tokens as f64 / p50;
    let rss = machine::peak_rss_mb();
    let isa = machine::isa(model)?;
    let mut out = Output::new();
    if !args.json {
        table(&mut out, model, p50, tokens_per_s, load_ms, rss)?;
        return out.flush();
    }
    let round = |value: f64, scale: f64| (value * scale).round() / scale;
    out.json(&json!({
        "engine": "kinglet",
        "precision": model.precision().name(),
        "threads": model.threads(),
        "isa": isa,
        "p50_ms": round(p50 * 1e3, 1e3),
        "tokens_per_s": round(tokens_per_s, 10.0),
        "load_ms": round(load_ms, 10.0),
        "peak_rss_mb": rss.map(|rss| round(rss, 10.0)),
    }))?;
    out.flush()
}

/// The figures as a table, with the stage times of the measured runs.
fn table(out: &mut Output, model: &Model, p50: f64, tokens_per_s: f64, load_ms: f64, rss: Option<f64>) -> Outcome<()> {
    let counters = model.counters();
    let latency = counters.latency();
    let ms = |ns: f64| ns / 1e6;
    out.line(format_args!("tokens/s            {tokens_per_s:>12.1}"))?;
    out.line(format_args!("median           ms {:>12.3}", p50 * 1e3))?;
    for (name, ns) in [
        ("mean", latency.mean),
        ("std. deviation", latency.standard_deviation),
        ("p90", latency.p90 as f64),
        ("p95", latency.p95 as f64),
        ("p99", latency.p99 as f64),
    ] {
        out.line(format_args!("{name:<16} ms {:>12.3}", ms(ns)))?;
    }
    out.line(format_args!("load             ms {load_ms:>12.1}"))?;
    if let Some(rss) = rss {
        out.line(format_args!("peak memory     MiB {rss:>12.1}"))?;
    }
    out.line(format_args!(
        "\n{:<10} {:>8} {:>10} {:>12} {:>12} {:>7}",
        "stage", "calls", "items", "tokens", "ms", "share"
    ))?;
    let whole = counters.stage(Stage::Call).nanoseconds.max(1) as f64;
    for stage in Stage::ALL {
        let t = counters.stage(stage);
        if t.calls == 0 {
            continue;
        }
        let (name, ns) = (stage.name(), t.nanoseconds as f64);
        let (time, share) = (ms(ns), 100.0 * ns / whole);
        out.line(format_args!(
            "{name:<10} {:>8} {:>10} {:>12} {time:>12.3} {share:>6.1}%",
            t.calls, t.items, t.tokens
        ))?;
    }
    Ok(())
}

/// The middle value, or the mean of the two middle ones. `times` is not empty.
fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    let middle = times.len() / 2;
    if times.len() % 2 == 1 { times[middle] } else { (times[middle - 1] + times[middle]) / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
