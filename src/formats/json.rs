//! JSON files of a model: config.json, generation_config.json, the index of a sharded model and others.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::{open_regular, quoted, shortened};
use crate::base::error::{Error, Result};

/// The maximum size of a configuration file, in bytes. Most have a few thousand; an index of 100,000 tensors has 10 MB.
pub const CONFIG_LIMIT: u64 = 16 << 20;

/// The maximum number of values in one file. A parsed value takes about 80 bytes, its text as few as two: without this limit a
/// 16 MiB file of `[0,0,0,…` would take more than half a gigabyte.
const MAX_VALUES: usize = 1 << 20;

/// The maximum that [`Config::usize`] accepts, far above any dimension, count or token id of a model.
const MAX_USIZE: u64 = 1 << 31;

/// Reads a JSON file of at most `limit` bytes. serde_json refuses nesting beyond 128 levels, so a hostile file cannot exhaust
/// the stack. Fails with NotFound, Io or InvalidFile, and names the file.
pub fn read(path: &Path, limit: u64) -> Result<Value> {
    let (file, length) = open_regular(path)?;
    let mut text = Vec::new();
    // `length` can be stale by now, so the read itself is limited too.
    if length <= limit {
        file.take(limit.saturating_add(1)).read_to_end(&mut text).map_err(|e| Error::io(path, &e))?;
    }
    let length = length.max(text.len() as u64);
    check_length(path, length, limit)?;
    parse(path, &text, limit)
}

fn check_length(path: &Path, length: u64, limit: u64) -> Result<()> {
    if length > limit {
        return Err(Error::invalid_file(path, format!("the file has {length} bytes; the maximum is {limit}")));
    }
    Ok(())
}

/// Parses the text of a JSON file as [`read`] does.
pub fn parse(path: &Path, text: &[u8], limit: u64) -> Result<Value> {
    check_length(path, text.len() as u64, limit)?;
    if text.iter().filter(|b| matches!(b, b',' | b'[' | b'{')).count() > MAX_VALUES {
        return Err(Error::invalid_file(path, format!("the file has more than {MAX_VALUES} values")));
    }
    // Like Python's reader, this accepts a byte order mark, and numbers that JSON does not have.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let parsed = serde_json::from_slice(text).or_else(|error| match without_constants(text) {
        Some(text) => serde_json::from_slice(&text),
        None => Err(error),
    });
    parsed.map_err(|e| Error::invalid_file(path, format!("not valid JSON: {}", shortened(e))))
}

/// The text with `NaN`, `Infinity` and `-Infinity` in quotation marks, if it has any outside of strings: no value of serde_json is such a
/// number, and the getters refuse a string where a number is needed.
fn without_constants(text: &[u8]) -> Option<Vec<u8>> {
    const CONSTANTS: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];
    let (mut out, mut at, mut in_string, mut found) = (Vec::with_capacity(text.len() + 16), 0, false, false);
    while let Some(&byte) = text.get(at) {
        let constant = CONSTANTS.into_iter().find(|constant| !in_string && text[at..].starts_with(constant));
        if let Some(constant) = constant {
            out.extend([b"\"", constant, b"\""].concat());
            (at, found) = (at + constant.len(), true);
            continue;
        }
        let escaped = in_string && byte == b'\\';
        in_string ^= byte == b'"';
        out.push(byte);
        at += 1;
        if escaped && let Some(&next) = text.get(at) {
            out.push(next);
            at += 1;
        }
    }
    found.then_some(out)
}

/// [`read`], or None if no such file exists. A dangling link (a half-deleted download cache) is an error: treating it as an
/// absent file would silently change the model's behaviour.
pub fn read_if_exists(path: &Path, limit: u64) -> Result<Option<Value>> {
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        _ => read(path, limit).map(Some),
    }
}

