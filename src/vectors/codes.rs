//! Embeddings in fewer bits, as sentence-transformers' `quantize_embeddings` makes them.

use half::f16;

use crate::base::error::{Error, Result};
use crate::base::memory::{catch, grow};

use super::{EmbeddingRows, EmbeddingType, EmbeddingValues, row};

/// Embeddings in another type, one after the other.
#[derive(Clone, Debug, PartialEq)]
pub enum EmbeddingCodes {
    Float32(Vec<f32>),
    Float16(Vec<f16>),
    Int8(Vec<i8>),
    Uint8(Vec<u8>),
    Binary(Vec<i8>),
    Ubinary(Vec<u8>),
}

impl EmbeddingCodes {
    pub fn values(&self) -> EmbeddingValues<'_> {
        match self {
            Self::Float32(values) => EmbeddingValues::Float32(values),
            Self::Float16(values) => EmbeddingValues::Float16(values),
            Self::Int8(values) => EmbeddingValues::Int8(values),
            Self::Uint8(values) => EmbeddingValues::Uint8(values),
            Self::Binary(values) => EmbeddingValues::Binary(values),
            Self::Ubinary(values) => EmbeddingValues::Ubinary(values),
        }
    }
}

/// The range of each dimension: the least value of each in the first `dimension` numbers, the greatest in those after them.
///
/// # Errors
/// No embeddings; another type than float32; a value that is not finite.
pub fn embedding_ranges(embeddings: &EmbeddingRows) -> Result<Vec<f32>> {
    let values = floats("embeddings", embeddings)?;
    let dimension = embeddings.dimension;
    if embeddings.count == 0 {
        return Err(Error::invalid_argument("embeddings.count: is 0, and ranges need an embedding"));
    }
    let mut ranges = vec![f32::INFINITY; dimension];
    ranges.resize(2 * dimension, f32::NEG_INFINITY);
    let (least, most) = ranges.split_at_mut(dimension);
    for i in 0..embeddings.count {
        let row = row(values, dimension, embeddings.stride, i);
        if let Some(at) = row.iter().position(|x| !x.is_finite()) {
            return Err(not_a_number("embeddings", i, at, row[at]));
        }
        for ((&x, least), most) in row.iter().zip(&mut *least).zip(&mut *most) {
            *least = least.min(x);
            *most = most.max(x);
        }
    }
    Ok(ranges)
}

/// Embeddings in another type, by sentence-transformers' rules. `ranges` are for int8 and uint8, as [`embedding_ranges`] gives them;
/// without them they are those of the embeddings themselves. Codes of a corpus and of its queries must have the same ranges.
///
/// A value becomes `⌊(value - least) / step⌋`, at least 0 and at most 255, where a step is `(most - least) / 255`, or 1 if that is 0; for
/// int8 less 128. float16 is rounded to nearest; magnitudes from 65520 on become infinite.
///
/// # Errors
/// Another type than float32; a NaN; ranges of another length, that are not finite, or whose greatest value is below the least.
pub fn quantize_embeddings(
    embeddings: &EmbeddingRows,
    to: EmbeddingType,
    ranges: Option<&[f32]>,
) -> Result<EmbeddingCodes> {
    quantize("embeddings", embeddings, to, ranges)
}

