//! A tensor in a weights file: name, shape, element type and bytes, which are read as f32 or f16.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use memmap2::Mmap;

use super::quantised::layout::Quantised;
use super::{blocks, quoted};
use crate::base::error::{Error, Result, Status};
use crate::kernels::GROUP_INPUTS;
use crate::kernels::weight::{FourBits, PackedType, Shape};

/// How a tensor's elements are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DType {
    F32,
    F16,
    BF16,
    /// GGUF's types of 32 elements that share a scale, and of 256 whose scales share one.
    Q8_0,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
    IQ4NL,
    IQ4XS,
    /// The Open Compute Project's: 32 floating-point numbers of four bits that share an exponent.
    MXFP4,
    /// A type of `.kinglet` files: a weight or a table as the kernels read it.
    Packed(&'static PackedType),
    /// A weight of [`super::quantised`].
    Quantised(QuantisedType),
    /// A type that no weight of a supported model has, such as the I64 of a saved `position_ids` buffer. The tensor can
    /// be listed, and fails when it is read.
    Other(::safetensors::Dtype),
}

/// How another library has quantised a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuantisedType {
    pub method: &'static str,
    pub bits: u8,
    /// It has at most 4 bits, and each 32 inputs from a multiple of 32 on share a scale and a zero: the kernels' groups of 4 bits hold it.
    pub four_bits: bool,
}

impl DType {
    /// The elements that are stored together, and the bytes they take; None for a type that cannot be read.
    pub fn block(self) -> Option<(usize, usize)> {
        match self {
            DType::F32 => Some((1, 4)),
            DType::F16 | DType::BF16 => Some((1, 2)),
            DType::Q8_0 => Some((32, 34)),
            DType::Q4_0 => Some((32, 18)),
            DType::Q4_1 => Some((32, 20)),
            DType::Q5_0 => Some((32, 22)),
            DType::Q5_1 => Some((32, 24)),
            DType::Q2K => Some((256, 84)),
            DType::Q3K => Some((256, 110)),
            DType::Q4K => Some((256, 144)),
            DType::Q5K => Some((256, 176)),
            DType::Q6K => Some((256, 210)),
            DType::IQ4NL => Some((32, 18)),
            DType::IQ4XS => Some((256, 136)),
            DType::MXFP4 => Some((32, 17)),
            // Decoded as a whole.
            DType::Packed(_) | DType::Quantised(_) => Some((1, 1)),
            DType::Other(_) => None,
        }
    }
}

impl DType {
    /// Whether this is one of `.kinglet`'s own.
    pub fn is_packed(self) -> bool {
        matches!(self, DType::Packed(_))
    }
}

impl From<::safetensors::Dtype> for DType {
    fn from(dtype: ::safetensors::Dtype) -> Self {
        match dtype {
            ::safetensors::Dtype::F32 => DType::F32,
            ::safetensors::Dtype::F16 => DType::F16,
            ::safetensors::Dtype::BF16 => DType::BF16,
            other => DType::Other(other),
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DType::F32 => f.write_str("F32"),
            DType::F16 => f.write_str("F16"),
            DType::BF16 => f.write_str("BF16"),
            DType::Q8_0 => f.write_str("Q8_0"),
            DType::Q4_0 => f.write_str("Q4_0"),
            DType::Q4_1 => f.write_str("Q4_1"),
            DType::Q5_0 => f.write_str("Q5_0"),
            DType::Q5_1 => f.write_str("Q5_1"),
            DType::Q2K => f.write_str("Q2_K"),
            DType::Q3K => f.write_str("Q3_K"),
            DType::Q4K => f.write_str("Q4_K"),
            DType::Q5K => f.write_str("Q5_K"),
            DType::Q6K => f.write_str("Q6_K"),
            DType::IQ4NL => f.write_str("IQ4_NL"),
            DType::IQ4XS => f.write_str("IQ4_XS"),
            DType::MXFP4 => f.write_str("MXFP4"),
            DType::Packed(packed) => f.write_str(packed.name),
            DType::Quantised(kind) => write!(f, "{} of {} bits", kind.method, kind.bits),
            DType::Other(dtype) => write!(f, "{dtype}"),
        }
    }
}

/// In which order a file holds the rows of a tensor. Whoever reads the tensor sees them in Hugging Face's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowOrder {
    /// As they are read.
    Stored,
    /// The two halves of each head's rows alternate. llama.cpp turns neighbouring components of a head where Hugging Face
    /// turns those half a head apart, so its converter moves the rows of Llama's queries and keys.
    HalvesInterleaved { head_dim: usize },
    /// All heads' queries, then all keys, then all values, where Hugging Face has the three of each head together (GPT-NeoX).
    PartsApart { heads: usize, head_dim: usize },
}

