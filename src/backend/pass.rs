//! One forward pass through a stack as a backend sees it: the sequences, their KV caches, and all that is equal in every layer.

use std::ops::Range;

use crate::base::error::Result;
use crate::spec::{Layout, Stack};

use super::Backend;

/// Some rows of an activation and the sequence that they belong to.
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

/// The KV cache of one sequence, in whatever memory the backend has. A clone shares what both hold, and either may be extended.
pub trait CachedSequence: Clone + Send + Sync {
    /// Tokens that it holds.
    fn length(&self) -> usize;
    /// Forgets the tokens from `length` on.
    fn truncate(&mut self, length: usize);
    /// Makes room for this many more tokens, so that no step fails for want of memory halfway.
    fn reserve(&mut self, tokens: usize) -> Result<()>;
    /// Counts tokens that a pass has written in all layers.
    fn advance(&mut self, tokens: usize);
}

/// Sines and cosines of rotary positions: `[tokens, half]` each.
#[derive(Default)]
pub struct Rotation {
    /// Half of the rotated components; component `i` is paired with `half + i`. 0 where nothing is rotated.
    pub half: usize,
    pub cos: Vec<f32>,
    pub sin: Vec<f32>,
}

/// The rotary positions of a pass's tokens, for layers that see all tokens and for those with a sliding window.
#[derive(Default)]
pub struct Rotations {
    pub global: Rotation,
    /// Where layers with a window have frequencies of their own.
    pub local: Rotation,
}

impl Rotations {
    /// Those of a layer with this window, 0 for none; None where the stack has no rotary positions.
    pub fn of(&self, window: usize) -> Option<&Rotation> {
        let rotation = if window > 0 && self.local.half > 0 { &self.local } else { &self.global };
        (rotation.half > 0).then_some(rotation)
    }
}

/// The sequences of a pass.
pub enum Sequences<'a, S> {
    /// An encoder's: whole texts end to end. Tokens `i` and `j` of a text see each other, in layers with a window `w` where
    /// `|i - j| <= w / 2`.
    Whole(&'a Layout),
    /// A decoder's: each slot's rows are appended to the sequence's KV cache, which has room for them. A token sees itself and those
    /// before it, in layers with a window `w` the last `w` of them. With cross-attention, each slot's rows also see all that the
    /// source of the same rows holds.
    Appended { own: &'a [Slot<&'a mut S>], sources: &'a [Slot<&'a S>] },
}

impl<S> Sequences<'_, S> {
    /// Rows of the pass.
    pub fn rows(&self) -> usize {
        match self {
            Self::Whole(layout) => layout.tokens(),
            Self::Appended { own, .. } => own.last().map_or(0, |slot| slot.rows.end),
        }
    }
}

/// What [`Backend::begin`] makes a pass of.
pub struct PassInput<'a, B: Backend + ?Sized> {
    pub stack: &'a Stack,
    pub rotations: &'a Rotations,
    pub relative_bias: Option<&'a B::RelativeBias>,
    pub sequences: Sequences<'a, B::Sequence>,
}

/// The norms of each head's queries and keys.
pub struct HeadNorms<N> {
    pub query: N,
    pub key: N,
}

/// What one attention of a layer reads.
pub enum AttentionInput<'a, T, N> {
    /// Self-attention: `[tokens, queries then keys then values]`.
    Own { qkv: T, norms: Option<&'a HeadNorms<N>> },
    /// Cross-attention: `[tokens, queries]`; keys and values are those that [`Backend::store`] wrote. It has no positions.
    Source { queries: T },
}
