//! Sampling: the logits warpers of transformers' `generate` in its order, and random numbers that depend only on the seed.

use super::settings::Sampling;

/// A token that may be sampled.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenProbability {
    pub token: u32,
    pub probability: f64,
}

/// eˣ for x ≤ 0 with additions and multiplications only: the system's `exp` differs between machines, and with it the sampled tokens.
/// Cody-Waite reduction and a Taylor series, accurate to about 1e-15.
fn exp(x: f64) -> f64 {
    if x < -700.0 {
        return 0.0;
    }
    let n = (x * std::f64::consts::LOG2_E).round();
    let r = (x - n * 0.693_147_180_369_123_8) - n * 1.908_214_929_270_587_7e-10;
    let mut term = 1.0;
    let mut sum = 1.0;
    for i in 1..14 {
        term *= r / f64::from(i);
        sum += term;
    }
    sum * f64::from_bits(((n as i64 + 1023) as u64) << 52)
}

/// ln x for 0 < x ≤ 1, for the same reason: Newton's method on `exp`.
fn ln(x: f64) -> f64 {
    // The initial value is linear in the mantissa.
    let bits = x.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i64 - 1023;
    let mantissa = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | 0x3ff0_0000_0000_0000);
    let mut y = (exponent as f64 + (mantissa - 1.0)) * std::f64::consts::LN_2;
    for _ in 0..4 {
        y += x * exp_any(-y) - 1.0;
    }
    y
}

/// `exp` for both signs.
fn exp_any(x: f64) -> f64 {
    if x <= 0.0 { exp(x) } else { 1.0 / exp(-x) }
}

/// Makes probabilities sum to 1.
fn normalise(candidates: &mut [TokenProbability]) {
    let total: f64 = candidates.iter().map(|c| c.probability).sum();
    candidates.iter_mut().for_each(|c| c.probability /= total);
}

/// The most likely first; equal probabilities by token.
fn by_probability(a: &TokenProbability, b: &TokenProbability) -> std::cmp::Ordering {
    b.probability.total_cmp(&a.probability).then(a.token.cmp(&b.token))
}

/// Lists of `candidates`, kept so that it does not allocate.
#[derive(Default)]
pub struct SamplingBuffers {
    scores: Vec<(u32, f32)>,
    candidates: Vec<TokenProbability>,
}

/// Applies the warpers to a row of logits. The result is ordered by token.
pub fn candidates<'a>(logits: &[f32], sampling: &Sampling, buffers: &'a mut SamplingBuffers) -> &'a [TokenProbability] {
    let SamplingBuffers { scores, candidates } = buffers;
    scores.clear();
    scores.reserve(logits.len());
    candidates.clear();
    let allowed = logits.iter().enumerate().filter(|(_, x)| **x > f32::NEG_INFINITY);
    // The largest is subtracted first: divided by a small temperature, it could overflow.
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    scores.extend(allowed.map(|(i, x)| (i as u32, (x - top) / sampling.temperature)));
    if sampling.top_k > 0 && sampling.top_k < scores.len() {
        let nth = sampling.top_k - 1;
        scores.select_nth_unstable_by(nth, |a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        // Scores equal to the k-th stay, as in the reference.
        let last = scores[nth].1;
        scores.retain(|(_, score)| *score >= last);
        scores.sort_unstable_by_key(|(token, _)| *token);
    }
    let largest = scores.iter().map(|(_, score)| *score).fold(f32::NEG_INFINITY, f32::max);
    let weighed =
        |&(token, score): &(u32, f32)| TokenProbability { token, probability: exp(f64::from(score - largest)) };
    candidates.extend(scores.iter().map(weighed));
    normalise(candidates);
    if sampling.top_p < 1.0 {
        candidates.sort_unstable_by(by_probability);
        // Drops the tail whose total probability is at most 1 - top_p.
        let mut tail = 0.0;
        let mut keep = candidates.len();
        for (i, c) in candidates.iter().enumerate().rev() {
            tail += c.probability;
            if tail > 1.0 - f64::from(sampling.top_p) || i == 0 {
                break;
            }
            keep = i;
        }
        candidates.truncate(keep);
        normalise(candidates);
    }
    if sampling.min_p > 0.0 {
        let top = candidates.iter().map(|c| c.probability).fold(0.0, f64::max);
        candidates.retain(|c| c.probability >= top * f64::from(sampling.min_p));
        normalise(candidates);
    }
    if sampling.typical_p < 1.0 {
        typical(candidates, f64::from(sampling.typical_p));
        normalise(candidates);
    }
    candidates.sort_unstable_by_key(|c| c.token);
    candidates
}

