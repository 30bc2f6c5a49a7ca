//! Speed of the kernels on one thread, each that this machine has.
//!
//! The throughput criterion prints is in operations (a multiply and an add count as two), so "Gelem/s" reads as Gop/s. Before it comes
//! a table of the best kernel beside what this machine can do at best, measured in the same minute.

mod limits;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use half::bf16;
use kinglet::kernels::{
    Activation, Attention, Epilogue, Kernel, Out, PackedBf16, PackedF16, PackedF32, PackedI8, RowScale, Rows, available,
};

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

fn quantized(kernel: &dyn Kernel, a: &[f32], inputs: usize, padded: usize) -> (Vec<u8>, Vec<RowScale>) {
    let mut bytes = vec![0; a.len() / inputs * padded];
    let scales = a.chunks(inputs).zip(bytes.chunks_mut(padded)).map(|(x, q)| kernel.quantize_row(x, q)).collect();
    (bytes, scales)
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

            let w = PackedI8::new(outputs, inputs, |n, row| row.copy_from_slice(&weights[n * inputs..][..inputs]));
            let (bytes, scales) = quantized(kernel, &a, inputs, w.padded_inputs());
            let x = Rows { data: bytes.as_ptr(), stride: w.padded_inputs(), rows };
            for (name, activation) in [("i8", Activation::None), ("i8-gelu", Activation::Gelu)] {
                let e = Epilogue { activation, ..plain };
                group.bench_function(BenchmarkId::new(format!("{}/{name}", kernel.isa()), &shape), |b| {
                    // SAFETY: the shapes agree and nothing else touches the output.
                    b.iter(|| unsafe { kernel.linear_i8(black_box(x), &scales, &w, 0..w.blocks(), to, &e) });
                });
            }

            let x = Rows { data: a.as_ptr(), stride: inputs, rows };
            let w = PackedF32::new(outputs, inputs, |n, row| row.copy_from_slice(&weights[n * inputs..][..inputs]));
            group.bench_function(BenchmarkId::new(format!("{}/f32", kernel.isa()), &shape), |b| {
                // SAFETY: the shapes agree and nothing else touches the output.
                b.iter(|| unsafe { kernel.linear_f32(black_box(x), &w, 0..w.blocks(), to, &plain) });
            });

            let w = PackedF16::new(outputs, inputs, |n, row| {
                for (to, from) in row.iter_mut().zip(&weights[n * inputs..][..inputs]) {
                    *to = half::f16::from_f32(*from);
                }
            });
            group.bench_function(BenchmarkId::new(format!("{}/f16", kernel.isa()), &shape), |b| {
                // SAFETY: the shapes agree and nothing else touches the output.
                b.iter(|| unsafe { kernel.linear_f16(black_box(x), &w, 0..w.blocks(), to, &plain) });
            });

            let w = PackedBf16::new(outputs, inputs, |n, row| {
                for (to, from) in row.iter_mut().zip(&weights[n * inputs..][..inputs]) {
                    *to = bf16::from_f32(*from);
                }
            });
            let mut rounded = vec![bf16::ZERO; rows * w.padded_inputs()];
            let pairs = a.chunks(inputs).zip(rounded.chunks_mut(w.padded_inputs()));
            pairs.for_each(|(x, rounded)| kernel.round_row(x, rounded));
            let x = Rows { data: rounded.as_ptr(), stride: w.padded_inputs(), rows };
            group.bench_function(BenchmarkId::new(format!("{}/bf16", kernel.isa()), &shape), |b| {
                // SAFETY: the shapes agree and nothing else touches the output.
                b.iter(|| unsafe { kernel.linear_bf16(black_box(x), &w, 0..w.blocks(), to, &plain) });
            });
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
            let mut scratch = vec![0.0; kernel.attention_scratch(tokens, head_dim)];
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
            };
            group.bench_function(BenchmarkId::new(kernel.isa(), format!("{tokens}x{head_dim}")), |b| {
                // SAFETY: the pointers hold all tokens of the head and nothing else touches the output.
                b.iter(|| unsafe { kernel.attend(black_box(&a), &mut scratch) });
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
        for (kind, bytes) in [("i8", 1), ("bf16", 2), ("f16", 2), ("f32", 4)] {
            let time = product(kernel, kind, rows, inputs, outputs);
            let (achieved, limit, unit) = if rows == 1 {
                ((inputs * outputs * bytes) as f64 / time / 1e9, Some(memory), "GB/s")
            } else {
                ((2 * rows * inputs * outputs) as f64 / time / 1e9, limits::operations(kind), "Gop/s")
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
fn product(kernel: &dyn Kernel, kind: &str, rows: usize, inputs: usize, outputs: usize) -> f64 {
    let (a, weights) = (numbers(rows * inputs), numbers(inputs * 16));
    let channel = |n: usize| &weights[n % 16 * inputs..][..inputs];
    let mut out = vec![0.0; rows * outputs];
    let to = Out { data: out.as_mut_ptr(), stride: outputs };
    let e = Epilogue { bias: None, activation: Activation::None, residual: None };
    let floats = Rows { data: a.as_ptr(), stride: inputs, rows };
    // SAFETY, for all four: the shapes agree and nothing else touches the output.
    match kind {
        "i8" => {
            let w = PackedI8::new(outputs, inputs, |n, row| row.copy_from_slice(channel(n)));
            let (bytes, scales) = quantized(kernel, &a, inputs, w.padded_inputs());
            let x = Rows { data: bytes.as_ptr(), stride: w.padded_inputs(), rows };
            // SAFETY: as above.
            limits::shortest(|| unsafe { kernel.linear_i8(x, &scales, &w, 0..w.blocks(), to, &e) })
        }
        "bf16" => {
            let w = PackedBf16::new(outputs, inputs, |n, row: &mut [bf16]| {
                row.iter_mut().zip(channel(n)).for_each(|(to, from)| *to = bf16::from_f32(*from));
            });
            let mut rounded = vec![bf16::ZERO; rows * w.padded_inputs()];
            let pairs = a.chunks(inputs).zip(rounded.chunks_mut(w.padded_inputs()));
            pairs.for_each(|(x, rounded)| kernel.round_row(x, rounded));
            let x = Rows { data: rounded.as_ptr(), stride: w.padded_inputs(), rows };
            // SAFETY: as above.
            limits::shortest(|| unsafe { kernel.linear_bf16(x, &w, 0..w.blocks(), to, &e) })
        }
        "f16" => {
            let w = PackedF16::new(outputs, inputs, |n, row: &mut [half::f16]| {
                row.iter_mut().zip(channel(n)).for_each(|(to, from)| *to = half::f16::from_f32(*from));
            });
            // SAFETY: as above.
            limits::shortest(|| unsafe { kernel.linear_f16(floats, &w, 0..w.blocks(), to, &e) })
        }
        _ => {
            let w = PackedF32::new(outputs, inputs, |n, row: &mut [f32]| row.copy_from_slice(channel(n)));
            // SAFETY: as above.
            limits::shortest(|| unsafe { kernel.linear_f32(floats, &w, 0..w.blocks(), to, &e) })
        }
    }
}

criterion_group!(benches, shares, linear, attention, rows);
criterion_main!(benches);
