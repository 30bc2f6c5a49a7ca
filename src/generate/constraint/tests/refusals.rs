//! Grammars that are refused, and why.

use std::sync::atomic::AtomicBool;

use serde_json::{Value, json};

use super::super::{Grammar, GrammarLimits, MAX_SOURCE, SchemaMode};
use super::fixtures;
use crate::base::error::Status;

#[test]
fn bad_grammars_are_refused_with_a_reason() {
    for (grammar, reason) in [
        (Grammar::JsonSchema("{".into()), "JSON schema cannot be used: EOF"),
        (Grammar::JsonSchema(r#"{"type": "nothing"}"#.into()), "JSON schema cannot be used"),
        (Grammar::JsonSchema(r#"{"properties": {"a": {"pattern": "a(?=b)"}}}"#.into()), "/properties/a/pattern: "),
        (Grammar::JsonSchema(r#"{"properties": {"a/b": {"type": ["any"]}}}"#.into()), "/properties/a~1b/type: "),
        (Grammar::JsonSchema(r##"{"items": {"$ref": "#/$defs/x"}}"##.into()), "/items/$ref: "),
        (Grammar::JsonSchema(r#"{"anyOf": [{}, {"minItems": -1}]}"#.into()), "/anyOf/1/minItems: "),
        (
            Grammar::JsonSchema(r#"{"items": {"type": "object", "properties": {"a": {"type": "string", "minLength": 3, "maxLength": 2}}, "required": ["a"]}, "type": "array", "minItems": 1}"#.into()),
            "Unsatisfiable schema: required item is unsatisfiable",
        ),
        (Grammar::JsonSchema(r#"{"x-guidance": {"lenient": true}}"#.into()), "/x-guidance/lenient: "),
        (Grammar::Lark(r#"start: %json {"contains": {"type": "null"}}"#.into()), "/contains: cannot be enforced"),
        (Grammar::Regex("(".into()), "regular expression cannot be used"),
        (Grammar::Regex(r"(a)\1".into()), "regular expression cannot be used"),
        (Grammar::Lark("start: other".into()), "Lark grammar cannot be used"),
        (Grammar::Lark("begin: \"a\"".into()), "Lark grammar cannot be used"),
        (Grammar::Lark(String::new()), "Lark grammar cannot be used"),
        (Grammar::Regex("a".repeat(MAX_SOURCE + 1)), "at most 262144"),
        (Grammar::Regex(r"\w".repeat(100_000)), "more than 10000 Unicode classes"),
    ] {
        let error = fixtures()[0].vocabulary.constraint(&grammar, SchemaMode::Check, GrammarLimits::default(), None).err().unwrap();
        assert!(error.status() == Status::InvalidArgument && error.message().contains(reason), "{error}");
        assert!(error.message().starts_with("grammar: ") && error.message().len() < 1000, "{error}");
    }
}

/// The expression whose automaton doubles with each `i`, for each of a number of them.
fn doubling(count: usize) -> Vec<String> {
    (3..3 + count).map(|i| format!("(a|b)*a(a|b){{{i}}}")).collect()
}

fn refused(grammar: Grammar) -> String {
    let error = fixtures()[0]
        .vocabulary
        .constraint(&grammar, SchemaMode::Check, GrammarLimits::default(), None)
        .err()
        .expect("accepted");
    assert_eq!(error.status(), Status::InvalidArgument, "{error}");
    error.message().to_owned()
}

#[test]
fn intersections_of_many_patterns_are_refused_before_they_are_compiled() {
    let patterns: Vec<_> = doubling(17).iter().map(|pattern| json!({"type": "string", "pattern": pattern})).collect();
    let names: Vec<String> = (0..17).map(|i| format!("d{i}")).collect();
    let definitions: serde_json::Map<_, _> = names.iter().cloned().zip(patterns.iter().cloned()).collect();
    let all = |of: &dyn Fn(usize) -> Value| json!({"$defs": definitions, "allOf": (0..17).map(of).collect::<Vec<_>>()});
    let object = |pattern: &Value| json!({"type": "object", "properties": {"k": pattern}, "required": ["k"]});
    for schema in [
        all(&|i| patterns[i].clone()),
        all(&|i| json!({"$ref": format!("#/$defs/d{i}")})),
        all(&|i| object(&patterns[i])),
        all(&|i| json!({"anyOf": [{"type": "null"}, {"$ref": format!("#/$defs/d{i}")}]})),
        all(&|i| json!({"anyOf": [{"type": "null"}, object(&patterns[i])]})),
        all(&|i| json!({"type": "array", "prefixItems": [patterns[i]], "minItems": 1})),
        all(&|i| json!({"type": "array", "items": patterns[i], "minItems": 1})),
        all(&|i| json!({"type": "object", "additionalProperties": patterns[i], "minProperties": 1})),
        all(&|i| json!({"type": "object", "patternProperties": {"^k": patterns[i]}, "properties": {"k": {}}})),
        all(&|i| object(&object(&patterns[i]))),
    ] {
        let message = refused(Grammar::JsonSchema(schema.to_string()));
        assert!(message.contains("intersects too many patterns"), "{schema}: {message}");
    }
    let terms =
        |with: &str| doubling(17).iter().map(|pattern| format!("/.*{pattern}.*/")).collect::<Vec<_>>().join(with);
    let message = refused(Grammar::Lark(format!("start: T\nT: {}\n", terms(" & "))));
    assert!(message.contains("intersects too many patterns"), "{message}");
    // In a schema within a grammar too.
    let schema = all(&|i| patterns[i].clone());
    let message = refused(Grammar::Lark(format!("start: \"a\" | %json {schema}")));
    assert!(message.contains("intersects too many patterns"), "{message}");
}

#[test]
fn patterns_that_never_meet_are_not_counted_as_an_intersection() {
    let patterns = doubling(40);
    let property = |i: usize| (format!("k{i}"), json!({"type": "string", "pattern": format!("^{}$", patterns[i])}));
    let object = |i: usize| json!({"type": "object", "properties": serde_json::Map::from_iter([property(i)])});
    let any: Vec<_> = (0..40).map(|i| property(i).1).collect();
    for schema in [
        json!({"type": "object", "properties": (0..40).map(property).collect::<serde_json::Map<_, _>>()}),
        json!({"allOf": (0..40).map(object).collect::<Vec<_>>()}),
        json!({"anyOf": any}),
        json!({"type": "array", "prefixItems": any}),
        json!({"allOf": [{"anyOf": any}, {"type": "string", "minLength": 5}]}),
    ] {
        let grammar = Grammar::JsonSchema(schema.to_string());
        assert!(
            fixtures()[0].vocabulary.constraint(&grammar, SchemaMode::Check, GrammarLimits::default(), None).is_ok(),
            "{schema}"
        );
    }
    let terms = patterns.iter().map(|pattern| format!("/{pattern}/")).collect::<Vec<_>>();
    let keywords = (0..40).map(|i| format!("~\"key{i}\"")).collect::<Vec<_>>().join(" & ");
    for grammar in [format!("start: T\nT: {}\n", terms.join(" | ")), format!("start: T\nT: /[a-z0-9]+/ & {keywords}\n")]
    {
        assert!(
            fixtures()[0]
                .vocabulary
                .constraint(&Grammar::Lark(grammar.clone()), SchemaMode::Check, GrammarLimits::default(), None)
                .is_ok(),
            "{grammar}"
        );
    }
}

#[test]
fn a_cancelled_call_compiles_no_further() {
    let cancelled = AtomicBool::new(true);
    let error = fixtures()[0]
        .vocabulary
        .constraint(&Grammar::Regex("a".into()), SchemaMode::Check, GrammarLimits::default(), Some(&cancelled))
        .err()
        .unwrap();
    assert_eq!(error.status(), Status::Cancelled);
}

#[test]
fn the_budgets_are_options() {
    let compile = |grammar: Grammar, limits: GrammarLimits| {
        let constraint = fixtures()[0].vocabulary.constraint(&grammar, SchemaMode::Check, limits, None);
        constraint.map(|_| ()).map_err(|error| error.message().to_owned())
    };
    let default = GrammarLimits::default();
    let half: Vec<_> = doubling(3).iter().map(|pattern| json!({"type": "string", "pattern": pattern})).collect();
    let patterns = Grammar::JsonSchema(json!({"allOf": half}).to_string());
    compile(patterns.clone(), default).unwrap();
    for limits in [GrammarLimits { work: 20, ..default }, GrammarLimits { memory: 20_000, ..default }] {
        let error = compile(patterns.clone(), limits).unwrap_err();
        assert!(error.starts_with("grammar: "), "{error}");
    }
    let properties: serde_json::Map<_, _> = (0..2100).map(|i| (i.to_string(), json!({"type": "null"}))).collect();
    let many = Grammar::JsonSchema(json!({"type": "object", "properties": properties}).to_string());
    assert!(compile(many.clone(), default).unwrap_err().contains("too many properties"));
    compile(many, GrammarLimits { work: 2_000_000, ..default }).unwrap();
    let classes = Grammar::Regex(r"\w".repeat(200));
    assert!(
        compile(classes.clone(), GrammarLimits { work: 10_000, ..default }).unwrap_err().contains("more than 100 ")
    );
    compile(classes, default).unwrap();
}
