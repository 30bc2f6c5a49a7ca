//! sentence-transformers' `CrossEncoder`: what it reads of a pair, and where its score comes from.

use serde_json::{Map, Value};

use super::sentence_fields::{LOGIT_SCORE as LOGIT_SCORE_FIELDS, known};
use super::transformer_module::TransformerModule;
use crate::base::error::{Error, Result, quoted};
use crate::formats::files::Files;
use crate::formats::modules::{self, Entry};

/// How a cross-encoder reads pairs and scores them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CrossEncoder {
    /// The chat template renders a pair; None: the tokenizer joins it.
    pub template: Option<PairTemplate>,
    /// A decoder's score, from its logits; None: that of the classification head.
    pub logit_score: Option<LogitScore>,
}

/// A pair as a chat of two messages, of the roles `query` and `document`, after a `system` message with the prompt, if there is one.
#[derive(Clone, Debug, PartialEq)]
pub struct PairTemplate {
    /// A message's content is a list of parts, and not a text.
    pub structured: bool,
    /// Variables of the template, such as `add_generation_prompt`.
    pub variables: Map<String, Value>,
    /// Whether what the template puts after the pair replaces the last tokens of a chat that was cut.
    pub restore_suffix: bool,
}

/// The module of this name: `logit[true token] - logit[false token]` after the last token; without a false token the first alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogitScore {
    pub true_token: u32,
    pub false_token: Option<u32>,
}

/// The name of the module.
const LOGIT_SCORE: &str = "LogitScore";

/// What a module `Transformer` of a cross-encoder gives.
pub(super) const LOGITS_OF_CLASSES: (&str, &str) = ("sequence-classification", "scores");
pub(super) const LOGITS_OF_TOKENS: (&str, &str) = ("text-generation", "causal_logits");

/// Whether the modules are a cross-encoder's whatever `config_sentence_transformers.json` says.
pub(super) fn is_one(entries: &[Entry]) -> bool {
    entries.iter().any(|entry| entry.kind == LOGIT_SCORE)
}

/// Reads the modules of a cross-encoder, of which the first is `transformer`.
///
/// # Errors
/// What is not honoured, by its name.
pub(super) fn read(top: &Files, entries: &[Entry], transformer: &TransformerModule) -> Result<CrossEncoder> {
    let refuse = |kind: &str| {
        let path = top.name(modules::FILE);
        Err(Error::unsupported(format!(
            "{}: module {} of a CrossEncoder is not supported",
            path.display(),
            quoted(kind)
        )))
    };
    let logit_score = match entries {
        [first, ..] if first.kind != "Transformer" => return refuse(&first.kind),
        [] | [_] => None,
        [_, second] if second.kind == LOGIT_SCORE => Some(logit_score(top, &second.folder)?),
        [_, second] => return refuse(&second.kind),
        [_, second, third, ..] => return refuse(if second.kind == LOGIT_SCORE { &third.kind } else { &second.kind }),
    };
    let expected = if logit_score.is_some() { LOGITS_OF_TOKENS } else { LOGITS_OF_CLASSES };
    Ok(CrossEncoder { template: transformer.of_pairs(expected)?, logit_score })
}

fn logit_score(top: &Files, folder: &str) -> Result<LogitScore> {
    let config = top.folder(folder).require_config("config.json")?;
    known(&config, LOGIT_SCORE_FIELDS)?;
    let input = config.str_or("module_input_name", LOGITS_OF_TOKENS.1)?;
    if input != LOGITS_OF_TOKENS.1 {
        let (path, input) = (config.path().display(), quoted(input));
        return Err(Error::unsupported(format!("{path}: module_input_name {input} is not supported")));
    }
    let token = |id: usize| id as u32;
    Ok(LogitScore {
        true_token: token(config.usize("true_token_id")?),
        false_token: config.usize_opt("false_token_id")?.map(token),
    })
}
