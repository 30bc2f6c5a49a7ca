//! Every kernel that this machine has, against plain references: exact integers, or f64.
//!
//! Two kinds of property: results are close to the reference over odd shapes, and bits do not depend on which rows,
//! blocks or queries are computed together.

use half::{bf16, f16};
use proptest::prelude::*;

use super::select::{NAMES, choose};
use super::*;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[path = "amx/tests.rs"]
mod amx;

mod logits;
mod paged;

const ACTIVATIONS: [Activation; 6] =
    [Activation::None, Activation::Relu, Activation::Gelu, Activation::GeluTanh, Activation::Silu, Activation::Tanh];

/// Rows, inputs, outputs: all remainders of tiles, groups and blocks.
fn shapes() -> impl Iterator<Item = (usize, usize, usize)> {
    let small = (1..=17).flat_map(|rows| [(rows, 7, 33), (rows, 64, 100)]);
    let inputs = [1, 3, 4, 5, 31, 100, 384].into_iter().flat_map(|k| [(1, k, 17), (5, k, 15), (13, k, 16)]);
    let outputs = [1, 15, 16, 17, 33, 100, 272].into_iter().flat_map(|n| [(1, 20, n), (2, 20, n), (7, 20, n)]);
    small.chain(inputs).chain(outputs).chain([(37, 12, 40)])
}

/// Numbers in -1..1 that look random and are the same for the same seed.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn vec(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next()).collect()
    }
}

/// erf by its Taylor series, or the continued fraction of erfc where that is long.
fn erf(x: f64) -> f64 {
    let magnitude = x.abs();
    if magnitude < 3.0 {
        let (mut term, mut sum) = (x, x);
        for n in 1..100 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        return sum * 2.0 / std::f64::consts::PI.sqrt();
    }
    let fraction = (1..60).rev().fold(magnitude, |f, n| magnitude + f64::from(n) / 2.0 / f);
    (1.0 - (-x * x).exp() / (fraction * std::f64::consts::PI.sqrt())).copysign(x)
}

fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::None => x,
        Activation::Relu => x.max(0.0),
        Activation::Gelu => 0.5 * x * (1.0 + erf(x / 2f64.sqrt())),
        Activation::GeluTanh => {
            0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)).tanh())
        }
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Tanh => x.tanh(),
    }
}

#[track_caller]
fn close(what: &dyn std::fmt::Display, got: f32, want: f64, tolerance: f64) {
    assert!((f64::from(got) - want).abs() <= tolerance, "{what}: {got} is not {want}");
}

fn assert_same_bits(a: &[f32], b: &[f32]) {
    assert!(a.iter().map(|x| x.to_bits()).eq(b.iter().map(|x| x.to_bits())), "bits differ");
}

/// A layer in whichever weight format, so that the tests are written once.
enum Layer {
    I8(PackedI8),
    F32(PackedF32),
    F16(PackedF16),
    Bf16(PackedBf16),
}

/// A quantised activation as the kernel that stored it reads it.
fn stored(kernel: &dyn Kernel, byte: u8) -> i64 {
    let signed = ["avx2", "neon", "neon-dotprod", "neon-i8mm"].contains(&kernel.isa());
    if signed { i64::from(byte as i8) } else { i64::from(byte) }
}

/// Activations as the layer takes them.
struct Input {
    floats: Vec<f32>,
    bytes: Vec<u8>,
    scales: Vec<RowScale>,
    rounded: Vec<bf16>,
}

impl Layer {
    fn all(outputs: usize, inputs: usize, w: &[f32]) -> [Layer; 4] {
        [
            Layer::I8(PackedI8::new(outputs, inputs, |n, row| row.copy_from_slice(&w[n * inputs..][..inputs]))),
            Layer::F32(PackedF32::new(outputs, inputs, |n, row| row.copy_from_slice(&w[n * inputs..][..inputs]))),
            Layer::F16(PackedF16::new(outputs, inputs, |n, row| {
                row.iter_mut().zip(&w[n * inputs..]).for_each(|(to, from)| *to = f16::from_f32(*from));
            })),
            Layer::Bf16(PackedBf16::new(outputs, inputs, |n, row| {
                row.iter_mut().zip(&w[n * inputs..]).for_each(|(to, from)| *to = bf16::from_f32(*from));
            })),
        ]
    }

