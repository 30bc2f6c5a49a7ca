//! The head of a masked language model: every field of it is honoured by every backend.

use super::reference::Tensors;
use super::{SpecChange, VOCABULARY, check, dense, networks, reference, run, spec, stack, texts, types, weights};
use crate::spec::{Activation, Dense, EncodeOutput, LanguageWeight, MaskedHead, SparsePooling, Spec};

/// Changes of the head of a masked language model.
pub const CHANGES: &[(&str, SpecChange)] = &[
    ("plain", |_| {}),
    ("masked.dense", |s| masked(s).dense.activation = Activation::Relu),
    ("masked.dense without a bias", |s| masked(s).dense.bias = false),
    ("masked.norm", |s| masked(s).norm = "other_norm"),
    ("masked.norm without a bias", |s| s.encoder.as_mut().unwrap().norm.bias = false),
    ("masked.weight", |s| masked(s).weight = LanguageWeight::Own(&["other"])),
    ("masked.weight that may be tied", |s| masked(s).weight = LanguageWeight::OwnOrTied(&["other"])),
    ("masked.bias", |s| masked(s).bias = &["bias"]),
    ("embeddings of another width", |s| {
        let encoder = s.encoder.as_mut().unwrap();
        (encoder.embedding_size, encoder.names.embedding_projection) = (12, Some("projection"));
    }),
];

fn masked(spec: &mut Spec) -> &mut MaskedHead {
    spec.masked.as_mut().unwrap()
}

#[test]
fn heads_of_masked_language_models_honour_every_field() {
    let texts = &texts()[..3];
    let mask = texts[2][7];
    for (name, change) in CHANGES {
        let plain = MaskedHead {
            dense: Dense { activation: Activation::Gelu, ..dense("transform") },
            norm: "transform_norm",
            weight: LanguageWeight::Tied,
            bias: &[],
        };
        let mut spec = Spec { masked: Some(plain), ..spec(Some(stack("")), None) };
        change(&mut spec);
        let tensors = Tensors::default();
        let reference = reference(&tensors, spec.encoder.as_ref().unwrap(), false);
        let head = spec.masked.as_ref().unwrap();
        let logits: Vec<Vec<Vec<f64>>> =
            texts.iter().map(|text| reference.masked(&reference.states(text, &types(text), None), head)).collect();
        let of_masks = texts.iter().zip(&logits).flat_map(|(text, rows)| text.iter().zip(rows));
        let of_masks: Vec<f64> = of_masks.filter(|(id, _)| **id == mask).flat_map(|(_, row)| row.clone()).collect();
        assert!(of_masks.len() > VOCABULARY);
        let pooled = |pooling: SparsePooling| {
            let weight = |x: f64| if pooling.twice { x.max(0.0).ln_1p().ln_1p() } else { x.max(0.0).ln_1p() };
            let join = |a: f64, b: f64| if pooling.sum { a + b } else { a.max(b) };
            let text = |rows: &Vec<Vec<f64>>| {
                (0..VOCABULARY)
                    .map(|i| rows.iter().fold(0.0, |all, row| join(all, weight(row[i]))))
                    .collect::<Vec<f64>>()
            };
            logits.iter().flat_map(text).collect::<Vec<f64>>()
        };
        let folder = tempfile::tempdir().unwrap();
        let weights = weights(&tensors, folder.path());
        for (backend, bar, network) in networks(&spec, &weights) {
            let what = format!("{name}, {backend}");
            let values = run(texts, |batch, call| network.encode(batch, &EncodeOutput::masks(mask), call)).unwrap();
            check(&values, &of_masks, bar, &what);
            for pooling in [(false, false), (false, true), (true, false), (true, true)] {
                let pooling = SparsePooling { sum: pooling.0, twice: pooling.1 };
                let output = EncodeOutput::sparse(pooling);
                let values = run(texts, |batch, call| network.encode(batch, &output, call)).unwrap();
                check(&values, &pooled(pooling), bar, &format!("{what}, {pooling:?}"));
            }
        }
    }
}
