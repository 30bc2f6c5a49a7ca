//! The fields of a GGUF file. The getters check type and range, and their errors name the file and the field.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::base::error::{Error, Result};
use crate::formats::quoted;

/// The maximum that [`Metadata::usize`] accepts, far above any dimension, count or token id of a model.
const MAX_USIZE: u64 = 1 << 31;

#[derive(Debug)]
pub(super) enum Value {
    Unsigned(u64),
    Signed(i64),
    Single(f32),
    Double(f64),
    Bool(bool),
    Text(String),
    Array(Array),
}

/// A list, kept as it is stored in the file.
#[derive(Debug)]
pub(super) enum Array {
    /// Little-endian numbers of one of GGUF's types.
    Numbers { kind: u32, bytes: Vec<u8> },
    /// Concatenated texts, and the end of each.
    Texts { all: String, ends: Vec<u32> },
}

impl Array {
    /// The numbers, or None for a list of texts.
    pub fn numbers(&self) -> Option<impl ExactSizeIterator<Item = f64>> {
        let Self::Numbers { kind, bytes } = self else { return None };
        // The container has refused all other kinds.
        let (size, read): (usize, fn(&[u8]) -> f64) = match kind {
            0 | 7 => (1, |b| f64::from(b[0])),
            1 => (1, |b| f64::from(b[0] as i8)),
            2 => (2, |b| f64::from(u16::from_le_bytes([b[0], b[1]]))),
            3 => (2, |b| f64::from(i16::from_le_bytes([b[0], b[1]]))),
            4 => (4, |b| f64::from(u32::from_le_bytes([b[0], b[1], b[2], b[3]]))),
            5 => (4, |b| f64::from(i32::from_le_bytes([b[0], b[1], b[2], b[3]]))),
            6 => (4, |b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]]))),
            10 => (8, |b| u64::from_le_bytes(first_eight(b)) as f64),
            11 => (8, |b| i64::from_le_bytes(first_eight(b)) as f64),
            _ => (8, |b| f64::from_le_bytes(first_eight(b))),
        };
        Some(bytes.chunks_exact(size).map(read))
    }
}

fn first_eight(bytes: &[u8]) -> [u8; 8] {
    bytes.first_chunk().copied().unwrap_or_default()
}

/// A list of texts.
#[derive(Clone, Copy)]
pub(super) struct Texts<'a> {
    all: &'a str,
    ends: &'a [u32],
}

impl<'a> Texts<'a> {
    pub fn len(self) -> usize {
        self.ends.len()
    }

    pub fn get(self, i: usize) -> Option<&'a str> {
        let end = *self.ends.get(i)? as usize;
        let begin = i.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        self.all.get(begin..end)
    }

    pub fn iter(self) -> impl Iterator<Item = &'a str> {
        (0..self.len()).map(move |i| self.get(i).unwrap_or_default())
    }
}

pub(super) struct Metadata {
    path: PathBuf,
    fields: BTreeMap<String, Value>,
}