    fn shape(&self) -> (usize, usize) {
        match self {
            Layer::I8(w) => (w.outputs(), w.inputs()),
            Layer::F32(w) => (w.outputs(), w.inputs()),
            Layer::F16(w) => (w.outputs(), w.inputs()),
            Layer::Bf16(w) => (w.outputs(), w.inputs()),
        }
    }

    fn input(&self, kernel: &dyn Kernel, floats: &[f32]) -> Input {
        let (_, inputs) = self.shape();
        let padded = inputs.next_multiple_of(4);
        let mut bytes = vec![0; floats.len() / inputs * padded];
        let pairs = floats.chunks(inputs).zip(bytes.chunks_mut(padded));
        let scales = pairs.map(|(x, q)| kernel.quantize_row(x, q)).collect();
        let padded = inputs.next_multiple_of(2);
        // What the padding held before must not matter, not even NaN.
        let mut rounded = vec![bf16::NAN; floats.len() / inputs * padded];
        floats.chunks(inputs).zip(rounded.chunks_mut(padded)).for_each(|(x, r)| kernel.round_row(x, r));
        Input { floats: floats.to_vec(), bytes, scales, rounded }
    }

    /// Computes some rows and blocks into a whole output. A residual is the output itself, whatever its pointer.
    fn run(
        &self,
        kernel: &dyn Kernel,
        x: &Input,
        rows: Range<usize>,
        blocks: Range<usize>,
        out: &mut [f32],
        e: &Epilogue,
    ) {
        let (outputs, inputs) = self.shape();
        assert!(rows.end * outputs <= out.len() && rows.end <= x.scales.len());
        let (first, count) = (rows.start, rows.len());
        // SAFETY: the assertion; `first` rows are skipped in the input and the output alike.
        unsafe {
            let to = Out { data: out.as_mut_ptr().add(first * outputs), stride: outputs };
            let e = Epilogue { residual: e.residual.map(|_| (to.data.cast_const(), outputs)), ..*e };
            let floats = Rows { data: x.floats.as_ptr().add(first * inputs), stride: inputs, rows: count };
            match self {
                Layer::I8(w) => {
                    let stride = w.padded_inputs();
                    let a = Rows { data: x.bytes.as_ptr().add(first * stride), stride, rows: count };
                    kernel.linear_i8(a, &x.scales[rows], w, blocks, to, &e);
                }
                Layer::F32(w) => kernel.linear_f32(floats, w, blocks, to, &e),
                Layer::F16(w) => kernel.linear_f16(floats, w, blocks, to, &e),
                Layer::Bf16(w) => {
                    let stride = w.padded_inputs();
                    let a = Rows { data: x.rounded.as_ptr().add(first * stride), stride, rows: count };
                    kernel.linear_bf16(a, w, blocks, to, &e);
                }
            }
        }
    }

