//! Attention of the CPU backend: over a packed batch, and over a cache; and what happens to queries and keys before.

use std::borrow::Borrow;

use half::f16;

use crate::backend::{CachedSequence, Rotation, Scores, Slot};
use crate::kernels::weight::Format;
use crate::kernels::{Attention, BLOCK, CacheType, InputType, PagedAttention};
use crate::spec::{Heads, Layout, QUERY_CHUNK};

use super::cache::{PageShape, Sequence};
use super::{Cpu, NORM_CHUNK, Norm, RelativeBias, Shared, Tensor};

impl RelativeBias {
    /// The bias of distance 0 of a head.
    fn centre(&self, head: usize) -> *const f32 {
        self.rows[head][self.centre..].as_ptr()
    }
}

/// Tasks a thread that attention over a cache is cut into, so that uneven ones even out.
const PIECES_A_THREAD: usize = 8;

/// Where a page lies.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct PagePointer(*const u8);

// SAFETY: pages are read while the sequences that hold them are borrowed, and nobody writes meanwhile.
unsafe impl Sync for PagePointer {}

/// Some rows of a slot.
#[derive(Clone, Copy)]
struct Piece {
    slot: u32,
    row: u32,
    /// Where the slot's pages begin in the list of all.
    pages: u32,
}

/// The slots' rows in pieces of so many: a slot, and the piece's first row.
fn pieces<S>(slots: &[Slot<S>], rows: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
    let slots = slots.iter().enumerate();
    slots.flat_map(move |(i, slot)| (0..slot.rows.len()).step_by(rows).map(move |row| (i, row)))
}

/// Writes one token's keys and values, head by head one after the other, into its lane of a page.
///
/// # Safety
/// The page has this shape and type, and nobody else touches the lane.
unsafe fn write_row<T: Copy>(page: *mut T, shape: PageShape, layer: usize, lane: usize, row: &[T]) {
    let dim = shape.head_dim();
    let (keys, values) = row.split_at(shape.kv_heads() * dim);
    for (head, (keys, values)) in keys.chunks_exact(dim).zip(values.chunks_exact(dim)).enumerate() {
        // SAFETY: the head's part of the page.
        unsafe {
            let to = page.add(shape.keys(layer, head) + lane);
            for (d, key) in keys.iter().enumerate() {
                to.add(d * BLOCK).write(*key);
            }
            let to = page.add(shape.values(layer, head) + lane * shape.width);
            to.copy_from_nonoverlapping(values.as_ptr(), dim);
        }
    }
}

impl Cpu {
    /// All tokens of a sequence see all of it.
    pub(super) fn attend_packed(
        &self,
        qkv: &Tensor,
        layout: &Layout,
        heads: Heads,
        scores: Scores<RelativeBias>,
    ) -> Tensor {
        let hidden = heads.query_width();
        let mut result = self.tensor(qkv.rows, hidden);
        let out = Shared(result.buffer.floats_mut().as_mut_ptr());
        let input = qkv.buffer.floats();
        let chunks = layout.chunks();
        self.pool.run(chunks.len() * heads.count, |task| {
            let (sequence, query) = chunks[task / heads.count];
            let head = task % heads.count;
            let range = layout.range(sequence as usize);
            let tokens = range.len();
            let column = head * heads.dim;
            let q = &input[range.start * qkv.width + column..];
            let query = query as usize;
            let attention = Attention {
                q: q.as_ptr(),
                k: q[hidden..].as_ptr(),
                v: q[2 * hidden..].as_ptr(),
                // SAFETY: the sequence's first row and the head's column lie inside the result.
                out: unsafe { out.at(range.start * hidden + column) },
                stride: qkv.width,
                out_stride: hidden,
                tokens,
                queries: (query, tokens.min(query + QUERY_CHUNK)),
                head_dim: heads.dim,
                scale: scores.scale,
                bias: scores.bias.map(|b| b.centre(head)),
            };
            let mut memory = self.scratch.take(self.kernel.attention_scratch(tokens, heads.dim));
            // SAFETY: the pointers cover the sequence's rows; the bias row reaches `tokens - 1` both ways because the encoder
            // refuses sequences longer than the row was made for; a task writes only its queries' part of its head's columns.
            unsafe {
                match Format::new(self.precision).input {
                    InputType::F32 => self.kernel.attend(&attention, memory.floats_mut()),
                    InputType::Bf16 | InputType::I8 => self.kernel.attend_rounded(&attention, memory.floats_mut()),
                }
            };
        });
        result
    }

