//! The data that all layers of a pass share on a device: sines and cosines, attention plans, and the writes to the KV cache. It is copied
//! to the device once.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{Error, Result, Tensor};

use crate::backend::{AttentionInput, CachedSequence, HeadNorms, PassInput, Rotation, Sequences};
use crate::spec::Stack;

use super::Candle;
use super::attention::{AttentionPlan, KeyRows, Piece, Setting, Sight};
use super::cache::{PagePool, Writes};
use super::weights::{Norm, product_type};

/// Sines and cosines of a pass's tokens, `[tokens, half]` each.
struct Angles {
    cos: Tensor,
    sin: Tensor,
}

impl Angles {
    fn new(candle: &Candle, rotation: &Rotation) -> Result<Option<Self>> {
        let half = rotation.half;
        if half == 0 {
            return Ok(None);
        }
        let part = |values: &[f32]| {
            candle.carry(values.to_vec(), (values.len() / half, half))?.to_dtype(product_type(candle.precision))
        };
        Ok(Some(Self { cos: part(&rotation.cos)?, sin: part(&rotation.sin)? }))
    }

    /// Rotates the first components of `[tokens, heads, dim]`.
    fn turn(&self, x: &Tensor) -> Result<Tensor> {
        let (width, dim) = (2 * self.cos.dim(1)?, x.dim(2)?);
        let first = x.narrow(2, 0, width)?.unsqueeze(0)?.contiguous()?;
        let first = candle_nn::rotary_emb::rope_thd(&first, &self.cos, &self.sin)?.squeeze(0)?;
        if width == dim { Ok(first) } else { Tensor::cat(&[first, x.narrow(2, width, dim - width)?], 2) }
    }
}

/// The data that all layers of a pass share.
pub struct Pass<'a> {
    stack: &'a Stack,
    angles: Option<Angles>,
    /// For layers with a sliding window, if their frequencies differ.
    local_angles: Option<Angles>,
    /// One plan per window size of the layers, 0 for none. Empty for a pass without rows.
    plans: Vec<(usize, Arc<AttentionPlan>)>,
    source: Option<Arc<AttentionPlan>>,
    /// The KV cache, and the pass's writes to it.
    cache: Option<(Arc<PagePool>, Writes)>,
}

impl<'a> Pass<'a> {
    pub fn new(candle: &Candle, input: PassInput<'a, Candle>) -> Result<Self> {
        let PassInput { stack, rotations, relative_bias: bias, distances, sequences } = input;
        let setting = Setting { candle, heads: stack.heads, bias, distances };
        let rows = sequences.rows();
        let filled = |rows: &Range<usize>| !rows.is_empty();
        let (mut source, mut cache) = (None, None);
        let (pieces, causal) = match sequences {
            Sequences::Whole(layout) => {
                let ranges = (0..layout.sequences()).map(|i| layout.range(i)).filter(filled);
                let piece = |rows: Range<usize>| {
                    let (first, count) = (rows.start, rows.len());
                    Piece { rows, first: 0, keys: KeyRows::From(first), count }
                };
                (ranges.map(piece).collect(), false)
            }
            Sequences::Appended { own, sources } => {
                if let Some(slot) = own.iter().find(|slot| filled(&slot.rows)) {
                    cache = Some((slot.sequence.pool().clone(), Writes::new(candle, own, rows)?));
                }
                let seen = sources.iter().filter(|slot| filled(&slot.rows));
                let seen: Vec<_> =
                    seen.map(|slot| slot.sequence.piece(slot.rows.clone(), slot.sequence.length())).collect();
                if !seen.is_empty() {
                    source = Some(candle.plans.of(
                        &Setting { bias: None, distances: None, ..setting },
                        seen,
                        rows,
                        Sight::ALL,
                    )?);
                }
                let own = own.iter().filter(|slot| filled(&slot.rows));
                let piece =
                    own.map(|slot| slot.sequence.piece(slot.rows.clone(), slot.sequence.length() + slot.rows.len()));
                (piece.collect::<Vec<_>>(), true)
            }
        };
        let mut plans: Vec<(usize, Arc<AttentionPlan>)> = Vec::new();
        for window in (0..stack.layers).map(|layer| stack.attention.window(layer)) {
            if rows > 0 && plans.iter().all(|(known, _)| *known != window) {
                let sight = Sight { causal, window };
                plans.push((window, candle.plans.of(&setting, pieces.clone(), rows, sight)?));
            }
        }
        let angles = Angles::new(candle, &rotations.global)?;
        let local_angles = Angles::new(candle, &rotations.local)?;
        Ok(Self { stack, angles, local_angles, plans, source, cache })
    }

