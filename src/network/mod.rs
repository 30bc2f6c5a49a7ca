//! A loaded network behind one trait: tokens in, rows of numbers out. Three implementations: the transformer over a [`Backend`]
//! (`transformer`), ONNX graphs (`onnx`), and a network in a provider library (`provider`).
//!
//! [`Backend`]: crate::backend::Backend

pub(crate) mod activation_memory;
pub(crate) mod modules;
#[cfg(feature = "onnx")]
pub(crate) mod onnx;
pub(crate) mod placement;
pub mod provider;
mod step;
pub(crate) mod transformer;

use std::any::Any;

use serde_json::Value;

use crate::base::call::Call;
use crate::base::error::{Error, Result};
use crate::spec::{Batch, EncodeOutput, RotarySwitch};

pub use step::{Feed, StepOutput, StepRows, Want};

/// A loaded network.
pub trait Network: Send + Sync {
    /// Runs whole texts: one row of [`EncodeOutput::width`] values per sequence, or per token without pooling.
    fn encode(&self, pass: &Batch, output: &EncodeOutput, call: Call<'_>) -> Result<Vec<f32>>;
    /// Runs the encoder on source texts. Returns an empty decoder sequence for each, with cross-attention to it.
    fn read_sources(&self, pass: &Batch, call: Call<'_>) -> Result<Vec<Sequence>>;
    /// An empty sequence of a model without encoder.
    fn sequence(&self) -> Result<Sequence>;
    /// Appends each feed's tokens to its sequence and writes the rows that it wants to `output`. Feeds may want different things; the
    /// rows of one do not depend on the others.
    ///
    /// # Cancellation
    /// `call` cancels the whole step, which then fails. A feed's own flag cancels only this feed: before its part of a pass begins, or
    /// within a pass whose feeds all have this flag. The feed is then marked as cancelled in `output` and its sequence is as before the
    /// step; if LongRoPE's keys were being recomputed, it is empty. The other feeds are not affected. A flag that is set after a feed's
    /// last pass has no effect.
    ///
    /// # Errors
    /// Ids outside the vocabulary, a sequence that becomes too long, a sequence of another model, no memory for the KV cache. After an
    /// error the sequences must be dropped.
    fn step(&self, feeds: &mut [Feed], output: &mut StepOutput, call: Call<'_>) -> Result<()>;
    /// Where rotary frequencies change: LongRoPE's original context length, beyond which all keys of a sequence are recomputed, or that
    /// of dynamic NTK. None for other models.
    fn rotary_switch(&self) -> Option<RotarySwitch>;
    /// The backend's description.
    fn describe(&self) -> String;
    /// The fields that this network adds to the model's info, `backend` first.
    fn info(&self) -> Value;
    /// The target number of tokens of a pass.
    fn pass_tokens(&self) -> usize;
    /// The target number of tokens if each thread runs its own passes; None if threads should share one.
    fn thread_pass_tokens(&self) -> Option<usize> {
        None
    }
    /// Bytes of KV caches, freed pages that are kept included.
    fn cache_bytes(&self) -> u64;
    /// Whether the child of a `fork` can use and free it. Not if it has threads or a device of its own.
    fn survives_fork(&self) -> bool {
        false
    }
    /// Whether texts of different calls may share a pass, because no text's numbers depend on the others.
    fn merges(&self) -> bool {
        true
    }
    /// Whether, after a step that failed, sequences that are truncated to their former lengths are as before it. Not if a sequence has
    /// become shorter than it was.
    fn survives_errors(&self) -> bool {
        false
    }
    /// Whether sequences have a KV cache. Without it each token reprocesses the whole text.
    fn has_kv_cache(&self) -> bool {
        true
    }
}

/// The KV cache of one text. Clones share its pages and are independent.
pub struct Sequence(Box<dyn SequenceState>);

/// A network's implementation of a [`Sequence`].
pub(crate) trait SequenceState: Any + Send + Sync {
    fn fork(&self) -> Box<dyn SequenceState>;
    /// As `fork`, into the allocations of `other`; false if that is not possible.
    fn copy_to(&self, _other: &mut dyn SequenceState) -> bool {
        false
    }
    fn length(&self) -> usize;
    fn truncate(&mut self, length: usize);
    fn as_any(&mut self) -> &mut dyn Any;
}

impl Clone for Sequence {
    fn clone(&self) -> Self {
        Self(self.0.fork())
    }

    /// Does not allocate if `self` was as long before.
    fn clone_from(&mut self, source: &Self) {
        if !source.0.copy_to(&mut *self.0) {
            *self = source.clone();
        }
    }
}

impl Sequence {
    pub(crate) fn new(state: Box<dyn SequenceState>) -> Self {
        Self(state)
    }

    pub(crate) fn state(&mut self) -> &mut dyn SequenceState {
        &mut *self.0
    }

    /// The number of tokens.
    pub fn length(&self) -> usize {
        self.0.length()
    }

    /// Drops the tokens from `length` on.
    pub fn truncate(&mut self, length: usize) {
        self.0.truncate(length);
    }
}

/// Refuses ids that would read outside the tables.
pub(crate) fn check_ids(name: &str, ids: &[u32], limit: usize) -> Result<()> {
    match ids.iter().position(|&id| id as usize >= limit) {
        Some(i) => Err(Error::invalid_argument(format!("{name}: {} is not below {limit}", ids[i]))),
        None => Ok(()),
    }
}

/// Refuses a sequence that is longer than the stack's maximum.
pub(crate) fn check_length(tokens: usize, max: usize) -> Result<()> {
    if tokens <= max {
        return Ok(());
    }
    Err(Error::invalid_argument(format!("a sequence of {tokens} tokens; the model takes at most {max}")))
}

/// Refuses a Spec that a network would not honour, by the field's name.
pub(crate) fn refuse(wrong: bool, field: &str, why: &str) -> Result<()> {
    if wrong { Err(Error::unsupported(format!("the model's specification: {field}: {why}"))) } else { Ok(()) }
}
