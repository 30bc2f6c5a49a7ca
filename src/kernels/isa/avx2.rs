//! AVX2 with FMA and F16C: two registers of eight lanes. AVX-VNNI shares everything but the byte products.
#![allow(unsafe_op_in_unsafe_fn)] // Nearly every line is an intrinsic, and its precondition is that of `Vector`'s methods.

use std::arch::x86_64::*;

use half::bf16;

use crate::kernels::instruction_set::implement_kernel;
use crate::kernels::vector::{Tile, TilePosition, Vector, tile_shapes};

/// Proof that the machine has AVX2, FMA and F16C.
pub(super) struct Avx2(());

impl Avx2 {
    pub(super) fn new() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c"))
            .then_some(Self(()))
    }
}

implement_kernel!(Avx2: Lanes, "x86_64-avx2", "avx2", "avx2,fma,f16c");

/// Sixteen floats. `VNNI` is whether bytes are multiplied by `vpdpbusd` (`avxvnni.rs`) or by `vpmaddubsw` (here).
#[derive(Clone, Copy)]
pub(super) struct Pair<const VNNI: bool>(__m256, __m256);

type Lanes = Pair<false>;

/// Sixteen i32, or the weights of sixteen lanes.
pub(super) type Integers = (__m256i, __m256i);

/// The part of `Vector` in which AVX2 and AVX-VNNI differ.
///
/// # Safety
/// That of `Vector`'s methods.
pub(super) trait ByteLanes: Copy {
    type Bytes: Copy;

    const ROWS: usize;
    const OFFSET: i32;

    fn tile_rows(remaining: usize, most: usize) -> usize;
    fn tile_blocks(rows: usize, remaining: usize) -> usize;
    unsafe fn tile<T: Tile<Self>>(tile: &T, rows: usize, blocks: usize, at: TilePosition)
    where
        Self: Vector;

    /// Words to bytes, saturated to the range of a stored activation.
    unsafe fn narrow(words: __m256i) -> __m128i;
    unsafe fn load_bytes(p: *const u8) -> Self::Bytes;
    unsafe fn dot(sums: Integers, a: Self::Bytes, w: Integers) -> Integers;
    unsafe fn dot_nibbles(sums: Integers, a: Self::Bytes, w: Integers) -> Integers;
}

/// Four signed activations in every lane, and their magnitudes.
#[derive(Clone, Copy)]
pub(super) struct Bytes {
    signed: __m256i,
    magnitudes: __m256i,
}

/// Sixteen lanes of ones, then sixteen of zeros: the mask for `n` lanes starts at `16 - n`.
static MASKS: [i32; 32] = {
    let mut masks = [0; 32];
    let mut i = 0;
    while i < 16 {
        masks[i] = -1;
        i += 1;
    }
    masks
};

/// The masks of lanes below `n` in either register.
#[inline(always)]
unsafe fn masks(n: usize) -> (__m256i, __m256i) {
    debug_assert!(n <= 16);
    let p = MASKS.as_ptr().add(16 - n);
    (_mm256_loadu_si256(p.cast()), _mm256_loadu_si256(p.add(8).cast()))
}

/// Rounded to the 16 bits of a bf16, in lanes of 32.
#[inline(always)]
unsafe fn round_bf16(x: __m256) -> __m256i {
    let bits = _mm256_castps_si256(x);
    let upper = _mm256_srli_epi32::<16>(bits);
    // A half, less the least bit where the upper ones are even already.
    let half = _mm256_add_epi32(_mm256_set1_epi32(0x7fff), _mm256_and_si256(upper, _mm256_set1_epi32(1)));
    let rounded = _mm256_srli_epi32::<16>(_mm256_add_epi32(bits, half));
    // The upper bits of a NaN could be infinity's; a quiet NaN's cannot.
    let quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
    _mm256_blendv_epi8(rounded, quiet, _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(x, x)))
}

