//! The measures of `kinglet evaluate`: how close answers come to the expected ones, how sure the figures are, and how long it took.

pub mod answers;
pub mod bleu;
pub mod bootstrap;
pub mod latency;
pub mod ranking;
pub mod rouge;
mod tokens;

#[cfg(test)]
mod tests;

/// A measure of a system's answers to all cases.
pub struct Metric {
    /// Its name in JSON.
    pub key: &'static str,
    /// Its name in the table.
    pub name: &'static str,
    /// The score of any number of cases, each of which may be given several times.
    pub score: Box<bootstrap::Score<'static>>,
}

impl Metric {
    pub fn new(key: &'static str, name: &'static str, score: impl Fn(&[usize]) -> f64 + 'static) -> Self {
        Self { key, name, score: Box::new(score) }
    }

    /// The mean of a value per case; 0 without cases.
    pub fn mean(key: &'static str, name: &'static str, values: Vec<f64>) -> Self {
        Self::new(key, name, move |cases| cases.iter().map(|&i| values[i]).sum::<f64>() / cases.len().max(1) as f64)
    }
}
