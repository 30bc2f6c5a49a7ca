//! The methods of Python's strings, lists and dictionaries that chat templates call.

use std::sync::Arc;

use super::budget::{Budget, Outcome, Text, fault};
use super::lexer::is_space;
use super::value::{Number, Value, equal, position};

/// The arguments of a call.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub positional: Vec<Value>,
    pub named: Vec<(Arc<str>, Value)>,
}

impl Given {
    /// The arguments in the order of `names`, which are the parameters of `callee`.
    pub fn bind<const N: usize>(self, callee: &str, names: [&str; N]) -> Outcome<[Option<Value>; N]> {
        let mut bound = [const { None }; N];
        if self.positional.len() > N {
            return fault(format!("`{callee}` takes {N} arguments at most, not {}", self.positional.len()));
        }
        for (place, value) in bound.iter_mut().zip(self.positional) {
            *place = Some(value);
        }
        for (name, value) in self.named {
            match names.iter().position(|candidate| *candidate == &*name) {
                Some(at) if bound[at].is_none() => bound[at] = Some(value),
                Some(_) => return fault(format!("`{callee}` is given `{name}` twice")),
                None => return fault(format!("`{callee}` has no parameter {}", crate::error::quoted(&name))),
            }
        }
        Ok(bound)
    }
}

/// An argument that must be a string; absent and None count the same.
pub(super) fn text_or_none(callee: &str, value: Option<Value>) -> Outcome<Option<Arc<str>>> {
    match value {
        None | Some(Value::None) => Ok(None),
        Some(Value::Str(s)) => Ok(Some(s)),
        Some(other) => fault(format!("`{callee}` takes a string, not a {}", other.type_name())),
    }
}

pub(super) fn text(callee: &str, value: Option<Value>) -> Outcome<Arc<str>> {
    match text_or_none(callee, value)? {
        Some(text) => Ok(text),
        None => fault(format!("`{callee}` lacks a string")),
    }
}

/// A whole number; absent and None count the same.
pub(super) fn whole(callee: &str, value: Option<Value>) -> Outcome<Option<i64>> {
    match value {
        None | Some(Value::None) => Ok(None),
        Some(value) => match value.number() {
            Some(Number::Int(n)) => Ok(Some(n)),
            _ => fault(format!("`{callee}` takes a whole number, not a {}", value.type_name())),
        },
    }
}

const STRING: [&str; 41] = [
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
const LIST: [&str; 3] = ["copy", "count", "index"];
const DICT: [&str; 5] = ["copy", "get", "items", "keys", "values"];
/// Methods that change what they are called on; Transformers' sandbox refuses them too.
const CHANGING_LIST: [&str; 8] = ["append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"];
const CHANGING_DICT: [&str; 5] = ["clear", "pop", "popitem", "setdefault", "update"];

/// Whether `value.name` is a method, which it is even where a dictionary has a key of that name.
pub(super) fn exists(value: &Value, name: &str) -> bool {
    match value {
        Value::Str(_) => STRING.contains(&name),
        Value::List(list) => LIST.contains(&name) || !list.tuple && CHANGING_LIST.contains(&name),
        Value::Dict(_) => DICT.contains(&name) || CHANGING_DICT.contains(&name),
        _ => false,
    }
}

/// Calls a method that [`exists`].
pub(super) fn call(value: &Value, name: &str, given: Given, budget: &mut Budget) -> Outcome<Value> {
    match value {
        Value::Str(s) => {
            // Most of them look at the whole string and make one that is as long.
            budget.allocate(s.len())?;
            string(s, name, given, budget)
        }
        Value::List(list) => match name {
            "copy" => Value::sequence(list.items.clone(), list.tuple, budget),
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
                if name == "index" { fault("the list has no such item") } else { Ok(Value::Int(count)) }
            }
            _ => fault(format!("`{name}` would change a list, which a chat template may not")),
        },
        Value::Dict(dict) => match name {
            "copy" => Ok(value.clone()),
            "get" => {
                let [key, default] = given.bind("get", ["key", "default"])?;
                let Some(key) = key else { return fault("`get` lacks a key") };
                Ok(match position(&dict.entries, &key, budget)? {
                    Some(at) => dict.entries[at].1.clone(),
                    None => default.unwrap_or(Value::None),
                })
            }
            "items" => items(value, budget),
            "keys" => Value::list(dict.entries.iter().map(|(key, _)| key.clone()).collect(), budget),
            "values" => Value::list(dict.entries.iter().map(|(_, value)| value.clone()).collect(), budget),
            _ => fault(format!("`{name}` would change a dictionary, which a chat template may not")),
        },
        other => fault(format!("a {} has no methods", other.type_name())),
    }
}

