//! The values of a template, with Python's semantics: how they print, compare, sort and convert to a boolean.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::budget::{Budget, Text};
use crate::error::{Result, fail, over_limit, quoted};

/// How deep lists and dictionaries may nest. To free, print or compare them is recursive.
const DEPTH: u32 = 160;
/// The bytes of a list or dictionary without its items.
const OBJECT: usize = 64;
/// The cost of printing a float, in steps: to find the shortest digits that read back the same may take big integers.
const PRINT_FLOAT: usize = 8;

/// Variables, attributes or arguments. They are few, so that a linear search is fastest.
pub(crate) type Named = Vec<(Arc<str>, Value)>;

#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// With the name that was not found, for the error message.
    Undefined(Option<Arc<str>>),
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(Arc<str>),
    List(Arc<List>),
    Dict(Arc<Dict>),
    /// The evaluator owns namespaces, macros and loops, and values hold their indices. So references cannot form a cycle.
    Namespace(usize),
    Macro(usize),
    Loop(usize),
    Joiner(usize),
    Function(Function),
    /// A method that is not called.
    Method,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    Range,
    Dict,
    Joiner,
    Namespace,
    RaiseException,
    StrftimeNow,
}

#[derive(Debug)]
pub(crate) struct List {
    pub items: Vec<Value>,
    /// A tuple prints with parentheses and is never equal to a list.
    pub tuple: bool,
    depth: u32,
}

#[derive(Debug)]
pub(crate) struct Dict {
    pub entries: Vec<(Value, Value)>,
    depth: u32,
}

impl Dict {
    /// Of two equal keys the later value wins and takes the earlier place.
    pub fn new(pairs: Vec<(Value, Value)>, budget: &mut Budget) -> Result<Self> {
        budget.allocate(OBJECT)?;
        budget.allocate_items::<(Value, Value)>(pairs.len())?;
        let mut entries: Vec<(Value, Value)> = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            if matches!(key, Value::List(ref list) if !list.tuple) || matches!(key, Value::Dict(_)) {
                return fail(format!("{} cannot be a dictionary key", key.type_name()));
            }
            match position(&entries, &key, budget)? {
                Some(at) => entries[at].1 = value,
                None => entries.push((key, value)),
            }
        }
        Self::of_distinct(entries)
    }

    fn of_distinct(entries: Vec<(Value, Value)>) -> Result<Self> {
        let depth = depth_over(entries.iter().flat_map(|(key, value)| [key, value]))?;
        Ok(Self { entries, depth })
    }

    pub fn get(&self, key: &Value, budget: &mut Budget) -> Result<Option<&Value>> {
        Ok(position(&self.entries, key, budget)?.map(|at| &self.entries[at].1))
    }
}

/// The items of a new list. Their count is known, so that the list is charged before it is allocated.
pub(crate) trait Items: IntoIterator<Item = Value, IntoIter: ExactSizeIterator> {}

impl<I: IntoIterator<Item = Value, IntoIter: ExactSizeIterator>> Items for I {}

impl Value {
    pub fn str(text: impl Into<Arc<str>>) -> Self {
        Self::Str(text.into())
    }

    pub fn list(items: impl Items, budget: &mut Budget) -> Result<Self> {
        Self::sequence(items, false, budget)
    }

    pub fn tuple(items: impl Items, budget: &mut Budget) -> Result<Self> {
        Self::sequence(items, true, budget)
    }

    pub fn sequence(items: impl Items, tuple: bool, budget: &mut Budget) -> Result<Self> {
        let items = items.into_iter();
        budget.allocate(OBJECT)?;
        budget.allocate_items::<Value>(items.len())?;
        let items: Vec<Value> = items.collect();
        let depth = depth_over(items.iter())?;
        Ok(Self::List(Arc::new(List { items, tuple, depth })))
    }

    pub fn dict(pairs: Vec<(Value, Value)>, budget: &mut Budget) -> Result<Self> {
        Ok(Self::Dict(Arc::new(Dict::new(pairs, budget)?)))
    }

    /// None if the integer overflowed.
    pub fn integer(n: Option<i64>) -> Result<Self> {
        n.map_or_else(|| fail("an integer is too large for 64 bits"), |n| Ok(Self::Int(n)))
    }

