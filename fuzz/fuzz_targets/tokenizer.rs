//! A directory whose tokenizer.json is the input. An error must name the file or its directory.
#![no_main]

use std::fs;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

static DIRECTORY: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a temporary directory"));

fuzz_target!(|data: &[u8]| {
    let dir = DIRECTORY.path();
    fs::write(dir.join("tokenizer.json"), data).expect("the temporary directory is writable");
    if let Err(error) = kinglet::Tokenizer::from_directory(dir) {
        assert!(error.message().contains(&*dir.to_string_lossy()), "the error does not name a file: {error}");
    }
});
