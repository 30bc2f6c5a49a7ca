//! Damaged and hostile model directories: 10,000 mutations of every kind of file. A load either succeeds, and the model then runs
//! without a crash, or fails with an error that names a file of the directory. Never is more than the memory limit allocated.

#[path = "../src/formats/mutation.rs"]
mod mutation;
mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use kinglet::{ClassifyOptions, EmbedOptions, LoadOptions, Model, Precision, Status};
use mutation::{Mutation, mutation};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use support::{alone, fixtures, models};

/// Counts allocated bytes and their peak.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// More than any fixture needs, and far less than a hostile file can ask for.
const LIMIT: usize = 16 << 20;

/// The files that a load reads.
const FILES: [&str; 17] = [
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-00001-of-00003.safetensors",
    "modules.json",
    "sentence_bert_config.json",
    "1_Pooling/config.json",
    "pytorch_model.bin",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "source.spm",
    "tokenizer.model",
];

/// Models as they were published before tokenizer.json and safetensors: the fixture, its vocabulary files, and their sources.
const OLD: [(&str, &[(&str, &str)]); 5] = [
    ("bert", &[("vocab.txt", "bert.txt")]),
    ("roberta", &[("vocab.json", "roberta-vocab.json"), ("merges.txt", "roberta-merges.txt")]),
    ("xlm-roberta", &[("sentencepiece.bpe.model", "fairseq.model")]),
    ("generation/marian", &[("source.spm", "marian-source.model"), ("vocab.json", "marian-vocab.json")]),
    ("generation/t5", &[("spiece.model", "t5.model")]),
];

/// Writes the old models; the first has a checkpoint of PyTorch.
fn old_models() -> Vec<tempfile::TempDir> {
    let make = |(name, vocabulary): (&str, &[(&str, &str)])| {
        let copy = Copy::of(&fixtures().join(name)).folder;
        for file in ["tokenizer.json", "tokenizer_config.json"] {
            std::fs::remove_file(copy.path().join(file)).unwrap();
        }
        for (file, from) in vocabulary {
            std::fs::copy(fixtures().join("vocabulary").join(from), copy.path().join(file)).unwrap();
        }
        if name == "bert" {
            std::fs::remove_file(copy.path().join("model.safetensors")).unwrap();
            std::fs::copy(fixtures().join("torch/old.bin"), copy.path().join("pytorch_model.bin")).unwrap();
        }
        copy
    };
    OLD.into_iter().map(make).collect()
}

struct Case {
    fixture: PathBuf,
    file: &'static str,
}

fn candidates(old: &[tempfile::TempDir]) -> Vec<Case> {
    let old = old.iter().map(|folder| folder.path().to_owned());
    let all =
        models().into_iter().chain(old).flat_map(|fixture| FILES.map(|file| Case { fixture: fixture.clone(), file }));
    all.filter(|case| case.fixture.join(case.file).exists()).collect()
}

/// A directory of links to a fixture's files, one of which is replaced by a damaged file.
struct Copy {
    folder: tempfile::TempDir,
}

impl Copy {
    fn of(fixture: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(fixture).unwrap() {
            let from = entry.unwrap().path();
            let to = folder.path().join(from.file_name().unwrap());
            if from.is_dir() {
                std::fs::create_dir(&to).unwrap();
                for inner in std::fs::read_dir(&from).unwrap() {
                    let inner = inner.unwrap().path();
                    std::fs::copy(&inner, to.join(inner.file_name().unwrap())).unwrap();
                }
            } else {
                std::fs::copy(&from, &to).unwrap();
            }
        }
        Self { folder }
    }
}

/// Loads a directory and, if that works, runs it.
fn attempt(path: &Path) -> Result<(), kinglet::Error> {
    let options = LoadOptions {
        threads: 1,
        memory_limit: LIMIT as u64,
        precision: Some(Precision::Int8),
        ..LoadOptions::default()
    };
    let model = Model::load(path, options)?;
    let texts = ["The small bird sings. 中文 🐦", ""];
    // Any result or error of a damaged but loadable model is accepted.
    let _ = model.embed(&texts, &EmbedOptions::default());
    let _ = model.classify(&texts, None, &ClassifyOptions::default());
    Ok(())
}

