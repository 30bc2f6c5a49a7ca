//! Products of bytes with the matrix products of ARMv8.6.
//!
//! `smmla` multiplies two rows of eight inputs with two channels: twice the products of `sdot` in one instruction. Its
//! operand is eight inputs of two channels. The packed weights have four inputs of four channels in a register; the
//! next four inputs of the same channels are a line further, and interleaving the two by 32 bits gives two operands. So
//! the layout stays; the price is one such instruction for each `smmla` of the first pair of rows.
#![allow(unsafe_op_in_unsafe_fn)] // As in the module above.

use std::arch::aarch64::*;
use std::arch::asm;

use super::vector::{ByteTile, tile_shapes};
use super::{Dot, Sums, Weights, dotprod};

/// `smmla` for pairs of rows, `sdot` for a single one.
#[derive(Clone, Copy)]
pub struct Matrix;

type Lanes = super::Lanes<Matrix>;

/// Adds the products of two rows and two channels: (row 0, channel 0), (0, 1), (1, 0), (1, 1). In assembly, because the
/// intrinsic is not for Rust 1.95.
#[inline(always)]
unsafe fn multiply(mut sums: int32x4_t, a: int8x16_t, w: int8x16_t) -> int32x4_t {
    asm!(
        "smmla {sums:v}.4s, {a:v}.16b, {w:v}.16b",
        sums = inout(vreg) sums, a = in(vreg) a, w = in(vreg) w,
        options(pure, nomem, nostack, preserves_flags)
    );
    sums
}

/// The two sums of the first row in `x` and in `y`, and those of the second.
#[inline(always)]
unsafe fn split(x: int32x4_t, y: int32x4_t) -> (int32x4_t, int32x4_t) {
    (
        vcombine_s32(vget_low_s32(x), vget_low_s32(y)), //
        vcombine_s32(vget_high_s32(x), vget_high_s32(y)),
    )
}

impl Dot for Matrix {
    /// With six rows the operands do not fit the registers beside the sums.
    const BYTE_ROWS: usize = 4;

    tile_shapes! { "neon,dotprod,i8mm"; 6: 1; 4: 1; 3: 1; 2: 2, 1; 1: 3, 2, 1; }

    #[inline(always)]
    unsafe fn dot(sums: Sums, a: int8x16_t, w: Weights) -> Sums {
        dotprod::dot(sums, a, w)
    }

    /// While the loop runs, the sums of an even row hold the first eight channels of that row and the next one, and
    /// those of the next row the other eight channels.
    #[inline(always)]
    unsafe fn byte_sums<const R: usize, const B: usize>(tile: ByteTile) -> [[Sums; B]; R] {
        let mut sums = [[[vdupq_n_s32(0); 4]; B]; R];
        if R % 2 == 1 {
            // A pair with one row in it wastes what it gains.
            tile.add_products::<Lanes, R, B>(&mut sums);
            return sums;
        }
        let whole = tile.inputs / 8 * 8;
        for k in (0..whole).step_by(8) {
            let mut x = [vdupq_n_s8(0); R];
            for i in (0..R).step_by(2) {
                let p = tile.a.add(i * tile.stride + k).cast();
                x[i] = vcombine_s8(vld1_s8(p), vld1_s8(p.add(tile.stride)));
            }
            for j in 0..B {
                let w = tile.w.add(j * tile.block + k * 16);
                // Four channels at a time, so that few registers hold weights.
                for quad in 0..4 {
                    let near = vreinterpretq_s32_s8(vld1q_s8(w.add(quad * 16)));
                    let far = vreinterpretq_s32_s8(vld1q_s8(w.add(64 + quad * 16)));
                    let low = vreinterpretq_s8_s32(vzip1q_s32(near, far));
                    let high = vreinterpretq_s8_s32(vzip2q_s32(near, far));
                    let (half, at) = (quad / 2, quad % 2 * 2);
                    for i in (0..R).step_by(2) {
                        let sums = &mut sums[i + half][j];
                        sums[at] = multiply(sums[at], x[i], low);
                        sums[at + 1] = multiply(sums[at + 1], x[i], high);
                    }
                }
            }
        }
        for pair in sums.chunks_exact_mut(2) {
            let [first, second] = pair else { continue };
            for (x, y) in first.iter_mut().zip(second) {
                let (a0, b0) = split(x[0], x[1]);
                let (a1, b1) = split(x[2], x[3]);
                let (a2, b2) = split(y[0], y[1]);
                let (a3, b3) = split(y[2], y[3]);
                *x = [a0, a1, a2, a3];
                *y = [b0, b1, b2, b3];
            }
        }
        // Four inputs, or none.
        let rest = ByteTile { a: tile.a.add(whole), w: tile.w.add(whole * 16), inputs: tile.inputs - whole, ..tile };
        rest.add_products::<Lanes, R, B>(&mut sums);
        sums
    }
}