/// The pairs of a dictionary, as tuples.
pub(super) fn items(value: &Value, budget: &mut Budget) -> Outcome<Value> {
    let Value::Dict(dict) = value else { return fault(format!("a {} has no items", value.type_name())) };
    let pair = |(key, value): &(Value, Value)| Value::tuple(vec![key.clone(), value.clone()], budget);
    let pairs = dict.entries.iter().map(pair).collect::<Outcome<_>>()?;
    Value::list(pairs, budget)
}

fn string(s: &Arc<str>, name: &str, given: Given, budget: &mut Budget) -> Outcome<Value> {
    let all = |test: fn(char) -> bool| Value::Bool(!s.is_empty() && s.chars().all(test));
    Ok(match name {
        "format" => return format(s, &given, budget),
        "strip" | "lstrip" | "rstrip" => {
            let [chars] = given.bind(name, ["chars"])?;
            let chars = text_or_none(name, chars)?;
            strip(s, chars.as_deref(), name != "rstrip", name != "lstrip", budget)?
        }
        "split" | "rsplit" => {
            let [separator, most] = given.bind(name, ["sep", "maxsplit"])?;
            let most = whole(name, most)?.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
            return split(s, text_or_none(name, separator)?.as_deref(), most, name == "rsplit", budget);
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
            Value::tuple(parts.map(Value::str).to_vec(), budget)?
        }
        "splitlines" => {
            let [keep] = given.bind(name, ["keepends"])?;
            let keep = keep.is_some_and(|keep| keep.is_true());
            Value::list(lines(s, keep, budget)?.into_iter().map(Value::str).collect(), budget)?
        }
        "startswith" | "endswith" => {
            let [affix] = given.bind(name, ["affix"])?;
            let has = |affix: &str| if name == "startswith" { s.starts_with(affix) } else { s.ends_with(affix) };
            match affix {
                Some(Value::List(list)) if list.tuple => {
                    let mut found = false;
                    for affix in &list.items {
                        found |= has(&text(name, Some(affix.clone()))?);
                    }
                    Value::Bool(found)
                }
                affix => Value::Bool(has(&text(name, affix)?)),
            }
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
            let (from, window) = window(s, whole(name, start)?, whole(name, end)?);
            match name {
                "count" => Value::Int(window.matches(&*part).count() as i64),
                _ => {
                    let found = if name.starts_with('r') { window.rfind(&*part) } else { window.find(&*part) };
                    match found {
                        Some(at) => Value::Int((from + window[..at].chars().count()) as i64),
                        None if name.ends_with("find") => Value::Int(-1),
                        None => return fault(format!("`{name}` finds no such part")),
                    }
                }
            }
        }
        "replace" => {
            let [old, new, count] = given.bind(name, ["old", "new", "count"])?;
            return replace(s, &text(name, old)?, &text(name, new)?, whole(name, count)?, budget);
        }
        "join" => {
            let [parts] = given.bind(name, ["iterable"])?;
            let parts = parts.unwrap_or(Value::None).items(budget)?;
            let mut joined = Text::new(budget);
            for (i, part) in parts.iter().enumerate() {
                let Value::Str(part) = part else {
                    return fault(format!("`join` takes strings, not a {}", part.type_name()));
                };
                if i > 0 {
                    joined.push(s)?;
                }
                joined.push(part)?;
            }
            Value::str(joined.finish())
        }
        "center" | "ljust" | "rjust" | "zfill" => return pad(s, name, given, budget),
        "expandtabs" => return fault("`expandtabs` is not supported"),
        // The rest takes nothing.
        _ => {
            given.bind::<0>(name, [])?;
            budget.allocate(2 * s.len())?;
            match name {
                "upper" => Value::str(s.to_uppercase()),
                "lower" | "casefold" => Value::str(s.to_lowercase()),
                "title" => Value::str(title(s)),
                "capitalize" => Value::str(capitalize(s)),
                "swapcase" => Value::str(swapcase(s)),
                "isalnum" => all(char::is_alphanumeric),
                "isalpha" => all(char::is_alphabetic),
                "isascii" => Value::Bool(s.is_ascii()),
                "isdecimal" | "isdigit" | "isnumeric" => all(char::is_numeric),
                "isspace" => all(is_space),
                "islower" => Value::Bool(s.chars().any(char::is_lowercase) && !s.chars().any(char::is_uppercase)),
                "isupper" => Value::Bool(s.chars().any(char::is_uppercase) && !s.chars().any(char::is_lowercase)),
                "istitle" => Value::Bool(s.chars().any(char::is_uppercase) && title(s) == **s),
                _ => return fault(format!("a string has no method `{name}`")),
            }
        }
    })
}

