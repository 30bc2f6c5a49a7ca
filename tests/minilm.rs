//! The real all-MiniLM-L6-v2, compared with transformers' embeddings of 220 texts, in each precision.

mod support;

use kinglet::{Device, EmbedOptions, EncodeOptions, Precision};
use support::{cosine, devices, fixtures, load, minilm, refs};

struct Reference {
    texts: Vec<String>,
    ids: Vec<u32>,
    lengths: Vec<usize>,
    embeddings: Vec<f32>,
}

fn reference() -> Reference {
    let folder = fixtures().join("minilm");
    let lines = std::fs::read_to_string(folder.join("texts.jsonl")).unwrap();
    let text =
        |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["text"].as_str().unwrap().to_string();
    let bytes = std::fs::read(folder.join("reference.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let words = |name: &str| -> Vec<[u8; 4]> { tensors.tensor(name).unwrap().data().as_chunks::<4>().0.to_vec() };
    Reference {
        texts: lines.lines().map(text).collect(),
        ids: words("ids").into_iter().map(u32::from_le_bytes).collect(),
        lengths: words("lengths").into_iter().map(|w| u32::from_le_bytes(w) as usize).collect(),
        embeddings: words("embeddings").into_iter().map(f32::from_le_bytes).collect(),
    }
}

#[test]
fn tokens_are_identical() {
    let Some(path) = minilm() else { return };
    let reference = reference();
    let model = load(&path, Device::Cpu, Precision::Int8, 2);
    assert_eq!(model.max_length(), 256, "sentence_bert_config.json overrides tokenizer.json");
    let encoding = model.tokenize(&refs(&reference.texts), None, &EncodeOptions::default(), None).unwrap();
    let lengths: Vec<_> = encoding.starts().windows(2).map(|w| w[1] - w[0]).collect();
    assert_eq!(lengths, reference.lengths);
    assert_eq!(encoding.ids(), reference.ids);
    let cut: usize = encoding.truncated().iter().map(|&t| usize::from(t)).sum();
    assert!(cut > 0 && encoding.truncated().iter().zip(&lengths).all(|(&t, &n)| t == 0 || n == 256));
}

#[test]
fn embeddings_agree_with_transformers() {
    let Some(path) = minilm() else { return };
    let reference = reference();
    let texts = refs(&reference.texts);
    // The minimum worst and mean cosine per precision.
    let bars = [
        (Precision::F32, 0.99999, 0.99999),
        (Precision::F16, 0.9999, 0.9999),
        (Precision::Bf16, 0.9995, 0.9999),
        (Precision::Int8, 0.98, 0.995),
        (Precision::Int4, 0.85, 0.96),
    ];
    let runs =
        devices().into_iter().flat_map(|device| bars.map(|(precision, worst, mean)| (device, precision, worst, mean)));
    // The candle reference is slow; tests/candle.rs checks its narrower types.
    let runs = runs.filter(|&(device, precision, ..)| device != Device::CandleCpu || precision == Precision::F32);
    println!("{:12} {:10} {:>12} {:>12} {:>12}   worst text", "device", "precision", "worst", "mean", "bar");
    for (device, precision, worst_bar, mean_bar) in runs {
        let model = load(&path, device, precision, 2);
        let result = model.embed(&texts, &EmbedOptions::default()).unwrap();
        assert_eq!(result.values.len(), texts.len() * 384);
        let cosines: Vec<f64> =
            (0..texts.len()).map(|i| cosine(result.row(i), &reference.embeddings[i * 384..][..384])).collect();
        let mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
        let worst = (0..texts.len()).min_by(|&a, &b| cosines[a].total_cmp(&cosines[b])).unwrap();
        let shown: String = texts[worst].chars().take(40).collect();
        let (device, name, low) = (device.name(), precision.name(), cosines[worst]);
        println!("{device:12} {name:10} {low:12.7} {mean:12.7} {worst_bar:12}   {shown:?}");
        assert!(cosines[worst] >= worst_bar && mean >= mean_bar, "{device} {name}: worst {low}, mean {mean}");
    }
}

/// Sentences of this project's documents, none of which is a text of the reference.
fn sentences() -> Vec<String> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "md"));
    files.sort();
    let texts = files.iter().map(|file| std::fs::read_to_string(file).unwrap());
    let sentences = texts.flat_map(|text| text.split(". ").map(str::to_owned).collect::<Vec<_>>());
    sentences.filter(|sentence| sentence.len() > 3).collect()
}

#[test]
fn calibration_halves_what_int8_loses() {
    let Some(path) = minilm() else { return };
    let reference = reference();
    let (texts, sentences) = (refs(&reference.texts), sentences());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("minilm.kinglet");
    let calibration_texts = refs(&sentences);
    let options = kinglet::QuantizeOptions { precision: Precision::Int8, calibration_texts: &calibration_texts };
    kinglet::quantize(&path, &file, options, &mut |_| true).unwrap();
    let lost = |path: &std::path::Path, precision: Precision| {
        let result = load(path, Device::Cpu, precision, 2).embed(&texts, &EmbedOptions::default()).unwrap();
        let lost = |i: usize| 1.0 - cosine(result.row(i), &reference.embeddings[i * 384..][..384]);
        let all: Vec<f64> = (0..texts.len()).map(lost).collect();
        (all.iter().copied().fold(0.0, f64::max), all.iter().sum::<f64>() / texts.len() as f64)
    };
    let (plain, calibrated) = (lost(&path, Precision::Int8), lost(&file, Precision::Auto));
    println!("1 - cosine, worst and mean: {plain:?}, calibrated {calibrated:?}");
    // The worst text depends on the sample of the calibration, which differs between instruction sets.
    assert!(calibrated.0 < 0.005 && calibrated.0 < 0.5 * plain.0, "worst {calibrated:?} of {plain:?}");
    assert!(calibrated.1 < 0.001 && calibrated.1 < 0.5 * plain.1, "mean {calibrated:?} of {plain:?}");
}
