//! Filling masks, sparse embeddings and zero-shot classification on every device, compared with transformers' pipelines and
//! sentence-transformers' `SparseEncoder`.

mod support;

use std::path::{Path, PathBuf};

use kinglet::{
    Device, EmbedOptions, FillMaskOptions, LoadOptions, MaskFills, Model, Precision, SparseEmbeddings, SparseOptions,
    Status, ZeroShotOptions,
};
use serde_json::{Value, json};
use support::{devices, distance, floats, ids, load, tolerance};

fn folder(name: &str) -> PathBuf {
    support::fixtures().join("tasks").join(name)
}

fn reference(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path.join("reference.json")).unwrap()).unwrap()
}

/// The fixtures with answers of this kind.
fn with_answers(kind: &str) -> Vec<(PathBuf, Vec<Value>)> {
    let mut found: Vec<_> = std::fs::read_dir(folder("")).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    let cases = |path: PathBuf| {
        let cases = reference(&path)[kind].as_array()?.clone();
        Some((path, cases))
    };
    found.into_iter().filter_map(cases).collect()
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_string()).collect()
}

fn refs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

fn fill_options(case: &Value) -> FillMaskOptions {
    let top_k = case["top_k"].as_u64().map(|k| k as usize);
    FillMaskOptions { top_k, targets: strings(&case["targets"]), ..FillMaskOptions::default() }
}

fn check_fills(found: &MaskFills, text: usize, case: &Value, tolerance: f32, at: &str) {
    let masks = case["masks"].as_array().unwrap();
    let range = found.starts[text]..found.starts[text + 1];
    assert_eq!(range.len(), masks.len(), "{at}");
    for (mask, expected) in range.zip(masks) {
        let fills = &found.fills[mask * found.top_k..][..found.top_k];
        let expected = expected.as_array().unwrap();
        assert_eq!(fills.len(), expected.len(), "{at}");
        for (fill, expected) in fills.iter().zip(expected) {
            assert_eq!(u64::from(fill.token), expected["token"], "{at}");
            assert_eq!(fill.token_text, expected["token_str"].as_str().unwrap(), "{at}");
            assert_eq!(fill.sequence, expected["sequence"].as_str().unwrap(), "{at}");
            let score = expected["score"].as_f64().unwrap() as f32;
            assert!((fill.score - score).abs() <= tolerance, "{at}: {} instead of {score}", fill.score);
        }
    }
}

#[test]
fn masks_are_filled_as_by_transformers() {
    let fixtures = with_answers("fill_mask");
    assert!(fixtures.len() > 10);
    for (path, cases) in fixtures {
        for device in devices() {
            let model = load(&path, device, Precision::F32, 2);
            for case in &cases {
                let at = format!("{} {} {}", path.display(), device.name(), case["text"]);
                let found = model.fill_mask(&[case["text"].as_str().unwrap()], &fill_options(case)).unwrap();
                check_fills(&found, 0, case, tolerance(device), &at);
            }
            // Texts with different numbers of masks in one call.
            let plain: Vec<_> = cases.iter().filter(|case| case["targets"].is_null()).collect();
            let texts: Vec<&str> = plain.iter().map(|case| case["text"].as_str().unwrap()).collect();
            let found = model.fill_mask(&texts, &FillMaskOptions { top_k: Some(3), ..Default::default() }).unwrap();
            assert_eq!((found.starts.as_slice(), found.fills.len()), (&[0, 1, 4][..], 12));
            for (text, case) in plain.iter().enumerate() {
                let mut case = (*case).clone();
                case["masks"].as_array_mut().unwrap().iter_mut().for_each(|m| m.as_array_mut().unwrap().truncate(3));
                check_fills(&found, text, &case, tolerance(device), "a batch");
            }
        }
    }
}

