//! A tensor as it lies in a weights file: a name, a shape, an element type and bytes, read as f32 or f16 on request.

use std::fmt;
use std::path::Path;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use memmap2::Mmap;

use super::quoted;
use crate::error::{Error, Result, Status};

/// How a tensor's elements are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DType {
    F32,
    F16,
    BF16,
    /// A type that no weight of a supported model has, such as the I64 of a saved `position_ids` buffer. The tensor can
    /// be listed, and fails when it is read.
    Other(::safetensors::Dtype),
}

impl DType {
    /// Bytes of one element; None for a type that cannot be read.
    pub fn size(self) -> Option<usize> {
        match self {
            DType::F32 => Some(4),
            DType::F16 | DType::BF16 => Some(2),
            DType::Other(_) => None,
        }
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
            DType::Other(dtype) => write!(f, "{dtype}"),
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
    /// Little-endian elements, at any alignment.
    pub bytes: &'a [u8],
    pub file: &'a Path,
    pub(super) map: &'a Mmap,
    /// Where the tensor lies in `map`. Apart from `bytes`, because that field can be assigned to and `release` trusts this.
    pub(super) offset: usize,
    pub(super) length: usize,
}

/// Elements that are converted at a time: small enough for the stack and the first-level cache.
const BLOCK: usize = 512;

impl TensorView<'_> {
    /// The number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
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
        self.element_size().map(|_| ())
    }

    /// Converts the elements from `start` on to f32 and fills `out`. Exact: f32 holds every f16 and bf16. Values that are
    /// not finite are passed through.
    ///
    /// Fails with InvalidFile for an element type other than F32, F16 and BF16, and with Internal for a range that
    /// leaves the tensor.
    pub fn read_f32(&self, start: usize, out: &mut [f32]) -> Result<()> {
        let bytes = self.range(start, out.len())?;
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
            _ => {
                for (out, bytes) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
                    *out = f32::from_le_bytes(*bytes);
                }
            }
        }
        Ok(())
    }

    /// Converts the elements from `start` on to f16, rounding to nearest, ties to even, and fills `out`.
    ///
    /// Fails as [`Self::read_f32`] does, and with Unsupported where a finite value is beyond f16's range (its largest is
    /// 65504): the model would compute with infinities. What `out` holds after a failure is unspecified.
    pub fn read_f16(&self, start: usize, out: &mut [f16]) -> Result<()> {
        let bytes = self.range(start, out.len())?;
        if self.dtype == DType::F16 {
            copy_f16(bytes, out);
            return Ok(());
        }
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
    /// The kernel maps up to 2 MiB around the byte that was asked for, so as much around the tensor is given back too:
    /// otherwise reading and releasing the small tensors would, bit by bit, make the whole file resident. A neighbour that
    /// is being read meanwhile pays a page fault. Does nothing on systems other than Linux.
    pub fn release(&self) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if self.length > 0 {
            const AROUND: usize = 2 << 20;
            let base = self.map.as_ptr().addr();
            let begin = ((base + self.offset) & !(AROUND - 1)).saturating_sub(base);
            let end = ((base + self.offset + self.length).next_multiple_of(AROUND) - base).min(self.map.len());
            // SAFETY: The range lies within `map`, because `offset` and `length` do, which only `Weights` sets, and it is
            // widened no further than `map` reaches. DONTNEED loses data only in memory that differs from its file. This
            // mapping is shared and read-only, so a page that is dropped comes back with the same bytes while the file is
            // not changed, which the contract of `Weights::open` already demands.
            let _a_hint_may_fail =
                unsafe { self.map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, begin, end - begin) };
        }
    }

    fn element_size(&self) -> Result<usize> {
        self.dtype.size().ok_or_else(|| {
            let (name, dtype) = (quoted(self.name), self.dtype);
            Error::invalid_file(self.file, format!("tensor {name} has type {dtype}, and F32, F16 or BF16 is needed"))
        })
    }

    /// The bytes of `count` elements from `start` on.
    fn range(&self, start: usize, count: usize) -> Result<&[u8]> {
        let size = self.element_size()?;
        let bounds = || Some(start.checked_mul(size)?..start.checked_add(count)?.checked_mul(size)?);
        bounds().and_then(|bounds| self.bytes.get(bounds)).ok_or_else(|| {
            let (name, shape) = (quoted(self.name), self.shape);
            let what = format!("{count} elements from {start} on were asked of tensor {name} of shape {shape:?}");
            Error::internal(format!("{}: {what}", self.file.display()))
        })
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
