//! The tensors of one model, found by name in mapped files, whatever their format.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;

use super::quantised::layout::{Layout, Quantised};
use super::quoted;
use super::tensor::{DType, RowOrder, TensorView};
use crate::base::error::{Error, Result};

/// The maximum number of tensors in one model. Models that Kinglet runs have hundreds, the largest mixtures of experts 90,000.
pub(super) const MAX_TENSORS: usize = 100_000;

/// The maximum number of shards of one model. Each is one mapping, and Linux allows a process about 65,000 by default.
pub(super) const MAX_SHARDS: usize = 1_000;

/// The tensors of one model, in mapped files.
pub struct Weights {
    pub(super) shards: Vec<Shard>,
    pub(super) tensors: BTreeMap<String, Entry>,
    /// The file that lists the tensors: the only shard, or the index.
    pub(super) catalogue: PathBuf,
}

pub(super) struct Shard {
    pub path: PathBuf,
    pub map: Arc<Mmap>,
    /// The map is a copy in memory; else the file.
    pub copied: bool,
}

impl Shard {
    /// A mapped file.
    pub fn new(path: &Path, map: Mmap) -> Self {
        Self { path: path.to_owned(), map: map.into(), copied: false }
    }
}

pub(super) struct Entry {
    /// Index into `Weights::shards`.
    pub shard: usize,
    pub dtype: DType,
    pub shape: Vec<usize>,
    /// Offset in the shard's mapping; within its bounds.
    pub offset: usize,
    pub length: usize,
    pub order: RowOrder,
    /// Added to every element when it is read.
    pub shift: f32,
    /// Set for a weight of [`super::quantised`]: the bytes are its numbers.
    pub packed: Option<Box<Packed>>,
}

impl Entry {
    /// A tensor whose elements are read as they are.
    pub fn new(shard: usize, dtype: DType, shape: Vec<usize>, offset: usize, length: usize) -> Self {
        Self { shard, dtype, shape, offset, length, order: RowOrder::Stored, shift: 0.0, packed: None }
    }
}

/// The rest of a quantised weight.
pub(super) struct Packed {
    pub layout: Layout,
    pub scales: Companion,
    pub zeros: Option<Companion>,
    pub groups: Option<Companion>,
}

/// Where a tensor's bytes are.
#[derive(Clone, Copy)]
pub(super) struct Companion {
    pub shard: usize,
    pub offset: usize,
    pub length: usize,
}

impl Weights {
    /// No tensors, for a model of ONNX graphs.
    pub(super) fn none(path: &Path) -> Self {
        Self { shards: Vec::new(), tensors: BTreeMap::new(), catalogue: path.to_owned() }
    }

    /// Adds another model's tensors, their names behind `prefix`.
    pub(super) fn add(&mut self, other: Self, prefix: &str) {
        let first = self.shards.len();
        self.shards.extend(other.shards);
        let tensors = other.tensors.into_iter();
        self.tensors.extend(tensors.map(|(name, mut entry)| {
            entry.shard += first;
            if let Some(packed) = &mut entry.packed {
                let companions = [Some(&mut packed.scales), packed.zeros.as_mut(), packed.groups.as_mut()];
                companions.into_iter().flatten().for_each(|companion| companion.shard += first);
            }
            (format!("{prefix}{name}"), entry)
        }));
    }

    /// Replaces the mapped files by copies in memory.
    pub(super) fn read_into_memory(&mut self) -> Result<()> {
        for Shard { path, map, copied } in &mut self.shards {
            let (mut file, length) = super::open_regular(path)?;
            if length != map.len() as u64 {
                return Err(Error::invalid_file(path, "the file has changed during the load"));
            }
            *map = Arc::new(super::read_whole(path, &mut file, map.len())?);
            *copied = true;
        }
        Ok(())
    }

