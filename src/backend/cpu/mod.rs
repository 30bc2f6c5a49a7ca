//! The CPU engine: packed weights, fused kernels, a thread pool and reused scratch memory.
//!
//! Operations are split into tasks by rows and by blocks of output channels. The split depends on the batch and the number of threads; the
//! results do not, because each output element is computed within one task in a fixed order.

mod attention;
mod cache;
mod distances;
mod head;
mod linear;
pub(crate) mod observe;
mod scratch;
pub(crate) mod weights;

use std::sync::Arc;

use crate::base::error::Result;
use crate::base::memory::Budget;
use crate::base::threads::Pool;
use crate::formats::safetensors::TensorView;
use crate::kernels::{CacheType, Kernel};
use crate::spec::{Activation, Heads, Precision};

use super::{
    AttentionInput, Backend, CacheShape, DistanceTensors, Ends, FeedForward, LinearView, LogitRows, NormView,
    PassInput, Projection, Role,
};
use attention::Pass;
use cache::{Cache, Sequence};
use distances::Distances;
use observe::Observer;
use scratch::{Buffer, Scratch};
use weights::{Linear, Table, TableValues};

/// The target number of tokens if each thread runs its own passes: queries, keys and values stay in one core's cache.
const THREAD_PASS_TOKENS: usize = 256;

/// Rows per task of an element-wise operation.
const NORM_CHUNK: usize = 32;

pub struct Cpu {
    kernel: &'static dyn Kernel,
    precision: Precision,
    pool: Arc<Pool>,
    scratch: Scratch,
    /// Memory for the lists of passes. Separate from `scratch`: a short list that lives as long as a pass would occupy the memory of an
    /// activation.
    lists: Scratch,
    /// Sees the inputs of linear layers.
    observer: Option<Arc<Observer>>,
}

impl Cpu {
    /// `precision` is not `Auto`.
    pub fn new(kernel: &'static dyn Kernel, precision: Precision, pool: Arc<Pool>) -> Self {
        Self { kernel, precision, pool, scratch: Scratch::default(), lists: Scratch::default(), observer: None }
    }

    /// Shows the inputs of linear layers to an observer.
    pub fn observed_by(self, observer: Option<Arc<Observer>>) -> Self {
        Self { observer, ..self }
    }

    fn tensor(&self, rows: usize, width: usize) -> Tensor {
        Tensor { buffer: self.scratch.take(rows * width), rows, width }
    }

    /// Runs `work` on each row on all threads.
    fn each_row(&self, x: &mut Tensor, work: impl Fn(usize, &mut [f32]) + Sync) {
        let (rows, width) = (x.rows, x.width);
        let data = SharedPointer(x.buffer.floats_mut().as_mut_ptr());
        self.pool.run(rows.div_ceil(NORM_CHUNK), |task| {
            for row in task * NORM_CHUNK..rows.min((task + 1) * NORM_CHUNK) {
                // SAFETY: rows are disjoint and inside the buffer; each is one task's.
                work(row, unsafe { std::slice::from_raw_parts_mut(data.at(row * width), width) });
            }
        });
    }
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
    /// Zeros if the norm has none.
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

/// A pointer that several threads write through, each to its own part.
struct SharedPointer<T>(*mut T);

impl<T> SharedPointer<T> {
    /// # Safety
    /// `offset` is within the allocation.
    unsafe fn at(&self, offset: usize) -> *mut T {
        // SAFETY: the caller's promise.
        unsafe { self.0.add(offset) }
    }
}

// SAFETY: sharing the pointer is harmless; each use states why its part is not shared.
unsafe impl<T: Send> Sync for SharedPointer<T> {}

impl Backend for Cpu {
    type Tensor = Tensor;
    type Linear = Linear;
    type Norm = Norm;
    type Table = Table;
    type RelativeBias = RelativeBias;
    type Distances = Distances;
    type Cache = Cache;
    type Sequence = Sequence;
    type Pass<'a> = Pass<'a>;
    const SURVIVES_FORK: bool = true;

    fn name(&self) -> &'static str {
        "kinglet"
    }

    fn thread_pass_tokens(&self) -> Option<usize> {
        Some(if self.kernel.has_tiles() { linear::TILE_ROW_CHUNK } else { THREAD_PASS_TOKENS })
    }

