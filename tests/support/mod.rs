//! What several test files share: fixtures, the real MiniLM, references.
#![allow(dead_code)]

pub mod gguf;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kinglet::{Device, LoadOptions, Model, Precision};
use serde_json::Value;

/// The families that only read; all others generate, and a new one must have a fixture among those.
pub const ENCODERS: [&str; 13] = [
    "bert",
    "distilbert",
    "roberta",
    "xlm-roberta",
    "camembert",
    "mpnet",
    "nomic_bert",
    "modernbert",
    "eurobert",
    "electra",
    "albert",
    "deberta-v2",
    "gte",
];

/// `KINGLET_FIXTURES`, else `tests/fixtures`.
pub fn fixtures() -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    std::env::var_os("KINGLET_FIXTURES").map_or(default, PathBuf::from)
}

/// Numbers of threads whose results are compared with those of one. How work is cut does not depend on the instruction set, so where a lower
/// one is named (`KINGLET_ISA`, when `make test` repeats tests with each), one number will do.
pub fn threads() -> &'static [usize] {
    if std::env::var_os("KINGLET_ISA").is_some() { &[3] } else { &[1, 2, 3] }
}

/// The least cosine of a model in a narrower precision to f32. Rounding sends some tokens of a mixture of experts to other experts.
pub fn narrower_bar(path: &Path, bar: f64) -> f64 {
    let config = std::fs::read_to_string(path.join("config.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    let experts = ["num_experts", "num_local_experts"].iter().any(|name| config[*name].as_u64().unwrap_or(0) > 0);
    if experts { bar - 0.1 } else { bar }
}

/// Every fixture that is a model, by name.
pub fn models() -> Vec<PathBuf> {
    let folders = std::fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = folders.filter(|path| path.join("config.json").exists()).collect();
    found.sort();
    found
}

/// The real all-MiniLM-L6-v2: `KINGLET_MINILM`, else `build/models/minilm`, where `make test` puts it. None, said loudly, if it is
/// not there.
pub fn minilm() -> Option<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("build/models/minilm");
    let path = std::env::var_os("KINGLET_MINILM").map_or(default, PathBuf::from);
    if path.join("model.safetensors").exists() {
        return Some(path);
    }
    eprintln!("skipped: all-MiniLM-L6-v2 is not in {}; `make test` fetches it", path.display());
    None
}

/// SmolLM2-135M-Instruct: `KINGLET_SMOLLM2`, else `build/models/smollm2.gguf`, where `make test` puts it. None, with a message, if it is
/// missing.
pub fn smollm2() -> Option<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("build/models/smollm2.gguf");
    let path = std::env::var_os("KINGLET_SMOLLM2").map_or(default, PathBuf::from);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: SmolLM2 is not at {}; `make test` fetches it", path.display());
    None
}

/// The devices that numbers are compared on: all that this build finds here. A GPU counts if this build or a provider that
/// `KINGLET_PROVIDER` names can use it.
pub fn devices() -> Vec<Device> {
    let mut devices: Vec<_> = kinglet::devices(&Default::default()).devices.iter().map(|info| info.device).collect();
    devices.dedup();
    if !devices.contains(&Device::CandleCpu) {
        eprintln!("skipped: candle-cpu, because this build has no candle");
    }
    devices
}

/// What numbers in f32 may differ by on a device. GPUs add in another order.
pub fn tolerance(device: Device) -> f32 {
    if matches!(device, Device::Cpu | Device::CandleCpu) { 1e-4 } else { 1e-3 }
}

/// ONNX Runtime's library: `KINGLET_ONNXRUNTIME`, else what `make test` puts into `build/onnxruntime`. None, said loudly, if it is not
/// there or this build runs no ONNX graphs.
pub fn onnxruntime() -> Option<PathBuf> {
    if !cfg!(feature = "onnx") {
        eprintln!("skipped: this build runs no ONNX graphs");
        return None;
    }
    let name = if cfg!(target_os = "macos") { "libonnxruntime.dylib" } else { "libonnxruntime.so" };
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("build/onnxruntime").join(name);
    let path = std::env::var_os("KINGLET_ONNXRUNTIME").map_or(default, PathBuf::from);
    if path.is_file() {
        return Some(path);
    }
    eprintln!("skipped: ONNX Runtime is not in {}; `make test` fetches it", path.display());
    None
}

/// An export, on two threads unless `options` say otherwise.
pub fn load_onnx(library: &Path, path: &Path) -> kinglet::Result<Model> {
    Model::load(path, LoadOptions { threads: 2, onnxruntime: Some(library), ..LoadOptions::default() })
}

/// A copy of a folder without the files that `left_out` says.
pub fn copy_of(folder: &Path, left_out: impl Fn(&str) -> bool) -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path, left_out: &dyn Fn(&str) -> bool) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                copy(&path, &to.join(name), left_out);
            } else if !left_out(name) {
                std::fs::copy(&path, to.join(name)).unwrap();
            }
        }
    }
    let to = tempfile::tempdir().unwrap();
    copy(folder, to.path(), &left_out);
    to
}

/// Held by tests that measure the whole process's memory, so that those of one file run one at a time.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn load(path: &Path, device: Device, precision: Precision, threads: usize) -> Model {
    let options = LoadOptions { device, precision: Some(precision), threads, ..LoadOptions::default() };
    Model::load(path, options).unwrap_or_else(|e| panic!("{e}"))
}

/// The cases of a fixture's `reference.json`.
pub fn cases(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path.join("reference.json")).unwrap();
    let mut value: Value = serde_json::from_str(&text).unwrap();
    match value["cases"].take() {
        Value::Array(cases) => cases,
        other => panic!("cases: {other}"),
    }
}

/// Numbers in any nesting, in order.
pub fn floats(value: &Value) -> Vec<f32> {
    match value {
        Value::Array(values) => values.iter().flat_map(floats).collect(),
        number => vec![number.as_f64().unwrap() as f32],
    }
}

pub fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// The largest distance between two vectors' elements.
pub fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, |most, d| if d.is_nan() { f32::NAN } else { most.max(d) })
}

pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt())
}

pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// Resident memory of this process in bytes, now (`VmRSS`) or at most (`VmHWM`). None where Linux's /proc is not.
pub fn resident(field: &str) -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(field))?;
    line.split_whitespace().nth(1)?.parse::<usize>().ok().map(|kib| kib * 1024)
}

/// Texts of many lengths and scripts.
pub fn texts(count: usize) -> Vec<String> {
    let words =
        ["bird", "the", "sings", "Café", "中文", "quick", "!", "river", "über", "🐦", "small", "answer", "42", "of"];
    let mut state = 7u64;
    let mut next = move |below: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    };
    (0..count)
        .map(|_| {
            let length = next(30);
            let text: Vec<_> = (0..length).map(|_| words[next(words.len())]).collect();
            text.join(" ")
        })
        .collect()
}

pub fn refs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}
