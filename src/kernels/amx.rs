//! AMX: the AVX-512 kernel, with 8-bit products of many rows in tiles.
//!
//! A block of a packed weight is a column of tiles as it lies, and rows of activations are tiles with a stride, so
//! nothing is copied. Sums are integers and what follows them is AVX-512's own code: the bits are the same.
//!
//! Linux alone: it hands the tiles out on request, to a whole process, and this is the request that we know.
#![allow(unsafe_op_in_unsafe_fn)] // Nearly every line works on raw tiles, under the promise that the function was given.

#[cfg(test)]
pub(super) mod emulate;
mod tiles;

use std::arch::x86_64::*;
use std::mem::MaybeUninit;
use std::ops::Range;

use half::bf16;

use super::avx512::{Avx512, Lanes};
use super::implement::implement_kernel;
use super::linear::Plan;
use super::vector::{Place, Vector};
use super::{
    Activation, Attention, BLOCK, Epilogue, ExpSum, Kernel, Out, PackedBf16, PackedF16, PackedF32, PackedI8,
    PagedAttention, Placed, RowScale, Rows,
};
use super::{activation, arg_max, attention, embedding, linear, norm, paged, quantize, round, top_k};
use tiles::{CHUNK, SIDE, STRIP, Step, Tiles};

/// Fewer rows than these go the way of AVX-512: a tile reads its weights whatever its height, and for few rows that
/// takes as long as the products themselves do without tiles.
const LEAST_ROWS: usize = 8;
/// Rows that meet a part of a pair of blocks while it is in the first-level cache.
const PANEL: usize = 3 * STRIP;
/// Chunks in such a part: it leaves a strip of rows room to pass.
const DEPTH: usize = 12;

/// Proof that the machine has AMX-INT8 (and what AVX-512 stands for) and that the system lets this process use it.
pub(super) struct Amx(());

impl Amx {
    pub(super) fn new() -> Option<Self> {
        (Avx512::new().is_some() && detected() && permitted()).then_some(Self(()))
    }
}

implement_kernel!(
    Amx,
    Lanes,
    "x86_64-amx-int8",
    "amx",
    "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c";
    linear_i8
);

/// Whether the processor multiplies tiles of bytes, and the system has switched tiles on.
fn detected() -> bool {
    #[target_feature(enable = "xsave")]
    fn enabled() -> u64 {
        // SAFETY: register 0 always exists.
        unsafe { _xgetbv(0) }
    }
    /// Tile configuration and tile data.
    const STATE: u64 = 1 << 17 | 1 << 18;
    /// AMX-TILE and AMX-INT8.
    const FEATURES: u32 = 1 << 24 | 1 << 25;
    // AVX implies that the system uses XSAVE, without which reading the register is itself an invalid instruction.
    if !is_x86_feature_detected!("avx") || __cpuid(0).eax < 7 {
        return false;
    }
    // SAFETY: as just said.
    let state = unsafe { enabled() };
    state & STATE == STATE && __cpuid_count(7, 0).edx & FEATURES == FEATURES
}

/// Asks Linux for the tiles' registers, for all threads of this process, those to come included.
///
/// Refused by systems that are too old, and where a thread's signal stack has no room for 8 KiB of tiles.
fn permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const TILE_DATA: libc::c_long = 18;
    // SAFETY: the call takes numbers and grants or does not.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0 }
}

/// The sums of a panel of rows and a pair of blocks. Their alignment matters: tiles stored across lines take several
/// times as long.
#[repr(C, align(64))]
struct Sums([MaybeUninit<i32>; PANEL * STRIP]);

/// # Safety
/// That of `Kernel::linear_i8`, and the machine has what `Amx` stands for.
#[inline(always)]
unsafe fn linear_i8(
    a: Rows<u8>,
    scales: &[RowScale],
    w: &PackedI8,
    blocks: Range<usize>,
    out: Out,
    epilogue: &Epilogue,
) {
    let inputs = w.padded_inputs();
    let chunks = inputs / CHUNK;
    if a.rows < LEAST_ROWS || chunks == 0 {
        return linear::linear_i8::<Lanes>(a, scales, w, blocks, out, epilogue);
    }
    linear::check(&blocks, w.blocks(), w.outputs(), epilogue);
    assert!(scales.len() >= a.rows, "a row without its scale");
    let (rows, end, outputs) = (a.rows, blocks.end, w.outputs());
    let plan = Plan { rows, blocks: blocks.clone(), outputs, out, epilogue, tile: STRIP, panel: PANEL };
    // Even depths: a last one of a chunk or two would spend its time on loading and storing sums.
    let depth = chunks.div_ceil(chunks.div_ceil(DEPTH));
    let mut sums = Sums([MaybeUninit::uninit(); PANEL * STRIP]);
    let sums = sums.0.as_mut_ptr().cast::<i32>();
    let mut tiles = Tiles::new();
    for panel in (0..rows).step_by(PANEL) {
        let panel_rows = PANEL.min(rows - panel);
        for block in blocks.clone().step_by(2) {
            let pair = 2.min(end - block);
            let weights = w.data().add(block * inputs * BLOCK);
            for chunk in (0..chunks).step_by(depth) {
                for strip in (0..panel_rows).step_by(STRIP) {
                    let step = Step {
                        a: a.data.add((panel + strip) * a.stride + chunk * CHUNK),
                        a_stride: a.stride,
                        w: weights.add(chunk * CHUNK * BLOCK),
                        w_stride: inputs * BLOCK,
                        sums: sums.add(strip * STRIP),
                        chunks: depth.min(chunks - chunk),
                        add: chunk > 0,
                    };
                    tiles.multiply(STRIP.min(panel_rows - strip), pair, &step);
                }
            }
            let product = Rest { a, scales, w, from: chunks * CHUNK };
            let place = Place { row: panel, block, out: sums.cast(), stride: STRIP };
            product.add(place, panel_rows, pair);
            plan.finish::<Lanes>(place, panel_rows, pair);
        }
    }
}

/// What is left of a product once its tiles are summed: inputs that fill no chunk, and the scales.
struct Rest<'a> {
    a: Rows<u8>,
    scales: &'a [RowScale],
    w: &'a PackedI8,
    from: usize,
}

impl Rest<'_> {
    /// Turns sums into real numbers, in their place.
    ///
    /// # Safety
    /// As `linear_i8`; the rows and blocks exist, their sums too.
    #[inline(always)]
    unsafe fn add(&self, at: Place, rows: usize, blocks: usize) {
        let inputs = self.w.padded_inputs();
        for i in 0..rows {
            let row = *self.scales.get_unchecked(at.row + i);
            let a = self.a.data.add((at.row + i) * self.a.stride);
            for j in 0..blocks {
                let w = self.w.data().add((at.block + j) * inputs * BLOCK);
                let to = at.out.add(i * at.stride + j * BLOCK);
                let mut sums = _mm512_load_si512(to.cast());
                for k in (self.from..inputs).step_by(4) {
                    sums = Lanes::dot(sums, Lanes::load_bytes(a.add(k)), Lanes::load_weights(w.add(k * BLOCK)));
                }
                linear::dequantise::<Lanes>(sums, row, self.w, at.block + j).store(to);
            }
        }
    }
}

const _: () = assert!(SIDE == BLOCK, "a block of channels is as wide as a tile");
