//! The provider without a GPU: built for candle's CPU device, and called through the same table of functions.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kinglet::{Device, EmbedOptions, GenerateOptions, Precision};
use serde_json::Value;

/// The provider of this build, if it exists: `cargo test` builds it, a single test does not.
fn provider() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_BIN_EXE_kinglet")).parent().unwrap().join("examples");
    let prefix = if cfg!(windows) { "" } else { "lib" };
    let path = folder.join(format!("{prefix}kinglet_provider{}", std::env::consts::DLL_SUFFIX));
    if !cfg!(all(unix, feature = "candle")) {
        println!("skipped: providers are for Unix and builds with candle");
        return None;
    }
    if !path.exists() {
        println!("skipped: {} was not built; cargo build --example kinglet_provider builds it", path.display());
        return None;
    }
    Some(path)
}

fn kinglet(provider: Option<&Path>, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kinglet"));
    command.args(arguments).env_remove("KINGLET_PROVIDER");
    if let Some(provider) = provider {
        command.env("KINGLET_PROVIDER", provider);
    }
    command.output().unwrap()
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn failure(output: &Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn fixture(name: &str) -> String {
    support::fixtures().join(name).to_str().unwrap().to_string()
}

#[test]
fn a_provider_gives_the_results_of_this_build() {
    let Some(provider) = provider() else { return };
    let (bert, t5, llama) = (fixture("bert"), fixture("generation/t5"), fixture("generation/llama"));
    let (classifier, masked, sparse) = (fixture("bert-classifier"), fixture("tasks/bert"), fixture("tasks/splade-sum"));
    let commands: [&[&str]; 8] = [
        &["embed", "--model", &bert, "a small bird", "and another, rather larger one"],
        &["classify", "--model", &classifier, "a small bird", "rivers"],
        &["fill-mask", "--model", &masked, "a small [MASK]", "[MASK] and [MASK]"],
        &["sparse-embed", "--model", &sparse, "a small bird", "rivers"],
        &["generate", "--model", &t5, "--max-new-tokens", "12", "a small bird", "sings"],
        &["generate", "--model", &t5, "--max-new-tokens", "12", "--num-beams", "4", "a small bird sings of rivers"],
        &["generate", "--model", &llama, "--max-new-tokens", "12", "--num-beams", "3", "a small bird", "sings of it"],
        &["generate", "--model", &llama, "--max-new-tokens", "8", "--do-sample", "--seed", "7", "a small bird"],
    ];
    for command in commands {
        let command = [command, &["--device", "candle-cpu", "--json"]].concat();
        let here = text(&kinglet(None, &command));
        assert!(here.len() > 20, "{here}");
        assert_eq!(text(&kinglet(Some(&provider), &command)), here, "{command:?}");
    }
}

#[test]
fn a_provider_s_stages_are_counted_and_its_errors_reported() {
    let Some(provider) = provider() else { return };
    let bert = fixture("bert");
    let command = ["embed", "--model", &bert, "--device", "candle-cpu", "--counters", "json", "a small bird"];
    let output = kinglet(Some(&provider), &command);
    let counters: Value = serde_json::from_slice(&output.stderr).unwrap();
    for stage in ["load", "attention", "linear", "transfer"] {
        assert!(counters["stages"][stage]["nanoseconds"].as_u64() > Some(0), "{stage}: {counters}");
    }
    // The values of an embedding are read, and its ids are written.
    assert!(counters["stages"]["transfer"]["items"].as_u64() > Some(32 * 4), "{counters}");
    let command = ["embed", "--model", &bert, "--device", "candle-cpu", "--memory-limit", "100000", "a small bird"];
    let message = failure(&kinglet(Some(&provider), &command));
    assert!(message.contains("memory limit is 100000"), "{message}");
    let message = failure(&kinglet(Some(&provider), &["embed", "--model", &bert, "--device", "cuda", "a"]));
    assert!(message.contains("device cuda"), "{message}");
}

/// Accepted growth in a hundred cycles: allocators keep some pages.
const NOISE: usize = 4 << 20;

#[test]
fn a_hundred_cycles_leak_nothing() {
    let Some(provider) = provider() else { return };
    // SAFETY: no other test in this file reads the environment; each passes variables to the programs that it starts.
    unsafe { std::env::set_var("KINGLET_PROVIDER", provider) };
    let (reads, writes) = (support::fixtures().join("mpnet"), support::fixtures().join("generation/llama"));
    let options = GenerateOptions { max_new_tokens: Some(3), ..GenerateOptions::default() };
    let beams = GenerateOptions { num_beams: Some(3), ..options.clone() };
    let cycle = |count: usize| {
        for _ in 0..count {
            let model = support::load(&reads, Device::CandleCpu, Precision::F32, 1);
            model.embed(&["a small bird"], &EmbedOptions::default()).unwrap();
            let model = support::load(&writes, Device::CandleCpu, Precision::F32, 1);
            let prefix = model.prefix("a small", true, None).unwrap();
            let beams = GenerateOptions { prefix: Some(prefix), ..beams.clone() };
            model.generate(&["a small bird"], &beams, None).unwrap();
            // Concurrent calls, whose sequences are created and freed in any order.
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| model.generate(&["a small bird", "sings"], &options, None).unwrap());
                }
            });
            assert!(model.cache_bytes() > 0);
        }
    };
    cycle(20);
    // A leak grows in every round; an allocator that starts a further arena under load grows once.
    let grew = |_| {
        let before = support::resident("VmRSS");
        cycle(100);
        before.zip(support::resident("VmRSS")).filter(|(before, after)| *after >= before + NOISE)
    };
    let rounds: Vec<_> = (0..3).map_while(grew).collect();
    assert!(rounds.len() < 3, "resident bytes before and after a hundred cycles: {rounds:?}");
}

