//! Opening a model in any format: a Hugging Face directory, a GGUF file, a `.kinglet` file, or an ONNX export.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::files::Files;
use super::gguf::Gguf;
use super::onnx::Export;
use super::packed::{self, Opening, Packed};
use super::weights::Weights;
use crate::base::error::{Error, Result};
use crate::spec::Precision;

/// The contents of a model.
pub struct Source {
    pub files: Files,
    pub weights: Weights,
    /// The precision of a `.kinglet` file.
    pub precision: Option<Precision>,
    /// Set if the model is ONNX graphs; `weights` is then empty.
    pub export: Option<Export>,
}

impl Source {
    /// Opens a directory, or a file whose format is recognised by its first bytes.
    pub fn open(path: &Path, opening: Opening<'_>) -> Result<Self> {
        let kind = std::fs::metadata(path).map_err(|e| Error::io(path, &e))?;
        if kind.is_dir() {
            if !path.join("config.json").exists()
                && let Some(file) = only_model(path)
            {
                return Self::open_file(&file, opening);
            }
            if let Some(export) = Export::find(path) {
                return Self::of_export(export);
            }
            let files = Files::Directory(path.to_owned());
            // The configuration first: its absence shows most clearly that this is not a model.
            if !files.has("config.json") {
                return Err(super::missing::config(path));
            }
            files.require_config("config.json")?;
            return Ok(Self { files, weights: Weights::open(path)?, precision: None, export: None });
        }
        Self::open_file(path, opening)
    }

    fn of_export(export: Export) -> Result<Self> {
        let files = export.files();
        files.require_config("config.json")?;
        Ok(Self { files, weights: Weights::none(export.path()), precision: None, export: Some(export) })
    }

    fn open_file(path: &Path, opening: Opening<'_>) -> Result<Self> {
        if let Some(export) = Export::find(path) {
            return Self::of_export(export);
        }
        let mut magic = [0; 8];
        let (file, _) = super::open_regular(path)?;
        let count = read_some(file, &mut magic).map_err(|e| Error::io(path, &e))?;
        match &magic[..count] {
            [b'G', b'G', b'U', b'F', ..] => {
                let Gguf { weights, config, generation_config, tokenizer, tokenizer_config, pooling } =
                    Gguf::open(path)?;
                let mut files = BTreeMap::from([
                    ("config.json".to_string(), config.to_string().into_bytes()),
                    ("generation_config.json".to_string(), generation_config.to_string().into_bytes()),
                    ("tokenizer.json".to_string(), tokenizer.into_bytes()),
                    ("tokenizer_config.json".to_string(), tokenizer_config.to_string().into_bytes()),
                ]);
                if let Some((modules, pooling)) = pooling {
                    files.insert("modules.json".to_string(), modules.to_string().into_bytes());
                    files.insert("1_Pooling/config.json".to_string(), pooling.to_string().into_bytes());
                }
                Ok(Self {
                    files: Files::Inside { path: path.to_owned(), files },
                    weights,
                    precision: None,
                    export: None,
                })
            }
            magic if *magic == packed::MAGIC => {
                let Packed { weights, precision, files } = Packed::open(path, opening)?;
                let files = Files::Inside { path: path.to_owned(), files };
                Ok(Self { files, weights, precision: Some(precision), export: None })
            }
            _ => Err(Error::invalid_file(
                path,
                "not a model: pass a directory with config.json, tokenizer.json and model.safetensors, a .gguf, \
                 .kinglet or .onnx file",
            )),
        }
    }
}

/// Reads until the buffer is full or the file ends.
fn read_some(mut file: File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut count = 0;
    while count < buffer.len() {
        match file.read(&mut buffer[count..])? {
            0 => break,
            n => count += n,
        }
    }
    Ok(count)
}

/// The one GGUF or `.kinglet` file of a directory, if there is exactly one.
fn only_model(directory: &Path) -> Option<PathBuf> {
    let paths = std::fs::read_dir(directory).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut found = paths.filter(|path| path.extension().is_some_and(|e| e == "gguf" || e == "kinglet"));
    let first = found.next()?;
    found.next().is_none().then_some(first)
}
