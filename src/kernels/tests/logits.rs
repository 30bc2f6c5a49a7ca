//! Operations on a row of logits: arg-max, top k, and log-sum-exp.

use super::*;

#[test]
fn the_first_of_the_largest_is_found() {
    for kernel in available() {
        for length in [1, 15, 16, 17, 40, 100] {
            let mut row = vec![-1.0; length];
            assert_eq!(kernel.arg_max(&row), Some((0, -1.0)), "{}", kernel.name());
            for place in [length - 1, length / 2] {
                row[place] = 2.0;
                assert_eq!(kernel.arg_max(&row), Some((place, 2.0)), "{} {length}", kernel.name());
            }
            row[0] = f32::NAN;
            assert_eq!(kernel.arg_max(&row).is_some(), length > 1, "{} {length}", kernel.name());
            row.fill(f32::NEG_INFINITY);
            assert_eq!(kernel.arg_max(&row), None, "{}", kernel.name());
        }
    }
}

#[test]
fn the_largest_are_found_in_their_order() {
    for kernel in available() {
        for length in [0, 1, 15, 63, 64, 65, 200, 1000] {
            let mut row = Numbers(length as u64).vec(length);
            for case in 0..4 {
                match case {
                    // Many equals, whose places decide.
                    1 => row.iter_mut().for_each(|x| *x = (*x * 3.0).round()),
                    2 => row.iter_mut().step_by(3).for_each(|x| *x = f32::NAN),
                    3 => row.iter_mut().skip(2).for_each(|x| *x = f32::NEG_INFINITY),
                    _ => {}
                }
                let mut want: Vec<TopKEntry> = row.iter().enumerate().map(|(i, &x)| (x, i as u32 + 7)).collect();
                want.retain(|(x, _)| *x > f32::NEG_INFINITY);
                want.sort_by(|a, b| b.0.partial_cmp(&a.0).unwrap());
                for count in [0, 1, 2, 10, 64, 65, 100] {
                    let at = format_args!("{} {count} of {length}, case {case}", kernel.name()).to_string();
                    let want: Vec<TopKEntry> =
                        want.iter().copied().chain(std::iter::repeat(FREE)).take(count).collect();
                    let mut whole = vec![FREE; count];
                    kernel.top_k(&row, 7, &mut whole);
                    assert_eq!(whole, want, "{at}");
                    for cut in [1, 64, 70] {
                        let mut parts = vec![FREE; count];
                        for (i, part) in row.chunks(cut).enumerate() {
                            kernel.top_k(part, (7 + i * cut) as u32, &mut parts);
                        }
                        assert_eq!(parts, want, "{at}, in parts of {cut}");
                    }
                }
            }
        }
    }
}

#[test]
fn sums_of_exponentials_agree_with_the_reference() {
    let total = log_sum_exp;
    for kernel in available() {
        for (length, scale) in [(1, 1.0), (17, 5.0), (512, 30.0), (513, 0.1), (3000, 20.0), (3000, 300.0)] {
            let mut row: Vec<f32> = Numbers(length as u64).vec(length).iter().map(|x| x * scale + 50.0).collect();
            for _ in 0..2 {
                let largest = row.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
                let sum: f64 = row.iter().map(|&x| (f64::from(x) - f64::from(largest)).exp()).sum();
                close(
                    &kernel.name(),
                    total(kernel, &row),
                    f64::from(largest) + sum.ln(),
                    2e-5 * f64::from(scale.max(1.0)),
                );
                // A part without anything to sum.
                row.iter_mut().take(600).skip(1).for_each(|x| *x = f32::NEG_INFINITY);
            }
        }
        assert_eq!(total(kernel, &[f32::NEG_INFINITY; 700]), f32::NEG_INFINITY);
        assert_eq!(total(kernel, &[]), f32::NEG_INFINITY);
    }
}
