//! Kinglet's own engine: packed weights, fused kernels, a thread pool, and scratch memory that is used again.
//!
//! Each operation cuts its work into tasks by rows and by blocks of output channels. The cut depends on the batch and the thread
//! count; the numbers do not, because every output element is computed whole within one task, in a fixed order.

mod attention;
mod cache;
mod scratch;
pub(crate) mod weights;

use std::sync::Arc;

use crate::batching::Layout;
use crate::error::Result;
use crate::formats::safetensors::TensorView;
use crate::kernels::{Activation, Epilogue, Kernel, Out, RowScale, Rows};
use crate::memory::Budget;
use crate::threads::Pool;
use crate::transformer::spec::Heads;

use super::{Backend, CacheShape, LinearView, NormView, Precision, Rotation, Scores, Slot};
use cache::{Cache, Sequence};
use scratch::{Buffer, Scratch};
use weights::{Linear, Table, Values, Weight};

/// Rows of a product that are one task: a multiple of every kernel's register tile, and few enough to stay in the cache.
const ROW_CHUNK: usize = 96;

/// Rows of an element-wise operation that are one task.
const NORM_CHUNK: usize = 32;

pub struct Cpu {
    kernel: &'static dyn Kernel,
    precision: Precision,
    pool: Arc<Pool>,
    scratch: Scratch,
}

impl Cpu {
    /// `precision` is never `Auto` here: what it stands for depends on the checkpoint and is settled by the caller.
    pub fn new(kernel: &'static dyn Kernel, precision: Precision, pool: Arc<Pool>) -> Self {
        Self { kernel, precision, pool, scratch: Scratch::default() }
    }

    fn tensor(&self, rows: usize, width: usize) -> Tensor {
        Tensor { buffer: self.scratch.take(rows * width), rows, width }
    }

    /// `activation(x·Wᵀ + b)` into a new tensor, or added to `residual`, which then is the result.
    fn product(&self, x: &Tensor, w: &Linear, activation: Activation, residual: Option<Tensor>) -> Tensor {
        let adds = residual.is_some();
        let mut result = residual.unwrap_or_else(|| self.tensor(x.rows, w.weight.outputs()));
        let out = Shared(result.buffer.floats_mut().as_mut_ptr());
        let (rows, width) = (x.rows, result.width);
        let input = x.buffer.floats();
        let inputs = x.width;

        let quantised = match &w.weight {
            Weight::Int8(weight) => Some(self.quantise(input, rows, inputs, weight.padded_inputs())),
            _ => None,
        };
        let cut = Cut::new(rows, w.weight.blocks(), self.pool.threads());
        self.pool.run(cut.tasks(), |task| {
            let (first, count, blocks) = cut.task(task);
            // SAFETY: `first` is below `rows`, so the pointer stays inside the result.
            let out = Out { data: unsafe { out.at(first * width) }, stride: width };
            let residual = adds.then_some((out.data.cast_const(), width));
            let e = Epilogue { bias: Some(&w.bias), activation, residual };
            let floats = Rows { data: input[first * inputs..].as_ptr(), stride: inputs, rows: count };
            // SAFETY: the rows are `inputs` long (for 8 bits: `padded_inputs`) and exist; tasks write disjoint tiles of the
            // result, and read of it, as the residual, only their own tile.
            unsafe {
                match (&w.weight, &quantised) {
                    (Weight::Int8(weight), Some(q)) => {
                        let k = weight.padded_inputs();
                        let a = Rows { data: q.bytes.bytes()[first * k..].as_ptr(), stride: k, rows: count };
                        self.kernel.linear_i8(a, &q.scales[first..first + count], weight, blocks, out, &e);
                    }
                    (Weight::F32(weight), _) => self.kernel.linear_f32(floats, weight, blocks, out, &e),
                    (Weight::F16(weight), _) => self.kernel.linear_f16(floats, weight, blocks, out, &e),
                    (Weight::Int8(_), None) => unreachable!("8-bit products quantise their input above"),
                }
            }
        });
        result
    }

    fn quantise(&self, input: &[f32], rows: usize, inputs: usize, padded: usize) -> Quantised {
        let mut bytes = self.scratch.take((rows * padded).div_ceil(size_of::<f32>()));
        let mut scales = vec![RowScale::default(); rows];
        let out = Shared(bytes.bytes_mut().as_mut_ptr());
        let out_scales = Shared(scales.as_mut_ptr());
        self.pool.run(rows.div_ceil(NORM_CHUNK), |task| {
            for row in task * NORM_CHUNK..rows.min((task + 1) * NORM_CHUNK) {
                let x = &input[row * inputs..][..inputs];
                // SAFETY: rows are disjoint and inside the buffer; each is one task's.
                let q = unsafe { std::slice::from_raw_parts_mut(out.at(row * padded), padded) };
                let scale = self.kernel.quantize_row(x, q);
                // SAFETY: as above, one element a row.
                unsafe { out_scales.at(row).write(scale) };
            }
        });
        Quantised { bytes, scales }
    }