pub(super) fn strip(s: &Arc<str>, chars: Option<&str>, left: bool, right: bool, budget: &mut Budget) -> Outcome<Value> {
    if let Some(chars) = chars {
        budget.spend(chars.len())?;
    }
    let mut work = 0;
    let mut goes = |c: char| match chars {
        Some(chars) => {
            work += chars.len();
            chars.contains(c)
        }
        None => is_space(c),
    };
    let mut rest = &**s;
    if left {
        rest = rest.trim_start_matches(&mut goes);
    }
    if right {
        while let Some(c) = rest.chars().next_back().filter(|c| goes(*c)) {
            rest = &rest[..rest.len() - c.len_utf8()];
        }
    }
    budget.scan(work)?;
    if rest.len() == s.len() {
        return Ok(Value::Str(s.clone()));
    }
    budget.allocate(rest.len())?;
    Ok(Value::str(rest))
}

fn split(s: &str, separator: Option<&str>, most: usize, from_right: bool, budget: &mut Budget) -> Outcome<Value> {
    let most = most.saturating_add(1);
    let mut parts: Vec<&str> = match (separator, from_right) {
        (Some(""), _) => return fault("`split` takes a separator that is not empty"),
        (Some(separator), false) => s.splitn(most, separator).collect(),
        (Some(separator), true) => s.rsplitn(most, separator).collect(),
        (None, _) => words(s, most, from_right),
    };
    if from_right {
        parts.reverse();
    }
    // Each part is a string of its own: beside its text, two words for the pointer and two for the counts.
    budget.allocate(parts.len() * 32)?;
    Value::list(parts.into_iter().map(Value::str).collect(), budget)
}

/// At most `most` words; the last one is what is left then. From the right, the last word comes first.
fn words(s: &str, most: usize, from_right: bool) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = s.trim_matches(is_space);
    while !rest.is_empty() {
        let cut = if from_right { rest.rfind(is_space) } else { rest.find(is_space) };
        let splits = found.len() + 1 < most;
        let Some(cut) = cut.filter(|_| splits) else {
            // What is not split for having enough parts keeps its outer whitespace.
            let at = rest.as_ptr() as usize - s.as_ptr() as usize;
            found.push(match (splits, from_right) {
                (true, _) => rest,
                (false, false) => &s[at..],
                (false, true) => &s[..at + rest.len()],
            });
            break;
        };
        if from_right {
            let width = rest[cut..].chars().next().map_or(1, char::len_utf8);
            found.push(&rest[cut + width..]);
            rest = rest[..cut].trim_end_matches(is_space);
        } else {
            found.push(&rest[..cut]);
            rest = rest[cut..].trim_start_matches(is_space);
        }
    }
    found
}

/// The lines of a text by Python's line ends.
pub(super) fn lines<'s>(s: &'s str, keep_ends: bool, budget: &mut Budget) -> Outcome<Vec<&'s str>> {
    budget.allocate(s.len())?;
    let mut lines = Vec::new();
    let mut start = 0;
    let mut chars = s.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if !matches!(c, '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}') {
            continue;
        }
        let mut end = at + c.len_utf8();
        if c == '\r' && chars.next_if(|(_, c)| *c == '\n').is_some() {
            end += 1;
        }
        lines.push(&s[start..if keep_ends { end } else { at }]);
        start = end;
    }
    if start < s.len() {
        lines.push(&s[start..]);
    }
    budget.allocate(lines.len() * 32)?;
    Ok(lines)
}

