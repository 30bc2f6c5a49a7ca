//! `kinglet evaluate`: how good and how fast a model is on cases with expected answers, and whether another model or precision is better.

mod cases;
mod run;

use kinglet::{GenerateOptions, Model};
use serde_json::{Map, Value, json};

use crate::args::{Evaluate, EvaluationTask, ModelArgs};
use crate::failure::{Failure, Outcome};
use crate::metrics::bootstrap::{self, Difference, Score};
use crate::output::Output;
use cases::Cases;
use run::Run;

/// A model's figures.
struct Report {
    run: Run,
    intervals: Vec<Option<[f64; 2]>>,
    precision: &'static str,
    threads: usize,
}

pub fn run(model: &Model, args: &Evaluate) -> Outcome<()> {
    let options = args.generation.options_of_text()?;
    if args.task != EvaluationTask::Generate && format!("{options:?}") != format!("{:?}", GenerateOptions::default()) {
        return Err(Failure::usage("options of generation need --task generate"));
    }
    if args.corpus.is_some() && args.task != EvaluationTask::Retrieval {
        return Err(Failure::usage("--corpus needs --task retrieval"));
    }
    if args.pair_field.is_some() && !matches!(args.task, EvaluationTask::Classify | EvaluationTask::Similarity) {
        return Err(Failure::usage("--pair-field needs --task classify or similarity"));
    }
    let cases = Cases::read(args)?;
    let all: Vec<usize> = (0..cases.count()).collect();
    let report = |model: &Model| {
        let run = run::run(model, &cases, &options, args.batch_size)?;
        let scores: Vec<&Score> = run.metrics.iter().map(|metric| &*metric.score).collect();
        let intervals = bootstrap::intervals(&scores, all.len(), args.resamples);
        Ok::<_, Failure>(Report { run, intervals, precision: model.precision().name(), threads: model.threads() })
    };
    let first = report(model)?;
    let second = against(args).map(|model| report(&crate::load(&model)?)).transpose()?;
    let differences = second.as_ref().map_or_else(Vec::new, |second| {
        let pairs = first.run.metrics.iter().zip(&second.run.metrics);
        let pairs: Vec<(&Score, &Score)> = pairs.map(|(a, b)| (&*a.score as &Score, &*b.score as &Score)).collect();
        bootstrap::differences(&pairs, all.len(), args.resamples)
    });
    if let Some(path) = &args.answers {
        let lines: String = first.run.answers.iter().map(|answer| format!("{answer}\n")).collect();
        std::fs::write(path, lines).map_err(|e| Failure::new(format!("{}: {e}", path.display())))?;
    }
    let mut out = Output::new();
    if args.json {
        let mut figures = first.json(&all);
        figures.insert("cases".into(), json!(all.len()));
        figures.insert("batch_size".into(), json!(args.batch_size));
        if let Some(second) = &second {
            figures.insert("against".into(), Value::Object(second.json(&all)));
            figures.insert("differences".into(), differences_json(&first, &differences));
        }
        out.json(&Value::Object(figures))?;
        return out.flush();
    }
    out.line(format_args!("cases            {:>10}", all.len()))?;
    match &second {
        None => first.table(&all, &mut out)?,
        Some(second) => comparison(&first, second, &differences, &all, &mut out)?,
    }
    out.flush()
}

/// The model to compare with.
fn against(args: &Evaluate) -> Option<ModelArgs> {
    let (path, precision) = (&args.against_model, args.against_precision);
    (path.is_some() || precision.is_some()).then(|| ModelArgs {
        model: path.clone().unwrap_or_else(|| args.model.model.clone()),
        precision: precision.unwrap_or(args.model.precision),
        ..args.model.clone()
    })
}

impl Report {
    fn json(&self, all: &[usize]) -> Map<String, Value> {
        let latency = self.run.latency;
        let Value::Object(mut figures) = json!({
            "tokens_per_s": self.run.tokens_per_s,
            "latency_ms": {
                "mean": latency.mean, "median": latency.median, "standard_deviation": latency.standard_deviation,
                "p90": latency.p90, "p95": latency.p95, "p99": latency.p99, "min": latency.min, "max": latency.max,
            },
            "precision": self.precision,
            "threads": self.threads,
        }) else {
            unreachable!("an object was written")
        };
        let mut intervals = Map::new();
        for (metric, interval) in self.run.metrics.iter().zip(&self.intervals) {
            figures.insert(metric.key.into(), json!((metric.score)(all)));
            intervals.insert(metric.key.into(), json!(interval));
        }
        figures.insert("intervals".into(), Value::Object(intervals));
        figures
    }

    fn table(&self, all: &[usize], out: &mut Output) -> Outcome<()> {
        for (metric, interval) in self.run.metrics.iter().zip(&self.intervals) {
            let range = interval.map_or_else(String::new, |[low, high]| format!("  ({low:.4} to {high:.4})"));
            out.line(format_args!("{:<16} {:>10.4}{range}", metric.name, (metric.score)(all)))?;
        }
        for (name, figure) in self.speeds() {
            out.line(format_args!("{name:<16} {figure:>10.2}"))?;
        }
        Ok(())
    }

    fn speeds(&self) -> [(&'static str, f64); 7] {
        let latency = self.run.latency;
        [
            ("tokens/s", self.run.tokens_per_s),
            ("mean          ms", latency.mean),
            ("median        ms", latency.median),
            ("std. deviationms", latency.standard_deviation),
            ("p90           ms", latency.p90),
            ("p95           ms", latency.p95),
            ("p99           ms", latency.p99),
        ]
    }
}

fn differences_json(first: &Report, differences: &[Difference]) -> Value {
    let each = first
        .run
        .metrics
        .iter()
        .zip(differences)
        .map(|(metric, d)| (metric.key.to_string(), json!({ "value": d.value, "interval": d.interval, "p": d.p })));
    Value::Object(each.collect())
}

fn comparison(
    first: &Report,
    second: &Report,
    differences: &[Difference],
    all: &[usize],
    out: &mut Output,
) -> Outcome<()> {
    out.line(format_args!("{:<16} {:>10} {:>10} {:>10}", "", first.precision, second.precision, "difference"))?;
    for ((a, b), d) in first.run.metrics.iter().zip(&second.run.metrics).zip(differences) {
        let range = match (d.interval, d.p) {
            (Some([low, high]), Some(p)) => format!("  ({low:+.4} to {high:+.4}, p = {p:.3})"),
            _ => String::new(),
        };
        let (x, y) = ((a.score)(all), (b.score)(all));
        out.line(format_args!("{:<16} {x:>10.4} {y:>10.4} {:>+10.4}{range}", a.name, d.value))?;
    }
    for ((name, x), (_, y)) in first.speeds().into_iter().zip(second.speeds()) {
        out.line(format_args!("{name:<16} {x:>10.2} {y:>10.2} {:>+10.2}", y - x))?;
    }
    Ok(())
}
