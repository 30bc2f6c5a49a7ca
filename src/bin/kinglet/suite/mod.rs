//! `kinglet bench suite`: many cases of a model, each with its samples, in several processes that take turns.

mod advice;
mod chart;
mod compare;
mod config;
mod delay;
pub mod figure;
mod history;
mod html;
mod measure;
mod pair;
mod record;
mod report;

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::bench_args::{BenchTool, SuiteArgs, WhatArgs};
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::output::Output;
use crate::progress::Meter;

use compare::Comparison;
use config::{Config, Limit, QualityCase};
use figure::{Figure, Measure, NotMeasured, Samples, Statistics, SuiteName, Target};
use history::HistoryFile;
use measure::{Plan, Round};
use record::{Clocks, Machine, ModelRecord, ModelRun, Versions};
use report::{OfTarget, Report, SCHEMA_VERSION};

pub fn run(tool: &BenchTool) -> Outcome<()> {
    match tool {
        BenchTool::Suite(args) => suite(args),
        BenchTool::Compare(args) => compare::run(args),
        BenchTool::Pair(args) => pair::run(args),
        BenchTool::History(args) => history::run(args),
        BenchTool::Round => measure::run(),
    }
}

/// The configuration with what the command line says.
fn config(args: &WhatArgs) -> Outcome<Config> {
    let mut config = Config::read(args.config.as_deref())?;
    if !args.suites.is_empty() {
        config.suites.clone_from(&args.suites);
    }
    if !args.models.is_empty() {
        config.models.clone_from(&args.models);
    }
    let mut seen = Vec::new();
    config.suites.retain(|suite| {
        !seen.contains(suite) && {
            seen.push(*suite);
            true
        }
    });
    if config.models.is_empty() {
        return Err(Failure::usage("no model: give --model, or models in the configuration"));
    }
    if config.suites.contains(&SuiteName::Quality) && config.quality.cases.is_empty() {
        return Err(Failure::usage("suite quality: quality.cases of the configuration names no file"));
    }
    Ok(config)
}

fn suite(args: &SuiteArgs) -> Outcome<()> {
    let config = config(&args.what)?;
    let targets = targets(&config)?;
    std::fs::create_dir_all(&args.output).map_err(|e| Failure::new(format!("{}: {e}", args.output.display())))?;
    let program = std::env::current_exe().map_err(Failure::new)?;

    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let (start, clocks, mut machine) = (Instant::now(), Clocks::now(), Machine::now());
    // Read first: a mistake is told before minutes of work, and the folder may be the one that is written to.
    let base = args.compare_with.as_ref().map(|path| Report::read(path)).transpose()?;
    if let Some(base) = &base {
        compare::same(&base.machine, &machine).map_err(Failure::new)?;
    }
    let mut collected = Collected::default();
    let mut bar = Meter::new("rounds", Some((config.rounds * targets.len()) as u64), false);
    // One target after the other in each round, so that what changes with time meets all of them.
    for _ in 0..config.rounds {
        for (path, target) in &targets {
            collected.round(&program, &config, path, target)?;
            bar.add(1);
        }
    }
    drop(bar);
    if let Some((steal, others)) = clocks.and_then(|clocks| clocks.since()) {
        (machine.steal, machine.other_processes) = (Some(steal), Some(others));
    }
    let seconds = start.elapsed().as_secs_f64();
    let Collected { models, figures, not_measured } = collected;
    let statistics =
        |figure: Figure| Figure { statistics: Statistics::of(&figure.rounds, config.bootstrap_samples), ..figure };
    let figures: Vec<Figure> = figures.into_iter().map(statistics).collect();
    let report = Report {
        schema_version: SCHEMA_VERSION,
        time,
        seconds,
        machine,
        versions: Versions::now(),
        models,
        beyond_limits: beyond(&config.limits, &figures),
        figures,
        not_measured,
        configuration: config,
    };
    finish(&report, base.as_ref(), args)
}

