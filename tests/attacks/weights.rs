//! One weight that is not a number: in 8 bits it would be hidden, in wider types every result would be NaN.

use std::fs;
use std::path::Path;

use kinglet::{LoadOptions, Model, Precision, Status};

use crate::support;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to),
            false => fs::copy(entry.path(), to).map(|_| ()).unwrap(),
        }
    }
}

#[test]
fn a_weight_that_is_not_finite_is_refused_by_name() {
    for fixture in ["bert", "generation/llama", "generation/t5"] {
        let source = support::fixtures().join(fixture);
        let folder = tempfile::tempdir().unwrap();
        copy(&source, folder.path());
        let file = folder.path().join("model.safetensors");
        let good = fs::read(&file).unwrap();
        let header: usize = u64::from_le_bytes(*good.first_chunk().unwrap()) as usize;
        let tensors: serde_json::Value = serde_json::from_slice(&good[8..8 + header]).unwrap();
        let mut checked = 0;
        for (name, tensor) in tensors.as_object().unwrap() {
            if tensor["dtype"] != "F32" {
                continue;
            }
            let (start, end) = (&tensor["data_offsets"][0], &tensor["data_offsets"][1]);
            let (start, end) = (start.as_u64().unwrap() as usize, end.as_u64().unwrap() as usize);
            // Somewhere in it, a different place in each tensor.
            let element = (end - start) / 4 * (checked % 5) / 5;
            let mut bad = good.clone();
            bad[8 + header + start + 4 * element..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
            fs::write(&file, &bad).unwrap();
            for precision in [Precision::Int8, Precision::Int4, Precision::F16, Precision::F32] {
                match Model::load(
                    folder.path(),
                    LoadOptions { precision: Some(precision), threads: 1, ..Default::default() },
                ) {
                    Err(error) => {
                        assert_eq!(error.status(), Status::InvalidFile, "{fixture} {name}: {error}");
                        let says = format!("tensor `{name}` holds NaN");
                        assert!(error.message().contains(&says), "{fixture} {name}: {error}");
                    }
                    // A tensor that the model has and Kinglet does not use.
                    Ok(_) => assert!(name.contains("pooler") || name.contains("cls."), "{fixture} {name}: loaded"),
                }
            }
            checked += 1;
        }
        assert!(checked > 10, "{fixture}: {checked}");
    }
}

/// A copy of a fixture in which all values of a tensor are the largest ones.
fn with_huge(fixture: &str, name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&support::fixtures().join(fixture), folder.path());
    let file = folder.path().join("model.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    let header: usize = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let tensors: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let range = |at: usize| 8 + header + tensors[name]["data_offsets"][at].as_u64().unwrap() as usize;
    bytes[range(0)..range(1)].as_chunks_mut::<4>().0.fill(f32::MAX.to_le_bytes());
    fs::write(&file, &bytes).unwrap();
    folder
}

#[test]
fn a_result_that_is_not_finite_is_an_error() {
    let load = |folder: &Path| {
        Model::load(folder, LoadOptions { precision: Some(Precision::F32), threads: 1, ..Default::default() }).unwrap()
    };
    for (fixture, tensor) in [
        ("bert", "encoder.layer.0.output.dense.weight"),
        ("bert-classifier", "bert.encoder.layer.0.output.dense.weight"),
    ] {
        let folder = with_huge(fixture, tensor);
        let model = load(folder.path());
        let error = match fixture {
            "bert" => model.embed(&["a small bird"], &Default::default()).unwrap_err(),
            _ => model.classify(&["a small bird"], None, &Default::default()).unwrap_err(),
        };
        assert_eq!(error.status(), Status::Unsupported, "{error}");
        assert!(error.message().contains("a result is not finite"), "{error}");
    }
    let folder = with_huge("generation/llama", "model.layers.0.mlp.down_proj.weight");
    let error = load(folder.path()).generate(&["a small bird"], &Default::default(), None).unwrap_err();
    assert!(error.message().contains("not finite"), "{error}");
}
