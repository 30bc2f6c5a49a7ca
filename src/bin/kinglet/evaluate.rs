//! `kinglet evaluate`: accuracy and latency of a model on questions with expected answers.

use std::time::Instant;

use kinglet::Model;
use serde_json::{Value, json};

use crate::args::Evaluate;
use crate::failure::{Failure, Outcome};
use crate::files;
use crate::metrics::{self, LatencyStatistics, Pair};
use crate::output::Output;
use crate::progress::Meter;

/// A question and its expected answer.
type Case = (String, String);

pub fn run(model: &Model, args: &Evaluate) -> Outcome<()> {
    let options = args.generation.options_of_text()?;
    let cases = read(args)?;
    let mut bar = Meter::new("cases", Some(cases.len() as u64), false);
    let mut answers = Vec::with_capacity(cases.len());
    let mut times = Vec::new();
    let mut tokens = 0;
    for batch in cases.chunks(args.batch_size) {
        let texts: Vec<&str> = batch.iter().map(|(input, _)| input.as_str()).collect();
        let start = Instant::now();
        let result = model.generate(&texts, &options, None)?;
        // The texts of a batch arrive together.
        times.resize(times.len() + batch.len(), start.elapsed().as_secs_f64() * 1e3);
        for mut outputs in result.outputs {
            let best = if outputs.is_empty() { String::new() } else { outputs.swap_remove(0).text };
            answers.push(best);
        }
        tokens += model.counters().stage(kinglet::Stage::Call).tokens;
        model.reset_counters();
        bar.add(batch.len() as u64);
    }
    drop(bar);
    let pairs: Vec<Pair> = answers.iter().zip(&cases).map(|(answer, (_, e))| (answer.as_str(), e.as_str())).collect();
    let all: f64 = times.chunks(args.batch_size).filter_map(|batch| batch.first()).sum::<f64>() / 1e3;
    let latency = LatencyStatistics::of(&mut times);
    let figures = json!({
        "cases": cases.len(),
        "exact_match": metrics::exact_match(&pairs),
        "bleu": metrics::bleu(&pairs),
        "rouge_l": metrics::rouge_l(&pairs),
        "tokens_per_s": tokens as f64 / all.max(1e-9),
        "latency_ms": {
            "mean": latency.mean, "median": latency.median, "standard_deviation": latency.standard_deviation,
            "p90": latency.p90, "p95": latency.p95, "p99": latency.p99, "min": latency.min, "max": latency.max,
        },
        "precision": model.precision().name(),
        "threads": model.threads(),
        "batch_size": args.batch_size,
    });
    if let Some(path) = &args.answers {
        let lines = answers.iter().zip(&cases).map(|(answer, (input, expected))| {
            json!({ "input": input, "expected": expected, "output": answer, "exact": answer == expected }).to_string()
        });
        let text = lines.collect::<Vec<_>>().join("\n") + "\n";
        std::fs::write(path, text).map_err(|e| Failure::new(format!("{}: {e}", path.display())))?;
    }
    let mut out = Output::new();
    if args.json {
        out.json(&figures)?;
        return out.flush();
    }
    table(&mut out, &figures)?;
    out.flush()
}

fn table(out: &mut Output, figures: &Value) -> Outcome<()> {
    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    out.line(format_args!("cases            {:>10}", figures["cases"]))?;
    out.line(format_args!("exact match    % {:>10.2}", 100.0 * number(&figures["exact_match"])))?;
    out.line(format_args!("BLEU             {:>10.2}", number(&figures["bleu"])))?;
    out.line(format_args!("ROUGE-L          {:>10.4}", number(&figures["rouge_l"])))?;
    out.line(format_args!("tokens/s         {:>10.1}", number(&figures["tokens_per_s"])))?;
    let latency = &figures["latency_ms"];
    for (name, key) in [
        ("mean", "mean"),
        ("median", "median"),
        ("std. deviation", "standard_deviation"),
        ("p90", "p90"),
        ("p95", "p95"),
        ("p99", "p99"),
    ] {
        out.line(format_args!("{name:<14}ms {:>10.2}", number(&latency[key])))?;
    }
    Ok(())
}

/// The cases of the file, or of standard input.
fn read(args: &Evaluate) -> Outcome<Vec<Case>> {
    let name = args.file.as_ref().map_or_else(|| "standard input".into(), |path| path.display().to_string());
    let mut cases = Vec::new();
    for (i, line) in files::lines(args.file.as_deref())?.enumerate() {
        let wrong = |what: String| Failure::new(format!("{name}, line {}: {what}", i + 1));
        let line = line.map_err(|e| wrong(e.to_string()))?;
        if line.trim().is_empty() {
            continue;
        }
        let value: Value = serde_json::from_str(&line).map_err(|e| wrong(format!("not JSON: {e}")))?;
        let field = |key: &str| {
            let text = value.get(key).and_then(Value::as_str).map(String::from);
            text.ok_or_else(|| wrong(format!("field {key:?} is missing or not a string")))
        };
        cases.push((field(&args.input_field)?, field(&args.expected_field)?));
        if args.limit.is_some_and(|limit| cases.len() == limit) {
            break;
        }
    }
    if cases.is_empty() {
        return Err(Failure::new(format!(
            "{name}: holds no cases; expected lines like {{\"input\": …, \"expected\": …}}"
        )));
    }
    Ok(cases)
}
