//! Weights: input that begins with `{` is the index of a sharded model with one valid shard; other input is a file. If it opens, it
//! is read completely. An error must name a file of the directory.
#![no_main]

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use kinglet::formats::safetensors::Weights;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

/// One directory per way to store a model, in which the fuzzed file is replaced.
static SINGLE: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a temporary directory"));
static SHARDED: LazyLock<TempDir> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let header = br#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let shard = [&(header.len() as u64).to_le_bytes(), header.as_slice(), &[0; 4]].concat();
    fs::write(dir.path().join("m.safetensors"), shard).expect("a shard");
    dir
});

fuzz_target!(|data: &[u8]| {
    let (dir, file) = match data.first() {
        Some(b'{') => (SHARDED.path(), "model.safetensors.index.json"),
        _ => (SINGLE.path(), "model.safetensors"),
    };
    fs::write(dir.join(file), data).expect("the temporary directory is writable");
    if let Err(error) = read_all(dir) {
        assert!(error.message().contains(&*dir.to_string_lossy()), "the error does not name a file: {error}");
    }
});

fn read_all(dir: &Path) -> Result<(), kinglet::Error> {
    let weights = Weights::open(dir)?;
    let mut first_error = None;
    for name in weights.names() {
        let view = weights.require(name, weights.get(name).expect("a listed name").shape);
        let read = view.and_then(|view| {
            view.to_vec_f32()?;
            view.release();
            // A shape may be [2^60, 0]: many rows, no elements.
            let rows = if view.elements() == 0 { 0 } else { view.rows() };
            (0..rows).try_for_each(|row| view.read_f32(row * view.cols(), &mut vec![0.0; view.cols()]))
        });
        first_error = first_error.or(read.err());
    }
    first_error.map_or(Ok(()), Err)
}
