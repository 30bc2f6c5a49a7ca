//! The head of a GGUF file: the fields that describe the model, and where its tensors are. The format is defined in ggml's
//! `gguf.md`; versions 2 and 3 are read, little-endian.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use super::metadata::{Array, Metadata, Value};
use crate::base::error::{Error, Result};
use crate::formats::tensor::DType;
use crate::formats::weights::MAX_TENSORS;
use crate::formats::{open_regular, quoted};

const MAGIC: [u8; 4] = *b"GGUF";

/// The maximum number of fields in a file. Most files have less than a hundred.
const MAX_FIELDS: u64 = 1 << 16;

/// The maximum size of fields and tensor descriptions, in bytes. The largest vocabularies take about 20 MB.
const MAX_HEAD: u64 = 256 << 20;

/// The maximum length of a key, by the specification. It limits tensor names to 64 bytes, but longer ones are accepted too.
const MAX_KEY: u64 = 65_535;

/// The maximum number of dimensions of a tensor, in ggml.
const MAX_DIMENSIONS: u32 = 4;

/// The alignment of tensors if the file does not set one.
const DEFAULT_ALIGNMENT: u64 = 32;

pub(super) struct Container {
    pub metadata: Metadata,
    /// By name.
    pub tensors: BTreeMap<String, Tensor>,
    pub file: File,
    pub length: usize,
}

pub(super) struct Tensor {
    pub dtype: DType,
    /// Row-major: GGUF lists the dimensions in reverse order.
    pub shape: Vec<usize>,
    /// Offset in the file; within its bounds.
    pub offset: usize,
    pub bytes: usize,
}

impl Container {
    /// Reads and checks everything except the values of tensors. Tensors are within the file, do not overlap, and have rows of whole
    /// blocks.
    pub fn open(path: &Path) -> Result<Self> {
        let (file, length) = open_regular(path)?;
        let whole = usize::try_from(length).map_err(|_| {
            Error::unsupported(format!("{}: the file is too large for this machine's address space", path.display()))
        })?;
        let mut source = FileReader { path, reader: BufReader::with_capacity(1 << 16, file), at: 0, length };
        let (tensor_count, field_count) = source.preamble()?;
        let mut fields = BTreeMap::new();
        for _ in 0..field_count {
            let key = source.text("a key", MAX_KEY)?;
            let kind = source.u32()?;
            let value = source.value(&key, kind)?;
            if fields.contains_key(&key) {
                return Err(source.invalid(format!("field {} appears twice", quoted(&key))));
            }
            fields.insert(key, value);
        }
        let metadata = Metadata::new(path, fields);
        let alignment = match metadata.unsigned_opt("general.alignment")? {
            None => DEFAULT_ALIGNMENT,
            Some(n) if n.is_power_of_two() && n <= 1 << 31 => n,
            Some(n) => return Err(source.invalid(format!("field `general.alignment` is {n}, not a power of two"))),
        };
        let mut described = Vec::new();
        let mut names = HashSet::new();
        for _ in 0..tensor_count {
            let (name, tensor) = source.tensor(alignment)?;
            if !names.insert(name.clone()) {
                return Err(source.invalid(format!("tensor {} appears twice", quoted(&name))));
            }
            described.push((name, tensor));
        }
        let data = source.at.next_multiple_of(alignment);
        let tensors = place(&source, described, data)?;
        Ok(Self { metadata, tensors, file: source.reader.into_inner(), length: whole })
    }
}

/// A tensor as the file describes it: `offset` is relative to the first tensor.
struct Described {
    dtype: DType,
    shape: Vec<usize>,
    offset: u64,
    bytes: u64,
}

/// Checks that tensors are within the file and do not overlap.
fn place(source: &FileReader, described: Vec<(String, Described)>, data: u64) -> Result<BTreeMap<String, Tensor>> {
    let mut order: Vec<_> = described.iter().map(|(name, t)| (t.offset, t.bytes, name)).collect();
    order.sort();
    let (mut end, mut before) = (0, "");
    for (offset, bytes, name) in order {
        if offset < end {
            let (name, before) = (quoted(name), quoted(before));
            return Err(source.invalid(format!("tensor {name} overlaps tensor {before}")));
        }
        // An empty tensor may be anywhere.
        if bytes > 0 {
            (end, before) = (offset.saturating_add(bytes), name);
        }
        if data.saturating_add(offset).saturating_add(bytes) > source.length {
            let (name, length) = (quoted(name), source.length);
            let what = format!(
                "the file is truncated: tensor {name} has {bytes} bytes at offset {offset}, which is beyond the file's {length}"
            );
            return Err(source.invalid(what));
        }
    }
    // Offsets within the file fit a usize, because the file's length does.
    let tensors = described.into_iter().map(|(name, t)| {
        let (offset, bytes) = ((data + t.offset) as usize, t.bytes as usize);
        (name, Tensor { dtype: t.dtype, shape: t.shape, offset, bytes })
    });
    Ok(tensors.collect())
}

