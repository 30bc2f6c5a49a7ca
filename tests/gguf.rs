//! GGUF files give the reference's numbers, for every architecture and block type; `.kinglet` files give the same bits as the
//! model that they were packed from.

mod support;

use std::path::{Path, PathBuf};

use kinglet::{Device, GenerateOptions, LoadOptions, Model, Precision};
use serde_json::Value;
use support::{bits, distance, floats, gguf, ids, load};

fn gguf_files() -> Vec<PathBuf> {
    let folder = support::fixtures().join("generation-gguf");
    let mut found: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|e| e == "gguf"));
    found.sort();
    found
}

fn all_logits(model: &Model, ids: &[u32], decoder_ids: Option<&[u32]>) -> Vec<f32> {
    model.logits(ids, decoder_ids, false, None).unwrap().values
}

#[test]
fn every_architecture_matches_the_reference_s_tokens_and_logits() {
    let files = gguf_files();
    assert!(files.len() >= 17, "{}", files.len());
    for path in files {
        let reference: Value =
            serde_json::from_str(&std::fs::read_to_string(path.with_extension("json")).unwrap()).unwrap();
        let model = load(&path, Device::Cpu, Precision::F32, 2);
        let text = reference["text"].as_str().unwrap();
        let encoding = model.tokenize(&[text], None, &Default::default(), None).unwrap();
        assert_eq!(encoding.ids(), ids(&reference["ids"]), "{}", path.display());
        let decoder = (!reference["decoder_ids"].is_null()).then(|| ids(&reference["decoder_ids"]));
        let logits = all_logits(&model, encoding.ids(), decoder.as_deref());
        let expected = floats(&reference["last_logits"]);
        let error = distance(&logits[logits.len() - expected.len()..], &expected);
        println!("{:24} {error:.1e}", path.file_stem().unwrap().to_string_lossy());
        assert!(error <= 1e-4, "{}: {error:e}", path.display());
    }
}

/// Automatic precision never makes a quantised file larger: 4 bits stay 4 bits, and lose only what rounding activations does.
#[test]
fn automatic_precision_is_that_of_most_weights() {
    let folder = support::fixtures().join("generation-gguf");
    for (file, precision) in [
        ("mistral.gguf", Precision::Int4),
        ("llama-q8_0.gguf", Precision::Int8),
        ("llama.gguf", Precision::F32),
        ("gpt2.gguf", Precision::F16),
    ] {
        let path = folder.join(file);
        let model = load(&path, Device::Cpu, Precision::Auto, 1);
        assert_eq!(model.precision(), precision, "{file}");
        let (ids, wide) = ([5, 6, 7, 8, 9, 10], load(&path, Device::Cpu, Precision::F32, 1));
        let near = support::cosine(&all_logits(&model, &ids, None), &all_logits(&wide, &ids, None));
        assert!(near > 0.99, "{file}: {near}");
    }
}