    /// Runs `work` on each row, rows split over threads.
    fn each_row(&self, x: &mut Tensor, work: impl Fn(usize, &mut [f32]) + Sync) {
        let (rows, width) = (x.rows, x.width);
        let data = Shared(x.buffer.floats_mut().as_mut_ptr());
        self.pool.run(rows.div_ceil(NORM_CHUNK), |task| {
            for row in task * NORM_CHUNK..rows.min((task + 1) * NORM_CHUNK) {
                // SAFETY: rows are disjoint and inside the buffer; each is one task's.
                work(row, unsafe { std::slice::from_raw_parts_mut(data.at(row * width), width) });
            }
        });
    }
}

struct Quantised {
    bytes: Buffer,
    scales: Vec<RowScale>,
}

/// An activation in scratch memory.
pub struct Tensor {
    buffer: Buffer,
    rows: usize,
    width: usize,
}

pub struct Norm {
    rms: bool,
    weight: Vec<f32>,
    /// As many zeros where the norm has none.
    bias: Vec<f32>,
    eps: f32,
}

impl Norm {
    fn apply(&self, kernel: &dyn Kernel, row: &mut [f32]) {
        if self.rms {
            kernel.rms_norm(row, &self.weight, self.eps);
        } else {
            kernel.layer_norm(row, &self.weight, &self.bias, self.eps);
        }
    }
}

/// `rows[head][key - query + centre]`.
pub struct RelativeBias {
    rows: Vec<Vec<f32>>,
    centre: usize,
}

/// A pointer that tasks on several threads write through, each to its own part.
struct Shared<T>(*mut T);

impl<T> Shared<T> {
    /// # Safety
    /// `offset` lies within the allocation.
    unsafe fn at(&self, offset: usize) -> *mut T {
        // SAFETY: the caller's promise.
        unsafe { self.0.add(offset) }
    }
}

// SAFETY: sharing the pointer is harmless; every use through it states why its part is its own.
unsafe impl<T: Send> Sync for Shared<T> {}

/// How a product's output is cut into tasks: chunks of rows, and where those are too few for the threads, groups of blocks.
struct Cut {
    rows: usize,
    blocks: usize,
    groups: usize,
}

impl Cut {
    fn new(rows: usize, blocks: usize, threads: usize) -> Self {
        let chunks = rows.div_ceil(ROW_CHUNK).max(1);
        // Four tasks a thread even out the ends; a group keeps at least two blocks, the width of a register tile.
        let wanted = if threads == 1 { 1 } else { (4 * threads).div_ceil(chunks) };
        Self { rows, blocks, groups: wanted.min(blocks.div_ceil(2)).max(1) }
    }

    fn tasks(&self) -> usize {
        self.rows.div_ceil(ROW_CHUNK) * self.groups
    }

    /// First row, rows, blocks.
    fn task(&self, task: usize) -> (usize, usize, std::ops::Range<usize>) {
        let (chunk, group) = (task / self.groups, task % self.groups);
        let first = chunk * ROW_CHUNK;
        // Boundaries at even blocks, so that only the last tile can be narrow.
        let pairs = self.blocks.div_ceil(2);
        let bound = |group: usize| (2 * (group * pairs / self.groups)).min(self.blocks);
        (first, ROW_CHUNK.min(self.rows - first), bound(group)..bound(group + 1))
    }
}

impl Backend for Cpu {
    type Tensor = Tensor;
    type Linear = Linear;
    type Norm = Norm;
    type Table = Table;
    type RelativeBias = RelativeBias;
    type Cache = Cache;
    type Sequence = Sequence;

