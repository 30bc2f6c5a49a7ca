use std::collections::HashSet;
use std::path::Path;
use std::time::Instant;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::vocabulary::byte_of;
use super::*;
use crate::base::error::Status;

/// Rows that the model has beyond the vocabulary.
const PADDING: usize = 7;

fn tokenizer(fixture: &str) -> Tokenizer {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(fixture);
    Tokenizer::from_file(folder.join("tokenizer.json")).unwrap()
}

pub(super) struct Fixture {
    pub tokenizer: Tokenizer,
    pub vocabulary: GrammarVocabulary,
    pub size: usize,
    end: u32,
    special: HashSet<u32>,
}

fn fixture(name: &str, end: &str) -> Fixture {
    let tokenizer = tokenizer(name);
    let size = tokenizer.get_vocab_size(true);
    let end = tokenizer.token_to_id(end).unwrap();
    let special = tokenizer.get_added_tokens_decoder().iter().filter(|(_, t)| t.special).map(|(id, _)| *id).collect();
    Fixture { vocabulary: GrammarVocabulary::new(&tokenizer, size, &[end]).unwrap(), tokenizer, size, end, special }
}

pub(super) fn fixtures() -> &'static [Fixture] {
    static FIXTURES: std::sync::OnceLock<Vec<Fixture>> = std::sync::OnceLock::new();
    FIXTURES.get_or_init(|| {
        vec![
            // Byte-level BPE, then SentencePiece with byte tokens, with and without a first space that is dropped.
            fixture("roberta", "</s>"),
            fixture("generation/llama", "<|end_of_text|>"),
            fixture("generation/mistral", "</s>"),
            fixture("generation/gemma2", "<eos>"),
        ]
    })
}

/// Tokens that may follow.
fn allowed(constraint: &mut Constraint, size: usize) -> Vec<u32> {
    let mut logits = vec![0.0; size + PADDING];
    constraint.mask(&mut logits).unwrap();
    assert!(logits[size..].iter().all(|x| *x == f32::NEG_INFINITY));
    (0..size as u32).filter(|&token| logits[token as usize] == 0.0).collect()
}

/// Feeds a text token by token, as the tokenizer spells it.
fn feed(constraint: &mut Constraint, fixture: &Fixture, text: &str) -> Result<()> {
    for &token in fixture.tokenizer.encode_fast(text, false).unwrap().get_ids() {
        constraint.accept(token)?;
    }
    Ok(())
}

fn random(state: &mut u64) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize
}

/// An answer of tokens drawn at random from those allowed; after `drawn` tokens those are taken that bring it to an end.
pub(super) fn walk(fixture: &Fixture, grammar: &Grammar, mut seed: u64, drawn: usize) -> String {
    let mut constraint = fixture.vocabulary.constraint(grammar, SchemaMode::Check, None).unwrap();
    let mut tokens = Vec::new();
    for step in 0.. {
        assert!(step < drawn + 1000, "no end: {:?}", fixture.tokenizer.decode(&tokens[..drawn + 30], false));
        let choices = allowed(&mut constraint, fixture.size);
        let may_end = constraint.may_end();
        assert_eq!(choices.contains(&fixture.end), may_end);
        assert!(choices.iter().all(|token| *token == fixture.end || !fixture.special.contains(token)));
        let token = if step < drawn {
            choices[random(&mut seed) % choices.len()]
        } else if may_end {
            fixture.end
        } else if step > drawn + 40 && random(&mut seed).is_multiple_of(4) {
            // Inside a string a pattern may want a letter at its end that the ranks never take.
            choices[random(&mut seed) % choices.len()]
        } else {
            let rank = |token: u32| {
                let text = fixture.tokenizer.decode(&[token], false).unwrap();
                let first = text.chars().next().unwrap_or(' ');
                let rank = "\"}]),".find(first).unwrap_or(if first.is_ascii_alphanumeric() { 5 } else { 6 });
                let rank = if first.is_whitespace() { 7 } else { rank };
                (rank, text.len())
            };
            let best = choices.iter().map(|&token| rank(token)).min().unwrap();
            // At random among equals: a number may need a digit that is not zero.
            let best: Vec<u32> = choices.into_iter().filter(|&token| rank(token) == best).collect();
            best[random(&mut seed) % best.len()]
        };
        constraint.accept(token).unwrap();
        if token == fixture.end {
            assert!(constraint.is_finished() && allowed(&mut constraint, fixture.size) == [fixture.end]);
            break;
        }
        tokens.push(token);
        if constraint.is_finished() {
            assert!(constraint.may_end() && allowed(&mut constraint, fixture.size) == [fixture.end]);
            break;
        }
    }
    fixture.tokenizer.decode(&tokens, true).unwrap()
}

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

