//! Opening a model in any format: a Hugging Face directory, a GGUF file, a `.kinglet` file, or an ONNX export.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::files::Files;
use super::gguf::{Gguf, split};
use super::missing;
use super::modules::{self, Entry};
use super::onnx::Export;
use super::packed::{self, Opening, Packed};
use super::quantised;
use super::weights::Weights;
use crate::base::error::{Error, Result, Status};
use crate::spec::Precision;

const CONFIG: &str = "config.json";

/// The module of sentence-transformers that is a table of word embeddings and nothing else.
const STATIC: &str = "StaticEmbedding";

/// The contents of a model.
pub struct Source {
    /// Those of the transformer's folder; sentence-transformers' lie at their top.
    pub files: Files,
    pub weights: Weights,
    /// The precision of a `.kinglet` file.
    pub precision: Option<Precision>,
    /// What the calibration of a `.kinglet` file chose.
    pub calibration: Option<Value>,
    /// Set if the model is ONNX graphs; `weights` is then empty.
    pub export: Option<Export>,
}

impl Source {
    /// Opens a directory, or a file whose format is recognised by its first bytes.
    pub fn open(path: &Path, opening: Opening<'_>) -> Result<Self> {
        let kind = std::fs::metadata(path).map_err(|e| Error::io(path, &e))?;
        let read = opening.read;
        let mut source =
            if kind.is_dir() { Self::open_directory(path, opening)? } else { Self::open_file(path, opening)? };
        // A `.kinglet` file was not even mapped.
        if read && source.precision.is_none() {
            source.weights.read_into_memory()?;
        }
        Ok(source)
    }

    fn open_directory(path: &Path, opening: Opening<'_>) -> Result<Self> {
        let top = Files::in_directory(path);
        let modules = modules::read(&top)?.unwrap_or_default();
        let first = modules.first().map_or("", |first| first.folder.as_str());
        let (mut files, folder) = (top.folder(first), path.join(first));
        if !folder.join(CONFIG).exists()
            && let Some(file) = only_model(path)
        {
            return Self::open_file(&file, opening);
        }
        if modules.first().is_some_and(|first| first.kind == STATIC) {
            let weights = static_embedding(&mut files, &folder)?;
            return Ok(Self { files, weights, precision: None, calibration: None, export: None });
        }
        if let Some(export) = Export::find(&folder) {
            return Self::of_export(export);
        }
        // The configuration first: its absence shows most clearly that this is not a model.
        if files.config(CONFIG)?.is_none() {
            return Err(missing::config(&folder));
        }
        let mut weights = Weights::open(&folder)?;
        quantised::combine(&mut weights, &files.require_config(CONFIG)?)?;
        add_modules(&mut weights, path, &modules, true)?;
        Ok(Self { files, weights, precision: None, calibration: None, export: None })
    }

    fn of_export(export: Export) -> Result<Self> {
        let top = export.files();
        let modules = modules::read(&top)?.unwrap_or_default();
        let files = top.folder(modules.first().map_or("", |first| &first.folder));
        files.require_config(CONFIG)?;
        let mut weights = Weights::none(export.path());
        // A graph may have the modules inside.
        add_modules(&mut weights, top.path(), &modules, false)?;
        Ok(Self { files, weights, precision: None, calibration: None, export: Some(export) })
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
                    (CONFIG.to_string(), config.to_string().into_bytes()),
                    ("generation_config.json".to_string(), generation_config.to_string().into_bytes()),
                    ("tokenizer.json".to_string(), tokenizer.into_bytes()),
                    ("tokenizer_config.json".to_string(), tokenizer_config.to_string().into_bytes()),
                ]);
                if let Some((modules, pooling)) = pooling {
                    files.insert(modules::FILE.to_string(), modules.to_string().into_bytes());
                    files.insert("1_Pooling/config.json".to_string(), pooling.to_string().into_bytes());
                }
                Ok(Self {
                    files: Files::inside(path, files),
                    weights,
                    precision: None,
                    calibration: None,
                    export: None,
                })
            }
            magic if *magic == packed::MAGIC => {
                let Packed { weights, precision, files, calibration } = Packed::open(path, opening)?;
                let top = Files::inside(path, files);
                let modules = modules::read(&top)?.unwrap_or_default();
                let files = top.folder(modules.first().map_or("", |first| &first.folder));
                Ok(Self { files, weights, precision: Some(precision), calibration, export: None })
            }
            _ => Err(Error::invalid_file(
                path,
                "not a model: pass a directory with config.json, tokenizer.json and model.safetensors, a .gguf, \
                 .kinglet or .onnx file",
            )),
        }
    }
}

/// Adds the tensors of the modules that have some, behind the names of their folders. Unless they are `needed`, absent ones are left
/// out.
fn add_modules(weights: &mut Weights, top: &Path, modules: &[Entry], needed: bool) -> Result<()> {
    let own = |module: &&Entry| matches!(module.kind.as_str(), "Dense" | "LayerNorm") && !module.folder.is_empty();
    for Entry { folder, .. } in modules.iter().skip(1).filter(own) {
        match Weights::open(&top.join(folder)) {
            Ok(more) => weights.add(more, &format!("{folder}/")),
            Err(error) if !needed && error.status() == Status::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The tensors of a `StaticEmbedding`, which has no configuration: one is made of the table's shape.
fn static_embedding(files: &mut Files, folder: &Path) -> Result<Weights> {
    const TABLE: &str = "embedding.weight";
    let mut weights = Weights::open(folder)?;
    let at = folder.display();
    // model2vec's vocabularies of fewer vectors than tokens.
    if let Some(name) = ["mapping", "weights"].into_iter().find(|name| weights.get(name).is_some()) {
        return Err(Error::unsupported(format!("{at}: {STATIC} with the tensor `{name}` is not supported")));
    }
    // model2vec's name.
    if weights.get(TABLE).is_none() {
        weights.rename("embeddings", TABLE);
    }
    let Some([rows, width]) = weights.get(TABLE).map(|table| table.shape) else {
        return Err(weights.require(TABLE, &[0, 0]).err().unwrap_or_else(|| Error::internal("an empty table")));
    };
    let config = json!({ "model_type": "static-embedding", "vocab_size": rows, "hidden_size": width });
    files.make(CONFIG, config.to_string().into_bytes());
    Ok(weights)
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

/// The one GGUF or `.kinglet` file of a directory, if there is exactly one, or the first of the parts of a split GGUF file, if there
/// is nothing else.
fn only_model(directory: &Path) -> Option<PathBuf> {
    let paths = std::fs::read_dir(directory).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let found: Vec<_> = paths.filter(|path| path.extension().is_some_and(|e| e == "gguf" || e == "kinglet")).collect();
    match <[PathBuf; 1]>::try_from(found) {
        Ok([only]) => Some(only),
        Err(several) => split::first(&several),
    }
}
