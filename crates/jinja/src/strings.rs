//! The string operations that methods and filters share. The caller has charged for scanning the strings once. What takes
//! longer or allocates is charged here.

use std::iter::{from_fn, repeat_n};
use std::sync::Arc;

use crate::arguments::{Args, size, text_or_none};
use crate::budget::{Budget, Text};
use crate::error::{Result, fail, quoted};
use crate::lexer::is_space;
use crate::value::{Value, position_of_name};

/// The bytes of a string value without its text: pointer, length and two reference counts.
const STRING: usize = 32;
/// By how much the UTF-8 of a character can grow in upper or lower case.
const CASE_GROWTH: usize = 3;

pub(crate) fn strip(s: &Arc<str>, chars: Option<&str>, left: bool, right: bool, budget: &mut Budget) -> Result<Value> {
    let is_stripped = |c: char, budget: &mut Budget| -> Result<bool> {
        let Some(chars) = chars else { return Ok(is_space(c)) };
        budget.scan(chars.len())?;
        Ok(chars.contains(c))
    };
    let mut rest = &**s;
    while left
        && let Some(c) = rest.chars().next()
        && is_stripped(c, budget)?
    {
        rest = &rest[c.len_utf8()..];
    }
    while right
        && let Some(c) = rest.chars().next_back()
        && is_stripped(c, budget)?
    {
        rest = &rest[..rest.len() - c.len_utf8()];
    }
    if rest.len() == s.len() {
        return Ok(Value::Str(s.clone()));
    }
    budget.allocate(rest.len())?;
    Ok(Value::str(rest))
}

/// A string for each part.
pub(crate) fn parts<'s>(parts: impl Iterator<Item = &'s str>, budget: &mut Budget) -> Result<Vec<Value>> {
    let mut made = Vec::new();
    for part in parts {
        budget.allocate(STRING + size_of::<Value>() + part.len())?;
        made.push(Value::str(part));
    }
    Ok(made)
}

pub(crate) fn split(
    s: &str,
    separator: Option<&str>,
    most: usize,
    from_right: bool,
    budget: &mut Budget,
) -> Result<Value> {
    let most = most.saturating_add(1);
    let mut found = match (separator, from_right) {
        (Some(""), _) => return fail("the separator of `split` is empty"),
        (Some(separator), false) => parts(s.splitn(most, separator), budget)?,
        (Some(separator), true) => parts(s.rsplitn(most, separator), budget)?,
        (None, _) => parts(words(s, most, from_right), budget)?,
    };
    if from_right {
        found.reverse();
    }
    Value::list(found, budget)
}

/// At most `most` words, of which the last is the rest of the string. From the right, the last word comes first.
fn words(s: &str, most: usize, from_right: bool) -> impl Iterator<Item = &str> {
    let mut rest = s.trim_matches(is_space);
    let mut found = 0;
    from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        found += 1;
        if found == most {
            // The rest keeps the whitespace at the end of the string.
            let at = rest.as_ptr() as usize - s.as_ptr() as usize;
            let last = if from_right { &s[..at + rest.len()] } else { &s[at..] };
            rest = "";
            return Some(last);
        }
        let cut = if from_right { rest.rfind(is_space) } else { rest.find(is_space) };
        let Some(cut) = cut else { return Some(std::mem::take(&mut rest)) };
        let (before, after) = rest.split_at(cut);
        if from_right {
            rest = before.trim_end_matches(is_space);
            Some(after.trim_start_matches(is_space))
        } else {
            rest = after.trim_start_matches(is_space);
            Some(before)
        }
    })
}

/// The lines of a string, split as Python does.
pub(crate) fn lines(s: &str, keep_ends: bool) -> impl Iterator<Item = &str> {
    let mut rest = s;
    from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let is_end =
            |c| matches!(c, '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}');
        let at = rest.find(is_end).unwrap_or(rest.len());
        let width =
            if rest[at..].starts_with("\r\n") { 2 } else { rest[at..].chars().next().map_or(0, char::len_utf8) };
        let line = &rest[..if keep_ends { at + width } else { at }];
        rest = &rest[at + width..];
        Some(line)
    })
}

