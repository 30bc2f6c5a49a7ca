//! Where a long text can be cut so that its parts, tokenised one by one, give the tokens of the whole: at a space between two letters,
//! where no token of the vocabulary crosses it and no step of the tokenizer looks across it; and in texts without spaces between letters
//! ([`super::letters`]). Tokenising part by part bounds the memory, ends when a length limit is reached, and notices a cancellation.

use super::letters::{Letters, is};
use super::long_words::{self, Shortened};
use crate::base::error::Result;
use crate::text::byte_alphabet::byte_of;
use serde_json::Value;
use tokenizers::{
    AddedToken, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, PreTokenizerWrapper,
    Tokenizer as HfTokenizer,
};

/// Texts up to this length in bytes are tokenised whole; longer ones in parts of about this length. A part takes a few milliseconds.
pub const PART: usize = 32 << 10;

/// The bytes before a part that are tokenised again, because steps such as `Prepend` treat the beginning of a text differently. Their
/// tokens are dropped.
const OVERLAP: usize = 16;

/// The bytes that are searched for a place to cut between two polls.
const SEARCHED: usize = 64 << 10;

/// Letters are cut only where there is no space within this many bytes.
const SPACES_FIRST: usize = 1 << 10;

/// Digits, and letters beside ASCII's, between which a space is a cut: no normalizer joins them to a space or puts spaces around them.
const ALPHABETS: [(char, char); 9] = [
    ('0', '9'),
    ('\u{e0}', '\u{f6}'),
    // Greek, Cyrillic, Armenian, Hebrew, Arabic, Devanagari, Bengali.
    ('\u{3b1}', '\u{3c9}'),
    ('\u{410}', '\u{44f}'),
    ('\u{561}', '\u{586}'),
    ('\u{5d0}', '\u{5ea}'),
    ('\u{621}', '\u{64a}'),
    ('\u{905}', '\u{939}'),
    ('\u{985}', '\u{9b9}'),
];

/// The space, and the characters that SentencePiece and byte-level BPE write in its place.
const SPACES: [char; 3] = [' ', '▁', 'Ġ'];

/// Between which letters a space is a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spaces {
    Never,
    /// A token crosses a space after another letter, or after a byte that may be its last.
    BetweenAscii,
    BetweenLetters,
}

impl Spaces {
    fn of(tokenizer: &HfTokenizer, vocabulary: &[String]) -> Self {
        if !cuts_at_spaces(tokenizer) || vocabulary.iter().any(|token| crosses(token, |c| c.is_ascii_alphabetic())) {
            return Self::Never;
        }
        let added = tokenizer.get_added_tokens_decoder();
        let tokens = vocabulary.iter().chain(added.values().map(|token| &token.content));
        let part_of_letter = |c| is_letter(c) || byte_of(c).is_some_and(|byte| !byte.is_ascii());
        let takes = |token: &AddedToken| {
            token.lstrip && token.content.starts_with(is_letter) || token.rstrip && token.content.ends_with(is_letter)
        };
        // Letters and spaces that are all unknown may become one token.
        let known = |token: &String| SPACES.iter().any(|space| token.chars().eq([*space]));
        let pre_tokenizer = serde_json::to_value(tokenizer.get_pre_tokenizer()).unwrap_or_default();
        let splits = is(&pre_tokenizer, "pretokenizers", &|part| {
            matches!(part["type"].as_str(), Some("BertPreTokenizer" | "Whitespace" | "WhitespaceSplit"))
        });
        let crossed = tokens.into_iter().any(|token| crosses(token, part_of_letter)) || added.values().any(takes);
        if crossed || !(splits || vocabulary.iter().any(known)) {
            return Self::BetweenAscii;
        }
        Self::BetweenLetters
    }