#[test]
fn bad_arguments_of_masks_are_named() {
    let model = load(&folder("bert"), Device::Cpu, Precision::F32, 1);
    let fail = |model: &Model, text: &str, options: FillMaskOptions| model.fill_mask(&[text], &options).unwrap_err();
    let none = fail(&model, "no mask", FillMaskOptions::default());
    assert!(none.message().contains("texts[0]") && none.message().contains("[MASK]"), "{none}");
    let cut = fail(&model, "a bird and a [MASK]", FillMaskOptions { max_length: Some(4), ..Default::default() });
    assert!(cut.message().contains("left"), "{cut}");
    let zero = fail(&model, "[MASK]", FillMaskOptions { top_k: Some(0), ..Default::default() });
    assert!(zero.message().contains("top_k"), "{zero}");
    let empty = FillMaskOptions { targets: vec!["bird".into(), "".into()], ..Default::default() };
    assert!(fail(&model, "[MASK]", empty).message().contains("targets[1]"));
    let plain = load(&support::fixtures().join("bert"), Device::Cpu, Precision::F32, 1);
    let headless = fail(&plain, "[MASK]", FillMaskOptions::default());
    assert_eq!(headless.status(), Status::Unsupported);
    assert!(headless.message().contains("ForMaskedLM"), "{headless}");
    let most = FillMaskOptions { top_k: Some(usize::MAX), ..Default::default() };
    let all = model.fill_mask(&["[MASK]"], &most).unwrap();
    assert_eq!(all.top_k, model.vocabulary_size());
    assert!((all.fills.iter().map(|fill| fill.score).sum::<f32>() - 1.0).abs() < 1e-4);
}

fn sparse_options(case: &Value) -> SparseOptions {
    SparseOptions {
        max_active_dims: case["max_active_dims"].as_u64().map(|dims| dims as usize),
        prompt_name: case["prompt"].as_str().map(str::to_string),
        ..SparseOptions::default()
    }
}

fn check_sparse(found: &SparseEmbeddings, text: usize, case: &Value, tolerance: f32, at: &str) {
    let (indices, weights) = found.row(text);
    let (expected, values) = (ids(&case["indices"]), floats(&case["weights"]));
    // A weight of about 0 may be on either side of it.
    let dense = |indices: &[u32], weights: &[f32]| {
        let mut row = vec![0.0; found.dimension];
        indices.iter().zip(weights).for_each(|(&index, &weight)| row[index as usize] = weight);
        row
    };
    let error = distance(&dense(indices, weights), &dense(&expected, &values));
    assert!(error <= tolerance, "{at}: weights differ by {error:e}");
    assert!(indices.is_sorted_by(|a, b| a < b) && weights.iter().all(|weight| *weight > 0.0), "{at}");
    assert!(indices.len().abs_diff(expected.len()) <= 1, "{at}: {} of {}", indices.len(), expected.len());
}

#[test]
fn sparse_embeddings_are_those_of_sentence_transformers() {
    let fixtures = with_answers("sparse");
    assert!(fixtures.len() > 10);
    for (path, cases) in fixtures {
        for device in devices() {
            let model = load(&path, device, Precision::F32, 2);
            for case in &cases {
                let at = format!("{} {} {case:.80}", path.display(), device.name());
                let found = model.sparse_embed(&[case["text"].as_str().unwrap()], &sparse_options(case)).unwrap();
                assert_eq!(found.dimension, model.vocabulary_size());
                check_sparse(&found, 0, case, tolerance(device), &at);
            }
            let texts: Vec<&str> = cases[..5].iter().map(|case| case["text"].as_str().unwrap()).collect();
            let found = model.sparse_embed(&texts, &SparseOptions::default()).unwrap();
            for (text, case) in cases[..5].iter().enumerate() {
                check_sparse(&found, text, case, tolerance(device), "a batch");
            }
        }
    }
}

#[test]
fn sparse_encoders_give_no_dense_embeddings_and_others_no_sparse_ones() {
    let sparse = load(&folder("splade"), Device::Cpu, Precision::F32, 1);
    let error = sparse.embed(&["bird"], &EmbedOptions::default()).unwrap_err();
    assert!(error.message().contains("SparseEncoder"), "{error}");
    let zero = SparseOptions { max_active_dims: Some(0), ..SparseOptions::default() };
    assert!(sparse.sparse_embed(&["bird"], &zero).unwrap_err().message().contains("max_active_dims"));
    let unknown = SparseOptions { prompt_name: Some("topic".into()), ..SparseOptions::default() };
    assert!(sparse.sparse_embed(&["bird"], &unknown).unwrap_err().message().contains("prompt_name"));
    assert_eq!(sparse.sparse_embed(&[], &SparseOptions::default()).unwrap().starts, [0]);
    let copy = support::copy_of(&folder("bert"), |_| false);
    let modules = json!([{ "type": "sentence_transformers.models.Transformer", "path": "" },
        { "type": "sentence_transformers.models.Pooling", "path": "1_Pooling" }]);
    std::fs::write(copy.path().join("modules.json"), modules.to_string()).unwrap();
    let dense = load(copy.path(), Device::Cpu, Precision::F32, 1);
    let error = dense.sparse_embed(&["bird"], &SparseOptions::default()).unwrap_err();
    assert!(error.message().contains("modules.json") && error.message().contains("Pooling"), "{error}");
}