    /// Gives a tensor another name.
    pub(super) fn rename(&mut self, from: &str, to: &str) {
        if let Some(entry) = self.tensors.remove(from) {
            self.tensors.insert(to.to_owned(), entry);
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.tensors.remove(name);
    }

    pub(super) fn insert(&mut self, name: String, entry: Entry) {
        self.tensors.insert(name, entry);
    }

    /// Where the bytes of a tensor are.
    pub(super) fn companion(&self, name: &str) -> Result<Companion> {
        let entry = self.tensors.get(name).ok_or_else(|| Error::internal(format!("there is no tensor {name}")))?;
        Ok(Companion { shard: entry.shard, offset: entry.offset, length: entry.length })
    }

    /// The tensor of this name, of any type and shape; None if it does not exist.
    pub fn get(&self, name: &str) -> Option<TensorView<'_>> {
        let (name, entry) = self.tensors.get_key_value(name)?;
        let &Shard { ref path, ref map, copied } = &self.shards[entry.shard];
        let &Entry { dtype, ref shape, offset, length, order, shift, ref packed, .. } = entry;
        let bytes = &map[offset..offset + length];
        let of = |place: &Companion| &self.shards[place.shard].map[place.offset..place.offset + place.length];
        let quantised = packed.as_ref().map(|packed| Quantised {
            layout: &packed.layout,
            scales: of(&packed.scales),
            zeros: packed.zeros.as_ref().map(of).unwrap_or_default(),
            groups: packed.groups.as_ref().map(of).unwrap_or_default(),
        });
        Some(TensorView { name, dtype, shape, bytes, file: path, map, copied, offset, length, order, shift, quantised })
    }

    /// The tensor of this name, which must have this shape and be of a type that can be read.
    ///
    /// Fails with InvalidFile otherwise; the message names the file, the tensor, and what was expected and found. For a missing
    /// tensor it lists the most similar names, which makes a wrong prefix obvious.
    pub fn require(&self, name: &str, shape: &[usize]) -> Result<TensorView<'_>> {
        let Some(tensor) = self.get(name) else {
            let similar = self.similar(name);
            let hint = match similar.as_slice() {
                [] => String::new(),
                names => format!("; the most similar names are {}", names.join(", ")),
            };
            return Err(Error::invalid_file(&self.catalogue, format!("there is no tensor {}{hint}", quoted(name))));
        };
        if tensor.shape != shape {
            let (name, found) = (quoted(name), tensor.shape);
            let what = format!("tensor {name} has shape {found:?}, but {shape:?} is needed");
            return Err(Error::invalid_file(tensor.file, what));
        }
        tensor.readable()?;
        Ok(tensor)
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The weight files, without the index.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.shards.iter().map(|shard| shard.path.as_path())
    }

    /// The size of the weight files on disk, headers included.
    pub fn bytes(&self) -> u64 {
        self.shards.iter().map(|shard| shard.map.len() as u64).sum()
    }

    /// The size of all tensors as stored. Tensors of PyTorch's checkpoints may share a storage, which then counts for each.
    pub fn total_bytes(&self) -> u64 {
        let packed = |packed: &Packed| {
            let rest = [Some(&packed.scales), packed.zeros.as_ref(), packed.groups.as_ref()];
            rest.into_iter().flatten().map(|companion| companion.length as u64).sum::<u64>()
        };
        let bytes = |entry: &Entry| entry.length as u64 + entry.packed.as_deref().map_or(0, packed);
        self.tensors.values().map(bytes).sum()
    }

    /// Up to three names that share the most bytes with `name` at both ends, quoted, best first.
    fn similar(&self, name: &str) -> Vec<String> {
        let score = |other: &str| {
            let ahead = name.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
            let behind = name.bytes().rev().zip(other.bytes().rev()).take_while(|(a, b)| a == b).count();
            (ahead + behind).min(name.len().min(other.len()))
        };
        let mut scored: Vec<_> = self.names().map(|other| (score(other), other)).collect();
        // A name that shares less than half does not help.
        scored.retain(|(score, _)| 2 * score >= name.len());
        // Of two names that share as much, the shorter one is closer.
        scored.sort_by_key(|(score, other)| (std::cmp::Reverse(*score), other.len()));
        scored.into_iter().take(3).map(|(_, other)| quoted(other)).collect()
    }
}
