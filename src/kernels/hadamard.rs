//! The Walsh-Hadamard transform of rows, which spreads a few large activations over many inputs, so that one scale per token serves all
//! of them: the online rotation of QuaRot (Ashkboos et al. 2024).

use super::BLOCK;
use super::vector::Vector;

/// The largest block.
const LARGEST: usize = 64;

/// The block for rows of this length: the largest power of two, at most 64, that leaves whole vectors. 1 changes nothing.
pub fn block_of(inputs: usize) -> usize {
    let vectors = inputs / BLOCK;
    if vectors == 0 || !inputs.is_multiple_of(BLOCK) { 1 } else { (1 << vectors.trailing_zeros()).min(LARGEST) }
}

/// Multiplies `x`, seen as `[block, x.len() / block]`, by the Hadamard matrix of `block` rows, whose entries are 1 and -1; twice is
/// multiplying by `block`. `block` divides [`block_of`] the length. All instruction sets give the same bits.
///
/// # Safety
/// The machine has `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn hadamard<V: Vector>(x: &mut [f32], block: usize) {
    assert!(block.is_power_of_two() && block_of(x.len()).is_multiple_of(block), "no such block");
    let mut step = 1;
    while step < block {
        // SAFETY: the machine has the instructions; by the assertion the rows are whole vectors, and `step` times the rows of a
        // butterfly is at most `block`.
        step *= unsafe {
            match block / step {
                2 => butterflies::<V, 2>(x, block, step),
                4 => butterflies::<V, 4>(x, block, step),
                _ => butterflies::<V, 8>(x, block, step),
            }
        };
    }
}

/// The butterflies of `R` rows that are `step` rows apart: log2(R) steps in one pass. Returns `R`.
///
/// # Safety
/// The machine has `V`'s instructions, `x` has `block` rows of whole vectors, and `R · step` divides `block`.
#[inline(always)]
unsafe fn butterflies<V: Vector, const R: usize>(x: &mut [f32], block: usize, step: usize) -> usize {
    let (run, p) = (x.len() / block, x.as_mut_ptr());
    for group in (0..block).step_by(R * step) {
        for first in group..group + step {
            for i in (0..run).step_by(BLOCK) {
                // SAFETY: the caller's promise: rows `first`, `first + step`, … are below `block`.
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