/// As [`quantize_embeddings`]; `name` is the argument that holds the embeddings.
pub(super) fn quantize(
    name: &str,
    embeddings: &EmbeddingRows,
    to: EmbeddingType,
    ranges: Option<&[f32]>,
) -> Result<EmbeddingCodes> {
    let values = floats(name, embeddings)?;
    let dimension = embeddings.dimension;
    let by_range = matches!(to, EmbeddingType::Int8 | EmbeddingType::Uint8);
    if let Some(ranges) = ranges {
        check_ranges(ranges, dimension)?;
    }
    let rows = (0..embeddings.count).map(|i| row(values, dimension, embeddings.stride, i));
    for (i, row) in rows.clone().enumerate() {
        if let Some(at) = row.iter().position(|x| x.is_nan()) {
            return Err(not_a_number(name, i, at, row[at]));
        }
    }
    let own = match ranges {
        None if by_range && embeddings.count > 0 => embedding_ranges(embeddings)?,
        _ => Vec::new(),
    };
    let scale = Scale::new(ranges.unwrap_or(&own), dimension);
    catch(|| {
        let width = to.width(dimension);
        Ok(match to {
            EmbeddingType::Float32 => EmbeddingCodes::Float32(made(rows, width, |row, out| out.extend_from_slice(row))),
            EmbeddingType::Float16 => EmbeddingCodes::Float16(made(rows, width, |row, out| {
                out.extend(row.iter().map(|&x| f16::from_f32(x)));
            })),
            EmbeddingType::Int8 => EmbeddingCodes::Int8(made(rows, width, |row, out| {
                out.extend(scale.steps(row).map(|x| (x ^ 128).cast_signed()));
            })),
            EmbeddingType::Uint8 => EmbeddingCodes::Uint8(made(rows, width, |row, out| out.extend(scale.steps(row)))),
            EmbeddingType::Binary => EmbeddingCodes::Binary(made(rows, width, |row, out| {
                out.extend(bits(row).map(|byte| (byte ^ 128).cast_signed()));
            })),
            EmbeddingType::Ubinary => EmbeddingCodes::Ubinary(made(rows, width, |row, out| out.extend(bits(row)))),
        })
    })
}

/// Ranges of another source than [`embedding_ranges`].
fn check_ranges(ranges: &[f32], dimension: usize) -> Result<()> {
    if ranges.len() != 2 * dimension {
        let (found, needed) = (ranges.len(), 2 * dimension);
        return Err(Error::invalid_argument(format!("ranges: are {found} numbers, and {needed} are needed")));
    }
    let (least, most) = ranges.split_at(dimension);
    match least.iter().zip(most).position(|(a, b)| !(a.is_finite() && b.is_finite() && a <= b)) {
        None => Ok(()),
        Some(at) => {
            let (a, b) = (least[at], most[at]);
            Err(Error::invalid_argument(format!("ranges: {a} to {b} is no range of values (dimension {at})")))
        }
    }
}

/// Steps of each dimension; empty for types that have none.
struct Scale<'a> {
    starts: &'a [f32],
    steps: Vec<f32>,
}

impl<'a> Scale<'a> {
    fn new(ranges: &'a [f32], dimension: usize) -> Self {
        let (starts, most) = ranges.split_at(dimension.min(ranges.len()));
        let steps = starts.iter().zip(most).map(|(least, most)| match (most - least) / 255.0 {
            0.0 => 1.0,
            step => step,
        });
        Self { starts, steps: steps.collect() }
    }

    /// The values in whole steps from the start of their ranges, saturated.
    fn steps<'b>(&'b self, row: &'b [f32]) -> impl Iterator<Item = u8> + 'b {
        row.iter().zip(self.starts).zip(&self.steps).map(|((x, start), step)| ((x - start) / step).floor() as u8)
    }
}

/// Signs as bits, the first value in the highest one.
fn bits(row: &[f32]) -> impl Iterator<Item = u8> + '_ {
    row.chunks(8).map(|eight| eight.iter().enumerate().fold(0, |byte, (i, &x)| byte | u8::from(x > 0.0) << (7 - i)))
}

fn made<'a, T>(
    rows: impl ExactSizeIterator<Item = &'a [f32]>,
    width: usize,
    append: impl Fn(&[f32], &mut Vec<T>),
) -> Vec<T> {
    let mut out = Vec::new();
    grow(&mut out, rows.len().saturating_mul(width), "the codes");
    rows.for_each(|row| append(row, &mut out));
    out
}

fn floats<'a>(name: &str, embeddings: &EmbeddingRows<'a>) -> Result<&'a [f32]> {
    embeddings.check(name)?;
    match embeddings.values {
        EmbeddingValues::Float32(values) => Ok(values),
        other => {
            Err(Error::invalid_argument(format!("{name}.kind: is {}, and float32 is needed", other.kind().name())))
        }
    }
}

fn not_a_number(name: &str, row: usize, at: usize, value: f32) -> Error {
    Error::invalid_argument(format!("{name}: value {at} of embedding {row} is {value}"))
}
