//! Fused scaled dot-product attention of queries to the visible keys of their sequence, without a score matrix in memory.
//!
//! The online softmax of Milakov and Gimelshein (2018) in the tiling of FlashAttention (Dao et al., 2022): keys come in
//! chunks; a chunk's scores live in a buffer of a few kilobytes; the running maximum, the running sum and the output so
//! far are rescaled when a chunk raises the maximum. Both products are the tiles of `linear`. The chunks depend only on the
//! number of keys, so that a query's result is the same bits whichever queries it is computed with.

use half::bf16;

use super::distances;
use super::linear::{Edge, FloatProduct, Floats, PairProduct};
use super::round::round_row;
use super::softmax::Scores;
use super::vector::{Tile, TilePosition, Vector};
use super::{Attention, BLOCK};

/// Keys in a chunk. A short text fits in one, so that nothing is rescaled; the scores of twelve queries take 6 KiB.
pub(super) const CHUNK: usize = 128;
/// The most queries in a tile of any instruction set.
pub(super) const LARGEST_TILE: usize = 12;

/// The sizes of the parts of the scratch memory, in floats. With `pairs` all operands are bf16.
struct ScratchLayout {
    /// Transposed keys: `[block of 16 keys][head_dim][16]`, in pairs `[block][head_dim / 2][16][2]`.
    keys: usize,
    /// In pairs: values as `[block of 16 components][keys / 2][16][2]`, and the queries and probabilities of a tile.
    values: usize,
    queries: usize,
    probabilities: usize,
    /// Scores, then probabilities, of one chunk: `[query][CHUNK]`.
    scores: usize,
    /// Scratch of [`distances`].
    distances: usize,
    /// The chunk's contribution to the output, and the output so far: `[query][head_dim rounded up to 16]` each.
    output: usize,
}

impl ScratchLayout {
    fn new(a: &Attention, pairs: bool) -> Self {
        let head_dim = a.head_dim;
        let (tokens, width) = (a.tokens.next_multiple_of(BLOCK), head_dim.next_multiple_of(BLOCK));
        let output = LARGEST_TILE * width;
        let scores = LARGEST_TILE * CHUNK;
        if pairs {
            let (values, queries) = (tokens * width / 2, LARGEST_TILE * width / 2);
            let (keys, probabilities) = (tokens * width / 2, scores / 2);
            return Self { keys, values, queries, probabilities, scores, distances: 0, output };
        }
        let distances = a.distances.as_ref().map_or(0, |_| distances::scratch(a));
        Self { keys: tokens * head_dim, values: 0, queries: 0, probabilities: 0, scores, distances, output }
    }

    /// The total, with space to align the start to a cache line.
    fn floats(&self) -> usize {
        let operands = self.keys + self.values + self.queries + self.probabilities;
        BLOCK + operands + self.scores + self.distances + 2 * self.output
    }
}

pub(super) fn scratch(a: &Attention) -> usize {
    ScratchLayout::new(a, false).floats().max(ScratchLayout::new(a, true).floats())
}

impl Attention {
    /// The range of keys that a query sees.
    #[inline(always)]
    pub(super) fn sees(&self, query: usize) -> (usize, usize) {
        (query.saturating_sub(self.reach), (query + self.reach + 1).min(self.tokens))
    }

    /// The range of keys that any of these queries sees, from the beginning of a chunk.
    #[inline(always)]
    pub(super) fn span(&self, (first, end): (usize, usize)) -> (usize, usize) {
        (self.sees(first).0 / CHUNK * CHUNK, self.sees(end.saturating_sub(1)).1)
    }
}

/// Pointers to the parts of the scratch memory.
#[derive(Clone, Copy)]
struct ScratchParts {
    keys: *mut f32,
    values: *mut f32,
    queries: *mut bf16,
    probabilities: *mut bf16,
    scores: *mut f32,
    distances: *mut f32,
    added: *mut f32,
    total: *mut f32,
}

