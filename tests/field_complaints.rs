//! Complaints of the users of other engines, each with a small local check: what they met must not happen here. Those that other tests
//! show already:
//!
//! | complaint | test |
//! |---|---|
//! | Dense modules are skipped | `compatibility.rs`, kind Dense |
//! | a causal mask where the configuration says both ways | `families::fields` (unit tests), `gguf.rs` |
//! | the pooling is hard-coded | `gguf.rs`: `texts_are_pooled_as_the_file_says`; `compatibility.rs`, kind pooling |
//! | the end token is not appended, or another is taken for it | `formats::gguf::tests` (`add_eos_token`), `tokens.rs` |
//! | position offsets | `compatibility.rs`, kind positions |
//! | no tokenizer.json | `vocabularies.rs` |
//! | a batch changes the vector | `same_bits.rs`; of graphs `onnx.rs`: `a_batch_gives_the_numbers_of_single_texts` |
//! | silent truncation | `compatibility.rs`, kind where texts are cut; `cli.rs`: `truncation_is_told` |
//! | a quota of CPUs | `attacks/quota.rs` |
//! | fork | `attacks/fork.rs` |
//! | memory after many calls, and after unloading | `endurance.rs`, `onnx.rs` |
//! | ONNX Runtime leaks with each run | `endurance.rs`: `a_thousand_runs_of_onnx_runtime_leak_nothing` |
//! | a wrong ONNX Runtime is found | `attacks/libraries.rs` |
//! | the version of glibc | `scripts/dist-tools`, `scripts/wheel` |
//! | two Rust libraries in one program | `scripts/test-consumers` |
//! | the runtime of MSVC | `deny.toml` (esaxx-rs) |
//! | illegal instructions | `kernels` (unit tests over all instruction sets) |
//! | Swift packages that depend on the library | `scripts/test-swift` |

mod support;

use std::path::Path;

use kinglet::{
    Aggregation, ClassifyOptions, Device, EmbedOptions, EncodeOptions, GenerateOptions, LoadOptions, Model, Pooling,
    Precision, Status,
};
use serde_json::{Value, json};
use support::{copy_of, devices, fixtures, load};

fn edited(folder: &Path, file: &str, edit: impl FnOnce(&mut Value)) {
    let path = folder.join(file);
    let mut value: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    edit(&mut value);
    std::fs::write(path, value.to_string()).unwrap();
}

/// A copy of a fixture whose tokenizer adds no special tokens.
fn bare(name: &str) -> tempfile::TempDir {
    let folder = copy_of(&fixtures().join(name), |file| file == "reference.json");
    edited(folder.path(), "tokenizer.json", |tokenizer| tokenizer["post_processor"] = Value::Null);
    folder
}

const NOTHING: [&str; 5] = ["", " ", "\u{200b}\u{200d}", "\0", "\u{feff}\t\n"];

/// Empty input: no panic, no division by zero, no NaN; alone and in the middle of a batch.
#[test]
fn empty_texts_are_answered_or_refused() {
    for device in devices() {
        for name in ["bert", "roberta", "xlm-roberta", "mpnet"] {
            let folder = bare(name);
            let model = load(folder.path(), device, Precision::F32, 1);
            let around = model.embed(&["bird", "small"], &EmbedOptions::default()).unwrap();
            for text in NOTHING {
                let alone = model.embed(&[text], &EmbedOptions::default()).unwrap();
                assert!(alone.values.iter().all(|x| x.is_finite()), "{name} {text:?}");
                if alone.tokens == [0] {
                    assert!(alone.values.iter().all(|x| *x == 0.0), "{name} {text:?}");
                }
                let among = model.embed(&["bird", text, "small"], &EmbedOptions::default()).unwrap();
                let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4);
                assert!(near(among.row(0), around.row(0)) && near(among.row(2), around.row(1)), "{name} {text:?}");
                assert!(near(among.row(1), alone.row(0)), "{name} {text:?}");
                let each = EmbedOptions { pooling: Some(Pooling::None), ..EmbedOptions::default() };
                let vectors = model.embed(&[text], &each).unwrap();
                assert_eq!(vectors.values.len(), vectors.tokens[0] * vectors.dimension, "{name} {text:?}");
            }
            let hidden = model.hidden_states(&[], &[0], None, None).unwrap();
            assert!(hidden.values.is_empty(), "{name}");
        }
        let folder = bare("bert-classifier");
        let model = load(folder.path(), device, Precision::F32, 1);
        for text in NOTHING {
            match model.classify(&["bird", text], None, &ClassifyOptions::default()) {
                Ok(scores) => assert!(scores.scores.iter().all(|x| x.is_finite()), "{text:?}"),
                Err(error) => assert!(error.message().contains("texts[1]: has no tokens"), "{error}"),
            }
        }
        let folder = bare("bert-token-classifier");
        let model = load(folder.path(), device, Precision::F32, 1);
        for text in NOTHING {
            let found = model.classify_tokens(&["bird", text], Aggregation::default(), &ClassifyOptions::default());
            assert!(found.unwrap().entities.iter().all(|entity| entity.score.is_finite()), "{text:?}");
        }
        for name in ["qwen3", "t5"] {
            let folder = bare(&format!("generation/{name}"));
            let model = load(folder.path(), device, Precision::F32, 1);
            let few = GenerateOptions { max_new_tokens: Some(3), ..GenerateOptions::default() };
            for text in NOTHING {
                match model.generate(&["bird", text], &few, None) {
                    Ok(found) => assert_eq!(found.outputs.len(), 2, "{name} {text:?}"),
                    Err(error) => {
                        let named = error.message().contains("[1]") || error.message().contains("empty");
                        assert!(error.status() == Status::InvalidArgument && named, "{name} {text:?}: {error}");
                    }
                }
            }
            if let Err(error) = model.logits(&[], (name == "t5").then_some(&[][..]), false, None) {
                assert_eq!(error.status(), Status::InvalidArgument, "{error}");
            }
        }
    }
}