    pub fn from_json(json: &serde_json::Value, budget: &mut Budget) -> Result<Self> {
        use serde_json::Value as Json;
        Ok(match json {
            Json::Null => Self::None,
            Json::Bool(b) => Self::Bool(*b),
            Json::Number(n) => match (n.as_i64(), n.as_f64()) {
                (Some(n), _) => Self::Int(n),
                (None, n) => Self::Float(n.unwrap_or(f64::NAN)),
            },
            Json::String(s) => {
                budget.allocate(s.len())?;
                Self::str(s.as_str())
            }
            Json::Array(items) => {
                let items: Vec<_> = items.iter().map(|item| Self::from_json(item, budget)).collect::<Result<_>>()?;
                Self::list(items, budget)?
            }
            Json::Object(map) => {
                budget.allocate_items::<(Self, Self)>(map.len())?;
                let entry = |(key, value): (&String, _)| {
                    budget.allocate(key.len())?;
                    Ok((Self::str(key.as_str()), Self::from_json(value, budget)?))
                };
                // The keys of a JSON object are distinct.
                Self::Dict(Arc::new(Dict::of_distinct(map.iter().map(entry).collect::<Result<_>>()?)?))
            }
        })
    }

    /// The type with its article, for messages.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Undefined(_) => "an undefined value",
            Self::None => "None",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Str(_) => "a string",
            Self::List(list) if list.tuple => "a tuple",
            Self::List(_) => "a list",
            Self::Dict(_) => "a dictionary",
            Self::Namespace(_) => "a namespace",
            Self::Macro(_) => "a macro",
            Self::Loop(_) => "a loop",
            Self::Joiner(_) => "a joiner",
            Self::Function(_) => "a function",
            Self::Method => "a method",
        }
    }

    pub fn is_undefined(&self) -> bool {
        matches!(self, Self::Undefined(_))
    }

    pub fn is_true(&self) -> bool {
        match self {
            Self::Undefined(_) | Self::None => false,
            Self::Bool(b) => *b,
            Self::Int(n) => *n != 0,
            Self::Float(x) => *x != 0.0,
            Self::Str(s) => !s.is_empty(),
            Self::List(list) => !list.items.is_empty(),
            Self::Dict(dict) => !dict.entries.is_empty(),
            _ => true,
        }
    }

    /// The value as a number. As in Python, False is 0 and True is 1.
    pub fn number(&self) -> Option<Number> {
        match self {
            Self::Bool(b) => Some(Number::Int(i64::from(*b))),
            Self::Int(n) => Some(Number::Int(*n)),
            Self::Float(x) => Some(Number::Float(*x)),
            _ => None,
        }
    }

    /// The items that a `for` iterates over.
    pub fn items(&self, budget: &mut Budget) -> Result<Vec<Value>> {
        let count = match self {
            // Each character becomes a string, which takes as much as three items.
            Self::Str(s) => s.len().saturating_mul(3),
            Self::List(list) => list.items.len(),
            Self::Dict(dict) => dict.entries.len(),
            _ => 0,
        };
        budget.visit(count)?;
        budget.allocate_items::<Value>(count)?;
        Ok(match self {
            Self::Undefined(_) => Vec::new(),
            Self::Str(s) => s.chars().map(|c| Self::str(&*c.encode_utf8(&mut [0; 4]))).collect(),
            Self::List(list) => list.items.clone(),
            Self::Dict(dict) => dict.entries.iter().map(|(key, _)| key.clone()).collect(),
            other => return fail(format!("{} is not iterable", other.type_name())),
        })
    }

    /// Python's `str(value)`.
    pub fn to_text(&self, budget: &mut Budget) -> Result<Arc<str>> {
        if let Self::Str(s) = self {
            return Ok(s.clone());
        }
        let mut text = Text::new(budget);
        self.write(&mut text)?;
        Ok(text.finish().into())
    }

    pub fn write(&self, text: &mut Text) -> Result<()> {
        match self {
            Self::Undefined(_) => Ok(()),
            Self::Str(s) => text.push(s),
            other => other.write_repr(text),
        }
    }

    /// Python's `repr(value)`, which is also how the items of a list print.
    pub fn write_repr(&self, text: &mut Text) -> Result<()> {
        text.budget.spend(1)?;
        match self {
            Self::Undefined(_) => text.push("Undefined"),
            Self::None => text.push("None"),
            Self::Bool(true) => text.push("True"),
            Self::Bool(false) => text.push("False"),
            Self::Int(n) => text.format(format_args!("{n}")),
            Self::Float(x) => {
                text.budget.spend(PRINT_FLOAT)?;
                text.push(&float_text(*x))
            }
            Self::Str(s) => write_quoted(s, text),
            Self::List(list) => {
                text.push(if list.tuple { "(" } else { "[" })?;
                for (i, item) in list.items.iter().enumerate() {
                    if i > 0 {
                        text.push(", ")?;
                    }
                    item.write_repr(text)?;
                }
                match (list.tuple, list.items.len()) {
                    (true, 1) => text.push(",)"),
                    (true, _) => text.push(")"),
                    (false, _) => text.push("]"),
                }
            }
            Self::Dict(dict) => {
                text.push("{")?;
                for (i, (key, value)) in dict.entries.iter().enumerate() {
                    if i > 0 {
                        text.push(", ")?;
                    }
                    key.write_repr(text)?;
                    text.push(": ")?;
                    value.write_repr(text)?;
                }
                text.push("}")
            }
            other => text.format(format_args!("<{}>", other.type_name().trim_start_matches("a "))),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Number {
    Int(i64),
    Float(f64),
}

impl Number {
    pub fn float(self) -> f64 {
        match self {
            Self::Int(n) => n as f64,
            Self::Float(x) => x,
        }
    }

    fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(&b)),
            (a, b) => a.float().partial_cmp(&b.float()),
        }
    }
}

