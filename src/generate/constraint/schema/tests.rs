//! Many schemas at once: those of `tests/fixtures/json_schemas.json`, with values that Python's jsonschema judged, and those of a folder
//! in JSONSchemaBench's format, if there is one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use super::super::tests::{Fixture, fixtures, walk};
use super::super::{Constraint, Grammar, GrammarLimits, SchemaMode};
use super::*;

/// Whether a text is accepted to its end, token by token.
fn accepts(mut constraint: Constraint, fixture: &Fixture, text: &str) -> bool {
    let mut logits = vec![0.0; fixture.size];
    for &token in fixture.tokenizer.encode_fast(text, false).unwrap().get_ids() {
        logits.fill(0.0);
        if constraint.mask(&mut logits).is_err() || logits[token as usize] != 0.0 || constraint.accept(token).is_err() {
            return false;
        }
    }
    constraint.may_end()
}

fn cases() -> Vec<Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/json_schemas.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The values of a case, and whether they are valid.
fn values(case: &Value) -> impl Iterator<Item = (&Value, bool)> {
    let list = |key: &str, valid| case[key].as_array().unwrap().iter().map(move |value| (value, valid));
    list("valid", true).chain(list("invalid", false))
}

#[test]
fn values_are_judged_as_by_the_reference() {
    for case in cases() {
        let document = Document::new(case["schema"].clone());
        for (value, valid) in values(&case) {
            assert_eq!(satisfies(&document, value), valid, "{}: {value}", case["schema"]);
        }
    }
}

#[test]
fn rewritten_schemas_allow_nothing_more() {
    let (mut enforced, mut narrowed) = (0, 0);
    for case in cases() {
        let document = Document::new(case["schema"].clone());
        for aim in [Aim::Check, Aim::Enforce] {
            let Lowered { schema, unenforced } = lower(&document, "", aim, LeftToCheck::default()).unwrap();
            let rewritten = Document::new(schema);
            for (value, valid) in values(&case) {
                let allowed = satisfies(&rewritten, value);
                assert!(
                    valid || !allowed || !unenforced.is_empty(),
                    "{}: {value}\n{}",
                    case["schema"],
                    rewritten.root()
                );
                narrowed += usize::from(valid && !allowed && aim == Aim::Check);
            }
            enforced += usize::from(unenforced.is_empty() && aim == Aim::Check);
        }
    }
    let all = cases().len();
    println!("{enforced} of {all} schemas are enforced; {narrowed} valid values are not allowed");
    assert!(all > 150 && enforced * 100 >= all * 80 && narrowed <= 40, "{enforced} of {all}, {narrowed}");
}

#[test]
fn random_texts_of_many_schemas_validate() {
    let fixture = &fixtures()[1];
    let (mut texts, mut mismatches) = (0, 0);
    for (number, case) in cases().into_iter().enumerate() {
        let grammar = Grammar::JsonSchema(case["schema"].to_string());
        let constraint =
            match fixture.vocabulary.constraint(&grammar, SchemaMode::Check, GrammarLimits::default(), None) {
                Ok(constraint) => constraint,
                Err(error) => {
                    // Only where no value is valid.
                    assert!(
                        error.message().contains("nsatisfiable") && case["valid"] == json!([]),
                        "{}: {error}",
                        case["schema"]
                    );
                    continue;
                }
            };
        let strict = fixture.vocabulary.constraint(&grammar, SchemaMode::Strict, GrammarLimits::default(), None);
        if let Err(error) = &strict {
            assert!(error.message().contains("cannot be enforced while"), "{}: {error}", case["schema"]);
        }
        let document = Document::new(case["schema"].clone());
        for (seed, drawn) in [(1, 3), (2, 12), (3, 30)] {
            let text = walk(fixture, &grammar, 100 * number as u64 + seed, drawn);
            let value = match serde_json::from_str(&text) {
                Ok(value) => value,
                // JSON's grammar allows 7E3907, which no reader holds.
                Err(error) if error.to_string().contains("number out of range") => continue,
                Err(error) => panic!("{}: {text}: {error}", case["schema"]),
            };
            texts += 1;
            if constraint.is_mismatch(&text) {
                mismatches += 1;
            } else {
                assert!(satisfies(&document, &value), "{}: {text}", case["schema"]);
            }
            if std::env::var_os("KINGLET_PRINT_TEXTS").is_some() {
                println!("TEXT {}", json!([case["schema"], text, constraint.is_mismatch(&text)]));
            }
        }
    }
    println!("{mismatches} of {texts} texts were reported as mismatches");
    assert!(texts > 400 && mismatches * 10 < texts, "{mismatches} of {texts}");
}