/// The vector of zeros is not divided by its length.
#[test]
fn a_normalised_zero_vector_is_zeros_in_every_precision() {
    let folder = bare("bert");
    for precision in [Precision::F32, Precision::F16, Precision::Bf16, Precision::Int8] {
        let model = load(folder.path(), Device::Cpu, precision, 1);
        let options = EmbedOptions { normalize: Some(true), ..EmbedOptions::default() };
        let found = model.embed(&["", "bird"], &options).unwrap();
        assert!(found.row(0).iter().all(|x| *x == 0.0), "{}", precision.name());
        let length = found.row(1).iter().map(|x| x * x).sum::<f32>();
        assert!((length - 1.0).abs() < 1e-3, "{}: {length}", precision.name());
    }
}

/// The values of all tensors of a safetensors file of bf16 or f32, multiplied by a power of two.
fn scaled(path: &Path, exponent: u32) {
    let mut bytes = std::fs::read(path).unwrap();
    let header = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let text: Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    for (name, tensor) in text.as_object().unwrap().iter().filter(|(name, _)| *name != "__metadata__") {
        let at = |i: usize| 8 + header + tensor["data_offsets"][i].as_u64().unwrap() as usize;
        for value in bytes[at(0)..at(1)].chunks_exact_mut(if tensor["dtype"] == "BF16" { 2 } else { 4 }) {
            let wide = match *value {
                [a, b] => f32::from_le_bytes([0, 0, a, b]),
                [a, b, c, d] => f32::from_le_bytes([a, b, c, d]),
                _ => panic!("{name}"),
            };
            let wide = (wide * 2f32.powi(exponent as i32)).to_le_bytes();
            let from = 4 - value.len();
            value.copy_from_slice(&wide[from..]);
        }
    }
    std::fs::write(path, bytes).unwrap();
}

/// Multiplies some columns of a matrix, or elements of a vector, of a safetensors file of f32.
fn raise(path: &Path, tensor: &str, columns: &[usize], factor: f32) {
    let mut bytes = std::fs::read(path).unwrap();
    let header = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let text: Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let tensor = &text[tensor];
    assert_eq!(tensor["dtype"], "F32", "{tensor}");
    let width = tensor["shape"].as_array().unwrap().last().unwrap().as_u64().unwrap() as usize;
    let at = |i: usize| 8 + header + tensor["data_offsets"][i].as_u64().unwrap() as usize;
    for (i, value) in bytes[at(0)..at(1)].chunks_exact_mut(4).enumerate() {
        if columns.contains(&(i % width)) {
            let number = f32::from_le_bytes(*value.first_chunk().unwrap()) * factor;
            value.copy_from_slice(&number.to_le_bytes());
        }
    }
    std::fs::write(path, bytes).unwrap();
}

