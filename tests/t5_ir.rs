//! The small real model of the demo, text to LLVM IR: its answers compared with transformers, and the features of generation:
//! streams, stop strings, seeds, constraints, the answer cache, memory limits.

mod support;

use std::path::{Path, PathBuf};

use kinglet::{Device, GenerateOptions, Grammar, LoadOptions, Model, Precision, Stage, Status};
use serde_json::Value;
use support::{ids, load};

const QUESTION: &str = "function @add: that takes two int values %a and %b and returns their sum";

fn model_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/models/t5-ir.kinglet")
}

fn model() -> Model {
    load(&model_file(), Device::Cpu, Precision::Auto, 2)
}

fn reference() -> Vec<Value> {
    let text = std::fs::read_to_string(support::fixtures().join("t5-ir/reference.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The number of answers with the reference's tokens, and the number of correct answers.
fn score(model: &Model, beams: usize) -> (usize, usize) {
    let reference = reference();
    let inputs: Vec<&str> = reference.iter().map(|case| case["input"].as_str().unwrap()).collect();
    let options = GenerateOptions { max_new_tokens: Some(128), num_beams: Some(beams), ..GenerateOptions::default() };
    let result = model.generate(&inputs, &options, None).unwrap();
    let key = if beams == 1 { "greedy" } else { "beam5" };
    let (mut same, mut right) = (0, 0);
    for (case, outputs) in reference.iter().zip(&result.outputs) {
        same += usize::from(outputs[0].tokens == ids(&case[key]));
        right += usize::from(outputs[0].text == case["expected"].as_str().unwrap());
    }
    (same, right)
}

#[test]
fn int8_answers_as_well_as_f32() {
    let model = model();
    assert_eq!((model.precision(), model.family()), (Precision::Int8, "t5"));
    for beams in [1, 5] {
        let (same, right) = score(&model, beams);
        println!("int8, {beams} beam(s): {same} of 500 as transformers in f32, {right} correct");
        // transformers in f32 has 366 correct answers.
        assert!(right >= 350, "{beams} beams: {right} of 500");
    }
}

/// `KINGLET_T5_IR` is the directory that the demo's file was packed from.
#[test]
fn f32_answers_match_transformers_token_for_token() {
    let Some(path) = std::env::var_os("KINGLET_T5_IR") else {
        eprintln!("skipped: KINGLET_T5_IR does not name the directory of t5-ir's own weights");
        return;
    };
    let model = load(Path::new(&path), Device::Cpu, Precision::F32, 2);
    for beams in [1, 5] {
        let (same, _) = score(&model, beams);
        assert!(same >= 499, "{beams} beams: {same} of 500");
    }
}

#[test]
fn the_pieces_of_a_stream_make_up_the_text() {
    let model = model();
    let whole = model.generate(&[QUESTION], &GenerateOptions::default(), None).unwrap();
    let (mut text, mut tokens, mut end) = (String::new(), Vec::new(), None);
    let mut listener = |piece: kinglet::Piece| {
        assert!(end.is_none() && piece.index == 0);
        text += piece.text;
        tokens.push(piece.token);
        end = piece.finish_reason;
        true
    };
    model.generate(&[QUESTION], &GenerateOptions::default(), Some(&mut listener)).unwrap();
    let output = &whole.outputs[0][0];
    assert_eq!((&text, &tokens, end), (&output.text, &output.tokens, Some(output.finish_reason)));
    assert!(text.starts_with("define i32"), "{text}");
    let beams = GenerateOptions { num_beams: Some(2), ..GenerateOptions::default() };
    let error = model.generate(&[QUESTION], &beams, Some(&mut |_| true)).unwrap_err();
    assert!(error.message().starts_with("num_beams: "), "{error}");
}

#[test]
fn a_stop_string_ends_the_text_before_it_at_any_token_boundary() {
    let model = model();
    let whole = model.generate(&[QUESTION], &GenerateOptions::default(), None).unwrap().outputs[0][0].text.clone();
    for (start, end) in [(3, 9), (12, 13), (20, 31)] {
        let stop = whole[start..end].to_string();
        let expected = &whole[..whole.find(&stop).unwrap()];
        for beams in [1, 3] {
            let options = GenerateOptions {
                stop_strings: Some(vec!["never this".into(), stop.clone()]),
                num_beams: Some(beams),
                ..GenerateOptions::default()
            };
            let output = model.generate(&[QUESTION], &options, None).unwrap().outputs.swap_remove(0).swap_remove(0);
            assert_eq!(output.finish_reason, kinglet::FinishReason::StopString, "{stop:?}");
            assert_eq!(output.text, expected, "{stop:?}, {beams} beams");
        }
        let mut streamed = String::new();
        let options = GenerateOptions { stop_strings: Some(vec![stop]), ..GenerateOptions::default() };
        let mut listener = |piece: kinglet::Piece| {
            streamed += piece.text;
            true
        };
        model.generate(&[QUESTION], &options, Some(&mut listener)).unwrap();
        assert_eq!(streamed, expected);
    }
}

#[test]
fn seeds_determine_the_samples() {
    let model = model();
    let draw = |seed, number| {
        let options = GenerateOptions {
            do_sample: Some(true),
            temperature: Some(2.0),
            seed: Some(seed),
            num_return_sequences: Some(number),
            max_new_tokens: Some(30),
            ..GenerateOptions::default()
        };
        model.generate(&[QUESTION], &options, None).unwrap().outputs.swap_remove(0)
    };
    assert_eq!(draw(1, 1), draw(1, 1));
    assert_ne!(draw(1, 1)[0].tokens, draw(2, 1)[0].tokens);
    let several = draw(1, 3);
    assert_eq!(several[0], draw(1, 1)[0]);
    assert_ne!(several[0].tokens, several[1].tokens);
    let unseeded = GenerateOptions { do_sample: Some(true), temperature: Some(3.0), ..GenerateOptions::default() };
    let texts: Vec<_> =
        (0..4).map(|_| model.generate(&[QUESTION], &unseeded, None).unwrap().outputs[0][0].tokens.clone()).collect();
    assert!(texts.iter().any(|t| *t != texts[0]));
}

#[test]
fn constrained_texts_match_the_grammar() {
    let model = model();
    let run = |grammar, beams, sample: bool| {
        let options = GenerateOptions {
            grammar: Some(grammar),
            max_new_tokens: Some(120),
            num_beams: Some(beams),
            do_sample: Some(sample),
            ..GenerateOptions::default()
        };
        model.generate(&[QUESTION, "function @fee: that negates a int %a"], &options, None).unwrap().outputs
    };
    let schema = r#"{"type": "object", "properties": {"name": {"enum": ["add", "sub"]}, "bits": {"enum": [8, 32]}},
                     "required": ["name", "bits"], "additionalProperties": false}"#;
    for (beams, sample) in [(1, false), (3, false), (1, true)] {
        for outputs in run(Grammar::JsonSchema(schema.into()), beams, sample) {
            let value: Value = serde_json::from_str(&outputs[0].text).unwrap_or_else(|e| panic!("{e}: {outputs:?}"));
            assert!(value["name"] == "add" || value["name"] == "sub", "{value}");
            assert!(value["bits"] == 8 || value["bits"] == 32, "{value}");
        }
        for outputs in run(Grammar::Regex("ret i(8|32) %[ab]".into()), beams, sample) {
            let text = &outputs[0].text;
            assert!(["ret i8 %a", "ret i8 %b", "ret i32 %a", "ret i32 %b"].contains(&text.as_str()), "{text:?}");
        }
    }
    let bad = GenerateOptions { grammar: Some(Grammar::Regex("(".into())), ..GenerateOptions::default() };
    assert!(model.generate(&[QUESTION], &bad, None).unwrap_err().message().starts_with("grammar: "));
}

#[test]
fn the_answer_cache_answers_repeated_inputs() {
    let options = LoadOptions { answer_cache: 1 << 20, threads: 2, ..LoadOptions::default() };
    let model = Model::load(model_file(), options).unwrap();
    let counts = || {
        let counters = model.counters();
        (counters.stage(Stage::AnswerHit).calls, counters.stage(Stage::AnswerMiss).calls)
    };
    let plain = GenerateOptions::default();
    let first = model.generate(&[QUESTION, "a"], &plain, None).unwrap();
    assert_eq!(counts(), (0, 2));
    let again = model.generate(&["b", QUESTION], &plain, None).unwrap();
    assert_eq!(again.outputs[1], first.outputs[0]);
    assert_eq!(counts(), (1, 3));
    let beams = GenerateOptions { num_beams: Some(2), ..GenerateOptions::default() };
    model.generate(&[QUESTION], &beams, None).unwrap();
    assert_eq!(counts(), (1, 4));
    // Without a seed, each call samples differently.
    let drawn = GenerateOptions { do_sample: Some(true), ..GenerateOptions::default() };
    model.generate(&[QUESTION], &drawn, None).unwrap();
    model.generate(&[QUESTION], &drawn, None).unwrap();
    assert_eq!(counts(), (1, 4));
    // Off by default.
    let off = self::model();
    off.generate(&[QUESTION, QUESTION], &plain, None).unwrap();
    assert_eq!(off.counters().stage(Stage::AnswerMiss).calls, 0);
}

#[test]
fn the_memory_limit_covers_the_kv_cache() {
    let needed = {
        let error = Model::load(model_file(), LoadOptions { memory_limit: 1, ..LoadOptions::default() }).err().unwrap();
        assert_eq!(error.status(), Status::OutOfMemory);
        let number = error.message().split("needs about ").nth(1).unwrap().split(' ').next().unwrap();
        number.parse::<u64>().unwrap()
    };
    let options = LoadOptions { memory_limit: needed + (1 << 20), threads: 2, ..LoadOptions::default() };
    let model = Model::load(model_file(), options).unwrap();
    assert!(model.generate(&[QUESTION], &GenerateOptions::default(), None).is_ok());
    let many = vec![QUESTION; 64];
    let wide = GenerateOptions { num_beams: Some(8), ..GenerateOptions::default() };
    let error = model.generate(&many, &wide, None).unwrap_err();
    assert_eq!(error.status(), Status::OutOfMemory, "{error}");
    assert!(model.cache_bytes() <= 1 << 20);
    assert!(model.generate(&[QUESTION], &GenerateOptions::default(), None).is_ok(), "the model does not work any more");
}

#[test]
fn invalid_inputs_are_named() {
    let options = LoadOptions { answer_cache: 1 << 20, threads: 1, ..LoadOptions::default() };
    let model = Model::load(model_file(), options).unwrap();
    let bare = GenerateOptions { add_special_tokens: Some(false), ..GenerateOptions::default() };
    model.generate(&[QUESTION], &bare, None).unwrap();
    // The first text is in the answer cache by now; the second keeps its index.
    let error = model.generate(&[QUESTION, ""], &bare, None).unwrap_err();
    assert!(error.status() == Status::InvalidArgument && error.message().starts_with("texts[1]: "), "{error}");
    let error = model.logits(&[], Some(&[0]), false, None).unwrap_err();
    assert!(error.message().starts_with("ids: "), "{error}");
    let error = model.logits(&[5], Some(&vec![0; 1 << 20]), false, None).unwrap_err();
    assert!(error.message().starts_with("decoder_ids: "), "{error}");
    let both = GenerateOptions {
        grammar: Some(Grammar::Regex("a".into())),
        eos_token_id: Some(vec![3]),
        ..GenerateOptions::default()
    };
    assert!(model.generate(&[QUESTION], &both, None).unwrap_err().message().starts_with("eos_token_id: "));
}

#[test]
fn counters_show_where_the_time_went() {
    let model = model();
    let result =
        model.generate(&[QUESTION, "function @fee: that negates a int %a"], &Default::default(), None).unwrap();
    let tokens: u64 = result.outputs.iter().map(|o| o[0].tokens.len() as u64).sum();
    let counters = model.counters();
    let stage = |stage| counters.stage(stage);
    assert_eq!((stage(Stage::Prefill).calls, stage(Stage::Prefill).tokens), (1, 2));
    assert_eq!(stage(Stage::Decode).tokens, tokens - 2);
    assert_eq!((stage(Stage::FirstToken).calls, stage(Stage::Sample).tokens), (2, tokens));
    assert_eq!((stage(Stage::Call).tokens, stage(Stage::Detokenize).items), (tokens, 2));
    assert!(stage(Stage::Decode).tokens_per_second() > 0.0);
}