/// The element type of ggml's number for it; None if Kinglet does not support it.
pub(in crate::formats) fn dtype(number: u32) -> Option<DType> {
    Some(match number {
        0 => DType::F32,
        1 => DType::F16,
        2 => DType::Q4_0,
        3 => DType::Q4_1,
        6 => DType::Q5_0,
        7 => DType::Q5_1,
        8 => DType::Q8_0,
        10 => DType::Q2K,
        11 => DType::Q3K,
        12 => DType::Q4K,
        13 => DType::Q5K,
        14 => DType::Q6K,
        20 => DType::IQ4NL,
        23 => DType::IQ4XS,
        30 => DType::BF16,
        39 => DType::MXFP4,
        _ => return None,
    })
}

/// A file that is read from front to end, and the number of bytes left.
struct FileReader<'a> {
    path: &'a Path,
    reader: BufReader<File>,
    at: u64,
    length: u64,
}

impl FileReader<'_> {
    fn invalid(&self, what: impl std::fmt::Display) -> Error {
        Error::invalid_file(self.path, what)
    }

    /// Checks that the file has this many more bytes, before memory is allocated for them.
    fn claim(&mut self, bytes: u64) -> Result<()> {
        let Some(end) = self.at.checked_add(bytes).filter(|&end| end <= self.length) else {
            let at = self.at;
            return Err(
                self.invalid(format!("the file is truncated or damaged: {bytes} more bytes are expected at {at}"))
            );
        };
        if end > MAX_HEAD {
            return Err(self.invalid(format!("there are more than {MAX_HEAD} bytes before the tensors")));
        }
        self.at = end;
        Ok(())
    }

    fn fill(&mut self, out: &mut [u8]) -> Result<()> {
        self.claim(out.len() as u64)?;
        self.reader.read_exact(out).map_err(|e| Error::io(self.path, &e))
    }

    fn bytes(&mut self, count: u64) -> Result<Vec<u8>> {
        self.claim(count)?;
        let mut out = Vec::new();
        // `claim` checked that the file has this many bytes, so the number fits.
        let reserved = out.try_reserve_exact(count as usize);
        reserved.map_err(|_| Error::out_of_memory(format!("{}: no memory for its fields", self.path.display())))?;
        out.resize(count as usize, 0);
        self.reader.read_exact(&mut out).map_err(|e| Error::io(self.path, &e))?;
        Ok(out)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut out = [0; N];
        self.fill(&mut out)?;
        Ok(out)
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn text(&mut self, what: &str, limit: u64) -> Result<String> {
        let length = self.u64()?;
        if length > limit {
            return Err(self.invalid(format!("{what} has {length} bytes; the maximum is {limit}")));
        }
        let bytes = self.bytes(length)?;
        String::from_utf8(bytes).map_err(|_| self.invalid(format!("{what} is not UTF-8")))
    }

    /// Reads up to the first field. Returns the number of tensors and the number of fields.
    fn preamble(&mut self) -> Result<(u64, u64)> {
        let magic = match self.length {
            0..4 => return Err(self.invalid("the file is too short for a GGUF file")),
            _ => self.array::<4>()?,
        };
        if magic != MAGIC {
            return Err(self.invalid(match &magic {
                b"vers" => "this looks like a Git LFS pointer, not the file itself: run `git lfs pull`",
                b"lmgg" | b"fmgg" | b"tjgg" | b"algg" => {
                    "this is an older ggml file, before GGUF: convert the model again"
                }
                _ => "not a GGUF file: it does not begin with `GGUF`",
            }));
        }
        match self.u32()? {
            2 | 3 => {}
            1 => return Err(self.invalid("this is version 1 of GGUF; supported are 2 and 3: convert the model again")),
            n if n.swap_bytes() <= 3 => {
                return Err(Error::unsupported(format!(
                    "{}: big-endian GGUF files are not supported",
                    self.path.display()
                )));
            }
            n => {
                let path = self.path.display();
                return Err(Error::unsupported(format!("{path}: this is version {n} of GGUF; supported are 2 and 3")));
            }
        }
        let (tensors, fields) = (self.u64()?, self.u64()?);
        if tensors > MAX_TENSORS as u64 {
            return Err(self.invalid(format!("it has {tensors} tensors; the maximum is {MAX_TENSORS}")));
        }
        if fields > MAX_FIELDS {
            return Err(self.invalid(format!("it has {fields} fields; the maximum is {MAX_FIELDS}")));
        }
        Ok((tensors, fields))
    }

    fn value(&mut self, key: &str, kind: u32) -> Result<Value> {
        Ok(match kind {
            0 => Value::Unsigned(u64::from(self.array::<1>()?[0])),
            1 => Value::Signed(i64::from(i8::from_le_bytes(self.array()?))),
            2 => Value::Unsigned(u64::from(u16::from_le_bytes(self.array()?))),
            3 => Value::Signed(i64::from(i16::from_le_bytes(self.array()?))),
            4 => Value::Unsigned(u64::from(self.u32()?)),
            5 => Value::Signed(i64::from(i32::from_le_bytes(self.array()?))),
            6 => Value::Single(f32::from_le_bytes(self.array()?)),
            7 => Value::Bool(self.array::<1>()?[0] != 0),
            8 => Value::Text(self.text(&format!("the text of field {}", quoted(key)), MAX_HEAD)?),
            9 => Value::Array(self.list(key)?),
            10 => Value::Unsigned(self.u64()?),
            11 => Value::Signed(i64::from_le_bytes(self.array()?)),
            12 => Value::Double(f64::from_le_bytes(self.array()?)),
            _ => return Err(self.invalid(format!("field {} has the unknown type {kind}", quoted(key)))),
        })
    }

    fn list(&mut self, key: &str) -> Result<Array> {
        let (kind, count) = (self.u32()?, self.u64()?);
        let size = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            10..=12 => 8,
            8 => return self.texts(key, count),
            9 => return Err(self.invalid(format!("field {} is a list of lists, which is not supported", quoted(key)))),
            _ => return Err(self.invalid(format!("field {} is a list of the unknown type {kind}", quoted(key)))),
        };
        match count.checked_mul(size) {
            Some(total) => Ok(Array::Numbers { kind, bytes: self.bytes(total)? }),
            None => Err(self.invalid(format!("field {} has {count} values, which is too many", quoted(key)))),
        }
    }

    /// Texts are kept in one allocation: a vocabulary has a hundred thousand of them, most of a few bytes.
    fn texts(&mut self, key: &str, count: u64) -> Result<Array> {
        let mut all = Vec::new();
        let mut ends = Vec::new();
        for _ in 0..count {
            let length = self.u64()?;
            self.claim(length)?;
            let begin = all.len();
            all.try_reserve(length as usize)
                .map_err(|_| Error::out_of_memory(format!("{}: no memory for its fields", self.path.display())))?;
            all.resize(begin + length as usize, 0);
            self.reader.read_exact(&mut all[begin..]).map_err(|e| Error::io(self.path, &e))?;
            if str::from_utf8(&all[begin..]).is_err() {
                let at = ends.len();
                return Err(self.invalid(format!("text {at} of field {} is not UTF-8", quoted(key))));
            }
            // MAX_HEAD is far below 4 GiB.
            ends.push(all.len() as u32);
        }
        let all = String::from_utf8(all).map_err(|_| self.invalid(format!("field {} is not UTF-8", quoted(key))))?;
        Ok(Array::Texts { all, ends })
    }

    fn tensor(&mut self, alignment: u64) -> Result<(String, Described)> {
        let name = self.text("the name of a tensor", MAX_KEY)?;
        let shown = quoted(&name);
        let dimensions = self.u32()?;
        if dimensions > MAX_DIMENSIONS {
            return Err(
                self.invalid(format!("tensor {shown} has {dimensions} dimensions; the maximum is {MAX_DIMENSIONS}"))
            );
        }
        let mut shape = Vec::with_capacity(dimensions as usize);
        for _ in 0..dimensions {
            let dimension = self.u64()?;
            shape.insert(
                0,
                usize::try_from(dimension).map_err(|_| self.invalid(format!("tensor {shown} is too large")))?,
            );
        }
        let (kind, offset) = (self.u32()?, self.u64()?);
        let Some(dtype) = dtype(kind) else { return Err(self.unreadable(&shown, kind)) };
        let (elements, bytes) = dtype.block().unwrap_or((1, 1));
        let cols = shape.last().copied().unwrap_or(1);
        if !cols.is_multiple_of(elements) {
            let what =
                format!("tensor {shown} of type {dtype} has rows of {cols}, which are not whole blocks of {elements}");
            return Err(self.invalid(what));
        }
        // The product of all dimensions other than 0, so that nothing that reads the shape can overflow.
        let product = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n.max(1)));
        let empty = shape.contains(&0);
        let size = product.and_then(|n| (n / elements).checked_mul(bytes)).filter(|&n| n <= isize::MAX as usize);
        let Some(size) = size else {
            return Err(self.invalid(format!("tensor {shown} of shape {shape:?} is too large")));
        };
        if !offset.is_multiple_of(alignment) {
            return Err(self.invalid(format!("tensor {shown} is at offset {offset}, not a multiple of {alignment}")));
        }
        let bytes = if empty { 0 } else { size as u64 };
        Ok((name, Described { dtype, shape, offset, bytes }))
    }

    fn unreadable(&self, shown: &str, kind: u32) -> Error {
        let name = match kind {
            9 => "Q8_1",
            15 => "Q8_K",
            16 => "IQ2_XXS",
            17 => "IQ2_XS",
            18 => "IQ3_XXS",
            19 => "IQ1_S",
            21 => "IQ3_S",
            22 => "IQ2_S",
            24 => "I8",
            25 => "I16",
            26 => "I32",
            27 => "I64",
            28 => "F64",
            29 => "IQ1_M",
            34 => "TQ1_0",
            35 => "TQ2_0",
            40 => "NVFP4",
            _ => "",
        };
        let kind = if name.is_empty() { format!("the unknown type {kind}") } else { format!("type {name}") };
        let readable =
            "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS and MXFP4";
        let path = self.path.display();
        Error::unsupported(format!("{path}: tensor {shown} has {kind}; supported are {readable}"))
    }
}
