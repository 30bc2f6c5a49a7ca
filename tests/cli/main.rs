//! The command line, run as a user runs it: the built program, tiny models, and transformers' numbers beside its own.

#![cfg(feature = "cli")]

mod classification;
mod embeddings;
mod measuring;
mod tokens;
mod usage;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

const TOLERANCE: f64 = 1e-4;

/// Those that this build has; the last one differs from the default if any does.
const DEVICES: &[&str] = if cfg!(feature = "candle") { &["cpu", "candle-cpu"] } else { &["cpu"] };

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The cases of a fixture's `reference.json`.
fn cases(name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(fixture(name).join("reference.json")).unwrap();
    let reference: Value = serde_json::from_str(&text).unwrap();
    reference["cases"].as_array().unwrap().clone()
}

fn command(verb: &str, model: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kinglet"));
    command.arg(verb).arg("--model").arg(fixture(model));
    command
}

/// Runs to the end with `input` on standard input.
fn feed(mut command: Command, input: impl AsRef<[u8]>) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.as_ref().to_vec());
    // From a thread of its own, so that neither side waits for the other; a program that ends early breaks this pipe.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

/// Standard output of a run that must succeed.
fn run(verb: &str, model: &str, arguments: &[&str], input: &str) -> String {
    let mut command = command(verb, model);
    command.args(arguments);
    let output = feed(command, input);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{verb} {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// The JSON objects of a run that must succeed, one per line.
fn run_json(verb: &str, model: &str, arguments: &[&str], input: &str) -> Vec<Value> {
    let arguments = [arguments, &["--json"]].concat();
    run(verb, model, &arguments, input).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The exit status of a command line that is wrong, and of work that failed.
const USAGE: i32 = 2;

const FAILED: i32 = 1;

/// Standard error of a run that must fail with `status` and one message of Kinglet's.
fn fails(status: i32, verb: &str, model: &str, arguments: &[&str], input: &str) -> String {
    let mut command = command(verb, model);
    command.args(arguments);
    let output = feed(command, input);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{verb} {arguments:?}: {errors}");
    assert!(errors.starts_with("kinglet: "), "{errors}");
    errors
}

fn floats(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(floats).collect(),
        number => vec![number.as_f64().unwrap_or_else(|| panic!("{number} is not a number"))],
    }
}

#[track_caller]
fn assert_close(got: &Value, wanted: &Value) {
    let (got, wanted) = (floats(got), floats(wanted));
    assert_eq!(got.len(), wanted.len());
    for (got, wanted) in got.iter().zip(&wanted) {
        assert!((got - wanted).abs() <= TOLERANCE, "{got} instead of {wanted}");
    }
}

fn text(case: &Value) -> &str {
    case["text"].as_str().unwrap()
}

/// The cases that fit on a line.
fn lines_of(cases: &[Value]) -> Vec<&Value> {
    cases.iter().filter(|c| c["pair"].is_null() && !text(c).contains(['\n', '\t'])).collect()
}

fn joined<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    texts.into_iter().map(|text| format!("{text}\n")).collect()
}
