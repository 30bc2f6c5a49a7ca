use std::fmt::Debug;

use half::{bf16, f16};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::base::error::Status;
use crate::formats::mutation::mutation;

/// A file with this header and `data` bytes of data: 0, 1, 2, …
fn file(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend((0..data).map(|i| i as u8));
    bytes
}

fn tensor(name: &str, dtype: &str, shape: &[usize], begin: u64, end: u64) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{begin},{end}]}}"#)
}

/// A file of readable tensors, an unreadable one and an empty one, which begin at an odd address.
fn sample() -> Vec<u8> {
    let tensors = [
        tensor("single.weight", "F32", &[2, 3], 0, 24),
        tensor("half.weight", "F16", &[4], 24, 32),
        tensor("brain.weight", "BF16", &[2, 1], 32, 36),
        tensor("position_ids", "I64", &[1], 36, 44),
        tensor("none", "F32", &[0, 5], 44, 44),
    ];
    let mut header = format!(r#"{{"__metadata__":{{"format":"pt"}},{}}}"#, tensors.join(","));
    while header.len() % 2 == 0 {
        header.push(' ');
    }
    let mut bytes = file(&header, 0);
    for x in [0.0, -1.5, f32::MAX, 1e-40, f32::MIN, 3.25f32] {
        bytes.extend(x.to_le_bytes());
    }
    for x in [0.5, -65504.0, 6e-8, 65504.0] {
        bytes.extend(f16::from_f32(x).to_le_bytes());
    }
    for x in [1e38, -2.0] {
        bytes.extend(bf16::from_f32(x).to_le_bytes());
    }
    bytes.extend(7u64.to_le_bytes());
    bytes
}

fn directory(files: &[(&str, &[u8])]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    dir
}

fn open(bytes: &[u8]) -> Result<Weights> {
    Weights::open(directory(&[(FILE, bytes)]).path())
}

/// The message of an InvalidFile error, after checking that it names the file and is not too long.
fn complaint<T>(result: Result<T>) -> String {
    let error = result.err().expect("an error");
    assert_eq!(error.status(), Status::InvalidFile, "{error}");
    assert!(error.message().contains("model"), "{error}");
    assert!(error.message().chars().count() < 1000, "{error}");
    error.message().to_owned()
}

fn assert_says<T>(result: Result<T>, what: &str) {
    let message = complaint(result);
    assert!(message.contains(what), "expected {what:?} in {message:?}");
}

#[test]
fn every_readable_type_converts_exactly_to_f32() {
    let weights = open(&sample()).unwrap();
    let read = |name| weights.get(name).unwrap().to_vec_f32().unwrap();
    assert_eq!(read("single.weight"), [0.0, -1.5, f32::MAX, 1e-40, f32::MIN, 3.25]);
    assert_eq!(read("half.weight"), [0.5, -65504.0, f16::from_f32(6e-8).to_f32(), 65504.0]);
    assert_eq!(read("brain.weight"), [bf16::from_f32(1e38).to_f32(), -2.0]);
    assert_eq!(read("none"), [0.0; 0]);
    let mut two = [0.0; 2];
    weights.get("single.weight").unwrap().read_f32(4, &mut two).unwrap();
    assert_eq!(two, [f32::MIN, 3.25]);
}

#[test]
fn values_that_are_not_finite_are_refused() {
    let good = sample();
    let at = good.len() - 44;
    for (name, bytes, offset, element, shown) in [
        ("single.weight", &f32::NAN.to_le_bytes()[..], 4, 1, "NaN"),
        ("single.weight", &f32::NEG_INFINITY.to_le_bytes()[..], 20, 5, "-inf"),
        ("half.weight", &f16::NAN.to_le_bytes()[..], 26, 1, "NaN"),
        ("half.weight", &f16::INFINITY.to_le_bytes()[..], 30, 3, "inf"),
        ("brain.weight", &bf16::NAN.to_le_bytes()[..], 34, 1, "NaN"),
    ] {
        let mut bad = good.clone();
        bad[at + offset..][..bytes.len()].copy_from_slice(bytes);
        let weights = open(&bad).unwrap();
        let view = weights.get(name).unwrap();
        let says = format!("tensor `{name}` holds {shown} at element {element}");
        assert_says(view.to_vec_f32(), &says);
        assert_says(view.read_f16(element, &mut [f16::ZERO]), &says);
        assert_says(view.read_f16(1, &mut vec![f16::ZERO; view.elements() - 1]), &says);
    }
}

#[test]
fn f16_is_rounded_to_nearest_and_overflow_is_an_error() {
    let weights = open(&sample()).unwrap();
    let mut four = [f16::ZERO; 4];
    weights.get("half.weight").unwrap().read_f16(0, &mut four).unwrap();
    assert_eq!(four[..2], [f16::from_f32(0.5), f16::MIN]);
    let single = weights.get("single.weight").unwrap();
    single.read_f16(5, &mut four[..1]).unwrap();
    assert_eq!(four[0], f16::from_f32(3.25));
    for (view, from, element) in [(single, 1, "element 2"), (weights.get("brain.weight").unwrap(), 0, "element 0")] {
        let error = view.read_f16(from, &mut four[..2]).unwrap_err();
        assert_eq!(error.status(), Status::Unsupported);
        for part in [FILE, view.name, element, "precision f32"] {
            assert!(error.message().contains(part), "{error}");
        }
    }
}

#[test]
fn conversions_agree_with_element_wise_ones_across_blocks() {
    let n = 1500;
    let values: Vec<f32> = (0..n).map(|i| (i as f32 - 700.3) * 0.37).collect();
    let header = [
        tensor("a", "F32", &[n], 0, 4 * n as u64),
        tensor("b", "F16", &[n], 4 * n as u64, 6 * n as u64),
        tensor("c", "BF16", &[n], 6 * n as u64, 8 * n as u64),
    ];
    let mut bytes = file(&format!("{{{}}}", header.join(",")), 0);
    bytes.extend(values.iter().flat_map(|x| x.to_le_bytes()));
    bytes.extend(values.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()));
    bytes.extend(values.iter().flat_map(|x| bf16::from_f32(*x).to_le_bytes()));
    let weights = open(&bytes).unwrap();
    let from = 3;
    let expected: [Vec<f32>; 3] = [
        values[from..].to_vec(),
        values[from..].iter().map(|x| f16::from_f32(*x).to_f32()).collect(),
        values[from..].iter().map(|x| bf16::from_f32(*x).to_f32()).collect(),
    ];
    for (name, expected) in ["a", "b", "c"].into_iter().zip(expected) {
        let (mut single, mut half) = (vec![0.0; n - from], vec![f16::ZERO; n - from]);
        let view = weights.get(name).unwrap();
        view.read_f32(from, &mut single).unwrap();
        view.read_f16(from, &mut half).unwrap();
        assert_eq!(single, expected, "{name}");
        assert_eq!(half, expected.iter().map(|x| f16::from_f32(*x)).collect::<Vec<_>>(), "{name}");
    }
    // A value beyond f16's range in the third block is found, and the error names its position.
    let at = bytes.len() - 8 * n + 4 * 1400;
    bytes[at..at + 4].copy_from_slice(&(-70000f32).to_le_bytes());
    let weights = open(&bytes).unwrap();
    let error = weights.get("a").unwrap().read_f16(from, &mut vec![f16::ZERO; n - from]).unwrap_err();
    assert!(error.message().contains("holds -70000 at element 1400"), "{error}");
}

