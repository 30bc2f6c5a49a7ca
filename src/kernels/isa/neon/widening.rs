//! Products of bytes with the instructions of ARMv8.0.
#![allow(unsafe_op_in_unsafe_fn)] // As in the module above.

use std::arch::aarch64::*;

use super::vector::tile_shapes;
use super::{Dot, Sums, Weights};

/// Multiplications that widen to 16 bits, and additions of neighbours that widen to 32.
#[derive(Clone, Copy)]
pub struct Widening;

type Lanes = super::Lanes<Widening>;

/// Four channels. A pair of products is at most 2 · 128 · 127 = 32512, which 16 bits can hold; so the sum is exact.
#[inline(always)]
unsafe fn dot4(sums: int32x4_t, a: int8x16_t, w: int8x16_t) -> int32x4_t {
    let low = vmull_s8(vget_low_s8(a), vget_low_s8(w));
    let high = vmull_high_s8(a, w);
    vpadalq_s16(sums, vpaddq_s16(low, high))
}

impl Dot for Widening {
    /// Products need three registers beside those of a tile of floats.
    const BYTE_ROWS: usize = 4;

    tile_shapes! { "neon"; 6: 1; 4: 1; 3: 1; 2: 2, 1; 1: 3, 2, 1; }

    #[inline(always)]
    unsafe fn dot(sums: Sums, a: int8x16_t, w: Weights) -> Sums {
        [dot4(sums[0], a, w[0]), dot4(sums[1], a, w[1]), dot4(sums[2], a, w[2]), dot4(sums[3], a, w[3])]
    }
}
