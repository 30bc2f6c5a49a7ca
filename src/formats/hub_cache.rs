//! Models in the local cache of the Hugging Face hub, by their name there: `sentence-transformers/all-MiniLM-L6-v2`, or a file of such a
//! model: `ggml-org/SmolLM2-135M-Instruct-GGUF/model.gguf`. Nothing is ever downloaded.
//!
//! The layout and the variables are those of `huggingface_hub`: `models--OWNER--NAME/refs/main` holds the name of a folder in `snapshots/`.

use std::path::{Component, Path, PathBuf};

use super::quoted;
use crate::base::error::{Error, Result, Status};
use crate::base::libraries::variable;

/// The maximum length of a name, as on the hub.
const NAME_LIMIT: usize = 96;

/// The path itself if something is there or if it cannot be a name; else the snapshot of the model with this name.
///
/// # Errors
/// There is no such model in the cache.
pub fn resolve(path: &Path) -> Result<PathBuf> {
    let missing = std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
    match Name::of(path) {
        Some(name) if missing => name.find(folder().as_deref()),
        _ => Ok(path.to_owned()),
    }
}

/// The folder of the cache.
fn folder() -> Option<PathBuf> {
    let home = || variable("HOME");
    let expanded = |path: PathBuf| match path.strip_prefix("~") {
        Ok(rest) => home().map_or_else(|| path.clone(), |home| home.join(rest)),
        Err(_) => path,
    };
    let hub = variable("HF_HUB_CACHE").or_else(|| variable("HUGGINGFACE_HUB_CACHE"));
    hub.or_else(|| Some(variable("HF_HOME")?.join("hub")))
        .or_else(|| Some(variable("XDG_CACHE_HOME")?.join("huggingface/hub")))
        .or_else(|| Some(home()?.join(".cache/huggingface/hub")))
        .map(expanded)
}

/// The snapshot in an entry of the cache that `refs/main` names, or else the only one; the names of all if there are several.
pub fn snapshot(entry: &Path) -> std::result::Result<PathBuf, Vec<String>> {
    let snapshots = entry.join("snapshots");
    let main = super::read_if_exists(&entry.join("refs/main"), 100).ok().flatten();
    let main = main.and_then(|name| String::from_utf8(name).ok()).map(|name| name.trim().to_owned());
    let main = main.filter(|name| is_part(name)).map(|name| snapshots.join(name)).filter(|path| path.is_dir());
    main.map_or_else(
        || {
            let entries = std::fs::read_dir(&snapshots).into_iter().flatten().flatten();
            let folders = entries.filter(|entry| entry.path().is_dir());
            let mut names: Vec<String> =
                folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            if let [only] = &names[..] { Ok(snapshots.join(only)) } else { Err(names) }
        },
        Ok,
    )
}

fn is_part(name: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && name.chars().all(known) && !name.contains("..") && !name.contains("--")
}

/// The name of a model, and of a file in it.
#[derive(Debug, PartialEq)]
struct Name {
    /// `OWNER/NAME`, or `NAME` of the first models.
    model: String,
    file: PathBuf,
}

impl Name {
    /// None if the hub has no such names.
    fn of(path: &Path) -> Option<Self> {
        let parts: Option<Vec<&str>> = path
            .components()
            .map(|part| if let Component::Normal(part) = part { part.to_str() } else { None })
            .collect();
        let parts = parts?;
        let (model, file) = parts.split_at(parts.len().min(2));
        let model = model.join("/");
        let is_name = !model.is_empty() && model.len() <= NAME_LIMIT && model.split('/').all(is_part);
        is_name.then(|| Self { model, file: file.iter().collect() })
    }

    fn find(&self, cache: Option<&Path>) -> Result<PathBuf> {
        let Self { model, file } = self;
        let name = Path::new(model).join(file);
        let error = |what: String| Err(Error::new(Status::NotFound, format!("{}: {what}", name.display())));
        let Some(cache) = cache else {
            return error(
                "there is no such file or folder, and HOME is not set, so there is no Hugging Face cache".to_owned(),
            );
        };
        let entry = cache.join(format!("models--{}", model.replace('/', "--")));
        let found = match snapshot(&entry) {
            Ok(found) => found.join(file),
            Err(names) if names.is_empty() => {
                let cache = cache.display();
                return error(format!(
                    "there is no such file or folder, and no model of this name in the Hugging Face cache, {cache}; to download it: hf \
                     download {model}"
                ));
            }
            Err(names) => {
                let names = names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
                return error(format!("{} has no refs/main and several snapshots: {names}; pass one", entry.display()));
            }
        };
        if !found.exists() {
            let (file, found) = (file.display(), found.display());
            return error(format!("there is no {found}; to download it: hf download {model} {file}"));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_hub() {
        let name = |text: &str| Name::of(Path::new(text)).map(|name| (name.model, name.file.display().to_string()));
        let is = |model: &str, file: &str| Some((model.to_owned(), file.to_owned()));
        assert_eq!(name("gpt2"), is("gpt2", ""));
        assert_eq!(name("intfloat/e5-small_v2.1"), is("intfloat/e5-small_v2.1", ""));
        assert_eq!(name("o/n/onnx/model.onnx"), is("o/n", "onnx/model.onnx"));
        let long = format!("o/{}", "n".repeat(95));
        for text in
            ["", "/models/gpt2", "./gpt2", "../gpt2", "o/..", "o/a--b", "a b", "o/n\u{e9}", "~/gpt2", long.as_str()]
        {
            assert_eq!(name(text), None, "{text}");
        }
    }

    #[test]
    fn the_snapshot_of_main_or_the_only_one() {
        let cache = tempfile::tempdir().unwrap();
        let name = Name::of(Path::new("owner/model/file.gguf")).unwrap();
        let find = || name.find(Some(cache.path()));
        let error = || find().unwrap_err().to_string();
        assert!(error().ends_with("hf download owner/model"), "{}", error());
        let entry = cache.path().join("models--owner--model");
        std::fs::create_dir_all(entry.join("snapshots/1a")).unwrap();
        assert!(error().ends_with("hf download owner/model file.gguf"), "{}", error());
        std::fs::write(entry.join("snapshots/1a/file.gguf"), "").unwrap();
        assert_eq!(find().unwrap(), entry.join("snapshots/1a/file.gguf"));
        std::fs::create_dir_all(entry.join("snapshots/2b")).unwrap();
        assert!(error().contains("several snapshots: `1a`, `2b`"), "{}", error());
        std::fs::create_dir_all(entry.join("refs")).unwrap();
        std::fs::write(entry.join("refs/main"), "1a\n").unwrap();
        assert_eq!(find().unwrap(), entry.join("snapshots/1a/file.gguf"));
        // A name that leads elsewhere is not followed.
        std::fs::write(entry.join("refs/main"), "..").unwrap();
        assert!(error().contains("several snapshots"), "{}", error());
        assert!(name.find(None).is_err());
    }
}
