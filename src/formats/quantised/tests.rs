use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use safetensors::tensor::{Dtype, TensorView as Raw};
use serde_json::{Value, json};

use super::*;
use crate::formats::mutation::mutation;
use crate::kernels::weight::{Format, FourBits, RowSource, Shape};
use crate::spec::Precision;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/quantised")
}

fn config(section: &Value) -> Config {
    Config::from_value(Path::new("config.json"), json!({ FIELD: section })).unwrap()
}

fn compressed(format: &str, weights: &Value) -> Value {
    let group = json!({"targets": ["Linear"], "weights": weights});
    json!({"quant_method": "compressed-tensors", "format": format, "config_groups": {"group_0": group}})
}

/// Which of the kernels' formats hold a weight, and how well.
#[derive(Clone, Copy, PartialEq)]
enum Kernel {
    Neither,
    /// 4 bits, without loss.
    FourBits,
    /// 4 bits; the product of scale and zero is rounded.
    FourBitsRounded,
    /// 8 bits, without loss.
    Bytes,
}

/// The files of `make_quantised_fixtures.py`.
fn fixtures() -> Vec<(&'static str, Value, Kernel)> {
    use Kernel::{Bytes, FourBits, FourBitsRounded, Neither};
    let gptq = |bits: u32, group_size: i32, format: &str| json!({"quant_method": "gptq", "bits": bits, "group_size": group_size, "checkpoint_format": format});
    let in_groups = |bits: u32, symmetric: bool| json!({"num_bits": bits, "type": "int", "strategy": "group", "group_size": 32, "symmetric": symmetric});
    let channel = |bits: u32| json!({"num_bits": bits, "type": "int", "strategy": "channel"});
    vec![
        ("gptq-4", gptq(4, 64, "gptq"), FourBitsRounded),
        ("gptq-4-v2", gptq(4, 32, "gptq_v2"), FourBitsRounded),
        ("gptq-4-desc-act", gptq(4, 32, "gptq"), Neither),
        ("gptq-4-all", gptq(4, -1, "gptq"), FourBitsRounded),
        ("gptq-2", gptq(2, 32, "gptq"), FourBitsRounded),
        ("gptq-3", gptq(3, 32, "gptq"), FourBitsRounded),
        ("gptq-8", gptq(8, 32, "gptq"), Neither),
        ("awq", json!({"quant_method": "awq", "bits": 4, "group_size": 64, "version": "gemm"}), FourBitsRounded),
        ("pack-4", compressed("pack-quantized", &in_groups(4, true)), FourBits),
        ("pack-4-zeros", compressed("pack-quantized", &in_groups(4, false)), FourBitsRounded),
        ("pack-4-channel", compressed("pack-quantized", &channel(4)), FourBits),
        ("pack-8", compressed("pack-quantized", &channel(8)), Bytes),
        ("int-8", compressed("int-quantized", &channel(8)), Bytes),
        ("int-8-zeros", compressed("int-quantized", &in_groups(8, false)), Neither),
        ("int-8-tensor", compressed("naive-quantized", &json!({"num_bits": 8, "strategy": "tensor"})), Bytes),
    ]
}

fn open(name: &str) -> Weights {
    Weights::open_file(&folder().join(format!("{name}.safetensors"))).unwrap()
}

/// The rows of a tensor, as a layer gives them to be packed.
struct Rows<'a>(TensorView<'a>);

impl RowSource for Rows<'_> {
    fn f32(&mut self, row: usize, out: &mut [f32]) {
        self.0.read_row_f32(row, out).unwrap();
    }

    fn four_bits(&mut self, row: usize, out: &mut [FourBits]) -> bool {
        self.0.read_row_four_bits(row, out).unwrap()
    }

    fn bytes(&mut self, row: usize, out: &mut [i8]) -> Option<f32> {
        self.0.read_row_bytes(row, out).unwrap()
    }
}

