//! Files that say what a terminal or a log must not show: no error and no log line holds a control character or more than a few thousand
//! characters, wherever the text comes from.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use kinglet::{EmbedOptions, LoadOptions, Log, LogLevel, Model};
use serde_json::{Map, Value, json};

use crate::support;

/// Clears the screen, changes the colour, rings, ends the line, ends a C string, and turns the direction of text.
const HOSTILE: &str = "\u{1b}[2J\u{1b}[31m\u{7}\r\n\0\u{9b}\u{202e}\u{2066}\u{2028}\u{200b}";

/// The number of entries of one list or object that are changed.
const ENTRIES: usize = 12;

/// The number of versions of one file that are loaded.
const VARIANTS: usize = 60;

fn check(message: &str, what: &str) {
    let bad = |c: char| c.is_control() || matches!(c, '\u{200b}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    assert!(!message.contains(bad), "{what}: {message:?}");
    assert!(message.chars().count() < 50_000, "{what}: {} characters", message.chars().count());
}

/// Loads and uses a model, and checks all that is said. True if something failed.
fn run(path: &Path, what: &str) -> bool {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = lines.clone();
    let log = Log::new(LogLevel::Debug, move |_, line| sink.lock().unwrap().push(line.to_owned()));
    let onnxruntime = support::onnxruntime();
    let options = LoadOptions { threads: 1, log, onnxruntime: onnxruntime.as_deref(), ..LoadOptions::default() };
    let mut errors = Vec::new();
    match Model::load(path, options) {
        Err(error) => errors.push(error),
        Ok(model) => {
            errors.extend(model.embed(&["a bird"], &EmbedOptions::default()).err());
            errors.extend(model.classify(&["a bird"], None, &Default::default()).err());
            let options = kinglet::GenerateOptions { max_new_tokens: Some(1), ..Default::default() };
            errors.extend(model.generate(&["a bird"], &options, None).err());
            let turn = model.session().and_then(|mut session| session.send("hello", &options, None));
            errors.extend(turn.err());
        }
    }
    for line in lines.lock().unwrap().iter() {
        check(line, what);
    }
    errors.iter().for_each(|error| check(error.message(), what));
    !errors.is_empty()
}

/// Every version of a document with one hostile text: a string, a key, or a number that became a string.
fn variants(value: &Value) -> Vec<Value> {
    let hostile = |text: &str| format!("{HOSTILE}{text}{HOSTILE}");
    match value {
        Value::String(text) => vec![hostile(text).into(), hostile(&"x".repeat(100_000)).into()],
        Value::Array(items) => {
            let changed = |i: usize| variants(&items[i]).into_iter().map(move |variant| (i, variant));
            let with = |(i, variant)| {
                let mut items = items.clone();
                items[i] = variant;
                Value::Array(items)
            };
            (0..items.len().min(ENTRIES)).flat_map(changed).map(with).collect()
        }
        Value::Object(object) => {
            let mut all = Vec::new();
            for (i, (key, value)) in object.iter().enumerate().take(ENTRIES.max(60)) {
                for variant in variants(value) {
                    let mut object = object.clone();
                    object.insert(key.clone(), variant);
                    all.push(Value::Object(object));
                }
                if i < ENTRIES {
                    let rename = |(k, v): (&String, &Value)| (if k == key { hostile(k) } else { k.clone() }, v.clone());
                    all.push(Value::Object(object.iter().map(rename).collect()));
                }
            }
            let mut more: Map<String, Value> = object.clone();
            more.insert(hostile("further"), json!(1));
            all.push(Value::Object(more));
            all
        }
        _ => vec![hostile(&value.to_string()).into()],
    }
}

fn copy(source: &Path, target: &Path) {
    fs::create_dir_all(target).unwrap();
    for entry in fs::read_dir(source).unwrap().map(|entry| entry.unwrap().path()) {
        let to = target.join(entry.file_name().unwrap());
        if entry.is_dir() { copy(&entry, &to) } else { fs::copy(&entry, &to).map(drop).unwrap() }
    }
}

fn files(folder: &Path, extension: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            found.extend(files(&entry, extension));
        } else if entry.extension().is_some_and(|e| e == extension) && !entry.ends_with("reference.json") {
            found.push(entry);
        }
    }
    found.sort();
    found
}

/// The versions of a fixture in which one text of one JSON file is hostile. Returns how many loads or calls failed.
fn with_hostile_json(fixture: &str, more: &[(&str, Value)]) -> usize {
    let folder = tempfile::tempdir().unwrap();
    copy(&support::fixtures().join(fixture), folder.path());
    for (name, value) in more {
        fs::write(folder.path().join(name), value.to_string()).unwrap();
    }
    let mut failed = 0;
    for file in files(folder.path(), "json") {
        let original = fs::read(&file).unwrap();
        let variants = variants(&serde_json::from_slice(&original).unwrap());
        for (i, variant) in variants.iter().enumerate().step_by(variants.len().div_ceil(VARIANTS)) {
            fs::write(&file, variant.to_string()).unwrap();
            let what = format!("{fixture}, {}, variant {i}", file.file_name().unwrap().to_string_lossy());
            failed += usize::from(run(folder.path(), &what));
        }
        fs::write(&file, original).unwrap();
    }
    failed
}

