//! The report of a load test: one JSON value, which the table and the CSV are made of.

use hdrhistogram::Histogram;
use kinglet::Model;
use serde_json::{Value, json};

use crate::args::{LoadTest, ReportFormat, Task};
use crate::failure::Outcome;
use crate::machine;
use crate::output::Output;

use super::callers::Tally;
use super::workload::Answer;

/// Calls of many inputs each.
#[derive(Default)]
pub struct BatchFigures {
    /// Inputs per call.
    pub texts: usize,
    pub calls: usize,
    /// Of all calls.
    pub tokens: usize,
    pub seconds: f64,
    pub differences: usize,
}

impl BatchFigures {
    pub fn add(&mut self, answers: &[Answer], wanted: &[u64]) {
        self.calls += 1;
        self.tokens += answers.iter().map(|answer| answer.tokens).sum::<usize>();
        self.differences += answers.iter().zip(wanted.iter().cycle()).filter(|(answer, w)| answer.hash != **w).count();
    }

    fn texts_per_s(&self) -> f64 {
        (self.texts * self.calls) as f64 / self.seconds
    }

    fn tokens_per_s(&self) -> f64 {
        self.tokens as f64 / self.seconds
    }

    /// The same fields without figures, so that all reports have the same columns.
    fn json(this: Option<&Self>) -> Value {
        json!({
            "texts": this.map(|b| b.texts),
            "calls": this.map(|b| b.calls),
            "ms": this.and_then(|b| round(1e3 * b.seconds / b.calls as f64)),
            "texts_per_s": this.and_then(|b| round(b.texts_per_s())),
            "tokens_per_s": this.and_then(|b| round(b.tokens_per_s())),
        })
    }
}

pub struct Measured {
    /// Each input by itself.
    pub alone: Tally,
    /// One batch of as many inputs as there are callers.
    pub batch: BatchFigures,
    /// The callers without the bulk call.
    pub idle: Option<Tally>,
    pub load: Tally,
    pub bulk: Option<BatchFigures>,
    pub rss_before: Option<f64>,
    pub rss_after: Option<f64>,
}

impl Measured {
    /// Results that differ from those of their inputs alone.
    pub fn differences(&self) -> usize {
        let of_batches = [Some(&self.batch), self.bulk.as_ref()].into_iter().flatten().map(|batch| batch.differences);
        let of_calls = [Some(&self.load), self.idle.as_ref()].into_iter().flatten().map(|tally| tally.differences);
        of_batches.chain(of_calls).sum()
    }

    fn json(&self, model: &Model, args: &LoadTest, isa: &str) -> Value {
        let (load, generates) = (&self.load, args.workload.task == Task::Generate);
        let texts_per_s = load.calls as f64 / load.seconds;
        let (low, high) = args.workload.input_tokens;
        let p99 = |tally: &Tally| tally.latency.value_at_quantile(0.99) as f64;
        json!({
            "engine": "kinglet",
            "task": if generates { "generate" } else { "embed" },
            "loop": if args.rate.is_some() { "open" } else { "closed" },
            "callers": args.callers,
            "rate": args.rate,
            "priority": args.priority().name(),
            "bulk_priority": args.bulk.map(|_| args.bulk_priority.name()),
            "deadline_ms": args.call.limit.map(|limit| limit.as_millis() as u64),
            "inputs": args.workload.inputs,
            "input_tokens": if low == high { low.to_string() } else { format!("{low}-{high}") },
            "output_tokens": generates.then_some(args.workload.output_tokens),
            "beams": generates.then_some(args.workload.beams),
            "sample": generates.then_some(args.workload.sample),
            "seed": args.workload.seed,
            "precision": model.precision().name(),
            "threads": model.threads(),
            "isa": isa,
            "seconds": round(load.seconds),
            "calls": load.calls,
            "errors": load.errors,
            "differences": self.differences(),
            "late_calls": args.rate.map(|_| load.late),
            "texts_per_s": round(texts_per_s),
            "tokens_per_s": round(load.tokens as f64 / load.seconds),
            "latency_ms": distribution(Some(&load.latency)),
            "first_token_ms": distribution(Some(&load.first_token)),
            "output_token_ms": distribution(Some(&load.output_token)),
            "alone": {
                "texts_per_s": round(self.alone.calls as f64 / self.alone.seconds),
                "latency_ms": distribution(Some(&self.alone.latency)),
                "first_token_ms": distribution(Some(&self.alone.first_token)),
                "output_token_ms": distribution(Some(&self.alone.output_token)),
            },
            "batch": BatchFigures::json(Some(&self.batch)),
            "ratio_to_batch": round(texts_per_s / self.batch.texts_per_s()),
            "without_bulk": {
                "latency_ms": distribution(self.idle.as_ref().map(|idle| &idle.latency)),
                "p99_ratio": self.idle.as_ref().and_then(|idle| round(p99(load) / p99(idle))),
            },
            "bulk": BatchFigures::json(self.bulk.as_ref()),
            "rss_before_mb": self.rss_before.map(round),
            "rss_after_mb": self.rss_after.map(round),
            "peak_rss_mb": machine::peak_rss_mb().map(round),
        })
    }
}

/// Four significant digits at least, and thousandths of small numbers: more would not be repeatable.
fn round(value: f64) -> Option<f64> {
    value.is_finite().then(|| (value * 1e3).round() / 1e3)
}

