//! GGUF files, llama.cpp's format: one file (or several, see [`split`]) with the weights, configuration and tokenizer of a model,
//! presented as the Hugging Face directory that it was converted from.
//!
//! The head of the file is read and checked completely; the tensors are mapped and not touched before they are read.
//! **The file must not be changed or truncated while its [`Weights`] live**, as with [`super::safetensors`].

use std::collections::BTreeMap;
use std::path::Path;

use memmap2::MmapOptions;
use serde_json::{Map, Value};

use self::architecture::Architecture;
use self::config::Fields;
use self::container::Container;
use self::metadata::Metadata;
use self::tokenizer::Tokenizer;
use super::quoted;
use super::weights::{Entry, Shard, Weights};
use crate::base::error::{Error, Result};

mod architecture;
mod config;
pub(super) mod container;
mod keys;
mod merges;
mod metadata;
mod pooling;
mod pretokenizer;
mod rope;
pub(super) mod split;
#[cfg(test)]
mod tests;
mod tokenizer;
mod vocabulary;
mod wordpiece;

/// A model from a GGUF file, in Hugging Face's terms.
pub struct Gguf {
    /// With Hugging Face's names, shapes and order of rows, except that GPT-2's linear layers are `[outputs, inputs]` like all
    /// others.
    pub weights: Weights,
    /// The equivalent of `config.json`, with `"kinglet_linear_weights": true`: GPT-2's weights are not transposed.
    pub config: Value,
    /// The equivalent of `generation_config.json`: the ids of special tokens.
    pub generation_config: Value,
    /// The equivalent of `tokenizer.json`.
    pub tokenizer: String,
    /// The equivalent of `tokenizer_config.json`.
    pub tokenizer_config: Value,
    /// The equivalents of `modules.json` and `1_Pooling/config.json`, if the file says how texts are pooled.
    pub pooling: Option<(Value, Value)>,
}

impl Gguf {
    /// Opens a file and checks everything except the values of the weights.
    ///
    /// Fails with NotFound and Io, with InvalidFile for a file that violates the format or contradicts itself, and with Unsupported
    /// for an architecture, tokenizer or weight type that Kinglet does not support.
    pub fn open(path: &Path) -> Result<Self> {
        let parts = split::open(path)?;
        let metadata = &parts[0].metadata;
        let architecture = Architecture::find(metadata)?;
        let fields = Fields { metadata, architecture };
        keys::check(&fields)?;
        let gated = names(&parts).any(|name| name.ends_with(".ffn_gate.weight"));
        let mut weights = weights(path, &parts, &fields, gated)?;
        let vocabulary = config::vocabulary(&fields, &weights)?;
        let mut config = config::config(&fields, &weights, vocabulary, gated)?;
        // The configuration has these now.
        for name in [rope::FACTORS, rope::LONG, rope::SHORT] {
            weights.tensors.remove(name);
        }
        let tokenizer = Tokenizer::read(metadata, architecture)?;
        if tokenizer.tokens > vocabulary {
            let what = format!("it has {} tokens, but embeddings for {vocabulary}", tokenizer.tokens);
            return Err(Error::invalid_file(path, what));
        }
        let ids = [
            ("bos_token_id", tokenizer.special.bos),
            ("eos_token_id", tokenizer.special.eos),
            ("pad_token_id", tokenizer.special.pad),
        ];
        let mut generation = Map::new();
        for (name, id) in ids {
            if let Some(id) = id {
                config[name] = id.into();
                generation.insert(name.into(), id.into());
            }
        }
        let ends = match *tokenizer.ends.as_slice() {
            [] => Value::Null,
            [end] => end.into(),
            _ => tokenizer.ends.into(),
        };
        if !ends.is_null() {
            generation.insert("eos_token_id".into(), ends);
        }
        if let Some(start) = config.get("decoder_start_token_id") {
            generation.insert("decoder_start_token_id".into(), start.clone());
        }
        sampling(metadata, &mut generation)?;
        Ok(Self {
            weights,
            config,
            generation_config: Value::Object(generation),
            tokenizer: tokenizer.json,
            tokenizer_config: tokenizer.config,
            pooling: pooling::modules(&fields)?,
        })
    }
}

