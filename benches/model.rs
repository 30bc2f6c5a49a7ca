//! Whole calls on the real all-MiniLM-L6-v2: loading, tokenising, embedding. `make demo` fetches the model.

#[path = "../tests/support/mod.rs"]
mod support;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kinglet::{Device, EmbedOptions, EncodeOptions, Precision};
use support::load;

const TEXT: &str = "The kinglet is the smallest songbird of its woods, and one of the quickest of all.";

fn model(c: &mut Criterion) {
    let Some(path) = support::minilm() else { return };
    let mut group = c.benchmark_group("minilm");
    group.sample_size(20);
    for precision in [Precision::F32, Precision::F16, Precision::Bf16, Precision::Int8, Precision::Int4] {
        let name = precision.name();
        group.bench_function(format!("load {name}"), |b| b.iter(|| load(&path, Device::Cpu, precision, 0)));
        let model = load(&path, Device::Cpu, precision, 0);
        for batch in [1, 4, 8, 16, 32, 64] {
            let texts = vec![TEXT; batch];
            let tokens = model.tokenize(&texts, None, &EncodeOptions::default(), None).unwrap().tokens();
            group.throughput(Throughput::Elements(tokens as u64));
            if precision == Precision::Int8 {
                group.bench_function(format!("tokenize batch {batch}"), |b| {
                    b.iter(|| model.tokenize(&texts, None, &EncodeOptions::default(), None).unwrap());
                });
            }
            group.bench_function(format!("embed {name} batch {batch}"), |b| {
                b.iter(|| model.embed(&texts, &EmbedOptions::default()).unwrap());
            });
        }
    }
    group.finish();
}

criterion_group!(benches, model);
criterion_main!(benches);
