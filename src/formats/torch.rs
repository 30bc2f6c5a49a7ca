//! Weights that `torch.save` wrote: `pytorch_model.bin`. Since PyTorch 1.6 a zip archive with a pickle of the tensors and one file per
//! storage, before that a sequence of pickles and the storages. The storages are mapped like those of safetensors.
//!
//! **The files must not be changed or truncated while the mapping lives**, as with [`super::safetensors`].

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use memmap2::MmapOptions;

use super::pickle::{Parsed, Pickles, Tensor};
use super::weights::{Entry, MAX_TENSORS, Shard};
use super::{open_regular, quoted};
use crate::base::error::{Error, Result};

/// The maximum size of a pickle, in bytes; a thousand tensors take about 200 KB.
const MAX_PICKLE: usize = 16 << 20;

/// The first bytes of the format before 1.6: the pickle of a number.
const OLD: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";

/// Checks and maps one file; `number` is its index in `Weights::shards`.
pub fn open_shard(path: &Path, number: usize) -> Result<(Shard, HashMap<String, Entry>)> {
    let (file, length) = open_regular(path)?;
    let length = usize::try_from(length).map_err(|_| {
        Error::unsupported(format!("{}: the file is too large for this machine's address space", path.display()))
    })?;
    // SAFETY: the mapping is read-only. The module's documentation requires that the file does not change meanwhile, which no
    // program can enforce.
    let map = unsafe { MmapOptions::new().len(length).map(&file) }.map_err(|e| Error::io(path, &e))?;
    let (tensors, storages) = match &map[..] {
        [b'P', b'K', ..] => archive(&map),
        bytes if bytes.starts_with(OLD) => sequence(bytes),
        bytes if bytes.starts_with(b"version ") => {
            Err("this looks like a Git LFS pointer, not the file itself: run `git lfs pull`".into())
        }
        _ => Err("it is neither a zip archive nor an older file of torch.save".into()),
    }
    .map_err(|what| Error::invalid_file(path, format!("not a checkpoint of PyTorch that can be read: {what}")))?;
    let mut entries = HashMap::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let entry = place(tensor, &storages, number)
            .map_err(|what| Error::invalid_file(path, format!("tensor {}: {what}", quoted(&name))))?;
        if entries.len() == MAX_TENSORS {
            return Err(Error::invalid_file(path, format!("it has more than {MAX_TENSORS} tensors")));
        }
        entries.insert(name, entry);
    }
    Ok((Shard::new(path, map), entries))
}

/// Where each storage is, by name.
type Storages = HashMap<String, Range<usize>>;

fn place(tensor: Tensor, storages: &Storages, shard: usize) -> Parsed<Entry> {
    let Tensor { storage, dtype, elements, offset, shape, stride } = tensor;
    let size = dtype.bitsize() / 8;
    let bytes = |count: usize| count.checked_mul(size).ok_or("its size overflows");
    let range = storages.get(&storage).ok_or_else(|| format!("there is no storage {}", quoted(&storage)))?;
    if bytes(elements)? > range.len() {
        return Err(format!("its storage of {elements} elements is cut off"));
    }
    // A dimension of one has any stride, and an empty tensor too.
    let mut count = 1usize;
    let mut sound = shape.len() == stride.len();
    for (&extent, &step) in shape.iter().zip(&stride).rev() {
        sound &= extent == 1 || step == count || shape.contains(&0);
        count = count.checked_mul(extent).ok_or("its size overflows")?;
    }
    if !sound {
        return Err(format!("strides {stride:?} for shape {shape:?} are not supported: its elements are not in order"));
    }
    if offset.checked_add(count).is_none_or(|end| end > elements) {
        return Err(format!("it has {count} elements from {offset} on, but its storage has {elements}"));
    }
    let (offset, length) = (range.start + bytes(offset)?, bytes(count)?);
    Ok(Entry::new(shard, dtype.into(), shape, offset, length))
}

type Found = (Vec<(String, Tensor)>, Storages);

/// The format before 1.6: a number, the protocol, the machine's sizes, the tensors, the names of the storages, and these.
fn sequence(bytes: &[u8]) -> Parsed<Found> {
    // A copy: the bytes must not change while they are read. The pickles end long before the storages do.
    let head = bytes[..bytes.len().min(MAX_PICKLE)].to_vec();
    let mut pickles = Pickles::new(&head);
    for _ in 0..3 {
        pickles.skip()?;
    }
    let tensors = pickles.tensors()?;
    let names = pickles.texts()?;
    let sizes: HashMap<&str, usize> =
        tensors.iter().map(|(_, tensor)| (tensor.storage.as_str(), tensor.dtype.bitsize() / 8)).collect();
    let (mut at, mut storages) = (pickles.at, Storages::new());
    for name in names {
        let size = *sizes.get(name.as_str()).ok_or("a storage has no tensor")?;
        let count = bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or("it ends before its storages")?;
        let length = usize::try_from(u64::from_le_bytes(*count)).ok().and_then(|count| count.checked_mul(size));
        let begin = at + 8;
        let end = length.and_then(|length| begin.checked_add(length)).filter(|&end| end <= bytes.len());
        at = end.ok_or("it ends within a storage")?;
        storages.insert(name, begin..at);
    }
    Ok((tensors, storages))
}

