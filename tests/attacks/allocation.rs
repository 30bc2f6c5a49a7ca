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
