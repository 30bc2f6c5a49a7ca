//! Weights and their products on candle devices.
//!
//! The residual stream is f32 in every precision: a product in f16 or bf16 rounds its input, and its output is widened before it is added.
//! A residual stream in f16 would overflow in deep models such as T5.

use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{DType, Module, Result, Tensor};

use crate::backend::Ends;
use crate::spec::{Activation, Precision};

/// Inputs per block of Q8_0, which share one scale.
pub const QUANTIZED_BLOCK: usize = 32;

/// candle's type of dense weights in a precision.
pub fn dense_type(precision: Precision) -> DType {
    match precision {
        Precision::Auto | Precision::F32 => DType::F32,
        Precision::Bf16 => DType::BF16,
        Precision::F16 | Precision::Int8 => DType::F16,
    }
}

/// The type of a product with weights.
pub fn product_type(precision: Precision) -> DType {
    if precision == Precision::Int8 { DType::F32 } else { dense_type(precision) }
}

/// Bytes of a weight of `outputs` rows, including its bias.
pub fn linear_bytes(precision: Precision, outputs: usize, inputs: usize) -> usize {
    let row = match precision {
        // 32 one-byte numbers and an f16 scale per block.
        Precision::Int8 => inputs.div_ceil(QUANTIZED_BLOCK).saturating_mul(QUANTIZED_BLOCK + 2),
        _ => inputs.saturating_mul(dense_type(precision).size_in_bytes()),
    };
    outputs.saturating_mul(row + dense_type(precision).size_in_bytes())
}

pub enum Weight {
    /// `[outputs, inputs]`.
    Dense(Tensor),
    /// Rows of Q8_0, padded with zeros to whole blocks.
    Quantized { product: QMatMul, outputs: usize, inputs: usize },
}

impl Weight {
    /// From f32 values `[outputs, inputs]` on the device.
    pub fn new(values: &Tensor, precision: Precision) -> Result<Self> {
        if precision != Precision::Int8 {
            return Ok(Self::Dense(values.to_dtype(dense_type(precision))?));
        }
        let (outputs, inputs) = values.dims2()?;
        let values = values.pad_with_zeros(1, 0, inputs.next_multiple_of(QUANTIZED_BLOCK) - inputs)?;
        let product = QMatMul::from_qtensor(QTensor::quantize(&values.contiguous()?, GgmlDType::Q8_0)?)?;
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
                let more = inputs.next_multiple_of(QUANTIZED_BLOCK) - inputs;
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

pub fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    match activation {
        Activation::None => Ok(x.clone()),
        Activation::Relu => x.relu(),
        Activation::Gelu => x.gelu_erf(),
        Activation::GeluTanh => x.gelu(),
        Activation::Silu => x.silu(),
        Activation::Tanh => x.tanh(),
    }
}
