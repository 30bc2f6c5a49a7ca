//! Every fixture on both backends, compared with transformers. A family without a fixture fails.

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use kinglet::{Aggregation, ClassifyOptions, Device, EmbedOptions, EncodeOptions, Model, Precision, ScoreFunction};
use serde_json::Value;
use support::{cases, devices, distance, floats, ids, load, models, tolerance};

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// The byte offset of a character offset.
fn bytes(text: &str, offset: u64) -> usize {
    text.char_indices().nth(offset as usize).map_or(text.len(), |(byte, _)| byte)
}

fn check_tokens(model: &Model, case: &Value, at: &str) {
    let (text, pair) = (case["text"].as_str().unwrap(), case["pair"].as_str());
    let options = EncodeOptions { offsets: true, ..EncodeOptions::default() };
    let pairs = pair.map(|p| vec![p]);
    let encoding = model.tokenize(&[text], pairs.as_deref(), &options, None).unwrap();
    assert_eq!(encoding.ids(), ids(&case["ids"]), "{at}");
    assert_eq!(encoding.type_ids(), ids(&case["type_ids"]), "{at}");
    let truncated = case["truncated"].as_bool().unwrap_or(false);
    assert_eq!(encoding.truncated(), [u8::from(truncated)], "{at}");
    for (i, span) in encoding.offsets().unwrap().iter().enumerate() {
        let source = match encoding.sequences()[i] {
            0 => text,
            1 => pair.unwrap(),
            _ => continue,
        };
        let expected = &case["offsets"][i];
        let expected = (bytes(source, expected[0].as_u64().unwrap()), bytes(source, expected[1].as_u64().unwrap()));
        assert_eq!((span.start, span.end), expected, "{at}, token {i}");
    }
    // Without offsets the crate uses a faster path, which must return the same ids.
    let plain = model.tokenize(&[text], pairs.as_deref(), &EncodeOptions::default(), None).unwrap();
    assert_eq!(plain.ids(), encoding.ids(), "{at}");
}

fn check_logits(model: &Model, case: &Value, at: &str) -> f32 {
    let (text, pair) = (case["text"].as_str().unwrap(), case["pair"].as_str());
    let options = ClassifyOptions { function: Some(ScoreFunction::None), ..ClassifyOptions::default() };
    let scores = if case["logits"][0].is_array() {
        model.classify_tokens(&[text], Aggregation::None, &options).unwrap().scores
    } else {
        let pairs = pair.map(|p| vec![p]);
        model.classify(&[text], pairs.as_deref(), &options).unwrap().scores
    };
    let error = distance(&scores, &floats(&case["logits"]));
    assert!(error <= tolerance(model.device()), "{at}: logits differ by {error:e}");
    error
}

#[test]
fn every_fixture_matches_the_reference_on_every_device() {
    let mut seen = BTreeSet::new();
    println!("{:24} {:12} {:>12} {:>12} {:>12}", "fixture", "device", "hidden", "logits", "embedding");
    for path in models() {
        for device in devices() {
            let model = load(&path, device, Precision::F32, 2);
            seen.insert(model.family());
            let (mut hidden, mut logits, mut embedding) = (0.0f32, 0.0f32, 0.0f32);
            for (i, case) in cases(&path).iter().enumerate() {
                let at = format!("{}, case {i}, {}", name(&path), device.name());
                check_tokens(&model, case, &at);
                let (ids, types) = (ids(&case["ids"]), ids(&case["type_ids"]));
                // MPNet's tokenizer sets token types for pairs, but its model has none.
                let states = model.hidden_states(&ids, &[ids.len()], Some(&types), None).unwrap();
                let error = distance(&states.values, &floats(&case["hidden"]));
                assert!(error <= tolerance(device), "{at}: hidden states differ by {error:e}");
                hidden = hidden.max(error);
                if !case["logits"].is_null() {
                    logits = logits.max(check_logits(&model, case, &at));
                }
                if !case["embedding"].is_null() {
                    let result = model.embed(&[case["text"].as_str().unwrap()], &EmbedOptions::default()).unwrap();
                    let error = distance(&result.values, &floats(&case["embedding"]));
                    assert!(error <= tolerance(device), "{at}: the embedding differs by {error:e}");
                    assert_eq!(result.truncated, [u8::from(case["truncated"].as_bool().unwrap_or(false))], "{at}");
                    embedding = embedding.max(error);
                }
            }
            println!("{:24} {:12} {hidden:12.1e} {logits:12.1e} {embedding:12.1e}", name(&path), device.name());
        }
    }
    // Families that generate are in tests/generation.rs.
    let families: BTreeSet<_> = kinglet::families().filter(|family| support::ENCODERS.contains(family)).collect();
    assert_eq!(seen, families, "every family needs a fixture");
}

#[test]
fn batches_give_the_numbers_of_single_texts() {
    for path in models() {
        let model = load(&path, Device::Cpu, Precision::F32, 2);
        let cases = cases(&path);
        let (mut all, mut types, mut lengths, mut expected) = (vec![], vec![], vec![], vec![]);
        for case in &cases {
            all.extend(ids(&case["ids"]));
            types.extend(ids(&case["type_ids"]));
            lengths.push(case["ids"].as_array().unwrap().len());
            expected.extend(floats(&case["hidden"]));
        }
        let states = model.hidden_states(&all, &lengths, Some(&types), None).unwrap();
        let error = distance(&states.values, &expected);
        assert!(error <= tolerance(Device::Cpu), "{}: {error:e}", name(&path));
    }
}

#[test]
fn narrower_precisions_stay_near_f32() {
    // Random weights with large biases are harder than trained ones; the limits for MiniLM are in tests/minilm.rs.
    for path in models() {
        for (precision, bar) in
            [(Precision::F16, 0.9999), (Precision::Bf16, 0.999), (Precision::Int8, 0.99), (Precision::Int4, 0.8)]
        {
            let model = load(&path, Device::Cpu, precision, 2);
            assert_eq!(model.precision(), precision);
            let bar = support::narrower_bar(&path, bar);
            for case in cases(&path) {
                let ids = ids(&case["ids"]);
                let types = support::ids(&case["type_ids"]);
                let states = model.hidden_states(&ids, &[ids.len()], Some(&types), None).unwrap();
                let cosine = support::cosine(&states.values, &floats(&case["hidden"]));
                assert!(cosine > bar, "{} in {}: cosine {cosine}", name(&path), precision.name());
            }
        }
    }
}

#[test]
fn auto_precision_is_the_file_s_own() {
    for (fixture, precision) in [("bert", Precision::F32), ("mpnet", Precision::F16), ("xlm-roberta", Precision::F16)] {
        let model = load(&support::fixtures().join(fixture), Device::Cpu, Precision::Auto, 1);
        assert_eq!(model.precision(), precision, "{fixture}");
    }
}

#[test]
fn packed_files_give_the_bits_of_their_models() {
    let folder = tempfile::tempdir().unwrap();
    for path in models() {
        for precision in [Precision::F32, Precision::Int8] {
            let file = folder.path().join(format!("{}-{}.kinglet", name(&path), precision.name()));
            kinglet::quantize(&path, &file, precision, &mut |_| true).unwrap();
            let case = &cases(&path)[2];
            let (ids, types) = (ids(&case["ids"]), ids(&case["type_ids"]));
            let states = |path: &Path| {
                let model = load(path, Device::Cpu, precision, 2);
                support::bits(&model.hidden_states(&ids, &[ids.len()], Some(&types), None).unwrap().values)
            };
            assert_eq!(states(&file), states(&path), "{} in {}", name(&path), precision.name());
        }
    }
}
