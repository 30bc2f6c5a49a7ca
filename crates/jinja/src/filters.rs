//! The filters of Jinja that chat templates use.

use std::cmp::Ordering;

use crate::arguments::{Args, flag, indentation, integer, size, text, text_or_none};
use crate::ast::Operator;
use crate::budget::{Budget, Text};
use crate::error::{Result, fail, quoted};
use crate::lexer::is_space;
use crate::operators::{arithmetic, format_percent, item, round};
use crate::predicates;
use crate::value::{Number, Value, compare, equal, sort_by_key, undefined};
use crate::{json, methods, strings};

#[rustfmt::skip]
pub(crate) const NAMES: [&str; 44] = [
    "abs", "attr", "batch", "capitalize", "center", "count", "d", "default", "dictsort", "e", "escape", "first", "float",
    "forceescape", "format", "indent", "int", "items", "join", "last", "length", "list", "lower", "map", "max", "min", "reject",
    "rejectattr", "replace", "reverse", "round", "safe", "select", "selectattr", "sort", "string", "sum", "title", "tojson", "trim",
    "truncate", "unique", "upper", "wordcount",
];

/// Applies the filter `name` to `value`.
pub(crate) fn apply(name: &str, value: &Value, args: Args, budget: &mut Budget) -> Result<Value> {
    if !NAMES.contains(&name) {
        return fail(format!("unknown filter {}", quoted(name)));
    }
    args.scan(budget)?;
    if let Value::Str(s) = value {
        budget.scan(s.len())?;
    }
    // `map` applies a filter, which may be `map`.
    budget.enter()?;
    let result = match name {
        "map" => map(value, args, budget),
        "select" | "reject" | "selectattr" | "rejectattr" => select(name, value, args, budget),
        "upper" | "lower" | "capitalize" | "title" | "trim" | "replace" | "indent" | "string" | "safe" | "e"
        | "escape" | "forceescape" | "format" | "wordcount" | "center" => of_text(name, value, args, budget),
        "truncate" => truncate(value, args, budget),
        "abs" | "int" | "float" | "round" => of_number(name, value, args, budget),
        _ => of_sequence(name, value, args, budget),
    };
    budget.leave();
    result
}

