//! `kinglet bench compare`: which figures of a report are worse than another's, by more than noise.

use std::cmp::Reverse;
use std::fmt::Write;

use serde::Serialize;
use serde_json::json;

use super::config::{Config, Threshold};
use super::figure::{Figure, Measure, interval, median, medians, noise};
use super::record::Machine;
use super::report::{Report, cell, number};
use crate::bench_args::{CompareArgs, FailOn, TellArgs};
use crate::failure::{Failure, Outcome};
use crate::output::Output;

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Same,
    Better,
    /// The base has no such figure.
    New,
    /// Beyond the threshold, but not beyond noise.
    Unclear,
    /// Only the base has such a figure.
    Missing,
    Warning,
    Critical,
}

impl Verdict {
    pub fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Better => "better",
            Self::New => "new",
            Self::Unclear => "unclear",
            Self::Missing => "missing",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// How a figure has changed. Changes are shares, of quality they are points; above 0 is worse.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    pub figure: String,
    pub unit: String,
    pub base: Option<f64>,
    pub new: Option<f64>,
    pub worse_by: Option<f64>,
    /// The 95 % bootstrap interval of the change.
    pub interval: Option<[f64; 2]>,
    /// How far equal processes differ, in either report.
    pub noise: Option<f64>,
    pub verdict: Verdict,
    /// Why the verdict is `unclear`.
    pub why: Option<String>,
    #[serde(skip)]
    measure: Option<Measure>,
}

/// Two reports, figure by figure.
pub struct Comparison {
    /// The worst first.
    pub changes: Vec<Change>,
    /// What a reader must know of the two.
    pub notes: Vec<String>,
}

pub fn run(args: &CompareArgs) -> Outcome<()> {
    let (base, new) = (Report::read(&args.base)?, Report::read(&args.new)?);
    if !args.other_machine {
        let explain = |why| Failure::new(format!("{why} (--other-machine compares them all the same)"));
        same(&base.machine, &new.machine).map_err(explain)?;
    }
    let config = args.config.as_ref().map(|path| Config::read(Some(path))).transpose()?;
    let config = config.as_ref().unwrap_or(&new.configuration);
    Comparison::of(&base, &new, config).finish(&args.told)
}

/// Every figure of both reports, the worst first.
fn changes(base: &Report, new: &Report, config: &Config) -> Vec<Change> {
    let busy = base.busy(&config.noise).or_else(|| new.busy(&config.noise));
    let mut changes: Vec<Change> = Vec::new();
    for figure in &new.figures {
        let key = figure.key();
        let before = base.figures.iter().find(|other| other.key() == key);
        changes.push(match before {
            Some(before) => judge(before, figure, config, busy.as_deref()),
            None => alone(figure, Verdict::New),
        });
    }
    let gone = base.figures.iter().filter(|figure| !new.figures.iter().any(|other| other.key() == figure.key()));
    changes.extend(gone.map(|figure| alone(figure, Verdict::Missing)));
    changes.sort_by_key(|change| Reverse(change.verdict));
    changes
}

fn alone(figure: &Figure, verdict: Verdict) -> Change {
    let value = Some(median(&figure.rounds.concat()));
    let (base, new) = if verdict == Verdict::New { (None, value) } else { (value, None) };
    Change {
        figure: figure.key(),
        unit: figure.unit.clone(),
        base,
        new,
        worse_by: None,
        interval: None,
        noise: None,
        verdict,
        why: None,
        measure: Some(figure.measure),
    }
}

/// By how much `to` is worse than `from`.
pub fn worse(measure: Measure, from: f64, to: f64) -> f64 {
    match measure {
        Measure::Quality => from - to,
        _ if measure.more_is_better() => from / to - 1.0,
        _ => to / from - 1.0,
    }
}

fn judge(base: &Figure, new: &Figure, config: &Config, busy: Option<&str>) -> Change {
    let measure = new.measure;
    let samples = config.bootstrap_samples;
    let drawn = medians(&base.rounds, samples, 1).into_iter().zip(medians(&new.rounds, samples, 2));
    let drawn = drawn.map(|(a, b)| worse(measure, a, b)).collect();
    let noise = spread(measure, &base.rounds).max(spread(measure, &new.rounds));
    let one_round = base.rounds.len().min(new.rounds.len()) < 2;
    let doubt = if !measure.is_time() {
        None
    } else if one_round {
        Some("one round tells nothing of the noise between processes".into())
    } else {
        busy.map(|busy| format!("the machine was busy: {busy}"))
    };
    let (from, to) = (median(&base.rounds.concat()), median(&new.rounds.concat()));
    Change::of(new, (from, to), worse(measure, from, to), interval(drawn), noise).decided(config, doubt)
}

