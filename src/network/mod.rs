//! A whole loaded model, behind one trait: tokens in, rows of numbers out. Three implementations: the transformer over a [`Backend`]
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
use crate::spec::{Batch, Output};

pub(crate) use step::List;
pub use step::{Feed, StepOutput, StepRows, Want};

/// What a model can be asked for, whatever its backend.
pub trait Network: Send + Sync {
    /// Reads whole texts: one row of [`Output::width`] values per sequence, or per token where `output` pools nothing.
    fn encode(&self, pass: &Batch, output: &Output, call: Call<'_>) -> Result<Vec<f32>>;
    /// Reads source texts with the encoder: an empty sequence of the decoder for each, ready to attend to it.
    fn read_sources(&self, pass: &Batch, call: Call<'_>) -> Result<Vec<Sequence>>;
    /// An empty sequence of a decoder that has no encoder.
    fn sequence(&self) -> Result<Sequence>;
    /// Appends each feed's tokens to its sequence, and puts what each wants in `output`. Feeds may want different things; what one gets
    /// does not depend on the others.
    ///
    /// # Cancellation
    /// `call` cancels the whole step, which then fails. A feed's own flag cancels that feed: before its part of a pass begins, or
    /// within a pass that it has to itself or shares with feeds of the same flag only. It is then marked as cancelled in `output` and its
    /// sequence holds what it held before the step; the others go on. Where LongRoPE's keys were to be computed again in this step, the
    /// cancelled sequence is empty instead. A flag that is set after a feed's last pass changes nothing.
    ///
    /// # Errors
    /// Ids outside the vocabulary, a sequence that becomes too long, another model's sequence, no memory for the KV cache. After an
    /// error the sequences are fit for nothing but to be dropped.
    fn step(&self, feeds: &mut [Feed], output: &mut StepOutput, call: Call<'_>) -> Result<()>;
    /// LongRoPE's original context length, beyond which all keys of a sequence are computed anew.
    fn switch(&self) -> Option<usize>;
    /// The backend's description.
    fn describe(&self) -> String;
    /// What a model's info says of how it is run, `backend` first.
    fn info(&self) -> Value;
    /// Tokens that a pass aims at.
    fn pass_tokens(&self) -> usize;
    /// Tokens of a pass where it is best that every thread runs passes of its own; None where it is not.
    fn thread_pass_tokens(&self) -> Option<usize> {
        None
    }
    /// Bytes that caches take now, and what is kept for the next ones.
    fn cache_bytes(&self) -> u64;
    /// Whether sequences hold what was computed. Where they do not, a token costs the whole text again.
    fn remembers(&self) -> bool {
        true
    }
}

/// What a decoder remembers of one text. A clone shares what both remember, and either may go on.
pub struct Sequence(Box<dyn SequenceState>);

/// What a network keeps behind a [`Sequence`].
pub(crate) trait SequenceState: Any + Send + Sync {
    fn fork(&self) -> Box<dyn SequenceState>;
    /// As `fork`, into what another one was; false if that cannot be.
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

    /// Without allocating, where `self` was as long before.
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

    /// Tokens that it holds.
    pub fn length(&self) -> usize {
        self.0.length()
    }

    /// Forgets the tokens from `length` on.
    pub fn truncate(&mut self, length: usize) {
        self.0.truncate(length);
    }
}

/// Ids that would read outside the tables are refused here, once, whatever the network.
pub(crate) fn check_ids(name: &str, ids: &[u32], limit: usize) -> Result<()> {
    match ids.iter().position(|&id| id as usize >= limit) {
        Some(i) => Err(Error::invalid_argument(format!("{name}: {} is not below {limit}", ids[i]))),
        None => Ok(()),
    }
}

/// Refuses a sequence that is longer than its stack can take.
pub(crate) fn check_length(tokens: usize, most: usize) -> Result<()> {
    if tokens <= most {
        return Ok(());
    }
    Err(Error::invalid_argument(format!("a sequence of {tokens} tokens; the model takes at most {most}")))
}
