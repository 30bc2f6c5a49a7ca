//! `tojson` as transformers defines it: Python's `json.dumps`, without the HTML escapes of Jinja's own filter.

use std::sync::Arc;

use crate::budget::Text;
use crate::error::{Result, fail, quoted};
use crate::value::{Value, sort_by_key};

pub(crate) struct Style {
    /// The indentation of one level. None: everything is on one line.
    pub indent: Option<Arc<str>>,
    pub item_separator: Arc<str>,
    pub key_separator: Arc<str>,
    pub ascii: bool,
    pub sorted: bool,
}

pub(crate) fn write(value: &Value, style: &Style, level: usize, text: &mut Text) -> Result<()> {
    text.budget.spend(1)?;
    match value {
        Value::None => text.push("null"),
        Value::Bool(b) => text.push(if *b { "true" } else { "false" }),
        Value::Float(x) if x.is_nan() => text.push("NaN"),
        Value::Float(x) if x.is_infinite() => text.push(if *x > 0.0 { "Infinity" } else { "-Infinity" }),
        Value::Int(_) | Value::Float(_) => value.write_repr(text),
        Value::Str(s) => string(s, style.ascii, text),
        Value::List(list) if list.items.is_empty() => text.push("[]"),
        Value::List(list) => {
            text.push("[")?;
            for (i, item) in list.items.iter().enumerate() {
                separate(style, i, level, text)?;
                write(item, style, level + 1, text)?;
            }
            new_line(style, level, text)?;
            text.push("]")
        }
        Value::Dict(dict) if dict.entries.is_empty() => text.push("{}"),
        Value::Dict(dict) => {
            text.budget.allocate_items::<&(Value, Value)>(dict.entries.len())?;
            let mut entries: Vec<_> = dict.entries.iter().collect();
            if style.sorted {
                entries = sort_by_key(entries, |entry| &entry.0, false, text.budget)?;
            }
            text.push("{")?;
            for (i, (key, value)) in entries.into_iter().enumerate() {
                separate(style, i, level, text)?;
                match key {
                    Value::Str(s) => string(s, style.ascii, text)?,
                    Value::None | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
                        text.push("\"")?;
                        write(key, style, level, text)?;
                        text.push("\"")?;
                    }
                    other => return fail(format!("{} cannot be a key in JSON", other.type_name())),
                }
                text.push(&style.key_separator)?;
                write(value, style, level + 1, text)?;
            }
            new_line(style, level, text)?;
            text.push("}")
        }
        Value::Undefined(Some(name)) => fail(format!("{} is undefined and cannot be written as JSON", quoted(name))),
        other => fail(format!("{} cannot be written as JSON", other.type_name())),
    }
}

fn separate(style: &Style, index: usize, level: usize, text: &mut Text) -> Result<()> {
    if index > 0 {
        text.push(&style.item_separator)?;
    }
    new_line(style, level + 1, text)
}

fn new_line(style: &Style, level: usize, text: &mut Text) -> Result<()> {
    let Some(indent) = &style.indent else { return Ok(()) };
    text.push("\n")?;
    for _ in 0..level {
        text.push(indent)?;
    }
    Ok(())
}

fn string(s: &str, ascii: bool, text: &mut Text) -> Result<()> {
    text.budget.scan(s.len())?;
    text.push("\"")?;
    let mut from = 0;
    for (at, c) in s.char_indices() {
        if !(matches!(c, '"' | '\\' | '\0'..='\x1f') || ascii && !c.is_ascii()) {
            continue;
        }
        text.push(&s[from..at])?;
        from = at + c.len_utf8();
        match c {
            '"' => text.push("\\\"")?,
            '\\' => text.push("\\\\")?,
            '\n' => text.push("\\n")?,
            '\r' => text.push("\\r")?,
            '\t' => text.push("\\t")?,
            '\x08' => text.push("\\b")?,
            '\x0c' => text.push("\\f")?,
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    text.format(format_args!("\\u{unit:04x}"))?;
                }
            }
        }
    }
    text.push(&s[from..])?;
    text.push("\"")
}
