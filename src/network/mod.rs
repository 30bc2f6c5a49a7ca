//! A whole loaded model, behind one trait: tokens in, rows of numbers out. Three implementations: the transformer over a [`Backend`]
//! (`transformer`), ONNX graphs (`onnx`), and a network in a provider library (`provider`).
//!
//! [`Backend`]: crate::backend::Backend

pub(crate) mod activation_memory;
#[cfg(feature = "onnx")]
pub(crate) mod onnx;
pub(crate) mod placement;
pub mod provider;
pub(crate) mod transformer;

use std::any::Any;

use serde_json::Value;

use crate::backend::Likeliest;
use crate::base::call::Call;
use crate::base::error::{Error, Result};
use crate::spec::{Batch, Pooling};

/// What a model can be asked for, whatever its backend.
pub trait Network: Send + Sync {
    /// The last hidden states, pooled: one row of `hidden` values a sequence, or a token for `Pooling::None`.
    fn pooled(&self, pass: &Batch, pooling: Pooling, call: Call<'_>) -> Result<Vec<f32>>;
    /// The classification head's outputs: one row of `labels` values a sequence, or a token, as the head's kind says.
    fn classify(&self, pass: &Batch, call: Call<'_>) -> Result<Vec<f32>>;
    /// Reads source texts with the encoder: an empty sequence of the decoder for each, ready to attend to it.
    fn read_sources(&self, pass: &Batch, call: Call<'_>) -> Result<Vec<Sequence>>;
    /// An empty sequence of a decoder that has no encoder.
    fn sequence(&self) -> Result<Sequence>;
    /// Appends each feed's tokens to its sequence. The logits that were wanted are appended to `logits`, a row of `vocabulary`
    /// values for each token, in the feeds' order.
    fn step(&self, feeds: &mut [Feed], logits: &mut Vec<f32>, call: Call<'_>) -> Result<()>;
    /// As `step`, but appends for each row that was wanted the token with the largest logit, the first of equals, without those that
    /// are `forbidden`; None where none is left.
    fn choose(
        &self,
        feeds: &mut [Feed],
        forbidden: &[u32],
        tokens: &mut Vec<Option<u32>>,
        call: Call<'_>,
    ) -> Result<()>;
    /// As `step`, but adds each row that was wanted to `out`, without the tokens that are `forbidden`.
    fn likeliest(&self, feeds: &mut [Feed], forbidden: &[u32], out: &mut Likeliest, call: Call<'_>) -> Result<()> {
        let rows = feeds.iter().map(Feed::rows).sum::<usize>();
        let mut logits = Vec::new();
        self.step(feeds, &mut logits, call)?;
        let width = logits.len() / rows.max(1);
        out.add(&mut logits, width, forbidden, |row| self.log_sum_exp(row));
        Ok(())
    }
    /// `ln Σ exp` of a row of logits.
    fn log_sum_exp(&self, row: &[f32]) -> f32;
    /// The token with the largest logit of a row, the first of equals; None where nothing is above -∞.
    fn arg_max(&self, row: &[f32]) -> Option<u32>;
    /// The length beyond which a sequence's keys are made otherwise, if there is one.
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

/// Which of a feed's tokens logits are wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    None,
    Last,
    All,
}

/// Tokens to append to a sequence.
pub struct Feed<'a> {
    pub sequence: &'a mut Sequence,
    pub ids: &'a [u32],
    pub want: Want,
}

impl Feed<'_> {
    /// Rows of logits that it asks for.
    pub fn rows(&self) -> usize {
        match self.want {
            Want::None => 0,
            Want::Last => self.ids.len().min(1),
            Want::All => self.ids.len(),
        }
    }
}

/// What a decoder remembers of one text. A clone shares what both remember, and either may go on.
pub struct Sequence(Box<dyn Memory>);

/// A network's sequence behind [`Sequence`].
pub(crate) trait Memory: Any + Send + Sync {
    fn fork(&self) -> Box<dyn Memory>;
    /// As `fork`, into what another one was; false if that cannot be.
    fn copy_to(&self, _other: &mut dyn Memory) -> bool {
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
    pub(crate) fn new(memory: Box<dyn Memory>) -> Self {
        Self(memory)
    }

    pub(crate) fn memory(&mut self) -> &mut dyn Memory {
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