/// 8 × 8 floats transposed in registers, by pairs, quadruples and halves.
#[inline(always)]
pub(super) unsafe fn transpose8(p: *const f32, stride: usize, out: *mut f32, out_stride: usize) {
    let (r0, r1) = (_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(stride)));
    let (r2, r3) = (_mm256_loadu_ps(p.add(stride * 2)), _mm256_loadu_ps(p.add(stride * 3)));
    let (r4, r5) = (_mm256_loadu_ps(p.add(stride * 4)), _mm256_loadu_ps(p.add(stride * 5)));
    let (r6, r7) = (_mm256_loadu_ps(p.add(stride * 6)), _mm256_loadu_ps(p.add(stride * 7)));
    let (a0, a1) = (_mm256_unpacklo_ps(r0, r1), _mm256_unpackhi_ps(r0, r1));
    let (a2, a3) = (_mm256_unpacklo_ps(r2, r3), _mm256_unpackhi_ps(r2, r3));
    let (a4, a5) = (_mm256_unpacklo_ps(r4, r5), _mm256_unpackhi_ps(r4, r5));
    let (a6, a7) = (_mm256_unpacklo_ps(r6, r7), _mm256_unpackhi_ps(r6, r7));
    let (b0, b1) = (_mm256_shuffle_ps(a0, a2, 0x44), _mm256_shuffle_ps(a0, a2, 0xee));
    let (b2, b3) = (_mm256_shuffle_ps(a1, a3, 0x44), _mm256_shuffle_ps(a1, a3, 0xee));
    let (b4, b5) = (_mm256_shuffle_ps(a4, a6, 0x44), _mm256_shuffle_ps(a4, a6, 0xee));
    let (b6, b7) = (_mm256_shuffle_ps(a5, a7, 0x44), _mm256_shuffle_ps(a5, a7, 0xee));
    _mm256_storeu_ps(out, _mm256_permute2f128_ps(b0, b4, 0x20));
    _mm256_storeu_ps(out.add(out_stride), _mm256_permute2f128_ps(b1, b5, 0x20));
    _mm256_storeu_ps(out.add(out_stride * 2), _mm256_permute2f128_ps(b2, b6, 0x20));
    _mm256_storeu_ps(out.add(out_stride * 3), _mm256_permute2f128_ps(b3, b7, 0x20));
    _mm256_storeu_ps(out.add(out_stride * 4), _mm256_permute2f128_ps(b0, b4, 0x31));
    _mm256_storeu_ps(out.add(out_stride * 5), _mm256_permute2f128_ps(b1, b5, 0x31));
    _mm256_storeu_ps(out.add(out_stride * 6), _mm256_permute2f128_ps(b2, b6, 0x31));
    _mm256_storeu_ps(out.add(out_stride * 7), _mm256_permute2f128_ps(b3, b7, 0x31));
}

impl ByteLanes for Lanes {
    type Bytes = Bytes;

    const ROWS: usize = 4;
    const OFFSET: i32 = 128;

    tile_shapes! { "avx2,fma,f16c"; 6: 1; 4: 1; 3: 2, 1; 2: 2, 1; 1: 4, 2, 1; }