#[test]
fn weights_are_what_the_libraries_dequantise() {
    for (name, section, kernel) in fixtures() {
        let mut weights = open(name);
        combine(&mut weights, &config(&section)).unwrap();
        assert_eq!(weights.names().collect::<Vec<_>>(), ["expected", "m.weight"], "{name}");
        let expected = weights.get("expected").unwrap();
        let view = weights.require("m.weight", expected.shape).unwrap();
        let expected = expected.to_vec_f32().unwrap();
        let found = view.to_vec_f32().unwrap();
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert!((found - expected).abs() <= 1e-6 * expected.abs(), "{name}: element {i}: {found} {expected}");
        }
        // Any range, with its ends inside of rows.
        let mut part = vec![0.0; found.len() - 50];
        view.read_f32(37, &mut part).unwrap();
        assert_eq!(part, found[37..found.len() - 13], "{name}");

        let DType::Quantised(kind) = view.dtype else { panic!("{name}: {}", view.dtype) };
        assert_eq!(kind.four_bits, matches!(kernel, Kernel::FourBits | Kernel::FourBitsRounded), "{name}");
        // Random zeros and scales of at most 0.03 in f16.
        let (precision, tolerance) = match kernel {
            Kernel::Neither => continue,
            Kernel::FourBits => (Precision::Int4, 0.0),
            Kernel::FourBitsRounded => (Precision::Int4, 16.0 * 0.03 / 2048.0),
            Kernel::Bytes => (Precision::Int8, 0.0),
        };
        let shape = Shape { outputs: view.rows(), inputs: view.cols() };
        let packed = Format::new(precision).pack(shape, Rows(view));
        let mut back = vec![0.0; found.len()];
        (packed.format().stored.decode)(packed.bytes(), shape, 0, &mut back).unwrap();
        for (i, (back, found)) in back.iter().zip(&found).enumerate() {
            // The kernels' bytes have no -128.
            let step = if precision == Precision::Int8 && *found < 0.0 { found.abs() / 127.0 } else { 0.0 };
            assert!((back - found).abs() <= tolerance + step, "{name}: element {i} in {precision:?}: {back} {found}");
        }
        let equal = back.iter().zip(&found).filter(|(back, found)| back == found).count();
        assert!(tolerance > 0.0 || equal * 100 >= back.len() * 98, "{name}: {equal} of {}", back.len());
    }
}

/// A tensor's type, shape and bytes.
type Tensor = (Dtype, Vec<usize>, Vec<u8>);

/// A fixture's tensors, changed and written again; what becomes of them.
fn changed(name: &str, section: &Value, change: impl Fn(&mut BTreeMap<String, Tensor>)) -> Result<()> {
    let bytes = std::fs::read(folder().join(format!("{name}.safetensors"))).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let owned = |(name, raw): (String, Raw)| (name, (raw.dtype(), raw.shape().to_vec(), raw.data().to_vec()));
    let mut tensors: BTreeMap<_, _> = file.tensors().into_iter().map(owned).collect();
    change(&mut tensors);
    let views = tensors
        .iter()
        .map(|(name, (dtype, shape, data))| (name.clone(), Raw::new(*dtype, shape.clone(), data).unwrap()));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changed.safetensors");
    std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    let mut weights = Weights::open_file(&path).unwrap();
    combine(&mut weights, &config(section))?;
    let view = weights.get("m.weight").unwrap();
    view.to_vec_f32()?;
    let mut groups = vec![FourBits::ZERO; view.cols().div_ceil(GROUP_INPUTS)];
    view.read_row_four_bits(0, &mut groups)?;
    view.read_row_bytes(0, &mut vec![0; view.cols()]).map(|_| ())
}

/// Removes one row of a tensor.
fn shorten(tensor: &mut Tensor) {
    let row = tensor.2.len() / tensor.1[0];
    tensor.1[0] -= 1;
    tensor.2.truncate(tensor.2.len() - row);
}

#[test]
fn tensors_that_contradict_each_other_are_refused_by_name() {
    for (name, section, _) in fixtures() {
        let bytes = std::fs::read(folder().join(format!("{name}.safetensors"))).unwrap();
        let all: Vec<String> =
            safetensors::SafeTensors::deserialize(&bytes).unwrap().tensors().into_iter().map(|t| t.0).collect();
        for tensor in all.iter().filter(|name| name.starts_with("m.")) {
            let at = format!("{name}: {tensor}");
            let refused = |outcome: Result<()>, what: &str| {
                let error = outcome.expect_err(&format!("{at} {what}"));
                assert_eq!(error.status(), crate::base::error::Status::InvalidFile, "{at} {what}: {error}");
                let named = error.message().contains("`m.") || error.message().contains("no tensor *.");
                assert!(named, "{at} {what}: {error}");
            };
            // One input or output less is another weight, which the model's shapes refuse.
            let alone = matches!((name, tensor.as_str()), ("awq", "m.qweight") | ("int-8-tensor", "m.weight"));
            if !alone {
                refused(changed(name, &section, |tensors| shorten(tensors.get_mut(tensor).unwrap())), "shorter");
            }
            // Groups in order need no list.
            if !tensor.ends_with("g_idx") {
                refused(changed(name, &section, |tensors| drop(tensors.remove(tensor))), "missing");
            }
            let retyped = changed(name, &section, |tensors| {
                let (dtype, shape, data) = tensors.get_mut(tensor).unwrap();
                *dtype = Dtype::U8;
                *shape = vec![data.len()];
            });
            refused(retyped, "of another type");
        }
    }
}

