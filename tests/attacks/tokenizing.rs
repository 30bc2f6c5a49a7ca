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

#[test]
fn numbers_and_other_alphabets_are_tokenised_as_far_as_they_count() {
    // WordPiece, byte-level BPE, BPE of SentencePiece, Unigram.
    for fixture in ["bert", "roberta", "generation/mistral", "xlm-roberta"] {
        let folder = support::fixtures().join(fixture);
        let model = Model::load(folder, LoadOptions { threads: 2, ..LoadOptions::default() }).unwrap();
        for sentence in ["12 345 6 ", "слово и дело ", "שלום עולם ", "مرحبا بكم ", "été déjà à "]
        {
            let long = sentence.repeat((20 << 20) / sentence.len());
            #[cfg(target_os = "linux")]
            let before = peak();
            let start = Instant::now();
            let count = |text: &str| {
                let options = kinglet::EncodeOptions { max_length: Some(64), ..Default::default() };
                model.tokenize(&[text], None, &options, None).unwrap().ids().to_vec()
            };
            let ids = count(&long);
            assert!(start.elapsed() < WATCHDOG, "{fixture}, {sentence}");
            #[cfg(target_os = "linux")]
            assert!(peak() - before < 256 << 20, "{fixture}, {sentence}: {} bytes", peak() - before);
            assert_eq!(ids, count(&sentence.repeat(1000)), "{fixture}, {sentence}");
        }
    }
}

#[test]
fn pairs_are_tokenised_as_far_as_they_count() {
    let ids = |model: &Model, text: &str, pair: Option<&str>, max_length: usize, add_special_tokens: bool| {
        let options = kinglet::EncodeOptions {
            max_length: Some(max_length),
            add_special_tokens,
            ..kinglet::EncodeOptions::default()
        };
        let pair = pair.map(|pair| [pair]);
        model.tokenize(&[text], pair.as_ref().map(|pair| &pair[..]), &options, None).unwrap().ids().to_vec()
    };
    for side in ["right", "left"] {
        let folder = copied("bert");
        let path = folder.path().join("tokenizer_config.json");
        let mut config: Value = fs::read(&path).map_or(json!({}), |json| serde_json::from_slice(&json).unwrap());
        config["truncation_side"] = side.into();
        fs::write(&path, config.to_string()).unwrap();
        let model = Model::load(folder.path(), LoadOptions { threads: 2, ..LoadOptions::default() }).unwrap();
        let (short, long, longer) =
            ("a bird sings", "a small bird sings in the rain ".repeat(4000), "the bird is small ".repeat(8000));
        for (a, b) in [(short, &*long), (&*long, short), (&*long, &*longer), (&*longer, &*long)] {
            let [whole_a, whole_b] = [a, b].map(|text| ids(&model, text, None, usize::MAX, false));
            for room in [40, 41] {
                // As transformers' longest_first.
                let (least, half) = (whole_a.len().min(whole_b.len()), room / 2);
                let few = least.min(half);
                let (mut count_a, mut count_b) = (few, room - few);
                if whole_a.len() > whole_b.len() {
                    std::mem::swap(&mut count_a, &mut count_b);
                }
                let kept = |ids: &[u32], count: usize| match side {
                    "left" => ids[ids.len() - count..].to_vec(),
                    _ => ids[..count].to_vec(),
                };
                let expected = [kept(&whole_a, count_a), kept(&whole_b, count_b)].concat();
                assert_eq!(ids(&model, a, Some(b), room, false), expected, "{side}, {room}");
            }
        }
        // The whole would take gigabytes.
        let document = text(100);
        #[cfg(target_os = "linux")]
        let before = peak();
        let found = ids(&model, short, Some(&document), 64, true);
        assert_eq!(found.len(), 64);
        // With the places of the tokens in the text.
        let options = kinglet::EncodeOptions {
            max_length: Some(64),
            add_special_tokens: false,
            offsets: true,
            ..kinglet::EncodeOptions::default()
        };
        let encoding = model.tokenize(&[&document], None, &options, None).unwrap();
        let spans = encoding.offsets().unwrap();
        let words: Vec<&str> = spans.iter().map(|span| &document[span.start..span.end]).collect();
        assert_eq!(spans.len(), 64);
        match side {
            "left" => assert!(document.trim_end().ends_with(words[63]) && spans[63].end == document.trim_end().len()),
            _ => assert!(document.starts_with(words[0]) && spans[0].start == 0),
        }
        #[cfg(target_os = "linux")]
        assert!(peak() - before < 256 << 20, "{} bytes", peak() - before);
    }
}

/// Texts without a space: one word, letters at random, ideographs, digits.
fn texts_without_spaces(bytes: usize) -> Vec<String> {
    let mut seed = 1u64;
    let mut random = |below: u32| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as u32 % below
    };
    let letters: String = (0..bytes).map(|_| char::from(b'a' + random(26) as u8)).collect();
    let ideographs = (0..bytes / 3).filter_map(|_| char::from_u32(0x4e00 + random(5000))).collect();
    vec!["a".repeat(bytes), letters, ideographs, "1234567890".repeat(bytes / 10)]
}

