//! Vectors of distances as the kernel of attention reads them: component by component, so that those of a range of distances are one run.

use std::ops::Range;

use crate::backend::{DistanceRows, DistanceTensors};
use crate::base::error::{Error, Result};
use crate::kernels::{BLOCK, DistanceVectors};
use crate::spec::Heads;

use super::Tensor;
use super::scratch::{Buffer, Scratch};

/// A layer's vectors, by rows of the table: `[head][component][step]`, with [`BLOCK`] zeros at both ends of each run.
pub struct Distances {
    /// In reverse, because distances are then by `key - query`.
    keys: Option<Vec<f32>>,
    queries: Option<Vec<f32>>,
    rows: usize,
    dim: usize,
}

/// The length of a run of vectors, with what is read beyond its ends. An odd number of cache lines: components that were a power of two
/// apart would share few sets of the cache.
fn step(count: usize) -> usize {
    ((count + 2 * BLOCK).div_ceil(BLOCK) | 1) * BLOCK
}

/// The vectors of one head for a task, in the layer's own memory or expanded.
pub struct TaskVectors<'a> {
    pub vectors: DistanceVectors,
    /// What `vectors` points into.
    _memory: Option<Buffer>,
    _layer: &'a Distances,
}

impl Distances {
    pub fn new(heads: Heads, vectors: &DistanceTensors<Tensor>) -> Result<Self> {
        let (dim, mut rows) = (heads.dim, 0);
        let mut load = |source: &Option<(&Tensor, usize)>, reverse: bool| {
            let Some((from, column)) = *source else { return Ok(None) };
            rows = from.rows;
            let (step, width) = (step(rows), heads.query_width());
            let mut values = Vec::new();
            if values.try_reserve_exact(width * step).is_err() {
                return Err(Error::out_of_memory("the vectors of distances: the system grants no more memory"));
            }
            values.resize(width * step, 0.0);
            for (row, vector) in from.buffer.floats().chunks_exact(from.width).enumerate() {
                let at = BLOCK + if reverse { rows - 1 - row } else { row };
                for (i, value) in vector[column..][..width].iter().enumerate() {
                    values[i * step + at] = *value;
                }
            }
            Ok(Some(values))
        };
        let (keys, queries) = (load(&vectors.keys, true)?, load(&vectors.queries, false)?);
        Ok(Self { keys, queries, rows, dim })
    }

    /// The vectors of a head for some queries of a text of `tokens`.
    pub fn of<'a>(
        &'a self,
        head: usize,
        at: &DistanceRows,
        queries: Range<usize>,
        tokens: usize,
        scratch: &Scratch,
    ) -> TaskVectors<'a> {
        let stored = step(self.rows);
        let part = |values: &'a Option<Vec<f32>>| {
            values.as_ref().map(|all| &all[head * self.dim * stored..][..self.dim * stored])
        };
        let (keys, queries_of) = (part(&self.keys), part(&self.queries));
        if tokens <= at.linear + 1 {
            let keys = keys.map(|values| values[BLOCK + self.rows - 1 - at.span..].as_ptr());
            let queries = queries_of.map(|values| values[BLOCK + at.span..].as_ptr());
            let vectors = DistanceVectors { keys, queries, step: stored };
            return TaskVectors { vectors, _memory: None, _layer: self };
        }
        // From the first query to the last key, and from the last query to the first key.
        let (least, most) = (queries.start as isize - (tokens as isize - 1), queries.end as isize - 1);
        let count = (most - least + 1).unsigned_abs();
        let step = step(count);
        let size = self.dim * step;
        let mut memory = scratch.take(2 * size);
        let (for_keys, for_queries) = memory.floats_mut().split_at_mut(size);
        let expand =
            |from: Option<&[f32]>, to: &mut [f32], place: &dyn Fn(usize) -> usize, row: &dyn Fn(usize) -> usize| {
                let Some(from) = from else { return };
                for (from, to) in from.chunks_exact(stored).zip(to.chunks_exact_mut(step)) {
                    to.fill(0.0);
                    for i in 0..count {
                        to[BLOCK + place(i)] = from[BLOCK + row(i)];
                    }
                }
            };
        let row = |i: usize| at.row(least + i as isize);
        expand(keys, for_keys, &|i| count - 1 - i, &|i| self.rows - 1 - row(i));
        expand(queries_of, for_queries, &|i| i, &row);
        let pointer = |values: &[f32], centre: isize| values[BLOCK.saturating_add_signed(centre)..].as_ptr();
        let vectors = DistanceVectors {
            keys: keys.map(|_| pointer(for_keys, most)),
            queries: queries_of.map(|_| pointer(for_queries, -least)),
            step,
        };
        TaskVectors { vectors, _memory: Some(memory), _layer: self }
    }
}
