//! `.kinglet` files. The length and the checksum are made right, so that what is behind them is reached; if a file opens, all its
//! tensors are read. An error must name the file.
#![no_main]

use std::fs;
use std::sync::LazyLock;

use kinglet::formats::packed::{self, Opening};
use kinglet::formats::source::Source;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a temporary directory"));

fuzz_target!(|data: &[u8]| {
    let path = FOLDER.path().join("model.kinglet");
    let mut bytes = data.to_vec();
    if bytes.len() >= 16 {
        bytes[..8].copy_from_slice(&packed::MAGIC);
        bytes[8..16].copy_from_slice(&1u64.to_le_bytes());
    }
    packed::seal(&mut bytes);
    fs::write(&path, bytes).expect("the temporary directory is writable");
    match Source::open(&path, Opening::default()) {
        Err(error) => assert!(error.message().contains("model.kinglet"), "the error does not name the file: {error}"),
        Ok(source) => {
            for name in source.weights.names() {
                let _values_or_error = source.weights.get(name).expect("a listed name").to_vec_f32();
            }
        }
    }
});