#[test]
fn texts_without_spaces_are_tokenised_as_far_as_they_count() {
    // WordPiece, byte-level BPE, BPE of SentencePiece, Unigram.
    for fixture in ["bert", "roberta", "generation/mistral", "xlm-roberta"] {
        let folder = support::fixtures().join(fixture);
        let model = Model::load(folder, LoadOptions { threads: 2, ..LoadOptions::default() }).unwrap();
        let count = |text: &str, max_length: usize| {
            let options = kinglet::EncodeOptions { max_length: Some(max_length), ..Default::default() };
            let encoding = model.tokenize(&[text], None, &options, None).unwrap();
            (encoding.ids().to_vec(), encoding.truncated()[0])
        };
        for (kind, text) in texts_without_spaces(20 << 20).iter().enumerate() {
            // Unigram looks at the whole of what has no place to cut it, and its fixture knows no ideographs.
            if fixture == "xlm-roberta" && kind != 1 {
                continue;
            }
            let start = Instant::now();
            #[cfg(target_os = "linux")]
            let before = peak();
            let (ids, truncated) = count(text, 64);
            assert!(start.elapsed() < WATCHDOG, "{fixture}, {kind}");
            #[cfg(target_os = "linux")]
            assert!(peak() - before < 256 << 20, "{fixture}, {kind}: {} bytes", peak() - before);
            let short = &text[..3 * 10_000];
            let (expected, _) = count(short, 64);
            assert_eq!(ids, expected, "{fixture}, {kind}");
            // All of a word may be one unknown token.
            assert_eq!(truncated == 1, ids.len() == 64, "{fixture}, {kind}");
        }
    }
}

#[test]
fn a_text_without_spaces_can_be_cancelled() {
    let folder = support::fixtures().join("roberta");
    let model = Model::load(folder, LoadOptions { threads: 2, ..LoadOptions::default() }).unwrap();
    for long in texts_without_spaces(40 << 20) {
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
}

#[test]
fn a_text_that_cannot_be_cut_has_a_limit() {
    // Unigram looks at the whole of what has no place to cut it. At once 5 MB would take half a second and 600 MB.
    let folder = support::fixtures().join("xlm-roberta");
    let model = Model::load(folder, LoadOptions { threads: 2, ..LoadOptions::default() }).unwrap();
    let embed = |text: &str| model.embed(&[text], &EmbedOptions::default());
    for text in ["1234567890", "=", "🐦"] {
        embed(&text.repeat((1 << 20) / text.len())).unwrap();
        let error = embed(&text.repeat((5 << 20) / text.len())).expect_err(text);
        assert_eq!(error.status(), Status::InvalidArgument, "{error}");
        assert!(error.message().contains("bytes without a place where it can be cut"), "{error}");
        embed(&format!("{} a bird sings {}", text.repeat(300_000), text.repeat(300_000))).unwrap();
    }
}

#[test]
fn a_text_that_cannot_be_cut_can_be_cancelled() {
    let folder = support::fixtures().join("xlm-roberta");
    let model = Model::load(folder, LoadOptions { threads: 2, ..LoadOptions::default() }).unwrap();
    let options = kinglet::EncodeOptions { max_length: Some(usize::MAX), ..Default::default() };
    for run in ["1234567890", "=", "🐦"] {
        let long = run.repeat((4 << 20) / run.len());
        let cancellation = Cancellation::new();
        let start = Instant::now();
        let error = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(20));
                cancellation.cancel();
            });
            model.tokenize(&[&long], None, &options, Some(&cancellation)).unwrap_err()
        });
        assert_eq!(error.status(), Status::Cancelled, "{error}");
        println!("{run}: ended after {:?}", start.elapsed());
        assert!(start.elapsed() < WATCHDOG);
    }
}

#[test]
fn the_longest_text_is_an_option() {
    let options = LoadOptions { threads: 1, max_text_bytes: Some(100), ..LoadOptions::default() };
    let model = Model::load(support::fixtures().join("bert"), options).unwrap();
    let (short, long) = ("a".repeat(100), "a".repeat(101));
    model.embed(&[&short], &EmbedOptions::default()).unwrap();
    let error = model.embed(&[&short, &long], &EmbedOptions::default()).unwrap_err();
    assert_eq!(error.status(), Status::InvalidArgument, "{error}");
    assert!(error.message().starts_with("texts[1]: has 101 bytes; the maximum is 100"), "{error}");
    let error = model.tokenize(&[&short], Some(&[&long]), &Default::default(), None).unwrap_err();
    assert!(error.message().starts_with("pairs[0]: has 101 bytes"), "{error}");
}

/// The files of a model, to be changed.
fn copied(fixture: &str) -> tempfile::TempDir {
    let (source, folder) = (support::fixtures().join(fixture), tempfile::tempdir().unwrap());
    let file = |path: &PathBuf| path.is_file() && !path.ends_with("modules.json");
    for entry in fs::read_dir(&source).unwrap().map(|entry| entry.unwrap().path()).filter(file) {
        fs::copy(&entry, folder.path().join(entry.file_name().unwrap())).unwrap();
    }
    folder
}

/// The model with a changed tokenizer.json.
fn with_tokenizer(change: impl FnOnce(&mut Value)) -> kinglet::Result<Model> {
    let folder = copied("bert");
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