/// A zip archive of files that are not compressed, `NAME/data.pkl` and `NAME/data/0`, `NAME/data/1`, ...
fn archive(bytes: &[u8]) -> Parsed<Found> {
    let (mut pickle, mut storages) = (None, Storages::new());
    for member in members(bytes)? {
        let (name, range) = member?;
        let Some((_, within)) = name.split_once('/') else { continue };
        match within {
            "data.pkl" => pickle = Some(range),
            "byteorder" if bytes.get(range.clone()) != Some(b"little") => {
                return Err("its numbers are big-endian".into());
            }
            _ => {
                if let Some(key) = within.strip_prefix("data/") {
                    storages.insert(key.to_owned(), range);
                }
            }
        }
    }
    let pickle = pickle.ok_or("there is no data.pkl inside")?;
    if pickle.len() > MAX_PICKLE {
        return Err(format!("its data.pkl has {} bytes; the maximum is {MAX_PICKLE}", pickle.len()));
    }
    let pickle = bytes.get(pickle).ok_or("its data.pkl is cut off")?.to_vec();
    Ok((Pickles::new(&pickle).tensors()?, storages))
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Parsed<usize> {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk::<N>()).ok_or("its directory is cut off")?;
    let mut wide = [0; 8];
    wide.iter_mut().zip(found).for_each(|(to, &from)| *to = from);
    usize::try_from(u64::from_le_bytes(wide)).map_err(|_| "a number in its directory is too large".into())
}

/// The names of a zip archive's files, and where their contents are, from its directory.
fn members(bytes: &[u8]) -> Parsed<impl Iterator<Item = Parsed<(String, Range<usize>)>>> {
    const END: &[u8] = b"PK\x05\x06";
    const WIDE_END: &[u8] = b"PK\x06\x06";
    const LOCATOR: &[u8] = b"PK\x06\x07";
    // The end may have a comment of up to 65,535 bytes.
    let tail = bytes.len().saturating_sub(22 + 65535);
    let end =
        bytes[tail..].windows(4).rposition(|window| window == END).ok_or("the end of the archive is missing")? + tail;
    let (mut count, mut at) = (number::<2>(bytes, end + 10)?, number::<4>(bytes, end + 16)?);
    // Archives of 4 GiB and more have a second end, and a pointer to it before the first.
    if let Some(locator) = end.checked_sub(20).filter(|&locator| bytes[locator..].starts_with(LOCATOR)) {
        let wide = number::<8>(bytes, locator + 8)?;
        if !bytes.get(wide..).is_some_and(|rest| rest.starts_with(WIDE_END)) {
            return Err("the end of the archive is missing".into());
        }
        let field = |offset: usize| number::<8>(bytes, wide.saturating_add(offset));
        (count, at) = (field(32)?, field(48)?);
    }
    if count > 2 * MAX_TENSORS {
        return Err(format!("it has {count} files"));
    }
    Ok((0..count).map(move |_| {
        let (name, range, next) = member(bytes, at)?;
        at = next;
        Ok((name, range))
    }))
}

/// The entry of the directory at `at`: name, place of the contents, and where the next entry is.
fn member(bytes: &[u8], at: usize) -> Parsed<(String, Range<usize>, usize)> {
    if !bytes.get(at..).is_some_and(|rest| rest.starts_with(b"PK\x01\x02")) {
        return Err("its directory is damaged".into());
    }
    let (method, lengths) = (number::<2>(bytes, at + 10)?, [28, 30, 32].map(|field| number::<2>(bytes, at + field)));
    let [name_length, extra_length, comment_length] = lengths;
    let (name_length, extra_length, comment_length) = (name_length?, extra_length?, comment_length?);
    let (names, extras) = (at + 46, at + 46 + name_length);
    let name = bytes.get(names..extras).and_then(|name| str::from_utf8(name).ok());
    let name = name.ok_or("the name of a file inside is cut off or not UTF-8")?.to_owned();
    let extra = bytes.get(extras..extras + extra_length).ok_or("its directory is cut off")?;
    // What does not fit into 32 bits is in an extra field, in this order.
    let mut wide = wide_fields(extra);
    let mut field = |offset: usize| -> Parsed<usize> {
        match number::<4>(bytes, at + offset)? {
            0xffff_ffff => wide.next().ok_or_else(|| "its directory lacks a size".to_string())?,
            number => Ok(number),
        }
    };
    let (size, stored, local) = (field(24)?, field(20)?, field(42)?);
    if method != 0 || size != stored {
        return Err(format!("{} inside is compressed", quoted(&name)));
    }
    if !bytes.get(local..).is_some_and(|rest| rest.starts_with(b"PK\x03\x04")) {
        return Err(format!("{} inside is missing", quoted(&name)));
    }
    let begin = local + 30 + number::<2>(bytes, local + 26)? + number::<2>(bytes, local + 28)?;
    let end = begin.checked_add(size).filter(|&end| end <= bytes.len());
    let end = end.ok_or_else(|| format!("{} inside is cut off", quoted(&name)))?;
    Ok((name, begin..end, extras + extra_length + comment_length))
}

/// The numbers of 64 bits in the extra field of a large file.
fn wide_fields(mut extra: &[u8]) -> impl Iterator<Item = Parsed<usize>> {
    let mut found: &[u8] = &[];
    while let Some((head, rest)) = extra.split_first_chunk::<4>() {
        let length = usize::from(u16::from_le_bytes([head[2], head[3]])).min(rest.len());
        if head[..2] == [1, 0] {
            found = &rest[..length];
        }
        extra = &rest[length..];
    }
    found.chunks_exact(8).map(|chunk| number::<8>(chunk, 0))
}

#[cfg(test)]
mod tests;
