//! Model files: GGUF and any other contents. If a file opens, all its tensors are read. An error must name the file. (A `.kinglet`
//! file needs a correct checksum; the tests of `formats::packed` damage such files.)
#![no_main]

use std::fs;
use std::sync::LazyLock;

use kinglet::formats::packed::Opening;
use kinglet::formats::source::Source;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a temporary directory"));

fuzz_target!(|data: &[u8]| {
    let path = FOLDER.path().join("model.gguf");
    fs::write(&path, data).expect("the temporary directory is writable");
    match Source::open(&path, Opening::default()) {
        Err(error) => assert!(error.message().contains("model.gguf"), "the error does not name the file: {error}"),
        Ok(source) => {
            for name in source.weights.names() {
                let view = source.weights.get(name).expect("a listed name");
                // No block type has more than two weights per byte, which limits the number of floats.
                let _values_or_error = view.to_vec_f32();
            }
        }
    }
});
