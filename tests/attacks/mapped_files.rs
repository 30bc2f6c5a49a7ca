//! Files that change under a model. Mapped, a file that is cut short is a SIGBUS in the host; read into memory, it is out of reach.

use std::fs;
use std::path::Path;

use kinglet::{GenerateOptions, LoadOptions, Model, Precision};

use crate::support;

fn load(path: &Path) -> Model {
    Model::load(path, LoadOptions { threads: 1, map_files: Some(false), ..LoadOptions::default() }).unwrap()
}

fn text(model: &Model) -> String {
    let options = GenerateOptions { max_new_tokens: Some(8), do_sample: Some(false), ..GenerateOptions::default() };
    model.generate(&["a small bird"], &options, None).unwrap().outputs[0][0].text.clone()
}

#[test]
fn a_file_that_is_cut_short_does_not_reach_a_model_that_is_not_mapped() {
    let folder = tempfile::tempdir().unwrap();
    let source = support::fixtures().join("generation/llama");
    let file = folder.path().join("model.kinglet");
    kinglet::quantize(&source, &file, Precision::F32, &mut |_| true).unwrap();
    let mapped = Model::load(&file, LoadOptions { threads: 1, ..LoadOptions::default() }).unwrap();
    let expected = text(&mapped);
    drop(mapped);
    let model = load(&file);
    // Converted while it is loaded, which reads some tensors twice.
    let options = LoadOptions { threads: 1, precision: Some(Precision::F16), ..LoadOptions::default() };
    let converted = text(&Model::load(&file, options).unwrap());
    let options =
        LoadOptions { threads: 1, precision: Some(Precision::F16), map_files: Some(false), ..LoadOptions::default() };
    assert_eq!(text(&Model::load(&file, options).unwrap()), converted);
    fs::write(&file, "").unwrap();
    assert_eq!(text(&model), expected);
}

#[test]
fn every_format_can_be_read_into_memory() {
    let expected = text(&load(&support::fixtures().join("generation/llama")));
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(support::fixtures().join("generation/llama")).unwrap().map(|entry| entry.unwrap().path())
    {
        fs::copy(&entry, folder.path().join(entry.file_name().unwrap())).unwrap();
    }
    let model = load(folder.path());
    fs::write(folder.path().join("model.safetensors"), "").unwrap();
    assert_eq!(text(&model), expected);
    let gguf = support::fixtures().join("generation-gguf/gpt2.gguf");
    let mapped = Model::load(&gguf, LoadOptions { threads: 1, ..LoadOptions::default() }).unwrap();
    assert_eq!(text(&load(&gguf)), text(&mapped));
}

#[test]
fn the_memory_limit_comes_first() {
    let options = LoadOptions { memory_limit: 1 << 10, map_files: Some(false), ..LoadOptions::default() };
    let error = Model::load(support::fixtures().join("generation/llama"), options).err().unwrap();
    assert_eq!(error.status(), kinglet::Status::OutOfMemory);
}
