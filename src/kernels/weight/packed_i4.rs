//! 4 bits, quantised asymmetrically in groups of 32 inputs: `weight = step · number + least`, with numbers in 0..=15. Activations are
//! quantised to 8 bits in the same groups, so that a group's products are summed exactly and then scaled.
//!
//! A block of 16 channels is one run of groups. A group is four cache lines of numbers, each with eight inputs of the 16 channels (four in
//! the low halves of the bytes, the next four in the high halves, so that a mask and a shift give what [`super::blocks::Blocks`] has), then 16
//! steps and 16 least values in f16. That is GGUF's Q4_1 in another order: its weights, and those of Q4_0, are packed without loss.

use half::f16;

use super::{RowSource, Shape, TableType, Weight, WeightFormat};
use crate::kernels::instruction_set::Multiply;
use crate::kernels::linear::{Plan, store};
use crate::kernels::vector::{Tile, TilePosition, Vector};
use crate::kernels::{BLOCK, GROUP_INPUTS, GroupScale, Input, InputType};
use crate::spec::Precision;

pub struct I4;

/// Bytes of a group of 16 channels: numbers, steps, least values.
const STEPS: usize = GROUP_INPUTS * BLOCK / 2;
const LEASTS: usize = STEPS + size_of::<f16>() * BLOCK;
const GROUP_BYTES: usize = LEASTS + size_of::<f16>() * BLOCK;
/// Inputs in a cache line of numbers.
const LINE_INPUTS: usize = 8;

/// Parts of a group's range that are tried without, below and above: clamping a few weights at the ends makes the steps of the others
/// smaller. Trying all pairs of four cuts takes almost three times as long for a squared error that is 6 % smaller.
const CUTS: [(f32, f32); 6] = [(0.0, 0.0), (0.0, 0.075), (0.075, 0.0), (0.075, 0.075), (0.0, 0.15), (0.15, 0.0)];

/// The first byte of a group of an output's block.
fn group_at(shape: Shape, output: usize, group: usize) -> usize {
    (output / BLOCK * shape.inputs.div_ceil(GROUP_INPUTS) + group) * GROUP_BYTES
}

/// The byte of a number in its group, and whether it is in the high half.
fn number_at(output: usize, input: usize) -> (usize, bool) {
    let (line, place) = (input / LINE_INPUTS, input % LINE_INPUTS);
    (line * 64 + output % BLOCK * 4 + place % 4, place >= 4)
}

/// The weights of one channel in one group.
#[derive(Clone, Copy)]
pub struct FourBits {
    step: f16,
    least: f16,
    numbers: [u8; GROUP_INPUTS],
}

impl FourBits {
    pub const ZERO: Self = Self { step: f16::ZERO, least: f16::ZERO, numbers: [0; GROUP_INPUTS] };

    /// From numbers in 0..=15; step and least value are rounded to f16.
    pub fn new(step: f32, least: f32, numbers: [u8; GROUP_INPUTS]) -> Self {
        Self { step: narrow(step), least: narrow(least), numbers }
    }

    pub fn is_finite(&self) -> bool {
        self.step.is_finite() && self.least.is_finite()
    }

    /// The closest numbers for a step and a least value, and the squared error.
    fn closest(x: &[f32], step: f32, least: f32) -> (Self, f32) {
        let (step, least) = (narrow(step), narrow(least));
        let (s, l) = (step.to_f32(), least.to_f32());
        let inverse = if s > 0.0 { 1.0 / s } else { 0.0 };
        let (mut numbers, mut error) = ([0; GROUP_INPUTS], 0.0);
        for (number, x) in numbers.iter_mut().zip(x) {
            // `as` saturates and takes NaN to 0.
            *number = ((x - l) * inverse).round_ties_even().clamp(0.0, 15.0) as u8;
            let off = s.mul_add(f32::from(*number), l) - x;
            error = off.mul_add(off, error);
        }
        (Self { step, least, numbers }, error)
    }

    /// The step and the least value with the smallest squared error for these numbers (linear regression).
    fn regress(&self, x: &[f32]) -> (f32, f32) {
        let count = x.len() as f32;
        let (mut n, mut nn, mut sum, mut nx) = (0.0, 0.0, 0.0, 0.0);
        for (&number, x) in self.numbers.iter().zip(x) {
            let number = f32::from(number);
            (n, nn, sum, nx) = (n + number, nn + number * number, sum + x, nx + number * x);
        }
        let spread = count * nn - n * n;
        // The error of a rounded step is made up for by the least value.
        let step = if spread > 0.0 { narrow((count * nx - n * sum) / spread).to_f32() } else { 0.0 };
        (step, (sum - step * n) / count)
    }

