//! The configuration of the suite: a TOML file over the defaults in `default.toml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kinglet::{Device, Precision};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::figure::{Figure, Measure, SuiteName};
use crate::failure::{Failure, Outcome};
use crate::files;

const DEFAULT: &str = include_str!("default.toml");
/// The longest configuration, in bytes.
const MAX_BYTES: u64 = 1 << 20;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub suites: Vec<SuiteName>,
    pub models: Vec<PathBuf>,
    pub rounds: usize,
    pub max_seconds: f64,
    pub bootstrap_samples: usize,
    pub settings: Settings,
    pub loading: Loading,
    pub tokenising: Batches,
    pub inference: Batches,
    pub statistics: Statistics,
    #[serde(rename = "end-to-end")]
    pub end_to_end: Batches,
    pub documents: Documents,
    pub load: Load,
    pub quality: Quality,
    pub thresholds: BTreeMap<Measure, Threshold>,
    pub noise: Noise,
    pub limits: Vec<Limit>,
    pub reporting: Reporting,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub precisions: Vec<String>,
    pub devices: Vec<String>,
    pub threads: Vec<usize>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Loading {
    pub warm_up: usize,
    pub repeats: usize,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Batches {
    pub warm_up: usize,
    pub repeats: usize,
    pub batches: Vec<usize>,
    pub input_tokens: usize,
    /// None for tokenising.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<usize>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Statistics {
    pub warm_up: usize,
    pub repeats: usize,
    pub records: Vec<usize>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Documents {
    pub warm_up: usize,
    pub repeats: usize,
    pub tokens: Vec<usize>,
    pub window: usize,
    pub overlap: usize,
    pub batch: usize,
    pub output_tokens: usize,
    pub compression_ratios: Vec<f64>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    pub callers: Vec<usize>,
    pub requests: usize,
    pub input_tokens: usize,
    pub output_tokens: usize,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Quality {
    pub cases: Vec<QualityCase>,
}

/// A file for `kinglet evaluate`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct QualityCase {
    pub task: String,
    pub file: PathBuf,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corpus: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    pub warning: f64,
    pub critical: f64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Noise {
    pub steal: f64,
    pub other_processes: f64,
}

/// A figure's median that must not be exceeded.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    pub suite: SuiteName,
    pub case: String,
    pub measure: Measure,
    pub most: f64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Reporting {
    pub formats: Vec<Format>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    Json,
    Csv,
    Markdown,
    Html,
    /// What github-action-benchmark reads.
    GithubAction,
}

impl Limit {
    pub fn is_of(&self, figure: &Figure) -> bool {
        (figure.suite, &figure.case, figure.measure) == (self.suite, &self.case, self.measure)
    }
}

impl Config {
    /// The defaults, or a file's values over them.
    pub fn read(path: Option<&Path>) -> Outcome<Self> {
        let name = path.map_or_else(|| "the default configuration".into(), |path| path.display().to_string());
        let wrong = |what: String| Failure::usage(format!("{name}: {}", what.trim_end().replace('\n', " ")));
        let mut table: Table = toml::from_str(DEFAULT).map_err(|e| Failure::new(e.to_string()))?;
        if let Some(path) = path {
            let own: Table = toml::from_str(&files::text(path, MAX_BYTES)?).map_err(|e| wrong(e.to_string()))?;
            merge(&mut table, own);
        }
        let config: Self = table.try_into().map_err(|e: toml::de::Error| wrong(e.to_string()))?;
        config.check().map_err(wrong)?;
        Ok(config)
    }

    /// What the types do not say.
    fn check(&self) -> Result<(), String> {
        let names =
            |key: &str, given: &[String], known: &[&str]| match given.iter().find(|g| !known.contains(&g.as_str())) {
                Some(unknown) => Err(format!("{key}: {unknown:?} is not one of {}", known.join(", "))),
                None => Ok(()),
            };
        names("settings.precisions", &self.settings.precisions, &Precision::ALL.map(|p| p.name()))?;
        names("settings.devices", &self.settings.devices, &Device::ALL.map(|d| d.name()))?;
        let lists: [(&str, &[usize]); 7] = [
            ("tokenising.batches", &self.tokenising.batches),
            ("inference.batches", &self.inference.batches),
            ("end-to-end.batches", &self.end_to_end.batches),
            ("statistics.records", &self.statistics.records),
            ("documents.tokens", &self.documents.tokens),
            ("load.callers", &self.load.callers),
            (
                "repeats",
                &[
                    self.documents.output_tokens,
                    self.load.output_tokens,
                    self.rounds,
                    self.loading.repeats,
                    self.tokenising.repeats,
                    self.inference.repeats,
                    self.statistics.repeats,
                    self.end_to_end.repeats,
                    self.documents.repeats,
                    self.load.requests,
                    self.tokenising.input_tokens,
                    self.inference.input_tokens,
                    self.end_to_end.input_tokens,
                    self.load.input_tokens,
                    self.documents.batch,
                    self.documents.window,
                ],
            ),
        ];
        for (key, values) in lists {
            if key != "repeats" && twice(values) {
                return Err(format!("{key}: a value is listed twice"));
            }
            if values.contains(&0) {
                let key = if key == "repeats" {
                    "rounds, repeats, requests, input_tokens, output_tokens, batch and window"
                } else {
                    key
                };
                return Err(format!("{key}: must be at least 1"));
            }
        }
        let documents = &self.documents;
        if documents.overlap + 2 * documents.output_tokens.max(1) > documents.window {
            return Err("documents.window: must be at least documents.overlap and twice documents.output_tokens".into());
        }
        if let Some(ratio) = documents.compression_ratios.iter().find(|ratio| !(**ratio > 1.0 && ratio.is_finite())) {
            return Err(format!("documents.compression_ratios: {ratio} is not a number above 1"));
        }
        if self.tokenising.output_tokens.is_some() {
            return Err("tokenising.output_tokens: tokenising has no output".into());
        }
        if !(self.max_seconds > 0.0 && self.max_seconds.is_finite()) {
            return Err("max_seconds: must be above 0".into());
        }
        for (measure, Threshold { warning, critical }) in &self.thresholds {
            if !(*warning > 0.0 && critical >= warning && critical.is_finite()) {
                return Err(format!("thresholds.{}: 0 < warning <= critical is required", measure.name()));
            }
        }
        let Settings { precisions, devices, threads } = &self.settings;
        let settings = [("precisions", twice(precisions)), ("devices", twice(devices)), ("threads", twice(threads))];
        match settings.iter().find(|(_, twice)| *twice) {
            Some((key, _)) => Err(format!("settings.{key}: a value is listed twice")),
            None => Ok(()),
        }
    }

    pub fn threshold(&self, measure: Measure) -> Option<Threshold> {
        self.thresholds.get(&measure).or_else(|| self.thresholds.get(&measure.stands_for())).copied()
    }
}

fn twice<T: PartialEq>(values: &[T]) -> bool {
    values.iter().enumerate().any(|(i, value)| values[..i].contains(value))
}

/// Puts the values of `own` into `table`; tables are merged, other values (lists too) replaced.
fn merge(table: &mut Table, own: Table) {
    for (key, value) in own {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(table)), Value::Table(own)) => merge(table, own),
            (_, value) => drop(table.insert(key, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("suite.toml");
        std::fs::write(&path, text).unwrap();
        match Config::read(Some(&path)) {
            Ok(config) => Ok(config),
            Err(Failure::Usage(message) | Failure::Message(message)) => Err(message),
            Err(_) => unreachable!(),
        }
    }

    #[test]
    fn a_file_changes_what_it_names() {
        let config =
            read("rounds = 2\n[inference]\nbatches = [3]\n[thresholds]\nlatency = { critical = 0.5 }").unwrap();
        assert_eq!((config.rounds, &config.inference.batches[..], config.inference.repeats), (2, &[3][..], 10));
        let threshold = config.threshold(Measure::Latency).unwrap();
        assert_eq!((threshold.warning, threshold.critical), (0.15, 0.5));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, parts) in [
            ("round = 3", &["round", "unknown"][..]),
            ("[inference]\nbatchs = [1]", &["inference", "batchs", "unknown"]),
            ("suites = [\"speed\"]", &["suites", "speed"]),
            ("rounds = \"two\"", &["rounds", "string"]),
            ("rounds = ", &["line 1"]),
            ("rounds = 0", &["rounds", "at least 1"]),
            ("[inference]\nbatches = [1, 2, 1]", &["inference.batches", "twice"]),
            ("[load]\ncallers = [0]", &["load.callers", "at least 1"]),
            ("[settings]\nprecisions = [\"int3\"]", &["settings.precisions", "int3"]),
            ("[settings]\nthreads = [1, 1]", &["settings.threads", "twice"]),
            ("[documents]\noverlap = 256", &["documents.window"]),
            ("[documents]\ncompression_ratios = [2.0, 1.0]", &["documents.compression_ratios", "1 is not"]),
            ("[tokenising]\noutput_tokens = 1", &["tokenising.output_tokens"]),
            ("[thresholds]\nlatency = { warning = 0.3 }", &["thresholds.latency"]),
            ("[thresholds]\nspeed = { warning = 0.3, critical = 0.4 }", &["thresholds", "speed"]),
        ] {
            let message = read(text).unwrap_err();
            assert!(
                message.contains("suite.toml") && parts.iter().all(|part| message.contains(part)),
                "{text}: {message}"
            );
        }
    }
}