    pub fn attend(&self, layer: usize, input: AttentionInput<Candle>) -> Result<Tensor> {
        let (stack, heads) = (self.stack, self.stack.heads);
        match input {
            AttentionInput::Own { qkv, norms, distances } => {
                let window = stack.attention.window(layer);
                let rotated = stack.rotary.as_ref().is_some_and(|rotary| rotary.is_in(layer));
                let qkv = self.turn(qkv, rotated.then_some(window), norms)?;
                self.store(&qkv, heads.query_width(), layer)?;
                let queries = qkv.narrow(1, 0, heads.query_width())?.contiguous()?;
                let Some((_, plan)) = self.plans.iter().find(|(known, _)| *known == window) else { return Ok(queries) };
                match &self.cache {
                    Some((pool, _)) => {
                        plan.attend(&queries, stack, distances, |rows, batch, keys| pool.read(layer, rows, batch, keys))
                    }
                    None => plan
                        .attend(&queries, stack, distances, |rows, batch, keys| self.packed(&qkv, rows, batch, keys)),
                }
            }
            AttentionInput::Source { queries } => match (&self.source, &self.cache) {
                (Some(plan), Some((pool, _))) => {
                    plan.attend(&queries, stack, None, |rows, batch, keys| pool.read(layer, rows, batch, keys))
                }
                _ if self.plans.is_empty() => Ok(queries),
                _ => Err(Error::Msg("cross-attention without a source".into())),
            },
        }
    }

    /// Writes keys (from `column` on) and values (right after them) to the KV caches, if there are any.
    pub fn store(&self, x: &Tensor, column: usize, layer: usize) -> Result<()> {
        self.cache.as_ref().map_or(Ok(()), |(pool, writes)| pool.write(x, column, layer, writes))
    }

    /// Queries and keys normalised and rotated head by head; `window` is that of the rotations, None without them.
    fn turn(&self, qkv: Tensor, window: Option<usize>, norms: Option<&HeadNorms<Norm>>) -> Result<Tensor> {
        let (heads, tokens, joint) = (self.stack.heads, qkv.dim(0)?, self.stack.attention.joint_norm);
        let local = |&window: &usize| self.local_angles.as_ref().filter(|_| window > 0).or(self.angles.as_ref());
        let angles = window.as_ref().and_then(local);
        if norms.is_none() && angles.is_none() {
            return Ok(qkv);
        }
        let turned = |column: usize, count: usize, norm: Option<&Norm>| {
            let x = qkv.narrow(1, column, count * heads.dim)?.reshape((tokens, count, heads.dim))?;
            let whole = if joint { x.reshape((tokens, count * heads.dim))? } else { x.clone() };
            let x = norm.map_or_else(|| Ok(x), |norm| norm.apply(&whole)?.reshape((tokens, count, heads.dim)))?;
            let x = angles.map_or_else(|| Ok(x.clone()), |angles| angles.turn(&x))?;
            x.reshape((tokens, count * heads.dim))
        };
        let queries = turned(0, heads.count, norms.map(|norms| &norms.query))?;
        let keys = turned(heads.query_width(), heads.kv, norms.map(|norms| &norms.key))?;
        let values = qkv.narrow(1, heads.query_width() + heads.kv_width(), heads.kv_width())?;
        Tensor::cat(&[queries, keys, values], 1)
    }

    /// The columns of keys and of values, of rows or of all, as `[kv, batch, keys, dim]`.
    fn packed(&self, qkv: &Tensor, rows: Option<&Tensor>, batch: usize, keys: usize) -> Result<(Tensor, Tensor)> {
        let heads = self.stack.heads;
        let part = |column: usize| {
            let x = qkv.narrow(1, column, heads.kv_width())?.contiguous()?;
            let x = rows.map_or_else(|| Ok(x.clone()), |rows| x.index_select(rows, 0))?;
            x.reshape((batch, keys, heads.kv, heads.dim))?.permute((2, 0, 1, 3))?.contiguous()
        };
        Ok((part(heads.query_width())?, part(heads.query_width() + heads.kv_width())?))
    }
}
