//! Every kernel that this machine has, against plain references: exact integers, or f64.
//!
//! Two kinds of property: results are close to the reference over odd shapes, and bits do not depend on which rows, blocks or queries
//! are computed together. Products are tested in every registered weight format.

use half::{bf16, f16};
use proptest::prelude::*;

use super::isa::{choose, names};
use super::weight::{FORMATS, Format, Shape, Weight};
use super::*;
use crate::spec::Precision;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[path = "isa/amx/tests.rs"]
mod amx;

mod attention;
mod logits;
mod paged;
mod products;
mod rows;
mod similarity;
mod weights;

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

/// A weight of this format.
fn pack(precision: Precision, outputs: usize, inputs: usize, w: &[f32]) -> Weight {
    let row = |n: usize, row: &mut [f32]| row.copy_from_slice(&w[n * inputs..][..inputs]);
    Format::new(precision).pack(Shape { outputs, inputs }, row)
}

/// The same weight in every format.
fn in_all_formats(outputs: usize, inputs: usize, w: &[f32]) -> impl Iterator<Item = Weight> {
    FORMATS.iter().map(move |format| pack(format.precision, outputs, inputs, w))
}

/// A quantised activation as the kernel that stored it reads it.
fn stored(kernel: &dyn Kernel, byte: u8) -> i64 {
    let signed = ["avx2", "neon", "neon-dotprod", "neon-i8mm"].contains(&kernel.isa());
    if signed { i64::from(byte as i8) } else { i64::from(byte) }
}

/// Rows of activations as a weight takes them.
struct Activations {
    floats: Vec<f32>,
    kind: InputType,
    rows: usize,
    inputs: usize,
    /// In floats for their alignment.
    memory: Vec<f32>,
}

impl Activations {
    fn new(kernel: &dyn Kernel, w: &Weight, floats: &[f32]) -> Self {
        let (kind, inputs) = (w.format().input, w.inputs());
        let rows = floats.len() / inputs;
        // What the padding held before must not matter, not even NaN.
        let mut memory = vec![f32::from_bits(u32::MAX); kind.bytes(rows, inputs).div_ceil(4)];
        for (row, x) in floats.chunks(inputs).enumerate() {
            // SAFETY: the memory has room for all rows.
            unsafe { kind.convert(kernel, x, memory.as_mut_ptr().cast(), rows, row) };
        }
        Self { floats: floats.to_vec(), kind, rows, inputs, memory }
    }

    fn input(&self) -> Input<'_> {
        // SAFETY: all rows were converted.
        unsafe { self.kind.converted(self.memory.as_ptr().cast(), self.rows, self.inputs) }
    }

    fn part(&self, rows: Range<usize>) -> Input<'_> {
        assert!(rows.end <= self.rows);
        fn skip<T>(a: Rows<T>, rows: &Range<usize>) -> Rows<T> {
            Rows { data: a.data.wrapping_add(rows.start * a.stride), rows: rows.len(), ..a }
        }
        match self.input() {
            Input::F32(a) => Input::F32(skip(a, &rows)),
            Input::Bf16(a) => Input::Bf16(skip(a, &rows)),
            Input::I8(a, scales) => Input::I8(skip(a, &rows), &scales[rows]),
            Input::Groups(a, scales) => {
                let groups = a.stride / GROUP_INPUTS;
                Input::Groups(skip(a, &rows), &scales[rows.start * groups..rows.end * groups])
            }
        }
    }

    /// An activation of a row that was quantised by groups.
    fn in_groups(&self, row: usize, input: usize) -> f64 {
        let Input::Groups(a, scales) = self.input() else { panic!("not quantised by groups") };
        assert!(row < self.rows && input < self.inputs);
        // SAFETY: the row and the input exist.
        let byte = unsafe { *a.data.add(row * a.stride + input) };
        f64::from(byte) * f64::from(scales[(row * a.stride + input) / GROUP_INPUTS].scale)
    }

    /// The bytes and the scale of a quantised row.
    fn quantised(&self, row: usize) -> (&[u8], RowScale) {
        let Input::I8(a, scales) = self.input() else { panic!("not quantised") };
        // SAFETY: the row exists.
        (unsafe { std::slice::from_raw_parts(a.data.add(row * a.stride), self.inputs) }, scales[row])
    }
}

