//! The linear layer: `activation(A · Wᵀ + bias) + residual`, in tiles that stay in registers.
//!
//! Every element is one chain over the inputs in their order, whatever tile it falls in: integer sums are exact, and a
//! float sum is the same sequence of fused multiply-adds in a tile of twelve rows as in a tile of one. Inputs are
//! therefore never split; what is blocked for the caches is rows and output channels.

use std::ops::Range;

use super::activation::activate;
use super::pack::{PackedFloat, PackedI8};
use super::vector::{Place, Tile, Vector};
use super::{BLOCK, Epilogue, Out, RowScale, Rows};

/// Blocks that all rows of a panel are multiplied with before the next ones: enough for the widest tile.
const GROUP: usize = 8;
/// Bytes of activations that are meant to stay in the second-level cache while all weights pass by.
const PANEL: usize = 256 << 10;
/// The largest tile of any instruction set, rows times blocks.
const LARGEST_TILE: usize = 24;

/// Sums between the registers and the epilogue. One epilogue for all tile shapes keeps the code small; the detour
/// through the first-level cache costs two instructions in hundreds.
#[repr(C, align(64))]
struct Sums([f32; LARGEST_TILE * BLOCK]);

/// Sixteen floats of the right-hand side of a product: channel block `block`, input `k`.
pub(super) trait Operand<V: Vector>: Copy {
    /// # Safety
    /// The machine has `V`'s instructions and the block and input exist.
    unsafe fn lanes(self, block: usize, k: usize) -> V;
}

/// f32 lanes, with any distance between blocks and between inputs: a packed weight, packed keys, or values as they lie.
#[derive(Clone, Copy)]
pub(super) struct Floats {
    pub data: *const f32,
    pub block: usize,
    pub step: usize,
}

impl<V: Vector> Operand<V> for Floats {
    #[inline(always)]
    unsafe fn lanes(self, block: usize, k: usize) -> V {
        // SAFETY: the caller's promise.
        unsafe { V::load(self.data.add(block * self.block + k * self.step)) }
    }
}

/// As `Floats`, but only the first `lanes` of each sixteen exist.
#[derive(Clone, Copy)]
pub(super) struct Edge {
    pub data: *const f32,
    pub step: usize,
    pub lanes: usize,
}

impl<V: Vector> Operand<V> for Edge {
    #[inline(always)]
    unsafe fn lanes(self, _block: usize, k: usize) -> V {
        // SAFETY: the caller's promise.
        unsafe { V::load_first(self.data.add(k * self.step), self.lanes) }
    }
}

/// f16 lanes of a packed weight, widened as they are read.
#[derive(Clone, Copy)]
struct Halves {
    data: *const half::f16,
    block: usize,
}

impl<V: Vector> Operand<V> for Halves {
    #[inline(always)]
    unsafe fn lanes(self, block: usize, k: usize) -> V {
        // SAFETY: the caller's promise.
        unsafe { V::load_f16(self.data.add(block * self.block + k * BLOCK)) }
    }
}

/// f32 rows times an operand.
#[derive(Clone, Copy)]
pub(super) struct FloatProduct<W> {
    pub a: *const f32,
    pub stride: usize,
    pub inputs: usize,
    pub w: W,
}

impl<V: Vector, W: Operand<V>> Tile<V> for FloatProduct<W> {
    #[inline(always)]
    unsafe fn run<const R: usize, const B: usize>(&self, at: Place) {
        const { assert!(R * B <= LARGEST_TILE) };
        // SAFETY: the caller's promise.
        unsafe {
            let mut sums = [[V::splat(0.0); B]; R];
            let a = self.a.add(at.row * self.stride);
            for k in 0..self.inputs {
                let mut w = [V::splat(0.0); B];
                for (j, w) in w.iter_mut().enumerate() {
                    *w = self.w.lanes(at.block + j, k);
                }
                for (i, sums) in sums.iter_mut().enumerate() {
                    let x = V::splat(*a.add(i * self.stride + k));
                    for (sum, &w) in sums.iter_mut().zip(&w) {
                        *sum = x.mul_add(w, *sum);
                    }
                }
            }
            for (i, sums) in sums.iter().enumerate() {
                for (j, sum) in sums.iter().enumerate() {
                    sum.store(at.out.add(i * at.stride + j * BLOCK));
                }
            }
        }
    }
}

