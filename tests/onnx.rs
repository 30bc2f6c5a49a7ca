//! ONNX encoder graphs, compared with the fixtures' references and with Python's ONNX Runtime; broken graphs and wrong libraries.

mod support;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use kinglet::{
    Aggregation, Cancellation, ClassifyOptions, Device, EmbedOptions, LoadOptions, Log, LogLevel, Model, Pooling,
    Precision, ScoreFunction, Stage, Status,
};
use support::{alone, cases, copy_of, cosine, distance, floats, ids, load_onnx, onnxruntime, refs, resident, texts};

/// The maximum difference from transformers in f32.
const TOLERANCE: f32 = 1e-4;
/// The maximum difference of a text's numbers between a batch and a single call.
const BATCH_TOLERANCE: f32 = 1e-5;

fn fixture(name: &str) -> PathBuf {
    support::fixtures().join("onnx").join(name)
}

/// The configuration and tokenizer of the tiny BERT with another graph.
fn bert_with(graph: &Path) -> tempfile::TempDir {
    let folder = copy_of(&fixture("bert"), |name| name.ends_with(".onnx"));
    std::fs::copy(graph, folder.path().join("model.onnx")).unwrap();
    folder
}

fn message(outcome: kinglet::Result<impl Sized>) -> String {
    outcome.err().expect("it must fail").message().to_string()
}

#[test]
fn graphs_match_the_references() {
    let Some(library) = onnxruntime() else { return };
    for name in ["bert", "bert-classifier", "bert-token-classifier"] {
        let model = load_onnx(&library, &fixture(name)).unwrap();
        for (i, case) in cases(&support::fixtures().join(name)).iter().enumerate() {
            let at = format!("{name}, case {i}");
            let (text, pair) = (case["text"].as_str().unwrap(), case["pair"].as_str());
            let raw = ClassifyOptions { function: Some(ScoreFunction::None), ..ClassifyOptions::default() };
            if name == "bert" {
                let (ids, types) = (ids(&case["ids"]), ids(&case["type_ids"]));
                let states = model.hidden_states(&ids, &[ids.len()], Some(&types), None).unwrap();
                assert!(distance(&states.values, &floats(&case["hidden"])) <= TOLERANCE, "{at}");
            } else if name == "bert-classifier" {
                let pairs = pair.map(|pair| vec![pair]);
                let scores = model.classify(&[text], pairs.as_deref(), &raw).unwrap().scores;
                assert!(distance(&scores, &floats(&case["logits"])) <= TOLERANCE, "{at}");
            } else {
                let scores = model.classify_tokens(&[text], Aggregation::None, &raw).unwrap().scores;
                assert!(distance(&scores, &floats(&case["logits"])) <= TOLERANCE, "{at}");
            }
            if !case["embedding"].is_null() {
                let embedding = model.embed(&[text], &EmbedOptions::default()).unwrap().values;
                assert!(distance(&embedding, &floats(&case["embedding"])) <= TOLERANCE, "{at}");
            }
        }
    }
}

#[test]
fn every_pooling_matches_the_native_one() {
    let Some(library) = onnxruntime() else { return };
    let native = support::load(&support::fixtures().join("bert"), Device::Cpu, Precision::F32, 2);
    let model = load_onnx(&library, &fixture("bert")).unwrap();
    let texts = texts(30);
    for pooling in Pooling::ALL {
        for normalize in [false, true] {
            let options =
                EmbedOptions { pooling: Some(pooling), normalize: Some(normalize), ..EmbedOptions::default() };
            let (expected, found) =
                (native.embed(&refs(&texts), &options).unwrap(), model.embed(&refs(&texts), &options).unwrap());
            assert_eq!((expected.dimension, &expected.starts), (found.dimension, &found.starts));
            assert!(distance(&found.values, &expected.values) <= TOLERANCE, "{}", pooling.name());
        }
    }
}

