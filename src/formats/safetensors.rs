//! Weights in the safetensors format: one `model.safetensors`, or several shards and a `model.safetensors.index.json`. Where there are
//! neither, `pytorch_model.bin` or its shards, which [`super::torch`] reads.
//!
//! The header of a file is read into memory and checked completely before any tensor is accessible. The tensors are mapped and
//! not touched before they are read, so that opening a file of any size takes almost no memory.
//!
//! **The files must not be changed or truncated while a [`Weights`] lives.** If another program truncates a mapped file, reading
//! the missing part raises SIGBUS, which a library cannot turn into an error without taking over the host's signal handlers.
//! Replacing a file by renaming another over it is safe. Kinglet drops the mapping when the weights are packed, so the hazard
//! ends with the load.
//!
//! The `safetensors` crate defines the element types and checks that tensors fill the file without gaps or overlaps and that
//! shapes match byte ranges, without overflow. It accepts duplicate names, adds the end of the last tensor to the header's
//! length unchecked (a panic in debug builds), does not limit the number of tensors or dimensions, and quotes text of any
//! length in its errors; this module checks these.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use ::safetensors::tensor::{Metadata, TensorInfo};
use memmap2::MmapOptions;
use serde_json::Value;

use self::header::Header;
use super::weights::{Entry, MAX_SHARDS, MAX_TENSORS, Shard};
use super::{json, missing, open_regular, quoted, shortened, torch};
use crate::base::error::{Error, Result};

pub use super::tensor::{DType, TensorView};
pub use super::weights::Weights;

mod header;
#[cfg(test)]
mod tests;

const FILE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const PICKLE: &str = "pytorch_model.bin";
const PICKLE_INDEX: &str = "pytorch_model.bin.index.json";

/// The maximum size of a header, by the format, in bytes.
const MAX_HEADER: u64 = 100_000_000;

/// The bytes before the header, which hold its length.
const PREFIX: u64 = 8;

/// Checks and maps one file of a model.
type OpenShard = fn(&Path, usize) -> Result<(Shard, HashMap<String, Entry>)>;

impl Weights {
    /// Opens the weights in `directory`: `model.safetensors`, or else the shards that `model.safetensors.index.json` names, or else
    /// `pytorch_model.bin` or its shards.
    ///
    /// Fails with NotFound if neither exists, with InvalidFile for a file that violates the format, and with Io. The files must not
    /// change while the result lives; see the module's documentation.
    pub fn open(directory: &Path) -> Result<Self> {
        if !fs::metadata(directory).map_err(|e| Error::io(directory, &e))?.is_dir() {
            return Err(Error::invalid_file(directory, "this is not a directory; pass the directory of the model"));
        }
        // A dangling link counts as existing, so that the error names it.
        let exists = |name: &str| fs::symlink_metadata(directory.join(name)).is_ok();
        if exists(FILE) {
            return Self::open_file(&directory.join(FILE));
        }
        if exists(INDEX) {
            return Self::open_index(&directory.join(INDEX), open_shard);
        }
        if exists(PICKLE) {
            return Self::open_with(&directory.join(PICKLE), torch::open_shard);
        }
        if exists(PICKLE_INDEX) {
            return Self::open_index(&directory.join(PICKLE_INDEX), torch::open_shard);
        }
        Err(missing::weights(directory))
    }

    /// Opens one file in the safetensors format, whatever its name. Fails as [`Self::open`] does.
    pub fn open_file(path: &Path) -> Result<Self> {
        Self::open_with(path, open_shard)
    }

    fn open_with(path: &Path, open: OpenShard) -> Result<Self> {
        let (shard, tensors) = open(path, 0)?;
        Ok(Self { shards: vec![shard], tensors: tensors.into_iter().collect(), catalogue: path.to_owned() })
    }

    /// Opens the shards that an index names. Tensors that the index does not list are not part of the model.
    fn open_index(index: &Path, open: OpenShard) -> Result<Self> {
        let value = json::read(index, json::CONFIG_LIMIT)?;
        let Some(map) = value.get("weight_map").and_then(Value::as_object) else {
            return Err(Error::invalid_file(index, "there is no object `weight_map`"));
        };
        if map.len() > MAX_TENSORS {
            return Err(Error::invalid_file(index, format!("it lists more than {MAX_TENSORS} tensors")));
        }
        let mut names_by_file = BTreeMap::<&str, Vec<&str>>::new();
        for (tensor, file) in map {
            let Some(file) = file.as_str().filter(|file| is_plain_name(file)) else {
                let (tensor, file) = (quoted(tensor), quoted(&file.to_string()));
                let what = format!("the index puts tensor {tensor} in {file}, which is not a plain file name");
                return Err(Error::invalid_file(index, what));
            };
            names_by_file.entry(file).or_default().push(tensor);
        }
        if names_by_file.len() > MAX_SHARDS {
            return Err(Error::invalid_file(index, format!("it names more than {MAX_SHARDS} files")));
        }
        let mut weights = Self { shards: Vec::new(), tensors: BTreeMap::new(), catalogue: index.to_owned() };
        for (file, names) in names_by_file {
            let path = index.with_file_name(file);
            let (shard, mut tensors) = open(&path, weights.shards.len()).map_err(|error| {
                Error::new(error.status(), format!("{} (named by {})", error.message(), index.display()))
            })?;
            weights.shards.push(shard);
            for name in names {
                let Some(entry) = tensors.remove(name) else {
                    let what = format!("tensor {} is not in {}, where the index puts it", quoted(name), path.display());
                    return Err(Error::invalid_file(index, what));
                };
                weights.tensors.insert(name.to_owned(), entry);
            }
        }
        Ok(weights)
    }
}