    fn is_cut(self, text: &str, at: usize) -> bool {
        let bytes = text.as_bytes();
        if bytes[at] != b' ' || self == Self::Never || at == 0 || at + 1 == bytes.len() {
            return false;
        }
        if bytes[at - 1].is_ascii_alphabetic() && bytes[at + 1].is_ascii_alphabetic() {
            return true;
        }
        self == Self::BetweenLetters
            && text[..at].chars().next_back().is_some_and(is_letter)
            && text[at + 1..].chars().next().is_some_and(is_letter)
    }
}

fn is_letter(c: char) -> bool {
    c.is_ascii_alphabetic() || ALPHABETS.iter().any(|&(first, last)| (first..=last).contains(&c))
}

/// The places where a tokenizer's texts can be cut.
pub struct Cuts {
    spaces: Spaces,
    letters: Option<Letters>,
}

impl Cuts {
    /// `poll` is called between the parts of this work, which takes some hundred milliseconds for a large vocabulary.
    pub fn of(tokenizer: &HfTokenizer, poll: &dyn Fn() -> Result<()>) -> Result<Self> {
        let vocabulary: Vec<String> = tokenizer.get_vocab(false).into_keys().collect();
        poll()?;
        let spaces = Spaces::of(tokenizer, &vocabulary);
        poll()?;
        Ok(Self { spaces, letters: Letters::of(tokenizer, &vocabulary, poll)? })
    }

    pub fn none() -> Self {
        Self { spaces: Spaces::Never, letters: None }
    }

    /// The text without the middles of words that are unknown for their length.
    pub fn shortened(&self, text: &str) -> Option<Shortened> {
        self.letters.as_ref()?.longest_word.and_then(|longest| long_words::shortened(text, longest))
    }

    /// Whether windows of a text can be joined ([`super::windows`]).
    pub fn joins(&self) -> bool {
        self.letters.as_ref().is_some_and(|letters| letters.joins)
    }

    pub fn any(&self) -> bool {
        self.spaces != Spaces::Never || self.letters.is_some()
    }

    fn is_cut(&self, text: &str, at: usize) -> bool {
        self.spaces.is_cut(text, at) || self.is_letter_cut(text, at)
    }

    fn is_letter_cut(&self, text: &str, at: usize) -> bool {
        self.letters.as_ref().is_some_and(|letters| letters.is_cut(text, at))
    }

