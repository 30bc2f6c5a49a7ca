//! What a report's figures suggest to its reader.

use super::figure::{Figure, Measure, SuiteName, Target};
use super::report::{Report, number};

/// A batch is worth its size if it is so much faster per text.
const WORTH: f64 = 1.1;

/// The speed of batches beside the smallest one, in texts per second.
pub struct Speedups<'a> {
    pub target: &'a Target,
    pub suite: SuiteName,
    /// Batch sizes, ascending, and ratios; the first is 1.
    pub points: Vec<(usize, f64)>,
}

pub fn speedups(report: &Report) -> Vec<Speedups<'_>> {
    let mut all: Vec<Speedups> = Vec::new();
    for figure in report.figures.iter().filter(|figure| figure.measure == Measure::Latency) {
        let Some(batch) = figure.batch else { continue };
        let rate = batch as f64 / figure.statistics.median;
        match all.iter_mut().find(|s| (s.target, s.suite) == (&figure.target, figure.suite)) {
            Some(found) => found.points.push((batch, rate)),
            None => all.push(Speedups { target: &figure.target, suite: figure.suite, points: vec![(batch, rate)] }),
        }
    }
    for Speedups { points, .. } in &mut all {
        points.sort_by_key(|&(batch, _)| batch);
        let first = points[0].1;
        points.iter_mut().for_each(|(_, rate)| *rate /= first);
    }
    all.retain(|s| s.points.len() > 1);
    all
}

/// Sentences, each with the figures that it follows from.
pub fn of(report: &Report) -> Vec<String> {
    let mut advice = Vec::new();
    for Speedups { target, suite, points } in speedups(report).iter().filter(|s| s.suite == SuiteName::Inference) {
        let best = points.iter().fold(points[0], |best, &point| if point.1 > best.1 { point } else { best });
        let enough = points.iter().find(|(_, ratio)| ratio * WORTH >= best.1).unwrap_or(&best);
        let (first, last) = (points[0].0, points[points.len() - 1]);
        let before = points[points.len() - 2];
        if enough.0 > first {
            advice.push(format!(
                "{target}: {}: batches of {} process {} times as many texts per second as batches of {first}.",
                suite.name(),
                enough.0,
                number(enough.1)
            ));
        } else {
            advice.push(format!("{target}: {}: batches gain less than {:.0} %.", suite.name(), 100.0 * (WORTH - 1.0)));
        }
        if last.1 > WORTH * before.1 {
            advice.push(format!(
                "{target}: batch {} is {} times batch {}, and the configuration stops there: try larger ones.",
                last.0,
                number(last.1 / before.1),
                before.0
            ));
        }
    }
    advice.extend(precisions(report));
    let noisy = |figure: &&Figure| {
        report
            .configuration
            .threshold(figure.measure)
            .is_some_and(|t| figure.measure.is_time() && figure.statistics.noise > t.warning)
    };
    let noisy = report.figures.iter().filter(noisy).count();
    if noisy > 0 {
        advice.push(format!(
            "Of {noisy} figure{} the rounds differ by more than the threshold, so a change of that size cannot be told from noise: \
             use an idle machine or more rounds.",
            if noisy == 1 { "" } else { "s" }
        ));
    }
    if let Some(governor) = report.machine.governor.as_deref().filter(|governor| *governor != "performance") {
        advice.push(format!("The governor is {governor}: set performance while measuring."));
    }
    advice
}

/// The fastest precision of each model where there are several.
fn precisions(report: &Report) -> Vec<String> {
    let mut advice: Vec<String> = Vec::new();
    let cases = report.figures.iter().filter(|f| f.suite == SuiteName::Inference && f.measure == Measure::Latency);
    for figure in cases {
        let comparable = |other: &&Figure| {
            let same = |t: &Target| (t.model.clone(), t.device.clone(), t.threads);
            (other.suite, &other.case, other.measure) == (figure.suite, &figure.case, figure.measure)
                && same(&other.target) == same(&figure.target)
        };
        let all: Vec<&Figure> = report.figures.iter().filter(comparable).collect();
        // Told once, at the first.
        if all.len() < 2 || !std::ptr::eq(all[0], figure) {
            continue;
        }
        let by = |pick: fn(f64, f64) -> bool| {
            all.iter().copied().reduce(|a, b| if pick(b.statistics.median, a.statistics.median) { b } else { a })
        };
        if let (Some(fast), Some(slow)) = (by(|b, a| b < a), by(|b, a| b > a)) {
            let ratio = slow.statistics.median / fast.statistics.median;
            if ratio > WORTH {
                let (model, fast, slow) = (&fast.target.model, &fast.target.precision, &slow.target.precision);
                advice.push(format!("{model}: {}: {fast} is {} times as fast as {slow}.", figure.case, number(ratio)));
            }
        }
    }
    advice
}