/// The part of a string between two positions as Python counts them, with where it starts.
fn window(s: &str, start: Option<i64>, end: Option<i64>) -> (usize, &str) {
    if (start, end) == (None, None) {
        return (0, s);
    }
    let length = s.chars().count() as i64;
    let bound = |n: i64| if n < 0 { n.saturating_add(length) } else { n }.clamp(0, length) as usize;
    let (start, end) = (bound(start.unwrap_or(0)), bound(end.unwrap_or(length)));
    let offset = |n: usize| s.char_indices().nth(n).map_or(s.len(), |(at, _)| at);
    (start, &s[offset(start)..offset(end.max(start))])
}

pub(super) fn replace(s: &str, old: &str, new: &str, count: Option<i64>, budget: &mut Budget) -> Outcome<Value> {
    let most = count.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
    budget.scan(s.len())?;
    let found = s.matches(old).take(most).count();
    budget.allocate(s.len().saturating_add(found.saturating_mul(new.len())))?;
    Ok(Value::str(s.replacen(old, new, most)))
}

fn pad(s: &str, name: &str, given: Given, budget: &mut Budget) -> Outcome<Value> {
    let [width, fill] = given.bind(name, ["width", "fillchar"])?;
    let width = whole(name, width)?.and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let fill = text_or_none(name, fill)?;
    let mut fill_chars = fill.as_deref().unwrap_or(if name == "zfill" { "0" } else { " " }).chars();
    let (Some(fill), None) = (fill_chars.next(), fill_chars.next()) else {
        return fault(format!("`{name}` fills with one character"));
    };
    let length = s.chars().count();
    let missing = width.saturating_sub(length);
    let (sign, rest) = match s.strip_prefix(['-', '+']) {
        Some(rest) if name == "zfill" => (&s[..1], rest),
        _ => ("", s),
    };
    let left = match name {
        "ljust" => 0,
        // Python puts the odd one left where the width is odd.
        "center" => missing / 2 + (missing & width & 1),
        _ => missing,
    };
    budget.allocate(missing.saturating_mul(fill.len_utf8()).saturating_add(s.len()))?;
    let mut text = String::from(sign);
    text.extend(std::iter::repeat_n(fill, left));
    text.push_str(rest);
    text.extend(std::iter::repeat_n(fill, missing - left));
    Ok(Value::str(text))
}

/// `"{} and {name}".format(…)`, without format specifications.
fn format(s: &str, given: &Given, budget: &mut Budget) -> Outcome<Value> {
    let mut text = Text::new(budget);
    let mut next = 0;
    let mut rest = s;
    while let Some(at) = rest.find(['{', '}']) {
        text.push(&rest[..at])?;
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("{{").or_else(|| rest.strip_prefix("}}")) {
            text.push(&rest[..1])?;
            rest = after;
            continue;
        }
        let Some((field, after)) = rest.strip_prefix('{').and_then(|field| field.split_once('}')) else {
            return fault("a format has a bracket without its partner");
        };
        rest = after;
        let value = if field.is_empty() {
            next += 1;
            given.positional.get(next - 1)
        } else if let Ok(index) = field.parse::<usize>() {
            given.positional.get(index)
        } else {
            given.named.iter().find(|(name, _)| **name == *field).map(|(_, value)| value)
        };
        match value {
            Some(value) => value.write(&mut text)?,
            None => return fault(format!("a format has no value for {}", crate::error::quoted(field))),
        }
    }
    text.push(rest)?;
    Ok(Value::str(text.finish()))
}

/// Each run of letters with a capital first, by `str.title`.
fn title(s: &str) -> String {
    let mut text = String::with_capacity(s.len());
    let mut inside = false;
    for c in s.chars() {
        if inside {
            text.extend(c.to_lowercase());
        } else {
            text.extend(c.to_uppercase());
        }
        inside = c.is_lowercase() || c.is_uppercase();
    }
    text
}

pub(super) fn capitalize(s: &str) -> String {
    let mut chars = s.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars.as_str().to_lowercase().chars()).collect(),
        None => String::new(),
    }
}

fn swapcase(s: &str) -> String {
    let mut text = String::with_capacity(s.len());
    for c in s.chars() {
        if c.is_uppercase() {
            text.extend(c.to_lowercase());
        } else {
            text.extend(c.to_uppercase());
        }
    }
    text
}
