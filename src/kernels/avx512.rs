//! AVX-512 with VNNI: one register of sixteen lanes, and four byte products a lane in one instruction.
#![allow(unsafe_op_in_unsafe_fn)] // Nearly every line is an intrinsic, and its precondition is that of `Vector`'s methods.

use std::arch::x86_64::*;
use std::ops::Range;

use super::avx2::transpose8;
use super::implement::implement_kernel;
use super::vector::{Vector, tile_shapes};
use super::{
    Activation, Attention, Epilogue, Kernel, Out, PackedF16, PackedF32, PackedI8, PagedAttention, RowScale, Rows,
};
use super::{activation, attention, embedding, linear, norm, paged, quantize};

/// Proof that the machine has AVX-512 F, BW, DQ, VL and VNNI (and what AVX2 stands for).
pub(super) struct Avx512(());

impl Avx512 {
    pub(super) fn new() -> Option<Self> {
        (is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c"))
        .then_some(Self(()))
    }
}

implement_kernel!(
    Avx512,
    Lanes,
    "x86_64-avx512-vnni",
    "avx512",
    "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c"
);

#[derive(Clone, Copy)]
struct Lanes(__m512);

/// The mask of lanes below `n`.
#[inline(always)]
fn mask(n: usize) -> __mmask16 {
    debug_assert!(n <= 16);
    ((1u32 << n) - 1) as __mmask16
}

impl Vector for Lanes {
    type Sums = __m512i;
    type Bytes = __m512i;
    type Weights = __m512i;

    const FLOAT_ROWS: usize = 12;
    const BYTE_ROWS: usize = 12;
    const BYTE_OFFSET: i32 = 0;

    tile_shapes! {
        "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c";
        12: 2, 1; 8: 2, 1; 6: 4, 2, 1; 4: 4, 2, 1; 3: 4, 2, 1; 2: 8, 4, 2, 1; 1: 8, 4, 2, 1;
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Self(_mm512_set1_ps(x))
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        Self(_mm512_loadu_ps(p))
    }

    #[inline(always)]
    unsafe fn load_first(p: *const f32, n: usize) -> Self {
        Self(_mm512_maskz_loadu_ps(mask(n), p))
    }

    #[inline(always)]
    unsafe fn load_f16(p: *const half::f16) -> Self {
        Self(_mm512_cvtph_ps(_mm256_loadu_si256(p.cast())))
    }

    #[inline(always)]
    unsafe fn load_i8(p: *const i8) -> Self {
        Self(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p.cast()))))
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        _mm512_storeu_ps(p, self.0);
    }

    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, n: usize) {
        _mm512_mask_storeu_ps(p, mask(n), self.0);
    }

    #[inline(always)]
    unsafe fn first_or(self, n: usize, rest: Self) -> Self {
        Self(_mm512_mask_blend_ps(mask(n), rest.0, self.0))
    }

    #[inline(always)]
    unsafe fn add(self, y: Self) -> Self {
        Self(_mm512_add_ps(self.0, y.0))
    }

    #[inline(always)]
    unsafe fn sub(self, y: Self) -> Self {
        Self(_mm512_sub_ps(self.0, y.0))
    }

    #[inline(always)]
    unsafe fn mul(self, y: Self) -> Self {
        Self(_mm512_mul_ps(self.0, y.0))
    }

    #[inline(always)]
    unsafe fn div(self, y: Self) -> Self {
        Self(_mm512_div_ps(self.0, y.0))
    }

    #[inline(always)]
    unsafe fn mul_add(self, y: Self, z: Self) -> Self {
        Self(_mm512_fmadd_ps(self.0, y.0, z.0))
    }

    #[inline(always)]
    unsafe fn max(self, y: Self) -> Self {
        Self(_mm512_max_ps(self.0, y.0))
    }

    #[inline(always)]
    unsafe fn min(self, y: Self) -> Self {
        Self(_mm512_min_ps(self.0, y.0))
    }

    #[inline(always)]
    unsafe fn round(self) -> Self {
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        Self(_mm512_roundscale_ps::<NEAREST>(self.0))
    }

    #[inline(always)]
    unsafe fn times_power_of_two(self, n: Self) -> Self {
        Self(_mm512_scalef_ps(self.0, n.0))
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        let x = _mm256_add_ps(_mm512_castps512_ps256(self.0), _mm512_extractf32x8_ps::<1>(self.0));
        let x = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
        let x = _mm_add_ps(x, _mm_movehl_ps(x, x));
        _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)))
    }

    #[inline(always)]
    unsafe fn largest(self) -> f32 {
        let x = _mm256_max_ps(_mm512_castps512_ps256(self.0), _mm512_extractf32x8_ps::<1>(self.0));
        let x = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
        let x = _mm_max_ps(x, _mm_movehl_ps(x, x));
        _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)))
    }

    #[inline(always)]
    unsafe fn store_bytes(self, zero: i32, p: *mut u8) {
        let x = _mm512_add_epi32(_mm512_cvtps_epi32(self.0), _mm512_set1_epi32(zero));
        let x = _mm512_max_epi32(x, _mm512_setzero_si512());
        _mm_storeu_si128(p.cast(), _mm512_cvtusepi32_epi8(x));
    }

    #[inline(always)]
    unsafe fn no_sums() -> __m512i {
        _mm512_setzero_si512()
    }

    #[inline(always)]
    unsafe fn load_bytes(p: *const u8) -> __m512i {
        _mm512_set1_epi32(p.cast::<i32>().read_unaligned())
    }

    #[inline(always)]
    unsafe fn load_weights(p: *const i8) -> __m512i {
        _mm512_loadu_si512(p.cast())
    }

    #[inline(always)]
    unsafe fn dot(sums: __m512i, a: __m512i, w: __m512i) -> __m512i {
        _mm512_dpbusd_epi32(sums, a, w)
    }

    #[inline(always)]
    unsafe fn centre(sums: __m512i, zero: i32, columns: *const i32) -> Self {
        let shift = _mm512_mullo_epi32(_mm512_set1_epi32(zero), _mm512_loadu_si512(columns.cast()));
        Self(_mm512_cvtepi32_ps(_mm512_sub_epi32(sums, shift)))
    }

    #[inline(always)]
    unsafe fn transpose(p: *const f32, stride: usize, out: *mut f32) {
        transpose8(p, stride, out, 16);
        transpose8(p.add(8), stride, out.add(8 * 16), 16);
        transpose8(p.add(8 * stride), stride, out.add(8), 16);
        transpose8(p.add(8 * stride + 8), stride, out.add(8 * 16 + 8), 16);
    }
}
