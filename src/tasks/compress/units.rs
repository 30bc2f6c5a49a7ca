//! Units: what is kept or dropped as a whole, and what must be kept.

use crate::base::error::{Error, Result, quoted};
use crate::base::memory::grow;

use super::segments::Word;
use super::words::without_spaces;
use super::{CompressOptions, CompressUnit};

/// A part of a document that is kept or dropped as a whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unit {
    /// Its first byte in the document, and the byte after its last one.
    pub start: u32,
    pub end: u32,
    /// The higher, the sooner it is kept.
    pub score: f32,
    pub tokens: u16,
    pub forced: bool,
}

/// The score of a word: the mean of its tokens'.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    pub sum: f32,
    pub tokens: u32,
}

impl Score {
    pub fn add(&mut self, value: f32) {
        self.sum += value;
        self.tokens += 1;
    }
}

/// What the options say must be kept.
struct Forced<'a> {
    tokens: &'a [String],
    digits: bool,
    capitalized: bool,
    /// Words before this byte are a part of a forced text.
    until: usize,
    /// Whether a sentence has had a word that is not punctuation.
    begun: bool,
    /// The end of the word before, and whether it was forced.
    before: (usize, bool),
}

impl Forced<'_> {
    fn forces(&mut self, document: &str, word: &Word) -> bool {
        let (text, rest) = (&document[word.range.clone()], &document[word.range.start..]);
        self.begun &= !word.begins_sentence;
        let first = text.chars().next().unwrap_or(' ');
        let name = self.capitalized && self.begun && first.is_uppercase();
        self.begun |= text.contains(char::is_alphanumeric);
        for token in self.tokens.iter().filter(|token| rest.starts_with(token.as_str())) {
            let joined = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() && !without_spaces(c));
            if !(joined(token.chars().next_back()) && joined(rest[token.len()..].chars().next())) {
                self.until = self.until.max(word.range.start + token.len());
            }
        }
        let last = document[..word.range.start].chars().next_back().unwrap_or(' ');
        // A part of a word that was cut.
        let continues = self.before == (word.range.start, true) && last.is_alphanumeric() && first.is_alphanumeric();
        let digits = self.digits && text.contains(char::is_numeric);
        let forced = name || digits || word.range.start < self.until || continues && !without_spaces(first);
        self.before = (word.range.end, forced);
        forced
    }
}

/// The units of a document, made of its words.
pub struct Units<'a> {
    document: &'a str,
    /// Whether words are joined to sentences, of at most so many tokens.
    sentences: Option<usize>,
    /// The score of a unit without scored tokens.
    unscored: f32,
    forced: Forced<'a>,
    all: Vec<Unit>,
    score: Score,
    /// The last window's words whose score may be that of the next window.
    pending: Vec<(Word, Score)>,
}

impl<'a> Units<'a> {
    pub fn new(document: &'a str, options: &'a CompressOptions, unit: CompressUnit, longest: usize) -> Self {
        let forced = Forced {
            tokens: &options.force_tokens,
            digits: options.force_digits,
            capitalized: options.force_capitalized,
            until: 0,
            begun: false,
            before: (0, false),
        };
        let sentences = (unit == CompressUnit::Sentence).then_some(longest.min(u16::MAX.into()));
        let (all, pending) = (Vec::new(), Vec::new());
        Self { document, sentences, unscored: 0.0, forced, all, score: Score::default(), pending }
    }

    pub fn unscored(self, unscored: f32) -> Self {
        Self { unscored, ..self }
    }

    /// Appends a window's words, of which the first `repeated` were in the window before; of those, the first `earlier` keep the score
    /// that they had there.
    pub fn window(&mut self, words: Vec<Word>, scores: Vec<Score>, repeated: usize, earlier: usize) {
        let kept = self.pending.len() - (repeated - earlier);
        for (word, score) in std::mem::take(&mut self.pending).into_iter().take(kept) {
            self.add(&word, score);
        }
        self.pending.extend(words.into_iter().zip(scores).skip(earlier));
    }

    /// Appends a word.
    pub fn add(&mut self, word: &Word, score: Score) {
        let forced = self.forced.forces(self.document, word);
        if self.all.len() == self.all.capacity() {
            let more = self.all.len().max(256);
            grow(&mut self.all, more, "the units");
        }
        let end = word.range.end as u32;
        match (self.sentences, self.all.last_mut()) {
            (Some(longest), Some(last))
                if !word.begins_sentence && usize::from(last.tokens) + word.tokens <= longest =>
            {
                self.score.sum += score.sum;
                self.score.tokens += score.tokens;
                last.end = end;
                last.tokens += word.tokens as u16;
                last.forced |= forced;
            }
            _ => {
                self.score = score;
                let (tokens, start) = (word.tokens.min(u16::MAX.into()) as u16, word.range.start as u32);
                self.all.push(Unit { start, end, score: 0.0, tokens, forced });
            }
        }
        let mean = if self.score.tokens == 0 { self.unscored } else { self.score.sum / self.score.tokens as f32 };
        if let Some(last) = self.all.last_mut() {
            last.score = mean;
        }
    }