#[test]
fn hostile_texts_in_json_files() {
    let index = json!({"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors"}});
    for (fixture, more, least) in [
        ("bert", vec![], 20),
        (
            "bert-classifier",
            vec![("tokenizer_config.json", json!({"unk_token": "[UNK]", "pad_token": {"content": "[PAD]"}}))],
            20,
        ),
        ("generation/t5", vec![], 20),
        (
            "generation/llama",
            vec![(
                "generation_config.json",
                json!({"eos_token_id": 1, "penalty_alpha": 0.5, "watermarking_config": {}}),
            )],
            20,
        ),
        ("onnx/bert", vec![], 1),
        (
            "bert",
            vec![
                ("model.safetensors.index.json", index),
                ("adapter_config.json", json!({"base_model_name_or_path": "a/b", "peft_type": "LORA"})),
            ],
            20,
        ),
    ] {
        let failed = with_hostile_json(fixture, &more);
        assert!(failed >= least, "{fixture}: only {failed} of the versions were refused");
    }
    // Shards that an index names, an adapter, and chat templates.
    let folder = tempfile::tempdir().unwrap();
    copy(&support::fixtures().join("bert"), folder.path());
    fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    for map in [
        json!({HOSTILE: "a.safetensors"}),
        json!({"a": HOSTILE}),
        json!({"a": format!("{}.safetensors", HOSTILE.replace('\0', ""))}),
    ] {
        let index = json!({"weight_map": map});
        fs::write(folder.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
        assert!(run(folder.path(), "a hostile index"));
    }
    fs::remove_file(folder.path().join("config.json")).unwrap();
    let adapter = json!({"base_model_name_or_path": HOSTILE, "peft_type": HOSTILE});
    fs::write(folder.path().join("adapter_config.json"), adapter.to_string()).unwrap();
    assert!(run(folder.path(), "a hostile adapter"));
}

#[test]
fn hostile_chat_templates() {
    let folder = tempfile::tempdir().unwrap();
    copy(&support::fixtures().join("generation/llama"), folder.path());
    for template in [
        format!("{{{{ raise_exception('{HOSTILE}') }}}}"),
        format!("{{{{ 'a' | {HOSTILE} }}}}"),
        format!("{{% {HOSTILE} %}}"),
        format!("{{{{ messages['{HOSTILE}'].b.c }}}}"),
        format!("{{{{ '{HOSTILE}'.unknown() }}}}"),
        format!("{{{{ {{'{HOSTILE}': 1}} + 1 }}}}"),
        format!("{{{{ raise_exception('{}') }}}}", "x".repeat(200_000)),
    ] {
        fs::write(folder.path().join("chat_template.jinja"), &template).unwrap();
        assert!(run(folder.path(), &template));
    }
}

/// Each run of letters of a file, its beginning overwritten by what controls a terminal.
fn with_hostile_names(file: &Path, load: &Path, limit: usize) -> usize {
    let original = fs::read(file).unwrap();
    let head = original.len().min(64 << 10);
    let printable = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let mut failed = 0;
    let mut at = 0;
    let mut count = 0;
    while at < head && count < limit {
        let length = original[at..head].iter().take_while(|byte| printable(byte)).count();
        if length >= 5 {
            count += 1;
            let mut changed = original.clone();
            changed[at..at + 5].copy_from_slice(b"\x1b[2J\n");
            fs::write(file, &changed).unwrap();
            failed += usize::from(run(load, &format!("{}, byte {at}", file.display())));
        }
        at += length.max(1);
    }
    fs::write(file, &original).unwrap();
    failed
}

#[test]
fn hostile_names_in_binary_files() {
    let fixtures = support::fixtures();
    let folder = tempfile::tempdir().unwrap();
    for name in ["llama", "t5", "gpt2"] {
        let file = folder.path().join("model.gguf");
        fs::copy(fixtures.join(format!("generation-gguf/{name}.gguf")), &file).unwrap();
        assert!(with_hostile_names(&file, &file, 150) > 20, "{name}");
        fs::remove_file(&file).unwrap();
    }
    for (fixture, name, source) in [
        ("bert", "model.safetensors", None),
        ("bert", "pytorch_model.bin", Some("torch/harmful.bin")),
        ("bert", "pytorch_model.bin", Some("torch/types.bin")),
        ("bert", "pytorch_model.bin", Some("torch/old.bin")),
        ("generation/t5", "spiece.model", Some("vocabulary/t5.model")),
        ("onnx/bert", "model.onnx", None),
    ] {
        let folder = tempfile::tempdir().unwrap();
        copy(&fixtures.join(fixture), folder.path());
        if let Some(source) = source {
            let replaced = if name.ends_with(".bin") { "model.safetensors" } else { "tokenizer.json" };
            fs::remove_file(folder.path().join(replaced)).unwrap();
            fs::copy(fixtures.join(source), folder.path().join(name)).unwrap();
        }
        let onnx = files(folder.path(), "onnx").into_iter().next();
        let file = onnx.unwrap_or_else(|| folder.path().join(name));
        let failed = with_hostile_names(&file, folder.path(), 60);
        assert!(failed > 0 || name == "spiece.model", "{name}, {source:?}");
    }
}

#[test]
fn hostile_file_names() {
    let name = HOSTILE.replace(['\0', '/'], "");
    let folder = tempfile::tempdir().unwrap();
    // Systems differ in the names that they accept.
    if fs::write(folder.path().join(format!("{name}.h5")), b"x").is_err() {
        eprintln!("skipped: the system accepts no such file name");
        return;
    }
    fs::write(folder.path().join(format!("{name}.onnx")), b"x").unwrap();
    fs::create_dir(folder.path().join(&name)).unwrap();
    copy(&support::fixtures().join("bert"), &folder.path().join(&name).join(&name));
    for path in [folder.path().to_owned(), folder.path().join(&name), folder.path().join(format!("{name}.onnx"))] {
        assert!(run(&path, "a hostile file name"));
    }
}
