//! The same transformer over candle-core. On candle's CPU device, in f32, it is the reference that Kinglet's own engine is judged by.

mod cache;

use std::borrow::Borrow;
use std::sync::Arc;

use candle_core::{D, DType, Device, IndexOp, Tensor, WithDType};

use crate::batching::Layout;
use crate::error::{Error, Result};
use crate::formats::safetensors::TensorView;
use crate::kernels::Activation;
use crate::memory::Budget;
use crate::transformer::spec::Heads;

use super::{
    Backend, CacheShape, CachedSequence, Ends, FeedForward, LinearView, NormView, Precision, Rotation, Scores, Slot,
};
use cache::{Cache, Sequence};

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

impl Linear {
    /// `activation(norm(x)·Wᵀ + b)`.
    fn project(&self, x: &Tensor, norm: Option<&Norm>, activation: Activation) -> candle_core::Result<Tensor> {
        let x = norm.map_or_else(|| Ok(x.clone()), |norm| norm.apply(x))?;
        activate(&x.matmul(&self.weight)?.broadcast_add(&self.bias)?, activation)
    }

    /// `after(residual + post(x·Wᵀ + b))`.
    fn join(&self, x: &Tensor, residual: Tensor, ends: Ends<Norm>) -> candle_core::Result<Tensor> {
        let y = self.project(x, None, Activation::None)?;
        let sum = (ends.post.map_or_else(|| Ok(y.clone()), |norm| norm.apply(&y))? + residual)?;
        ends.after.map_or_else(|| Ok(sum.clone()), |norm| norm.apply(&sum))
    }
}

pub struct Norm {
    rms: bool,
    weight: Tensor,
    bias: Option<Tensor>,
    eps: f64,
}

impl Norm {
    /// Over the last dimension.
    fn apply(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let width = x.dim(D::Minus1)? as f64;
        let mean = |x: &Tensor| x.sum_keepdim(D::Minus1)? / width;
        let centred = if self.rms { x.clone() } else { x.broadcast_sub(&mean(x)?)? };
        let scaled = centred.broadcast_div(&(mean(&centred.sqr()?)? + self.eps)?.sqrt()?)?;
        let scaled = scaled.broadcast_mul(&self.weight)?;
        match &self.bias {
            Some(bias) => scaled.broadcast_add(bias),
            None => Ok(scaled),
        }
    }
}

/// The biases by distance, `[heads, distances]`, and where distance 0 stands.
pub struct RelativeBias {
    by_distance: Tensor,
    centre: usize,
}

impl RelativeBias {
    /// `[heads, queries, keys]`, the first query at position `first`.
    fn matrix(&self, first: usize, queries: usize, keys: usize) -> candle_core::Result<Tensor> {
        let rows = (first..first + queries).map(|query| self.by_distance.narrow(1, self.centre - query, keys));
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

/// Columns of `[tokens, …]` as `[heads, tokens, dim]`.
fn split(x: &Tensor, column: usize, heads: usize, dim: usize) -> candle_core::Result<Tensor> {
    let tokens = x.dim(0)?;
    x.narrow(1, column, heads * dim)?.reshape((tokens, heads, dim))?.transpose(0, 1)?.contiguous()
}

/// `[heads, queries, dim]` with `[heads, keys, dim]` twice to `[queries, heads · dim]`; the first query is at position `first`.
fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    first: usize,
    scores: Scores<RelativeBias>,
) -> candle_core::Result<Tensor> {
    let ((heads, queries, dim), keys) = (q.dims3()?, k.dim(1)?);
    let mut s = (q.matmul(&k.t()?.contiguous()?)? * f64::from(scores.scale))?;
    if scores.softcap > 0.0 {
        let cap = f64::from(scores.softcap);
        s = ((s / cap)?.tanh()? * cap)?;
    }
    if let Some(bias) = scores.bias {
        s = (s + bias.matrix(first, queries, keys)?)?;
    }
    if scores.causal {
        let seen = |query: usize, key: usize| key <= query && (scores.window == 0 || key + scores.window > query);
        let mask = (first..first + queries)
            .flat_map(|query| (0..keys).map(move |key| if seen(query, key) { 0.0 } else { f32::NEG_INFINITY }));
        s = s.broadcast_add(&Tensor::from_vec(mask.collect(), (queries, keys), q.device())?)?;
    }
    softmax(&s)?.matmul(v)?.transpose(0, 1)?.reshape((queries, heads * dim))
}

impl Candle {
    fn stack(&self, rows: Vec<Tensor>, width: usize) -> Result<Tensor> {
        match rows.is_empty() {
            true => Tensor::zeros((0, width), DType::F32, &self.device),
            false => Tensor::cat(&rows, 0),
        }
        .map_err(failed)
    }