/// Quantised rows times an 8-bit weight, dequantised.
struct ByteProduct<'a> {
    a: Rows<u8>,
    scales: &'a [RowScale],
    w: &'a PackedI8,
}

impl<V: Vector> Tile<V> for ByteProduct<'_> {
    #[inline(always)]
    unsafe fn run<const R: usize, const B: usize>(&self, at: Place) {
        const { assert!(R * B <= LARGEST_TILE) };
        // SAFETY: the caller's promise.
        unsafe {
            let inputs = self.w.padded_inputs();
            let mut sums = [[V::no_sums(); B]; R];
            let a = self.a.data.add(at.row * self.a.stride);
            let w = self.w.data().add(at.block * inputs * BLOCK);
            for k in (0..inputs).step_by(4) {
                let mut weights = [V::load_weights(w.add(k * BLOCK)); B];
                for (j, weights) in weights.iter_mut().enumerate().skip(1) {
                    *weights = V::load_weights(w.add(j * inputs * BLOCK + k * BLOCK));
                }
                for (i, sums) in sums.iter_mut().enumerate() {
                    let x = V::load_bytes(a.add(i * self.a.stride + k));
                    for (sum, &w) in sums.iter_mut().zip(&weights) {
                        *sum = V::dot(*sum, x, w);
                    }
                }
            }
            for (i, sums) in sums.iter().enumerate() {
                let row = *self.scales.get_unchecked(at.row + i);
                for (j, &sum) in sums.iter().enumerate() {
                    let channel = (at.block + j) * BLOCK;
                    let scale = V::splat(row.scale).mul(V::load(self.w.scales().as_ptr().add(channel)));
                    let sum = V::centre(sum, row.zero, self.w.sums().as_ptr().add(channel));
                    sum.mul(scale).store(at.out.add(i * at.stride + j * BLOCK));
                }
            }
        }
    }
}

/// What all linear layers share: the shape of the work and what happens to the sums.
struct Plan<'a> {
    rows: usize,
    blocks: Range<usize>,
    outputs: usize,
    out: Out,
    epilogue: &'a Epilogue<'a>,
    /// The most rows in a tile, and in a panel.
    tile: usize,
    panel: usize,
}

impl Plan<'_> {
    /// # Safety
    /// The machine has `V`'s instructions; the plan lies within the product and the output is valid for it.
    #[inline(always)]
    unsafe fn run<V: Vector, T: Tile<V>>(&self, product: &T) {
        let mut sums = Sums([0.0; LARGEST_TILE * BLOCK]);
        let out = sums.0.as_mut_ptr();
        for panel in (0..self.rows).step_by(self.panel) {
            let panel_end = self.rows.min(panel + self.panel);
            for group in self.blocks.clone().step_by(GROUP) {
                let group_end = self.blocks.end.min(group + GROUP);
                // All tiles of the largest shape that fits, then those of the next: the weights of a tile are read
                // again by the tiles below it while they are still in the first-level cache.
                let mut first = panel;
                while first < panel_end {
                    let rows = V::tile_rows(panel_end - first, self.tile);
                    let end = first + (panel_end - first) / rows * rows;
                    let mut block = group;
                    while block < group_end {
                        let blocks = V::tile_blocks(rows, group_end - block);
                        for row in (first..end).step_by(rows) {
                            let place = Place { row, block, out, stride: blocks * BLOCK };
                            // SAFETY: the caller's promise; the tile fits `sums`.
                            unsafe {
                                V::tile(product, rows, blocks, place);
                                self.finish::<V>(place, rows, blocks);
                            }
                        }
                        block += blocks;
                    }
                    first = end;
                }
            }
        }
    }

    /// Bias, activation and residual of one tile.
    ///
    /// # Safety
    /// As `run`.
    #[inline(always)]
    unsafe fn finish<V: Vector>(&self, at: Place, rows: usize, blocks: usize) {
        for i in 0..rows {
            for j in 0..blocks {
                let channel = (at.block + j) * BLOCK;
                let lanes = (self.outputs - channel).min(BLOCK);
                // SAFETY: the caller's promise; only lanes of channels that exist are touched.
                unsafe {
                    let mut x = V::load(at.out.add(i * at.stride + j * BLOCK));
                    if let Some(bias) = self.epilogue.bias {
                        x = x.add(V::load_first(bias.as_ptr().add(channel), lanes));
                    }
                    x = activate(self.epilogue.activation, x);
                    if let Some((residual, stride)) = self.epilogue.residual {
                        x = x.add(V::load_first(residual.add((at.row + i) * stride + channel), lanes));
                    }
                    x.store_first(self.out.data.add((at.row + i) * self.out.stride + channel), lanes);
                }
            }
        }
    }
}

