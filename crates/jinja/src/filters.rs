//! Jinja's filters: those that chat templates use.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::arguments::{Given, text, text_or_none, whole};
use crate::ast::Operator;
use crate::budget::{Budget, Text};
use crate::error::{Result, fail, quoted};
use crate::lexer::is_space;
use crate::operators::{arithmetic, format_percent, item, round};
use crate::predicates;
use crate::value::{Number, Value, compare, equal, sort_by_key, undefined};
use crate::{json, methods, strings};

pub(crate) const NAMES: [&str; 43] = [
    "abs",
    "attr",
    "batch",
    "capitalize",
    "center",
    "count",
    "d",
    "default",
    "dictsort",
    "e",
    "escape",
    "first",
    "float",
    "forceescape",
    "format",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "safe",
    "select",
    "selectattr",
    "sort",
    "string",
    "sum",
    "title",
    "tojson",
    "trim",
    "unique",
    "upper",
    "wordcount",
];

/// Applies the filter `name` to `value`.
pub(crate) fn apply(name: &str, value: &Value, given: Given, budget: &mut Budget) -> Result<Value> {
    if !NAMES.contains(&name) {
        return fail(format!("there is no filter {}", quoted(name)));
    }
    given.scan(budget)?;
    if let Value::Str(s) = value {
        budget.scan(s.len())?;
    }
    // `map` applies filters, and may apply `map`.
    budget.enter()?;
    let result = match name {
        "map" => map(value, given, budget),
        "select" | "reject" | "selectattr" | "rejectattr" => select(name, value, given, budget),
        "upper" | "lower" | "capitalize" | "title" | "trim" | "replace" | "indent" | "string" | "safe" | "e"
        | "escape" | "forceescape" | "format" | "wordcount" | "center" => of_text(name, value, given, budget),
        "abs" | "int" | "float" | "round" => of_number(name, value, given, budget),
        _ => of_sequence(name, value, given, budget),
    };
    budget.leave();
    result
}

fn of_text(name: &str, value: &Value, given: Given, budget: &mut Budget) -> Result<Value> {
    let s = value.to_text(budget)?;
    match name {
        "format" => {
            let Given { positional, named } = given;
            if !named.is_empty() {
                return fail("`format` with names is not supported");
            }
            return format_percent(&s, &positional, budget);
        }
        "trim" => {
            let [chars] = given.bind(name, ["chars"])?;
            return strings::strip(&s, text_or_none(name, chars)?.as_deref(), true, true, budget);
        }
        "replace" => {
            let [old, new, count] = given.bind(name, ["old", "new", "count"])?;
            let [old, new] = [old, new].map(|text| text.unwrap_or(Value::None).to_text(budget));
            return strings::replace(&s, &old?, &new?, whole(name, count)?, budget);
        }
        "indent" => return indent(&s, given, budget),
        "center" => {
            let [width] = given.bind(name, ["width"])?;
            let given = Given { positional: vec![width.unwrap_or(Value::Int(80))], named: Vec::new() };
            return strings::pad(&s, name, given, budget);
        }
        _ => {}
    }
    given.bind::<0>(name, [])?;
    Ok(match name {
        "upper" | "lower" | "capitalize" => strings::in_case(&s, name, budget)?,
        // Jinja's own `title` differs from `str.title`: words begin after blanks, hyphens and opening brackets.
        "title" => {
            let separates = |c| is_space(c) || matches!(c, '-' | '(' | '{' | '[' | '<');
            Value::str(strings::title(&s, separates, budget)?)
        }
        "wordcount" => Value::Int(s.split(is_space).filter(|word| !word.is_empty()).count() as i64),
        "e" | "escape" | "forceescape" => {
            let mut text = Text::new(budget);
            for c in s.chars() {
                match c {
                    '&' => text.push("&amp;")?,
                    '<' => text.push("&lt;")?,
                    '>' => text.push("&gt;")?,
                    '\'' => text.push("&#39;")?,
                    '"' => text.push("&#34;")?,
                    c => text.push_char(c)?,
                }
            }
            Value::str(text.finish())
        }
        _ => Value::Str(s),
    })
}

fn indent(s: &str, given: Given, budget: &mut Budget) -> Result<Value> {
    let [width, first, blank] = given.bind("indent", ["width", "first", "blank"])?;
    let indentation: Arc<str> = match width {
        None => "    ".into(),
        Some(Value::Str(s)) => s,
        Some(width) => {
            let width = whole("indent", Some(width))?.and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
            budget.allocate(width)?;
            " ".repeat(width).into()
        }
    };
    let [first, blank] = [first, blank].map(|flag| flag.is_some_and(|flag| flag.is_true()));
    // Jinja adds a line end before it splits the text, so a line end at the end makes an empty last line.
    let last = if s.is_empty() || s.ends_with('\n') { Some("") } else { None };
    let mut text = Text::new(budget);
    for (i, line) in strings::lines(s, false).chain(last).enumerate() {
        if i > 0 {
            text.push("\n")?;
        }
        if i == 0 && first || i > 0 && (blank || !line.is_empty()) {
            text.push(&indentation)?;
        }
        text.push(line)?;
    }
    Ok(Value::str(text.finish()))
}

