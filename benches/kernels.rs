//! Speed of the kernels on one thread, each that this machine has.
//!
//! The throughput that criterion prints is in operations (a multiply and an add count as two), so "Gelem/s" reads as Gop/s. A table
//! precedes it: the best kernel compared with the limits of this machine, measured in the same minute.

mod limits;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kinglet::kernels::weight::{FORMATS, Format, Shape, Weight};
use kinglet::kernels::{Activation, Attention, Epilogue, Kernel, Out, available};

/// Numbers in -1..1 that look random and are the same every time.
fn numbers(count: usize) -> Vec<f32> {
    let mut state = 1u32;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// Rows, inputs and outputs of MiniLM's layers at batch sizes from one word to many texts, and one of BERT base.
const SHAPES: [(usize, usize, usize); 6] =
    [(1, 384, 1536), (16, 384, 1536), (128, 384, 384), (4096, 384, 1536), (4096, 1536, 384), (512, 768, 3072)];

/// A layer in some format, and the rows that it multiplies.
struct Layer {
    w: Weight,
    memory: Vec<f32>,
    rows: usize,
}

impl Layer {
    /// `channel` gives an output's weights.
    fn new<'a>(
        kernel: &dyn Kernel,
        format: &'static Format,
        a: &[f32],
        shape: Shape,
        channel: impl Fn(usize) -> &'a [f32] + Sync,
    ) -> Self {
        let w = format.pack(shape, |n: usize, row: &mut [f32]| row.copy_from_slice(channel(n)));
        let rows = a.len() / shape.inputs;
        let mut memory = vec![0.0f32; format.input.bytes(rows, shape.inputs).div_ceil(4)];
        for (row, x) in a.chunks(shape.inputs).enumerate() {
            // SAFETY: the memory has room for all rows.
            unsafe { format.input.convert(kernel, x, memory.as_mut_ptr().cast(), rows, row) };
        }
        Self { w, memory, rows }
    }

    /// # Safety
    /// The output has all rows and outputs, and nothing else accesses it.
    unsafe fn run(&self, kernel: &dyn Kernel, out: Out, e: &Epilogue) {
        // SAFETY: all rows were converted; the rest is the caller's promise.
        unsafe {
            let memory = self.memory.as_ptr().cast();
            let x = self.w.format().input.converted(memory, self.rows, self.w.inputs());
            kernel.linear(black_box(x), &self.w, 0..self.w.blocks(), out, e);
        }
    }
}

fn linear(c: &mut Criterion) {
    let mut group = c.benchmark_group("linear");
    for kernel in available() {
        for (rows, inputs, outputs) in SHAPES {
            group.throughput(Throughput::Elements((2 * rows * inputs * outputs) as u64));
            let shape = format!("{rows}x{inputs}x{outputs}");
            let a = numbers(rows * inputs);
            let weights = numbers(outputs * inputs);
            let mut out = vec![0.0; rows * outputs];
            let to = Out { data: out.as_mut_ptr(), stride: outputs };
            let plain = Epilogue { bias: None, activation: Activation::None, residual: None };

            for format in FORMATS {
                let name = format.precision.name();
                let channel = |n: usize| &weights[n * inputs..][..inputs];
                let layer = Layer::new(kernel, format, &a, Shape { outputs, inputs }, channel);
                for (suffix, activation) in [("", Activation::None), ("-gelu", Activation::Gelu)] {
                    let e = Epilogue { activation, ..plain };
                    group.bench_function(BenchmarkId::new(format!("{}/{name}{suffix}", kernel.isa()), &shape), |b| {
                        // SAFETY: the shapes agree and nothing else touches the output.
                        b.iter(|| unsafe { layer.run(kernel, to, &e) });
                    });
                }
            }
        }
    }
    group.finish();
}

