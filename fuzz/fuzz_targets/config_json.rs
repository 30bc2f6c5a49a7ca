//! Configuration files: every getter on every field, and on the fields of inner objects. An error must name the file.
#![no_main]

use std::fs;
use std::sync::LazyLock;

use kinglet::formats::json::Config;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

static DIRECTORY: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a temporary directory"));

fuzz_target!(|data: &[u8]| {
    let path = DIRECTORY.path().join("config.json");
    fs::write(&path, data).expect("the temporary directory is writable");
    check(Config::open(&path).map(|config| visit(&config, 3)));
});

fn visit(config: &Config, depth: usize) {
    for key in config.keys() {
        check(config.usize(key));
        check(config.f32(key));
        check(config.bool(key));
        check(config.str(key));
        check(config.strings(key));
        check(config.usizes(key));
        match config.section(key) {
            Ok(Some(inner)) if depth > 0 => visit(&inner, depth - 1),
            other => check(other),
        }
    }
}

fn check<T>(result: Result<T, kinglet::Error>) {
    if let Err(error) = result {
        assert!(error.message().contains("config.json: "), "the error does not name the file: {error}");
    }
}
