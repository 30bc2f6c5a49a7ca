//! CPU kernels: arithmetic on slices and raw tiles. The algorithms are written once over sixteen lanes (`vector`), compiled for each
//! instruction set (`isa`), and one of those is chosen at load. Weight formats are in `weight`.
//!
//! A kernel knows no model and starts no threads: the caller chooses which rows and which blocks of output channels to compute. The
//! order of additions depends neither on how many rows are computed together nor on how the work is split, so results are the same
//! bits for every batch size and thread count.

mod activation;
mod arg_max;
mod attention;
mod distances;
mod embedding;
mod hadamard;
mod input;
mod instruction_set;
mod isa;
mod linear;
mod norm;
mod paged;
mod quantize;
mod round;
mod similarity;
mod softmax;
#[cfg(test)]
mod tests;
mod top_k;
mod vector;
pub mod weight;

use std::ops::Range;

use half::bf16;

pub use crate::spec::Activation;
pub use hadamard::block_of;
pub use input::{Input, InputType};
pub use isa::{available, portable, select};
pub use top_k::{FREE, TopKEntry, keep_largest};
use weight::Weight;

/// Output channels in one block of a packed weight.
pub const BLOCK: usize = 16;

/// How one row of activations was quantised: `real = scale * (stored - zero)`.
///
/// `stored` is the byte as the kernel that quantised the row reads it: unsigned for VNNI, signed for AVX2 and NEON. `zero` is in the
/// same range.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RowScale {
    pub scale: f32,
    pub zero: i32,
}

/// Inputs of a row that are quantised together, where a row is quantised by groups.
pub const GROUP_INPUTS: usize = 32;

/// How a group of activations was quantised: `real = scale * byte`, with signed bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GroupScale {
    pub scale: f32,
    /// The sum of the group's bytes, times the scale.
    pub sum: f32,
}

/// Exponentials of a row are summed in parts of this many values, counted from the row's start. The parts do not depend on how the row
/// is split over threads, so the sum is always the same bits.
pub const EXP_PART: usize = 32 * BLOCK;

/// `Σ exp(x - largest)` of some values, and the largest of them.
#[derive(Clone, Copy, Debug)]
pub struct ExpSum {
    pub largest: f32,
    pub sum: f32,
}

impl ExpSum {
    /// The sum of an empty list.
    pub const NONE: Self = Self { largest: f32::NEG_INFINITY, sum: 0.0 };

    /// The sum of both. Joining several in another order changes the last bits.
    pub fn join(self, other: Self) -> Self {
        if other.largest == f32::NEG_INFINITY {
            return self;
        }
        if self.largest >= other.largest {
            return Self { sum: self.sum + other.sum * (other.largest - self.largest).exp(), ..self };
        }
        Self { sum: other.sum + self.sum * (self.largest - other.largest).exp(), ..other }
    }

    /// `ln Σ exp(x)`; -∞ if all values are -∞.
    pub fn ln(self) -> f32 {
        if self.largest == f32::NEG_INFINITY { self.largest } else { self.largest + self.sum.ln() }
    }
}

/// `ln Σ exp(x)` of a row (log-sum-exp).
pub fn log_sum_exp(kernel: &dyn Kernel, row: &[f32]) -> f32 {
    row.chunks(EXP_PART).map(|part| kernel.exp_sum(part)).fold(ExpSum::NONE, ExpSum::join).ln()
}

/// Row-major rows in memory: row `i` starts at `data + i * stride` (in elements).
#[derive(Clone, Copy)]
pub struct Rows<T> {
    pub data: *const T,
    pub stride: usize,
    pub rows: usize,
}

/// The output of a product: element (row i, channel j) is at `data + i * stride + j`. Where memory holds only some blocks of channels,
/// `data` points before it by the number of their first channel.
#[derive(Clone, Copy)]
pub struct Out {
    pub data: *mut f32,
    pub stride: usize,
}

/// The operations on sums in registers: `activation(sum·scales + bias) + residual`.
#[derive(Clone, Copy)]
pub struct Epilogue<'a> {
    /// One value per output channel of the whole weight.
    pub bias: Option<&'a [f32]>,
    pub activation: Activation,
    /// Same shape and addressing as the output; may be the output itself.
    pub residual: Option<(*const f32, usize)>,
}