/// Transposes the keys in blocks of 16. Keys beyond the last are 0: their scores are replaced, but must not be NaN.
///
/// # Safety
/// The machine has `V`'s instructions; `out` has space for whole blocks.
#[inline(always)]
unsafe fn pack_keys<V: Vector>(a: &Attention, out: *mut f32) {
    let dim = a.head_dim;
    let (begin, end) = a.span(a.queries);
    for key in (begin..end).step_by(BLOCK) {
        // SAFETY: keys and components stay within the sequence and the head.
        unsafe { transpose_keys::<V>(a, key, 0, dim, out.add(key * dim)) };
    }
}

/// Writes components `first..end` of the 16 keys from `key` on, component by component.
///
/// # Safety
/// As `pack_keys`, for that part.
#[inline(always)]
unsafe fn transpose_keys<V: Vector>(a: &Attention, key: usize, first: usize, end: usize, to: *mut f32) {
    let count = (a.tokens - key).min(BLOCK);
    let whole = if count == BLOCK { (end - first) / BLOCK * BLOCK } else { 0 };
    // SAFETY: keys and components stay within the sequence and the head.
    unsafe {
        let from = a.k.add(key * a.stride + first);
        for d in (0..whole).step_by(BLOCK) {
            V::transpose(from.add(d), a.stride, to.add(d * BLOCK));
        }
        for d in whole..end - first {
            for j in 0..BLOCK {
                *to.add(d * BLOCK + j) = if j < count { *from.add(j * a.stride + d) } else { 0.0 };
            }
        }
    }
}

/// As `pack_keys`, in pairs of components; those beyond the last are 0.
///
/// # Safety
/// As `pack_keys`.
#[inline(always)]
unsafe fn pack_key_pairs<V: Vector>(a: &Attention, out: *mut f32) {
    let width = a.head_dim.next_multiple_of(BLOCK);
    let mut block = [0.0f32; BLOCK * BLOCK];
    let (begin, end) = a.span(a.queries);
    for key in (begin..end).step_by(BLOCK) {
        for first in (0..a.head_dim).step_by(BLOCK) {
            let end = a.head_dim.min(first + BLOCK);
            if end - first < BLOCK {
                block.fill(0.0);
            }
            // SAFETY: the caller's promise; the block has room for 16 components.
            unsafe {
                transpose_keys::<V>(a, key, first, end, block.as_mut_ptr());
                for d in (0..BLOCK).step_by(2) {
                    let low = V::load(block.as_ptr().add(d * BLOCK));
                    let high = V::load(block.as_ptr().add((d + 1) * BLOCK));
                    low.store_pairs(high, out.add((key * width + (first + d) * BLOCK) / 2));
                }
            }
        }
    }
}

/// Values in pairs of keys; a key beyond the last is 0.
///
/// # Safety
/// As `pack_keys`.
#[inline(always)]
unsafe fn pack_value_pairs<V: Vector>(a: &Attention, out: *mut f32) {
    let padded = a.tokens.next_multiple_of(BLOCK);
    let (begin, end) = a.span(a.queries);
    for first in (0..a.head_dim).step_by(BLOCK) {
        let lanes = (a.head_dim - first).min(BLOCK);
        for key in (begin..end).step_by(2) {
            // SAFETY: keys and components stay within the sequence and the head.
            unsafe {
                let from = a.v.add(key * a.stride + first);
                let low = V::load_first(from, lanes);
                let high = if key + 1 < a.tokens { V::load_first(from.add(a.stride), lanes) } else { V::splat(0.0) };
                low.store_pairs(high, out.add((first * padded + key * BLOCK) / 2));
            }
        }
    }
}

/// All blocks of a product for one tile of rows.
///
/// # Safety
/// As `Vector::tile`.
#[inline(always)]
pub(super) unsafe fn multiply<V: Vector, T: Tile<V>>(
    product: &T,
    rows: usize,
    blocks: usize,
    out: *mut f32,
    stride: usize,
) {
    let mut block = 0;
    while block < blocks {
        let width = V::tile_blocks(rows, blocks - block);
        // SAFETY: the caller's promise.
        unsafe {
            let place = TilePosition { row: 0, block, out: out.add(block * BLOCK), stride };
            V::tile(product, rows, width, place);
        }
        block += width;
    }
}

