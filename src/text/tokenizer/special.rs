//! The special and added tokens that the files beside `tokenizer.json` name, read as transformers 5 reads them.
//!
//! Fine-tunes name tokens in `tokenizer_config.json` (`eos_token`, `added_tokens_decoder`, `extra_special_tokens`, ...), older models in
//! `special_tokens_map.json` and `added_tokens.json`, and `tokenizer.json` does not know all of them: without this an end token stays in
//! the text, and a token of a chat format is split into letters.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tokenizers::{AddedToken, Tokenizer as HfTokenizer};

use crate::base::error::Result;
use crate::formats::files::Files;
use crate::formats::json::Config;

const CONFIG: &str = "tokenizer_config.json";

/// The names of special tokens, in the order in which tokens that the vocabulary lacks are added to it.
const NAMES: [&str; 7] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// The special tokens that a class of transformers has where the files name none, in the order of [`NAMES`]; "" for none.
const CLASSES: &[(&[&str], [&str; 7])] = &[
    (
        &["Bert", "DistilBert", "Electra", "MobileBert", "RetriBert", "LayoutLM"],
        ["", "", "[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"],
    ),
    (
        &["Roberta", "Bart", "XLMRoberta", "MBart", "Camembert", "Nllb", "Barthez", "LED", "Longformer"],
        ["<s>", "</s>", "<unk>", "</s>", "<pad>", "<s>", "<mask>"],
    ),
    (&["MPNet"], ["<s>", "</s>", "[UNK]", "</s>", "<pad>", "<s>", "<mask>"]),
    (&["MBart50"], ["", "</s>", "<unk>", "</s>", "<pad>", "<s>", "<mask>"]),
    (&["T5", "Marian"], ["", "</s>", "<unk>", "", "<pad>", "", ""]),
    (&["GPT2", "CodeGen"], ["<|endoftext|>", "<|endoftext|>", "<|endoftext|>", "", "", "", ""]),
    (&["GPTNeoX"], ["<|endoftext|>", "<|endoftext|>", "<|endoftext|>", "", "<|padding|>", "", ""]),
    (&["Llama", "CodeLlama"], ["<s>", "</s>", "<unk>", "", "", "", ""]),
    (&["Qwen2"], ["", "<|endoftext|>", "<|endoftext|>", "", "<|endoftext|>", "", ""]),
    (&["Gemma"], ["<bos>", "<eos>", "<unk>", "", "<pad>", "", "<mask>"]),
];

/// A token as a file writes it: its text alone, or an object with its properties.
#[derive(Clone, Debug)]
enum Token {
    Text(String),
    Object(AddedToken),
}

impl Token {
    fn content(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Object(token) => &token.content,
        }
    }

    fn added(self) -> AddedToken {
        match self {
            Self::Text(text) => AddedToken::from(text, true),
            Self::Object(token) => token,
        }
    }
}

/// The tokens that the files name.
#[derive(Clone, Debug, Default)]
pub struct SpecialTokens {
    /// By the names of [`NAMES`], then by others that end in `_token` or that `extra_special_tokens` gives.
    named: Vec<(String, Token)>,
    /// What the class of the tokenizer has beside them, if the vocabulary has it.
    of_class: Vec<(&'static str, &'static str)>,
    /// `extra_special_tokens`, or `additional_special_tokens` as older files call them.
    extra: Vec<Token>,
    /// `added_tokens_decoder`, by id: its properties replace those in `tokenizer.json`.
    listed: BTreeMap<u32, AddedToken>,
    /// `added_tokens.json`, by id: tokens that `tokenizer.json` may lack.
    older: BTreeMap<u32, AddedToken>,
    /// The names that `tokenizer_config.json` gives, be it null.
    stated: BTreeSet<&'static str>,
}

