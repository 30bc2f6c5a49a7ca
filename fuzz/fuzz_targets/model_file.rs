//! Model files: GGUF, by its magic, and anything else that is given as a file. Whatever opens has its tensors read. An error must name
//! the file. (A `.kinglet` file needs its checksum right: `formats::packed`'s own test damages those.)
#![no_main]

use std::fs;
use std::sync::LazyLock;

use kinglet::formats::source::Source;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a temporary directory"));

fuzz_target!(|data: &[u8]| {
    let path = FOLDER.path().join("model.gguf");
    fs::write(&path, data).expect("the temporary directory is writable");
    match Source::open(&path) {
        Err(error) => assert!(error.message().contains("model.gguf"), "no file is named: {error}"),
        Ok(source) => {
            for name in source.weights.names() {
                let view = source.weights.get(name).expect("a listed name");
                // A block of two bytes a weight makes at most that many floats of them.
                let _values_or_error = view.to_vec_f32();
            }
        }
    }
});