/// Queries of one head of one sequence that attend to visible keys of the same sequence.
///
/// `q`, `k` and `v` point at this head's columns of the sequence's first token; a token's values are `stride` elements apart.
#[derive(Clone, Copy)]
pub struct Attention {
    pub q: *const f32,
    pub k: *const f32,
    pub v: *const f32,
    pub out: *mut f32,
    pub stride: usize,
    pub out_stride: usize,
    pub tokens: usize,
    /// The queries to compute, as positions in the sequence.
    pub queries: (usize, usize),
    pub head_dim: usize,
    pub scale: f32,
    /// Scores are `softcap · tanh(score / softcap)`; 0 for none.
    pub softcap: f32,
    /// The largest distance at which a query sees a key, on both sides; `tokens` for all.
    pub reach: usize,
    /// Points at the relative bias of distance 0 of this head: `*bias.offset(key - query)` is added to the scaled and capped score.
    pub bias: Option<*const f32>,
    /// Of disentangled attention: their products with queries and keys are added to the products of queries and keys.
    pub distances: Option<DistanceVectors>,
}

/// Vectors of distances between queries and keys, for one head (disentangled attention). Component `i` of the vector of distance 0 is at
/// `i · step` from the pointer, and vectors of greater distances follow. They are readable for all distances of a text's queries and keys,
/// and for [`BLOCK`] more on both sides.
#[derive(Clone, Copy)]
pub struct DistanceVectors {
    /// By `key - query`: multiplied with queries.
    pub keys: Option<*const f32>,
    /// By `query - key`: multiplied with keys.
    pub queries: Option<*const f32>,
    pub step: usize,
}

/// The number type of a cache's keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheType {
    F32,
    F16,
}

impl CacheType {
    /// Bytes of a number.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => size_of::<f32>(),
            Self::F16 => size_of::<half::f16>(),
        }
    }
}

/// Queries of one head that attend to a KV cache.
///
/// The KV cache is stored in pages of [`BLOCK`] tokens. In a page, a head's keys are `[head_dim][BLOCK]` numbers at `key_offset` and its
/// values `[BLOCK][head_dim rounded up to BLOCK]` at `value_offset`, both counted in numbers of type `kind`.
#[derive(Clone, Copy)]
pub struct PagedAttention {
    pub q: *const f32,
    pub q_stride: usize,
    pub out: *mut f32,
    pub out_stride: usize,
    pub queries: usize,
    /// The position of the first query and the distance to the next: 1 for consecutive tokens, 0 for the query heads of one token that
    /// share keys and values (grouped-query attention).
    pub first: usize,
    pub advance: usize,
    /// Tokens in the cache.
    pub keys: usize,
    /// Whether a query sees no keys after its own position.
    pub causal: bool,
    /// The sliding window: how many keys a query sees, including its own; 0 for all.
    pub window: usize,
    pub pages: *const *const u8,
    pub kind: CacheType,
    pub key_offset: usize,
    pub value_offset: usize,
    pub head_dim: usize,
    pub scale: f32,
    /// Scores become `softcap · tanh(score / softcap)`; 0 for none.
    pub softcap: f32,
    /// As in [`Attention`].
    pub bias: Option<*const f32>,
}

/// One instruction set's implementation.
pub trait Kernel: Send + Sync {
    /// For instance `x86_64-avx512-vnni`.
    fn name(&self) -> &'static str;

    /// Its name in `KINGLET_ISA`, for instance `portable`, `avx512` or `neon-dotprod`.
    fn isa(&self) -> &'static str;

    /// Whether byte products of many rows run in tiles, several times as fast as in vectors: weights should then be read less often.
    fn has_tiles(&self) -> bool;

    /// Quantises one row to 8 bits, asymmetrically (zero is always representable). `out.len()` is `x.len()` rounded up to 4.
    fn quantize_row(&self, x: &[f32], out: &mut [u8]) -> RowScale;

    /// Quantises one row to signed bytes, symmetrically, with a scale for each [`GROUP_INPUTS`] inputs. `out.len()` is `x.len()` rounded up
    /// to whole groups; what is beyond the row becomes 0.
    fn quantize_groups(&self, x: &[f32], out: &mut [u8], scales: &mut [GroupScale]);

    /// The linear layer `activation(A · Wᵀ + bias) + residual`, for some blocks of output channels.
    ///
    /// # Safety
    /// Rows of `a` have the input type of the weight's format and its number of inputs, padded ([`InputType::padded`]; in bf16 the
    /// padding is 0). `out` (and the residual) are valid for every row of `a` and every channel of `blocks`, and nothing else accesses
    /// those elements.
    unsafe fn linear(&self, a: Input, w: &Weight, blocks: Range<usize>, out: Out, e: &Epilogue);

