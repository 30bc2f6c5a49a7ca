//! What greedy decoding, sampling and beam search have in common.

use std::sync::{Arc, Mutex, PoisonError};

use crate::base::error::{Error, Result};
use crate::network::{Feed, Sequence, StepRows};
use crate::text::tokenizer::Tokenizer;

use super::constraint::Constraint;
use super::detokenize::Watch;
use super::options::Settings;
use super::prompt_lookup::Lookup;
use super::sampling;

/// Why a text ended. The numbers are part of the C ABI: they are only ever appended to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum FinishReason {
    /// The model chose an end token, or the grammar allowed nothing more.
    Eos = 1,
    /// A stop string came up.
    StopString = 2,
    /// The limit of new tokens, or of the model's positions, was reached.
    Length = 3,
}

impl FinishReason {
    pub fn name(self) -> &'static str {
        match self {
            Self::Eos => "eos",
            Self::StopString => "stop_string",
            Self::Length => "length",
        }
    }
}

/// A finished text.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    pub text: String,
    /// The generated tokens, the end token too.
    pub tokens: Vec<u32>,
    /// The log-probability of each token, if they were asked for: of the model's own distribution after penalties and bans, before
    /// temperature and the like.
    pub logprobs: Vec<f32>,
    /// With beams: the log-probability over the length to the power of `length_penalty`. Without: the sum of `logprobs`, 0 if they
    /// were not asked for.
    pub score: f32,
    pub finish_reason: FinishReason,
}

/// What searches need of their surroundings while they advance.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub tokenizer: &'a Tokenizer,
    pub workspaces: &'a Workspaces,
}

/// Memory in which a search works while it advances, as much as a vocabulary for some; nothing in it is kept.
#[derive(Default)]
pub struct Workspace {
    /// Tokens of a history.
    pub tokens: Vec<u32>,
    pub sampling: sampling::Memory,
}

/// The workspaces of a call: as many as threads that advance searches at once.
#[derive(Default)]
pub struct Workspaces(Mutex<Vec<Workspace>>);

impl Workspaces {
    pub fn take(&self) -> Workspace {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    pub fn give(&self, workspace: Workspace) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(workspace);
    }
}

/// New tokens that room is made for before the first; most texts are shorter.
pub const ROOM: usize = 1024;

/// The start of one text: a sequence with the prompt's beginning in it, and the rest of the prompt.
pub struct Start {
    pub settings: Arc<Settings>,
    /// Where nothing but tokens that are always forbidden changes the logits: those tokens.
    pub forbidden: Option<Arc<[u32]>>,
    pub sequence: Sequence,
    /// The decoder's whole prompt.
    pub prompt: Vec<u32>,
    /// How many new tokens there may be.
    pub limit: usize,
    pub constraint: Option<Constraint>,
    /// Finds drafts for speculative decoding; None if they are not wanted.
    pub lookup: Option<Lookup>,
    /// Numbers the sequences that a prompt is drawn several times for.
    pub number: usize,
}

/// What a step has brought to one text.
pub struct Fresh<'a> {
    pub watch: &'a mut Watch,
    pub tokens: &'a [u32],
    /// Up to which byte the text was certain after each of the tokens.
    pub ends: &'a [usize],
    /// Why the text ends, if it does.
    pub reason: FinishReason,
}

/// One search over one text. It says what to run next and what it wants of it, and takes what came out; so searches of different
/// settings may share a step.
pub trait Search: Send {
    /// The tokens to run next: one feed per sequence, in a fixed order, all with the same [`Want`](crate::network::Want). At most
    /// `room` of them are a draft.
    fn feeds<'a>(&'a mut self, feeds: &mut Vec<Feed<'a>>, room: usize);
    /// Takes what came out for those feeds. Returns whether the search has ended.
    fn advance(&mut self, rows: StepRows<'_>, context: Context<'_>) -> Result<bool>;
    /// How many drafted tokens of the last step were right, so that they needed no step of their own.
    fn accepted(&self) -> usize {
        0
    }
    /// What the last step brought; None for a search whose text is not certain before its end, or is not followed.
    fn fresh(&mut self) -> Option<Fresh<'_>> {
        None
    }
    /// The finished texts, the best first, and the sequence that went on last.
    fn finish(self: Box<Self>, context: Context<'_>) -> Result<(Vec<Output>, Option<Sequence>)>;
}

/// The error of a search that got rows it did not ask for, or none.
pub fn unexpected_rows(rows: &StepRows<'_>) -> Error {
    match rows {
        StepRows::Cancelled => Error::cancelled(),
        _ => Error::internal("a step gave a search what it did not want"),
    }
}
