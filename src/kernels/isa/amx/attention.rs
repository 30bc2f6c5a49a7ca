//! Attention within a text, as in `kernels/attention.rs`, with both products in tiles of bf16.
//!
//! Keys and values are packed once for all queries of a call. A strip of queries then takes two products of tiles per chunk of keys; the
//! scores between them lie in the L1 cache.

use half::bf16;

use super::tiles::{CHUNK as TILE_BYTES, Kind, SIDE, STRIP, Step, Tiles};
use crate::kernels::attention::{CHUNK, divide};
use crate::kernels::round::round_row;
use crate::kernels::softmax::Scores;
use crate::kernels::vector::Vector;
use crate::kernels::{Attention, BLOCK};

/// Inputs in a tile's row.
const DEPTH: usize = TILE_BYTES / size_of::<bf16>();

/// The sizes of the parts of the scratch memory, in floats. Each is a multiple of a cache line.
struct ScratchLayout {
    /// `[block of 16 keys][components / 2][16][2]`.
    keys: usize,
    /// `[block of 16 components][keys / 2][16][2]`.
    values: usize,
    /// A strip of queries, and its unnormalised probabilities of a chunk of keys.
    queries: usize,
    probabilities: usize,
    /// The scores of that chunk, and the output so far.
    scores: usize,
    output: usize,
}

impl ScratchLayout {
    fn new(a: &Attention) -> Self {
        let (tokens, components) = (a.tokens.next_multiple_of(DEPTH), a.head_dim.next_multiple_of(DEPTH));
        let width = a.head_dim.next_multiple_of(BLOCK);
        Self {
            keys: tokens * components / 2,
            values: tokens * width / 2,
            queries: STRIP * components / 2,
            probabilities: STRIP * CHUNK / 2,
            scores: STRIP * CHUNK,
            output: STRIP * width,
        }
    }

    /// The total, with space to align the start to a cache line.
    fn floats(&self) -> usize {
        BLOCK + self.keys + self.values + self.queries + self.probabilities + self.scores + self.output
    }
}

/// Floats of scratch that [`attend`] needs.
pub(super) fn scratch(a: &Attention) -> usize {
    ScratchLayout::new(a).floats()
}

/// Sixteen rows of a tile.
#[repr(C, align(64))]
struct TileRows([bf16; SIDE * DEPTH]);

/// Rounds and transposes keys: a tile holds 16 keys, and each of its rows a pair of components of all of them. Keys and components beyond
/// the last are 0.
///
/// # Safety
/// The machine has `V`'s instructions; `out` has space for whole blocks.
#[inline(always)]
unsafe fn pack_keys<V: Vector>(a: &Attention, out: *mut f32) {
    let components = a.head_dim.next_multiple_of(DEPTH);
    let (begin, end) = a.span(a.queries);
    let mut rows = TileRows([bf16::ZERO; SIDE * DEPTH]);
    for key in (begin..end).step_by(SIDE) {
        for first in (0..components).step_by(DEPTH) {
            let count = (a.head_dim - first).min(DEPTH);
            for (i, row) in rows.0.chunks_exact_mut(DEPTH).enumerate() {
                if key + i < a.tokens {
                    // SAFETY: the key and its components exist.
                    unsafe {
                        let from = std::slice::from_raw_parts(a.k.add((key + i) * a.stride + first), count);
                        round_row::<V>(from, row);
                    }
                } else {
                    row.fill(bf16::ZERO);
                }
            }
            // SAFETY: a row of pairs has as many lanes as there are rows; the block is within `out`.
            unsafe { V::transpose(rows.0.as_ptr().cast(), SIDE, out.add((key * components + first * SIDE) / 2)) };
        }
    }
}

/// Rounds values and joins those of two keys; keys beyond the last are 0.
///
/// # Safety
/// As `pack_keys`.
#[inline(always)]
unsafe fn pack_values<V: Vector>(a: &Attention, out: *mut f32) {
    let padded = a.tokens.next_multiple_of(DEPTH);
    let (begin, end) = a.span(a.queries);
    for first in (0..a.head_dim).step_by(BLOCK) {
        let lanes = (a.head_dim - first).min(BLOCK);
        for key in (begin..end.next_multiple_of(DEPTH)).step_by(2) {
            // SAFETY: only keys and components that exist are read; the pair is within `out`.
            unsafe {
                let from = a.v.wrapping_add(key * a.stride + first);
                let low = if key < a.tokens { V::load_first(from, lanes) } else { V::splat(0.0) };
                let high = if key + 1 < a.tokens { V::load_first(from.add(a.stride), lanes) } else { V::splat(0.0) };
                low.store_pairs(high, out.add((first * padded + key * BLOCK) / 2));
            }
        }
    }
}