/// Two channels of the activations fifty times as large as the others, as many published models have: INT8 keeps the vectors.
#[test]
fn int8_stands_outliers() {
    let folder = copy_of(&fixtures().join("bert"), |file| file == "reference.json");
    let path = folder.path().join("model.safetensors");
    for layer in 0..2 {
        for part in ["weight", "bias"] {
            raise(&path, &format!("encoder.layer.{layer}.attention.output.LayerNorm.{part}"), &[3, 17], 50.0);
        }
    }
    let texts =
        ["The small bird sings near the river.", "bird", "It is 12:30, and nobody came; why?", "aaaa aaaa aaaa"];
    for device in devices() {
        let [wide, narrow] = [Precision::F32, Precision::Int8].map(|precision| {
            let model = load(folder.path(), device, precision, 1);
            model.embed(&texts, &EmbedOptions::default()).unwrap()
        });
        for (i, text) in texts.iter().enumerate() {
            let near = support::cosine(narrow.row(i), wide.row(i));
            assert!(near >= 0.98, "{}: {text:?}: {near}", device.name());
        }
    }
}

/// The tensors of a `.kinglet` file are aligned from its beginning, where it is mapped: pages of 4, 16 or 64 KiB make no difference.
#[test]
fn packed_files_are_mapped_with_pages_of_any_size() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.kinglet");
    kinglet::quantize(&fixtures().join("bert"), &path, Precision::Int8, &mut |_| true).unwrap();
    let texts = ["The small bird sings near the river."];
    let embed = |map| {
        let options = LoadOptions { map_files: Some(map), threads: 1, ..LoadOptions::default() };
        Model::load(&path, options).unwrap().embed(&texts, &EmbedOptions::default()).unwrap().values
    };
    assert_eq!(support::bits(&embed(true)), support::bits(&embed(false)));
    let bytes = std::fs::read(&path).unwrap();
    let number = |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().unwrap());
    let header: Value = serde_json::from_slice(&bytes[64..64 + number(16) as usize]).unwrap();
    let offsets: Vec<u64> =
        header["tensors"].as_object().unwrap().values().map(|t| t["offset"].as_u64().unwrap()).collect();
    assert!(offsets.len() > 20 && offsets.iter().all(|offset| offset % 64 == 0), "{offsets:?}");
}

/// Activations beyond f16's range: finite numbers or an error, never NaN.
#[test]
fn overflow_is_an_error_and_no_result() {
    let (mut finite, mut refused) = (0, 0);
    for exponent in [10, 40, 100] {
        let folder = copy_of(&fixtures().join("generation/gemma3"), |file| file == "reference.json");
        scaled(&folder.path().join("model.safetensors"), exponent);
        for device in devices() {
            for precision in [Precision::F32, Precision::F16, Precision::Bf16, Precision::Int8] {
                let options = LoadOptions { device, precision: Some(precision), threads: 1, ..LoadOptions::default() };
                let Ok(model) = Model::load(folder.path(), options) else {
                    refused += 1;
                    continue;
                };
                match model.embed(&["The small bird"], &EmbedOptions::default()) {
                    Ok(found) => {
                        finite += 1;
                        assert!(found.values.iter().all(|x| x.is_finite()), "{} {}", device.name(), precision.name());
                    }
                    Err(error) => {
                        refused += 1;
                        assert!(error.message().contains("not finite"), "{error}");
                    }
                }
                let few = GenerateOptions { max_new_tokens: Some(2), ..GenerateOptions::default() };
                let _text_or_an_error = model.generate(&["The small bird"], &few, None);
            }
        }
    }
    assert!(finite > 0 && refused > 0, "{finite} {refused}");
}

/// A tokenizer.json of a later version: the error says which part is unknown.
#[test]
fn unknown_parts_of_a_tokenizer_are_named() {
    for (part, value) in [
        ("model", json!({ "type": "Backpack", "vocab": {} })),
        ("normalizer", json!({ "type": "Sequence", "normalizers": [{ "type": "NFC" }, { "type": "NFZ" }] })),
        ("pre_tokenizer", json!({ "type": "Spell" })),
        ("post_processor", json!({ "type": "Sequence", "processors": [{ "type": "Later" }] })),
        ("decoder", json!({ "type": "Undo" })),
    ] {
        let folder = copy_of(&fixtures().join("bert"), |file| file == "reference.json");
        edited(folder.path(), "tokenizer.json", |tokenizer| tokenizer[part] = value.clone());
        let error = Model::load(folder.path(), LoadOptions::default()).err().unwrap();
        let message = error.message();
        let kind =
            ["Backpack", "NFZ", "Spell", "Later", "Undo"].into_iter().find(|kind| value.to_string().contains(kind));
        let named = message.contains("tokenizer.json") && message.contains(&format!("{part}: "));
        assert!(named && message.contains(kind.unwrap()) && message.contains("later version"), "{message}");
    }
}

