//! Weights and their products on candle devices.
//!
//! The residual stream is f32 in every precision: a product in f16 or bf16 rounds its input, and its output is widened before it is added.
//! A residual stream in f16 would overflow in deep models such as T5.

use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{DType, Module, Result, Tensor};

use super::Candle;
use crate::backend::{Ends, FeedForward};
use crate::spec::{Activation, Precision};

/// Inputs per block of the quantised types, which share a scale.
const QUANTIZED_BLOCK: usize = 32;

/// Inputs rounded up to pairs of blocks, which candle's products of Q4_1 need on the CPU.
fn padded(inputs: usize) -> usize {
    inputs.next_multiple_of(2 * QUANTIZED_BLOCK)
}

/// candle's type of dense weights in a precision.
pub fn dense_type(precision: Precision) -> DType {
    match precision {
        Precision::Auto | Precision::F32 => DType::F32,
        Precision::Bf16 => DType::BF16,
        Precision::F16 | Precision::Int8 | Precision::Int4 => DType::F16,
    }
}

/// The type of a product with weights.
pub fn product_type(precision: Precision) -> DType {
    if quantized_type(precision).is_some() { DType::F32 } else { dense_type(precision) }
}

/// candle's type of quantised weights in a precision; None where they are dense.
fn quantized_type(precision: Precision) -> Option<GgmlDType> {
    match precision {
        Precision::Int8 => Some(GgmlDType::Q8_0),
        Precision::Int4 => Some(GgmlDType::Q4_1),
        Precision::Auto | Precision::F32 | Precision::F16 | Precision::Bf16 => None,
    }
}

/// Bytes of a weight of `outputs` rows, including its bias.
pub fn linear_bytes(precision: Precision, outputs: usize, inputs: usize) -> usize {
    let row = match quantized_type(precision) {
        Some(kind) => (padded(inputs) / QUANTIZED_BLOCK).saturating_mul(kind.type_size()),
        None => inputs.saturating_mul(dense_type(precision).size_in_bytes()),
    };
    outputs.saturating_mul(row + dense_type(precision).size_in_bytes())
}

pub enum Weight {
    /// `[outputs, inputs]`.
    Dense(Tensor),
    /// Rows in blocks, padded with zeros to whole blocks.
    Quantized { product: QMatMul, outputs: usize, inputs: usize },
}

impl Weight {
    /// From f32 values `[outputs, inputs]` on the device.
    pub fn new(values: &Tensor, precision: Precision) -> Result<Self> {
        let Some(kind) = quantized_type(precision) else {
            return Ok(Self::Dense(values.to_dtype(dense_type(precision))?));
        };
        let (outputs, inputs) = values.dims2()?;
        let values = values.pad_with_zeros(1, 0, padded(inputs) - inputs)?;
        let product = QMatMul::from_qtensor(QTensor::quantize(&values.contiguous()?, kind)?)?;
        Ok(Self::Quantized { product, outputs, inputs })
    }

    pub fn outputs(&self) -> usize {
        match self {
            Self::Dense(weight) => weight.dims().first().copied().unwrap_or(0),
            Self::Quantized { outputs, .. } => *outputs,
        }
    }

    /// The rows, for embedding lookups.
    pub fn rows(&self) -> Result<Tensor> {
        match self {
            Self::Dense(weight) => Ok(weight.clone()),
            Self::Quantized { product, inputs, .. } => product.dequantize_f16()?.narrow(1, 0, *inputs)?.contiguous(),
        }
    }

    /// `x·Wᵀ`, in the type of the dense weight; f32 for a quantized one.
    fn multiply(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Dense(weight) => x.to_dtype(weight.dtype())?.matmul(&weight.t()?),
            // candle's quantized products divide by the number of rows.
            Self::Quantized { outputs, .. } if x.dim(0)? == 0 => Tensor::zeros((0, *outputs), DType::F32, x.device()),
            Self::Quantized { product, inputs, .. } => {
                let more = padded(*inputs) - inputs;
                product.forward(&x.to_dtype(DType::F32)?.pad_with_zeros(1, 0, more)?.contiguous()?)
            }
        }
    }
}

pub struct Linear {
    pub weight: Weight,
    pub bias: Option<Tensor>,
}

impl Linear {
    /// From f32 values on the device; an empty `bias` means no bias.
    pub fn new(weight: &Tensor, bias: &Tensor, precision: Precision) -> Result<Self> {
        let weight = Weight::new(weight, precision)?;
        let bias = if bias.elem_count() == 0 { None } else { Some(bias.to_dtype(product_type(precision))?) };
        Ok(Self { weight, bias })
    }

    /// `activation(norm(x)·Wᵀ + b)`.
    pub fn project(&self, x: &Tensor, norm: Option<&Norm>, activation: Activation) -> Result<Tensor> {
        let normed = norm.map(|norm| norm.apply(x)).transpose()?;
        let y = self.weight.multiply(normed.as_ref().unwrap_or(x))?;
        let y = self.bias.as_ref().map_or_else(|| Ok(y.clone()), |bias| y.broadcast_add(bias))?;
        activate(&y, activation)
    }

    /// `after(residual + post(x·Wᵀ + b))`.
    pub fn join(&self, x: &Tensor, residual: Tensor, ends: Ends<Norm>) -> Result<Tensor> {
        let y = self.project(x, None, Activation::None)?.to_dtype(DType::F32)?;
        let sum = (ends.post.map_or_else(|| Ok(y.clone()), |norm| norm.apply(&y))? + residual)?;
        ends.after.map_or_else(|| Ok(sum.clone()), |norm| norm.apply(&sum))
    }
}

pub struct Norm {
    pub rms: bool,
    pub weight: Tensor,
    pub bias: Tensor,
    pub eps: f32,
}

impl Norm {
    /// Normalises the last dimension, in f32; the result has the type of `x`.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let dtype = x.dtype();
        let x = x.to_dtype(DType::F32)?.contiguous()?;
        if x.elem_count() == 0 {
            return x.to_dtype(dtype);
        }
        let normed = if self.rms {
            candle_nn::ops::rms_norm(&x, &self.weight, self.eps)?
        } else {
            candle_nn::ops::layer_norm(&x, &self.weight, &self.bias, self.eps)?
        };
        normed.to_dtype(dtype)
    }
}

/// The inner layer of a feed-forward.
pub fn inner(x: &Tensor, feed: &FeedForward<Candle>) -> Result<Tensor> {
    if !feed.gated {
        return feed.up.project(x, feed.norm, feed.activation);
    }
    let halves = feed.up.project(x, feed.norm, Activation::None)?.chunk(2, 1)?;
    activate(&halves[0].contiguous()?, feed.activation)? * halves[1].contiguous()?
}

fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    match activation {
        Activation::None => Ok(x.clone()),
        Activation::Relu => x.relu(),
        Activation::Gelu => x.gelu_erf(),
        Activation::GeluTanh => x.gelu(),
        Activation::Silu => x.silu(),
        Activation::Tanh => x.tanh(),
    }
}
