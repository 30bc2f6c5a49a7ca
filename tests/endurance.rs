//! Many calls on one shared model: memory does not grow, no call hangs, cancellation works.

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use kinglet::{
    Cancellation, CompressOptions, Device, EmbedOptions, GenerateOptions, LoadOptions, Model, Precision, Stage, Status,
};
use support::{alone, bits, fixtures, load, minilm, refs, resident, texts};

/// Accepted growth of the resident set: allocators keep some pages, and the kernel counts in batches.
const NOISE: usize = 4 << 20;

#[test]
fn four_threads_ten_thousand_calls() {
    let _alone = alone();
    let model = load(&fixtures().join("bert"), Device::Cpu, Precision::Int8, 2);
    let texts = texts(40);
    let texts = refs(&texts);
    let expected: Vec<_> =
        texts.iter().map(|text| bits(&model.embed(&[text], &EmbedOptions::default()).unwrap().values)).collect();
    let rounds = |calls: usize| {
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (model, texts, expected) = (&model, &texts, &expected);
                scope.spawn(move || {
                    for i in 0..calls / 4 {
                        let which = (i * 7 + thread * 11) % texts.len();
                        let result = model.embed(&[texts[which]], &EmbedOptions::default()).unwrap();
                        assert!(bits(&result.values) == expected[which], "call {i} of thread {thread}");
                    }
                });
            }
        });
    };
    model.reset_counters();
    rounds(2_000);
    let before = resident("VmRSS");
    rounds(10_000);
    assert_eq!(model.counters().stage(Stage::Call).calls, 12_000);
    assert_eq!(model.counters().latency().count, 12_000);
    match (before, resident("VmRSS")) {
        (Some(before), Some(after)) => {
            println!("resident: {before} bytes after 2,000 calls, {after} after 12,000");
            assert!(after < before + NOISE, "{before} bytes became {after}");
        }
        _ => eprintln!("skipped: this system has no /proc/self/status to read the resident set from"),
    }
}

#[test]
fn ten_thousand_generations_leak_nothing() {
    let _alone = alone();
    let models =
        ["gpt2", "t5-gated"].map(|f| load(&fixtures().join("generation").join(f), Device::Cpu, Precision::Int8, 2));
    let rounds = |count: usize| {
        for i in 0..count {
            let beams = 1 + i % 3;
            let options = GenerateOptions {
                max_new_tokens: Some(4 + i % 5),
                num_beams: Some(beams),
                stop_strings: (i % 7 == 0).then(|| vec!["zz".into()]),
                ..GenerateOptions::default()
            };
            let text = if i % 2 == 0 { "The small bird" } else { "a" };
            models[i % 2].generate(&[text], &options, None).unwrap();
        }
    };
    rounds(2_000);
    let before = resident("VmRSS");
    let caches: u64 = models.iter().map(Model::cache_bytes).sum();
    rounds(10_000);
    assert_eq!(models.iter().map(Model::cache_bytes).sum::<u64>(), caches, "the caches grew");
    match (before, resident("VmRSS")) {
        (Some(before), Some(after)) => {
            println!("resident: {before} bytes after 2,000 generations, {after} after 12,000");
            assert!(after < before + NOISE, "{before} bytes became {after}");
        }
        _ => eprintln!("skipped: this system has no /proc/self/status to read the resident set from"),
    }
}

#[test]
fn loading_and_freeing_leaks_nothing() {
    let _alone = alone();
    let (reads, writes) = (fixtures().join("mpnet"), fixtures().join("generation/t5"));
    let options = GenerateOptions { max_new_tokens: Some(4), ..GenerateOptions::default() };
    for device in support::devices() {
        let cycle = |count: usize| {
            for _ in 0..count {
                let model = load(&reads, device, Precision::F32, 2);
                model.embed(&["a small bird"], &EmbedOptions::default()).unwrap();
                let model = load(&writes, device, Precision::F32, 2);
                model.generate(&["a small bird"], &options, None).unwrap();
            }
        };
        cycle(20);
        let before = resident("VmRSS");
        cycle(100);
        if let (Some(before), Some(after)) = (before, resident("VmRSS")) {
            assert!(after < before + NOISE, "{}: {before} bytes became {after}", device.name());
        }
    }
}

/// Makes the present memory the greatest so far. False where Linux's /proc is not.
fn forget_peak() -> bool {
    std::fs::write("/proc/self/clear_refs", "5").is_ok() && resident("VmHWM").is_some()
}

