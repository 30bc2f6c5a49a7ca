//! Exact search on all threads: one query and many, over each type of embeddings. Throughput is in compared pairs.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kinglet::{
    EmbeddingRows, EmbeddingType, EmbeddingValues, SearchOptions, embedding_ranges, quantize_embeddings, search,
};

const DIMENSION: usize = 384;
const CORPUS: usize = 50_000;

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

fn searches(c: &mut Criterion) {
    let values = numbers(DIMENSION * CORPUS);
    let corpus = EmbeddingRows::new(EmbeddingValues::Float32(&values), DIMENSION);
    let ranges = embedding_ranges(&corpus).unwrap();
    let mut group = c.benchmark_group("search");
    group.sample_size(20);
    for kind in EmbeddingType::ALL {
        let codes = quantize_embeddings(&corpus, kind, Some(&ranges)).unwrap();
        let rows = EmbeddingRows::new(codes.values(), DIMENSION);
        for queries in [1, 64] {
            let asked = EmbeddingRows { count: queries, ..rows };
            group.throughput(Throughput::Elements((queries * CORPUS) as u64));
            group.bench_function(BenchmarkId::new(kind.name(), queries), |b| {
                b.iter(|| search(&asked, &rows, &SearchOptions::default()).unwrap());
            });
        }
    }
    group.finish();
}

criterion_group!(benches, searches);
criterion_main!(benches);
