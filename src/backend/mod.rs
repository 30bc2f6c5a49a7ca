//! What a device must be able to do to run the transformer: a few coarse operations over packed batches, so that each backend fuses
//! as it likes. A fused operation has a default body that composes simpler ones; a backend that can do better overrides it.
//!
//! Shapes: an activation is `[tokens, width]`, all sequences end to end, in f32. Weights are `[outputs, inputs]`.

#[cfg(feature = "candle")]
pub mod candle;
pub mod cpu;

use crate::batching::Layout;
use crate::error::Result;
use crate::formats::safetensors::TensorView;
use crate::kernels::Activation;
use crate::tasks::pooling::{self, Pooling};

/// The number type that weights are held and multiplied in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Precision {
    /// What the checkpoint holds: f32 weights stay f32; f16 and bf16 weights are held as f16.
    Auto = 0,
    F32 = 1,
    /// Weights in f16, activations and sums in f32.
    F16 = 2,
    /// Weights and activations of matrix products in 8 bits, sums exact, everything else in f32.
    Int8 = 3,
}

impl Precision {
    pub const ALL: [Self; 4] = [Self::Auto, Self::F32, Self::F16, Self::Int8];

    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
        }
    }

    pub fn from_u32(value: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|&p| p as u32 == value)
    }
}

/// Where a model runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum Device {
    /// Kinglet's own engine.
    #[default]
    Cpu = 0,
    /// The same transformer over candle-core on the CPU, in f32: the reference that the engine is judged by. Its arithmetic uses as
    /// many threads as candle likes.
    CandleCpu = 1,
    Cuda = 2,
    Metal = 3,
}

impl Device {
    pub const ALL: [Self; 4] = [Self::Cpu, Self::CandleCpu, Self::Cuda, Self::Metal];

    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::CandleCpu => "candle-cpu",
            Self::Cuda => "cuda",
            Self::Metal => "metal",
        }
    }

    pub fn from_u32(value: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|&d| d as u32 == value)
    }
}

/// A linear layer as it lies in the checkpoint: `parts` are stacked along the outputs (query, key and value are one product).
#[derive(Clone)]
pub struct LinearView<'a> {
    /// Weight `[outputs of the part, inputs]` and bias `[outputs of the part]`.
    pub parts: Vec<(TensorView<'a>, Option<TensorView<'a>>)>,
    pub inputs: usize,
    pub outputs: usize,
}

/// How attention is shared out among heads.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    pub count: usize,
    pub dim: usize,
}

pub trait Backend: Send + Sync + 'static {
    type Tensor: Send;
    type Linear: Send + Sync;
    type Norm: Send + Sync;
    /// Rows to look up: `[entries, hidden]`.
    type Table: Send + Sync;
    type RelativeBias: Send + Sync;

    /// What is to be said of the backend in a model's info, for instance the kernels chosen.
    fn describe(&self) -> String;
    /// The precision that weights are held in; never `Auto`.
    fn precision(&self) -> Precision;

    /// Bytes that a weight will take, asked before anything is allocated.
    fn linear_bytes(&self, outputs: usize, inputs: usize) -> usize;
    fn table_bytes(&self, rows: usize, width: usize) -> usize;

    fn linear_load(&self, view: &LinearView) -> Result<Self::Linear>;
    fn norm_load(&self, weight: &TensorView, bias: &TensorView, eps: f32) -> Result<Self::Norm>;
    fn table_load(&self, view: &TensorView) -> Result<Self::Table>;
    /// `by_distance[head][key - query + longest - 1]`, for sequences of up to `longest` tokens.
    fn relative_bias_load(&self, by_distance: Vec<Vec<f32>>) -> Result<Self::RelativeBias>;

    /// The sum, token by token, of one row of each table. The ids are known to be in range.
    fn embed(&self, sources: &[(&Self::Table, &[u32])]) -> Result<Self::Tensor>;
    fn norm(&self, x: Self::Tensor, norm: &Self::Norm) -> Result<Self::Tensor>;
    /// `activation(x·Wᵀ + b)`.
    fn project(&self, x: &Self::Tensor, w: &Self::Linear, activation: Activation) -> Result<Self::Tensor>;
    /// `residual + x·Wᵀ + b`.
    fn project_add(&self, x: &Self::Tensor, w: &Self::Linear, residual: Self::Tensor) -> Result<Self::Tensor>;
    /// Scaled dot-product attention within each sequence. `qkv` is `[tokens, 3·hidden]`, the result `[tokens, hidden]`.
    fn attend(
        &self,
        qkv: &Self::Tensor,
        layout: &Layout,
        heads: Heads,
        bias: Option<&Self::RelativeBias>,
    ) -> Result<Self::Tensor>;
    /// Some rows of `x`, in the order given.
    fn rows(&self, x: &Self::Tensor, rows: &[usize]) -> Result<Self::Tensor>;
    /// The values, row by row, in the host's memory.
    fn read(&self, x: &Self::Tensor) -> Result<Vec<f32>>;

    /// `x + down(activation(up(x)))`.
    fn feed_forward(
        &self,
        x: Self::Tensor,
        up: &Self::Linear,
        activation: Activation,
        down: &Self::Linear,
    ) -> Result<Self::Tensor> {
        let inner = self.project(&x, up, activation)?;
        self.project_add(&inner, down, x)
    }

    /// One row a sequence (or all rows, for `Pooling::None`), in the host's memory.
    fn pool(&self, x: &Self::Tensor, layout: &Layout, width: usize, pooling: Pooling) -> Result<Vec<f32>> {
        Ok(pooling::pool(self.read(x)?, layout.starts(), width, pooling))
    }
}
