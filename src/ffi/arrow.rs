//! Embeddings of texts in Arrow's layout, written into the caller's memory.

use std::ffi::{c_char, c_void};

use crate::base::error::{Error, Result};

use super::boundary::boundary;
use super::embedding::{self, kinglet_embed_options};
use super::error::{kinglet_error, kinglet_status};
use super::handle::{self, null};
use super::model::kinglet_model;
use super::structs::{options, versioned};

/// Texts in the layout of an Arrow array of type Utf8 (32-bit offsets) or LargeUtf8 (64-bit offsets): the buffers of the array as they
/// are. They are read during the call and not kept.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_arrow_texts {
    /// sizeof(kinglet_arrow_texts), set by the caller.
    pub struct_size: usize,
    /// The number of texts: the `length` of the array.
    pub count: usize,
    /// The number of the first text in the buffers: the `offset` of the array, 0 unless it is a slice.
    pub first: usize,
    /// The buffer of offsets: `first + count + 1` signed integers. Text i of the buffers is bytes `offsets[i]` to `offsets[i + 1]`
    /// (exclusive) of `data`.
    pub offsets: *const c_void,
    /// The size of an offset: 32 or 64 bits.
    pub offset_bits: u32,
    /// Must be 0.
    pub reserved: u32,
    /// The buffer of characters, UTF-8. It may be NULL if `data_size` is 0.
    pub data: *const c_char,
    /// The number of bytes of `data`; no offset may be greater.
    pub data_size: usize,
    /// The validity bitmap of the buffers, lowest bit first. NULL: there are no nulls. A null among the texts is refused by its number.
    pub validity: *const u8,
}

versioned!(kinglet_arrow_texts, "texts", 64);

/// Where kinglet_model_embed_arrow writes. Nothing is written if the call fails.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_embedding_buffer {
    /// sizeof(kinglet_embedding_buffer), set by the caller.
    pub struct_size: usize,
    /// The values per vector that the caller expects: `embedding_dimension` of kinglet_model_view, or `truncate_dim` of the options if
    /// that is less. Another number than the call would write is refused before any work.
    pub dimension: usize,
    /// Receives the vectors.
    pub values: *mut f32,
    /// The number of values that fit there: at least `(count - 1) * stride + dimension`.
    pub capacity: usize,
    /// The distance between the first values of two vectors, at least `dimension`; what lies between them is not written. 0:
    /// `dimension`, so that the vectors are one after the other.
    pub stride: usize,
    /// Receives the tokens of each text, special tokens included: `count` values. NULL: not wanted.
    pub token_counts: *mut usize,
    /// Receives 1 for each text that was truncated, else 0: `count` values. NULL: not wanted.
    pub truncated: *mut u8,
}

versioned!(kinglet_embedding_buffer, "buffer", 56);

/// Computes one embedding for each text of an Arrow array and writes it into the caller's memory, as kinglet_model_embed computes them.
/// `options` may be NULL; KINGLET_POOLING_NONE is refused. Fails with KINGLET_STATUS_INVALID_ARGUMENT for a null, for offsets that
/// decrease or are greater than `data_size`, and for a buffer that is too small; otherwise like kinglet_model_embed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_embed_arrow(
    model: *const kinglet_model,
    texts: *const kinglet_arrow_texts,
    options: *const kinglet_embed_options,
    buffer: *const kinglet_embedding_buffer,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        for (missing, name) in [(texts.is_null(), "texts"), (buffer.is_null(), "buffer")] {
            if missing {
                return Err(null(name));
            }
        }
        // SAFETY: C passes a live handle, structs of the size that they state, and buffers as `kinglet_arrow_texts` says.
        let (loaded, texts, options, buffer) = unsafe {
            let texts = self::options(texts)?.texts()?;
            (handle::borrow(model)?, texts, embedding::read(options)?, self::options(buffer)?)
        };
        let dimension = loaded.model.embedding_size_with(&options)?;
        let rows = buffer.rows(texts.len(), dimension)?;
        let embeddings = loaded.model.embed(&texts, &options)?;
        // SAFETY: `rows` checked the sizes, and the caller promises that the memory is there and its own.
        unsafe { rows.write(&embeddings.values, &embeddings.tokens, &embeddings.truncated) };
        Ok(())
    })
}