    pub fn finish(mut self) -> Vec<Unit> {
        for (word, score) in std::mem::take(&mut self.pending) {
            self.add(&word, score);
        }
        self.all
    }
}

/// Refuses texts to keep that no words can be.
pub fn check_forced(tokens: &[String]) -> Result<()> {
    match tokens.iter().position(|token| token.is_empty() || token.trim() != token) {
        Some(i) => Err(Error::invalid_argument(format!(
            "force_tokens[{i}]: {} is empty or begins or ends with a space; it is to be one or more words",
            quoted(&tokens[i])
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::compress::sentences::sentences;
    use crate::tasks::compress::words::words;

    fn document_words(document: &str) -> Vec<Word> {
        let mut found = Vec::new();
        for sentence in sentences(document, 0..document.len()) {
            let all = words(&document[sentence.clone()]).into_iter().enumerate();
            found.extend(all.map(|(i, range)| Word {
                range: sentence.start + range.start..sentence.start + range.end,
                tokens: 1,
                begins_sentence: i == 0,
            }));
        }
        found
    }

    fn forced<'a>(document: &'a str, options: &CompressOptions) -> Vec<&'a str> {
        let mut units = Units::new(document, options, CompressUnit::Word, 10);
        document_words(document).iter().for_each(|word| units.add(word, Score::default()));
        let kept = units.finish().into_iter().filter(|unit| unit.forced);
        kept.map(|unit| &document[unit.start as usize..unit.end as usize]).collect()
    }

    #[test]
    fn words_that_are_kept_in_any_case() {
        let document = "The bird, born in New York, cost 12 dollars. \"In May\" C++ flew to New Yorkshire. 世界!";
        let options = |tokens: &[&str]| CompressOptions {
            force_tokens: tokens.iter().map(|token| token.to_string()).collect(),
            ..CompressOptions::default()
        };
        assert_eq!(forced(document, &options(&["New York", "!", "C++", "世"])), ["New", "York", "C", "++", "世", "!"]);
        let digits = CompressOptions { force_digits: true, ..CompressOptions::default() };
        assert_eq!(forced(document, &digits), ["12"]);
        let names = CompressOptions { force_capitalized: true, ..CompressOptions::default() };
        assert_eq!(forced(document, &names), ["New", "York", "May", "C", "New", "Yorkshire"]);
        assert!(forced(document, &options(&["bir", "ork"])).is_empty());
        for wrong in ["", " a", "\n"] {
            let error = check_forced(&["a".into(), wrong.into()]).unwrap_err();
            assert!(error.message().starts_with("force_tokens[1]: "), "{error}");
        }
    }

    #[test]
    fn of_words_in_two_windows_the_middle_decides() {
        let document = "a b c d e f";
        let words = document_words(document);
        let options = CompressOptions::default();
        let score = |value: f32| Score { sum: value, tokens: 1 };
        let mut units = Units::new(document, &options, CompressUnit::Word, 10);
        units.window(words[..4].to_vec(), vec![score(1.0); 4], 0, 0);
        units.window(words[2..].to_vec(), vec![score(2.0); 4], 2, 1);
        let scores: Vec<f32> = units.finish().iter().map(|unit| unit.score).collect();
        assert_eq!(scores, [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]);
    }

    #[test]
    fn a_sentence_has_the_mean_of_its_tokens() {
        let document = "Ab cd. Ef gh ij.";
        let words = document_words(document);
        let options = CompressOptions::default();
        let mut units = Units::new(document, &options, CompressUnit::Sentence, 3).unscored(9.0);
        let scores = [(1.0, 1), (5.0, 2), (0.0, 0), (0.0, 0), (0.0, 0), (0.0, 0), (4.0, 1)];
        for (word, (sum, tokens)) in words.iter().zip(scores) {
            units.add(word, Score { sum, tokens });
        }
        let found: Vec<_> = units.finish().iter().map(|unit| (unit.start, unit.end, unit.score, unit.tokens)).collect();
        assert_eq!(found, [(0, 6, 2.0, 3), (7, 15, 9.0, 3), (15, 16, 4.0, 1)]);
    }
}
