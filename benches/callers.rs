//! Many callers of one model: the cost of the scheduler for one call, throughput and latency of 1 to 256 callers with one short text each,
//! and generation by 1, 8 and 32 callers compared with one batch. Prints a table; `cargo bench --bench callers`.

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use kinglet::{Device, EmbedOptions, GenerateOptions, Model, Precision, Stage};
use support::{load, minilm, smollm2};

const TEXT: &str = "a small bird sings in the early morning light";

/// Runs `work` on threads for a while and returns the sorted latencies and the time.
fn closed_loop(callers: usize, time: Duration, work: impl Fn() + Sync) -> (Vec<Duration>, Duration) {
    let begun = Instant::now();
    let caller = || {
        let mut latencies = Vec::new();
        while begun.elapsed() < time {
            let start = Instant::now();
            work();
            latencies.push(start.elapsed());
        }
        latencies
    };
    let mut all = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..callers).map(|_| scope.spawn(caller)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect::<Vec<_>>()
    });
    all.sort();
    (all, begun.elapsed())
}

fn embedding(model: &Model) {
    let options = EmbedOptions::default();
    let embed = |texts: &[&str]| drop(model.embed(texts, &options));
    let batch = vec![TEXT; 4096];
    embed(&batch);
    let start = Instant::now();
    embed(&batch);
    let whole = batch.len() as f64 / start.elapsed().as_secs_f64();
    println!("MiniLM INT8: one batch {whole:.0} texts/s");
    for callers in [1, 8, 64, 256] {
        model.reset_counters();
        let (l, time) = closed_loop(callers, Duration::from_secs(3), || embed(&[TEXT]));
        let at = |part: f64| l[((l.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
        let rate = l.len() as f64 / time.as_secs_f64();
        let passes = model.counters().stage(Stage::SharedPass);
        println!(
            "{callers} callers: {rate:.0} texts/s ({:.2} of the batch), p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms, {:.1} texts per pass",
            rate / whole,
            at(0.5),
            at(0.99),
            at(1.0),
            passes.items as f64 / passes.calls as f64
        );
    }
}

fn generation(model: &Model, name: &str, input: usize, output: usize) {
    let options = GenerateOptions {
        max_new_tokens: Some(output),
        num_beams: Some(1),
        do_sample: Some(false),
        ignore_eos: true,
        ..GenerateOptions::default()
    };
    let ids: Vec<u32> = (0..32 * input).map(|i| 20 + (i * 37 % 200) as u32).collect();
    let run = |count: usize| {
        let result = model.generate_ids(&ids[..count * input], &vec![input; count], &options, None);
        result.map_or(0, |result| result.outputs.iter().map(|outputs| outputs[0].tokens.len()).sum::<usize>())
    };
    run(1);
    for callers in [1, 8, 32] {
        let start = Instant::now();
        let batch = run(callers) as f64 / start.elapsed().as_secs_f64();
        model.reset_counters();
        let start = Instant::now();
        std::thread::scope(|scope| (0..callers).for_each(|_| drop(scope.spawn(|| run(1)))));
        let apart = (callers * output) as f64 / start.elapsed().as_secs_f64();
        let counters = model.counters();
        let (passes, token) = (counters.stage(Stage::SharedPass), counters.stage(Stage::OutputTokenNormal));
        println!(
            "{name}, {callers} callers: {apart:.0} tokens/s, one batch {batch:.0} ({:.2}); {:.1} sequences per step, {:.2} ms per token",
            apart / batch,
            passes.items as f64 / passes.calls as f64,
            token.nanoseconds as f64 / token.calls as f64 / 1e6
        );
    }
}

fn main() {
    // `cargo test --benches` passes no `--bench`.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    if let Some(path) = minilm() {
        embedding(&load(&path, Device::Cpu, Precision::Int8, 0));
    }
    let t5 = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/models/t5-ir.kinglet");
    if t5.exists() {
        generation(&load(&t5, Device::Cpu, Precision::Auto, 0), "t5-ir", 16, 32);
    }
    if let Some(path) = smollm2() {
        generation(&load(&path, Device::Cpu, Precision::Int8, 0), "SmolLM2", 16, 48);
    }
}
