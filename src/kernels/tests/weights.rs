//! Packed weights come back, and take the memory that was announced.

use super::*;

#[test]
fn every_precision_has_a_format() {
    for precision in Precision::ALL.into_iter().filter(|&precision| precision != Precision::Auto) {
        assert_eq!(Format::new(precision).precision, precision);
    }
    assert_eq!(Format::new(Precision::Auto).precision, Precision::F32);
}

#[test]
fn sizes_are_what_is_allocated() {
    for format in FORMATS {
        for (outputs, inputs) in [(1, 1), (16, 4), (17, 5), (100, 33), (384, 1536), (0, 7), (7, 0)] {
            let shape = Shape { outputs, inputs };
            let w = format.pack(shape, |_: usize, _: &mut [f32]| {});
            assert_eq!(w.bytes().len(), format.bytes(shape), "{:?}", format.stored);
        }
        // A hostile shape must read as too large, not as small.
        for shape in [(usize::MAX, usize::MAX), (usize::MAX, 1), (1, usize::MAX), (usize::MAX / 2, 3)] {
            let shape = Shape { outputs: shape.0, inputs: shape.1 };
            assert!(format.bytes(shape) > usize::MAX / 2, "{:?}", format.stored);
        }
    }
}

#[test]
fn threads_pack_what_one_packs() {
    for (outputs, inputs) in [(100, 33), (16, 40), (1, 5), (0, 7), (7, 0)] {
        let w = Numbers(9).vec(outputs * inputs);
        for format in FORMATS {
            let alone = pack(format.precision, outputs, inputs, &w);
            let source = |n: usize, row: &mut [f32]| row.copy_from_slice(&w[n * inputs..][..inputs]);
            let mut sources = [source; 3];
            let [a, b, c] = &mut sources;
            let shared = format.pack_shared(Shape { outputs, inputs }, &mut [a, b, c]);
            assert!(alone.bytes() == shared.bytes(), "{:?} {outputs} x {inputs}", format.stored);
        }
    }
}