/// WordPiece, hidden states and vectors of the architectures that only encode.
#[test]
fn encoders_match_the_reference_s_tokens_and_states() {
    let folder = tempfile::tempdir().unwrap();
    let packed = folder.path().join("packed.kinglet");
    for name in ["bert", "nomic-bert"] {
        let path = support::fixtures().join("gguf").join(format!("{name}.gguf"));
        let reference: Value =
            serde_json::from_str(&std::fs::read_to_string(path.with_extension("json")).unwrap()).unwrap();
        let text = reference["text"].as_str().unwrap();
        kinglet::quantize(&path, &packed, Precision::F32, &mut |_| true).unwrap();
        for (path, device) in [(&path, Device::Cpu), (&path, Device::CandleCpu), (&packed, Device::Cpu)] {
            let at = format!("{} on {}", path.display(), device.name());
            let model = load(path, device, Precision::F32, 2);
            let encoding = model.tokenize(&[text], None, &Default::default(), None).unwrap();
            assert_eq!(encoding.ids(), ids(&reference["ids"]), "{at}");
            let types = vec![0; encoding.ids().len()];
            let states = model.hidden_states(encoding.ids(), &[types.len()], Some(&types), None).unwrap();
            let error = distance(&states.values, &floats(&reference["hidden"]));
            assert!(error <= 1e-4, "{at}: {error:e}");
            let embeddings = model.embed(&[text], &Default::default()).unwrap();
            let error = distance(&embeddings.values, &floats(&reference["embedding"]));
            assert!(error <= 1e-5, "{at}: {error:e}");
            // A pair, upper case and accents, as the model's own tokenizer has them.
            let own = load(&support::fixtures().join(name.replace('-', "_")), Device::Cpu, Precision::F32, 1);
            let unlimited = kinglet::EncodeOptions { max_length: Some(usize::MAX), ..Default::default() };
            for (text, pair) in [("Où est LONDON?", Some("near the river")), ("[MASK] bird", None), ("中文 bird", None)]
            {
                let pairs = pair.map(|pair| vec![pair]);
                let tokens = |model: &Model| {
                    let tokens = model.tokenize(&[text], pairs.as_deref(), &unlimited, None).unwrap();
                    (tokens.ids().to_vec(), tokens.type_ids().to_vec())
                };
                assert_eq!(tokens(&model), tokens(&own), "{at}: {text}");
            }
        }
    }
}

/// By `pooling_type`, normalised as llama.cpp does it; in a `.kinglet` file too.
#[test]
fn texts_are_pooled_as_the_file_says() {
    let folder = tempfile::tempdir().unwrap();
    let packed = folder.path().join("packed.kinglet");
    let mut seen = 0;
    for path in gguf_files() {
        let reference: Value =
            serde_json::from_str(&std::fs::read_to_string(path.with_extension("json")).unwrap()).unwrap();
        if reference["embedding"].is_null() {
            continue;
        }
        seen += 1;
        kinglet::quantize(&path, &packed, Precision::F32, &mut |_| true).unwrap();
        let text = reference["text"].as_str().unwrap();
        for path in [&path, &packed] {
            let model = load(path, Device::Cpu, Precision::F32, 2);
            let embeddings = model.embed(&[text], &Default::default()).unwrap();
            let error = distance(&embeddings.values, &floats(&reference["embedding"]));
            assert!(error <= 1e-5, "{}: {error:e}", path.display());
        }
    }
    assert_eq!(seen, 1);
}

#[test]
fn packed_files_give_the_bits_of_the_original_model() {
    let folder = tempfile::tempdir().unwrap();
    let sources =
        ["t5", "t5-gated", "bart", "marian", "gpt2", "gpt_neox", "qwen3", "gemma2", "phi3", "qwen2_moe", "granitemoe"];
    for name in sources {
        let source = support::fixtures().join("generation").join(name);
        for precision in [Precision::Int8, Precision::Int4, Precision::Bf16, Precision::F16, Precision::F32] {
            let at = format!("{name} in {}", precision.name());
            let file = folder.path().join(format!("{name}-{}.kinglet", precision.name()));
            kinglet::quantize(&source, &file, precision, &mut |_| true).unwrap();
            let (original, packed) = (
                load(&source, Device::Cpu, precision, 2),
                Model::load(&file, LoadOptions { threads: 2, ..LoadOptions::default() }).unwrap(),
            );
            assert_eq!(packed.precision(), precision, "{at}");
            let decoder = original.has_encoder().then_some(&[0u32, 9, 8, 7][..]);
            let (a, b) = (all_logits(&original, &[5, 6, 7, 8], decoder), all_logits(&packed, &[5, 6, 7, 8], decoder));
            assert_eq!(bits(&a), bits(&b), "{at}");
            let options = GenerateOptions { max_new_tokens: Some(8), ..GenerateOptions::default() };
            let texts = ["The small bird"];
            let (a, b) =
                (original.generate(&texts, &options, None).unwrap(), packed.generate(&texts, &options, None).unwrap());
            assert_eq!(a.outputs, b.outputs, "{at}");
        }
    }
    // Encoders too, with their sentence-transformers files.
    let source = support::fixtures().join("bert");
    let file = folder.path().join("bert.kinglet");
    kinglet::quantize(&source, &file, Precision::Int8, &mut |_| true).unwrap();
    let (a, b) = (load(&source, Device::Cpu, Precision::Int8, 1), load(&file, Device::Cpu, Precision::Auto, 1));
    let texts = ["a small bird", "the fox"];
    let embed = |model: &Model| bits(&model.embed(&texts, &Default::default()).unwrap().values);
    assert_eq!(embed(&a), embed(&b));
    assert!(std::fs::read_dir(folder.path()).unwrap().all(|e| e.unwrap().path().extension().unwrap() == "kinglet"));
}

