//! The operators: arithmetic, `in`, indexing, slicing, and `%` as a string format.

use std::sync::Arc;

use crate::ast::Operator;
use crate::budget::{Budget, Text};
use crate::error::{Result, fail, over_limit};
use crate::value::{List, Number, Value, equal, undefined};

/// The greatest width and precision in a format.
const MAX_WIDTH: usize = 4096;

pub(crate) fn arithmetic(operator: Operator, a: &Value, b: &Value, budget: &mut Budget) -> Result<Value> {
    if let (Some(a), Some(b)) = (a.number(), b.number()) {
        return numbers(operator, a, b);
    }
    match (operator, a, b) {
        (_, Value::Undefined(name), _) | (_, _, Value::Undefined(name)) => undefined(name.as_deref()),
        (Operator::Add, Value::List(x), Value::List(y)) if x.tuple == y.tuple => {
            budget.allocate_items::<Value>(x.items.len() + y.items.len())?;
            Value::sequence([&x.items[..], &y.items[..]].concat(), x.tuple, budget)
        }
        (Operator::Multiply, Value::Str(s), n) | (Operator::Multiply, n, Value::Str(s)) => {
            let Some(count) = repetitions(n) else { return unsupported(operator, a, b) };
            budget.allocate(s.len().saturating_mul(count))?;
            Ok(Value::str(s.repeat(count)))
        }
        (Operator::Multiply, Value::List(list), n) | (Operator::Multiply, n, Value::List(list)) => {
            let Some(count) = repetitions(n) else { return unsupported(operator, a, b) };
            // An empty list costs nothing to allocate, but would be visited `count` times.
            let count = if list.items.is_empty() { 0 } else { count };
            budget.allocate_items::<Value>(list.items.len().saturating_mul(count))?;
            let items: Vec<Value> = std::iter::repeat_n(&list.items, count).flatten().cloned().collect();
            Value::sequence(items, list.tuple, budget)
        }
        (Operator::Modulo, Value::Str(template), b) => match b {
            Value::List(list) if list.tuple => format_percent(template, &list.items, budget),
            one => format_percent(template, std::slice::from_ref(one), budget),
        },
        _ => unsupported(operator, a, b),
    }
}

fn unsupported(operator: Operator, a: &Value, b: &Value) -> Result<Value> {
    let name = match operator {
        Operator::Add => "+",
        Operator::Subtract => "-",
        Operator::Concatenate => "~",
        Operator::Multiply => "*",
        Operator::Divide => "/",
        Operator::FloorDivide => "//",
        Operator::Modulo => "%",
        Operator::Power => "**",
    };
    fail(format!("`{name}` does not support {} and {}", a.type_name(), b.type_name()))
}

pub(crate) fn negative(value: &Value) -> Result<Value> {
    match (value, value.number()) {
        (_, Some(Number::Int(n))) => Value::integer(n.checked_neg()),
        (_, Some(Number::Float(x))) => Ok(Value::Float(-x)),
        (Value::Undefined(name), None) => undefined(name.as_deref()),
        (other, None) => fail(format!("`-` does not support {}", other.type_name())),
    }
}

/// How many times `*` repeats a string or list. A negative count is 0.
fn repetitions(n: &Value) -> Option<usize> {
    match n.number()? {
        Number::Int(n) => Some(usize::try_from(n).unwrap_or(0)),
        Number::Float(_) => None,
    }
}

fn numbers(operator: Operator, a: Number, b: Number) -> Result<Value> {
    if let (Number::Int(a), Number::Int(b)) = (a, b) {
        let result = match operator {
            Operator::Add => a.checked_add(b),
            Operator::Subtract => a.checked_sub(b),
            Operator::Multiply => a.checked_mul(b),
            Operator::FloorDivide | Operator::Modulo if b == 0 => return fail("division by zero"),
            // Python rounds towards minus infinity, and the remainder has the sign of the divisor.
            Operator::FloorDivide => a.checked_div(b).map(|q| q - i64::from(a % b != 0 && (a < 0) != (b < 0))),
            Operator::Modulo => Some(a.wrapping_rem(b)).map(|r| if r != 0 && (r < 0) != (b < 0) { r + b } else { r }),
            Operator::Power if b >= 0 => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
            _ => return floats(operator, a as f64, b as f64),
        };
        return Value::integer(result);
    }
    floats(operator, a.float(), b.float())
}