/// Whether joining `name` to a directory gives a file directly in that directory, on every system.
fn is_plain_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\\', ':', '\0'])
}

/// Checks and maps one file; `number` is its index in `Weights::shards`.
fn open_shard(path: &Path, number: usize) -> Result<(Shard, HashMap<String, Entry>)> {
    let (mut file, length) = open_regular(path)?;
    let (data, metadata) = read_header(path, &mut file, length)?;
    let length = usize::try_from(length).map_err(|_| {
        Error::unsupported(format!("{}: the file is too large for this machine's address space", path.display()))
    })?;
    // SAFETY: the mapping is read-only. The module's documentation requires that the file does not change meanwhile, which no
    // program can enforce.
    let map = unsafe { MmapOptions::new().len(length).map(&file) }.map_err(|e| Error::io(path, &e))?;
    // Each tensor is read from front to end, so readahead pays on a cold disk. It fills the page cache, not this process. A
    // refused hint is harmless.
    #[cfg(unix)]
    let _hint = map.advise(memmap2::Advice::Sequential);
    let mut tensors = HashMap::new();
    for (name, info) in metadata.tensors() {
        // `read_header` has checked that the last tensor ends where the file ends, and `Metadata` that no tensor ends later.
        let (begin, end) = info.data_offsets;
        let (offset, length) = (data + begin, end - begin);
        let (dtype, shape) = (info.dtype.into(), info.shape.clone());
        tensors.insert(name, Entry::new(number, dtype, shape, offset, length));
    }
    Ok((Shard::new(path, map), tensors))
}

/// Reads and checks the header of a file of `length` bytes. Returns where the tensors begin and what they are.
///
/// The header is read, not mapped: its text must not change while it is parsed, and mapped pages would stay resident.
fn read_header(path: &Path, file: &mut File, length: u64) -> Result<(usize, Metadata)> {
    let invalid = |what: String| Error::invalid_file(path, what);
    if length < PREFIX + 2 {
        return Err(invalid(format!("the file has {length} bytes, which is too few for a safetensors file")));
    }
    let mut prefix = [0; PREFIX as usize];
    file.read_exact(&mut prefix).map_err(|e| Error::io(path, &e))?;
    if &prefix == b"version " {
        return Err(invalid("this looks like a Git LFS pointer, not the file itself: run `git lfs pull`".into()));
    }
    if prefix.starts_with(b"PK\x03\x04") || prefix.starts_with(b"\x80\x02") {
        let what = "this looks like a checkpoint of PyTorch, not a safetensors file: rename it to pytorch_model.bin";
        return Err(invalid(what.into()));
    }
    let header = u64::from_le_bytes(prefix);
    if header > MAX_HEADER {
        return Err(invalid(format!(
            "not a safetensors file: by its first bytes the header has {header} bytes; the maximum is {MAX_HEADER}"
        )));
    }
    if header > length - PREFIX {
        return Err(invalid(format!("the file is truncated: it has {length} bytes, but its header has {header}")));
    }
    let mut text = Vec::new();
    text.try_reserve_exact(header as usize)
        .map_err(|_| Error::out_of_memory(format!("{}: no memory for its header", path.display())))?;
    file.take(header).read_to_end(&mut text).map_err(|e| Error::io(path, &e))?;
    let broken = |what: &dyn std::fmt::Display| invalid(format!("the header is invalid: {}", shortened(what)));
    let Header(mut tensors) = serde_json::from_slice(&text).map_err(|e| broken(&e))?;
    // `Metadata` requires this order. An empty tensor may share its offset with the next tensor, which ends later.
    tensors.sort_by_key(|(_, info): &(String, TensorInfo)| info.data_offsets);
    let metadata = Metadata::new(None, tensors).map_err(|e| broken(&e))?;
    let (data, described) = (PREFIX + header, metadata.data_len() as u64);
    let present = length - data;
    if described > present {
        return Err(invalid(format!(
            "the file is truncated: its header describes {described} bytes of tensors, but there are {present}"
        )));
    }
    if described < present {
        return Err(invalid(format!("{} bytes follow the last tensor that the header describes", present - described)));
    }
    Ok((data as usize, metadata))
}