    /// The sum of one element before bias, and how far off a kernel may be.
    fn reference(&self, kernel: &dyn Kernel, x: &Input, row: usize, n: usize) -> (f64, f64) {
        let (_, inputs) = self.shape();
        let floats = &x.floats[row * inputs..][..inputs];
        let chain = |w: &dyn Fn(usize) -> f64| {
            let rounded = matches!(self, Layer::Bf16(_));
            let x = |x: f32| if rounded { bf16::from_f32(x).to_f64() } else { f64::from(x) };
            let products = floats.iter().enumerate().map(|(k, &value)| x(value) * w(k));
            let (sum, magnitude) = products.fold((0.0, 0.0), |(s, m), p| (s + p, m + p.abs()));
            (sum, 1e-7 * (inputs as f64).sqrt() * magnitude + 1e-9)
        };
        match self {
            Layer::I8(w) => {
                let bytes = &x.bytes[row * w.padded_inputs()..][..inputs];
                let RowScale { scale, zero } = x.scales[row];
                let products = bytes
                    .iter()
                    .enumerate()
                    .map(|(k, &b)| (stored(kernel, b) - i64::from(zero)) * i64::from(w.byte(n, k)));
                let sum = products.sum::<i64>() as f64 * f64::from(scale) * f64::from(w.scales()[n]);
                (sum, 3e-7 * sum.abs() + 1e-12)
            }
            Layer::F32(w) => chain(&|k| f64::from(w.value(n, k))),
            Layer::F16(w) => chain(&|k| w.value(n, k).to_f64()),
            Layer::Bf16(w) => chain(&|k| w.value(n, k).to_f64()),
        }
    }
}

