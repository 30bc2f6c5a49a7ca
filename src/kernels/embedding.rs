//! Sums of embedding rows, which are widened or dequantised on reading, and products of rows.

use super::BLOCK;
use super::vector::Vector;

/// # Safety
/// The machine has `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn add_f32<V: Vector>(x: &mut [f32], y: &[f32]) {
    assert!(y.len() >= x.len(), "rows of different length");
    let whole = x.len() / BLOCK * BLOCK;
    let rest = x.len() - whole;
    // SAFETY: the machine has the instructions; the assertion, `whole` and `rest` keep the accesses within the slices.
    unsafe {
        let (p, y) = (x.as_mut_ptr(), y.as_ptr());
        for i in (0..whole).step_by(BLOCK) {
            V::load(p.add(i)).add(V::load(y.add(i))).store(p.add(i));
        }
        V::load_first(p.add(whole), rest).add(V::load_first(y.add(whole), rest)).store_first(p.add(whole), rest);
    }
}

/// # Safety
/// The machine has `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn multiply<V: Vector>(x: &[f32], y: &[f32], out: &mut [f32]) {
    assert!(x.len() >= out.len() && y.len() >= out.len(), "rows of different length");
    let whole = out.len() / BLOCK * BLOCK;
    let rest = out.len() - whole;
    // SAFETY: the machine has the instructions; the assertion, `whole` and `rest` keep the accesses within the slices.
    unsafe {
        let (x, y, out) = (x.as_ptr(), y.as_ptr(), out.as_mut_ptr());
        // What reads the products next would wait for masked stores: they are not forwarded.
        for i in (0..whole).step_by(BLOCK) {
            V::load(x.add(i)).mul(V::load(y.add(i))).store(out.add(i));
        }
        V::load_first(x.add(whole), rest).mul(V::load_first(y.add(whole), rest)).store_first(out.add(whole), rest);
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