fn check(folder: &Path, what: &str) -> Result<bool, TestCaseError> {
    PEAK.store(LIVE.load(Ordering::Relaxed), Ordering::Relaxed);
    let before = LIVE.load(Ordering::Relaxed);
    let outcome = catch_unwind(AssertUnwindSafe(|| attempt(folder)));
    let grown = PEAK.load(Ordering::Relaxed) - before;
    prop_assert!(grown <= LIMIT, "{what}: {grown} bytes were allocated");
    let Ok(outcome) = outcome else {
        return Err(TestCaseError::fail(format!("{what}: panicked")));
    };
    let Err(error) = outcome else {
        return Ok(true);
    };
    let path = folder.display().to_string();
    prop_assert!(error.message().starts_with(&path), "{what}: the error does not name a file: {error}");
    prop_assert!(!matches!(error.status(), Status::Ok | Status::Panic | Status::Internal), "{what}: {error:?}");
    Ok(false)
}

#[test]
fn ten_thousand_mutations() {
    let _alone = alone();
    let old = old_models();
    let cases = candidates(&old);
    let copies: Vec<Copy> = cases.iter().map(|case| Copy::of(&case.fixture)).collect();
    let mut runner = TestRunner::new(Config {
        cases: 10_000,
        max_shrink_iters: 200,
        failure_persistence: None,
        ..Config::default()
    });
    let loaded = AtomicUsize::new(0);
    let strategy = (0..cases.len(), prop::collection::vec(mutation(), 1..3));
    runner
        .run(&strategy, |(which, mutations): (usize, Vec<Mutation>)| {
            let (case, copy) = (&cases[which], &copies[which]);
            let target = copy.folder.path().join(case.file);
            let mut bytes = std::fs::read(case.fixture.join(case.file)).unwrap();
            mutations.iter().for_each(|mutation| mutation.apply(&mut bytes));
            std::fs::write(&target, &bytes).unwrap();
            let what = format!("{} of {}, {mutations:?}", case.file, case.fixture.file_name().unwrap().display());
            if check(copy.folder.path(), &what)? {
                loaded.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        })
        .unwrap_or_else(|e| panic!("{e}"));
    let loaded = loaded.into_inner();
    println!("10000 mutations: {loaded} loaded, {} were refused", 10_000 - loaded);
    assert!((200..9_800).contains(&loaded), "the mutations are too weak or too strong: {loaded} loaded");
}

/// Fields whose values ask for too much or are nonsense.
#[test]
fn hostile_settings() {
    let _alone = alone();
    let settings: [(&str, &str, &str); 12] = [
        ("config.json", "hidden_size", "1073741824"),
        ("config.json", "hidden_size", "-1"),
        ("config.json", "num_hidden_layers", "2000000000"),
        ("config.json", "num_attention_heads", "0"),
        ("config.json", "num_attention_heads", "5"),
        ("config.json", "vocab_size", "1e300"),
        ("config.json", "max_position_embeddings", "0"),
        ("config.json", "intermediate_size", "\"wide\""),
        ("config.json", "model_type", "\"../../etc/passwd\""),
        ("config.json", "hidden_act", "\"exec\""),
        ("config.json", "layer_norm_eps", "-1"),
        ("sentence_bert_config.json", "max_seq_length", "-5"),
    ];
    for (file, field, value) in settings {
        let copy = Copy::of(&fixtures().join("bert"));
        let path = copy.folder.path().join(file);
        let mut json: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        json[field] = serde_json::from_str(value).unwrap();
        std::fs::write(&path, json.to_string()).unwrap();
        let loaded = check(copy.folder.path(), &format!("{field} = {value}")).unwrap();
        assert!(!loaded, "{field} = {value} was accepted");
    }
}

#[test]
fn a_template_without_its_special_tokens_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(support::fixtures().join("mpnet")).unwrap().map(|entry| entry.unwrap().path()) {
        if file.is_file() {
            std::fs::copy(&file, folder.path().join(file.file_name().unwrap())).unwrap();
        }
    }
    let path = folder.path().join("tokenizer.json");
    let mut tokenizer: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let template = serde_json::json!({
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {},
    });
    tokenizer["post_processor"] = template;
    std::fs::write(&path, tokenizer.to_string()).unwrap();
    let error = Model::load(folder.path(), LoadOptions::default()).map(|_| ()).unwrap_err();
    assert_eq!(error.status(), Status::InvalidFile, "{error}");
    assert!(error.message().contains("tokenizer.json: post_processor: its template uses `<s>`"), "{error}");
}

#[test]
fn the_memory_limit_is_checked_first() {
    let _alone = alone();
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let options = LoadOptions { memory_limit: 20_000, ..LoadOptions::default() };
    let error = Model::load(fixtures().join("bert"), options).err().unwrap();
    assert_eq!(error.status(), Status::OutOfMemory, "{error}");
    assert!(error.message().contains("memory limit is 20000"), "{error}");
    assert!(PEAK.load(Ordering::Relaxed) - before < 200_000, "memory was allocated for the model");
}