#[test]
fn the_first_space_that_a_decoder_drops_is_allowed() {
    // T5 begins nearly every answer with a token that has a space, and its decoder drops it.
    for (name, end) in [("generation/t5", "</s>"), ("generation/mistral", "</s>")] {
        let fixture = fixture(name, end);
        let pieces = fixture.tokenizer.get_vocab(false);
        let piece = |text: &str| pieces.keys().any(|piece| piece == text);
        // The order of a HashMap is random, so the least is taken; letters only, as the word is also an expression.
        let words = pieces.keys().filter_map(|piece| piece.strip_prefix('▁'));
        let word = words.filter(|word| word.len() > 1 && word.bytes().all(|b| b.is_ascii_lowercase())).min().unwrap();
        assert!(piece(&format!("▁{word}")));
        let mut constraint =
            fixture.vocabulary.constraint(&Grammar::Regex(word.into()), SchemaMode::Check, None).unwrap();
        let token = fixture.tokenizer.token_to_id(&format!("▁{word}")).unwrap();
        assert!(allowed(&mut constraint, fixture.size).contains(&token), "{name} {word}");
        constraint.accept(token).unwrap();
        assert!(constraint.is_finished());
        assert_eq!(fixture.tokenizer.decode(&[token], true).unwrap(), word);

        // Later, a space is a space.
        let mut constraint =
            fixture.vocabulary.constraint(&Grammar::Regex(format!("{word}{word}")), SchemaMode::Check, None).unwrap();
        constraint.accept(token).unwrap();
        assert!(!allowed(&mut constraint, fixture.size).contains(&token));
    }
    // Gemma's decoder drops nothing.
    let fixture = fixture("generation/gemma2", "<eos>");
    let space = fixture.tokenizer.token_to_id("▁").unwrap();
    let mut constraint = fixture.vocabulary.constraint(&Grammar::Regex("a".into()), SchemaMode::Check, None).unwrap();
    assert!(!allowed(&mut constraint, fixture.size).contains(&space));
}

#[test]
fn a_text_is_followed_token_by_token() {
    let fixture = &fixtures()[0];
    let mut constraint = fixture.vocabulary.constraint(&Grammar::Regex("ab*".into()), SchemaMode::Check, None).unwrap();
    assert!(!constraint.may_end() && !constraint.is_finished());
    feed(&mut constraint, fixture, "a").unwrap();
    assert!(constraint.may_end() && !constraint.is_finished());
    let mut other = constraint.clone();
    feed(&mut constraint, fixture, "bb").unwrap();
    assert!(constraint.may_end() && !constraint.is_finished());
    // The clone has gone its own way.
    other.accept(fixture.end).unwrap();
    assert!(other.is_finished());
    // The end may be told again, and nothing else.
    other.accept(fixture.end).unwrap();
    assert!(other.accept(fixture.tokenizer.token_to_id("b").unwrap()).is_err());
    assert!(!constraint.is_finished());
    let error = feed(&mut constraint, fixture, "c").unwrap_err();
    assert!(error.status() == Status::InvalidArgument && error.message().contains("cannot be continued"), "{error}");
    // After that nothing goes.
    assert!(
        constraint.mask(&mut vec![0.0; fixture.size]).is_err() && !constraint.is_finished() && !constraint.may_end()
    );

    let mut short = fixture.vocabulary.constraint(&Grammar::Regex("a".into()), SchemaMode::Check, None).unwrap();
    assert!(short.mask(&mut vec![0.0; fixture.size - 1]).is_err());
    feed(&mut short, fixture, "a").unwrap();
    assert!(short.is_finished());
}

