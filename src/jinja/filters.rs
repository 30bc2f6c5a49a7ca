//! Jinja's filters and tests, those of them that chat templates use.

use std::cmp::Ordering;
use std::sync::Arc;

use super::ast::Operator;
use super::budget::{Budget, Outcome, Text, fault};
use super::json;
use super::lexer::is_space;
use super::methods::{self, Given, text, text_or_none, whole};
use super::operators::{arithmetic, format_percent, item, round};
use super::value::{Number, Value, compare, equal, undefined};
use crate::error::quoted;

/// Applies the filter `name` to `value`.
pub(super) fn apply(name: &str, value: &Value, given: Given, budget: &mut Budget) -> Outcome<Value> {
    // `map` applies filters, `map` among them.
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

fn of_text(name: &str, value: &Value, given: Given, budget: &mut Budget) -> Outcome<Value> {
    let s = value.to_text(budget)?;
    budget.allocate(2 * s.len())?;
    Ok(match name {
        "format" => {
            let Given { positional, named } = given;
            if !named.is_empty() {
                return fault("`format` with names is not supported");
            }
            return format_percent(&s, &positional, budget);
        }
        "trim" => {
            let [chars] = given.bind(name, ["chars"])?;
            return methods::strip(&s, text_or_none(name, chars)?.as_deref(), true, true, budget);
        }
        "replace" => {
            let [old, new, count] = given.bind(name, ["old", "new", "count"])?;
            let [old, new] = [old, new].map(|text| text.unwrap_or(Value::None).to_text(budget));
            return methods::replace(&s, &old?, &new?, whole(name, count)?, budget);
        }
        "indent" => return indent(&s, given, budget),
        "center" => {
            let [width] = given.bind(name, ["width"])?;
            let width = width.unwrap_or(Value::Int(80));
            return methods::call(
                &Value::Str(s),
                "center",
                Given { positional: vec![width], named: Vec::new() },
                budget,
            );
        }
        _ => {
            given.bind::<0>(name, [])?;
            match name {
                "upper" => Value::str(s.to_uppercase()),
                "lower" => Value::str(s.to_lowercase()),
                "capitalize" => Value::str(methods::capitalize(&s)),
                "title" => Value::str(title(&s)),
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
            }
        }
    })
}

/// Jinja's own `title`, which differs from `str.title`: words begin after blanks, hyphens and opening brackets.
fn title(s: &str) -> String {
    let mut title = String::with_capacity(s.len());
    let mut begins = true;
    for c in s.chars() {
        if begins {
            title.extend(c.to_uppercase());
        } else {
            title.extend(c.to_lowercase());
        }
        begins = is_space(c) || matches!(c, '-' | '(' | '{' | '[' | '<');
    }
    title
}

fn indent(s: &str, given: Given, budget: &mut Budget) -> Outcome<Value> {
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
    let mut lines = methods::lines(s, false, budget)?;
    // Jinja splits the text with a line end added, so that a line end at the text's end makes an empty last line.
    if s.is_empty() || s.ends_with('\n') {
        lines.push("");
    }
    let mut text = Text::new(budget);
    for (i, line) in lines.into_iter().enumerate() {
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

fn of_number(name: &str, value: &Value, given: Given, budget: &mut Budget) -> Outcome<Value> {
    if let Value::Undefined(name) = value {
        return undefined(name.as_deref());
    }
    match (name, value.number()) {
        ("abs", Some(Number::Int(n))) => {
            n.checked_abs().map_or_else(|| fault("a number is too large"), |n| Ok(Value::Int(n)))
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
                ("common", Number::Int(n)) => Value::Int(round(n as f64, precision) as i64),
                ("common", Number::Float(x)) => Value::Float(round(x, precision)),
                ("ceil", number) => Value::Float((number.float() * scale).ceil() / scale),
                ("floor", number) => Value::Float((number.float() * scale).floor() / scale),
                _ => return fault("`round` takes common, ceil or floor as its method"),
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
                    budget.scan(s.len())?;
                    let s = s.trim_matches(is_space).replace('_', "");
                    i64::from_str_radix(&s, base.unwrap_or(10)).ok().or_else(|| s.parse().ok().and_then(whole))
                }
                _ => None,
            };
            Ok(found.map_or(default, Value::Int))
        }
        ("float", number) => {
            let [default] = given.bind(name, ["default"])?;
            let found = match (number, value) {
                (Some(number), _) => Some(number.float()),
                (None, Value::Str(s)) => s.trim_matches(is_space).parse().ok(),
                _ => None,
            };
            Ok(Value::Float(match found {
                Some(x) => x,
                None => return Ok(default.unwrap_or(Value::Float(0.0))),
            }))
        }
        _ => fault(format!("`{name}` takes a number, not a {}", value.type_name())),
    }
}

fn of_sequence(name: &str, value: &Value, given: Given, budget: &mut Budget) -> Outcome<Value> {
    match name {
        "default" | "d" => {
            let [default, boolean] = given.bind(name, ["default_value", "boolean"])?;
            let falls = value.is_undefined() || boolean.is_some_and(|b| b.is_true()) && !value.is_true();
            Ok(if falls { default.unwrap_or_else(|| Value::str("")) } else { value.clone() })
        }
        "length" | "count" => Ok(Value::Int(match value {
            Value::Undefined(_) => 0,
            Value::Str(s) => {
                budget.scan(s.len())?;
                s.chars().count() as i64
            }
            Value::List(list) => list.items.len() as i64,
            Value::Dict(dict) => dict.entries.len() as i64,
            other => return fault(format!("a {} has no length", other.type_name())),
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
        "items" if value.is_undefined() => Value::list(Vec::new(), budget),
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
            // Attributes that are not keys: none of the values has any but methods.
            Ok(if methods::exists(value, &attribute) { Value::Method } else { Value::Undefined(Some(attribute)) })
        }
        "dictsort" => {
            let [case_sensitive, by, reverse] = given.bind(name, ["case_sensitive", "by", "reverse"])?;
            let by_value = match text_or_none(name, by)?.as_deref() {
                None | Some("key") => 0,
                Some("value") => 1,
                _ => return fault("`dictsort` sorts by `key` or `value`"),
            };
            let Value::List(pairs) = methods::items(value, budget)? else { return fault("no items") };
            sorted(
                pairs.items.clone(),
                Some(&Value::Int(by_value)),
                is_true(&case_sensitive),
                is_true(&reverse),
                budget,
            )
        }
        "sort" => {
            let [reverse, case_sensitive, attribute] = given.bind(name, ["reverse", "case_sensitive", "attribute"])?;
            let items = value.items(budget)?;
            sorted(items, attribute.as_ref(), is_true(&case_sensitive), is_true(&reverse), budget)
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
                let key = sort_key(&item, attribute.as_ref(), is_true(&case_sensitive), budget)?;
                for (_, before) in &seen {
                    if equal(before, &key, budget)? {
                        continue 'items;
                    }
                }
                seen.push((item, key));
            }
            Value::list(seen.into_iter().map(|(item, _)| item).collect(), budget)
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
                return fault("`batch` takes a number of items above zero");
            };
            let mut batches = Vec::new();
            for batch in value.items(budget)?.chunks(count) {
                let mut batch = batch.to_vec();
                if let Some(fill) = fill.as_ref().filter(|fill| !matches!(fill, Value::None)) {
                    budget.allocate((count - batch.len()).saturating_mul(size_of::<Value>()))?;
                    batch.resize(count, fill.clone());
                }
                batches.push(Value::list(batch, budget)?);
            }
            Value::list(batches, budget)
        }
        "tojson" => to_json(value, given, budget),
        other => fault(format!("there is no filter {}", quoted(other))),
    }
}

fn is_true(flag: &Option<Value>) -> bool {
    flag.as_ref().is_some_and(Value::is_true)
}

fn to_json(value: &Value, given: Given, budget: &mut Budget) -> Outcome<Value> {
    let [ascii, indent, separators, sorted] =
        given.bind("tojson", ["ensure_ascii", "indent", "separators", "sort_keys"])?;
    let indent = match indent {
        None | Some(Value::None) => None,
        Some(Value::Str(s)) => Some(s.to_string()),
        Some(width) => {
            let width = whole("tojson", Some(width))?.and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
            budget.allocate(width)?;
            Some(" ".repeat(width))
        }
    };
    let (item_separator, key_separator) = match separators {
        None | Some(Value::None) => ((if indent.is_some() { "," } else { ", " }).to_owned(), ": ".to_owned()),
        Some(pair) => match &pair.items(budget)?[..] {
            [Value::Str(item), Value::Str(key)] => (item.to_string(), key.to_string()),
            _ => return fault("`tojson` takes two separators"),
        },
    };
    let style = json::Style { indent, item_separator, key_separator, ascii: is_true(&ascii), sorted: is_true(&sorted) };
    let mut text = Text::new(budget);
    json::write(value, &style, 0, &mut text)?;
    Ok(Value::str(text.finish()))
}

/// What lies at a path such as `function.name` or `0`.
fn look_up(value: &Value, path: &Value, budget: &mut Budget) -> Outcome<Value> {
    let step = |value: &Value, key: Value, budget: &mut Budget| match value {
        Value::Undefined(name) => undefined(name.as_deref()),
        value => Ok(item(value, &key, budget)?.unwrap_or(match key {
            Value::Str(name) => Value::Undefined(Some(name)),
            _ => Value::Undefined(None),
        })),
    };
    let Value::Str(path) = path else { return step(value, path.clone(), budget) };
    let mut value = value.clone();
    for part in path.split('.') {
        let key = part.parse().map_or_else(|_| Value::str(part), Value::Int);
        value = step(&value, key, budget)?;
    }
    Ok(value)
}

fn sort_key(item: &Value, attribute: Option<&Value>, case_sensitive: bool, budget: &mut Budget) -> Outcome<Value> {
    let key = match attribute {
        None | Some(Value::None) => item.clone(),
        Some(path) => look_up(item, path, budget)?,
    };
    Ok(match key {
        Value::Str(s) if !case_sensitive => {
            budget.allocate(2 * s.len())?;
            Value::str(s.to_lowercase())
        }
        key => key,
    })
}

fn sorted(
    items: Vec<Value>,
    attribute: Option<&Value>,
    case_sensitive: bool,
    reverse: bool,
    budget: &mut Budget,
) -> Outcome<Value> {
    let mut keyed = Vec::with_capacity(items.len());
    for item in items {
        keyed.push((sort_key(&item, attribute, case_sensitive, budget)?, item));
    }
    let mut failed = None;
    keyed.sort_by(|(a, _), (b, _)| {
        // After a failure the order no longer matters, and no work is done for it.
        if failed.is_some() {
            return Ordering::Equal;
        }
        match compare(a, b, budget) {
            Ok(order) => {
                let order = order.unwrap_or(Ordering::Equal);
                if reverse { order.reverse() } else { order }
            }
            Err(fault) => {
                failed = Some(fault);
                Ordering::Equal
            }
        }
    });
    match failed {
        Some(fault) => Err(fault),
        None => Value::list(keyed.into_iter().map(|(_, item)| item).collect(), budget),
    }
}

fn map(value: &Value, mut given: Given, budget: &mut Budget) -> Outcome<Value> {
    let mut mapped = Vec::new();
    if given.positional.is_empty() {
        let [attribute, default] = given.bind("map", ["attribute", "default"])?;
        let Some(attribute) = attribute else { return fault("`map` lacks a filter or an attribute") };
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
            budget.allocate((given.positional.len() + given.named.len()) * 2 * size_of::<Value>())?;
            let given = Given { positional: given.positional.clone(), named: given.named.clone() };
            mapped.push(apply(&filter, &item, given, budget)?);
        }
    }
    Value::list(mapped, budget)
}

