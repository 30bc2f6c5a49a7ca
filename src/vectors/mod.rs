//! Embeddings as plain memory, without a model: types of fewer bits, and exact search.

mod codes;
mod search;
#[cfg(test)]
mod tests;

use half::f16;

use crate::base::error::{Error, Result};

pub use codes::{EmbeddingCodes, embedding_ranges, quantize_embeddings};
pub use search::{SearchHits, SearchOptions, Similarity, search};

/// The most values of an embedding: sums of products of bytes are then exact in 32 bits.
const MAX_DIMENSION: usize = 32_768;

/// The type of an embedding's values. The numbers are part of the C ABI: new ones are only appended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum EmbeddingType {
    #[default]
    Float32 = 0,
    Float16 = 1,
    /// One of 256 steps of the dimension's range, from -128 to 127.
    Int8 = 2,
    /// The same from 0 to 255.
    Uint8 = 3,
    /// Whether each value is above 0: eight values to a byte, the first in the highest bit. Of such a byte 128 is subtracted.
    Binary = 4,
    /// The same as unsigned bytes.
    Ubinary = 5,
}

impl EmbeddingType {
    pub const ALL: [Self; 6] = [Self::Float32, Self::Float16, Self::Int8, Self::Uint8, Self::Binary, Self::Ubinary];

    pub fn from_u32(value: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|&kind| kind as u32 == value)
    }

    /// As sentence-transformers' `precision`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::Float16 => "float16",
            Self::Int8 => "int8",
            Self::Uint8 => "uint8",
            Self::Binary => "binary",
            Self::Ubinary => "ubinary",
        }
    }

    /// The elements of an embedding of `dimension` values: bytes of eight values for binary types.
    pub fn width(self, dimension: usize) -> usize {
        if self.is_binary() { dimension.div_ceil(8) } else { dimension }
    }

    fn is_binary(self) -> bool {
        matches!(self, Self::Binary | Self::Ubinary)
    }
}

/// Elements of embeddings, one embedding after the other.
#[derive(Clone, Copy, Debug)]
pub enum EmbeddingValues<'a> {
    Float32(&'a [f32]),
    Float16(&'a [f16]),
    Int8(&'a [i8]),
    Uint8(&'a [u8]),
    Binary(&'a [i8]),
    Ubinary(&'a [u8]),
}

impl EmbeddingValues<'_> {
    pub fn kind(&self) -> EmbeddingType {
        match self {
            Self::Float32(_) => EmbeddingType::Float32,
            Self::Float16(_) => EmbeddingType::Float16,
            Self::Int8(_) => EmbeddingType::Int8,
            Self::Uint8(_) => EmbeddingType::Uint8,
            Self::Binary(_) => EmbeddingType::Binary,
            Self::Ubinary(_) => EmbeddingType::Ubinary,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Float32(values) => values.len(),
            Self::Float16(values) => values.len(),
            Self::Int8(values) | Self::Binary(values) => values.len(),
            Self::Uint8(values) | Self::Ubinary(values) => values.len(),
        }
    }
}

/// Embeddings of `dimension` values in the caller's memory.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddingRows<'a> {
    pub values: EmbeddingValues<'a>,
    pub count: usize,
    /// Values per embedding; of binary types, too, where eight of them share a byte. Spare bits of the last byte are 0.
    pub dimension: usize,
    /// The distance between the first elements of two embeddings.
    pub stride: usize,
}

impl<'a> EmbeddingRows<'a> {
    /// Embeddings without anything between them: as many as the values make.
    pub fn new(values: EmbeddingValues<'a>, dimension: usize) -> Self {
        let stride = values.kind().width(dimension);
        Self { values, count: values.len().checked_div(stride).unwrap_or(0), dimension, stride }
    }

    /// Elements of an embedding.
    fn width(&self) -> usize {
        self.values.kind().width(self.dimension)
    }

    /// `name` is the argument.
    fn check(&self, name: &str) -> Result<()> {
        let (count, width) = (self.count, self.width());
        check_shape(name, self.dimension, width, self.stride)?;
        match elements(count, width, self.stride) {
            Some(needed) if needed <= self.values.len() => Ok(()),
            _ => Err(Error::invalid_argument(format!(
                "{name}.count: {count} embeddings do not fit into {} elements",
                self.values.len()
            ))),
        }
    }
}

/// Fails unless embeddings can have this dimension, and `width` elements at this stride.
pub(crate) fn check_shape(name: &str, dimension: usize, width: usize, stride: usize) -> Result<()> {
    if !(1..=MAX_DIMENSION).contains(&dimension) {
        return Err(Error::invalid_argument(format!("{name}.dimension: {dimension} is not in 1 to {MAX_DIMENSION}")));
    }
    if stride < width {
        return Err(Error::invalid_argument(format!(
            "{name}.stride: {stride} is less than the {width} elements of an embedding"
        )));
    }
    Ok(())
}

/// The elements from the first of the first row to the last of the last; `None` if there cannot be so many.
pub(crate) fn elements(count: usize, width: usize, stride: usize) -> Option<usize> {
    match count.checked_sub(1) {
        Some(last) => last.checked_mul(stride)?.checked_add(width),
        None => Some(0),
    }
}

/// Row `i`.
fn row<T>(values: &[T], width: usize, stride: usize, i: usize) -> &[T] {
    &values[i * stride..][..width]
}
