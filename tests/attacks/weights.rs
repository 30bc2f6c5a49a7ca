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
