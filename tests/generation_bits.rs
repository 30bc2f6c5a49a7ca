//! Texts, scores and log-probabilities of a prompt have the same bits in a single call and in a batch of 32, on one to three
//! threads. `make test` runs the first test once more per instruction set.

mod support;

use kinglet::{Cancellation, Device, GenerateOptions, Model, Output, Precision, Status};
use support::{bits, fixtures, load, refs, texts};

/// An output, its floats as bits.
type Exact = (String, Vec<u32>, Vec<u32>, u32);

fn exact(outputs: &[Output]) -> Vec<Exact> {
    outputs.iter().map(|o| (o.text.clone(), o.tokens.clone(), bits(&o.logprobs), o.score.to_bits())).collect()
}

fn generate(model: &Model, texts: &[&str], options: &GenerateOptions) -> Vec<Vec<Exact>> {
    model.generate(texts, options, None).unwrap().outputs.iter().map(|outputs| exact(outputs)).collect()
}

#[test]
fn fixtures_of_every_kind() {
    let texts: Vec<String> = texts(200).into_iter().filter(|text| (1..60).contains(&text.len())).take(32).collect();
    let texts = refs(&texts);
    assert_eq!(texts.len(), 32);
    let base = GenerateOptions { max_new_tokens: Some(12), logprobs: true, ..GenerateOptions::default() };
    let kinds = [
        GenerateOptions { num_beams: Some(1), do_sample: Some(false), ..base.clone() },
        GenerateOptions { num_beams: Some(4), num_return_sequences: Some(2), ..base.clone() },
        GenerateOptions { do_sample: Some(true), num_return_sequences: Some(2), seed: Some(7), ..base },
    ];
    for fixture in ["gpt2", "llama", "llama-dynamic", "mistral", "gemma2", "qwen2_moe", "t5-gated", "bart"] {
        let path = fixtures().join("generation").join(fixture);
        for precision in [Precision::F32, Precision::F16, Precision::Bf16, Precision::Int8, Precision::Int4] {
            for (kind, options) in kinds.iter().enumerate() {
                let at = format!("{fixture} in {}, kind {kind}", precision.name());
                let expected = generate(&load(&path, Device::Cpu, precision, 1), &texts, options);
                assert!(expected.iter().any(|outputs| outputs != &expected[0]), "{at}: all texts are the same");
                for &threads in support::threads() {
                    let model = load(&path, Device::Cpu, precision, threads);
                    assert!(generate(&model, &texts, options) == expected, "{at}: a batch on {threads} threads");
                    for (i, text) in texts.iter().enumerate() {
                        let single = generate(&model, &[text], options);
                        assert!(single[0] == expected[i], "{at}: text {i} alone on {threads} threads");
                    }
                }
            }
        }
    }
}

#[test]
fn the_real_t5_of_the_demo() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/models/t5-ir.kinglet");
    let text = std::fs::read_to_string(fixtures().join("t5-ir/reference.jsonl")).unwrap();
    let cases: Vec<serde_json::Value> = text.lines().take(32).map(|line| serde_json::from_str(line).unwrap()).collect();
    let texts: Vec<&str> = cases.iter().map(|case| case["input"].as_str().unwrap()).collect();
    for beams in [1, 5] {
        let options = GenerateOptions { num_beams: Some(beams), logprobs: true, ..GenerateOptions::default() };
        let expected = generate(&load(&path, Device::Cpu, Precision::Auto, 1), &texts, &options);
        for threads in [1, 2, 3] {
            let model = load(&path, Device::Cpu, Precision::Auto, threads);
            assert!(generate(&model, &texts, &options) == expected, "{beams} beams on {threads} threads");
            for (text, expected) in texts.iter().zip(&expected) {
                assert!(generate(&model, &[text], &options)[0] == *expected, "{text} alone, {beams} beams");
            }
        }
    }
}

