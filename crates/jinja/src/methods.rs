//! The methods of Python's strings, lists and dictionaries that chat templates call.

use std::sync::Arc;

use crate::arguments::{Given, text, text_or_none, whole};
use crate::budget::{Budget, Text};
use crate::error::{Result, fail};
use crate::lexer::is_space;
use crate::strings;
use crate::value::{Value, equal};

pub(crate) const STRING: [&str; 41] = [
    "capitalize",
    "casefold",
    "center",
    "count",
    "endswith",
    "find",
    "format",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "islower",
    "isnumeric",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "upper",
    "zfill",
    "expandtabs",
];
pub(crate) const LIST: [&str; 3] = ["copy", "count", "index"];
pub(crate) const DICT: [&str; 5] = ["copy", "get", "items", "keys", "values"];
/// Methods that change what they are called on; Transformers' sandbox refuses them too.
const CHANGING_LIST: [&str; 8] = ["append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"];
const CHANGING_DICT: [&str; 5] = ["clear", "pop", "popitem", "setdefault", "update"];

/// Whether `value.name` is a method. A method takes precedence over a dictionary's key of the same name.
pub(crate) fn exists(value: &Value, name: &str) -> bool {
    match value {
        Value::Str(_) => STRING.contains(&name),
        Value::List(list) => LIST.contains(&name) || !list.tuple && CHANGING_LIST.contains(&name),
        Value::Dict(_) => DICT.contains(&name) || CHANGING_DICT.contains(&name),
        _ => false,
    }
}

/// Calls a method that [`exists`].
pub(crate) fn call(value: &Value, name: &str, given: Given, budget: &mut Budget) -> Result<Value> {
    given.scan(budget)?;
    match value {
        Value::Str(s) => {
            // Most methods scan the whole string and make another of the same length.
            budget.allocate(s.len())?;
            string(s, name, given, budget)
        }
        Value::List(list) => match name {
            "copy" => Value::sequence(list.items.iter().cloned(), list.tuple, budget),
            "count" | "index" => {
                let [wanted] = given.bind(name, ["value"])?;
                let wanted = wanted.unwrap_or(Value::None);
                let mut count = 0;
                for (at, item) in list.items.iter().enumerate() {
                    if equal(item, &wanted, budget)? {
                        if name == "index" {
                            return Ok(Value::Int(at as i64));
                        }
                        count += 1;
                    }
                }
                if name == "index" { fail("the list has no such item") } else { Ok(Value::Int(count)) }
            }
            _ => fail(format!("`{name}` would change a list, which a chat template may not")),
        },
        Value::Dict(dict) => match name {
            "copy" => Ok(value.clone()),
            "get" => {
                let [key, default] = given.bind("get", ["key", "default"])?;
                let Some(key) = key else { return fail("`get` lacks a key") };
                Ok(dict.get(&key, budget)?.cloned().or(default).unwrap_or(Value::None))
            }
            "items" => items(value, budget),
            "keys" => Value::list(dict.entries.iter().map(|(key, _)| key.clone()), budget),
            "values" => Value::list(dict.entries.iter().map(|(_, value)| value.clone()), budget),
            _ => fail(format!("`{name}` would change a dictionary, which a chat template may not")),
        },
        other => fail(format!("a {} has no methods", other.type_name())),
    }
}

/// The pairs of a dictionary, as tuples.
pub(crate) fn items(value: &Value, budget: &mut Budget) -> Result<Value> {
    let Value::Dict(dict) = value else { return fail(format!("a {} has no items", value.type_name())) };
    budget.allocate_items::<Value>(dict.entries.len())?;
    let pair = |(key, value): &(Value, Value)| Value::tuple([key.clone(), value.clone()], budget);
    let pairs: Vec<Value> = dict.entries.iter().map(pair).collect::<Result<_>>()?;
    Value::list(pairs, budget)
}

