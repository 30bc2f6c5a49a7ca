//! Every generation fixture on both backends, compared with transformers: logits, greedy texts, beams, options.

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use kinglet::{Device, EarlyStopping, GenerateOptions, Model, Output, Precision};
use serde_json::Value;
use support::{devices, distance, floats, ids, load, tolerance};

fn folders() -> Vec<PathBuf> {
    let folder = support::fixtures().join("generation");
    let mut found: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.join("reference.json").exists());
    found.sort();
    found
}

fn reference(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path.join("reference.json")).unwrap()).unwrap()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

fn generate(model: &Model, input: &[u32], options: &GenerateOptions) -> Vec<Output> {
    model.generate_ids(input, &[input.len()], options, None).unwrap().outputs.swap_remove(0)
}

/// The tokens up to the first end token.
fn until_end(tokens: &[u32], ends: &[u32]) -> Vec<u32> {
    let end = tokens.iter().position(|t| ends.contains(t)).map_or(tokens.len(), |i| i + 1);
    tokens[..end].to_vec()
}

fn ends(path: &Path) -> Vec<u32> {
    let text = std::fs::read_to_string(path.join("generation_config.json")).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    match &value["eos_token_id"] {
        Value::Array(_) => ids(&value["eos_token_id"]),
        one => one.as_u64().map(|id| id as u32).into_iter().collect(),
    }
}