impl RowOrder {
    /// Where the file has Hugging Face's row `row`.
    pub fn stored(self, row: usize) -> usize {
        match self {
            Self::Stored => row,
            Self::HalvesInterleaved { head_dim } => {
                let (head, within, half) = (row / head_dim, row % head_dim, head_dim / 2);
                head * head_dim + within % half * 2 + within / half
            }
            Self::PartsApart { heads, head_dim } => {
                let (head, part, within) = (row / (3 * head_dim), row / head_dim % 3, row % head_dim);
                (part * heads + head) * head_dim + within
            }
        }
    }
}

/// One tensor inside a mapped file. Cheap to copy; nothing is read before one of the `read` calls.
#[derive(Clone, Copy)]
pub struct TensorView<'a> {
    pub name: &'a str,
    pub dtype: DType,
    /// Row-major. The product of the dimensions does not overflow, and is what `bytes` holds.
    pub shape: &'a [usize],
    /// The elements, little-endian, at any alignment and in the file's order.
    pub bytes: &'a [u8],
    pub file: &'a Path,
    pub(super) map: &'a Arc<Mmap>,
    /// `map` is a copy in memory, and not the file.
    #[cfg_attr(not(any(target_os = "linux", target_os = "android")), expect(dead_code))]
    pub(super) copied: bool,
    /// The tensor's offset in `map`. Separate from `bytes`, which can be assigned to, because `release` relies on it.
    pub(super) offset: usize,
    #[cfg_attr(not(any(target_os = "linux", target_os = "android")), expect(dead_code))]
    pub(super) length: usize,
    /// Rows are those of the first dimension.
    pub(super) order: RowOrder,
    pub(super) shift: f32,
    /// Set for [`DType::Quantised`].
    pub(super) quantised: Option<Quantised<'a>>,
}

/// Elements that are converted at a time: small enough for the stack and the first-level cache.
const BLOCK: usize = 512;

