//! Fields of `config.json` that change the numbers, stored heads and base models, compared with transformers.
//! `tests/fixtures/make_config_cases.py` makes the references.

mod support;

use std::path::Path;

use kinglet::{Device, GenerateOptions, LoadOptions, Model, Precision, Status};
use serde_json::{Value, json};
use support::{devices, distance, fixtures, floats, ids, load, tolerance};

fn reference() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/references/config.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A copy of a fixture with changes to its `config.json`.
fn changed(base: &str, set: &Value, drop: &Value) -> tempfile::TempDir {
    let folder = support::copy_of(&fixtures().join(base), |name| name == "reference.json");
    let path = folder.path().join("config.json");
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let object = config.as_object_mut().unwrap();
    for name in drop.as_array().into_iter().flatten() {
        object.remove(name.as_str().unwrap());
    }
    object.extend(set.as_object().unwrap().clone());
    std::fs::write(path, config.to_string()).unwrap();
    folder
}

/// The reference's rows of the last hidden states.
fn rows(model: &Model, input: &[u32], rows: &Value) -> Vec<f32> {
    let states = model.hidden_states(input, &[input.len()], None, None).unwrap();
    let row = |row: &u32| states.values[*row as usize * states.width..][..states.width].to_vec();
    ids(rows).iter().flat_map(row).collect()
}

#[test]
fn fields_count_as_in_transformers() {
    let reference = reference();
    let mut failures = Vec::new();
    for case in reference["cases"].as_array().unwrap() {
        let name = case["case"].as_str().unwrap();
        let folder = changed(case["base"].as_str().unwrap(), &case["set"], &case["drop"]);
        let (input, expected) = (ids(&case["ids"]), &case["reference"]);
        for device in devices() {
            let options = LoadOptions { device, precision: Some(Precision::F32), threads: 1, ..LoadOptions::default() };
            let model = match Model::load(folder.path(), options) {
                Ok(model) => model,
                Err(error) => {
                    failures.push(format!("{name}: {error}"));
                    break;
                }
            };
            let mut compare = |what: &str, found: &[f32], wanted: &[f32]| {
                let error = distance(found, wanted);
                if error.is_nan() || error > tolerance(device) * 10.0 {
                    failures.push(format!("{name} on {}: {what} differ by {error:e}", device.name()));
                }
            };
            compare("hidden states", &rows(&model, &input, &reference["rows"]), &floats(&expected["hidden"]));
            assert_eq!(model.can_generate(), !expected["logits"].is_null(), "{name}");
            if !model.can_generate() {
                continue;
            }
            let logits = match expected["decoder_ids"].is_null() {
                true => model.logits(&input, None, false, None).unwrap(),
                false => model.logits(&input, Some(&ids(&expected["decoder_ids"])), false, None).unwrap(),
            };
            let wanted = floats(&expected["logits"]);
            compare("logits", &logits.values[logits.values.len() - wanted.len()..], &wanted);
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_quantised_file_has_the_head_that_the_checkpoint_has() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["llama-stored", "llama-stored-equal", "t5-embeddings", "llama-base"] {
        let source = fixtures().join("config").join(name);
        let file = folder.path().join(format!("{name}.kinglet"));
        kinglet::quantize(&source, &file, Precision::F32, &mut |_| true).unwrap();
        let (original, packed) =
            (load(&source, Device::Cpu, Precision::F32, 1), load(&file, Device::Cpu, Precision::F32, 1));
        assert_eq!(original.can_generate(), packed.can_generate(), "{name}");
        let input = [5, 6, 7, 8];
        if original.can_generate() {
            let decoder = original.has_encoder().then_some(&[0u32, 9, 8][..]);
            let logits = |model: &Model| support::bits(&model.logits(&input, decoder, false, None).unwrap().values);
            assert_eq!(logits(&original), logits(&packed), "{name}");
        }
        let states = |model: &Model| support::bits(&model.hidden_states(&input, &[4], None, None).unwrap().values);
        assert_eq!(states(&original), states(&packed), "{name}");
    }
}

#[test]
fn base_models_embed_and_say_what_they_lack_to_generate() {
    let model = load(&fixtures().join("config/llama-base"), Device::Cpu, Precision::F32, 1);
    assert_eq!(model.embed(&["a small bird"], &Default::default()).unwrap().values.len(), model.hidden_size());
    let error = model.generate(&["a"], &GenerateOptions::default(), None).unwrap_err();
    assert_eq!(error.status(), Status::Unsupported);
    assert!(error.message().contains("lm_head"), "{error}");
}

#[test]
fn what_is_not_computed_is_refused_by_name() {
    for (base, set, words) in [
        ("bert", json!({"is_decoder": true}), "`is_decoder`"),
        ("bert", json!({"position_embedding_type": "relative_key_query"}), "`position_embedding_type`"),
        ("generation/gemma2", json!({"use_bidirectional_attention": true}), "`use_bidirectional_attention`"),
        ("generation/gpt2", json!({"scale_attn_by_inverse_layer_idx": true}), "`scale_attn_by_inverse_layer_idx`"),
        ("generation/marian", json!({"share_encoder_decoder_embeddings": false}), "`share_encoder_decoder_embeddings`"),
        ("generation/llama", json!({"quantization_config": {"quant_method": "gptq", "bits": 4}}), "by gptq, 4 bits"),
        ("generation/llama", json!({"mup_scale": 2.0}), "`mup_scale`"),
        ("generation/qwen2", json!({"architectures": ["Qwen2ForTokenClassification"]}), "Qwen2ForTokenClassification"),
        ("generation/qwen3", json!({"layer_types": ["full_attention", "linear_attention"]}), "`linear_attention`"),
        ("generation/llama", json!({"rope_scaling": {"rope_type": "su_scaled", "factor": 2.0}}), "su_scaled"),
        (
            "generation/llama",
            json!({"rope_scaling": {"rope_type": "default", "mrope_section": [1, 2, 3]}}),
            "mrope_section",
        ),
    ] {
        let folder = changed(base, &set, &json!([]));
        let error = Model::load(folder.path(), LoadOptions::default()).err().unwrap_or_else(|| panic!("{set}"));
        assert!(error.message().contains(words) && error.message().contains("config.json"), "{error}");
    }
    // A field of the owner's stops nothing.
    let folder = changed("bert", &json!({"my_own_note": {"a": 1}}), &json!([]));
    assert!(Model::load(folder.path(), LoadOptions::default()).is_ok());
}