impl SpecialTokens {
    /// Reads `tokenizer_config.json`. Only if it has no `added_tokens_decoder`, `special_tokens_map.json`, whose tokens come before its
    /// own, and `added_tokens.json` count too.
    ///
    /// # Errors
    /// `InvalidFile`: a file is not valid JSON, or a token is neither a string nor an object with `content`.
    pub fn read(files: &Files) -> Result<Self> {
        let config = files.config(CONFIG)?;
        let decoder = config.as_ref().map(|c| c.section("added_tokens_decoder")).transpose()?.flatten();
        let map = if decoder.is_none() { files.config("special_tokens_map.json")? } else { None };
        let old = if decoder.is_none() { files.config("added_tokens.json")? } else { None };
        let mut read = Self::default();
        read.name(config.as_ref(), map.as_ref())?;
        read.extra(config.as_ref(), map.as_ref())?;
        if let Some(decoder) = &decoder {
            read.list(decoder)?;
        }
        if let Some(old) = &old {
            read.list_old(old)?;
        }
        let class = config.as_ref().map(|c| c.str_opt("tokenizer_class")).transpose()?.flatten();
        read.of_class = class.map(of_class).unwrap_or_default();
        read.stated = NAMES.into_iter().filter(|name| config.as_ref().is_some_and(|c| c.contains(name))).collect();
        let stated = &read.stated;
        read.of_class.retain(|(name, _)| !stated.contains(name));
        Ok(read)
    }

    /// Adds the special tokens of a class, whether the vocabulary has them or not: a tokenizer without `tokenizer.json` is made for them.
    pub fn adopt(&mut self, class: &str) {
        let of_class = of_class(class);
        let mut others = std::mem::take(&mut self.named);
        for name in NAMES {
            let named = others.iter().position(|(other, _)| other == name).map(|at| others.remove(at).1);
            let default = of_class.iter().find(|(other, _)| *other == name && !self.stated.contains(name));
            if let Some(token) = named.or_else(|| default.map(|(_, text)| Token::Text((*text).to_string()))) {
                self.named.push((name.to_string(), token));
            }
        }
        self.named.append(&mut others);
        self.of_class.clear();
    }

    /// Adds a token that has no name.
    pub fn add(&mut self, token: AddedToken) {
        self.extra.push(Token::Object(token));
    }

    /// Lets a named token take the spaces before it, if no file gives its properties.
    pub fn strip_before(&mut self, name: &str) {
        for (_, token) in self.named.iter_mut().filter(|(other, _)| other == name) {
            if let Token::Text(text) = token {
                *token = Token::Object(AddedToken::from(std::mem::take(text), true).lstrip(true));
            }
        }
    }

    /// The text of a named token, or an empty one.
    pub fn text(&self, name: &str) -> String {
        self.get(name).unwrap_or_default().to_owned()
    }

    fn name(&mut self, config: Option<&Config>, map: Option<&Config>) -> Result<()> {
        let keys = |config: &Config| -> Vec<String> {
            let is_name = |key: &&str| key.ends_with("_token") && !NAMES.contains(key);
            // The likes of `add_bos_token` are not tokens.
            config
                .keys()
                .filter(is_name)
                .filter(|key| config.get(key).is_some_and(is_token))
                .map(String::from)
                .collect()
        };
        let others: BTreeSet<String> = [config, map].into_iter().flatten().flat_map(keys).collect();
        for name in NAMES.into_iter().map(String::from).chain(others) {
            let found = match map.map(|c| token(c, &name, true)).transpose()?.flatten() {
                Some(token) => Some(token),
                None => config.map(|c| token(c, &name, false)).transpose()?.flatten(),
            };
            if let Some(token) = found.filter(|token| !token.content().is_empty()) {
                self.named.push((name, token));
            }
        }
        Ok(())
    }

    fn extra(&mut self, config: Option<&Config>, map: Option<&Config>) -> Result<()> {
        let mut known = BTreeSet::new();
        for config in [config, map].into_iter().flatten() {
            for (name, value) in config.section("model_specific_special_tokens")?.iter().flat_map(Config::entries) {
                self.named.push((name.to_string(), of_value(config, "model_specific_special_tokens", value, true)?));
            }
            for key in ["extra_special_tokens", "additional_special_tokens"] {
                match config.get(key) {
                    None => {}
                    Some(Value::Array(list)) => {
                        for value in list {
                            let token = of_value(config, key, value, true)?;
                            if known.insert(token.content().to_string()) {
                                self.extra.push(token);
                            }
                        }
                        // The newer field replaces the older one, unless it is empty.
                        if !list.is_empty() {
                            break;
                        }
                    }
                    Some(Value::Object(named)) => {
                        for (name, value) in named {
                            self.named.push((name.clone(), of_value(config, key, value, true)?));
                        }
                    }
                    Some(_) => {
                        return Err(config.invalid(key, "must be a list of tokens, or an object of named tokens"));
                    }
                }
            }
        }
        Ok(())
    }