/// A logits processor, even one that changes nothing, makes beam search read all logits instead of only the top tokens.
#[test]
fn beams_are_the_same_from_top_tokens_and_from_all_logits() {
    let texts = ["The small bird sings near the river", "Something else", "7 8 9"];
    for fixture in ["gpt2", "llama", "llama-dynamic", "gemma2", "t5-gated"] {
        let path = fixtures().join("generation").join(fixture);
        for (device, precision, threads) in [
            (Device::Cpu, Precision::F32, 1),
            (Device::Cpu, Precision::Int8, 3),
            (Device::Cpu, Precision::Bf16, 2),
            (Device::CandleCpu, Precision::F32, 1),
        ] {
            let model = load(&path, device, precision, threads);
            for (beams, ignore_eos) in [(2, false), (5, true), (16, false)] {
                let options = GenerateOptions {
                    max_new_tokens: Some(14),
                    num_beams: Some(beams),
                    num_return_sequences: Some(2),
                    suppress_tokens: Some(vec![9, 30, 31]),
                    ignore_eos,
                    logprobs: true,
                    ..GenerateOptions::default()
                };
                let all = GenerateOptions { no_repeat_ngram_size: Some(1000), ..options.clone() };
                let at = format!("{fixture} in {}, {beams} beams, {threads} threads", precision.name());
                assert_eq!(generate(&model, &texts, &options), generate(&model, &texts, &all), "{at}");
            }
        }
    }
}

#[test]
fn a_prefix_and_stepwise_logits_change_no_bit() {
    for fixture in ["gpt2", "llama", "gemma3"] {
        let model = load(&fixtures().join("generation").join(fixture), Device::Cpu, Precision::Int8, 2);
        let prompts = ["The small bird sings near the river", "The small bird flies", "Something else"];
        let options = GenerateOptions { max_new_tokens: Some(10), logprobs: true, ..GenerateOptions::default() };
        let expected = generate(&model, &prompts, &options);
        let prefix = Some(model.prefix("The small bird", true, None).unwrap());
        assert_eq!(generate(&model, &prompts, &GenerateOptions { prefix, ..options }), expected, "{fixture}");
        let ids: Vec<u32> = (5..45).collect();
        let logits = |stepwise| bits(&model.logits(&ids, None, stepwise, None).unwrap().values);
        assert_eq!(logits(true), logits(false), "{fixture}");
    }
}

#[test]
fn max_length_applies_to_each_prompt_on_its_own() {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixtures().join("generation/gpt2")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    std::fs::write(
        folder.path().join("generation_config.json"),
        r#"{"max_length": 30, "min_length": 20, "eos_token_id": [46, 91, 230]}"#,
    )
    .unwrap();
    let model = load(folder.path(), Device::Cpu, Precision::F32, 2);
    let result = model.generate_ids(&[5, 6, 7, 8, 9, 10, 11], &[2, 5], &GenerateOptions::default(), None).unwrap();
    let lengths: Vec<usize> = result.outputs.iter().map(|outputs| outputs[0].tokens.len()).collect();
    // End tokens are frequent, but not allowed before prompt and output together have 20 tokens.
    assert!((18..=28).contains(&lengths[0]) && (15..=25).contains(&lengths[1]), "{lengths:?}");
    let options = GenerateOptions { ignore_eos: true, ..GenerateOptions::default() };
    let result = model.generate_ids(&[5, 6, 7, 8, 9, 10, 11], &[2, 5], &options, None).unwrap();
    let lengths: Vec<usize> = result.outputs.iter().map(|outputs| outputs[0].tokens.len()).collect();
    assert_eq!(lengths, [28, 25]);
}

#[test]
fn a_generation_ends_within_a_step_of_being_cancelled() {
    let model = load(&fixtures().join("generation/llama"), Device::Cpu, Precision::F32, 1);
    let cancellation = Cancellation::new();
    let options = GenerateOptions {
        max_new_tokens: Some(60),
        ignore_eos: true,
        num_beams: Some(1),
        cancellation: Some(cancellation.clone()),
        ..GenerateOptions::default()
    };
    // When the listener cancels, no token may follow.
    let mut steps = 0;
    let mut listener = |_: kinglet::Piece| {
        steps += 1;
        if steps == 5 {
            cancellation.cancel();
        }
        true
    };
    let error = model.generate(&["The small bird"], &options, Some(&mut listener)).unwrap_err();
    assert_eq!((error.status(), steps), (Status::Cancelled, 5));
    let mut refuse = |_: kinglet::Piece| false;
    let options = GenerateOptions { cancellation: None, ..options };
    let error = model.generate(&["The small bird"], &options, Some(&mut refuse)).unwrap_err();
    assert_eq!(error.status(), Status::Cancelled);
    assert!(model.generate(&["The small bird"], &options, None).is_ok());
}
