//! AVX-512 with VNNI and BF16: two bf16 products per lane in one instruction, where `avx512.rs` widens them to f32.
#![allow(unsafe_op_in_unsafe_fn)] // Nearly every line is an intrinsic, and its precondition is that of `Vector`'s methods.

use std::arch::x86_64::*;
use std::mem::transmute;

use half::bf16;

use super::avx512::{Avx512, PairLanes, Zmm};
use crate::kernels::instruction_set::implement_kernel;
use crate::kernels::vector::tile_shapes;

/// Proof that the machine has AVX512-BF16 and everything that [`Avx512`] proves.
pub(super) struct Avx512Bf16(());

impl Avx512Bf16 {
    pub(super) fn new() -> Option<Self> {
        (is_x86_feature_detected!("avx512bf16") && Avx512::new().is_some()).then_some(Self(()))
    }
}

implement_kernel!(
    Avx512Bf16: Lanes,
    "x86_64-avx512-bf16",
    "avx512-bf16",
    "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c,avx512bf16"
);

type Lanes = Zmm<true>;

impl PairLanes for Lanes {
    tile_shapes! {
        "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c,avx512bf16";
        12: 2, 1; 8: 2, 1; 6: 4, 2, 1; 4: 4, 2, 1; 3: 4, 2, 1; 2: 8, 4, 2, 1; 1: 8, 4, 2, 1;
    }

    /// Denormals become 0, here and in the products, whatever the thread's control register says.
    #[inline(always)]
    unsafe fn store_bf16(self, p: *mut bf16) {
        _mm256_storeu_si256(p.cast(), transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(self.0)));
    }

    #[inline(always)]
    unsafe fn store_pairs(self, high: Self, p: *mut f32) {
        let words = |x: Self| _mm512_cvtepu16_epi32(transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(x.0)));
        _mm512_storeu_si512(p.cast(), _mm512_or_si512(words(self), _mm512_slli_epi32::<16>(words(high))));
    }

    #[inline(always)]
    unsafe fn add_pairs(self, a: Self, b: Self) -> Self {
        let (a, b) = (transmute::<__m512, __m512bh>(a.0), transmute::<__m512, __m512bh>(b.0));
        Self(_mm512_dpbf16_ps(self.0, a, b))
    }
}