/// How far the medians of equal processes differ, as a change.
fn spread(measure: Measure, rounds: &[Vec<f64>]) -> f64 {
    let medians = rounds.iter().map(|round| median(round));
    let (least, most) = medians.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, m), x| (l.min(x), m.max(x)));
    if measure == Measure::Quality { most - least } else { noise(rounds) }
}

impl Change {
    pub fn of(figure: &Figure, (from, to): (f64, f64), worse_by: f64, interval: Option<[f64; 2]>, noise: f64) -> Self {
        Self {
            figure: figure.key(),
            unit: figure.unit.clone(),
            base: Some(from),
            new: Some(to),
            worse_by: Some(worse_by),
            interval: interval.or(Some([worse_by; 2])),
            noise: Some(noise),
            verdict: Verdict::Same,
            why: None,
            measure: Some(figure.measure),
        }
    }

    /// With the verdict; a change beyond the threshold is unclear if there is a doubt.
    pub fn decided(self, config: &Config, doubt: Option<String>) -> Self {
        let (Some(measure), Some(change), Some([low, high]), Some(noise)) =
            (self.measure, self.worse_by, self.interval, self.noise)
        else {
            return self;
        };
        let Some(Threshold { warning, critical }) = config.threshold(measure) else { return self };
        // A gain of a share is measured from the new value, so that halving and doubling are equally far.
        let gain = if measure == Measure::Quality { -change } else { 1.0 / (1.0 + change) - 1.0 };
        let verdict = match () {
            () if change > critical => Verdict::Critical,
            () if change > warning => Verdict::Warning,
            () if gain > warning => Verdict::Better,
            () => return self,
        };
        let (size, certain) = if change > 0.0 { (change, low > 0.0) } else { (gain, high < 0.0) };
        let why = doubt
            .or_else(|| (!certain).then(|| "the interval contains no change".into()))
            .or_else(|| (size <= noise).then(|| "equal processes differ as much".into()));
        Self { verdict: if why.is_some() { Verdict::Unclear } else { verdict }, why, ..self }
    }

    /// A change as people read it: `+12.3 %`, or points.
    fn shown(&self, change: f64) -> String {
        if self.measure == Some(Measure::Quality) {
            format!("{change:+.2}")
        } else {
            format!("{:+.1} %", 100.0 * change)
        }
    }

    /// Base, new, change, interval, noise.
    pub fn cells(&self) -> [String; 5] {
        let value = |value: Option<f64>| value.map_or("-".into(), |value| format!("{} {}", number(value), self.unit));
        let change = |change: Option<f64>| change.map_or("-".into(), |change| self.shown(change));
        let interval =
            self.interval.map_or("-".into(), |[low, high]| format!("{} to {}", self.shown(low), self.shown(high)));
        [value(self.base), value(self.new), change(self.worse_by), interval, change(self.noise)]
    }

    pub fn verdict(&self) -> String {
        self.why.as_ref().map_or_else(|| self.verdict.name().into(), |why| format!("{}: {why}", self.verdict.name()))
    }
}

/// Whether times of two machines are comparable; else why not.
pub fn same(one: &Machine, other: &Machine) -> Result<(), String> {
    let (one, other) = (one.class(), other.class());
    if one == other { Ok(()) } else { Err(format!("the reports are of different machines: {one}; {other}")) }
}

impl Comparison {
    pub fn of(base: &Report, new: &Report, config: &Config) -> Self {
        let mut notes: Vec<String> = same(&base.machine, &new.machine).err().into_iter().collect();
        for (name, report) in [("base", base), ("new", new)] {
            let busy = report.busy(&config.noise);
            notes.extend(busy.map(|busy| format!("{name}: the machine was busy, so times are not judged: {busy}")));
        }
        for model in &new.models {
            let other = base.models.iter().find(|other| other.name == model.name);
            if other.is_some_and(|other| other.sha256 != model.sha256) {
                notes.push(format!("model {}: its files are not those of the base", model.name));
            }
        }
        Self { changes: changes(base, new, config), notes }
    }