/// The layouts of `.kinglet` files, which later versions must be able to read.
#[test]
fn layouts_are_those_of_files() {
    let w = Numbers(5).vec(18 * 5);
    let at = |format: &Format, group: usize, n: usize, k: usize| {
        let padded = 5usize.next_multiple_of(group);
        let number = (n / 16 * padded + k / group * group) * 16 + n % 16 * group + k % group;
        number * if format.precision == Precision::F32 { 4 } else { 2 }
    };
    for (n, k) in (0..18).flat_map(|n| (0..5).map(move |k| (n, k))) {
        let x = w[n * 5 + k];
        for (precision, group, bytes) in [
            (Precision::F32, 1, x.to_le_bytes().to_vec()),
            (Precision::F16, 1, f16::from_f32(x).to_le_bytes().to_vec()),
            (Precision::Bf16, 2, bf16::from_f32(x).to_le_bytes().to_vec()),
        ] {
            let packed = pack(precision, 18, 5, &w);
            assert_eq!(&packed.bytes()[at(packed.format(), group, n, k)..][..bytes.len()], bytes);
        }
        // Bytes of two blocks of 16 channels and 8 inputs, then a scale and a sum for each channel.
        let packed = pack(Precision::Int8, 18, 5, &w);
        let (bytes, scale, sum) = weight::bytes_of(&packed, n);
        let memory = packed.bytes();
        assert_eq!(memory[n / 16 * 128 + k / 4 * 64 + n % 16 * 4 + k % 4] as i8, bytes[k]);
        assert_eq!(memory[256 + 4 * n..][..4], scale.to_le_bytes());
        assert_eq!(memory[256 + 128 + 4 * n..][..4], sum.to_le_bytes());
        assert_eq!(memory.len(), 256 + 128 + 128);
        // One group of 32 inputs: numbers, four in the low halves and four in the high ones, then steps, then least values.
        let packed = pack(Precision::Int4, 18, 5, &w);
        let group = &packed.bytes()[n / 16 * 320..][..320];
        let byte = group[n % 16 * 4 + k % 4];
        let number = if k < 4 { byte & 15 } else { byte >> 4 };
        let half = |at: usize| f16::from_le_bytes(*group[at + n % 16 * 2..].first_chunk().unwrap()).to_f32();
        let value = half(256).mul_add(f32::from(number), half(288));
        assert_eq!(packed.value(n, k), value);
        assert!((value - x).abs() <= half(256), "{value} is not {x}");
        assert_eq!(packed.bytes().len(), 2 * 320);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn quantised_rows_come_back(x in prop::collection::vec(-1e3f32..1e3, 1..80), shift in -1e3f32..1e3) {
        let x: Vec<f32> = x.iter().map(|x| x + shift).collect();
        for kernel in available() {
            let mut bytes = vec![0u8; x.len().next_multiple_of(4)];
            let RowScale { scale, zero } = kernel.quantize_row(&x, &mut bytes);
            for (&x, &b) in x.iter().zip(&bytes) {
                let back = scale * (stored(kernel, b) - i64::from(zero)) as f32;
                prop_assert!((back - x).abs() <= scale * 0.5001, "{}: {back} is not {x}", kernel.name());
            }
        }
    }

    #[test]
    fn grouped_rows_come_back(x in prop::collection::vec(-1e3f32..1e3, 1..100), tiny in 0usize..4) {
        // One group has another magnitude.
        let x: Vec<f32> = x.iter().enumerate().map(|(i, x)| if i / 32 == tiny { x * 1e-6 } else { *x }).collect();
        let groups = x.len().div_ceil(GROUP_INPUTS);
        let mut first: Option<(Vec<u8>, Vec<GroupScale>)> = None;
        for kernel in available() {
            let (mut bytes, mut scales) = (vec![7u8; groups * GROUP_INPUTS], vec![GroupScale::default(); groups]);
            kernel.quantize_groups(&x, &mut bytes, &mut scales);
            for (i, &byte) in bytes.iter().enumerate() {
                let (scale, x) = (scales[i / GROUP_INPUTS].scale, x.get(i).copied().unwrap_or(0.0));
                let back = scale * f32::from(byte as i8);
                prop_assert!((back - x).abs() <= scale * 0.5001, "{}: {back} is not {x}", kernel.name());
            }
            for (scale, bytes) in scales.iter().zip(bytes.chunks(GROUP_INPUTS)) {
                let sum: i32 = bytes.iter().map(|&byte| i32::from(byte as i8)).sum();
                prop_assert_eq!(scale.sum, scale.scale * sum as f32);
            }
            // Every kernel stores the same bytes.
            let (bytes_before, scales_before) = first.get_or_insert_with(|| (bytes.clone(), scales.clone()));
            prop_assert_eq!((&bytes, &scales), (&*bytes_before, &*scales_before));
        }
    }

    #[test]
    fn packed_bytes_come_back(outputs in 1usize..40, inputs in 1usize..20, seed: u64) {
        let w = Numbers(seed).vec(outputs * inputs);
        let packed = pack(Precision::Int8, outputs, inputs, &w);
        for n in 0..outputs {
            let (bytes, scale, sum) = weight::bytes_of(&packed, n);
            for (k, &byte) in bytes.iter().enumerate() {
                prop_assert!(byte > i8::MIN);
                let back = scale * f32::from(byte);
                prop_assert_eq!(back, packed.value(n, k));
                prop_assert!((back - w[n * inputs + k]).abs() <= scale * 0.5001);
            }
            prop_assert_eq!(bytes.iter().map(|&byte| i32::from(byte)).sum::<i32>(), sum);
        }
    }

    #[test]
    fn packed_floats_come_back(outputs in 1usize..40, inputs in 1usize..150, seed: u64) {
        let w = Numbers(seed).vec(outputs * inputs);
        for (precision, round) in [
            (Precision::F32, (|x| x) as fn(f32) -> f32),
            (Precision::F16, |x| f16::from_f32(x).to_f32()),
            (Precision::Bf16, |x| bf16::from_f32(x).to_f32()),
        ] {
            let packed = pack(precision, outputs, inputs, &w);
            for n in 0..outputs {
                let expected: Vec<f32> = w[n * inputs..][..inputs].iter().map(|&w| round(w)).collect();
                let mut row = vec![0.0; inputs];
                packed.add_row(n, &mut row);
                prop_assert_eq!(&row, &expected);
                prop_assert!((0..inputs).all(|k| packed.value(n, k) == expected[k]));
            }
        }
    }
}
