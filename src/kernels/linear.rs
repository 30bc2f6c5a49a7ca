//! The linear layer: `activation(A · Wᵀ + bias) + residual`, in tiles that stay in registers.
//!
//! Every element is one chain of additions over the inputs in their order, whichever tile computes it: integer sums are exact, and a
//! float sum is the same sequence of fused multiply-adds in a tile of twelve rows as in a tile of one. Inputs are therefore never
//! split; only rows and output channels are blocked for the caches.

use std::ops::Range;

use half::bf16;

use super::activation::{activate, odd_gelu, rough_gelu};
use super::vector::{ByteTile, Tile, TilePosition, Vector};
use super::{Activation, BLOCK, Epilogue, Out, RowScale};

/// Blocks that are multiplied with all rows of a panel before the next: enough for the widest tile.
const GROUP: usize = 8;
/// The size of a panel of activations in bytes. It stays in the L2 cache while all weights are read.
const PANEL: usize = 256 << 10;
/// The largest tile of any instruction set, rows times blocks.
const LARGEST_TILE: usize = 24;

/// Sums between the registers and the epilogue. One epilogue for all tile shapes keeps the code small; the way through the L1 cache
/// costs two instructions in hundreds.
#[repr(C, align(64))]
struct Sums([f32; LARGEST_TILE * BLOCK]);

/// Sixteen floats of the right-hand side of a product: channel block `block`, input `k`.
pub(super) trait Operand<V: Vector>: Copy {
    /// # Safety
    /// The machine has `V`'s instructions and the block and input exist.
    unsafe fn lanes(self, block: usize, k: usize) -> V;
}

/// f32 lanes with any distance between blocks and between inputs: a packed weight, transposed keys, or values in place.
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
    unsafe fn run<const R: usize, const B: usize>(&self, at: TilePosition) {
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
            store(&sums, at);
        }
    }
}

/// # Safety
/// The machine has `V`'s instructions and the tile's place exists.
#[inline(always)]
pub(super) unsafe fn store<V: Vector, const R: usize, const B: usize>(sums: &[[V; B]; R], at: TilePosition) {
    for (i, sums) in sums.iter().enumerate() {
        for (j, sum) in sums.iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { sum.store(at.out.add(i * at.stride + j * BLOCK)) };
        }
    }
}

/// Rows in bf16 times a weight in bf16, two inputs at a time: their bits are one lane.
#[derive(Clone, Copy)]
pub(super) struct PairProduct {
    pub a: *const bf16,
    pub stride: usize,
    /// Even.
    pub inputs: usize,
    /// `[block][inputs / 2][16][2]`, blocks `block` apart.
    pub w: *const bf16,
    pub block: usize,
}

impl<V: Vector> Tile<V> for PairProduct {
    #[inline(always)]
    unsafe fn run<const R: usize, const B: usize>(&self, at: TilePosition) {
        const { assert!(R * B <= LARGEST_TILE) };
        // SAFETY: the caller's promise.
        unsafe {
            let a = self.a.add(at.row * self.stride);
            let w = self.w.add(at.block * self.block);
            let mut sums = [[V::splat(0.0); B]; R];
            for k in (0..self.inputs).step_by(2) {
                let mut pairs = [V::splat(0.0); B];
                for (j, pairs) in pairs.iter_mut().enumerate() {
                    *pairs = V::load(w.add(j * self.block + k * BLOCK).cast());
                }
                for (i, sums) in sums.iter_mut().enumerate() {
                    let x = V::splat(a.add(i * self.stride + k).cast::<f32>().read_unaligned());
                    for (sum, &w) in sums.iter_mut().zip(&pairs) {
                        *sum = sum.add_pairs(x, w);
                    }
                }
            }
            store(&sums, at);
        }
    }
}

/// Quantised rows times quantised weights, with a scale for each row and each channel: the sums are exact integers.
#[derive(Clone, Copy)]
pub(super) struct ByteProduct<'a> {
    pub a: *const u8,
    pub stride: usize,
    /// One for each row.
    pub scales: &'a [RowScale],
    /// A multiple of 4.
    pub inputs: usize,
    /// `[block][inputs / 4][16][4]`.
    pub w: *const i8,
    /// A scale and the sum of the weights for each channel, padded to whole blocks.
    pub channel_scales: *const f32,
    pub channel_sums: *const i32,
}

