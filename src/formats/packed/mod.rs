//! `.kinglet`: one file with a model's packed weights, configuration and tokenizer. The weights are in the kernels' layout and are used
//! where they are mapped: loading copies and converts nothing, and processes that load the same file share its pages.
//!
//! | offset | |
//! |---|---|
//! | 0 | `KINGLET\0` |
//! | 8 | version of the format, u32; 1, or 2 if layers have transforms of their inputs |
//! | 12 | 0, u32 |
//! | 16 | length of the header, u64 |
//! | 24 | length of the file, u64 |
//! | 32 | checksum of everything from byte 64 on, u64 |
//! | 40 | zeros |
//! | 64 | the header: JSON, `{"precision", "files": {name: [offset, length]}, "tensors": {name: {"dtype", "shape", "offset"}}}`, perhaps `"calibration"` |
//!
//! All numbers are little-endian. Files and tensors follow the header, tensors at multiples of 64. Later versions of Kinglet read earlier
//! versions of the format or refuse them by number. An unknown type or precision is an error, so a new one is not a new version.
//!
//! **The file must not be changed or truncated while a model from it is loaded.**

mod checksum;
mod writer;

use std::collections::BTreeMap;
use std::path::Path;

use memmap2::MmapOptions;
use serde_json::Value;

use super::modules::TRANSFORMER_FILES;
use super::tensor::DType;
use super::weights::{Entry, MAX_TENSORS, Shard, Weights};
use super::{json, open_regular, quoted, read_whole};
use crate::base::error::{Error, Result, Status};
use crate::kernels::weight::{PackedType, Shape};
use crate::spec::Precision;
use checksum::Checksum;
pub use writer::Writer;

/// The small files that are stored with the weights, besides [`TRANSFORMER_FILES`].
const FILES: [&str; 17] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "additional_chat_templates/tool_use.jinja",
    "modules.json",
    "config_sentence_transformers.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "source.spm",
    "tokenizer.model",
];

/// The names of the small files that are stored with the weights, in the model's folder and in those of its modules.
pub fn files() -> impl Iterator<Item = &'static str> {
    FILES.into_iter().chain(TRANSFORMER_FILES)
}

pub const MAGIC: [u8; 8] = *b"KINGLET\0";
/// The version of a file without, and with transforms of inputs, which a reader of the first version would leave out.
const PLAIN_VERSION: u32 = 1;
const VERSION: u32 = 2;
const PREFIX: usize = 64;
const ALIGN: usize = 64;
/// The maximum size of the header; a thousand tensors take about 100 KB.
const HEADER_LIMIT: usize = 64 << 20;

/// The blanks that a header may end with: room for offsets that grow, and for whole pages.
const HEADER_ROOM: usize = 16 << 10;
/// A file of this size is checked within a second.
const QUICK_BYTES: u64 = 1 << 30;
/// The checksum looks for a cancellation after this many bytes, which take a millisecond or two.
const POLL_BYTES: usize = 16 << 20;

/// A `.kinglet` file, opened and checked.
pub struct Packed {
    pub weights: Weights,
    pub precision: Precision,
    pub files: BTreeMap<String, Vec<u8>>,
    /// What `kinglet quantize` chose by calibration.
    pub calibration: Option<Value>,
}

/// The type of this name; None if the format does not have it.
fn dtype_of(name: &str) -> Option<DType> {
    let packed = PackedType::all().map(DType::Packed);
    [DType::F32, DType::F16].into_iter().chain(packed).find(|dtype| dtype.to_string() == name)
}

/// The size of a tensor in bytes; None on overflow or for a type that the format does not have.
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

/// Corrects the length and the checksum in a file's prefix, for tests of the checks that follow them.
pub fn seal(bytes: &mut [u8]) {
    if bytes.len() < PREFIX {
        return;
    }
    let mut sum = Checksum::new();
    sum.add(&bytes[PREFIX..]);
    let length = bytes.len() as u64;
    bytes[24..32].copy_from_slice(&length.to_le_bytes());
    bytes[32..40].copy_from_slice(&sum.finish().to_le_bytes());
}

/// Limits for reading a file; by default there is no limit.
#[derive(Default)]
pub struct Opening<'a> {
    /// The longest `.kinglet` file that is read, in bytes; 0 for any.
    pub memory_limit: u64,
    /// Called every few milliseconds; an error ends the opening.
    pub poll: Option<&'a mut dyn FnMut() -> Result<()>>,
    /// Reads files into memory instead of mapping them.
    pub read: bool,
}

