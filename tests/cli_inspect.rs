//! `kinglet inspect` and `kinglet inspect --check`.

#![cfg(feature = "cli")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

/// Those that this build has; the last one differs from the default if any does.
const DEVICES: &[&str] = if cfg!(feature = "candle") { &["cpu", "candle-cpu"] } else { &["cpu"] };

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn inspect(model: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kinglet"));
    command.arg("inspect").arg("--model").arg(model).args(arguments).output().unwrap()
}

/// Its standard output, of a run with that exit status.
fn printed(model: &Path, arguments: &[&str], status: i32) -> String {
    let output = inspect(model, arguments);
    assert_eq!(output.status.code(), Some(status), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn checked(model: &Path, status: i32) -> Value {
    serde_json::from_str(&printed(model, &["--check", "--json"], status)).unwrap()
}

/// A copy of a fixture's files, of which `change` writes some anew.
fn copy(name: &str, change: impl FnOnce(&Path)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixture(name)).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    change(folder.path());
    folder
}

fn edit(file: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = fs::read_to_string(file).map_or(json!({}), |text| serde_json::from_str(&text).unwrap());
    change(&mut value);
    fs::write(file, value.to_string()).unwrap();
}

#[test]
fn experts_are_described_and_missing_ones_are_named() {
    let info: Value = serde_json::from_str(&printed(&fixture("generation/qwen2_moe"), &["--json"], 0)).unwrap();
    let expected = json!({"count": 5, "per_token": 2, "intermediate": 12, "shared_intermediate": 20});
    assert_eq!(info["decoder"]["experts"], expected);
    let damaged = copy("generation/qwen2_moe", |folder| {
        let file = folder.join("model.safetensors");
        let (mut bytes, name) = (fs::read(&file).unwrap(), b"layers.1.mlp.experts.3.up_proj");
        let at = bytes.windows(name.len()).position(|window| window == name).unwrap();
        bytes[at + name.len() - 1] = b'x';
        fs::write(file, bytes).unwrap();
    });
    let many = copy("generation/qwen2_moe", |folder| {
        edit(&folder.join("config.json"), |config| config["num_experts_per_tok"] = 6.into());
    });
    for (folder, what) in [
        (damaged, "there is no tensor `model.layers.1.mlp.experts.3.up_proj.weight`"),
        (many, "config.json: a token has 6 of 5 experts"),
    ] {
        let output = inspect(folder.path(), &[]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(what), "{error}");
    }
}

#[test]
fn inspection_names_family_spec_and_kernels() {
    let info =
        serde_json::from_str::<Value>(&printed(&fixture("bert-classifier"), &["--json", "--precision", "int8"], 0))
            .unwrap();
    assert_eq!((&info["family"], &info["precision"]), (&json!("bert"), &json!("int8")));
    assert_eq!(info["encoder"]["hidden"], 36);
    assert_eq!(info["labels"], json!(["NEGATIVE", "POSITIVE"]));
    let table = printed(&fixture("bert"), &["--device", DEVICES[DEVICES.len() - 1]], 0);
    for part in [
        "family          bert\n",
        DEVICES[DEVICES.len() - 1],
        "pooling         mean\n",
        "normalised      yes\n",
        "  hidden        32\n",
    ] {
        assert!(table.contains(part), "no {part:?} in {table}");
    }
}

#[test]
fn a_check_says_which_verbs_work_and_why_others_do_not() {
    let found = checked(&fixture("bert"), 0);
    assert_eq!((&found["runs"], &found["error"], &found["family"]), (&json!(true), &json!(null), &json!("bert")));
    let refused = &found["refused"];
    assert_eq!((&refused["embed"], &refused["tokenize"]), (&json!(null), &json!(null)));
    assert!(refused["generate"].as_str().unwrap().contains("bert generates no text"), "{refused}");
    assert!(refused["classify"].as_str().unwrap().contains("head"), "{refused}");

    let found = checked(&fixture("generation/llama"), 0);
    assert_eq!(found["refused"]["generate"], json!(null), "{found}");
    let table = printed(&fixture("bert-classifier"), &["--check"], 0);
    for part in ["runs            yes\n", "classify        yes\n", "generate        no: ", "weights         "] {
        assert!(table.contains(part), "no {part:?} in {table}");
    }
}

#[test]
fn a_check_names_what_is_not_honoured() {
    let folder = copy("generation/llama", |path| {
        edit(&path.join("generation_config.json"), |config| {
            config["penalty_alpha"] = json!(0.6);
            config["top_k"] = json!(4);
        });
        edit(&path.join("config.json"), |config| config["quite_new_field"] = json!(true));
    });
    let found = checked(folder.path(), 0);
    let warnings = found["warnings"].to_string();
    assert!(warnings.contains("penalty_alpha") && warnings.contains("quite_new_field"), "{warnings}");
}

#[test]
fn a_check_of_what_does_not_load_fails_with_the_reason() {
    let folder =
        copy("bert", |path| edit(&path.join("config.json"), |config| config["model_type"] = json!("reformer")));
    let found = checked(folder.path(), 1);
    assert_eq!((&found["runs"], &found["family"]), (&json!(false), &json!(null)));
    assert!(found["error"].as_str().unwrap().contains("reformer"), "{found}");
    let output = inspect(folder.path(), &["--check"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("reformer"));

    // It loads, but nothing can be done with text.
    let folder = copy("bert", |path| fs::remove_file(path.join("tokenizer.json")).unwrap());
    let found = checked(folder.path(), 1);
    assert_eq!((&found["runs"], &found["error"], &found["family"]), (&json!(false), &json!(null), &json!("bert")));
    assert!(found["refused"]["tokenize"].as_str().unwrap().contains("tokenizer.json: not found"), "{found}");
}