#[test]
fn files_that_are_not_providers_are_refused() {
    let bert = fixture("bert");
    let folder = tempfile::tempdir().unwrap();
    let text_file = folder.path().join("libtext.so");
    std::fs::write(&text_file, "not a library").unwrap();
    for (path, part) in [(text_file.as_path(), "libtext.so"), (Path::new("/nowhere/libnone.so"), "libnone.so")] {
        let message = failure(&kinglet(Some(path), &["embed", "--model", &bert, "--device", "cuda", "a"]));
        assert!(message.contains("device cuda") && message.contains(part), "{message}");
        assert!(message.contains("KINGLET_PROVIDER"), "{message}");
    }
}

#[test]
fn devices_are_listed_and_missing_ones_explained() {
    let output = text(&kinglet(None, &["devices", "--json"]));
    let list: Value = serde_json::from_str(&output).unwrap();
    let devices = list["devices"].as_array().unwrap();
    assert_eq!((&devices[0]["device"], &devices[0]["index"]), (&"cpu".into(), &0.into()));
    assert!(devices[0]["memory_total"].as_u64() > Some(0) || !cfg!(unix), "{list}");
    let kinds: Vec<_> = devices.iter().filter_map(|device| device["device"].as_str()).collect();
    assert_eq!(kinds.contains(&"candle-cpu"), cfg!(feature = "candle"), "{list}");
    // Every kind is listed, or there is a reason why not.
    let missing: Vec<_> = list["missing"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for kind in ["cuda", "metal"] {
        let explained = missing.iter().any(|line| line.contains(kind));
        assert!(kinds.contains(&kind) != explained, "{list}");
        if !kinds.contains(&kind) {
            let bert = fixture("bert");
            let message = failure(&kinglet(None, &["embed", "--model", &bert, "--device", kind, "a"]));
            assert!(message.contains(kind) && message.contains("use device cpu"), "{message}");
        }
    }
    let bert = fixture("bert");
    let message = failure(&kinglet(None, &["embed", "--model", &bert, "--device-index", "1", "a"]));
    assert!(message.contains("device_index: 1"), "{message}");
}