#[test]
fn damaged_packed_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.kinglet");
    kinglet::quantize(&support::fixtures().join("generation/llama"), &file, Precision::Int8, &mut |_| true).unwrap();
    let good = std::fs::read(&file).unwrap();
    let refused = |bytes: &[u8], what: &str| {
        std::fs::write(&file, bytes).unwrap();
        let error = Model::load(&file, LoadOptions::default()).err().unwrap();
        assert!(error.message().contains("m.kinglet") && error.message().contains(what), "{error}");
    };
    refused(&good[..good.len() - 1], "truncated");
    for short in [20, 40, 63, 64] {
        refused(&good[..short], "truncated");
        // Even if the stated length is right.
        let mut stated = good[..short].to_vec();
        if short >= 32 {
            stated[24..32].copy_from_slice(&(short as u64).to_le_bytes());
            refused(&stated, "");
        }
    }
    let mut later = good.clone();
    later[8] = 3;
    refused(&later, "version 3");
    // The header is read before the checksum.
    let header_end = 64 + u64::from_le_bytes(*good[16..].first_chunk().unwrap()) as usize;
    for at in (64..good.len()).step_by(997) {
        let mut bad = good.clone();
        bad[at] ^= 4;
        refused(&bad, if at < header_end { "damaged" } else { "checksum" });
    }
    let mut other = good;
    other[0] = b'X';
    refused(&other, "not a model");
    let error = kinglet::quantize(&file, &file, Precision::Int8, &mut |_| true).unwrap_err();
    assert!(error.message().contains("not a model"), "{error}");
    let gone = folder.path().join("gone.kinglet");
    let cancelled = kinglet::quantize(&support::fixtures().join("bert"), &gone, Precision::Int8, &mut |_| false);
    assert_eq!(cancelled.unwrap_err().status(), kinglet::Status::Cancelled);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// A file in parts gives the bits of the whole one: by its first part and by its folder, quantised, and read into memory.
#[test]
fn files_in_parts_are_the_whole_model() {
    for name in ["llama", "mistral", "qwen3-embedding", "t5"] {
        let path = support::fixtures().join("generation-gguf").join(format!("{name}.gguf"));
        let folder = tempfile::tempdir().unwrap();
        let first = gguf::File::read(&path).split(folder.path(), 3);
        let decoder = name.starts_with("t5").then_some(&[0u32, 9, 8][..]);
        let run = |path: &Path, options: LoadOptions| {
            let model = Model::load(path, LoadOptions { threads: 1, device: Device::Cpu, ..options }).unwrap();
            (model.precision(), bits(&all_logits(&model, &[5, 6, 7, 8], decoder)))
        };
        let whole = run(&path, LoadOptions::default());
        assert_eq!(run(&first, LoadOptions::default()), whole, "{name}");
        assert_eq!(run(folder.path(), LoadOptions::default()), whole, "{name}");
        let read = LoadOptions { map_files: Some(false), ..LoadOptions::default() };
        assert_eq!(run(&first, read), whole, "{name}");
        let packed = tempfile::tempdir().unwrap().keep().join("packed.kinglet");
        kinglet::quantize(&first, &packed, whole.0, &mut |_| true).unwrap();
        assert_eq!(run(&packed, LoadOptions::default()), whole, "{name}");
        std::fs::remove_dir_all(packed.parent().unwrap()).unwrap();
        // A limit below the weights of all parts, above those of one.
        let limited = LoadOptions { memory_limit: 20_000, threads: 1, ..LoadOptions::default() };
        let error = Model::load(&first, limited).err().unwrap();
        assert_eq!(error.status(), kinglet::Status::OutOfMemory, "{error}");
        let missing = folder.path().join("model-00002-of-00003.gguf");
        std::fs::remove_file(&missing).unwrap();
        for path in [first.as_path(), folder.path()] {
            let error = Model::load(path, LoadOptions::default()).err().unwrap();
            assert_eq!(error.status(), kinglet::Status::NotFound, "{error}");
            assert!(error.message().contains(&missing.display().to_string()), "{error}");
        }
    }
}

