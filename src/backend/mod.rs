//! What a device must be able to do to run the transformer: a few coarse operations over packed batches, so that each backend fuses
//! as it likes.
//!
//! Shapes: an activation is `[tokens, width]`, all sequences end to end, in f32. Weights are `[outputs, inputs]`.

#[cfg(feature = "candle")]
pub mod candle;
pub mod cpu;
pub mod host;
mod pass;
pub(crate) mod pooling;
mod view;

use std::sync::Arc;

use crate::base::counters::Transfers;
use crate::base::error::Result;
use crate::base::memory::Budget;
use crate::formats::safetensors::TensorView;
use crate::kernels::{FREE, Placed, keep_largest};
use crate::spec::{Activation, Layout, Pooling, Precision};

pub use host::{arg_max, cap, log_sum_exp};
pub use pass::{
    AttentionInput, CacheShape, CachedSequence, HeadNorms, PassInput, Rotation, Rotations, Sequences, Slot,
};
pub use view::{LinearView, Order, Part, RowReader};

/// Tokens that one pass through the model aims at. Activations of this many tokens fit the second-level cache of the
/// machines at hand for MiniLM's shape; larger passes only cost memory. Results do not depend on it.
pub const PASS_TOKENS: usize = 512;

/// A norm's tensors in the checkpoint.
#[derive(Clone)]
pub struct NormView<'a> {
    /// RMSNorm; else LayerNorm.
    pub rms: bool,
    pub weight: TensorView<'a>,
    pub bias: Option<TensorView<'a>>,
    pub eps: f32,
    /// Added to the weight.
    pub shift: f32,
    /// Multiplied with the shifted weight and with the bias.
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

/// The likeliest tokens of some rows of logits.
#[derive(Default)]
pub struct Likeliest {
    /// Tokens per row: the largest logit first, of equals the lower token; [`FREE`] where there are fewer.
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

    /// Adds a row with a total and no tokens yet, and returns its list.
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

/// The norms around a residual sum: `after(residual + post(y))`.
pub struct Ends<'a, N> {
    /// Sandwich norm: of what is added.
    pub post: Option<&'a N>,
    /// Post-norm: of the sum.
    pub after: Option<&'a N>,
}

impl<N> Clone for Ends<'_, N> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<N> Copy for Ends<'_, N> {}

/// A feed-forward: `down(activation(up(norm(x))))`; with `gated` (SwiGLU, GeGLU) the outputs of `up` are first the gate and then what it
/// multiplies, `down(activation(gate) · rest)`.
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
    /// Where the memory of KV caches comes from.
    type Cache: Send + Sync;
    /// The KV cache of one sequence, all layers.
    type Sequence: CachedSequence;
    /// What the layers of one pass share.
    type Pass<'a>;

    fn name(&self) -> &'static str;
    /// For a model's info, for instance the kernels chosen.
    fn describe(&self) -> String;
    /// The precision that weights are held in; never `Auto`.
    fn precision(&self) -> Precision;

    /// Tokens that a pass through the model aims at.
    fn pass_tokens(&self) -> usize {
        PASS_TOKENS
    }
    /// Tokens per pass where threads should run passes of their own; None where they should share one.
    fn thread_pass_tokens(&self) -> Option<usize> {
        None
    }
    /// What was copied between the host's memory and the device's; None where they are the same.
    fn transfers(&self) -> Option<&Transfers> {
        None
    }

    /// Bytes that a weight will take, asked before anything is allocated.
    fn linear_bytes(&self, outputs: usize, inputs: usize) -> usize;
    fn table_bytes(&self, rows: usize, width: usize) -> usize;

    fn linear_load(&self, view: &LinearView) -> Result<Self::Linear>;
    /// As `linear_load`, but in f16 where the precision is narrower: for layers over one vector per text, which cost next to nothing.
    fn linear_load_wide(&self, view: &LinearView) -> Result<Self::Linear>;
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
    /// Rows of `width` values in the host's memory, as an activation.
    fn tensor_from(&self, values: Vec<f32>, width: usize) -> Result<Self::Tensor>;
    /// Some rows of `x`, in the order given.
    fn rows(&self, x: &Self::Tensor, rows: &[usize]) -> Result<Self::Tensor>;
    /// Appends the values, row by row, to `out` in the host's memory.
    fn read(&self, x: &Self::Tensor, out: &mut Vec<f32>) -> Result<()>;

    /// A cache whose memory is counted in `budget`.
    fn cache(&self, shape: CacheShape, budget: &Arc<Budget>) -> Self::Cache;
    /// A sequence without tokens.
    fn sequence(&self, cache: &Self::Cache) -> Self::Sequence;
    /// Starts a pass: makes once, and copies to the device once, what is equal in all layers.
    fn begin<'a>(&self, input: PassInput<'a, Self>) -> Result<Self::Pass<'a>>;
    /// One layer's attention as the stack's Spec says, up to the output projection: head norms and rotary positions of queries and keys,
    /// new keys and values to the KV cache, `softmax(cap(scale · q·kᵀ) + relative bias)·v` over what a token sees. The result is
    /// `[tokens, heads · dim]`. A KV cache's length stays until the sequence advances, because all layers are written first.
    fn attention(
        &self,
        pass: &Self::Pass<'_>,
        layer: usize,
        input: AttentionInput<Self::Tensor, Self::Norm>,
    ) -> Result<Self::Tensor>;
    /// Writes `[tokens, keys then values]` of the encoder's output to the pass's own sequences, for cross-attention to read.
    fn store(&self, pass: &Self::Pass<'_>, layer: usize, key_value: Self::Tensor) -> Result<()>;

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

    /// One row per sequence (or all rows, for `Pooling::None`), in the host's memory, as [`pooling::pool`] says.
    fn pool(
        &self,
        x: &Self::Tensor,
        layout: &Layout,
        width: usize,
        poolings: &[Pooling],
        skip: usize,
    ) -> Result<Vec<f32>> {
        let mut values = Vec::new();
        self.read(x, &mut values)?;
        Ok(pooling::pool(values, layout.starts(), width, poolings, skip))
    }
}