    /// Rounds one row to bf16, ties to even; NaN stays NaN. `out.len()` is `x.len()` rounded up to 2.
    fn round_row(&self, x: &[f32], out: &mut [bf16]);

    /// Rounds numbers to f16, ties to even, for the KV cache. Magnitudes are clamped to 65504, the largest f16, and never become
    /// infinite; NaN stays NaN. Both slices have the same length.
    fn narrow(&self, x: &[f32], out: &mut [half::f16]);

    /// `x ← (x - mean) / sqrt(var + eps) · weight + bias`, in place, on one row.
    fn layer_norm(&self, x: &mut [f32], weight: &[f32], bias: &[f32], eps: f32);

    /// `x ← x / sqrt(mean(x²) + eps) · weight`, in place, on one row.
    fn rms_norm(&self, x: &mut [f32], weight: &[f32], eps: f32);

    /// `out = activation(gate) · up`.
    fn gate(&self, gate: &[f32], up: &[f32], activation: Activation, out: &mut [f32]);

    /// The sum of a part of a row, at most [`EXP_PART`] long.
    fn exp_sum(&self, x: &[f32]) -> ExpSum;

    /// The largest value and its index, the lowest among equals; None if no value is above -∞. NaN is never the largest.
    fn arg_max(&self, x: &[f32]) -> Option<(usize, f32)>;

    /// Merges the values of `x` into a list of the largest. `first` is the index of `x[0]`; the list holds lower indices only.
    fn top_k(&self, x: &[f32], first: u32, list: &mut [TopKEntry]);

    /// `out[i] = query · row i`; row i begins at `rows[i * stride]` and is as long as the query. The order of additions depends only on
    /// that length.
    fn dots_f32(&self, query: &[f32], rows: &[f32], stride: usize, out: &mut [f32]);
    fn dots_f16(&self, query: &[f32], rows: &[half::f16], stride: usize, out: &mut [f32]);

    /// The same for bytes, exactly. Rows are at most 2¹⁷ - 1 long, of unsigned bytes 33025.
    fn dots_i8(&self, query: &[i8], rows: &[i8], stride: usize, out: &mut [i32]);
    fn dots_u8(&self, query: &[u8], rows: &[u8], stride: usize, out: &mut [i32]);

    /// The same for the number of bits that differ.
    fn hamming(&self, query: &[u8], rows: &[u8], stride: usize, out: &mut [i32]);

    /// `out = x · y`, element by element; all have the length of `out`.
    fn multiply(&self, x: &[f32], y: &[f32], out: &mut [f32]);

    /// Multiplies `x`, seen as `[block, x.len() / block]`, by the Hadamard matrix of `block` rows. `block` is a power of two that divides
    /// [`block_of`] the length. All kernels give the same bits.
    fn hadamard(&self, x: &mut [f32], block: usize);

    /// `x += y`, `x += y` widened, `x += scale·y`: the embedding sums.
    fn add_f32(&self, x: &mut [f32], y: &[f32]);
    fn add_f16(&self, x: &mut [f32], y: &[half::f16]);
    fn add_i8(&self, x: &mut [f32], y: &[i8], scale: f32);

    /// Floats of scratch that `attend` needs.
    fn attention_scratch(&self, a: &Attention) -> usize;

    /// Fused scaled dot-product attention with an online softmax; no score matrix is written to memory.
    ///
    /// # Safety
    /// The pointers of `a` are valid for the ranges that its fields describe, and nothing else accesses the output.
    unsafe fn attend(&self, a: &Attention, scratch: &mut [f32]);

    /// As `attend`, for models whose weights are multiplied in a rounded type: where the machine multiplies bf16 faster than f32, queries,
    /// keys, values and probabilities are rounded to bf16. With vectors of distances nothing is rounded.
    ///
    /// # Safety
    /// As `attend`.
    unsafe fn attend_rounded(&self, a: &Attention, scratch: &mut [f32]);

    /// Floats of scratch that `attend_pages` needs.
    fn paged_scratch(&self, head_dim: usize) -> usize {
        paged::scratch(head_dim)
    }

    /// As `attend`, over a paged KV cache.
    ///
    /// # Safety
    /// As `attend`. The pages cover the last key that a query sees, and each has been written at least once.
    unsafe fn attend_pages(&self, a: &PagedAttention, scratch: &mut [f32]);
}
