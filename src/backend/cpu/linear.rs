//! Linear layers of the CPU backend with fused operations: norm, rounding to the weight's number type, residual sum, post-norm; and the
//! whole feed-forward.
//!
//! Many rows are cut into chunks, and one thread runs a chunk through all steps, so that intermediate results stay in its core's cache.
//! Few rows are cut by output channels in each step, so that each thread reads its share of the weights.

use std::ops::Range;

use crate::backend::{Ends, FeedForward};
use crate::kernels::{BLOCK, Epilogue, Input, InputType, Out, Rows};
use crate::spec::Activation;

use super::scratch::Buffer;
use super::weights::Linear;
use super::{Cpu, NORM_CHUNK, Norm, SharedPointer, Tensor};

/// The maximum number of rows of a chunk. Each chunk reads all weights, which the faster products of tiles wait for sooner.
const ROW_CHUNK: usize = 96;
pub(super) const TILE_ROW_CHUNK: usize = 192;

/// The minimum number of rows per thread for cutting into chunks: each chunk reads all weights.
const MIN_ROWS: usize = 32;

/// The maximum size of a chunk's inner layer in a feed-forward without tiles, in bytes; it shares the L2 cache with weights.
pub(super) const INNER_BYTES: usize = 384 << 10;

/// The target number of blocks of channels of a gate that one thread computes at a time.
const GATE_BLOCKS: usize = 16;

/// The number of floats up to which one thread norms and rounds faster than several.
const SMALL: usize = 8 << 10;

/// Rows cut into chunks of nearly equal size; their number is a multiple of the threads.
#[derive(Clone, Copy)]
struct Chunks {
    rows: usize,
    count: usize,
}

impl Chunks {
    /// None if there are too few rows for the threads.
    fn new(rows: usize, max: usize, threads: usize) -> Option<Self> {
        let enough = threads == 1 || rows >= MIN_ROWS * threads;
        let count = rows.div_ceil(max.max(1)).next_multiple_of(threads).min(rows);
        enough.then_some(Self { rows, count })
    }

    fn range(self, chunk: usize) -> Range<usize> {
        chunk * self.rows / self.count..(chunk + 1) * self.rows / self.count
    }
}

/// Rows of an activation.
#[derive(Clone, Copy)]
pub(super) struct FloatRows<'a> {
    floats: &'a [f32],
    width: usize,
    /// The distance between rows.
    stride: usize,
}

impl<'a> FloatRows<'a> {
    pub(super) fn of(x: &'a Tensor) -> Self {
        Self { floats: x.buffer.floats(), width: x.width, stride: x.width }
    }

    fn rows(self) -> usize {
        self.floats.len().checked_div(self.stride).unwrap_or(0)
    }

    fn slice(self, rows: Range<usize>) -> Self {
        Self { floats: &self.floats[rows.start * self.stride..rows.end * self.stride], ..self }
    }

    fn row(self, row: usize) -> &'a [f32] {
        &self.floats[row * self.stride..][..self.width]
    }
}

/// Rows in the number type that a weight multiplies.
pub(super) enum RoundedRows<'a> {
    /// Unchanged.
    Floats(FloatRows<'a>),
    /// Normed, or converted to the type, or both.
    Converted(Buffer, InputType),
}

impl RoundedRows<'_> {
    /// The rows for the kernel, each with so many inputs.
    fn input(&self, rows: usize, inputs: usize) -> Input<'_> {
        match self {
            Self::Floats(x) => Input::F32(Rows { data: x.floats.as_ptr(), stride: x.stride, rows }),
            // SAFETY: `Cpu::operand` converted all rows into the buffer, which is borrowed as long as the input.
            Self::Converted(buffer, kind) => unsafe { kind.converted(buffer.floats().as_ptr().cast(), rows, inputs) },
        }
    }
}

impl Cpu {
    fn row_chunk(&self) -> usize {
        if self.kernel.has_tiles() { TILE_ROW_CHUNK } else { ROW_CHUNK }
    }

