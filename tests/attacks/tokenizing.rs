//! Long texts and hostile tokenizers: bounded memory, an early end, cancellation, and refusals that name the field.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kinglet::{Cancellation, EmbedOptions, LoadOptions, Model, Status};
use serde_json::{Value, json};

use crate::support;

/// Far longer than a test takes, far shorter than what is refused would take.
const WATCHDOG: Duration = Duration::from_secs(120);

fn bert() -> Model {
    Model::load(support::fixtures().join("bert"), LoadOptions { threads: 2, ..LoadOptions::default() }).unwrap()
}

fn text(megabytes: usize) -> String {
    "a small bird sings ".repeat(megabytes * (1 << 20) / 19)
}

/// The most memory that this process has had, in bytes.
#[cfg(target_os = "linux")]
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

#[test]
fn only_as_much_of_a_long_text_is_tokenised_as_counts() {
    let model = bert();
    let (short, long) = ("a small bird sings ".repeat(2000), text(100));
    let start = Instant::now();
    #[cfg(target_os = "linux")]
    let before = peak();
    let embeddings = model.embed(&[&long], &EmbedOptions::default()).unwrap();
    assert!(start.elapsed() < WATCHDOG);
    // The whole would take ten gigabytes.
    #[cfg(target_os = "linux")]
    assert!(peak() - before < 1 << 30, "{} bytes", peak() - before);
    assert_eq!(embeddings.truncated, [1]);
    assert_eq!(embeddings.values, model.embed(&[&short], &EmbedOptions::default()).unwrap().values);
}

#[test]
fn a_text_without_a_limit_can_be_cancelled() {
    let model = bert();
    let long = text(200);
    let cancellation = Cancellation::new();
    let start = Instant::now();
    let error = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(50));
            cancellation.cancel();
        });
        let options = kinglet::EncodeOptions { max_length: Some(usize::MAX), ..Default::default() };
        model.tokenize(&[&long], None, &options, Some(&cancellation)).unwrap_err()
    });
    assert_eq!(error.status(), Status::Cancelled, "{error}");
    assert!(start.elapsed() < WATCHDOG);
}

/// The model with a changed tokenizer.json.
fn with_tokenizer(change: impl FnOnce(&mut Value)) -> kinglet::Result<Model> {
    let (source, folder) = (support::fixtures().join("bert"), tempfile::tempdir().unwrap());
    let file = |path: &PathBuf| path.is_file() && !path.ends_with("modules.json");
    for entry in fs::read_dir(&source).unwrap().map(|entry| entry.unwrap().path()).filter(file) {
        fs::copy(&entry, folder.path().join(entry.file_name().unwrap())).unwrap();
    }
    let path = folder.path().join("tokenizer.json");
    let mut tokenizer: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut tokenizer);
    fs::write(&path, tokenizer.to_string()).unwrap();
    Model::load(Path::new(folder.path()), LoadOptions::default())
}

#[test]
fn tokenizers_that_ask_for_too_much_are_refused_at_load() {
    let replace =
        |pattern: &str, content: String| json!({"type": "Replace", "pattern": {"String": pattern}, "content": content});
    let sequence = |parts: Vec<Value>| json!({"type": "Sequence", "normalizers": parts});
    let split = |expression: String| json!({"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": false});
    let charsmap = |table: &str| json!({"type": "Precompiled", "precompiled_charsmap": table});
    for (field, part, reason) in [
        ("normalizer", sequence(vec![replace("a", "a".repeat(16)); 12]), "times as long"),
        ("normalizer", sequence(vec![json!({"type": "ByteLevel"}); 50]), "times as long"),
        ("normalizer", replace("", "a".into()), "pattern is empty"),
        ("normalizer", charsmap("AAAA////"), "not a table of replacements"),
        ("pre_tokenizer", split("(?=a)".repeat(200_000)), "regular expression of 1000000 bytes"),
    ] {
        let error = with_tokenizer(|tokenizer| tokenizer[field] = part).err().expect(reason);
        assert_eq!(error.status(), Status::InvalidFile, "{error}");
        let message = error.message();
        assert!(message.contains("tokenizer.json") && message.contains(field) && message.contains(reason), "{message}");
    }
    let pieces: Vec<Value> = vec![json!(["<unk>", 0.0]), json!(["a".repeat(2000), -1.0])];
    let unigram = json!({"type": "Unigram", "unk_id": 0, "vocab": pieces, "byte_fallback": false});
    let error = with_tokenizer(|tokenizer| tokenizer["model"] = unigram).err().unwrap();
    assert!(error.message().contains("a piece has 2000 bytes"), "{error}");
}

#[test]
fn an_expression_that_gives_up_is_an_error() {
    const EXPRESSION: &str = r"(?:(?=x)x+)+(?=y)z|[a-z]";
    let text = format!("ab{}cdef", "x".repeat(60));
    let pattern = json!({"Regex": EXPRESSION});
    let split = json!({"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": false});
    let replace = json!({"type": "Replace", "pattern": pattern, "content": "a"});
    for (field, part) in [
        ("pre_tokenizer", split.clone()),
        ("pre_tokenizer", json!({"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, split]})),
        ("normalizer", replace),
    ] {
        let model = with_tokenizer(|tokenizer| tokenizer[field] = part).unwrap();
        model.embed(&["ab cdef"], &EmbedOptions::default()).unwrap();
        for text in [text.clone(), format!("{} {text}", "a bird ".repeat(10_000))] {
            let options = kinglet::EncodeOptions { max_length: Some(usize::MAX), ..Default::default() };
            let error = model.tokenize(&[&text], None, &options, None).unwrap_err();
            assert_eq!(error.status(), Status::InvalidArgument, "{error}");
            assert!(error.message().contains(EXPRESSION), "{error}");
        }
    }
}