/// All values are `null` if nothing was recorded.
fn distribution(times: Option<&Histogram<u64>>) -> Value {
    let times = times.filter(|times| !times.is_empty());
    let ms = |of: &dyn Fn(&Histogram<u64>) -> f64| times.map(|times| (of(times) / 1e2).round() / 1e4);
    let at = |share: f64| ms(&|times| times.value_at_quantile(share) as f64);
    json!({
        "mean": ms(&Histogram::mean), "p50": at(0.5), "p90": at(0.9), "p95": at(0.95), "p99": at(0.99),
        "max": ms(&|times| times.max() as f64),
    })
}

pub fn print(model: &Model, args: &LoadTest, measured: &Measured) -> Outcome<()> {
    let value = measured.json(model, args, &machine::isa(model)?);
    let mut out = Output::new();
    match if args.json { ReportFormat::Json } else { args.output_format } {
        ReportFormat::Json => out.json(&value)?,
        ReportFormat::Csv => csv(&mut out, &value)?,
        ReportFormat::Table => table(&mut out, &value, measured.load.error.as_deref())?,
    }
    out.flush()
}

/// The fields of nested objects get their path as a name, with a point between the parts. All reports have the same columns.
fn csv(out: &mut Output, value: &Value) -> Outcome<()> {
    fn flatten(path: &str, value: &Value, into: &mut Vec<(String, String)>) {
        match value {
            // Which statuses come is not known before, so their number is one column.
            Value::Object(object) if path == "errors" => {
                let count: u64 = object.values().filter_map(Value::as_u64).sum();
                into.push((path.into(), count.to_string()));
            }
            Value::Object(object) => {
                for (key, value) in object {
                    flatten(&if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, value, into);
                }
            }
            Value::Null => into.push((path.into(), String::new())),
            Value::String(text) if text.contains([',', '"']) => {
                into.push((path.into(), format!("\"{}\"", text.replace('"', "\"\""))));
            }
            Value::String(text) => into.push((path.into(), text.clone())),
            other => into.push((path.into(), other.to_string())),
        }
    }
    let mut fields = Vec::new();
    flatten("", value, &mut fields);
    let line = |of: fn(&(String, String)) -> &str| fields.iter().map(of).collect::<Vec<_>>().join(",");
    out.line(line(|(name, _)| name))?;
    out.line(line(|(_, value)| value))
}

fn table(out: &mut Output, value: &Value, error: Option<&str>) -> Outcome<()> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let (mode, callers) = (text(&value["loop"]), &value["callers"]);
    let rate = value["rate"].as_f64().map_or_else(String::new, |rate| format!(", {rate} calls/s (Poisson)"));
    out.line(format_args!("{}: {callers} callers, {mode} loop{rate}", text(&value["task"])))?;
    let mut row = |name: &str, value: &Value| out.line(format_args!("{name:<28} {:>12}", text(value)));
    for (name, key) in [
        ("calls", "calls"),
        ("seconds", "seconds"),
        ("texts/s", "texts_per_s"),
        ("tokens/s", "tokens_per_s"),
        ("ratio to one batch", "ratio_to_batch"),
        ("late calls", "late_calls"),
        ("results that differ", "differences"),
    ] {
        if !value[key].is_null() {
            row(name, &value[key])?;
        }
    }
    row("texts/s alone", &value["alone"]["texts_per_s"])?;
    row(&format!("texts/s in batches of {}", value["batch"]["texts"]), &value["batch"]["texts_per_s"])?;
    if let Value::Number(texts) = &value["bulk"]["texts"] {
        row(&format!("texts/s of bulk calls of {texts}"), &value["bulk"]["texts_per_s"])?;
        row("p99 / p99 without bulk", &value["without_bulk"]["p99_ratio"])?;
    }
    for (name, key) in [("MiB before", "rss_before_mb"), ("MiB after", "rss_after_mb"), ("MiB at most", "peak_rss_mb")]
    {
        if !value[key].is_null() {
            row(name, &value[key])?;
        }
    }
    for (status, count) in value["errors"].as_object().into_iter().flatten() {
        row(&format!("errors: {status}"), count)?;
    }
    if let Some(error) = error {
        out.line(format_args!("first error: {error}"))?;
    }
    let rows = [
        ("latency", &value["latency_ms"]),
        ("  alone", &value["alone"]["latency_ms"]),
        ("  without bulk", &value["without_bulk"]["latency_ms"]),
        ("time to first token", &value["first_token_ms"]),
        ("  alone", &value["alone"]["first_token_ms"]),
        ("time per output token", &value["output_token_ms"]),
        ("  alone", &value["alone"]["output_token_ms"]),
    ];
    let columns = ["mean", "p50", "p90", "p95", "p99", "max"];
    let cells = |cell: &dyn Fn(&str) -> String| columns.map(|name| format!("{:>10}", cell(name))).concat();
    out.line(format_args!("\n{:<22}{}", "ms", cells(&str::to_string)))?;
    for (name, times) in rows {
        if times["p50"].is_number() {
            let number = |column: &str| format!("{:.3}", times[column].as_f64().unwrap_or(f64::NAN));
            out.line(format_args!("{name:<22}{}", cells(&number)))?;
        }
    }
    Ok(())
}