    fn describe(&self) -> String {
        self.kernel.name().to_string()
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    fn linear_bytes(&self, outputs: usize, inputs: usize) -> usize {
        weights::linear_bytes(self.precision, outputs, inputs)
    }

    fn table_bytes(&self, rows: usize, width: usize) -> usize {
        weights::table_bytes(self.precision, rows, width)
    }

    fn linear_load(&self, view: &LinearView) -> Result<Linear> {
        weights::linear_load(self.precision, view)
    }

    fn norm_load(&self, view: &NormView) -> Result<Norm> {
        let weight = view.weight()?;
        let mut bias = view.bias()?;
        bias.resize(weight.len(), 0.0);
        Ok(Norm { rms: view.rms, weight, bias, eps: view.eps })
    }

    fn table_load(&self, view: &TensorView) -> Result<Table> {
        weights::table_load(self.precision, view)
    }

    fn table_from(&self, values: Vec<f32>, width: usize) -> Result<Table> {
        Ok(Table::from_values(values, width))
    }

    fn table_of(&self, linear: &Arc<Linear>) -> Result<Table> {
        Ok(Table { width: linear.weight.inputs(), values: Values::Layer(linear.clone()) })
    }

    fn relative_bias_load(&self, by_distance: Vec<Vec<f32>>) -> Result<RelativeBias> {
        let centre = by_distance.first().map_or(0, |row| row.len() / 2);
        Ok(RelativeBias { rows: by_distance, centre })
    }

    fn embed(&self, sources: &[(&Table, &[u32], f32)]) -> Result<Tensor> {
        let (rows, width) = sources.first().map_or((0, 0), |(table, ids, _)| (ids.len(), table.width));
        let mut x = self.tensor(rows, width);
        self.each_row(&mut x, |row, x| {
            x.fill(0.0);
            for (table, ids, factor) in sources {
                let id = ids[row] as usize;
                let at = id * width..(id + 1) * width;
                match &table.values {
                    Values::F32(values) => self.kernel.add_f32(x, &values[at]),
                    Values::F16(values) => self.kernel.add_f16(x, &values[at]),
                    Values::Int8(values, scales) => self.kernel.add_i8(x, &values[at], scales[id]),
                    Values::Layer(linear) => linear.weight.add_row(id, x),
                }
                // Where there is a factor, the word's row comes first.
                if *factor != 1.0 {
                    x.iter_mut().for_each(|x| *x *= factor);
                }
            }
        });
        Ok(x)
    }

    fn norm(&self, mut x: Tensor, norm: &Norm) -> Result<Tensor> {
        self.each_row(&mut x, |_, row| norm.apply(self.kernel, row));
        Ok(x)
    }

    fn normed(&self, x: &Tensor, norm: &Norm) -> Result<Tensor> {
        let mut result = self.tensor(x.rows, x.width);
        let from = x.buffer.floats();
        self.each_row(&mut result, |i, row| {
            row.copy_from_slice(&from[i * row.len()..][..row.len()]);
            norm.apply(self.kernel, row);
        });
        Ok(result)
    }

    fn add(&self, mut x: Tensor, y: &Tensor) -> Result<Tensor> {
        let from = y.buffer.floats();
        self.each_row(&mut x, |i, row| self.kernel.add_f32(row, &from[i * row.len()..][..row.len()]));
        Ok(x)
    }

    fn project(&self, x: &Tensor, w: &Linear, activation: Activation) -> Result<Tensor> {
        Ok(self.product(x, w, activation, None))
    }

    fn project_add(&self, x: &Tensor, w: &Linear, residual: Tensor) -> Result<Tensor> {
        Ok(self.product(x, w, Activation::None, Some(residual)))
    }

    fn gate(&self, x: Tensor, activation: Activation) -> Result<Tensor> {
        let inner = x.width / 2;
        let mut result = self.tensor(x.rows, inner);
        let from = x.buffer.floats();
        self.each_row(&mut result, |i, row| {
            let (gate, up) = from[i * 2 * inner..][..2 * inner].split_at(inner);
            self.kernel.gate(gate, up, activation, row);
        });
        Ok(result)
    }

    fn rotate(
        &self,
        qkv: Tensor,
        heads: Heads,
        norms: Option<(&Norm, &Norm)>,
        rotation: Option<&Rotation>,
    ) -> Result<Tensor> {
        Ok(self.rotate_heads(qkv, heads, norms, rotation))
    }

    fn attend(&self, qkv: &Tensor, layout: &Layout, heads: Heads, scores: Scores<RelativeBias>) -> Result<Tensor> {
        Ok(self.attend_packed(qkv, layout, heads, scores))
    }

    fn rows(&self, x: &Tensor, rows: &[usize]) -> Result<Tensor> {
        let mut result = self.tensor(rows.len(), x.width);
        for (row, &from) in result.buffer.floats_mut().chunks_exact_mut(x.width).zip(rows) {
            row.copy_from_slice(&x.buffer.floats()[from * x.width..][..x.width]);
        }
        Ok(result)
    }

    fn read(&self, x: &Tensor) -> Result<Vec<f32>> {
        Ok(x.buffer.floats().to_vec())
    }

    fn cache(&self, shape: CacheShape, budget: &Arc<Budget>) -> Cache {
        Cache::new(shape, budget)
    }

    fn sequence(&self, cache: &Cache) -> Sequence {
        cache.sequence()
    }

    fn store(&self, x: &Tensor, column: usize, slots: &mut [Slot<&mut Sequence>], layer: usize) -> Result<()> {
        self.store_rows(x, column, slots, layer);
        Ok(())
    }

    fn attend_cached(
        &self,
        q: &Tensor,
        slots: &[Slot<&Sequence>],
        layer: usize,
        heads: Heads,
        scores: Scores<RelativeBias>,
    ) -> Result<Tensor> {
        Ok(self.attend_slots(q, slots, layer, heads, scores))
    }

    fn log_sum_exp(&self, row: &[f32]) -> f32 {
        self.kernel.log_sum_exp(row)
    }
}