fn attention(c: &mut Criterion) {
    let mut group = c.benchmark_group("attention");
    for kernel in available() {
        for (tokens, head_dim) in [(16, 32), (128, 32), (256, 32), (512, 64)] {
            group.throughput(Throughput::Elements((4 * tokens * tokens * head_dim) as u64));
            let stride = 3 * 12 * head_dim;
            let qkv = numbers(tokens * stride);
            let mut out = vec![0.0; tokens * head_dim];
            let a = Attention {
                q: qkv.as_ptr(),
                k: qkv[head_dim..].as_ptr(),
                v: qkv[2 * head_dim..].as_ptr(),
                out: out.as_mut_ptr(),
                stride,
                out_stride: head_dim,
                tokens,
                queries: (0, tokens),
                head_dim,
                scale: 0.125,
                softcap: 0.0,
                reach: tokens,
                bias: None,
                distances: None,
            };
            let mut scratch = vec![0.0; kernel.attention_scratch(&a)];
            group.bench_function(BenchmarkId::new(kernel.isa(), format!("{tokens}x{head_dim}")), |b| {
                // SAFETY: the pointers are valid for all tokens of the head, and nothing else accesses the output.
                b.iter(|| unsafe { kernel.attend_rounded(black_box(&a), &mut scratch) });
            });
        }
    }
    group.finish();
}

fn rows(c: &mut Criterion) {
    let mut group = c.benchmark_group("row");
    for kernel in available() {
        let x = numbers(384);
        let mut y = x.clone();
        let mut bytes = vec![0; 384];
        group.throughput(Throughput::Elements(384));
        group.bench_function(BenchmarkId::new("layer_norm", kernel.isa()), |b| {
            b.iter(|| kernel.layer_norm(black_box(&mut y), &x, &x, 1e-12));
        });
        group.bench_function(BenchmarkId::new("quantize", kernel.isa()), |b| {
            b.iter(|| kernel.quantize_row(black_box(&x), &mut bytes));
        });
    }
    group.finish();
}

/// The best kernel's products beside the machine's limits: operations from registers for many rows, memory's bytes for one.
fn shares(_: &mut Criterion) {
    let Some(&kernel) = available().first() else { return };
    let memory = limits::memory();
    println!("{} on one thread; memory reads {memory:.1} GB/s", kernel.name());
    println!("{:<6} {:<16} {:>10} {:>10} {:>7}", "type", "rows x in x out", "achieved", "limit", "share");
    // The last is larger than the caches: its single row is bound by memory.
    for (rows, inputs, outputs) in
        [(4096, 384, 1536), (4096, 1536, 384), (512, 768, 3072), (16, 768, 3072), (1, 8192, 16384)]
    {
        for format in FORMATS {
            let kind = format.precision.name();
            let time = product(kernel, format, rows, Shape { outputs, inputs });
            let (achieved, limit, unit) = if rows == 1 {
                (format.bytes(Shape { outputs, inputs }) as f64 / time / 1e9, Some(memory), "GB/s")
            } else {
                ((2 * rows * inputs * outputs) as f64 / time / 1e9, limits::operations(kernel.isa(), kind), "Gop/s")
            };
            let shape = format!("{rows}x{inputs}x{outputs}");
            let (limit, share) = limit.map_or(("unknown".into(), String::new()), |limit| {
                (format!("{limit:.0}"), format!("{:.0} %", 100.0 * achieved / limit))
            });
            println!("{kind:<6} {shape:<16} {achieved:>10.1} {limit:>10} {share:>7} {unit}");
        }
    }
}

/// Seconds of one product.
fn product(kernel: &dyn Kernel, format: &'static Format, rows: usize, shape: Shape) -> f64 {
    let (a, weights) = (numbers(rows * shape.inputs), numbers(shape.inputs * 16));
    let layer = Layer::new(kernel, format, &a, shape, |n| &weights[n % 16 * shape.inputs..][..shape.inputs]);
    let mut out = vec![0.0; rows * shape.outputs];
    let to = Out { data: out.as_mut_ptr(), stride: shape.outputs };
    let e = Epilogue { bias: None, activation: Activation::None, residual: None };
    // SAFETY: the shapes agree and nothing else touches the output.
    limits::shortest(|| unsafe { layer.run(kernel, to, &e) })
}

criterion_group!(benches, shares, linear, attention, rows);
criterion_main!(benches);
