//! The equivalents of `tokenizer.json` and `tokenizer_config.json`, from the vocabulary of a GGUF file.
//!
//! GGUF names the kind of a tokenizer and lists its tokens; normalisation and splitting follow from the kind. Both are taken
//! from the `tokenizer.json` files that models of the kind are published with.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::architecture::Architecture;
use super::merges::{self, Merge};
use super::metadata::Metadata;
use super::pretokenizer;
use super::vocabulary::{Kind, Special, Vocabulary, contradiction};
use super::wordpiece;
use crate::base::error::{Error, Result};
use crate::formats::{base64, charsmap, quoted};

const MODEL: &str = "tokenizer.ggml.model";
const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
const ADD_EOS: &str = "tokenizer.ggml.add_eos_token";
const ADD_SEP: &str = "tokenizer.ggml.add_sep_token";
const ADD_SPACE: &str = "tokenizer.ggml.add_space_prefix";
const CHARSMAP: &str = "tokenizer.ggml.precompiled_charsmap";

/// SentencePiece's character for a space.
const SPACE: &str = "\u{2581}";

pub(super) struct Tokenizer {
    pub json: String,
    pub config: Value,
    pub special: Special,
    pub ends: Vec<u32>,
    pub tokens: usize,
}

impl Tokenizer {
    pub fn read(metadata: &Metadata, architecture: Architecture) -> Result<Self> {
        let encoder = architecture.is_encoder();
        match metadata.text(MODEL)? {
            "bert" if encoder => wordpiece::read(metadata),
            "gpt2" if !encoder => byte_level(metadata),
            "llama" if !encoder => sentencepiece(metadata, architecture),
            "t5" if !encoder => unigram(metadata),
            other => {
                let (path, other) = (metadata.path().display(), quoted(other));
                let supported = if encoder { "supported is bert" } else { "supported are gpt2, llama and t5" };
                let what = format!(
                    "the tokenizer {other} is not supported with the architecture {}; {supported}",
                    architecture.name()
                );
                Err(Error::unsupported(format!("{path}: {what}")))
            }
        }
    }
}

/// `tokenizer.json`.
#[derive(Serialize)]
struct File<'a> {
    version: &'static str,
    truncation: (),
    padding: (),
    added_tokens: Vec<Added<'a>>,
    normalizer: Value,
    pre_tokenizer: Value,
    post_processor: Value,
    decoder: Value,
    model: Model<'a>,
}

/// A token that is matched in the text before any other step.
#[derive(Serialize)]
pub(super) struct Added<'a> {
    id: u32,
    content: &'a str,
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
    normalized: bool,
    special: bool,
}

#[derive(Serialize)]
#[serde(tag = "type")]
pub(super) enum Model<'a> {
    #[serde(rename = "BPE")]
    Bpe {
        dropout: (),
        unk_token: Option<&'a str>,
        continuing_subword_prefix: (),
        end_of_word_suffix: (),
        fuse_unk: bool,
        byte_fallback: bool,
        ignore_merges: bool,
        #[serde(serialize_with = "ids_by_token")]
        vocab: &'a Vocabulary<'a>,
        merges: Vec<Merge<'a>>,
    },
    Unigram {
        unk_id: Option<u32>,
        vocab: Vec<(String, f64)>,
        byte_fallback: bool,
    },
    WordPiece {
        unk_token: String,
        continuing_subword_prefix: &'static str,
        max_input_chars_per_word: usize,
        vocab: BTreeMap<String, usize>,
    },
}

fn ids_by_token<S: Serializer>(vocabulary: &Vocabulary, serializer: S) -> Result<S::Ok, S::Error> {
    let tokens = vocabulary.tokens.iter().enumerate().filter(|(_, token)| !token.is_empty());
    serializer.collect_map(tokens.map(|(id, token)| (token, id)))
}