impl ByteProduct<'_> {
    /// Weights of a block.
    #[inline(always)]
    pub fn block(&self) -> usize {
        self.inputs * BLOCK
    }

    /// The sums of row `row` and one block of channels as real numbers.
    ///
    /// # Safety
    /// The machine has `V`'s instructions; the row and the block exist.
    #[inline(always)]
    pub unsafe fn dequantise<V: Vector>(&self, sums: V::Sums, row: usize, block: usize) -> V {
        // SAFETY: the caller's promise.
        unsafe {
            let row = *self.scales.get_unchecked(row);
            let scale = V::splat(row.scale).mul(V::load(self.channel_scales.add(block * BLOCK)));
            V::centre(sums, row.zero, self.channel_sums.add(block * BLOCK)).mul(scale)
        }
    }
}

impl<V: Vector> Tile<V> for ByteProduct<'_> {
    const QUANTISED: bool = true;

    #[inline(always)]
    unsafe fn run<const R: usize, const B: usize>(&self, at: TilePosition) {
        const { assert!(R * B <= LARGEST_TILE) };
        // SAFETY: the caller's promise.
        unsafe {
            let sums: [[V::Sums; B]; R] = V::byte_sums(ByteTile {
                a: self.a.add(at.row * self.stride),
                stride: self.stride,
                w: self.w.add(at.block * self.block()),
                block: self.block(),
                inputs: self.inputs,
            });
            for (i, sums) in sums.iter().enumerate() {
                for (j, &sum) in sums.iter().enumerate() {
                    let place = at.out.add(i * at.stride + j * BLOCK);
                    self.dequantise::<V>(sum, at.row + i, at.block + j).store(place);
                }
            }
        }
    }
}

/// The sums of a tile as real numbers.
///
/// # Safety
/// Both methods require that the machine has `V`'s instructions and that the block, the row and its sums exist.
pub(super) trait TileValues<V: Vector> {
    /// What the rows of a block share.
    type Channels: Copy;
    /// Whether the sums are those of quantised numbers, whose activation may be rough.
    fn quantised(&self) -> bool;
    unsafe fn channels(&self, block: usize) -> Self::Channels;
    /// The numbers of one block of row `row`, whose sums are at `sums`.
    unsafe fn value(&self, sums: *const f32, row: usize, channels: Self::Channels) -> V;
}

/// Sums that are stored as real numbers.
struct Stored {
    quantised: bool,
}

impl<V: Vector> TileValues<V> for Stored {
    type Channels = ();

    #[inline(always)]
    fn quantised(&self) -> bool {
        self.quantised
    }

    #[inline(always)]
    unsafe fn channels(&self, _block: usize) {}

    #[inline(always)]
    unsafe fn value(&self, sums: *const f32, _row: usize, (): ()) -> V {
        // SAFETY: the caller's promise.
        unsafe { V::load(sums) }
    }
}

/// The common part of all products: their shape and the epilogue.
pub(super) struct Plan<'a> {
    pub rows: usize,
    pub blocks: Range<usize>,
    pub outputs: usize,
    pub out: Out,
    pub epilogue: &'a Epilogue<'a>,
}

