//! The same transformer over candle-core. On candle's CPU device, in f32, it is the reference that Kinglet's own engine is judged by.

use candle_core::{DType, Device, IndexOp, Tensor, WithDType};

use crate::batching::Layout;
use crate::error::{Error, Result};
use crate::formats::safetensors::TensorView;
use crate::kernels::Activation;

use super::{Backend, Heads, LinearView, Precision};

pub struct Candle {
    device: Device,
}

impl Candle {
    /// candle's CPU device.
    pub fn cpu() -> Self {
        Self { device: Device::Cpu }
    }

    fn upload<T: WithDType>(&self, values: Vec<T>, shape: &[usize]) -> Result<Tensor> {
        Tensor::from_vec(values, shape, &self.device).map_err(failed)
    }
}

/// candle's errors can only be defects or a device that gave up: the inputs were checked before.
fn failed(error: candle_core::Error) -> Error {
    Error::internal(format!("candle: {error}"))
}

pub struct Linear {
    /// `[inputs, outputs]`, ready to multiply from the right.
    weight: Tensor,
    bias: Tensor,
}

pub struct Norm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

/// The biases by distance, `[heads, distances]`, and where distance 0 stands.
pub struct RelativeBias {
    by_distance: Tensor,
    centre: usize,
}

impl RelativeBias {
    /// `[heads, tokens, tokens]`.
    fn matrix(&self, tokens: usize) -> candle_core::Result<Tensor> {
        let rows = (0..tokens).map(|query| self.by_distance.narrow(1, self.centre - query, tokens));
        Tensor::stack(&rows.collect::<candle_core::Result<Vec<_>>>()?, 1)
    }
}

fn activate(x: &Tensor, activation: Activation) -> candle_core::Result<Tensor> {
    match activation {
        Activation::None => Ok(x.clone()),
        Activation::Relu => x.relu(),
        Activation::Gelu => x.gelu_erf(),
        Activation::GeluTanh => x.gelu(),
        Activation::Silu => x.silu(),
        Activation::Tanh => x.tanh(),
    }
}

fn softmax(x: &Tensor) -> candle_core::Result<Tensor> {
    let last = x.rank() - 1;
    let e = x.broadcast_sub(&x.max_keepdim(last)?)?.exp()?;
    e.broadcast_div(&e.sum_keepdim(last)?)
}

impl Backend for Candle {
    type Tensor = Tensor;
    type Linear = Linear;
    type Norm = Norm;
    type Table = Tensor;
    type RelativeBias = RelativeBias;

    fn describe(&self) -> String {
        "candle-cpu f32".to_string()
    }

    fn precision(&self) -> Precision {
        Precision::F32
    }

    fn linear_bytes(&self, outputs: usize, inputs: usize) -> usize {
        outputs.saturating_mul(inputs + 1).saturating_mul(size_of::<f32>())
    }

    fn table_bytes(&self, rows: usize, width: usize) -> usize {
        rows.saturating_mul(width).saturating_mul(size_of::<f32>())
    }

    fn linear_load(&self, view: &LinearView) -> Result<Linear> {
        let per_part = view.outputs / view.parts.len();
        let (mut weight, mut bias) = (Vec::new(), Vec::new());
        for (w, b) in &view.parts {
            weight.extend(w.to_vec_f32()?);
            match b {
                Some(b) => bias.extend(b.to_vec_f32()?),
                None => bias.resize(bias.len() + per_part, 0.0),
            }
        }
        let weight = self.upload(weight, &[view.outputs, view.inputs])?;
        let weight = weight.t().and_then(|w| w.contiguous()).map_err(failed)?;
        Ok(Linear { weight, bias: self.upload(bias, &[view.outputs])? })
    }

    fn norm_load(&self, weight: &TensorView, bias: &TensorView, eps: f32) -> Result<Norm> {
        let vector = |view: &TensorView| self.upload(view.to_vec_f32()?, view.shape);
        Ok(Norm { weight: vector(weight)?, bias: vector(bias)?, eps: f64::from(eps) })
    }