/// Byte-level BPE, as in GPT-2.
fn byte_level(metadata: &Metadata) -> Result<Tokenizer> {
    let vocabulary = Vocabulary::read(metadata)?;
    let mut split = pretokenizer::find(metadata)?;
    if metadata.bool_opt(ADD_SPACE)?.unwrap_or(false) {
        // Rules with several steps split the text before this one would see its beginning.
        match split.pre_tokenizer.get_mut("add_prefix_space") {
            Some(flag) => *flag = true.into(),
            None => {
                let path = metadata.path().display();
                let what =
                    format!("field {} is true, which is not supported with this pre-tokenizer", quoted(ADD_SPACE));
                return Err(Error::unsupported(format!("{path}: {what}")));
            }
        }
    }
    let merges = merges::listed(metadata, &vocabulary)?;
    let parts = Parts {
        normalizer: split.normalizer,
        pre_tokenizer: split.pre_tokenizer,
        decoder: json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}),
        add_bos: split.add_bos,
        add_eos: false,
        strips_after: &[],
        post: None,
    };
    let model = Model::Bpe {
        dropout: (),
        unk_token: None,
        continuing_subword_prefix: (),
        end_of_word_suffix: (),
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: split.ignore_merges,
        vocab: &vocabulary,
        merges,
    };
    parts.assemble(metadata, &vocabulary, vocabulary.added(), model)
}

/// SentencePiece's BPE, as in Llama 2: spaces are ordinary characters, and unknown characters become single-byte tokens.
fn sentencepiece(metadata: &Metadata, architecture: Architecture) -> Result<Tokenizer> {
    let mut vocabulary = Vocabulary::read(metadata)?;
    vocabulary.assume(Special { bos: Some(1), eos: Some(2), unknown: Some(0), ..Special::default() });
    let prefix = metadata.bool_opt(ADD_SPACE)?.unwrap_or(true);
    let merges = match metadata.has(merges::KEY) {
        true => merges::listed(metadata, &vocabulary)?,
        false => merges::derived(metadata, &vocabulary)?,
    };
    let mut normalizers = vec![json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE})];
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if prefix {
        normalizers.insert(0, json!({"type": "Prepend", "prepend": SPACE}));
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    let parts = Parts {
        normalizer: json!({"type": "Sequence", "normalizers": normalizers}),
        pre_tokenizer: Value::Null,
        decoder: json!({"type": "Sequence", "decoders": decoders}),
        add_bos: true,
        add_eos: false,
        // Phi-3's special tokens strip the white space after them, which its chat format needs and GGUF does not say. These
        // tokens do not.
        strips_after: match architecture {
            Architecture::Phi3 => &["<unk>", "<s>", "<|endoftext|>"],
            _ => &[],
        },
        post: None,
    };
    let model = Model::Bpe {
        dropout: (),
        unk_token: vocabulary.special.unknown.map(|id| vocabulary.text(id)),
        continuing_subword_prefix: (),
        end_of_word_suffix: (),
        fuse_unk: true,
        byte_fallback: true,
        ignore_merges: false,
        vocab: &vocabulary,
        merges,
    };
    parts.assemble(metadata, &vocabulary, vocabulary.added(), model)
}

