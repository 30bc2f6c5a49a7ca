//! `kinglet compress`, run as a user runs it.

#![cfg(feature = "cli")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn run(model: &str, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kinglet"));
    command.arg("compress").arg("--model").arg(fixture(model)).args(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A program that ends early breaks this pipe.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn printed(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

const DOCUMENT: &str =
    "A small bird sings. The rain runs to the sea!\n\nIt answers the stone. A river of rain. The end of it.\n";

#[test]
fn a_document_comes_from_a_file_or_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("document.txt");
    std::fs::write(&file, DOCUMENT).unwrap();
    let from_input = printed(&run("bert", &["--ratio", "2"], DOCUMENT));
    let from_file = printed(&run("bert", &["-r", "2", file.to_str().unwrap()], ""));
    assert_eq!(from_input, from_file);
    assert_eq!(printed(&run("bert", &["--ratio", "2", "-"], DOCUMENT)), from_file);
    assert!(from_file.len() < DOCUMENT.len() * 2 / 3 && from_file.len() > 10, "{from_file}");
    for sentence in from_file.trim_end().split_inclusive(['.', '!']) {
        assert!(DOCUMENT.contains(sentence.trim()), "{sentence:?}");
    }
}

#[test]
fn figures_are_printed_as_json() {
    let arguments = ["--max-tokens", "14", "--measure", "--json", "--query", "rain", "--relevance", "0.9"];
    let embedder = fixture("bert");
    let arguments = [&arguments[..], &["--embedder", embedder.to_str().unwrap()]].concat();
    let line: Value = serde_json::from_str(&printed(&run("bert", &arguments, DOCUMENT))).unwrap();
    let number = |name: &str| line[name].as_f64().unwrap_or_else(|| panic!("{name} of {line}"));
    assert_eq!(line["method"], "sentence_embeddings");
    assert!(number("tokens_after") <= 14.0 && number("tokens_before") > 24.0);
    assert!((number("ratio") - number("tokens_before") / number("tokens_after")).abs() < 1e-9);
    let kept: String = line["kept"]
        .as_array()
        .unwrap()
        .iter()
        .map(|span| &DOCUMENT[span[0].as_u64().unwrap() as usize..span[1].as_u64().unwrap() as usize])
        .collect();
    let spaces = |text: &str| text.replace([' ', '\n'], "");
    assert_eq!(spaces(line["text"].as_str().unwrap()), spaces(&kept));
    // The words that were kept are a subsequence: ROUGE-L is ROUGE-1.
    assert!(number("rouge_1") > 0.3 && (number("rouge_1") - number("rouge_l")).abs() < 1e-9);
    assert!(number("rouge_2") > 0.2 && number("rouge_2") < number("rouge_1"));
    assert!((0.5..=1.0001).contains(&number("embedding_cosine")), "{line}");
    assert!(number("seconds") > 0.0 && number("tokens_per_s") > 0.0);
    let output = run("bert", &["--ratio", "2", "--measure"], DOCUMENT);
    assert!(!printed(&output).contains("ROUGE"));
    let notes = String::from_utf8_lossy(&output.stderr);
    assert!(notes.contains("ratio 2.") && notes.contains("tokens/s") && notes.contains("ROUGE-L"), "{notes}");
}

#[test]
fn json_lines_are_documents() {
    let lines = format!("{}\n\n{}\n", serde_json::json!({ "body": DOCUMENT }), serde_json::json!({ "body": "a" }));
    let arguments = ["--max-tokens", "30", "--jsonl", "body", "--unit", "word"];
    let text = printed(&run("generation/gpt2", &arguments, &lines));
    assert_eq!(text.lines().count(), 2);
    assert_eq!(text.lines().last(), Some("a"));
    let arguments =
        [&arguments[..], &["--json", "--force-token", "stone", "--window", "32", "--overlap", "8"]].concat();
    let text = printed(&run("generation/gpt2", &arguments, &lines));
    let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(first["method"], "self_information");
    assert!(first["windows"].as_u64().unwrap() > 2 && first["text"].as_str().unwrap().contains("stone"), "{first}");
    let output = run("bert", &arguments[..4], "{\"body\": \"a\"}\n{\"text\": 1}\n");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors.contains("standard input, line 2: no field \"body\""), "{errors}");
}

#[test]
fn what_is_wrong_is_named() {
    let wrong: [(&[&str], i32, &str); 9] = [
        (&[], 2, "--ratio"),
        (&["--ratio", "2", "--max-tokens", "5"], 2, "cannot be used with"),
        (&["--ratio", "1"], 2, "ratio: 1 is not a number above 1"),
        (&["--max-tokens", "0"], 2, "--max-tokens"),
        (&["--ratio", "2", "--method", "magic"], 2, "magic"),
        (&["--ratio", "2", "--method", "token_classifier"], 1, "no head"),
        (&["--ratio", "2", "--embedder", "x"], 2, "--measure"),
        (&["--ratio", "2", "no-such-file"], 1, "no-such-file"),
        (&["--ratio", "2", "--max-text-bytes", "10"], 1, "standard input: is longer than 10 bytes"),
    ];
    for (arguments, status, says) in wrong {
        let output = run("bert", arguments, DOCUMENT);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {errors}");
        assert!(errors.contains(says), "{arguments:?}: {errors}");
    }
}