    fn list(&mut self, decoder: &Config) -> Result<()> {
        for key in decoder.keys() {
            let Ok(id) = key.parse() else {
                return Err(decoder.invalid(key, "is not named by a token id"));
            };
            let Some(token) = token(decoder, key, false)? else { continue };
            self.listed.insert(id, token.added());
        }
        Ok(())
    }

    fn list_old(&mut self, old: &Config) -> Result<()> {
        let special: BTreeSet<&str> =
            self.named.iter().map(|(_, token)| token).chain(&self.extra).map(Token::content).collect();
        for key in old.keys() {
            let id = old.usize(key)? as u32;
            self.older.insert(id, AddedToken::from(key, special.contains(key)));
        }
        Ok(())
    }

    /// Adds the tokens to a tokenizer and marks the special ones, in the order of transformers, so that new tokens get the same ids.
    pub fn add_to(&mut self, tokenizer: &mut HfTokenizer) -> tokenizers::Result<()> {
        // The tokens of a class may be meant for another vocabulary.
        self.of_class.retain(|(_, text)| tokenizer.token_to_id(text).is_some());
        let of_class = self.of_class.iter().map(|(_, text)| Token::Text((*text).to_string()));
        let named: Vec<Token> = self.named.iter().map(|(_, token)| token.clone()).chain(of_class).collect();
        let names: BTreeSet<&str> = named.iter().map(Token::content).collect();
        let mut listed = self.older.clone();
        listed.extend(tokenizer.get_added_tokens_decoder());
        listed.extend(self.listed.clone());
        let mut known: BTreeSet<String> = listed.values().map(|token| token.content.clone()).collect();
        let mut added: Vec<AddedToken> = listed.into_values().collect();
        let others = named.iter().chain(&self.extra).filter(|token| known.insert(token.content().to_string()));
        added.extend(others.map(|token| token.clone().added()));
        for token in &mut added {
            // tokenizer.json may have it without calling it special.
            token.special |= names.contains(token.content.as_str());
        }
        tokenizer.add_tokens(added)?;
        Ok(())
    }

    /// The named tokens, which are variables of chat templates: `bos_token`, `eos_token` and so on.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        let of_class = self.of_class.iter().copied().filter(|(name, _)| self.named.iter().all(|(n, _)| n != name));
        self.named.iter().map(|(name, token)| (name.as_str(), token.content())).chain(of_class)
    }

    /// The text of a named token.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables().find(|(n, _)| *n == name).map(|(_, text)| text)
    }
}

/// The special tokens of a tokenizer class by its name, with or without `Tokenizer` and `Fast` at the end.
fn of_class(class: &str) -> Vec<(&'static str, &'static str)> {
    let class = class.trim_end_matches("Fast").trim_end_matches("Tokenizer");
    let found = CLASSES.iter().find(|(classes, _)| classes.contains(&class));
    let tokens = found.map(|(_, tokens)| NAMES.into_iter().zip(*tokens)).into_iter().flatten();
    tokens.filter(|(_, text)| !text.is_empty()).collect()
}

fn is_token(value: &Value) -> bool {
    value.is_string() || value.get("content").is_some_and(Value::is_string)
}

fn token(config: &Config, key: &str, special: bool) -> Result<Option<Token>> {
    config.get(key).map(|value| of_value(config, key, value, special)).transpose()
}

/// `special` says whether a token is special whose object does not say it.
fn of_value(config: &Config, key: &str, value: &Value, special: bool) -> Result<Token> {
    if let Some(text) = value.as_str() {
        return Ok(Token::Text(text.to_string()));
    }
    let Some(content) = value.get("content").and_then(Value::as_str) else {
        return Err(config.invalid(key, "must be a token: a string, or an object with `content`"));
    };
    let flag = |name: &str| value.get(name).and_then(Value::as_bool);
    let special = flag("special").unwrap_or(special);
    let token = AddedToken::from(content, special)
        .single_word(flag("single_word").unwrap_or(false))
        .lstrip(flag("lstrip").unwrap_or(false))
        .rstrip(flag("rstrip").unwrap_or(false))
        .normalized(flag("normalized").unwrap_or(!special));
    Ok(Token::Object(token))
}
