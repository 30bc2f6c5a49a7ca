//! Folders that are not models, as users pass them: the error says what was found, what is missing and what helps. And folders that are
//! models although their files are old or odd.

mod support;

use std::path::Path;

use kinglet::{ClassifyOptions, Device, EmbedOptions, LoadOptions, Model, Precision, Status};
use support::{copy_of, fixtures, load};

/// Writes files, and folders where a name ends in a slash.
fn folder(names: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        let path = folder.path().join(name);
        if name.ends_with('/') {
            std::fs::create_dir_all(&path).unwrap();
            continue;
        }
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let content = match path.file_name().unwrap().to_str().unwrap() {
            "main" => "0123abcd\n".to_string(),
            "config.json" => std::fs::read_to_string(fixtures().join("bert/config.json")).unwrap(),
            _ => "{}".to_string(),
        };
        std::fs::write(path, content).unwrap();
    }
    folder
}

#[test]
fn errors_say_what_was_found_and_what_helps() {
    const SHARDS: [&str; 3] = ["config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    for (files, words) in [
        (&["adapter_config.json", "adapter_model.safetensors"][..], &["adapter_config.json", "merge_and_unload"][..]),
        (&["config.json", "adapter_config.json", "adapter_model.safetensors"], &["an adapter", "merge_and_unload"]),
        (
            &["blobs/", "refs/main", "snapshots/0123abcd/config.json", "snapshots/zzzz/config.json"],
            &["top of a cache", "snapshots/0123abcd"],
        ),
        (&["blobs/", "snapshots/4567/config.json"], &["top of a cache", "snapshots/4567"]),
        (&["README.md", "0_Transformer/config.json"], &["one in `0_Transformer/`", "pass "]),
        (&["README.md", "model.safetensors"], &["no config.json", "`README.md`, `model.safetensors`", "hf download"]),
        (&[], &["the folder is empty"]),
        (&SHARDS, &["`model-00001-of-00002.safetensors`", "not model.safetensors.index.json", "hf download"]),
        (&["config.json", "pytorch_model-00001-of-00002.bin"], &["not pytorch_model.bin.index.json", "hf download"]),
        (&["config.json", "weights.safetensors"], &["only `weights.safetensors`", "rename"]),
        (&["config.json", "tf_model.h5"], &["`tf_model.h5`", "save_pretrained"]),
        (&["config.json"], &["found neither model.safetensors", "hf download"]),
    ] {
        let folder = folder(files);
        let error = Model::load(folder.path(), LoadOptions::default()).err().unwrap_or_else(|| panic!("{files:?}"));
        assert_eq!(error.status(), Status::NotFound, "{error}");
        let message = error.message().replace('\\', "/");
        assert!(error.message().starts_with(folder.path().to_str().unwrap()), "{error}");
        for word in words {
            assert!(message.contains(word), "{files:?}: {word:?} is not in {error}");
        }
    }
}

fn embeddings(path: &Path) -> Vec<f32> {
    let model = load(path, Device::Cpu, Precision::F32, 1);
    model.embed(&["The small bird sings.", "near the river"], &EmbedOptions::default()).unwrap().values
}

/// A copy of a fixture in which a checkpoint of PyTorch replaces the safetensors.
fn with_checkpoint(name: &str) -> tempfile::TempDir {
    let folder = copy_of(&fixtures().join("bert"), |name| name == "model.safetensors");
    std::fs::copy(fixtures().join("torch").join(name), folder.path().join("pytorch_model.bin")).unwrap();
    folder
}

#[test]
fn checkpoints_of_pytorch_give_the_same_bits() {
    let original = embeddings(&fixtures().join("bert"));
    for name in ["zip.bin", "old.bin"] {
        assert_eq!(embeddings(with_checkpoint(name).path()), original, "{name}");
    }
}

#[test]
fn shards_of_checkpoints_are_one_model() {
    let folder = with_checkpoint("zip.bin");
    let original = kinglet::formats::weights::Weights::open(&fixtures().join("bert")).unwrap();
    let shard = "pytorch_model-00001-of-00001.bin";
    std::fs::rename(folder.path().join("pytorch_model.bin"), folder.path().join(shard)).unwrap();
    let map: serde_json::Map<_, _> = original.names().map(|name| (name.to_owned(), shard.into())).collect();
    let index = serde_json::json!({"weight_map": map}).to_string();
    std::fs::write(folder.path().join("pytorch_model.bin.index.json"), index).unwrap();
    assert_eq!(embeddings(folder.path()), embeddings(&fixtures().join("bert")));
}

#[test]
fn old_models_are_quantized_with_their_vocabulary() {
    let folder = with_checkpoint("old.bin");
    let vocabulary = folder.path().join("vocab.txt");
    std::fs::copy(fixtures().join("vocabulary/bert.txt"), vocabulary).unwrap();
    std::fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    let direct = embeddings(folder.path());
    assert_eq!(direct, embeddings(&fixtures().join("bert")));
    let packed = folder.path().join("model.kinglet");
    kinglet::quantize(folder.path(), &packed, Precision::F32, &mut |_| true).unwrap();
    assert_eq!(embeddings(&packed), direct);
}

#[test]
fn settings_as_python_reads_them() {
    let folder = copy_of(&fixtures().join("bert-classifier"), |_| false);
    let path = folder.path().join("config.json");
    let mut config: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let labels = |path: &Path| {
        let model = load(path, Device::Cpu, Precision::F32, 1);
        let scores = model.classify(&["The small bird"], None, &ClassifyOptions::default()).unwrap().scores;
        (model.labels().to_vec(), scores)
    };
    let (names, scores) = labels(folder.path());
    config["id2label"] = names.iter().rev().map(String::as_str).collect();
    config["classifier_dropout"] = "DROPOUT".into();
    let text = config.to_string().replace("\"DROPOUT\"", "NaN");
    std::fs::write(&path, format!("\u{feff}{text}")).unwrap();
    let (listed, same) = labels(folder.path());
    assert_eq!((listed.into_iter().rev().collect::<Vec<_>>(), same), (names, scores));
}

/// A model of a class whose default is the number of its positions.
#[test]
fn absent_positions_are_those_of_the_class() {
    let folder = copy_of(&fixtures().join("generation/llama"), |name| name == "tokenizer_config.json");
    let path = folder.path().join("config.json");
    let mut config: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    config.as_object_mut().unwrap().remove("max_position_embeddings").unwrap();
    std::fs::write(&path, config.to_string()).unwrap();
    assert_eq!(load(folder.path(), Device::Cpu, Precision::F32, 1).max_length(), 2048);
}
