//! Rotary positions (RoPE, Su et al. 2021): the angles of the rotations, and their scaling for long texts.

use crate::backend::{Rotation, Rotations};
use crate::spec::{Rotary, RotaryScaling, RotarySwitch};

/// The frequencies of a stack's layers.
pub struct Frequencies {
    global: Vec<f32>,
    /// The original context length, beyond which a text has others; the largest number where it has not.
    original: usize,
    beyond: Beyond,
    /// The factor of sines and cosines.
    amplitude: f32,
    /// Of layers with a sliding window.
    local: Option<Vec<f32>>,
}

/// The frequencies of texts beyond the original context length.
enum Beyond {
    /// LongRoPE's.
    Long(Vec<f32>),
    /// Dynamic NTK's, which depend on the length.
    Dynamic(Dynamic),
}

/// One frequency per pair, as the reference computes them, in f32.
fn plain(theta: f32, dim: usize) -> Vec<f32> {
    (0..dim / 2).map(|i| 1.0 / theta.powf((2 * i) as f32 / dim as f32)).collect()
}

/// Llama 3.1's blend (`_compute_llama3_parameters` in Hugging Face's `modeling_rope_utils`).
fn llama3(frequency: f32, factor: f32, low: f32, high: f32, original: usize) -> f32 {
    let wavelength = 2.0 * std::f32::consts::PI / frequency;
    let original = original as f32;
    if wavelength < original / high {
        return frequency;
    }
    if wavelength > original / low {
        return frequency / factor;
    }
    let smooth = (original / wavelength - low) / (high - low);
    (1.0 - smooth) * frequency / factor + smooth * frequency
}

/// Dynamic NTK (`_compute_dynamic_ntk_parameters`): the base grows so that the lowest frequency falls with the length.
struct Dynamic {
    theta: f32,
    dim: usize,
    factor: f32,
    original: usize,
}

impl Dynamic {
    /// The frequencies of a text of this many tokens, more than the original context length.
    fn at(&self, length: usize) -> Vec<f32> {
        let &Self { theta, dim, factor, original } = self;
        let stretch = factor * length as f32 / original as f32 - (factor - 1.0);
        plain(theta * stretch.powf((dim as f64 / (dim as f64 - 2.0)) as f32), dim)
    }
}

/// YaRN's blend (`_compute_yarn_parameters`) of frequencies that are divided by `factor` and frequencies that are not.
fn yarn(theta: f32, dim: usize, factor: f32, [fast, slow]: [f32; 2], original: usize, truncate: bool) -> Vec<f32> {
    // The index of the frequency that turns this many times within the original context length.
    let index = |turns: f32| {
        let length = original as f64 / (f64::from(turns) * 2.0 * std::f64::consts::PI);
        dim as f64 * length.ln() / (2.0 * f64::from(theta).ln())
    };
    let whole = |low: f64, high: f64| if truncate { (low.floor(), high.ceil()) } else { (low, high) };
    let (low, high) = whole(index(fast), index(slow));
    let (low, high) = (low.max(0.0), high.min(dim as f64 - 1.0));
    // Prevents a division by zero, as in the reference.
    let high = if low == high { high + 0.001 } else { high };
    let blend = |i: usize| {
        let power = theta.powf((2 * i) as f32 / dim as f32);
        let kept = 1.0 - ((i as f32 - low as f32) / (high - low) as f32).clamp(0.0, 1.0);
        1.0 / (factor * power) * (1.0 - kept) + 1.0 / power * kept
    };
    (0..dim / 2).map(blend).collect()
}

impl Frequencies {
    pub fn new(rotary: &Rotary) -> Self {
        let mut global = plain(rotary.theta, rotary.dim);
        let (mut original_length, mut beyond, mut amplitude) = (usize::MAX, Beyond::Long(Vec::new()), 1.0);
        match &rotary.scaling {
            RotaryScaling::None => {}
            RotaryScaling::Linear { factor } => global.iter_mut().for_each(|f| *f /= factor),
            &RotaryScaling::Llama3 { factor, low, high, original } => {
                global.iter_mut().for_each(|f| *f = llama3(*f, factor, low, high, original));
            }
            RotaryScaling::Long { short, long, original, attention } => {
                let divided = |by: &[f32]| global.iter().zip(by).map(|(f, by)| f / by).collect();
                (original_length, beyond) = (*original, Beyond::Long(divided(long)));
                global = divided(short);
                amplitude = *attention;
            }
            &RotaryScaling::Yarn { factor, fast, slow, original, truncate, attention } => {
                global = yarn(rotary.theta, rotary.dim, factor, [fast, slow], original, truncate);
                amplitude = attention;
            }
            &RotaryScaling::Dynamic { factor, original } => {
                let dynamic = Dynamic { theta: rotary.theta, dim: rotary.dim, factor, original };
                (original_length, beyond) = (original, Beyond::Dynamic(dynamic));
            }
        }
        let local = rotary.local_theta.map(|theta| plain(theta, rotary.dim));
        Self { global, original: original_length, beyond, amplitude, local }
    }

    /// Where the frequencies of a sequence change as it grows; None if they do not.
    pub fn switch(&self) -> Option<RotarySwitch> {
        let grows = matches!(self.beyond, Beyond::Dynamic(_));
        (self.original < usize::MAX).then_some(RotarySwitch { length: self.original, grows })
    }

