use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::formats::mutation::mutation;
use crate::formats::tensor::DType;
use crate::formats::weights::Weights;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/torch").join(name)
}

fn values(weights: &Weights, name: &str) -> Vec<f32> {
    let tensor = weights.get(name).unwrap();
    let mut out = vec![0.0; tensor.shape.iter().product()];
    tensor.read_f32(0, &mut out).unwrap();
    out
}

/// A folder with the fixture as its weights.
fn folder(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(fixture(name), folder.path().join("pytorch_model.bin")).unwrap();
    folder
}

#[test]
fn both_formats_have_the_tensors_of_the_original() {
    let original = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bert");
    let original = Weights::open(&original).unwrap();
    for name in ["zip.bin", "old.bin"] {
        let folder = folder(name);
        let found = Weights::open(folder.path()).unwrap();
        let names: Vec<&str> = found.names().filter(|&name| name != "embeddings.position_ids").collect();
        assert_eq!(names, original.names().collect::<Vec<_>>());
        for tensor in names {
            assert_eq!(values(&found, tensor), values(&original, tensor), "{name}: {tensor}");
        }
        assert!(matches!(found.get("embeddings.position_ids").unwrap().dtype, DType::Other(_)));
    }
}

#[test]
fn types_are_those_of_the_storages() {
    let folder = folder("types.bin");
    let found = Weights::open(folder.path()).unwrap();
    for (name, dtype) in [("weight", DType::F32), ("half", DType::F16), ("wide", DType::BF16)] {
        assert_eq!(found.get(name).unwrap().dtype, dtype);
        assert_eq!(values(&found, name), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    }
}

#[test]
fn what_is_not_a_dictionary_of_tensors_is_refused_by_name() {
    for (name, what) in [
        ("transposed.bin", "tensor `weight`: strides [1, 3] for shape [3, 2]"),
        ("epoch.bin", "`epoch` is not a tensor"),
        ("nested.bin", "`state_dict` is not a tensor"),
        ("harmful.bin", "it names `__builtin__.print`"),
        ("list.bin", "it is not a dictionary of tensors"),
        ("compressed.bin", "is compressed"),
    ] {
        let error = Weights::open(folder(name).path()).err().unwrap();
        assert!(error.message().contains("pytorch_model.bin: ") && error.message().contains(what), "{name}: {error}");
    }
}

#[test]
fn nothing_nests_too_deeply() {
    // Tuples in tuples, each in the last one.
    let mut bytes = OLD.to_vec();
    bytes.extend([b"\x80\x02K\x01.".as_slice(), b"\x80\x02}.", b"\x80\x02K\x01"].concat());
    bytes.extend(std::iter::repeat_n(b'\x85', 1 << 20));
    bytes.push(b'.');
    let error = sequence(&bytes).unwrap_err();
    assert_eq!(error, "it is not a dictionary of tensors");
    let flat = [OLD, b"\x80\x02K\x01.", b"\x80\x02}.", &vec![b'N'; 3 << 20]].concat();
    assert!(sequence(&flat).unwrap_err().contains("objects"));
}

proptest! {
    #[test]
    fn damaged_files_never_panic(change in mutation(), old: bool) {
        let folder = folder(if old { "old.bin" } else { "types.bin" });
        let path = folder.path().join("pytorch_model.bin");
        let mut bytes = std::fs::read(&path).unwrap();
        change.apply(&mut bytes);
        if bytes.is_empty() {
            return Ok(());
        }
        std::fs::write(&path, &bytes).unwrap();
        if let Ok(weights) = Weights::open(folder.path()) {
            for name in weights.names() {
                // What it lists is within the file.
                prop_assert!(weights.get(name).unwrap().bytes.len() <= bytes.len());
            }
        }
    }
}
