//! `vocab.json` and `merges.txt`: byte-pair encoding of bytes, as of GPT-2.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::{Built, MAX_TOKENS, Source, assemble, need, template};
use crate::base::error::{Error, Result};
use crate::formats::quoted;
use crate::text::tokenizer::SpecialTokens;

const MERGES: &str = "merges.txt";

/// Qwen's own rules for splitting a text into words.
const QWEN: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

struct Pairs {
    path: PathBuf,
    ids: Map<String, Value>,
    merges: Vec<[String; 2]>,
}

impl Pairs {
    fn read(source: &Source) -> Result<Self> {
        let (path, text) = (source.path(MERGES), source.text(MERGES)?);
        let mut merges = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            if line.starts_with("#version") || line.is_empty() {
                continue;
            }
            match line.split_once(' ') {
                Some((left, right)) if !right.contains(' ') => merges.push([left.to_owned(), right.to_owned()]),
                _ => {
                    let what = format!("line {number} is {}, not two tokens with a space between", quoted(line));
                    return Err(Error::invalid_file(&path, what));
                }
            }
            if merges.len() > MAX_TOKENS {
                return Err(Error::invalid_file(&path, format!("it has more than {MAX_TOKENS} merges")));
            }
        }
        let ids = source.ids()?;
        for [left, right] in &merges {
            // The tokenizers crate names neither the file nor the merge.
            let whole = format!("{left}{right}");
            if let Some(absent) = [left, right, &whole].into_iter().find(|token| !ids.contains_key(*token)) {
                let (left, right, absent) = (quoted(left), quoted(right), quoted(absent));
                let what = format!("it merges {left} and {right}, but {absent} is not in vocab.json");
                return Err(Error::invalid_file(&path, what));
            }
        }
        Ok(Self { path: source.path("vocab.json"), ids, merges })
    }

    fn id(&self, token: &str) -> Option<u32> {
        self.ids.get(token).and_then(Value::as_u64).map(|id| id as u32)
    }

    fn assemble(self, normalizer: Value, pre: Value, post: Value) -> Result<Built> {
        let model = json!({
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "", "end_of_word_suffix": "",
            "fuse_unk": false, "byte_fallback": false, "ignore_merges": false, "vocab": self.ids, "merges": self.merges,
        });
        let decoder = json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true});
        assemble(&self.path, [normalizer, pre, post, decoder, model])
    }
}

fn byte_level(source: &Source, regex: bool) -> Result<Value> {
    let prefix = source.flag("add_prefix_space", false)?;
    Ok(json!({"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true, "use_regex": regex}))
}

/// The special tokens that `add_bos_token` and `add_eos_token` ask for.
pub fn surround(
    source: &Source,
    special: &SpecialTokens,
    path: &std::path::Path,
    id: impl Fn(&str) -> Option<u32>,
) -> Result<Value> {
    let asked = |key: &str, name: &str| -> Result<Option<String>> {
        Ok(source.flag(key, false)?.then(|| special.text(name)).filter(|token| !token.is_empty()))
    };
    let (bos, eos) = (asked("add_bos_token", "bos_token")?, asked("add_eos_token", "eos_token")?);
    if bos.is_none() && eos.is_none() {
        return Ok(Value::Null);
    }
    let around = |text| [bos.as_deref(), Some(text), eos.as_deref()].into_iter().flatten();
    let single: Vec<_> = around("A").collect();
    let pair: Vec<_> = around("A").map(|part| (part, 0)).chain(around("B").map(|part| (part, 1))).collect();
    template(path, &single, &pair, id)
}

pub fn gpt2(source: &Source, special: &mut SpecialTokens) -> Result<Built> {
    let pairs = Pairs::read(source)?;
    let post = surround(source, special, &pairs.path, |token| pairs.id(token))?;
    pairs.assemble(Value::Null, byte_level(source, true)?, post)
}

/// Also BART's: `<s> A </s>`, or `<s> A </s></s> B </s>`.
pub fn roberta(source: &Source, special: &mut SpecialTokens) -> Result<Built> {
    let pairs = Pairs::read(source)?;
    let [cls, sep] = ["cls_token", "sep_token"].map(|name| special.text(name));
    let id = |token: &str| need(&pairs.path, token, pairs.id(token));
    let post = json!({
        "type": "RobertaProcessing", "sep": [sep, id(&sep)?], "cls": [cls, id(&cls)?],
        "trim_offsets": source.flag("trim_offsets", true)?, "add_prefix_space": source.flag("add_prefix_space", false)?,
    });
    pairs.assemble(Value::Null, byte_level(source, true)?, post)
}

pub fn qwen2(source: &Source, special: &mut SpecialTokens) -> Result<Built> {
    let pairs = Pairs::read(source)?;
    let post = surround(source, special, &pairs.path, |token| pairs.id(token))?;
    let split = json!({"type": "Split", "pattern": {"Regex": QWEN}, "behavior": "Isolated", "invert": false});
    let pre = json!({"type": "Sequence", "pretokenizers": [split, byte_level(source, false)?]});
    pairs.assemble(json!({"type": "NFC"}), pre, post)
}
