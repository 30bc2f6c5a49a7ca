//! Grammars that never end: compiling them is bounded in work and memory, and notices a cancellation.

use std::time::{Duration, Instant};

use kinglet::{Cancellation, GenerateOptions, Grammar, LoadOptions, Model, Status};
use serde_json::{Value, json};

use crate::support;

/// Far longer than a test takes, far shorter than what is refused would take.
const WATCHDOG: Duration = Duration::from_secs(120);

fn llama() -> Model {
    Model::load(support::fixtures().join("generation/llama"), LoadOptions { threads: 2, ..LoadOptions::default() })
        .unwrap()
}

/// A text that must match the expressions of the audit, all of them at once.
fn meeting(count: usize) -> Grammar {
    let pattern = |i: usize| json!({"type": "string", "pattern": format!("(a|b)*a(a|b){{{i}}}")});
    Grammar::JsonSchema(json!({"allOf": (3..3 + count).map(pattern).collect::<Vec<Value>>()}).to_string())
}

fn generate(model: &Model, options: GenerateOptions) -> kinglet::Result<()> {
    model.generate(&["a"], &GenerateOptions { max_new_tokens: Some(8), ..options }, None).map(|_| ())
}

#[test]
fn a_grammar_that_never_ends_is_refused() {
    let model = llama();
    let start = Instant::now();
    for grammar in [
        meeting(17),
        Grammar::Regex("(a|b)*a(a|b){2000}c|((a|b|c)*a(a|b){19}){9}".into()),
        Grammar::Lark("start: X\nX: ~/(.*a.{15})/ & /(.*b.{16})/ & ~/.*c.{17}/".into()),
    ] {
        let options = GenerateOptions { grammar: Some(grammar.clone()), ..GenerateOptions::default() };
        // Where it compiles within the budget, a mask may exceed it.
        if let Err(error) = generate(&model, options) {
            assert_eq!(error.status(), Status::InvalidArgument, "{grammar:?}: {error}");
            assert!(error.message().starts_with("grammar: "), "{error}");
        }
    }
    assert!(start.elapsed() < WATCHDOG);
    let error =
        generate(&model, GenerateOptions { grammar: Some(meeting(17)), ..GenerateOptions::default() }).unwrap_err();
    assert!(error.message().contains("intersects too many patterns"), "{error}");
}

#[test]
fn the_budgets_are_options() {
    let model = llama();
    let with = |work, memory| GenerateOptions {
        grammar: Some(meeting(3)),
        grammar_work_limit: work,
        grammar_memory_limit: memory,
        ..GenerateOptions::default()
    };
    generate(&model, with(None, None)).unwrap();
    for options in [with(Some(20), None), with(None, Some(20_000))] {
        let error = generate(&model, options).unwrap_err();
        assert_eq!(error.status(), Status::InvalidArgument, "{error}");
        assert!(error.message().starts_with("grammar: "), "{error}");
    }
}

#[test]
fn a_cancelled_call_compiles_no_further() {
    let model = llama();
    let cancellation = Cancellation::new();
    cancellation.cancel();
    let options =
        GenerateOptions { grammar: Some(meeting(3)), cancellation: Some(cancellation), ..GenerateOptions::default() };
    assert_eq!(generate(&model, options).unwrap_err().status(), Status::Cancelled);
}
