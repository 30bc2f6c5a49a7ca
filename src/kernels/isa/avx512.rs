//! AVX-512 with VNNI: one register of sixteen lanes, and four byte products per lane in one instruction.
#![allow(unsafe_op_in_unsafe_fn)] // Nearly every line is an intrinsic, and its precondition is that of `Vector`'s methods.

use std::arch::x86_64::*;

use half::bf16;

use super::avx2::transpose8;
use crate::kernels::instruction_set::implement_kernel;
use crate::kernels::vector::{Tile, TilePosition, Vector, add_widened, tile_shapes};

/// Proof that the machine has AVX-512 F, BW, DQ, VL and VNNI, AVX2, FMA and F16C.
pub struct Avx512(());

impl Avx512 {
    pub fn new() -> Option<Self> {
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
    Avx512: Lanes,
    "x86_64-avx512-vnni",
    "avx512",
    "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c"
);

/// Sixteen floats. `BF16` is whether bf16 has instructions (`avx512bf16.rs`) or is widened (here).
#[derive(Clone, Copy)]
pub struct Zmm<const BF16: bool>(pub __m512);

pub(super) type Lanes = Zmm<false>;

/// The part of `Vector` in which the kernels with and without those instructions differ.
///
/// # Safety
/// That of `Vector`'s methods.
pub(super) trait PairLanes: Copy {
    fn tile_rows(remaining: usize, most: usize) -> usize;
    fn tile_blocks(rows: usize, remaining: usize) -> usize;
    unsafe fn tile<T: Tile<Self>>(tile: &T, rows: usize, blocks: usize, at: TilePosition)
    where
        Self: Vector;

    unsafe fn store_bf16(self, p: *mut bf16);
    unsafe fn store_pairs(self, high: Self, p: *mut f32);
    unsafe fn add_pairs(self, a: Self, b: Self) -> Self;
}

/// The mask of lanes below `n`.
#[inline(always)]
fn mask(n: usize) -> __mmask16 {
    debug_assert!(n <= 16);
    ((1u32 << n) - 1) as __mmask16
}

impl PairLanes for Lanes {
    tile_shapes! {
        "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c";
        12: 2, 1; 8: 2, 1; 6: 4, 2, 1; 4: 4, 2, 1; 3: 4, 2, 1; 2: 8, 4, 2, 1; 1: 8, 4, 2, 1;
    }

    #[inline(always)]
    unsafe fn store_bf16(self, p: *mut bf16) {
        _mm256_storeu_si256(p.cast(), _mm512_cvtepi32_epi16(self.words()));
    }

    #[inline(always)]
    unsafe fn store_pairs(self, high: Self, p: *mut f32) {
        _mm512_storeu_si512(p.cast(), _mm512_or_si512(self.words(), _mm512_slli_epi32::<16>(high.words())));
    }

