//! The Walsh-Hadamard transform of rows, which spreads a few large activations over many inputs, so that one scale per token serves all
//! of them: the online rotation of QuaRot (Ashkboos et al. 2024).

use super::BLOCK;
use super::vector::Vector;

/// The most vectors of a block.
const LARGEST: usize = 64;

/// The block for rows of this length: sixteen lanes, times the largest power of two, at most 64, into which the vectors can be divided. 1
/// changes nothing: rows that are not whole vectors have no block.
pub fn block_of(inputs: usize) -> usize {
    let vectors = inputs / BLOCK;
    let whole = vectors > 0 && inputs.is_multiple_of(BLOCK);
    if whole { BLOCK * (1 << vectors.trailing_zeros()).min(LARGEST) } else { 1 }
}

/// Multiplies `x`, seen as `[block / 16, n, 16]`, by the Hadamard matrix over the first and the last dimension, whose entries are 1 and -1;
/// twice is multiplying by `block`. `block` divides [`block_of`] the length, and is at least 16. All instruction sets give the same bits.
///
/// # Safety
/// The machine has `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn hadamard<V: Vector>(x: &mut [f32], block: usize) {
    let whole = block.is_power_of_two() && block >= BLOCK;
    assert!(whole && block_of(x.len()).is_multiple_of(block), "no such block");
    for i in (0..x.len()).step_by(BLOCK) {
        // SAFETY: by the assertion there are whole vectors; the machine has the instructions.
        unsafe {
            let p = x.as_mut_ptr().add(i);
            V::load(p).hadamard().store(p);
        }
    }
    let (rows, mut step) = (block / BLOCK, 1);
    while step < rows {
        // SAFETY: the machine has the instructions; by the assertion the rows are whole vectors, and `step` times the rows of a
        // butterfly is at most `rows`.
        step *= unsafe {
            match rows / step {
                2 => butterflies::<V, 2>(x, rows, step),
                4 => butterflies::<V, 4>(x, rows, step),
                _ => butterflies::<V, 8>(x, rows, step),
            }
        };
    }
}

/// The butterflies of `R` rows that are `step` rows apart: log2(R) steps in one pass. Returns `R`.
///
/// # Safety
/// The machine has `V`'s instructions, `x` has `all` rows of whole vectors, and `R · step` divides `all`.
#[inline(always)]
unsafe fn butterflies<V: Vector, const R: usize>(x: &mut [f32], all: usize, step: usize) -> usize {
    let (run, p) = (x.len() / all, x.as_mut_ptr());
    for group in (0..all).step_by(R * step) {
        for first in group..group + step {
            for i in (0..run).step_by(BLOCK) {
                // SAFETY: the caller's promise: rows `first`, `first + step`, … are below `all`.
                unsafe {
                    let mut rows = [V::splat(0.0); R];
                    for (row, vector) in rows.iter_mut().enumerate() {
                        *vector = V::load(p.add((first + row * step) * run + i));
                    }
                    let mut half = 1;
                    while half < R {
                        for row in 0..R {
                            if row & half == 0 {
                                let (a, b) = (rows[row], rows[row + half]);
                                (rows[row], rows[row + half]) = (a.add(b), a.sub(b));
                            }
                        }
                        half *= 2;
                    }
                    for (row, vector) in rows.into_iter().enumerate() {
                        vector.store(p.add((first + row * step) * run + i));
                    }
                }
            }
        }
    }
    R
}
