//! AVX-VNNI: AVX2 with the byte products of AVX-512 VNNI, four per lane in one instruction.
#![allow(unsafe_op_in_unsafe_fn)] // Nearly every line is an intrinsic, and its precondition is that of `Vector`'s methods.

use std::arch::x86_64::*;

use super::avx2::{Avx2, ByteLanes, Integers, Pair};
use crate::kernels::instruction_set::implement_kernel;
use crate::kernels::vector::tile_shapes;

/// Proof that the machine has AVX-VNNI and everything that [`Avx2`] proves.
pub(super) struct AvxVnni(());

impl AvxVnni {
    pub(super) fn new() -> Option<Self> {
        (is_x86_feature_detected!("avxvnni") && Avx2::new().is_some()).then_some(Self(()))
    }
}

implement_kernel!(AvxVnni: Lanes, "x86_64-avx-vnni", "avxvnni", "avx2,fma,f16c,avxvnni");

type Lanes = Pair<true>;

impl ByteLanes for Lanes {
    type Bytes = __m256i;

    const ROWS: usize = 6;
    const OFFSET: i32 = 0;

    tile_shapes! { "avx2,fma,f16c,avxvnni"; 6: 1; 4: 1; 3: 2, 1; 2: 2, 1; 1: 4, 2, 1; }

    #[inline(always)]
    unsafe fn narrow(words: __m256i) -> __m128i {
        _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words))
    }

    #[inline(always)]
    unsafe fn load_bytes(p: *const u8) -> __m256i {
        _mm256_set1_epi32(p.cast::<i32>().read_unaligned())
    }

    #[inline(always)]
    unsafe fn dot(sums: Integers, a: __m256i, w: Integers) -> Integers {
        (_mm256_dpbusd_avx_epi32(sums.0, a, w.0), _mm256_dpbusd_avx_epi32(sums.1, a, w.1))
    }

    /// The instruction's first operand is the unsigned one.
    #[inline(always)]
    unsafe fn dot_nibbles(sums: Integers, a: __m256i, w: Integers) -> Integers {
        (_mm256_dpbusd_avx_epi32(sums.0, w.0, a), _mm256_dpbusd_avx_epi32(sums.1, w.1, a))
    }
}