#[test]
fn json_ends_with_its_last_bracket_and_has_no_endless_blanks() {
    let fixture = &fixtures()[0];
    let schema = r#"{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}"#;
    let mut constraint =
        fixture.vocabulary.constraint(&Grammar::JsonSchema(schema.into()), SchemaMode::Check, None).unwrap();
    feed(&mut constraint, fixture, "{\n        \"a\" : 17").unwrap();
    assert!(feed(&mut constraint.clone(), fixture, &" ".repeat(32)).is_ok());
    assert!(feed(&mut constraint.clone(), fixture, &" ".repeat(33)).is_err());
    assert!(!constraint.may_end());
    feed(&mut constraint, fixture, "\n\n}").unwrap();
    assert!(constraint.is_finished());
}

#[test]
fn scores_of_allowed_tokens_stay() {
    let fixture = &fixtures()[0];
    let mut constraint =
        fixture.vocabulary.constraint(&Grammar::Regex("[ab]".into()), SchemaMode::Check, None).unwrap();
    let mut logits: Vec<f32> = (0..fixture.size).map(|i| i as f32).collect();
    constraint.mask(&mut logits).unwrap();
    let left: Vec<usize> = (0..fixture.size).filter(|&i| logits[i] == i as f32).collect();
    let ids = ["a", "b"].map(|token| fixture.tokenizer.token_to_id(token).unwrap() as usize);
    assert_eq!(left.iter().collect::<HashSet<_>>(), ids.iter().collect());
}

#[test]
fn tokens_with_the_same_bytes_are_all_allowed() {
    // `<0x61>` and `a` are the same text.
    let fixture = fixture("generation/mistral", "</s>");
    let mut constraint = fixture.vocabulary.constraint(&Grammar::Regex("a".into()), SchemaMode::Check, None).unwrap();
    let ids = ["a", "<0x61>"].map(|token| fixture.tokenizer.token_to_id(token).unwrap());
    let allowed = allowed(&mut constraint, fixture.size);
    assert!(ids.iter().all(|id| allowed.contains(id)), "{allowed:?}");
}