#[test]
fn every_family_matches_the_reference_s_logits_and_texts() {
    let (mut seen, mut failures) = (BTreeSet::new(), Vec::new());
    println!("{:20} {:12} {:>12} {:>12}", "fixture", "device", "prefill", "cached");
    for path in folders() {
        let ends = ends(&path);
        for device in devices() {
            let model = load(&path, device, Precision::F32, 2);
            seen.insert(model.family());
            let (mut prefill, mut cached) = (0.0f32, 0.0f32);
            for (i, case) in reference(&path)["cases"].as_array().unwrap().iter().enumerate() {
                let at = format!("{}, case {i}, {}", name(&path), device.name());
                let input = ids(&case["ids"]);
                let tokens =
                    model.tokenize(&[case["text"].as_str().unwrap()], None, &Default::default(), None).unwrap();
                assert_eq!(tokens.ids(), input, "{at}");
                if !case["logits"].is_null() {
                    let decoder = ids(&case["decoder_ids"]);
                    let expected = floats(&case["logits"]);
                    for (stepwise, worst) in [(false, &mut prefill), (true, &mut cached)] {
                        let logits = match model.has_encoder() {
                            true => model.logits(&input, Some(&decoder), stepwise, None),
                            false => model.logits(&decoder, None, stepwise, None),
                        };
                        let error = distance(&logits.unwrap().values, &expected);
                        if error > tolerance(device) || error.is_nan() {
                            failures.push(format!("{at}, stepwise {stepwise}: logits differ by {error:e}"));
                        }
                        *worst = worst.max(error);
                    }
                }
                let options = GenerateOptions {
                    max_new_tokens: Some(24),
                    num_beams: Some(1),
                    do_sample: Some(false),
                    ..GenerateOptions::default()
                };
                let greedy = generate(&model, &input, &options);
                if greedy[0].tokens != until_end(&ids(&case["greedy"]), &ends) {
                    failures.push(format!("{at}: greedy {:?}", greedy[0].tokens));
                }
                let options = GenerateOptions { num_beams: Some(5), num_return_sequences: Some(2), ..options };
                let beams = generate(&model, &input, &options);
                for (k, expected) in case["beam5"].as_array().unwrap().iter().enumerate() {
                    let tokens = until_end(&ids(&expected["tokens"]), &ends);
                    let score = expected["score"].as_f64().unwrap() as f32;
                    if beams[k].tokens != tokens || (beams[k].score - score).abs() > tolerance(device) {
                        failures.push(format!("{at}: beam {k} {:?} {}, not {score}", beams[k].tokens, beams[k].score));
                    }
                }
            }
            println!("{:20} {:12} {prefill:12.1e} {cached:12.1e}", name(&path), device.name());
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let families: BTreeSet<_> = kinglet::families().filter(|family| !support::ENCODERS.contains(family)).collect();
    assert_eq!(seen, families, "every family needs a fixture");
}

/// Options from Hugging Face's names.
fn options(value: &Value) -> GenerateOptions {
    let mut o = GenerateOptions::default();
    for (key, value) in value.as_object().unwrap() {
        let whole = || value.as_u64().map(|n| n as usize);
        let real = || value.as_f64().map(|x| x as f32);
        let list = || Some(value.as_array().map_or_else(|| vec![value.as_u64().unwrap() as u32], |_| ids(value)));
        match key.as_str() {
            "max_new_tokens" => o.max_new_tokens = whole(),
            "min_new_tokens" => o.min_new_tokens = whole(),
            "num_beams" => o.num_beams = whole(),
            "num_return_sequences" => o.num_return_sequences = whole(),
            "no_repeat_ngram_size" => o.no_repeat_ngram_size = whole(),
            "do_sample" => o.do_sample = value.as_bool(),
            "length_penalty" => o.length_penalty = real(),
            "repetition_penalty" => o.repetition_penalty = real(),
            "early_stopping" => {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_string);
                o.early_stopping = EarlyStopping::ALL.into_iter().find(|e| e.name() == text);
                assert!(o.early_stopping.is_some(), "{text}");
            }
            "bad_words_ids" => o.bad_words_ids = Some(value.as_array().unwrap().iter().map(ids).collect()),
            "suppress_tokens" => o.suppress_tokens = list(),
            "begin_suppress_tokens" => o.begin_suppress_tokens = list(),
            "forced_bos_token_id" => o.forced_bos_token_id = value.as_u64().map(|n| n as u32),
            "forced_eos_token_id" => o.forced_eos_token_id = list(),
            "eos_token_id" => o.eos_token_id = list(),
            other => panic!("{other}"),
        }
    }
    o
}

#[test]
fn every_option_works_as_in_transformers() {
    let mut checked = 0;
    for path in folders() {
        let reference = reference(&path);
        let Some(cases) = reference["options"].as_array() else { continue };
        let model = load(&path, Device::Cpu, Precision::F32, 2);
        for (i, case) in cases.iter().enumerate() {
            let at = format!("{}, options {i}: {}", name(&path), case["options"]);
            let options = options(&case["options"]);
            let ends = options.eos_token_id.clone().unwrap_or_else(|| ends(&path));
            let outputs = generate(&model, &ids(&case["ids"]), &options);
            let expected = case["outputs"].as_array().unwrap();
            assert_eq!(outputs.len(), expected.len(), "{at}");
            for (output, expected) in outputs.iter().zip(expected) {
                assert_eq!(output.tokens, until_end(&ids(&expected["tokens"]), &ends), "{at}");
                if let Some(score) = expected["score"].as_f64() {
                    assert!(
                        (f64::from(output.score) - score).abs() < 1e-5 * (10.0 + score.abs()),
                        "{at}: {} and {score}",
                        output.score
                    );
                }
            }
            checked += 1;
        }
    }
    assert!(checked >= 40, "{checked}");
}

#[test]
fn a_decoder_s_hidden_states_are_the_inputs_of_its_head() {
    use kinglet::formats::packed::Opening;
    use kinglet::formats::source::Source;
    for fixture in ["gpt2", "llama"] {
        let path = support::fixtures().join("generation").join(fixture);
        let weights = Source::open(&path, Opening::default()).unwrap().weights;
        let word =
            ["transformer.wte.weight", "model.embed_tokens.weight"].into_iter().find_map(|name| weights.get(name));
        let word = word.unwrap().to_vec_f32().unwrap();
        for device in devices() {
            let model = load(&path, device, Precision::F32, 2);
            let ids = [5, 6, 7, 8, 9];
            let states = model.hidden_states(&[&ids[..], &ids[..2]].concat(), &[5, 2], None, None).unwrap();
            let logits = |row: &[f32]| -> Vec<f32> {
                word.chunks_exact(row.len()).map(|w| w.iter().zip(row).map(|(w, x)| w * x).sum()).collect()
            };
            let computed: Vec<f32> = states.values.chunks_exact(states.width).flat_map(logits).collect();
            let whole = model.logits(&ids, None, false, None).unwrap();
            let expected = [&whole.values[..], &whole.values[..2 * whole.vocabulary]].concat();
            let error = distance(&computed, &expected);
            assert!(error <= tolerance(device), "{fixture} on {}: {error:e}", device.name());
        }
    }
}

#[test]
fn the_encoder_of_an_encoder_decoder_embeds_without_the_decoder() {
    let source = support::fixtures().join("generation/t5");
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(&source).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    let config = std::fs::read_to_string(source.join("config.json")).unwrap();
    let config = config.replace("T5ForConditionalGeneration", "T5EncoderModel");
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    let (whole, encoder) =
        (load(&source, Device::Cpu, Precision::F32, 1), load(folder.path(), Device::Cpu, Precision::F32, 1));
    assert!(whole.can_generate() && !encoder.can_generate());
    let embed = |model: &Model| support::bits(&model.embed(&["a small bird"], &Default::default()).unwrap().values);
    assert_eq!(embed(&encoder), embed(&whole));
}
