//! Normalisation of one row.

use super::BLOCK;
use super::vector::Vector;

/// The sum over a row of `x - shift`, or of its square, in an order that depends only on the row's length: each of
/// sixteen lanes takes every sixteenth value.
///
/// # Safety
/// The machine has `V`'s instructions.
#[inline(always)]
unsafe fn sum<V: Vector, const SQUARE: bool>(x: &[f32], shift: f32) -> f32 {
    let whole = x.len() / BLOCK * BLOCK;
    // SAFETY: the machine has the instructions; reads stay within `x`.
    unsafe {
        let (shift, zero) = (V::splat(shift), V::splat(0.0));
        let mut total = zero;
        for i in (0..whole).step_by(BLOCK) {
            let y = V::load(x.as_ptr().add(i)).sub(shift);
            total = if SQUARE { y.mul_add(y, total) } else { total.add(y) };
        }
        let rest = x.len() - whole;
        if rest > 0 {
            let y = V::load_first(x.as_ptr().add(whole), rest).sub(shift).first_or(rest, zero);
            total = if SQUARE { y.mul_add(y, total) } else { total.add(y) };
        }
        total.sum()
    }
}

/// LayerNorm: `x ← (x - mean) / sqrt(var + eps) · weight + bias`. The moments take two passes: the one-pass formula
/// loses precision by cancellation.
///
/// # Safety
/// The machine has `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn layer_norm<V: Vector>(x: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) {
    assert!(weight.len() >= x.len() && bias.len() >= x.len(), "norm weights shorter than the row");
    let count = x.len() as f32;
    // SAFETY: the machine has the instructions; the assertion and `lanes` keep every access within the slices.
    unsafe {
        let mean = sum::<V, false>(x, 0.0) / count;
        let variance = sum::<V, true>(x, mean) / count;
        let factor = V::splat(1.0 / (variance + eps).sqrt());
        let mean = V::splat(mean);
        for i in (0..x.len()).step_by(BLOCK) {
            let lanes = (x.len() - i).min(BLOCK);
            let w = V::load_first(weight.as_ptr().add(i), lanes).mul(factor);
            let b = V::load_first(bias.as_ptr().add(i), lanes);
            let p = x.as_mut_ptr().add(i);
            V::load_first(p, lanes).sub(mean).mul_add(w, b).store_first(p, lanes);
        }
    }
}

/// RMSNorm: `x ← x / sqrt(mean(x²) + eps) · weight` (Zhang and Sennrich 2019).
///
/// # Safety
/// The machine has `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn rms_norm<V: Vector>(x: &mut [f32], weight: &[f32], eps: f32) {
    assert!(weight.len() >= x.len(), "norm weights shorter than the row");
    // SAFETY: the machine has the instructions; the assertion and `lanes` keep every access within the slices.
    unsafe {
        let factor = V::splat(1.0 / (sum::<V, true>(x, 0.0) / x.len() as f32 + eps).sqrt());
        for i in (0..x.len()).step_by(BLOCK) {
            let lanes = (x.len() - i).min(BLOCK);
            let p = x.as_mut_ptr().add(i);
            let w = V::load_first(weight.as_ptr().add(i), lanes);
            V::load_first(p, lanes).mul(factor).mul(w).store_first(p, lanes);
        }
    }
}
