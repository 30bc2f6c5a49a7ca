//! What the suite measures: figures with all their samples, and what is computed of them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::metrics::latency::{LatencyStatistics, percentile};
use crate::random::SplitMix64;

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SuiteName {
    Loading,
    Tokenising,
    Inference,
    Statistics,
    EndToEnd,
    Documents,
    Load,
    Quality,
}

impl SuiteName {
    pub const ALL: [Self; 8] = [
        Self::Loading,
        Self::Tokenising,
        Self::Inference,
        Self::Statistics,
        Self::EndToEnd,
        Self::Documents,
        Self::Load,
        Self::Quality,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Tokenising => "tokenising",
            Self::Inference => "inference",
            Self::Statistics => "statistics",
            Self::EndToEnd => "end-to-end",
            Self::Documents => "documents",
            Self::Load => "load",
            Self::Quality => "quality",
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Milliseconds of a call.
    Latency,
    /// Milliseconds to the first token of a text.
    FirstToken,
    /// Milliseconds per token after the first.
    OutputToken,
    /// Tokens per second.
    Throughput,
    /// The most resident memory of the process while the case ran, in MiB.
    Memory,
    /// A score in points of 100, more is better.
    Quality,
    /// Less is better.
    Perplexity,
}

impl Measure {
    pub fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::FirstToken => "first-token",
            Self::OutputToken => "output-token",
            Self::Throughput => "throughput",
            Self::Memory => "memory",
            Self::Quality => "quality",
            Self::Perplexity => "perplexity",
        }
    }

    pub fn unit(self) -> &'static str {
        match self {
            Self::Latency | Self::FirstToken | Self::OutputToken => "ms",
            Self::Throughput => "tokens/s",
            Self::Memory => "MiB",
            Self::Quality => "points",
            Self::Perplexity => "perplexity",
        }
    }

    pub fn more_is_better(self) -> bool {
        matches!(self, Self::Throughput | Self::Quality)
    }

    /// Whether other processes change it.
    pub fn is_time(self) -> bool {
        !matches!(self, Self::Memory | Self::Quality | Self::Perplexity)
    }

    /// The measure whose thresholds count where the configuration has none for this one.
    pub fn stands_for(self) -> Self {
        match self {
            Self::FirstToken | Self::OutputToken => Self::Latency,
            other => other,
        }
    }
}

/// The model and the settings of a figure, as the configuration names them.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    pub model: String,
    pub precision: String,
    pub device: String,
    /// 0 is all CPUs available to the process.
    pub threads: usize,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { model, precision, device, threads } = self;
        let threads = match threads {
            0 => "all threads".into(),
            1 => "1 thread".into(),
            n => format!("{n} threads"),
        };
        write!(f, "{model}, {precision}, {device}, {threads}")
    }
}

/// A case's samples of one round.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Samples {
    pub suite: SuiteName,
    pub case: String,
    /// Texts per call, of cases that differ in nothing else.
    pub batch: Option<usize>,
    pub measure: Measure,
    pub values: Vec<f64>,
}

/// What could not be measured.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NotMeasured {
    pub suite: SuiteName,
    pub case: String,
    pub why: String,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    pub target: Target,
    pub suite: SuiteName,
    pub case: String,
    /// Texts per call, of cases that differ in nothing else.
    pub batch: Option<usize>,
    pub measure: Measure,
    pub unit: String,
    /// Samples, one list per process that measured.
    pub rounds: Vec<Vec<f64>>,
    pub statistics: Statistics,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Statistics {
    pub median: f64,
    pub mean: f64,
    /// The population standard deviation.
    pub standard_deviation: f64,
    pub p90: f64,
    pub p95: f64,
    pub p99: f64,
    pub min: f64,
    pub max: f64,
    /// The 95 % bootstrap interval of the median.
    pub interval: [f64; 2],
    pub repeats: usize,
    /// The largest median of a round over the smallest, less 1.
    pub noise: f64,
}

impl Figure {
    pub fn key(&self) -> String {
        format!("{}: {}, {}: {}", self.target, self.suite.name(), self.case, self.measure.name())
    }
}

impl Statistics {
    /// Of rounds with at least one sample.
    pub fn of(rounds: &[Vec<f64>], bootstrap_samples: usize) -> Self {
        let mut all = rounds.concat();
        let LatencyStatistics { mean, median, standard_deviation, p90, p95, p99, min, max } =
            LatencyStatistics::of(&mut all);
        let interval = interval(medians(rounds, bootstrap_samples, 0)).unwrap_or([median, median]);
        let noise = noise(rounds);
        Self { median, mean, standard_deviation, p90, p95, p99, min, max, interval, repeats: all.len(), noise }
    }
}

pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    percentile(&values, 0.5)
}

/// How far processes that ran the same differ: the largest median of a round over the smallest, less 1.
pub fn noise(rounds: &[Vec<f64>]) -> f64 {
    let medians = rounds.iter().map(|round| median(round));
    let (low, high) = medians.fold((f64::INFINITY, 0f64), |(low, high), m| (low.min(m), high.max(m)));
    if low > 0.0 && low.is_finite() { high / low - 1.0 } else { 0.0 }
}

/// Medians of bootstrap samples: rounds are drawn first, then samples within them, because samples of one process are more alike
/// than samples of two.
pub fn medians(rounds: &[Vec<f64>], samples: usize, seed: u64) -> Vec<f64> {
    let mut random = SplitMix64(seed);
    let mut drawn = Vec::with_capacity(rounds.iter().map(Vec::len).sum());
    let rounds: Vec<&Vec<f64>> = rounds.iter().filter(|round| !round.is_empty()).collect();
    if rounds.is_empty() {
        return Vec::new();
    }
    let draw = |_| {
        drawn.clear();
        for _ in 0..rounds.len() {
            let round = rounds[random.between(0, rounds.len())];
            drawn.extend((0..round.len()).map(|_| round[random.between(0, round.len())]));
        }
        drawn.sort_by(f64::total_cmp);
        percentile(&drawn, 0.5)
    };
    (0..samples).map(draw).collect()
}

/// From the 2.5th to the 97.5th percentile; None without values.
pub fn interval(mut values: Vec<f64>) -> Option<[f64; 2]> {
    values.sort_by(f64::total_cmp);
    (!values.is_empty()).then(|| [0.025, 0.975].map(|share| percentile(&values, share)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_that_differ_widen_the_interval() {
        let round = |centre: f64| (0..20).map(|i| centre + 0.01 * f64::from(i)).collect::<Vec<_>>();
        let alike = Statistics::of(&[round(10.0), round(10.0), round(10.0)], 1000);
        let apart = Statistics::of(&[round(9.0), round(10.0), round(11.0)], 1000);
        assert_eq!((alike.repeats, alike.min, alike.max), (60, 10.0, 10.19));
        assert!(alike.interval[0] <= alike.median && alike.median <= alike.interval[1], "{alike:?}");
        let width = |s: &Statistics| s.interval[1] - s.interval[0];
        assert!(width(&alike) < 0.1 && width(&apart) > 1.0, "{alike:?} {apart:?}");
        assert!(alike.noise == 0.0 && (apart.noise - 11.095 / 9.095 + 1.0).abs() < 1e-9, "{apart:?}");
    }

    #[test]
    fn one_sample_is_its_own_interval() {
        let one = Statistics::of(&[vec![3.0]], 100);
        assert_eq!((one.median, one.interval, one.noise, one.repeats), (3.0, [3.0, 3.0], 0.0, 1));
        assert_eq!(medians(&[vec![]], 10, 1), Vec::<f64>::new());
    }
}
