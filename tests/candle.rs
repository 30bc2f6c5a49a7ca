//! The candle backend: narrower types, batches, forked sequences. tests/families.rs and tests/generation.rs check its f32 numbers
//! for all families. Without a GPU, these tests run on candle's CPU device; the code is the same on GPUs.
#![cfg(feature = "candle")]

mod support;

use std::path::{Path, PathBuf};

use kinglet::{Device, EmbedOptions, GenerateOptions, Model, Pooling, Precision, Stage};
use support::{cases, cosine, distance, fixtures, floats, ids, load, models, tolerance};

/// Minimum cosine similarity of hidden states to those in f32, for random weights with large biases. In 4 bits candle divides a group's
/// range into equal parts, without the search of the CPU engine.
const BARS: [(Precision, f64); 4] =
    [(Precision::F16, 0.9999), (Precision::Bf16, 0.999), (Precision::Int8, 0.99), (Precision::Int4, 0.8)];

/// candle's devices: its CPU, and the GPUs if there are any.
fn devices() -> Vec<Device> {
    support::devices().into_iter().filter(|&device| device != Device::Cpu).collect()
}

/// Every fixture that can generate.
fn generators() -> Vec<PathBuf> {
    let folder = fixtures().join("generation");
    let mut found: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.join("reference.json").exists());
    found.sort();
    found
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn narrower_precisions_stay_near_f32() {
    for device in devices() {
        narrower_precisions(device);
    }
}

fn narrower_precisions(device: Device) {
    for path in models() {
        for (precision, bar) in BARS {
            let model = load(&path, device, precision, 1);
            let bar = support::narrower_bar(&path, bar);
            assert_eq!(model.precision(), precision);
            for case in cases(&path) {
                let (ids, types) = (ids(&case["ids"]), ids(&case["type_ids"]));
                let states = model.hidden_states(&ids, &[ids.len()], Some(&types), None).unwrap();
                let near = cosine(&states.values, &floats(&case["hidden"]));
                assert!(near > bar, "{} in {}: cosine {near}", name(&path), precision.name());
            }
        }
    }
    for path in generators() {
        let wide = load(&path, device, Precision::F32, 1);
        let (source, decoder): (Vec<u32>, Vec<u32>) = ((3..24).collect(), (5..23).collect());
        let logits = |model: &Model, stepwise| {
            let (ids, decoder_ids) = if model.has_encoder() { (&source, Some(&decoder[..])) } else { (&decoder, None) };
            model.logits(ids, decoder_ids, stepwise, None).unwrap().values
        };
        let expected = logits(&wide, false);
        for (precision, bar) in BARS {
            let model = load(&path, device, precision, 1);
            let bar = support::narrower_bar(&path, bar);
            for stepwise in [false, true] {
                let near = cosine(&logits(&model, stepwise), &expected);
                println!("{:20} {:5} stepwise {stepwise:5} {near:.6}", name(&path), precision.name());
                assert!(
                    1.0 - near < (10.0 * (1.0 - bar)).min(0.6),
                    "{} in {}: cosine {near}",
                    name(&path),
                    precision.name()
                );
            }
        }
    }
}

#[test]
fn batches_give_the_numbers_of_single_texts() {
    for device in devices() {
        whole_batches(device);
    }
}

fn whole_batches(device: Device) {
    let texts: Vec<String> = (0..40).map(|i| "a small bird sings of rivers ".repeat(1 + i * 7 % 11)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for path in models() {
        let model = load(&path, device, Precision::F32, 1);
        for pooling in [Pooling::Mean, Pooling::Cls, Pooling::Last, Pooling::None] {
            let options = EmbedOptions { pooling: Some(pooling), ..EmbedOptions::default() };
            let all = model.embed(&texts, &options).unwrap();
            let single: Vec<f32> =
                texts.iter().flat_map(|text| model.embed(&[text], &options).unwrap().values).collect();
            let error = distance(&all.values, &single);
            assert!(error < tolerance(device), "{}, {}: {error:e}", name(&path), pooling.name());
        }
    }
}

#[test]
fn a_batch_generates_the_same_texts_as_single_calls() {
    for device in devices() {
        texts_together(device);
    }
}

fn texts_together(device: Device) {
    // Different lengths, most of more than one page of the KV cache, so that steps have several groups and pages are split.
    let prompts: Vec<Vec<u32>> = (0..9).map(|i| (0..3 + 5 * i).map(|k| 3 + (k * 7 + i) % 60).collect()).collect();
    let (ids, lengths) = (prompts.concat(), prompts.iter().map(Vec::len).collect::<Vec<_>>());
    let tasks = [
        GenerateOptions { num_beams: Some(1), ..GenerateOptions::default() },
        GenerateOptions { num_beams: Some(3), num_return_sequences: Some(2), ..GenerateOptions::default() },
        GenerateOptions {
            num_beams: Some(1),
            do_sample: Some(true),
            seed: Some(11),
            num_return_sequences: Some(3),
            ..GenerateOptions::default()
        },
        GenerateOptions { num_beams: Some(1), prompt_lookup_num_tokens: Some(4), ..GenerateOptions::default() },
    ];
    for path in generators() {
        let (here, own) = (load(&path, device, Precision::F32, 1), load(&path, Device::Cpu, Precision::F32, 1));
        for options in &tasks {
            let options = GenerateOptions {
                max_new_tokens: Some(20),
                min_new_tokens: Some(20),
                do_sample: options.do_sample.or(Some(false)),
                ..options.clone()
            };
            let tokens = |model: &Model, ids: &[u32], lengths: &[usize]| {
                let made = model.generate_ids(ids, lengths, &options, None).unwrap();
                let texts = made.outputs.into_iter();
                texts.map(|outputs| outputs.into_iter().map(|o| o.tokens).collect::<Vec<_>>()).collect::<Vec<_>>()
            };
            let (together, engine) = (tokens(&here, &ids, &lengths), tokens(&own, &ids, &lengths));
            if options.do_sample == Some(true) {
                // A draw at the boundary between two tokens may select either one, and the texts then differ.
                let pairs = together.concat().into_iter().zip(engine.concat());
                let differ = pairs.filter(|(one, other)| one != other).count();
                assert!(differ <= 2, "{}: {differ} of 27 texts differ from the CPU engine's", name(&path));
            } else {
                assert_eq!(together, engine, "{}: not the CPU engine's texts", name(&path));
                let alone: Vec<_> = prompts.iter().flat_map(|ids| tokens(&here, ids, &[ids.len()])).collect();
                assert_eq!(together, alone, "{}: not the texts of single calls", name(&path));
            }
        }
        // Finished texts free their pages for later ones: the KV cache does not grow with the calls.
        let held = here.cache_bytes();
        let options = GenerateOptions { max_new_tokens: Some(4), ..GenerateOptions::default() };
        for _ in 0..3 {
            here.generate_ids(&ids, &lengths, &options, None).unwrap();
        }
        assert_eq!(here.cache_bytes(), held, "{}", name(&path));
        let counters = here.counters();
        assert!(
            counters.stage(Stage::Transfer).calls > 0 && (counters.device_memory > 0) == (device != Device::CandleCpu),
            "{}",
            name(&path)
        );
    }
}
