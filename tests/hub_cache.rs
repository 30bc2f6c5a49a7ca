//! Models by their name on the Hugging Face hub, from its local cache: through the command line, because the place of the cache is in the
//! environment.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::fixtures;

const COMMIT: &str = "5c38ec7c405ec4b44b94cc5a9bb96e735b38267a";

/// A cache as huggingface_hub writes it: the files of a snapshot are links into `blobs`.
fn cache(hub: &Path, name: &str, fixture: &str) {
    let entry = hub.join(format!("models--{}", name.replace('/', "--")));
    let snapshot = entry.join("snapshots").join(COMMIT);
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir_all(entry.join("blobs")).unwrap();
    std::fs::create_dir_all(entry.join("refs")).unwrap();
    std::fs::write(entry.join("refs/main"), COMMIT).unwrap();
    link(&fixtures().join(fixture), &snapshot, Path::new("../../blobs"));
}

fn link(from: &Path, to: &Path, blobs: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let name = entry.file_name();
        if entry.path().is_dir() {
            link(&entry.path(), &to.join(&name), &Path::new("..").join(blobs));
            continue;
        }
        let blob = blobs.join(format!("{}-{}", from.file_name().unwrap().display(), name.display()));
        std::fs::copy(entry.path(), to.join(&blob)).unwrap();
        std::os::unix::fs::symlink(blob, to.join(name)).unwrap();
    }
}

fn kinglet(variables: &[(&str, PathBuf)], arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kinglet"));
    for name in ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME"] {
        command.env_remove(name);
    }
    // A folder without models, so that no name is a path.
    command.current_dir(fixtures().join("bert")).args(arguments).envs(variables.iter().cloned()).output().unwrap()
}

fn embed(variables: &[(&str, PathBuf)], model: &str) -> Result<String, String> {
    let output = kinglet(variables, &["embed", "--model", model, "--precision", "f32", "--json", "a small bird"]);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

#[test]
fn a_name_is_found_wherever_the_cache_may_be() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let expected = embed(&[], fixtures().join("bert").to_str().unwrap()).unwrap();
    for (hub, variables) in [
        (".cache/huggingface/hub", vec![("HOME", home.to_owned())]),
        ("xdg/huggingface/hub", vec![("HOME", home.to_owned()), ("XDG_CACHE_HOME", home.join("xdg"))]),
        ("hf/hub", vec![("XDG_CACHE_HOME", home.join("no")), ("HF_HOME", home.join("hf"))]),
        ("own", vec![("HF_HOME", home.join("no")), ("HF_HUB_CACHE", home.join("own"))]),
        ("tilde", vec![("HOME", home.to_owned()), ("HF_HUB_CACHE", PathBuf::from("~/tilde"))]),
    ] {
        let missing = embed(&variables, "owner/bert").unwrap_err();
        assert!(missing.contains(home.join(hub).to_str().unwrap()), "{missing}");
        assert!(missing.contains("hf download owner/bert"), "{missing}");
        cache(&home.join(hub), "owner/bert", "bert");
        assert_eq!(embed(&variables, "owner/bert").as_ref(), Ok(&expected), "{hub}");
    }
}

#[test]
fn files_and_other_verbs() {
    let hub = tempfile::tempdir().unwrap();
    let variables = [("HF_HUB_CACHE", hub.path().to_owned())];
    cache(hub.path(), "owner/files", "generation-gguf");
    cache(hub.path(), "bert", "bert");
    let first = std::fs::read_dir(fixtures().join("generation-gguf")).unwrap().flatten().map(|file| file.file_name());
    let first = first.filter_map(|name| name.into_string().ok()).find(|name| name.ends_with(".gguf")).unwrap();
    let output = kinglet(&variables, &["inspect", "--model", &format!("owner/files/{first}")]);
    assert!(output.status.success(), "{output:?}");
    let missing = embed(&variables, "owner/files/none.gguf").unwrap_err();
    assert!(missing.contains("hf download owner/files none.gguf"), "{missing}");
    let packed = hub.path().join("bert.kinglet");
    let output = kinglet(&variables, &["quantize", "--precision", "int8", "bert", packed.to_str().unwrap()]);
    assert!(output.status.success() && packed.is_file(), "{output:?}");
    // A path that is no name is an error as ever.
    let error = embed(&variables, "/no/such/model").unwrap_err();
    assert!(error.contains("No such file") && !error.contains("cache"), "{error}");
}
