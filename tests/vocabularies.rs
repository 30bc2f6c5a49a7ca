//! Models without `tokenizer.json`: token ids and decoded texts compared with transformers' AutoTokenizer.
//! `tests/fixtures/make_vocabulary_cases.py` makes the vocabularies and the references.

mod support;

use std::path::{Path, PathBuf};

use kinglet::Tokenizer;
use serde_json::Value;
use support::{fixtures, ids};

/// The folder of the references, and that of the vocabularies.
fn folders() -> (PathBuf, PathBuf) {
    match std::env::var_os("KINGLET_VOCABULARIES").map(PathBuf::from) {
        Some(folder) => (folder.join("vocabularies.json"), folder.join("vocabulary")),
        None => {
            let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
            (tests.join("references/vocabularies.json"), fixtures().join("vocabulary"))
        }
    }
}

fn reference() -> Value {
    serde_json::from_str(&std::fs::read_to_string(folders().0).unwrap()).unwrap()
}

/// Writes a case's files to a folder.
fn lay_out(case: &Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, file) in case["vocabulary"].as_object().unwrap() {
        std::fs::copy(folders().1.join(file.as_str().unwrap()), folder.path().join(name)).unwrap();
    }
    for (name, content) in case["files"].as_object().unwrap() {
        std::fs::write(folder.path().join(name), content.to_string()).unwrap();
    }
    folder
}

#[test]
fn ids_and_texts_are_those_of_transformers() {
    let reference = reference();
    let texts: Vec<&str> = reference["texts"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    let (mut failures, mut compared) = (Vec::new(), 0);
    for case in reference["cases"].as_array().unwrap() {
        let name = case["case"].as_str().unwrap();
        let folder = lay_out(case);
        let tokenizer = match Tokenizer::from_directory(folder.path()) {
            Ok(tokenizer) => tokenizer,
            Err(error) => {
                failures.push(format!("{name}: {error}"));
                continue;
            }
        };
        for (text, wanted) in texts.iter().zip(case["ids"].as_array().unwrap()) {
            let (found, wanted) = (tokenizer.ids(text, true).unwrap(), ids(wanted));
            // SentencePiece takes its own character for a space as one, and transformers' Marian tokenizer is SentencePiece.
            if name.starts_with("marian") && text.starts_with('\u{2581}') {
                continue;
            }
            compared += 1;
            if found != wanted {
                failures.push(format!("{name}: {text:?}: {found:?}, not {wanted:?}"));
            }
        }
        for (text, wanted) in reference["to_decode"].as_array().unwrap().iter().zip(case["decoded"].as_array().unwrap())
        {
            let ids = tokenizer.ids(text.as_str().unwrap(), true).unwrap();
            let found = tokenizer.decode(&ids, true).unwrap();
            if found != wanted.as_str().unwrap() {
                failures.push(format!("{name}: decoded {found:?}, not {wanted}"));
            }
        }
    }
    assert!(failures.is_empty(), "{} of {compared}:\n{}", failures.len(), failures.join("\n"));
    assert!(compared > 5000, "{compared}");
}

/// The same vocabularies, damaged in every way that a reader looks at.
#[test]
fn damaged_vocabularies_are_errors_that_name_the_file() {
    let reference = reference();
    let case =
        |name: &str| reference["cases"].as_array().unwrap().iter().find(|case| case["case"] == name).unwrap().clone();
    for (name, file, content, what) in [
        ("bert", "vocab.txt", "the\nriver\n", "the special token `[CLS]` is not in it"),
        ("bert", "vocab.txt", "", "the file is empty"),
        ("gpt2", "merges.txt", "a b c\n", "line 1 is `a b c`"),
        ("gpt2", "merges.txt", "#version: 0.2\na zzz\n", "`zzz` is not in vocab.json"),
        ("gpt2", "vocab.json", "[1]", "expected an object of ids by token"),
        ("gpt2", "vocab.json", r#"{"a": -1}"#, "the id of `a` is `-1`"),
        ("gpt2", "vocab.json", r#"{"a": 4000000000}"#, "the id of `a` is `4000000000`"),
        ("roberta", "vocab.json", r#"{"a": 0, "b": 1}"#, "is not in vocab.json"),
        ("t5", "spiece.model", "\u{1}\u{2}\u{3}", "not a SentencePiece model"),
        ("t5", "tokenizer_config.json", r#"{"tokenizer_class": "T5Tokenizer", "extra_ids": 100000}"#, "`extra_ids`"),
        (
            "mbart",
            "tokenizer_config.json",
            r#"{"tokenizer_class": "MBartTokenizer", "src_lang": "xx"}"#,
            "`xx` is not in it",
        ),
        ("marian", "vocab.json", r#"{"</s>": 0, "<pad>": 1}"#, "the special token `<unk>` is not in it"),
        ("marian", "vocab.json", r#"{"</s>": 0, "<unk>": 2000000}"#, "ids up to"),
        (
            "marian",
            "tokenizer_config.json",
            r#"{"tokenizer_class": "MarianTokenizer", "separate_vocabs": true}"#,
            "separate_vocabs",
        ),
        ("marian", "added_tokens.json", r#"{"<new>": 300}"#, "`<new>`"),
    ] {
        let folder = lay_out(&case(name));
        std::fs::write(folder.path().join(file), content).unwrap();
        let error = Tokenizer::from_directory(folder.path()).err().unwrap_or_else(|| panic!("{name}: {content}"));
        let named = error.message().contains(folder.path().to_str().unwrap());
        assert!(named && error.message().contains(what), "{name}, {content}: {error}");
    }
    // These are of classes that read other SentencePiece models.
    for (name, file) in [("t5", "llama.model"), ("llama", "t5.model")] {
        let case = case(name);
        let folder = lay_out(&case);
        let own = case["vocabulary"].as_object().unwrap().keys().next().unwrap();
        std::fs::copy(folders().1.join(file), folder.path().join(own)).unwrap();
        let error = Tokenizer::from_directory(folder.path()).err().unwrap();
        assert!(error.message().contains("is supported") || error.message().contains("is not supported"), "{error}");
    }
}

/// A tokenizer that cannot be made says which files are there and what helps.
#[test]
fn absent_tokenizers_say_what_is_there() {
    for (files, words) in [
        (&[][..], &["no vocabulary file"][..]),
        (&["vocab.json", "merges.txt"], &["there is vocab.json, merges.txt", "tokenizer_class", "save_pretrained"]),
        (&["tekken.json", "tokenizer_config.json"], &["there is tekken.json", "`OddTokenizer`", "save_pretrained"]),
        (&["source.spm", "config.json"], &["there is source.spm", "not vocab.json", "save_pretrained"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let content = match *file {
                "tokenizer_config.json" => r#"{"tokenizer_class": "OddTokenizer"}"#,
                "config.json" => r#"{"model_type": "marian"}"#,
                _ => "{}",
            };
            std::fs::write(folder.path().join(file), content).unwrap();
        }
        let tokenizer = Tokenizer::from_directory(folder.path()).unwrap();
        let error = tokenizer.ids("the", true).unwrap_err();
        for word in words {
            assert!(error.message().contains(word), "{error}");
        }
    }
}
