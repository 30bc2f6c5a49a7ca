//! Texts of wanted numbers of tokens, made of words that are one token each in a model's vocabulary.

use kinglet::{EncodeOptions, Model};

use crate::failure::{Failure, Outcome};
use crate::random::SplitMix64;

/// A vocabulary without so many words gives as many as it has.
const WORDS: usize = 256;
/// Draws until a vocabulary is taken to have no more words.
const DRAWS: usize = 20_000;

pub struct Words<'a> {
    model: &'a Model,
    words: Vec<String>,
    /// Special tokens of a text.
    added: usize,
}

impl<'a> Words<'a> {
    /// # Errors
    /// A model without a tokenizer, or whose vocabulary has no words.
    pub fn of(model: &'a Model, random: &mut SplitMix64) -> Outcome<Self> {
        let mut all = Self { model, words: Vec::new(), added: 0 };
        all.added = all.tokens("")?;
        for _ in 0..DRAWS {
            let id = random.id(model.vocabulary_size());
            let word = model.decode(&[id], true)?.trim().to_string();
            let plain = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
            if plain && all.tokens(&format!("a {word}"))? == all.tokens("a")? + 1 {
                all.words.push(word);
            }
            if all.words.len() == WORDS {
                break;
            }
        }
        if all.words.is_empty() { Err(Failure::new("the vocabulary has no words to make texts of")) } else { Ok(all) }
    }

    /// A text of `wanted` tokens, special tokens included.
    pub fn text(&self, wanted: usize, random: &mut SplitMix64) -> Outcome<String> {
        let word = |_| self.words[random.between(0, self.words.len())].as_str();
        let mut text: Vec<&str> = (self.added..wanted).map(word).collect();
        // Where the first word, without a space before it, is more than one token.
        while text.len() > 1 && self.tokens(&text.join(" "))? > wanted {
            text.pop();
        }
        Ok(text.join(" "))
    }

    fn tokens(&self, text: &str) -> Outcome<usize> {
        let options = EncodeOptions { max_length: Some(usize::MAX), ..EncodeOptions::default() };
        Ok(self.model.tokenize(&[text], None, &options, None)?.tokens())
    }
}
