//! `.kinglet`: one file with a model's packed weights, its configuration and its tokenizer. The weights lie as the kernels read them
//! and are used where they are mapped: loading copies and converts nothing, and processes that load the same file share its pages.
//!
//! | offset | |
//! |---|---|
//! | 0 | `KINGLET\0` |
//! | 8 | version of the format, u32; 1 |
//! | 12 | 0, u32 |
//! | 16 | length of the header, u64 |
//! | 24 | length of the file, u64 |
//! | 32 | checksum of everything from byte 64 on, u64 |
//! | 40 | zeros |
//! | 64 | the header: JSON, `{"precision", "files": {name: [offset, length]}, "tensors": {name: {"dtype", "shape", "offset"}}}` |
//!
//! All numbers are little-endian. Files and tensors follow the header, tensors at multiples of 64. A later version of Kinglet reads
//! every earlier version of the format or refuses it by its number. A type or a precision that a reader does not know is an error, so
//! one more of either is not a new version.
//!
//! **The file must not be changed or truncated while a model that was loaded from it lives.**

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::MmapOptions;
use serde_json::{Map, Value, json};

use super::tensor::{DType, RowOrder};
use super::weights::{Entry, MAX_TENSORS, Shard, Weights};
use super::{json, open_regular, quoted};
use crate::base::error::{Error, Result};
use crate::kernels::weight::{PackedType, Shape};
use crate::spec::Precision;

/// The small files that a model may have, and that are kept beside its weights; also those of the folders of its modules.
pub const FILES: [&str; 14] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

pub const MAGIC: [u8; 8] = *b"KINGLET\0";
const VERSION: u32 = 1;
const PREFIX: usize = 64;
const ALIGN: usize = 64;
/// The longest header; one of a thousand tensors has some 100 KB.
const HEADER_LIMIT: usize = 64 << 20;

/// A `.kinglet` file, opened and checked.
pub struct Packed {
    pub weights: Weights,
    pub precision: Precision,
    pub files: BTreeMap<String, Vec<u8>>,
}

/// A checksum of bytes handed over in pieces: four streams of multiply and rotate over 32 bytes at a time (the construction of
/// xxHash64, Collet 2014), the rest as if zeros followed.
struct Checksum {
    lanes: [u64; 4],
    held: [u8; 32],
    count: u64,
}

const ODD: [u64; 2] = [0x9e37_79b1_85eb_ca87, 0xc2b2_ae3d_27d4_eb4f];

impl Checksum {
    fn new() -> Self {
        Self { lanes: [1, 2, 3, 4], held: [0; 32], count: 0 }
    }

    fn block(lanes: &mut [u64; 4], block: &[u8; 32]) {
        for (lane, bytes) in lanes.iter_mut().zip(block.as_chunks::<8>().0) {
            let value = u64::from_le_bytes(*bytes);
            *lane = (*lane ^ value.wrapping_mul(ODD[1])).rotate_left(31).wrapping_mul(ODD[0]);
        }
    }

    fn add(&mut self, mut bytes: &[u8]) {
        let held = (self.count % 32) as usize;
        self.count += bytes.len() as u64;
        if held > 0 {
            let take = bytes.len().min(32 - held);
            self.held[held..held + take].copy_from_slice(&bytes[..take]);
            bytes = &bytes[take..];
            if held + take < 32 {
                return;
            }
            Self::block(&mut self.lanes, &self.held);
        }
        let (blocks, rest) = bytes.as_chunks::<32>();
        for block in blocks {
            Self::block(&mut self.lanes, block);
        }
        self.held[..rest.len()].copy_from_slice(rest);
    }

    fn finish(mut self) -> u64 {
        let held = (self.count % 32) as usize;
        self.held[held..].fill(0);
        Self::block(&mut self.lanes, &self.held);
        let sum = self.lanes.iter().fold(self.count, |sum, lane| (sum ^ lane).rotate_left(27).wrapping_mul(ODD[0]));
        sum ^ (sum >> 32)
    }
}

