//! Incremental detokenisation for streaming: whole characters only, without text that may be the beginning of a stop string.

use crate::base::error::Result;
use crate::text::tokenizer::{Tokenizer, clean_up};

/// The detokenised text of one sequence.
#[derive(Clone, Debug)]
pub struct Detokenizer {
    tokens: Vec<u32>,
    /// Tokens from here on are decoded again with each new token, because neighbours change each other's text (spaces, characters
    /// of several tokens).
    anchor: usize,
    /// Tokens before this one are part of `text`.
    read: usize,
    text: String,
    /// Bytes of `text` that later tokens cannot change. The rest is `raw`, cleaned up.
    fixed: usize,
    /// Decoded text that a cleanup of spaces may still change.
    raw: String,
    stops: Vec<String>,
    skip_special: bool,
    /// Where in `text` a stop string begins, if one was found.
    stopped: Option<usize>,
    /// Bytes of `text` that were streamed.
    streamed: usize,
}

/// Decoders write this for bytes that are not a whole character.
const INCOMPLETE: char = '\u{fffd}';

impl Detokenizer {
    /// `context` are tokens that the text continues.
    pub fn new(context: &[u32], stops: &[String], skip_special: bool) -> Self {
        Self {
            tokens: context.to_vec(),
            anchor: 0,
            read: context.len(),
            text: String::new(),
            fixed: 0,
            raw: String::new(),
            stops: stops.to_vec(),
            skip_special,
            stopped: None,
            streamed: 0,
        }
    }

    /// Adds a token. Returns whether a stop string was found.
    pub fn push(&mut self, token: u32, tokenizer: &Tokenizer) -> Result<bool> {
        self.tokens.push(token);
        self.decode(tokenizer, false)?;
        Ok(self.stopped.is_some())
    }

    /// Decodes the new tokens; `all` includes incomplete characters.
    fn decode(&mut self, tokenizer: &Tokenizer, all: bool) -> Result<()> {
        let before = tokenizer.decode_known(&self.tokens[self.anchor..self.read], self.skip_special)?;
        let after = tokenizer.decode_known(&self.tokens[self.anchor..], self.skip_special)?;
        // The longest character has four bytes: after more tokens than that the bytes are invalid.
        let invalid = self.tokens.len() - self.read > 4;
        if !all && after.ends_with(INCOMPLETE) && !invalid {
            return Ok(());
        }
        // A decoder that cleans up spaces changed the text before the token: streamed text cannot be taken back.
        let alone;
        let new = match after.strip_prefix(before.as_str()) {
            Some(new) => new,
            None => {
                alone = tokenizer.decode_known(&self.tokens[self.read..], self.skip_special)?;
                &alone
            }
        };
        if new.is_empty() {
            // A skipped special token. The anchor stays: as the first token, the next one would lose its space.
            self.read = self.tokens.len();
            return Ok(());
        }
        let from = self.fixed;
        self.append(new, tokenizer);
        self.anchor = self.read;
        self.read = self.tokens.len();
        // A stop string may begin in the old text.
        let found = self.stops.iter().filter_map(|stop| {
            let mut start = from.saturating_sub(stop.len());
            while !self.text.is_char_boundary(start) {
                start -= 1;
            }
            self.text[start..].find(stop.as_str()).map(|at| start + at)
        });
        self.stopped = self.stopped.or(found.min());
        Ok(())
    }

    /// Appends decoded text.
    fn append(&mut self, new: &str, tokenizer: &Tokenizer) {
        if !tokenizer.cleans_up() {
            self.text += new;
            self.fixed = self.text.len();
            return;
        }
        self.text.truncate(self.fixed);
        self.raw += new;
        let certain = clean_up::certain(&self.raw, 0);
        self.text += &clean_up::clean_up(&self.raw[..certain]);
        self.fixed = self.text.len();
        // What is before a cut decides no later cut, except whether spaces are near.
        self.raw.drain(..certain);
        self.text += &clean_up::clean_up(&self.raw);
    }

    /// Bytes of the text that later tokens cannot change and that do not begin a stop string.
    pub fn certain(&self) -> usize {
        match self.stopped {
            Some(stop) => stop,
            None => {
                let text = &self.text[..self.fixed];
                text.len() - self.stops.iter().map(|stop| overlap(text, stop)).max().unwrap_or(0)
            }
        }
    }

    /// The text up to `end`, a result of `certain`, that was not streamed yet.
    pub fn until(&mut self, end: usize) -> &str {
        let start = self.streamed.min(end);
        self.streamed = end.max(self.streamed);
        &self.text[start..end]
    }

    /// Ends the text, incomplete characters included. Returns the text that was not streamed yet.
    pub fn rest(&mut self, tokenizer: &Tokenizer) -> Result<&str> {
        if self.stopped.is_none() {
            self.decode(tokenizer, true)?;
        }
        let end = self.stopped.unwrap_or(self.text.len());
        let start = self.streamed.min(end);
        self.streamed = end;
        Ok(&self.text[start..end])
    }
}

/// The length of the longest suffix of `text` that is a proper prefix of `stop`.
fn overlap(text: &str, stop: &str) -> usize {
    let most = stop.len().saturating_sub(1).min(text.len());
    (1..=most)
        .rev()
        .find(|&n| text.is_char_boundary(text.len() - n) && stop.starts_with(&text[text.len() - n..]))
        .unwrap_or(0)
}

