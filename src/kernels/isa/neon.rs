//! NEON: four registers of four lanes. Three kernels share everything but the byte products, for which ARMv8.2 and ARMv8.6 have
//! better instructions. All three store activations as signed bytes, and their sums are exact, so they give the same bits.
#![allow(unsafe_op_in_unsafe_fn)] // Nearly every line is an intrinsic, and its precondition is that of `Vector`'s methods.

mod dotprod;
mod matrix;
mod widening;

use std::arch::aarch64::*;
use std::arch::{asm, is_aarch64_feature_detected};
use std::marker::PhantomData;

use half::bf16;

use self::{dotprod::Dotprod, matrix::Matrix, widening::Widening};
use crate::kernels::instruction_set::implement_kernel;
use crate::kernels::vector::{self, ByteTile, Tile, TilePosition, Vector};

/// Proof that the machine has NEON, which all of ARMv8-A has.
pub(super) struct Neon(());

/// Proof that it also has the dot products of ARMv8.2.
pub(super) struct NeonDotprod(());

/// Proof that it also has the matrix products of ARMv8.6.
pub(super) struct NeonI8mm(());

impl Neon {
    pub(super) fn new() -> Option<Self> {
        is_aarch64_feature_detected!("neon").then_some(Self(()))
    }
}

impl NeonDotprod {
    pub(super) fn new() -> Option<Self> {
        (is_aarch64_feature_detected!("neon") && is_aarch64_feature_detected!("dotprod")).then_some(Self(()))
    }
}

impl NeonI8mm {
    pub(super) fn new() -> Option<Self> {
        (is_aarch64_feature_detected!("neon")
            && is_aarch64_feature_detected!("dotprod")
            && is_aarch64_feature_detected!("i8mm"))
        .then_some(Self(()))
    }
}

implement_kernel!(Neon: Lanes<Widening>, "aarch64-neon", "neon", "neon");
implement_kernel!(NeonDotprod: Lanes<Dotprod>, "aarch64-neon-dotprod", "neon-dotprod", "neon,dotprod");
implement_kernel!(NeonI8mm: Lanes<Matrix>, "aarch64-neon-i8mm", "neon-i8mm", "neon,dotprod,i8mm");

/// Sixteen floats, and which products of bytes go with them.
#[derive(Clone, Copy)]
pub(super) struct Lanes<D>([float32x4_t; 4], PhantomData<D>);

/// Sixteen sums of products of bytes.
type Sums = [int32x4_t; 4];
/// Four weights in each of sixteen lanes.
type Weights = [int8x16_t; 4];

/// Products of bytes: what the kernels differ in.
///
/// # Safety
/// As `Vector`, whose methods these are.
trait Dot: Copy {
    const BYTE_ROWS: usize;

    unsafe fn dot(sums: Sums, a: int8x16_t, w: Weights) -> Sums;

    /// The default is `Vector`'s: row by row, four inputs at a time.
    #[inline(always)]
    unsafe fn byte_sums<const R: usize, const B: usize>(tile: ByteTile) -> [[Sums; B]; R] {
        let mut sums = [[[vdupq_n_s32(0); 4]; B]; R];
        tile.add_products::<Lanes<Self>, R, B>(&mut sums);
        sums
    }

    fn tile_rows(remaining: usize, most: usize) -> usize;
    fn tile_blocks(rows: usize, remaining: usize) -> usize;
    unsafe fn tile<T: Tile<Lanes<Self>>>(tile: &T, rows: usize, blocks: usize, at: TilePosition);
}

/// An intrinsic on each of the four registers of some lanes.
macro_rules! each {
    ($intrinsic:ident, $($x:expr),+) => {
        Self::of([
            $intrinsic($($x.0[0]),+), $intrinsic($($x.0[1]),+), $intrinsic($($x.0[2]),+), $intrinsic($($x.0[3]),+)
        ])
    };
}