/// The type of this name; None if it has no place in the format.
fn dtype_of(name: &str) -> Option<DType> {
    let packed = PackedType::all().map(DType::Packed);
    [DType::F32, DType::F16].into_iter().chain(packed).find(|dtype| dtype.to_string() == name)
}

/// Bytes of a tensor; None if they overflow or the type has no place in the format.
fn bytes_of(dtype: DType, shape: &[usize]) -> Option<usize> {
    let elements = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
    match dtype {
        DType::F32 => elements.checked_mul(4),
        DType::F16 => elements.checked_mul(2),
        DType::Packed(packed) => match *shape {
            [outputs, inputs] => (packed.bytes)(Shape { outputs, inputs }),
            _ => (packed.bytes)(Shape { outputs: 1, inputs: elements }),
        },
        _ => None,
    }
}

impl Packed {
    /// Opens a file and checks all of it: version, checksum, every offset.
    pub fn open(path: &Path) -> Result<Self> {
        let invalid = |what: String| Error::invalid_file(path, what);
        let (file, length) = open_regular(path)?;
        let length = usize::try_from(length).map_err(|_| invalid("does not fit this machine's addresses".into()))?;
        if length < PREFIX {
            return Err(invalid("the file is truncated".into()));
        }
        // SAFETY: the mapping is read-only; that nobody changes the file meanwhile is the contract that the module's
        // documentation states.
        let map = unsafe { MmapOptions::new().len(length).map(&file) }.map_err(|e| Error::io(path, &e))?;
        let word = |at: usize| map.get(at..at + 8).and_then(<[u8]>::first_chunk).map(|b| u64::from_le_bytes(*b));
        if !map.starts_with(&MAGIC) {
            return Err(invalid("not a .kinglet file: its first bytes are not KINGLET".into()));
        }
        let version = word(8).ok_or_else(|| invalid("the file is truncated".into()))? as u32;
        if version != VERSION {
            return Err(Error::unsupported(format!(
                "{}: the file has version {version} of the format, and this Kinglet ({}) reads version {VERSION}; make it anew \
                 with kinglet quantize",
                path.display(),
                env!("CARGO_PKG_VERSION")
            )));
        }
        let (Some(header), Some(total), Some(sum)) = (word(16), word(24), word(32)) else {
            return Err(invalid("the file is truncated".into()));
        };
        if total != length as u64 {
            return Err(invalid(format!("the file has {length} bytes, and {total} were written: it is truncated")));
        }
        let header = usize::try_from(header).ok().filter(|&n| n <= HEADER_LIMIT && n <= length - PREFIX);
        let header = header.ok_or_else(|| invalid("its header's length is impossible".into()))?;
        let mut checksum = Checksum::new();
        checksum.add(&map[PREFIX..]);
        if checksum.finish() != sum {
            return Err(invalid("the checksum does not match: the file is damaged".into()));
        }
        let value = json::parse(path, &map[PREFIX..PREFIX + header], HEADER_LIMIT as u64)?;
        let precision = value["precision"].as_str();
        let precision = Precision::ALL.into_iter().find(|p| Some(p.name()) == precision && *p != Precision::Auto);
        let precision = precision.ok_or_else(|| invalid("its header names no precision".into()))?;

        let number = |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok());
        let (mut files, mut copied) = (BTreeMap::new(), 0);
        for (name, place) in value["files"].as_object().into_iter().flatten() {
            // A folder before the name is a module's.
            if !FILES.contains(&name.rsplit('/').next().unwrap_or(name)) {
                continue;
            }
            let range = number(&place[0]).zip(number(&place[1])).and_then(|(at, len)| Some(at..at.checked_add(len)?));
            let bytes = range.and_then(|range| map.get(range));
            let bytes = bytes.ok_or_else(|| invalid(format!("its file {} lies outside", quoted(name))))?;
            // Several names may not stand for the same bytes: they are copied.
            copied += bytes.len();
            if copied > length {
                return Err(invalid("its files overlap".into()));
            }
            files.insert(name.clone(), bytes.to_vec());
        }
        let mut tensors = BTreeMap::new();
        for (name, tensor) in value["tensors"].as_object().into_iter().flatten() {
            let broken = || invalid(format!("its tensor {} is described wrongly", quoted(name)));
            let dtype = tensor["dtype"].as_str().and_then(dtype_of).ok_or_else(broken)?;
            let shape = tensor["shape"].as_array().filter(|shape| shape.len() <= 2).ok_or_else(broken)?;
            let shape = shape.iter().map(number).collect::<Option<Vec<_>>>().ok_or_else(broken)?;
            let offset = number(&tensor["offset"]).filter(|at| at.is_multiple_of(ALIGN)).ok_or_else(broken)?;
            let bytes = bytes_of(dtype, &shape).ok_or_else(broken)?;
            if offset.checked_add(bytes).is_none_or(|end| end > length) || tensors.len() == MAX_TENSORS {
                return Err(broken());
            }
            let order = RowOrder::Stored;
            tensors.insert(name.clone(), Entry { shard: 0, dtype, shape, offset, length: bytes, order, shift: 0.0 });
        }
        let shards = vec![Shard { path: path.to_owned(), map: map.into() }];
        Ok(Self { weights: Weights { shards, tensors, catalogue: path.to_owned() }, precision, files })
    }
}

