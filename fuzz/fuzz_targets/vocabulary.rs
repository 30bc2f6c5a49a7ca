//! Vocabulary files of models without `tokenizer.json`, converted at load: the input is `tokenizer_config.json`, `vocab.txt` or `vocab.json`,
//! and `merges.txt`, separated by NUL. A text goes through each tokenizer that loads. An error must name a file of the directory.
#![no_main]

use std::fs;
use std::sync::LazyLock;

use kinglet::Tokenizer;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a temporary directory"));

fuzz_target!(|data: &[u8]| {
    let folder = FOLDER.path();
    let mut parts = data.split(|&byte| byte == 0);
    let mut next = || parts.next().unwrap_or_default();
    let (config, vocabulary, merges) = (next(), next(), next());
    let write = |name: &str, bytes: &[u8]| {
        let _ = fs::remove_file(folder.join(name));
        if !bytes.is_empty() {
            fs::write(folder.join(name), bytes).expect("the temporary directory is writable");
        }
    };
    write("tokenizer_config.json", config);
    let json = vocabulary.trim_ascii_start().starts_with(b"{");
    write("vocab.txt", if json { b"" } else { vocabulary });
    write("vocab.json", if json { vocabulary } else { b"" });
    write("merges.txt", merges);
    match Tokenizer::from_directory(folder) {
        Ok(tokenizer) if tokenizer.is_present() => {
            let _ = tokenizer.ids("the small bird, \u{e9}\u{4e2d} 12", true);
        }
        Ok(_) => {}
        Err(error) => {
            assert!(error.message().contains(&*folder.to_string_lossy()), "the error does not name a file: {error}");
        }
    }
});
