//! Attention of the CPU backend, over whole texts and over KV caches, with head norms, rotary positions and writes to the KV caches.
//!
//! A [`Pass`] cuts the queries into chunks and lists the pages of the KV caches once. Its lists are in scratch memory, so a decoding step
//! does not allocate.

use half::f16;

use crate::backend::{AttentionInput, CachedSequence, DistanceRows, HeadNorms, PassInput, Rotations, Sequences, Slot};
use crate::base::error::{Error, Result};
use crate::kernels::weight::Format;
use crate::kernels::{Attention, BLOCK, CacheType, InputType, PagedAttention};
use crate::spec::{Layout, Stack};

use super::cache::{PageShape, Sequence};
use super::distances::Distances;
use super::scratch::{List, Scratch};
use super::{Cpu, NORM_CHUNK, Norm, RelativeBias, SharedPointer, Tensor};

impl RelativeBias {
    /// The bias of distance 0 of a head.
    fn centre(&self, head: usize) -> *const f32 {
        self.rows[head][self.centre..].as_ptr()
    }
}

/// The maximum number of queries in a chunk.
const QUERY_CHUNK: usize = 128;

/// Tasks per thread of attention over KV caches, for load balance.
const TASKS_PER_THREAD: usize = 8;

/// The minimum number of rows per task of head norms, rotations and cache writes.
const MIN_ROWS: usize = 4;

/// The first byte of a page of a KV cache.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct PagePointer(*mut u8);

// SAFETY: a pass borrows the sequences whose pages it lists; tasks write different rows, and no task reads rows that another task of the
// same run writes.
unsafe impl Sync for PagePointer {}

/// Queries of one sequence and the number of keys that it has.
#[derive(Clone, Copy)]
struct Chunk {
    /// The first query's row in the activation, and its position in the sequence.
    row: u32,
    position: u32,
    queries: u32,
    keys: u32,
    /// The index of the sequence's first page in the pass's list.
    pages: u32,
}

impl Chunk {
    /// The chunks of a sequence whose rows begin at `row` and at `position`.
    fn of(row: usize, rows: usize, position: usize, keys: usize, pages: usize) -> impl Iterator<Item = Self> {
        (0..rows).step_by(QUERY_CHUNK).map(move |query| Self {
            row: (row + query) as u32,
            position: (position + query) as u32,
            queries: (rows - query).min(QUERY_CHUNK) as u32,
            keys: keys as u32,
            pages: pages as u32,
        })
    }
}

/// All queries of a pass in chunks, and the pages of their keys and values.
struct Queries {
    chunks: List<Chunk>,
    pages: List<PagePointer>,
}

impl Queries {
    /// The texts of an encoder's pass, whose keys and values are in the activation.
    fn whole(scratch: &Scratch, layout: &Layout) -> Self {
        let ranges = || (0..layout.sequences()).map(|sequence| layout.range(sequence));
        let mut chunks = scratch.list(ranges().map(|rows| rows.len().div_ceil(QUERY_CHUNK)).sum());
        for rows in ranges() {
            Chunk::of(rows.start, rows.len(), 0, rows.len(), 0).for_each(|chunk| chunks.push(chunk));
        }
        Self { chunks, pages: scratch.list(0) }
    }

    /// Rows that attend to KV caches, including rows that the pass has `appended`.
    fn cached<S>(scratch: &Scratch, slots: &[Slot<S>], sequence: impl Fn(&S) -> &Sequence, appended: bool) -> Self {
        let mut chunks = scratch.list(slots.iter().map(|slot| slot.rows.len().div_ceil(QUERY_CHUNK)).sum());
        let mut pages = scratch.list(slots.iter().map(|slot| sequence(&slot.sequence).pages().len()).sum());
        for Slot { rows, sequence: slot } in slots {
            let sequence = sequence(slot);
            let past = sequence.length();
            let keys = if appended { past + rows.len() } else { past };
            Chunk::of(rows.start, rows.len(), past, keys, pages.len()).for_each(|chunk| chunks.push(chunk));
            sequence.pages().for_each(|page| pages.push(PagePointer(page)));
        }
        Self { chunks, pages }
    }
}