/// Writes the report and says what is in it.
fn finish(report: &Report, base: Option<&Report>, args: &SuiteArgs) -> Outcome<()> {
    for missing in &report.not_measured {
        output::note(&format!("not measured: {missing}"));
    }
    if report.figures.is_empty() {
        return Err(Failure::new("nothing could be measured"));
    }
    let config = &report.configuration;
    for limit in config.limits.iter().filter(|limit| config.suites.contains(&limit.suite)) {
        if !report.figures.iter().any(|figure| limit.is_of(figure)) {
            output::note(&format!("limit of {}, {}: no such figure was measured", limit.suite.name(), limit.case));
        }
    }
    let mut out = Output::new();
    let comparison = base.map(|base| Comparison::of(base, report, config));
    let history =
        args.history.as_ref().map(|folder| history::append(folder, report).and_then(HistoryFile::read)).transpose()?;
    let rows = history.as_ref().map_or_else(Vec::new, HistoryFile::rows);
    for path in report.write(&args.output, &rows, comparison.as_ref())? {
        out.line(path.display())?;
    }
    if let Some(history) = &history {
        history.report();
        out.line(history.path.display())?;
    }
    if let Some(comparison) = &comparison {
        comparison.print(false, &mut out)?;
    }
    out.flush()?;
    if !report.beyond_limits.is_empty() {
        return Err(Failure::new(format!("beyond its limit: {}", report.beyond_limits.join("; "))));
    }
    comparison.map_or(Ok(()), |comparison| comparison.status(args.fail_on))
}

/// Each model with each setting.
fn targets(config: &Config) -> Outcome<Vec<(PathBuf, Target)>> {
    let short =
        |path: &Path| path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into());
    let names: Vec<String> = config.models.iter().map(|path| short(path)).collect();
    let (mut targets, mut seen) = (Vec::new(), HashSet::new());
    for (path, name) in config.models.iter().zip(&names) {
        let unique = names.iter().filter(|other| *other == name).count() == 1;
        let model = if unique { name.clone() } else { path.display().to_string() };
        if !seen.insert(model.clone()) {
            return Err(Failure::usage(format!("model {model} is given twice")));
        }
        for precision in &config.settings.precisions {
            for device in &config.settings.devices {
                for &threads in &config.settings.threads {
                    let target =
                        Target { model: model.clone(), precision: precision.clone(), device: device.clone(), threads };
                    targets.push((path.clone(), target));
                }
            }
        }
    }
    if targets.is_empty() {
        Err(Failure::usage("settings: precisions, devices and threads need a value each"))
    } else {
        Ok(targets)
    }
}

/// The figures whose median is beyond a limit.
fn beyond(limits: &[Limit], figures: &[Figure]) -> Vec<String> {
    let of = |limit: &Limit, figure: &Figure| limit.is_of(figure) && figure.statistics.median > limit.most;
    let describe = |figure: &Figure, limit: &Limit| {
        format!("{}: {} {} (limit {})", figure.key(), report::number(figure.statistics.median), figure.unit, limit.most)
    };
    figures.iter().flat_map(|f| limits.iter().filter(move |l| of(l, f)).map(move |l| describe(f, l))).collect()
}

/// What the rounds have given so far.
#[derive(Default)]
struct Collected {
    models: Vec<ModelRecord>,
    /// Their statistics come last.
    figures: Vec<Figure>,
    not_measured: Vec<OfTarget>,
}

