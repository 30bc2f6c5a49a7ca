//! Products of a query with rows of embeddings.

use super::*;

/// Lengths of rows around multiples of sixteen, of eight bytes, and of nothing.
const WIDTHS: [usize; 11] = [0, 1, 7, 8, 15, 16, 17, 33, 100, 384, 1025];

#[test]
fn dots_of_floats_agree_with_the_reference() {
    for kernel in available() {
        for width in WIDTHS {
            for (rows, stride) in [(0, width), (1, width), (3, width), (4, width + 5), (13, width), (21, width + 1)] {
                let mut numbers = Numbers((width * 31 + rows) as u64);
                let (query, values) = (numbers.vec(width), numbers.vec(rows * stride));
                let halves: Vec<f16> = values.iter().map(|&x| f16::from_f32(x)).collect();
                let (mut got, mut of_halves) = (vec![7.0; rows], vec![7.0; rows]);
                kernel.dots_f32(&query, &values, stride, &mut got);
                kernel.dots_f16(&query, &halves, stride, &mut of_halves);
                for row in 0..rows {
                    let at = row * stride;
                    let dot = |value: &dyn Fn(usize) -> f64| -> f64 {
                        (0..width).map(|i| f64::from(query[i]) * value(at + i)).sum()
                    };
                    close(&kernel.name(), got[row], dot(&|i| f64::from(values[i])), 1e-4);
                    close(&kernel.name(), of_halves[row], dot(&|i| halves[i].to_f64()), 1e-4);
                    // A row's bits do not depend on its company.
                    let mut alone = [0.0];
                    kernel.dots_f32(&query, &values[at..at + width], width, &mut alone);
                    assert_eq!(alone[0].to_bits(), got[row].to_bits());
                    kernel.dots_f16(&query, &halves[at..at + width], width, &mut alone);
                    assert_eq!(alone[0].to_bits(), of_halves[row].to_bits());
                }
            }
        }
    }
}

#[test]
fn dots_of_floats_keep_nan_and_infinity() {
    for kernel in available() {
        for width in [1, 16, 20] {
            for special in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut row = vec![1.0; width];
                row[width - 1] = special;
                let mut got = [0.0];
                kernel.dots_f32(&vec![1.0; width], &row, width, &mut got);
                assert!(got[0] == special || got[0].is_nan() && special.is_nan(), "{}: {}", kernel.name(), got[0]);
            }
        }
    }
}

#[test]
fn sums_of_bytes_are_exact() {
    for kernel in available() {
        for width in WIDTHS {
            let mut numbers = Numbers(width as u64);
            let mut bytes = |count: usize| -> Vec<u8> {
                // The extremes are frequent.
                (0..count).map(|_| (numbers.next() * 200.0 + 128.0) as u8).collect()
            };
            let (rows, stride) = (5, width + 3);
            let (query, values) = (bytes(width), bytes(rows * stride));
            let signed = |bytes: &[u8]| -> Vec<i8> { bytes.iter().map(|&x| (x ^ 128).cast_signed()).collect() };
            let (signed_query, signed_values) = (signed(&query), signed(&values));
            let (mut dots, mut of_signed, mut bits) = ([0; 5], [0; 5], [0; 5]);
            kernel.dots_u8(&query, &values, stride, &mut dots);
            kernel.dots_i8(&signed_query, &signed_values, stride, &mut of_signed);
            kernel.hamming(&query, &values, stride, &mut bits);
            for row in 0..rows {
                let pairs = || (0..width).map(|i| (query[i], values[row * stride + i]));
                let less = |x: u8| i32::from(x) - 128;
                assert_eq!(dots[row], pairs().map(|(x, y)| i32::from(x) * i32::from(y)).sum::<i32>());
                assert_eq!(of_signed[row], pairs().map(|(x, y)| less(x) * less(y)).sum::<i32>());
                assert_eq!(bits[row], pairs().map(|(x, y)| (x ^ y).count_ones() as i32).sum::<i32>());
            }
        }
    }
}