/// The lane of a page that a row's keys and values are written to.
#[derive(Clone, Copy)]
struct CacheLane {
    page: PagePointer,
    lane: u32,
}

/// The data that all layers of a pass share.
pub struct Pass<'a> {
    stack: &'a Stack,
    rotations: &'a Rotations,
    bias: Option<&'a RelativeBias>,
    distances: Option<&'a DistanceRows>,
    own: Queries,
    /// Queries of cross-attention.
    source: Queries,
    /// One per row; empty without KV caches.
    lanes: List<CacheLane>,
    /// The shape of pages; None without KV caches.
    shape: Option<PageShape>,
}

/// Writes one token's keys and values, all heads, to its lane of a page.
///
/// # Safety
/// The page has this shape and type, and nothing else accesses the lane.
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
    pub(super) fn pass<'a>(&self, input: PassInput<'a, Self>) -> Pass<'a> {
        let scratch = &self.lists;
        let PassInput { stack, rotations, relative_bias: bias, distances, sequences } = input;
        let (own, source, lanes, shape) = match sequences {
            Sequences::Whole(layout) => {
                let none = Queries { chunks: scratch.list(0), pages: scratch.list(0) };
                (Queries::whole(scratch, layout), none, scratch.list(0), None)
            }
            Sequences::Appended { own: slots, sources } => {
                let own = Queries::cached(scratch, slots, |sequence| sequence, true);
                let mut lanes = scratch.list(sequences.rows());
                let mut first = 0;
                for Slot { rows, sequence } in slots {
                    let pages = &own.pages[first..];
                    for position in sequence.length()..sequence.length() + rows.len() {
                        lanes.push(CacheLane { page: pages[position / BLOCK], lane: (position % BLOCK) as u32 });
                    }
                    first += sequence.pages().len();
                }
                let shape = slots.first().map(|slot| slot.sequence.shape());
                (own, Queries::cached(scratch, sources, |sequence| sequence, false), lanes, shape)
            }
        };
        Pass { stack, rotations, bias, distances, own, source, lanes, shape }
    }

    pub(super) fn attend(&self, pass: &Pass, layer: usize, input: AttentionInput<Self>) -> Result<Tensor> {
        match (input, pass.shape) {
            (AttentionInput::Own { mut qkv, norms, distances }, shape) => {
                self.prepare(pass, layer, &mut qkv, norms);
                Ok(match shape {
                    None => self.attend_whole(pass, layer, &qkv, distances),
                    Some(shape) => self.attend_cached(pass, layer, &qkv, &pass.own, shape, true),
                })
            }
            (AttentionInput::Source { queries }, Some(shape)) => {
                Ok(self.attend_cached(pass, layer, &queries, &pass.source, shape, false))
            }
            (AttentionInput::Source { .. }, None) => Err(Error::internal("cross-attention without a KV cache")),
        }
    }

    /// Normalises and rotates queries and keys head by head, and writes keys and values to the KV caches.
    fn prepare(&self, pass: &Pass, layer: usize, qkv: &mut Tensor, norms: Option<&HeadNorms<Norm>>) {
        let heads = pass.stack.heads;
        let joint = pass.stack.attention.joint_norm;
        let rotated = pass.stack.rotary.as_ref().is_some_and(|rotary| rotary.is_in(layer));
        let rotation = pass.rotations.of(pass.stack.attention.window(layer)).filter(|_| rotated);
        let turn = |row: usize, x: &mut [f32]| {
            let angles = rotation.map(|r| (&r.cos[row * r.half..][..r.half], &r.sin[row * r.half..][..r.half]));
            if let (Some(norms), true) = (norms, joint) {
                let (queries, rest) = x.split_at_mut(heads.query_width());
                norms.query.apply(self.kernel, queries);
                norms.key.apply(self.kernel, &mut rest[..heads.kv_width()]);
            }
            for (i, head) in x.chunks_exact_mut(heads.dim).take(heads.count + heads.kv).enumerate() {
                if let Some(norms) = norms.filter(|_| !joint) {
                    let norm = if i < heads.count { &norms.query } else { &norms.key };
                    norm.apply(self.kernel, head);
                }
                let Some((cos, sin)) = angles else { continue };
                let (low, rest) = head.split_at_mut(cos.len());
                for (((a, b), cos), sin) in low.iter_mut().zip(rest).zip(cos).zip(sin) {
                    (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
                }
            }
        };
        if norms.is_some() || rotation.is_some() {
            self.write(pass, layer, qkv, heads.query_width(), turn);
        } else if pass.shape.is_some() {
            self.write(pass, layer, qkv, heads.query_width(), |_, _| {});
        }
    }

    /// Calls `before` on each row and then writes its keys (from `column` on) and values (right after them) to the KV cache in the
    /// cache's number type. Keys are transposed.
    pub(super) fn write(
        &self,
        pass: &Pass,
        layer: usize,
        x: &mut Tensor,
        column: usize,
        before: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        let (rows, width, count) = (x.rows, x.width, 2 * pass.stack.heads.kv_width());
        let data = SharedPointer(x.buffer.floats_mut().as_mut_ptr());
        let chunk = rows.div_ceil(TASKS_PER_THREAD * self.pool.threads()).clamp(MIN_ROWS, NORM_CHUNK);
        self.pool.run(rows.div_ceil(chunk), |task| {
            let half = pass.shape.is_some_and(|shape| shape.kind == CacheType::F16);
            let mut rounded = half.then(|| self.scratch.filled(count, f16::ZERO));
            for row in task * chunk..rows.min((task + 1) * chunk) {
                // SAFETY: rows are disjoint and inside the buffer; each is one task's.
                let x = unsafe { std::slice::from_raw_parts_mut(data.at(row * width), width) };
                before(row, x);
                let (Some(place), Some(shape)) = (pass.lanes.get(row), pass.shape) else { continue };
                let (page, lane, x) = (place.page.0, place.lane as usize, &x[column..][..count]);
                // SAFETY: the sequence has room for the row and is borrowed for writing; each row is one task's, and one cache's pages
                // are of one type.
                unsafe {
                    match &mut rounded {
                        None => write_row(page.cast::<f32>(), shape, layer, lane, x),
                        Some(rounded) => {
                            self.kernel.narrow(x, rounded);
                            write_row(page.cast::<f16>(), shape, layer, lane, rounded);
                        }
                    }
                }
            }
        });
    }

    /// Attention within the texts of a pass.
    fn attend_whole(&self, pass: &Pass, layer: usize, qkv: &Tensor, distances: Option<&Distances>) -> Tensor {
        let (heads, spec) = (pass.stack.heads, &pass.stack.attention);
        let hidden = heads.query_width();
        let mut result = self.tensor(qkv.rows, hidden);
        let out = SharedPointer(result.buffer.floats_mut().as_mut_ptr());
        let input = qkv.buffer.floats();
        self.pool.run(pass.own.chunks.len() * heads.count, |task| {
            let chunk = pass.own.chunks[task / heads.count];
            let head = task % heads.count;
            let (query, tokens) = (chunk.position as usize, chunk.keys as usize);
            let start = chunk.row as usize - query;
            let keys = hidden + head / heads.group() * heads.dim;
            let text = &input[start * qkv.width..];
            let queries = query..query + chunk.queries as usize;
            let vectors = distances.zip(pass.distances);
            let vectors = vectors.map(|(all, rows)| all.of(head, rows, queries.clone(), tokens, &self.scratch));
            let attention = Attention {
                q: text[head * heads.dim..].as_ptr(),
                k: text[keys..].as_ptr(),
                v: text[keys + heads.kv_width()..].as_ptr(),
                // SAFETY: the sequence's first row and the head's column are inside the result.
                out: unsafe { out.at(start * hidden + head * heads.dim) },
                stride: qkv.width,
                out_stride: hidden,
                tokens,
                queries: (queries.start, queries.end),
                head_dim: heads.dim,
                scale: spec.scale,
                softcap: spec.softcap,
                reach: match spec.window(layer) {
                    0 => tokens,
                    window => window / 2,
                },
                bias: pass.bias.map(|b| b.centre(head)),
                distances: vectors.as_ref().map(|task| task.vectors),
            };
            let mut memory = self.scratch.take(self.kernel.attention_scratch(&attention));
            // SAFETY: the pointers cover the sequence's rows; the bias row reaches `tokens - 1` both ways because the encoder
            // refuses sequences longer than the row was made for; the vectors were made for these queries and keys; a task writes only its queries' part of its head's columns.
            unsafe {
                match Format::new(self.precision).input {
                    InputType::F32 => self.kernel.attend(&attention, memory.floats_mut()),
                    InputType::Bf16 | InputType::I8 | InputType::Groups => {
                        self.kernel.attend_rounded(&attention, memory.floats_mut())
                    }
                }
            };
        });
        result
    }

    /// Attention to KV caches: causal self-attention, or cross-attention to the whole source.
    fn attend_cached(
        &self,
        pass: &Pass,
        layer: usize,
        q: &Tensor,
        queries: &Queries,
        shape: PageShape,
        own: bool,
    ) -> Tensor {
        let (heads, spec) = (pass.stack.heads, &pass.stack.attention);
        let (hidden, group) = (heads.query_width(), heads.group());
        let mut result = self.tensor(q.rows, hidden);
        let out = SharedPointer(result.buffer.floats_mut().as_mut_ptr());
        let input = q.buffer.floats();
        let bias = pass.bias.filter(|_| own);
        let attend = |chunk: Chunk, kv_head: usize, memory: &mut [f32]| {
            let (row, count) = (chunk.row as usize, chunk.queries as usize);
            // For one token, the heads that share keys form a tile; for several tokens, the tokens of each head do.
            let heads_at_once = if count == 1 && bias.is_none() { group } else { 1 };
            for first_head in (kv_head * group..(kv_head + 1) * group).step_by(heads_at_once) {
                let column = first_head * heads.dim;
                let tokens = heads_at_once == 1;
                let attention = PagedAttention {
                    q: input[row * q.width + column..].as_ptr(),
                    q_stride: if tokens { q.width } else { heads.dim },
                    // SAFETY: the row and the head's column are inside the result.
                    out: unsafe { out.at(row * hidden + column) },
                    out_stride: if tokens { hidden } else { heads.dim },
                    queries: if tokens { count } else { heads_at_once },
                    first: chunk.position as usize,
                    advance: usize::from(tokens),
                    keys: chunk.keys as usize,
                    causal: own,
                    window: if own { spec.window(layer) } else { 0 },
                    pages: queries.pages[chunk.pages as usize..].as_ptr().cast(),
                    kind: shape.kind,
                    key_offset: shape.keys(layer, kv_head),
                    value_offset: shape.values(layer, kv_head),
                    head_dim: heads.dim,
                    scale: spec.scale,
                    softcap: spec.softcap,
                    bias: bias.map(|b| b.centre(first_head)),
                };
                // SAFETY: the sequence has pages for all its keys, which `write` wrote; the bias reaches to the longest sequence that
                // the decoder takes; a task writes only its rows' part of its heads' columns.
                unsafe { self.kernel.attend_pages(&attention, memory) };
            }
        };
        // A decoding step has many small chunks: several form a task, which takes scratch memory once.
        let pieces = queries.chunks.len() * heads.kv;
        let tasks = pieces.min(TASKS_PER_THREAD * self.pool.threads());
        self.pool.run(tasks, |task| {
            let mut memory = self.scratch.take(self.kernel.paged_scratch(heads.dim));
            for piece in task * pieces / tasks..(task + 1) * pieces / tasks {
                attend(queries.chunks[piece / heads.kv], piece % heads.kv, memory.floats_mut());
            }
        });
        result
    }
}
