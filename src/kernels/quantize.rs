//! Quantises rows of activations to 8 bits: whole rows, or groups of inputs.

use super::vector::Vector;
use super::{BLOCK, GROUP_INPUTS, GroupScale, RowScale};

/// Chains of comparisons in the search for a row's range.
const CHAINS: usize = 4;

/// Asymmetric quantisation with a scale and a zero point per row; the range always includes 0, so that 0 is exact.
///
/// The result for a row that holds a NaN or an infinity is unspecified, but safe.
///
/// # Safety
/// The machine has `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn quantize_row<V: Vector>(x: &[f32], out: &mut [u8]) -> RowScale {
    assert!(out.len() >= x.len(), "no room for the quantised row");
    let whole = x.len() / BLOCK * BLOCK;
    let rest = x.len() - whole;
    // SAFETY: the machine has the instructions; accesses stay within `x` and, by the assertion, `out`.
    unsafe {
        let p = x.as_ptr();
        // Several chains of comparisons: one would wait for its own results.
        let mut bounds = [(V::splat(0.0), V::splat(0.0)); CHAINS];
        let unrolled = x.len() / (CHAINS * BLOCK) * (CHAINS * BLOCK);
        for i in (0..unrolled).step_by(CHAINS * BLOCK) {
            for (j, (low, high)) in bounds.iter_mut().enumerate() {
                let y = V::load(p.add(i + j * BLOCK));
                (*low, *high) = (low.min(y), high.max(y));
            }
        }
        let (mut low, mut high) = bounds[0];
        for &(l, h) in &bounds[1..] {
            (low, high) = (low.min(l), high.max(h));
        }
        for i in (unrolled..whole).step_by(BLOCK) {
            let y = V::load(p.add(i));
            (low, high) = (low.min(y), high.max(y));
        }
        // Absent lanes read as 0, which is in the range anyway.
        let y = V::load_first(p.add(whole), rest);
        (low, high) = (low.min(y), high.max(y));
        let (low, high) = (-V::splat(0.0).sub(low).largest(), high.largest());

        // Divided before subtracting: the difference may overflow.
        let scale = high / 255.0 - low / 255.0;
        if scale < f32::MIN_POSITIVE {
            // All zero, or too small for a normal scale.
            out.fill(0u8.wrapping_sub(V::BYTE_OFFSET as u8));
            return RowScale { scale: 0.0, zero: -V::BYTE_OFFSET };
        }
        let inverse = 1.0 / scale;
        // `as` saturates and takes NaN to 0.
        let zero = ((-low * inverse).round_ties_even() as i32).clamp(0, 255) - V::BYTE_OFFSET;

        let factor = V::splat(inverse);
        // The scaled numbers are within -256..=256.
        let lines = whole / (4 * BLOCK) * (4 * BLOCK);
        for i in (0..lines).step_by(4 * BLOCK) {
            let mut scaled = [factor; 4];
            for (j, x) in scaled.iter_mut().enumerate() {
                *x = V::load(p.add(i + j * BLOCK)).mul(factor);
            }
            V::store_line(scaled, zero, out.as_mut_ptr().add(i));
        }
        for i in (lines..whole).step_by(BLOCK) {
            V::load(p.add(i)).mul(factor).store_bytes(zero, out.as_mut_ptr().add(i));
        }
        let mut last = [0u8; BLOCK];
        y.mul(factor).store_bytes(zero, last.as_mut_ptr());
        out[whole..x.len()].copy_from_slice(&last[..rest]);
        // The padding is multiplied with weights that are 0; a fixed value keeps the bytes reproducible.
        out[x.len()..].fill(0);
        RowScale { scale, zero }
    }
}

/// Symmetric quantisation to signed bytes with a scale per group of inputs.
///
/// The result for a group that holds a NaN or an infinity is unspecified, but safe.
///
/// # Safety
/// The machine has `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn quantize_groups<V: Vector>(x: &[f32], out: &mut [u8], scales: &mut [GroupScale]) {
    let groups = x.len().div_ceil(GROUP_INPUTS);
    assert!(scales.len() >= groups && out.len() >= groups * GROUP_INPUTS, "no room for the quantised row");
    for (group, place) in scales[..groups].iter_mut().enumerate() {
        let from = group * GROUP_INPUTS;
        let inputs = (x.len() - from).min(GROUP_INPUTS);
        let bytes = &mut out[from..from + GROUP_INPUTS];
        // SAFETY: the machine has the instructions; only inputs of the row are read, and the group's bytes written.
        unsafe {
            let (p, to) = (x.as_ptr().add(from), bytes.as_mut_ptr());
            let low = V::load_first(p, inputs.min(BLOCK));
            let high = V::load_first(p.wrapping_add(BLOCK), inputs.saturating_sub(BLOCK));
            let nothing = V::splat(0.0);
            let largest = low.max(nothing.sub(low)).max(high.max(nothing.sub(high))).largest();
            let scale = largest / 127.0;
            if scale < f32::MIN_POSITIVE {
                // All zero, or too small for a normal scale.
                bytes.fill(0);
                *place = GroupScale::default();
                continue;
            }
            let factor = V::splat(1.0 / scale);
            let zero = 128 - V::BYTE_OFFSET;
            low.mul(factor).store_bytes(zero, to);
            high.mul(factor).store_bytes(zero, to.add(BLOCK));
            if zero != 0 {
                bytes.iter_mut().for_each(|byte| *byte ^= 0x80);
            }
            let sum: i32 = bytes.iter().map(|&byte| i32::from(byte as i8)).sum();
            *place = GroupScale { scale, sum: scale * sum as f32 };
        }
    }
}
