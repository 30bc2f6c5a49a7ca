//! Attention of some queries to all keys of their sequence, without a matrix of scores in memory.
//!
//! The online softmax of Milakov and Gimelshein (2018) in the tiling of FlashAttention (Dao et al., 2022): keys come in
//! chunks; a chunk's scores live in a buffer of a few kilobytes; the running maximum, the running sum and the output so
//! far are rescaled when a chunk raises the maximum. Both products are the tiles of `linear`. The chunks depend on the
//! number of keys alone, so that a query's result is the same bits whichever queries it is computed with.

use super::linear::{Edge, FloatProduct, Floats, Operand};
use super::softmax::Scores;
use super::vector::{Place, Tile, Vector};
use super::{Attention, BLOCK};

/// Keys in a chunk. All of a short text, so that there is one pass and no rescaling; scores of twelve queries are 6
/// KiB.
pub(super) const CHUNK: usize = 128;
/// The most queries in a tile of any instruction set.
pub(super) const LARGEST_TILE: usize = 12;

/// The parts of the scratch memory, in floats.
struct Layout {
    /// Transposed keys: `[block of 16 keys][head_dim][16]`.
    keys: usize,
    /// Scores, then probabilities, of one chunk: `[query][CHUNK]`.
    scores: usize,
    /// What a chunk adds to the output, and the output so far: `[query][head_dim rounded up to 16]` each.
    output: usize,
}

impl Layout {
    fn new(tokens: usize, head_dim: usize) -> Self {
        Self {
            keys: tokens.next_multiple_of(BLOCK) * head_dim,
            scores: LARGEST_TILE * CHUNK,
            output: LARGEST_TILE * head_dim.next_multiple_of(BLOCK),
        }
    }

    /// With room to align the start to a cache line.
    fn floats(&self) -> usize {
        BLOCK + self.keys + self.scores + 2 * self.output
    }
}

pub(super) fn scratch(tokens: usize, head_dim: usize) -> usize {
    Layout::new(tokens, head_dim).floats()
}

/// Transposes the keys in blocks of 16. Keys beyond the last are 0: their scores are replaced, but must not be NaN from
/// old memory.
///
/// # Safety
/// The machine has `V`'s instructions; `out` has room for whole blocks.
#[inline(always)]
unsafe fn pack_keys<V: Vector>(a: &Attention, out: *mut f32) {
    let dim = a.head_dim;
    for key in (0..a.tokens).step_by(BLOCK) {
        let count = (a.tokens - key).min(BLOCK);
        // SAFETY: keys and components stay within the sequence and the head.
        unsafe {
            let from = a.k.add(key * a.stride);
            let to = out.add(key * dim);
            let whole = if count == BLOCK { dim / BLOCK * BLOCK } else { 0 };
            for d in (0..whole).step_by(BLOCK) {
                V::transpose(from.add(d), a.stride, to.add(d * BLOCK));
            }
            for d in whole..dim {
                for j in 0..BLOCK {
                    *to.add(d * BLOCK + j) = if j < count { *from.add(j * a.stride + d) } else { 0.0 };
                }
            }
        }
    }
}

/// All blocks of a product for one tile of rows.
///
/// # Safety
/// As `Vector::tile`.
#[inline(always)]
pub(super) unsafe fn multiply<V: Vector, W: Operand<V>>(
    product: &FloatProduct<W>,
    rows: usize,
    blocks: usize,
    out: *mut f32,
    stride: usize,
) where
    FloatProduct<W>: Tile<V>,
{
    let mut block = 0;
    while block < blocks {
        let width = V::tile_blocks(rows, blocks - block);
        // SAFETY: the caller's promise.
        unsafe {
            let place = Place { row: 0, block, out: out.add(block * BLOCK), stride };
            V::tile(product, rows, width, place);
        }
        block += width;
    }
}

