//! The cost of reading the counters: with 100 recorded calls it must be under a millisecond.

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use kinglet::{Counters, Format, Stage};

fn recorded(calls: u64) -> Counters {
    let counters = Counters::default();
    for i in 0..calls {
        // Spread over four orders of magnitude, like real calls.
        counters.call(1, 16, Duration::from_micros(50 + i * i % 500_000));
        counters.add(Stage::Linear, 1, 16, Duration::from_micros(40));
    }
    counters
}

fn counters(c: &mut Criterion) {
    let mut group = c.benchmark_group("counters");
    for calls in [100, 1_000, 10_000] {
        let counters = recorded(calls);
        group.bench_function(format!("read {calls} calls"), |b| b.iter(|| counters.read()));
        let snapshot = counters.read();
        group.bench_function(format!("json of {calls} calls"), |b| b.iter(|| snapshot.export(Format::Json)));
    }
    let counters = Counters::default();
    group.bench_function("record a call", |b| b.iter(|| counters.call(1, 16, Duration::from_micros(700))));
    group.bench_function("record a stage", |b| b.iter(|| counters.add(Stage::Pool, 1, 16, Duration::from_micros(7))));
    group.finish();
}

criterion_group!(benches, counters);
criterion_main!(benches);
