//! A model of any family that runs as an ONNX graph: only the sizes, limits and labels that tasks need.

use super::{head_kind, labels};
use crate::base::error::{Error, Result};
use crate::formats::json::Config;
use crate::spec::{Head, HeadToken, Heads, LanguageHead, LanguageWeight, Names, Spec, Stack};

/// The family name of a model whose `model_type` is not supported natively.
pub const FAMILY: &str = "onnx";

/// The maximum number of tokens if `config.json` sets no limit.
const DEFAULT_MAX_TOKENS: usize = 8192;

/// The number in the first of `keys` that is present.
fn either(config: &Config, keys: &[&str], default: usize) -> Result<usize> {
    for key in keys {
        if let Some(value) = config.usize_opt(key)? {
            return Ok(value);
        }
    }
    Ok(default)
}

pub(super) fn spec(config: &Config, has_decoder: bool) -> Result<Spec> {
    let hidden = either(config, &["hidden_size", "d_model", "dim", "n_embd"], 0)?;
    if hidden == 0 {
        let what = "field `hidden_size` (or d_model, dim or n_embd) is missing or 0";
        return Err(Error::invalid_file(config.path(), what));
    }
    let architecture = config.strings("architectures")?.first().copied().unwrap_or_default();
    let kind = head_kind(architecture);
    let generates = ["ForCausalLM", "LMHeadModel"].iter().any(|end| architecture.ends_with(end));
    let both = kind.is_none() && config.bool_or("is_encoder_decoder", false)?;
    let count = either(config, &["num_attention_heads", "n_head", "num_heads"], 1)?.max(1);
    let kv = either(config, &["num_key_value_heads"], count)?.max(1);
    let dim = either(config, &["head_dim", "d_kv"], (hidden / count).max(1))?;
    let layers = either(config, &["num_hidden_layers", "n_layer", "num_layers", "n_layers"], 1)?;
    let inner = either(config, &["intermediate_size", "d_ff", "hidden_dim", "n_inner"], hidden)?;
    let positions = ["max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length"];
    let stack = |cross: bool| -> Result<Stack> {
        Ok(Stack {
            max_tokens: either(config, &positions, DEFAULT_MAX_TOKENS)?,
            token_types: config.usize_or("type_vocab_size", 0)?,
            cross,
            ..Stack::new(hidden, layers, Heads { count, kv, dim }, inner, Names::EMPTY)
        })
    };
    let decodes = both || (kind.is_none() && (generates || has_decoder));
    let labels = labels(config)?;
    if kind.is_some() && labels == 0 {
        return Err(Error::invalid_file(config.path(), "id2label: it is empty"));
    }
    Ok(Spec {
        family: FAMILY,
        vocabulary: config.usize("vocab_size")?,
        encoder: (both || !decodes).then(|| stack(false)).transpose()?,
        decoder: decodes.then(|| stack(both)).transpose()?,
        head: kind.map(|kind| Head { kind, token: HeadToken::First, layers: Vec::new(), labels }),
        masked: None,
        language: decodes.then_some(LanguageHead {
            weight: LanguageWeight::Tied,
            bias: None,
            scale: 1.0,
            softcap: 0.0,
        }),
    })
}