fn of_number(name: &str, value: &Value, given: Given, budget: &mut Budget) -> Result<Value> {
    if let Value::Undefined(name) = value {
        return undefined(name.as_deref());
    }
    match (name, value.number()) {
        ("abs", Some(Number::Int(n))) => {
            n.checked_abs().map_or_else(|| fail("a number is too large"), |n| Ok(Value::Int(n)))
        }
        ("abs", Some(Number::Float(x))) => Ok(Value::Float(x.abs())),
        ("round", Some(number)) => {
            let [precision, method] = given.bind(name, ["precision", "method"])?;
            let precision = whole(name, precision)?.unwrap_or(0);
            let method = text_or_none(name, method)?;
            let scale = 10f64.powi(precision.clamp(-300, 300) as i32);
            Ok(match (method.as_deref().unwrap_or("common"), number) {
                // Python's `round` of a whole number is that number.
                ("common", Number::Int(n)) if precision >= 0 => Value::Int(n),
                ("common", Number::Int(n)) => Value::Int(round(n as f64, precision, budget)? as i64),
                ("common", Number::Float(x)) => Value::Float(round(x, precision, budget)?),
                ("ceil", number) => Value::Float((number.float() * scale).ceil() / scale),
                ("floor", number) => Value::Float((number.float() * scale).floor() / scale),
                _ => return fail("`round` takes common, ceil or floor as its method"),
            })
        }
        ("int", number) => {
            let [default, base] = given.bind(name, ["default", "base"])?;
            let default = default.unwrap_or(Value::Int(0));
            let base = whole(name, base)?.and_then(|n| u32::try_from(n).ok()).filter(|n| (2..=36).contains(n));
            let whole = |x: f64| (x.abs() < 9.2e18).then_some(x as i64);
            let found = match (number, value) {
                (Some(Number::Int(n)), _) => Some(n),
                (Some(Number::Float(x)), _) => whole(x),
                (None, Value::Str(s)) => {
                    budget.allocate(s.len())?;
                    let s = s.trim_matches(is_space).replace('_', "");
                    match i64::from_str_radix(&s, base.unwrap_or(10)) {
                        Ok(n) => Some(n),
                        Err(_) => read_float(&s, budget)?.and_then(whole),
                    }
                }
                _ => None,
            };
            Ok(found.map_or(default, Value::Int))
        }
        ("float", number) => {
            let [default] = given.bind(name, ["default"])?;
            let found = match (number, value) {
                (Some(number), _) => Some(number.float()),
                (None, Value::Str(s)) => read_float(s.trim_matches(is_space), budget)?,
                _ => None,
            };
            Ok(Value::Float(match found {
                Some(x) => x,
                None => return Ok(default.unwrap_or(Value::Float(0.0))),
            }))
        }
        _ => fail(format!("`{name}` takes a number, not a {}", value.type_name())),
    }
}

/// The number in a text. Digits are charged: beyond 19 of them, big integers are needed.
fn read_float(s: &str, budget: &mut Budget) -> Result<Option<f64>> {
    budget.scan(s.len())?;
    budget.spend(s.len().min(800) / 4)?;
    Ok(s.parse().ok())
}