#[test]
fn products_agree_with_the_reference() {
    for kernel in available() {
        for (rows, inputs, outputs) in shapes() {
            let mut numbers = Numbers((rows * 1000 + inputs * 10 + outputs) as u64);
            let (a, w) = (numbers.vec(rows * inputs), numbers.vec(outputs * inputs));
            for layer in Layer::all(outputs, inputs, &w) {
                let x = layer.input(kernel, &a);
                let mut out = vec![f32::NAN; rows * outputs];
                let e = Epilogue { bias: None, activation: Activation::None, residual: None };
                layer.run(kernel, &x, 0..rows, 0..outputs.div_ceil(BLOCK), &mut out, &e);
                for (i, &got) in out.iter().enumerate() {
                    let (want, tolerance) = layer.reference(kernel, &x, i / outputs, i % outputs);
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
        for layer in Layer::all(outputs, inputs, &w) {
            let x = layer.input(kernel, &a);
            for activation in ACTIVATIONS {
                // The residual is the output itself, as in a transformer's block.
                let mut out = before.clone();
                let e = Epilogue { bias: Some(&bias), activation, residual: Some((std::ptr::null(), outputs)) };
                layer.run(kernel, &x, 0..rows, 0..outputs.div_ceil(BLOCK), &mut out, &e);
                for (i, &got) in out.iter().enumerate() {
                    let (sum, tolerance) = layer.reference(kernel, &x, i / outputs, i % outputs);
                    let want = activate(activation, sum + f64::from(bias[i % outputs])) + f64::from(before[i]);
                    close(&format_args!("{} {activation:?}", kernel.name()), got, want, 1.2 * tolerance + 2e-6);
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
            let w = PackedI8::new(3, inputs, |n, row| {
                row.iter_mut()
                    .enumerate()
                    .for_each(|(k, w)| *w = if n == 2 && k % 2 == 1 { -1.0 } else { [1.0, -1.0, 1.0][n] });
            });
            for x in [[-1.0, -1.0], [1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-0.5, 0.75]] {
                let a: Vec<f32> = (0..inputs).map(|k| x[k % 2]).collect();
                let layer = Layer::I8(PackedI8::new(3, inputs, |n, row| {
                    row.iter_mut().enumerate().for_each(|(k, v)| *v = f32::from(w.byte(n, k)));
                }));
                let x = layer.input(kernel, &a);
                let mut out = vec![0.0; 3];
                let e = Epilogue { bias: None, activation: Activation::None, residual: None };
                layer.run(kernel, &x, 0..1, 0..1, &mut out, &e);
                for (n, &got) in out.iter().enumerate() {
                    let (want, tolerance) = layer.reference(kernel, &x, 0, n);
                    close(&format_args!("{} {inputs}", kernel.name()), got, want, tolerance);
                }
            }
        }
    }
}

#[test]
fn activations_are_accurate() {
    // An identity layer of one input applies the function to any number.
    let w = PackedF32::new(1, 1, |_, row| row.fill(1.0));
    let a: Vec<f32> = (-24_000..=24_000).map(|i| i as f32 / 2000.0).chain([-1000.0, -60.0, 60.0, 1000.0]).collect();
    for kernel in available() {
        for activation in ACTIVATIONS {
            let mut out = vec![0.0; a.len()];
            let e = Epilogue { bias: None, activation, residual: None };
            let rows = Rows { data: a.as_ptr(), stride: 1, rows: a.len() };
            // SAFETY: one output for each of the rows.
            unsafe { kernel.linear_f32(rows, &w, 0..1, Out { data: out.as_mut_ptr(), stride: 1 }, &e) };
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
        for layer in Layer::all(outputs, inputs, &w) {
            let x = layer.input(kernel, &a);
            let mut whole = vec![0.0; rows * outputs];
            layer.run(kernel, &x, 0..rows, 0..blocks, &mut whole, &e);
            for row_step in [1, 2, 3, 5, 7, 13] {
                for block_step in [1, 3, 4, 18] {
                    let mut parts = vec![0.0; rows * outputs];
                    for row in (0..rows).step_by(row_step) {
                        for block in (0..blocks).step_by(block_step) {
                            let (r, b) = (row..rows.min(row + row_step), block..blocks.min(block + block_step));
                            layer.run(kernel, &x, r, b, &mut parts, &e);
                        }
                    }
                    assert_same_bits(&whole, &parts);
                }
            }
        }
    }
}

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
fn hostile_rows_break_nothing() {
    let hostile = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, f32::MIN_POSITIVE, 1e-45, -0.0];
    for kernel in available() {
        for count in [1, 5, 16, 40] {
            for (i, &bad) in hostile.iter().enumerate() {
                let x: Vec<f32> = (0..count).map(|k| if k % 3 == 0 { bad } else { hostile[(i + k) % 8] }).collect();
                let mut bytes = vec![0; x.len().next_multiple_of(4)];
                kernel.quantize_row(&x, &mut bytes);
                kernel.layer_norm(&mut x.clone(), &x, &x, 1e-5);
                for layer in Layer::all(17, count, &x.repeat(17)) {
                    for activation in ACTIVATIONS {
                        let e = Epilogue { bias: None, activation, residual: None };
                        layer.run(kernel, &layer.input(kernel, &x), 0..1, 0..2, &mut [0.0; 17], &e);
                    }
                }
                for rounded in [false, true] {
                    attend(kernel, rounded, &Heads::of(&x, count, 1), 0..count, None);
                }
            }
        }
    }
}

/// Queries, keys and values of one head, interleaved as a fused projection leaves them.
struct Heads {
    data: Vec<f32>,
    tokens: usize,
    dim: usize,
}

impl Heads {
    fn new(tokens: usize, dim: usize) -> Self {
        Self { data: Numbers((tokens * 100 + dim) as u64).vec(tokens * 3 * dim), tokens, dim }
    }

    fn of(x: &[f32], tokens: usize, dim: usize) -> Self {
        Self { data: x.iter().copied().cycle().take(tokens * 3 * dim).collect(), tokens, dim }
    }

    fn row(&self, which: usize, token: usize) -> &[f32] {
        &self.data[(token * 3 + which) * self.dim..][..self.dim]
    }

    fn scale(&self) -> f32 {
        3.0 / (self.dim as f32).sqrt()
    }

    fn reference(&self, query: usize, bias: Option<&[f32]>) -> Vec<f64> {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
        let scores: Vec<f64> = (0..self.tokens)
            .map(|key| {
                let bias = bias.map_or(0.0, |b| f64::from(b[self.tokens - 1 + key - query]));
                f64::from(self.scale()) * dot(self.row(0, query), self.row(1, key)) + bias
            })
            .collect();
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
        let total: f64 = weights.iter().sum();
        (0..self.dim)
            .map(|d| (0..self.tokens).map(|key| weights[key] / total * f64::from(self.row(2, key)[d])).sum())
            .collect()
    }
}

/// Attends with some queries; the rows of the others stay NaN. `bias` holds all distances, the middle one being 0.
/// `rounded` is whether what is multiplied may be rounded to bf16.
fn attend(kernel: &dyn Kernel, rounded: bool, heads: &Heads, queries: Range<usize>, bias: Option<&[f32]>) -> Vec<f32> {
    let (tokens, dim) = (heads.tokens, heads.dim);
    let mut out = vec![f32::NAN; tokens * dim];
    // Old scratch must not matter, not even NaN.
    let mut scratch = vec![f32::NAN; kernel.attention_scratch(tokens, dim)];
    let a = Attention {
        q: heads.data.as_ptr(),
        k: heads.data[dim..].as_ptr(),
        v: heads.data[2 * dim..].as_ptr(),
        out: out.as_mut_ptr(),
        stride: 3 * dim,
        out_stride: dim,
        tokens,
        queries: (queries.start, queries.end),
        head_dim: dim,
        scale: heads.scale(),
        softcap: 0.0,
        reach: tokens,
        bias: bias.map(|b| b[tokens - 1..].as_ptr()),
    };
    // SAFETY: all pointers cover all tokens; the bias covers all distances.
    unsafe { if rounded { kernel.attend_rounded(&a, &mut scratch) } else { kernel.attend(&a, &mut scratch) } }
    out
}

#[test]
fn attention_agrees_with_the_reference() {
    for kernel in available() {
        for dim in [1, 8, 20, 32, 64, 100] {
            for tokens in (1..=18).chain([31, 33, 48, 70, 127, 128, 129, 300]) {
                let heads = Heads::new(tokens, dim);
                // Rising, so that later chunks raise the maximum.
                let bias: Vec<f32> = (0..2 * tokens - 1).map(|i| (i % 7) as f32 * 0.3 + i as f32 * 0.02).collect();
                for bias in [None, Some(&bias[..])] {
                    for (rounded, most) in [(false, 2e-6), (true, 2e-2)] {
                        let out = attend(kernel, rounded, &heads, 0..tokens, bias);
                        for query in (0..tokens).step_by(1 + tokens / 20) {
                            for (d, want) in heads.reference(query, bias).into_iter().enumerate() {
                                let at = format_args!("{} {tokens}x{dim}, rounded: {rounded}", kernel.name());
                                close(&at, out[query * dim + d], want, most);
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn attention_bits_do_not_depend_on_the_queries() {
    for kernel in available() {
        for (tokens, dim) in [(5, 8), (29, 20), (70, 32), (150, 32), (40, 64)] {
            let heads = Heads::new(tokens, dim);
            let bias = Numbers(1).vec(2 * tokens - 1);
            for rounded in [false, true] {
                let whole = attend(kernel, rounded, &heads, 0..tokens, Some(&bias));
                for step in [1, 2, 5, 7, 16] {
                    let mut parts = Vec::new();
                    for first in (0..tokens).step_by(step) {
                        let end = tokens.min(first + step);
                        let part = attend(kernel, rounded, &heads, first..end, Some(&bias));
                        parts.extend_from_slice(&part[first * dim..end * dim]);
                    }
                    assert_same_bits(&whole, &parts);
                }
            }
        }
    }
}

#[test]
fn sizes_are_what_is_allocated() {
    for (outputs, inputs) in [(1, 1), (16, 4), (17, 5), (100, 33), (384, 1536), (0, 7), (7, 0)] {
        assert_eq!(PackedI8::new(outputs, inputs, |_, _| {}).bytes(), PackedI8::size(outputs, inputs));
        assert_eq!(PackedF32::new(outputs, inputs, |_, _| {}).bytes(), PackedF32::size(outputs, inputs));
        assert_eq!(PackedF16::new(outputs, inputs, |_, _| {}).bytes(), PackedF16::size(outputs, inputs));
        assert_eq!(PackedBf16::new(outputs, inputs, |_, _| {}).bytes(), PackedBf16::size(outputs, inputs));
    }
    // A hostile shape must read as too large, not as small.
    assert!(PackedI8::size(usize::MAX, usize::MAX) > usize::MAX / 2);
    assert!(PackedF16::size(usize::MAX, usize::MAX) > usize::MAX / 128);
    assert!(PackedBf16::size(usize::MAX, usize::MAX) > usize::MAX / 128);
}

#[test]
fn the_choice_can_only_be_lowered() {
    let best = available()[0].name();
    assert_eq!(choose(None).map(|k| k.name()), Ok(best));
    assert_eq!(choose(Some("")).map(|k| k.name()), Ok(best));
    for (rank, name) in NAMES.iter().enumerate() {
        let kernel = choose(Some(name)).unwrap();
        assert!(NAMES[rank..].contains(&kernel.isa()), "{name} gave {}", kernel.name());
    }
    assert_eq!(choose(Some(NAMES[0])).map(|k| k.name()), Ok(best));
    assert_eq!(choose(Some("portable")).map(|k| k.name()), Ok("portable"));
    let error = choose(Some("abacus")).map(|k| k.name()).unwrap_err();
    for word in ["KINGLET_ISA", "abacus"].iter().chain(NAMES) {
        assert!(error.contains(word), "{error}");
    }
}

/// What a script knows of the processor that it has an emulator play.
#[test]
fn the_best_is_the_one_expected() {
    if let Ok(isa) = std::env::var("KINGLET_EXPECTED_ISA") {
        assert_eq!(available()[0].isa(), isa);
    }
}

#[cfg(target_arch = "aarch64")]
#[test]
fn neon_kernels_give_the_same_bits() {
    let (rows, outputs) = (13, 70);
    for inputs in [4, 5, 8, 12, 33, 100] {
        let mut numbers = Numbers(inputs as u64);
        let (a, w) = (numbers.vec(rows * inputs), numbers.vec(outputs * inputs));
        for layer in Layer::all(outputs, inputs, &w) {
            let mut results = Vec::new();
            for kernel in available().into_iter().filter(|kernel| kernel.isa().starts_with("neon")) {
                let mut out = vec![0.0; rows * outputs];
                let e = Epilogue { bias: None, activation: Activation::Gelu, residual: None };
                let x = layer.input(kernel, &a);
                layer.run(kernel, &x, 0..rows, 0..outputs.div_ceil(BLOCK), &mut out, &e);
                results.push(out);
            }
            results.windows(2).for_each(|pair| assert_same_bits(&pair[0], &pair[1]));
        }
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
    fn packed_bytes_come_back(outputs in 1usize..40, inputs in 1usize..20, seed: u64) {
        let w = Numbers(seed).vec(outputs * inputs);
        let packed = PackedI8::new(outputs, inputs, |n, row| row.copy_from_slice(&w[n * inputs..][..inputs]));
        for n in 0..outputs {
            let mut sum = 0;
            for k in 0..inputs {
                let byte = packed.byte(n, k);
                sum += i32::from(byte);
                prop_assert!(byte > i8::MIN);
                let back = packed.scales()[n] * f32::from(byte);
                prop_assert!((back - w[n * inputs + k]).abs() <= packed.scales()[n] * 0.5001);
            }
            prop_assert_eq!(packed.sums()[n], sum);
        }
    }

    #[test]
    fn packed_pairs_come_back(outputs in 1usize..40, inputs in 1usize..20, seed: u64) {
        let w: Vec<bf16> = Numbers(seed).vec(outputs * inputs).iter().map(|&w| bf16::from_f32(w)).collect();
        let packed = PackedBf16::new(outputs, inputs, |n, row| row.copy_from_slice(&w[n * inputs..][..inputs]));
        for n in 0..outputs {
            let expected = &w[n * inputs..][..inputs];
            prop_assert!(packed.channel(n).eq(expected.iter().copied()));
            prop_assert!((0..inputs).all(|k| packed.value(n, k) == expected[k]));
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