/// # Safety
/// That of `Kernel::attend`, and the machine has `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn attend<V: Vector>(a: &Attention, scratch: &mut [f32]) {
    const { assert!(V::FLOAT_ROWS <= LARGEST_TILE) };
    let layout = Layout::new(a.tokens, a.head_dim);
    assert!(scratch.len() >= layout.floats(), "scratch is too small");
    let (first, end) = a.queries;
    // SAFETY: the assertion keeps all parts within the scratch; the rest is the caller's promise.
    unsafe {
        let start = scratch.as_mut_ptr();
        // At most 15 floats, for which `floats` has room; should the offset be unknown, only speed is lost.
        let keys = start.add(start.align_offset(64).min(BLOCK));
        let scores = keys.add(layout.keys);
        let added = scores.add(layout.scores);
        let total = added.add(layout.output);
        pack_keys::<V>(a, keys);
        let mut query = first;
        while query < end {
            let rows = V::tile_rows(end - query, V::FLOAT_ROWS);
            attend_tile::<V>(a, query, rows, keys, scores, added, total);
            query += rows;
        }
    }
}

/// One tile of queries against all keys.
///
/// # Safety
/// As `attend`; the parts of the scratch are laid out as `Layout` says.
#[inline(always)]
unsafe fn attend_tile<V: Vector>(
    a: &Attention,
    query: usize,
    rows: usize,
    keys: *const f32,
    scores: *mut f32,
    added: *mut f32,
    total: *mut f32,
) {
    let dim = a.head_dim;
    let width = dim.next_multiple_of(BLOCK);
    let (whole, edge) = (dim / BLOCK, dim % BLOCK);
    let mut largest = [f32::NEG_INFINITY; LARGEST_TILE];
    // Lane by lane; the lanes are added at the end.
    let mut sums = [[0.0f32; BLOCK]; LARGEST_TILE];
    for chunk in (0..a.tokens).step_by(CHUNK) {
        let count = (a.tokens - chunk).min(CHUNK);
        // SAFETY: the caller's promise.
        unsafe {
            let operand = Floats { data: keys.add(chunk * dim), block: dim * BLOCK, step: BLOCK };
            let product = FloatProduct { a: a.q.add(query * a.stride), stride: a.stride, inputs: dim, w: operand };
            multiply::<V, _>(&product, rows, count.div_ceil(BLOCK), scores, CHUNK);

            for i in 0..rows {
                let scores = scores.add(i * CHUNK);
                let bias = a.bias.map(|b| b.offset(chunk as isize - (query + i) as isize));
                let raw = Scores { scale: a.scale, softcap: 0.0, bias, count, seen: (0, count) };
                let factor = raw.soften::<V>(scores, &mut largest[i], &mut sums[i]);
                if chunk > 0 && factor != 1.0 {
                    for j in (0..width).step_by(BLOCK) {
                        let p = total.add(i * width + j);
                        V::load(p).mul(V::splat(factor)).store(p);
                    }
                }
            }

            let to = if chunk == 0 { total } else { added };
            let v = a.v.add(chunk * a.stride);
            if whole > 0 {
                let operand = Floats { data: v, block: BLOCK, step: a.stride };
                let product = FloatProduct { a: scores, stride: CHUNK, inputs: count, w: operand };
                multiply::<V, _>(&product, rows, whole, to, width);
            }
            if edge > 0 {
                let operand = Edge { data: v.add(whole * BLOCK), step: a.stride, lanes: edge };
                let product = FloatProduct { a: scores, stride: CHUNK, inputs: count, w: operand };
                multiply::<V, _>(&product, rows, 1, to.add(whole * BLOCK), width);
            }
            if chunk > 0 {
                for j in (0..rows * width).step_by(BLOCK) {
                    V::load(total.add(j)).add(V::load(added.add(j))).store(total.add(j));
                }
            }
        }
    }
    // SAFETY: the caller's promise; only the head's own columns are written.
    unsafe { divide::<V>(total, dim, &sums[..rows], a.out.add(query * a.out_stride), a.out_stride) };
}

/// Writes the gathered rows, each divided by the sum of its lanes.
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