/// Writes a file tensor by tensor. It appears under its name only when it is complete.
pub struct Writer {
    out: BufWriter<File>,
    path: PathBuf,
    temporary: PathBuf,
    /// From here on the body goes to a file of its own until the header is known.
    at: usize,
    tensors: Map<String, Value>,
    finished: bool,
}

impl Writer {
    pub fn create(path: &Path) -> Result<Self> {
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        // Two writers of one file, in one process or several, must not share a part.
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        name.push(format!(".{}-{}.part", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)));
        let temporary = path.with_file_name(name);
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&temporary);
        let out = BufWriter::with_capacity(1 << 20, file.map_err(|e| Error::io(&temporary, &e))?);
        Ok(Self { out, path: path.to_owned(), temporary, at: 0, tensors: Map::new(), finished: false })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(|e| Error::io(&self.temporary, &e))?;
        self.at += bytes.len();
        Ok(())
    }

    fn align(&mut self) -> Result<()> {
        self.write(&[0; ALIGN][..self.at.next_multiple_of(ALIGN) - self.at])
    }

    /// Adds a tensor, its memory in parts.
    pub fn tensor(&mut self, name: &str, dtype: DType, shape: &[usize], parts: &[&[u8]]) -> Result<()> {
        if self.tensors.contains_key(name) {
            return Ok(());
        }
        self.align()?;
        let offset = self.at;
        parts.iter().try_for_each(|part| self.write(part))?;
        let expected = bytes_of(dtype, shape);
        if expected != Some(self.at - offset) {
            return Err(Error::internal(format!("tensor {name} has {} bytes, not {expected:?}", self.at - offset)));
        }
        self.tensors.insert(name.into(), json!({ "dtype": dtype.to_string(), "shape": shape, "offset": offset }));
        Ok(())
    }

    /// Writes header and files, and puts the whole in its place.
    pub fn finish(mut self, precision: Precision, files: &BTreeMap<String, Vec<u8>>) -> Result<()> {
        let mut places = Map::new();
        for (name, bytes) in files {
            places.insert(name.clone(), json!([self.at, bytes.len()]));
            self.write(bytes)?;
        }
        // Offsets count from the body's beginning until the header's length is known, which depends on them.
        let header = |base: usize| {
            let mut value = json!({
                "kinglet": env!("CARGO_PKG_VERSION"), "precision": precision.name(), "files": places, "tensors": self.tensors
            });
            let shift = |value: &mut Value| *value = json!(value.as_u64().unwrap_or(0) + base as u64);
            value["files"].as_object_mut().into_iter().flatten().for_each(|(_, place)| shift(&mut place[0]));
            value["tensors"].as_object_mut().into_iter().flatten().for_each(|(_, tensor)| shift(&mut tensor["offset"]));
            value.to_string()
        };
        // Room for offsets that grow by as much as the header is long.
        let reserved = (header(usize::MAX >> 24).len() + 1024).next_multiple_of(4096);
        let base = PREFIX + reserved;
        let mut text = header(base).into_bytes();
        let length = text.len();
        text.resize(reserved, b' ');
        self.copy_behind(base, &text, length).map_err(|e| Error::io(&self.temporary, &e))?;
        std::fs::rename(&self.temporary, &self.path).map_err(|e| Error::io(&self.path, &e))?;
        self.finished = true;
        Ok(())
    }

    /// Makes the final file: prefix, header, and the body behind it.
    fn copy_behind(&mut self, base: usize, header: &[u8], header_length: usize) -> io::Result<()> {
        self.out.flush()?;
        let body = self.out.get_mut();
        let total = base + self.at;
        let mut name = self.temporary.file_name().unwrap_or_default().to_os_string();
        name.push(".2");
        let whole = self.temporary.with_file_name(name);
        let result = (|| {
            let mut out = BufWriter::with_capacity(1 << 20, File::create(&whole)?);
            out.write_all(&[0; PREFIX])?;
            let mut checksum = Checksum::new();
            checksum.add(header);
            out.write_all(header)?;
            body.seek(SeekFrom::Start(0))?;
            let mut buffer = vec![0; 1 << 20];
            loop {
                let count = io::Read::read(body, &mut buffer)?;
                if count == 0 {
                    break;
                }
                checksum.add(&buffer[..count]);
                out.write_all(&buffer[..count])?;
            }
            let mut prefix = [0; PREFIX];
            prefix[..8].copy_from_slice(&MAGIC);
            prefix[8..12].copy_from_slice(&VERSION.to_le_bytes());
            prefix[16..24].copy_from_slice(&(header_length as u64).to_le_bytes());
            prefix[24..32].copy_from_slice(&(total as u64).to_le_bytes());
            prefix[32..40].copy_from_slice(&checksum.finish().to_le_bytes());
            out.seek(SeekFrom::Start(0))?;
            out.write_all(&prefix)?;
            out.flush()?;
            std::fs::rename(&whole, &self.temporary)
        })();
        if result.is_err() {
            let _best_effort = std::fs::remove_file(&whole);
        }
        result
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.finished {
            let _best_effort = std::fs::remove_file(&self.temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;

    #[test]
    fn a_checksum_does_not_depend_on_the_pieces_and_sees_every_byte() {
        let bytes: Vec<u8> = (0..1000u32).map(|i| (i * 7 % 251) as u8).collect();
        let whole = |bytes: &[u8]| {
            let mut sum = Checksum::new();
            sum.add(bytes);
            sum.finish()
        };
        let expected = whole(&bytes);
        for piece in [1, 5, 31, 32, 33, 64, 999] {
            let mut sum = Checksum::new();
            bytes.chunks(piece).for_each(|piece| sum.add(piece));
            assert_eq!(sum.finish(), expected, "{piece}");
        }
        for i in 0..bytes.len() {
            let mut other = bytes.clone();
            other[i] ^= 1;
            assert_ne!(whole(&other), expected, "{i}");
        }
        assert_ne!(whole(&bytes[..999]), expected);
        assert_ne!(whole(&[0; 3]), whole(&[0; 4]));
    }

    /// A file whose checksum is right again.
    fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
        let mut sum = Checksum::new();
        sum.add(&bytes[PREFIX..]);
        bytes[32..40].copy_from_slice(&sum.finish().to_le_bytes());
        bytes
    }

    #[test]
    fn files_may_not_share_their_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("many.kinglet");
        let names: Vec<String> = FILES.iter().map(|name| format!("{name:?}:[0,400]")).collect();
        let header = format!("{{\"precision\":\"int8\",\"files\":{{{}}},\"tensors\":{{}}}}", names.join(","));
        let mut bytes = vec![0; PREFIX];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8] = 1;
        bytes[16..24].copy_from_slice(&(header.len() as u64).to_le_bytes());
        bytes.extend_from_slice(header.as_bytes());
        let length = bytes.len() as u64;
        bytes[24..32].copy_from_slice(&length.to_le_bytes());
        std::fs::write(&path, resealed(bytes)).unwrap();
        let error = Packed::open(&path).err().unwrap();
        assert!(error.message().contains("overlap") || error.message().contains("outside"), "{error}");
    }

    /// A file of the `llama` fixture, and a folder that keeps it.
    fn packed_llama(precision: Precision) -> (tempfile::TempDir, PathBuf) {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/generation/llama");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("llama.kinglet");
        crate::quantize(&fixture, &file, precision, &mut |_| true).unwrap();
        (folder, file)
    }

    #[test]
    fn packed_floats_are_read_as_they_were_rounded() {
        let (_exact, exact) = packed_llama(Precision::F32);
        let exact = Packed::open(&exact).unwrap().weights;
        for (precision, dtype, round) in [
            (Precision::F16, "PACKED_F16", (|x| f16::from_f32(x).to_f32()) as fn(f32) -> f32),
            (Precision::Bf16, "PACKED_BF16", |x| bf16::from_f32(x).to_f32()),
        ] {
            let (_folder, file) = packed_llama(precision);
            let packed = Packed::open(&file).unwrap();
            assert_eq!(packed.precision, precision);
            let mut seen = 0;
            for name in exact.names() {
                let (a, b) = (exact.get(name).unwrap(), packed.weights.get(name).unwrap());
                if b.dtype.to_string() == dtype {
                    let rounded: Vec<f32> = a.to_vec_f32().unwrap().into_iter().map(round).collect();
                    assert_eq!(b.to_vec_f32().unwrap(), rounded, "{name} in {}", precision.name());
                    seen += 1;
                }
            }
            assert!(seen > 5, "{seen} layers in {}", precision.name());
        }
    }

    #[test]
    fn what_a_reader_does_not_know_is_refused() {
        let (_folder, file) = packed_llama(Precision::Bf16);
        let good = std::fs::read(&file).unwrap();
        for (known, later, what) in [("\"bf16\"", "\"cf16\"", "precision"), ("PACKED_BF16", "PACKED_CF16", "tensor")] {
            let at = good.windows(known.len()).position(|bytes| bytes == known.as_bytes()).unwrap();
            let mut other = good.clone();
            other[at..at + later.len()].copy_from_slice(later.as_bytes());
            std::fs::write(&file, resealed(other)).unwrap();
            let error = Packed::open(&file).err().unwrap();
            assert!(error.message().contains("llama.kinglet") && error.message().contains(what), "{error}");
        }
    }

    #[test]
    fn hostile_headers_are_errors_that_name_the_file() {
        use crate::{GenerateOptions, LoadOptions, Model};
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/generation/llama");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hostile.kinglet");
        crate::quantize(&fixture, &file, Precision::Int8, &mut |_| true).unwrap();
        let good = std::fs::read(&file).unwrap();
        let header = u64::from_le_bytes(*good[16..].first_chunk().unwrap()) as usize;
        let (mut state, mut loaded) = (1u64, 0);
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        for _ in 0..2_000 {
            let mut bad = good.clone();
            for _ in 0..1 + random(3) {
                // Digits by digits give other sizes and offsets, anything else broken JSON.
                let at = PREFIX + random(header);
                bad[at] = if bad[at].is_ascii_digit() { b'0' + random(10) as u8 } else { random(256) as u8 };
            }
            std::fs::write(&file, resealed(bad)).unwrap();
            let options = LoadOptions { threads: 1, memory_limit: 64 << 20, ..LoadOptions::default() };
            match Model::load(&file, options) {
                Err(error) => assert!(error.message().contains("hostile.kinglet"), "{error}"),
                Ok(model) => {
                    loaded += 1;
                    let few = GenerateOptions { max_new_tokens: Some(2), ..GenerateOptions::default() };
                    let _any_outcome = model.generate(&["a bird"], &few, None);
                }
            }
        }
        assert!(loaded < 1_500, "{loaded} of 2,000 were loaded all the same");
    }
}