/// The numbers of the lanes.
static NUMBERS: [i32; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// Four floats of which the first `n` exist, the others being 0.
#[inline(always)]
unsafe fn load_some(p: *const f32, n: usize) -> float32x4_t {
    let zero = vdupq_n_f32(0.0);
    match n {
        0 => zero,
        1 => vld1q_lane_f32::<0>(p, zero),
        2 => vcombine_f32(vld1_f32(p), vdup_n_f32(0.0)),
        3 => vld1q_lane_f32::<2>(p.add(2), vcombine_f32(vld1_f32(p), vdup_n_f32(0.0))),
        _ => vld1q_f32(p),
    }
}

#[inline(always)]
unsafe fn store_some(x: float32x4_t, p: *mut f32, n: usize) {
    match n {
        0 => {}
        1 => vst1q_lane_f32::<0>(p, x),
        2 => vst1_f32(p, vget_low_f32(x)),
        3 => {
            vst1_f32(p, vget_low_f32(x));
            vst1q_lane_f32::<2>(p.add(2), x);
        }
        _ => vst1q_f32(p, x),
    }
}

/// Fewer than sixteen lanes. NEON has no masked loads; a separate function keeps the sixteen branches out of loops that rarely need them.
/// Later addresses may be outside the allocation; nothing is read there.
#[inline(never)]
unsafe fn load_ragged(p: *const f32, n: usize) -> [float32x4_t; 4] {
    [
        load_some(p, n),
        load_some(p.wrapping_add(4), n.saturating_sub(4)),
        load_some(p.wrapping_add(8), n.saturating_sub(8)),
        load_some(p.wrapping_add(12), n.saturating_sub(12)),
    ]
}

/// As `load_ragged`.
#[inline(never)]
unsafe fn store_ragged(x: [float32x4_t; 4], p: *mut f32, n: usize) {
    store_some(x[0], p, n);
    store_some(x[1], p.wrapping_add(4), n.saturating_sub(4));
    store_some(x[2], p.wrapping_add(8), n.saturating_sub(8));
    store_some(x[3], p.wrapping_add(12), n.saturating_sub(12));
}

/// Eight f16 widened. In assembly, because the intrinsics are not for Rust 1.95; the instructions are of ARMv8.0.
#[inline(always)]
unsafe fn widen(halves: uint16x8_t) -> (float32x4_t, float32x4_t) {
    let (low, high);
    asm!("fcvtl {0:v}.4s, {1:v}.4h", out(vreg) low, in(vreg) halves, options(pure, nomem, nostack, preserves_flags));
    asm!("fcvtl2 {0:v}.4s, {1:v}.8h", out(vreg) high, in(vreg) halves, options(pure, nomem, nostack, preserves_flags));
    (low, high)
}

/// Eight floats rounded to f16; as `widen`.
#[inline(always)]
unsafe fn narrow(low: float32x4_t, high: float32x4_t) -> uint16x8_t {
    let mut halves;
    asm!("fcvtn {0:v}.4h, {1:v}.4s", out(vreg) halves, in(vreg) low, options(pure, nomem, nostack, preserves_flags));
    asm!("fcvtn2 {0:v}.8h, {1:v}.4s", inout(vreg) halves, in(vreg) high, options(pure, nomem, nostack, preserves_flags));
    halves
}

/// 2^n for integers in -126..=127.
#[inline(always)]
unsafe fn power_of_two(n: float32x4_t) -> float32x4_t {
    vreinterpretq_f32_s32(vshlq_n_s32::<23>(vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127))))
}

/// Chooses by comparison, which is false for NaN: `fmax` would return a NaN in `x`.
#[inline(always)]
unsafe fn larger(x: float32x4_t, y: float32x4_t) -> float32x4_t {
    vbslq_f32(vcgtq_f32(x, y), x, y)
}

#[inline(always)]
unsafe fn smaller(x: float32x4_t, y: float32x4_t) -> float32x4_t {
    vbslq_f32(vcltq_f32(x, y), x, y)
}