#[test]
fn the_head_changes_no_embedding_and_narrow_precisions_stay_near() {
    for (path, cases) in with_answers("sparse") {
        let texts: Vec<&str> = cases[..5].iter().map(|case| case["text"].as_str().unwrap()).collect();
        // The same weights, of which only the encoder's are read.
        let bare = support::copy_of(&path, |_| false);
        let config = bare.path().join("config.json");
        let mut value: Value = serde_json::from_str(&std::fs::read_to_string(&config).unwrap()).unwrap();
        value["architectures"] = json!(["Model"]);
        std::fs::write(&config, value.to_string()).unwrap();
        for name in ["modules.json", "config_sentence_transformers.json"] {
            let _ = std::fs::remove_file(bare.path().join(name));
        }
        for precision in [Precision::F32, Precision::F16, Precision::Bf16, Precision::Int8, Precision::Int4] {
            let at = format!("{} {}", path.display(), precision.name());
            let (model, bare) = (load(&path, Device::Cpu, precision, 2), load(bare.path(), Device::Cpu, precision, 2));
            let ids = model.tokenize(&texts, None, &Default::default(), None).unwrap();
            let lengths: Vec<usize> = ids.starts().windows(2).map(|w| w[1] - w[0]).collect();
            let states = |model: &Model| model.hidden_states(ids.ids(), &lengths, None, None).unwrap().values;
            assert!(states(&model) == states(&bare), "{at}: the hidden states differ");
            // All weights: which ones are the largest differs with the precision.
            let all = SparseOptions { max_active_dims: Some(usize::MAX), ..SparseOptions::default() };
            let found = model.sparse_embed(&texts, &all).unwrap();
            let exact = load(&path, Device::Cpu, Precision::F32, 2).sparse_embed(&texts, &all).unwrap();
            let cosine = found.dot(0, &exact, 0) / (found.dot(0, &found, 0) * exact.dot(0, &exact, 0)).sqrt();
            let bar = if precision == Precision::Int4 { 0.8 } else { 0.99 };
            assert!(cosine > bar, "{at}: cosine {cosine}");
        }
    }
}

#[test]
fn packed_files_fill_masks_with_the_same_bits() {
    let temporary = tempfile::tempdir().unwrap();
    for name in ["bert", "bert-untied", "modernbert", "deberta-v2-pretraining", "splade"] {
        for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
            let file = temporary.path().join(format!("{name}-{}.kinglet", precision.name()));
            kinglet::quantize(&folder(name), &file, precision, &mut |_| true).unwrap();
            let (model, packed) =
                (load(&folder(name), Device::Cpu, precision, 2), load(&file, Device::Cpu, precision, 2));
            let found = packed.sparse_embed(&["a small bird"], &SparseOptions::default()).unwrap();
            assert_eq!(found, model.sparse_embed(&["a small bird"], &SparseOptions::default()).unwrap(), "{name}");
            assert_eq!(packed.weight_bytes(), model.weight_bytes(), "{name}");
        }
    }
}

#[test]
fn a_text_s_bits_depend_on_no_other_text() {
    let texts: Vec<String> =
        (0..300).map(|i| format!("the {i} birds of the tall tree {}", "run ".repeat(i % 40))).collect();
    let texts = refs(&texts);
    let one = load(&folder("splade"), Device::Cpu, Precision::F32, 1);
    let four = load(&folder("splade"), Device::Cpu, Precision::F32, 4);
    let all = four.sparse_embed(&texts, &SparseOptions::default()).unwrap();
    for i in [0, 7, 39, 299] {
        let alone = one.sparse_embed(&texts[i..=i], &SparseOptions::default()).unwrap();
        assert_eq!(alone.row(0), all.row(i), "text {i}");
    }
    std::thread::scope(|scope| {
        for part in texts.chunks(100) {
            let (four, all) = (&four, &all);
            scope.spawn(move || {
                let found = four.sparse_embed(part, &SparseOptions::default()).unwrap();
                let first = (0..all.tokens.len()).find(|&i| all.row(i) == found.row(0));
                assert!(first.is_some());
            });
        }
    });
}