    /// Writes the sines and cosines of tokens at these positions. `lengths` has the length of each token's sequence at the end of the
    /// step: as in the reference, LongRoPE's long factors and the base of dynamic NTK apply to all tokens of a step.
    pub fn at(&self, positions: &[u32], lengths: &[u32], out: &mut Rotations) {
        out.global.clear(self.global.len());
        // Those of the last length; the tokens of a sequence follow each other.
        let (mut grown, mut grown_for) = (Vec::new(), 0);
        for (&position, &length) in positions.iter().zip(lengths) {
            let length = length as usize;
            let frequencies = match &self.beyond {
                _ if length <= self.original => &self.global,
                Beyond::Long(long) => long,
                Beyond::Dynamic(dynamic) => {
                    if grown_for != length {
                        (grown, grown_for) = (dynamic.at(length), length);
                    }
                    &grown
                }
            };
            out.global.turn(position, frequencies, self.amplitude);
        }
        if let Some(local) = &self.local {
            out.local.clear(local.len());
            positions.iter().for_each(|&position| out.local.turn(position, local, 1.0));
        }
    }
}

impl Rotation {
    fn clear(&mut self, half: usize) {
        self.half = half;
        self.cos.clear();
        self.sin.clear();
    }

    fn turn(&mut self, position: u32, frequencies: &[f32], amplitude: f32) {
        for frequency in frequencies {
            let (s, c) = (position as f32 * frequency).sin_cos();
            self.cos.push(c * amplitude);
            self.sin.push(s * amplitude);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama3_keeps_fast_frequencies_and_divides_slow_ones() {
        let scaling = RotaryScaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 8192 };
        let rotary =
            Rotary { dim: 128, theta: 500_000.0, scaling, local_theta: None, without: Vec::new(), interleaved: false };
        let (plain, scaled) = (plain(500_000.0, 128), Frequencies::new(&rotary).global);
        assert_eq!(plain[..25], scaled[..25]);
        assert_eq!(scaled[63], plain[63] / 8.0);
        // transformers' value for the 32nd frequency of Llama 3.1.
        assert!(scaled[32] < plain[32] && scaled[32] > plain[32] / 8.0);
    }

    #[test]
    fn angles_are_positions_times_frequencies() {
        let rotary = Rotary {
            dim: 4,
            theta: 100.0,
            scaling: RotaryScaling::Linear { factor: 2.0 },
            local_theta: Some(1e4),
            without: Vec::new(),
            interleaved: false,
        };
        let mut rotations = Rotations::default();
        assert!(rotations.of(0).is_none());
        Frequencies::new(&rotary).at(&[0, 3], &[4, 4], &mut rotations);
        let (global, local) = (rotations.of(0).unwrap(), rotations.of(9).unwrap());
        assert_eq!((global.half, &global.cos[..2]), (2, &[1.0, 1.0][..]));
        assert!((global.sin[2] - 1.5f32.sin()).abs() < 1e-7 && (global.sin[3] - 0.15f32.sin()).abs() < 1e-7);
        assert!((local.sin[3] - 0.03f32.sin()).abs() < 1e-7);
    }

    /// The kinds of scaling and what files say of them, in both spellings.
    #[test]
    fn frequencies_are_those_of_transformers() {
        use std::path::Path;

        use crate::formats::json::Config;
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/rope.json");
        let cases: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let rest =
            serde_json::json!({"model_type": "llama", "num_hidden_layers": 1, "intermediate_size": 8, "vocab_size": 9});
        let (mut kinds, mut worst) = (std::collections::BTreeSet::new(), 0.0f32);
        for case in cases.as_array().unwrap() {
            for spelling in ["config", "new"] {
                let mut fields = case[spelling].clone();
                fields.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
                let config = Config::from_value(Path::new("config.json"), fields).unwrap();
                let rotary = crate::families::spec(&config).unwrap().decoder.unwrap().rotary.unwrap();
                let length = case["length"].as_u64().unwrap() as u32;
                let mut rotations = Rotations::default();
                let frequencies = Frequencies::new(&rotary);
                // At position 0 the cosine is the factor.
                frequencies.at(&[0], &[length], &mut rotations);
                let attention = rotations.of(0).unwrap().cos[0];
                let found = match &frequencies.beyond {
                    Beyond::Dynamic(dynamic) if length as usize > frequencies.original => dynamic.at(length as usize),
                    _ => frequencies.global,
                };
                let expected = case["frequencies"].as_array().unwrap();
                assert_eq!(found.len(), expected.len());
                let expected = expected.iter().map(|value| value.as_f64().unwrap() as f32);
                let pairs =
                    found.into_iter().zip(expected).chain([(attention, case["attention"].as_f64().unwrap() as f32)]);
                for (found, expected) in pairs {
                    let error = (found - expected).abs() / expected;
                    assert!(error < 1e-6, "{} at {length}: {found}, not {expected}", case["name"]);
                    worst = worst.max(error);
                }
                kinds.insert(case["name"].to_string());
            }
        }
        println!("{} kinds, worst relative error {worst:e}", kinds.len());
        assert_eq!(kinds.len(), 18);
    }

    #[test]
    fn dynamic_frequencies_follow_the_length_of_each_sequence() {
        let scaling = RotaryScaling::Dynamic { factor: 2.0, original: 8 };
        let rotary =
            Rotary { dim: 8, theta: 100.0, scaling, local_theta: None, without: Vec::new(), interleaved: false };
        let frequencies = Frequencies::new(&rotary);
        let sines = |positions: &[u32], lengths: &[u32]| {
            let mut rotations = Rotations::default();
            frequencies.at(positions, lengths, &mut rotations);
            rotations.of(0).unwrap().sin.clone()
        };
        let together = sines(&[7, 7, 7, 7], &[8, 9, 20, 9]);
        for (i, length) in [8, 9, 20, 9].into_iter().enumerate() {
            assert_eq!(together[4 * i..4 * i + 4], sines(&[7], &[length]));
        }
        assert_ne!(together[..4], together[4..8]);
        assert_ne!(together[4..8], together[8..12]);
        assert_eq!(frequencies.switch(), Some(RotarySwitch { length: 8, grows: true }));
    }
}
