//! `kinglet bench pair`: two programs in one run, in the order ABBA.

use super::compare::{Change, Comparison, worse};
use super::config::Config;
use super::figure::{Figure, Measure, interval, median, medians};
use super::record::Clocks;
use super::report::busy;
use super::{Collected, config, targets};
use crate::bench_args::PairArgs;
use crate::failure::{Failure, Outcome};
use crate::progress::Meter;

pub fn run(args: &PairArgs) -> Outcome<()> {
    let config = config(&args.what)?;
    let targets = targets(&config)?;
    let new = args.new.clone().map_or_else(std::env::current_exe, Ok).map_err(Failure::new)?;
    let programs = [&args.old, &new];
    let clocks = Clocks::now();
    let mut collected = [Collected::default(), Collected::default()];
    let mut bar = Meter::new("pairs", Some(args.pairs * targets.len() as u64), false);
    for pair in 0..args.pairs {
        let order = if pair % 2 == 0 { [0, 1] } else { [1, 0] };
        for (path, target) in &targets {
            for which in order {
                collected[which].round(programs[which], &config, path, target)?;
            }
            bar.add(1);
        }
    }
    drop(bar);
    let shares = clocks.and_then(|clocks| clocks.since());
    let busy = busy(shares.map(|(steal, _)| steal), shares.map(|(_, others)| others), &config.noise);
    let [old, new] = collected;
    let mut notes: Vec<String> = new.not_measured.iter().map(|missing| format!("not measured: {missing}")).collect();
    notes.extend(busy.as_ref().map(|busy| format!("the machine was busy, so times are not judged: {busy}")));
    let changes: Vec<Change> = new
        .figures
        .iter()
        .filter_map(|figure| old.figures.iter().find(|other| other.key() == figure.key()).map(|other| (other, figure)))
        .map(|(old, new)| judge(old, new, &config, busy.as_deref()))
        .collect();
    if changes.is_empty() {
        return Err(Failure::new("the programs have no figure in common"));
    }
    Comparison { changes, notes }.finish(&args.told)
}

/// By how much the second of two programs is worse, from rounds that ran in pairs.
fn judge(old: &Figure, new: &Figure, config: &Config, busy: Option<&str>) -> Change {
    let measure = new.measure;
    let of = |figure: &Figure| figure.rounds.iter().map(|round| median(round)).collect::<Vec<f64>>();
    let (a, b) = (of(old), of(new));
    let changes: Vec<f64> = a.iter().zip(&b).map(|(&a, &b)| worse(measure, a, b)).collect();
    let change = median(&changes);
    let certain = |changes: &[f64]| interval(medians(&[changes.to_vec()], config.bootstrap_samples, 1));
    // ABBAABBA: B of pairs 0 and 1 are neighbours, then A of pairs 1 and 2, and so on. Every other is turned round, as the pairs are, so
    // that a machine that becomes slower makes no difference.
    let control: Vec<f64> = (1..a.len().min(b.len()))
        .map(|i| if i % 2 == 1 { worse(measure, b[i - 1], b[i]) } else { worse(measure, a[i], a[i - 1]) })
        .collect();
    // With many figures some controls show small differences by chance: they count where they could explain the change.
    let drift = median(&control).abs();
    let vetoed = certain(&control).is_some_and(|[low, high]| low > 0.0 || high < 0.0) && 2.0 * drift >= change.abs();
    let doubt = match busy.filter(|_| measure.is_time()) {
        Some(busy) => Some(format!("the machine was busy: {busy}")),
        None if vetoed && measure != Measure::Memory => {
            Some("the control finds half of the change or more between equal programs".into())
        }
        None => None,
    };
    // Half of the neighbours differ by more than this.
    let noise = median(&control.iter().map(|change| change.abs()).collect::<Vec<f64>>());
    Change::of(new, (median(&a), median(&b)), change, certain(&changes), noise).decided(config, doubt)
}

#[cfg(test)]
mod tests {
    use super::super::compare::Verdict;
    use super::super::figure::{Statistics, SuiteName, Target};
    use super::*;
    use crate::random::SplitMix64;

    /// One sample per round, on a machine that becomes slower with time by `drift` per round.
    fn rounds(pairs: usize, slow: f64, drift: f64, random: &mut SplitMix64) -> [Vec<Vec<f64>>; 2] {
        let mut found = [Vec::new(), Vec::new()];
        for pair in 0..pairs {
            let order = if pair % 2 == 0 { [0, 1] } else { [1, 0] };
            for (place, which) in order.into_iter().enumerate() {
                let noise = 1.0 + 0.03 * (random.between(0, 2001) as f64 / 1000.0 - 1.0);
                let time = (1.0 + drift * (2 * pair + place) as f64) * if which == 1 { slow } else { 1.0 };
                found[which].push(vec![10.0 * time * noise]);
            }
        }
        found
    }

    fn verdicts(slow: f64, drift: f64) -> Vec<Verdict> {
        let config = Config::read(None).ok().unwrap();
        let config = Config { bootstrap_samples: 200, ..config };
        let mut random = SplitMix64(3);
        let target = Target { model: "m".into(), precision: "f32".into(), device: "cpu".into(), threads: 1 };
        let figure = |rounds| Figure {
            target: target.clone(),
            suite: SuiteName::Inference,
            case: "c".into(),
            batch: None,
            measure: Measure::Latency,
            unit: "ms".into(),
            rounds,
            statistics: Statistics::default(),
        };
        let mut one = |_| {
            let [old, new] = rounds(16, slow, drift, &mut random).map(figure);
            judge(&old, &new, &config, None).verdict
        };
        (0..100).map(&mut one).collect()
    }

    #[test]
    fn pairs_find_slow_downs_on_a_machine_that_drifts() {
        let share = |verdicts: &[Verdict], of: &[Verdict]| verdicts.iter().filter(|v| of.contains(v)).count();
        let worse = [Verdict::Warning, Verdict::Critical];
        // The machine's speed halves during the run.
        for drift in [0.0, 0.03] {
            assert_eq!(share(&verdicts(1.0, drift), &worse), 0, "{drift}");
            assert!(share(&verdicts(1.2, drift), &[worse[0]]) >= 95, "{drift}");
            assert!(share(&verdicts(1.35, drift), &[worse[1]]) >= 95, "{drift}");
            assert!(share(&verdicts(0.8, drift), &[Verdict::Better]) >= 95, "{drift}");
        }
    }
}
