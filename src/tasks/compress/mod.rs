//! Shortening a document to a part of its tokens: the words or sentences that matter least are dropped, what stays keeps its order.
//!
//! A document is read in segments, and the model reads it in windows, so memory does not grow with its length, except for some bytes
//! per word or sentence.

mod segments;
mod select;
mod self_information;
mod sentence_embeddings;
mod sentences;
mod token_classifier;
mod units;
mod windows;
mod words;

use std::time::Instant;

use crate::base::call::{Call, CallLimits, Cancellation, Priority};
use crate::base::error::{Error, Result};
use crate::engine::Engine;
use crate::families::SentenceTransformers;
use crate::spec::HeadKind;
use crate::text::encoding::Span;

use super::classification::ClassifierSettings;
use select::{Selection, select};

/// How units are scored. The numbers are part of the C ABI: new ones are only appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum CompressMethod {
    /// The probability of the label of tokens to keep, by a token classifier (LLMLingua-2).
    TokenClassifier = 1,
    /// `-ln p` of tokens given those before, by a decoder (Selective Context).
    SelfInformation = 2,
    /// The relevance and novelty of sentences, by their embeddings (maximal marginal relevance).
    SentenceEmbeddings = 3,
}

impl CompressMethod {
    pub const ALL: [Self; 3] = [Self::TokenClassifier, Self::SelfInformation, Self::SentenceEmbeddings];

    pub fn from_u32(value: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|&method| method as u32 == value)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::TokenClassifier => "token_classifier",
            Self::SelfInformation => "self_information",
            Self::SentenceEmbeddings => "sentence_embeddings",
        }
    }

    /// The method for a model.
    fn of(engine: &Engine, settings: &SentenceTransformers) -> Self {
        let is_decoder = engine.spec.language.is_some() && engine.spec.encoder.is_none();
        match &engine.spec.head {
            Some(head) if head.kind == HeadKind::Token => Self::TokenClassifier,
            _ if is_decoder && !settings.found => Self::SelfInformation,
            _ => Self::SentenceEmbeddings,
        }
    }
}

/// What is kept or dropped as a whole. The numbers are part of the C ABI: new ones are only appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum CompressUnit {
    Token = 1,
    /// What stands between spaces, without the punctuation at its ends.
    Word = 2,
    Sentence = 3,
}

impl CompressUnit {
    pub const ALL: [Self; 3] = [Self::Token, Self::Word, Self::Sentence];

    pub fn from_u32(value: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|&unit| unit as u32 == value)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Word => "word",
            Self::Sentence => "sentence",
        }
    }
}

/// Options of [`crate::Model::compress`]. Either `ratio` or `max_tokens` is required.
#[derive(Clone, Debug, Default)]
pub struct CompressOptions {
    /// Tokens of the document for each token that is kept: a number above 1.
    pub ratio: Option<f64>,
    /// The maximum number of tokens that are kept, by the model's own tokenizer and without special tokens.
    pub max_tokens: Option<usize>,
    /// `None`: by the model. A token classifier, a decoder that is not a model of sentence-transformers, or else sentence embeddings.
    pub method: Option<CompressMethod>,
    /// `None`: words for a token classifier, else sentences.
    pub unit: Option<CompressUnit>,
    /// What sentences are to be relevant to. `None`: the mean of the document. Only for sentence embeddings.
    pub query: Option<String>,
    /// How much relevance counts, from above 0 to 1; novelty has the rest. `None`: 0.7. Only for sentence embeddings.
    pub relevance: Option<f32>,
    /// The label of tokens to keep. `None`: the one that is named so, else the second. Only for a token classifier.
    pub keep_label: Option<String>,
    /// Tokens that the model reads at once, special tokens included. `None`: as many as it takes, at most 2,048.
    pub window: Option<usize>,
    /// Tokens that two windows share. `None`: an eighth of a window. Not for sentence embeddings, which are of one sentence each.
    pub overlap: Option<usize>,
    /// Keeps what has a digit.
    pub force_digits: bool,
    /// Keeps words that begin with a capital letter and are not the first of a sentence.
    pub force_capitalized: bool,
    /// Keeps these words, or sequences of words, wherever they are. Upper and lower case differ.
    pub force_tokens: Vec<String>,
    pub cancellation: Option<Cancellation>,
    pub priority: Priority,
    /// When the call ends in any case, with [`Status::DeadlineExceeded`](crate::Status::DeadlineExceeded).
    pub deadline: Option<Instant>,
}

/// A shortened document.
#[derive(Clone, Debug, PartialEq)]
pub struct Compression {
    pub text: String,
    /// The bytes of the document that `text` is made of, in their order: no two of them overlap or touch.
    pub kept: Vec<Span>,
    /// Tokens of the document and of `text`, without special tokens.
    pub tokens_before: usize,
    pub tokens_after: usize,
    /// What the model read: windows, or sentences where each is embedded alone. 0 if the document fits as it is.
    pub windows: usize,
    pub method: CompressMethod,
}

