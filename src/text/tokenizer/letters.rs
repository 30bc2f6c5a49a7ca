//! Where a text without spaces can be cut so that its parts give the tokens of the whole: between two letters that are neighbours in no
//! token. Whatever a BPE or Unigram model does, it ends a token there. WordPiece looks at whole words, so it is cut where its words end:
//! at ideographs and punctuation.

use std::collections::HashSet;

use serde_json::Value;
use tokenizers::{
    ModelWrapper, NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer,
    PreTokenizerWrapper, Tokenizer as HfTokenizer,
};

use crate::base::error::Result;
use crate::text::byte_alphabet::byte_of;

use super::cuts::steps;
use super::windows::MARGIN;

/// Letters of scripts whose characters stand for themselves, alone: no normalisation form joins two of them.
const LETTERS: [(char, char); 12] = [
    ('a', 'z'),
    ('A', 'Z'),
    ('\u{5d0}', '\u{5ea}'),
    // Cyrillic, Arabic, Devanagari, Thai.
    ('\u{410}', '\u{44f}'),
    ('\u{621}', '\u{64a}'),
    ('\u{905}', '\u{939}'),
    ('\u{e01}', '\u{e2e}'),
    // Kana, ideographs, Hangul.
    ('\u{3041}', '\u{3096}'),
    ('\u{30a1}', '\u{30fa}'),
    ('\u{3400}', '\u{4dbf}'),
    ('\u{4e00}', '\u{9fff}'),
    ('\u{ac00}', '\u{d7a3}'),
];

fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{4e00}'..='\u{9fff}')
}

fn in_scripts(c: char) -> bool {
    LETTERS.iter().any(|&(first, last)| (first..=last).contains(&c))
}

/// Tokens and letters between two polls.
const POLL: usize = 4096;

/// The places of a tokenizer.
pub struct Letters {
    /// The characters that may be on both sides of a cut.
    letters: HashSet<char>,
    /// The neighbours within tokens.
    neighbours: HashSet<u64>,
    /// The letters that must be on each side of a cut.
    run: usize,
    /// Whether words end here, for a model that takes them as a whole.
    words: bool,
    /// Whether windows of a text can be joined ([`super::windows`]).
    pub joins: bool,
    /// The letters of a word from which on it is unknown as a whole.
    pub longest_word: Option<usize>,
}