/// SentencePiece's unigram model, as in T5.
fn unigram(metadata: &Metadata) -> Result<Tokenizer> {
    let mut vocabulary = Vocabulary::read(metadata)?;
    vocabulary.assume(Special { eos: Some(1), unknown: Some(2), pad: Some(0), ..Special::default() });
    let Some(scores) = &vocabulary.scores else {
        return Err(metadata.missing("tokenizer.ggml.scores"));
    };
    let names = sentinels(&vocabulary);
    let mut pieces = Vec::with_capacity(scores.len());
    for (id, (token, score)) in vocabulary.tokens.iter().zip(scores).enumerate() {
        let token = names.get(&(id as u32)).map_or(token, String::as_str);
        if token.is_empty() {
            return Err(contradiction(metadata, format!("token {id} is empty")));
        }
        pieces.push((token.to_owned(), f64::from(*score)));
    }
    let mut added = vocabulary.added();
    for (&id, name) in &names {
        if vocabulary.ids.contains_key(name.as_str()) {
            return Err(contradiction(metadata, format!("{} exists but has no id", quoted(name))));
        }
        added.push(Added::special(id, name));
    }
    added.sort_by_key(|token| token.id);
    let normalizer = match metadata.numbers_opt(CHARSMAP)? {
        Some(bytes) => {
            let bytes: Vec<u8> = bytes.map(|byte| byte as i64 as u8).collect();
            if let Some(fault) = charsmap::fault(&bytes) {
                return Err(metadata.invalid(CHARSMAP, format!("is not a table of replacements: {fault}")));
            }
            json!({"type": "Precompiled", "precompiled_charsmap": base64::encode(&bytes)})
        }
        None => Value::Null,
    };
    let prefix = metadata.bool_opt(ADD_SPACE)?.unwrap_or(true);
    let merges_spaces = metadata.bool_opt("tokenizer.ggml.remove_extra_whitespaces")?.unwrap_or(true);
    let scheme = if prefix { "always" } else { "never" };
    let normalizer = match merges_spaces && !prefix {
        true => {
            let merge = json!({"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "});
            let strip = json!({"type": "Strip", "strip_left": true, "strip_right": true});
            let steps: Vec<Value> = [normalizer, merge, strip].into_iter().filter(|step| !step.is_null()).collect();
            json!({"type": "Sequence", "normalizers": steps})
        }
        false => normalizer,
    };
    let metaspace = json!({"type": "Metaspace", "replacement": SPACE, "prepend_scheme": scheme, "split": true});
    let parts = Parts {
        normalizer,
        pre_tokenizer: match merges_spaces && prefix {
            // Every word gets a space, and those between words go.
            true => json!({"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace]}),
            false => metaspace.clone(),
        },
        decoder: metaspace,
        add_bos: false,
        add_eos: true,
        strips_after: &[],
        post: None,
    };
    let model = Model::Unigram { unk_id: vocabulary.special.unknown, vocab: pieces, byte_fallback: false };
    parts.assemble(metadata, &vocabulary, added, model)
}

/// T5's sentinels, which mark omitted spans of a text. The converter does not know their names and writes `[PAD32000]` and so
/// on; the first is the last sentinel.
fn sentinels(vocabulary: &Vocabulary) -> BTreeMap<u32, String> {
    const COUNT: usize = 100;
    let is_placeholder = |token: &str| {
        let digits = token.strip_prefix("[PAD").and_then(|rest| rest.strip_suffix(']'));
        digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
    };
    let unused = vocabulary
        .tokens
        .iter()
        .enumerate()
        .filter(|(id, token)| vocabulary.kinds[*id] == Kind::Unused && is_placeholder(token));
    unused.take(COUNT).enumerate().map(|(i, (id, _))| (id as u32, format!("<extra_id_{}>", COUNT - 1 - i))).collect()
}

impl<'a> Added<'a> {
    fn special(id: u32, content: &'a str) -> Self {
        Self { id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true }
    }
}

impl<'a> Vocabulary<'a> {
    /// Makes a token special that no list calls so.
    pub(super) fn add_special(&self, added: &mut Vec<Added<'a>>, id: u32) {
        match added.iter_mut().find(|token| token.id == id) {
            Some(token) => token.special = true,
            None => {
                added.push(Added::special(id, self.text(id)));
                added.sort_by_key(|token| token.id);
            }
        }
    }

    pub(super) fn added(&self) -> Vec<Added<'a>> {
        let ids = (0..self.kinds.len() as u32).filter(|&id| !self.text(id).is_empty());
        let ids = ids.filter(|&id| self.is_special(id) || self.kinds[id as usize] == Kind::UserDefined);
        ids.map(|id| Added { special: self.is_special(id), ..Added::special(id, self.text(id)) }).collect()
    }
}

/// The parts that differ between kinds of tokenizers.
pub(super) struct Parts {
    pub normalizer: Value,
    pub pre_tokenizer: Value,
    pub decoder: Value,
    /// Whether these tokens are added if the file does not say.
    pub add_bos: bool,
    pub add_eos: bool,
    /// If not empty, all added tokens except these strip the white space after them.
    pub strips_after: &'static [&'static str],
    /// What is added around texts, if it is not the tokens above.
    pub post: Option<Value>,
}

