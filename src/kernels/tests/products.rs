//! Products, over all remainders of tiles, groups and blocks.

use super::*;

#[test]
fn products_agree_with_the_reference() {
    for kernel in available() {
        for (rows, inputs, outputs) in shapes() {
            let mut numbers = Numbers((rows * 1000 + inputs * 10 + outputs) as u64);
            let (a, w) = (numbers.vec(rows * inputs), numbers.vec(outputs * inputs));
            for w in in_all_formats(outputs, inputs, &w) {
                let x = Activations::new(kernel, &w, &a);
                let mut out = vec![f32::NAN; rows * outputs];
                run(kernel, &x, &w, 0..rows, 0..w.blocks(), &mut out, &PLAIN);
                for (i, &got) in out.iter().enumerate() {
                    let (want, tolerance) = reference(kernel, &x, &w, i / outputs, i % outputs);
                    close(&format_args!("{} {rows}x{inputs}x{outputs} at {i}", kernel.name()), got, want, tolerance);
                }
            }
        }
    }
}

#[test]
fn epilogues_agree_with_the_reference() {
    let (rows, inputs, outputs) = (7, 33, 41);
    let mut numbers = Numbers(7);
    let (a, w) = (numbers.vec(rows * inputs), numbers.vec(outputs * inputs));
    let bias: Vec<f32> = numbers.vec(outputs).iter().map(|b| b * 12.0).collect();
    let before = numbers.vec(rows * outputs);
    for kernel in available() {
        for w in in_all_formats(outputs, inputs, &w) {
            let x = Activations::new(kernel, &w, &a);
            for activation in ACTIVATIONS {
                // The residual is the output itself, as in a transformer's block.
                let mut out = before.clone();
                let e = Epilogue { bias: Some(&bias), activation, residual: Some((std::ptr::null(), outputs)) };
                run(kernel, &x, &w, 0..rows, 0..outputs.div_ceil(BLOCK), &mut out, &e);
                for (i, &got) in out.iter().enumerate() {
                    let (sum, tolerance) = reference(kernel, &x, &w, i / outputs, i % outputs);
                    let want = activate(activation, sum + f64::from(bias[i % outputs])) + f64::from(before[i]);
                    // After quantised products GELU is as exact as quantised rows need.
                    let rough = matches!(x.input(), Input::I8(..) | Input::Groups(..))
                        && activation::rough_gelu(activation).is_some();
                    let tolerance = 1.2 * tolerance + if rough { 2.5e-4 } else { 2e-6 };
                    close(&format_args!("{} {activation:?}", kernel.name()), got, want, tolerance);
                }
            }
        }
    }
}

#[test]
fn extreme_bytes_do_not_saturate() {
    for kernel in available() {
        for inputs in [4, 64, 4096] {
            // All weights at ±127; activations at both ends of the range.
            let rows = |n: usize, row: &mut [f32]| {
                row.iter_mut()
                    .enumerate()
                    .for_each(|(k, w)| *w = if n == 2 && k % 2 == 1 { -127.0 } else { [127.0, -127.0, 127.0][n] });
            };
            let w = Format::new(Precision::Int8).pack(Shape { outputs: 3, inputs }, rows);
            for x in [[-1.0, -1.0], [1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-0.5, 0.75]] {
                let a: Vec<f32> = (0..inputs).map(|k| x[k % 2]).collect();
                let x = Activations::new(kernel, &w, &a);
                let mut out = vec![0.0; 3];
                run(kernel, &x, &w, 0..1, 0..1, &mut out, &PLAIN);
                for (n, &got) in out.iter().enumerate() {
                    let (want, tolerance) = reference(kernel, &x, &w, 0, n);
                    close(&format_args!("{} {inputs}", kernel.name()), got, want, tolerance);
                }
            }
        }
    }
}

#[test]
fn activations_are_accurate() {
    // An identity layer of one input applies the function to any number.
    let w = pack(Precision::F32, 1, 1, &[1.0]);
    let a: Vec<f32> = (-24_000..=24_000).map(|i| i as f32 / 2000.0).chain([-1000.0, -60.0, 60.0, 1000.0]).collect();
    for kernel in available() {
        for activation in ACTIVATIONS {
            let mut out = vec![0.0; a.len()];
            let x = Activations::new(kernel, &w, &a);
            run(kernel, &x, &w, 0..a.len(), 0..1, &mut out, &Epilogue { activation, ..PLAIN });
            let worst = a.iter().zip(&out).map(|(&x, &y)| {
                let want = activate(activation, f64::from(x));
                (f64::from(y) - want).abs() / want.abs().max(1.0)
            });
            let worst = worst.fold(0.0, f64::max);
            assert!(worst < 1.2e-6, "{} {activation:?}: off by {worst}", kernel.name());
        }
    }
}

#[test]
fn bits_do_not_depend_on_the_split() {
    let (rows, inputs, outputs) = (29, 70, 280);
    let mut numbers = Numbers(3);
    let (a, w, bias) = (numbers.vec(rows * inputs), numbers.vec(outputs * inputs), numbers.vec(outputs));
    let blocks = outputs.div_ceil(BLOCK);
    let e = Epilogue { bias: Some(&bias), activation: Activation::Gelu, residual: None };
    for kernel in available() {
        for w in in_all_formats(outputs, inputs, &w) {
            let x = Activations::new(kernel, &w, &a);
            let mut whole = vec![0.0; rows * outputs];
            run(kernel, &x, &w, 0..rows, 0..blocks, &mut whole, &e);
            for row_step in [1, 2, 3, 5, 7, 13] {
                for block_step in [1, 3, 4, 18] {
                    let mut parts = vec![0.0; rows * outputs];
                    for row in (0..rows).step_by(row_step) {
                        for block in (0..blocks).step_by(block_step) {
                            let (r, b) = (row..rows.min(row + row_step), block..blocks.min(block + block_step));
                            run(kernel, &x, &w, r, b, &mut parts, &e);
                        }
                    }
                    assert_same_bits(&whole, &parts);
                }
            }
        }
    }
}

#[cfg(target_arch = "aarch64")]
#[test]
fn neon_kernels_give_the_same_bits() {
    let (rows, outputs) = (13, 70);
    for inputs in [4, 5, 8, 12, 33, 100] {
        let mut numbers = Numbers(inputs as u64);
        let (a, w) = (numbers.vec(rows * inputs), numbers.vec(outputs * inputs));
        for w in in_all_formats(outputs, inputs, &w) {
            let mut results = Vec::new();
            for kernel in available().into_iter().filter(|kernel| kernel.isa().starts_with("neon")) {
                let mut out = vec![0.0; rows * outputs];
                let e = Epilogue { activation: Activation::Gelu, ..PLAIN };
                let x = Activations::new(kernel, &w, &a);
                run(kernel, &x, &w, 0..rows, 0..outputs.div_ceil(BLOCK), &mut out, &e);
                results.push(out);
            }
            results.windows(2).for_each(|pair| assert_same_bits(&pair[0], &pair[1]));
        }
    }
}
