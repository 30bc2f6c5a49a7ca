//! Models without `tokenizer.json`: its equivalent, built from the vocabulary files that they have instead as transformers 5 builds it.
//!
//! How a text is normalised and split is not in those files. It follows from the tokenizer's class, which `tokenizer_config.json` names, or
//! else from `model_type` in `config.json`.

mod byte_level;
mod marian;
mod sentencepiece;
mod wordpiece;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::SpecialTokens;
use crate::base::error::{Error, Result};
use crate::base::memory::ensure;
use crate::formats::files::Files;
use crate::formats::json::Config;
use crate::formats::quoted;

/// The names of vocabulary files, of all kinds.
pub(crate) const NAMES: [&str; 10] = [
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "spm.model",
    "sentencepiece.bpe.model",
    "source.spm",
    "target.spm",
    "tokenizer.model",
    "tekken.json",
];

/// The maximum size of a vocabulary file, in bytes. The largest published ones have about 6 MB.
const LIMIT: u64 = 64 << 20;

/// The maximum number of tokens in `vocab.txt` and `vocab.json`.
const MAX_TOKENS: usize = 1 << 21;

/// While a tokenizer is built, it takes at most about this many times the size of its files.
const BUILDING_FACTOR: u64 = 100;

type Build = fn(&Source, &mut SpecialTokens) -> Result<Built>;

/// The classes whose files are read: the class, the `model_type`s whose class it is, the files that it needs, and what reads them.
const CLASSES: &[(&str, &[&str], &[&str], Build)] = &[
    ("Bert", &["bert"], &["vocab.txt"], wordpiece::bert),
    ("DistilBert", &["distilbert"], &["vocab.txt"], wordpiece::bert),
    ("Electra", &["electra"], &["vocab.txt"], wordpiece::bert),
    ("MPNet", &["mpnet"], &["vocab.txt"], wordpiece::mpnet),
    ("GPT2", &["gpt2"], &["vocab.json", "merges.txt"], byte_level::gpt2),
    ("Roberta", &["roberta"], &["vocab.json", "merges.txt"], byte_level::roberta),
    ("Bart", &["bart"], &["vocab.json", "merges.txt"], byte_level::roberta),
    ("Qwen2", &["qwen2", "qwen3"], &["vocab.json", "merges.txt"], byte_level::qwen2),
    ("T5", &["t5", "mt5"], &["spiece.model"], sentencepiece::t5),
    ("XLMRoberta", &["xlm-roberta"], &["sentencepiece.bpe.model"], sentencepiece::xlm_roberta),
    ("Camembert", &["camembert"], &["sentencepiece.bpe.model"], sentencepiece::camembert),
    ("MBart", &["mbart"], &["sentencepiece.bpe.model"], sentencepiece::mbart),
    ("MBart50", &[], &["sentencepiece.bpe.model"], sentencepiece::mbart50),
    ("Marian", &["marian"], &["source.spm", "vocab.json"], marian::marian),
    ("Llama", &["llama"], &["tokenizer.model"], sentencepiece::llama),
];

/// What a model without `tokenizer.json` has.
pub(super) enum Found {
    Vocabulary(Built),
    /// No vocabulary that can be read: why, and what helps.
    Nothing(String),
}

/// The equivalent of `tokenizer.json`.
pub(super) struct Built {
    pub json: Vec<u8>,
    /// The file that has the tokens.
    pub path: PathBuf,
    /// Ids from the first on are pieces that have no id of their own, and become the second.
    pub unknown: Option<(u32, u32)>,
}

/// Where a class finds its files and settings.
struct Source<'a> {
    files: &'a Files,
    config: Option<&'a Config>,
}

/// Builds a tokenizer from a model's vocabulary files; `special` gets the special tokens of the class.
///
/// # Errors
/// A vocabulary file that is damaged or asks for what is not supported; `InvalidFile` and `Unsupported` name it.
pub(super) fn build(files: &Files, config: Option<&Config>, special: &mut SpecialTokens) -> Result<Found> {
    let present: Vec<&str> = NAMES.into_iter().filter(|name| files.has(name)).collect();
    if present.is_empty() {
        return Ok(Found::Nothing("not found, and no vocabulary file either".into()));
    }
    const HELP: &str = "to make tokenizer.json: python -c \"from transformers import AutoTokenizer; \
                        AutoTokenizer.from_pretrained('MODEL').save_pretrained('MODEL')\"";
    let found = present.join(", ");
    let nothing = |what: String| Ok(Found::Nothing(format!("not found; there is {found}, {what}; {HELP}")));
    let class = match class(files, config)? {
        Some(class) => class,
        None if present == ["vocab.txt"] => "Bert".into(),
        None => return nothing("but neither tokenizer_class nor model_type that says how it splits text".into()),
    };
    let Some((class, _, needed, read)) = CLASSES.iter().find(|(name, ..)| *name == class) else {
        return nothing(format!("but how {} splits text is not known", quoted(&format!("{class}Tokenizer"))));
    };
    if let Some(missing) = needed.iter().find(|name| !present.contains(name)) {
        return nothing(format!("but not {missing}, which {class}Tokenizer needs"));
    }
    special.adopt(class);
    let built = read(&Source { files, config }, special)?;
    Ok(Found::Vocabulary(built))
}

