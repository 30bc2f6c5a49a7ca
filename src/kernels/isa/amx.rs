//! AMX: the AVX-512 kernel, with tiles for the byte products of many rows and for all products in bf16.
//!
//! A block of a packed weight is a column of tiles, and rows of activations are tiles with a stride, so nothing is copied. Sums of
//! bytes are integers, and AVX-512's code dequantises them: the bits are those of AVX-512. Sums of bf16 are not: a tile sums the even
//! and the odd inputs of a chunk separately, and then the chunks.
//!
//! Only for Linux, where a process requests tiles by a system call.
#![allow(unsafe_op_in_unsafe_fn)] // Nearly every line works on raw tiles, under the promise that the function was given.

mod attention;
#[cfg(test)]
pub(in crate::kernels) mod emulate;
mod tiles;

use std::arch::x86_64::*;
use std::mem::MaybeUninit;
use std::sync::OnceLock;

use half::bf16;

use super::avx512::{Avx512, Lanes, Zmm};
use crate::kernels::instruction_set::{InstructionSet, implement_kernel};
use crate::kernels::linear::{ByteProduct, PairProduct, Plan, TileValues};
use crate::kernels::vector::{TilePosition, Vector};
use crate::kernels::{Attention, BLOCK};
use tiles::{AHEAD, CHUNK, Kind, SIDE, STRIP, Step, Tiles};

/// Fewer rows are multiplied by AVX-512: a tile of any height reads all its weights, and for few rows that takes as long as the
/// products without tiles.
const LEAST_ROWS: usize = 8;
/// Rows that are multiplied with a part of a pair of blocks while it is in the first-level cache.
const PANEL: usize = 6 * STRIP;
/// Chunks in such a part; the rest of the L1 cache is for a strip of rows.
const DEPTH: usize = 12;

/// Proof that the machine has AMX-INT8 and everything that [`Avx512`] proves, and that the system lets this process use tiles.
pub struct Amx(());

impl Amx {
    pub fn new() -> Option<Self> {
        (Avx512::new().is_some() && detected() && permitted()).then_some(Self(()))
    }
}

implement_kernel!(Amx, "x86_64-amx", "amx", "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c");

/// AMX-BF16, AMX-TILE and AMX-INT8, where CPUID says so.
const BF16: u32 = 1 << 22;
const TILE: u32 = 1 << 24;
const INT8: u32 = 1 << 25;

/// Whether the processor multiplies tiles of bytes, and the system has switched tiles on.
fn detected() -> bool {
    features() & (TILE | INT8) == TILE | INT8
}

/// Whether it multiplies tiles of bf16 too. All processors so far have both, but a virtual machine may hide one.
fn multiplies_pairs() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    // The emulation for tests has both.
    *FOUND.get_or_init(|| features() & BF16 != 0 || cfg!(test) && !detected())
}

/// The tile features that CPUID reports; none where the system has not switched tiles on.
fn features() -> u32 {
    #[target_feature(enable = "xsave")]
    fn enabled() -> u64 {
        // SAFETY: register 0 always exists.
        unsafe { _xgetbv(0) }
    }
    /// Tile configuration and tile data.
    const STATE: u64 = 1 << 17 | 1 << 18;
    // AVX implies that the system uses XSAVE, without which reading the register is itself an invalid instruction.
    if !is_x86_feature_detected!("avx") || __cpuid(0).eax < 7 {
        return 0;
    }
    // SAFETY: the system uses XSAVE, as explained above.
    let state = unsafe { enabled() };
    if state & STATE == STATE { __cpuid_count(7, 0).edx } else { 0 }
}

/// Requests the tile registers from Linux, for all current and future threads of this process.
///
/// Old systems refuse it, and systems where a thread's signal stack has no space for 8 KiB of tiles.
fn permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const TILE_DATA: libc::c_long = 18;
    // SAFETY: the call takes numbers and grants or does not.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0 }
}

/// The sums of a panel of rows and a pair of blocks. They are aligned because storing tiles across cache lines takes several times
/// as long.
#[repr(C, align(64))]
struct Sums([MaybeUninit<i32>; PANEL * STRIP]);

/// The operands of a product in tiles.
struct Operands {
    kind: Kind,
    a: *const u8,
    /// Bytes between rows.
    a_stride: usize,
    w: *const u8,
    /// Bytes of a block.
    block: usize,
    /// Whole chunks of a row.
    chunks: usize,
}

/// # Safety
/// The operands hold all rows and blocks of the plan, whose output is valid for them, and the machine has the instructions of the kind.
/// `values` adds the inputs that fill no chunk.
#[inline(always)]
unsafe fn multiply(o: &Operands, plan: &Plan, values: &impl TileValues<Lanes>) {
    let (rows, chunks, end) = (plan.rows, o.chunks, plan.blocks.end);
    // Equal depths: a last part of one or two chunks would spend its time on loading and storing sums.
    let depth = chunks.div_ceil(chunks.div_ceil(DEPTH));
    let mut sums = Sums([MaybeUninit::uninit(); PANEL * STRIP]);
    let sums = sums.0.as_mut_ptr().cast::<i32>();
    let mut tiles = Tiles::new();
    for panel in (0..rows).step_by(PANEL) {
        let panel_rows = PANEL.min(rows - panel);
        for block in plan.blocks.clone().step_by(2) {
            let pair = 2.min(end - block);
            let weights = o.w.add(block * o.block);
            for chunk in (0..chunks).step_by(depth) {
                // The weights of the next part, or of the next pair. Four strips prefetch a quarter each.
                let last = chunk + depth >= chunks;
                let next =
                    if last { weights.wrapping_add(2 * o.block) } else { weights.add((chunk + depth) * CHUNK * SIDE) };
                for strip in (0..panel_rows).step_by(STRIP) {
                    let quarter = strip / STRIP % 4;
                    let rows = STRIP.min(panel_rows - strip);
                    let sums = sums.add(strip * STRIP);
                    let step = Step {
                        a: o.a.add((panel + strip) * o.a_stride + chunk * CHUNK),
                        a_stride: o.a_stride,
                        w: weights.add(chunk * CHUNK * SIDE),
                        w_stride: o.block,
                        sums,
                        stride: STRIP,
                        chunks: depth.min(chunks - chunk),
                        add: chunk > 0,
                        ahead: next.wrapping_add(quarter / 2 * o.block + quarter % 2 * AHEAD * depth),
                    };
                    tiles.multiply(o.kind, rows, pair, &step);
                    if last {
                        let place = TilePosition { row: panel + strip, block, out: sums.cast(), stride: STRIP };
                        plan.finish::<Lanes, _>(values, place, rows, pair);
                    }
                }
            }
        }
    }
}

