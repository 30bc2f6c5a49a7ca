//! How often answers and labels are right.

use std::collections::{BTreeSet, HashMap};

/// The F-measure of the words that two texts share, as SQuAD's evaluation counts it: without case, punctuation and articles. Rajpurkar,
/// Zhang, Lopyrev & Liang 2016.
pub fn word_f1(answer: &str, expected: &str) -> f64 {
    fn words(text: &str) -> Vec<String> {
        let plain: String = text.to_lowercase().chars().filter(|c| !c.is_ascii_punctuation()).collect();
        let kept = |word: &&str| !matches!(*word, "a" | "an" | "the");
        plain.split_whitespace().filter(kept).map(String::from).collect()
    }
    let (answer, expected) = (words(answer), words(expected));
    if answer.is_empty() || expected.is_empty() {
        return f64::from(answer == expected);
    }
    let mut left: HashMap<&str, usize> = HashMap::new();
    expected.iter().for_each(|word| *left.entry(word).or_default() += 1);
    let common = answer
        .iter()
        .filter(|word| left.get_mut(word.as_str()).filter(|count| **count > 0).map(|count| *count -= 1).is_some());
    2.0 * common.count() as f64 / (answer.len() + expected.len()) as f64
}

/// The mean over labels of the F-measure of each (scikit-learn's `f1_score(average="macro")`); 0 without cases.
pub fn macro_f1<'a>(cases: impl Iterator<Item = (&'a str, &'a str)>) -> f64 {
    let mut labels = BTreeSet::new();
    let (mut given, mut wanted, mut right) = (HashMap::new(), HashMap::new(), HashMap::new());
    for (answer, expected) in cases {
        labels.extend([answer, expected]);
        *given.entry(answer).or_insert(0) += 1;
        *wanted.entry(expected).or_insert(0) += 1;
        if answer == expected {
            *right.entry(answer).or_insert(0) += 1;
        }
    }
    let count = |counts: &HashMap<&str, u32>, label: &str| f64::from(counts.get(label).copied().unwrap_or(0));
    let each = labels.iter().map(|label| 2.0 * count(&right, label) / (count(&given, label) + count(&wanted, label)));
    each.sum::<f64>() / labels.len().max(1) as f64
}
