//! The configuration and tokenizer files of a model: in a directory, or embedded in one file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::json::{self, CONFIG_LIMIT, Config};
use crate::base::error::{Error, Result};

/// Finds a model's configuration, tokenizer and other small files by name.
#[derive(Clone, Debug)]
pub struct Files {
    place: Place,
    /// The folder that names are relative to, with a `/` at its end; empty for the top.
    folder: String,
    /// Files that stand for others of the same name, by their names from the top.
    made: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone, Debug)]
enum Place {
    Directory(PathBuf),
    /// Embedded in the file at `path`.
    Inside {
        path: PathBuf,
        files: Arc<BTreeMap<String, Vec<u8>>>,
    },
}

impl Files {
    pub fn in_directory(path: &Path) -> Self {
        Self { place: Place::Directory(path.to_owned()), folder: String::new(), made: BTreeMap::new() }
    }

    /// Those that the file at `path` embeds.
    pub fn inside(path: &Path, files: BTreeMap<String, Vec<u8>>) -> Self {
        let place = Place::Inside { path: path.to_owned(), files: Arc::new(files) };
        Self { place, folder: String::new(), made: BTreeMap::new() }
    }

    /// The files of a folder below this one: a relative path with `/`, which [`super::modules`] has checked. Empty: the same files.
    pub fn folder(&self, name: &str) -> Self {
        let folder = if name.is_empty() { self.folder.clone() } else { format!("{}{name}/", self.folder) };
        Self { folder, ..self.clone() }
    }

    /// The files of the top, whatever folder these are of.
    pub fn top(&self) -> Self {
        Self { folder: String::new(), ..self.clone() }
    }

    /// Puts a file in place of the one with this name.
    pub fn make(&mut self, file: &str, contents: Vec<u8>) {
        self.made.insert(self.key(file), contents);
    }

    /// The directory, or the file that embeds the others.
    pub fn path(&self) -> &Path {
        match &self.place {
            Place::Directory(path) | Place::Inside { path, .. } => path,
        }
    }

    /// A file's name from the top, which it has in a `.kinglet` file.
    pub fn key(&self, file: &str) -> String {
        format!("{}{file}", self.folder)
    }

    /// The path of a file, for errors.
    pub fn name(&self, file: &str) -> PathBuf {
        self.path().join(&self.folder).join(file)
    }

    /// Whether there is such a file, or a link that leads nowhere, whose error is for whoever reads it.
    pub fn has(&self, file: &str) -> bool {
        let made = self.made.contains_key(&self.key(file));
        made || match &self.place {
            Place::Directory(_) => std::fs::symlink_metadata(self.name(file)).is_ok(),
            Place::Inside { files, .. } => files.contains_key(&self.key(file)),
        }
    }

    /// The contents of a file of at most `limit` bytes, or None if there is no such file.
    pub fn bytes(&self, file: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let found = match (self.made.get(&self.key(file)), &self.place) {
            (Some(bytes), _) => Some(bytes),
            (None, Place::Directory(_)) => return super::read_if_exists(&self.name(file), limit),
            (None, Place::Inside { files, .. }) => files.get(&self.key(file)),
        };
        match found {
            Some(bytes) if bytes.len() as u64 > limit => Err(Error::invalid_file(
                &self.name(file),
                format!("the file has {} bytes; the maximum is {limit}", bytes.len()),
            )),
            found => Ok(found.cloned()),
        }
    }

    pub fn text(&self, file: &str, limit: u64) -> Result<Option<String>> {
        let text = self.bytes(file, limit)?.map(String::from_utf8).transpose();
        text.map_err(|_| Error::invalid_file(&self.name(file), "the file is not UTF-8"))
    }

    pub fn json(&self, file: &str) -> Result<Option<Value>> {
        let text = self.bytes(file, CONFIG_LIMIT)?;
        text.map(|text| json::parse(&self.name(file), &text, CONFIG_LIMIT)).transpose()
    }

    pub fn config(&self, file: &str) -> Result<Option<Config>> {
        self.json(file)?.map(|value| Config::from_value(&self.name(file), value)).transpose()
    }

    /// A configuration file that must exist.
    pub fn require_config(&self, file: &str) -> Result<Config> {
        if let Some(config) = self.config(file)? {
            return Ok(config);
        }
        match &self.place {
            Place::Directory(_) => Config::open(&self.name(file)),
            Place::Inside { path, .. } => {
                Err(Error::invalid_file(path, format!("there is no {} inside", self.key(file))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_relative_to_the_folder_and_made_files_come_first() {
        let inside = BTreeMap::from([
            ("config.json".to_string(), b"{}".to_vec()),
            ("0_Transformer/config.json".to_string(), b"{\"a\": 1}".to_vec()),
        ]);
        let top = Files::inside(Path::new("m.kinglet"), inside);
        let mut below = top.folder("0_Transformer");
        assert!(below.require_config("config.json").unwrap().has("a"));
        assert!(!below.top().require_config("config.json").unwrap().has("a"));
        assert_eq!(below.key("config.json"), "0_Transformer/config.json");
        assert_eq!(below.name("config.json"), Path::new("m.kinglet/0_Transformer/config.json"));
        below.make("config.json", b"{\"b\": 2}".to_vec());
        assert!(below.require_config("config.json").unwrap().has("b"));
        assert_eq!(below.folder("").key("x"), "0_Transformer/x");
        let error = below.require_config("absent.json").unwrap_err();
        assert!(error.message().contains("m.kinglet: there is no 0_Transformer/absent.json inside"), "{error}");
    }
}