    /// Applies the norm, if any, and the layer's transform, and rounds rows to the number type that it multiplies. `shared` uses all
    /// threads.
    pub(super) fn operand<'a>(
        &self,
        x: FloatRows<'a>,
        norm: Option<&Norm>,
        w: &Linear,
        shared: bool,
    ) -> RoundedRows<'a> {
        let (rows, width) = (x.rows(), x.width);
        let (kind, transform) = (w.weight.format().input, &w.transform);
        if let Some(observer) = &self.observer {
            for row in 0..rows {
                let mut row = x.row(row).to_vec();
                norm.iter().for_each(|norm| norm.apply(self.kernel, &mut row));
                observer.record(&w.weight, &row);
            }
        }
        if kind == InputType::F32 && norm.is_none() && transform.is_none() {
            return RoundedRows::Floats(x);
        }
        let mut buffer = self.scratch.take(kind.bytes(rows, width).div_ceil(size_of::<f32>()));
        let memory = SharedPointer(buffer.floats_mut().as_mut_ptr());
        let round = |range: Range<usize>| {
            let mut normed = norm.map(|_| self.scratch.take(width));
            let mut transformed = (!transform.is_none()).then(|| self.scratch.take(width));
            for row in range {
                let mut from = x.row(row);
                if let (Some(norm), Some(normed)) = (norm, &mut normed) {
                    normed.floats_mut().copy_from_slice(from);
                    norm.apply(self.kernel, normed.floats_mut());
                    from = normed.floats();
                }
                if let Some(transformed) = &mut transformed {
                    transform.apply(self.kernel, from, transformed.floats_mut());
                    from = transformed.floats();
                }
                // SAFETY: the buffer has room for all rows and their scales, and each row is one task's.
                unsafe { kind.convert(self.kernel, from, memory.at(0).cast(), rows, row) };
            }
        };
        if shared && rows * width > SMALL {
            self.pool.run(rows.div_ceil(NORM_CHUNK), |task| {
                round(task * NORM_CHUNK..rows.min((task + 1) * NORM_CHUNK));
            });
        } else {
            round(0..rows);
        }
        RoundedRows::Converted(buffer, kind)
    }

    /// Multiplies rows with some blocks of a weight.
    ///
    /// # Safety
    /// `out`, and the residual in `e`, are valid for all rows of `x` and all channels of `blocks`, and nothing else accesses them.
    pub(super) unsafe fn multiply(
        &self,
        x: &RoundedRows,
        rows: usize,
        w: &Linear,
        blocks: Range<usize>,
        out: Out,
        e: &Epilogue,
    ) {
        let a = x.input(rows, w.weight.inputs());
        // SAFETY: the operand was made for this weight, so its rows have the type and length that the kernel reads; the rest is the
        // caller's promise.
        unsafe { self.kernel.linear(a, &w.weight, blocks, out, e) };
    }

    /// All blocks of a product, divided over the threads by channels.
    ///
    /// # Safety
    /// As `multiply`, for all channels.
    unsafe fn multiply_shared(&self, x: &RoundedRows, rows: usize, w: &Linear, out: Out, e: &Shareable) {
        let blocks = w.weight.blocks();
        let groups = self.groups(blocks);
        let data = SharedPointer(out.data);
        self.pool.run(groups, |group| {
            // SAFETY: offset 0 lies in every allocation.
            let out = Out { data: unsafe { data.at(0) }, stride: out.stride };
            // SAFETY: the caller's promise; tasks have different channels.
            unsafe { self.multiply(x, rows, w, part(blocks, 2, groups, group), out, &e.epilogue(&w.bias)) };
        });
    }

    /// The number of groups of blocks in a product of few rows: four per thread for load balance, each with at least two blocks, the
    /// width of a register tile.
    pub(super) fn groups(&self, blocks: usize) -> usize {
        let wanted = if self.pool.threads() == 1 { 1 } else { 4 * self.pool.threads() };
        wanted.min(blocks.div_ceil(2)).max(1)
    }

    /// `activation(norm(x)·Wᵀ + b)` into a new tensor.
    pub(super) fn product(&self, x: &Tensor, norm: Option<&Norm>, w: &Linear, activation: Activation) -> Tensor {
        let width = w.weight.outputs();
        let mut result = self.tensor(x.rows, width);
        let out = SharedPointer(result.buffer.floats_mut().as_mut_ptr());
        let e = Shareable { activation, residual: None };
        if let Some(chunks) = Chunks::new(x.rows, self.row_chunk(), self.pool.threads()) {
            self.pool.run(chunks.count, |chunk| {
                let range = chunks.range(chunk);
                let operand = self.operand(FloatRows::of(x).slice(range.clone()), norm, w, false);
                // SAFETY: the chunk's rows lie inside the result, and are this task's.
                unsafe {
                    let out = Out { data: out.at(range.start * width), stride: width };
                    self.multiply(&operand, range.len(), w, 0..w.weight.blocks(), out, &e.epilogue(&w.bias));
                }
            });
        } else {
            let operand = self.operand(FloatRows::of(x), norm, w, true);
            // SAFETY: the result has room for all rows and channels.
            unsafe {
                let out = Out { data: out.at(0), stride: width };
                self.multiply_shared(&operand, x.rows, w, out, &e);
            }
        }
        result
    }

    /// `after(residual + post(x·Wᵀ + b))`, in place of the residual.
    pub(super) fn product_joined(&self, x: &Tensor, w: &Linear, mut residual: Tensor, ends: Ends<Norm>) -> Tensor {
        let width = residual.width;
        let memory = SharedPointer(residual.buffer.floats_mut().as_mut_ptr());
        if let Some(chunks) = Chunks::new(x.rows, self.row_chunk(), self.pool.threads()) {
            self.pool.run(chunks.count, |chunk| {
                let range = chunks.range(chunk);
                let operand = self.operand(FloatRows::of(x).slice(range.clone()), None, w, false);
                // SAFETY: the chunk's rows lie inside the residual, and are this task's.
                unsafe { self.join(&operand, range.len(), w, memory.at(range.start * width), ends, false) };
            });
        } else {
            let operand = self.operand(FloatRows::of(x), None, w, true);
            // SAFETY: the residual has all rows, and is ours.
            unsafe { self.join(&operand, x.rows, w, memory.at(0), ends, true) };
        }
        residual
    }

    /// Multiplies rows and adds the result to the rows at `residual`, with the norms.
    ///
    /// # Safety
    /// `residual` points to `rows` rows of `w`'s outputs, which nothing else accesses.
    unsafe fn join(
        &self,
        x: &RoundedRows,
        rows: usize,
        w: &Linear,
        residual: *mut f32,
        ends: Ends<Norm>,
        shared: bool,
    ) {
        let width = w.weight.outputs();
        let mut apart = ends.post.map(|_| self.scratch.take(rows * width));
        let to = apart.as_mut().map_or(residual, |buffer| buffer.floats_mut().as_mut_ptr());
        let e = Shareable {
            activation: Activation::None,
            residual: ends.post.is_none().then_some((SharedPointer(to), width)),
        };
        let out = Out { data: to, stride: width };
        // SAFETY: the caller's promise; the product and its residual are the same elements.
        unsafe {
            if shared {
                self.multiply_shared(x, rows, w, out, &e);
            } else {
                self.multiply(x, rows, w, 0..w.weight.blocks(), out, &e.epilogue(&w.bias));
            }
        }
        let (residual, apart) = (SharedPointer(residual), apart);
        let finish = |range: Range<usize>| {
            let mut normed = ends.post.map(|_| self.scratch.take(width));
            for row in range {
                // SAFETY: the caller's promise; each row is one task's.
                let row_of_residual = unsafe { std::slice::from_raw_parts_mut(residual.at(row * width), width) };
                if let (Some(post), Some(normed), Some(apart)) = (ends.post, &mut normed, &apart) {
                    normed.floats_mut().copy_from_slice(&apart.floats()[row * width..][..width]);
                    post.apply(self.kernel, normed.floats_mut());
                    self.kernel.add_f32(row_of_residual, normed.floats());
                }
                if let Some(after) = ends.after {
                    after.apply(self.kernel, row_of_residual);
                }
            }
        };
        if ends.post.is_none() && ends.after.is_none() {
            return;
        }
        if shared && rows * width > SMALL {
            self.pool.run(rows.div_ceil(NORM_CHUNK), |task| {
                finish(task * NORM_CHUNK..rows.min((task + 1) * NORM_CHUNK));
            });
        } else {
            finish(0..rows);
        }
    }

    /// The feed-forward of `x`'s rows, added to them.
    pub(super) fn feed(&self, mut x: Tensor, f: &FeedForward<Cpu>) -> Tensor {
        let (rows, width) = (x.rows, x.width);
        let fitting = INNER_BYTES / (f.up.weight.outputs() * size_of::<f32>()).max(1);
        // What tiles gain by fewer reads of the weights is more than what they lose where the inner layer exceeds the cache.
        let most = if self.kernel.has_tiles() { TILE_ROW_CHUNK } else { fitting.clamp(MIN_ROWS, ROW_CHUNK) };
        let Some(chunks) = Chunks::new(rows, most, self.pool.threads()) else {
            let operand = self.operand(FloatRows::of(&x), f.norm, f.up, true);
            let inner = self.inner(&operand, rows, f, true);
            let width = f.down.weight.inputs();
            let inner = FloatRows { floats: inner.floats(), width, stride: padded(width) };
            let operand = self.operand(inner, None, f.down, true);
            let data = x.buffer.floats_mut().as_mut_ptr();
            // SAFETY: `x` has all rows, and is ours.
            unsafe { self.join(&operand, rows, f.down, data, f.ends, true) };
            return x;
        };
        let memory = SharedPointer(x.buffer.floats_mut().as_mut_ptr());
        self.pool.run(chunks.count, |chunk| {
            let range = chunks.range(chunk);
            // SAFETY: the chunk's rows lie inside `x`, and are this task's.
            let data = unsafe { memory.at(range.start * width) };
            let inner = {
                // SAFETY: as above; the borrow ends before the rows are written.
                let floats = unsafe { std::slice::from_raw_parts(data, range.len() * width) };
                let operand = self.operand(FloatRows { floats, width, stride: width }, f.norm, f.up, false);
                self.inner(&operand, range.len(), f, false)
            };
            let width = f.down.weight.inputs();
            let inner = FloatRows { floats: inner.floats(), width, stride: padded(width) };
            let operand = self.operand(inner, None, f.down, false);
            // SAFETY: as above.
            unsafe { self.join(&operand, range.len(), f.down, data, f.ends, false) };
        });
        x
    }

    /// The feed-forward of `x`'s rows, without norms and added to nothing.
    pub(super) fn feed_apart(&self, x: &Tensor, f: &FeedForward<Cpu>) -> Tensor {
        let operand = self.operand(FloatRows::of(x), None, f.up, true);
        let inner = self.inner(&operand, x.rows, f, true);
        let width = f.down.weight.inputs();
        let inner = FloatRows { floats: inner.floats(), width, stride: padded(width) };
        let operand = self.operand(inner, None, f.down, true);
        let mut result = self.tensor(x.rows, x.width);
        let out = Out { data: result.buffer.floats_mut().as_mut_ptr(), stride: x.width };
        // SAFETY: the result has room for all rows and channels, and is ours.
        unsafe {
            let e = Shareable { activation: Activation::None, residual: None };
            self.multiply_shared(&operand, x.rows, f.down, out, &e);
        }
        result
    }

    /// The inner layer of a feed-forward, in rows [`padded`] apart.
    fn inner(&self, x: &RoundedRows, rows: usize, f: &FeedForward<Cpu>, shared: bool) -> Buffer {
        let (w, width) = (f.up, f.down.weight.inputs());
        let stride = padded(width);
        let mut result = self.scratch.take(rows * stride);
        if !f.gated {
            let out = Out { data: result.floats_mut().as_mut_ptr(), stride };
            let e = Shareable { activation: f.activation, residual: None };
            // SAFETY: the result has room for all rows and channels, and is ours.
            unsafe {
                if shared {
                    self.multiply_shared(x, rows, w, out, &e);
                } else {
                    self.multiply(x, rows, w, 0..w.weight.blocks(), out, &e.epilogue(&w.bias));
                }
            }
            return result;
        }
        // The first half of the channels is the gate: each group computes the same part of both halves and multiplies them, so that the
        // gate and its factor stay in the cache. If the halves share a block, there is one group.
        let blocks = width / BLOCK;
        let whole = width.is_multiple_of(BLOCK);
        let groups = match (whole, shared) {
            (false, _) => 1,
            (true, true) => self.groups(blocks),
            (true, false) => blocks.div_ceil(GATE_BLOCKS),
        };
        let out = SharedPointer(result.floats_mut().as_mut_ptr());
        let work = |group: usize| {
            let mine = if whole { part(blocks, 2, groups, group) } else { 0..0 };
            let (first, count) = if whole { (mine.start * BLOCK, mine.len() * BLOCK) } else { (0, width) };
            let mut both = self.scratch.take(rows * 2 * count);
            let data = both.floats_mut().as_mut_ptr();
            let e = Epilogue { bias: Some(&w.bias), activation: Activation::None, residual: None };
            // SAFETY: channels `first..first + count` of both halves go to the buffer, side by side in a row: the pointers are moved
            // back by what the kernel adds for the first channel.
            unsafe {
                if whole {
                    let gate = Out { data: data.wrapping_sub(first), stride: 2 * count };
                    self.multiply(x, rows, w, mine.clone(), gate, &e);
                    let up = Out { data: data.wrapping_add(count).wrapping_sub(width + first), stride: 2 * count };
                    self.multiply(x, rows, w, blocks + mine.start..blocks + mine.end, up, &e);
                } else {
                    self.multiply(x, rows, w, 0..w.weight.blocks(), Out { data, stride: 2 * count }, &e);
                }
            }
            for (row, both) in both.floats().chunks_exact(2 * count).enumerate() {
                let (gate, up) = both.split_at(count);
                // SAFETY: the row's part of the result is this task's.
                let out = unsafe { std::slice::from_raw_parts_mut(out.at(row * stride + first), count) };
                self.kernel.gate(gate, up, f.activation, out);
            }
        };
        if shared {
            self.pool.run(groups, work);
        } else {
            (0..groups).for_each(work);
        }
        result
    }
}

