//! The backend over candle-core: NVIDIA and Apple GPUs, and candle's CPU device, whose f32 is a reference for the CPU engine.

mod attention;
mod cache;
#[cfg(feature = "cuda")]
mod cuda;
mod devices;
mod metal;
mod pass;
mod weights;

use std::sync::Arc;
use std::time::Instant;

use candle_core::{DType, Shape, Tensor, WithDType};
use half::{bf16, f16};

use crate::base::counters::Transfers;
use crate::base::error::{Error, Result};
use crate::base::memory::Budget;
use crate::formats::safetensors::TensorView;
use crate::spec::{Activation, Device, Heads, Layout, Pooling, Precision};

use super::{
    AttentionInput, Backend, CacheShape, DistanceTensors, Ends, FeedForward, LinearView, LogitRows, NormView,
    PASS_TOKENS, PassInput, Projection, Role, pooling,
};
use attention::{Distances, Plans, RelativeBias};
use cache::{Cache, Sequence};
use pass::Pass;
use weights::{Linear, Norm, dense_type};

/// The target number of tokens of a pass on a GPU: enough to keep it busy.
const DEVICE_PASS_TOKENS: usize = 4096;

pub use devices::devices;

/// Whether this build supports a kind of device.
pub fn runs_on(kind: Device) -> bool {
    match kind {
        Device::Cpu => false,
        Device::CandleCpu => true,
        Device::Cuda => cfg!(feature = "cuda"),
        Device::Metal => cfg!(feature = "metal"),
    }
}

pub struct Candle {
    kind: Device,
    index: usize,
    device: candle_core::Device,
    precision: Precision,
    plans: Plans,
    transfers: Transfers,
}

/// The inputs were checked before, so candle's errors are defects or failures of the device.
fn failed(error: candle_core::Error) -> Error {
    Error::internal(format!("candle: {error}"))
}

impl Candle {
    /// Opens the device of this kind and index.
    ///
    /// # Errors
    /// There is no such device; the message lists the available ones.
    pub fn open(kind: Device, index: usize, precision: Precision) -> Result<Self> {
        let device = devices::open(kind, index)?;
        Ok(Self { kind, index, device, precision, plans: Plans::default(), transfers: Transfers::default() })
    }

    /// Values copied to the device, counted as a transfer.
    fn carry<T: WithDType>(&self, values: Vec<T>, shape: impl Into<Shape>) -> candle_core::Result<Tensor> {
        let start = Instant::now();
        let bytes = size_of_val(&values[..]);
        let tensor = Tensor::from_vec(values, shape, &self.device)?;
        self.transfers.add(bytes, start.elapsed());
        Ok(tensor)
    }

    fn upload<T: WithDType>(&self, values: Vec<T>, shape: &[usize]) -> Result<Tensor> {
        self.carry(values, shape).map_err(failed)
    }

    /// Copies the values, row by row, as f32 to host memory. It waits for the device.
    fn download(&self, x: &Tensor) -> Result<Vec<f32>> {
        let start = Instant::now();
        let read = || {
            let x = x.flatten_all()?;
            // 16-bit values are widened on the host: fewer bytes to copy.
            Ok(match x.dtype() {
                DType::F16 => x.to_vec1::<f16>()?.into_iter().map(f32::from).collect(),
                DType::BF16 => x.to_vec1::<bf16>()?.into_iter().map(f32::from).collect(),
                _ => x.to_dtype(DType::F32)?.to_vec1::<f32>()?,
            })
        };
        let values: Vec<f32> = read().map_err(failed)?;
        self.transfers.add(x.elem_count() * x.dtype().size_in_bytes(), start.elapsed());
        Ok(values)
    }

    fn linear(&self, view: &LinearView, precision: Precision) -> Result<Linear> {
        let mut weight = vec![0.0; view.outputs * view.inputs];
        let mut rows = view.rows();
        for (i, row) in weight.chunks_exact_mut(view.inputs.max(1)).enumerate() {
            rows.f32(i, row)?;
        }
        let bias = view.bias()?;
        let width = bias.len();
        let (weight, bias) = (self.upload(weight, &[view.outputs, view.inputs])?, self.upload(bias, &[width])?);
        Linear::new(&weight, &bias, precision).map_err(failed)
    }