#[test]
fn a_batch_gives_the_numbers_of_single_texts() {
    let Some(library) = onnxruntime() else { return };
    let texts = texts(300);
    let texts = refs(&texts);
    let options = EmbedOptions::default();
    let model = load_onnx(&library, &fixture("bert")).unwrap();
    let batch = model.embed(&texts, &options).unwrap();
    for (i, text) in texts.iter().enumerate() {
        let single = model.embed(&[text], &options).unwrap();
        assert!(distance(&single.values, batch.row(i)) <= BATCH_TOLERANCE, "text {i}");
    }
    let runs = model.counters().stage(Stage::Linear);
    assert!(runs.calls < 330, "{} runs for 300 single texts and their batch", runs.calls);

    let model = load_onnx(&library, &fixture("bert-token-classifier")).unwrap();
    let options = ClassifyOptions::default();
    let batch = model.classify_tokens(&texts, Aggregation::None, &options).unwrap();
    for (i, text) in texts.iter().enumerate() {
        let single = model.classify_tokens(&[text], Aggregation::None, &options).unwrap();
        let mine = &batch.scores[batch.starts[i] * batch.labels..batch.starts[i + 1] * batch.labels];
        assert!(distance(&single.scores, mine) <= BATCH_TOLERANCE, "text {i}");
    }
}