#[test]
fn the_memory_of_a_call_does_not_grow_with_the_number_of_texts() {
    let _alone = alone();
    let (embedder, classifier) = (fixtures().join("bert"), fixtures().join("bert-classifier"));
    let load = |path: &Path| Model::load(path, LoadOptions { threads: 2, ..LoadOptions::default() }).unwrap();
    let (embedder, classifier) = (load(&embedder), load(&classifier));
    let texts: Vec<&str> = (0..300_000).map(|i| ["a bird", "a", "it sings", "the rain in the woods"][i % 4]).collect();
    embedder.embed(&texts[..20_000], &Default::default()).unwrap();
    classifier.classify(&texts[..20_000], None, &Default::default()).unwrap();
    if !forget_peak() {
        eprintln!("skipped: this system does not tell the most memory that a process has had");
        return;
    }
    let before = resident("VmRSS").unwrap();
    let embeddings = embedder.embed(&texts, &Default::default()).unwrap();
    let result = embeddings.values.len() * 4 + texts.len() * 17;
    let peak = resident("VmHWM").unwrap() - before;
    println!("embed: {peak} bytes, of which the result has {result}");
    assert!(peak < result + (16 << 20), "{peak} bytes, of which the result has {result}");
    assert_eq!(embeddings.row(299_996), embeddings.row(0));
    drop(embeddings);
    let texts = &texts[..100_000];
    assert!(forget_peak());
    let before = resident("VmRSS").unwrap();
    let classes = classifier.classify(texts, None, &Default::default()).unwrap();
    let result = classes.scores.len() * 4 + texts.len() * 13;
    let peak = resident("VmHWM").unwrap() - before;
    println!("classify: {peak} bytes, of which the result has {result}");
    assert!(peak < result + (16 << 20), "{peak} bytes, of which the result has {result}");
    assert_eq!(classes.best[99_996], classes.best[0]);
}

#[test]
fn the_memory_of_compression_does_not_grow_with_the_document() {
    let _alone = alone();
    let load = |name: &str| {
        let options = LoadOptions { threads: 2, ..LoadOptions::default() };
        Model::load(fixtures().join(name), options).unwrap()
    };
    let sentence = "the small bird sings of rain and runs to the sea while it answers. ";
    let document = sentence.repeat((512 << 10) / sentence.len());
    for name in ["bert-token-classifier", "generation/gpt2", "bert"] {
        let model = load(name);
        let keep_label = (name == "bert-token-classifier").then(|| "O".to_string());
        let options = CompressOptions { ratio: Some(8.0), keep_label, ..CompressOptions::default() };
        // What a call of any length takes.
        model.compress(&document[..100_000], &options).unwrap();
        let mut grown = Vec::new();
        for bytes in [document.len() / 4, document.len()] {
            if !forget_peak() {
                eprintln!("skipped: this system does not tell the most memory that a process has had");
                return;
            }
            let before = resident("VmRSS").unwrap();
            let result = model.compress(&document[..bytes], &options).unwrap();
            assert!(result.windows > 500);
            grown.push(resident("VmHWM").unwrap().saturating_sub(before));
        }
        println!("{name}: {grown:?} bytes for documents of {} and {} bytes", document.len() / 4, document.len());
        // Each word takes some 20 bytes.
        assert!(grown[1] < grown[0] + 4 * document.len() + NOISE, "{name}: {grown:?}");
    }
}

#[cfg(feature = "onnx")]
#[test]
fn a_thousand_runs_of_onnx_runtime_leak_nothing() {
    let Some(library) = support::onnxruntime() else { return };
    let _alone = alone();
    for name in ["onnx/bert/model.onnx", "onnx/gpt2"] {
        let model = support::load_onnx(&library, &fixtures().join(name)).unwrap();
        let round = |i: usize| {
            let texts: Vec<String> = (0..1 + i % 5).map(|n| "a small bird sings ".repeat(1 + (i + n) % 7)).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            match name.ends_with("onnx") {
                true => drop(model.embed(&texts, &Default::default()).unwrap()),
                false => {
                    let options = GenerateOptions { max_new_tokens: Some(4), ..GenerateOptions::default() };
                    drop(model.generate(&texts, &options, None).unwrap());
                }
            }
        };
        (0..200).for_each(round);
        let before = resident("VmRSS");
        (0..1000).for_each(round);
        if let (Some(before), Some(after)) = (before, resident("VmRSS")) {
            println!("{name}: {} bytes more after 1,000 runs", after.saturating_sub(before));
            assert!(after < before + (16 << 20), "{name}: {before} to {after} bytes");
        }
    }
}

