//! What a device must be able to do to run the transformer: a few coarse operations over packed batches, so that each backend fuses
//! as it likes.
//!
//! Shapes: an activation is `[tokens, width]`, all sequences end to end, in f32. Weights are `[outputs, inputs]`.

#[cfg(feature = "candle")]
pub mod candle;
pub mod cpu;
pub mod host;
pub(crate) mod pooling;
mod view;

use std::borrow::Borrow;
use std::ops::Range;
use std::sync::Arc;

use crate::base::counters::Transfers;
use crate::base::error::Result;
use crate::base::memory::Budget;
use crate::formats::safetensors::TensorView;
use crate::kernels::{FREE, Placed, keep_largest};
use crate::spec::{Activation, Heads, Layout, Pooling, Precision};

pub use host::{arg_max, cap, log_sum_exp};
pub use view::{LinearView, Order, Part, RowReader};

/// Tokens that one pass through the model aims at. Activations of this many tokens fit the second-level cache of the
/// machines at hand for MiniLM's shape; larger passes only cost memory. Results do not depend on it.
pub const PASS_TOKENS: usize = 512;

/// A norm as it lies in the checkpoint.
#[derive(Clone)]
pub struct NormView<'a> {
    /// Without a mean taken out.
    pub rms: bool,
    pub weight: TensorView<'a>,
    pub bias: Option<TensorView<'a>>,
    pub eps: f32,
    /// Added to the weight, and then multiplied with weight and bias.
    pub shift: f32,
    pub scale: f32,
}

impl NormView<'_> {
    /// The weight as it is used.
    pub fn weight(&self) -> Result<Vec<f32>> {
        let mut weight = self.weight.to_vec_f32()?;
        weight.iter_mut().for_each(|w| *w = (*w + self.shift) * self.scale);
        Ok(weight)
    }

    /// The bias as it is used; empty if there is none.
    pub fn bias(&self) -> Result<Vec<f32>> {
        let Some(bias) = &self.bias else { return Ok(Vec::new()) };
        let mut bias = bias.to_vec_f32()?;
        bias.iter_mut().for_each(|b| *b *= self.scale);
        Ok(bias)
    }
}

/// How scores of one layer are made.
pub struct Scores<'a, R> {
    pub scale: f32,
    /// 0 for none.
    pub softcap: f32,
    pub bias: Option<&'a R>,
    /// Whether a token sees only those up to itself.
    pub causal: bool,
    /// How many tokens it sees, itself counted; 0 for all.
    pub window: usize,
}

impl<R> Clone for Scores<'_, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Scores<'_, R> {}

/// Sines and cosines of a pass's tokens: `[tokens, half]` each.
#[derive(Default)]
pub struct Rotation {
    /// Half of the components that turn; component `i` is paired with `half + i`.
    pub half: usize,
    pub cos: Vec<f32>,
    pub sin: Vec<f32>,
}

/// The shape of a cache of keys and values.
#[derive(Clone, Copy, Debug)]
pub struct CacheShape {
    pub layers: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
}

/// The likeliest tokens of some rows of logits.
#[derive(Default)]
pub struct Likeliest {
    /// How many of a row: the largest logit first, of equals the lower token; [`FREE`] where there are fewer.
    pub count: usize,
    pub tokens: Vec<Placed>,
    /// `ln Σ exp` of each row.
    pub totals: Vec<f32>,
}

impl Likeliest {
    pub fn clear(&mut self, count: usize) {
        self.count = count;
        self.tokens.clear();
        self.totals.clear();
    }

    /// Adds a row without tokens, and lends its list.
    pub fn push(&mut self, total: f32) -> &mut [Placed] {
        let first = self.tokens.len();
        self.totals.push(total);
        self.tokens.resize(first + self.count, FREE);
        &mut self.tokens[first..]
    }

    /// Adds rows of `width` logits, without the tokens that are `forbidden`.
    pub fn add(&mut self, logits: &mut [f32], width: usize, forbidden: &[u32], log_sum_exp: impl Fn(&[f32]) -> f32) {
        for row in logits.chunks_exact_mut(width.max(1)) {
            let list = self.push(log_sum_exp(row));
            forbidden.iter().for_each(|&i| row[i as usize] = f32::NEG_INFINITY);
            row.iter().enumerate().for_each(|(i, &value)| keep_largest(list, (value, i as u32)));
        }
    }
}

/// Some rows of an activation and the sequence that they belong to, borrowed.
pub struct Slot<S> {
    pub rows: Range<usize>,
    pub sequence: S,
}

