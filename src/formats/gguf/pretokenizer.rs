//! Pre-tokenisation, which splits text into words before byte-level BPE. GGUF names the model family whose rule applies.

use serde_json::{Value, json};

use super::metadata::Metadata;
use crate::base::error::{Error, Result};
use crate::formats::quoted;

const KEY: &str = "tokenizer.ggml.pre";

pub(super) struct Splitting {
    pub normalizer: Value,
    pub pre_tokenizer: Value,
    /// Whether a word that is itself a token becomes that token without merges.
    pub ignore_merges: bool,
    pub add_bos: bool,
}

/// The regular expressions are from the models' own `tokenizer.json`.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
const GPT4O: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// The rule that a file names; GPT-2's if it names none or "default". Fails with Unsupported for an unknown rule: a wrong one
/// would silently give other tokens and worse output.
pub(super) fn find(metadata: &Metadata) -> Result<Splitting> {
    let bytes = |use_regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex});
    let regex = |pattern: &str| {
        let split = json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
        json!({"type": "Sequence", "pretokenizers": [split, bytes(false)]})
    };
    let plain = |pre_tokenizer: Value| Splitting {
        normalizer: Value::Null,
        pre_tokenizer,
        ignore_merges: false,
        add_bos: false,
    };
    let name = metadata.text_opt(KEY)?.unwrap_or("default");
    Ok(match name {
        "" | "default" | "gpt-2" | "phi-2" | "mpt" | "olmo" | "jais" | "exaone4" | "trillion" => plain(bytes(true)),
        "smollm" | "starcoder" | "refact" | "codeshell" | "exaone" | "minerva-7b" => {
            let digits = json!({"type": "Digits", "individual_digits": true});
            plain(json!({"type": "Sequence", "pretokenizers": [digits, bytes(true)]}))
        }
        "llama-bpe" | "llama3" | "llama-v3" | "falcon3" | "pixtral" => {
            Splitting { ignore_merges: true, add_bos: true, ..plain(regex(LLAMA3)) }
        }
        "dbrx" | "smaug-bpe" => plain(regex(LLAMA3)),
        "qwen2" => Splitting { normalizer: json!({"type": "NFC"}), ..plain(regex(QWEN2)) },
        "deepseek-r1-qwen" | "megrez" => plain(regex(QWEN2)),
        "tekken" => Splitting { ignore_merges: true, add_bos: true, ..plain(regex(TEKKEN)) },
        "gpt-4o" | "llama4" => plain(regex(GPT4O)),
        other => {
            let (path, other) = (metadata.path().display(), quoted(other));
            let what = format!("the pre-tokenizer {other} (field `{KEY}`) is not supported");
            return Err(Error::unsupported(format!("{path}: {what}")));
        }
    })
}