    #[inline(always)]
    unsafe fn add_pairs(self, a: Self, b: Self) -> Self {
        add_widened(self, a, b)
    }
}

impl Lanes {
    /// Rounds to bf16 in the low halves of the lanes.
    #[inline(always)]
    unsafe fn words(self) -> __m512i {
        let bits = _mm512_castps_si512(self.0);
        let upper = _mm512_srli_epi32::<16>(bits);
        // A half, less the least bit where the upper ones are even already.
        let half = _mm512_add_epi32(_mm512_set1_epi32(0x7fff), _mm512_and_si512(upper, _mm512_set1_epi32(1)));
        let rounded = _mm512_srli_epi32::<16>(_mm512_add_epi32(bits, half));
        // The upper bits of a NaN could be infinity's; a quiet NaN's cannot.
        let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(self.0, self.0);
        _mm512_mask_or_epi32(rounded, nan, upper, _mm512_set1_epi32(0x40))
    }
}

impl<const BF16: bool> Vector for Zmm<BF16>
where
    Self: PairLanes,
{
    type Sums = __m512i;
    type Bytes = __m512i;
    type Weights = __m512i;

    const FLOAT_ROWS: usize = 12;
    const BYTE_ROWS: usize = 12;
    const FAST_PAIRS: bool = BF16;
    const BYTE_OFFSET: i32 = 0;

    #[inline(always)]
    fn tile_rows(remaining: usize, most: usize) -> usize {
        <Self as PairLanes>::tile_rows(remaining, most)
    }

    #[inline(always)]
    fn tile_blocks(rows: usize, remaining: usize) -> usize {
        <Self as PairLanes>::tile_blocks(rows, remaining)
    }

    #[inline(always)]
    unsafe fn tile<T: Tile<Self>>(tile: &T, rows: usize, blocks: usize, at: TilePosition) {
        <Self as PairLanes>::tile(tile, rows, blocks, at);
    }

    #[inline(always)]
    unsafe fn hadamard(self) -> Self {
        // The partner of a lane, and the lanes that are subtracted from it.
        let x = self.0;
        let y = _mm512_permute_ps::<0b10_11_00_01>(x);
        let x = _mm512_mask_sub_ps(_mm512_add_ps(x, y), 0xaaaa, y, x);
        let y = _mm512_permute_ps::<0b01_00_11_10>(x);
        let x = _mm512_mask_sub_ps(_mm512_add_ps(x, y), 0xcccc, y, x);
        let y = _mm512_shuffle_f32x4::<0b10_11_00_01>(x, x);
        let x = _mm512_mask_sub_ps(_mm512_add_ps(x, y), 0xf0f0, y, x);
        let y = _mm512_shuffle_f32x4::<0b01_00_11_10>(x, x);
        Self(_mm512_mask_sub_ps(_mm512_add_ps(x, y), 0xff00, y, x))
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
    unsafe fn store_f16(self, p: *mut half::f16) {
        _mm256_storeu_si256(p.cast(), _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.0));
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

    /// Two packs saturate; the quarters of a register are in the order of the packs, which a permutation mends.
    #[inline(always)]
    unsafe fn store_line([a, b, c, d]: [Self; 4], zero: i32, p: *mut u8) {
        let zero = _mm512_set1_epi32(zero);
        let integers = |x: Self| _mm512_add_epi32(_mm512_cvtps_epi32(x.0), zero);
        let words = (_mm512_packs_epi32(integers(a), integers(b)), _mm512_packs_epi32(integers(c), integers(d)));
        let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        let bytes = _mm512_permutexvar_epi32(order, _mm512_packus_epi16(words.0, words.1));
        _mm512_storeu_si512(p.cast(), bytes);
    }

    #[inline(always)]
    unsafe fn store_bf16(self, p: *mut bf16) {
        <Self as PairLanes>::store_bf16(self, p);
    }

    #[inline(always)]
    unsafe fn store_pairs(self, high: Self, p: *mut f32) {
        <Self as PairLanes>::store_pairs(self, high, p);
    }

    #[inline(always)]
    unsafe fn low_bf16(self) -> Self {
        Self(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_castps_si512(self.0))))
    }

    #[inline(always)]
    unsafe fn high_bf16(self) -> Self {
        Self(_mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(self.0), _mm512_set1_epi32(!0xffff))))
    }

    #[inline(always)]
    unsafe fn add_pairs(self, a: Self, b: Self) -> Self {
        <Self as PairLanes>::add_pairs(self, a, b)
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

    /// The instruction multiplies unsigned bytes with signed ones. The highest bit of a row's bytes is flipped, which adds or subtracts 128,
    /// and 128 times the query's sum corrects that.
    #[inline(always)]
    unsafe fn dots_of_bytes<const SIGNED: bool, const R: usize>(
        x: *const u8,
        length: usize,
        rows: *const u8,
        stride: usize,
    ) -> [i32; R] {
        let (flip, one) = (_mm512_set1_epi8(-128), _mm512_set1_epi8(1));
        let (mut sums, mut of_x) = ([_mm512_setzero_si512(); R], _mm512_setzero_si512());
        for i in (0..length).step_by(64) {
            // Beyond the end bytes of the query are 0, and so are the products.
            let mask = u64::MAX >> 64usize.saturating_sub(length - i);
            let line = _mm512_maskz_loadu_epi8(mask, x.add(i).cast());
            of_x = if SIGNED { _mm512_dpbusd_epi32(of_x, one, line) } else { _mm512_dpbusd_epi32(of_x, line, one) };
            for (r, sum) in sums.iter_mut().enumerate() {
                let row = _mm512_maskz_loadu_epi8(mask, rows.add(r * stride + i).cast());
                let row = _mm512_xor_si512(row, flip);
                *sum = if SIGNED { _mm512_dpbusd_epi32(*sum, row, line) } else { _mm512_dpbusd_epi32(*sum, line, row) };
            }
        }
        let excess = 128 * _mm512_reduce_add_epi32(of_x);
        let mut out = [if SIGNED { -excess } else { excess }; R];
        for (out, sum) in out.iter_mut().zip(sums) {
            *out += _mm512_reduce_add_epi32(sum);
        }
        out
    }

    #[inline(always)]
    unsafe fn load_nibbles(p: *const u8) -> (__m512i, __m512i) {
        let (bytes, mask) = (_mm512_loadu_si512(p.cast()), _mm512_set1_epi8(15));
        (_mm512_and_si512(bytes, mask), _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), mask))
    }

    /// The instruction's first operand is the unsigned one.
    #[inline(always)]
    unsafe fn dot_nibbles(sums: __m512i, a: __m512i, w: __m512i) -> __m512i {
        _mm512_dpbusd_epi32(sums, w, a)
    }

    #[inline(always)]
    unsafe fn floats(sums: __m512i) -> Self {
        Self(_mm512_cvtepi32_ps(sums))
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
