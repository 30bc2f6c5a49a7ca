//! Counting the tokens of a text of any length, without all of them in memory.

use std::sync::Arc;

use super::parts::{self, Steps};
use super::{Inner, Tokenizer, cuts};
use crate::base::call::Call;
use crate::base::error::Result;

impl Tokenizer {
    /// The number of tokens of a text without special tokens, however many there are.
    pub(crate) fn count(&self, text: &str, call: Call<'_>) -> Result<usize> {
        self.check_lengths(&[text], None)?;
        self.0.ensure(&[text], None, Some(0), 1, call)?;
        self.0.count(text, call)
    }
}

impl Inner {
    fn count(self: &Arc<Self>, text: &str, call: Call<'_>) -> Result<usize> {
        if text.len() > cuts::PART
            && let cuts = self.cuts(call)?
            && cuts.any()
        {
            let shortened = cuts.shortened(text);
            let text = shortened.as_ref().map_or(text, |shortened| &shortened.text);
            let (tokenize, poll) = (|part: &str| self.encode_whole(part, true, call), || call.check());
            let steps = Steps { tokenize: &tokenize, poll: &poll };
            let mut count = 0;
            parts::each(&steps, &cuts, text, cuts::PART, (None, false), &mut |part| count += part.ids.len())?;
            return Ok(count);
        }
        self.encode_whole(text, false, call).map(|encoding| encoding.len())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::base::counters::Counters;

    #[test]
    fn as_many_are_counted_as_there_are() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let counters = Counters::default();
        for name in ["bert", "xlm-roberta", "generation/gpt2", "generation/llama", "generation/t5"] {
            let tokenizer = Tokenizer::from_directory(&fixtures.join(name)).unwrap();
            let words = "the small bird sings,\n\nÆrø 42 中文 of rain ";
            for text in ["", " ", "a", &words.repeat(3), &words.repeat(3000), &"ab".repeat(60_000)] {
                let count = tokenizer.count(text, Call::new(&counters)).unwrap();
                assert_eq!(count, tokenizer.ids(text, false).unwrap().len(), "{name}: {} bytes", text.len());
            }
        }
    }
}