/// The keys and values of one sequence, whatever the backend keeps them in. A clone shares what both hold, and either may go on.
pub trait CachedSequence: Clone + Send + Sync {
    /// Tokens that it holds.
    fn length(&self) -> usize;
    /// Forgets the tokens from `length` on.
    fn truncate(&mut self, length: usize);
    /// Makes room for this many more tokens, so that nothing can fail for want of memory in the middle of a step.
    fn reserve(&mut self, tokens: usize) -> Result<()>;
    /// Counts tokens that were written.
    fn advance(&mut self, tokens: usize);
}

/// The norms around a residual sum: of what is added, and of the sum.
pub struct Ends<'a, N> {
    pub post: Option<&'a N>,
    pub after: Option<&'a N>,
}

impl<N> Clone for Ends<'_, N> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<N> Copy for Ends<'_, N> {}

/// A feed-forward: `down(activation(up(norm(x))))`; with `gated`, `up` gives a gate and what it multiplies, one after the other.
pub struct FeedForward<'a, B: Backend + ?Sized> {
    pub norm: Option<&'a B::Norm>,
    pub up: &'a B::Linear,
    pub activation: Activation,
    pub gated: bool,
    pub down: &'a B::Linear,
    pub ends: Ends<'a, B::Norm>,
}

pub trait Backend: Send + Sync + 'static {
    type Tensor: Send;
    type Linear: Send + Sync;
    type Norm: Send + Sync;
    /// Rows to look up: `[entries, hidden]`.
    type Table: Send + Sync;
    type RelativeBias: Send + Sync;
    /// Where sequences' keys and values come from.
    type Cache: Send + Sync;
    /// The keys and values of one sequence in all layers.
    type Sequence: CachedSequence;

    fn name(&self) -> &'static str;
    /// What is to be said of the backend in a model's info, for instance the kernels chosen.
    fn describe(&self) -> String;
    /// The precision that weights are held in; never `Auto`.
    fn precision(&self) -> Precision;

    /// Tokens that a pass through the model aims at.
    fn pass_tokens(&self) -> usize {
        PASS_TOKENS
    }
    /// Tokens of a pass where it is best that every thread runs passes of its own; None where it is not.
    fn thread_pass_tokens(&self) -> Option<usize> {
        None
    }
    /// What was carried between the host's memory and the device's; None where they are the same.
    fn transfers(&self) -> Option<&Transfers> {
        None
    }

    /// Bytes that a weight will take, asked before anything is allocated.
    fn linear_bytes(&self, outputs: usize, inputs: usize) -> usize;
    fn table_bytes(&self, rows: usize, width: usize) -> usize;

    fn linear_load(&self, view: &LinearView) -> Result<Self::Linear>;
    fn outputs(&self, linear: &Self::Linear) -> usize;
    fn norm_load(&self, view: &NormView) -> Result<Self::Norm>;
    fn table_load(&self, view: &TensorView) -> Result<Self::Table>;
    /// A table of values that are computed and not stored.
    fn table_from(&self, values: Vec<f32>, width: usize) -> Result<Self::Table>;
    /// A layer's rows as a table: word embeddings that are the language head too.
    fn table_of(&self, linear: &Arc<Self::Linear>) -> Result<Self::Table>;
    /// `by_distance[head][key - query + longest - 1]`, for sequences of up to `longest` tokens.
    fn relative_bias_load(&self, by_distance: Vec<Vec<f32>>) -> Result<Self::RelativeBias>;

    /// The sum, token by token, of one row of each table times its factor. The ids are known to be in range.
    fn embed(&self, sources: &[(&Self::Table, &[u32], f32)]) -> Result<Self::Tensor>;
    fn norm(&self, x: Self::Tensor, norm: &Self::Norm) -> Result<Self::Tensor>;
    /// `activation(norm(x)·Wᵀ + b)`.
    fn project(
        &self,
        x: &Self::Tensor,
        norm: Option<&Self::Norm>,
        w: &Self::Linear,
        activation: Activation,
    ) -> Result<Self::Tensor>;
    /// `residual + x·Wᵀ + b`, with the norms of `ends`.
    fn project_add(
        &self,
        x: &Self::Tensor,
        w: &Self::Linear,
        residual: Self::Tensor,
        ends: Ends<Self::Norm>,
    ) -> Result<Self::Tensor>;
    /// The feed-forward of `x` added to it.
    fn feed_forward(&self, x: Self::Tensor, feed: &FeedForward<Self>) -> Result<Self::Tensor>;
    /// Normalises queries and keys head by head (RMS) and turns them by their positions, as far as either is wanted. `qkv` is
    /// `[tokens, queries then keys then values]`.
    fn rotate(
        &self,
        qkv: Self::Tensor,
        heads: Heads,
        norms: Option<(&Self::Norm, &Self::Norm)>,
        rotation: Option<&Rotation>,
    ) -> Result<Self::Tensor>;
    /// Scaled dot-product attention within each sequence, all of which see all of theirs. `qkv` as in `rotate`, with as many heads of
    /// keys as of queries; the result is `[tokens, heads · dim]`.
    fn attend(
        &self,
        qkv: &Self::Tensor,
        layout: &Layout,
        heads: Heads,
        scores: Scores<Self::RelativeBias>,
    ) -> Result<Self::Tensor>;
    /// Some rows of `x`, in the order given.
    fn rows(&self, x: &Self::Tensor, rows: &[usize]) -> Result<Self::Tensor>;
    /// Appends the values, row by row, to `out` in the host's memory.
    fn read(&self, x: &Self::Tensor, out: &mut Vec<f32>) -> Result<()>;

    /// A cache whose memory is counted in `budget`.
    fn cache(&self, shape: CacheShape, budget: &Arc<Budget>) -> Self::Cache;
    /// A sequence without tokens.
    fn sequence(&self, cache: &Self::Cache) -> Self::Sequence;
    /// Writes the keys (from `column` on) and values (right after them) of each slot's rows behind what its sequence holds. The
    /// sequence's length stays until it advances, because all layers are written first.
    fn store(
        &self,
        x: &Self::Tensor,
        column: usize,
        slots: &mut [Slot<&mut Self::Sequence>],
        layer: usize,
    ) -> Result<()>;
    /// Attention of each slot's rows to its sequence's keys: with `causal` those before and the rows' own, just stored; without,
    /// all that it holds. `q` has the queries in its first columns.
    fn attend_cached<S: Borrow<Self::Sequence> + Sync>(
        &self,
        q: &Self::Tensor,
        slots: &[Slot<S>],
        layer: usize,
        heads: Heads,
        scores: Scores<Self::RelativeBias>,
    ) -> Result<Self::Tensor>;

    /// Appends `norm(x)·Wᵀ + b`, softly capped, row by row to `out` in the host's memory.
    fn project_logits(
        &self,
        x: &Self::Tensor,
        norm: Option<&Self::Norm>,
        w: &Self::Linear,
        softcap: f32,
        out: &mut Vec<f32>,
    ) -> Result<()> {
        let before = out.len();
        self.read(&self.project(x, norm, w, Activation::None)?, out)?;
        cap(&mut out[before..], softcap);
        Ok(())
    }

    /// Appends for each row the arg-max of `norm(x)·Wᵀ + b`, softly capped, without the outputs in `forbidden`.
    fn project_arg_max(
        &self,
        x: &Self::Tensor,
        norm: Option<&Self::Norm>,
        w: &Self::Linear,
        softcap: f32,
        forbidden: &[u32],
        out: &mut Vec<Option<u32>>,
    ) -> Result<()> {
        let mut values = Vec::new();
        self.project_logits(x, norm, w, softcap, &mut values)?;
        for row in values.chunks_exact_mut(self.outputs(w).max(1)) {
            forbidden.iter().for_each(|&i| row[i as usize] = f32::NEG_INFINITY);
            out.push(arg_max(row));
        }
        Ok(())
    }

    /// Adds each row of `norm(x)·Wᵀ + b`, softly capped, to `out`: its total of all outputs, and its likeliest without those in
    /// `forbidden`.
    fn project_top_k(
        &self,
        x: &Self::Tensor,
        norm: Option<&Self::Norm>,
        w: &Self::Linear,
        softcap: f32,
        forbidden: &[u32],
        out: &mut Likeliest,
    ) -> Result<()> {
        let mut values = Vec::new();
        self.project_logits(x, norm, w, softcap, &mut values)?;
        out.add(&mut values, self.outputs(w), forbidden, log_sum_exp);
        Ok(())
    }

    /// One row a sequence (or all rows, for `Pooling::None`), in the host's memory.
    fn pool(&self, x: &Self::Tensor, layout: &Layout, width: usize, pooling: Pooling) -> Result<Vec<f32>> {
        let mut values = Vec::new();
        self.read(x, &mut values)?;
        Ok(pooling::pool(values, layout.starts(), width, pooling))
    }
}
