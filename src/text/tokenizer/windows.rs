//! A long part of a text without a place to cut it, for byte-pair encoding: windows that overlap are tokenised one by one and joined at
//! a token that both have.
//!
//! This gives the tokens of the whole. Merges happen in the order of their ranks, and those within two neighbouring tokens do not depend
//! on what is around them: a merge across the border of two neighbours of the result would have happened in the window that has both. So
//! a list of tokens of which all neighbours are neighbours in some window is the result for the whole. At the ends of a window words may
//! end that do not end in the whole, so nothing is joined near them.

use tokenizers::Encoding;

use crate::base::error::Result;

/// The bytes that two windows share.
const SHARED: usize = 3 << 10;
/// The bytes at the ends of a window whose tokens are not trusted. Tokens must be shorter.
pub const MARGIN: usize = 512;

/// A token: its id, its bytes in the text, and its word.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Token {
    id: u32,
    start: usize,
    end: usize,
    word: Option<u32>,
}

/// The tokens of a text.
#[derive(Default)]
pub struct Tokens {
    pub ids: Vec<u32>,
    pub offsets: Vec<(usize, usize)>,
    pub words: Vec<Option<u32>>,
}

impl Tokens {
    /// Appends tokens; the first one begins a word or goes on with the last one's.
    fn extend(&mut self, tokens: &[Token], begins_word: bool) {
        let last = self.words.iter().rev().find_map(|word| *word);
        let first = tokens.iter().find_map(|token| token.word).unwrap_or(0);
        let next = last.map_or(0, |last| last + u32::from(begins_word));
        for token in tokens {
            self.ids.push(token.id);
            self.offsets.push((token.start, token.end));
            self.words.push(token.word.map(|word| word - first + next));
        }
    }
}

fn begins_word(tokens: &[Token], at: usize) -> bool {
    at == 0 || tokens[at].word != tokens[at - 1].word
}

/// Whether a token has its first character alone: a character of several bytes may be several tokens with the same offsets.
fn begins_character(tokens: &[Token], at: usize) -> bool {
    at == 0 || tokens[at].start > tokens[at - 1].start && tokens[at].start >= tokens[at - 1].end
}

fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

/// Tokenises a text by windows of about `size` bytes, until there are more than `room` tokens from the byte `counted` on. None if two windows have no token in common
/// where they overlap. `tokenize` tokenises one window.
pub fn encode(
    text: &str,
    size: usize,
    (room, counted): (Option<usize>, usize),
    tokenize: &dyn Fn(&str) -> Result<Encoding>,
) -> Result<Option<Tokens>> {
    let window = |from: usize| -> Result<(Vec<Token>, usize)> {
        let end = floor(text, from.saturating_add(size + SHARED));
        let encoding = tokenize(&text[from..end])?;
        let offsets = encoding.get_offsets().iter().zip(encoding.get_word_ids());
        let tokens = encoding.get_ids().iter().zip(offsets).map(|(&id, (&(start, end), &word))| Token {
            id,
            start: from + start,
            end: from + end,
            word,
        });
        Ok((tokens.collect(), end))
    };
    let mut all = Tokens::default();
    let (mut tokens, mut end) = window(0)?;
    // Tokens before the first one that is still to be appended are the previous window's.
    let mut first = 0;
    while end < text.len() {
        let begin = end.saturating_sub(SHARED);
        let from = tokens
            .iter()
            .enumerate()
            .skip(first + 1)
            .find_map(|(at, token)| (token.start >= begin && begins_character(&tokens, at)).then_some(token.start));
        let Some(from) = from else { return Ok(None) };
        let (next, next_end) = window(from)?;
        let inside = |token: &Token| token.start >= from + MARGIN && token.end + MARGIN <= end;
        let joined = tokens.iter().enumerate().skip(first + 1).find_map(|(at, token)| {
            if !inside(token) || !begins_character(&tokens, at) {
                return None;
            }
            let same = next.partition_point(|other| other.start < token.start);
            let other = next.get(same)?;
            let equal = (other.id, other.start, other.end) == (token.id, token.start, token.end);
            let alike = begins_character(&next, same) && begins_word(&next, same) == begins_word(&tokens, at);
            (same > 0 && equal && alike).then_some((at, same))
        });
        let Some((at, same)) = joined else { return Ok(None) };
        let begins = begins_word(&tokens, first);
        all.extend(&tokens[first..at], begins);
        let count = all.offsets.len() - all.offsets.partition_point(|offsets| offsets.0 < counted);
        if room.is_some_and(|room| count > room) {
            return Ok(Some(all));
        }
        (tokens, first, end) = (next, same, next_end);
    }
    let begins = begins_word(&tokens, first);
    all.extend(&tokens[first..], begins);
    Ok(Some(all))
}

#[cfg(test)]
mod tests {
    use super::super::cuts::tests::{letters, random, tokenizers};
    use super::super::letters::Letters;
    use super::*;

    #[test]
    fn joined_windows_have_the_tokens_of_the_whole() {
        let (mut tried, mut joined) = (0, 0);
        for (file, tokenizer) in tokenizers() {
            let vocabulary: Vec<String> = tokenizer.get_vocab(false).into_keys().collect();
            let letters_of = Letters::of(&tokenizer, &vocabulary, &|| Ok(())).unwrap();
            if !letters_of.is_some_and(|letters| letters.joins) {
                continue;
            }
            let mut seed = 7;
            let tokenize = |part: &str| Ok(tokenizer.encode(part, false).unwrap());
            for round in 0..12 {
                let text = match round {
                    0 => "a".repeat(20_000),
                    1 => "1234567".repeat(3000),
                    2 => "!?".repeat(9000),
                    3 => "一二三".repeat(2000),
                    4 => "\n".repeat(9000),
                    5 => " ".repeat(15_000),
                    6 => format!("{}é{}", "ab".repeat(5000), "abc".repeat(4000)),
                    _ => (0..12).map(|_| letters(&mut seed, &tokenizer)).collect(),
                };
                let whole = tokenizer.encode(text.as_str(), false).unwrap();
                let what = || format!("{}: {text:?}", file.display());
                tried += 1;
                let Some(all) = encode(&text, 3000, (None, 0), &tokenize).unwrap() else { continue };
                joined += 1;
                assert_eq!(all.ids, whole.get_ids(), "{}", what());
                assert_eq!(all.offsets, whole.get_offsets(), "{}", what());
                assert_eq!(all.words, whole.get_word_ids(), "{}", what());
                let (room, counted) = (random(&mut seed, whole.len()), random(&mut seed, text.len()));
                let some = encode(&text, 3000, (Some(room), counted), &tokenize).unwrap().unwrap();
                assert_eq!(some.ids, whole.get_ids()[..some.ids.len()], "{}", what());
                let count = |offsets: &[(usize, usize)]| offsets.iter().filter(|place| place.0 >= counted).count();
                assert_eq!(count(&some.offsets) > room, count(whole.get_offsets()) > room, "{}", what());
            }
        }
        assert!(tried > 100 && joined * 10 > tried * 9, "{joined} of {tried}");
    }
}