impl Compression {
    /// Tokens of the document for each token that was kept.
    pub fn ratio(&self) -> f64 {
        self.tokens_before.max(1) as f64 / self.tokens_after.max(1) as f64
    }
}

/// The budget of a call: the option that gives it, and how many tokens that is of a document's.
fn budget(options: &CompressOptions) -> Result<(&'static str, impl Fn(usize) -> usize)> {
    let (ratio, max_tokens) = (options.ratio, options.max_tokens);
    match (ratio, max_tokens) {
        (Some(_), Some(_)) => return Err(Error::invalid_argument("ratio, max_tokens: give one of them, not both")),
        (None, None) => return Err(Error::invalid_argument("ratio: give a ratio, or max_tokens")),
        (Some(ratio), None) if !(ratio > 1.0 && ratio.is_finite()) => {
            return Err(Error::invalid_argument(format!("ratio: {ratio} is not a number above 1")));
        }
        (None, Some(0)) => return Err(Error::invalid_argument("max_tokens: is 0")),
        _ => {}
    }
    let name = if ratio.is_some() { "ratio" } else { "max_tokens" };
    Ok((name, move |tokens: usize| match ratio {
        Some(ratio) => ((tokens as f64 / ratio) as usize).max(1),
        None => max_tokens.unwrap_or(tokens),
    }))
}

/// Refuses options that the method does not use.
fn check(options: &CompressOptions, method: CompressMethod) -> Result<()> {
    let embeds = method == CompressMethod::SentenceEmbeddings;
    let unused = [
        ("query", options.query.is_some() && !embeds),
        ("relevance", options.relevance.is_some() && !embeds),
        ("overlap", options.overlap.is_some() && embeds),
        ("unit", embeds && options.unit.is_some_and(|unit| unit != CompressUnit::Sentence)),
        ("keep_label", options.keep_label.is_some() && method != CompressMethod::TokenClassifier),
    ];
    if let Some((option, _)) = unused.iter().find(|(_, unused)| *unused) {
        let method = method.name();
        return Err(Error::invalid_argument(format!("{option}: the method {method} does not have this option")));
    }
    if let Some(relevance) = options.relevance
        && !(relevance > 0.0 && relevance <= 1.0)
    {
        return Err(Error::invalid_argument(format!("relevance: {relevance} is not above 0 and at most 1")));
    }
    units::check_forced(&options.force_tokens)
}

/// As [`crate::Model::compress`].
pub(crate) fn compress(
    engine: &Engine,
    settings: &ClassifierSettings,
    sentence: &SentenceTransformers,
    document: &str,
    options: &CompressOptions,
) -> Result<Compression> {
    let method = options.method.unwrap_or_else(|| CompressMethod::of(engine, sentence));
    let (name, budget) = budget(options)?;
    check(options, method)?;
    let keep = match method {
        CompressMethod::TokenClassifier => token_classifier::keep_label(engine, settings, options)?,
        CompressMethod::SelfInformation => self_information::require_decoder(engine).map(|()| 0)?,
        CompressMethod::SentenceEmbeddings => 0,
    };
    if u32::try_from(document.len()).is_err() {
        return Err(Error::invalid_argument(format!(
            "text: has {} bytes; the maximum is {}",
            document.len(),
            u32::MAX
        )));
    }
    let work = |call: Call<'_>| {
        let tokens_before = engine.tokenizer.count(document, call)?;
        let budget = budget(tokens_before);
        if tokens_before <= budget {
            let whole = Span { start: 0, end: document.len() };
            let kept = if document.is_empty() { Vec::new() } else { vec![whole] };
            let text = document.to_string();
            return Ok(Compression { text, kept, tokens_before, tokens_after: tokens_before, windows: 0, method });
        }
        let (units, windows) = match method {
            CompressMethod::TokenClassifier => {
                token_classifier::score(engine, (settings.labels.len(), keep), document, options, call)?
            }
            CompressMethod::SelfInformation => self_information::score(engine, document, options, call)?,
            CompressMethod::SentenceEmbeddings => {
                sentence_embeddings::score(engine, sentence, document, options, call)?
            }
        };
        let Selection { text, kept, tokens } = select(engine, document, &units, budget, name, call)?;
        Ok(Compression { text, kept, tokens_before, tokens_after: tokens, windows, method })
    };
    let limits = CallLimits {
        cancellation: options.cancellation.as_ref(),
        priority: options.priority,
        deadline: options.deadline,
        bytes: document.len(),
    };
    engine.call(limits, work, |compression| (1, compression.tokens_before))
}
