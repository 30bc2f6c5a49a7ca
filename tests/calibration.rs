//! `kinglet quantize` with calibration texts: what the file says, that results are closer to f32, and the same on every device.

mod support;

use std::path::Path;

use kinglet::{Device, EmbedOptions, GenerateOptions, LoadOptions, Model, Precision, QuantizeOptions};
use serde_json::Value;
use support::{cosine, fixtures, load};

const TEXTS: [&str; 6] = [
    "The river runs to the sea, and small birds sing near it.",
    "Who is there?",
    "It isn't hard to see the fox; it took him a day.",
    "12 of 345 items are ready.",
    "thank you so much :)",
    "A model is loaded once, and then it answers.",
];

fn calibrated(source: &Path, destination: &Path, precision: Precision) -> Vec<kinglet::CalibratedLayer> {
    let options = QuantizeOptions { precision, calibration_texts: &TEXTS };
    kinglet::quantize(source, destination, options, &mut |_| true).unwrap()
}

fn embeddings(path: &Path, device: Device, precision: Precision) -> Vec<f32> {
    load(path, device, precision, 2).embed(&TEXTS, &EmbedOptions::default()).unwrap().values
}

#[test]
fn an_encoder_comes_closer_to_f32() {
    let source = fixtures().join("bert");
    let folder = tempfile::tempdir().unwrap();
    for precision in [Precision::Int8, Precision::Int4] {
        let (file, plain) = (folder.path().join("calibrated.kinglet"), folder.path().join("plain.kinglet"));
        let layers = calibrated(&source, &file, precision);
        assert!(layers.iter().all(|layer| layer.error <= layer.error_before), "{layers:?}");
        assert!(layers.iter().any(|layer| layer.exponent.is_some() || layer.rotation > 0), "{layers:?}");
        kinglet::quantize(&source, &plain, precision, &mut |_| true).unwrap();
        let exact = embeddings(&source, Device::Cpu, Precision::F32);
        let with = cosine(&embeddings(&file, Device::Cpu, Precision::Auto), &exact);
        let without = cosine(&embeddings(&plain, Device::Cpu, Precision::Auto), &exact);
        // Random weights in 4 bits are noise, whatever is done with the inputs.
        assert!(precision == Precision::Int4 || with > without, "{with} with, {without} without calibration");
        // A device that dequantises the weights undoes the transforms.
        if cfg!(feature = "candle") {
            let elsewhere = cosine(&embeddings(&file, Device::CandleCpu, Precision::Auto), &exact);
            assert!(elsewhere > 0.98, "{}: {elsewhere} on candle", precision.name());
        }
    }
}

#[test]
fn the_same_texts_give_the_same_file_and_it_says_what_was_chosen() {
    let source = fixtures().join("generation/llama");
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("a.kinglet"), folder.path().join("b.kinglet"));
    let layers = calibrated(&source, &first, Precision::Int8);
    calibrated(&source, &second, Precision::Int8);
    assert!(std::fs::read(&first).unwrap() == std::fs::read(&second).unwrap(), "two calibrations differ");
    let model = Model::load(&first, LoadOptions::default()).unwrap();
    let info: Value = model.info();
    assert_eq!(info["calibration"]["texts"], TEXTS.len());
    for layer in layers {
        let told = &info["calibration"]["layers"][&layer.name];
        assert_eq!(told["rotation"], layer.rotation);
        assert_eq!(told["exponent"].as_f64().map(|x| x as f32), layer.exponent);
        assert!((told["error"].as_f64().unwrap() - layer.error).abs() <= 1e-9 * layer.error, "{told}");
    }
    let plain = Model::load(&source, LoadOptions::default()).unwrap();
    assert_eq!(plain.info()["calibration"], Value::Null);
}

#[test]
fn decoders_and_encoder_decoders_generate_from_calibrated_files() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["gpt2", "llama", "t5", "bart", "gemma2", "gpt_neox"] {
        let source = fixtures().join("generation").join(name);
        for precision in [Precision::Int8, Precision::Int4] {
            let file = folder.path().join(format!("{name}.kinglet"));
            let layers = calibrated(&source, &file, precision);
            assert!(layers.len() > 2, "{name}: {layers:?}");
            let options =
                GenerateOptions { max_new_tokens: Some(8), do_sample: Some(false), ..GenerateOptions::default() };
            let model = Model::load(&file, LoadOptions::default()).unwrap();
            let together = model.generate(&TEXTS, &options, None).unwrap();
            for (text, outputs) in TEXTS.iter().zip(&together.outputs) {
                let alone = model.generate(&[text], &options, None).unwrap();
                assert_eq!(alone.outputs[0][0].tokens, outputs[0].tokens, "{name}: {text}");
            }
        }
    }
}

#[test]
fn wrong_calibrations_are_refused_by_name() {
    let source = fixtures().join("bert");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bert.kinglet");
    let options = QuantizeOptions { precision: Precision::F16, calibration_texts: &TEXTS };
    let error = kinglet::quantize(&source, &file, options, &mut |_| true).unwrap_err();
    assert!(error.message().contains("calibration_texts: f16"), "{error}");
    let options = QuantizeOptions { precision: Precision::Int8, calibration_texts: &TEXTS };
    let mut seen = 0.0;
    let error = kinglet::quantize(&source, &file, options, &mut |share| {
        seen = share;
        share < 0.5
    });
    assert_eq!(error.unwrap_err().message(), "the call was cancelled");
    assert!(seen >= 0.5 && !file.exists());
}