    fn table_load(&self, view: &TensorView) -> Result<Tensor> {
        self.upload(view.to_vec_f32()?, view.shape)
    }

    fn relative_bias_load(&self, by_distance: Vec<Vec<f32>>) -> Result<RelativeBias> {
        let (heads, distances) = (by_distance.len(), by_distance.first().map_or(0, Vec::len));
        let by_distance = self.upload(by_distance.concat(), &[heads, distances])?;
        Ok(RelativeBias { by_distance, centre: distances / 2 })
    }

    fn embed(&self, sources: &[(&Tensor, &[u32])]) -> Result<Tensor> {
        let mut sum: Option<Tensor> = None;
        for (table, ids) in sources {
            let ids = self.upload(ids.to_vec(), &[ids.len()])?;
            let rows = table.index_select(&ids, 0).map_err(failed)?;
            sum = Some(match sum {
                Some(sum) => (sum + rows).map_err(failed)?,
                None => rows,
            });
        }
        sum.ok_or_else(|| Error::internal("embedding without a table"))
    }

    fn norm(&self, x: Tensor, norm: &Norm) -> Result<Tensor> {
        let compute = || {
            let width = x.dim(1)? as f64;
            let centred = x.broadcast_sub(&(x.sum_keepdim(1)? / width)?)?;
            let variance = (centred.sqr()?.sum_keepdim(1)? / width)?;
            let scaled = centred.broadcast_div(&(variance + norm.eps)?.sqrt()?)?;
            scaled.broadcast_mul(&norm.weight)?.broadcast_add(&norm.bias)
        };
        compute().map_err(failed)
    }

    fn project(&self, x: &Tensor, w: &Linear, activation: Activation) -> Result<Tensor> {
        let compute = || activate(&x.matmul(&w.weight)?.broadcast_add(&w.bias)?, activation);
        compute().map_err(failed)
    }

    fn project_add(&self, x: &Tensor, w: &Linear, residual: Tensor) -> Result<Tensor> {
        (self.project(x, w, Activation::None)? + residual).map_err(failed)
    }

    fn attend(&self, qkv: &Tensor, layout: &Layout, heads: Heads, bias: Option<&RelativeBias>) -> Result<Tensor> {
        let one = |sequence: usize| {
            let range = layout.range(sequence);
            let tokens = range.len();
            // [tokens, 3, heads, dim] -> three of [heads, tokens, dim].
            let parts = qkv.i(range)?.reshape((tokens, 3, heads.count, heads.dim))?;
            let part = |i: usize| parts.i((.., i))?.transpose(0, 1)?.contiguous();
            let (q, k, v) = (part(0)?, part(1)?, part(2)?);
            let mut scores = (q.matmul(&k.t()?.contiguous()?)? * (1.0 / (heads.dim as f64).sqrt()))?;
            if let Some(bias) = bias {
                scores = (scores + bias.matrix(tokens)?)?;
            }
            softmax(&scores)?.matmul(&v)?.transpose(0, 1)?.reshape((tokens, heads.count * heads.dim))
        };
        let filled = (0..layout.sequences()).filter(|&i| !layout.range(i).is_empty());
        let rows = filled.map(one).collect::<candle_core::Result<Vec<_>>>().map_err(failed)?;
        match rows.is_empty() {
            true => Tensor::zeros((0, heads.count * heads.dim), DType::F32, &self.device),
            false => Tensor::cat(&rows, 0),
        }
        .map_err(failed)
    }

    fn rows(&self, x: &Tensor, rows: &[usize]) -> Result<Tensor> {
        let rows: Vec<u32> = rows.iter().map(|&row| row as u32).collect();
        let count = rows.len();
        x.index_select(&self.upload(rows, &[count])?, 0).map_err(failed)
    }

    fn read(&self, x: &Tensor) -> Result<Vec<f32>> {
        x.flatten_all().and_then(|x| x.to_vec1()).map_err(failed)
    }
}
