//! The report of a suite: one JSON file, which the CSV and the Markdown are made of.

use std::fmt::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::compare::Comparison;
use super::config::{Config, Format, Noise};
use super::figure::{Figure, NotMeasured, Target};
use super::history::Row;
use super::html;
use super::record::{Machine, ModelRecord, Versions};
use crate::failure::{Failure, Outcome};
use crate::files;

/// The version of the fields below; docs/benchmark-suite.schema.json describes them.
pub const SCHEMA_VERSION: u32 = 1;
pub const FILE: &str = "report.json";
/// The longest report, in bytes.
const MAX_BYTES: u64 = 256 << 20;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    pub schema_version: u32,
    /// When the suite began, in seconds from 1970.
    pub time: u64,
    /// How long it took.
    pub seconds: f64,
    pub machine: Machine,
    pub versions: Versions,
    pub models: Vec<ModelRecord>,
    pub figures: Vec<Figure>,
    pub not_measured: Vec<OfTarget>,
    /// Medians beyond a limit of the configuration.
    pub beyond_limits: Vec<String>,
    pub configuration: Config,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OfTarget {
    pub target: Target,
    pub what: NotMeasured,
}

impl fmt::Display for OfTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NotMeasured { suite, case, why } = &self.what;
        write!(f, "{}: {}, {case}: {why}", self.target, suite.name())
    }
}

impl Report {
    /// A report's file, or the folder that a suite wrote it to.
    pub fn read(path: &Path) -> Outcome<Self> {
        let path = if path.is_dir() { path.join(FILE) } else { path.to_path_buf() };
        let wrong = |what: String| Failure::new(format!("{}: {what}", path.display()));
        let value: Value = serde_json::from_str(&files::text(&path, MAX_BYTES)?).map_err(|e| wrong(e.to_string()))?;
        match value["schema_version"].as_u64() {
            Some(version) if version == u64::from(SCHEMA_VERSION) => {}
            Some(other) => return Err(wrong(format!("schema_version {other}; this program reads {SCHEMA_VERSION}"))),
            None => return Err(wrong("no schema_version: not a report of `kinglet bench suite`".into())),
        }
        let report: Self = serde_json::from_value(value).map_err(|e| wrong(e.to_string()))?;
        match report.figures.iter().find(|figure| figure.rounds.iter().all(Vec::is_empty)) {
            Some(empty) => Err(wrong(format!("{}: no samples", empty.key()))),
            None => Ok(report),
        }
    }

    /// Writes the files of the configuration's formats.
    pub fn write(&self, folder: &Path, history: &[&Row], comparison: Option<&Comparison>) -> Outcome<Vec<PathBuf>> {
        let mut files: Vec<(String, Vec<u8>)> = Vec::new();
        let mut add = |name: &str, text: String| files.push((name.into(), text.into_bytes()));
        for format in &self.configuration.reporting.formats {
            match format {
                Format::Json => add(FILE, format!("{}\n", serde_json::to_string(self).map_err(Failure::new)?)),
                Format::Csv => add("report.csv", self.csv()),
                Format::Markdown => add("report.md", self.markdown(comparison)),
                Format::GithubAction => add("github-action.json", format!("{}\n", self.github_action())),
                Format::Html => add("report.html", html::page(self, history, comparison)?),
            }
        }
        if self.configuration.reporting.formats.contains(&Format::Html) {
            for (name, chart) in html::charts(self) {
                files.push((format!("{name}.svg"), chart.svg()?.into_bytes()));
                files.push((format!("{name}.png"), chart.png()?));
            }
        }
        let write = |(name, content): (String, Vec<u8>)| {
            let path = folder.join(name);
            std::fs::write(&path, content).map_err(|e| Failure::new(format!("{}: {e}", path.display())))?;
            Ok(path)
        };
        files.into_iter().map(write).collect()
    }

    fn csv(&self) -> String {
        let mut text = "model,precision,device,threads,suite,case,measure,unit,median,mean,standard_deviation,p90,p95,p99,min,max,\
                        interval_low,interval_high,repeats,noise\n"
            .to_string();
        for figure in &self.figures {
            let (t, s) = (&figure.target, &figure.statistics);
            let names = [&t.model, &t.precision, &t.device].map(|name| quoted(name)).join(",");
            let numbers = [
                s.median,
                s.mean,
                s.standard_deviation,
                s.p90,
                s.p95,
                s.p99,
                s.min,
                s.max,
                s.interval[0],
                s.interval[1],
            ];
            let numbers = numbers.map(|number| number.to_string()).join(",");
            let (suite, case, measure) = (figure.suite.name(), quoted(&figure.case), figure.measure.name());
            let _ = writeln!(
                text,
                "{names},{},{suite},{case},{measure},{},{numbers},{},{}",
                t.threads, figure.unit, s.repeats, s.noise
            );
        }
        text
    }