/// Inputs in bf16 that fill a chunk.
const PAIR_CHUNK: usize = CHUNK / size_of::<bf16>();

impl InstructionSet for Amx {
    type Lanes = Lanes;
    const TILES: bool = true;

    #[inline(always)]
    unsafe fn bytes(product: &ByteProduct, plan: &Plan) {
        let chunks = product.inputs / CHUNK;
        if plan.rows < LEAST_ROWS || chunks == 0 {
            return plan.run::<Lanes, _>(product, Lanes::BYTE_ROWS, product.inputs);
        }
        let (a, w) = (product.a, product.w.cast());
        let operands = Operands { kind: Kind::Bytes, a, a_stride: product.stride, w, block: product.block(), chunks };
        multiply(&operands, plan, product);
    }

    /// Single rows use tiles too: tiles add in a different order, and the bits of a row must not depend on the number of rows.
    #[inline(always)]
    unsafe fn pairs(product: &PairProduct, plan: &Plan) {
        let chunks = product.inputs / PAIR_CHUNK;
        if chunks == 0 || !multiplies_pairs() {
            return plan.run::<Lanes, _>(product, Lanes::PAIR_ROWS, size_of::<bf16>() * product.inputs);
        }
        let operands = Operands {
            kind: Kind::Pairs,
            a: product.a.cast(),
            a_stride: product.stride * size_of::<bf16>(),
            w: product.w.cast(),
            block: product.block * size_of::<bf16>(),
            chunks,
        };
        multiply(&operands, plan, product);
    }

    #[inline(always)]
    fn scratch(a: &Attention) -> usize {
        attention::scratch(a).max(crate::kernels::attention::scratch(a))
    }

    #[inline(always)]
    unsafe fn rounded_attention(a: &Attention, scratch: &mut [f32]) {
        if !multiplies_pairs() || a.distances.is_some() {
            return crate::kernels::attention::attend_rounded::<Lanes>(a, scratch);
        }
        if is_x86_feature_detected!("avx512bf16") {
            round_natively(a, scratch)
        } else {
            attention::attend::<Lanes>(a, scratch)
        }
    }
}

/// # Safety
/// That of [`attention::attend`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c,avx512bf16")]
unsafe fn round_natively(a: &Attention, scratch: &mut [f32]) {
    attention::attend::<Zmm<true>>(a, scratch);
}

impl TileValues<Lanes> for ByteProduct<'_> {
    type Channels = (usize, Lanes, __m512i);

    #[inline(always)]
    fn quantised(&self) -> bool {
        true
    }

    #[inline(always)]
    unsafe fn channels(&self, block: usize) -> Self::Channels {
        let columns = _mm512_loadu_si512(self.channel_sums.add(block * BLOCK).cast());
        (block, Lanes::load(self.channel_scales.add(block * BLOCK)), columns)
    }

    #[inline(always)]
    unsafe fn value(&self, sums: *const f32, row: usize, (block, scales, columns): Self::Channels) -> Lanes {
        let mut sums = _mm512_load_si512(sums.cast());
        let from = self.inputs / CHUNK * CHUNK;
        if from < self.inputs {
            let (a, w) = (self.a.add(row * self.stride), self.w.add(block * self.block()));
            for k in (from..self.inputs).step_by(4) {
                sums = Lanes::dot(sums, Lanes::load_bytes(a.add(k)), Lanes::load_weights(w.add(k * BLOCK)));
            }
        }
        // As `ByteProduct::dequantise`, with the channels' numbers in registers: calling it took 2 % longer on MiniLM.
        let row = *self.scales.get_unchecked(row);
        let shift = _mm512_mullo_epi32(_mm512_set1_epi32(row.zero), columns);
        let centred = Lanes::floats(_mm512_sub_epi32(sums, shift));
        centred.mul(Lanes::splat(row.scale).mul(scales))
    }
}

impl TileValues<Lanes> for PairProduct {
    type Channels = usize;

    #[inline(always)]
    fn quantised(&self) -> bool {
        false
    }

    #[inline(always)]
    unsafe fn channels(&self, block: usize) -> usize {
        block
    }

    #[inline(always)]
    unsafe fn value(&self, sums: *const f32, row: usize, block: usize) -> Lanes {
        let mut sums = Lanes::load(sums);
        let from = self.inputs / PAIR_CHUNK * PAIR_CHUNK;
        if from < self.inputs {
            let (a, w) = (self.a.add(row * self.stride), self.w.add(block * self.block));
            for k in (from..self.inputs).step_by(2) {
                let x = Lanes::splat(a.add(k).cast::<f32>().read_unaligned());
                sums = sums.add_pairs(x, Lanes::load(w.add(k * BLOCK).cast()));
            }
        }
        sums
    }
}

const _: () = assert!(SIDE == BLOCK, "a block of channels is as wide as a tile");