    /// The group that an exact source of 4 bits was made of: at most 16 values at equal distances.
    fn exact(x: &[f32], low: f32, high: f32) -> Option<Self> {
        for used in (1..=15u8).rev() {
            let step = narrow((high - low) / f32::from(used)).to_f32();
            let inverse = 1.0 / step;
            let on_the_grid = |x: &f32| {
                let number = (x - low) * inverse;
                (number - number.round_ties_even()).abs() < 1e-3
            };
            if !x.iter().all(on_the_grid) {
                continue;
            }
            // The source's least value may be further down than the lowest weight.
            for below in 0..=15 - used {
                let (fit, error) = Self::closest(x, step, low - step * f32::from(below));
                let tolerance = 1e-6 * low.abs().max(high.abs());
                if error <= tolerance * tolerance {
                    return Some(fit);
                }
            }
        }
        None
    }

    /// The best of several ranges ([`CUTS`]), each refined by regression.
    fn best(x: &[f32]) -> Self {
        let low = x.iter().copied().fold(f32::INFINITY, f32::min);
        let high = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let range = high - low;
        // Not finite, or all equal, or too close for a step in f16.
        if !(range.is_finite() && narrow(range / 15.0) > f16::ZERO) {
            // The step makes up for what the least value loses to f16.
            let least = narrow(low - low.abs() * EPSILON).to_f32();
            return Self::closest(x, low - least, least).0;
        }
        if let Some(fit) = Self::exact(x, low, high) {
            return fit;
        }
        let (mut best, mut least_error) = Self::closest(x, range / 15.0, low);
        for (below, above) in CUTS {
            let step = range * (1.0 - below - above) / 15.0;
            let mut fit = Self::closest(x, step, low + range * below).0;
            for _ in 0..2 {
                let (step, least) = fit.regress(x);
                let (next, error) = Self::closest(x, step, least);
                fit = next;
                if error < least_error {
                    least_error = error;
                    best = fit;
                }
            }
        }
        best
    }
}

/// The largest relative error of a rounded f16.
const EPSILON: f32 = 1.0 / 2048.0;

/// Rounded to f16, and never infinite.
fn narrow(x: f32) -> f16 {
    f16::from_f32(x.clamp(f16::MIN.to_f32(), f16::MAX.to_f32()))
}

impl WeightFormat for I4 {
    const PRECISION: Precision = Precision::Int4;
    const NAME: &'static str = "PACKED_I4";
    const INPUT: InputType = InputType::Groups;
    const TABLE: TableType = TableType::I8;

    fn parts(inputs: usize) -> Option<Vec<usize>> {
        Some(vec![inputs.div_ceil(GROUP_INPUTS).checked_mul(GROUP_BYTES)?])
    }

    fn pack(shape: Shape, rows: &mut dyn RowSource, parts: &mut [&mut [u8]]) {
        let mut row = vec![0.0f32; shape.inputs];
        let mut fits = vec![FourBits::ZERO; shape.inputs.div_ceil(GROUP_INPUTS)];
        for output in 0..shape.outputs {
            if !rows.four_bits(output, &mut fits) {
                row.fill(0.0);
                rows.f32(output, &mut row);
                fits.iter_mut().zip(row.chunks(GROUP_INPUTS)).for_each(|(fit, x)| *fit = FourBits::best(x));
            }
            for (group, fit) in fits.iter().enumerate() {
                let out = &mut parts[0][group_at(shape, output, group)..][..GROUP_BYTES];
                for (input, &number) in fit.numbers.iter().enumerate() {
                    let (at, high) = number_at(output, input);
                    out[at] |= if high { number << 4 } else { number };
                }
                for (at, x) in [(STEPS, fit.step), (LEASTS, fit.least)] {
                    out[at + output % BLOCK * 2..][..2].copy_from_slice(&x.to_le_bytes());
                }
            }
        }
    }

    fn value(bytes: &[u8], shape: Shape, output: usize, input: usize) -> Option<f32> {
        let group = bytes.get(group_at(shape, output, input / GROUP_INPUTS)..)?.get(..GROUP_BYTES)?;
        let half = |at: usize| Some(f16::from_le_bytes(*group.get(at + output % BLOCK * 2..)?.first_chunk()?).to_f32());
        let (at, high) = number_at(output, input % GROUP_INPUTS);
        let number = if high { group[at] >> 4 } else { group[at] & 15 };
        Some(half(STEPS)?.mul_add(f32::from(number), half(LEASTS)?))
    }