    fn markdown(&self, comparison: Option<&Comparison>) -> String {
        let mut text = format!("# Benchmark report\n\n{}\n", self.summary().join("\n\n"));
        let _ = writeln!(text, "\n| | |\n|---|---|");
        for (name, value) in self.system() {
            let _ = writeln!(text, "| {name} | {} |", cell(&value));
        }
        let advice = super::advice::of(self);
        if !advice.is_empty() {
            let _ = writeln!(text, "\n## Recommendations\n");
            for line in &advice {
                let _ = writeln!(text, "- {}", cell(line));
            }
        }
        if let Some(comparison) = comparison {
            let _ = write!(text, "\n{}", comparison.markdown());
        }
        let mut section = String::new();
        for figure in &self.figures {
            let title = format!("{}: {}", figure.target, figure.suite.name());
            if title != section {
                let _ = write!(
                    text,
                    "\n## {}\n\n| case | measure | median | 95 % interval | mean | std. dev. | p90 | p95 | p99 | min | max | repeats | noise |\n\
                     |---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
                    cell(&title)
                );
                section = title;
            }
            let s = &figure.statistics;
            let [low, high] = s.interval.map(number);
            let numbers = [s.mean, s.standard_deviation, s.p90, s.p95, s.p99, s.min, s.max].map(number).join(" | ");
            let _ = writeln!(
                text,
                "| {} | {} ({}) | {} | {low} to {high} | {numbers} | {} | {:.1} % |",
                cell(&figure.case),
                figure.measure.name(),
                figure.unit,
                number(s.median),
                s.repeats,
                100.0 * s.noise
            );
        }
        if !self.not_measured.is_empty() {
            let _ = writeln!(text, "\n## Not measured\n");
            for missing in &self.not_measured {
                let _ = writeln!(text, "- {}", cell(&missing.to_string()));
            }
        }
        text
    }

    /// Sentences about the whole.
    pub fn summary(&self) -> Vec<String> {
        let (figures, models) = (self.figures.len(), self.models.len());
        let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let mut lines = vec![format!(
            "{} of {} in {}, {:.0} s, {}.",
            count(figures, "figure"),
            count(models, "model"),
            count(self.configuration.rounds, "round"),
            self.seconds,
            super::date(self.time),
        )];
        if let Some(busy) = self.busy(&self.configuration.noise) {
            lines.push(format!("The machine was busy: {busy}. Times of this report are not judged."));
        }
        for beyond in &self.beyond_limits {
            lines.push(format!("Beyond its limit: {beyond}."));
        }
        if !self.not_measured.is_empty() {
            lines.push(format!(
                "{} could not be measured; the reasons are below.",
                count(self.not_measured.len(), "case")
            ));
        }
        lines
    }

    /// Names and values of what the suite ran on.
    pub fn system(&self) -> Vec<(String, String)> {
        let machine = &self.machine;
        let percent = |share: Option<f64>| share.map_or("unknown".into(), |share| format!("{:.1} %", 100.0 * share));
        let mut rows = vec![
            ("CPU".to_string(), machine.cpu.clone()),
            ("instruction set".into(), machine.isa.clone()),
            ("cores, logical CPUs".into(), format!("{}, {}", machine.cores, machine.logical_cpus)),
            ("memory".into(), machine.memory_mib.map_or("unknown".into(), |mib| format!("{mib} MiB"))),
            ("system".into(), format!("{} {} ({})", machine.system, machine.kernel, machine.architecture)),
            ("governor".into(), machine.governor.clone().unwrap_or_else(|| "unknown".into())),
            ("load at start".into(), machine.load_at_start.map_or("unknown".into(), |load| load.to_string())),
            ("stolen by the hypervisor".into(), percent(machine.steal)),
            ("used by other processes".into(), percent(machine.other_processes)),
            ("Kinglet".into(), format!("{}, ABI {}", self.versions.kinglet, self.versions.abi)),
            ("git revision".into(), self.versions.git_revision.clone().unwrap_or_else(|| "not a checkout".into())),
        ];
        for model in &self.models {
            let mib = model.file_bytes as f64 / f64::from(1 << 20);
            rows.push((
                format!("model {}", model.name),
                format!("{}, {mib:.1} MiB, SHA-256 {}", model.family, model.sha256),
            ));
        }
        rows
    }

    /// Why times cannot be trusted, if the machine did much else.
    pub fn busy(&self, noise: &Noise) -> Option<String> {
        busy(self.machine.steal, self.machine.other_processes, noise)
    }

    /// For github-action-benchmark's tool `customSmallerIsBetter`, so only figures of which less is better.
    fn github_action(&self) -> Value {
        let less = self.figures.iter().filter(|figure| !figure.measure.more_is_better());
        less.map(|figure| {
            let s = &figure.statistics;
            let range = (s.interval[1] - s.interval[0]) / 2.0;
            json!({ "name": figure.key(), "unit": figure.unit, "value": s.median, "range": format!("± {}", number(range)) })
        })
        .collect()
    }
}

/// Why times cannot be trusted, if a machine gave these shares to others.
pub fn busy(steal: Option<f64>, other_processes: Option<f64>, noise: &Noise) -> Option<String> {
    let beyond = |share: Option<f64>, most: f64, what: &str| {
        let share = share.filter(|share| *share > most)?;
        Some(format!("{what} {:.1} % (limit {:.1} %)", 100.0 * share, 100.0 * most))
    };
    let steal = beyond(steal, noise.steal, "the hypervisor took");
    let others = beyond(other_processes, noise.other_processes, "other processes used");
    let both: Vec<String> = steal.into_iter().chain(others).collect();
    (!both.is_empty()).then(|| both.join(", "))
}

/// Four significant digits.
pub fn number(value: f64) -> String {
    let digits = if value == 0.0 { 0 } else { (3 - value.abs().log10().floor() as i32).clamp(0, 6) as usize };
    format!("{value:.digits$}")
}

/// A field of a CSV file.
pub fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.into() }
}

/// A cell of a Markdown table.
pub fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}
