//! ROUGE as rouge_score computes it by default: words of a-z and digits, no stemming, F-measures. Lin 2004.

use std::collections::HashMap;

use super::tokens::alphanumeric;

/// The most steps that looking for the longest common subsequence of documents may take.
const TABLE: usize = 1 << 30;

/// The F-measures of one case.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rouge {
    /// Of single words and of pairs.
    pub one: f64,
    pub two: f64,
    /// Of the longest common subsequence.
    pub l: f64,
    /// Of the union of the longest common subsequences of lines: for summaries of several sentences, one per line.
    pub l_sum: f64,
}

impl Rouge {
    pub fn of(answer: &str, expected: &str) -> Self {
        let (answer, expected) = (answer.to_lowercase(), expected.to_lowercase());
        let (words, wanted) = (alphanumeric(&answer), alphanumeric(&expected));
        Self {
            one: n_grams(&words, &wanted, 1),
            two: n_grams(&words, &wanted, 2),
            l: f_measure(common_subsequence(&words, &wanted), words.len(), wanted.len()),
            l_sum: of_lines(&answer, &expected),
        }
    }
}

/// ROUGE-1, -2 and -L of a text with another that may be long.
pub fn of_documents(answer: &str, expected: &str) -> (f64, f64, Option<f64>) {
    let (answer, expected) = (answer.to_lowercase(), expected.to_lowercase());
    let (words, wanted) = (alphanumeric(&answer), alphanumeric(&expected));
    let common = if is_subsequence(&words, &wanted) {
        Some(words.len())
    } else {
        (words.len().saturating_mul(wanted.len()) <= TABLE).then(|| common_subsequence(&words, &wanted))
    };
    let l = common.map(|common| f_measure(common, words.len(), wanted.len()));
    (n_grams(&words, &wanted, 1), n_grams(&words, &wanted, 2), l)
}

fn is_subsequence(words: &[&str], of: &[&str]) -> bool {
    let mut rest = of.iter();
    words.iter().all(|word| rest.any(|other| other == word))
}

/// The harmonic mean of precision and recall; 0 if nothing is in common.
fn f_measure(common: usize, answer: usize, expected: usize) -> f64 {
    2.0 * common as f64 / (answer + expected).max(1) as f64
}

fn counts<'a, T: Eq + std::hash::Hash + ?Sized>(items: impl Iterator<Item = &'a T>) -> HashMap<&'a T, usize> {
    let mut counts = HashMap::new();
    items.for_each(|item| *counts.entry(item).or_default() += 1);
    counts
}

fn n_grams(answer: &[&str], expected: &[&str], n: usize) -> f64 {
    let wanted = counts(expected.windows(n));
    let given = counts(answer.windows(n));
    let common = given.iter().map(|(gram, &count)| count.min(wanted.get(gram).copied().unwrap_or(0))).sum();
    let grams = |words: &[&str]| (words.len() + 1).saturating_sub(n);
    f_measure(common, grams(answer), grams(expected))
}

/// The length of the longest common subsequence, with one row of the table in memory.
fn common_subsequence(a: &[&str], b: &[&str]) -> usize {
    let mut row = vec![0; b.len() + 1];
    for word in a {
        let mut diagonal = 0;
        for (i, other) in b.iter().enumerate() {
            let above = row[i + 1];
            row[i + 1] = if word == other { diagonal + 1 } else { above.max(row[i]) };
            diagonal = above;
        }
    }
    row[b.len()]
}

/// The lengths of the longest common subsequences of all beginnings of two lines.
struct Table {
    lengths: Vec<u32>,
    width: usize,
}

impl Table {
    fn new(expected: &[&str], answer: &[&str]) -> Self {
        let width = answer.len() + 1;
        let mut lengths = vec![0; (expected.len() + 1) * width];
        for (i, wanted) in expected.iter().enumerate() {
            for (j, word) in answer.iter().enumerate() {
                lengths[(i + 1) * width + j + 1] = if wanted == word {
                    lengths[i * width + j] + 1
                } else {
                    lengths[i * width + j + 1].max(lengths[(i + 1) * width + j])
                };
            }
        }
        Self { lengths, width }
    }

    fn at(&self, i: usize, j: usize) -> u32 {
        self.lengths[i * self.width + j]
    }

    /// Marks the words of the expected text that are in the subsequence. Where several are longest, rouge_score's choice counts.
    fn mark(&self, expected: &[&str], answer: &[&str], marks: &mut [bool]) {
        let (mut i, mut j) = (expected.len(), answer.len());
        while i > 0 && j > 0 {
            if expected[i - 1] == answer[j - 1] {
                marks[i - 1] = true;
                (i, j) = (i - 1, j - 1);
            } else if self.at(i, j - 1) > self.at(i - 1, j) {
                j -= 1;
            } else {
                i -= 1;
            }
        }
    }
}

fn of_lines(answer: &str, expected: &str) -> f64 {
    fn lines(text: &str) -> Vec<Vec<&str>> {
        text.split('\n').filter(|line| !line.is_empty()).map(alphanumeric).collect()
    }
    let (answer, expected) = (lines(answer), lines(expected));
    // No word counts more often than it stands in either text.
    let mut given = counts(answer.iter().flatten().copied());
    let mut wanted = counts(expected.iter().flatten().copied());
    let mut common = 0;
    for line in &expected {
        let mut marks = vec![false; line.len()];
        answer.iter().for_each(|other| Table::new(line, other).mark(line, other, &mut marks));
        for (word, _) in line.iter().zip(marks).filter(|(_, marked)| *marked) {
            let left = [given.get_mut(word), wanted.get_mut(word)];
            if let [Some(given), Some(wanted)] = left
                && *given > 0
                && *wanted > 0
            {
                (*given, *wanted) = (*given - 1, *wanted - 1);
                common += 1;
            }
        }
    }
    let words = |lines: &[Vec<&str>]| lines.iter().map(Vec::len).sum();
    f_measure(common, words(&answer), words(&expected))
}
