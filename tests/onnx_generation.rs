//! ONNX decoder graphs, in each form that Optimum exports: the generated tokens are those of the native engine.

mod support;

use std::path::{Path, PathBuf};

use kinglet::{
    Device, EmbedOptions, GenerateOptions, Generations, LoadOptions, Log, LogLevel, Model, Piece, Pooling, Precision,
    Status,
};
use support::{alone, copy_of, distance, floats, ids, load_onnx, onnxruntime, resident};

const TOLERANCE: f32 = 1e-4;

/// Source texts and prompts of several lengths.
const TEXTS: [&str; 5] = [
    "The small bird sings near the river",
    "Where does the water go when the river runs dry in the summer?",
    "a",
    "The answer to the question is in the second part",
    "The small bird",
];

fn native(name: &str) -> Model {
    let path = support::fixtures().join("generation").join(name);
    support::load(&path, Device::Cpu, Precision::F32, 2)
}

fn graphs(name: &str) -> PathBuf {
    support::fixtures().join("onnx").join(name)
}

/// One form of an export: only the graphs in `kept`.
fn form(name: &str, kept: &[&str]) -> tempfile::TempDir {
    copy_of(&graphs(name), |file| file.ends_with(".onnx") && !kept.contains(&file))
}

/// The forms of T5 and GPT-2 that have a KV cache.
fn forms() -> Vec<(&'static str, &'static str, tempfile::TempDir)> {
    let t5 = |kept: &[&str]| form("t5", &[&["encoder_model.onnx"], kept].concat());
    let two = ["decoder_model.onnx", "decoder_with_past_model.onnx"];
    vec![
        ("t5", "merged", t5(&["decoder_model_merged.onnx"])),
        ("t5", "two graphs", t5(&two)),
        ("gpt2", "one graph", form("gpt2", &["model.onnx"])),
        ("gpt2", "merged", form("gpt2", &["decoder_model_merged.onnx"])),
        ("gpt2", "two graphs", form("gpt2", &two)),
    ]
}

fn plain() -> GenerateOptions {
    GenerateOptions {
        max_new_tokens: Some(20),
        num_beams: Some(1),
        do_sample: Some(false),
        ..GenerateOptions::default()
    }
}

/// Several ways to generate.
fn ways() -> Vec<(&'static str, GenerateOptions)> {
    let sampled = |seed| GenerateOptions { do_sample: Some(true), seed: Some(seed), logprobs: true, ..plain() };
    vec![
        ("greedy", plain()),
        ("greedy with logits", GenerateOptions { repetition_penalty: Some(1.3), ..plain() }),
        ("beams", GenerateOptions { num_beams: Some(4), num_return_sequences: Some(2), ..plain() }),
        ("sampled", sampled(7)),
        ("sampled thrice", GenerateOptions { num_return_sequences: Some(3), top_k: Some(20), ..sampled(11) }),
        ("drafted", GenerateOptions { prompt_lookup_num_tokens: Some(5), ..plain() }),
    ]
}

fn tokens(generations: &Generations) -> Vec<Vec<Vec<u32>>> {
    generations.outputs.iter().map(|outputs| outputs.iter().map(|o| o.tokens.clone()).collect()).collect()
}

#[test]
fn every_form_generates_the_native_tokens() {
    let Some(library) = onnxruntime() else { return };
    for (name, form, folder) in forms() {
        let (native, model) = (native(name), load_onnx(&library, folder.path()).unwrap());
        assert!(model.can_generate() && model.has_encoder() == native.has_encoder());
        for (way, options) in ways() {
            let expected = native.generate(&TEXTS, &options, None).unwrap();
            let found = model.generate(&TEXTS, &options, None).unwrap();
            assert_eq!(tokens(&found), tokens(&expected), "{name}, {form}, {way}");
            for (found, expected) in found.outputs.iter().flatten().zip(expected.outputs.iter().flatten()) {
                assert!((found.score - expected.score).abs() <= TOLERANCE, "{name}, {form}, {way}");
                assert_eq!(found.text, expected.text);
            }
            // Single calls give the same as the batch.
            for (text, together) in TEXTS.iter().zip(&found.outputs) {
                let alone = model.generate(&[text], &options, None).unwrap();
                let of = |outputs: &[kinglet::Output]| outputs.iter().map(|o| o.tokens.clone()).collect::<Vec<_>>();
                assert_eq!(of(&alone.outputs[0]), of(together), "{name}, {form}, {way}, {text:?} alone");
            }
        }
        assert_eq!(model.info()["past"], true);
    }
}

