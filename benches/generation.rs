//! Generation with the T5 in the repository, and with SmolLM2 if it was fetched: prefill, decoding steps, batches compared with one
//! text, and the cost of options.

#[path = "../tests/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kinglet::{Device, GenerateOptions, Model, Precision};
use support::load;

/// New tokens per text in the benches of options.
const TOKENS: usize = 32;

fn models() -> Vec<(&'static str, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let all = [("t5-ir", "examples/models/t5-ir.kinglet"), ("smollm2", "build/models/smollm2.gguf")];
    let paths = all.map(|(name, path)| (name, root.join(path)));
    let (found, missing): (Vec<_>, Vec<_>) = paths.into_iter().partition(|(_, path)| path.exists());
    missing.iter().for_each(|(name, _)| eprintln!("skipped: {name} does not exist; `make test` fetches it"));
    found
}

fn options(tokens: usize) -> GenerateOptions {
    GenerateOptions {
        max_new_tokens: Some(tokens),
        num_beams: Some(1),
        do_sample: Some(false),
        ignore_eos: true,
        ..GenerateOptions::default()
    }
}

/// Token ids that every vocabulary has.
fn prompts(batch: usize, tokens: usize) -> (Vec<u32>, Vec<usize>) {
    ((0..batch * tokens).map(|i| 20 + (i * 37 % 200) as u32).collect(), vec![tokens; batch])
}

fn generate(model: &Model, (ids, lengths): &(Vec<u32>, Vec<usize>), options: &GenerateOptions) {
    model.generate_ids(ids, lengths, options, None).unwrap();
}

fn stages(c: &mut Criterion) {
    for (name, path) in models() {
        let model = load(&path, Device::Cpu, Precision::Int8, 0);
        let mut group = c.benchmark_group(name);
        group.sample_size(10);
        for batch in [1, 4, 8, 16] {
            // One new token shows the cost of the prompt. Elements are the tokens of the prompts.
            let long = prompts(batch, 128);
            group.throughput(Throughput::Elements(long.0.len() as u64));
            group.bench_function(BenchmarkId::new("prefill 128", batch), |b| {
                b.iter(|| generate(&model, &long, &options(1)));
            });
            // A short prompt shows the cost of the steps. Elements are new tokens, so that batches compare with one text.
            let short = prompts(batch, 4);
            group.throughput(Throughput::Elements((batch * TOKENS) as u64));
            group.bench_function(BenchmarkId::new("decode 32", batch), |b| {
                b.iter(|| generate(&model, &short, &options(TOKENS)));
            });
        }
        group.finish();
    }
}

fn parameters(c: &mut Criterion) {
    for (name, path) in models() {
        let model = load(&path, Device::Cpu, Precision::Int8, 0);
        let prompt = prompts(1, 16);
        let greedy = options(TOKENS);
        let sampling = GenerateOptions { do_sample: Some(true), seed: Some(1), ..greedy.clone() };
        let kinds = [
            ("greedy", greedy.clone()),
            ("log-probabilities", GenerateOptions { logprobs: true, ..greedy.clone() }),
            ("repetition penalty", GenerateOptions { repetition_penalty: Some(1.2), ..greedy.clone() }),
            ("no repeated 3-grams", GenerateOptions { no_repeat_ngram_size: Some(3), ..greedy.clone() }),
            ("prompt lookup", GenerateOptions { prompt_lookup_num_tokens: Some(8), ..greedy.clone() }),
            ("sampling", sampling.clone()),
            ("top-k 50", GenerateOptions { top_k: Some(50), ..sampling.clone() }),
            ("top-p 0.9", GenerateOptions { top_p: Some(0.9), ..sampling }),
            ("2 beams", GenerateOptions { num_beams: Some(2), ..greedy.clone() }),
            ("5 beams", GenerateOptions { num_beams: Some(5), ..greedy }),
        ];
        let mut group = c.benchmark_group(format!("{name} parameters"));
        group.sample_size(10);
        group.throughput(Throughput::Elements(TOKENS as u64));
        for (kind, options) in kinds {
            group.bench_function(kind, |b| b.iter(|| generate(&model, &prompt, &options)));
        }
        group.finish();
    }
}

fn whole(c: &mut Criterion) {
    let text = "Write a function named compute that takes two 32-bit integers and returns their sum.";
    for (name, path) in models() {
        let mut group = c.benchmark_group(format!("{name} end to end"));
        group.sample_size(10);
        group.bench_function("load", |b| b.iter(|| load(&path, Device::Cpu, Precision::Int8, 0)));
        let model = load(&path, Device::Cpu, Precision::Int8, 0);
        let options = GenerateOptions { max_new_tokens: Some(TOKENS), ..GenerateOptions::default() };
        for batch in [1, 8] {
            let texts = vec![text; batch];
            group.throughput(Throughput::Elements(batch as u64));
            group.bench_function(BenchmarkId::new("texts", batch), |b| {
                b.iter(|| model.generate(&texts, &options, None).unwrap());
            });
        }
        group.finish();
    }
}

criterion_group!(benches, stages, parameters, whole);
criterion_main!(benches);