#[test]
fn models_that_come_and_go_beside_one_that_stays_leak_nothing() {
    let _alone = alone();
    let load = || Model::load(fixtures().join("bert"), LoadOptions { threads: 1, ..LoadOptions::default() }).unwrap();
    let stays = load();
    (0..20).for_each(|_| drop(load()));
    let before = resident("VmRSS");
    (0..300).for_each(|_| drop(load()));
    if let (Some(before), Some(after)) = (before, resident("VmRSS")) {
        println!("{} bytes more after 300 loads", after.saturating_sub(before));
        assert!(after < before + (8 << 20), "{before} to {after} bytes");
    }
    drop(stays);
}

#[test]
fn a_cancelled_call_ends_early() {
    let _alone = alone();
    let path = minilm().unwrap_or_else(|| fixtures().join("bert"));
    let model = load(&path, Device::Cpu, Precision::F32, 2);
    let long = "the quick brown bird sings of rivers ".repeat(30);
    let texts = vec![long.as_str(); 4_000];
    let cancellation = Cancellation::new();
    let options = EmbedOptions { cancellation: Some(cancellation.clone()), ..EmbedOptions::default() };
    let (ended, status) = std::thread::scope(|scope| {
        let call = scope.spawn(|| (model.embed(&texts, &options).map(|_| ()), Instant::now()));
        std::thread::sleep(Duration::from_millis(20));
        let asked = Instant::now();
        cancellation.cancel();
        let (outcome, at) = call.join().unwrap();
        (at.saturating_duration_since(asked), outcome.map_err(|e| e.status()))
    });
    println!("ended {ended:?} after it was cancelled");
    assert_eq!(status, Err(Status::Cancelled));
    assert_eq!(model.counters().stage(Stage::Call).calls, 0, "a cancelled call is not counted");
    // A flag that was set before the call ends it at once, and the model still works.
    assert_eq!(model.embed(&["x"], &options).unwrap_err().status(), Status::Cancelled);
    assert!(model.embed(&["x"], &EmbedOptions::default()).is_ok());
}

#[test]
fn a_load_reports_progress_and_can_be_cancelled() {
    let _alone = alone();
    let path = fixtures().join("bert");
    let mut seen = Vec::new();
    let mut report = |share: f32| {
        seen.push(share);
        true
    };
    Model::load(&path, LoadOptions { progress: Some(&mut report), ..LoadOptions::default() }).unwrap();
    assert!(seen.len() >= 4 && seen.is_sorted() && seen[0] == 0.0 && seen[seen.len() - 1] == 1.0, "{seen:?}");

    let mut calls = 0;
    let mut stop = |_: f32| {
        calls += 1;
        calls < 2
    };
    let outcome = Model::load(&path, LoadOptions { progress: Some(&mut stop), ..LoadOptions::default() });
    assert_eq!(outcome.err().unwrap().status(), Status::Cancelled);
    assert_eq!(calls, 2);

    let cancellation = Cancellation::new();
    cancellation.cancel();
    let options = LoadOptions { cancellation: Some(cancellation), ..LoadOptions::default() };
    assert_eq!(Model::load(&path, options).err().unwrap().status(), Status::Cancelled);
}

#[test]
fn a_batch_is_tokenised_by_all_threads() {
    let _alone = alone();
    // Each text takes long enough for a sleeping thread to wake up and take part.
    let Some(path) = minilm() else { return };
    let model = load(&path, Device::Cpu, Precision::Int8, 2);
    let long = "unbelievably longwinded antidisestablishmentarianism ".repeat(400);
    let texts = vec![long.as_str(); 32];
    // User time in clock ticks; printed, not checked.
    let ticks = || -> Option<u64> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(11)?.parse().ok()
    };
    let (start, before) = (Instant::now(), ticks());
    for _ in 0..4 {
        model.tokenize(&texts, None, &Default::default(), None).unwrap();
    }
    if let (Some(before), Some(after)) = (before, ticks()) {
        let wall = start.elapsed().as_secs_f64();
        println!("tokenising: {:.2} s of CPU in {wall:.2} s", (after - before) as f64 / 100.0);
    }
    let stage = model.counters().stage(Stage::Tokenize);
    assert_eq!((stage.calls, stage.items), (4, 128));
    assert!(stage.tokens_per_second() > 0.0);
}
