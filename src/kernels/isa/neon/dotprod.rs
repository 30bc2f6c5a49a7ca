//! Products of bytes with the dot products of ARMv8.2.
#![allow(unsafe_op_in_unsafe_fn)] // As in the module above.

use std::arch::aarch64::*;
use std::arch::asm;

use super::vector::tile_shapes;
use super::{Dot, Sums, Weights};

/// `sdot`: four products per lane in one instruction.
#[derive(Clone, Copy)]
pub struct Dotprod;

type Lanes = super::Lanes<Dotprod>;

/// Four channels. In assembly, because the intrinsic is not for Rust 1.95.
#[inline(always)]
unsafe fn dot4(mut sums: int32x4_t, a: int8x16_t, w: int8x16_t) -> int32x4_t {
    asm!(
        "sdot {sums:v}.4s, {a:v}.16b, {w:v}.16b",
        sums = inout(vreg) sums, a = in(vreg) a, w = in(vreg) w,
        options(pure, nomem, nostack, preserves_flags)
    );
    sums
}

/// Adds four products to every lane; the caller's function has the feature `dotprod`.
#[inline(always)]
pub(super) unsafe fn dot(sums: Sums, a: int8x16_t, w: Weights) -> Sums {
    [dot4(sums[0], a, w[0]), dot4(sums[1], a, w[1]), dot4(sums[2], a, w[2]), dot4(sums[3], a, w[3])]
}

impl Dot for Dotprod {
    const BYTE_ROWS: usize = 6;

    tile_shapes! { "neon,dotprod"; 6: 1; 4: 1; 3: 1; 2: 2, 1; 1: 3, 2, 1; }

    #[inline(always)]
    unsafe fn dot(sums: Sums, a: int8x16_t, w: Weights) -> Sums {
        dot(sums, a, w)
    }
}