/// # Safety
/// That of `Kernel::attend`, and the machine has `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn attend<V: Vector>(a: &Attention, scratch: &mut [f32]) {
    // SAFETY: the caller's promise.
    unsafe { attend_in::<V, false>(a, scratch) }
}

/// Operands are rounded to bf16 where the machine multiplies that faster.
///
/// # Safety
/// That of `Kernel::attend_rounded`, and the machine has `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn attend_rounded<V: Vector>(a: &Attention, scratch: &mut [f32]) {
    // SAFETY: the caller's promise.
    unsafe {
        if V::FAST_PAIRS && a.distances.is_none() {
            attend_in::<V, true>(a, scratch)
        } else {
            attend_in::<V, false>(a, scratch)
        }
    }
}

/// `PAIRS` is whether operands are rounded to bf16.
///
/// # Safety
/// As `attend`.
#[inline(always)]
unsafe fn attend_in<V: Vector, const PAIRS: bool>(a: &Attention, scratch: &mut [f32]) {
    const { assert!(V::FLOAT_ROWS <= LARGEST_TILE && V::PAIR_ROWS <= LARGEST_TILE) };
    let layout = ScratchLayout::new(a, PAIRS);
    assert!(scratch.len() >= layout.floats(), "scratch is too small");
    let (first, end) = a.queries;
    // SAFETY: the assertion keeps all parts within the scratch; the rest is the caller's promise.
    unsafe {
        let start = scratch.as_mut_ptr();
        // At most 15 floats, which `floats` includes. If the offset is unknown, only speed is lost.
        let keys = start.add(start.align_offset(64).min(BLOCK));
        let values = keys.add(layout.keys);
        let queries = values.add(layout.values);
        let probabilities = queries.add(layout.queries);
        let scores = probabilities.add(layout.probabilities);
        let distances = scores.add(layout.scores);
        let added = distances.add(layout.distances);
        let total = added.add(layout.output);
        let (queries, probabilities) = (queries.cast(), probabilities.cast());
        let memory = ScratchParts { keys, values, queries, probabilities, scores, distances, added, total };
        if PAIRS {
            pack_key_pairs::<V>(a, keys);
            pack_value_pairs::<V>(a, values);
        } else {
            pack_keys::<V>(a, keys);
        }
        if let Some(vectors) = &a.distances {
            distances::multiply_keys::<V>(a, vectors, distances);
        }
        let mut query = first;
        while query < end {
            let rows = V::tile_rows(end - query, if PAIRS { V::PAIR_ROWS } else { V::FLOAT_ROWS });
            attend_tile::<V, PAIRS>(a, query, rows, memory);
            query += rows;
        }
    }
}