impl Letters {
    /// None if the tokenizer looks further than to a letter's neighbours, or if that is not known.
    pub fn of(tokenizer: &HfTokenizer, vocabulary: &[String], poll: &dyn Fn() -> Result<()>) -> Result<Option<Self>> {
        let part = |part: serde_json::Result<Value>| part.unwrap_or(Value::Bool(true));
        let normalizer = part(serde_json::to_value(tokenizer.get_normalizer()));
        let pre_tokenizer = part(serde_json::to_value(tokenizer.get_pre_tokenizer()));
        let mut neighbours = HashSet::new();
        let added = tokenizer.get_added_tokens_decoder();
        if !keeps_letters(&normalizer) || added.values().any(|token| token.single_word) {
            return Ok(None);
        }
        // They are found before and after the text is normalised.
        for token in added.values() {
            collect(token.content.as_bytes(), &mut neighbours);
            if let Some(normalised) = normalised(tokenizer, &token.content) {
                collect(normalised.as_bytes(), &mut neighbours);
            }
        }
        let sampling = |p: Option<f32>| p.is_some_and(|p| p > 0.0);
        let affix = |affix: &Option<String>| affix.as_ref().is_some_and(|affix| !affix.is_empty());
        match tokenizer.get_model() {
            ModelWrapper::BPE(bpe) if sampling(bpe.dropout) => return Ok(None),
            ModelWrapper::BPE(bpe) if affix(&bpe.continuing_subword_prefix) || affix(&bpe.end_of_word_suffix) => {
                return Ok(None);
            }
            ModelWrapper::Unigram(unigram) if unigram.alpha.is_some() || unigram.nbest_size.is_some() => {
                return Ok(None);
            }
            ModelWrapper::BPE(_) | ModelWrapper::Unigram(_) => {}
            ModelWrapper::WordPiece(model) => {
                let bert = is(&normalizer, "normalizers", &|part| {
                    part["type"] == "BertNormalizer" && part["handle_chinese_chars"] == true
                });
                let replaces = is(&normalizer, "normalizers", &|part| part["type"] == "Replace");
                let letters = (' '..='~').filter(char::is_ascii_graphic).chain('\u{4e00}'..='\u{9fff}').collect();
                let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric());
                let longest = Some(model.max_input_chars_per_word);
                let longest_word = longest.filter(|_| !added.values().any(|token| plain(&token.content)));
                let whole = bert && !replaces && pre_tokenizer["type"] == "BertPreTokenizer";
                return Ok(whole.then_some(Self {
                    letters,
                    neighbours,
                    run: 1,
                    words: true,
                    joins: false,
                    longest_word,
                }));
            }
            ModelWrapper::WordLevel(_) => return Ok(None),
        }
        if !keeps_words(&pre_tokenizer) {
            return Ok(None);
        }
        let byte_level = is(&pre_tokenizer, "pretokenizers", &|part| part["type"] == "ByteLevel");
        let mut letters: HashSet<char> =
            LETTERS.iter().flat_map(|&(first, last)| first..=last).filter(|_| byte_level).collect();
        let mut bytes_known: HashSet<u8> = HashSet::new();
        for (number, token) in vocabulary.iter().enumerate() {
            if number % POLL == 0 {
                poll()?;
            }
            if !byte_level {
                collect(token.as_bytes(), &mut neighbours);
                let mut characters = token.chars();
                letters.extend(characters.next().filter(|&c| characters.next().is_none() && in_scripts(c)));
                continue;
            }
            // A token with a character outside the byte alphabet matches no text.
            if let Some(bytes) = token.chars().map(byte_of).collect::<Option<Vec<u8>>>() {
                bytes_known.extend(bytes.first().filter(|_| bytes.len() == 1));
                collect(&bytes, &mut neighbours);
            }
        }
        if byte_level && bytes_known.len() < 256 {
            // A byte without a token would be unknown, and neighbours that are unknown become one token.
            return Ok(None);
        }
        let mut stable = HashSet::new();
        for (number, &c) in letters.iter().enumerate() {
            if number % POLL == 0 {
                poll()?;
            }
            if is_stable(tokenizer, c) {
                stable.insert(c);
            }
        }
        let letters = stable;
        let longest = vocabulary.iter().map(String::len).max().unwrap_or(0);
        let (joins, looks_up) = match tokenizer.get_model() {
            ModelWrapper::BPE(bpe) => (longest < MARGIN, bpe.ignore_merges),
            _ => (false, false),
        };
        // The letters after an apostrophe are split from a word by some tokenizers; and by others words are looked up before they are merged,
        // so that no part of a word may be a token.
        let run = if looks_up { longest + 1 } else { 2 };
        let found = Self { letters, neighbours, run, words: false, joins, longest_word: None };
        Ok(Some(found).filter(|found| found.letters.len() > 1))
    }

    /// Whether a text can be cut at this offset.
    pub fn is_cut(&self, text: &str, at: usize) -> bool {
        if !text.is_char_boundary(at) {
            return false;
        }
        let (mut before, mut after) = (text[..at].chars().rev(), text[at..].chars());
        let (Some(x), Some(y)) = (before.next(), after.next()) else { return false };
        if !self.letters.contains(&x) || !self.letters.contains(&y) {
            return false;
        }
        if self.words {
            let ends = |c: char| is_ideograph(c) || c.is_ascii_punctuation();
            return (ends(x) || ends(y)) && !self.are_neighbours(x, y);
        }
        let are_letters = |side: &mut dyn Iterator<Item = char>| {
            (1..self.run).all(|_| side.next().is_some_and(|c| self.letters.contains(&c)))
        };
        !self.are_neighbours(x, y) && are_letters(&mut before) && are_letters(&mut after)
    }

    /// Whether a token may hold the end of one character and the beginning of the next.
    fn are_neighbours(&self, x: char, y: char) -> bool {
        let (mut left, mut right) = ([0; 4], [0; 4]);
        let (left, right) = (x.encode_utf8(&mut left).as_bytes(), y.encode_utf8(&mut right).as_bytes());
        (0..left.len())
            .any(|from| (1..=right.len()).any(|to| self.neighbours.contains(&key(&left[from..], &right[..to]))))
    }
}

/// Up to four bytes on each side of a character's beginning.
fn key(left: &[u8], right: &[u8]) -> u64 {
    let pack = |bytes: &[u8]| bytes.iter().fold(0u64, |all, &byte| all << 8 | u64::from(byte));
    pack(left) << 32 | pack(right)
}