/// KINGLET_SCHEMAS is a folder of files as in JSONSchemaBench's maskbench/data, KINGLET_SCHEMAS_LIST a file with names of them. Prints what
/// is refused and which of the instances are taken for valid or invalid wrongly.
#[test]
fn a_folder_of_schemas() {
    let Some(folder) = std::env::var_os("KINGLET_SCHEMAS").map(PathBuf::from) else {
        println!("skipped: KINGLET_SCHEMAS is not set");
        return;
    };
    let list = std::env::var("KINGLET_SCHEMAS_LIST").expect("KINGLET_SCHEMAS_LIST");
    let only = std::env::var("KINGLET_SCHEMAS_ONLY").unwrap_or_default();
    let instances = std::env::var_os("KINGLET_SCHEMAS_NO_INSTANCES").is_none();
    let (mut refused, mut counts) = (BTreeMap::<String, usize>::new(), BTreeMap::<&str, usize>::new());
    let fixture = &fixtures()[1];
    for name in std::fs::read_to_string(list).unwrap().lines().filter(|name| name.contains(&only)) {
        let Ok(text) = std::fs::read_to_string(folder.join(name)) else { continue };
        let file: Value = serde_json::from_str(&text).unwrap();
        let grammar = Grammar::JsonSchema(file["schema"].to_string());
        *counts.entry("schemas").or_default() += 1;
        let start = Instant::now();
        let constraint =
            match fixture.vocabulary.constraint(&grammar, SchemaMode::Check, GrammarLimits::default(), None) {
                Ok(constraint) => constraint,
                Err(error) => {
                    let what = error.message().replace("grammar: the JSON schema cannot be used: ", "");
                    println!("REFUSED {name}: {what}");
                    *refused
                        .entry(what.rsplit(": ").next().unwrap_or_default().chars().take(40).collect())
                        .or_default() += 1;
                    continue;
                }
            };
        let seconds = start.elapsed().as_secs_f64();
        if seconds > 1.0 {
            println!("SLOW {name}: {seconds:.1} s");
        }
        if fixture.vocabulary.constraint(&grammar, SchemaMode::Strict, GrammarLimits::default(), None).is_err() {
            *counts.entry("checked, not enforced").or_default() += 1;
            let document = Document::new(file["schema"].clone());
            let lowered = lower(&document, "", Aim::Check, LeftToCheck::default());
            println!("UNENFORCED {name}: {}", lowered.map_or_else(|e| e, |l| l.unenforced.join(" ")));
        }
        let document = Document::new(file["schema"].clone());
        let lowered =
            lower(&document, "", Aim::Check, LeftToCheck::default()).map(|l| (Document::new(l.schema), l.unenforced));
        for test in file["tests"].as_array().into_iter().flatten().filter(|_| instances) {
            let text = test["data"].to_string();
            let accepted = accepts(constraint.clone(), fixture, &text) && !constraint.is_mismatch(&text);
            if let Ok((schema, unenforced)) = &lowered {
                let by = (satisfies(&document, &test["data"]), satisfies(schema, &test["data"]));
                let kind = match (test["valid"].as_bool().unwrap(), by) {
                    (true, (false, _)) => "valid, not by the validator",
                    (false, (true, _)) => "invalid, not by the validator",
                    (_, (true, false)) => "narrowed",
                    (_, (false, true)) if unenforced.is_empty() => "widened",
                    _ => "",
                };
                if !kind.is_empty() {
                    println!("{kind}: {name} {}", text.chars().take(200).collect::<String>());
                    *counts.entry(kind).or_default() += 1;
                }
            }
            let kind = match (test["valid"].as_bool().unwrap(), accepted) {
                (true, true) => "valid, accepted",
                (true, false) => "valid, not accepted",
                (false, true) => "invalid, accepted",
                (false, false) => "invalid, not accepted",
            };
            if ["valid, not accepted", "invalid, accepted"].contains(&kind) {
                println!("{kind}: {name} {}", text.chars().take(120).collect::<String>());
            }
            *counts.entry(kind).or_default() += 1;
        }
    }
    println!("{counts:?}\n{refused:#?}");
}