#[test]
fn shapes_names_and_sizes() {
    let bytes = sample();
    let weights = open(&bytes).unwrap();
    assert_eq!(
        weights.names().collect::<Vec<_>>(),
        ["brain.weight", "half.weight", "none", "position_ids", "single.weight"]
    );
    assert_eq!((weights.bytes(), weights.total_bytes()), (bytes.len() as u64, 44));
    assert!(weights.files().all(|path| path.ends_with(FILE)) && weights.files().count() == 1);
    let view = weights.require("single.weight", &[2, 3]).unwrap();
    assert_eq!((view.rows(), view.cols(), view.elements(), view.dtype), (2, 3, 6, DType::F32));
    let view = weights.require("half.weight", &[4]).unwrap();
    assert_eq!((view.rows(), view.cols(), view.bytes.len()), (1, 4, 8));
    assert!(weights.get("absent").is_none());
    let ids = weights.get("position_ids").unwrap();
    assert_eq!(ids.dtype.to_string(), "I64");
    assert!(open(&file("{}", 0)).unwrap().names().next().is_none());
}

#[test]
fn a_tensor_of_another_name_shape_or_type_is_an_error_that_says_what_was_found() {
    let weights = open(&sample()).unwrap();
    assert_says(
        weights.require("single.weight", &[3, 2]),
        "tensor `single.weight` has shape [2, 3], but [3, 2] is needed",
    );
    assert_says(weights.require("model.half.weight", &[4]), "the most similar names are `half.weight`");
    assert!(!complaint(weights.require("quite different", &[4])).contains("similar"));
    for result in [
        weights.require("position_ids", &[1]).map(|_| ()),
        weights.get("position_ids").unwrap().to_vec_f32().map(|_| ()),
        weights.get("position_ids").unwrap().read_f32(0, &mut [0.0]),
        weights.get("position_ids").unwrap().read_f16(0, &mut [f16::ZERO]),
    ] {
        assert_says(result, "`position_ids` has type I64");
    }
    let view = weights.get("half.weight").unwrap();
    for (start, count) in [(0, 5), (4, 1), (5, 0), (usize::MAX, 1), (usize::MAX / 2, 2)] {
        assert_eq!(view.read_f32(start, &mut vec![0.0; count]).unwrap_err().status(), Status::Internal);
        assert_eq!(view.read_f16(start, &mut vec![f16::ZERO; count]).unwrap_err().status(), Status::Internal);
    }
    view.read_f32(4, &mut []).unwrap();
}

