//! The tests of Jinja that chat templates use, such as `x is defined`.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::ast::Operator;
use crate::budget::Budget;
use crate::error::{Result, fail, quoted};
use crate::filters;
use crate::operators::{arithmetic, contains};
use crate::value::{Value, compare, equal};

#[rustfmt::skip]
pub(crate) const NAMES: [&str; 39] = [
    "!=", "<", "<=", "==", ">", ">=", "boolean", "callable", "defined", "divisibleby", "eq", "equalto", "escaped", "even", "false",
    "filter", "float", "ge", "greaterthan", "gt", "in", "integer", "iterable", "le", "lessthan", "lower", "lt", "mapping", "ne", "none",
    "number", "odd", "sameas", "sequence", "string", "test", "true", "undefined", "upper",
];

/// `value is name(arguments)`
pub(crate) fn holds(name: &str, value: &Value, arguments: &[Value], budget: &mut Budget) -> Result<bool> {
    if !NAMES.contains(&name) {
        return fail(format!("unknown test {}", quoted(name)));
    }
    let wanted = match name {
        "divisibleby" | "==" | "eq" | "equalto" | "!=" | "ne" | "<" | "lt" | "lessthan" | "<=" | "le" | ">" | "gt"
        | "greaterthan" | ">=" | "ge" | "in" | "sameas" => 1,
        _ => 0,
    };
    if arguments.len() != wanted {
        return fail(format!("the test `{name}` takes {wanted} arguments, not {}", arguments.len()));
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
        // What has a length and items by index or key. That includes strings and undefined values.
        "sequence" => matches!(value, Value::Str(_) | Value::List(_) | Value::Dict(_) | Value::Undefined(_)),
        "iterable" => {
            matches!(value, Value::Str(_) | Value::List(_) | Value::Dict(_) | Value::Undefined(_) | Value::Loop(_))
        }
        "callable" => {
            matches!(
                value,
                Value::Macro(_)
                    | Value::Function(_)
                    | Value::Method
                    | Value::Loop(_)
                    | Value::Joiner(_)
                    | Value::Undefined(_)
            )
        }
        "escaped" => false,
        "filter" | "test" => match value {
            Value::Str(s) => {
                budget.scan(s.len())?;
                if name == "filter" { filters::NAMES.contains(&&**s) } else { NAMES.contains(&&**s) }
            }
            Value::List(_) | Value::Dict(_) => return fail(format!("{} cannot be a name", value.type_name())),
            _ => false,
        },
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
        "in" => contains(&arguments[0], value, budget)?,
        // "sameas"
        _ => {
            // Lists and dictionaries have an identity. Equal values of the other types are one object wherever it matters.
            match (value, &arguments[0]) {
                (Value::List(a), Value::List(b)) => Arc::ptr_eq(a, b),
                (Value::Dict(a), Value::Dict(b)) => Arc::ptr_eq(a, b),
                (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b) && equal(a, b, budget)?,
            }
        }
    })
}