impl Parts {
    pub(super) fn assemble(
        self,
        metadata: &Metadata,
        vocabulary: &Vocabulary,
        mut added: Vec<Added>,
        model: Model,
    ) -> Result<Tokenizer> {
        let Special { bos, eos, unknown, pad, .. } = vocabulary.special;
        let surround = |key: &str, default: bool, id: Option<u32>| match (metadata.bool_opt(key)?, id) {
            _ if self.post.is_some() => Ok(None),
            (Some(true), None) => Err(metadata.invalid(key, "is true, but the file names no such token")),
            (asked, id) => Ok(id.filter(|_| asked.unwrap_or(default))),
        };
        if self.post.is_none() && metadata.bool_opt(ADD_SEP)?.unwrap_or(false) {
            let path = metadata.path().display();
            return Err(Error::unsupported(format!(
                "{path}: field {} is true, which is not supported",
                quoted(ADD_SEP)
            )));
        }
        let first = surround(ADD_BOS, self.add_bos, bos)?;
        let last = surround(ADD_EOS, self.add_eos, eos)?;
        if !self.strips_after.is_empty() {
            for token in &mut added {
                token.rstrip = !self.strips_after.contains(&token.content);
            }
        }
        let file = File {
            version: "1.0",
            truncation: (),
            padding: (),
            added_tokens: added,
            normalizer: self.normalizer,
            pre_tokenizer: self.pre_tokenizer,
            post_processor: self.post.unwrap_or_else(|| template(vocabulary, first, last)),
            decoder: self.decoder,
            model,
        };
        let json = serde_json::to_string(&file).map_err(|e| contradiction(metadata, e))?;
        let mut config = Map::new();
        for (name, id) in [("bos_token", bos), ("eos_token", eos), ("unk_token", unknown), ("pad_token", pad)] {
            if let Some(id) = id {
                config.insert(name.into(), vocabulary.text(id).into());
            }
        }
        config.insert("add_bos_token".into(), first.is_some().into());
        config.insert("add_eos_token".into(), last.is_some().into());
        config.insert("clean_up_tokenization_spaces".into(), false.into());
        if let Some(template) = metadata.text_opt("tokenizer.chat_template")? {
            let template = match metadata.text_opt("tokenizer.chat_template.tool_use")? {
                None => template.into(),
                Some(tool_use) => json!([
                    {"name": "default", "template": template},
                    {"name": "tool_use", "template": tool_use},
                ]),
            };
            config.insert("chat_template".into(), template);
        }
        Ok(Tokenizer {
            json,
            config: Value::Object(config),
            special: vocabulary.special,
            ends: vocabulary.ends(),
            tokens: vocabulary.tokens.len(),
        })
    }
}

/// The special tokens around a text, or around each text of a pair.
fn template(vocabulary: &Vocabulary, first: Option<u32>, last: Option<u32>) -> Value {
    if first.is_none() && last.is_none() {
        return Value::Null;
    }
    let token = |id: Option<u32>| id.map(|id| json!({"SpecialToken": {"id": vocabulary.text(id), "type_id": 0}}));
    let around = |sequence: &str| {
        let text = json!({"Sequence": {"id": sequence, "type_id": 0}});
        [token(first), Some(text), token(last)].into_iter().flatten().collect::<Vec<_>>()
    };
    let mut tokens = Map::new();
    for id in [first, last].into_iter().flatten() {
        let text = vocabulary.text(id);
        tokens.insert(text.into(), json!({"id": text, "ids": [id], "tokens": [text]}));
    }
    let pair = [around("A"), around("B")].concat();
    json!({
        "type": "TemplateProcessing",
        "single": around("A"),
        "pair": pair,
        "special_tokens": tokens,
    })
}