fn of_sequence(name: &str, value: &Value, given: Given, budget: &mut Budget) -> Result<Value> {
    match name {
        "default" | "d" => {
            let [default, boolean] = given.bind(name, ["default_value", "boolean"])?;
            let falls = value.is_undefined() || boolean.is_some_and(|b| b.is_true()) && !value.is_true();
            Ok(if falls { default.unwrap_or_else(|| Value::str("")) } else { value.clone() })
        }
        "length" | "count" => Ok(Value::Int(match value {
            Value::Undefined(_) => 0,
            Value::Str(s) => s.chars().count() as i64,
            Value::List(list) => list.items.len() as i64,
            Value::Dict(dict) => dict.entries.len() as i64,
            other => return fail(format!("a {} has no length", other.type_name())),
        })),
        "first" => Ok(value.items(budget)?.into_iter().next().unwrap_or(Value::Undefined(None))),
        "last" => Ok(value.items(budget)?.pop().unwrap_or(Value::Undefined(None))),
        "list" => Value::list(value.items(budget)?, budget),
        "reverse" => match value {
            Value::Str(s) => {
                budget.allocate(s.len())?;
                Ok(Value::str(s.chars().rev().collect::<String>()))
            }
            value => {
                let mut items = value.items(budget)?;
                items.reverse();
                Value::list(items, budget)
            }
        },
        "items" if value.is_undefined() => Value::list([], budget),
        "items" => methods::items(value, budget),
        "join" => {
            let [separator, attribute] = given.bind(name, ["d", "attribute"])?;
            let separator = separator.unwrap_or_else(|| Value::str("")).to_text(budget)?;
            let attribute = attribute.filter(|attribute| !matches!(attribute, Value::None));
            let items = value.items(budget)?;
            let mut joined = Text::new(budget);
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    joined.push(&separator)?;
                }
                match &attribute {
                    Some(path) => look_up(item, path, joined.budget)?.write(&mut joined)?,
                    None => item.write(&mut joined)?,
                }
            }
            Ok(Value::str(joined.finish()))
        }
        "attr" => {
            let [attribute] = given.bind(name, ["name"])?;
            let attribute = text(name, attribute)?;
            // Values have no attributes but methods; keys do not count here.
            Ok(if methods::exists(value, &attribute) { Value::Method } else { Value::Undefined(Some(attribute)) })
        }
        "dictsort" => {
            let [case_sensitive, by, reverse] = given.bind(name, ["case_sensitive", "by", "reverse"])?;
            let by_value = match text_or_none(name, by)?.as_deref() {
                None | Some("key") => 0,
                Some("value") => 1,
                _ => return fail("`dictsort` sorts by `key` or `value`"),
            };
            let Value::List(pairs) = methods::items(value, budget)? else { return fail("no items") };
            sorted(&pairs.items, Some(&Value::Int(by_value)), is_true(&case_sensitive), is_true(&reverse), budget)
        }
        "sort" => {
            let [reverse, case_sensitive, attribute] = given.bind(name, ["reverse", "case_sensitive", "attribute"])?;
            let items = value.items(budget)?;
            sorted(&items, attribute.as_ref(), is_true(&case_sensitive), is_true(&reverse), budget)
        }
        "min" | "max" => {
            let [case_sensitive, attribute] = given.bind(name, ["case_sensitive", "attribute"])?;
            let mut best: Option<(Value, Value)> = None;
            for item in value.items(budget)? {
                let key = sort_key(&item, attribute.as_ref(), is_true(&case_sensitive), budget)?;
                let better = match &best {
                    None => true,
                    Some((_, before)) => {
                        let wanted = if name == "min" { Ordering::Less } else { Ordering::Greater };
                        compare(&key, before, budget)? == Some(wanted)
                    }
                };
                if better {
                    best = Some((item, key));
                }
            }
            Ok(best.map_or(Value::Undefined(None), |(item, _)| item))
        }
        "unique" => {
            let [case_sensitive, attribute] = given.bind(name, ["case_sensitive", "attribute"])?;
            let mut seen: Vec<(Value, Value)> = Vec::new();
            'items: for item in value.items(budget)? {
                budget.allocate_items::<(Value, Value)>(2)?;
                let key = sort_key(&item, attribute.as_ref(), is_true(&case_sensitive), budget)?;
                for (_, before) in &seen {
                    if equal(before, &key, budget)? {
                        continue 'items;
                    }
                }
                seen.push((item, key));
            }
            Value::list(seen.into_iter().map(|(item, _)| item), budget)
        }
        "sum" => {
            let [attribute, start] = given.bind(name, ["attribute", "start"])?;
            let mut sum = start.unwrap_or(Value::Int(0));
            for item in value.items(budget)? {
                let item = match &attribute {
                    Some(path) if !matches!(path, Value::None) => look_up(&item, path, budget)?,
                    _ => item,
                };
                sum = arithmetic(Operator::Add, &sum, &item, budget)?;
            }
            Ok(sum)
        }
        "batch" => {
            let [count, fill] = given.bind(name, ["linecount", "fill_with"])?;
            let Some(count) = whole(name, count)?.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0) else {
                return fail("`batch` takes a number of items above zero");
            };
            let mut batches = Vec::new();
            for batch in value.items(budget)?.chunks(count) {
                budget.allocate_items::<Value>(batch.len() + 2)?;
                let mut batch = batch.to_vec();
                if let Some(fill) = fill.as_ref().filter(|fill| !matches!(fill, Value::None)) {
                    budget.allocate_items::<Value>(count - batch.len())?;
                    batch.resize(count, fill.clone());
                }
                batches.push(Value::list(batch, budget)?);
            }
            Value::list(batches, budget)
        }
        _ => to_json(value, given, budget),
    }
}

fn is_true(flag: &Option<Value>) -> bool {
    flag.as_ref().is_some_and(Value::is_true)
}

