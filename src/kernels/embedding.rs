//! Sums of embedding rows, which are widened or dequantised on reading, and products of rows.

use super::BLOCK;
use super::vector::Vector;

/// # Safety
/// The machine has `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn add_f32<V: Vector>(x: &mut [f32], y: &[f32]) {
    assert!(y.len() >= x.len(), "rows of different length");
    for i in (0..x.len()).step_by(BLOCK) {
        let lanes = (x.len() - i).min(BLOCK);
        // SAFETY: the machine has the instructions; the assertion and `lanes` keep the accesses within the slices.
        unsafe {
            let p = x.as_mut_ptr().add(i);
            V::load_first(p, lanes).add(V::load_first(y.as_ptr().add(i), lanes)).store_first(p, lanes);
        }
    }
}

/// # Safety
/// The machine has `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn multiply<V: Vector>(x: &[f32], y: &[f32], out: &mut [f32]) {
    assert!(x.len() >= out.len() && y.len() >= out.len(), "rows of different length");
    for i in (0..out.len()).step_by(BLOCK) {
        let lanes = (out.len() - i).min(BLOCK);
        // SAFETY: the machine has the instructions; the assertion and `lanes` keep the accesses within the slices.
        unsafe {
            let product = V::load_first(x.as_ptr().add(i), lanes).mul(V::load_first(y.as_ptr().add(i), lanes));
            product.store_first(out.as_mut_ptr().add(i), lanes);
        }
    }
}

/// # Safety
/// The machine has `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn add_f16<V: Vector>(x: &mut [f32], y: &[half::f16]) {
    assert!(y.len() >= x.len(), "rows of different length");
    let whole = x.len() / BLOCK * BLOCK;
    for i in (0..whole).step_by(BLOCK) {
        // SAFETY: the machine has the instructions; the assertion and `whole` keep the accesses within the slices.
        unsafe {
            let p = x.as_mut_ptr().add(i);
            V::load(p).add(V::load_f16(y.as_ptr().add(i))).store(p);
        }
    }
    for (x, y) in x[whole..].iter_mut().zip(&y[whole..]) {
        *x += y.to_f32();
    }
}

/// # Safety
/// The machine has `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn add_i8<V: Vector>(x: &mut [f32], y: &[i8], scale: f32) {
    assert!(y.len() >= x.len(), "rows of different length");
    let whole = x.len() / BLOCK * BLOCK;
    for i in (0..whole).step_by(BLOCK) {
        // SAFETY: the machine has the instructions; the assertion and `whole` keep the accesses within the slices.
        unsafe {
            let p = x.as_mut_ptr().add(i);
            V::load(p).add(V::load_i8(y.as_ptr().add(i)).mul(V::splat(scale))).store(p);
        }
    }
    for (x, &y) in x[whole..].iter_mut().zip(&y[whole..]) {
        *x += scale * f32::from(y);
    }
}
