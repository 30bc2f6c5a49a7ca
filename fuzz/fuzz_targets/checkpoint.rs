//! PyTorch's checkpoints, zip archives and older files. An error must name the file, and what is listed must lie within it.
#![no_main]

use std::fs;
use std::sync::LazyLock;

use kinglet::formats::weights::Weights;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

static DIRECTORY: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a temporary directory"));

fuzz_target!(|data: &[u8]| {
    let path = DIRECTORY.path().join("pytorch_model.bin");
    fs::write(&path, data).expect("the temporary directory is writable");
    match Weights::open(DIRECTORY.path()) {
        Ok(weights) => {
            for name in weights.names() {
                let tensor = weights.get(name).expect("a name that it lists");
                assert!(tensor.bytes.len() <= data.len());
            }
        }
        Err(error) => {
            assert!(error.message().contains("pytorch_model.bin: "), "the error does not name the file: {error}");
        }
    }
});