#[test]
fn hostile_values_are_refused_by_name() {
    let (desc_act, int8) = (&fixtures()[2], &fixtures()[12]);
    for group in [3i32, 1000, -1, i32::MIN] {
        let error = changed(desc_act.0, &desc_act.1, |tensors| {
            tensors.get_mut("m.g_idx").unwrap().2[4 * 50..][..4].copy_from_slice(&group.to_le_bytes());
        });
        let error = error.unwrap_err();
        assert!(error.message().contains("`m.g_idx` puts input 50 into a group"), "{error}");
    }
    for shape in [[20i64, -1], [20, i64::MAX], [i64::MAX, 46], [0, 0]] {
        let error = changed("pack-8", &fixtures()[11].1, |tensors| {
            tensors.get_mut("m.weight_shape").unwrap().2 = shape.iter().flat_map(|n| n.to_le_bytes()).collect();
        });
        let error = error.unwrap_err();
        assert!(error.message().contains("`m.weight_"), "{error}");
    }
    for (name, section, scales) in [(desc_act.0, &desc_act.1, "m.scales"), (int8.0, &int8.1, "m.weight_scale")] {
        let error = changed(name, section, |tensors| {
            let (_, _, data) = tensors.get_mut(scales).unwrap();
            // Not a number in f16 and in bf16.
            data.fill(0xff);
        });
        let error = error.unwrap_err();
        assert!(error.message().contains("`m.weight` holds"), "{error}");
    }
    // A tensor that the combined one would replace.
    let error = changed("gptq-4", &fixtures()[0].1, |tensors| {
        let expected = tensors["expected"].clone();
        tensors.insert("m.weight".into(), expected);
    });
    let error = error.unwrap_err();
    assert!(error.message().contains("`m.weight`, which it replaces"), "{error}");
    // Groups of another size than the configuration says.
    for group_size in [32, 128, 1] {
        let section = json!({"quant_method": "gptq", "bits": 4, "group_size": group_size});
        let error = changed("gptq-4", &section, |_| {}).unwrap_err();
        assert!(error.message().contains("`m.scales` has shape"), "{error}");
    }
}

/// compressed-tensors of old wrote -1 for groups in order, and zeros that are not packed.
#[test]
fn older_files_of_compressed_tensors() {
    let (name, section, _) = fixtures().swap_remove(9);
    let list = |group: fn(i32) -> i32| {
        move |tensors: &mut BTreeMap<String, Tensor>| {
            let groups = (0..96).flat_map(|input| group(input).to_le_bytes()).collect();
            tensors.insert("m.weight_g_idx".into(), (Dtype::I32, vec![96], groups));
        }
    };
    changed(name, &section, list(|_| -1)).unwrap();
    changed(name, &section, list(|input| input % 3)).unwrap();
    assert!(changed(name, &section, list(|input| input % 4)).is_err());
    let unpacked = |tensors: &mut BTreeMap<String, Tensor>| {
        tensors.insert("m.weight_zero_point".into(), (Dtype::I8, vec![20, 3], vec![0xff; 60]));
    };
    changed(name, &section, unpacked).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    /// Whatever is done to a file and its configuration: an error or numbers.
    #[test]
    fn mutated_files_do_no_harm(
        fixture in 0..15usize,
        other in 0..15usize,
        mutations in prop::collection::vec(mutation(), 1..4),
    ) {
        let (all, folder_of) = (fixtures(), tempfile::tempdir().unwrap());
        let mut bytes = std::fs::read(folder().join(format!("{}.safetensors", all[fixture].0))).unwrap();
        mutations.iter().for_each(|mutation| mutation.apply(&mut bytes));
        let path = folder_of.path().join("mutated.safetensors");
        std::fs::write(&path, bytes).unwrap();
        for section in [&all[fixture].1, &all[other].1] {
            let Ok(mut weights) = Weights::open_file(&path) else { return Ok(()) };
            if combine(&mut weights, &config(section)).is_err() {
                continue;
            }
            for name in weights.names().map(String::from).collect::<Vec<_>>() {
                let view = weights.get(&name).unwrap();
                let _numbers_or_an_error = view.to_vec_f32();
                if view.rows() > 0 && view.cols() > 0 {
                    let _the_same = view.read_row_bytes(0, &mut vec![0; view.cols()]);
                    let mut groups = vec![FourBits::ZERO; view.cols().div_ceil(GROUP_INPUTS)];
                    let _the_same = view.read_row_four_bits(0, &mut groups);
                }
            }
        }
    }
}