#[test]
fn logits_match_the_references() {
    let Some(library) = onnxruntime() else { return };
    for (name, form, folder) in forms() {
        let model = load_onnx(&library, folder.path()).unwrap();
        let reference = support::fixtures().join("generation").join(name);
        for case in support::cases(&reference).iter().filter(|case| !case["logits"].is_null()) {
            let (input, decoder) = (ids(&case["ids"]), ids(&case["decoder_ids"]));
            for stepwise in [false, true] {
                let logits = match model.has_encoder() {
                    true => model.logits(&input, Some(&decoder), stepwise, None),
                    false => model.logits(&decoder, None, stepwise, None),
                };
                let error = distance(&logits.unwrap().values, &floats(&case["logits"]));
                assert!(error <= TOLERANCE, "{name}, {form}, stepwise {stepwise}: {error:e}");
            }
        }
    }
}

#[test]
fn a_graph_without_a_past_runs_the_whole_text_again() {
    let Some(library) = onnxruntime() else { return };
    for (name, kept) in [("t5", &["encoder_model.onnx", "decoder_model.onnx"][..]), ("gpt2", &["decoder_model.onnx"])] {
        let folder = form(name, kept);
        let (native, model) = (native(name), load_onnx(&library, folder.path()).unwrap());
        assert_eq!(model.info()["past"], false);
        for (way, options) in ways() {
            if way == "beams" {
                let error = model.generate(&TEXTS, &options, None).unwrap_err();
                assert_eq!(error.status(), Status::Unsupported);
                assert!(error.message().contains("num_beams") && error.message().contains("past"), "{error}");
                continue;
            }
            let (expected, found) =
                (native.generate(&TEXTS, &options, None).unwrap(), model.generate(&TEXTS, &options, None).unwrap());
            assert_eq!(tokens(&found), tokens(&expected), "{name}, {way}");
        }
        let lines = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
        let sink = lines.clone();
        let log = Log::new(LogLevel::Warning, move |_, line: &str| sink.lock().unwrap().push_str(line));
        let options = LoadOptions { log, onnxruntime: Some(&library), ..LoadOptions::default() };
        Model::load(folder.path(), options).unwrap();
        assert!(lines.lock().unwrap().contains("no past_key_values"), "{lines:?}");
    }
}

#[test]
fn streams_and_prefixes_give_the_same_texts() {
    let Some(library) = onnxruntime() else { return };
    for (name, form, folder) in forms() {
        let (native, model) = (native(name), load_onnx(&library, folder.path()).unwrap());
        let mut pieces = vec![String::new(); TEXTS.len()];
        let mut listen = |piece: Piece| {
            pieces[piece.index].push_str(piece.text);
            true
        };
        let whole = model.generate(&TEXTS, &plain(), Some(&mut listen)).unwrap();
        let texts: Vec<_> = whole.outputs.iter().map(|outputs| outputs[0].text.clone()).collect();
        assert_eq!(pieces, texts, "{name}, {form}");
        if name == "gpt2" {
            for beginning in ["The small", "The small bird sings near the river, and", "The answer"] {
                let prefix = model.prefix(beginning, true, None).unwrap();
                let options = GenerateOptions { prefix: Some(prefix), ..plain() };
                let found = model.generate(&TEXTS, &options, None).unwrap();
                assert_eq!(tokens(&found), tokens(&native.generate(&TEXTS, &plain(), None).unwrap()), "{form}");
            }
        }
    }
}