#[test]
fn what_a_vocabulary_cannot_say_is_an_error() {
    // T5 has no braces.
    let fixture = fixture("generation/t5", "</s>");
    let mut constraint = fixture
        .vocabulary
        .constraint(&Grammar::JsonSchema(r#"{"type": "object"}"#.into()), SchemaMode::Check, None)
        .unwrap();
    let space = fixture.tokenizer.token_to_id("▁");
    let error = match constraint.mask(&mut vec![0.0; fixture.size]) {
        Ok(()) => {
            constraint.accept(space.unwrap()).unwrap();
            constraint.mask(&mut vec![0.0; fixture.size]).unwrap_err()
        }
        Err(e) => e,
    };
    assert!(error.message().contains("no token of the vocabulary may follow"), "{error}");
}

#[test]
fn vocabularies_that_do_not_fit_are_refused() {
    let tokenizer = tokenizer("roberta");
    for (size, eos, status) in [
        (0, vec![0], Status::Unsupported),
        (MAX_VOCABULARY + 1, vec![0], Status::Unsupported),
        (401, vec![], Status::Unsupported),
        (401, vec![2, 401], Status::InvalidArgument),
    ] {
        assert_eq!(GrammarVocabulary::new(&tokenizer, size, &eos).err().unwrap().status(), status);
    }
    let error = GrammarVocabulary::new(&self::tokenizer("bert"), 401, &[2]).err().unwrap();
    assert!(error.status() == Status::Unsupported && error.message().contains("WordPiece"), "{error}");
    // The model may have fewer rows than the tokenizer has tokens, or more.
    for size in [300, 500] {
        let vocabulary = GrammarVocabulary::new(&tokenizer, size, &[2, 0]).unwrap();
        let mut constraint = vocabulary.constraint(&Grammar::Regex(".*".into()), SchemaMode::Check, None).unwrap();
        let allowed = allowed(&mut constraint, size);
        assert!(allowed.iter().all(|token| *token < 400) && allowed.contains(&2) && allowed.contains(&0));
    }
}

#[test]
fn the_alphabet_of_bytes_is_whole() {
    let bytes: HashSet<u8> = (0..0x200).filter_map(char::from_u32).filter_map(byte_of).collect();
    assert_eq!(bytes.len(), 256);
    assert_eq!(
        (byte_of('Ġ'), byte_of('Ċ'), byte_of('a'), byte_of('é')),
        (Some(b' '), Some(b'\n'), Some(b'a'), Some(0xe9))
    );
    assert_eq!((byte_of(' '), byte_of('日'), byte_of('\u{144}')), (None, None, None));
}

#[test]
fn everything_goes_to_other_threads() {
    fn send<T: Send>() {}
    fn sync<T: Sync>() {}
    send::<GrammarVocabulary>();
    sync::<GrammarVocabulary>();
    send::<Constraint>();
}

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
        let error = fixtures()[0].vocabulary.constraint(&grammar, SchemaMode::Check, None).err().unwrap();
        assert!(error.status() == Status::InvalidArgument && error.message().contains(reason), "{error}");
        assert!(error.message().starts_with("grammar: ") && error.message().len() < 1000, "{error}");
    }
}

/// Makes a constraint and takes some steps, on a small stack: an error or an answer, but soon.
fn survive(name: &str, grammar: Grammar) {
    let fixture = &fixtures()[1];
    let run = || {
        let start = Instant::now();
        let Ok(mut constraint) = fixture.vocabulary.constraint(&grammar, SchemaMode::Check, None) else {
            return start.elapsed();
        };
        let (mut seed, mut longest) = (1, start.elapsed());
        for _ in 0..30 {
            let start = Instant::now();
            let mut logits = vec![0.0; fixture.size];
            if constraint.mask(&mut logits).is_err() {
                break;
            }
            let choices: Vec<u32> = (0..fixture.size as u32).filter(|&token| logits[token as usize] == 0.0).collect();
            if constraint.accept(choices[random(&mut seed) % choices.len()]).is_err() || constraint.is_finished() {
                break;
            }
            drop(constraint.clone());
            longest = longest.max(start.elapsed());
        }
        longest
    };
    let longest = thread::scope(|scope| {
        thread::Builder::new().stack_size(512 << 10).spawn_scoped(scope, run).unwrap().join().unwrap()
    });
    // Printed, not checked: a busy machine is slow. What has no end never gets here.
    println!("{name}: the longest step took {longest:?}");
}