#[test]
fn headers_that_break_the_rules_are_refused() {
    let one = |t: &str, data| open(&file(&format!("{{{t}}}"), data));
    let two = |a: &str, b: &str, data| open(&file(&format!("{{{a},{b}}}"), data));
    let a = tensor("a", "F32", &[1], 0, 4);
    assert!(one(&a, 4).is_ok());
    assert_says(one(&a, 3), "truncated: its header describes 4 bytes of tensors, but there are 3");
    assert_says(one(&a, 6), "2 bytes follow the last tensor");
    assert_says(two(&a, &a, 4), "`a` appears twice");
    assert_says(two(&a, &tensor("b", "F32", &[1], 2, 6), 6), "invalid offset for tensor `b`");
    assert_says(two(&a, &tensor("b", "F32", &[1], 6, 10), 10), "invalid offset for tensor `b`");
    assert_says(one(&tensor("a", "F32", &[1], 4, 0), 4), "invalid offset");
    assert_says(one(&tensor("a", "F32", &[2], 0, 4), 4), "invalid shape");
    assert_says(one(&tensor("a", "F32", &[usize::MAX, 2], 0, 4), 4), "overflow");
    assert_says(one(&tensor("a", "F32", &[usize::MAX], 0, 4), 4), "overflow");
    assert_says(one(&tensor("a", "F32", &[usize::MAX, usize::MAX, 0], 0, 0), 0), "overflow");
    assert_says(one(&tensor("a", "F4", &[1], 0, 0), 0), "invalid");
    assert_says(one(&tensor("a", "F99", &[1], 0, 4), 4), "unknown variant");
    assert_says(one(&tensor("a", "F32", &[1; 65], 0, 4), 4), "more than 64 dimensions");
    assert_says(one(&tensor("a", &"x".repeat(100_000), &[1], 0, 4), 4), "unknown variant");
    assert_says(two(&a, &tensor(&"n".repeat(100_000), "F32", &[1], 5, 9), 9), "invalid offset");
    assert_says(one(r#""a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}"#, 4), "header is invalid");
    assert_says(one(r#""a":{"dtype":"F32","data_offsets":[0,4]}"#, 4), "missing field `shape`");
    assert_says(one(r#""a":1"#, 4), "header is invalid");
    for header in ["", "[]", "{", "{}x", "nul", "{\"a\u{0}\":1}"] {
        assert_says(open(&file(header, 8)), "header is invalid");
    }
    assert_says(open(&file(&format!("{{\"a\":{}", "[".repeat(100_000)), 0)), "header is invalid");
    let mut not_utf8 = file("{\"a\":1}", 0);
    not_utf8[10] = 0xff;
    assert_says(open(&not_utf8), "header is invalid");
    let many = (0..=MAX_TENSORS).map(|i| tensor(&i.to_string(), "F32", &[0], 0, 0)).collect::<Vec<_>>().join(",");
    assert_says(one(&many, 0), "more than 100000 tensors");
}

/// The end of the last tensor plus the header's length, which the `safetensors` crate adds unchecked, exceeds 2^64.
#[test]
fn sizes_whose_sum_overflows_are_refused() {
    let step = (1u64 << 61) - 1;
    let tensors: Vec<_> =
        (0..8).map(|i| tensor(&i.to_string(), "U8", &[step as usize], i * step, (i + 1) * step)).collect();
    assert_says(open(&file(&format!("{{{}}}", tensors.join(",")), 16)), "truncated");
}

#[test]
fn files_of_other_formats_are_recognised() {
    assert_says(open(b""), "the file is empty");
    assert_says(open(b"1234567"), "too few");
    assert_says(open(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "git lfs pull");
    assert_says(open(b"PK\x03\x04............"), "checkpoint of PyTorch");
    assert_says(open(b"<!DOCTYPE html><html></html>"), "not a safetensors file");
    assert_says(open(&[0xff; 64]), "not a safetensors file");
    assert_says(open(&file(&" ".repeat(99), 0)[..50]), "truncated");
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join(FILE)).unwrap();
    assert_says(Weights::open(dir.path()), "this is a directory");
}

#[test]
fn a_directory_without_weights_is_an_error_that_names_the_expected_files() {
    let dir = directory(&[]);
    let error = Weights::open(dir.path()).err().unwrap();
    assert_eq!(error.status(), Status::NotFound);
    assert!(error.message().contains(FILE) && error.message().contains(INDEX), "{error}");
    let dir = directory(&[("pytorch_model.bin", b"x".as_slice())]);
    let error = Weights::open(dir.path()).err().unwrap();
    assert_eq!(error.status(), Status::InvalidFile);
    assert!(error.message().contains("pytorch_model.bin: "), "{error}");
}

#[cfg(unix)]
#[test]
fn a_dangling_link_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("gone", dir.path().join(FILE)).unwrap();
    let error = Weights::open(dir.path()).err().unwrap();
    assert!(error.status() == Status::NotFound && error.message().contains(FILE), "{error}");
}

fn sharded(index: &str) -> TempDir {
    let first = file(&format!("{{{}}}", tensor("a", "F32", &[2], 0, 8)), 8);
    let header = [tensor("b", "F16", &[3], 0, 6), tensor("extra", "F16", &[1], 6, 8)];
    let second = file(&format!("{{{}}}", header.join(",")), 8);
    directory(&[("model-1.safetensors", &first), ("model-2.safetensors", &second), (INDEX, index.as_bytes())])
}

#[test]
fn shards_are_one_model() {
    let dir =
        sharded(r#"{"metadata":{"total_size":16},"weight_map":{"b":"model-2.safetensors","a":"model-1.safetensors"}}"#);
    let weights = Weights::open(dir.path()).unwrap();
    assert_eq!(weights.names().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((weights.files().count(), weights.total_bytes()), (2, 14));
    assert!(weights.get("a").unwrap().file.ends_with("model-1.safetensors"));
    assert_eq!(weights.require("b", &[3]).unwrap().bytes, [0, 1, 2, 3, 4, 5]);
    assert!(complaint(weights.require("b", &[4])).contains("model-2.safetensors: "));
    assert!(complaint(weights.require("c", &[4])).contains(INDEX));
}

#[test]
fn an_index_cannot_name_files_outside_its_directory_or_be_wrong() {
    let open = |index: &str| Weights::open(sharded(index).path());
    for name in ["../x", "/etc/passwd", "..", ".", "", "a/b", "a\\\\b", "C:x", "a\\u0000"] {
        let index = format!(r#"{{"weight_map":{{"a":"model-1.safetensors","b":"{name}"}}}}"#);
        assert_says(open(&index), "the index puts tensor `b` in");
    }
    assert_says(open(r#"{"weight_map":{"a":7}}"#), "plain file name");
    assert_says(open(r#"{"weight_map":[]}"#), "no object `weight_map`");
    assert_says(open("[]"), "no object `weight_map`");
    assert_says(open("{"), "not valid JSON");
    assert_says(open(r#"{"weight_map":{"b":"model-1.safetensors"}}"#), "tensor `b` is not in");
    assert_says(open(&format!(r#"{{"weight_map":{{"a":"{INDEX}"}}}}"#)), "not a safetensors file");
    let error = open(r#"{"weight_map":{"a":"model-3.safetensors"}}"#).err().unwrap();
    assert_eq!(error.status(), Status::NotFound);
    assert!(error.message().contains("model-3.safetensors") && error.message().contains(INDEX), "{error}");
    let many: Vec<_> = (0..=MAX_SHARDS).map(|i| format!(r#""{i}":"{i}""#)).collect();
    assert_says(open(&format!(r#"{{"weight_map":{{{}}}}}"#, many.join(","))), "more than 1000 files");
}

/// The resident bytes of the mapping that contains `address`.
#[cfg(target_os = "linux")]
fn resident(address: *const u8) -> usize {
    let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
    let mut inside = false;
    for line in smaps.lines() {
        let first = line.split(' ').next().unwrap();
        if let Some((begin, end)) = first.split_once('-')
            && let (Ok(begin), Ok(end)) = (usize::from_str_radix(begin, 16), usize::from_str_radix(end, 16))
        {
            inside = (begin..end).contains(&address.addr());
        } else if inside && first == "Rss:" {
            let kilobytes = line.trim_end_matches(" kB").split_whitespace().last().unwrap();
            return kilobytes.parse::<usize>().unwrap() << 10;
        }
    }
    panic!("no mapping holds {address:?}")
}

#[cfg(target_os = "linux")]
#[test]
fn opening_touches_no_tensor_and_releasing_gives_pages_back() {
    const SIZE: usize = 8 << 20;
    // The maximum that the kernel maps beyond a tensor, at both ends together.
    const AROUND: usize = 4 << 20;
    let (n, size) = (SIZE / 4, SIZE as u64);
    let mut tensors: Vec<_> = (0..3).map(|i| tensor(&i.to_string(), "F32", &[n], i * size, (i + 1) * size)).collect();
    tensors.push(tensor("small", "F32", &[5], 3 * size, 3 * size + 20));
    tensors.push(tensor("last", "F32", &[n], 3 * size + 20, 4 * size + 20));
    let data = 4 * SIZE + 20;
    let mut bytes = file(&format!("{{{}}}", tensors.join(",")), data);
    // Finite in f32.
    let start = bytes.len() - data;
    bytes[start..].fill(0x3f);
    let weights = open(&bytes).unwrap();
    let view = weights.get("1").unwrap();
    let rss = || resident(view.bytes.as_ptr());
    assert_eq!(rss(), 0, "after opening");
    let before = view.to_vec_f32().unwrap();
    assert!((SIZE..=SIZE + AROUND).contains(&rss()), "{} bytes after reading one tensor", rss());
    view.release();
    assert_eq!(rss(), 0, "after releasing it");
    for name in ["small", "last", "0"] {
        let view = weights.get(name).unwrap();
        view.to_vec_f32().unwrap();
        assert!((1..=view.bytes.len() + AROUND).contains(&rss()), "{} bytes after reading {name}", rss());
        view.release();
        assert_eq!(rss(), 0, "after releasing {name}");
    }
    assert!(before.iter().map(|x| x.to_bits()).eq(view.to_vec_f32().unwrap().iter().map(|x| x.to_bits())));
}

/// Opens a mutated directory and reads everything; every error must name a file.
fn read_all(directory: &Path) -> Result<()> {
    let weights = Weights::open(directory)?;
    for name in weights.names() {
        let view = weights.get(name).expect("a name that was listed");
        let (single, mut half) = (view.to_vec_f32(), vec![f16::ZERO; view.bytes.len() / 2]);
        let count = half.len().min(view.elements());
        let results = [
            single.map(|values| assert_eq!(values.len(), view.elements())),
            view.read_f16(0, &mut half[..count]),
            weights.require(name, view.shape).map(|_| ()),
            weights.require(name, &[1, 2, 3]).map(|_| ()),
            weights.require(&format!("{name}x"), &[]).map(|_| ()),
        ];
        view.release();
        for error in results.into_iter().filter_map(Result::err) {
            assert!(error.message().contains("model"), "{error}");
        }
    }
    Ok(())
}

fn assert_named(result: Result<(), impl Debug + std::fmt::Display>) {
    if let Err(error) = result {
        assert!(error.to_string().contains("model"), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_file_never_panics_and_errors_name_it(mutations in prop::collection::vec(mutation(), 1..4)) {
        let mut bytes = sample();
        mutations.iter().for_each(|m| m.apply(&mut bytes));
        assert_named(read_all(directory(&[(FILE, &bytes)]).path()));
    }

    #[test]
    fn a_damaged_index_never_panics_and_errors_name_it(mutations in prop::collection::vec(mutation(), 1..4)) {
        let mut index = br#"{"weight_map":{"a":"model-1.safetensors","b":"model-2.safetensors"}}"#.to_vec();
        mutations.iter().for_each(|m| m.apply(&mut index));
        let dir = sharded("");
        fs::write(dir.path().join(INDEX), &index).unwrap();
        assert_named(read_all(dir.path()));
    }
}