#[test]
fn graphs_with_hidden_states_embed() {
    let Some(library) = onnxruntime() else { return };
    let native = native("t5");
    let expected = native.embed(&TEXTS, &Default::default()).unwrap().values;
    let whole = load_onnx(&library, &graphs("t5")).unwrap();
    assert!(distance(&whole.embed(&TEXTS, &Default::default()).unwrap().values, &expected) <= TOLERANCE);
    let folder = form("t5", &["encoder_model.onnx"]);
    let alone = load_onnx(&library, folder.path()).unwrap();
    assert!(!alone.can_generate());
    assert!(distance(&alone.embed(&TEXTS, &Default::default()).unwrap().values, &expected) <= TOLERANCE);
    // A decoder exported for embedding.
    let native = self::native("gpt2");
    let states = load_onnx(&library, &graphs("gpt2/states.onnx")).unwrap();
    assert!(!states.can_generate());
    for pooling in [Pooling::Mean, Pooling::Last] {
        let options = EmbedOptions { pooling: Some(pooling), ..EmbedOptions::default() };
        let (expected, found) =
            (native.embed(&TEXTS, &options).unwrap().values, states.embed(&TEXTS, &options).unwrap().values);
        assert!(distance(&found, &expected) <= TOLERANCE, "{}", pooling.name());
    }
    let decoder = load_onnx(&library, &graphs("gpt2")).unwrap();
    let error = decoder.embed(&["a"], &Default::default()).unwrap_err();
    assert!(error.message().contains("model.onnx") && error.message().contains("only logits"), "{error}");
}

#[test]
fn kv_cache_and_logits_may_be_f16() {
    let Some(library) = onnxruntime() else { return };
    let options =
        || LoadOptions { precision: Some(Precision::F16), onnxruntime: Some(&library), ..LoadOptions::default() };
    let model = Model::load(graphs("gpt2"), options()).unwrap();
    assert!(model.info()["graphs"][0].as_str().unwrap().ends_with("model_fp16.onnx"));
    let prefix = model.prefix("The small bird sings", true, None).unwrap();
    assert_eq!(model.cache_bytes(), (prefix.tokens().len() * 2 * 2 * 36 * 2) as u64, "two bytes per number");
    for case in support::cases(&support::fixtures().join("generation/gpt2")) {
        if case["logits"].is_null() {
            continue;
        }
        let (input, expected) = (ids(&case["decoder_ids"]), floats(&case["logits"]));
        for stepwise in [false, true] {
            let found = model.logits(&input, None, stepwise, None).unwrap().values;
            let cosine = support::cosine(&found, &expected);
            assert!(cosine > 0.9999, "stepwise {stepwise}: {cosine}");
        }
    }
    // Rows of several KV caches are gathered, because beams share and drop them.
    for options in [plain(), GenerateOptions { num_beams: Some(3), ..plain() }] {
        let together = model.generate(&TEXTS, &options, None).unwrap();
        for (text, outputs) in TEXTS.iter().zip(&together.outputs) {
            assert_eq!(model.generate(&[text], &options, None).unwrap().outputs[0][0].tokens, outputs[0].tokens);
        }
    }
}

#[test]
fn the_kv_cache_is_counted_and_limited() {
    let Some(library) = onnxruntime() else { return };
    for (name, form, folder) in forms() {
        let model = load_onnx(&library, folder.path()).unwrap();
        model.generate(&TEXTS, &plain(), None).unwrap();
        assert_eq!(model.cache_bytes(), 0, "{name}, {form}: the KV cache was not freed");
        if name == "gpt2" {
            let prefix = model.prefix("The small bird sings", true, None).unwrap();
            // Keys and values of two layers, three heads of twelve components, in f32.
            assert_eq!(model.cache_bytes(), (prefix.tokens().len() * 2 * 2 * 36 * 4) as u64, "{form}");
        }
        let tokenizer = std::fs::metadata(folder.path().join("tokenizer.json")).unwrap().len() * 16;
        let limit = model.weight_bytes() + tokenizer + 10_000;
        let options = LoadOptions { memory_limit: limit, onnxruntime: Some(&library), ..LoadOptions::default() };
        let limited = Model::load(folder.path(), options).unwrap();
        let error = limited.generate(&TEXTS, &plain(), None).unwrap_err();
        assert_eq!(error.status(), Status::OutOfMemory, "{name}, {form}: {error}");
        assert_eq!(limited.cache_bytes(), 0);
    }
}