    /// Each slot's rows attend to what its sequence holds, with `causal` its own rows too, which were just stored.
    pub(super) fn attend_slots<S: Borrow<Sequence> + Sync>(
        &self,
        q: &Tensor,
        slots: &[Slot<S>],
        layer: usize,
        heads: Heads,
        scores: Scores<RelativeBias>,
    ) -> Tensor {
        let hidden = heads.query_width();
        let mut result = self.tensor(q.rows, hidden);
        let out = Shared(result.buffer.floats_mut().as_mut_ptr());
        let input = q.buffer.floats();
        let count = slots.iter().map(|slot| slot.sequence.borrow().pages().len()).sum();
        let mut pages = self.scratch.list::<PagePointer>(count);
        let mut chunks = self.scratch.list::<Piece>(pieces(slots, QUERY_CHUNK).count());
        let mut last = usize::MAX;
        let mut first_page = 0;
        for (slot, row) in pieces(slots, QUERY_CHUNK) {
            if slot != last {
                (last, first_page) = (slot, pages.len());
                slots[slot].sequence.borrow().pages().for_each(|page| pages.push(PagePointer(page)));
            }
            chunks.push(Piece { slot: slot as u32, row: row as u32, pages: first_page as u32 });
        }
        let group = heads.group();
        let attend = |piece: Piece, kv_head: usize, memory: &mut [f32]| {
            let (slot, row) = (&slots[piece.slot as usize], piece.row as usize);
            let sequence = slot.sequence.borrow();
            let (shape, past) = (sequence.shape(), sequence.length());
            let queries = (slot.rows.len() - row).min(QUERY_CHUNK);
            let keys = if scores.causal { past + slot.rows.len() } else { past };
            // One token's heads that share their keys are one tile; of several tokens, each head's tokens are.
            let heads_at_once = if queries == 1 && scores.bias.is_none() { group } else { 1 };
            for first_head in (kv_head * group..(kv_head + 1) * group).step_by(heads_at_once) {
                let column = first_head * heads.dim;
                let first_row = slot.rows.start + row;
                let tokens = heads_at_once == 1;
                let attention = PagedAttention {
                    q: input[first_row * q.width + column..].as_ptr(),
                    q_stride: if tokens { q.width } else { heads.dim },
                    // SAFETY: the row and the head's column lie inside the result.
                    out: unsafe { out.at(first_row * hidden + column) },
                    out_stride: if tokens { hidden } else { heads.dim },
                    queries: if tokens { queries } else { heads_at_once },
                    first: past + row,
                    advance: usize::from(tokens),
                    keys,
                    causal: scores.causal,
                    window: scores.window,
                    pages: pages[piece.pages as usize..].as_ptr().cast(),
                    kind: shape.kind,
                    key_offset: shape.keys(layer, kv_head),
                    value_offset: shape.values(layer, kv_head),
                    head_dim: heads.dim,
                    scale: scores.scale,
                    softcap: scores.softcap,
                    bias: scores.bias.map(|b| b.centre(first_head)),
                };
                // SAFETY: the sequence has pages for all its keys, written by `store_rows`; the bias reaches as far as the decoder
                // lets a sequence grow; a task writes only its rows' part of its heads' columns.
                unsafe { self.kernel.attend_pages(&attention, memory) };
            }
        };
        // A step of decoding has many small pieces: several make a task, which takes its scratch memory once.
        let pieces = chunks.len() * heads.kv;
        let tasks = pieces.min(PIECES_A_THREAD * self.pool.threads());
        self.pool.run(tasks, |task| {
            let mut memory = self.scratch.take(self.kernel.paged_scratch(heads.dim));
            for piece in task * pieces / tasks..(task + 1) * pieces / tasks {
                attend(chunks[piece / heads.kv], piece % heads.kv, memory.floats_mut());
            }
        });
        result
    }

    /// Writes keys and values into the cache, in its number type: keys transposed, values as they are.
    pub(super) fn store_rows(&self, x: &Tensor, column: usize, slots: &mut [Slot<&mut Sequence>], layer: usize) {
        let Some(shape) = slots.first().map(|slot| slot.sequence.shape()) else { return };
        let input = x.buffer.floats();
        let mut chunks = self.scratch.list::<(usize, usize)>(pieces(slots, NORM_CHUNK).count());
        pieces(slots, NORM_CHUNK).for_each(|piece| chunks.push(piece));
        let slots = &*slots;
        // A row's keys, and its values behind them.
        let count = 2 * shape.kv_heads() * shape.head_dim();
        self.pool.run(chunks.len().div_ceil(4), |task| {
            let mut rounded = (shape.kind == CacheType::F16).then(|| self.scratch.filled(count, f16::ZERO));
            for &(slot_index, first) in chunks.iter().skip(4 * task).take(4) {
                let slot = &slots[slot_index];
                for row in first..slot.rows.len().min(first + NORM_CHUNK) {
                    let position = slot.sequence.length() + row;
                    let from = &input[(slot.rows.start + row) * x.width + column..][..count];
                    // SAFETY: `reserve` made room, sequences are borrowed for writing, and each row is one task's; one cache's pages
                    // are of one type.
                    unsafe {
                        let page = slot.sequence.page_mut(position);
                        match &mut rounded {
                            None => write_row(page.cast::<f32>(), shape, layer, position % BLOCK, from),
                            Some(rounded) => {
                                self.kernel.narrow(from, rounded);
                                write_row(page.cast::<f16>(), shape, layer, position % BLOCK, rounded);
                            }
                        }
                    }
                }
            }
        });
    }

    /// Normalises queries and keys head by head, and turns them.
    pub(super) fn rotate_heads(
        &self,
        mut qkv: Tensor,
        heads: Heads,
        norms: Option<(&Norm, &Norm)>,
        rotation: Option<&Rotation>,
    ) -> Tensor {
        self.each_row(&mut qkv, |row, x| {
            let turned = rotation.map(|r| (&r.cos[row * r.half..][..r.half], &r.sin[row * r.half..][..r.half]));
            for (i, head) in x.chunks_exact_mut(heads.dim).take(heads.count + heads.kv).enumerate() {
                if let Some((query, key)) = norms {
                    let norm = if i < heads.count { query } else { key };
                    norm.apply(self.kernel, head);
                }
                let Some((cos, sin)) = turned else { continue };
                let (low, rest) = head.split_at_mut(cos.len());
                for (((a, b), cos), sin) in low.iter_mut().zip(rest).zip(cos).zip(sin) {
                    (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
                }
            }
        });
        qkv
    }
}
