//! Keys and values as tensors that grow at their end. Sequences that split share them, because candle's tensors are never changed.

use std::sync::Arc;

use candle_core::Tensor;

use crate::backend::{CacheShape, CachedSequence};
use crate::error::Result;
use crate::memory::Budget;

/// Bytes of one token's keys and values in all layers.
fn token_bytes(shape: CacheShape) -> usize {
    2 * shape.layers * shape.kv_heads * shape.head_dim * size_of::<f32>()
}

/// Where sequences' memory is counted.
pub struct Cache {
    shape: CacheShape,
    budget: Arc<Budget>,
}

impl Cache {
    pub fn new(shape: CacheShape, budget: &Arc<Budget>) -> Self {
        Self { shape, budget: budget.clone() }
    }

    pub fn sequence(&self) -> Sequence {
        Sequence {
            layers: vec![None; self.shape.layers],
            length: 0,
            shape: self.shape,
            counted: Counted { bytes: 0, budget: self.budget.clone() },
        }
    }
}

/// Bytes counted in the budget; a clone counts its own, as if nothing were shared.
struct Counted {
    bytes: u64,
    budget: Arc<Budget>,
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        Self { bytes: 0, budget: self.budget.clone() }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.budget.give(self.bytes);
    }
}

/// The keys and values of one sequence: `[heads, tokens, dim]` each, a pair a layer.
#[derive(Clone)]
pub struct Sequence {
    layers: Vec<Option<(Tensor, Tensor)>>,
    length: usize,
    shape: CacheShape,
    counted: Counted,
}

impl Sequence {
    pub fn shape(&self) -> CacheShape {
        self.shape
    }

    /// Puts keys and values behind the `length` that the sequence has.
    pub fn store(&mut self, layer: usize, keys: Tensor, values: Tensor) -> candle_core::Result<()> {
        let length = self.length;
        let joined = match &self.layers[layer] {
            Some((k, v)) if length > 0 => {
                let join = |old: &Tensor, new: Tensor| Tensor::cat(&[&old.narrow(1, 0, length)?, &new], 1);
                (join(k, keys)?, join(v, values)?)
            }
            _ => (keys, values),
        };
        self.layers[layer] = Some(joined);
        Ok(())
    }

    /// A layer's keys and values, those just stored too.
    pub fn read(&self, layer: usize) -> candle_core::Result<(Tensor, Tensor)> {
        self.layers[layer].clone().ok_or_else(|| candle_core::Error::Msg("a cache without keys".into()))
    }
}

impl CachedSequence for Sequence {
    fn length(&self) -> usize {
        self.length
    }

    fn truncate(&mut self, length: usize) {
        // `store` cuts what lies beyond.
        self.length = self.length.min(length);
    }

    fn reserve(&mut self, tokens: usize) -> Result<()> {
        let wanted = ((self.length + tokens) * token_bytes(self.shape)) as u64;
        let more = wanted.saturating_sub(self.counted.bytes);
        self.counted.budget.take(more, "the cache of keys and values")?;
        self.counted.bytes += more;
        Ok(())
    }

    fn advance(&mut self, tokens: usize) {
        self.length += tokens;
    }
}