    #[inline(always)]
    unsafe fn narrow(words: __m256i) -> __m128i {
        _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words))
    }

    #[inline(always)]
    unsafe fn load_bytes(p: *const u8) -> Bytes {
        let signed = _mm256_set1_epi32(p.cast::<i32>().read_unaligned());
        Bytes { signed, magnitudes: _mm256_abs_epi8(signed) }
    }

    /// `vpmaddubsw` adds pairs of products in 16 bits and saturates. With the sign moved to the weights a pair is at
    /// most 2 · 128 · 127 = 32512, which it can hold; so the sum is exact. (The magnitude of -128 is 128 as an unsigned
    /// byte.)
    #[inline(always)]
    unsafe fn dot(sums: Integers, a: Bytes, w: Integers) -> Integers {
        let ones = _mm256_set1_epi16(1);
        let low = _mm256_maddubs_epi16(a.magnitudes, _mm256_sign_epi8(w.0, a.signed));
        let high = _mm256_maddubs_epi16(a.magnitudes, _mm256_sign_epi8(w.1, a.signed));
        (
            _mm256_add_epi32(sums.0, _mm256_madd_epi16(low, ones)),
            _mm256_add_epi32(sums.1, _mm256_madd_epi16(high, ones)),
        )
    }

    /// A pair of products is at most 2 · 15 · 127, far from saturation.
    #[inline(always)]
    unsafe fn dot_nibbles(sums: Integers, a: Bytes, w: Integers) -> Integers {
        let ones = _mm256_set1_epi16(1);
        let (low, high) = (_mm256_maddubs_epi16(w.0, a.signed), _mm256_maddubs_epi16(w.1, a.signed));
        (
            _mm256_add_epi32(sums.0, _mm256_madd_epi16(low, ones)),
            _mm256_add_epi32(sums.1, _mm256_madd_epi16(high, ones)),
        )
    }
}

/// Multiplies the lanes by the Hadamard matrix of eight rows.
///
/// # Safety
/// The machine has AVX2.
#[inline(always)]
unsafe fn hadamard8(x: __m256) -> __m256 {
    // The partner of a lane, and the lanes that are subtracted from it.
    let y = _mm256_permute_ps::<0b10_11_00_01>(x);
    let x = _mm256_blend_ps::<0b1010_1010>(_mm256_add_ps(x, y), _mm256_sub_ps(y, x));
    let y = _mm256_permute_ps::<0b01_00_11_10>(x);
    let x = _mm256_blend_ps::<0b1100_1100>(_mm256_add_ps(x, y), _mm256_sub_ps(y, x));
    let y = _mm256_permute2f128_ps::<1>(x, x);
    _mm256_blend_ps::<0b1111_0000>(_mm256_add_ps(x, y), _mm256_sub_ps(y, x))
}