/// Keeps the tokens whose information content is closest to the entropy, until their total probability is `mass`.
fn typical(candidates: &mut Vec<TokenProbability>, mass: f64) {
    candidates.retain(|c| c.probability > 0.0);
    let information = |c: &TokenProbability| -ln(c.probability);
    let entropy: f64 = candidates.iter().map(|c| c.probability * information(c)).sum();
    let distance = |c: &TokenProbability| (information(c) - entropy).abs();
    candidates.sort_unstable_by(|a, b| distance(a).total_cmp(&distance(b)).then(a.token.cmp(&b.token)));
    let mut total = 0.0;
    let mut keep = 0;
    for c in &*candidates {
        keep += 1;
        total += c.probability;
        if total >= mass {
            break;
        }
    }
    candidates.truncate(keep.max(1));
}

/// Samples one of the candidates; `draw` is a random number in [0, 1).
pub fn choose(candidates: &[TokenProbability], draw: f64) -> u32 {
    let mut sum = 0.0;
    for c in candidates {
        sum += c.probability;
        if draw < sum {
            return c.token;
        }
    }
    candidates.last().map_or(0, |c| c.token)
}

/// Random numbers as a function of seed, sequence and step: SplitMix64 (Steele et al. 2014).
#[derive(Clone, Copy, Debug)]
pub struct Random(u64);

impl Random {
    /// `sequence` is the index among the prompt's `num_return_sequences`.
    pub fn new(seed: u64, sequence: usize) -> Self {
        Self(mix(seed ^ mix(sequence as u64 + 1)))
    }

    /// The random number of a step, in [0, 1).
    pub fn at(self, step: usize) -> f64 {
        let bits = mix(self.0.wrapping_add((step as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        (bits >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A random seed.
pub fn fresh_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_agree_with_the_system_s() {
        for i in 0..2000 {
            let x = -0.05 * f64::from(i);
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-13, "{x}");
            let p = x.exp();
            assert!((ln(p) - x).abs() < 1e-12 * (1.0 + x.abs()), "{x} {}", ln(p));
        }
    }

    #[test]
    fn warpers_leave_what_those_of_transformers_leave() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/generation/gpt2/reference.json");
        let reference: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let cases = reference["warpers"].as_array().unwrap();
        assert!(cases.len() >= 12);
        for case in cases {
            let number = |key: &str, default: f64| case["options"][key].as_f64().unwrap_or(default) as f32;
            let sampling = Sampling {
                temperature: number("temperature", 1.0),
                top_k: number("top_k", 0.0) as usize,
                top_p: number("top_p", 1.0),
                min_p: number("min_p", 0.0),
                typical_p: number("typical_p", 1.0),
                seed: None,
            };
            let logits: Vec<f32> =
                case["logits"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect();
            let mut buffers = SamplingBuffers::default();
            let kept = candidates(&logits, &sampling, &mut buffers);
            let expected = case["kept"].as_object().unwrap();
            let tokens: Vec<String> = kept.iter().map(|c| c.token.to_string()).collect();
            assert!(
                tokens.len() == expected.len() && tokens.iter().all(|t| expected.contains_key(t)),
                "{}",
                case["options"]
            );
            for c in kept {
                let p = expected[&c.token.to_string()].as_f64().unwrap();
                assert!((c.probability - p).abs() < 1e-5, "{}: {} and {p}", case["options"], c.probability);
            }
        }
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let c = |token, probability| TokenProbability { token, probability };
        let candidates = [c(3, 0.25), c(5, 0.5), c(9, 0.25)];
        let random = Random::new(7, 0);
        let mut counts = [0; 10];
        for step in 0..20_000 {
            counts[choose(&candidates, random.at(step)) as usize] += 1;
        }
        assert!((4700..5300).contains(&counts[3]) && (9700..10_300).contains(&counts[5]), "{counts:?}");
        assert_ne!(Random::new(7, 0).at(0), Random::new(7, 1).at(0));
        assert_eq!(Random::new(7, 1).at(4), Random::new(7, 1).at(4));
    }
}