/// The authors' advice for generation, by the names of `generation_config.json`. What llama.cpp alone has keeps its name, so that
/// generation refuses it.
fn sampling(metadata: &Metadata, generation: &mut Map<String, Value>) -> Result<()> {
    for (key, name) in [
        ("temp", "temperature"),
        ("top_p", "top_p"),
        ("min_p", "min_p"),
        ("penalty_repeat", "repetition_penalty"),
        ("top_k", "top_k"),
        ("mirostat", "mirostat"),
        ("xtc_probability", "xtc_probability"),
    ] {
        if let Some(value) = metadata.f32_opt(&format!("general.sampling.{key}"))? {
            generation.insert(name.into(), config::number(value));
        }
    }
    if let Some(tokens) = metadata.numbers_opt("tokenizer.ggml.suppress_tokens")? {
        let tokens: Vec<u64> = tokens.filter(|token| *token >= 0.0).map(|token| token as u64).collect();
        generation.insert("suppress_tokens".into(), tokens.into());
    }
    Ok(())
}

/// The names of all tensors.
fn names(parts: &[Container]) -> impl Iterator<Item = &str> {
    parts.iter().flat_map(|part| part.tensors.keys().map(String::as_str))
}

fn map(part: &Container) -> Result<Shard> {
    let path = part.metadata.path();
    // SAFETY: the mapping is read-only. The module's documentation requires that the file does not change meanwhile, which no
    // program can enforce.
    let map = unsafe { MmapOptions::new().len(part.length).map(&part.file) };
    let map = map.map_err(|e| Error::io(path, &e))?;
    // Each tensor is read from front to end. A refused hint is harmless.
    #[cfg(unix)]
    let _hint = map.advise(memmap2::Advice::Sequential);
    Ok(Shard::new(path, map))
}

/// Maps the files and renames the tensors to Hugging Face's names. A tensor without one keeps its GGUF name.
fn weights(path: &Path, parts: &[Container], fields: &Fields, gated: bool) -> Result<Weights> {
    let (architecture, heads) = (fields.architecture, fields.heads()?);
    let mut tensors = BTreeMap::new();
    let all =
        parts.iter().enumerate().flat_map(|(i, part)| part.tensors.iter().map(move |(name, t)| (i, part, name, t)));
    for (shard, part, theirs, tensor) in all {
        let path = part.metadata.path();
        let name = architecture.rename(theirs, gated).unwrap_or_else(|| theirs.clone());
        let (order, rows) = architecture.order(&name, heads);
        if let Some(rows) = rows
            && tensor.shape.first() != Some(&rows)
        {
            let (theirs, shape) = (quoted(theirs), &tensor.shape);
            let what = format!("tensor {theirs} has shape {shape:?}, but its heads need {rows} rows");
            return Err(Error::invalid_file(path, what));
        }
        let shift = architecture.shift(&name);
        let dtype = tensor.dtype;
        // A layer of one output, which the converter writes as a vector.
        let shape = match *tensor.shape.as_slice() {
            [inputs] if name.ends_with(".shared_expert_gate.weight") => vec![1, inputs],
            _ => tensor.shape.clone(),
        };
        let entry = Entry { order, shift, ..Entry::new(shard, dtype, shape, tensor.offset, tensor.bytes) };
        if tensors.insert(name.clone(), entry).is_some() {
            let what = format!("tensor {} appears under two names", quoted(&name));
            return Err(Error::invalid_file(path, what));
        }
    }
    let shards = parts.iter().map(map).collect::<Result<_>>()?;
    Ok(Weights { shards, tensors, catalogue: path.to_owned() })
}
