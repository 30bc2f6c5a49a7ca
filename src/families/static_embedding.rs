//! sentence-transformers' `StaticEmbedding`: a table of word embeddings and no layers. `formats::source` writes its configuration.

use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{Heads, Names, Spec, Stack};

pub const FAMILY: &str = "static-embedding";

/// The maximum number of tokens, which nothing in the model limits.
const MAX_TOKENS: usize = 1 << 24;

const NAMES: Names = Names { word: &["embedding"], ..Names::EMPTY };

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let hidden = config.usize("hidden_size")?;
    Ok(Spec {
        family: FAMILY,
        vocabulary: config.usize("vocab_size")?,
        encoder: Some(Stack {
            max_tokens: MAX_TOKENS,
            ..Stack::new(hidden, 0, Heads::equal(1, hidden), hidden, NAMES)
        }),
        decoder: None,
        head: None,
        language: None,
        masked: None,
    })
}