fn select(name: &str, value: &Value, given: Given, budget: &mut Budget) -> Outcome<Value> {
    let mut arguments = given.positional.into_iter();
    let attribute = if name.ends_with("attr") {
        match arguments.next() {
            Some(attribute) => Some(attribute),
            None => return fault(format!("`{name}` lacks an attribute")),
        }
    } else {
        None
    };
    let predicate = arguments.next().map(|test| text(name, Some(test))).transpose()?;
    let arguments: Vec<Value> = arguments.collect();
    let wanted = name.starts_with("select");
    let mut kept = Vec::new();
    for item in value.items(budget)? {
        let looked_up = attribute.as_ref().map(|path| look_up(&item, path, budget)).transpose()?;
        let tested = looked_up.as_ref().unwrap_or(&item);
        let holds = match &predicate {
            Some(predicate) => test(predicate, tested, &arguments, budget)?,
            None => tested.is_true(),
        };
        if holds == wanted {
            kept.push(item);
        }
    }
    Value::list(kept, budget)
}

/// `value is name(arguments)`
pub(super) fn test(name: &str, value: &Value, arguments: &[Value], budget: &mut Budget) -> Outcome<bool> {
    let wanted = match name {
        "divisibleby" | "==" | "eq" | "equalto" | "!=" | "ne" | "<" | "lt" | "lessthan" | "<=" | "le" | ">" | "gt"
        | "greaterthan" | ">=" | "ge" | "in" | "sameas" => 1,
        _ => 0,
    };
    if arguments.len() != wanted {
        return fault(format!("the test {} takes {wanted} arguments, not {}", quoted(name), arguments.len()));
    }
    let ordered = |wanted: fn(Ordering) -> bool, budget: &mut Budget| {
        compare(value, &arguments[0], budget).map(|order| order.is_some_and(wanted))
    };
    let remainder = |by: &Value, budget: &mut Budget| arithmetic(Operator::Modulo, value, by, budget);
    let letters = |text: &str| (text.chars().any(char::is_lowercase), text.chars().any(char::is_uppercase));
    Ok(match name {
        "defined" => !value.is_undefined(),
        "undefined" => value.is_undefined(),
        "none" => matches!(value, Value::None),
        "boolean" => matches!(value, Value::Bool(_)),
        "true" => matches!(value, Value::Bool(true)),
        "false" => matches!(value, Value::Bool(false)),
        "integer" => matches!(value, Value::Int(_)),
        "float" => matches!(value, Value::Float(_)),
        "number" => value.number().is_some(),
        "string" => matches!(value, Value::Str(_)),
        "mapping" => matches!(value, Value::Dict(_)),
        // What has a length and items by number or key; a string and an undefined value do too.
        "sequence" => matches!(value, Value::Str(_) | Value::List(_) | Value::Dict(_) | Value::Undefined(_)),
        "iterable" => {
            matches!(value, Value::Str(_) | Value::List(_) | Value::Dict(_) | Value::Undefined(_) | Value::Loop(_))
        }
        "callable" => {
            matches!(value, Value::Macro(_) | Value::Function(_) | Value::Method | Value::Loop(_) | Value::Undefined(_))
        }
        "escaped" => false,
        "odd" => equal(&remainder(&Value::Int(2), budget)?, &Value::Int(1), budget)?,
        "even" => equal(&remainder(&Value::Int(2), budget)?, &Value::Int(0), budget)?,
        "divisibleby" => equal(&remainder(&arguments[0], budget)?, &Value::Int(0), budget)?,
        "lower" | "upper" => {
            let text = value.to_text(budget)?;
            budget.scan(text.len())?;
            letters(&text) == (name == "lower", name == "upper")
        }
        "==" | "eq" | "equalto" => equal(value, &arguments[0], budget)?,
        "!=" | "ne" => !equal(value, &arguments[0], budget)?,
        "<" | "lt" | "lessthan" => ordered(Ordering::is_lt, budget)?,
        "<=" | "le" => ordered(Ordering::is_le, budget)?,
        ">" | "gt" | "greaterthan" => ordered(Ordering::is_gt, budget)?,
        ">=" | "ge" => ordered(Ordering::is_ge, budget)?,
        "in" => super::operators::contains(&arguments[0], value, budget)?,
        "sameas" => {
            std::mem::discriminant(value) == std::mem::discriminant(&arguments[0])
                && equal(value, &arguments[0], budget)?
        }
        other => return fault(format!("there is no test {}", quoted(other))),
    })
}