/// The ids of llama.cpp for each of its pre-tokenizers, and of the models' own expressions where llama.cpp approximates them.
#[test]
fn pre_tokenizers_split_as_the_reference_does() {
    let reference = std::fs::read_to_string(support::fixtures().join("gguf/pretokenizers.json")).unwrap();
    let reference: Value = serde_json::from_str(&reference).unwrap();
    let list = |value: &'_ Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let (tokens, merges, texts) = (list(&reference["tokens"]), list(&reference["merges"]), list(&reference["texts"]));
    let mut file = gguf::File::read(&support::fixtures().join("generation-gguf/llama.gguf"));
    for leaf in ["bos_token_id", "eos_token_id", "padding_token_id", "unknown_token_id", "scores"] {
        file.without(&format!("tokenizer.ggml.{leaf}"));
    }
    fn strs(texts: &[String]) -> Vec<&str> {
        texts.iter().map(String::as_str).collect()
    }
    file.set_texts("tokenizer.ggml.tokens", &strs(&tokens));
    file.set_texts("tokenizer.ggml.merges", &strs(&merges));
    file.set_numbers("tokenizer.ggml.token_type", &vec![1; tokens.len()]);
    file.set_text("tokenizer.ggml.model", "gpt2");
    file.set_flag("tokenizer.ggml.add_bos_token", false);
    file.without("llama.vocab_size");
    for (name, dimensions, kind, bytes) in &mut file.tensors {
        if name == "token_embd.weight" || name == "output.weight" {
            (dimensions[1], *kind) = (tokens.len() as u64, 0);
            *bytes = vec![0; 4 * (dimensions[0] * dimensions[1]) as usize];
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let mut seen = 0;
    for rule in reference["rules"].as_array().unwrap() {
        for name in list(&rule["names"]) {
            file.set_text("tokenizer.ggml.pre", &name);
            file.write(&path);
            let model = load(&path, Device::Cpu, Precision::F32, 1);
            for (text, expected) in texts.iter().zip(rule["ids"].as_array().unwrap()) {
                // Qwen2's own tokenizer normalises, which llama.cpp does not.
                if name == "qwen2" && (text.contains("e\u{301}") || text.contains("c\u{301}")) {
                    continue;
                }
                let long = kinglet::EncodeOptions { max_length: Some(usize::MAX), ..Default::default() };
                let encoding = model.tokenize(&[text.as_str()], None, &long, None).unwrap();
                assert_eq!(encoding.ids(), ids(expected), "{name}: {text:?}");
            }
            seen += 1;
        }
    }
    assert!(seen > 60, "{seen}");
    for name in ["superbpe", "afmoe", "tiny_aya", "cohere2moe", "gemma4", "whitespace", "roberta-bpe", "nonsense"] {
        file.set_text("tokenizer.ggml.pre", name);
        file.write(&path);
        let error = Model::load(&path, LoadOptions::default()).err().unwrap();
        assert_eq!(error.status(), kinglet::Status::Unsupported, "{error}");
        assert!(error.message().contains(&format!("`{name}` (field `tokenizer.ggml.pre`)")), "{error}");
    }
}
