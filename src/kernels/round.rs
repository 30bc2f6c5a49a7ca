//! Rounds rows of activations to bf16, and keys and values to f16.

use half::{bf16, f16};

use super::BLOCK;
use super::vector::Vector;

/// Rounds to nearest, ties to even. The rest of `out`, beyond the length of `x`, becomes 0.
///
/// # Safety
/// The machine has `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn round_row<V: Vector>(x: &[f32], out: &mut [bf16]) {
    assert!(out.len() >= x.len(), "no room for the rounded row");
    let whole = x.len() / BLOCK * BLOCK;
    let rest = x.len() - whole;
    let mut last = [bf16::ZERO; BLOCK];
    // SAFETY: the machine has the instructions; accesses stay within `x` and, by the assertion, `out`.
    unsafe {
        for i in (0..whole).step_by(BLOCK) {
            V::load(x.as_ptr().add(i)).store_bf16(out.as_mut_ptr().add(i));
        }
        V::load_first(x.as_ptr().add(whole), rest).store_bf16(last.as_mut_ptr());
    }
    out[whole..x.len()].copy_from_slice(&last[..rest]);
    // The padding is multiplied with weights that are 0, and 0 · NaN is not 0.
    out[x.len()..].fill(bf16::ZERO);
}

/// Rounds to nearest, ties to even, and clamps to the range of f16; NaN stays NaN.
///
/// # Safety
/// The machine has `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn narrow<V: Vector>(x: &[f32], out: &mut [f16]) {
    assert!(out.len() == x.len(), "slices of different length");
    let whole = x.len() / BLOCK * BLOCK;
    let rest = x.len() - whole;
    let mut last = [f16::ZERO; BLOCK];
    // SAFETY: the machine has the instructions; accesses stay within `x` and, by the assertion, `out`.
    unsafe {
        for i in (0..whole).step_by(BLOCK) {
            clamp(V::load(x.as_ptr().add(i))).store_f16(out.as_mut_ptr().add(i));
        }
        clamp(V::load_first(x.as_ptr().add(whole), rest)).store_f16(last.as_mut_ptr());
    }
    out[whole..].copy_from_slice(&last[..rest]);
}

/// Clamps to the range of f16.
///
/// # Safety
/// The machine has `V`'s instructions.
#[inline(always)]
unsafe fn clamp<V: Vector>(x: V) -> V {
    let largest = f16::MAX.to_f32();
    // SAFETY: the caller's promise. This order of operands lets a NaN through.
    unsafe { V::splat(-largest).max(V::splat(largest).min(x)) }
}