    #[inline(always)]
    unsafe fn multiply<I: Multiply>(a: Input, w: &Weight, plan: &Plan) {
        let Input::Groups(a, scales) = a else { unreachable!("rows of another format") };
        let groups = w.inputs().div_ceil(GROUP_INPUTS);
        assert!(scales.len() >= a.rows * groups, "a group without its scale");
        let (scales, w) = (scales.as_ptr(), w.bytes().as_ptr());
        let product = NibbleProduct { a: a.data, stride: a.stride, scales, groups, w };
        // SAFETY: the caller's promise.
        unsafe { plan.run::<I::Lanes, _>(&product, I::Lanes::BYTE_ROWS, groups * GROUP_INPUTS) }
    }
}

/// Rows quantised by groups times a weight of 4 bits.
#[derive(Clone, Copy)]
struct NibbleProduct {
    a: *const i8,
    stride: usize,
    /// `groups` for each row.
    scales: *const GroupScale,
    groups: usize,
    w: *const u8,
}

impl<V: Vector> Tile<V> for NibbleProduct {
    const QUANTISED: bool = true;

    /// A group at a time: exact integer sums, which are then scaled and added in f32. Weights are unpacked once for all rows of the tile.
    #[inline(always)]
    unsafe fn run<const R: usize, const B: usize>(&self, at: TilePosition) {
        // SAFETY: the caller's promise.
        unsafe {
            let mut totals = [[V::splat(0.0); B]; R];
            let block = self.groups * GROUP_BYTES;
            for group in 0..self.groups {
                let a = self.a.add(at.row * self.stride + group * GROUP_INPUTS);
                let w = self.w.add(at.block * block + group * GROUP_BYTES);
                let mut sums = [[V::no_sums(); B]; R];
                for line in 0..GROUP_INPUTS / LINE_INPUTS {
                    for j in 0..B {
                        let (low, high) = V::load_nibbles(w.add(j * block + line * 64));
                        for (i, sums) in sums.iter_mut().enumerate() {
                            let a = a.add(i * self.stride + line * LINE_INPUTS);
                            sums[j] = V::dot_nibbles(sums[j], V::load_signed(a), low);
                            sums[j] = V::dot_nibbles(sums[j], V::load_signed(a.add(4)), high);
                        }
                    }
                }
                for j in 0..B {
                    let step = V::load_f16(w.add(j * block + STEPS).cast());
                    let least = V::load_f16(w.add(j * block + LEASTS).cast());
                    for (i, totals) in totals.iter_mut().enumerate() {
                        let GroupScale { scale, sum } = *self.scales.add((at.row + i) * self.groups + group);
                        let products = V::floats(sums[i][j]).mul(V::splat(scale));
                        totals[j] = V::splat(sum).mul_add(least, products.mul_add(step, totals[j]));
                    }
                }
            }
            store(&totals, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What GGUF's formats of 4 bits hold comes back exactly, whatever part of the range a group uses.
    #[test]
    fn four_bit_sources_are_packed_without_loss() {
        for (step, least, first, last) in [
            (0.031, -0.248, 0, 15),
            (0.0125, 0.5, 0, 15),
            (0.02, -0.16, 3, 9),
            (0.5, -4.0, 1, 14),
            (0.007, -0.1, 5, 6),
            (0.02, -0.16, 3, 3),
        ] {
            let (step, least) = (f16::from_f32(step).to_f32(), f16::from_f32(least).to_f32());
            let x: Vec<f32> = (0..32u8).map(|i| step * f32::from(first + i * 5 % (last - first + 1)) + least).collect();
            let fit = FourBits::best(&x);
            for (x, number) in x.iter().zip(fit.numbers) {
                let back = fit.step.to_f32().mul_add(f32::from(number), fit.least.to_f32());
                assert!((back - x).abs() <= 2e-6 * x.abs().max(step), "{back} is not {x}");
            }
        }
    }

    /// The search is better than rounding to sixteen equal parts of the range.
    #[test]
    fn the_error_is_below_that_of_the_plain_range() {
        let (mut searched, mut plain) = (0.0, 0.0);
        for seed in 0..200u32 {
            // Sums of uniform numbers: a bell, like trained weights.
            let mut state = seed;
            let mut uniform = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 24) as f32 - 0.5
            };
            let x: Vec<f32> = (0..32).map(|_| (0..6).map(|_| uniform()).sum()).collect();
            let low = x.iter().copied().fold(f32::INFINITY, f32::min);
            let high = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let best = FourBits::best(&x);
            searched += FourBits::closest(&x, best.step.to_f32(), best.least.to_f32()).1;
            plain += FourBits::closest(&x, (high - low) / 15.0, low).1;
        }
        assert!(searched < 0.9 * plain, "{searched} is not below {plain}");
    }
}