impl Collected {
    fn round(&mut self, program: &Path, config: &Config, path: &Path, target: &Target) -> Outcome<()> {
        let plan = Plan { config: config.clone(), target: target.clone(), path: path.to_path_buf() };
        let plan = serde_json::to_vec(&plan).map_err(Failure::new)?;
        let shown =
            child(program, &["bench", "round"], plan).map_err(|why| Failure::new(format!("{target}: {why}")))?;
        let Round { path: files, family, precision, threads, isa, weight_bytes, generates, samples, not_measured } =
            serde_json::from_str(&shown).map_err(|e| Failure::new(format!("{target}: {e}")))?;
        self.add(target, samples);
        not_measured.into_iter().for_each(|what| self.refuse(target, what));
        for suite in &config.suites {
            match suite {
                SuiteName::Load => self.load(program, config, path, target, generates),
                SuiteName::Quality => {
                    config.quality.cases.iter().for_each(|case| self.quality(program, path, target, case))
                }
                _ => {}
            }
        }
        let run = ModelRun { target: target.clone(), precision, threads, isa, weight_bytes };
        match self.models.iter_mut().find(|model| model.name == target.model) {
            Some(model) if model.runs.contains(&run) => {}
            Some(model) => model.runs.push(run),
            None => {
                let (file_bytes, sha256) = record::files(&files)?;
                let name = target.model.clone();
                self.models.push(ModelRecord { name, path: files, family, file_bytes, sha256, runs: vec![run] });
            }
        }
        Ok(())
    }

    /// Adds one round's samples.
    fn add(&mut self, target: &Target, samples: Vec<Samples>) {
        for Samples { suite, case, batch, measure, values } in samples {
            let found = self.figures.iter_mut().find(|figure| {
                (&figure.target, figure.suite, &figure.case, figure.measure) == (target, suite, &case, measure)
            });
            match found {
                Some(figure) => figure.rounds.push(values),
                None => self.figures.push(Figure {
                    target: target.clone(),
                    suite,
                    case,
                    batch,
                    measure,
                    unit: measure.unit().into(),
                    rounds: vec![values],
                    statistics: Statistics::default(),
                }),
            }
        }
    }

    fn refuse(&mut self, target: &Target, what: NotMeasured) {
        // A case may fail in every round; documents that take too long say each time another estimate.
        let same = |known: &OfTarget| {
            known.target == *target && (known.what.suite, &known.what.case) == (what.suite, &what.case)
        };
        if !self.not_measured.iter().any(same) {
            self.not_measured.push(OfTarget { target: target.clone(), what });
        }
    }

    /// Many callers at once, by `kinglet load-test`.
    fn load(&mut self, program: &Path, config: &Config, path: &Path, target: &Target, generates: bool) {
        let load = &config.load;
        for callers in &load.callers {
            let numbers = [
                ("--callers", *callers),
                ("--requests", load.requests),
                ("--input-tokens", load.input_tokens),
                ("--output-tokens", load.output_tokens),
            ];
            let mut arguments = vec!["load-test".to_string(), "--json".into()];
            arguments.extend(numbers.into_iter().flat_map(|(name, number)| [name.to_string(), number.to_string()]));
            arguments.extend(["--task".into(), if generates { "generate" } else { "embed" }.to_string()]);
            let case = format!("{callers} callers, {} tokens", load.input_tokens);
            let values = |report: &Value| {
                let one = |measure, value: &Value, name: &str| {
                    let case = if name.is_empty() { case.clone() } else { format!("{case}, {name}") };
                    let values: Vec<f64> = value.as_f64().into_iter().collect();
                    Samples { suite: SuiteName::Load, case, batch: None, measure, values }
                };
                vec![
                    one(Measure::Latency, &report["latency_ms"]["p50"], "p50"),
                    one(Measure::Latency, &report["latency_ms"]["p99"], "p99"),
                    one(Measure::FirstToken, &report["first_token_ms"]["p50"], "p50"),
                    one(Measure::FirstToken, &report["first_token_ms"]["p99"], "p99"),
                    one(Measure::Throughput, &report["tokens_per_s"], ""),
                    one(Measure::Memory, &report["peak_rss_mb"], ""),
                ]
            };
            self.verb(program, path, target, (SuiteName::Load, &case), arguments, values);
        }
    }