/// The part of a string between two positions in characters, negative ones from the end; and the position where it starts.
pub(crate) fn window(s: &str, start: Option<i64>, end: Option<i64>) -> (usize, &str) {
    if (start, end) == (None, None) {
        return (0, s);
    }
    let length = s.chars().count() as i64;
    let bound = |n: i64| if n < 0 { n.saturating_add(length) } else { n }.clamp(0, length) as usize;
    let (start, end) = (bound(start.unwrap_or(0)), bound(end.unwrap_or(length)));
    let offset = |n: usize| s.char_indices().nth(n).map_or(s.len(), |(at, _)| at);
    (start, &s[offset(start)..offset(end.max(start))])
}

pub(crate) fn replace(s: &str, old: &str, new: &str, count: Option<usize>, budget: &mut Budget) -> Result<Value> {
    let most = count.unwrap_or(usize::MAX);
    let found = s.matches(old).take(most).count();
    budget.allocate(s.len().saturating_add(found.saturating_mul(new.len())))?;
    Ok(Value::str(s.replacen(old, new, most)))
}

pub(crate) fn pad(s: &str, name: &str, args: Args, budget: &mut Budget) -> Result<Value> {
    let [width, fill] = args.bind(name, ["width", "fillchar"])?;
    let width = size(name, width)?.unwrap_or(0);
    let fill = text_or_none(name, fill)?;
    let mut fill_chars = fill.as_deref().unwrap_or(if name == "zfill" { "0" } else { " " }).chars();
    let (Some(fill), None) = (fill_chars.next(), fill_chars.next()) else {
        return fail(format!("the fill of `{name}` must be one character"));
    };
    let missing = width.saturating_sub(s.chars().count());
    let (sign, rest) = match s.strip_prefix(['-', '+']) {
        Some(rest) if name == "zfill" => (&s[..1], rest),
        _ => ("", s),
    };
    let left = match name {
        "ljust" => 0,
        // As in Python: if the width is odd, the extra character is on the left.
        "center" => missing / 2 + (missing & width & 1),
        _ => missing,
    };
    budget.allocate(missing.saturating_mul(fill.len_utf8()).saturating_add(s.len()))?;
    let mut text = String::from(sign);
    text.extend(repeat_n(fill, left));
    text.push_str(rest);
    text.extend(repeat_n(fill, missing - left));
    Ok(Value::str(text))
}

/// `"{} and {name}".format(…)`, without format specifications.
pub(crate) fn format(s: &str, args: &Args, budget: &mut Budget) -> Result<Value> {
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
            return fail("unmatched brace in a format");
        };
        rest = after;
        let value = if field.is_empty() {
            next += 1;
            args.positional.get(next - 1)
        } else if let Ok(index) = field.parse::<usize>() {
            args.positional.get(index)
        } else {
            position_of_name(&args.named, field, text.budget)?.map(|at| &args.named[at].1)
        };
        match value {
            Some(value) => value.write(&mut text)?,
            None => return fail(format!("the format has no value for {}", quoted(field))),
        }
    }
    text.push(rest)?;
    Ok(Value::str(text.finish()))
}

/// The string in another case: `upper`, `lower`, `casefold`, `capitalize` or `swapcase`.
pub(crate) fn in_case(s: &str, name: &str, budget: &mut Budget) -> Result<Value> {
    budget.allocate(s.len().saturating_mul(CASE_GROWTH))?;
    Ok(Value::str(match name {
        "upper" => s.to_uppercase(),
        "capitalize" => {
            let mut chars = s.chars();
            let first = chars.next().map(char::to_uppercase);
            first.into_iter().flatten().chain(chars.as_str().to_lowercase().chars()).collect()
        }
        "swapcase" => {
            let mut text = String::with_capacity(s.len());
            for c in s.chars() {
                push_in_case(c, !c.is_uppercase(), &mut text);
            }
            text
        }
        _ => s.to_lowercase(),
    }))
}

/// The string with the first letter of each word in upper case. A word begins after a character that `separates` words.
pub(crate) fn title(s: &str, separates: fn(char) -> bool, budget: &mut Budget) -> Result<String> {
    budget.allocate(s.len().saturating_mul(CASE_GROWTH))?;
    let mut text = String::with_capacity(s.len());
    let mut begins = true;
    for c in s.chars() {
        push_in_case(c, begins, &mut text);
        begins = separates(c);
    }
    Ok(text)
}

fn push_in_case(c: char, upper: bool, text: &mut String) {
    if upper {
        text.extend(c.to_uppercase());
    } else {
        text.extend(c.to_lowercase());
    }
}