#[test]
fn broken_decoders_give_errors_that_name_the_file() {
    let Some(library) = onnxruntime() else { return };
    let with = |graph: &str| {
        let folder = form("gpt2", &[]);
        std::fs::copy(graphs("hostile").join(graph), folder.path().join("model.onnx")).unwrap();
        folder
    };
    let folder = with("no-present.onnx");
    let error = load_onnx(&library, folder.path()).err().unwrap();
    assert!(error.message().contains("model.onnx") && error.message().contains("`present.0.key`"), "{error}");
    let folder = with("past-that-stays.onnx");
    let model = load_onnx(&library, folder.path()).unwrap();
    let error = model.generate(&["a bird"], &plain(), None).unwrap_err();
    assert!(error.message().contains("model.onnx") && error.message().contains("present.0.key"), "{error}");
    // A decoder for another vocabulary.
    let folder = form("gpt2", &["model.onnx"]);
    let config = std::fs::read_to_string(folder.path().join("config.json")).unwrap();
    std::fs::write(folder.path().join("config.json"), config.replace("\"vocab_size\": 300", "\"vocab_size\": 301"))
        .unwrap();
    let error = load_onnx(&library, folder.path()).err().unwrap();
    assert!(error.message().contains("model.onnx") && error.message().contains("301"), "{error}");
    // Only one of two parts.
    let folder = form("gpt2", &["decoder_with_past_model.onnx"]);
    let error = load_onnx(&library, folder.path()).err().unwrap();
    assert!(error.message().contains("there are decoder_with_past_model.onnx"), "{error}");
    // The file of an encoder instead of a decoder.
    let folder = form("gpt2", &[]);
    std::fs::copy(graphs("bert/model.onnx"), folder.path().join("model.onnx")).unwrap();
    let error = load_onnx(&library, folder.path()).err().unwrap();
    assert!(error.message().contains("32 wide") && error.message().contains("36"), "{error}");
}

#[test]
fn concurrent_callers_get_their_own_texts() {
    let Some(library) = onnxruntime() else { return };
    for name in ["t5", "gpt2"] {
        let model = load_onnx(&library, &graphs(name)).unwrap();
        let expected = tokens(&model.generate(&TEXTS, &plain(), None).unwrap());
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (model, expected) = (&model, &expected);
                scope.spawn(move || {
                    for i in 0..10 {
                        let which = (i * 3 + thread) % TEXTS.len();
                        let found = model.generate(&[TEXTS[which]], &plain(), None).unwrap();
                        assert_eq!(tokens(&found)[0], expected[which]);
                    }
                });
            }
        });
    }
}

#[test]
fn loading_generating_and_freeing_leaks_nothing() {
    let _alone = alone();
    let Some(library) = onnxruntime() else { return };
    let cycle = |path: &Path, count: usize| {
        for i in 0..count {
            let model = load_onnx(&library, path).unwrap();
            let options = GenerateOptions { num_beams: Some(1 + i % 3), max_new_tokens: Some(6), ..plain() };
            model.generate(&TEXTS, &options, None).unwrap();
        }
    };
    for name in ["t5", "gpt2"] {
        cycle(&graphs(name), 30);
        let before = resident("VmRSS");
        cycle(&graphs(name), 100);
        match (before, resident("VmRSS")) {
            (Some(before), Some(after)) => {
                println!("{name}, resident: {before} bytes after 30 models, {after} after 130");
                assert!(after < before + (8 << 20), "{before} bytes became {after}");
            }
            _ => eprintln!("skipped: this system has no /proc/self/status to read the resident set from"),
        }
    }
}
