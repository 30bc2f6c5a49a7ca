//! Products of one query with rows of embeddings, as search needs them: operands as they lie in memory, without packing.
//!
//! Sums of integers are exact in any order, so their loops are left to the compiler, which vectorises them for each instruction set;
//! AVX-512 has a loop of its own for products of bytes, four times as fast.

use half::f16;

use super::BLOCK;
use super::vector::Vector;

/// Numbers that are widened to f32 on reading.
pub(super) trait Widened: Copy {
    /// # Safety
    /// The machine has `V`'s instructions, and `p` has sixteen numbers.
    unsafe fn load<V: Vector>(p: *const Self) -> V;
    /// The first `n`, and 0 after them.
    ///
    /// # Safety
    /// The machine has `V`'s instructions, and `p` has `n` numbers, at most sixteen.
    unsafe fn load_first<V: Vector>(p: *const Self, n: usize) -> V;
}

impl Widened for f32 {
    #[inline(always)]
    unsafe fn load<V: Vector>(p: *const Self) -> V {
        // SAFETY: the caller's promise.
        unsafe { V::load(p) }
    }

    #[inline(always)]
    unsafe fn load_first<V: Vector>(p: *const Self, n: usize) -> V {
        // SAFETY: the caller's promise.
        unsafe { V::load_first(p, n) }
    }
}

impl Widened for f16 {
    #[inline(always)]
    unsafe fn load<V: Vector>(p: *const Self) -> V {
        // SAFETY: the caller's promise.
        unsafe { V::load_f16(p) }
    }

    #[inline(always)]
    unsafe fn load_first<V: Vector>(p: *const Self, n: usize) -> V {
        let mut all = [f16::ZERO; BLOCK];
        // SAFETY: the caller's promise.
        unsafe {
            std::ptr::copy_nonoverlapping(p, all.as_mut_ptr(), n);
            V::load_f16(all.as_ptr())
        }
    }
}

/// Fails unless the rows are there.
#[inline(always)]
fn check(width: usize, length: usize, stride: usize, rows: usize) {
    let needed = rows.checked_sub(1).map_or(Some(0), |last| last.checked_mul(stride)?.checked_add(width));
    assert!(needed.is_some_and(|needed| needed <= length), "rows beyond the end of their slice");
}

/// `out[i] = query · row i`, in an order of additions that depends only on the length of a row: each of sixteen lanes takes every
/// sixteenth product.
///
/// # Safety
/// The machine has `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn dots<V: Vector, T: Widened>(query: &[f32], rows: &[T], stride: usize, out: &mut [f32]) {
    check(query.len(), rows.len(), stride, out.len());
    // Eight sums hide the latency of additions; where sixteen lanes take two registers or more, four rows have as many.
    let most = if V::FLOAT_ROWS >= 8 { 8 } else { 4 };
    let mut row = 0;
    // SAFETY: the machine has the instructions, and all rows up to `out.len()` are in the slice.
    unsafe {
        while row < out.len() {
            let (p, to) = (rows.as_ptr().add(row * stride), out.as_mut_ptr().add(row));
            let left = out.len() - row;
            if most == 8 && left >= 8 {
                dots_of_rows::<V, T, 8>(query, p, stride, to);
                row += 8;
            } else if left >= 4 {
                dots_of_rows::<V, T, 4>(query, p, stride, to);
                row += 4;
            } else {
                dots_of_rows::<V, T, 1>(query, p, stride, to);
                row += 1;
            }
        }
    }
}

/// # Safety
/// The machine has `V`'s instructions; `rows` has `R` rows of `query.len()` numbers, and `out` room for `R`.
#[inline(always)]
unsafe fn dots_of_rows<V: Vector, T: Widened, const R: usize>(
    query: &[f32],
    rows: *const T,
    stride: usize,
    out: *mut f32,
) {
    let whole = query.len() / BLOCK * BLOCK;
    let rest = query.len() - whole;
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [V::splat(0.0); R];
        for i in (0..whole).step_by(BLOCK) {
            let x = V::load(query.as_ptr().add(i));
            for (r, sum) in sums.iter_mut().enumerate() {
                *sum = x.mul_add(T::load::<V>(rows.add(r * stride + i)), *sum);
            }
        }
        if rest > 0 {
            let x = V::load_first(query.as_ptr().add(whole), rest);
            for (r, sum) in sums.iter_mut().enumerate() {
                *sum = x.mul_add(T::load_first::<V>(rows.add(r * stride + whole), rest), *sum);
            }
        }
        for (r, sum) in sums.into_iter().enumerate() {
            *out.add(r) = sum.sum();
        }
    }
}

/// `out[i] = query · row i`, exactly; rows are at most 2¹⁷ - 1 long.
///
/// # Safety
/// The machine has `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn dots_i8<V: Vector>(query: &[i8], rows: &[i8], stride: usize, out: &mut [i32]) {
    check(query.len(), rows.len(), stride, out.len());
    // SAFETY: the machine has the instructions, and all rows up to `out.len()` are in the slice.
    unsafe { dots_of_bytes::<V, true>(query.as_ptr().cast(), query.len(), rows.as_ptr().cast(), stride, out) }
}

/// As [`dots_i8`]; rows are at most 33025 long.
///
/// # Safety
/// The machine has `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn dots_u8<V: Vector>(query: &[u8], rows: &[u8], stride: usize, out: &mut [i32]) {
    check(query.len(), rows.len(), stride, out.len());
    // SAFETY: as above.
    unsafe { dots_of_bytes::<V, false>(query.as_ptr(), query.len(), rows.as_ptr(), stride, out) }
}

/// # Safety
/// The machine has `V`'s instructions; the query has `width` bytes, and so have `out.len()` rows.
#[inline(always)]
unsafe fn dots_of_bytes<V: Vector, const SIGNED: bool>(
    query: *const u8,
    width: usize,
    rows: *const u8,
    stride: usize,
    out: &mut [i32],
) {
    let (fours, rest) = out.as_chunks_mut::<4>();
    let whole = 4 * fours.len();
    // SAFETY: the caller's promise.
    unsafe {
        for (i, four) in fours.iter_mut().enumerate() {
            *four = V::dots_of_bytes::<SIGNED, 4>(query, width, rows.add(4 * i * stride), stride);
        }
        for (i, one) in rest.iter_mut().enumerate() {
            [*one] = V::dots_of_bytes::<SIGNED, 1>(query, width, rows.add((whole + i) * stride), stride);
        }
    }
}

/// How many bits of the query and of each row differ.
///
/// # Safety
/// The machine has the instructions that the caller is compiled for.
#[inline(always)]
pub(super) unsafe fn hamming(query: &[u8], rows: &[u8], stride: usize, out: &mut [i32]) {
    check(query.len(), rows.len(), stride, out.len());
    for (i, out) in out.iter_mut().enumerate() {
        let row = &rows[i * stride..][..query.len()];
        let mut sum = 0;
        let (words, rest) = query.as_chunks::<8>();
        let (row_words, row_rest) = row.as_chunks::<8>();
        for (&x, &y) in words.iter().zip(row_words) {
            sum += (u64::from_ne_bytes(x) ^ u64::from_ne_bytes(y)).count_ones();
        }
        for (&x, &y) in rest.iter().zip(row_rest) {
            sum += (x ^ y).count_ones();
        }
        *out = sum as i32;
    }
}