impl Packed {
    /// Opens a file and checks all of it: version, every offset, checksum.
    pub fn open(path: &Path, opening: Opening<'_>) -> Result<Self> {
        let invalid = |what: String| Error::invalid_file(path, what);
        let damaged = |what: &str| invalid(format!("the file is damaged: {what}"));
        let (mut file, length) = open_regular(path)?;
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
        if !(PLAIN_VERSION..=VERSION).contains(&version) {
            return Err(Error::unsupported(format!(
                "{}: the file has version {version} of the format, and this Kinglet ({}) reads versions up to {VERSION}; make it anew \
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
        let header = header.ok_or_else(|| damaged("its header's length is impossible"))?;
        // Smaller files are soon read, and then the load says how much the model needs in all.
        if opening.memory_limit > 0 && total > opening.memory_limit.max(QUICK_BYTES) {
            let (path, limit) = (path.display(), opening.memory_limit);
            let message = format!("{path}: has {total} bytes, more than the memory limit of {limit}");
            return Err(Error::new(Status::OutOfMemory, message));
        }
        let value = json::parse(path, &map[PREFIX..PREFIX + header], HEADER_LIMIT as u64);
        let value = value.map_err(|_| damaged("its header is not JSON"))?;
        let precision = value["precision"].as_str();
        let precision = Precision::ALL.into_iter().find(|p| Some(p.name()) == precision && *p != Precision::Auto);
        let precision = precision.ok_or_else(|| damaged("its header names no precision"))?;

        let number = |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok());
        let (mut files, mut copied) = (BTreeMap::new(), 0);
        for (name, place) in value["files"].as_object().into_iter().flatten() {
            // A folder before the name may be a module's.
            let own = |name: &str| name.rsplit('/').next().map(str::to_owned);
            if !self::files().any(|kept| own(kept) == own(name)) {
                continue;
            }
            let range = number(&place[0]).zip(number(&place[1])).and_then(|(at, len)| Some(at..at.checked_add(len)?));
            let bytes = range.and_then(|range| map.get(range));
            let bytes = bytes.ok_or_else(|| damaged(&format!("its file {} is outside", quoted(name))))?;
            // Overlapping files are refused, because their contents are copied.
            copied += bytes.len();
            if copied > length {
                return Err(damaged("its files overlap"));
            }
            files.insert(name.clone(), bytes.to_vec());
        }
        let mut tensors = BTreeMap::new();
        for (name, tensor) in value["tensors"].as_object().into_iter().flatten() {
            let broken = || damaged(&format!("its tensor {} is described wrongly", quoted(name)));
            let dtype = tensor["dtype"].as_str().and_then(dtype_of).ok_or_else(broken)?;
            let shape = tensor["shape"].as_array().filter(|shape| shape.len() <= 2).ok_or_else(broken)?;
            let shape = shape.iter().map(number).collect::<Option<Vec<_>>>().ok_or_else(broken)?;
            let offset = number(&tensor["offset"]).filter(|at| at.is_multiple_of(ALIGN)).ok_or_else(broken)?;
            let bytes = bytes_of(dtype, &shape).ok_or_else(broken)?;
            if offset.checked_add(bytes).is_none_or(|end| end > length) || tensors.len() == MAX_TENSORS {
                return Err(broken());
            }
            tensors.insert(name.clone(), Entry::new(0, dtype, shape, offset, bytes));
        }
        // The checksum comes last: it reads the whole file, and a sparse file may be longer than anybody can wait for.
        let used = (tensors.values())
            .fold(copied + header + HEADER_ROOM, |used, entry| used.saturating_add(entry.length).saturating_add(ALIGN));
        if length - PREFIX > used {
            return Err(damaged(&format!("it has {length} bytes, and its header describes about {used}")));
        }
        // The checksum is that of the copy: a file that changes meanwhile is damaged.
        let map = if opening.read { read_whole(path, &mut file, length)? } else { map };
        let mut checksum = Checksum::new();
        let mut poll = opening.poll;
        for piece in map[PREFIX..].chunks(POLL_BYTES) {
            poll.as_mut().map_or(Ok(()), |poll| poll())?;
            checksum.add(piece);
        }
        if checksum.finish() != sum {
            return Err(damaged("its checksum does not match"));
        }
        let shards = vec![Shard { copied: opening.read, ..Shard::new(path, map) }];
        let calibration = value.get("calibration").cloned();
        Ok(Self { weights: Weights { shards, tensors, catalogue: path.to_owned() }, precision, files, calibration })
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

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
        seal(&mut bytes);
        bytes
    }

    #[test]
    fn files_may_not_share_their_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("many.kinglet");
        let names: Vec<String> = files().map(|name| format!("{name:?}:[0,400]")).collect();
        let header = format!("{{\"precision\":\"int8\",\"files\":{{{}}},\"tensors\":{{}}}}", names.join(","));
        let mut bytes = vec![0; PREFIX];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8] = 1;
        bytes[16..24].copy_from_slice(&(header.len() as u64).to_le_bytes());
        bytes.extend_from_slice(header.as_bytes());
        let length = bytes.len() as u64;
        bytes[24..32].copy_from_slice(&length.to_le_bytes());
        std::fs::write(&path, resealed(bytes)).unwrap();
        let error = Packed::open(&path, Opening::default()).err().unwrap();
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
        let exact = Packed::open(&exact, Opening::default()).unwrap().weights;
        for (precision, dtype, round) in [
            (Precision::F16, "PACKED_F16", (|x| f16::from_f32(x).to_f32()) as fn(f32) -> f32),
            (Precision::Bf16, "PACKED_BF16", |x| bf16::from_f32(x).to_f32()),
        ] {
            let (_folder, file) = packed_llama(precision);
            let packed = Packed::open(&file, Opening::default()).unwrap();
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
            let error = Packed::open(&file, Opening::default()).err().unwrap();
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
