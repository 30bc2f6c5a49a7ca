//! Rotary positions (RoPE, Su et al. 2021): the angles of the rotations, and their scaling for long texts.

use crate::backend::{Rotation, Rotations};
use crate::spec::{Rotary, RotaryScaling};

/// The frequencies of a stack's layers.
pub struct Frequencies {
    global: Vec<f32>,
    /// LongRoPE: the frequencies beyond the original context length, and this length.
    long: Option<(Vec<f32>, usize)>,
    /// The factor of sines and cosines.
    amplitude: f32,
    /// Of layers with a sliding window.
    local: Option<Vec<f32>>,
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

impl Frequencies {
    pub fn new(rotary: &Rotary) -> Self {
        let mut global = plain(rotary.theta, rotary.dim);
        let (mut long_ones, mut amplitude) = (None, 1.0);
        match &rotary.scaling {
            RotaryScaling::None => {}
            RotaryScaling::Linear { factor } => global.iter_mut().for_each(|f| *f /= factor),
            &RotaryScaling::Llama3 { factor, low, high, original } => {
                global.iter_mut().for_each(|f| *f = llama3(*f, factor, low, high, original));
            }
            RotaryScaling::Long { short, long, original, attention } => {
                let divided = |by: &[f32]| global.iter().zip(by).map(|(f, by)| f / by).collect();
                long_ones = Some((divided(long), *original));
                global = divided(short);
                amplitude = *attention;
            }
        }
        Self { global, long: long_ones, amplitude, local: rotary.local_theta.map(|theta| plain(theta, rotary.dim)) }
    }

    /// LongRoPE's original context length.
    pub fn original_length(&self) -> Option<usize> {
        self.long.as_ref().map(|(_, most)| *most)
    }

    /// Writes the sines and cosines of tokens at these positions. `lengths` has the length of each token's sequence at the end of the
    /// step: as in the reference, LongRoPE's long factors apply to all tokens of a long text.
    pub fn at(&self, positions: &[u32], lengths: &[u32], out: &mut Rotations) {
        let global = |token: usize| match &self.long {
            Some((long, most)) if lengths[token] as usize > *most => long.as_slice(),
            _ => &self.global,
        };
        turn(positions, self.amplitude, global, &mut out.global);
        if let Some(local) = &self.local {
            turn(positions, 1.0, |_| local, &mut out.local);
        }
    }
}

fn turn<'a>(positions: &[u32], amplitude: f32, frequencies: impl Fn(usize) -> &'a [f32], out: &mut Rotation) {
    let Rotation { half, cos, sin } = out;
    *half = if positions.is_empty() { 0 } else { frequencies(0).len() };
    cos.clear();
    sin.clear();
    for (token, &position) in positions.iter().enumerate() {
        for frequency in frequencies(token) {
            let (s, c) = (position as f32 * frequency).sin_cos();
            cos.push(c * amplitude);
            sin.push(s * amplitude);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama3_keeps_fast_frequencies_and_divides_slow_ones() {
        let scaling = RotaryScaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 8192 };
        let rotary = Rotary { dim: 128, theta: 500_000.0, scaling, local_theta: None, without: Vec::new() };
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
        };
        let mut rotations = Rotations::default();
        assert!(rotations.of(0).is_none());
        Frequencies::new(&rotary).at(&[0, 3], &[4, 4], &mut rotations);
        let (global, local) = (rotations.of(0).unwrap(), rotations.of(9).unwrap());
        assert_eq!((global.half, &global.cos[..2]), (2, &[1.0, 1.0][..]));
        assert!((global.sin[2] - 1.5f32.sin()).abs() < 1e-7 && (global.sin[3] - 0.15f32.sin()).abs() < 1e-7);
        assert!((local.sin[3] - 0.03f32.sin()).abs() < 1e-7);
    }
}