    fn rotate_heads(
        &self,
        qkv: &Tensor,
        heads: Heads,
        norms: Option<(&Norm, &Norm)>,
        rotation: Option<&Rotation>,
    ) -> candle_core::Result<Tensor> {
        let tokens = qkv.dim(0)?;
        let turned = |column: usize, count: usize, norm: Option<&Norm>| {
            let x = qkv.narrow(1, column, count * heads.dim)?.reshape((tokens, count, heads.dim))?;
            let x = if let Some(norm) = norm { norm.apply(&x)? } else { x };
            let Some(r) = rotation else { return x.reshape((tokens, count * heads.dim)) };
            let angles = |values: &[f32]| Tensor::from_slice(values, (tokens, 1, r.half), &self.device);
            let (cos, sin) = (angles(&r.cos)?, angles(&r.sin)?);
            let (a, b) = (x.narrow(2, 0, r.half)?, x.narrow(2, r.half, r.half)?);
            let first = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
            let second = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?;
            let rest = x.narrow(2, 2 * r.half, heads.dim - 2 * r.half)?;
            Tensor::cat(&[first, second, rest], 2)?.reshape((tokens, count * heads.dim))
        };
        let queries = turned(0, heads.count, norms.map(|(query, _)| query))?;
        let keys = turned(heads.query_width(), heads.kv, norms.map(|(_, key)| key))?;
        let values = qkv.narrow(1, heads.query_width() + heads.kv_width(), heads.kv_width())?;
        Tensor::cat(&[queries, keys, values], 1)
    }
}

impl Backend for Candle {
    type Tensor = Tensor;
    type Linear = Linear;
    type Norm = Norm;
    type Table = Tensor;
    type RelativeBias = RelativeBias;
    type Cache = Cache;
    type Sequence = Sequence;

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
        let mut weight = vec![0.0; view.outputs * view.inputs];
        let mut rows = view.rows();
        for (i, row) in weight.chunks_exact_mut(view.inputs.max(1)).enumerate() {
            rows.f32(i, row)?;
        }
        let weight = self.upload(weight, &[view.outputs, view.inputs])?;
        let weight = weight.t().and_then(|w| w.contiguous()).map_err(failed)?;
        Ok(Linear { weight, bias: self.upload(view.bias()?, &[view.outputs])? })
    }

    fn outputs(&self, linear: &Linear) -> usize {
        linear.weight.dims().get(1).copied().unwrap_or(0)
    }

    fn norm_load(&self, view: &NormView) -> Result<Norm> {
        let (weight, bias) = (view.weight()?, view.bias()?);
        let width = weight.len();
        let bias = if bias.is_empty() { None } else { Some(self.upload(bias, &[width])?) };
        Ok(Norm { rms: view.rms, weight: self.upload(weight, &[width])?, bias, eps: f64::from(view.eps) })
    }

    fn table_load(&self, view: &TensorView) -> Result<Tensor> {
        let (rows, width) = (view.rows(), view.cols());
        let mut values = vec![0.0; rows * width];
        for (i, row) in values.chunks_exact_mut(width.max(1)).enumerate() {
            view.read_row_f32(i, row)?;
        }
        self.upload(values, &[rows, width])
    }

    fn table_from(&self, values: Vec<f32>, width: usize) -> Result<Tensor> {
        let rows = values.len() / width.max(1);
        self.upload(values, &[rows, width])
    }

    fn table_of(&self, linear: &Arc<Linear>) -> Result<Tensor> {
        linear.weight.t().and_then(|w| w.contiguous()).map_err(failed)
    }

    fn relative_bias_load(&self, by_distance: Vec<Vec<f32>>) -> Result<RelativeBias> {
        let (heads, distances) = (by_distance.len(), by_distance.first().map_or(0, Vec::len));
        let by_distance = self.upload(by_distance.concat(), &[heads, distances])?;
        Ok(RelativeBias { by_distance, centre: distances / 2 })
    }

    fn embed(&self, sources: &[(&Tensor, &[u32], f32)]) -> Result<Tensor> {
        let mut sum: Option<Tensor> = None;
        for (table, ids, factor) in sources {
            let ids = self.upload(ids.to_vec(), &[ids.len()])?;
            let rows = table.index_select(&ids, 0).and_then(|rows| rows * f64::from(*factor)).map_err(failed)?;
            sum = Some(match sum {
                Some(sum) => (sum + rows).map_err(failed)?,
                None => rows,
            });
        }
        sum.ok_or_else(|| Error::internal("embedding without a table"))
    }

    fn norm(&self, x: Tensor, norm: &Norm) -> Result<Tensor> {
        norm.apply(&x).map_err(failed)
    }

