//! The tokens of a GGUF file, and which of them are special.

use std::collections::HashMap;

use super::metadata::{Metadata, Texts};
use crate::base::error::{Error, Result};
use crate::formats::quoted;

const TOKENS: &str = "tokenizer.ggml.tokens";
const SCORES: &str = "tokenizer.ggml.scores";
const KINDS: &str = "tokenizer.ggml.token_type";

/// The maximum number of tokens, and of merges, of one vocabulary. The largest published ones have about 300,000 and 500,000;
/// each takes a multiple of its file size in memory.
pub(super) const MAX_TOKENS: usize = 1 << 21;

/// The kind of a token, as `tokenizer.ggml.token_type` gives it; the numbers are SentencePiece's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

pub(super) struct Vocabulary<'a> {
    pub tokens: Texts<'a>,
    /// Id by token. An empty text means an id without a token, which is not in the map.
    pub ids: HashMap<&'a str, u32>,
    pub kinds: Vec<Kind>,
    /// One score per token, all finite; None if the file has none.
    pub scores: Option<Vec<f32>>,
    pub special: Special,
}

/// The ids of tokens with a role; each id has a token.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Special {
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    pub unknown: Option<u32>,
    pub pad: Option<u32>,
    /// The ends of a turn and of a message.
    pub turn: Option<u32>,
    pub message: Option<u32>,
}

/// Names of tokens that end a turn or a text in chat models, as llama.cpp lists them: files name one such token, but chat models have
/// several, and some files call them ordinary tokens.
const ENDS: [&str; 20] = [
    "<|eot_id|>",
    "<|eom_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|return|>",
    "<|call|>",
    "<|calls|>",
    "<|flush|>",
    "</s>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<｜end▁of▁sentence｜>",
];

/// Names of tokens beside which "<|end|>" ends a message of several and not the answer.
const HARMONY: [[&str; 2]; 2] = [["<|return|>", "<|call|>"], ["<|flush|>", "<|calls|>"]];

impl<'a> Vocabulary<'a> {
    pub fn read(metadata: &'a Metadata) -> Result<Self> {
        let tokens = metadata.texts(TOKENS)?;
        match tokens.len() {
            0 => return Err(metadata.invalid(TOKENS, "is empty")),
            MAX_TOKENS.. => return Err(metadata.invalid(TOKENS, format!("has more than {MAX_TOKENS} tokens"))),
            _ => {}
        }
        let mut ids = HashMap::with_capacity(tokens.len());
        for (id, token) in tokens.iter().enumerate() {
            if !token.is_empty()
                && let Some(other) = ids.insert(token, id as u32)
            {
                let what = format!("has {} twice, with the ids {other} and {id}", quoted(token));
                return Err(metadata.invalid(TOKENS, what));
            }
        }
        let kinds = match metadata.numbers_opt(KINDS)? {
            None => vec![Kind::Normal; tokens.len()],
            Some(numbers) => {
                same_length(metadata, KINDS, numbers.len(), tokens)?;
                numbers.map(kind).collect()
            }
        };
        let scores = match metadata.numbers_opt(SCORES)? {
            None => None,
            Some(numbers) => {
                same_length(metadata, SCORES, numbers.len(), tokens)?;
                Some(numbers.map(|x| x as f32).collect::<Vec<_>>())
            }
        };
        if scores.iter().flatten().any(|score| !score.is_finite()) {
            return Err(metadata.invalid(SCORES, "has a value that is not finite"));
        }
        let special = Special {
            bos: id(metadata, "tokenizer.ggml.bos_token_id", tokens)?,
            eos: id(metadata, "tokenizer.ggml.eos_token_id", tokens)?,
            unknown: id(metadata, "tokenizer.ggml.unknown_token_id", tokens)?,
            pad: id(metadata, "tokenizer.ggml.padding_token_id", tokens)?,
            turn: id(metadata, "tokenizer.ggml.eot_token_id", tokens)?,
            message: id(metadata, "tokenizer.ggml.eom_token_id", tokens)?,
        };
        Ok(Self { tokens, ids, kinds, scores, special })
    }

    pub fn text(&self, id: u32) -> &'a str {
        self.tokens.get(id as usize).unwrap_or_default()
    }

    /// Sets missing ids of special tokens to the conventional ones, if the file has tokens with these ids.
    pub fn assume(&mut self, custom: Special) {
        let known = |id: Option<u32>| id.filter(|&id| !self.text(id).is_empty());
        self.special = Special {
            bos: self.special.bos.or_else(|| known(custom.bos)),
            eos: self.special.eos.or_else(|| known(custom.eos)),
            unknown: self.special.unknown.or_else(|| known(custom.unknown)),
            pad: self.special.pad.or_else(|| known(custom.pad)),
            ..self.special
        };
    }

    /// Whether a token is special, that is, never part of an ordinary word.
    pub fn is_special(&self, id: u32) -> bool {
        let Special { bos, eos, unknown, pad, turn, message } = self.special;
        matches!(self.kinds[id as usize], Kind::Control | Kind::Unknown)
            || [bos, eos, unknown, pad, turn, message].contains(&Some(id))
            || ENDS.contains(&self.text(id))
    }

    /// All tokens that end a generation, starting with the one that the file names.
    pub fn ends(&self) -> Vec<u32> {
        let Special { eos, turn, message, .. } = self.special;
        let goes_on = HARMONY.iter().any(|names| names.iter().all(|name| self.ids.contains_key(name)));
        let named = ENDS.iter().filter(|name| !(goes_on && **name == "<|end|>"));
        let named = named.filter_map(|name| self.ids.get(name).copied());
        let mut ends: Vec<u32> = Vec::new();
        for id in [eos, turn, message].into_iter().flatten().chain(named) {
            if !ends.contains(&id) {
                ends.push(id);
            }
        }
        ends
    }
}

fn same_length(metadata: &Metadata, key: &str, length: usize, tokens: Texts) -> Result<()> {
    match tokens.len() {
        count if count == length => Ok(()),
        count => Err(metadata.invalid(key, format!("has {length} values for {count} tokens"))),
    }
}

fn kind(number: f64) -> Kind {
    match number as i64 {
        2 => Kind::Unknown,
        3 => Kind::Control,
        4 => Kind::UserDefined,
        5 => Kind::Unused,
        6 => Kind::Byte,
        _ => Kind::Normal,
    }
}

/// The id of a token with a role. -1 means no token.
pub(super) fn id(metadata: &Metadata, key: &str, tokens: Texts) -> Result<Option<u32>> {
    let none = |number: f64| number < 0.0 || number == f64::from(u32::MAX);
    if metadata.is_number(key, none) {
        return Ok(None);
    }
    let Some(id) = metadata.usize_opt(key)? else { return Ok(None) };
    match tokens.get(id) {
        Some(text) if !text.is_empty() => Ok(Some(id as u32)),
        Some(_) => Err(metadata.invalid(key, format!("is {id}, which has no token"))),
        None => Err(metadata.invalid(key, format!("is {id}, but there are only {} tokens", tokens.len()))),
    }
}

/// The error for a file whose tokens contradict each other.
pub(super) fn contradiction(metadata: &Metadata, what: impl std::fmt::Display) -> Error {
    Error::invalid_file(metadata.path(), format!("the tokenizer is invalid: {what}"))
}
