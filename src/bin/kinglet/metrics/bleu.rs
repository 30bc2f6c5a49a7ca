//! BLEU and chrF, as sacrebleu computes them by default.

use std::collections::HashMap;
use std::hash::Hash;
use std::ops::AddAssign;

use super::tokens::{is_space, tokens_13a, words};

/// The longest n-grams of BLEU, in tokens, and of chrF, in characters.
const BLEU_ORDER: usize = 4;
const CHRF_ORDER: usize = 6;

/// n-grams of a text or of several: those of the answer, those of the expected text, and those in both.
#[derive(Clone, Copy, Default)]
struct Matches {
    answer: usize,
    expected: usize,
    both: usize,
}

impl Matches {
    fn of<T: Eq + Hash>(answer: &[T], expected: &[T], n: usize) -> Self {
        let mut left: HashMap<&[T], usize> = HashMap::new();
        for gram in expected.windows(n) {
            *left.entry(gram).or_default() += 1;
        }
        let mut both = 0;
        for gram in answer.windows(n) {
            // Each n-gram of the expected text is matched at most once.
            if let Some(count) = left.get_mut(gram).filter(|count| **count > 0) {
                *count -= 1;
                both += 1;
            }
        }
        let grams = |text: &[T]| (text.len() + 1).saturating_sub(n);
        Self { answer: grams(answer), expected: grams(expected), both }
    }
}

impl AddAssign for Matches {
    fn add_assign(&mut self, other: Self) {
        self.answer += other.answer;
        self.expected += other.expected;
        self.both += other.both;
    }
}

/// What a case adds to corpus BLEU.
#[derive(Clone, Copy, Default)]
pub struct Bleu([Matches; BLEU_ORDER]);

impl Bleu {
    pub fn of(answer: &str, expected: &str) -> Self {
        let (answer, expected) = (tokens_13a(answer), tokens_13a(expected));
        let (answer, expected): (Vec<&str>, Vec<&str>) = (words(&answer).collect(), words(&expected).collect());
        Self(std::array::from_fn(|n| Matches::of(&answer, &expected, n + 1)))
    }

    /// Corpus BLEU from 0 to 100: mteval-v13a tokens, n-grams up to four, exponential smoothing (orders without a match count 1/2, 1/4,
    /// …). Papineni, Roukos, Ward & Zhu 2002; Chen & Cherry 2014.
    pub fn score(cases: impl Iterator<Item = Self>) -> f64 {
        let mut all = Self::default();
        cases.for_each(|case| all.0.iter_mut().zip(case.0).for_each(|(sum, matches)| *sum += matches));
        let Self(orders) = all;
        // If all answers are shorter than an order, its precision is undefined and the score is 0.
        if orders[0].both == 0 || orders.iter().any(|order| order.answer == 0) {
            return 0.0;
        }
        let mut unmatched = 1.0;
        let logarithms = orders.iter().map(|order| {
            let correct = if order.both == 0 {
                unmatched *= 2.0;
                1.0 / unmatched
            } else {
                order.both as f64
            };
            (100.0 * correct / order.answer as f64).ln()
        });
        let mean = logarithms.sum::<f64>() / BLEU_ORDER as f64;
        // Of single tokens, there are as many as the texts are long.
        let (length, expected) = (orders[0].answer, orders[0].expected);
        let brevity = if length < expected { 1.0 - expected as f64 / length as f64 } else { 0.0 };
        (mean + brevity).exp()
    }
}

/// What a case adds to corpus chrF.
#[derive(Clone, Copy, Default)]
pub struct Chrf([Matches; CHRF_ORDER]);

impl Chrf {
    pub fn of(answer: &str, expected: &str) -> Self {
        let chars = |text: &str| text.chars().filter(|&c| !is_space(c)).collect::<Vec<_>>();
        let (answer, expected) = (chars(answer), chars(expected));
        Self(std::array::from_fn(|n| {
            let matches = Matches::of(&answer, &expected, n + 1);
            // An expected text that is too short for this order counts neither for nor against the answer.
            if matches.expected == 0 { Matches::default() } else { matches }
        }))
    }

    /// Corpus chrF2 from 0 to 100: the F-measure of the mean precision and the mean recall of character n-grams up to six, where recall
    /// counts twice. Popović 2015.
    pub fn score(cases: impl Iterator<Item = Self>) -> f64 {
        const BETA_SQUARED: f64 = 4.0;
        let mut all = Self::default();
        cases.for_each(|case| all.0.iter_mut().zip(case.0).for_each(|(sum, matches)| *sum += matches));
        let (mut precision, mut recall, mut orders) = (0.0, 0.0, 0.0);
        for order in all.0.iter().filter(|order| order.answer > 0 && order.expected > 0) {
            precision += order.both as f64 / order.answer as f64;
            recall += order.both as f64 / order.expected as f64;
            orders += 1.0;
        }
        if precision + recall == 0.0 {
            return 0.0;
        }
        let (precision, recall) = (precision / orders, recall / orders);
        100.0 * (1.0 + BETA_SQUARED) * precision * recall / (BETA_SQUARED * precision + recall)
    }
}