/// The text of a finished sequence, which continues `context`, up to the first stop string.
pub fn finished(
    context: &[u32],
    tokens: &[u32],
    tokenizer: &Tokenizer,
    stops: &[String],
    skip_special: bool,
) -> Result<String> {
    let mut text = if context.is_empty() {
        tokenizer.decode_known(tokens, skip_special)?
    } else {
        let before = tokenizer.decode_known(context, skip_special)?;
        let whole = tokenizer.decode_known(&[context, tokens].concat(), skip_special)?;
        match whole.strip_prefix(&before) {
            Some(text) => text.to_string(),
            None => tokenizer.decode_known(tokens, skip_special)?,
        }
    };
    if tokenizer.cleans_up() {
        text = clean_up::clean_up(&text).into_owned();
    }
    if let Some(end) = stops.iter().filter_map(|stop| text.find(stop.as_str())).min() {
        text.truncate(end);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn tokenizer(name: &str) -> Tokenizer {
        Tokenizer::from_directory(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
    }

    fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
        tokenizer.ids(text, false).unwrap()
    }

    #[test]
    fn characters_come_whole_and_nothing_is_lost() {
        for name in ["roberta", "generation/t5-gated"] {
            let tokenizer = tokenizer(name);
            for text in ["The small bird 🐦👍🏽 sings — naïve 中文!", "  two  spaces\n\nand lines ", "é"] {
                let ids = ids(&tokenizer, text);
                let mut detokenizer = Detokenizer::new(&[], &[], true);
                let mut pieces = String::new();
                for id in &ids {
                    detokenizer.push(*id, &tokenizer).unwrap();
                    let piece = detokenizer.until(detokenizer.certain());
                    assert!(!piece.contains(INCOMPLETE) || name != "roberta", "{piece:?}");
                    pieces += piece;
                }
                pieces += detokenizer.rest(&tokenizer).unwrap();
                assert_eq!(pieces, tokenizer.decode(&ids, true).unwrap(), "{name}");
            }
        }
    }

    /// T5's fixture with `clean_up_tokenization_spaces`.
    fn cleaning() -> Tokenizer {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/generation/t5");
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(fixture.join("tokenizer.json"), folder.path().join("tokenizer.json")).unwrap();
        let config = r#"{"clean_up_tokenization_spaces": true}"#;
        std::fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
        Tokenizer::from_directory(folder.path()).unwrap()
    }

    #[test]
    fn cleaned_text_is_streamed_as_it_stays() {
        let tokenizer = cleaning();
        for text in ["It is n't hard , is it ? ' no ' it isn't . John 's river , we 've", "a ' s . I ' m , o . k ."] {
            let ids = ids(&tokenizer, text);
            let mut detokenizer = Detokenizer::new(&[], &[], true);
            let mut pieces = Vec::new();
            for id in &ids {
                detokenizer.push(*id, &tokenizer).unwrap();
                pieces.push(detokenizer.until(detokenizer.certain()).to_string());
            }
            pieces.push(detokenizer.rest(&tokenizer).unwrap().to_string());
            let whole = tokenizer.decode(&ids, true).unwrap();
            assert!(whole.len() < text.len());
            assert_eq!(pieces.concat(), whole);
            assert_eq!(finished(&[], &ids, &tokenizer, &[], true).unwrap(), whole);
        }
        // A stop string is looked for in the text as it is shown.
        let ids = ids(&tokenizer, "read the file , then run");
        let mut detokenizer = Detokenizer::new(&[], &["file, th".to_string()], true);
        let stopped = ids.iter().position(|id| detokenizer.push(*id, &tokenizer).unwrap()).unwrap();
        assert!(stopped + 1 < ids.len());
        assert_eq!(detokenizer.rest(&tokenizer).unwrap(), "read the ");
        assert_eq!(finished(&[], &ids[..=stopped], &tokenizer, &["file, th".to_string()], true).unwrap(), "read the ");
    }

    #[test]
    fn stop_strings_are_found_across_tokens_and_never_shown() {
        let tokenizer = tokenizer("roberta");
        let ids = ids(&tokenizer, "one two STOP three");
        let stops = ["o STO".to_string(), "zzz".to_string()];
        let mut detokenizer = Detokenizer::new(&[], &stops, true);
        let mut shown = String::new();
        let stopped = ids.iter().position(|id| {
            let stopped = detokenizer.push(*id, &tokenizer).unwrap();
            shown += detokenizer.until(detokenizer.certain());
            stopped
        });
        assert!(stopped.is_some_and(|at| at + 1 < ids.len()));
        shown += detokenizer.rest(&tokenizer).unwrap();
        assert_eq!(shown, "one tw");
        assert_eq!(finished(&[], &ids, &tokenizer, &stops, true).unwrap(), "one tw");
    }

    #[test]
    fn what_may_begin_a_stop_string_is_held_back() {
        assert_eq!(overlap("abc###", "####"), 3);
        assert_eq!(overlap("abc", "xyz"), 0);
        assert_eq!(overlap("é", "éa"), 2);
    }
}
