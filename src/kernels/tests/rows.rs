//! What is done to single rows: norms, embedding sums, rounding and quantising.

use super::*;

#[test]
fn layer_norm_agrees_with_the_reference() {
    for kernel in available() {
        for count in [1, 2, 15, 16, 17, 33, 384, 400, 1000] {
            let mut numbers = Numbers(count as u64);
            // A mean far from 0, which a one-pass variance would not survive.
            let x: Vec<f32> = numbers.vec(count).iter().map(|x| x + 100.0).collect();
            let (weight, bias) = (numbers.vec(count), numbers.vec(count));
            let mut got = x.clone();
            kernel.layer_norm(&mut got, &weight, &bias, 1e-5);
            let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / count as f64;
            let variance = x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count as f64;
            for i in 0..count {
                let want =
                    (f64::from(x[i]) - mean) / (variance + 1e-5).sqrt() * f64::from(weight[i]) + f64::from(bias[i]);
                close(&kernel.name(), got[i], want, 1e-4);
            }
        }
    }
}

#[test]
fn embedding_sums_agree_with_the_reference() {
    for kernel in available() {
        for count in [0, 1, 15, 16, 17, 100, 384] {
            let mut numbers = Numbers(count as u64);
            let (x, y) = (numbers.vec(count), numbers.vec(count));
            let halves: Vec<f16> = y.iter().map(|&y| f16::from_f32(y)).collect();
            let bytes: Vec<i8> = y.iter().map(|y| (y * 127.0) as i8).collect();
            let (mut a, mut b, mut c) = (x.clone(), x.clone(), x.clone());
            kernel.add_f32(&mut a, &y);
            kernel.add_f16(&mut b, &halves);
            kernel.add_i8(&mut c, &bytes, 0.37);
            for i in 0..count {
                assert_eq!(a[i], x[i] + y[i]);
                assert_eq!(b[i], x[i] + halves[i].to_f32());
                close(&kernel.name(), c[i], f64::from(x[i]) + 0.37f32 as f64 * f64::from(bytes[i]), 1e-5);
            }
        }
    }
}

#[test]
fn rows_are_rounded_to_the_nearest_bf16() {
    // All upper halves, with lower ones around both ties.
    let lower = [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff];
    let all: Vec<f32> = (0..=u32::from(u16::MAX)).flat_map(|u| lower.map(|l| f32::from_bits(u << 16 | l))).collect();
    for kernel in available() {
        let mut rounded = vec![bf16::NAN; all.len()];
        kernel.round_row(&all, &mut rounded);
        for (&got, &x) in rounded.iter().zip(&all) {
            let want = bf16::from_f32(x);
            let zero = x.is_subnormal() && got.to_f32() == 0.0;
            let same = if x.is_nan() { got.is_nan() } else { got.to_bits() == want.to_bits() || zero };
            assert!(same, "{}: {x:e} gave {got:e}, not {want:e}", kernel.name());
        }
        for count in [1, 3, 15, 16, 17, 33] {
            let mut part = vec![bf16::NAN; usize::next_multiple_of(count, 2)];
            kernel.round_row(&all[200_000..][..count], &mut part[..]);
            part.truncate(count);
            assert!(part.iter().map(|x| x.to_bits()).eq(rounded[200_000..].iter().take(count).map(|x| x.to_bits())));
        }
    }
}

#[test]
fn every_f16_widens() {
    let all: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
    for kernel in available() {
        let mut got = vec![0.0; all.len()];
        kernel.add_f16(&mut got, &all);
        for (got, want) in got.iter().zip(&all) {
            assert!(*got == want.to_f32() || got.is_nan() && want.is_nan(), "{}: {got} is not {want}", kernel.name());
        }
    }
}

#[test]
fn the_hadamard_transform_agrees_with_its_matrix_and_has_the_same_bits_everywhere() {
    for (count, block) in [(16, 16), (96, 32), (64, 64), (48, 16), (384, 128), (768, 64), (1536, 512), (1024, 1024)] {
        let x = Numbers(count as u64).vec(count);
        // The rows of the matrix are over the first and the last dimension of [block / 16, run, 16].
        let run = count / block;
        let row = |i: usize| i / (16 * run) * 16 + i % 16;
        let wanted = |i: usize| -> f64 {
            let sign = |j: usize| if (row(i) & row(j)).count_ones().is_multiple_of(2) { 1.0 } else { -1.0 };
            let same = |&j: &usize| j / 16 % run == i / 16 % run;
            (0..count).filter(same).map(|j| sign(j) * f64::from(x[j])).sum()
        };
        let mut first: Option<Vec<f32>> = None;
        for kernel in available() {
            let mut y = x.clone();
            kernel.hadamard(&mut y, block);
            for (i, &y) in y.iter().enumerate() {
                close(&kernel.name(), y, wanted(i), 1e-4);
            }
            assert_eq!(&y, first.get_or_insert_with(|| y.clone()), "{}", kernel.name());
            let mut product = vec![0.0; count];
            kernel.multiply(&x, &y, &mut product);
            assert!(product.iter().zip(&x).zip(&y).all(|((p, x), y)| *p == x * y), "{}", kernel.name());
        }
    }
    let lengths = [(0, 1), (15, 1), (16, 16), (24, 1), (384, 128), (576, 64), (1536, 512), (4096, 1024)];
    assert!(lengths.iter().all(|&(inputs, block)| crate::kernels::block_of(inputs) == block));
}