    fn best_tokens(
        &self,
        x: &Tensor,
        head: &Projection<Self>,
        forbidden: &[u32],
        out: &mut Vec<Option<u32>>,
    ) -> Result<()> {
        if x.dim(0).map_err(failed)? == 0 {
            return Ok(());
        }
        let mut mask = Vec::new();
        if !forbidden.is_empty() {
            mask.resize(head.weight.weight.outputs(), 0.0);
            forbidden.iter().for_each(|&i| mask[i as usize] = f32::NEG_INFINITY);
        }
        let compute = || {
            let mut y = head.weight.project(x, head.norm, Activation::None)?.to_dtype(DType::F32)?;
            if head.softcap > 0.0 {
                let cap = f64::from(head.softcap);
                y = ((y / cap)?.tanh()? * cap)?;
            }
            if !mask.is_empty() {
                let width = mask.len();
                y = y.broadcast_add(&self.carry(mask, width)?)?;
            }
            // Token ids are exact in f32 up to 2^24, so one transfer copies both.
            let found = y.argmax_keepdim(1)?.to_dtype(DType::F32)?;
            Tensor::cat(&[found, y.max_keepdim(1)?], 1)
        };
        let values = self.download(&compute().map_err(failed)?)?;
        out.extend(values.chunks_exact(2).map(|row| (row[1] > f32::NEG_INFINITY).then_some(row[0] as u32)));
        Ok(())
    }

    fn zeros(&self, rows: usize, width: usize) -> Result<Tensor> {
        Tensor::zeros((rows, width), DType::F32, &self.device).map_err(failed)
    }
}

impl Backend for Candle {
    type Tensor = Tensor;
    type Linear = Linear;
    type Norm = Norm;
    /// A tensor in the number type of tables.
    type Table = Tensor;
    type RelativeBias = RelativeBias;
    type Distances = Distances;
    type Cache = Cache;
    type Sequence = Sequence;
    type Pass<'a> = Pass<'a>;

