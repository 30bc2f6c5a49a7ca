//! Grammars: any JSON schema, regular expression or Lark grammar (by the first byte), compiled for a small vocabulary, then a few steps of
//! a text that it allows. An error must be about the grammar.
#![no_main]

use std::sync::LazyLock;

use kinglet::{Grammar, GrammarLimits, GrammarVocabulary, SchemaMode, Status, Tokenizer};
use libfuzzer_sys::fuzz_target;

/// An input takes at most about 20 ms.
const LIMITS: GrammarLimits = GrammarLimits { work: 20_000, memory: 16 << 20 };

static VOCABULARY: LazyLock<(GrammarVocabulary, usize)> = LazyLock::new(|| {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/generation/llama");
    let tokenizer = Tokenizer::from_directory(folder.as_ref()).expect("a fixture");
    let size = tokenizer.vocabulary_size();
    (GrammarVocabulary::of(&tokenizer, size, &[0]).expect("a vocabulary"), size)
});

fuzz_target!(|data: (u8, &str)| {
    let (kind, source) = data;
    let grammar = match kind % 3 {
        0 => Grammar::JsonSchema(source.into()),
        1 => Grammar::Regex(source.into()),
        _ => Grammar::Lark(source.into()),
    };
    let mode = if kind < 128 { SchemaMode::Check } else { SchemaMode::Strict };
    let (vocabulary, size) = &*VOCABULARY;
    let mut constraint = match vocabulary.constraint(&grammar, mode, LIMITS, None) {
        Ok(constraint) => constraint,
        Err(error) => {
            assert!(error.message().starts_with("grammar: "), "the error does not say what is wrong: {error}");
            return;
        }
    };
    for step in 0..4 {
        let mut logits = vec![0.0; *size];
        let outcome = constraint.mask(&mut logits).and_then(|()| {
            let allowed: Vec<usize> = (0..*size).filter(|&token| logits[token] == 0.0).collect();
            match allowed.get((usize::from(kind) + step) % allowed.len().max(1)) {
                Some(&token) => constraint.accept(token as u32),
                None => Ok(()),
            }
        });
        if let Err(error) = outcome {
            assert_eq!(error.status(), Status::InvalidArgument, "{error}");
            return;
        }
    }
});
