//! A text's numbers have the same bits in a single call and in a batch, on one thread and on several. `make test` runs this file
//! once more per instruction set, with `KINGLET_ISA`.

mod support;

use std::path::Path;

use kinglet::{ClassifyOptions, Device, EmbedOptions, Model, Pooling, Precision};
use support::{bits, fixtures, load, minilm, refs, texts};

const PRECISIONS: [Precision; 5] = [Precision::F32, Precision::F16, Precision::Bf16, Precision::Int8, Precision::Int4];

fn embed(model: &Model, texts: &[&str], pooling: Pooling) -> Vec<Vec<u32>> {
    let options = EmbedOptions { pooling: Some(pooling), ..EmbedOptions::default() };
    let result = model.embed(texts, &options).unwrap();
    let rows = result.starts.windows(2).map(|w| &result.values[w[0] * result.dimension..w[1] * result.dimension]);
    rows.map(bits).collect()
}

fn check(path: &Path, pooling: Pooling) {
    let texts = texts(64);
    let texts = refs(&texts);
    for precision in PRECISIONS {
        let at = |what: &str| format!("{} in {}: {what}", path.file_name().unwrap().display(), precision.name());
        let expected = embed(&load(path, Device::Cpu, precision, 1), &texts, pooling);
        assert!(expected.iter().any(|row| row != &expected[0]), "{}", at("all texts are the same"));
        for &threads in support::threads() {
            let model = load(path, Device::Cpu, precision, threads);
            assert_eq!(model.threads(), threads);
            let whole = embed(&model, &texts, pooling);
            assert!(whole == expected, "{}", at(&format!("64 texts on {threads} threads")));
            for (i, text) in texts.iter().enumerate() {
                let alone = embed(&model, &[text], pooling);
                assert!(alone[0] == expected[i], "{}", at(&format!("text {i} alone on {threads} threads")));
            }
            for group in [2, 5, 17] {
                for (g, some) in texts.chunks(group).enumerate() {
                    let rows = embed(&model, some, pooling);
                    assert!(rows[..] == expected[g * group..][..some.len()], "{}", at(&format!("groups of {group}")));
                }
            }
        }
    }
}

#[test]
fn fixtures_of_every_shape() {
    for fixture in ["bert", "mpnet", "xlm-roberta", "deberta-v2"] {
        check(&fixtures().join(fixture), Pooling::Mean);
        check(&fixtures().join(fixture), Pooling::None);
    }
}

#[test]
fn the_real_minilm() {
    if let Some(path) = minilm() {
        check(&path, Pooling::Mean);
    }
}

#[test]
fn scores_too() {
    let texts = texts(64);
    let texts = refs(&texts);
    for precision in PRECISIONS {
        let path = fixtures().join("bert-classifier");
        let scores = |threads: usize, some: &[&str]| {
            let model = load(&path, Device::Cpu, precision, threads);
            bits(&model.classify(some, None, &ClassifyOptions::default()).unwrap().scores)
        };
        let expected = scores(1, &texts);
        assert_eq!(scores(3, &texts), expected);
        for (i, text) in texts.iter().enumerate().step_by(9) {
            assert_eq!(scores(2, &[text]), expected[2 * i..][..2], "text {i} in {}", precision.name());
        }
    }
}