fn floats(operator: Operator, a: f64, b: f64) -> Result<Value> {
    Ok(Value::Float(match operator {
        Operator::Add => a + b,
        Operator::Subtract => a - b,
        Operator::Multiply => a * b,
        Operator::Power => a.powf(b),
        _ if b == 0.0 => return fail("division by zero"),
        Operator::Divide => a / b,
        Operator::FloorDivide => (a / b).floor(),
        Operator::Modulo => a - b * (a / b).floor(),
        Operator::Concatenate => return fail("`~` is not arithmetic"),
    }))
}

/// `item in container`
pub(crate) fn contains(container: &Value, item: &Value, budget: &mut Budget) -> Result<bool> {
    match (container, item) {
        (Value::Str(text), Value::Str(part)) => {
            budget.scan(text.len())?;
            budget.scan(part.len())?;
            Ok(text.contains(&**part))
        }
        (Value::Str(_), Value::Undefined(name)) => undefined(name.as_deref()),
        (Value::Str(_), other) => fail(format!("`in` a string takes a string, not {}", other.type_name())),
        (Value::List(list), item) => {
            for candidate in &list.items {
                if equal(candidate, item, budget)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        (Value::Dict(dict), key) => Ok(dict.get(key, budget)?.is_some()),
        (Value::Undefined(_), _) => Ok(false),
        (other, _) => fail(format!("`in` does not support {}", other.type_name())),
    }
}

/// `container[index]`. None: there is no such item.
pub(crate) fn item(container: &Value, index: &Value, budget: &mut Budget) -> Result<Option<Value>> {
    let at = |n: i64, length: usize| usize::try_from(if n < 0 { n.checked_add(length as i64)? } else { n }).ok();
    match (container, index) {
        (Value::Dict(dict), key) => Ok(dict.get(key, budget)?.cloned()),
        (Value::List(list), Value::Int(n)) => {
            Ok(at(*n, list.items.len()).and_then(|index| list.items.get(index)).cloned())
        }
        (Value::Str(s), Value::Int(n)) => {
            budget.scan(s.len())?;
            let found = if *n >= 0 {
                s.chars().nth(usize::try_from(*n).unwrap_or(usize::MAX))
            } else {
                s.chars().rev().nth(usize::try_from(-(n + 1)).unwrap_or(usize::MAX))
            };
            Ok(found.map(|c| Value::str(&*c.encode_utf8(&mut [0; 4]))))
        }
        _ => Ok(None),
    }
}

/// `container[start:stop:step]`
pub(crate) fn slice(container: &Value, parts: [Value; 3], budget: &mut Budget) -> Result<Value> {
    let mut numbers = [None; 3];
    for (number, part) in numbers.iter_mut().zip(&parts) {
        *number = match part {
            Value::None => None,
            Value::Int(n) => Some(*n),
            Value::Undefined(name) => return undefined(name.as_deref()),
            other => return fail(format!("slice indices must be integers, not {}", other.type_name())),
        };
    }
    let [start, stop, step] = numbers;
    let step = step.unwrap_or(1);
    if step == 0 {
        return fail("the slice step is zero");
    }
    match container {
        Value::Str(s) => {
            budget.allocate(s.len())?;
            if let (None | Some(0..), Some(0..) | None, 1) = (start, stop, step) {
                return Ok(Value::str(between(s, start.unwrap_or(0), stop)));
            }
            budget.allocate(4 * s.len())?;
            let chars: Vec<char> = s.chars().collect();
            Ok(Value::str(positions(start, stop, step, chars.len()).map(|i| chars[i]).collect::<String>()))
        }
        Value::List(list) => {
            let List { items, tuple, .. } = &**list;
            budget.allocate_items::<Value>(items.len())?;
            let taken: Vec<Value> = positions(start, stop, step, items.len()).map(|i| items[i].clone()).collect();
            Value::sequence(taken, *tuple, budget)
        }
        Value::Undefined(name) => undefined(name.as_deref()),
        other => fail(format!("{} cannot be sliced", other.type_name())),
    }
}

/// The characters from `start` to `stop`, neither of which is negative.
fn between(s: &str, start: i64, stop: Option<i64>) -> &str {
    let offset = |n: i64| s.char_indices().nth(usize::try_from(n).unwrap_or(usize::MAX)).map_or(s.len(), |(at, _)| at);
    let start = offset(start);
    &s[start..stop.map_or(s.len(), offset).max(start)]
}

/// The indices that a slice selects from `length` items.
fn positions(start: Option<i64>, stop: Option<i64>, step: i64, length: usize) -> impl Iterator<Item = usize> {
    let length = length as i64;
    let (least, most) = if step > 0 { (0, length) } else { (-1, length - 1) };
    let bound = |n: i64| if n < 0 { n.saturating_add(length) } else { n }.clamp(least, most);
    let (first, end) = if step > 0 { (0, length) } else { (length - 1, -1) };
    let (start, stop) = (start.map_or(first, bound), stop.map_or(end, bound));
    let mut next = Some(start);
    std::iter::from_fn(move || {
        let now = next.filter(|&now| if step > 0 { now < stop } else { now > stop })?;
        next = now.checked_add(step);
        usize::try_from(now).ok()
    })
}

/// `template % values`, such as `"%s is %d" % (name, count)`.
pub(crate) fn format_percent(template: &str, values: &[Value], budget: &mut Budget) -> Result<Value> {
    budget.scan(template.len())?;
    let mut text = Text::new(budget);
    let mut values_left = values.iter();
    let mut rest = template;
    while let Some(at) = rest.find('%') {
        text.push(&rest[..at])?;
        rest = &rest[at + 1..];
        let (left, zeros);
        (left, rest) = rest.strip_prefix('-').map_or((false, rest), |rest| (true, rest));
        (zeros, rest) = rest.strip_prefix('0').map_or((false, rest), |rest| (true, rest));
        let width = leading_number(&mut rest)?;
        let precision = match rest.strip_prefix('.') {
            Some(after) => {
                rest = after;
                Some(leading_number(&mut rest)?)
            }
            None => None,
        };
        let Some(kind) = rest.chars().next() else { return fail("the format ends in `%`") };
        rest = &rest[kind.len_utf8()..];
        if kind == '%' {
            text.push("%")?;
            continue;
        }
        let Some(value) = values_left.next() else { return fail("not enough values for the format") };
        let formatted: Arc<str> = match (kind, value.number()) {
            ('s', _) => value.to_text(text.budget)?,
            ('r', _) => {
                let mut field = Text::new(text.budget);
                value.write_repr(&mut field)?;
                field.finish().into()
            }
            ('d' | 'i', Some(Number::Int(n))) => n.to_string().into(),
            ('d' | 'i', Some(Number::Float(x))) if x.is_finite() => fixed(x.trunc(), 0, text.budget)?.into(),
            ('x', Some(Number::Int(n))) if n >= 0 => format!("{n:x}").into(),
            ('f' | 'F', Some(n)) => fixed(n.float(), precision.unwrap_or(6), text.budget)?.into(),
            _ => return fail(format!("`%{}` does not support {}", kind.escape_debug(), value.type_name())),
        };
        let mut field = &*formatted;
        if let ('s' | 'r', Some(precision)) = (kind, precision) {
            text.budget.scan(precision)?;
            field = field.char_indices().nth(precision).map_or(field, |(end, _)| &field[..end]);
        }
        text.budget.scan(width)?;
        let missing = width - field.chars().take(width).count();
        let fill = if zeros && !left && !matches!(kind, 's' | 'r') { "0" } else { " " };
        let padding = fill.repeat(missing);
        let (sign, digits) = match field.strip_prefix('-') {
            Some(digits) if fill == "0" => ("-", digits),
            _ => ("", field),
        };
        let parts = if left { [field, "", &padding] } else { [sign, &padding, digits] };
        for part in parts {
            text.push(part)?;
        }
    }
    text.push(rest)?;
    if values_left.next().is_some() && !matches!(values, [Value::Dict(_)]) {
        return fail("too many values for the format");
    }
    Ok(Value::str(text.finish()))
}

fn leading_number(text: &mut &str) -> Result<usize> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    *text = rest;
    match digits {
        "" => Ok(0),
        digits => match digits.parse() {
            Ok(n) if n <= MAX_WIDTH => Ok(n),
            _ => over_limit(format!("a width or precision of the format is above {MAX_WIDTH}")),
        },
    }
}

/// `x` with `precision` decimal places. Each digit is charged, because exact digits take big integers.
fn fixed(x: f64, precision: usize, budget: &mut Budget) -> Result<String> {
    budget.spend(precision + x.abs().log10().clamp(1.0, 400.0) as usize)?;
    Ok(format!("{x:.precision$}"))
}

/// Python's `round`: the exact decimal value correctly rounded, ties to even.
pub(crate) fn round(x: f64, digits: i64, budget: &mut Budget) -> Result<f64> {
    Ok(match digits {
        0..=300 if x.is_finite() => fixed(x, digits as usize, budget)?.parse().unwrap_or(x),
        ..0 => {
            let scale = 10f64.powi(-(digits.max(-300) as i32));
            (x / scale).round_ties_even() * scale
        }
        _ => x,
    })
}
