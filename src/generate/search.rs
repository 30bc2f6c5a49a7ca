//! What greedy decoding, sampling and beam search have in common: each advances its sequences by the logits of a step.

use std::sync::{Mutex, PoisonError};

use crate::base::error::Result;
use crate::kernels::Placed;
use crate::network::{Feed, Network, Sequence};
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

/// What searches need of their surroundings.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub network: &'a dyn Network,
    pub tokenizer: &'a Tokenizer,
    pub settings: &'a Settings,
    pub steps: Steps<'a>,
    pub workspaces: &'a Workspaces,
}

/// What steps give. Where the likeliest tokens that are not forbidden are all that a search looks at, it is those and not logits.
#[derive(Clone, Copy)]
pub enum Steps<'a> {
    Logits,
    /// The likeliest of each row.
    Tokens {
        forbidden: &'a [u32],
    },
    /// So many of each row.
    Likeliest {
        forbidden: &'a [u32],
        count: usize,
    },
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
    pub sequence: Sequence,
    /// The decoder's whole prompt.
    pub prompt: Vec<u32>,
    /// How many new tokens there may be.
    pub limit: usize,
    pub constraint: Option<Constraint>,
    /// Where drafts are looked for; None if they are not wanted.
    pub lookup: Option<Lookup>,
    /// Numbers the sequences that a prompt is drawn several times for.
    pub number: usize,
}

/// What a step gives a search.
pub enum Rows<'a> {
    /// Rows of logits, which it may change.
    Logits(&'a mut [f32]),
    /// Where nothing changes the logits or asks for them: of each row the likeliest token, None where all are forbidden.
    Tokens(&'a [Option<u32>]),
    /// Of each row the likeliest, as in `backend::Likeliest`, and its total.
    Likeliest(&'a [Placed], &'a [f32]),
}

/// What a step has brought to one text.
pub struct Fresh<'a> {
    pub watch: &'a mut Watch,
    pub tokens: &'a [u32],
    /// As far as which the text was certain after each of the tokens.
    pub ends: &'a [usize],
    /// Why the text ends, if it does.
    pub reason: FinishReason,
}

/// One search. The engine asks for feeds, runs them, and hands over their logits.
pub trait Search: Send {
    /// The tokens to run next: one feed a sequence, in a fixed order. At most `room` of them are a draft.
    fn feeds<'a>(&'a mut self, feeds: &mut Vec<Feed<'a>>, room: usize, settings: &Settings);
    /// Takes what became of those feeds. Whether the search has ended.
    fn advance(&mut self, rows: Rows<'_>, context: Context<'_>) -> Result<bool>;
    /// How many drafted tokens of the last step stood, so that they needed no step of their own.
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