#[test]
fn heads_that_do_not_fit_or_are_not_there_leave_the_embeddings() {
    let no_head = support::copy_of(&folder("bert"), |_| false);
    let weights = no_head.path().join("model.safetensors");
    // A name that nobody looks for, of the same length.
    let bytes = std::fs::read(&weights).unwrap();
    let rename = |name: &str| {
        let at = bytes.windows(name.len()).position(|part| part == name.as_bytes()).unwrap();
        let mut renamed = bytes.clone();
        renamed[at] = b'x';
        std::fs::write(&weights, renamed).unwrap();
    };
    rename("cls.predictions.transform.dense.weight");
    let (plain, bare) =
        (load(&folder("bert"), Device::Cpu, Precision::F32, 1), load(no_head.path(), Device::Cpu, Precision::F32, 1));
    let embed = |model: &Model| model.embed(&["bird"], &EmbedOptions::default()).unwrap().values;
    assert_eq!(embed(&plain), embed(&bare));
    assert!(bare.fill_mask(&["[MASK]"], &FillMaskOptions::default()).unwrap_err().message().contains("ForMaskedLM"));
    // The bias is missing: the head cannot be used, and the log says why.
    rename("cls.predictions.bias");
    let model = Model::load(no_head.path(), LoadOptions { threads: 1, ..LoadOptions::default() }).unwrap();
    assert_eq!(embed(&plain), embed(&model));
    assert!(model.fill_mask(&["[MASK]"], &FillMaskOptions::default()).is_err());
}

#[test]
fn zero_shot_scores_are_those_of_transformers() {
    let fixtures = with_answers("zero_shot");
    assert_eq!(fixtures.len(), 2);
    for (path, cases) in fixtures {
        for device in devices() {
            let model = load(&path, device, Precision::F32, 2);
            for case in &cases {
                let at = format!("{} {} {case:.90}", path.display(), device.name());
                let labels = strings(&case["labels"]);
                let options = ZeroShotOptions {
                    hypothesis_template: case["hypothesis_template"].as_str().map(str::to_string),
                    multi_label: case["multi_label"].as_bool().unwrap_or(false),
                    ..ZeroShotOptions::default()
                };
                let text = case["text"].as_str().unwrap();
                // The text twice, so that texts are kept apart.
                let found = model.classify_zero_shot(&[text, text], &refs(&labels), &options).unwrap();
                let n = labels.len();
                assert_eq!((found.labels, found.order.len(), found.tokens.len()), (n, 2 * n, 2), "{at}");
                assert_eq!(found.scores[..n], found.scores[n..], "{at}");
                let order: Vec<&str> = found.order[..n].iter().map(|&label| labels[label as usize].as_str()).collect();
                assert_eq!(order, refs(&strings(&case["order"])), "{at}");
                let error = distance(&found.scores[..n], &floats(&case["scores"]));
                assert!(error <= tolerance(device), "{at}: scores differ by {error:e}");
                assert_eq!(found.truncated, [u8::from(text.len() > 200); 2], "{at}");
            }
        }
    }
}

#[test]
fn bad_arguments_of_zero_shot_classification_are_named() {
    let model = load(&folder("nli"), Device::Cpu, Precision::F32, 1);
    let plain = ZeroShotOptions::default();
    let error = model.classify_zero_shot(&["a"], &[], &plain).unwrap_err();
    assert!(error.message().contains("labels"), "{error}");
    let template = ZeroShotOptions { hypothesis_template: Some("about".into()), ..ZeroShotOptions::default() };
    let error = model.classify_zero_shot(&["a"], &["b"], &template).unwrap_err();
    assert!(error.message().contains("hypothesis_template"), "{error}");
    let long = "river ".repeat(100);
    let error = model.classify_zero_shot(&["a"], &[&long], &plain).unwrap_err();
    assert!(error.message().contains("leaves no room"), "{error}");
    let other = load(&support::fixtures().join("bert-classifier"), Device::Cpu, Precision::F32, 1);
    let error = other.classify_zero_shot(&["a"], &["b"], &plain).unwrap_err();
    assert!(error.message().contains("NEGATIVE") && error.message().contains("entail"), "{error}");
    assert!(model.classify_zero_shot(&[], &["b"], &plain).unwrap().scores.is_empty());
}