/// Four floats rounded to bf16, ties to even. A NaN keeps its upper bits and is made a quiet one: rounding could carry it
/// to infinity.
#[inline(always)]
unsafe fn round_bf16(x: float32x4_t) -> uint16x4_t {
    let bits = vreinterpretq_u32_f32(x);
    let odd = vandq_u32(vshrq_n_u32::<16>(bits), vdupq_n_u32(1));
    let rounded = vaddq_u32(vaddq_u32(bits, vdupq_n_u32(0x7fff)), odd);
    let quiet = vorrq_u32(bits, vdupq_n_u32(0x0040_0000));
    vshrn_n_u32::<16>(vbslq_u32(vceqq_f32(x, x), rounded, quiet))
}

/// The bf16 in the low halves of four lanes.
#[inline(always)]
unsafe fn low_halves(x: float32x4_t) -> float32x4_t {
    vreinterpretq_f32_u32(vshlq_n_u32::<16>(vreinterpretq_u32_f32(x)))
}

#[inline(always)]
unsafe fn high_halves(x: float32x4_t) -> float32x4_t {
    vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(x), vdupq_n_u32(!0xffff)))
}

/// 4 × 4 floats transposed in registers, by pairs and halves.
#[inline(always)]
unsafe fn transpose4(p: *const f32, stride: usize, out: *mut f32) {
    let (r0, r1) = (vld1q_f32(p), vld1q_f32(p.add(stride)));
    let (r2, r3) = (vld1q_f32(p.add(stride * 2)), vld1q_f32(p.add(stride * 3)));
    let (a0, a1) = (vtrn1q_f32(r0, r1), vtrn2q_f32(r0, r1));
    let (a2, a3) = (vtrn1q_f32(r2, r3), vtrn2q_f32(r2, r3));
    vst1q_f32(out, vcombine_f32(vget_low_f32(a0), vget_low_f32(a2)));
    vst1q_f32(out.add(16), vcombine_f32(vget_low_f32(a1), vget_low_f32(a3)));
    vst1q_f32(out.add(32), vcombine_f32(vget_high_f32(a0), vget_high_f32(a2)));
    vst1q_f32(out.add(48), vcombine_f32(vget_high_f32(a1), vget_high_f32(a3)));
}

impl<D> Lanes<D> {
    #[inline(always)]
    fn of(quads: [float32x4_t; 4]) -> Self {
        Self(quads, PhantomData)
    }
}

impl<D: Dot> Vector for Lanes<D> {
    type Sums = Sums;
    type Bytes = int8x16_t;
    type Weights = Weights;

    /// 24 sums, four registers of weights and a number for all lanes, of 32 registers.
    const FLOAT_ROWS: usize = 6;
    const BYTE_ROWS: usize = D::BYTE_ROWS;
    const PAIR_ROWS: usize = 4;
    const BYTE_OFFSET: i32 = 128;

    #[inline(always)]
    unsafe fn hadamard(self) -> Self {
        // Lanes that are one and two apart, then registers.
        let [a, b, c, d] = self.0.map(|x| {
            let y = vrev64q_f32(x);
            let x = vtrn1q_f32(vaddq_f32(x, y), vsubq_f32(x, y));
            let y = vextq_f32::<2>(x, x);
            vcombine_f32(vget_low_f32(vaddq_f32(x, y)), vget_low_f32(vsubq_f32(x, y)))
        });
        let (a, b, c, d) = (vaddq_f32(a, b), vsubq_f32(a, b), vaddq_f32(c, d), vsubq_f32(c, d));
        Self::of([vaddq_f32(a, c), vaddq_f32(b, d), vsubq_f32(a, c), vsubq_f32(b, d)])
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Self::of([vdupq_n_f32(x); 4])
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        Self::of([vld1q_f32(p), vld1q_f32(p.add(4)), vld1q_f32(p.add(8)), vld1q_f32(p.add(12))])
    }

    #[inline(always)]
    unsafe fn load_first(p: *const f32, n: usize) -> Self {
        if n == 16 { Self::load(p) } else { Self::of(load_ragged(p, n)) }
    }

    #[inline(always)]
    unsafe fn load_f16(p: *const half::f16) -> Self {
        let (a, b) = widen(vld1q_u16(p.cast()));
        let (c, d) = widen(vld1q_u16(p.add(8).cast()));
        Self::of([a, b, c, d])
    }