/// # Safety
/// That of `Kernel::attend_rounded`; the machine has `V`'s instructions and tiles of bf16, and there are no vectors of distances.
#[inline(always)]
pub(super) unsafe fn attend<V: Vector>(a: &Attention, scratch: &mut [f32]) {
    let layout = ScratchLayout::new(a);
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
        let output = scores.add(layout.scores);
        pack_keys::<V>(a, keys);
        pack_values::<V>(a, values);
        let (queries, probabilities) = (queries.cast(), probabilities.cast());
        let memory = Memory { keys, values, queries, probabilities, scores, output };
        let mut tiles = Tiles::new();
        for query in (first..end).step_by(STRIP) {
            attend_strip::<V>(a, query, (end - query).min(STRIP), memory, &mut tiles);
        }
    }
}

/// Pointers to the parts of the scratch memory.
#[derive(Clone, Copy)]
struct Memory {
    keys: *mut f32,
    values: *mut f32,
    queries: *mut bf16,
    probabilities: *mut bf16,
    scores: *mut f32,
    output: *mut f32,
}

/// Multiplies a strip of rows with blocks of 16 columns, `block` bytes apart.
///
/// # Safety
/// That of `Tiles::multiply` for each pair of blocks.
#[inline(always)]
unsafe fn multiply(tiles: &mut Tiles, rows: usize, blocks: usize, block: usize, first: Step) {
    for b in (0..blocks).step_by(2) {
        // SAFETY: the caller's promise.
        unsafe {
            let step = Step { w: first.w.add(b * block), w_stride: block, sums: first.sums.add(b * BLOCK), ..first };
            tiles.multiply(Kind::Pairs, rows, 2.min(blocks - b), &step);
        }
    }
}

/// A strip of queries against the keys that they see.
///
/// # Safety
/// As `attend`; the parts of the scratch are laid out as `ScratchLayout` says.
#[inline(always)]
unsafe fn attend_strip<V: Vector>(a: &Attention, query: usize, rows: usize, memory: Memory, tiles: &mut Tiles) {
    let Memory { keys, values, queries, probabilities, scores, output } = memory;
    let (padded, components) = (a.tokens.next_multiple_of(DEPTH), a.head_dim.next_multiple_of(DEPTH));
    let width = a.head_dim.next_multiple_of(BLOCK);
    let bytes = |floats: usize| floats * size_of::<f32>();
    for i in 0..rows {
        // SAFETY: the query exists; a row has room for its components and the padding.
        unsafe {
            let from = std::slice::from_raw_parts(a.q.add((query + i) * a.stride), a.head_dim);
            round_row::<V>(from, std::slice::from_raw_parts_mut(queries.add(i * components), components));
        }
    }
    let mut largest = [f32::NEG_INFINITY; STRIP];
    // Lane by lane; the lanes are added at the end.
    let mut sums = [[0.0f32; BLOCK]; STRIP];
    // Both ends of the range grow with the query.
    let (begin, end) = a.span((query, query + rows));
    for chunk in (begin..end).step_by(CHUNK) {
        let count = (end - chunk).min(CHUNK);
        let deep = count.next_multiple_of(DEPTH);
        // SAFETY: keys and values are packed for whole blocks of this range; the parts have room for a strip.
        unsafe {
            let block = bytes(components * BLOCK / 2);
            let first = Step {
                a: queries.cast(),
                a_stride: components * size_of::<bf16>(),
                w: keys.cast::<u8>().add(chunk / BLOCK * block),
                w_stride: block,
                sums: scores.cast(),
                stride: CHUNK,
                chunks: components / DEPTH,
                add: false,
                ahead: keys.cast(),
            };
            multiply(tiles, rows, count.div_ceil(BLOCK), block, first);
            for i in 0..rows {
                let bias = a.bias.map(|b| b.offset(chunk as isize - (query + i) as isize));
                let (low, high) = a.sees(query + i);
                let seen = (low.saturating_sub(chunk), high.saturating_sub(chunk).min(count));
                let whole = a.reach >= a.tokens;
                let raw = Scores { scale: a.scale, softcap: a.softcap, bias, count, seen, whole };
                let out = std::slice::from_raw_parts_mut(probabilities.add(i * CHUNK), deep);
                let factor = raw.soften_rounded::<V>(scores.add(i * CHUNK), out, &mut largest[i], &mut sums[i]);
                if chunk > begin && factor != 1.0 {
                    for j in (0..width).step_by(BLOCK) {
                        let p = output.add(i * width + j);
                        V::load(p).mul(V::splat(factor)).store(p);
                    }
                }
            }
            let block = bytes(padded * BLOCK / 2);
            let first = Step {
                a: probabilities.cast(),
                a_stride: CHUNK * size_of::<bf16>(),
                w: values.cast::<u8>().add(bytes(chunk * BLOCK / 2)),
                w_stride: block,
                sums: output.cast(),
                stride: width,
                chunks: deep / DEPTH,
                add: chunk > begin,
                ahead: values.cast(),
            };
            multiply(tiles, rows, width / BLOCK, block, first);
        }
    }
    // SAFETY: the caller's promise; only the head's own columns are written.
    unsafe { divide::<V>(output, a.head_dim, &sums[..rows], a.out.add(query * a.out_stride), a.out_stride) };
}