    /// Scores, by `kinglet evaluate`.
    fn quality(&mut self, program: &Path, path: &Path, target: &Target, case: &QualityCase) {
        let name = format!("{} {}", case.task, case.file.display());
        let mut arguments: Vec<String> = ["evaluate", "--json", "--resamples", "0", "--task"].map(String::from).into();
        arguments.push(case.task.clone());
        if let Some(corpus) = &case.corpus {
            arguments.extend(["--corpus".into(), corpus.display().to_string()]);
        }
        if let Some(limit) = case.limit {
            arguments.extend(["--limit".into(), limit.to_string()]);
        }
        let values = |report: &Value| {
            // Its metrics are what has an interval; scores are shares of 1 but for two that are points of 100.
            let metrics = report["intervals"].as_object().into_iter().flatten().map(|(metric, _)| metric.clone());
            let one = |metric: String| {
                let measure = if metric == "perplexity" { Measure::Perplexity } else { Measure::Quality };
                let points = matches!(metric.as_str(), "bleu" | "chrf" | "perplexity");
                let values = report[&metric].as_f64().map(|score| if points { score } else { 100.0 * score });
                let case = format!("{name}: {metric}");
                Samples { suite: SuiteName::Quality, case, batch: None, measure, values: values.into_iter().collect() }
            };
            metrics.map(one).collect()
        };
        // The file comes last, so that a file name that begins with a dash is not read as an option.
        let file = case.file.display().to_string();
        self.verb(
            program,
            path,
            target,
            (SuiteName::Quality, &name),
            [arguments, vec!["--".into(), file]].concat(),
            values,
        );
    }

    /// Runs a verb of this program that prints one JSON object, and adds the figures that `values` takes from it.
    fn verb(
        &mut self,
        program: &Path,
        path: &Path,
        target: &Target,
        (suite, case): (SuiteName, &str),
        mut arguments: Vec<String>,
        values: impl Fn(&Value) -> Vec<Samples>,
    ) {
        let settings = [
            ("--model", path.display().to_string()),
            ("--precision", target.precision.clone()),
            ("--device", target.device.clone()),
            ("--threads", target.threads.to_string()),
        ];
        arguments.splice(1..1, settings.into_iter().flat_map(|(name, value)| [name.to_string(), value]));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let report = child(program, &arguments, Vec::new())
            .and_then(|shown| serde_json::from_str::<Value>(&shown).map_err(|e| e.to_string()));
        match report {
            Ok(report) => {
                let samples = values(&report).into_iter().filter(|samples| !samples.values.is_empty()).collect();
                self.add(target, samples);
            }
            Err(why) => self.refuse(target, NotMeasured { suite, case: case.into(), why }),
        }
    }
}

/// What a process prints, or the last thing that it says before it fails.
fn child(program: &Path, arguments: &[&str], input: Vec<u8>) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("{}: {e}", program.display()))?;
    let stdin = child.stdin.take();
    // A process that ends early breaks this pipe; its exit status says so. The plan is read before anything is printed.
    let _ = stdin.map(|mut stdin| stdin.write_all(&input));
    let output = child.wait_with_output().map_err(|e| e.to_string())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().last().unwrap_or("it said nothing").trim_start_matches("kinglet: ").to_string();
        return Err(format!("{last} ({})", output.status));
    }
    String::from_utf8(output.stdout).map_err(|e| e.to_string())
}

/// A time in seconds from 1970, as a date.
pub fn date(time: u64) -> String {
    // Hinnant's days_from_civil, backwards; years begin in March.
    let days = (time / 86_400) as i64 + 719_468;
    let era = days.div_euclid(146_097);
    let day = days.rem_euclid(146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let (d, m) = (of_year - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let y = year + era * 400 + i64::from(m <= 2);
    let second = time % 86_400;
    format!("{y:04}-{m:02}-{d:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(date(0), "1970-01-01T00:00:00Z");
        assert_eq!(date(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(date(1_764_251_999), "2025-11-27T13:59:59Z");
    }
}