/// A JSON object of a file. The getters check type and range, and their errors name the file and the field.
///
/// A field whose value is null counts as absent: Transformers writes null for "not set".
#[derive(Clone, Debug)]
pub struct Config {
    path: PathBuf,
    /// The prefix of field names in errors: empty, or for an inner object for instance `rope_scaling.`.
    prefix: String,
    object: Map<String, Value>,
}

impl Config {
    /// Reads the file at `path`, which must contain an object and have at most [`CONFIG_LIMIT`] bytes.
    pub fn open(path: &Path) -> Result<Self> {
        Self::from_value(path, read(path, CONFIG_LIMIT)?)
    }

    /// [`Config::open`], or None if no such file exists.
    pub fn open_if_exists(path: &Path) -> Result<Option<Self>> {
        read_if_exists(path, CONFIG_LIMIT)?.map(|value| Self::from_value(path, value)).transpose()
    }

    /// From a value that has already been read. Errors name `path`.
    pub fn from_value(path: &Path, value: Value) -> Result<Self> {
        match value {
            Value::Object(object) => Ok(Self { path: path.to_owned(), prefix: String::new(), object }),
            other => Err(Error::invalid_file(path, format!("expected an object, found {}", describe(&other)))),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The error for a field whose value has the right type but cannot be used; `what` continues "field `hidden_size` …".
    pub fn invalid(&self, key: &str, what: impl std::fmt::Display) -> Error {
        Error::invalid_file(&self.path, format!("field {} {what}", quoted(&format!("{}{key}", self.prefix))))
    }

    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    /// Whether the file has the field, even if it is null.
    pub fn contains(&self, key: &str) -> bool {
        self.object.contains_key(key)
    }

    /// The same object in which fields that are not null also count under other names, given as pairs of name and other name.
    pub fn with_aliases(&self, aliases: &[(&str, &str)]) -> Self {
        let mut config = self.clone();
        for (alias, name) in aliases {
            if let Some(value) = self.get(alias) {
                config.object.insert((*name).to_string(), value.clone());
            }
        }
        config
    }

    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.object.keys().map(String::as_str)
    }

    /// The fields with their values, null included.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.object.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// A whole number from 0 to 2^31. `12.0` counts as whole, because some exporters write it.
    pub fn usize(&self, key: &str) -> Result<usize> {
        self.usize_opt(key)?.ok_or_else(|| self.missing(key))
    }

    pub fn usize_or(&self, key: &str, default: usize) -> Result<usize> {
        Ok(self.usize_opt(key)?.unwrap_or(default))
    }

    pub fn usize_opt(&self, key: &str) -> Result<Option<usize>> {
        self.typed(key, "a whole number from 0 to 2147483648", whole_number)
    }

    /// A number that is finite as f32.
    pub fn f32(&self, key: &str) -> Result<f32> {
        self.f32_opt(key)?.ok_or_else(|| self.missing(key))
    }

    pub fn f32_or(&self, key: &str, default: f32) -> Result<f32> {
        Ok(self.f32_opt(key)?.unwrap_or(default))
    }

    pub fn f32_opt(&self, key: &str) -> Result<Option<f32>> {
        self.typed(key, "a number within the range of f32", |value| {
            value.as_f64().map(|x| x as f32).filter(|x| x.is_finite())
        })
    }

    pub fn bool(&self, key: &str) -> Result<bool> {
        self.bool_opt(key)?.ok_or_else(|| self.missing(key))
    }

    pub fn bool_or(&self, key: &str, default: bool) -> Result<bool> {
        Ok(self.bool_opt(key)?.unwrap_or(default))
    }

    pub fn bool_opt(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "true or false", Value::as_bool)
    }

    pub fn str(&self, key: &str) -> Result<&str> {
        self.str_opt(key)?.ok_or_else(|| self.missing(key))
    }

    pub fn str_or<'a>(&'a self, key: &str, default: &'a str) -> Result<&'a str> {
        Ok(self.str_opt(key)?.unwrap_or(default))
    }

    pub fn str_opt(&self, key: &str) -> Result<Option<&str>> {
        self.typed(key, "a string", Value::as_str)
    }

