//! Too little memory ends in an error, not in a signal: every verb under thirty limits on the size of its process.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::support;

const STEPS: u64 = 30;

/// The command line with an address space of `limit` bytes.
fn limited(limit: u64) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kinglet"));
    command.env_remove("RUST_BACKTRACE").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // SAFETY: `setrlimit` may be called between fork and exec.
    unsafe {
        command.pre_exec(move || {
            let limit = libc::rlimit { rlim_cur: limit as libc::rlim_t, rlim_max: limit as libc::rlim_t };
            match libc::setrlimit(libc::RLIMIT_AS, &limit) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        })
    };
    command
}

fn starts(limit: u64) -> bool {
    limited(limit).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// True if it succeeded; an error that is none of its own fails the test.
fn succeeds(limit: u64, arguments: &[&str], input: &str) -> bool {
    let mut child = limited(limit).args(arguments).spawn().unwrap();
    // A process that has failed reads no more.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => true,
        Some(1) => {
            assert!(told.contains("memory"), "{limit} bytes, {arguments:?}: {told}");
            false
        }
        _ => panic!("{limit} bytes, {arguments:?}: {}: {told}", output.status),
    }
}

/// The least limit, in steps of 4 MB, under which the system can start the program at all.
fn least() -> u64 {
    static LEAST: OnceLock<u64> = OnceLock::new();
    *LEAST.get_or_init(|| (1..100).map(|step| megabytes(4 * step)).find(|&limit| starts(limit)).unwrap())
}

/// Thirty limits up to `most`, which must be enough.
fn sweep(most: u64, arguments: &[&str], input: &str) {
    let least = least();
    assert!(succeeds(most, arguments, input), "{most} bytes are too few: {arguments:?}");
    let good = (0..STEPS).filter(|step| succeeds(least + (most - least) * step / STEPS, arguments, input)).count();
    assert!(good < STEPS as usize, "no limit was too low: {arguments:?}");
}

fn megabytes(n: u64) -> u64 {
    n << 20
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn small_models_under_limits() {
    let fixtures = support::fixtures();
    let fixture = |name: &str| fixtures.join(name);
    for (verb, name) in [
        ("embed", "bert"),
        ("classify", "bert-classifier"),
        ("generate", "generation/t5"),
        ("generate", "generation/llama"),
        ("generate", "generation/gpt2"),
    ] {
        sweep(megabytes(400), &[verb, "--model", path(&fixture(name)), "--threads", "2", "a small bird"], "");
    }
    let gguf = std::fs::read_dir(fixture("generation-gguf")).unwrap().map(|entry| entry.unwrap().path());
    let gguf = gguf.filter(|path| path.extension().is_some_and(|e| e == "gguf")).min().unwrap();
    sweep(megabytes(400), &["generate", "--model", path(&gguf), "--threads", "2", "a small bird"], "");
}

#[test]
fn long_texts_under_limits() {
    let fixtures = support::fixtures();
    let text = "a small bird sings ".repeat(10_000);
    let bert = fixtures.join("bert");
    sweep(megabytes(600), &["embed", "--model", path(&bert), "--threads", "2"], &text);
    sweep(megabytes(600), &["tokenize", "--model", path(&bert), "--threads", "2"], &text);
}

/// A model of GPT-2's width and vocabulary, whose weights are zeros that take no room on the disk. Fewer layers are as many kinds of
/// allocations.
fn shape_of_gpt2(folder: &Path) {
    let fixture = support::fixtures().join("generation/gpt2");
    for name in ["generation_config.json", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(fixture.join(name), folder.join(name)).unwrap();
    }
    let config = std::fs::read_to_string(fixture.join("config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
    let sizes = [("n_embd", 768), ("n_head", 12), ("n_inner", 3072), ("n_positions", 1024), ("vocab_size", 50257)];
    let size = |old: u64| match old {
        36 => 768,
        60 => 3072,
        108 => 2304,
        96 => 1024,
        300 => 50257,
        other => panic!("{other}"),
    };
    for (name, value) in sizes {
        config[name] = value.into();
    }
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let bytes = std::fs::read(fixture.join("model.safetensors")).unwrap();
    let length = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let mut header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let mut end = 0;
    for (_, tensor) in header.as_object_mut().unwrap().iter_mut().filter(|(name, _)| *name != "__metadata__") {
        let shape: Vec<u64> = tensor["shape"].as_array().unwrap().iter().map(|n| size(n.as_u64().unwrap())).collect();
        let start = end;
        end += 2 * shape.iter().product::<u64>();
        *tensor = serde_json::json!({"dtype": "F16", "shape": shape, "data_offsets": [start, end]});
    }
    let header = header.to_string();
    let mut file = std::fs::File::create(folder.join("model.safetensors")).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len(8 + header.len() as u64 + end).unwrap();
}

#[test]
fn the_shape_of_gpt2_under_limits() {
    let folder = tempfile::tempdir().unwrap();
    shape_of_gpt2(folder.path());
    let model = path(folder.path());
    let arguments = ["generate", "--model", model, "--threads", "2", "--max-new-tokens", "3", "a small bird"];
    sweep(megabytes(900), &arguments, "");
    sweep(megabytes(900), &[&arguments[..], &["--num-beams", "4"]].concat(), "");
    sweep(megabytes(900), &[&arguments[..], &["--precision", "int8"]].concat(), "");
}

#[test]
fn real_models_under_limits() {
    if let Some(minilm) = support::minilm() {
        let model = path(&minilm);
        sweep(megabytes(500), &["embed", "--model", model, "--precision", "int8", "--threads", "2", "a bird"], "");
        let folder = tempfile::tempdir().unwrap();
        sweep(megabytes(500), &["quantize", model, path(&folder.path().join("model.kinglet"))], "");
    }
    if let Some(smollm2) = support::smollm2() {
        let arguments = ["generate", "--model", path(&smollm2), "--precision", "int8", "--threads", "2"];
        sweep(megabytes(900), &[&arguments[..], &["--max-new-tokens", "5", "a bird"]].concat(), "");
    }
}
