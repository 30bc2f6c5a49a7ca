//! The methods of Python's strings, lists and dictionaries that chat templates use.

use std::sync::Arc;

use crate::arguments::{Args, flag, integer, size, text, text_or_none};
use crate::budget::{Budget, Text};
use crate::error::{Result, fail};
use crate::lexer::is_space;
use crate::strings;
use crate::value::{Value, equal};

#[rustfmt::skip]
pub(crate) const STRING: [&str; 41] = [
    "capitalize", "casefold", "center", "count", "endswith", "expandtabs", "find", "format", "index", "isalnum", "isalpha",
    "isascii", "isdecimal", "isdigit", "islower", "isnumeric", "isspace", "istitle", "isupper", "join", "ljust", "lower", "lstrip",
    "partition", "removeprefix", "removesuffix", "replace", "rfind", "rindex", "rjust", "rpartition", "rsplit", "rstrip", "split",
    "splitlines", "startswith", "strip", "swapcase", "title", "upper", "zfill",
];
pub(crate) const LIST: [&str; 3] = ["copy", "count", "index"];
pub(crate) const DICT: [&str; 5] = ["copy", "get", "items", "keys", "values"];
/// Methods that modify a list or dictionary. transformers' sandbox refuses them too.
const MUTATE_LIST: [&str; 8] = ["append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"];
const MUTATE_DICT: [&str; 5] = ["clear", "pop", "popitem", "setdefault", "update"];

/// Whether `value.name` is a method. A method takes precedence over a dictionary key of the same name.
pub(crate) fn exists(value: &Value, name: &str) -> bool {
    match value {
        Value::Str(_) => STRING.contains(&name),
        Value::List(list) => LIST.contains(&name) || !list.tuple && MUTATE_LIST.contains(&name),
        Value::Dict(_) => DICT.contains(&name) || MUTATE_DICT.contains(&name),
        _ => false,
    }
}

/// Calls a method that [`exists`].
pub(crate) fn call(value: &Value, name: &str, args: Args, budget: &mut Budget) -> Result<Value> {
    args.scan(budget)?;
    match value {
        Value::Str(s) => {
            // Most methods scan the whole string and make one of the same length.
            budget.allocate(s.len())?;
            string(s, name, args, budget)
        }
        Value::List(list) => match name {
            "copy" => {
                args.bind::<0>(name, [])?;
                Value::sequence(list.items.iter().cloned(), list.tuple, budget)
            }
            "count" | "index" => {
                let [wanted] = args.bind(name, ["value"])?;
                let Some(wanted) = wanted else { return fail(format!("`{name}` needs a value")) };
                let mut count = 0;
                for (at, item) in list.items.iter().enumerate() {
                    if equal(item, &wanted, budget)? {
                        if name == "index" {
                            return Ok(Value::Int(at as i64));
                        }
                        count += 1;
                    }
                }
                if name == "index" { fail("`index` found no such item") } else { Ok(Value::Int(count)) }
            }
            _ => fail(format!("`{name}` is not allowed: a chat template cannot modify a list")),
        },
        Value::Dict(dict) => match name {
            "get" => {
                let [key, default] = args.bind("get", ["key", "default"])?;
                let Some(key) = key else { return fail("`get` needs a key") };
                Ok(dict.get(&key, budget)?.cloned().or(default).unwrap_or(Value::None))
            }
            name if MUTATE_DICT.contains(&name) => {
                fail(format!("`{name}` is not allowed: a chat template cannot modify a dictionary"))
            }
            _ => {
                args.bind::<0>(name, [])?;
                match name {
                    "copy" => Ok(value.clone()),
                    "items" => Value::list(pairs(value, budget)?, budget),
                    "keys" => Value::list(dict.entries.iter().map(|(key, _)| key.clone()), budget),
                    _ => Value::list(dict.entries.iter().map(|(_, value)| value.clone()), budget),
                }
            }
        },
        other => fail(format!("{} has no methods", other.type_name())),
    }
}

/// The key and value of each entry of a dictionary, as tuples.
pub(crate) fn pairs(value: &Value, budget: &mut Budget) -> Result<Vec<Value>> {
    let Value::Dict(dict) = value else { return fail(format!("{} has no items", value.type_name())) };
    budget.allocate_items::<Value>(dict.entries.len())?;
    dict.entries.iter().map(|(key, value)| Value::tuple([key.clone(), value.clone()], budget)).collect()
}

fn string(s: &Arc<str>, name: &str, args: Args, budget: &mut Budget) -> Result<Value> {
    let all = |test: fn(char) -> bool| Value::Bool(!s.is_empty() && s.chars().all(test));
    Ok(match name {
        "format" => return strings::format(s, &args, budget),
        "strip" | "lstrip" | "rstrip" => {
            let [chars] = args.bind(name, ["chars"])?;
            let chars = text_or_none(name, chars)?;
            strings::strip(s, chars.as_deref(), name != "rstrip", name != "lstrip", budget)?
        }
        "split" | "rsplit" => {
            let [separator, most] = args.bind(name, ["sep", "maxsplit"])?;
            let most = size(name, most)?.unwrap_or(usize::MAX);
            return strings::split(s, text_or_none(name, separator)?.as_deref(), most, name == "rsplit", budget);
        }
        "partition" | "rpartition" => {
            let [separator] = args.bind(name, ["sep"])?;
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
            let [keep] = args.bind(name, ["keepends"])?;
            Value::list(strings::parts(strings::lines(s, flag(&keep)), budget)?, budget)?
        }
        "startswith" | "endswith" => {
            let [affix] = args.bind(name, ["affix"])?;
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
            let [affix] = args.bind(name, ["affix"])?;
            let affix = text(name, affix)?;
            let left = if name == "removeprefix" { s.strip_prefix(&*affix) } else { s.strip_suffix(&*affix) };
            Value::str(left.unwrap_or(s))
        }
        "find" | "rfind" | "index" | "rindex" | "count" => {
            let [part, start, end] = args.bind(name, ["sub", "start", "end"])?;
            let part = text(name, part)?;
            let (from, window) = strings::window(s, integer(name, start)?, integer(name, end)?);
            match name {
                "count" => Value::Int(window.matches(&*part).count() as i64),
                _ => {
                    let found = if name.starts_with('r') { window.rfind(&*part) } else { window.find(&*part) };
                    match found {
                        Some(at) => Value::Int((from + window[..at].chars().count()) as i64),
                        None if name.ends_with("find") => Value::Int(-1),
                        None => return fail(format!("`{name}` found no such substring")),
                    }
                }
            }
        }
        "replace" => {
            let [old, new, count] = args.bind(name, ["old", "new", "count"])?;
            return strings::replace(s, &text(name, old)?, &text(name, new)?, size(name, count)?, budget);
        }
        "join" => {
            let [parts] = args.bind(name, ["iterable"])?;
            let parts = parts.unwrap_or(Value::None).items(budget)?;
            let mut joined = Text::new(budget);
            for (i, part) in parts.iter().enumerate() {
                let Value::Str(part) = part else {
                    return fail(format!("`join` takes strings, not {}", part.type_name()));
                };
                if i > 0 {
                    joined.push(s)?;
                }
                joined.push(part)?;
            }
            Value::str(joined.finish())
        }
        "center" | "ljust" | "rjust" | "zfill" => return strings::pad(s, name, args, budget),
        "expandtabs" => return fail("`expandtabs` is not supported"),
        // The other methods take no arguments.
        _ => {
            args.bind::<0>(name, [])?;
            // For `str.title` a word begins after any character without case.
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