/// A text far beyond a pass, with and without memory for it: an answer or an error, and always an end.
#[test]
fn a_text_longer_than_a_pass_is_answered_or_refused() {
    let folder = fixtures().join("generation/t5");
    let text = "the small bird sings near the river ".repeat(1500);
    for memory_limit in [0, 1 << 20, 4 << 20, 16 << 20] {
        let options = LoadOptions { memory_limit, threads: 2, ..LoadOptions::default() };
        let model = match Model::load(&folder, options) {
            Ok(model) => model,
            Err(error) => {
                assert_eq!(error.status(), Status::OutOfMemory, "{error}");
                continue;
            }
        };
        let options = EmbedOptions { max_length: Some(8192), ..EmbedOptions::default() };
        match model.embed(&[&text, "a bird"], &options) {
            Ok(found) => {
                assert_eq!((found.tokens[0], found.truncated[0]), (8192, 1));
                assert!(found.values.iter().all(|x| x.is_finite()));
            }
            Err(error) => assert_eq!(error.status(), Status::OutOfMemory, "{error}"),
        }
    }
}

/// The bytes of each token are those of its text, whatever the characters.
#[test]
fn offsets_are_bytes_of_the_text() {
    let texts = ["i ⭢ j", "💩💩", "Müller aß", "Mu\u{308}ller", "  a  bird", "a\u{200b}b 中文", "İstanbul", "ﬁne ﬁre"];
    let options = EncodeOptions { offsets: true, ..EncodeOptions::default() };
    for name in ["bert", "roberta", "xlm-roberta", "mpnet", "camembert", "generation/qwen3", "generation/mistral"] {
        let model = load(&fixtures().join(name), Device::Cpu, Precision::F32, 1);
        let encoding = model.tokenize(&texts, None, &options, None).unwrap();
        let spans = encoding.offsets().unwrap();
        for (i, text) in texts.iter().enumerate() {
            let (mut last, mut covered) = (0, vec![false; text.len()]);
            let range = encoding.starts()[i]..encoding.starts()[i + 1];
            let special = &encoding.special_tokens_mask()[range.clone()];
            for (span, _) in spans[range].iter().zip(special).filter(|(_, special)| **special == 0) {
                // Tokens of one character have all its bytes.
                assert!(text.get(span.start..span.end).is_some(), "{name} {text:?}: {span:?} cuts a character");
                assert!(span.start >= last || span.end <= last, "{name} {text:?}: {span:?} goes back");
                last = span.start;
                covered[span.start..span.end].fill(true);
            }
            for (at, character) in text.char_indices() {
                let blank = character.is_whitespace() || matches!(character, '\u{200b}' | '\u{308}');
                assert!(blank || covered[at], "{name} {text:?}: {character:?} belongs to no token");
            }
        }
    }
    let model = load(&fixtures().join("bert-token-classifier"), Device::Cpu, Precision::F32, 1);
    let found = model.classify_tokens(&texts, Aggregation::default(), &ClassifyOptions::default()).unwrap();
    for entity in &found.entities {
        let word = texts[entity.text].get(entity.start..entity.end);
        assert!(word.is_some_and(|word| !word.is_empty() && word.trim() == word), "{entity:?}");
    }
}

/// A large Unigram vocabulary loads, and finds its longest pieces.
#[test]
fn a_vocabulary_of_250_000_pieces_loads() {
    let folder = copy_of(&fixtures().join("xlm-roberta"), |file| file == "reference.json");
    edited(folder.path(), "tokenizer.json", |tokenizer| {
        let vocabulary = tokenizer["model"]["vocab"].as_array_mut().unwrap();
        vocabulary.extend((0..250_000).map(|i| json!([format!("▁zq{i}x"), -9.0 - f64::from(i) * 1e-6])));
    });
    let model = load(folder.path(), Device::Cpu, Precision::F32, 1);
    let encoding = model.tokenize(&["zq249999x"], None, &EncodeOptions::default(), None).unwrap();
    assert!(encoding.ids().iter().any(|&id| id > 250_000), "{:?}", encoding.ids());
}