impl Plan<'_> {
    /// Computes the product in tiles of at most `tile` rows, whose activations have `row_bytes` each.
    ///
    /// # Safety
    /// The machine has `V`'s instructions; the product has all rows and blocks of the plan, and the output is valid for them.
    #[inline(always)]
    pub unsafe fn run<V: Vector, T: Tile<V>>(&self, product: &T, tile: usize, row_bytes: usize) {
        let panel_rows = panel_rows(row_bytes);
        let mut sums = Sums([0.0; LARGEST_TILE * BLOCK]);
        let out = sums.0.as_mut_ptr();
        for panel in (0..self.rows).step_by(panel_rows) {
            let panel_end = self.rows.min(panel + panel_rows);
            for group in self.blocks.clone().step_by(GROUP) {
                let group_end = self.blocks.end.min(group + GROUP);
                // All tiles of the largest shape that fits, then the next shape: the tiles below a tile read the same weights while
                // they are in the L1 cache.
                let mut first = panel;
                while first < panel_end {
                    let rows = V::tile_rows(panel_end - first, tile);
                    let end = first + (panel_end - first) / rows * rows;
                    let mut block = group;
                    while block < group_end {
                        let blocks = V::tile_blocks(rows, group_end - block);
                        for row in (first..end).step_by(rows) {
                            let place = TilePosition { row, block, out, stride: blocks * BLOCK };
                            // SAFETY: the caller's promise; the tile fits `sums`.
                            unsafe {
                                V::tile(product, rows, blocks, place);
                                self.finish::<V, _>(&Stored { quantised: T::QUANTISED }, place, rows, blocks);
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
    pub(super) unsafe fn finish<V: Vector, S: TileValues<V>>(
        &self,
        values: &S,
        at: TilePosition,
        rows: usize,
        blocks: usize,
    ) {
        let gelu = if values.quantised() { rough_gelu(self.epilogue.activation) } else { None };
        for j in 0..blocks {
            let channel = (at.block + j) * BLOCK;
            let lanes = (self.outputs - channel).min(BLOCK);
            // SAFETY: the caller's promise; only lanes of channels that exist are touched.
            unsafe {
                let place = TilePosition { block: at.block + j, out: at.out.add(j * BLOCK), ..at };
                match (lanes, self.epilogue.activation, gelu) {
                    (BLOCK, Activation::None, _) => self.finish_block::<V, S, false>(values, place, rows, [0.0; 7]),
                    (BLOCK, _, Some(gelu)) => self.finish_block::<V, S, true>(values, place, rows, gelu),
                    _ => self.finish_lanes::<V, S>(values, place, rows, lanes),
                }
            }
        }
    }

    /// A whole block of a tile without an activation or with [`rough_gelu`]: without masks and branches, which would be noticeable in a
    /// short product.
    ///
    /// # Safety
    /// As `run`, and the block is whole.
    #[inline(always)]
    unsafe fn finish_block<V: Vector, S: TileValues<V>, const GELU: bool>(
        &self,
        values: &S,
        at: TilePosition,
        rows: usize,
        coefficients: [f32; 7],
    ) {
        let channel = at.block * BLOCK;
        // SAFETY: the caller's promise.
        unsafe {
            let channels = values.channels(at.block);
            let bias = self.epilogue.bias.map_or(V::splat(0.0), |bias| V::load(bias.as_ptr().add(channel)));
            // If only some channels go to the buffer, the pointer was moved back by the number of channels before them.
            let out = self.out.data.wrapping_add(at.row * self.out.stride + channel);
            if let Some((residual, stride)) = self.epilogue.residual {
                let residual = residual.add(at.row * stride + channel);
                for i in 0..rows {
                    let mut x = values.value(at.out.add(i * at.stride), at.row + i, channels).add(bias);
                    if GELU {
                        x = odd_gelu(x, coefficients);
                    }
                    x.add(V::load(residual.add(i * stride))).store(out.add(i * self.out.stride));
                }
            } else {
                for i in 0..rows {
                    let mut x = values.value(at.out.add(i * at.stride), at.row + i, channels).add(bias);
                    if GELU {
                        x = odd_gelu(x, coefficients);
                    }
                    x.store(out.add(i * self.out.stride));
                }
            }
        }
    }

    /// One block of a tile, the general case.
    ///
    /// # Safety
    /// As `run`.
    #[inline(always)]
    unsafe fn finish_lanes<V: Vector, S: TileValues<V>>(
        &self,
        values: &S,
        at: TilePosition,
        rows: usize,
        lanes: usize,
    ) {
        let channel = at.block * BLOCK;
        let gelu = if values.quantised() { rough_gelu(self.epilogue.activation) } else { None };
        // SAFETY: the caller's promise; only lanes of channels that exist are touched.
        unsafe {
            let channels = values.channels(at.block);
            let bias =
                self.epilogue.bias.map_or(V::splat(0.0), |bias| V::load_first(bias.as_ptr().add(channel), lanes));
            for i in 0..rows {
                let x = values.value(at.out.add(i * at.stride), at.row + i, channels).add(bias);
                let mut x = match gelu {
                    Some(coefficients) => odd_gelu(x, coefficients),
                    None => activate(self.epilogue.activation, x),
                };
                if let Some((residual, stride)) = self.epilogue.residual {
                    x = x.add(V::load_first(residual.add((at.row + i) * stride + channel), lanes));
                }
                x.store_first(self.out.data.wrapping_add((at.row + i) * self.out.stride + channel), lanes);
            }
        }
    }
}

/// Rows in a panel: a multiple of every larger tile, so that only the last panel needs smaller ones.
fn panel_rows(row_bytes: usize) -> usize {
    (PANEL / row_bytes.max(1)).next_multiple_of(24).clamp(24, 4800)
}
