//! SentencePiece's vocabularies, as the classes read them that need nothing else, and a text with each that loads.
#![no_main]

use std::fs;
use std::sync::LazyLock;

use kinglet::Tokenizer;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

const CLASSES: [(&str, &str); 4] = [
    ("T5Tokenizer", "spiece.model"),
    ("XLMRobertaTokenizer", "sentencepiece.bpe.model"),
    ("MBartTokenizer", "sentencepiece.bpe.model"),
    ("LlamaTokenizer", "tokenizer.model"),
];

static DIRECTORIES: LazyLock<Vec<TempDir>> = LazyLock::new(|| {
    let make = |(class, _)| {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let config = format!("{{\"tokenizer_class\": \"{class}\"}}");
        fs::write(folder.path().join("tokenizer_config.json"), config).expect("the temporary directory is writable");
        folder
    };
    CLASSES.into_iter().map(make).collect()
});

fuzz_target!(|data: &[u8]| {
    for (folder, (_, file)) in DIRECTORIES.iter().zip(CLASSES) {
        fs::write(folder.path().join(file), data).expect("the temporary directory is writable");
        match Tokenizer::from_directory(folder.path()) {
            Ok(tokenizer) => {
                let _ = tokenizer.ids("the small bird, \u{e9}\u{4e2d}", true);
            }
            Err(error) => assert!(error.message().contains(file), "the error does not name the file: {error}"),
        }
    }
});