    fn worst(&self) -> Verdict {
        self.changes.iter().map(|change| change.verdict).max().unwrap_or(Verdict::Same)
    }

    /// How many figures have each verdict.
    pub fn counts(&self) -> String {
        use Verdict::{Better, Critical, Missing, New, Same, Unclear, Warning};
        let count = |verdict: Verdict| self.changes.iter().filter(|change| change.verdict == verdict).count();
        let of = [Critical, Warning, Missing, Unclear, New, Better, Same].map(|v| format!("{} {}", count(v), v.name()));
        of.join(", ")
    }

    /// Writes and prints the changes, and makes the exit status of the worst.
    pub fn finish(&self, args: &TellArgs) -> Outcome<()> {
        if let Some(path) = &args.markdown {
            std::fs::write(path, self.markdown()).map_err(|e| Failure::new(format!("{}: {e}", path.display())))?;
        }
        let mut out = Output::new();
        if args.json {
            out.json(&json!({ "verdict": self.worst(), "notes": self.notes, "changes": self.changes }))?;
        } else {
            self.print(args.annotations, &mut out)?;
        }
        out.flush()?;
        self.status(args.fail_on)
    }

    /// The exit status of the worst change.
    pub fn status(&self, fail_on: FailOn) -> Outcome<()> {
        match self.worst() {
            Verdict::Critical => Err(Failure::Verdict(2)),
            Verdict::Warning if fail_on <= FailOn::Warning => Err(Failure::Verdict(1)),
            Verdict::Missing | Verdict::Unclear if fail_on == FailOn::Unclear => Err(Failure::Verdict(1)),
            _ => Ok(()),
        }
    }

    pub fn print(&self, annotations: bool, out: &mut Output) -> Outcome<()> {
        for note in &self.notes {
            out.line(note)?;
        }
        out.line(self.counts())?;
        for change in self.changes.iter().filter(|change| change.verdict != Verdict::Same) {
            let [base, new, worse, interval, noise] = change.cells();
            out.line(format_args!("\n{}\n  {}", change.figure, change.verdict()))?;
            out.line(format_args!("  {base} -> {new}; worse by {worse} ({interval}); noise {noise}"))?;
            let level = match change.verdict {
                Verdict::Critical => "error",
                Verdict::Warning => "warning",
                _ => continue,
            };
            if annotations {
                // The escapes of GitHub's workflow commands.
                let text = format!("{}: {base} -> {new}, worse by {worse} ({interval})", change.figure);
                let text = text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
                out.line(format_args!("::{level} title=Benchmark::{text}"))?;
            }
        }
        Ok(())
    }

