//! Grammars that are made to take all memory, all time or all of the stack.

use std::thread;
use std::time::Instant;

use super::super::{Grammar, GrammarLimits, SchemaMode};
use super::{fixtures, random};

/// Makes a constraint and takes some steps, on a small stack: an error or an answer, but soon.
fn survive(name: &str, grammar: Grammar) {
    let fixture = &fixtures()[1];
    let run = || {
        let start = Instant::now();
        let Ok(mut constraint) =
            fixture.vocabulary.constraint(&grammar, SchemaMode::Check, GrammarLimits::default(), None)
        else {
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
    let error = fixtures()[0]
        .vocabulary
        .constraint(&Grammar::Lark(many), SchemaMode::Check, GrammarLimits::default(), None)
        .err()
        .unwrap();
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
