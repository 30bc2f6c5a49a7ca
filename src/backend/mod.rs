//! The operations that a device needs to run the transformer: few and coarse, over packed batches, so that each backend can fuse.
//!
//! Shapes: an activation is `[tokens, width]`, all sequences end to end, in f32. Weights are `[outputs, inputs]`.

#[cfg(feature = "candle")]
pub mod candle;
pub mod cpu;
pub mod host;
mod pass;
pub(crate) mod pooling;
mod transform;
mod view;

use std::sync::Arc;

use crate::base::counters::Transfers;
use crate::base::error::Result;
use crate::base::memory::Budget;
use crate::formats::safetensors::TensorView;
use crate::kernels::{FREE, TopKEntry, keep_largest};
use crate::spec::{Activation, Heads, Layout, Pooling, Precision};

pub use host::cap;
pub use pass::{
    AttentionInput, CacheShape, CachedSequence, DistanceRows, HeadNorms, PassInput, Rotation, Rotations, Sequences,
    Slot,
};
pub use transform::{FACTORS, InputTransform, ROTATION};
pub use view::{LinearView, Order, Part, Role, RowReader};

/// The target number of tokens of a pass. For MiniLM's shape, their activations fit the L2 cache of the tested machines; larger passes
/// only cost memory. Results do not depend on it.
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
    /// Factor of the shifted weight and of the bias.
    pub scale: f32,
}

impl NormView<'_> {
    /// The weight with shift and scale applied.
    pub fn weight(&self) -> Result<Vec<f32>> {
        let mut weight = self.weight.to_vec_f32()?;
        weight.iter_mut().for_each(|w| *w = (*w + self.shift) * self.scale);
        Ok(weight)
    }

    /// The bias with the scale applied; empty without bias.
    pub fn bias(&self) -> Result<Vec<f32>> {
        let Some(bias) = &self.bias else { return Ok(Vec::new()) };
        let mut bias = bias.to_vec_f32()?;
        bias.iter_mut().for_each(|b| *b *= self.scale);
        Ok(bias)
    }
}

/// The top k tokens of some rows of logits.
#[derive(Default)]
pub struct TopKRows {
    /// The entries of each row: the largest logit first, of equals the lower token; [`FREE`] if there are fewer.
    pub count: usize,
    pub tokens: Vec<TopKEntry>,
    /// `ln Σ exp` of each row.
    pub totals: Vec<f32>,
}

impl TopKRows {
    pub fn clear(&mut self, count: usize) {
        self.count = count;
        self.tokens.clear();
        self.totals.clear();
    }

    /// Adds a row with a total and without tokens, and returns its entries.
    pub fn push(&mut self, total: f32) -> &mut [TopKEntry] {
        let first = self.tokens.len();
        self.totals.push(total);
        self.tokens.resize(first + self.count, FREE);
        &mut self.tokens[first..]
    }

    /// Adds rows of `width` logits, except `forbidden` tokens.
    #[cfg_attr(not(any(feature = "candle", feature = "onnx")), allow(dead_code))]
    pub fn add(&mut self, logits: &mut [f32], width: usize, forbidden: &[u32]) {
        for row in logits.chunks_exact_mut(width.max(1)) {
            let list = self.push(host::log_sum_exp(row));
            forbidden.iter().for_each(|&i| row[i as usize] = f32::NEG_INFINITY);
            row.iter().enumerate().for_each(|(i, &value)| keep_largest(list, (value, i as u32)));
        }
    }
}

/// The norms around a residual sum: `after(residual + post(y))`.
pub struct Ends<'a, N> {
    /// Sandwich norm: of the sublayer's output `y`.
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

/// A feed-forward: `down(activation(up(norm(x))))`. With `gated` (SwiGLU, GeGLU) the first half of `up`'s outputs is the gate:
/// `down(activation(gate) · rest)`.
pub struct FeedForward<'a, B: Backend + ?Sized> {
    pub norm: Option<&'a B::Norm>,
    pub up: &'a B::Linear,
    pub activation: Activation,
    pub gated: bool,
    pub down: &'a B::Linear,
    pub ends: Ends<'a, B::Norm>,
}

/// A language head's logits: `norm(x)·Wᵀ + b` with the soft cap.
pub struct Projection<'a, B: Backend + ?Sized> {
    pub norm: Option<&'a B::Norm>,
    pub weight: &'a B::Linear,
    pub softcap: f32,
}

impl<B: Backend> Projection<'_, B> {
    /// Appends all logits to `out`, row by row.
    fn read(&self, backend: &B, x: &B::Tensor, out: &mut Vec<f32>) -> Result<()> {
        let before = out.len();
        backend.read(&backend.project(x, self.norm, self.weight, Activation::None)?, out)?;
        cap(&mut out[before..], self.softcap);
        Ok(())
    }
}

