//! Answers of tokens drawn at random fit their grammar.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::Grammar;
use super::{fixtures, walk};

/// Whether a value satisfies a schema, for the keywords that the tests use.
fn satisfies(value: &Value, schema: &Value) -> bool {
    let is_type = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        Some("integer") => value.as_f64().is_some_and(|x| x.fract() == 0.0),
        Some("number") => value.is_number(),
        _ => true,
    };
    let number = |key: &str| schema[key].as_f64();
    let length = value.as_str().map(|s| s.chars().count() as f64).or(value.as_array().map(|a| a.len() as f64));
    let (least, most) = if value.is_string() { ("minLength", "maxLength") } else { ("minItems", "maxItems") };
    is_type
        && schema["enum"].as_array().is_none_or(|all| all.contains(value))
        && schema["anyOf"].as_array().is_none_or(|any| any.iter().any(|schema| satisfies(value, schema)))
        && value
            .as_f64()
            .is_none_or(|x| number("minimum").is_none_or(|n| x >= n) && number("maximum").is_none_or(|n| x <= n))
        && length.is_none_or(|x| number(least).is_none_or(|n| x >= n) && number(most).is_none_or(|n| x <= n))
        && value.as_array().is_none_or(|items| items.iter().all(|item| satisfies(item, &schema["items"])))
        && value.as_object().is_none_or(|object| {
            let known = |key: &String| schema["properties"].get(key);
            let closed = schema["additionalProperties"] == json!(false);
            let required = schema["required"].as_array().into_iter().flatten();
            object.iter().all(|(key, value)| known(key).map_or(!closed, |schema| satisfies(value, schema)))
                && required.into_iter().all(|key| object.contains_key(key.as_str().unwrap()))
        })
}

fn schemas() -> Vec<Value> {
    let person = json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 12},
            "age": {"type": "integer", "minimum": 0, "maximum": 150},
            "kind": {"enum": ["red", "green", "büro", 7, null]},
        },
        "required": ["name", "age"],
        "additionalProperties": false,
    });
    vec![
        json!({}),
        json!({"type": "object"}),
        json!({"enum": ["yes", "no", 3.5, [1, 2], {"a": true}]}),
        json!({"type": "number", "minimum": -10.5, "maximum": 99}),
        json!({"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 5}),
        json!({"type": "array", "items": person, "maxItems": 3}),
        json!({
            "type": "object",
            "properties": {
                "owner": person,
                "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 3},
                "inner": {"type": "object", "properties": {"x": {"anyOf": [{"type": "boolean"}, {"type": "null"}]}}, "required": ["x"]},
            },
            "required": ["owner", "inner"],
        }),
        person,
    ]
}

/// A regular expression, and the same said in Rust.
type Expression = (&'static str, fn(&str) -> bool);

fn expressions() -> [Expression; 5] {
    fn digits(s: &str) -> bool {
        !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit())
    }
    [
        ("(yes|no|maybe)", |s| ["yes", "no", "maybe"].contains(&s)),
        ("^[A-Z]{2}-[0-9]{3,5}( (red|blue))?$", |s| {
            let (code, colour) = s.split_once(' ').unwrap_or((s, "red"));
            let (letters, number) = code.split_at(2);
            letters.bytes().all(|b| b.is_ascii_uppercase())
                && number.strip_prefix('-').is_some_and(|n| digits(n) && (3..=5).contains(&n.len()))
                && ["red", "blue"].contains(&colour)
        }),
        (r"-?(0|[1-9][0-9]*)(\.[0-9]+)?", |s| {
            let s = s.strip_prefix('-').unwrap_or(s);
            let (whole, fraction) = s.split_once('.').unwrap_or((s, "0"));
            digits(whole) && (whole == "0" || !whole.starts_with('0')) && digits(fraction)
        }),
        ("[^\n]{0,20}(é|日本)+", |s| {
            let start = s.trim_end_matches("日本").trim_end_matches('é');
            start.len() < s.len() && !s.contains('\n')
        }),
        ("( +a)*", |s| {
            s.is_empty() || s.ends_with('a') && s.chars().all(|c| c == ' ' || c == 'a') && !s.contains("aa")
        }),
    ]
}

const ARITHMETIC: &str = r#"
start: sum
sum: product (("+" | "-") product)*
product: factor (("*" | "/") factor)*
factor: NUMBER | "(" sum ")"
NUMBER: /[0-9]{1,4}/
%ignore / +/
"#;

fn is_sum(text: &str) -> bool {
    fn sum(s: &str, level: u8) -> Option<&str> {
        if level == 2 {
            let s = s.trim_start_matches(' ');
            if let Some(inner) = s.strip_prefix('(') {
                return sum(inner, 0)?.trim_start_matches(' ').strip_prefix(')');
            }
            let rest = s.trim_start_matches(|c: char| c.is_ascii_digit());
            return (1..=4).contains(&(s.len() - rest.len())).then_some(rest);
        }
        let mut rest = sum(s, level + 1)?;
        let signs = if level == 0 { ['+', '-'] } else { ['*', '/'] };
        while let Some(after) = rest.trim_start_matches(' ').strip_prefix(signs) {
            rest = sum(after, level + 1)?;
        }
        Some(rest)
    }
    sum(text, 0).is_some_and(|rest| rest.trim_start_matches(' ').is_empty())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn random_walks_give_json_of_the_schema(seed: u64, which in 0usize..8, fixture in 0usize..4, drawn in 0usize..60) {
        let schema = &schemas()[which];
        let text = walk(&fixtures()[fixture], &Grammar::JsonSchema(schema.to_string()), seed, drawn);
        let value: Value = match serde_json::from_str(&text) {
            // JSON has numbers of any size, and serde_json has not.
            Err(e) if e.to_string().contains("number out of range") => return Ok(()),
            value => value.expect(&text),
        };
        prop_assert!(satisfies(&value, schema), "{} {}", text, schema);
    }

    #[test]
    fn random_walks_match_the_expression(seed: u64, which in 0usize..5, fixture in 0usize..4, drawn in 0usize..40) {
        let (expression, matches) = expressions()[which];
        let text = walk(&fixtures()[fixture], &Grammar::Regex(expression.into()), seed, drawn);
        prop_assert!(matches(&text), "{:?} {}", text, expression);
    }

    #[test]
    fn random_walks_keep_to_the_grammar(seed: u64, fixture in 0usize..4, drawn in 0usize..60) {
        let text = walk(&fixtures()[fixture], &Grammar::Lark(ARITHMETIC.into()), seed, drawn);
        prop_assert!(is_sum(&text), "{:?}", text);
    }
}