impl kinglet_arrow_texts {
    /// The texts, each checked.
    ///
    /// # Safety
    /// The buffers have the sizes that the struct states, and live as long as the texts are used.
    unsafe fn texts<'a>(&self) -> Result<Vec<&'a str>> {
        if self.reserved != 0 {
            return Err(Error::unsupported(format!("texts.reserved: is {}, and must be 0", self.reserved)));
        }
        let width = match self.offset_bits {
            32 => 4,
            64 => 8,
            other => return Err(Error::invalid_argument(format!("texts.offset_bits: {other} is neither 32 nor 64"))),
        };
        if self.count == 0 {
            return Err(Error::invalid_argument("texts.count: is 0, and there must be a text"));
        }
        if self.offsets.is_null() {
            return Err(null("texts.offsets"));
        }
        if self.data.is_null() && self.data_size != 0 {
            return Err(null("texts.data"));
        }
        let end = self.first.checked_add(self.count).and_then(|n| n.checked_add(1));
        if end.and_then(|n| n.checked_mul(width)).is_none_or(|bytes| bytes > isize::MAX as usize) {
            return Err(Error::invalid_argument(format!("texts.count: {} offsets cannot be", self.count)));
        }
        if self.data_size > isize::MAX as usize {
            let size = self.data_size;
            return Err(Error::invalid_argument(format!("texts.data_size: a size of {size} bytes cannot be")));
        }
        let data: &[u8] = match self.data_size {
            0 => &[],
            // SAFETY: not NULL, and of this size by the caller's promise.
            size => unsafe { std::slice::from_raw_parts(self.data.cast::<u8>(), size) },
        };
        // SAFETY: `i` is at most `first + count`, and there are so many offsets and one more.
        (0..self.count).map(|i| unsafe { self.text(data, i) }).collect()
    }

    /// # Safety
    /// `i` is less than `count`; the rest as for `texts`.
    unsafe fn text<'a>(&self, data: &'a [u8], i: usize) -> Result<&'a str> {
        let at = self.first + i;
        // SAFETY: the bitmap has a bit for each text of the buffers.
        if !self.validity.is_null() && unsafe { self.validity.add(at / 8).read() } >> (at % 8) & 1 == 0 {
            return Err(Error::invalid_argument(format!(
                "texts.validity: text {i} is null; leave nulls out or fill them first"
            )));
        }
        // SAFETY: there is an offset for each text and one more.
        let (start, end) = unsafe { (self.offset(at), self.offset(at + 1)) };
        let bytes = match (usize::try_from(start), usize::try_from(end)) {
            (Ok(start), Ok(end)) => data.get(start..end),
            _ => None,
        };
        let Some(bytes) = bytes else {
            let size = self.data_size;
            return Err(Error::invalid_argument(format!(
                "texts.offsets: text {i} is bytes {start} to {end}, which are not in the {size} bytes of texts.data"
            )));
        };
        std::str::from_utf8(bytes).map_err(|e| {
            Error::invalid_argument(format!("texts.data: text {i} is not UTF-8 (byte {} of it)", e.valid_up_to()))
        })
    }

    /// # Safety
    /// `i` is at most `first + count`. Offsets need not be aligned: buffers that were read from a file are not always.
    unsafe fn offset(&self, i: usize) -> i64 {
        // SAFETY: the caller's promise.
        unsafe {
            match self.offset_bits {
                32 => self.offsets.cast::<i32>().add(i).read_unaligned().into(),
                _ => self.offsets.cast::<i64>().add(i).read_unaligned(),
            }
        }
    }
}

/// A buffer whose sizes were checked.
struct Rows {
    buffer: kinglet_embedding_buffer,
    stride: usize,
}

impl kinglet_embedding_buffer {
    fn rows(self, count: usize, dimension: usize) -> Result<Rows> {
        let bad = |what: String| Err(Error::invalid_argument(what));
        if self.values.is_null() {
            return Err(null("buffer.values"));
        }
        if !self.values.is_aligned() || !self.token_counts.is_aligned() {
            return bad("buffer: `values` and `token_counts` must be aligned to their types".into());
        }
        if self.dimension != dimension {
            let expected = self.dimension;
            return bad(format!("buffer.dimension: is {expected}, and a vector has {dimension} values"));
        }
        let stride = if self.stride == 0 { dimension } else { self.stride };
        if stride < dimension {
            return bad(format!("buffer.stride: {stride} is less than the {dimension} values of a vector"));
        }
        let needed = (count - 1).checked_mul(stride).and_then(|n| n.checked_add(dimension));
        match needed {
            Some(needed) if needed <= self.capacity && self.capacity <= isize::MAX as usize / size_of::<f32>() => {
                Ok(Rows { buffer: self, stride })
            }
            Some(needed) if needed > self.capacity => {
                bad(format!("buffer.capacity: is {}, and {needed} values are needed", self.capacity))
            }
            _ => bad(format!("buffer.capacity: {} values cannot be", self.capacity)),
        }
    }
}

impl Rows {
    /// # Safety
    /// The caller of C gave memory of the stated sizes to write to.
    unsafe fn write(&self, values: &[f32], tokens: &[usize], truncated: &[u8]) {
        let b = &self.buffer;
        // SAFETY: `rows` checked that all rows fit; the arrays have one value per text.
        unsafe {
            for (i, row) in values.chunks_exact(b.dimension).enumerate() {
                b.values.add(i * self.stride).copy_from(row.as_ptr(), row.len());
            }
            if !b.token_counts.is_null() {
                b.token_counts.copy_from(tokens.as_ptr(), tokens.len());
            }
            if !b.truncated.is_null() {
                b.truncated.copy_from(truncated.as_ptr(), truncated.len());
            }
        }
    }
}