    fn name(&self) -> &'static str {
        "candle"
    }

    fn describe(&self) -> String {
        match self.kind {
            Device::CandleCpu => format!("candle-cpu {}", self.precision.name()),
            kind => format!("candle {} {}, {}", kind.name(), self.index, self.precision.name()),
        }
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    fn pass_tokens(&self) -> usize {
        if self.device.is_cpu() { PASS_TOKENS } else { DEVICE_PASS_TOKENS }
    }

    fn transfers(&self) -> Option<&Transfers> {
        Some(&self.transfers)
    }

    fn linear_bytes(&self, role: Role, outputs: usize, inputs: usize) -> usize {
        weights::linear_bytes(role.precision(self.precision), outputs, inputs)
    }

    fn table_bytes(&self, rows: usize, width: usize) -> usize {
        rows.saturating_mul(width).saturating_mul(dense_type(self.precision).size_in_bytes())
    }

    fn linear_load(&self, role: Role, view: &LinearView) -> Result<Linear> {
        self.linear(view, role.precision(self.precision))
    }

    fn norm_load(&self, view: &NormView) -> Result<Norm> {
        let (weight, bias) = (view.weight()?, view.bias()?);
        let width = weight.len();
        let bias = self.upload(if bias.is_empty() { vec![0.0; width] } else { bias }, &[width])?;
        Ok(Norm { rms: view.rms, weight: self.upload(weight, &[width])?, bias, eps: view.eps })
    }

    fn table_load(&self, view: &TensorView) -> Result<Tensor> {
        let (rows, width) = (view.rows(), view.cols());
        let mut values = vec![0.0; rows * width];
        for (i, row) in values.chunks_exact_mut(width.max(1)).enumerate() {
            view.read_row_f32(i, row)?;
        }
        self.upload(values, &[rows, width])?.to_dtype(dense_type(self.precision)).map_err(failed)
    }

    fn table_from(&self, values: Vec<f32>, width: usize) -> Result<Tensor> {
        let rows = values.len() / width.max(1);
        self.upload(values, &[rows, width])?.to_dtype(dense_type(self.precision)).map_err(failed)
    }

    fn tables_are_exact(&self) -> bool {
        !matches!(self.precision, Precision::Int8 | Precision::Int4)
    }

    fn table_of(&self, linear: &Arc<Linear>) -> Result<Tensor> {
        linear.weight.rows().map_err(failed)
    }

    fn relative_bias_load(&self, by_distance: Vec<Vec<f32>>) -> Result<RelativeBias> {
        let (heads, distances) = (by_distance.len(), by_distance.first().map_or(0, Vec::len));
        let by_distance = self.upload(by_distance.concat(), &[heads, distances])?;
        Ok(RelativeBias { by_distance, centre: distances / 2 })
    }

    fn distances_load(&self, heads: Heads, vectors: DistanceTensors<Tensor>) -> Result<Distances> {
        Distances::new(heads, &vectors).map_err(failed)
    }

    fn embed(&self, sources: &[(&Tensor, &[u32], f32)]) -> Result<Tensor> {
        let mut sum: Option<Tensor> = None;
        for (table, ids, factor) in sources {
            let ids = self.upload(ids.to_vec(), &[ids.len()])?;
            let rows = table.index_select(&ids, 0).and_then(|rows| rows.to_dtype(DType::F32)).map_err(failed)?;
            let rows = if *factor == 1.0 { rows } else { (rows * f64::from(*factor)).map_err(failed)? };
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

    fn project_embeddings(&self, x: &Tensor, w: &Linear) -> Result<Tensor> {
        let project = || w.project(x, None, Activation::None)?.to_dtype(DType::F32);
        project().map_err(failed)
    }

    fn project_add(&self, x: &Tensor, w: &Linear, residual: Tensor, ends: Ends<Norm>) -> Result<Tensor> {
        w.join(x, residual, ends).map_err(failed)
    }

    fn feed_forward(&self, x: Tensor, feed: &FeedForward<Self>) -> Result<Tensor> {
        let compute = || feed.down.join(&weights::inner(&x, feed)?, x, feed.ends);
        compute().map_err(failed)
    }

    fn expert(&self, x: &Tensor, feed: &FeedForward<Self>) -> Result<Tensor> {
        let compute = || feed.down.project(&weights::inner(x, feed)?, None, Activation::None)?.to_dtype(DType::F32);
        compute().map_err(failed)
    }

    fn add_rows(&self, x: Tensor, y: &Tensor, rows: &[usize], factors: &[f32]) -> Result<Tensor> {
        let rows: Vec<u32> = rows.iter().map(|&row| row as u32).collect();
        let count = rows.len();
        let rows = self.upload(rows, &[count])?;
        let factors = self.upload(factors.to_vec(), &[count, 1])?;
        y.broadcast_mul(&factors).and_then(|y| x.index_add(&rows, &y, 0)).map_err(failed)
    }

    fn begin<'a>(&self, input: PassInput<'a, Self>) -> Result<Pass<'a>> {
        Pass::new(self, input).map_err(failed)
    }

    fn attention(&self, pass: &Pass, layer: usize, input: AttentionInput<Self>) -> Result<Tensor> {
        pass.attend(layer, input).map_err(failed)
    }

    fn store(&self, pass: &Pass, layer: usize, key_value: Tensor) -> Result<()> {
        pass.store(&key_value, 0, layer).map_err(failed)
    }

    fn tensor_from(&self, values: Vec<f32>, width: usize) -> Result<Tensor> {
        let rows = values.len() / width.max(1);
        self.upload(values, &[rows, width])
    }

    fn rows(&self, x: &Tensor, rows: &[usize]) -> Result<Tensor> {
        let rows: Vec<u32> = rows.iter().map(|&row| row as u32).collect();
        let count = rows.len();
        x.index_select(&self.upload(rows, &[count])?, 0).map_err(failed)
    }

    fn read(&self, x: &Tensor, out: &mut Vec<f32>) -> Result<()> {
        out.extend(self.download(x)?);
        Ok(())
    }

    fn cache(&self, shape: CacheShape, budget: &Arc<Budget>) -> Cache {
        Cache::new(shape, dense_type(self.precision), &self.device, budget)
    }

    fn sequence(&self, cache: &Cache) -> Sequence {
        cache.sequence()
    }

    fn logits(&self, x: &Tensor, head: &Projection<Self>, out: LogitRows) -> Result<()> {
        match out {
            LogitRows::Logits(out) => head.read(self, x, out)?,
            LogitRows::Tokens(forbidden, out) => self.best_tokens(x, head, forbidden, out)?,
            LogitRows::TopK(forbidden, out) => {
                let mut values = Vec::new();
                head.read(self, x, &mut values)?;
                out.add(&mut values, head.weight.weight.outputs(), forbidden);
            }
        }
        Ok(())
    }

    fn pool(&self, x: &Tensor, layout: &Layout, width: usize, poolings: &[Pooling], skip: usize) -> Result<Vec<f32>> {
        let ranges = || (0..layout.sequences()).map(|i| layout.range(i));
        // A sequence without tokens has no row to take.
        let whole = skip == 0 && ranges().all(|rows| !rows.is_empty());
        let one = |of: fn(std::ops::Range<usize>) -> usize| ranges().map(of).collect::<Vec<_>>();
        match poolings {
            [Pooling::None] => self.download(x),
            [Pooling::Cls] if whole => self.download(&self.rows(x, &one(|rows| rows.start))?),
            [Pooling::Last] if whole => self.download(&self.rows(x, &one(|rows| rows.end - 1))?),
            [Pooling::Mean] if whole => {
                let owner = ranges().enumerate().flat_map(|(i, rows)| rows.map(move |_| i as u32)).collect();
                let counts = ranges().map(|rows| rows.len() as f32).collect();
                let owner = self.upload::<u32>(owner, &[layout.tokens()])?;
                let counts = self.upload::<f32>(counts, &[layout.sequences(), 1])?;
                let sums = self.zeros(layout.sequences(), width)?.index_add(&owner, x, 0);
                self.download(&sums.and_then(|sums| sums.broadcast_div(&counts)).map_err(failed)?)
            }
            _ => Ok(pooling::pool(self.download(x)?, layout.starts(), width, poolings, skip)),
        }
    }
}
