//! The configuration and tokenizer files of a model: in a directory, or embedded in one file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::json::{self, CONFIG_LIMIT, Config};
use crate::base::error::{Error, Result};

/// Finds a model's configuration, tokenizer and other small files by name.
#[derive(Clone, Debug)]
pub enum Files {
    Directory(PathBuf),
    /// Embedded in the file at `path`.
    Inside {
        path: PathBuf,
        files: BTreeMap<String, Vec<u8>>,
    },
}

impl Files {
    /// The directory, or the file that embeds the others.
    pub fn path(&self) -> &Path {
        match self {
            Self::Directory(path) | Self::Inside { path, .. } => path,
        }
    }

    /// The path of a file, for errors.
    pub fn name(&self, file: &str) -> PathBuf {
        self.path().join(file)
    }

    /// Whether there is such a file, or a link that leads nowhere, whose error is for whoever reads it.
    pub fn has(&self, file: &str) -> bool {
        match self {
            Self::Directory(path) => std::fs::symlink_metadata(path.join(file)).is_ok(),
            Self::Inside { files, .. } => files.contains_key(file),
        }
    }

    /// The contents of a file of at most `limit` bytes, or None if there is no such file.
    pub fn bytes(&self, file: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        match self {
            Self::Directory(path) => super::read_if_exists(&path.join(file), limit),
            Self::Inside { files, .. } => match files.get(file) {
                Some(bytes) if bytes.len() as u64 > limit => Err(Error::invalid_file(
                    &self.name(file),
                    format!("the file has {} bytes; the maximum is {limit}", bytes.len()),
                )),
                found => Ok(found.cloned()),
            },
        }
    }

    pub fn text(&self, file: &str, limit: u64) -> Result<Option<String>> {
        let text = self.bytes(file, limit)?.map(String::from_utf8).transpose();
        text.map_err(|_| Error::invalid_file(&self.name(file), "the file is not UTF-8"))
    }

    pub fn json(&self, file: &str) -> Result<Option<Value>> {
        match self {
            Self::Directory(path) => json::read_if_exists(&path.join(file), CONFIG_LIMIT),
            Self::Inside { files, .. } => {
                files.get(file).map(|text| json::parse(&self.name(file), text, CONFIG_LIMIT)).transpose()
            }
        }
    }

    pub fn config(&self, file: &str) -> Result<Option<Config>> {
        self.json(file)?.map(|value| Config::from_value(&self.name(file), value)).transpose()
    }

    /// A configuration file that must exist.
    pub fn require_config(&self, file: &str) -> Result<Config> {
        match self {
            Self::Directory(path) => Config::open(&path.join(file)),
            Self::Inside { path, .. } => {
                self.config(file)?.ok_or_else(|| Error::invalid_file(path, format!("there is no {file} inside")))
            }
        }
    }
}