fn of_text(name: &str, value: &Value, args: Args, budget: &mut Budget) -> Result<Value> {
    let s = value.to_text(budget)?;
    match name {
        "format" => return format_percent(&s, &args.only_positional()?, budget),
        "trim" => {
            let [chars] = args.bind(name, ["chars"])?;
            return strings::strip(&s, text_or_none(name, chars)?.as_deref(), true, true, budget);
        }
        "replace" => {
            let [old, new, count] = args.bind(name, ["old", "new", "count"])?;
            let [old, new] = [old, new].map(|text| text.unwrap_or(Value::None).to_text(budget));
            return strings::replace(&s, &old?, &new?, size(name, count)?, budget);
        }
        "indent" => return indent(&s, args, budget),
        "center" => {
            let [width] = args.bind(name, ["width"])?;
            let args = Args { positional: vec![width.unwrap_or(Value::Int(80))], named: Vec::new() };
            return strings::pad(&s, name, args, budget);
        }
        _ => {}
    }
    args.bind::<0>(name, [])?;
    Ok(match name {
        "upper" | "lower" | "capitalize" => strings::in_case(&s, name, budget)?,
        // In Jinja's `title`, unlike `str.title`, words begin after whitespace, hyphens and opening brackets.
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

fn indent(s: &str, args: Args, budget: &mut Budget) -> Result<Value> {
    let [width, first, blank] = args.bind("indent", ["width", "first", "blank"])?;
    let indentation = indentation("indent", width, budget)?.unwrap_or_else(|| "    ".into());
    let [first, blank] = [flag(&first), flag(&blank)];
    // Jinja appends a newline before it splits the string, so that a string that ends in one has an empty last line.
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

/// Cuts a string to `length` characters, unless it is longer by no more than `leeway`.
fn truncate(value: &Value, args: Args, budget: &mut Budget) -> Result<Value> {
    let [length, kill_words, end, leeway] = args.bind("truncate", ["length", "killwords", "end", "leeway"])?;
    let length = integer("truncate", length)?.unwrap_or(255);
    let leeway = integer("truncate", leeway)?.unwrap_or(5);
    let end = text_or_none("truncate", end)?.unwrap_or_else(|| "...".into());
    let end_length = end.chars().count() as i64;
    if length < end_length || leeway < 0 {
        return fail("the length of `truncate` is less than that of its end, or its leeway is negative");
    }
    let Value::Int(count) = of_items("length", value, budget)? else { return fail("`truncate` takes a string") };
    if count <= length.saturating_add(leeway) {
        return Ok(value.clone());
    }
    let Value::Str(s) = value else {
        return fail(format!("`truncate` takes a string, not {}", value.type_name()));
    };
    let (_, mut kept) = strings::window(s, Some(0), Some(length - end_length));
    if !flag(&kill_words) {
        kept = kept.rsplit_once(' ').map_or(kept, |(before, _)| before);
    }
    let mut text = Text::new(budget);
    text.push(kept)?;
    text.push(&end)?;
    Ok(Value::str(text.finish()))
}

fn of_number(name: &str, value: &Value, args: Args, budget: &mut Budget) -> Result<Value> {
    if let Value::Undefined(name) = value {
        return undefined(name.as_deref());
    }
    match (name, value.number()) {
        ("abs", Some(Number::Int(n))) => Value::integer(n.checked_abs()),
        ("abs", Some(Number::Float(x))) => Ok(Value::Float(x.abs())),
        ("round", Some(number)) => {
            let [precision, method] = args.bind(name, ["precision", "method"])?;
            let precision = integer(name, precision)?.unwrap_or(0);
            let method = text_or_none(name, method)?;
            let scale = 10f64.powi(precision.clamp(-300, 300) as i32);
            Ok(match (method.as_deref().unwrap_or("common"), number) {
                // Python's `round` of an integer is that integer.
                ("common", Number::Int(n)) if precision >= 0 => Value::Int(n),
                ("common", Number::Int(n)) => Value::Int(round(n as f64, precision, budget)? as i64),
                ("common", Number::Float(x)) => Value::Float(round(x, precision, budget)?),
                ("ceil", number) => Value::Float((number.float() * scale).ceil() / scale),
                ("floor", number) => Value::Float((number.float() * scale).floor() / scale),
                _ => return fail("the method of `round` must be common, ceil or floor"),
            })
        }
        ("int", number) => {
            let [default, base] = args.bind(name, ["default", "base"])?;
            let default = default.unwrap_or(Value::Int(0));
            let base = integer(name, base)?.and_then(|n| u32::try_from(n).ok()).filter(|n| (2..=36).contains(n));
            let truncated = |x: f64| (x.abs() < 9.2e18).then_some(x as i64);
            let found = match (number, value) {
                (Some(Number::Int(n)), _) => Some(n),
                (Some(Number::Float(x)), _) => truncated(x),
                (None, Value::Str(s)) => {
                    budget.allocate(s.len())?;
                    let s = s.trim_matches(is_space).replace('_', "");
                    match i64::from_str_radix(&s, base.unwrap_or(10)) {
                        Ok(n) => Some(n),
                        Err(_) => read_float(&s, budget)?.and_then(truncated),
                    }
                }
                _ => None,
            };
            Ok(found.map_or(default, Value::Int))
        }
        ("float", number) => {
            let [default] = args.bind(name, ["default"])?;
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
        _ => fail(format!("`{name}` takes a number, not {}", value.type_name())),
    }
}

/// Parses a float. Digits are charged, because more than 19 of them take big integers.
fn read_float(s: &str, budget: &mut Budget) -> Result<Option<f64>> {
    budget.scan(s.len())?;
    budget.spend(s.len().min(800) / 4)?;
    Ok(s.parse().ok())
}

fn of_sequence(name: &str, value: &Value, args: Args, budget: &mut Budget) -> Result<Value> {
    if matches!(name, "length" | "count" | "first" | "last" | "list" | "reverse" | "items") {
        args.bind::<0>(name, [])?;
        return of_items(name, value, budget);
    }
    match name {
        "default" | "d" => {
            let [default, boolean] = args.bind(name, ["default_value", "boolean"])?;
            let replaced = value.is_undefined() || flag(&boolean) && !value.is_true();
            Ok(if replaced { default.unwrap_or_else(|| Value::str("")) } else { value.clone() })
        }
        "join" => {
            let [separator, attribute] = args.bind(name, ["d", "attribute"])?;
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
            let [attribute] = args.bind(name, ["name"])?;
            let attribute = text(name, attribute)?;
            // The attributes of a value are its methods. The keys of a dictionary are not attributes.
            Ok(if methods::exists(value, &attribute) { Value::Method } else { Value::Undefined(Some(attribute)) })
        }
        "dictsort" => {
            let [case_sensitive, by, reverse] = args.bind(name, ["case_sensitive", "by", "reverse"])?;
            let by = match text_or_none(name, by)?.as_deref() {
                None | Some("key") => Value::Int(0),
                Some("value") => Value::Int(1),
                _ => return fail("`dictsort` sorts by `key` or `value`"),
            };
            let pairs = methods::pairs(value, budget)?;
            sorted(&pairs, Some(&by), flag(&case_sensitive), flag(&reverse), budget)
        }
        "sort" => {
            let [reverse, case_sensitive, attribute] = args.bind(name, ["reverse", "case_sensitive", "attribute"])?;
            let items = value.items(budget)?;
            sorted(&items, attribute.as_ref(), flag(&case_sensitive), flag(&reverse), budget)
        }
        "min" | "max" => {
            let [case_sensitive, attribute] = args.bind(name, ["case_sensitive", "attribute"])?;
            let mut best: Option<(Value, Value)> = None;
            for item in value.items(budget)? {
                let key = sort_key(&item, attribute.as_ref(), flag(&case_sensitive), budget)?;
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
            let [case_sensitive, attribute] = args.bind(name, ["case_sensitive", "attribute"])?;
            let mut seen: Vec<(Value, Value)> = Vec::new();
            'items: for item in value.items(budget)? {
                budget.allocate_items::<(Value, Value)>(2)?;
                let key = sort_key(&item, attribute.as_ref(), flag(&case_sensitive), budget)?;
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
            let [attribute, start] = args.bind(name, ["attribute", "start"])?;
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
            let [count, fill] = args.bind(name, ["linecount", "fill_with"])?;
            let Some(count) = size(name, count)?.filter(|n| *n > 0) else {
                return fail("`batch` needs a positive number of items");
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
        _ => to_json(value, args, budget),
    }
}

/// The filters without arguments.
fn of_items(name: &str, value: &Value, budget: &mut Budget) -> Result<Value> {
    match name {
        "length" | "count" => Ok(Value::Int(match value {
            Value::Undefined(_) => 0,
            Value::Str(s) => s.chars().count() as i64,
            Value::List(list) => list.items.len() as i64,
            Value::Dict(dict) => dict.entries.len() as i64,
            other => return fail(format!("{} has no length", other.type_name())),
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
        _ if value.is_undefined() => Value::list([], budget),
        // "items"
        _ => Value::list(methods::pairs(value, budget)?, budget),
    }
}

fn to_json(value: &Value, args: Args, budget: &mut Budget) -> Result<Value> {
    let [ascii, indent, separators, sorted] =
        args.bind("tojson", ["ensure_ascii", "indent", "separators", "sort_keys"])?;
    let indent = indentation("tojson", indent, budget)?;
    let (item_separator, key_separator) = match separators {
        None | Some(Value::None) => ((if indent.is_some() { "," } else { ", " }).into(), ": ".into()),
        Some(pair) => match &pair.items(budget)?[..] {
            [Value::Str(item), Value::Str(key)] => (item.clone(), key.clone()),
            _ => return fail("`tojson` takes two separators"),
        },
    };
    let style = json::Style { indent, item_separator, key_separator, ascii: flag(&ascii), sorted: flag(&sorted) };
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

fn map(value: &Value, mut args: Args, budget: &mut Budget) -> Result<Value> {
    // As in Jinja, a false value such as None has no items, and the arguments are not looked at.
    if !value.is_true() {
        return Value::list([], budget);
    }
    let mut mapped = Vec::new();
    if args.positional.is_empty() {
        let [attribute, default] = args.bind("map", ["attribute", "default"])?;
        let Some(attribute) = attribute else { return fail("`map` needs a filter or an attribute") };
        for item in value.items(budget)? {
            let found = look_up(&item, &attribute, budget)?;
            mapped.push(match &default {
                Some(default) if found.is_undefined() => default.clone(),
                _ => found,
            });
        }
    } else {
        let filter = text("map", Some(args.positional.remove(0)))?;
        for item in value.items(budget)? {
            budget.allocate_items::<(Value, Value)>(args.positional.len() + args.named.len() + 1)?;
            let args = Args { positional: args.positional.clone(), named: args.named.clone() };
            mapped.push(apply(&filter, &item, args, budget)?);
        }
    }
    Value::list(mapped, budget)
}

fn select(name: &str, value: &Value, args: Args, budget: &mut Budget) -> Result<Value> {
    if !value.is_true() {
        return Value::list([], budget);
    }
    let mut arguments = args.only_positional()?.into_iter();
    let attribute = if name.ends_with("attr") { arguments.next() } else { None };
    if name.ends_with("attr") && attribute.is_none() {
        return fail(format!("`{name}` needs an attribute"));
    }
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
