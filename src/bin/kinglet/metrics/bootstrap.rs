//! How far a figure would move with other cases of the same kind: the bootstrap of Efron 1979, and for two systems on the same cases the
//! paired bootstrap of Koehn 2004.

use crate::random::SplitMix64;

/// The seed of the samples. It is fixed, so that the same answers give the same interval.
const SEED: u64 = 1979;

/// What a number of cases scores; a case may be given several times.
pub type Score<'a> = dyn Fn(&[usize]) -> f64 + 'a;

/// The 95 % interval of each score over `cases` cases, each None without samples.
pub fn intervals(scores: &[&Score], cases: usize, samples: usize) -> Vec<Option<[f64; 2]>> {
    let drawn = draw(scores, cases, samples);
    drawn.into_iter().map(interval).collect()
}

/// A difference between two systems.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    /// The second system's score less the first's.
    pub value: f64,
    pub interval: Option<[f64; 2]>,
    /// How probable a difference this large would be if the systems were equal (two-sided).
    pub p: Option<f64>,
}

/// The differences of pairs of scores, both over the same samples of `cases` cases.
pub fn differences(pairs: &[(&Score, &Score)], cases: usize, samples: usize) -> Vec<Difference> {
    let all: Vec<usize> = (0..cases).collect();
    let differ: Vec<_> = pairs.iter().map(|(a, b)| move |sample: &[usize]| b(sample) - a(sample)).collect();
    let scores: Vec<&Score> = differ.iter().map(|score| score as &Score).collect();
    let drawn = draw(&scores, cases, samples);
    let differences = scores.iter().zip(drawn).map(|(score, drawn)| {
        let share = |beyond: fn(&f64) -> bool| {
            let count = drawn.iter().filter(|difference| beyond(difference)).count();
            // One more sample on this side, so that no finite number of samples proves anything.
            (count + 1) as f64 / (drawn.len() + 1) as f64
        };
        let p = (!drawn.is_empty()).then(|| (2.0 * share(|d| *d <= 0.0).min(share(|d| *d >= 0.0))).min(1.0));
        Difference { value: score(&all), p, interval: interval(drawn) }
    });
    differences.collect()
}

/// The scores of samples of the cases, each sample as large as the whole, drawn with replacement.
fn draw(scores: &[&Score], cases: usize, samples: usize) -> Vec<Vec<f64>> {
    let mut random = SplitMix64(SEED);
    let mut drawn = vec![Vec::with_capacity(samples); scores.len()];
    let mut sample = vec![0; cases];
    for _ in 0..if cases > 0 { samples } else { 0 } {
        sample.iter_mut().for_each(|case| *case = random.between(0, cases));
        drawn.iter_mut().zip(scores).for_each(|(drawn, score)| drawn.push(score(&sample)));
    }
    drawn
}

/// From the 2.5th to the 97.5th percentile.
fn interval(mut scores: Vec<f64>) -> Option<[f64; 2]> {
    scores.retain(|score| !score.is_nan());
    scores.sort_by(f64::total_cmp);
    if scores.is_empty() { None } else { Some([0.025, 0.975].map(|share| super::latency::percentile(&scores, share))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mean of 400 zeros and ones: the interval is about 1.96 standard errors on both sides.
    #[test]
    fn the_interval_of_a_mean_is_that_of_its_standard_error() {
        let mean = |sample: &[usize]| sample.iter().filter(|&&i| i % 4 == 0).count() as f64 / sample.len() as f64;
        let [low, high] = intervals(&[&mean], 400, 2000)[0].unwrap();
        let error = 1.96 * (0.25f64 * 0.75 / 400.0).sqrt();
        assert!((low - (0.25 - error)).abs() < 0.006 && (high - (0.25 + error)).abs() < 0.006, "{low} {high}");
        assert_eq!(intervals(&[&mean], 400, 2000)[0], intervals(&[&mean], 400, 2000)[0]);
        assert!(intervals(&[&mean], 400, 0)[0].is_none() && intervals(&[&mean], 0, 10)[0].is_none());
    }

    #[test]
    fn a_difference_is_tested_on_the_same_cases() {
        // The second system is right where the first is, and in 20 more of 400 cases.
        let first = |sample: &[usize]| sample.iter().filter(|&&i| i < 200).count() as f64 / sample.len() as f64;
        let second = |sample: &[usize]| sample.iter().filter(|&&i| i < 220).count() as f64 / sample.len() as f64;
        // Another first system, right as often, but elsewhere: the same difference means little.
        let third = |sample: &[usize]| sample.iter().filter(|&&i| i >= 200).count() as f64 / sample.len() as f64;
        let found = differences(&[(&first, &second), (&third, &second), (&first, &first)], 400, 1000);
        assert!((found[0].value - 0.05).abs() < 1e-12 && found[0].p.unwrap() < 0.01, "{found:?}");
        assert!((found[1].value - 0.05).abs() < 1e-12 && found[1].p.unwrap() > 0.05, "{found:?}");
        assert!(found[2].value == 0.0 && found[2].p == Some(1.0) && found[2].interval == Some([0.0, 0.0]), "{found:?}");
    }
}