    /// A table of all changes.
    pub fn markdown(&self) -> String {
        let mut text = format!("## Comparison of benchmarks\n\n{}\n\n", self.counts());
        for note in &self.notes {
            let _ = writeln!(text, "- {}", cell(note));
        }
        text +=
            "\n| figure | base | new | worse by | 95 % interval | noise | verdict |\n|---|---|---|---|---|---|---|\n";
        for change in &self.changes {
            let cells = change.cells().join(" | ");
            let _ = writeln!(text, "| {} | {cells} | {} |", cell(&change.figure), cell(&change.verdict()));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::figure::{Statistics, SuiteName, Target};
    use super::*;
    use crate::random::SplitMix64;

    /// Times of three rounds around `centre`: rounds differ by a standard deviation of `between`, samples within them by `within`.
    fn figure(measure: Measure, centre: f64, (between, within): (f64, f64), random: &mut SplitMix64) -> Figure {
        // Nearly normal: Irwin-Hall.
        let mut normal = || (0..12).map(|_| random.between(0, 1 << 20) as f64 / f64::from(1 << 20)).sum::<f64>() - 6.0;
        let mut round = |_| {
            let centre = centre * (between * normal()).exp();
            (0..10).map(|_| centre * (within * normal()).exp()).collect::<Vec<f64>>()
        };
        let target = Target { model: "m".into(), precision: "f32".into(), device: "cpu".into(), threads: 1 };
        Figure {
            target,
            suite: SuiteName::Inference,
            case: "c".into(),
            batch: None,
            measure,
            unit: measure.unit().into(),
            rounds: (0..3).map(&mut round).collect(),
            statistics: Statistics::default(),
        }
    }

    fn config() -> Config {
        let mut config = Config::read(None).ok().unwrap();
        config.bootstrap_samples = 200;
        config
    }

    fn verdict(base: &Figure, new: &Figure, busy: Option<&str>) -> (Verdict, String) {
        let change = judge(base, new, &config(), busy);
        (change.verdict, change.why.unwrap_or_default())
    }

    /// The table of docs/benchmark-suite.md: 200 comparisons each.
    #[test]
    fn noise_raises_no_alarm_and_slow_downs_are_found() {
        let mut random = SplitMix64(7);
        let mut rates = |noise: (f64, f64), slow: f64| {
            let judged = (0..200).map(|_| {
                let (a, b) = (
                    figure(Measure::Latency, 10.0, noise, &mut random),
                    figure(Measure::Latency, 10.0 * slow, noise, &mut random),
                );
                verdict(&a, &b, None).0
            });
            let judged: Vec<Verdict> = judged.collect();
            let share = |of: &[Verdict]| judged.iter().filter(|v| of.contains(v)).count() as f64 / 2.0;
            (share(&[Verdict::Warning, Verdict::Critical]), share(&[Verdict::Unclear]))
        };
        for noise in [(0.01, 0.03), (0.02, 0.05), (0.08, 0.08)] {
            let found = [1.0, 1.2, 1.3].map(|slow| rates(noise, slow));
            println!("{noise:?}: {found:?}");
            assert!(found[0].0 < 5.0, "{noise:?}: {found:?}");
            // With more noise than that, a slow-down is not denied: it is unclear.
            assert!(noise.0 > 0.02 || (found[1].0 >= 95.0 && found[2].0 >= 95.0), "{noise:?}: {found:?}");
        }
    }

    #[test]
    fn each_verdict() {
        let mut random = SplitMix64(1);
        let mut of = |measure, centre, noise| figure(measure, centre, noise, &mut random);
        let quiet = (0.002, 0.01);
        let base = of(Measure::Latency, 10.0, quiet);
        for (centre, wanted) in [
            (10.3, Verdict::Same),
            (11.8, Verdict::Warning),
            (13.0, Verdict::Critical),
            (8.0, Verdict::Better),
            (9.5, Verdict::Same),
        ] {
            assert_eq!(verdict(&base, &of(Measure::Latency, centre, quiet), None), (wanted, String::new()), "{centre}");
        }
        // More tokens per second are better.
        let rate = of(Measure::Throughput, 100.0, quiet);
        assert_eq!(verdict(&rate, &of(Measure::Throughput, 70.0, quiet), None).0, Verdict::Critical);
        assert_eq!(verdict(&rate, &of(Measure::Throughput, 130.0, quiet), None).0, Verdict::Better);
        // Points are not shares.
        let score = of(Measure::Quality, 80.0, (0.0, 0.0));
        assert_eq!(verdict(&score, &of(Measure::Quality, 77.0, (0.0, 0.0)), None).0, Verdict::Warning);
        assert_eq!(verdict(&score, &of(Measure::Quality, 74.0, (0.0, 0.0)), None).0, Verdict::Critical);
        assert_eq!(verdict(&score, &of(Measure::Quality, 78.5, (0.0, 0.0)), None).0, Verdict::Same);

        let slow = of(Measure::Latency, 13.0, quiet);
        let (busy, why) = verdict(&base, &slow, Some("steal 9 %"));
        assert!(busy == Verdict::Unclear && why.contains("steal 9 %"));
        let mut once = slow.clone();
        once.rounds.truncate(1);
        let (single, why) = verdict(&base, &once, None);
        assert!(single == Verdict::Unclear && why.contains("one round"), "{why}");
        // Rounds at 10 and at 16: a median of 12 says little.
        let mut spread = base.clone();
        spread.rounds = vec![vec![10.0; 9], vec![12.0; 9], vec![16.0; 9]];
        let (noisy, why) = verdict(&base, &spread, None);
        assert!(noisy == Verdict::Unclear && (why.contains("differ as much") || why.contains("contains")), "{why}");
        // Memory does not depend on what else runs.
        let memory = of(Measure::Memory, 100.0, (0.0, 0.0));
        assert_eq!(verdict(&memory, &of(Measure::Memory, 160.0, (0.0, 0.0)), Some("steal 9 %")).0, Verdict::Critical);
    }
}
