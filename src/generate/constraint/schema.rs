//! What is changed in a JSON schema before llguidance compiles it, so that finished texts validate and more schemas are accepted.
//!
//! - `format` is an annotation in the standard: names that llguidance does not know are dropped instead of refused.
//! - llguidance's dates have a 29 February in every year, and its times a second of 60, which validators refuse: exact patterns replace
//!   both.
//! - A negated class that has all control characters lets an escaped quote and backslash through, although it excludes them
//!   (`derivre`, `json_quote`): NUL is excluded from every negated class, which leads it another way.

use serde_json::{Map, Value, json};

/// The formats that llguidance enforces.
const KNOWN: [&str; 8] = ["duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri", "unknown"];

/// RFC 3339's `full-date` from year 1 on, with leap years.
const DATE: &str = "(?:(?:[0-9]{3}[1-9]|[0-9]{2}[1-9][0-9]|[0-9][1-9][0-9]{2}|[1-9][0-9]{3})-(?:(?:0[13578]|1[02])-\
                    (?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))|\
                    (?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)-02-29)";

/// RFC 3339's `full-time` without leap seconds, which are only valid at some moments.
const TIME: &str =
    "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]+)?(?:[zZ]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])";

/// Keywords whose value is a schema, or a list of schemas.
const SCHEMAS: [&str; 16] = [
    "items",
    "prefixItems",
    "additionalItems",
    "unevaluatedItems",
    "contains",
    "additionalProperties",
    "unevaluatedProperties",
    "propertyNames",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "contentSchema",
];

/// Keywords whose value is an object of schemas.
const NAMED_SCHEMAS: [&str; 5] = ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"];

/// Rewrites a schema and all within it. The recursion is limited: serde_json refuses more than 128 levels.
pub(super) fn rewrite(schema: &mut Value) {
    match schema {
        Value::Array(schemas) => schemas.iter_mut().for_each(rewrite),
        Value::Object(object) => {
            for key in SCHEMAS {
                object.get_mut(key).into_iter().for_each(rewrite);
            }
            for key in NAMED_SCHEMAS {
                let named = object.get_mut(key).and_then(Value::as_object_mut);
                named.into_iter().flat_map(Map::values_mut).for_each(rewrite);
            }
            if let Some(Value::String(pattern)) = object.get_mut("pattern") {
                *pattern = without_nul(pattern);
            }
            if let Some(Value::Object(patterns)) = object.get_mut("patternProperties") {
                *patterns =
                    std::mem::take(patterns).into_iter().map(|(key, value)| (without_nul(&key), value)).collect();
            }
            rewrite_format(object);
        }
        _ => {}
    }
}

/// A pattern whose negated classes exclude NUL too.
fn without_nul(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let (mut in_class, mut characters) = (false, pattern.chars().peekable());
    while let Some(c) = characters.next() {
        out.push(c);
        match c {
            '\\' => out.extend(characters.next()),
            '[' if !in_class => {
                in_class = true;
                if let Some(caret) = characters.next_if_eq(&'^') {
                    out.push(caret);
                    out.push_str("\\x00");
                }
                // A bracket that comes first does not close the class.
                out.extend(characters.next_if_eq(&']'));
            }
            ']' => in_class = false,
            _ => {}
        }
    }
    out
}

fn rewrite_format(schema: &mut Map<String, Value>) {
    let Some(format) = schema.get("format").and_then(Value::as_str) else { return };
    let pattern = match format {
        "date" => Some(DATE.to_owned()),
        "time" => Some(TIME.to_owned()),
        "date-time" => Some(format!("{DATE}[tT]{TIME}")),
        known if KNOWN.contains(&known) => return,
        _ => None,
    };
    schema.remove("format");
    let Some(pattern) = pattern else { return };
    let pattern = format!("^{pattern}$");
    match (schema.contains_key("pattern"), schema.get_mut("allOf").and_then(Value::as_array_mut)) {
        (false, _) => _ = schema.insert("pattern".into(), pattern.into()),
        (true, Some(all)) => all.push(json!({ "pattern": pattern })),
        (true, None) => _ = schema.insert("allOf".into(), json!([{ "pattern": pattern }])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negated_classes_exclude_nul() {
        for (pattern, is) in [
            (r#"^[^"]+$"#, r#"^[^\x00"]+$"#),
            (r"[^a-z][b^][^\]\[]\[^", r"[^\x00a-z][b^][^\x00\]\[]\[^"),
            (r"[^]a][]^]", r"[^\x00]a][]^]"),
            (r"a.b\", r"a.b\"),
        ] {
            assert_eq!(without_nul(pattern), is);
        }
    }

    #[test]
    fn unknown_formats_are_dropped_and_dates_are_exact() {
        let mut schema = json!({
            "properties": {
                "a": {"type": "string", "format": "uri-reference"},
                "b": {"type": "string", "format": "email"},
                "format": {"type": "string", "format": "regex"},
                "c": {"enum": [{"format": "regex"}], "default": {"format": "iri"}},
                "d": {"anyOf": [{"format": "date", "pattern": "^2"}, {"items": {"format": "idn-email"}}]}
            },
            "format": 3
        });
        rewrite(&mut schema);
        let date = format!("^{DATE}$");
        assert_eq!(
            schema,
            json!({
                "properties": {
                    "a": {"type": "string"},
                    "b": {"type": "string", "format": "email"},
                    "format": {"type": "string"},
                    "c": {"enum": [{"format": "regex"}], "default": {"format": "iri"}},
                    "d": {"anyOf": [{"pattern": "^2", "allOf": [{"pattern": date}]}, {"items": {}}]}
                },
                "format": 3
            })
        );
    }
}
