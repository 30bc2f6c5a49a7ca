//! Options of generation, defaults of the model's files and prefixes of decoders, compared with transformers.
//! `tests/fixtures/make_generation_cases.py` makes the references.

mod support;

use std::path::Path;

use kinglet::{
    Device, EarlyStopping, FinishReason, GenerateOptions, Grammar, Model, Output, Precision, SchemaMode, Status,
};
use serde_json::{Value, json};
use support::{fixtures, ids, load};

fn cases() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/references/generation.json");
    let mut value: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    match value["cases"].take() {
        Value::Array(cases) => cases,
        other => panic!("{other}"),
    }
}

/// Options by Hugging Face's names.
fn options(value: &Value) -> GenerateOptions {
    let mut o = GenerateOptions::default();
    for (key, value) in value.as_object().unwrap() {
        let whole = || value.as_u64().map(|n| n as usize);
        let real = || value.as_f64().map(|x| x as f32);
        let one = || value.as_u64().map(|n| n as u32);
        match key.as_str() {
            "max_new_tokens" => o.max_new_tokens = whole(),
            "min_new_tokens" => o.min_new_tokens = whole(),
            "num_beams" => o.num_beams = whole(),
            "num_return_sequences" => o.num_return_sequences = whole(),
            "no_repeat_ngram_size" => o.no_repeat_ngram_size = whole(),
            "encoder_no_repeat_ngram_size" => o.encoder_no_repeat_ngram_size = whole(),
            "length_penalty" => o.length_penalty = real(),
            "repetition_penalty" => o.repetition_penalty = real(),
            "encoder_repetition_penalty" => o.encoder_repetition_penalty = real(),
            "exponential_decay_length_penalty" => {
                let pair = (value[0].as_u64().unwrap() as usize, value[1].as_f64().unwrap() as f32);
                o.exponential_decay_length_penalty = Some(pair);
            }
            "sequence_bias" => {
                let biases = value.as_array().unwrap().iter();
                o.sequence_bias = Some(biases.map(|b| (ids(&b[0]), b[1].as_f64().unwrap() as f32)).collect());
            }
            "early_stopping" => {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_string);
                o.early_stopping = EarlyStopping::ALL.into_iter().find(|e| e.name() == text);
                assert!(o.early_stopping.is_some(), "{text}");
            }
            "bad_words_ids" => o.bad_words_ids = Some(value.as_array().unwrap().iter().map(ids).collect()),
            "suppress_tokens" => o.suppress_tokens = Some(ids(value)),
            "begin_suppress_tokens" => o.begin_suppress_tokens = Some(ids(value)),
            "forced_bos_token_id" => o.forced_bos_token_id = one(),
            "forced_eos_token_id" => o.forced_eos_token_id = one().map(|id| vec![id]),
            "decoder_input_ids" => o.decoder_input_ids = Some(vec![ids(value)]),
            other => panic!("{other}"),
        }
    }
    o
}

/// A fixture with the case's files.
fn model(case: &Value) -> Model {
    let base = fixtures().join("generation").join(case["fixture"].as_str().unwrap());
    let folder = support::copy_of(&base, |name| name == "reference.json");
    if let Some(generation) = case.get("generation_config") {
        let path = folder.path().join("generation_config.json");
        match generation {
            Value::Null => std::fs::remove_file(path).unwrap(),
            other => std::fs::write(path, other.to_string()).unwrap(),
        }
    }
    if let Some(set) = case.get("set") {
        let path = folder.path().join("config.json");
        let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        config.as_object_mut().unwrap().extend(set.as_object().unwrap().clone());
        std::fs::write(path, config.to_string()).unwrap();
    }
    load(folder.path(), Device::Cpu, Precision::F32, 2)
}

fn generate(model: &Model, input: &[u32], options: &GenerateOptions) -> Vec<Output> {
    model.generate_ids(input, &[input.len()], options, None).unwrap().outputs.swap_remove(0)
}