/// One tile of queries against the keys that they see.
///
/// # Safety
/// As `attend`; the parts of the scratch are laid out as `ScratchLayout` says.
#[inline(always)]
unsafe fn attend_tile<V: Vector, const PAIRS: bool>(a: &Attention, query: usize, rows: usize, memory: ScratchParts) {
    let ScratchParts { keys, values, queries, probabilities, scores, distances, added, total } = memory;
    let dim = a.head_dim;
    let width = dim.next_multiple_of(BLOCK);
    let padded = a.tokens.next_multiple_of(BLOCK);
    let (whole, edge) = (dim / BLOCK, dim % BLOCK);
    let mut largest = [f32::NEG_INFINITY; LARGEST_TILE];
    // Lane by lane; the lanes are added at the end.
    let mut sums = [[0.0f32; BLOCK]; LARGEST_TILE];
    if PAIRS {
        for i in 0..rows {
            // SAFETY: the caller's promise; a row of queries has room for whole blocks.
            unsafe {
                let from = std::slice::from_raw_parts(a.q.add((query + i) * a.stride), dim);
                round_row::<V>(from, std::slice::from_raw_parts_mut(queries.add(i * width), width));
            }
        }
    }
    // Both ends of the range grow with the query.
    let (begin, end) = a.span((query, query + rows));
    for chunk in (begin..end).step_by(CHUNK) {
        let count = (end - chunk).min(CHUNK);
        // SAFETY: the caller's promise.
        unsafe {
            if PAIRS {
                let w = keys.add(chunk * width / 2).cast::<bf16>();
                let product =
                    PairProduct { a: queries, stride: width, inputs: dim.next_multiple_of(2), w, block: width * BLOCK };
                multiply::<V, _>(&product, rows, count.div_ceil(BLOCK), scores, CHUNK);
            } else {
                let operand = Floats { data: keys.add(chunk * dim), block: dim * BLOCK, step: BLOCK };
                let product = FloatProduct { a: a.q.add(query * a.stride), stride: a.stride, inputs: dim, w: operand };
                multiply::<V, _>(&product, rows, count.div_ceil(BLOCK), scores, CHUNK);
            }
            if let Some(vectors) = &a.distances {
                let tile = distances::Scores { query, rows, chunk, count, scores };
                distances::add::<V>(a, vectors, distances, tile);
            }

            for i in 0..rows {
                let scores = scores.add(i * CHUNK);
                let bias = a.bias.map(|b| b.offset(chunk as isize - (query + i) as isize));
                let (low, high) = a.sees(query + i);
                let seen = (low.saturating_sub(chunk), high.saturating_sub(chunk).min(count));
                let whole = a.reach >= a.tokens;
                let raw = Scores { scale: a.scale, softcap: a.softcap, bias, count, seen, whole };
                let factor = if PAIRS {
                    let to = probabilities.add(i * CHUNK);
                    let to = std::slice::from_raw_parts_mut(to, count.next_multiple_of(BLOCK));
                    raw.soften_rounded::<V>(scores, to, &mut largest[i], &mut sums[i])
                } else {
                    raw.soften::<V>(scores, &mut largest[i], &mut sums[i])
                };
                if chunk > begin && factor != 1.0 {
                    for j in (0..width).step_by(BLOCK) {
                        let p = total.add(i * width + j);
                        V::load(p).mul(V::splat(factor)).store(p);
                    }
                }
            }

            let to = if chunk == begin { total } else { added };
            let v = a.v.add(chunk * a.stride);
            if PAIRS {
                let even = count.next_multiple_of(2);
                let w = values.add(chunk * BLOCK / 2).cast::<bf16>();
                let product = PairProduct { a: probabilities, stride: CHUNK, inputs: even, w, block: padded * BLOCK };
                multiply::<V, _>(&product, rows, width / BLOCK, to, width);
            }
            if !PAIRS && whole > 0 {
                let operand = Floats { data: v, block: BLOCK, step: a.stride };
                let product = FloatProduct { a: scores, stride: CHUNK, inputs: count, w: operand };
                multiply::<V, _>(&product, rows, whole, to, width);
            }
            if !PAIRS && edge > 0 {
                let operand = Edge { data: v.add(whole * BLOCK), step: a.stride, lanes: edge };
                let product = FloatProduct { a: scores, stride: CHUNK, inputs: count, w: operand };
                multiply::<V, _>(&product, rows, 1, to.add(whole * BLOCK), width);
            }
            if chunk > begin {
                for j in (0..rows * width).step_by(BLOCK) {
                    V::load(total.add(j)).add(V::load(added.add(j))).store(total.add(j));
                }
            }
        }
    }
    // SAFETY: the caller's promise; only the head's own columns are written.
    unsafe { divide::<V>(total, dim, &sums[..rows], a.out.add(query * a.out_stride), a.out_stride) };
}

/// Writes the accumulated rows, each divided by the sum of its lanes.
///
/// # Safety
/// The machine has `V`'s instructions; `total` holds a row of whole blocks for each of `sums`, and `out` one of `dim` floats.
#[inline(always)]
pub(super) unsafe fn divide<V: Vector>(
    total: *const f32,
    dim: usize,
    sums: &[[f32; BLOCK]],
    out: *mut f32,
    stride: usize,
) {
    let width = dim.next_multiple_of(BLOCK);
    for (i, sums) in sums.iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe {
            let factor = V::splat(1.0 / V::load(sums.as_ptr()).sum());
            for j in (0..dim).step_by(BLOCK) {
                V::load(total.add(i * width + j))
                    .mul(factor)
                    .store_first(out.add(i * stride + j), (dim - j).min(BLOCK));
            }
        }
    }
}