impl TensorView<'_> {
    /// The number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether both hold the same values, stored in the same way.
    pub fn equals(&self, other: &Self) -> bool {
        let layout = |t: &Self| (t.dtype, t.order, t.shift);
        let same = layout(self) == layout(other) && self.shape == other.shape && self.bytes == other.bytes;
        same && self.quantised == other.quantised
    }

    /// The product of all dimensions but the last: 1 for a vector or a scalar. Of an empty tensor it may be any number.
    pub fn rows(&self) -> usize {
        self.shape.split_last().map_or(1, |(_, rest)| rest.iter().product())
    }

    /// The last dimension: 1 for a scalar.
    pub fn cols(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// Fails where the element type is one that [`Self::read_f32`] and [`Self::read_f16`] cannot read.
    pub fn readable(&self) -> Result<()> {
        self.block().map(|_| ())
    }

    /// Converts the elements from `start` on to f32 and fills `out`. Exact for F32, F16 and BF16; the other types are
    /// computed as their definition says, in f32.
    ///
    /// Fails with InvalidFile for an element type that cannot be read and for a value that is NaN or infinite (8-bit weights would hide
    /// it, wider ones would make every result NaN), and with Internal for a range that leaves the tensor.
    pub fn read_f32(&self, start: usize, out: &mut [f32]) -> Result<()> {
        self.runs(start, out.len(), |stored, range| self.decode(stored, &mut out[range]))?;
        if self.shift != 0.0 {
            out.iter_mut().for_each(|x| *x += self.shift);
        }
        // Without a branch in the loop it is vectorized; the search runs only where there is something to find.
        if out.iter().fold(false, |any, x| any | !x.is_finite()) {
            let at = out.iter().position(|x| !x.is_finite()).unwrap_or(0);
            return Err(self.not_finite(start + at, out[at]));
        }
        Ok(())
    }

    fn not_finite(&self, element: usize, value: f32) -> Error {
        Error::invalid_file(self.file, format!("tensor {} holds {value} at element {element}", quoted(self.name)))
    }

    /// Converts the elements from `start` on to f16, rounding to nearest, ties to even, and fills `out`.
    ///
    /// Fails as [`Self::read_f32`] does, and with Unsupported where a finite value is beyond f16's range (its largest is
    /// 65504): the model would compute with infinities. What `out` holds after a failure is unspecified.
    pub fn read_f16(&self, start: usize, out: &mut [f16]) -> Result<()> {
        if self.dtype == DType::F16 && self.shift == 0.0 {
            return self.runs(start, out.len(), |stored, range| {
                let (first, out) = (start + range.start, &mut out[range]);
                copy_f16(self.stored_bytes(stored, out.len(), (1, 2))?, out);
                if out.iter().fold(false, |any, x| any | !x.is_finite()) {
                    let at = out.iter().position(|x| !x.is_finite()).unwrap_or(0);
                    return Err(self.not_finite(first + at, out[at].to_f32()));
                }
                Ok(())
            });
        }
        // Before the loop, which would not find fault with an empty range.
        self.check_range(start, out.len())?;
        let mut block = [0.0; BLOCK];
        for (i, out) in out.chunks_mut(BLOCK).enumerate() {
            let first = start + i * BLOCK;
            let block = &mut block[..out.len()];
            self.read_f32(first, block)?;
            out.convert_from_f32_slice(block);
            // Without a branch in the loop it is vectorized; the search runs only where there is something to find.
            if out.iter().fold(false, |any, x| any | x.is_infinite())
                && let Some(at) = out.iter().zip(&*block).position(|(x, y)| x.is_infinite() && y.is_finite())
            {
                let what = format!(
                    "tensor {} holds {} at element {}, which f16 cannot hold; load the model with precision f32",
                    quoted(self.name),
                    block[at],
                    first + at
                );
                return Err(Error::new(Status::Unsupported, format!("{}: {what}", self.file.display())));
            }
        }
        Ok(())
    }

    /// One row as f32: `out` holds [`Self::cols`] values. Fails as [`Self::read_f32`] does.
    pub fn read_row_f32(&self, row: usize, out: &mut [f32]) -> Result<()> {
        self.read_f32(row.saturating_mul(self.cols()), out)
    }

    /// One row as f16. Fails as [`Self::read_f16`] does.
    pub fn read_row_f16(&self, row: usize, out: &mut [f16]) -> Result<()> {
        self.read_f16(row.saturating_mul(self.cols()), out)
    }

    /// One row as the kernels' groups of 4 bits, if it is stored in such groups; false if not.
    ///
    /// Fails with InvalidFile for a scale that is NaN or infinite.
    pub fn read_row_four_bits(&self, row: usize, out: &mut [FourBits]) -> Result<bool> {
        let (DType::Quantised(QuantisedType { four_bits: true, .. }), Some(quantised)) = (self.dtype, &self.quantised)
        else {
            return Ok(false);
        };
        let start = row.saturating_mul(self.cols());
        self.check_range(start, self.cols())?;
        quantised.four_bits(self.bytes, row, out).ok_or_else(|| self.outside(start, self.cols()))?;
        match out.iter().position(|group| !group.is_finite()) {
            Some(at) => Err(self.not_finite(start + at * GROUP_INPUTS, f32::NAN)),
            None => Ok(true),
        }
    }

    /// One row as signed bytes, if it is stored as bytes with one scale, which is returned; None if not.
    ///
    /// Fails with InvalidFile for a scale that is NaN or infinite.
    pub fn read_row_bytes(&self, row: usize, out: &mut [i8]) -> Result<Option<f32>> {
        let Some(quantised) = &self.quantised else { return Ok(None) };
        let start = row.saturating_mul(self.cols());
        self.check_range(start, self.cols())?;
        match quantised.signed_bytes(self.bytes, row, out) {
            Some(scale) if !scale.is_finite() => Err(self.not_finite(start, scale)),
            scale => Ok(scale),
        }
    }

    /// All elements as f32. Fails as [`Self::read_f32`] does, and with OutOfMemory.
    pub fn to_vec_f32(&self) -> Result<Vec<f32>> {
        self.readable()?;
        let mut out = Vec::new();
        out.try_reserve_exact(self.elements()).map_err(|_| {
            let (name, n) = (quoted(self.name), self.elements());
            Error::out_of_memory(format!("{}: no memory for the {n} elements of tensor {name}", self.file.display()))
        })?;
        out.resize(self.elements(), 0.0);
        self.read_f32(0, &mut out)?;
        Ok(out)
    }

    /// Gives the memory that reading this tensor has made resident back to the system, once it was packed into another
    /// form. The tensor can still be read: its pages then come from the file again.
    ///
    /// The kernel maps up to 2 MiB around a requested byte, so that much around the tensor is released too:
    /// otherwise reading and releasing the small tensors would, bit by bit, make the whole file resident. A neighbour that
    /// is being read meanwhile pays a page fault. Does nothing for a copy in memory, which would be lost, and on systems other than
    /// Linux.
    pub fn release(&self) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if self.length > 0 && !self.copied {
            const AROUND: usize = 2 << 20;
            let base = self.map.as_ptr().addr();
            let begin = ((base + self.offset) & !(AROUND - 1)).saturating_sub(base);
            let end = ((base + self.offset + self.length).next_multiple_of(AROUND) - base).min(self.map.len());
            let _a_hint_may_fail =
                // SAFETY: The range lies within `map`, because `offset` and `length` do, which only `Weights` sets, and it is
                // widened no further than `map` reaches. DONTNEED loses data only in memory that differs from its file. This
                // mapping is shared and read-only, so a page that is dropped comes back with the same bytes while the file is
                // not changed, which the contract of `Weights::open` already demands.
                unsafe { self.map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, begin, end - begin) };
        }
    }

    fn block(&self) -> Result<(usize, usize)> {
        self.dtype.block().ok_or_else(|| {
            let (name, dtype) = (quoted(self.name), self.dtype);
            let what = format!("tensor {name} has type {dtype}, and F32, F16, BF16 or a type of GGUF's is needed");
            Error::invalid_file(self.file, what)
        })
    }

    /// Fails unless the tensor can be read and has `count` elements from `start` on.
    fn check_range(&self, start: usize, count: usize) -> Result<()> {
        self.readable()?;
        match start.checked_add(count).is_some_and(|end| end <= self.elements()) {
            true => Ok(()),
            false => Err(self.outside(start, count)),
        }
    }

    fn outside(&self, start: usize, count: usize) -> Error {
        let (name, shape) = (quoted(self.name), self.shape);
        let what = format!("{count} elements from {start} on were asked of tensor {name} of shape {shape:?}");
        Error::internal(format!("{}: {what}", self.file.display()))
    }

    /// Calls `each` for every stretch of a range that the file holds in one piece: where it begins there, and which part of
    /// the range it is.
    fn runs(&self, start: usize, count: usize, mut each: impl FnMut(usize, Range<usize>) -> Result<()>) -> Result<()> {
        self.check_range(start, count)?;
        if self.order == RowOrder::Stored {
            return each(start, 0..count);
        }
        let row_length: usize = self.shape.get(1..).unwrap_or(&[]).iter().product();
        let mut done = 0;
        while done < count {
            let (row, within) = ((start + done) / row_length, (start + done) % row_length);
            let next = (done + row_length - within).min(count);
            each(self.order.stored(row) * row_length + within, done..next)?;
            done = next;
        }
        Ok(())
    }

    /// The bytes of the whole blocks that hold `count` elements from `start` on, in the file's order.
    fn stored_bytes(&self, start: usize, count: usize, (elements, bytes): (usize, usize)) -> Result<&[u8]> {
        let range = start / elements * bytes..(start + count).div_ceil(elements) * bytes;
        self.bytes.get(range).ok_or_else(|| self.outside(start, count))
    }

    /// The mapped file and the tensor's offset in it.
    pub fn mapping(&self) -> (&Arc<Mmap>, usize) {
        (self.map, self.offset)
    }

    /// Converts elements in the file's order; the range is within the tensor.
    fn decode(&self, start: usize, out: &mut [f32]) -> Result<()> {
        if let DType::Packed(packed) = self.dtype {
            let shape = Shape { outputs: self.rows(), inputs: self.cols() };
            return (packed.decode)(self.bytes, shape, start, out).ok_or_else(|| self.outside(start, out.len()));
        }
        if let Some(quantised) = &self.quantised {
            return quantised.decode(self.bytes, start, out).ok_or_else(|| self.outside(start, out.len()));
        }
        let block = self.block()?;
        let bytes = self.stored_bytes(start, out.len(), block)?;
        match self.dtype {
            DType::F16 => {
                let mut block = [f16::ZERO; BLOCK];
                for (out, bytes) in out.chunks_mut(BLOCK).zip(bytes.chunks(2 * BLOCK)) {
                    let block = &mut block[..out.len()];
                    copy_f16(bytes, block);
                    block.convert_to_f32_slice(out);
                }
            }
            DType::BF16 => {
                for (out, bytes) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                    *out = bf16::from_le_bytes(*bytes).to_f32();
                }
            }
            DType::F32 => {
                for (out, bytes) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
                    *out = f32::from_le_bytes(*bytes);
                }
            }
            dtype => blocks::decode(dtype, block, bytes, start % block.0, out),
        }
        Ok(())
    }
}

impl fmt::Debug for TensorView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:?} in {}", quoted(self.name), self.dtype, self.shape, self.file.display())
    }
}

fn copy_f16(bytes: &[u8], out: &mut [f16]) {
    for (out, bytes) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
        *out = f16::from_le_bytes(*bytes);
    }
}
