//! Attention of queries to a paged KV cache.
//!
//! The same online softmax as `attention`, over keys that are stored transposed in pages of sixteen tokens, so that a decoding step
//! packs nothing. A query sees a range of keys: all, those up to its own (causal), or the last of them (sliding window). Scores of
//! other keys are replaced, not multiplied by 0, because the unused part of a page may hold NaN. Chunks begin at fixed keys, so a query's
//! result is the same bits whether it is computed with its prompt or alone.

use half::f16;

use super::attention::{CHUNK, LARGEST_TILE, divide, multiply};
use super::linear::{FloatProduct, Operand};
use super::softmax::Scores;
use super::vector::Vector;
use super::{BLOCK, CacheType, PagedAttention};

/// A number type of the cache: f32, or f16, which is widened when it is read. Both are multiplied and summed in f32.
trait Number: Copy {
    /// Loads sixteen of them.
    ///
    /// # Safety
    /// The machine has `V`'s instructions and the numbers exist.
    unsafe fn lanes<V: Vector>(p: *const Self) -> V;
}

impl Number for f32 {
    #[inline(always)]
    unsafe fn lanes<V: Vector>(p: *const Self) -> V {
        // SAFETY: the caller's promise.
        unsafe { V::load(p) }
    }
}

impl Number for f16 {
    #[inline(always)]
    unsafe fn lanes<V: Vector>(p: *const Self) -> V {
        // SAFETY: the caller's promise.
        unsafe { V::load_f16(p) }
    }
}

/// Keys of a page: `[dim][16]` at `offset`.
#[derive(Clone, Copy)]
struct Keys<T> {
    pages: *const *const T,
    offset: usize,
}

impl<V: Vector, T: Number> Operand<V> for Keys<T> {
    #[inline(always)]
    unsafe fn lanes(self, block: usize, k: usize) -> V {
        // SAFETY: the caller's promise.
        unsafe { T::lanes((*self.pages.add(block)).add(self.offset + k * BLOCK)) }
    }
}

/// Values of a page: `[16][width]` at `offset`.
#[derive(Clone, Copy)]
struct Values<T> {
    pages: *const *const T,
    offset: usize,
    width: usize,
}

impl<V: Vector, T: Number> Operand<V> for Values<T> {
    #[inline(always)]
    unsafe fn lanes(self, block: usize, k: usize) -> V {
        // SAFETY: the caller's promise.
        unsafe {
            let page = *self.pages.add(k / BLOCK);
            T::lanes(page.add(self.offset + (k % BLOCK) * self.width + block * BLOCK))
        }
    }
}

fn width(head_dim: usize) -> usize {
    head_dim.next_multiple_of(BLOCK)
}

/// Scratch size in floats: the scores of a chunk, the chunk's contribution to the output, and the accumulated output.
pub(super) fn scratch(head_dim: usize) -> usize {
    LARGEST_TILE * (CHUNK + 2 * width(head_dim))
}

impl PagedAttention {
    /// The keys that query `i` sees.
    #[inline(always)]
    fn sees(&self, i: usize) -> (usize, usize) {
        if !self.causal {
            return (0, self.keys);
        }
        let end = (self.first + i * self.advance + 1).min(self.keys);
        (if self.window == 0 { 0 } else { end.saturating_sub(self.window) }, end)
    }
}

/// # Safety
/// That of `Kernel::attend_pages`, and the machine has `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn attend<V: Vector>(a: &PagedAttention, scratch_memory: &mut [f32]) {
    assert!(scratch_memory.len() >= scratch(a.head_dim), "scratch is too small");
    let scores = scratch_memory.as_mut_ptr();
    // SAFETY: the assertion keeps all parts within the scratch; the rest is the caller's promise.
    unsafe {
        let added = scores.add(LARGEST_TILE * CHUNK);
        let total = added.add(LARGEST_TILE * width(a.head_dim));
        let mut query = 0;
        while query < a.queries {
            let rows = V::tile_rows(a.queries - query, V::FLOAT_ROWS);
            match a.kind {
                CacheType::F32 => attend_tile::<V, f32>(a, query, rows, scores, added, total),
                CacheType::F16 => attend_tile::<V, f16>(a, query, rows, scores, added, total),
            }
            query += rows;
        }
    }
}

/// # Safety
/// As `attend`.
#[inline(always)]
unsafe fn attend_tile<V: Vector, T: Number>(
    a: &PagedAttention,
    query: usize,
    rows: usize,
    scores: *mut f32,
    added: *mut f32,
    total: *mut f32,
) {
    let (dim, width) = (a.head_dim, width(a.head_dim));
    let mut largest = [f32::NEG_INFINITY; LARGEST_TILE];
    // Lane by lane; the lanes are added at the end.
    let mut sums = [[0.0f32; BLOCK]; LARGEST_TILE];
    // Both ends of the range grow with the query.
    let (begin, end) = (a.sees(query).0 / CHUNK * CHUNK, a.sees(query + rows - 1).1);
    if begin >= end {
        // No visible keys: the output is 0.
        for i in 0..rows {
            // SAFETY: only the head's own columns are written.
            unsafe { a.out.add((query + i) * a.out_stride).write_bytes(0, dim) };
        }
        return;
    }
    for chunk in (begin..end).step_by(CHUNK) {
        let count = (end - chunk).min(CHUNK);
        // SAFETY: the caller's promise: pages reach `end`.
        unsafe {
            let pages = a.pages.cast::<*const T>().add(chunk / BLOCK);
            let keys = Keys { pages, offset: a.key_offset };
            let product = FloatProduct { a: a.q.add(query * a.q_stride), stride: a.q_stride, inputs: dim, w: keys };
            multiply::<V, _>(&product, rows, count.div_ceil(BLOCK), scores, CHUNK);
            for i in 0..rows {
                let (low, high) = a.sees(query + i);
                let seen = (low.saturating_sub(chunk), high.saturating_sub(chunk).min(count));
                let bias = a.bias.map(|b| b.offset(chunk as isize - (a.first + (query + i) * a.advance) as isize));
                let raw = Scores { scale: a.scale, softcap: a.softcap, bias, count, seen, whole: false };
                let factor = raw.soften::<V>(scores.add(i * CHUNK), &mut largest[i], &mut sums[i]);
                if chunk > begin && factor != 1.0 {
                    for j in (0..width).step_by(BLOCK) {
                        let p = total.add(i * width + j);
                        V::load(p).mul(V::splat(factor)).store(p);
                    }
                }
            }
            let to = if chunk == begin { total } else { added };
            let values = Values { pages, offset: a.value_offset, width };
            let product = FloatProduct { a: scores.cast_const(), stride: CHUNK, inputs: count, w: values };
            multiply::<V, _>(&product, rows, width / BLOCK, to, width);
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