impl<const VNNI: bool> Vector for Pair<VNNI>
where
    Self: ByteLanes,
{
    type Sums = Integers;
    type Bytes = <Self as ByteLanes>::Bytes;
    type Weights = Integers;

    const FLOAT_ROWS: usize = 6;
    const PAIR_ROWS: usize = 4;
    const BYTE_ROWS: usize = Self::ROWS;
    const BYTE_OFFSET: i32 = Self::OFFSET;

    #[inline(always)]
    fn tile_rows(remaining: usize, most: usize) -> usize {
        <Self as ByteLanes>::tile_rows(remaining, most)
    }

    #[inline(always)]
    fn tile_blocks(rows: usize, remaining: usize) -> usize {
        <Self as ByteLanes>::tile_blocks(rows, remaining)
    }

    #[inline(always)]
    unsafe fn tile<T: Tile<Self>>(tile: &T, rows: usize, blocks: usize, at: TilePosition) {
        <Self as ByteLanes>::tile(tile, rows, blocks, at);
    }

    #[inline(always)]
    unsafe fn hadamard(self) -> Self {
        let (a, b) = (hadamard8(self.0), hadamard8(self.1));
        Self(_mm256_add_ps(a, b), _mm256_sub_ps(a, b))
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Self(_mm256_set1_ps(x), _mm256_set1_ps(x))
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        Self(_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8)))
    }

    #[inline(always)]
    unsafe fn load_first(p: *const f32, n: usize) -> Self {
        if n == 16 {
            return Self::load(p);
        }
        let (low, high) = masks(n);
        // The second address may be outside the allocation; its mask is then empty.
        Self(_mm256_maskload_ps(p, low), _mm256_maskload_ps(p.wrapping_add(8), high))
    }

    #[inline(always)]
    unsafe fn load_f16(p: *const half::f16) -> Self {
        let low = _mm_loadu_si128(p.cast());
        let high = _mm_loadu_si128(p.add(8).cast());
        Self(_mm256_cvtph_ps(low), _mm256_cvtph_ps(high))
    }

    #[inline(always)]
    unsafe fn load_i8(p: *const i8) -> Self {
        let bytes = _mm_loadu_si128(p.cast());
        let low = _mm256_cvtepi8_epi32(bytes);
        let high = _mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8));
        Self(_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(high))
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        _mm256_storeu_ps(p, self.0);
        _mm256_storeu_ps(p.add(8), self.1);
    }

    #[inline(always)]
    unsafe fn store_f16(self, p: *mut half::f16) {
        _mm_storeu_si128(p.cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.0));
        _mm_storeu_si128(p.add(8).cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.1));
    }

    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, n: usize) {
        if n == 16 {
            return self.store(p);
        }
        let (low, high) = masks(n);
        _mm256_maskstore_ps(p, low, self.0);
        _mm256_maskstore_ps(p.wrapping_add(8), high, self.1);
    }

    #[inline(always)]
    unsafe fn first_or(self, n: usize, rest: Self) -> Self {
        let (low, high) = masks(n);
        Self(
            _mm256_blendv_ps(rest.0, self.0, _mm256_castsi256_ps(low)),
            _mm256_blendv_ps(rest.1, self.1, _mm256_castsi256_ps(high)),
        )
    }

    #[inline(always)]
    unsafe fn add(self, y: Self) -> Self {
        Self(_mm256_add_ps(self.0, y.0), _mm256_add_ps(self.1, y.1))
    }

    #[inline(always)]
    unsafe fn sub(self, y: Self) -> Self {
        Self(_mm256_sub_ps(self.0, y.0), _mm256_sub_ps(self.1, y.1))
    }

    #[inline(always)]
    unsafe fn mul(self, y: Self) -> Self {
        Self(_mm256_mul_ps(self.0, y.0), _mm256_mul_ps(self.1, y.1))
    }

    #[inline(always)]
    unsafe fn div(self, y: Self) -> Self {
        Self(_mm256_div_ps(self.0, y.0), _mm256_div_ps(self.1, y.1))
    }

    #[inline(always)]
    unsafe fn mul_add(self, y: Self, z: Self) -> Self {
        Self(_mm256_fmadd_ps(self.0, y.0, z.0), _mm256_fmadd_ps(self.1, y.1, z.1))
    }

    #[inline(always)]
    unsafe fn max(self, y: Self) -> Self {
        Self(_mm256_max_ps(self.0, y.0), _mm256_max_ps(self.1, y.1))
    }

    #[inline(always)]
    unsafe fn min(self, y: Self) -> Self {
        Self(_mm256_min_ps(self.0, y.0), _mm256_min_ps(self.1, y.1))
    }

    #[inline(always)]
    unsafe fn round(self) -> Self {
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        Self(_mm256_round_ps::<NEAREST>(self.0), _mm256_round_ps::<NEAREST>(self.1))
    }

    #[inline(always)]
    unsafe fn times_power_of_two(self, n: Self) -> Self {
        let bias = _mm256_set1_epi32(127);
        let low = _mm256_slli_epi32::<23>(_mm256_add_epi32(_mm256_cvtps_epi32(n.0), bias));
        let high = _mm256_slli_epi32::<23>(_mm256_add_epi32(_mm256_cvtps_epi32(n.1), bias));
        self.mul(Self(_mm256_castsi256_ps(low), _mm256_castsi256_ps(high)))
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        let x = _mm256_add_ps(self.0, self.1);
        let x = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
        let x = _mm_add_ps(x, _mm_movehl_ps(x, x));
        _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)))
    }

    #[inline(always)]
    unsafe fn largest(self) -> f32 {
        let x = _mm256_max_ps(self.0, self.1);
        let x = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
        let x = _mm_max_ps(x, _mm_movehl_ps(x, x));
        _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)))
    }

    #[inline(always)]
    unsafe fn store_bytes(self, zero: i32, p: *mut u8) {
        let zero = _mm256_set1_epi32(zero);
        let low = _mm256_add_epi32(_mm256_cvtps_epi32(self.0), zero);
        let high = _mm256_add_epi32(_mm256_cvtps_epi32(self.1), zero);
        // The packing works in halves of a register; the permutation puts the quarters back in order.
        let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(low, high));
        _mm_storeu_si128(p.cast(), Self::narrow(words));
    }

    #[inline(always)]
    unsafe fn store_bf16(self, p: *mut bf16) {
        // As in `store_bytes`, quarters are put back in order.
        let words = _mm256_packus_epi32(round_bf16(self.0), round_bf16(self.1));
        _mm256_storeu_si256(p.cast(), _mm256_permute4x64_epi64::<0b11_01_10_00>(words));
    }

    #[inline(always)]
    unsafe fn low_bf16(self) -> Self {
        let low = _mm256_slli_epi32::<16>(_mm256_castps_si256(self.0));
        let high = _mm256_slli_epi32::<16>(_mm256_castps_si256(self.1));
        Self(_mm256_castsi256_ps(low), _mm256_castsi256_ps(high))
    }

    #[inline(always)]
    unsafe fn high_bf16(self) -> Self {
        let mask = _mm256_castsi256_ps(_mm256_set1_epi32(!0xffff));
        Self(_mm256_and_ps(self.0, mask), _mm256_and_ps(self.1, mask))
    }

    #[inline(always)]
    unsafe fn no_sums() -> Integers {
        (_mm256_setzero_si256(), _mm256_setzero_si256())
    }

    #[inline(always)]
    unsafe fn load_bytes(p: *const u8) -> <Self as ByteLanes>::Bytes {
        <Self as ByteLanes>::load_bytes(p)
    }

    #[inline(always)]
    unsafe fn load_weights(p: *const i8) -> Integers {
        (_mm256_loadu_si256(p.cast()), _mm256_loadu_si256(p.add(32).cast()))
    }

    #[inline(always)]
    unsafe fn dot(sums: Integers, a: <Self as ByteLanes>::Bytes, w: Integers) -> Integers {
        <Self as ByteLanes>::dot(sums, a, w)
    }

    #[inline(always)]
    unsafe fn load_nibbles(p: *const u8) -> (Integers, Integers) {
        let mask = _mm256_set1_epi8(15);
        let (a, b) = (_mm256_loadu_si256(p.cast()), _mm256_loadu_si256(p.add(32).cast()));
        (
            (_mm256_and_si256(a, mask), _mm256_and_si256(b, mask)),
            (_mm256_and_si256(_mm256_srli_epi16::<4>(a), mask), _mm256_and_si256(_mm256_srli_epi16::<4>(b), mask)),
        )
    }

    #[inline(always)]
    unsafe fn dot_nibbles(sums: Integers, a: <Self as ByteLanes>::Bytes, w: Integers) -> Integers {
        <Self as ByteLanes>::dot_nibbles(sums, a, w)
    }

    #[inline(always)]
    unsafe fn floats(sums: Integers) -> Self {
        Self(_mm256_cvtepi32_ps(sums.0), _mm256_cvtepi32_ps(sums.1))
    }

    #[inline(always)]
    unsafe fn centre(sums: Integers, zero: i32, columns: *const i32) -> Self {
        let zero = _mm256_set1_epi32(zero);
        let low = _mm256_mullo_epi32(zero, _mm256_loadu_si256(columns.cast()));
        let high = _mm256_mullo_epi32(zero, _mm256_loadu_si256(columns.add(8).cast()));
        Self(_mm256_cvtepi32_ps(_mm256_sub_epi32(sums.0, low)), _mm256_cvtepi32_ps(_mm256_sub_epi32(sums.1, high)))
    }

    #[inline(always)]
    unsafe fn transpose(p: *const f32, stride: usize, out: *mut f32) {
        transpose8(p, stride, out, 16);
        transpose8(p.add(8), stride, out.add(8 * 16), 16);
        transpose8(p.add(8 * stride), stride, out.add(8), 16);
        transpose8(p.add(8 * stride + 8), stride, out.add(8 * 16 + 8), 16);
    }
}