fn to_json(value: &Value, given: Given, budget: &mut Budget) -> Result<Value> {
    let [ascii, indent, separators, sorted] =
        given.bind("tojson", ["ensure_ascii", "indent", "separators", "sort_keys"])?;
    let indent = match indent {
        None | Some(Value::None) => None,
        Some(Value::Str(s)) => Some(s),
        Some(width) => {
            let width = whole("tojson", Some(width))?.and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
            budget.allocate(width)?;
            Some(" ".repeat(width).into())
        }
    };
    let (item_separator, key_separator) = match separators {
        None | Some(Value::None) => ((if indent.is_some() { "," } else { ", " }).into(), ": ".into()),
        Some(pair) => match &pair.items(budget)?[..] {
            [Value::Str(item), Value::Str(key)] => (item.clone(), key.clone()),
            _ => return fail("`tojson` takes two separators"),
        },
    };
    let style = json::Style { indent, item_separator, key_separator, ascii: is_true(&ascii), sorted: is_true(&sorted) };
    let mut text = Text::new(budget);
    json::write(value, &style, 0, &mut text)?;
    Ok(Value::str(text.finish()))
}

/// The value at a path such as `function.name` or `0`.
fn look_up(value: &Value, path: &Value, budget: &mut Budget) -> Result<Value> {
    let step = |value: &Value, key: Value, budget: &mut Budget| match value {
        Value::Undefined(name) => undefined(name.as_deref()),
        value => Ok(item(value, &key, budget)?.unwrap_or(match key {
            Value::Str(name) => Value::Undefined(Some(name)),
            _ => Value::Undefined(None),
        })),
    };
    let Value::Str(path) = path else { return step(value, path.clone(), budget) };
    budget.allocate(path.len())?;
    let mut value = value.clone();
    for part in path.split('.') {
        let key = part.parse().map_or_else(|_| Value::str(part), Value::Int);
        value = step(&value, key, budget)?;
    }
    Ok(value)
}

fn sort_key(item: &Value, attribute: Option<&Value>, case_sensitive: bool, budget: &mut Budget) -> Result<Value> {
    let key = match attribute {
        None | Some(Value::None) => item.clone(),
        Some(path) => look_up(item, path, budget)?,
    };
    Ok(match key {
        Value::Str(s) if !case_sensitive => strings::in_case(&s, "lower", budget)?,
        key => key,
    })
}

fn sorted(
    items: &[Value],
    attribute: Option<&Value>,
    case_sensitive: bool,
    reverse: bool,
    budget: &mut Budget,
) -> Result<Value> {
    budget.allocate_items::<(Value, Value)>(items.len())?;
    let mut keyed = Vec::with_capacity(items.len());
    for item in items {
        keyed.push((sort_key(item, attribute, case_sensitive, budget)?, item.clone()));
    }
    let keyed = sort_by_key(keyed, |(key, _)| key, reverse, budget)?;
    Value::list(keyed.into_iter().map(|(_, item)| item), budget)
}

fn map(value: &Value, mut given: Given, budget: &mut Budget) -> Result<Value> {
    let mut mapped = Vec::new();
    if given.positional.is_empty() {
        let [attribute, default] = given.bind("map", ["attribute", "default"])?;
        let Some(attribute) = attribute else { return fail("`map` lacks a filter or an attribute") };
        for item in value.items(budget)? {
            let found = look_up(&item, &attribute, budget)?;
            mapped.push(match &default {
                Some(default) if found.is_undefined() => default.clone(),
                _ => found,
            });
        }
    } else {
        let filter = text("map", Some(given.positional.remove(0)))?;
        for item in value.items(budget)? {
            budget.allocate_items::<(Value, Value)>(given.positional.len() + given.named.len() + 1)?;
            let given = Given { positional: given.positional.clone(), named: given.named.clone() };
            mapped.push(apply(&filter, &item, given, budget)?);
        }
    }
    Value::list(mapped, budget)
}

fn select(name: &str, value: &Value, given: Given, budget: &mut Budget) -> Result<Value> {
    let mut arguments = given.positional.into_iter();
    let attribute = if name.ends_with("attr") {
        match arguments.next() {
            Some(attribute) => Some(attribute),
            None => return fail(format!("`{name}` lacks an attribute")),
        }
    } else {
        None
    };
    let predicate = arguments.next().map(|test| text(name, Some(test))).transpose()?;
    let arguments: Vec<Value> = arguments.collect();
    let wanted = name.starts_with("select");
    let mut kept = Vec::new();
    for item in value.items(budget)? {
        budget.spend(1)?;
        let looked_up = attribute.as_ref().map(|path| look_up(&item, path, budget)).transpose()?;
        let tested = looked_up.as_ref().unwrap_or(&item);
        let holds = match &predicate {
            Some(predicate) => predicates::holds(predicate, tested, &arguments, budget)?,
            None => tested.is_true(),
        };
        if holds == wanted {
            kept.push(item);
        }
    }
    Value::list(kept, budget)
}