    #[inline(always)]
    unsafe fn load_i8(p: *const i8) -> Self {
        let bytes = vld1q_s8(p);
        let (low, high) = (vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes));
        Self::of([
            vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))),
            vcvtq_f32_s32(vmovl_high_s16(low)),
            vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))),
            vcvtq_f32_s32(vmovl_high_s16(high)),
        ])
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        vst1q_f32(p, self.0[0]);
        vst1q_f32(p.add(4), self.0[1]);
        vst1q_f32(p.add(8), self.0[2]);
        vst1q_f32(p.add(12), self.0[3]);
    }

    #[inline(always)]
    unsafe fn store_f16(self, p: *mut half::f16) {
        vst1q_u16(p.cast(), narrow(self.0[0], self.0[1]));
        vst1q_u16(p.add(8).cast(), narrow(self.0[2], self.0[3]));
    }

    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, n: usize) {
        if n == 16 {
            self.store(p);
        } else {
            store_ragged(self.0, p, n);
        }
    }

    #[inline(always)]
    unsafe fn first_or(self, n: usize, rest: Self) -> Self {
        debug_assert!(n <= 16);
        let (n, numbers) = (vdupq_n_s32(n as i32), NUMBERS.as_ptr());
        Self::of([
            vbslq_f32(vcgtq_s32(n, vld1q_s32(numbers)), self.0[0], rest.0[0]),
            vbslq_f32(vcgtq_s32(n, vld1q_s32(numbers.add(4))), self.0[1], rest.0[1]),
            vbslq_f32(vcgtq_s32(n, vld1q_s32(numbers.add(8))), self.0[2], rest.0[2]),
            vbslq_f32(vcgtq_s32(n, vld1q_s32(numbers.add(12))), self.0[3], rest.0[3]),
        ])
    }

    #[inline(always)]
    unsafe fn add(self, y: Self) -> Self {
        each!(vaddq_f32, self, y)
    }

    #[inline(always)]
    unsafe fn sub(self, y: Self) -> Self {
        each!(vsubq_f32, self, y)
    }

    #[inline(always)]
    unsafe fn mul(self, y: Self) -> Self {
        each!(vmulq_f32, self, y)
    }

    #[inline(always)]
    unsafe fn div(self, y: Self) -> Self {
        each!(vdivq_f32, self, y)
    }

    #[inline(always)]
    unsafe fn mul_add(self, y: Self, z: Self) -> Self {
        each!(vfmaq_f32, z, self, y)
    }

    #[inline(always)]
    unsafe fn max(self, y: Self) -> Self {
        each!(larger, self, y)
    }

    #[inline(always)]
    unsafe fn min(self, y: Self) -> Self {
        each!(smaller, self, y)
    }

    #[inline(always)]
    unsafe fn round(self) -> Self {
        each!(vrndnq_f32, self)
    }

    #[inline(always)]
    unsafe fn times_power_of_two(self, n: Self) -> Self {
        self.mul(each!(power_of_two, n))
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        let x = vaddq_f32(vaddq_f32(self.0[0], self.0[2]), vaddq_f32(self.0[1], self.0[3]));
        vpadds_f32(vadd_f32(vget_low_f32(x), vget_high_f32(x)))
    }

    #[inline(always)]
    unsafe fn largest(self) -> f32 {
        vmaxvq_f32(vmaxq_f32(vmaxq_f32(self.0[0], self.0[2]), vmaxq_f32(self.0[1], self.0[3])))
    }

    #[inline(always)]
    unsafe fn store_bytes(self, zero: i32, p: *mut u8) {
        let zero = vdupq_n_s32(zero);
        let a = vqaddq_s32(vcvtnq_s32_f32(self.0[0]), zero);
        let b = vqaddq_s32(vcvtnq_s32_f32(self.0[1]), zero);
        let c = vqaddq_s32(vcvtnq_s32_f32(self.0[2]), zero);
        let d = vqaddq_s32(vcvtnq_s32_f32(self.0[3]), zero);
        let low = vqmovn_high_s32(vqmovn_s32(a), b);
        let high = vqmovn_high_s32(vqmovn_s32(c), d);
        vst1q_s8(p.cast(), vqmovn_high_s16(vqmovn_s16(low), high));
    }

    #[inline(always)]
    unsafe fn store_bf16(self, p: *mut bf16) {
        let p = p.cast::<u16>();
        vst1q_u16(p, vcombine_u16(round_bf16(self.0[0]), round_bf16(self.0[1])));
        vst1q_u16(p.add(8), vcombine_u16(round_bf16(self.0[2]), round_bf16(self.0[3])));
    }

    #[inline(always)]
    unsafe fn low_bf16(self) -> Self {
        each!(low_halves, self)
    }

    #[inline(always)]
    unsafe fn high_bf16(self) -> Self {
        each!(high_halves, self)
    }

    #[inline(always)]
    unsafe fn no_sums() -> Sums {
        [vdupq_n_s32(0); 4]
    }

    #[inline(always)]
    unsafe fn load_bytes(p: *const u8) -> int8x16_t {
        vreinterpretq_s8_s32(vdupq_n_s32(p.cast::<i32>().read_unaligned()))
    }

    #[inline(always)]
    unsafe fn load_weights(p: *const i8) -> Weights {
        [vld1q_s8(p), vld1q_s8(p.add(16)), vld1q_s8(p.add(32)), vld1q_s8(p.add(48))]
    }

    #[inline(always)]
    unsafe fn dot(sums: Sums, a: int8x16_t, w: Weights) -> Sums {
        D::dot(sums, a, w)
    }

    #[inline(always)]
    unsafe fn byte_sums<const R: usize, const B: usize>(tile: ByteTile) -> [[Sums; B]; R] {
        D::byte_sums(tile)
    }

    #[inline(always)]
    unsafe fn load_nibbles(p: *const u8) -> (Weights, Weights) {
        let (mask, mut low, mut high) = (vdupq_n_u8(15), [vdupq_n_s8(0); 4], [vdupq_n_s8(0); 4]);
        for i in 0..4 {
            let bytes = vld1q_u8(p.add(16 * i));
            low[i] = vreinterpretq_s8_u8(vandq_u8(bytes, mask));
            high[i] = vreinterpretq_s8_u8(vshrq_n_u8::<4>(bytes));
        }
        (low, high)
    }

    #[inline(always)]
    unsafe fn floats(sums: Sums) -> Self {
        Self::of([vcvtq_f32_s32(sums[0]), vcvtq_f32_s32(sums[1]), vcvtq_f32_s32(sums[2]), vcvtq_f32_s32(sums[3])])
    }

    #[inline(always)]
    unsafe fn centre(sums: Sums, zero: i32, columns: *const i32) -> Self {
        let zero = vdupq_n_s32(zero);
        Self::of([
            vcvtq_f32_s32(vmlsq_s32(sums[0], vld1q_s32(columns), zero)),
            vcvtq_f32_s32(vmlsq_s32(sums[1], vld1q_s32(columns.add(4)), zero)),
            vcvtq_f32_s32(vmlsq_s32(sums[2], vld1q_s32(columns.add(8)), zero)),
            vcvtq_f32_s32(vmlsq_s32(sums[3], vld1q_s32(columns.add(12)), zero)),
        ])
    }

    #[inline(always)]
    unsafe fn transpose(p: *const f32, stride: usize, out: *mut f32) {
        for row in (0..16).step_by(4) {
            for column in (0..16).step_by(4) {
                transpose4(p.add(row * stride + column), stride, out.add(column * 16 + row));
            }
        }
    }

    #[inline(always)]
    fn tile_rows(remaining: usize, most: usize) -> usize {
        D::tile_rows(remaining, most)
    }

    #[inline(always)]
    fn tile_blocks(rows: usize, remaining: usize) -> usize {
        D::tile_blocks(rows, remaining)
    }

    #[inline(always)]
    unsafe fn tile<T: Tile<Self>>(tile: &T, rows: usize, blocks: usize, at: TilePosition) {
        D::tile(tile, rows, blocks, at);
    }
}
