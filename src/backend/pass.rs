//! One forward pass through a stack: its sequences, their KV caches, and the data that all layers share.

use std::ops::Range;

use crate::base::error::Result;
use crate::spec::{Layout, Stack};

use super::Backend;

/// Rows of an activation and the sequence that they belong to.
pub struct Slot<S> {
    pub rows: Range<usize>,
    pub sequence: S,
}

/// The shape of a KV cache.
#[derive(Clone, Copy, Debug)]
pub struct CacheShape {
    pub layers: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
}

/// The KV cache of one sequence on a backend. Clones share its pages, and each may be extended.
pub trait CachedSequence: Clone + Send + Sync {
    /// The number of tokens.
    fn length(&self) -> usize;
    /// Drops the tokens from `length` on.
    fn truncate(&mut self, length: usize);
    /// Allocates pages for this many more tokens, so that a step cannot run out of memory in the middle.
    fn reserve(&mut self, tokens: usize) -> Result<()>;
    /// Adds tokens that a pass has written in all layers to the length.
    fn advance(&mut self, tokens: usize);
}

/// Sines and cosines of rotary positions: `[tokens, half]` each.
#[derive(Default)]
pub struct Rotation {
    /// Half of the rotated components; component `i` is paired with `half + i`. 0 without rotation.
    pub half: usize,
    pub cos: Vec<f32>,
    pub sin: Vec<f32>,
}

/// The rotary positions of a pass's tokens, for layers that see all tokens and for those with a sliding window.
#[derive(Default)]
pub struct Rotations {
    pub global: Rotation,
    /// For layers with a sliding window, if their frequencies differ.
    pub local: Rotation,
}

impl Rotations {
    /// The rotation of a layer with this window, 0 for none; None without rotary positions.
    pub fn of(&self, window: usize) -> Option<&Rotation> {
        let rotation = if window > 0 && self.local.half > 0 { &self.local } else { &self.global };
        (rotation.half > 0).then_some(rotation)
    }
}

/// The sequences of a pass.
pub enum Sequences<'a, S> {
    /// An encoder's: whole texts, packed. Tokens `i` and `j` of a text see each other; in layers with a window `w` only if
    /// `|i - j| <= w / 2`.
    Whole(&'a Layout),
    /// A decoder's: each slot's rows are appended to the sequence's KV cache, which has reserved pages. A token sees itself and earlier
    /// tokens; in layers with a window `w` the last `w` of them. With cross-attention, each slot's rows also see the whole source of
    /// the same rows.
    Appended { own: &'a [Slot<&'a mut S>], sources: &'a [Slot<&'a S>] },
}

impl<S> Sequences<'_, S> {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Self::Whole(layout) => layout.tokens(),
            Self::Appended { own, .. } => own.last().map_or(0, |slot| slot.rows.end),
        }
    }
}

/// The rows of distances between queries and keys in the table of disentangled attention.
pub struct DistanceRows {
    /// By `query - key + longest - 1`, of texts of up to `longest` tokens.
    rows: Vec<u32>,
    /// Half of the table's rows.
    pub span: usize,
    /// Up to this distance, rows are one apart.
    pub linear: usize,
}

impl DistanceRows {
    pub fn new(rows: Vec<u32>, span: usize) -> Self {
        let centre = rows.len() / 2;
        let is_linear =
            |&n: &usize| rows[centre + n] == (span + n) as u32 && rows[centre - n] + n as u32 == span as u32;
        let linear = (0..=centre).take_while(is_linear).last().unwrap_or(0);
        Self { rows, span, linear }
    }

    /// The row of a distance `query - key`.
    pub fn row(&self, distance: isize) -> usize {
        self.rows[(self.rows.len() / 2).saturating_add_signed(distance)] as usize
    }
}

/// The input of [`Backend::begin`].
pub struct PassInput<'a, B: Backend + ?Sized> {
    pub stack: &'a Stack,
    pub rotations: &'a Rotations,
    pub relative_bias: Option<&'a B::RelativeBias>,
    /// With disentangled attention.
    pub distances: Option<&'a DistanceRows>,
    pub sequences: Sequences<'a, B::Sequence>,
}

/// The norms of each head's queries and keys.
pub struct HeadNorms<N> {
    pub query: N,
    pub key: N,
}

/// The input of one attention.
pub enum AttentionInput<'a, B: Backend + ?Sized> {
    /// Self-attention: `[tokens, queries then keys then values]`.
    Own { qkv: B::Tensor, norms: Option<&'a HeadNorms<B::Norm>>, distances: Option<&'a B::Distances> },
    /// Cross-attention without positions: `[tokens, queries]`; [`Backend::store`] wrote the keys and values.
    Source { queries: B::Tensor },
}
