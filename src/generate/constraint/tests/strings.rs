//! Strings of JSON schemas: patterns and formats.

use serde_json::{Value, json};

use super::super::{Constraint, Grammar, GrammarLimits, SchemaMode};
use super::{Fixture, allowed, fixtures};
use crate::base::error::{Error, Result};

/// Whether a text is a whole match of a schema.
fn matches(schema: &Value, text: &str) -> bool {
    let fixture = &fixtures()[1];
    let mut constraint = fixture
        .vocabulary
        .constraint(&Grammar::JsonSchema(schema.to_string()), SchemaMode::Check, GrammarLimits::default(), None)
        .unwrap();
    feed_bytes(&mut constraint, fixture, text).is_ok() && constraint.may_end()
}

/// As [`feed`], but each token must be among those that are allowed.
fn feed_bytes(constraint: &mut Constraint, fixture: &Fixture, text: &str) -> Result<()> {
    for &token in fixture.tokenizer.encode_fast(text, false).unwrap().get_ids() {
        if !allowed(constraint, fixture.size).contains(&token) {
            return Err(Error::invalid_argument("not allowed"));
        }
        constraint.accept(token)?;
    }
    Ok(())
}

#[test]
fn dates_and_times_are_valid_ones() {
    for (format, good, bad) in [
        (
            "date",
            &["2024-02-29", "2000-02-29", "2023-02-28", "0001-12-31"][..],
            &["2023-02-29", "1900-02-29", "2024-04-31", "0000-01-01"][..],
        ),
        ("time", &["23:59:59Z", "00:00:00.5+01:00"], &["23:59:60Z", "24:00:00Z", "12:00:00"]),
        ("date-time", &["2024-02-29T10:00:00Z"], &["2023-02-29T10:00:00Z", "2024-02-29T10:00:60Z"]),
    ] {
        let schema = json!({"type": "string", "format": format});
        for (texts, is) in [(good, true), (bad, false)] {
            for text in texts {
                assert_eq!(matches(&schema, &format!("\"{text}\"")), is, "{format}: {text}");
            }
        }
    }
    let both = json!({"type": "string", "format": "date", "pattern": "-02-"});
    assert!(matches(&both, "\"2024-02-29\"") && !matches(&both, "\"2024-03-01\"") && !matches(&both, "\"2023-02-29\""));
}

#[test]
fn formats_of_the_standard_that_are_not_enforced_are_accepted() {
    for format in ["uri-reference", "regex", "iri", "idn-email", "json-pointer", "my-own"] {
        assert!(matches(&json!({"type": "string", "format": format}), "\"anything\""), "{format}");
    }
}

#[test]
fn a_class_that_excludes_the_quote_excludes_the_escaped_quote() {
    let schema = json!({"type": "string", "pattern": "^[^\"]+$"});
    assert!(matches(&schema, r#""ab""#));
    for text in [r#""a\"b""#, r#""a\u0022b""#] {
        assert!(!matches(&schema, text), "{text}");
    }
}

#[test]
fn look_aheads_at_the_front_of_a_pattern_hold() {
    for (pattern, good, bad) in [
        ("^(?!admin$)[a-z]+$", &["bob", "admins"][..], &["admin", "B"][..]),
        ("^(?!foo|bar)[a-z]+$", &["fob", "xfoo"], &["foo", "foox", "bar"]),
        ("^(?=[a-z]*[0-9])[a-z0-9]{3,5}$", &["ab1", "1bc"], &["abc", "1"]),
        ("^(?=[^a]*a)(?!b)[a-c]+$", &["ca", "a"], &["cc", "ba"]),
    ] {
        let schema = json!({"type": "string", "pattern": pattern});
        for (texts, is) in [(good, true), (bad, false)] {
            for text in texts {
                assert_eq!(matches(&schema, &format!("\"{text}\"")), is, "{pattern}: {text}");
            }
        }
    }
    // What is excluded has no end: the finished text is checked, or the schema refused.
    let schema = json!({"type": "string", "pattern": "^(?!.*x)[a-z]+$"});
    let grammar = Grammar::JsonSchema(schema.to_string());
    let vocabulary = &fixtures()[1].vocabulary;
    assert!(vocabulary.constraint(&grammar, SchemaMode::Check, GrammarLimits::default(), None).is_ok());
    let error = vocabulary.constraint(&grammar, SchemaMode::Strict, GrammarLimits::default(), None).err().unwrap();
    assert!(error.message().contains("/pattern: "), "{error}");
}
