//! A document in windows that overlap, each of as many whole words as the model reads at once.

use crate::base::call::Call;
use crate::base::error::{Error, Result};
use crate::engine::Engine;
use crate::text::encoding::Encoding;
use crate::text::tokenizer::EncodeOptions;

use super::segments::{Segments, Word};
use super::{CompressOptions, CompressUnit};

/// The default of the maximum number of tokens of a window. More context changes little, and costs time and memory.
const WINDOW: usize = 2048;
/// By default so many windows' length is one overlap.
const OVERLAP_PART: usize = 8;
/// A word of more tokens is cut.
const WORD: usize = 64;
/// A sentence of more tokens is cut.
const SENTENCE: usize = 256;
/// Bytes per token that are more than text has.
const LONG: usize = 256;

/// The sizes of windows, in tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sizes {
    /// Special tokens included.
    pub window: usize,
    /// Without special tokens.
    pub room: usize,
    pub overlap: usize,
    /// The maximum of a word.
    pub word: usize,
}

impl Sizes {
    /// `limit` is the most tokens that the model can read at once.
    pub fn new(engine: &Engine, options: &CompressOptions, limit: usize, call: Call<'_>) -> Result<Self> {
        let window = match options.window {
            Some(window) if window > limit => {
                return Err(Error::invalid_argument(format!(
                    "window: {window} tokens are more than the {limit} that the model reads at once"
                )));
            }
            Some(window) => window,
            None => WINDOW.min(engine.max_length).min(limit),
        };
        let special = engine.encode(&["a"], None, &encode_options(), call)?;
        let special = special.special_tokens_mask().iter().filter(|&&special| special != 0).count();
        let room = window.saturating_sub(special);
        let least = 8;
        if room < least {
            return Err(Error::invalid_argument(format!(
                "window: {window} tokens leave no room for {least} beside {special} special tokens"
            )));
        }
        let overlap = options.overlap.unwrap_or(room / OVERLAP_PART);
        if overlap > room / 2 {
            return Err(Error::invalid_argument(format!(
                "overlap: {overlap} tokens are more than half of a window's {room} without special tokens"
            )));
        }
        let word = if options.unit == Some(CompressUnit::Token) { 1 } else { WORD.min(room / 2) };
        Ok(Self { window, room, overlap, word })
    }

    /// The maximum of a sentence. What has more is a list or a table; it is cut between words.
    pub fn sentence(&self) -> usize {
        (self.room - self.room / 8).min(SENTENCE)
    }
}

fn encode_options() -> EncodeOptions {
    EncodeOptions { max_length: Some(usize::MAX), offsets: true, ..EncodeOptions::default() }
}

/// A part of a document, tokenised.
pub struct Window {
    pub words: Vec<Word>,
    /// So many words at its beginning were at the end of the window before.
    pub repeated: usize,
    /// Where its text begins in the document; offsets count from there.
    pub start: usize,
    pub encoding: Encoding,
}

impl Word {
    /// What it takes of a window: its tokens; more for an unknown word of great length, which is one token.
    fn cost(&self) -> usize {
        self.tokens.max(self.range.len() / LONG)
    }
}

/// The windows of a document.
pub struct Windows<'a> {
    engine: &'a Engine,
    document: &'a str,
    segments: Segments<'a>,
    sizes: Sizes,
    /// Words of the next windows, of which the first `repeated` have been in one.
    words: Vec<Word>,
    repeated: usize,
    /// The end of the word before.
    before: usize,
}

impl<'a> Windows<'a> {
    pub fn new(engine: &'a Engine, document: &'a str, sizes: Sizes) -> Self {
        let segments = Segments::new(engine, document, sizes.word);
        Self { engine, document, segments, sizes, words: Vec::new(), repeated: 0, before: 0 }
    }

    pub fn next(&mut self, call: Call<'_>) -> Result<Option<Window>> {
        let Sizes { window, room, overlap, .. } = self.sizes;
        let mut ready: usize = self.words.iter().map(Word::cost).sum();
        while ready <= room
            && let Some(more) = self.segments.next(call)?
        {
            ready += more.iter().map(Word::cost).sum::<usize>();
            self.words.extend(more);
        }
        if self.words.len() == self.repeated {
            return Ok(None);
        }
        let mut count = fitting(self.words.iter(), room).max(self.repeated + 1);
        let encoding = loop {
            let text = &self.document[self.before..self.words[count - 1].range.end];
            let encoding = self.engine.encode(&[text], None, &encode_options(), call)?;
            // Parts of a text may have more tokens than in the whole.
            let excess = encoding.tokens().saturating_sub(window);
            if excess == 0 {
                break encoding;
            }
            let fewer = count - fitting(self.words[..count].iter().rev(), excess).max(1);
            if fewer > self.repeated {
                count = fewer;
            } else if self.repeated > 0 {
                // Less context, so that a new word is in the window.
                let gone = self.repeated.div_ceil(2);
                self.forget(gone);
                count -= gone;
            } else {
                return Err(Error::internal("a word has more tokens than a window"));
            }
        };
        let window =
            Window { words: self.words[..count].to_vec(), repeated: self.repeated, start: self.before, encoding };
        let kept = fitting(self.words[..count].iter().rev(), overlap).min(count - 1);
        self.repeated = 0;
        self.forget(count - kept);
        self.repeated = kept;
        Ok(Some(window))
    }

    /// Drops the first words.
    fn forget(&mut self, count: usize) {
        self.before = self.words[count - 1].range.end;
        self.words.drain(..count);
        self.repeated = self.repeated.saturating_sub(count);
    }
}

/// How many of these words have at most `tokens` tokens together.
fn fitting<'w>(words: impl Iterator<Item = &'w Word>, tokens: usize) -> usize {
    let mut all = 0;
    words
        .take_while(|word| {
            all += word.cost();
            all <= tokens
        })
        .count()
}