/// Keys and queries of distances: an activation, and the column at which they begin.
pub struct DistanceTensors<'a, T> {
    pub keys: Option<(&'a T, usize)>,
    pub queries: Option<(&'a T, usize)>,
}

/// What is taken of rows of logits.
pub enum LogitRows<'a> {
    /// All logits.
    Logits(&'a mut Vec<f32>),
    /// The best token of each row, except the tokens in the list.
    Tokens(&'a [u32], &'a mut Vec<Option<u32>>),
    /// `ln Σ exp` of each row, and its top k tokens except those in the list.
    TopK(&'a [u32], &'a mut TopKRows),
}

pub trait Backend: Send + Sync + 'static {
    type Tensor: Send;
    type Linear: Send + Sync;
    type Norm: Send + Sync;
    /// Rows to look up: `[entries, hidden]`.
    type Table: Send + Sync;
    type RelativeBias: Send + Sync;
    /// A layer's keys and queries of distances (disentangled attention).
    type Distances: Send + Sync;
    /// The page pool of KV caches.
    type Cache: Send + Sync;
    /// The KV cache of one sequence, all layers.
    type Sequence: CachedSequence;
    /// The data that all layers of a pass share.
    type Pass<'a>;
    /// Whether it works in the child of a `fork`.
    const SURVIVES_FORK: bool = false;

    fn name(&self) -> &'static str;
    /// The description in a model's info, for instance the selected kernels.
    fn describe(&self) -> String;
    /// The precision of the weights; never `Auto`.
    fn precision(&self) -> Precision;

    /// The target number of tokens of a pass.
    fn pass_tokens(&self) -> usize {
        PASS_TOKENS
    }
    /// The target number of tokens if each thread runs its own passes; None if threads should share one.
    fn thread_pass_tokens(&self) -> Option<usize> {
        None
    }
    /// The transfers between host and device memory; None if they are the same.
    fn transfers(&self) -> Option<&Transfers> {
        None
    }

    /// The bytes of a weight, computed before anything is allocated.
    fn linear_bytes(&self, role: Role, outputs: usize, inputs: usize) -> usize;
    fn table_bytes(&self, rows: usize, width: usize) -> usize;

    fn linear_load(&self, role: Role, view: &LinearView) -> Result<Self::Linear>;
    fn norm_load(&self, view: &NormView) -> Result<Self::Norm>;
    fn table_load(&self, view: &TensorView) -> Result<Self::Table>;
    /// A table of computed values.
    fn table_from(&self, values: Vec<f32>, width: usize) -> Result<Self::Table>;
    /// Whether a table of a head's weight ([`Self::table_of`]) has the numbers of one that is loaded by itself.
    fn tables_are_exact(&self) -> bool;
    /// A layer's rows as a table: word embeddings that are tied to the language head.
    fn table_of(&self, linear: &Arc<Self::Linear>) -> Result<Self::Table>;
    /// `by_distance[head][key - query + longest - 1]`, for sequences of up to `longest` tokens.
    fn relative_bias_load(&self, by_distance: Vec<Vec<f32>>) -> Result<Self::RelativeBias>;

    /// Keys and queries of distances, `[rows, heads · dim]` from a column of an activation on.
    fn distances_load(&self, heads: Heads, vectors: DistanceTensors<Self::Tensor>) -> Result<Self::Distances>;

    /// For each token, the sum of one row of each table times its factor. The ids are in range.
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
    /// `x·Wᵀ + b` of embeddings, in the type of the residual stream.
    fn project_embeddings(&self, x: &Self::Tensor, w: &Self::Linear) -> Result<Self::Tensor> {
        self.project(x, None, w, Activation::None)
    }
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
    /// The feed-forward of an expert, which is added to nothing: `down(activation(up(x)))`. The norms of `feed` are none.
    fn expert(&self, x: &Self::Tensor, feed: &FeedForward<Self>) -> Result<Self::Tensor>;
    /// Adds the rows of `y`, each times its factor, to those rows of `x` that `rows` lists. No row is listed twice.
    fn add_rows(&self, x: Self::Tensor, y: &Self::Tensor, rows: &[usize], factors: &[f32]) -> Result<Self::Tensor>;
    /// Rows of `width` values in the host's memory, as an activation.
    fn tensor_from(&self, values: Vec<f32>, width: usize) -> Result<Self::Tensor>;
    /// The rows of `x` with these indices.
    fn rows(&self, x: &Self::Tensor, rows: &[usize]) -> Result<Self::Tensor>;
    /// Appends the values, row by row, to `out`.
    fn read(&self, x: &Self::Tensor, out: &mut Vec<f32>) -> Result<()>;

    /// A page pool whose memory is counted in `budget`.
    fn cache(&self, shape: CacheShape, budget: &Arc<Budget>) -> Self::Cache;
    /// An empty sequence.
    fn sequence(&self, cache: &Self::Cache) -> Self::Sequence;
    /// Begins a pass: prepares the data that all layers share and copies it to the device.
    fn begin<'a>(&self, input: PassInput<'a, Self>) -> Result<Self::Pass<'a>>;
    /// One layer's attention as the stack's Spec says, without the output projection: head norms and rotary positions of queries and
    /// keys, writes to the KV cache, `softmax(cap(scale · (q·kᵀ + terms of distances)) + relative bias)·v` over the visible keys. The
    /// result is `[tokens, heads · dim]`. The KV cache's length does not change until the sequence advances after the last layer.
    fn attention(&self, pass: &Self::Pass<'_>, layer: usize, input: AttentionInput<Self>) -> Result<Self::Tensor>;
    /// Writes `[tokens, keys then values]` of the encoder's output to the pass's sequences, for cross-attention.
    fn store(&self, pass: &Self::Pass<'_>, layer: usize, key_value: Self::Tensor) -> Result<()>;

    /// Appends what `out` takes of the language head's logits for each row of `x`.
    fn logits(&self, x: &Self::Tensor, head: &Projection<Self>, out: LogitRows) -> Result<()>;

    /// One row per sequence, or all rows for `Pooling::None`, as [`pooling::pool`] says.
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