fn string(s: &Arc<str>, name: &str, given: Given, budget: &mut Budget) -> Result<Value> {
    let all = |test: fn(char) -> bool| Value::Bool(!s.is_empty() && s.chars().all(test));
    Ok(match name {
        "format" => return strings::format(s, &given, budget),
        "strip" | "lstrip" | "rstrip" => {
            let [chars] = given.bind(name, ["chars"])?;
            let chars = text_or_none(name, chars)?;
            strings::strip(s, chars.as_deref(), name != "rstrip", name != "lstrip", budget)?
        }
        "split" | "rsplit" => {
            let [separator, most] = given.bind(name, ["sep", "maxsplit"])?;
            let most = whole(name, most)?.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
            return strings::split(s, text_or_none(name, separator)?.as_deref(), most, name == "rsplit", budget);
        }
        "partition" | "rpartition" => {
            let [separator] = given.bind(name, ["sep"])?;
            let separator = text(name, separator)?;
            let found = if name == "partition" { s.find(&*separator) } else { s.rfind(&*separator) };
            let parts = match found {
                Some(at) => [&s[..at], &separator, &s[at + separator.len()..]],
                None if name == "partition" => [&**s, "", ""],
                None => ["", "", &**s],
            };
            Value::tuple(strings::parts(parts.into_iter(), budget)?, budget)?
        }
        "splitlines" => {
            let [keep] = given.bind(name, ["keepends"])?;
            let keep = keep.is_some_and(|keep| keep.is_true());
            Value::list(strings::parts(strings::lines(s, keep), budget)?, budget)?
        }
        "startswith" | "endswith" => {
            let [affix] = given.bind(name, ["affix"])?;
            let affix = affix.unwrap_or(Value::None);
            let affixes = match &affix {
                Value::List(list) if list.tuple => &list.items[..],
                affix => std::slice::from_ref(affix),
            };
            let mut found = false;
            for affix in affixes {
                let affix = text(name, Some(affix.clone()))?;
                budget.scan(affix.len().min(s.len()))?;
                found |= if name == "startswith" { s.starts_with(&*affix) } else { s.ends_with(&*affix) };
            }
            Value::Bool(found)
        }
        "removeprefix" | "removesuffix" => {
            let [affix] = given.bind(name, ["affix"])?;
            let affix = text(name, affix)?;
            let left = if name == "removeprefix" { s.strip_prefix(&*affix) } else { s.strip_suffix(&*affix) };
            Value::str(left.unwrap_or(s))
        }
        "find" | "rfind" | "index" | "rindex" | "count" => {
            let [part, start, end] = given.bind(name, ["sub", "start", "end"])?;
            let part = text(name, part)?;
            let (from, window) = strings::window(s, whole(name, start)?, whole(name, end)?);
            match name {
                "count" => Value::Int(window.matches(&*part).count() as i64),
                _ => {
                    let found = if name.starts_with('r') { window.rfind(&*part) } else { window.find(&*part) };
                    match found {
                        Some(at) => Value::Int((from + window[..at].chars().count()) as i64),
                        None if name.ends_with("find") => Value::Int(-1),
                        None => return fail(format!("`{name}` finds no such part")),
                    }
                }
            }
        }
        "replace" => {
            let [old, new, count] = given.bind(name, ["old", "new", "count"])?;
            return strings::replace(s, &text(name, old)?, &text(name, new)?, whole(name, count)?, budget);
        }
        "join" => {
            let [parts] = given.bind(name, ["iterable"])?;
            let parts = parts.unwrap_or(Value::None).items(budget)?;
            let mut joined = Text::new(budget);
            for (i, part) in parts.iter().enumerate() {
                let Value::Str(part) = part else {
                    return fail(format!("`join` takes strings, not a {}", part.type_name()));
                };
                if i > 0 {
                    joined.push(s)?;
                }
                joined.push(part)?;
            }
            Value::str(joined.finish())
        }
        "center" | "ljust" | "rjust" | "zfill" => return strings::pad(s, name, given, budget),
        "expandtabs" => return fail("`expandtabs` is not supported"),
        // The other methods take no arguments.
        _ => {
            given.bind::<0>(name, [])?;
            // `str.title` begins a word after each character without case.
            let separates = |c: char| !(c.is_lowercase() || c.is_uppercase());
            match name {
                "upper" | "lower" | "casefold" | "capitalize" | "swapcase" => strings::in_case(s, name, budget)?,
                "title" => Value::str(strings::title(s, separates, budget)?),
                "isalnum" => all(char::is_alphanumeric),
                "isalpha" => all(char::is_alphabetic),
                "isascii" => Value::Bool(s.is_ascii()),
                "isdecimal" | "isdigit" | "isnumeric" => all(char::is_numeric),
                "isspace" => all(is_space),
                "islower" => Value::Bool(s.chars().any(char::is_lowercase) && !s.chars().any(char::is_uppercase)),
                "isupper" => Value::Bool(s.chars().any(char::is_uppercase) && !s.chars().any(char::is_lowercase)),
                "istitle" => {
                    Value::Bool(s.chars().any(char::is_uppercase) && strings::title(s, separates, budget)? == **s)
                }
                _ => return fail(format!("a string has no method `{name}`")),
            }
        }
    })
}
