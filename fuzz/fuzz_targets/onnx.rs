//! ONNX exports: which files of a folder are chosen, for file names in the input's first lines, and the types of weights in a graph, which
//! is the rest of the input. ONNX Runtime, which reads graphs completely, is not asked. An error must name the folder.
#![no_main]

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use kinglet::Precision;
use kinglet::formats::onnx::{Export, Shape};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a temporary directory"));

/// A name of a graph: a letter for each part, or else the input's own letters.
fn name(line: &[u8]) -> String {
    const STEMS: [&str; 6] =
        ["model", "encoder_model", "decoder_model", "decoder_model_merged", "decoder_with_past_model", "weights"];
    const KINDS: [&str; 6] = ["", "_quantized", "_fp16", "_q4", "_O4", "_other"];
    match *line {
        [stem, kind] => format!("{}{}.onnx", STEMS[stem as usize % 6], KINDS[kind as usize % 6]),
        _ => String::from_utf8_lossy(line).replace(['/', '\0'], "_").chars().take(40).collect(),
    }
}

fuzz_target!(|data: &[u8]| {
    let folder = FOLDER.path().join("model");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("onnx")).expect("the temporary directory is writable");
    let mut rest = data;
    for i in 0..6 {
        let Some(end) = rest.iter().take(64).position(|&byte| byte == b'\n') else { break };
        let name = name(&rest[..end]);
        rest = &rest[end + 1..];
        let place: &Path = if i % 2 == 0 { &folder } else { &folder.join("onnx") };
        if !name.is_empty() && name != "." && name != ".." {
            // Two names of one file, or a name that is too long for the system.
            let _ = fs::write(place.join(name), rest);
        }
    }
    let Some(export) = Export::find(&folder) else { return };
    let _ = (export.has_decoder(), export.files().has("config.json"));
    for shape in [Shape::Encoder, Shape::Decoder, Shape::EncoderDecoder] {
        for precision in Precision::ALL {
            match export.choose(shape, precision) {
                Ok(graphs) => {
                    assert!(graphs.paths().all(|path| path.starts_with(&folder)));
                    let _ = (graphs.weight_precision(), graphs.bytes());
                }
                Err(error) => {
                    let named = error.message().contains(&*folder.to_string_lossy());
                    assert!(named, "the error does not name the folder: {error}");
                }
            }
        }
    }
});
