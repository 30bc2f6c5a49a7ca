//! Tokens to text as they come: whole characters only, and no more than is certain not to begin a stop string.

use crate::base::error::Result;
use crate::text::tokenizer::Tokenizer;

/// Follows one sequence's text.
#[derive(Clone, Debug)]
pub struct Watch {
    tokens: Vec<u32>,
    /// Tokens before this one are decoded for good; those from it on are decoded again with each new one, because neighbours
    /// change each other's text (spaces, characters of several tokens).
    anchor: usize,
    /// The text of the tokens from `anchor` to `read`, which is part of `text` already.
    read: usize,
    text: String,
    stops: Vec<String>,
    skip_special: bool,
    /// Where a stop string begins.
    stopped: Option<usize>,
    /// Bytes of `text` that were handed out.
    given: usize,
}

/// Stands for bytes that are no character yet.
const INCOMPLETE: char = '\u{fffd}';

impl Watch {
    pub fn new(stops: &[String], skip_special: bool) -> Self {
        let (tokens, text) = (Vec::new(), String::new());
        let stops = stops.to_vec();
        Self { tokens, anchor: 0, read: 0, text, stops, skip_special, stopped: None, given: 0 }
    }

    /// Adds a token. Whether a stop string has come up.
    pub fn push(&mut self, token: u32, tokenizer: &Tokenizer) -> Result<bool> {
        self.tokens.push(token);
        self.decode(tokenizer, false)?;
        Ok(self.stopped.is_some())
    }

    /// Decodes what is new; `all` takes incomplete characters too.
    fn decode(&mut self, tokenizer: &Tokenizer, all: bool) -> Result<()> {
        let before = tokenizer.decode_known(&self.tokens[self.anchor..self.read], self.skip_special)?;
        let after = tokenizer.decode_known(&self.tokens[self.anchor..], self.skip_special)?;
        // Four bytes make the longest character; more incomplete tokens than that are no character at all.
        let hopeless = self.tokens.len() - self.read > 4;
        if !all && after.ends_with(INCOMPLETE) && !hopeless {
            return Ok(());
        }
        // Where a token changed the text before it (a decoder that cleans up spaces), what was handed out stays.
        let alone;
        let new = match after.strip_prefix(before.as_str()) {
            Some(new) => new,
            None => {
                alone = tokenizer.decode_known(&self.tokens[self.read..], self.skip_special)?;
                &alone
            }
        };
        if new.is_empty() {
            // A special token that is left out: decoded alone it would make the next one a text's first, without its space.
            self.read = self.tokens.len();
            return Ok(());
        }
        let from = self.text.len();
        self.text += new;
        self.anchor = self.read;
        self.read = self.tokens.len();
        // A stop string may have begun in the old text.
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

    /// As far as which the text is certain.
    pub fn certain(&self) -> usize {
        match self.stopped {
            Some(stop) => stop,
            None => self.text.len() - self.stops.iter().map(|stop| overlap(&self.text, stop)).max().unwrap_or(0),
        }
    }

    /// The text up to `end`, as `certain` said it, that was not handed out before.
    pub fn until(&mut self, end: usize) -> &str {
        let start = self.given.min(end);
        self.given = end.max(self.given);
        &self.text[start..end]
    }

    /// Ends the text: what was incomplete stands as it is. Returns what was not handed out.
    pub fn rest(&mut self, tokenizer: &Tokenizer) -> Result<&str> {
        if self.stopped.is_none() {
            self.decode(tokenizer, true)?;
        }
        let end = self.stopped.unwrap_or(self.text.len());
        let start = self.given.min(end);
        self.given = end;
        Ok(&self.text[start..end])
    }
}

/// How many bytes at the end of `text` begin `stop`.
fn overlap(text: &str, stop: &str) -> usize {
    let most = stop.len().saturating_sub(1).min(text.len());
    (1..=most)
        .rev()
        .find(|&n| text.is_char_boundary(text.len() - n) && stop.starts_with(&text[text.len() - n..]))
        .unwrap_or(0)
}

/// The text of a finished sequence, up to the first stop string.
pub fn finished(tokens: &[u32], tokenizer: &Tokenizer, stops: &[String], skip_special: bool) -> Result<String> {
    let mut text = tokenizer.decode_known(tokens, skip_special)?;
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
                let mut watch = Watch::new(&[], true);
                let mut pieces = String::new();
                for id in &ids {
                    watch.push(*id, &tokenizer).unwrap();
                    let piece = watch.until(watch.certain());
                    assert!(!piece.contains(INCOMPLETE) || name != "roberta", "{piece:?}");
                    pieces += piece;
                }
                pieces += watch.rest(&tokenizer).unwrap();
                assert_eq!(pieces, tokenizer.decode(&ids, true).unwrap(), "{name}");
            }
        }
    }

    #[test]
    fn stop_strings_are_found_across_tokens_and_never_shown() {
        let tokenizer = tokenizer("roberta");
        let ids = ids(&tokenizer, "one two STOP three");
        let stops = ["o STO".to_string(), "zzz".to_string()];
        let mut watch = Watch::new(&stops, true);
        let mut shown = String::new();
        let stopped = ids.iter().position(|id| {
            let stopped = watch.push(*id, &tokenizer).unwrap();
            shown += watch.until(watch.certain());
            stopped
        });
        assert!(stopped.is_some_and(|at| at + 1 < ids.len()));
        shown += watch.rest(&tokenizer).unwrap();
        assert_eq!(shown, "one tw");
        assert_eq!(finished(&ids, &tokenizer, &stops, true).unwrap(), "one tw");
    }

    #[test]
    fn what_may_begin_a_stop_string_is_held_back() {
        assert_eq!(overlap("abc###", "####"), 3);
        assert_eq!(overlap("abc", "xyz"), 0);
        assert_eq!(overlap("é", "éa"), 2);
    }
}