    /// The first place at or after `from` where a text can be cut.
    fn next(&self, text: &str, from: usize, poll: &dyn Fn() -> Result<()>) -> Result<Option<usize>> {
        let from = from.max(1);
        let near = (from + SPACES_FIRST).min(text.len());
        let space = (from..near).find(|&at| self.spaces.is_cut(text, at));
        if let Some(at) = space.or_else(|| (from..near).find(|&at| self.is_letter_cut(text, at))) {
            return Ok(Some(at));
        }
        for block in (near..text.len()).step_by(SEARCHED) {
            poll()?;
            let end = (block + SEARCHED).min(text.len());
            if let Some(at) = (block..end).find(|&at| self.is_cut(text, at)) {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// The last place at or before `to` where a text can be cut.
    fn last(&self, text: &str, to: usize, poll: &dyn Fn() -> Result<()>) -> Result<Option<usize>> {
        let to = (to + 1).min(text.len()).max(1);
        let near = to.saturating_sub(SPACES_FIRST).max(1);
        let space = (near..to).rev().find(|&at| self.spaces.is_cut(text, at));
        if let Some(at) = space.or_else(|| (near..to).rev().find(|&at| self.is_letter_cut(text, at))) {
            return Ok(Some(at));
        }
        for block in (1..near).rev().step_by(SEARCHED) {
            poll()?;
            let begin = (block + 1).saturating_sub(SEARCHED).max(1);
            if let Some(at) = (begin..=block).rev().find(|&at| self.is_cut(text, at)) {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// Cuts a text into parts of about `size` bytes, the first part first or, `from_the_end`, the last part first. `poll` is called while a
    /// place to cut is searched.
    pub fn parts(
        &self,
        text: &str,
        size: usize,
        from_the_end: bool,
        poll: &dyn Fn() -> Result<()>,
    ) -> impl Iterator<Item = Result<Part>> {
        let (mut low, mut high, mut done) = (0, text.len(), false);
        let place = |at: Option<usize>| at.unwrap_or(0);
        let mut part = move || -> Result<Option<Part>> {
            if done {
                return Ok(None);
            }
            let (start, end) = if from_the_end {
                let start = place(self.last(text, high.saturating_sub(size), poll)?);
                done = start == 0;
                (start, std::mem::replace(&mut high, start))
            } else {
                let end = self.next(text, low + size, poll)?.unwrap_or(text.len());
                done = end == text.len();
                (std::mem::replace(&mut low, end), end)
            };
            let overlapped = if start == 0 { None } else { self.last(text, start.saturating_sub(OVERLAP), poll)? };
            Ok(Some(Part { before: place(overlapped), start, end }))
        };
        std::iter::from_fn(move || part().transpose())
    }
}

/// Whether the texts of a tokenizer can be cut at spaces between letters, if no token crosses one.
fn cuts_at_spaces(tokenizer: &HfTokenizer) -> bool {
    let part = |part: serde_json::Result<Value>| part.unwrap_or(Value::Bool(true));
    let normalizer = part(serde_json::to_value(tokenizer.get_normalizer()));
    let pre_tokenizer = part(serde_json::to_value(tokenizer.get_pre_tokenizer()));
    let added = tokenizer.get_added_tokens_decoder();
    // An added token that takes the spaces around it, or has some within, may cross a cut.
    let added = added.values().all(|token| {
        let letter = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphabetic());
        let takes = token.lstrip && letter(token.content.chars().next())
            || token.rstrip && letter(token.content.chars().next_back())
            || token.single_word;
        !takes && !crosses(&token.content, |c| c.is_ascii_alphabetic())
    });
    added && keeps_spaces(&normalizer) && splits_locally(&pre_tokenizer)
}

/// Whether a token has a space after a letter. `▁` and `Ġ` stand for spaces in vocabularies.
fn crosses(token: &str, letter: impl Fn(char) -> bool) -> bool {
    token.chars().zip(token.chars().skip(1)).any(|(before, c)| SPACES.contains(&c) && letter(before))
}

pub fn steps<'a>(part: &'a Value, list: &str) -> Option<&'a Vec<Value>> {
    part.get(list).and_then(Value::as_array)
}

/// Whether a normalizer leaves a single space between two ASCII letters alone, or replaces it by another character.
fn keeps_spaces(part: &Value) -> bool {
    if let Some(parts) = steps(part, "normalizers") {
        return parts.iter().all(keeps_spaces);
    }
    let kind = part.get("type").and_then(Value::as_str).unwrap_or_default();
    match kind {
        "BertNormalizer" | "Lowercase" | "NFC" | "NFD" | "NFKC" | "NFKD" | "StripAccents" | "Prepend"
        | "Precompiled" | "Nmt" | "Strip" => true,
        "Replace" => match (&part["pattern"]["String"], &part["pattern"]["Regex"]) {
            // A pattern with both a letter and a space could reach across.
            (Value::String(pattern), _) => {
                pattern == " " || !pattern.contains(' ') || !pattern.contains(char::is_alphabetic)
            }
            (_, Value::String(expression)) => matches!(expression.as_str(), r"\s+" | " {2,}" | r"\s{2,}" | "[\n\t]+"),
            _ => false,
        },
        _ => part.is_null(),
    }
}

/// Whether a pre-tokenizer decides about a place by the word before it and the space after it alone.
pub fn splits_locally(part: &Value) -> bool {
    if let Some(parts) = steps(part, "pretokenizers") {
        return parts.iter().all(splits_locally);
    }
    let kind = part.get("type").and_then(Value::as_str).unwrap_or_default();
    match kind {
        "BertPreTokenizer" | "ByteLevel" | "Metaspace" | "Whitespace" | "WhitespaceSplit" | "Punctuation"
        | "Digits" | "UnicodeScripts" => true,
        "Split" => match (&part["pattern"]["String"], &part["pattern"]["Regex"]) {
            (Value::String(pattern), _) => pattern == " " || !pattern.contains(' '),
            // Anchors and looks further than to the next character see across a cut.
            (_, Value::String(expression)) => {
                let looks = expression.replace(r"(?!\S)", "").replace("[^", "");
                let far = ["(?=", "(?!", "(?<", r"\A", r"\z", r"\Z", r"\b", r"\B", "$", "^"];
                !far.iter().any(|sign| looks.contains(sign)) && splits_words(part)
            }
            _ => false,
        },
        _ => part.is_null(),
    }
}

/// Whether a `Split` leaves no space after a letter within a word of a sample.
fn splits_words(part: &Value) -> bool {
    const SAMPLE: &str = "The quick brown fox saw 12 birds, and they're all I've got. A b c\n 3 45 6 d e: it's so; no way \
        αβ γ слово и дело աբ գդ שלום עולם مرحبا بكم कम क কখ গঘ déjà à été";
    let Ok(split) = serde_json::from_value::<PreTokenizerWrapper>(part.clone()) else { return false };
    let mut text = PreTokenizedString::from(SAMPLE);
    split.pre_tokenize(&mut text).is_ok()
        && text
            .get_splits(OffsetReferential::Original, OffsetType::Byte)
            .iter()
            .all(|(word, ..)| !crosses(word, is_letter))
}

/// A part of a text: the tokens that begin in `start..end`, from tokenising `before..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub before: usize,
    pub start: usize,
    pub end: usize,
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::{Path, PathBuf};

    use super::super::parts::{Steps, encode};
    use super::*;
    use crate::base::error::{Error, Status};

    pub fn tokenizers() -> Vec<(PathBuf, HfTokenizer)> {
        fn find(folder: &Path, found: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if entry.is_dir() {
                    find(&entry, found);
                } else if entry.ends_with("tokenizer.json") {
                    found.push(entry);
                }
            }
        }
        let mut files = Vec::new();
        find(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures"), &mut files);
        files.sort();
        let mut tokenizers = Vec::new();
        for file in files {
            let Ok(text) = std::fs::read_to_string(&file) else { continue };
            let Ok(mut json) = serde_json::from_str::<Value>(&text) else { continue };
            let mut add = |name: PathBuf, json: &Value| {
                let Ok(mut tokenizer) = HfTokenizer::from_bytes(json.to_string()) else { return };
                tokenizer.with_post_processor(None::<tokenizers::PostProcessorWrapper>);
                tokenizer.with_padding(None);
                if tokenizer.with_truncation(None).is_ok() {
                    tokenizers.push((name, tokenizer));
                }
            };
            add(file.clone(), &json);
            // As of Llama 3: words that are tokens are not merged.
            if json["model"]["ignore_merges"] == false {
                json["model"]["ignore_merges"] = true.into();
                add(file.join("ignore_merges"), &json);
            }
        }
        tokenizers
    }

    pub fn random(seed: &mut u64, below: usize) -> usize {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*seed >> 33) as usize % below
    }

    /// A text of words, with what is odd between them.
    fn text(seed: &mut u64, tokenizer: &HfTokenizer) -> String {
        const ODD: [&str; 27] = [
            "a",
            "bird",
            "Singing",
            "IN",
            "the",
            "rain",
            "12",
            "3.5",
            "naïve",
            "Ünï",
            "\u{e0}",
            "été",
            "שלום",
            "日本語",
            "don't",
            "they've",
            "x_y",
            "-",
            "...",
            "\n",
            "\n\n",
            "\t",
            "  ",
            "    ",
            "e\u{301}",
            "🐦",
            "\u{a0}",
        ];
        let added: Vec<String> =
            tokenizer.get_added_tokens_decoder().values().map(|token| token.content.clone()).collect();
        let mut text = String::new();
        for _ in 0..150 {
            match random(seed, 30) {
                0 if !added.is_empty() => text.push_str(&added[random(seed, added.len())]),
                1..=12 => text.push_str(ODD[random(seed, ODD.len())]),
                kind => {
                    let (first, last) = if kind < 22 { ('a', 'z') } else { ALPHABETS[random(seed, ALPHABETS.len())] };
                    let count = u32::from(last) - u32::from(first) + 1;
                    (0..=random(seed, 9)).for_each(|_| {
                        text.extend(char::from_u32(u32::from(first) + random(seed, count as usize) as u32));
                    });
                }
            }
            if random(seed, 12) != 0 {
                text.push(' ');
            }
        }
        text
    }

    /// A text of letters without spaces, in several scripts.
    pub fn letters(seed: &mut u64, tokenizer: &HfTokenizer) -> String {
        const SCRIPTS: [(char, char); 10] = [
            ('a', 'z'),
            ('a', 'e'),
            ('A', 'Z'),
            ('\u{430}', '\u{44f}'),
            ('\u{4e00}', '\u{4e40}'),
            ('\u{4e00}', '\u{9fff}'),
            ('\u{3041}', '\u{3096}'),
            ('\u{ac00}', '\u{ac80}'),
            ('\u{e01}', '\u{e3a}'),
            ('\u{e9}', '\u{1e5}'),
        ];
        let added: Vec<String> =
            tokenizer.get_added_tokens_decoder().values().map(|token| token.content.clone()).collect();
        let vocabulary: Vec<(String, u32)> = tokenizer.get_vocab(false).into_iter().collect();
        let mut text = String::new();
        while text.len() < 1500 {
            let (first, last) = SCRIPTS[random(seed, SCRIPTS.len())];
            let count = u32::from(last) - u32::from(first);
            match random(seed, 24) {
                0 if !added.is_empty() => text.push_str(&added[random(seed, added.len())]),
                1 => text.push_str(["12", "'ll", "'s", "...", ",", "-", "。", "\u{301}", "!?"][random(seed, 9)]),
                2..=4 if !vocabulary.is_empty() => text.push_str(&vocabulary[random(seed, vocabulary.len())].0),
                _ => (0..=random(seed, 60)).for_each(|_| {
                    text.extend(char::from_u32(u32::from(first) + random(seed, count as usize) as u32));
                }),
            }
        }
        text
    }

    #[test]
    fn the_tokens_of_the_parts_are_those_of_the_whole() {
        let (mut spaces, mut alphabets, mut letters_cut) = (0, 0, 0);
        for (file, tokenizer) in tokenizers() {
            let cuts = Cuts::of(&tokenizer, &|| Ok(())).unwrap();
            if !cuts.any() {
                println!("not cut: {}", file.display());
                continue;
            }
            spaces += usize::from(cuts.spaces != Spaces::Never);
            alphabets += usize::from(cuts.spaces == Spaces::BetweenLetters);
            println!("{}: spaces {:?}, letters {}", file.display(), cuts.spaces, cuts.letters.is_some());
            let tokenize = |part: &str| Ok(tokenizer.encode(part, false).unwrap());
            let steps = Steps { tokenize: &tokenize, poll: &|| Ok(()) };
            let mut seed = 1;
            let mut parts = 0;
            for round in 0..40 {
                let text = if round % 2 == 0 { text(&mut seed, &tokenizer) } else { letters(&mut seed, &tokenizer) };
                let whole = tokenizer.encode(text.as_str(), false).unwrap();
                let size = 1 + random(&mut seed, 300);
                let room = random(&mut seed, whole.len() + 10);
                if round % 2 == 1 {
                    parts += cuts.parts(&text, size, false, &|| Ok(())).count() - 1;
                }
                for from_the_end in [false, true] {
                    let all = encode(&steps, &cuts, &text, size, None, from_the_end).unwrap();
                    let what = || format!("{}, parts of {size}: {text:?}", file.display());
                    assert_eq!(all.get_ids(), whole.get_ids(), "{}", what());
                    assert_eq!(all.get_offsets(), whole.get_offsets(), "{}", what());
                    assert_eq!(all.get_word_ids(), whole.get_word_ids(), "{}", what());
                    let some = encode(&steps, &cuts, &text, size, Some(room), from_the_end).unwrap();
                    assert_eq!(some.len() > room, whole.len() > room, "{}", what());
                    let count = some.len().min(room);
                    let ends = |ids: &[u32]| match from_the_end {
                        true => ids[ids.len() - count..].to_vec(),
                        false => ids[..count].to_vec(),
                    };
                    assert_eq!(ends(some.get_ids()), ends(whole.get_ids()), "{}", what());
                }
            }
            letters_cut += usize::from(parts > 20);
        }
        assert!(spaces >= 20, "only {spaces} tokenizers cut their texts at spaces");
        assert!(alphabets >= 20, "only {alphabets} tokenizers cut their texts between letters of other alphabets");
        assert!(letters_cut >= 20, "only {letters_cut} tokenizers cut texts without spaces");
    }

    #[test]
    fn parts_cover_a_text_and_are_as_long_as_asked() {
        let cuts = Cuts { spaces: Spaces::BetweenAscii, letters: None };
        let text = "some words ".repeat(100) + &"-".repeat(500) + " and some more".repeat(50).as_str();
        for from_the_end in [false, true] {
            let mut all: Vec<Part> = cuts.parts(&text, 100, from_the_end, &|| Ok(())).map(Result::unwrap).collect();
            if from_the_end {
                all.reverse();
            }
            assert!(all.len() > 10 && all[0].start == 0 && all[all.len() - 1].end == text.len());
            for pair in all.windows(2) {
                assert_eq!(pair[0].end, pair[1].start);
                assert!(pair[1].before < pair[1].start && pair[1].start - pair[1].before < 600);
            }
            assert!(all.iter().filter(|part| part.end - part.start > 130).count() <= 2);
        }
        // Nowhere to cut.
        let dashes = "-".repeat(1000);
        for from_the_end in [false, true] {
            let all: Vec<Part> = cuts.parts(&dashes, 10, from_the_end, &|| Ok(())).map(Result::unwrap).collect();
            assert_eq!(all, [Part { before: 0, start: 0, end: 1000 }]);
        }
        // The search for a place is cancelled.
        let dashes = "-".repeat(3 * SEARCHED);
        for from_the_end in [false, true] {
            let mut parts = cuts.parts(&dashes, 10, from_the_end, &|| Err(Error::cancelled()));
            assert_eq!(parts.next().unwrap().unwrap_err().status(), Status::Cancelled);
        }
    }

    #[test]
    fn a_cancelled_text_is_tokenised_no_further() {
        let (_, tokenizer) = tokenizers().into_iter().find(|(_, tokenizer)| cuts_at_spaces(tokenizer)).unwrap();
        let checked = std::cell::Cell::new(0);
        let tokenize = |part: &str| {
            checked.set(checked.get() + 1);
            if checked.get() == 3 { Err(Error::cancelled()) } else { Ok(tokenizer.encode(part, false).unwrap()) }
        };
        let steps = Steps { tokenize: &tokenize, poll: &|| Ok(()) };
        let cuts = Cuts::of(&tokenizer, &|| Ok(())).unwrap();
        let error = encode(&steps, &cuts, &"some words ".repeat(1000), 100, None, false).err().unwrap();
        assert_eq!((error.status(), checked.get()), (Status::Cancelled, 3));
    }

    #[test]
    fn expressions_that_see_across_a_cut_are_not_cut() {
        let split = |expression: &str| {
            let pattern = serde_json::json!({"Regex": expression});
            serde_json::json!({"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": false})
        };
        // That of Llama 3.
        let llama = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
        assert!(splits_locally(&split(llama)));
        for expression in ["[a-z ]+", "a.*", "x(?= y)", "(?<=a )b", "^a", r"\ba", "brown fox|[a-z]+"] {
            assert!(!splits_locally(&split(expression)), "{expression}");
        }
    }
}