    /// A list of strings, such as `architectures`; empty if the field is absent.
    pub fn strings(&self, key: &str) -> Result<Vec<&str>> {
        let list = self.typed(key, "a list of strings", |value| {
            value.as_array()?.iter().map(Value::as_str).collect::<Option<Vec<_>>>()
        })?;
        Ok(list.unwrap_or_default())
    }

    /// A whole number or a list of them, as `eos_token_id` may be; empty if the field is absent.
    pub fn usizes(&self, key: &str) -> Result<Vec<usize>> {
        let list = self.typed(key, "a whole number from 0 to 2147483648, or a list of them", |value| match value {
            Value::Array(list) => list.iter().map(whole_number).collect::<Option<Vec<_>>>(),
            one => whole_number(one).map(|n| vec![n]),
        })?;
        Ok(list.unwrap_or_default())
    }

    /// An inner object, such as `rope_scaling`; errors name its fields as `rope_scaling.factor`. None if absent.
    pub fn section(&self, key: &str) -> Result<Option<Config>> {
        let object = self.typed(key, "an object", Value::as_object)?;
        Ok(object.map(|object| Config {
            path: self.path.clone(),
            prefix: format!("{}{key}.", self.prefix),
            object: object.clone(),
        }))
    }

    fn typed<'a, T>(&'a self, key: &str, wanted: &str, get: impl FnOnce(&'a Value) -> Option<T>) -> Result<Option<T>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match get(value) {
            Some(result) => Ok(Some(result)),
            None => Err(self.invalid(key, format!("must be {wanted}; it is {}", describe(value)))),
        }
    }

    fn missing(&self, key: &str) -> Error {
        self.invalid(key, "is missing")
    }
}