/// The part of an epilogue that all tasks of a product share.
struct Shareable {
    activation: Activation,
    residual: Option<(SharedPointer<f32>, usize)>,
}

impl Shareable {
    fn epilogue<'a>(&self, bias: &'a [f32]) -> Epilogue<'a> {
        // SAFETY: offset 0 lies in every allocation.
        let residual = self.residual.as_ref().map(|(data, stride)| (unsafe { data.at(0) }.cast_const(), *stride));
        Epilogue { bias: Some(bias), activation: self.activation, residual }
    }
}

/// The distance between rows of the inner layer: if it were a multiple of many cache lines, the rows of a tile would share few sets of the
/// L1 cache.
fn padded(width: usize) -> usize {
    if width.is_multiple_of(8 * BLOCK) { width + BLOCK } else { width }
}

/// Part number `group` of `blocks`, cut at multiples of `unit`. If `unit` is even, only the last tile can be narrow.
pub(super) fn part(blocks: usize, unit: usize, groups: usize, group: usize) -> Range<usize> {
    let units = blocks.div_ceil(unit);
    let bound = |group: usize| (unit * (group * units / groups)).min(blocks);
    bound(group)..bound(group + 1)
}

#[cfg(test)]
mod tests {
    use super::{Chunks, part};

    #[test]
    fn chunks_hold_every_row_once() {
        for (rows, threads) in [(1, 1), (64, 2), (65, 2), (512, 2), (513, 3), (4096, 5)] {
            let chunks = Chunks::new(rows, 96, threads).unwrap();
            let mut next = 0;
            for chunk in 0..chunks.count {
                let range = chunks.range(chunk);
                assert!(
                    range.start == next && !range.is_empty() && range.len() <= 96,
                    "{rows} rows, {threads} threads"
                );
                next = range.end;
            }
            assert_eq!(next, rows);
        }
        assert!(Chunks::new(63, 96, 2).is_none());
    }

    #[test]
    fn parts_hold_every_block_once() {
        for blocks in 1..40usize {
            for (unit, groups) in
                [2, 5].into_iter().flat_map(|unit| (1..=blocks.div_ceil(unit)).map(move |g| (unit, g)))
            {
                let parts = (0..groups).map(|group| part(blocks, unit, groups, group));
                assert!(parts.clone().all(|part| part.start.is_multiple_of(unit)));
                assert_eq!(parts.flatten().collect::<Vec<_>>(), (0..blocks).collect::<Vec<_>>());
            }
        }
    }
}
