//! Tokens that only the files beside `tokenizer.json` name, and how text is decoded, compared with transformers' AutoTokenizer.
//! `tests/fixtures/make_token_cases.py` makes the references.

mod support;

use std::path::Path;

use kinglet::{Device, GenerateOptions, Precision, Tokenizer};
use serde_json::Value;
use support::{fixtures, ids, load};

fn reference() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/references/tokens.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Writes a case's tokenizer files to a folder.
fn lay_out(case: &Value, folder: &Path) {
    let base = fixtures().join(case["base"].as_str().unwrap());
    let mut tokenizer: Value =
        serde_json::from_str(&std::fs::read_to_string(base.join("tokenizer.json")).unwrap()).unwrap();
    for (key, value) in case["tokenizer"].as_object().unwrap() {
        tokenizer[key] = value.clone();
    }
    std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    for (name, content) in case["files"].as_object().unwrap() {
        std::fs::write(folder.join(name), content.to_string()).unwrap();
    }
}

#[test]
fn tokens_are_those_of_transformers() {
    let reference = reference();
    let mut failures = Vec::new();
    for case in reference["cases"].as_array().unwrap() {
        let folder = tempfile::tempdir().unwrap();
        lay_out(case, folder.path());
        let name = case["case"].as_str().unwrap();
        let tokenizer = match Tokenizer::from_directory(folder.path()) {
            Ok(tokenizer) => tokenizer,
            Err(error) => {
                failures.push(format!("{name}: {error}"));
                continue;
            }
        };
        let expected = &case["reference"];
        let found = tokenizer.ids(case["text"].as_str().unwrap(), true).unwrap();
        let wanted = ids(&expected["ids"]);
        if found != wanted {
            failures.push(format!("{name}: ids {found:?}, not {wanted:?}"));
        }
        for (key, skip) in [("decoded", true), ("kept", false)] {
            let (text, wanted) = (tokenizer.decode(&wanted, skip).unwrap(), expected[key].as_str().unwrap());
            if text != wanted {
                failures.push(format!("{name}: {key} {text:?}, not {wanted:?}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// A chat's prompt has the special tokens that transformers writes: the reply is that to the reference's prompt.
#[test]
fn chats_have_the_special_tokens_of_transformers() {
    let reference = reference();
    let template = reference["template"].as_str().unwrap();
    let mut chats = 0;
    for case in reference["cases"].as_array().unwrap() {
        let base = fixtures().join(case["base"].as_str().unwrap());
        let prompt = ids(&case["reference"]["prompt"]);
        let name = case["case"].as_str().unwrap();
        // Encoders do not chat.
        if !["generation/llama", "generation/gpt2"].contains(&case["base"].as_str().unwrap()) {
            continue;
        }
        let folder = support::copy_of(&base, |_| false);
        std::fs::remove_file(folder.path().join("tokenizer_config.json")).unwrap();
        lay_out(case, folder.path());
        std::fs::write(folder.path().join("chat_template.jinja"), template).unwrap();
        let model = load(folder.path(), Device::Cpu, Precision::F32, 1);
        // Tokens that the vocabulary lacks have no embeddings in the fixture.
        if prompt.iter().any(|&id| id as usize >= model.vocabulary_size()) {
            continue;
        }
        let options = GenerateOptions { max_new_tokens: Some(3), ..GenerateOptions::default() };
        let mut session = model.session().unwrap();
        let reply = session.send("The bird", &options, None).unwrap();
        assert_eq!(session.prompt_tokens(), prompt.len(), "{name}");
        let direct = model.generate_ids(&prompt, &[prompt.len()], &options, None).unwrap();
        assert_eq!(reply.tokens, direct.outputs[0][0].tokens, "{name}");
        chats += 1;
    }
    assert!(chats > 10, "{chats}");
}

#[test]
fn tokens_that_are_none_are_named() {
    for (file, content, what) in [
        ("tokenizer_config.json", r#"{"eos_token": 5}"#, "`eos_token`"),
        ("tokenizer_config.json", r#"{"eos_token": {"text": "x"}}"#, "`eos_token`"),
        ("tokenizer_config.json", r#"{"additional_special_tokens": "x"}"#, "`additional_special_tokens`"),
        ("tokenizer_config.json", r#"{"added_tokens_decoder": {"a": "x"}}"#, "`added_tokens_decoder.a`"),
        ("tokenizer_config.json", r#"{"added_tokens_decoder": {"1": {}}}"#, "`added_tokens_decoder.1`"),
        ("special_tokens_map.json", r#"{"bos_token": [1]}"#, "`bos_token`"),
        ("added_tokens.json", r#"{"<x>": "y"}"#, "`<x>`"),
    ] {
        let folder = support::copy_of(&fixtures().join("generation/llama"), |name| name != "tokenizer.json");
        std::fs::write(folder.path().join(file), content).unwrap();
        let error = Tokenizer::from_directory(folder.path()).err().expect(content);
        assert!(error.message().contains(file) && error.message().contains(what), "{error}");
    }
}