    fn project(&self, x: &Tensor, norm: Option<&Norm>, w: &Linear, activation: Activation) -> Result<Tensor> {
        w.project(x, norm, activation).map_err(failed)
    }

    fn project_add(&self, x: &Tensor, w: &Linear, residual: Tensor, ends: Ends<Norm>) -> Result<Tensor> {
        w.join(x, residual, ends).map_err(failed)
    }

    fn feed_forward(&self, x: Tensor, feed: &FeedForward<Self>) -> Result<Tensor> {
        let compute = || {
            let inner = if feed.gated {
                let halves = feed.up.project(&x, feed.norm, Activation::None)?.chunk(2, 1)?;
                (activate(&halves[0].contiguous()?, feed.activation)? * halves[1].contiguous()?)?
            } else {
                feed.up.project(&x, feed.norm, feed.activation)?
            };
            feed.down.join(&inner, x, feed.ends)
        };
        compute().map_err(failed)
    }

    fn rotate(
        &self,
        qkv: Tensor,
        heads: Heads,
        norms: Option<(&Norm, &Norm)>,
        rotation: Option<&Rotation>,
    ) -> Result<Tensor> {
        self.rotate_heads(&qkv, heads, norms, rotation).map_err(failed)
    }

    fn attend(&self, qkv: &Tensor, layout: &Layout, heads: Heads, scores: Scores<RelativeBias>) -> Result<Tensor> {
        let one = |sequence: usize| {
            let rows = qkv.i(layout.range(sequence))?;
            let part = |i: usize| split(&rows, i * heads.query_width(), heads.count, heads.dim);
            attention(&part(0)?, &part(1)?, &part(2)?, 0, scores)
        };
        let filled = (0..layout.sequences()).filter(|&i| !layout.range(i).is_empty());
        let rows = filled.map(one).collect::<candle_core::Result<Vec<_>>>().map_err(failed)?;
        self.stack(rows, heads.query_width())
    }

    fn rows(&self, x: &Tensor, rows: &[usize]) -> Result<Tensor> {
        let rows: Vec<u32> = rows.iter().map(|&row| row as u32).collect();
        let count = rows.len();
        x.index_select(&self.upload(rows, &[count])?, 0).map_err(failed)
    }

    fn read(&self, x: &Tensor, out: &mut Vec<f32>) -> Result<()> {
        out.extend(x.flatten_all().and_then(|x| x.to_vec1::<f32>()).map_err(failed)?);
        Ok(())
    }

    fn cache(&self, shape: CacheShape, budget: &Arc<Budget>) -> Cache {
        Cache::new(shape, budget)
    }

    fn sequence(&self, cache: &Cache) -> Sequence {
        cache.sequence()
    }

    fn store(&self, x: &Tensor, column: usize, slots: &mut [Slot<&mut Sequence>], layer: usize) -> Result<()> {
        for slot in slots.iter_mut().filter(|slot| !slot.rows.is_empty()) {
            let rows = x.i(slot.rows.clone()).map_err(failed)?;
            let shape = slot.sequence.shape();
            let part = |at: usize| split(&rows, at, shape.kv_heads, shape.head_dim);
            let (keys, values) = (part(column), part(column + shape.kv_heads * shape.head_dim));
            slot.sequence.store(layer, keys.map_err(failed)?, values.map_err(failed)?).map_err(failed)?;
        }
        Ok(())
    }

    fn attend_cached<S: Borrow<Sequence> + Sync>(
        &self,
        q: &Tensor,
        slots: &[Slot<S>],
        layer: usize,
        heads: Heads,
        scores: Scores<RelativeBias>,
    ) -> Result<Tensor> {
        let one = |slot: &Slot<S>| {
            let sequence = slot.sequence.borrow();
            let queries = split(&q.i(slot.rows.clone())?, 0, heads.count, heads.dim)?;
            let (keys, values) = sequence.read(layer)?;
            // Each head of keys, once for every head of queries that it serves.
            let spread = |x: Tensor| {
                let (kv, tokens, dim) = x.dims3()?;
                let x = x.unsqueeze(1)?.expand((kv, heads.group(), tokens, dim))?;
                x.reshape((heads.count, tokens, dim))
            };
            attention(&queries, &spread(keys)?, &spread(values)?, sequence.length(), scores)
        };
        let rows = slots.iter().filter(|slot| !slot.rows.is_empty()).map(one);
        self.stack(rows.collect::<candle_core::Result<Vec<_>>>().map_err(failed)?, heads.query_width())
    }

    fn log_sum_exp(&self, row: &[f32]) -> f32 {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if largest == f32::NEG_INFINITY {
            return largest;
        }
        largest + row.iter().map(|x| (x - largest).exp()).sum::<f32>().ln()
    }
}