#[test]
fn int8_minilm_matches_python_s_onnx_runtime() {
    let Some(library) = onnxruntime() else { return };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("build/models/minilm-onnx");
    if !path.exists() {
        eprintln!("skipped: {} is not there; `make test` fetches it", path.display());
        return;
    }
    let lines = std::fs::read_to_string(support::fixtures().join("minilm/texts.jsonl")).unwrap();
    let text =
        |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["text"].as_str().unwrap().to_string();
    let texts: Vec<_> = lines.lines().take(200).map(text).collect();
    let bytes = std::fs::read(fixture("minilm.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let halves = tensors.tensor("embeddings").unwrap().data().as_chunks::<2>().0.to_vec();
    let expected: Vec<f32> = halves.into_iter().map(|half| half::f16::from_le_bytes(half).to_f32()).collect();
    let model = load_onnx(&library, &path).unwrap();
    assert_eq!((model.max_length(), model.precision()), (256, Precision::Int8));
    let found = model.embed(&refs(&texts), &EmbedOptions::default()).unwrap();
    let cosines = (0..200).map(|i| cosine(found.row(i), &expected[i * 384..][..384]));
    let worst = cosines.fold(1.0, f64::min);
    println!("200 texts: worst cosine {worst:.8}");
    assert!(worst > 0.99999, "{worst}");
}

#[test]
fn a_graph_may_pool_by_itself() {
    let Some(library) = onnxruntime() else { return };
    // For modules that Kinglet does not support, the graph's own sentence_embedding is used.
    let folder = bert_with(&fixture("bert/model.onnx"));
    let modules = r#"[{"type": "sentence_transformers.models.Transformer", "path": ""},
        {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
        {"type": "sentence_transformers.models.Dense", "path": "2_Dense"}]"#;
    std::fs::write(folder.path().join("modules.json"), modules).unwrap();
    let model = load_onnx(&library, folder.path()).unwrap();
    let texts = texts(20);
    let found = model.embed(&refs(&texts), &EmbedOptions::default()).unwrap();
    let expected =
        load_onnx(&library, &fixture("bert")).unwrap().embed(&refs(&texts), &EmbedOptions::default()).unwrap();
    assert!(distance(&found.values, &expected.values) <= TOLERANCE);
    // A pooling that a call names is made of the graph's vectors per token.
    let options = EmbedOptions { pooling: Some(Pooling::Cls), normalize: Some(false), ..EmbedOptions::default() };
    let native = support::load(&support::fixtures().join("bert"), Device::Cpu, Precision::F32, 2);
    let (found, expected) = (model.embed(&refs(&texts), &options), native.embed(&refs(&texts), &options));
    assert!(distance(&found.unwrap().values, &expected.unwrap().values) <= TOLERANCE);
}

#[test]
fn an_unknown_family_runs_as_a_graph() {
    let Some(library) = onnxruntime() else { return };
    for (name, bert) in [("bert", "BertModel"), ("bert-classifier", "BertForSequenceClassification")] {
        let folder = copy_of(&fixture(name), |_| false);
        let config = std::fs::read_to_string(fixture(name).join("config.json")).unwrap();
        let config = config.replace("\"bert\"", "\"funnel\"").replace(bert, &bert.replace("Bert", "Funnel"));
        std::fs::write(folder.path().join("config.json"), config).unwrap();
        let (known, other) =
            (load_onnx(&library, &fixture(name)).unwrap(), load_onnx(&library, folder.path()).unwrap());
        assert_eq!((known.family(), other.family()), ("bert", "onnx"));
        assert_eq!(known.labels(), other.labels());
        if name == "bert" {
            let embed = |model: &Model| model.embed(&["the small bird"], &EmbedOptions::default()).unwrap().values;
            assert!(distance(&embed(&known), &embed(&other)) <= BATCH_TOLERANCE);
        } else {
            let classify =
                |model: &Model| model.classify(&["the small bird"], None, &Default::default()).unwrap().scores;
            assert!(distance(&classify(&known), &classify(&other)) <= BATCH_TOLERANCE);
        }
    }
}

#[test]
fn files_are_found_in_the_usual_places() {
    let Some(library) = onnxruntime() else { return };
    let load = |path: &Path, precision| {
        let options = LoadOptions { precision, onnxruntime: Some(&library), threads: 1, ..LoadOptions::default() };
        Model::load(path, options)
    };
    let tokens = fixture("bert-token-classifier");
    for path in [tokens.clone(), tokens.join("onnx"), tokens.join("onnx/model.onnx")] {
        let info = load(&path, None).unwrap().info();
        assert_eq!(info["backend"], "onnx");
        assert_eq!(info["execution_provider"], "cpu");
        assert_eq!(info["graphs"][0].as_str().unwrap(), tokens.join("onnx/model.onnx").to_str().unwrap());
        assert!(info["onnxruntime"].as_str().unwrap().starts_with("1."), "{info}");
        assert!(info["kernels"].as_str().unwrap().starts_with("onnxruntime 1."), "{info}");
    }
    let error = message(load(&fixture("bert"), Some(Precision::Int8)));
    assert!(error.contains("int8") && error.ends_with("there are model.onnx"), "{error}");
    let error = message(load(&fixture("bert"), Some(Precision::Bf16)));
    assert!(error.contains("bf16") && error.contains("auto"), "{error}");
    // A directory with safetensors is run natively, unless the path is the graph's.
    let folder = copy_of(&fixture("bert"), |_| false);
    std::fs::copy(support::fixtures().join("bert/model.safetensors"), folder.path().join("model.safetensors")).unwrap();
    let native = load(folder.path(), None).unwrap();
    assert_eq!(native.info()["backend"], "kinglet");
    let named = load(&folder.path().join("model.onnx"), None).unwrap();
    let size = std::fs::metadata(folder.path().join("model.onnx")).unwrap().len();
    assert_eq!((named.info()["backend"].as_str(), named.weight_bytes()), (Some("onnx"), size));
    let hidden = |model: &Model| model.hidden_states(&[5, 6, 7], &[3], None, None).unwrap().values;
    assert!(distance(&hidden(&native), &hidden(&named)) <= TOLERANCE);
}

#[test]
fn unsupported_combinations_name_the_alternatives() {
    let Some(library) = onnxruntime() else { return };
    let on = |device| {
        let options = LoadOptions { device, onnxruntime: Some(&library), ..LoadOptions::default() };
        message(Model::load(fixture("bert"), options))
    };
    assert!(on(Device::CandleCpu).contains("use cpu"));
    if !cfg!(target_os = "macos") {
        assert!(on(Device::Metal).contains("use cpu"));
        let error = on(Device::Cuda);
        assert!(error.contains("onnxruntime-gpu") && error.contains("use cpu"), "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let error =
        message(kinglet::quantize(&fixture("bert"), &folder.path().join("x.kinglet"), Precision::Int8, &mut |_| true));
    assert!(error.contains("safetensors") && error.contains("model_quantized.onnx"), "{error}");
    let limited = LoadOptions { memory_limit: 1000, onnxruntime: Some(&library), ..LoadOptions::default() };
    assert_eq!(Model::load(fixture("bert"), limited).err().unwrap().status(), Status::OutOfMemory);
    let model = load_onnx(&library, &fixture("bert-classifier")).unwrap();
    let error = message(model.embed(&["a"], &EmbedOptions::default()));
    assert!(error.contains("model.onnx") && error.contains("feature-extraction"), "{error}");
    assert_eq!(model.generate(&["a"], &Default::default(), None).err().unwrap().status(), Status::Unsupported);
}

#[test]
fn broken_graphs_give_errors_that_name_the_file() {
    let Some(library) = onnxruntime() else { return };
    // Wrong declarations of a graph are found when it is loaded.
    for (graph, says) in
        [("no-states.onnx", "`something`"), ("too-wide.onnx", "33 wide"), ("odd-input.onnx", "`pixel_values`")]
    {
        let folder = bert_with(&fixture("hostile").join(graph));
        let error = message(load_onnx(&library, folder.path()));
        assert!(error.contains("model.onnx") && error.contains(says), "{graph}: {error}");
    }
    // Wrong outputs are found when it runs, and the next call works the same.
    for (graph, says) in [
        ("wide-when-run.onnx", "[1, 3, 33]"),
        ("longer.onnx", "[1, 4, 32]"),
        ("whole-numbers.onnx", "i64"),
        ("fails.onnx", "cannot run it"),
    ] {
        let folder = bert_with(&fixture("hostile").join(graph));
        let model = load_onnx(&library, folder.path()).unwrap();
        for _ in 0..2 {
            let error = message(model.hidden_states(&[5, 6, 7], &[3], None, None));
            assert!(error.contains("model.onnx") && error.contains(says), "{graph}: {error}");
        }
    }
    let whole = std::fs::read(fixture("bert/model.onnx")).unwrap();
    let folder = bert_with(&fixture("bert/model.onnx"));
    let path = folder.path().join("model.onnx");
    for length in [0, 1, 100, 5_000, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = message(load_onnx(&library, folder.path()));
        assert!(error.contains("model.onnx"), "{length} bytes: {error}");
    }
    std::fs::write(&path, "no graph at all").unwrap();
    assert!(message(load_onnx(&library, folder.path())).contains("model.onnx"));
    // Its external data is missing.
    let folder = copy_of(&fixture("gpt2"), |name| name.ends_with("_data") || name.starts_with("decoder"));
    let error = message(load_onnx(&library, folder.path()));
    assert!(error.contains("model.onnx"), "{error}");
    // Sizes are limited even if no tensor bounds them.
    for (name, key, value) in [
        ("bert", "\"vocab_size\": 300", "\"vocab_size\": 300000000"),
        ("bert-classifier", "\"id2label\"", "\"num_labels\": 2000000000, \"no_labels\""),
    ] {
        let folder = copy_of(&fixture(name), |_| false);
        let config = std::fs::read_to_string(fixture(name).join("config.json")).unwrap();
        assert!(config.contains(key), "{config}");
        std::fs::write(folder.path().join("config.json"), config.replace(key, value)).unwrap();
        let error = message(load_onnx(&library, folder.path()));
        assert!(error.contains("config.json") && error.contains("at most"), "{error}");
    }
    // Ids are checked before the graph sees them.
    let model = load_onnx(&library, &fixture("bert")).unwrap();
    let error = message(model.hidden_states(&[100_000], &[1], None, None));
    assert!(error.contains("100000"), "{error}");
    let error = message(model.hidden_states(&[5; 100], &[100], None, None));
    assert!(error.contains("100 tokens"), "{error}");
}

#[test]
fn a_second_library_is_not_opened_and_a_warning_is_logged() {
    let Some(library) = onnxruntime() else { return };
    let first = load_onnx(&library, &fixture("bert")).unwrap();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = lines.clone();
    let log = Log::new(LogLevel::Warning, move |_, line: &str| sink.lock().unwrap().push(line.to_string()));
    let options =
        LoadOptions { onnxruntime: Some(Path::new("/elsewhere/libonnxruntime.so")), log, ..Default::default() };
    let second = Model::load(fixture("bert"), options).unwrap();
    let lines = lines.lock().unwrap();
    assert!(lines.iter().any(|line| line.contains("/elsewhere/") && line.contains("already")), "{lines:?}");
    assert_eq!(first.info()["onnxruntime"], second.info()["onnxruntime"]);
}

/// The error output of the command line, with no library except what `arguments` and `variables` name.
#[cfg(feature = "cli")]
fn refused(arguments: &[&str], variables: &[(&str, &Path)]) -> String {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kinglet"));
    command.args(["embed", "--model"]).arg(fixture("bert")).arg("a bird").args(arguments);
    command.env_remove("ORT_DYLIB_PATH").env_remove("LD_LIBRARY_PATH").envs(variables.iter().copied());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

#[cfg(all(feature = "cli", feature = "onnx"))]
#[test]
fn a_missing_or_wrong_library_is_a_clear_error() {
    let error = refused(&["--onnxruntime", "/nowhere/libonnxruntime.so"], &[]);
    assert!(
        error.contains("/nowhere/libonnxruntime.so") && error.contains("1.17") && error.contains("pip download"),
        "{error}"
    );
    let error = refused(&[], &[("ORT_DYLIB_PATH", Path::new("/nowhere/else.so"))]);
    assert!(error.contains("ORT_DYLIB_PATH: /nowhere/else.so"), "{error}");
    let config = fixture("bert/config.json");
    let error = refused(&["--onnxruntime", config.to_str().unwrap()], &[]);
    assert!(error.contains("config.json") && error.contains("cannot be opened"), "{error}");
    #[cfg(unix)]
    {
        let folder = tempfile::tempdir().unwrap();
        let build = |name: &str, source: &str| -> Option<PathBuf> {
            let (code, library) = (folder.path().join(format!("{name}.c")), folder.path().join(name));
            std::fs::write(&code, source).unwrap();
            let mut cc = std::process::Command::new("cc");
            cc.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&code);
            match cc.status() {
                Ok(status) if status.success() => Some(library),
                _ => {
                    eprintln!("skipped: cc cannot make a library to be refused");
                    None
                }
            }
        };
        let old = "static const void *api(unsigned v) { (void)v; return 0; }
            static const char *version(void) { return \"1.16.3\"; }
            static const struct { const void *(*a)(unsigned); const char *(*b)(void); } base = { api, version };
            const void *OrtGetApiBase(void) { return &base; }";
        if let Some(library) = build("old.so", old) {
            let error = refused(&["--onnxruntime", library.to_str().unwrap()], &[]);
            assert!(error.contains("1.16.3") && error.contains("too old") && error.contains("1.17"), "{error}");
        }
        if let Some(library) = build("other.so", "int other;") {
            let error = refused(&["--onnxruntime", library.to_str().unwrap()], &[]);
            assert!(error.contains("is not ONNX Runtime"), "{error}");
        }
    }
    if Path::new("/usr/lib/x86_64-linux-gnu/libonnxruntime.so").exists() {
        eprintln!("skipped: this system has an ONNX Runtime, so its absence cannot be tested");
        return;
    }
    let error = refused(&[], &[]);
    assert!(error.contains("there is no libonnxruntime") && error.contains("release page"), "{error}");
}

#[cfg(feature = "cli")]
#[test]
fn the_command_line_runs_graphs() {
    let Some(library) = onnxruntime() else { return };
    let run = |arguments: &[&str], by_variable: bool| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kinglet"));
        command.args(arguments).arg("--model").arg(fixture("bert/model.onnx"));
        match by_variable {
            true => command.env("ORT_DYLIB_PATH", &library),
            false => command.arg("--onnxruntime").arg(&library),
        };
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let model = load_onnx(&library, &fixture("bert")).unwrap();
    let expected = model.embed(&["a small bird"], &EmbedOptions::default()).unwrap().values;
    for by_variable in [false, true] {
        let line = run(&["embed", "--json", "a small bird"], by_variable);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(distance(&floats(&value["embedding"]), &expected) <= BATCH_TOLERANCE);
    }
    let told = run(&["inspect"], false);
    let rows = |name: &str| told.lines().find(|line| line.starts_with(name)).unwrap().to_string();
    assert!(rows("backend").ends_with("onnx") && rows("graph").ends_with("bert/model.onnx"), "{told}");
    assert!(rows("kernels").contains("onnxruntime 1.") && rows("kernels").ends_with(" cpu"), "{told}");
}

#[test]
fn calls_from_many_threads_take_turns() {
    let Some(library) = onnxruntime() else { return };
    let model = load_onnx(&library, &fixture("bert")).unwrap();
    let texts = texts(40);
    let texts = refs(&texts);
    let options = EmbedOptions::default();
    let expected: Vec<_> = texts.iter().map(|text| model.embed(&[text], &options).unwrap().values).collect();
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let (model, texts, expected, options) = (&model, &texts, &expected, &options);
            scope.spawn(move || {
                for i in 0..200 {
                    let which = (i * 7 + thread * 11) % texts.len();
                    let found = model.embed(&[texts[which]], options).unwrap().values;
                    assert!(distance(&found, &expected[which]) <= BATCH_TOLERANCE, "call {i} of thread {thread}");
                }
            });
        }
    });
    assert_eq!(model.counters().stage(Stage::Call).calls, 40 + 6 * 200);
}

#[test]
fn a_cancelled_call_ends() {
    let Some(library) = onnxruntime() else { return };
    let model = load_onnx(&library, &fixture("bert")).unwrap();
    let cancellation = Cancellation::new();
    cancellation.cancel();
    let options = EmbedOptions { cancellation: Some(cancellation), ..EmbedOptions::default() };
    assert_eq!(model.embed(&["x"], &options).unwrap_err().status(), Status::Cancelled);
    assert!(model.embed(&["x"], &EmbedOptions::default()).is_ok());
    let mut stop = |share: f32| share < 0.5;
    let options = LoadOptions { progress: Some(&mut stop), onnxruntime: Some(&library), ..LoadOptions::default() };
    assert_eq!(Model::load(fixture("bert"), options).err().unwrap().status(), Status::Cancelled);
}

#[test]
fn loading_running_and_freeing_leaks_nothing() {
    let _alone = alone();
    let Some(library) = onnxruntime() else { return };
    let texts = texts(50);
    let cycle = |count: usize| {
        for _ in 0..count {
            let model = load_onnx(&library, &fixture("bert")).unwrap();
            model.embed(&refs(&texts), &EmbedOptions::default()).unwrap();
        }
    };
    cycle(30);
    let before = resident("VmRSS");
    cycle(100);
    match (before, resident("VmRSS")) {
        (Some(before), Some(after)) => {
            println!("resident: {before} bytes after 30 models, {after} after 130");
            assert!(after < before + (8 << 20), "{before} bytes became {after}");
        }
        _ => eprintln!("skipped: this system has no /proc/self/status to read the resident set from"),
    }
}
