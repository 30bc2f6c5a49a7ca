//! The terms that disentangled attention (He et al. 2021) adds to the products of queries and keys: those of queries with keys of
//! distances, and of keys with queries of distances.
//!
//! A distance's vectors are read in place, wherever a range of distances begins, so a tile computes only the distances that its queries
//! and keys have. Products of keys are computed once for all queries of a task. They lie in the rows of keys by `query - key`: rows that
//! are read one float earlier each are by query, and are transposed to be added. Each element is one chain of additions over the
//! components, whichever tile computes it.

use super::attention::{CHUNK, LARGEST_TILE, multiply};
use super::linear::{FloatProduct, Floats};
use super::vector::Vector;
use super::{Attention, BLOCK, DistanceVectors};

/// Distances of a tile of queries and a chunk of keys.
const TILE_DISTANCES: usize = CHUNK + BLOCK;

/// The distances of the queries and a block of keys.
fn width(a: &Attention) -> usize {
    (a.queries.1 - a.queries.0 + BLOCK - 1).next_multiple_of(BLOCK)
}

/// Floats of scratch: products of all keys, of a tile of queries, and a transposed block.
pub(super) fn scratch(a: &Attention) -> usize {
    keys_end(a) + LARGEST_TILE * TILE_DISTANCES + BLOCK * BLOCK
}

fn keys_end(a: &Attention) -> usize {
    a.tokens.next_multiple_of(BLOCK) * width(a)
}

/// Products of the keys that the queries see with queries of distances: `[key][query - key]`, from the least distance of the key's block.
///
/// # Safety
/// The machine has `V`'s instructions, the pointers of `a` are valid as `Kernel::attend` says, and `out` holds [`scratch`] floats.
#[inline(always)]
pub(super) unsafe fn multiply_keys<V: Vector>(a: &Attention, vectors: &DistanceVectors, out: *mut f32) {
    let Some(queries) = vectors.queries else { return };
    let (width, (begin, end)) = (width(a), a.span(a.queries));
    for block in (begin..end).step_by(BLOCK) {
        let keys = (a.tokens - block).min(BLOCK);
        let mut key = 0;
        while key < keys {
            let rows = V::tile_rows(keys - key, V::FLOAT_ROWS);
            // SAFETY: the caller's promise; the least distance is that of the first query and the block's last key, which may be 15 after
            // the text.
            unsafe {
                let least = a.queries.0 as isize - (block + BLOCK - 1) as isize;
                let w = Floats { data: queries.offset(least), block: BLOCK, step: vectors.step };
                let row = block + key;
                let product = FloatProduct { a: a.k.add(row * a.stride), stride: a.stride, inputs: a.head_dim, w };
                multiply::<V, _>(&product, rows, width / BLOCK, out.add((row - begin) * width), width);
            }
            key += rows;
        }
    }
}

/// Scores of a tile of queries, from `query` on, and a chunk of keys: `[rows][CHUNK]`.
#[derive(Clone, Copy)]
pub(super) struct Scores {
    pub query: usize,
    pub rows: usize,
    pub chunk: usize,
    pub count: usize,
    pub scores: *mut f32,
}

/// Adds the terms to a tile's scores. What is added beyond `count` keys has no meaning.
///
/// # Safety
/// As [`multiply_keys`], which has written to `memory`; the scores hold whole blocks.
#[inline(always)]
pub(super) unsafe fn add<V: Vector>(a: &Attention, vectors: &DistanceVectors, memory: *mut f32, tile: Scores) {
    let Scores { query, rows, chunk, count, scores } = tile;
    if let Some(keys) = vectors.keys {
        // SAFETY: the caller's promise; the least distance is that of the last query and the chunk's first key. A row's sixteen floats
        // end before the row does, because a tile has fewer queries than a block.
        unsafe {
            let products = memory.add(keys_end(a));
            let least = chunk as isize - (query + rows - 1) as isize;
            let w = Floats { data: keys.offset(least), block: BLOCK, step: vectors.step };
            let product = FloatProduct { a: a.q.add(query * a.stride), stride: a.stride, inputs: a.head_dim, w };
            multiply::<V, _>(&product, rows, (count + rows - 1).div_ceil(BLOCK), products, TILE_DISTANCES);
            for i in 0..rows {
                let products = products.add(i * TILE_DISTANCES + rows - 1 - i);
                for key in (0..count).step_by(BLOCK) {
                    let p = scores.add(i * CHUNK + key);
                    V::load(p).add(V::load(products.add(key))).store(p);
                }
            }
        }
    }
    if vectors.queries.is_some() {
        let (width, begin) = (width(a), a.span(a.queries).0);
        // SAFETY: the caller's promise; a row of products is one float shorter where it is by query, and what is read for queries that are
        // not there is before the end of the row.
        unsafe {
            let block = memory.add(keys_end(a) + LARGEST_TILE * TILE_DISTANCES);
            for key in (0..count).step_by(BLOCK) {
                let products = memory.add((chunk - begin + key) * width + query - a.queries.0 + BLOCK - 1);
                V::transpose(products, width - 1, block);
                for i in 0..rows {
                    let p = scores.add(i * CHUNK + key);
                    V::load(p).add(V::load(block.add(i * BLOCK))).store(p);
                }
            }
        }
    }
}