/// Adds the neighbours in a token, whose first and last character may be cut off.
fn collect(token: &[u8], neighbours: &mut HashSet<u64>) {
    let continues = |byte: u8| byte & 0xc0 == 0x80;
    for at in (1..token.len()).filter(|&at| !continues(token[at])) {
        let first = (at.saturating_sub(4)..at).rev().find(|&first| !continues(token[first]));
        let first = first.unwrap_or(at.saturating_sub(3));
        let end =
            (at + 1..token.len().min(at + 4)).find(|&end| !continues(token[end])).unwrap_or(token.len().min(at + 4));
        neighbours.insert(key(&token[first..at], &token[at..end]));
    }
}

/// Whether any step of a sequence is as wanted.
pub fn is(part: &Value, list: &str, wanted: &dyn Fn(&Value) -> bool) -> bool {
    match steps(part, list) {
        Some(parts) => parts.iter().any(|part| is(part, list, wanted)),
        None => wanted(part),
    }
}

fn normalised(tokenizer: &HfTokenizer, text: &str) -> Option<String> {
    let Some(normalizer) = tokenizer.get_normalizer() else { return Some(text.into()) };
    let mut text = NormalizedString::from(text);
    normalizer.normalize(&mut text).ok()?;
    Some(text.get().into())
}

/// Whether the normalizer leaves a letter as it is.
fn is_stable(tokenizer: &HfTokenizer, c: char) -> bool {
    let three: String = [c; 3].iter().collect();
    normalised(tokenizer, &three).is_some_and(|text| text.ends_with(&three) && text.matches(c).count() == 3)
}

/// Whether a normalizer decides about a letter without its neighbours.
fn keeps_letters(part: &Value) -> bool {
    if let Some(parts) = steps(part, "normalizers") {
        return parts.iter().all(keeps_letters);
    }
    match part.get("type").and_then(Value::as_str).unwrap_or_default() {
        "BertNormalizer" | "Lowercase" | "NFC" | "NFD" | "NFKC" | "NFKD" | "StripAccents" | "Prepend"
        | "Precompiled" | "Nmt" | "Strip" => true,
        "Replace" => match (&part["pattern"]["String"], &part["pattern"]["Regex"]) {
            (Value::String(pattern), _) => !pattern.contains(char::is_alphabetic),
            (_, Value::String(expression)) => matches!(expression.as_str(), r"\s+" | " {2,}" | r"\s{2,}" | "[\n\t]+"),
            _ => false,
        },
        _ => part.is_null(),
    }
}

/// Whether a pre-tokenizer takes any number of letters of a script together, or each letter alone.
fn keeps_words(part: &Value) -> bool {
    if let Some(parts) = steps(part, "pretokenizers") {
        return parts.iter().all(keeps_words);
    }
    match part.get("type").and_then(Value::as_str).unwrap_or_default() {
        "BertPreTokenizer" | "ByteLevel" | "Metaspace" | "Whitespace" | "WhitespaceSplit" | "Punctuation"
        | "Digits" => true,
        "Split" => match (&part["pattern"]["String"], &part["pattern"]["Regex"]) {
            (Value::String(pattern), _) => !pattern.contains(char::is_alphabetic),
            (_, Value::String(expression)) => {
                super::cuts::splits_locally(part) && !counts(expression) && splits_evenly(part)
            }
            _ => false,
        },
        _ => part.is_null(),
    }
}

/// Whether an expression counts what it repeats, other than digits.
fn counts(expression: &str) -> bool {
    let digits = [r"\p{N}", r"\d", "[0-9]"];
    expression.match_indices('{').any(|(at, _)| {
        let counted = expression[at + 1..].starts_with(|c: char| c.is_ascii_digit() || c == ',');
        counted && !digits.iter().any(|digit| expression[..at].ends_with(digit))
    })
}

/// Whether the words of a long run of letters are the run, or the letters.
fn splits_evenly(part: &Value) -> bool {
    let Ok(split) = serde_json::from_value::<PreTokenizerWrapper>(part.clone()) else { return false };
    LETTERS.iter().all(|&(first, last)| {
        let run: String = (first..=last).cycle().step_by(3).take(300).collect();
        let mut text = PreTokenizedString::from(run.as_str());
        if split.pre_tokenize(&mut text).is_err() {
            return false;
        }
        let words = text.get_splits(OffsetReferential::Original, OffsetType::Byte);
        words.len() == 1 || words.iter().all(|(word, ..)| word.chars().count() == 1)
    })
}
