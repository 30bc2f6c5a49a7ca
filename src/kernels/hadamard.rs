//! The Walsh-Hadamard transform of rows, which spreads a few large activations over many inputs, so that one scale per token serves all
//! of them: the online rotation of QuaRot (Ashkboos et al. 2024).

use super::BLOCK;
use super::vector::Vector;

/// The largest block. Larger ones spread further, and each factor of 4 is one more pass over a row.
pub const LARGEST_BLOCK: usize = 64;

/// The block for rows of this length: the largest power of two that divides it, at most [`LARGEST_BLOCK`]. 1 changes nothing.
pub fn block_of(inputs: usize) -> usize {
    match inputs {
        0 => 1,
        _ => 1 << inputs.trailing_zeros().min(LARGEST_BLOCK.ilog2()),
    }
}

/// Multiplies `x`, seen as `[block, x.len() / block]`, by the Hadamard matrix of `block` rows, whose entries are 1 and -1; twice is
/// multiplying by `block`. `block` is a power of two that divides the length. All instruction sets give the same bits.
///
/// # Safety
/// The machine has `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn hadamard<V: Vector>(x: &mut [f32], block: usize) {
    assert!(block.is_power_of_two() && x.len().is_multiple_of(block), "no such block");
    let (run, p) = (x.len() / block, x.as_mut_ptr());
    let mut step = 1;
    while step < block {
        let last = 2 * step == block;
        for first in (0..block).filter(|row| row & step == 0 && (last || row & (2 * step) == 0)) {
            for i in (0..run).step_by(BLOCK) {
                let lanes = (run - i).min(BLOCK);
                // SAFETY: the machine has the instructions; the rows `first`, `+ step`, `+ 2 · step` and `+ 3 · step` are below
                // `block`, and `lanes` ends at the row's end.
                unsafe {
                    let at = |row: usize| p.add((first + row * step) * run + i);
                    let (a, b) = (V::load_first(at(0), lanes), V::load_first(at(1), lanes));
                    let (sum, difference) = (a.add(b), a.sub(b));
                    if last {
                        sum.store_first(at(0), lanes);
                        difference.store_first(at(1), lanes);
                        continue;
                    }
                    // Two steps in one pass.
                    let (c, d) = (V::load_first(at(2), lanes), V::load_first(at(3), lanes));
                    let (sum_after, difference_after) = (c.add(d), c.sub(d));
                    sum.add(sum_after).store_first(at(0), lanes);
                    difference.add(difference_after).store_first(at(1), lanes);
                    sum.sub(sum_after).store_first(at(2), lanes);
                    difference.sub(difference_after).store_first(at(3), lanes);
                }
            }
        }
        step *= if last { 2 } else { 4 };
    }
}