fn depth_over<'v>(items: impl Iterator<Item = &'v Value>) -> Result<u32> {
    let inner = items.map(|item| match item {
        Value::List(list) => list.depth,
        Value::Dict(dict) => dict.depth,
        _ => 0,
    });
    match inner.max().unwrap_or(0) + 1 {
        depth if depth > DEPTH => over_limit(format!("lists and dictionaries nest deeper than {DEPTH} levels")),
        depth => Ok(depth),
    }
}

/// The index of `key` in `entries`.
pub(crate) fn position(entries: &[(Value, Value)], key: &Value, budget: &mut Budget) -> Result<Option<usize>> {
    budget.visit(entries.len())?;
    for (i, (candidate, _)) in entries.iter().enumerate() {
        // Most keys are strings, for which no recursion is needed.
        let same = match (candidate, key) {
            (Value::Str(a), Value::Str(b)) => budget.same(a, b)?,
            (a, b) => equal(a, b, budget)?,
        };
        if same {
            return Ok(Some(i));
        }
    }
    Ok(None)
}

/// The index of `name` in `named`.
pub(crate) fn position_of_name(named: &Named, name: &str, budget: &mut Budget) -> Result<Option<usize>> {
    budget.visit(named.len())?;
    for (i, (candidate, _)) in named.iter().enumerate() {
        if budget.same(candidate, name)? {
            return Ok(Some(i));
        }
    }
    Ok(None)
}

