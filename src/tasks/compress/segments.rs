//! A document read in segments of some kilobytes, so that memory does not grow with its length: words, the sentences that they begin,
//! and how many tokens they have.

use std::ops::Range;

use crate::base::call::Call;
use crate::base::error::Result;
use crate::engine::Engine;
use crate::text::tokenizer::EncodeOptions;

use super::sentences::sentences;
use super::words::words;

/// The bytes of a segment.
const SEGMENT: usize = 16 << 10;

/// A word, or a part of one that is too long.
#[derive(Clone, Debug, PartialEq)]
pub struct Word {
    /// Its bytes in the document.
    pub range: Range<usize>,
    pub tokens: usize,
    /// Whether it is the first of a sentence.
    pub begins_sentence: bool,
}

/// The words of a document, segment by segment.
pub struct Segments<'a> {
    engine: &'a Engine,
    document: &'a str,
    next: usize,
    /// The maximum number of tokens of a word; what has more is cut.
    longest: usize,
}

impl<'a> Segments<'a> {
    pub fn new(engine: &'a Engine, document: &'a str, longest: usize) -> Self {
        Self { engine, document, next: 0, longest }
    }

    /// The words of the next segment; `None` at the end of the document.
    pub fn next(&mut self, call: Call<'_>) -> Result<Option<Vec<Word>>> {
        if self.next == self.document.len() {
            return Ok(None);
        }
        let sentences = segment(self.document, self.next, SEGMENT);
        let start = self.next;
        self.next = sentences.last().map_or(self.document.len(), |last| last.end);
        let mut found = Vec::new();
        for sentence in sentences {
            let ranges = words(&self.document[sentence.clone()]).into_iter();
            found.extend(ranges.enumerate().map(|(i, range)| Word {
                range: sentence.start + range.start..sentence.start + range.end,
                tokens: 0,
                begins_sentence: i == 0,
            }));
        }
        let options = EncodeOptions {
            add_special_tokens: false,
            max_length: Some(usize::MAX),
            offsets: true,
            ..EncodeOptions::default()
        };
        let encoding = self.engine.encode(&[&self.document[start..self.next]], None, &options, call)?;
        let offsets = encoding.offsets().unwrap_or_default().iter().map(|span| start + span.start..start + span.end);
        Ok(Some(count(self.document, found, offsets, self.longest)))
    }
}

/// The sentences of the next segment: whole ones of `size` bytes together, or a part of one that is longer.
fn segment(document: &str, start: usize, size: usize) -> Vec<Range<usize>> {
    let end = document.floor_char_boundary(start.saturating_add(size));
    let mut all = sentences(document, start..end);
    if end == document.len() {
        return all;
    }
    match &mut all[..] {
        // It may go on.
        [_, .., _] => drop(all.pop()),
        [only] => {
            let space = document[start..end].rfind(char::is_whitespace).filter(|&at| at > 0);
            only.end = space.map_or(end, |at| start + at);
        }
        [] => {}
    }
    all
}

/// Counts the tokens of words, each at the first word that it is in, and cuts words of more than `longest` tokens.
fn count(document: &str, words: Vec<Word>, tokens: impl Iterator<Item = Range<usize>>, longest: usize) -> Vec<Word> {
    let mut tokens = tokens.peekable();
    let mut counted = Vec::with_capacity(words.len());
    for mut word in words {
        while let Some(token) = tokens.next_if(|token| token.start < word.range.end) {
            let cut = token.start;
            if word.tokens >= longest && cut > word.range.start && document.is_char_boundary(cut) {
                let rest = Word { range: cut..word.range.end, tokens: 0, begins_sentence: false };
                word.range.end = cut;
                counted.push(std::mem::replace(&mut word, rest));
            }
            word.tokens += 1;
        }
        counted.push(word);
    }
    counted
}

/// For each token in order, the words that it overlaps.
pub fn overlaps(
    words: &[Word],
    tokens: impl Iterator<Item = (usize, Range<usize>)>,
    mut found: impl FnMut(usize, usize),
) {
    let mut first = 0;
    for (token, range) in tokens {
        while first < words.len() && words[first].range.end <= range.start {
            first += 1;
        }
        let inside = words[first..].iter().take_while(|word| word.range.start < range.end);
        (first..first + inside.count()).for_each(|word| found(word, token));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(range: Range<usize>) -> Word {
        Word { range, tokens: 0, begins_sentence: false }
    }

    #[test]
    fn segments_end_with_sentences_where_they_can() {
        let text = "One sentence. Another one. A third. ".repeat(20);
        let (mut at, mut all) = (0, Vec::new());
        while at < text.len() {
            let found = segment(&text, at, 100);
            at = found.last().unwrap().end;
            all.extend(found);
        }
        assert_eq!(all, sentences(&text, 0..text.len()));
        // No sentence ends: cut at a space, or anywhere.
        assert_eq!(segment("aa bb cc dd", 0, 7).last(), Some(&(0..5)));
        assert_eq!(segment("äääääääää", 0, 7).last(), Some(&(0..6)));
        assert!(segment("", 0, 7).is_empty());
    }

    #[test]
    fn tokens_are_counted_once_and_long_words_are_cut() {
        let words = count("ab cdef", vec![word(0..2), word(3..7)], [0..1, 1..2, 2..4, 4..5, 5..6, 6..7].into_iter(), 3);
        let found: Vec<_> = words.iter().map(|word| (word.range.clone(), word.tokens)).collect();
        assert_eq!(found, [(0..2, 2), (3..6, 3), (6..7, 1)]);
        let mut pairs = Vec::new();
        let tokens = [0..2, 1..4, 4..5, 6..7].into_iter().enumerate();
        overlaps(&[word(0..2), word(3..5), word(5..6), word(6..7)], tokens, |word, token| pairs.push((word, token)));
        assert_eq!(pairs, [(0, 0), (0, 1), (1, 1), (1, 2), (3, 3)]);
    }
}