#[test]
fn options_and_files_count_as_in_transformers() {
    let mut failures = Vec::new();
    let cases = cases();
    assert!(cases.len() > 120, "{}", cases.len());
    for case in &cases {
        let name = format!("{} {}", case["kind"].as_str().unwrap(), case["case"].as_str().unwrap());
        let (model, input, options) = (model(case), ids(&case["ids"]), options(&case["options"]));
        let outputs = generate(&model, &input, &options);
        let expected = case["outputs"].as_array().unwrap();
        if outputs.len() != expected.len() {
            failures.push(format!("{name}: {} outputs, not {}", outputs.len(), expected.len()));
            continue;
        }
        for (output, expected) in outputs.iter().zip(expected) {
            let wanted = ids(&expected["tokens"]);
            let score = expected["score"].as_f64().map_or(output.score, |score| score as f32);
            if output.tokens != wanted || (output.score - score).abs() > 2e-4 {
                failures.push(format!(
                    "{name} {}: {:?} {}, not {wanted:?} {score}",
                    case["options"], output.tokens, output.score
                ));
            }
        }
        if outputs[0].text != case["text"].as_str().unwrap() {
            failures.push(format!("{name}: {:?}, not {}", outputs[0].text, case["text"]));
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

#[test]
fn a_prefix_is_one_for_all_or_one_per_input_as_ids_or_text() {
    let model = load(&fixtures().join("generation/t5-gated"), Device::Cpu, Precision::F32, 2);
    let o = || GenerateOptions { max_new_tokens: Some(8), ..GenerateOptions::default() };
    let texts = ["The small bird sings", "near the river"];
    let prefixes = ["a letter", "the fox"];
    let prefix_ids: Vec<_> = prefixes.iter().map(|text| model.tokenizer().ids(text, false).unwrap()).collect();
    let run = |texts: &[&str], options: GenerateOptions| model.generate(texts, &options, None).unwrap().outputs;
    let each = run(&texts, GenerateOptions { decoder_input_ids: Some(prefix_ids.clone()), ..o() });
    let as_text =
        run(&texts, GenerateOptions { decoder_input_texts: Some(prefixes.map(String::from).to_vec()), ..o() });
    assert_eq!(each, as_text);
    for i in 0..2 {
        let alone = run(&texts[i..=i], GenerateOptions { decoder_input_ids: Some(prefix_ids[i..=i].to_vec()), ..o() });
        assert_eq!(alone[0], each[i]);
        // The prefix and the output are one text.
        let whole = model.decode(&[&prefix_ids[i][..], &each[i][0].tokens].concat(), true).unwrap();
        assert_eq!(format!("{}{}", prefixes[i], each[i][0].text), whole);
    }
    let first = run(&texts, GenerateOptions { decoder_input_ids: Some(prefix_ids[..1].to_vec()), ..o() });
    assert_eq!(first[0], each[0]);
    assert_ne!(first[1], each[1]);
    // Streams give the same text.
    let options = GenerateOptions { decoder_input_ids: Some(prefix_ids[..1].to_vec()), ..o() };
    let mut pieces = String::new();
    let mut listener = |piece: kinglet::Piece| {
        pieces += piece.text;
        true
    };
    model.generate(&texts[..1], &options, Some(&mut listener)).unwrap();
    assert_eq!(pieces, first[0][0].text);
}

/// Answers are cached by their prefixes too.
#[test]
fn cached_answers_have_the_prefix_that_was_asked_for() {
    let path = fixtures().join("generation/t5-gated");
    let options = kinglet::LoadOptions { answer_cache: 1 << 20, threads: 1, ..Default::default() };
    let (cached, plain) = (Model::load(&path, options).unwrap(), load(&path, Device::Cpu, Precision::F32, 1));
    for prefix in [vec![], vec![vec![40, 41]], vec![vec![50]], vec![vec![40, 41]]] {
        let given = (!prefix.is_empty()).then_some(prefix);
        let options =
            GenerateOptions { decoder_input_ids: given, max_new_tokens: Some(5), ..GenerateOptions::default() };
        assert_eq!(generate(&cached, &[9, 8, 7, 1], &options), generate(&plain, &[9, 8, 7, 1], &options));
    }
}

#[test]
fn prefixes_that_cannot_be_are_refused_by_name() {
    let o = GenerateOptions::default;
    let (t5, llama) = (
        load(&fixtures().join("generation/t5-gated"), Device::Cpu, Precision::F32, 1),
        load(&fixtures().join("generation/llama"), Device::Cpu, Precision::F32, 1),
    );
    let refused = |model: &Model, options: GenerateOptions, words: &str| {
        let error = model.generate(&["a", "b", "c"], &options, None).unwrap_err();
        assert!(error.status() == Status::InvalidArgument && error.message().contains(words), "{error}");
    };
    refused(
        &t5,
        GenerateOptions { decoder_input_ids: Some(vec![vec![1]; 2]), ..o() },
        "decoder_input_ids: has 2 entries for 3",
    );
    refused(&t5, GenerateOptions { decoder_input_ids: Some(vec![vec![9999]]), ..o() }, "decoder_input_ids: 9999");
    let both =
        GenerateOptions { decoder_input_ids: Some(vec![vec![1]]), decoder_input_texts: Some(vec!["a".into()]), ..o() };
    refused(&t5, both, "decoder_input_texts: contradicts");
    refused(
        &llama,
        GenerateOptions { decoder_input_texts: Some(vec!["a".into()]), ..o() },
        "decoder_input_texts: the model has no encoder",
    );
    let long = GenerateOptions { decoder_input_ids: Some(vec![vec![9; 9000]]), ..o() };
    refused(&t5, long, "the model takes at most");
}

/// What an exporter wrote stops neither the load nor what does not use it.
#[test]
fn odd_values_of_the_files_stop_only_what_uses_them() {
    let base = fixtures().join("generation/llama");
    let write = |value: Value| {
        let folder = support::copy_of(&base, |name| name == "reference.json");
        std::fs::write(folder.path().join("generation_config.json"), value.to_string()).unwrap();
        folder
    };
    let odd = json!({
        "eos_token_id": 1, "max_length": -1, "top_k": -1, "forced_bos_token_id": -1, "pad_token_id": -1, "num_beams": "1",
        "temperature": "0.7", "no_repeat_ngram_size": -1, "bad_words_ids": null, "max_new_tokens": "6"
    });
    let folder = write(odd);
    let model = load(folder.path(), Device::Cpu, Precision::F32, 1);
    assert!(model.embed(&["a"], &Default::default()).is_ok());
    let plain = write(json!({"eos_token_id": 1, "max_new_tokens": 6}));
    let plain = load(plain.path(), Device::Cpu, Precision::F32, 1);
    let o = GenerateOptions::default();
    assert_eq!(generate(&model, &[5, 6, 7], &o), generate(&plain, &[5, 6, 7], &o));
    for (broken, field) in [
        (json!({"num_beams": "several"}), "num_beams"),
        (json!({"eos_token_id": {"a": 1}}), "eos_token_id"),
        (json!({"penalty_alpha": 0.6, "top_k": 4}), "penalty_alpha"),
    ] {
        let folder = write(broken);
        let model = load(folder.path(), Device::Cpu, Precision::F32, 1);
        assert!(model.embed(&["a"], &Default::default()).is_ok());
        let error = model.generate(&["a"], &o, None).unwrap_err();
        assert!(error.message().contains("generation_config.json") && error.message().contains(field), "{error}");
    }
}

/// What a grammar cannot enforce is checked on the finished text, or the schema is refused.
#[test]
fn finished_texts_are_checked_against_the_whole_schema() {
    let model = load(&fixtures().join("generation/mistral"), Device::Cpu, Precision::F32, 1);
    // Exactly one item, which is 1; whether it contains what it should is known only at the end.
    let schema = |contains: u32| {
        let items = json!({"type": "array", "items": {"const": 1}, "minItems": 1, "maxItems": 1});
        let mut schema = items.as_object().unwrap().clone();
        schema.insert("contains".into(), json!({"const": contains}));
        Value::Object(schema).to_string()
    };
    let options = |contains: u32, mode: Option<SchemaMode>| GenerateOptions {
        max_new_tokens: Some(80),
        grammar: Some(Grammar::JsonSchema(schema(contains))),
        schema_mode: mode,
        ..GenerateOptions::default()
    };
    for num_beams in [1, 2] {
        for (contains, expected) in [(1, FinishReason::Eos), (2, FinishReason::SchemaMismatch)] {
            let options = GenerateOptions { num_beams: Some(num_beams), ..options(contains, None) };
            let found = model.generate(&["bird"], &options, None).unwrap();
            let output = &found.outputs[0][0];
            let value: Value = serde_json::from_str(&output.text).unwrap_or_else(|e| panic!("{e}: {:?}", output.text));
            assert_eq!((value, output.finish_reason), (json!([1]), expected), "{num_beams} beams");
        }
    }
    let error = model.generate(&["bird"], &options(2, Some(SchemaMode::Strict)), None).unwrap_err();
    assert!(error.message().contains("/contains: "), "{error}");
    // A text that ends too early is not checked.
    let cut = GenerateOptions { max_new_tokens: Some(1), ..options(2, None) };
    let found = model.generate(&["bird"], &cut, None).unwrap();
    assert_eq!(found.outputs[0][0].finish_reason, FinishReason::Length);
}