fn whole_number(value: &Value) -> Option<usize> {
    let number = match value.as_u64() {
        Some(number) => number,
        // A whole float up to 2^31 converts without loss; the bounds also exclude NaN and infinities.
        None => value.as_f64().filter(|x| (0.0..=MAX_USIZE as f64).contains(x) && x.fract() == 0.0)? as u64,
    };
    usize::try_from(number).ok().filter(|_| number <= MAX_USIZE)
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => format!("the string {}", quoted(text)),
        Value::Array(list) => format!("a list of {} values", list.len()),
        Value::Object(_) => "an object".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error::Status;

    fn config(text: &str) -> Result<Config> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        fs::write(&path, text).unwrap();
        Config::open(&path)
    }

    /// The message of an error, after checking its status and that it names the file.
    fn complaint<T: std::fmt::Debug>(result: Result<T>) -> String {
        let error = result.unwrap_err();
        assert_eq!(error.status(), Status::InvalidFile, "{error}");
        assert!(error.message().contains("config.json: "), "{error}");
        error.message().to_owned()
    }

    #[test]
    fn getters_return_what_the_file_says() {
        let c = config(
            r#"{"n": 12, "whole": 12.0, "eps": 1e-12, "name": "bert", "yes": true, "none": null, "eos": [1, 2],
                "architectures": ["BertModel"], "rope_scaling": {"factor": 8.0, "deep": {"x": -1}}, "three": 3}"#,
        )
        .unwrap();
        assert_eq!((c.usize("n").unwrap(), c.usize("whole").unwrap()), (12, 12));
        assert_eq!((c.usize_or("absent", 5).unwrap(), c.usize_or("none", 6).unwrap()), (5, 6));
        assert_eq!((c.f32("eps").unwrap(), c.f32("three").unwrap(), c.f32_or("none", 0.5).unwrap()), (1e-12, 3.0, 0.5));
        assert_eq!((c.str("name").unwrap(), c.str_or("absent", "x").unwrap()), ("bert", "x"));
        assert!(c.bool_or("yes", false).unwrap() && c.bool("yes").unwrap() && c.bool_or("absent", true).unwrap());
        assert!(c.has("n") && !c.has("none") && !c.has("absent"));
        assert_eq!(
            (c.usizes("eos").unwrap(), c.usizes("n").unwrap(), c.usizes("none").unwrap()),
            (vec![1, 2], vec![12], vec![])
        );
        assert_eq!(c.strings("architectures").unwrap(), ["BertModel"]);
        let rope = c.section("rope_scaling").unwrap().unwrap();
        assert_eq!(rope.f32("factor").unwrap(), 8.0);
        let message = complaint(rope.section("deep").unwrap().unwrap().usize("x"));
        assert!(message.contains("`rope_scaling.deep.x`"), "{message}");
        assert!(c.section("absent").unwrap().is_none());
    }

    #[test]
    fn wrong_types_and_ranges_are_errors_that_name_the_field() {
        let c = config(
            r#"{"a": -1, "b": 1.5, "c": 2147483649, "d": "12", "e": [1], "f": 1e300, "g": 1e30, "h": {}, "i": 99999999999999999999999, "j": ["x", 1]}"#,
        )
        .unwrap();
        for key in ["a", "b", "c", "d", "e", "f", "g", "h", "i"] {
            let message = complaint(c.usize(key));
            assert!(message.contains(&format!("field `{key}` must be a whole number")), "{message}");
            complaint(c.usize_or(key, 1));
        }
        for key in ["d", "e", "f", "h"] {
            complaint(c.f32_or(key, 1.0));
        }
        complaint(c.bool_or("a", true));
        complaint(c.str("a"));
        complaint(c.strings("j"));
        complaint(c.strings("d"));
        complaint(c.usizes("j"));
        complaint(c.section("a"));
        assert!(complaint(c.usize("zz")).contains("field `zz` is missing"));
        assert!(complaint(c.str("d\u{7}")).contains("field `d\\u{7}` is missing"));
        assert!(complaint(c.bool("d")).ends_with("must be true or false; it is the string `12`"));
    }

    #[test]
    fn broken_files_are_errors_that_name_the_file() {
        for text in ["", "{", "[1]", "{\"a\": NaNs}", "{\"a\": nan}", "{} \u{feff}", "nul", "{} {}"] {
            complaint(config(text));
        }
        assert!(complaint(config(&"[".repeat(100_000))).contains("recursion limit"));
        assert!(
            complaint(config(&format!("{}1{}", "{\"a\":".repeat(200), "}".repeat(200)))).contains("recursion limit")
        );
        assert!(complaint(config(&format!("[{}0]", "0,".repeat(MAX_VALUES)))).contains("values"));
    }

    #[test]
    fn files_of_python_are_read() {
        let c = config(
            "\u{feff}{\"a\": NaN, \"b\": [Infinity, -Infinity], \"NaN\": \"x \\\" NaN\", \"c\": 3, \"d\": \"\\\\\", \"e\": NaN}",
        )
        .unwrap();
        assert_eq!((c.usize("c").unwrap(), c.str("NaN").unwrap(), c.str("d").unwrap()), (3, "x \" NaN", "\\"));
        assert!(complaint(c.f32("a")).contains("`NaN`"));
        assert_eq!(c.strings("b").unwrap(), ["Infinity", "-Infinity"]);
    }

    #[test]
    fn size_is_limited_and_absence_is_not_an_error_where_allowed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        assert!(Config::open_if_exists(&path).unwrap().is_none());
        assert_eq!(Config::open(&path).unwrap_err().status(), Status::NotFound);
        fs::write(&path, r#"{"a": "0123456789"}"#).unwrap();
        assert!(read(&path, 19).is_ok());
        assert!(complaint(read(&path, 18)).contains("19 bytes"));
        assert!(Config::open_if_exists(&path).unwrap().unwrap().path().ends_with("config.json"));
        let inside_a_file = path.join("config.json");
        assert!(read_if_exists(&inside_a_file, 10).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_dangling_link_is_not_an_absent_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::os::unix::fs::symlink(dir.path().join("gone"), &path).unwrap();
        assert_eq!(Config::open_if_exists(&path).unwrap_err().status(), Status::NotFound);
    }
}
