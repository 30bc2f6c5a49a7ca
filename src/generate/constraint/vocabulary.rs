//! A tokenizer's vocabulary as bytes.

use llguidance::toktrie::TokTrie;
use serde_json::Value;
use tokenizers::Tokenizer;

use crate::base::error::{Error, Result};
use crate::text::byte_alphabet::byte_of;

/// The maximum size of all tokens in the trie, in bytes.
const MAX_TOKEN_BYTES: usize = 1 << 22;
/// The maximum length of a token in bytes. Longer ones, mostly runs of spaces, are never allowed.
const MAX_TOKEN: usize = 512;

/// How a tokenizer's vocabulary spells bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Spelling {
    /// Each character of a token is a byte in GPT-2's byte-to-Unicode table.
    byte_level: bool,
    /// `<0xAB>` is the byte AB.
    byte_fallback: bool,
    /// The replacement of a space.
    space: Option<String>,
    pub drops_first_space: bool,
}

impl Spelling {
    /// From the tokenizer's decoder, or else from its pre-tokenizer.
    pub fn of(tokenizer: &Tokenizer) -> Result<Self> {
        let unreadable = |e| Error::internal(format!("the tokenizer's decoder cannot be read: {e}"));
        let mut spelling = Self::default();
        let decoder = match (tokenizer.get_decoder(), tokenizer.get_pre_tokenizer()) {
            (Some(decoder), _) => serde_json::to_value(decoder),
            (None, Some(pre_tokenizer)) => serde_json::to_value(pre_tokenizer),
            (None, None) => return Ok(spelling),
        };
        spelling.read(&decoder.map_err(unreadable)?)?;
        Ok(spelling)
    }

    fn read(&mut self, part: &Value) -> Result<()> {
        let text = |key: &str| part[key].as_str();
        match text("type").unwrap_or_default() {
            "Sequence" => {
                let parts = part["decoders"].as_array().or_else(|| part["pretokenizers"].as_array());
                for part in parts.into_iter().flatten() {
                    self.read(part)?;
                }
            }
            "ByteLevel" => self.byte_level = true,
            "ByteFallback" => self.byte_fallback = true,
            "Metaspace" => {
                self.space = text("replacement").map(str::to_owned);
                self.drops_first_space = text("prepend_scheme") != Some("never");
            }
            "Replace" if text("content") == Some(" ") => {
                self.space = part["pattern"]["String"].as_str().map(str::to_owned)
            }
            "Strip" => self.drops_first_space = text("content") == Some(" ") && part["start"].as_u64() > Some(0),
            "Fuse" | "Split" | "Digits" | "Punctuation" | "WhitespaceSplit" | "Replace" => {}
            other => {
                let what =
                    format!("constrained output with a tokenizer whose decoder is {}", crate::formats::quoted(other));
                return Err(Error::unsupported(what));
            }
        }
        Ok(())
    }

    /// The bytes of a token that is not special.
    fn bytes(&self, token: &str) -> Vec<u8> {
        if self.byte_level
            && let Some(bytes) = token.chars().map(byte_of).collect::<Option<Vec<u8>>>()
        {
            return bytes;
        }
        if self.byte_fallback
            && let Some(digits) = token.strip_prefix("<0x").and_then(|token| token.strip_suffix('>'))
            && digits.len() == 2
            && let Ok(byte) = u8::from_str_radix(digits, 16)
        {
            return vec![byte];
        }
        match &self.space {
            Some(space) if !space.is_empty() => token.replace(space, " ").into_bytes(),
            _ => token.as_bytes().to_vec(),
        }
    }
}

/// The bytes of each token; none for ids without a token. Special tokens begin with a marker byte that no text has.
pub fn words(tokenizer: &Tokenizer, spelling: &Spelling, size: usize, eos: &[u32]) -> Result<Vec<Vec<u8>>> {
    let marked = |token: &str| [&[TokTrie::SPECIAL_TOKEN_MARKER], token.as_bytes()].concat();
    let mut words = vec![Vec::new(); size];
    let added = tokenizer.get_added_tokens_decoder();
    for (token, id) in tokenizer.get_vocab(true) {
        let Some(word) = words.get_mut(id as usize) else { continue };
        *word = match added.get(&id) {
            Some(added) if added.special => marked(&token),
            Some(_) => token.into_bytes(),
            None => spelling.bytes(&token),
        };
    }
    for &id in eos {
        let word = &mut words[id as usize];
        if word.first() != Some(&TokTrie::SPECIAL_TOKEN_MARKER) {
            *word = marked(&format!("<end {id}>"));
        }
    }
    for word in &mut words {
        if word.len() > MAX_TOKEN {
            word.clear();
        }
    }
    match words.iter().map(Vec::len).sum::<usize>() {
        total if total < MAX_TOKEN_BYTES => Ok(words),
        total => Err(Error::unsupported(format!(
            "constrained output with a vocabulary of {total} bytes; fewer than {MAX_TOKEN_BYTES} are supported"
        ))),
    }
}