    fn describe(&self) -> String {
        self.kernel.name().to_string()
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    fn linear_bytes(&self, role: Role, outputs: usize, inputs: usize) -> usize {
        weights::linear_bytes(role.precision(self.precision), outputs, inputs)
    }

    fn table_bytes(&self, rows: usize, width: usize) -> usize {
        weights::table_bytes(self.precision, rows, width)
    }

    fn linear_load(&self, role: Role, view: &LinearView) -> Result<Linear> {
        let linear = weights::linear_load(role.precision(self.precision), view, self.pool.threads())?;
        if let Some(observer) = &self.observer {
            observer.register(&view.key, &linear.weight);
        }
        Ok(linear)
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

    fn tables_are_exact(&self) -> bool {
        weights::tables_are_exact(self.precision())
    }

    fn table_of(&self, linear: &Arc<Linear>) -> Result<Table> {
        Ok(Table { width: linear.weight.inputs(), values: TableValues::Layer(linear.clone()) })
    }

    fn relative_bias_load(&self, by_distance: Vec<Vec<f32>>) -> Result<RelativeBias> {
        let centre = by_distance.first().map_or(0, |row| row.len() / 2);
        Ok(RelativeBias { rows: by_distance, centre })
    }

    fn distances_load(&self, heads: Heads, vectors: DistanceTensors<Tensor>) -> Result<Distances> {
        Distances::new(heads, &vectors)
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
                    TableValues::F32(values) => self.kernel.add_f32(x, &values[at]),
                    TableValues::F16(values) => self.kernel.add_f16(x, &values[at]),
                    TableValues::Int8(values, scales) => self.kernel.add_i8(x, &values[at], scales[id]),
                    TableValues::Layer(linear) => {
                        linear.weight.add_row(id, x);
                        linear.transform.undo_weights(x);
                    }
                }
                // Only the first source, the word embeddings, can have a factor.
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

    fn project(&self, x: &Tensor, norm: Option<&Norm>, w: &Linear, activation: Activation) -> Result<Tensor> {
        Ok(self.product(x, norm, w, activation))
    }

    fn project_add(&self, x: &Tensor, w: &Linear, residual: Tensor, ends: Ends<Norm>) -> Result<Tensor> {
        Ok(self.product_joined(x, w, residual, ends))
    }

    fn feed_forward(&self, x: Tensor, feed: &FeedForward<Self>) -> Result<Tensor> {
        Ok(self.feed(x, feed))
    }

    fn expert(&self, x: &Tensor, feed: &FeedForward<Self>) -> Result<Tensor> {
        Ok(self.feed_apart(x, feed))
    }

    fn add_rows(&self, mut x: Tensor, y: &Tensor, rows: &[usize], factors: &[f32]) -> Result<Tensor> {
        let width = x.width;
        let floats = x.buffer.floats_mut();
        for ((&row, factor), y) in rows.iter().zip(factors).zip(y.buffer.floats().chunks_exact(width.max(1))) {
            let x = &mut floats[row * width..][..width];
            x.iter_mut().zip(y).for_each(|(x, y)| *x += factor * y);
        }
        Ok(x)
    }

    fn begin<'a>(&self, input: PassInput<'a, Self>) -> Result<Pass<'a>> {
        Ok(self.pass(input))
    }

    fn attention(&self, pass: &Pass, layer: usize, input: AttentionInput<Self>) -> Result<Tensor> {
        self.attend(pass, layer, input)
    }

    fn store(&self, pass: &Pass, layer: usize, mut key_value: Tensor) -> Result<()> {
        self.write(pass, layer, &mut key_value, 0, |_, _| {});
        Ok(())
    }

    fn tensor_from(&self, values: Vec<f32>, width: usize) -> Result<Tensor> {
        let mut x = self.tensor(values.len() / width.max(1), width);
        x.buffer.floats_mut().copy_from_slice(&values);
        Ok(x)
    }

    fn rows(&self, x: &Tensor, rows: &[usize]) -> Result<Tensor> {
        let mut result = self.tensor(rows.len(), x.width);
        for (row, &from) in result.buffer.floats_mut().chunks_exact_mut(x.width).zip(rows) {
            row.copy_from_slice(&x.buffer.floats()[from * x.width..][..x.width]);
        }
        Ok(result)
    }

    fn read(&self, x: &Tensor, out: &mut Vec<f32>) -> Result<()> {
        out.extend_from_slice(x.buffer.floats());
        Ok(())
    }

    fn cache(&self, shape: CacheShape, budget: &Arc<Budget>) -> Cache {
        // f32 models are a reference. In other precisions the weights are rounded more than f16 keys and values.
        let kind = if self.precision == Precision::F32 { CacheType::F32 } else { CacheType::F16 };
        Cache::new(shape, kind, budget)
    }

    fn sequence(&self, cache: &Cache) -> Sequence {
        cache.sequence()
    }

    fn logits(&self, x: &Tensor, head: &Projection<Self>, out: LogitRows) -> Result<()> {
        match out {
            LogitRows::Logits(out) => head.read(self, x, out)?,
            LogitRows::Tokens(forbidden, out) => self.best_tokens(x, head, forbidden, out),
            LogitRows::TopK(forbidden, out) => self.top_k(x, head, forbidden, out),
        }
        Ok(())
    }
}