#[test]
fn hostile_expressions_are_survived() {
    let deep = |left: &str, n: usize, right: &str| left.repeat(n) + "a" + &right.repeat(n);
    for (name, expression) in [
        ("repetitions of repetitions", "((a{1000}){1000}){1000}".into()),
        ("a huge repetition", "a{1000000000}".into()),
        ("overlapping repetitions", "(a|b|ab){1,100000}c".into()),
        ("stars of stars", "((a+)+b?)+(a+)+$".into()),
        ("states without end", "(.*a.{30}|.*b.{31}|.*c.{32})x".into()),
        ("a long text", "abcdefghij".repeat(20_000)),
        ("many classes", "[a-z]".repeat(40_000)),
        ("many words", (0..30_000).map(|i| format!("w{i}|")).collect()),
        ("all of Unicode", r"\p{L}{1,10000}\w{1000}".into()),
        ("brackets in brackets", deep("(", 80_000, ")*")),
        ("some brackets", deep("(", 200, ")*")),
        ("many stars", "a*".repeat(60_000)),
        ("many options", "(a?){0,1000}".repeat(3000)),
        ("many dots", ".*x".repeat(60_000)),
    ] {
        survive(name, Grammar::Regex(expression));
    }
}

#[test]
fn hostile_schemas_are_survived() {
    let deep = |left: &str, n: usize, right: &str| left.repeat(n) + "{}" + &right.repeat(n);
    let list = |n: usize, item: fn(usize) -> String| (0..n).map(item).collect::<Vec<_>>().join(",");
    let chain: String =
        list(40, |i| format!(r##""d{i}":{{"allOf":[{{"$ref":"#/$defs/d{0}"}},{{"$ref":"#/$defs/d{0}"}}]}}"##, i + 1));
    for (name, schema) in [
        ("objects in objects", deep(r#"{"properties":{"a":"#, 60, "}}")),
        ("lists in lists", deep(r#"{"items":"#, 120, "}")),
        ("deeper than JSON goes", deep(r#"{"items":"#, 20_000, "}")),
        ("itself", r##"{"$ref":"#"}"##.into()),
        ("each other", r##"{"$defs":{"a":{"allOf":[{"$ref":"#/$defs/b"}]},"b":{"allOf":[{"$ref":"#/$defs/a"}]}},"$ref":"#/$defs/a"}"##.into()),
        ("doubling references", format!(r##"{{"$ref":"#/$defs/d0","$defs":{{{chain},"d40":{{"type":"string"}}}}}}"##)),
        (
            "doubling choices",
            format!(r#"{{"allOf":[{}]}}"#, list(24, |i| format!(r#"{{"anyOf":[{{"properties":{{"a{i}":{{}}}}}},{{"properties":{{"b{i}":{{}}}}}}]}}"#))),
        ),
        ("a long string", r#"{"type":"string","minLength":1000000,"maxLength":1000000000}"#.into()),
        ("a long list", r#"{"type":"array","minItems":100000000000}"#.into()),
        ("two patterns", r#"{"type":"string","allOf":[{"pattern":"^(y|x.*a.{18})$"},{"pattern":"^(y|x.*b.{18})$"}]}"#.into()),
        ("a pattern and a format", r#"{"type":"string","pattern":".*a.{25}","format":"date-time","minLength":100}"#.into()),
        ("many values", format!(r#"{{"enum":[{}]}}"#, list(20_000, |i| format!("\"e{i}\"")))),
        ("many properties", format!(r#"{{"properties":{{{}}}}}"#, list(19_000, |i| format!("\"{i}\":{{}}")))),
        ("multiples", r#"{"type":"integer","multipleOf":1000000007,"minimum":-1e300,"maximum":1e300}"#.into()),
        ("multiples of multiples", r#"{"allOf":[{"multipleOf":999983},{"multipleOf":999979},{"multipleOf":0.00001}]}"#.into()),
    ] {
        survive(name, Grammar::JsonSchema(schema));
    }
    let many = format!(r#"start: "a" | %json {{"properties":{{{}}}}}"#, list(19_000, |i| format!("\"{i}\":{{}}")));
    let error = fixtures()[0].vocabulary.constraint(&Grammar::Lark(many), SchemaMode::Check, None).err().unwrap();
    assert!(error.message().contains("too many properties"), "{error}");
}

#[test]
fn hostile_grammars_are_survived() {
    let deep = |left: &str, n: usize, right: &str| "start: ".to_owned() + &left.repeat(n) + "\"a\"" + &right.repeat(n);
    let rules = |n: usize, rule: fn(usize) -> String| (0..n).map(rule).collect::<String>();
    for (name, grammar) in [
        ("round brackets", deep("(", 60_000, ")")),
        ("square brackets", deep("[", 60_000, "]")),
        ("grammars in grammars", deep("%lark { start: ", 1000, " }")),
        ("repetitions of repetitions", "start: a{1000}\na: b{1000}\nb: c{1000}\nc: \"a\"".into()),
        (
            "doubling rules",
            "start: r0\n".to_owned() + &rules(60, |i| format!("r{i}: r{0} r{0}\n", i + 1)) + "r60: \"a\"",
        ),
        (
            "doubling tokens",
            "start: R0\n".to_owned() + &rules(60, |i| format!("R{i}: R{0} R{0}\n", i + 1)) + "R60: \"a\"",
        ),
        ("ambiguity", "start: start start start | start start | \"a\" | /[a-z]/ | /[a-z ]+/ | \"\"".into()),
        ("no end", "start: start".into()),
        (
            "a chain of rules",
            "start: r0\n".to_owned() + &rules(20_000, |i| format!("r{i}:r{}\n", i + 1)) + "r20000: \"a\"",
        ),
        (
            "a chain of tokens",
            "start: R0\n".to_owned() + &rules(20_000, |i| format!("R{i}:R{}\n", i + 1)) + "R20000: \"a\"",
        ),
        (
            "a chain of nothing",
            "start: r0\n".to_owned() + &rules(12_000, |i| format!("r{i}:r{}? \"a\"?\n", i + 1)) + "r12000: \"a\"",
        ),
        ("intersections", "start: X\nX: ~/(.*a.{15})/ & /(.*b.{16})/ & ~/.*c.{17}/".into()),
        ("many tokens", "start: ".to_owned() + &rules(3000, |i| format!("/a*b{i}.*/ | ")) + "\"z\""),
    ] {
        survive(name, Grammar::Lark(grammar));
    }
}

/// The expression whose automaton doubles with each `i`, for each of a number of them.
fn doubling(count: usize) -> Vec<String> {
    (3..3 + count).map(|i| format!("(a|b)*a(a|b){{{i}}}")).collect()
}

fn refused(grammar: Grammar) -> String {
    let error = fixtures()[0].vocabulary.constraint(&grammar, SchemaMode::Check, None).err().expect("accepted");
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
        assert!(fixtures()[0].vocabulary.constraint(&grammar, SchemaMode::Check, None).is_ok(), "{schema}");
    }
    let terms = patterns.iter().map(|pattern| format!("/{pattern}/")).collect::<Vec<_>>();
    let keywords = (0..40).map(|i| format!("~\"key{i}\"")).collect::<Vec<_>>().join(" & ");
    for grammar in [format!("start: T\nT: {}\n", terms.join(" | ")), format!("start: T\nT: /[a-z0-9]+/ & {keywords}\n")]
    {
        assert!(
            fixtures()[0].vocabulary.constraint(&Grammar::Lark(grammar.clone()), SchemaMode::Check, None).is_ok(),
            "{grammar}"
        );
    }
}

#[test]
fn a_cancelled_call_compiles_no_further() {
    let cancelled = AtomicBool::new(true);
    let error = fixtures()[0]
        .vocabulary
        .constraint(&Grammar::Regex("a".into()), SchemaMode::Check, Some(&cancelled))
        .err()
        .unwrap();
    assert_eq!(error.status(), Status::Cancelled);
}

/// Whether a text is a whole match of a schema.
fn matches(schema: &Value, text: &str) -> bool {
    let fixture = &fixtures()[1];
    let mut constraint =
        fixture.vocabulary.constraint(&Grammar::JsonSchema(schema.to_string()), SchemaMode::Check, None).unwrap();
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