/// Rows in a panel: a multiple of every larger tile, so that only the last panel has a ragged end.
fn panel_rows(row_bytes: usize) -> usize {
    (PANEL / row_bytes.max(1)).next_multiple_of(24).clamp(24, 4800)
}

fn check(blocks: &Range<usize>, available: usize, outputs: usize, e: &Epilogue) {
    assert!(blocks.end <= available, "blocks beyond the weight");
    assert!(e.bias.is_none_or(|b| b.len() >= outputs), "bias shorter than the outputs");
}

/// # Safety
/// That of `Kernel::linear_i8`, and the machine has `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn linear_i8<V: Vector>(
    a: Rows<u8>,
    scales: &[RowScale],
    w: &PackedI8,
    blocks: Range<usize>,
    out: Out,
    epilogue: &Epilogue,
) {
    check(&blocks, w.blocks(), w.outputs(), epilogue);
    assert!(scales.len() >= a.rows, "a row without its scale");
    let panel = panel_rows(w.padded_inputs());
    let plan = Plan { rows: a.rows, blocks, outputs: w.outputs(), out, epilogue, tile: V::BYTE_ROWS, panel };
    // SAFETY: the caller's promise.
    unsafe { plan.run::<V, _>(&ByteProduct { a, scales, w }) }
}

/// # Safety
/// That of `Kernel::linear_f32`, and the machine has `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn linear_f32<V: Vector>(
    a: Rows<f32>,
    w: &PackedFloat<f32>,
    blocks: Range<usize>,
    out: Out,
    epilogue: &Epilogue,
) {
    check(&blocks, w.blocks(), w.outputs(), epilogue);
    let panel = panel_rows(w.inputs() * size_of::<f32>());
    let plan = Plan { rows: a.rows, blocks, outputs: w.outputs(), out, epilogue, tile: V::FLOAT_ROWS, panel };
    let operand = Floats { data: w.data(), block: w.inputs() * BLOCK, step: BLOCK };
    // SAFETY: the caller's promise.
    unsafe { plan.run::<V, _>(&FloatProduct { a: a.data, stride: a.stride, inputs: w.inputs(), w: operand }) }
}

/// # Safety
/// That of `Kernel::linear_f16`, and the machine has `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn linear_f16<V: Vector>(
    a: Rows<f32>,
    w: &PackedFloat<half::f16>,
    blocks: Range<usize>,
    out: Out,
    epilogue: &Epilogue,
) {
    check(&blocks, w.blocks(), w.outputs(), epilogue);
    let panel = panel_rows(w.inputs() * size_of::<f32>());
    let plan = Plan { rows: a.rows, blocks, outputs: w.outputs(), out, epilogue, tile: V::FLOAT_ROWS, panel };
    let operand = Halves { data: w.data(), block: w.inputs() * BLOCK };
    // SAFETY: the caller's promise.
    unsafe { plan.run::<V, _>(&FloatProduct { a: a.data, stride: a.stride, inputs: w.inputs(), w: operand }) }
}