pub(crate) fn equal(a: &Value, b: &Value, budget: &mut Budget) -> Result<bool> {
    budget.spend(1)?;
    Ok(match (a, b) {
        (Value::Undefined(_), Value::Undefined(_)) | (Value::None, Value::None) => true,
        (Value::Str(a), Value::Str(b)) => budget.same(a, b)?,
        (Value::List(a), Value::List(b)) => {
            if a.tuple != b.tuple || a.items.len() != b.items.len() {
                return Ok(false);
            }
            for (a, b) in a.items.iter().zip(&b.items) {
                if !equal(a, b, budget)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Dict(a), Value::Dict(b)) => {
            if a.entries.len() != b.entries.len() {
                return Ok(false);
            }
            for (key, value) in &a.entries {
                match position(&b.entries, key, budget)? {
                    Some(at) if equal(value, &b.entries[at].1, budget)? => {}
                    _ => return Ok(false),
                }
            }
            true
        }
        (Value::Namespace(a), Value::Namespace(b))
        | (Value::Macro(a), Value::Macro(b))
        | (Value::Loop(a), Value::Loop(b))
        | (Value::Joiner(a), Value::Joiner(b)) => a == b,
        (Value::Function(a), Value::Function(b)) => a == b,
        (a, b) => match (a.number(), b.number()) {
            (Some(a), Some(b)) => a.compare(b) == Some(Ordering::Equal),
            _ => false,
        },
    })
}

/// The order of two values, None if one of them is NaN.
pub(crate) fn compare(a: &Value, b: &Value, budget: &mut Budget) -> Result<Option<Ordering>> {
    budget.spend(1)?;
    match (a, b) {
        (Value::Str(a), Value::Str(b)) => {
            budget.scan(a.len().min(b.len()))?;
            // UTF-8 sorts in the order of the code points.
            Ok(Some(a.cmp(b)))
        }
        (Value::List(a), Value::List(b)) if a.tuple == b.tuple => {
            for (a, b) in a.items.iter().zip(&b.items) {
                if !equal(a, b, budget)? {
                    return compare(a, b, budget);
                }
            }
            Ok(Some(a.items.len().cmp(&b.items.len())))
        }
        (Value::Undefined(name), _) | (_, Value::Undefined(name)) => undefined(name.as_deref()),
        (a, b) => match (a.number(), b.number()) {
            (Some(a), Some(b)) => Ok(a.compare(b)),
            _ => fail(format!("cannot compare {} with {}", a.type_name(), b.type_name())),
        },
    }
}

/// Sorts stably, by merging, and charges for each comparison. The standard library's sort may panic if the order is not
/// total, as with NaN, and cannot stop at an error.
pub(crate) fn sort_by_key<T: Clone>(
    mut items: Vec<T>,
    key: impl Fn(&T) -> &Value,
    reverse: bool,
    budget: &mut Budget,
) -> Result<Vec<T>> {
    let before = if reverse { Ordering::Greater } else { Ordering::Less };
    budget.allocate_items::<T>(items.len())?;
    let mut merged = Vec::with_capacity(items.len());
    let mut width = 1;
    while width < items.len() {
        budget.visit(items.len())?;
        for run in items.chunks(2 * width) {
            let (mut left, mut right) = run.split_at(width.min(run.len()));
            while let ([a, after_a @ ..], [b, after_b @ ..]) = (left, right) {
                let item = if compare(key(b), key(a), budget)? == Some(before) {
                    right = after_b;
                    b
                } else {
                    left = after_a;
                    a
                };
                merged.push(item.clone());
            }
            merged.extend_from_slice(left);
            merged.extend_from_slice(right);
        }
        std::mem::swap(&mut items, &mut merged);
        merged.clear();
        width *= 2;
    }
    Ok(items)
}

/// The error if an undefined value is used.
pub(crate) fn undefined<T>(name: Option<&str>) -> Result<T> {
    match name {
        Some(name) => fail(format!("{} is undefined", quoted(name))),
        None => fail("an undefined value is used"),
    }
}

/// A float as Python prints it: the shortest digits that read back the same, with an exponent from 1e16 on and below 1e-4.
fn float_text(x: f64) -> String {
    if x.is_nan() {
        return "nan".into();
    }
    if x.is_infinite() {
        return if x > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let text = format!("{x:?}");
    match text.split_once('e') {
        None => text,
        Some((digits, exponent)) => {
            let digits = digits.strip_suffix(".0").unwrap_or(digits);
            let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
            format!("{digits}e{sign}{exponent:0>2}")
        }
    }
}

/// A string in quotes as Python's `repr` writes it.
fn write_quoted(s: &str, text: &mut Text) -> Result<()> {
    text.budget.scan(s.len())?;
    let quote = if s.contains('\'') && !s.contains('"') { '"' } else { '\'' };
    text.push_char(quote)?;
    for c in s.chars() {
        match c {
            '\\' => text.push("\\\\")?,
            '\n' => text.push("\\n")?,
            '\r' => text.push("\\r")?,
            '\t' => text.push("\\t")?,
            c if c == quote => {
                text.push("\\")?;
                text.push_char(c)?;
            }
            c if c == ' ' || !(c.is_control() || c.is_whitespace() || invisible(c)) => text.push_char(c)?,
            c if u32::from(c) < 0x100 => text.format(format_args!("\\x{:02x}", u32::from(c)))?,
            c if u32::from(c) < 0x10000 => text.format(format_args!("\\u{:04x}", u32::from(c)))?,
            c => text.format(format_args!("\\U{:08x}", u32::from(c)))?,
        }
    }
    text.push_char(quote)
}

/// Format and private-use characters, which Python escapes.
fn invisible(c: char) -> bool {
    matches!(u32::from(c), 0xad | 0x600..=0x605 | 0x61c | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f | 0xfeff
        | 0xfff9..=0xfffb | 0xe000..=0xf8ff | 0xe0001..=0xe007f | 0xf0000..=0x10ffff)
}