impl Metadata {
    pub fn new(path: &Path, fields: BTreeMap<String, Value>) -> Self {
        Self { path: path.to_owned(), fields }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The error for a field that cannot be used: `what` continues the sentence "field `llama.block_count` …".
    pub fn invalid(&self, key: &str, what: impl std::fmt::Display) -> Error {
        Error::invalid_file(&self.path, format!("field {} {what}", quoted(key)))
    }

    pub fn missing(&self, key: &str) -> Error {
        self.invalid(key, "is missing")
    }

    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str)
    }

    pub fn value(&self, key: &str) -> Option<&Value> {
        self.fields.get(key)
    }

    pub fn has(&self, key: &str) -> bool {
        self.fields.contains_key(key)
    }

    /// Whether a field is a single whole number that satisfies `is`.
    pub fn is_number(&self, key: &str, is: impl FnOnce(f64) -> bool) -> bool {
        match self.fields.get(key) {
            Some(Value::Unsigned(number)) => is(*number as f64),
            Some(Value::Signed(number)) => is(*number as f64),
            _ => false,
        }
    }

    fn typed<'a, T>(&'a self, key: &str, wanted: &str, get: impl FnOnce(&'a Value) -> Option<T>) -> Result<Option<T>> {
        let Some(value) = self.fields.get(key) else { return Ok(None) };
        match get(value) {
            Some(result) => Ok(Some(result)),
            None => Err(self.invalid(key, format!("must be {wanted}; it is {}", describe(value)))),
        }
    }

    pub fn unsigned_opt(&self, key: &str) -> Result<Option<u64>> {
        self.typed(key, "a whole number", whole_number)
    }

    /// A whole number from 0 to 2^31. A list of the same number for every layer counts as that number.
    pub fn usize_opt(&self, key: &str) -> Result<Option<usize>> {
        self.typed(key, "a whole number from 0 to 2147483648", |value| {
            let number = match value {
                Value::Array(list) => {
                    let mut numbers = list.numbers()?;
                    let first = numbers.next()?;
                    // The bounds also exclude NaN.
                    let same = numbers.all(|n| n == first) && first.fract() == 0.0 && (0.0..=1e10).contains(&first);
                    same.then_some(first as u64)?
                }
                value => whole_number(value)?,
            };
            usize::try_from(number).ok().filter(|_| number <= MAX_USIZE)
        })
    }

    pub fn usize(&self, key: &str) -> Result<usize> {
        self.usize_opt(key)?.ok_or_else(|| self.missing(key))
    }

    /// A number that is finite as f32.
    pub fn f32_opt(&self, key: &str) -> Result<Option<f32>> {
        self.typed(key, "a number within the range of f32", |value| {
            let number = match value {
                Value::Single(x) => *x,
                Value::Double(x) => *x as f32,
                Value::Unsigned(n) => *n as f32,
                Value::Signed(n) => *n as f32,
                _ => return None,
            };
            Some(number).filter(|x| x.is_finite())
        })
    }

    pub fn f32(&self, key: &str) -> Result<f32> {
        self.f32_opt(key)?.ok_or_else(|| self.missing(key))
    }

    pub fn bool_opt(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "true or false", |value| match value {
            Value::Bool(yes) => Some(*yes),
            _ => None,
        })
    }

    pub fn text_opt(&self, key: &str) -> Result<Option<&str>> {
        self.typed(key, "a text", |value| match value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    pub fn text(&self, key: &str) -> Result<&str> {
        self.text_opt(key)?.ok_or_else(|| self.missing(key))
    }

    pub fn texts_opt(&self, key: &str) -> Result<Option<Texts<'_>>> {
        self.typed(key, "a list of texts", |value| match value {
            Value::Array(Array::Texts { all, ends }) => Some(Texts { all, ends }),
            _ => None,
        })
    }

    pub fn texts(&self, key: &str) -> Result<Texts<'_>> {
        self.texts_opt(key)?.ok_or_else(|| self.missing(key))
    }

    /// A list of numbers; None if the field is absent.
    pub fn numbers_opt(&self, key: &str) -> Result<Option<impl ExactSizeIterator<Item = f64>>> {
        self.typed(key, "a list of numbers", |value| match value {
            Value::Array(list) => list.numbers(),
            _ => None,
        })
    }

    /// As [`Self::numbers_opt`], but None also if the field is a single value.
    pub fn list_opt(&self, key: &str) -> Result<Option<impl ExactSizeIterator<Item = f64>>> {
        match self.fields.get(key) {
            Some(Value::Array(_)) => self.numbers_opt(key),
            _ => Ok(None),
        }
    }
}

fn whole_number(value: &Value) -> Option<u64> {
    match value {
        Value::Unsigned(number) => Some(*number),
        Value::Signed(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Unsigned(n) => n.to_string(),
        Value::Signed(n) => n.to_string(),
        Value::Single(x) => x.to_string(),
        Value::Double(x) => x.to_string(),
        Value::Bool(yes) => yes.to_string(),
        Value::Text(text) => format!("the text {}", quoted(text)),
        Value::Array(Array::Texts { ends, .. }) => format!("a list of {} texts", ends.len()),
        Value::Array(list) => format!("a list of {} numbers", list.numbers().map_or(0, |numbers| numbers.len())),
    }
}