/// Computes some rows and blocks into a whole output. A residual is the output itself, whatever its pointer.
fn run(
    kernel: &dyn Kernel,
    x: &Activations,
    w: &Weight,
    rows: Range<usize>,
    blocks: Range<usize>,
    out: &mut [f32],
    e: &Epilogue,
) {
    let outputs = w.outputs();
    assert!(rows.end * outputs <= out.len());
    let first = rows.start;
    // SAFETY: the assertion; `first` rows are skipped in the input and the output alike.
    unsafe {
        let to = Out { data: out.as_mut_ptr().add(first * outputs), stride: outputs };
        let e = Epilogue { residual: e.residual.map(|_| (to.data.cast_const(), outputs)), ..*e };
        kernel.linear(x.part(rows), w, blocks, to, &e);
    }
}

/// The sum of one element before bias, and how far off a kernel may be.
fn reference(kernel: &dyn Kernel, x: &Activations, w: &Weight, row: usize, n: usize) -> (f64, f64) {
    if w.format().precision == Precision::Int8 {
        let (bytes, RowScale { scale, zero }) = x.quantised(row);
        let (weights, channel_scale, _) = weight::bytes_of(w, n);
        let products = bytes.iter().zip(weights).map(|(&b, w)| (stored(kernel, b) - i64::from(zero)) * i64::from(w));
        let sum = products.sum::<i64>() as f64 * f64::from(scale) * f64::from(channel_scale);
        return (sum, 3e-7 * sum.abs() + 1e-12);
    }
    let activations = x;
    let floats = &x.floats[row * x.inputs..][..x.inputs];
    let x = |k: usize| match x.kind {
        InputType::F32 => f64::from(floats[k]),
        InputType::Bf16 => bf16::from_f32(floats[k]).to_f64(),
        InputType::I8 => {
            let (bytes, RowScale { scale, zero }) = activations.quantised(row);
            f64::from(scale) * (stored(kernel, bytes[k]) - i64::from(zero)) as f64
        }
        InputType::Groups => activations.in_groups(row, k),
    };
    let products = (0..floats.len()).map(|k| x(k) * f64::from(w.value(n, k)));
    let (sum, magnitude) = products.fold((0.0, 0.0), |(s, m), p| (s + p, m + p.abs()));
    // The steps and the least values of a group are added apart, and are larger than their sum.
    let parts = if activations.kind == InputType::Groups { 8.0 } else { 1.0 };
    (sum, parts * 1e-7 * (floats.len() as f64).sqrt() * magnitude + 1e-9)
}

const PLAIN: Epilogue = Epilogue { bias: None, activation: Activation::None, residual: None };

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
                for w in in_all_formats(17, count, &x.repeat(17)) {
                    for activation in ACTIVATIONS {
                        let e = Epilogue { activation, ..PLAIN };
                        run(kernel, &Activations::new(kernel, &w, &x), &w, 0..1, 0..2, &mut [0.0; 17], &e);
                    }
                }
                for rounded in [false, true] {
                    attention::attend(kernel, rounded, &attention::Heads::of(&x, count, 1), 0..count, None, None);
                }
            }
        }
    }
}

#[test]
fn the_choice_can_only_be_lowered() {
    let best = available()[0].name();
    assert_eq!(choose(None).map(|k| k.name()), Ok(best));
    assert_eq!(choose(Some("")).map(|k| k.name()), Ok(best));
    for (rank, name) in names().iter().enumerate() {
        let kernel = choose(Some(name)).unwrap();
        assert!(names()[rank..].contains(&kernel.isa()), "{name} gave {}", kernel.name());
    }
    assert_eq!(choose(Some(names()[0])).map(|k| k.name()), Ok(best));
    assert_eq!(choose(Some("portable")).map(|k| k.name()), Ok("portable"));
    let error = choose(Some("abacus")).map(|k| k.name()).unwrap_err();
    for word in ["KINGLET_ISA", "abacus"].iter().chain(&names()) {
        assert!(error.contains(word), "{error}");
    }
}

/// The instruction sets that a script expects of an emulated processor.
#[test]
fn the_best_is_the_one_expected() {
    if let Ok(isa) = std::env::var("KINGLET_EXPECTED_ISA") {
        assert_eq!(available()[0].isa(), isa);
    }
}
