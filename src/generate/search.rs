//! The interface of greedy decoding, sampling and beam search.

use std::sync::Arc;

use crate::base::error::{Error, Result};
use crate::base::fork::Lock;
use crate::network::{Feed, Sequence, StepRows};
use crate::text::chat::Message;
use crate::text::tokenizer::Tokenizer;

use super::constraint::Constraint;
use super::detokenize::Detokenizer;
use super::prompt_lookup::Lookup;
use super::sampling::SamplingBuffers;
use super::settings::Settings;

/// Why a text ended. The numbers are part of the C ABI: they are only ever appended to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum FinishReason {
    /// The model chose an end token, or the grammar allowed nothing more.
    Eos = 1,
    /// A stop string was generated.
    StopString = 2,
    /// `max_new_tokens` or the model's maximum length was reached.
    Length = 3,
    /// The text is complete, but does not satisfy a part of the JSON schema that cannot be enforced while it is generated.
    SchemaMismatch = 4,
}

impl FinishReason {
    pub fn name(self) -> &'static str {
        match self {
            Self::Eos => "eos",
            Self::StopString => "stop_string",
            Self::Length => "length",
            Self::SchemaMismatch => "schema_mismatch",
        }
    }
}

/// A finished text.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    pub text: String,
    /// The generated tokens, the end token included.
    pub tokens: Vec<u32>,
    /// With the option `logprobs`: the log-probability of each token, after penalties and forbidden tokens, before temperature and
    /// the other sampling options.
    pub logprobs: Vec<f32>,
    /// With beam search: the sum of log-probabilities divided by `length ^ length_penalty`. Otherwise the sum of `logprobs`, 0
    /// without them.
    pub score: f32,
    pub finish_reason: FinishReason,
    /// Of a chat: the reply as a message, with the reasoning and the calls of tools apart from the content.
    pub message: Option<Message>,
}

/// What searches of one call share.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub tokenizer: &'a Tokenizer,
    pub workspaces: &'a Workspaces,
}

/// Scratch lists of a search; some have one entry per token of the vocabulary.
#[derive(Default)]
pub struct Workspace {
    /// Tokens of the history, for logits processors.
    pub tokens: Vec<u32>,
    pub sampling: SamplingBuffers,
}

/// The workspaces of a call: one per thread that processes searches.
#[derive(Default)]
pub struct Workspaces(Lock<Vec<Workspace>>);

impl Workspaces {
    pub fn take(&self) -> Workspace {
        self.0.lock().pop().unwrap_or_default()
    }

    pub fn give(&self, workspace: Workspace) {
        self.0.lock().push(workspace);
    }
}

/// New tokens that lists have capacity for from the start; most outputs are shorter.
pub const RESERVED_TOKENS: usize = 1024;

/// The start of one output.
pub struct Start {
    pub settings: Arc<Settings>,
    /// As [`Settings::always_forbidden`].
    pub forbidden: Option<Arc<[u32]>>,
    /// May hold the beginning of the prompt.
    pub sequence: Sequence,
    /// The decoder's whole prompt.
    pub prompt: Vec<u32>,
    /// The encoder's input, or the prompt of a model without an encoder, if a logits processor needs it; else empty.
    pub source: Arc<[u32]>,
    /// The end of the prompt that the text continues as one text: a decoder's prefix.
    pub context: Arc<[u32]>,
    /// The maximum number of new tokens.
    pub limit: usize,
    pub constraint: Option<Constraint>,
    /// For prompt-lookup speculative decoding.
    pub lookup: Option<Lookup>,
    /// The index among the prompt's `num_return_sequences`; part of the random seed.
    pub number: usize,
}

/// The new tokens and text of one step.
pub struct NewText<'a> {
    pub detokenizer: &'a mut Detokenizer,
    pub tokens: &'a [u32],
    /// [`Detokenizer::certain`] after each token.
    pub ends: &'a [usize],
    /// Meaningful only if the search has ended.
    pub reason: FinishReason,
}

/// A search for the output of one text. Searches with different settings may share a step.
pub trait Search: Send {
    /// Appends the feeds of the next step: one per sequence, all with the same [`Want`](crate::network::Want), with at most `room`
    /// drafted tokens.
    fn feeds<'a>(&'a mut self, feeds: &mut Vec<Feed<'a>>, room: usize);
    /// Processes the rows of these feeds. Returns whether the search has ended.
    fn advance(&mut self, rows: StepRows<'_>, context: Context<'_>) -> Result<bool>;
    /// Drafted tokens of the last step that were accepted.
    fn accepted(&self) -> usize {
        0
    }
    /// The new text of the last step; None for beam search and without a detokenizer.
    fn new_text(&mut self) -> Option<NewText<'_>> {
        None
    }
    /// The outputs, the best first, and the sequence to continue from, if there is a single one.
    fn finish(self: Box<Self>, context: Context<'_>) -> Result<(Vec<Output>, Option<Sequence>)>;
}

/// The error for rows of another kind than the search's feeds ask for.
pub fn unexpected_rows(rows: &StepRows<'_>) -> Error {
    match rows {
        StepRows::Cancelled => Error::cancelled(),
        _ => Error::internal("a step returned rows of the wrong kind"),
    }
}