/// The class of a tokenizer that has a tokenizer.json, and whether `tokenizer_config.json` names it. None where transformers takes
/// tokenizer.json as it is.
pub(super) fn class_beside(files: &Files, config: Option<&Config>) -> Result<Option<(String, bool)>> {
    let named = config.map(|c| c.str_opt("tokenizer_class")).transpose()?.flatten();
    if named.is_some_and(|name| name.starts_with("PreTrainedTokenizer") || name == "TokenizersBackend") {
        return Ok(None);
    }
    Ok(class(files, config)?.map(|class| (class, named.is_some())))
}

/// The tokenizer's class, without `Tokenizer` and `Fast`.
fn class(files: &Files, config: Option<&Config>) -> Result<Option<String>> {
    let named = config.map(|c| c.str_opt("tokenizer_class")).transpose()?.flatten();
    let named = named.map(|name| name.trim_end_matches("Fast").trim_end_matches("Tokenizer"));
    // These say nothing about the vocabulary.
    if let Some(name) = named.filter(|name| !["PreTrained", "TokenizersBackend", "Auto", ""].contains(name)) {
        return Ok(Some(name.into()));
    }
    let Some(model) = files.config("config.json")? else { return Ok(None) };
    let family = model.str_opt("model_type")?.unwrap_or_default();
    let found = CLASSES.iter().find(|(_, families, ..)| families.contains(&family));
    Ok(found.map(|(class, ..)| (*class).into()))
}

impl Source<'_> {
    fn path(&self, file: &str) -> PathBuf {
        self.files.name(file)
    }

    fn bytes(&self, file: &str) -> Result<Vec<u8>> {
        let found = self.files.bytes(file, LIMIT)?;
        let found = found.ok_or_else(|| Error::invalid_file(&self.path(file), "not found"))?;
        ensure((found.len() as u64).saturating_mul(BUILDING_FACTOR), "converting the vocabulary")?;
        Ok(found)
    }

    fn text(&self, file: &str) -> Result<String> {
        let text = String::from_utf8(self.bytes(file)?);
        text.map_err(|_| Error::invalid_file(&self.path(file), "the file is not UTF-8"))
    }

    fn flag(&self, key: &str, default: bool) -> Result<bool> {
        self.config.map_or(Ok(default), |config| config.bool_or(key, default))
    }

    fn flag_opt(&self, key: &str) -> Result<Option<bool>> {
        self.config.map_or(Ok(None), |config| config.bool_opt(key))
    }

    fn name(&self, key: &str) -> Result<Option<&str>> {
        self.config.map_or(Ok(None), |config| config.str_opt(key))
    }

    /// `vocab.json`: ids by token.
    fn ids(&self) -> Result<Map<String, Value>> {
        const FILE: &str = "vocab.json";
        let path = self.path(FILE);
        let Some(Value::Object(ids)) = self.files.json(FILE)? else {
            return Err(Error::invalid_file(&path, "expected an object of ids by token"));
        };
        let wrong = ids.iter().find(|(_, id)| id.as_u64().is_none_or(|id| id >= MAX_TOKENS as u64));
        match wrong {
            Some((token, id)) => {
                let (token, id) = (quoted(token), quoted(&id.to_string()));
                let what = format!("the id of {token} is {id}, not a whole number below {MAX_TOKENS}");
                Err(Error::invalid_file(&path, what))
            }
            None => Ok(ids),
        }
    }
}

/// `tokenizer.json` of these parts.
fn assemble(path: &Path, [normalizer, pre, post, decoder, model]: [Value; 5]) -> Result<Built> {
    let json = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": normalizer, "pre_tokenizer": pre,
        "post_processor": post, "decoder": decoder, "model": model,
    });
    let json = serde_json::to_vec(&json).map_err(|e| Error::invalid_file(path, e))?;
    Ok(Built { json, path: path.to_owned(), unknown: None })
}

/// A template of special tokens around a text or a pair of texts. "A" and "B" are the texts, everything else is a token; the parts of
/// `pair` come with their type ids. `id` finds the tokens.
fn template(path: &Path, single: &[&str], pair: &[(&str, u32)], id: impl Fn(&str) -> Option<u32>) -> Result<Value> {
    let part = |&(name, type_id): &(&str, u32)| match name {
        "A" | "B" => json!({"Sequence": {"id": name, "type_id": type_id}}),
        token => json!({"SpecialToken": {"id": token, "type_id": type_id}}),
    };
    let single: Vec<_> = single.iter().map(|name| (*name, 0)).collect();
    let mut tokens = Map::new();
    for (name, _) in single.iter().filter(|(name, _)| !["A", "B"].contains(name)) {
        let id = need(path, name, id(name))?;
        tokens.insert((*name).into(), json!({"id": name, "ids": [id], "tokens": [name]}));
    }
    Ok(json!({
        "type": "TemplateProcessing",
        "single": single.iter().map(part).collect::<Vec<_>>(),
        "pair": pair.iter().map(part).collect::<Vec<_>>(),
        "special_tokens": tokens,
    }))
}

/// The id of a token that a vocabulary must have.
fn need(path: &Path, token: &str, id: Option<u32>) -> Result<u32> {
    id.ok_or_else(|| Error::invalid_file(path, format!("the special token {} is not in it", quoted(token))))
}
