//! Codes against sentence-transformers' own, and search against a plain computation.

use std::sync::atomic::{AtomicBool, Ordering};

use half::f16;

use super::*;
use crate::Cancellation;

/// Numbers in -1..1 that look random and are the same for the same seed.
fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn float_rows(values: &[f32], dimension: usize) -> EmbeddingRows<'_> {
    EmbeddingRows::new(EmbeddingValues::Float32(values), dimension)
}

/// The numbers that codes stand for in a score; of bits as -1 and 1, whose product is the dimension less twice what differs.
fn decoded(values: EmbeddingValues<'_>, dimension: usize) -> Vec<Vec<f64>> {
    let by_row = |numbers: Vec<f64>| numbers.chunks(dimension).map(<[f64]>::to_vec).collect();
    let unpacked = |bytes: &[u8]| {
        let bit = |row: &[u8], i: usize| f64::from(row[i / 8] >> (7 - i % 8) & 1);
        bytes.chunks(dimension.div_ceil(8)).map(|row| (0..dimension).map(|i| bit(row, i)).collect()).collect()
    };
    match values {
        EmbeddingValues::Float32(values) => by_row(values.iter().map(|&x| f64::from(x)).collect()),
        EmbeddingValues::Float16(values) => by_row(values.iter().map(|x| x.to_f64()).collect()),
        EmbeddingValues::Int8(values) => by_row(values.iter().map(|&x| f64::from(x)).collect()),
        EmbeddingValues::Uint8(values) => by_row(values.iter().map(|&x| f64::from(x)).collect()),
        EmbeddingValues::Ubinary(values) => unpacked(values),
        EmbeddingValues::Binary(values) => {
            unpacked(&values.iter().map(|x| x.cast_unsigned() ^ 128).collect::<Vec<_>>())
        }
    }
}

/// The score of two rows in f64.
fn naive(similarity: Similarity, a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    match similarity {
        Similarity::Dot => dot(a, b),
        Similarity::Cosine => match (dot(a, a) * dot(b, b)).sqrt() {
            0.0 => 0.0,
            lengths => dot(a, b) / lengths,
        },
        Similarity::Hamming => -a.iter().zip(b).map(|(x, y)| (x - y).abs()).sum::<f64>(),
    }
}

/// Each query's hits are the best by the plain computation, up to rounding, and their order is that of their scores.
fn check(hits: &SearchHits, queries: &[Vec<f64>], corpus: &[Vec<f64>], similarity: Similarity, exact: bool) {
    assert_eq!(hits.indices.len(), queries.len() * hits.per_query);
    for (q, query) in queries.iter().enumerate() {
        let mut all: Vec<(f64, usize)> =
            corpus.iter().enumerate().map(|(i, row)| (naive(similarity, query, row), i)).collect();
        all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let range = q * hits.per_query..(q + 1) * hits.per_query;
        let found: Vec<(f32, i64)> =
            hits.scores[range.clone()].iter().copied().zip(hits.indices[range].iter().copied()).collect();
        for (place, &(score, index)) in found.iter().enumerate() {
            let own = naive(similarity, query, &corpus[index as usize]);
            let tolerance = 1e-5 * own.abs().max(1.0);
            assert!((f64::from(score) - own).abs() <= tolerance, "{similarity:?}: {score} is not {own}");
            assert!(
                (own - all[place].0).abs() <= tolerance,
                "{similarity:?}: hit {place} is {own}, not {}",
                all[place].0
            );
            if exact {
                assert_eq!((f64::from(score), index as usize), all[place]);
            }
        }
        assert!(found.windows(2).all(|w| w[0].0 > w[1].0 || w[0].0 == w[1].0 && w[0].1 < w[1].1), "{found:?}");
    }
}

#[test]
fn codes_are_those_of_sentence_transformers() {
    let text = include_str!("../../bindings/python/tests/sentence_transformers.json");
    let stored: serde_json::Value = serde_json::from_str(text).unwrap();
    let list = |value: &serde_json::Value| -> Vec<f64> {
        value.as_array().unwrap().iter().flat_map(|row| row.as_array().unwrap()).map(|x| x.as_f64().unwrap()).collect()
    };
    let values: Vec<f32> = list(&stored["embeddings"]).iter().map(|&x| x as f32).collect();
    for kind in [EmbeddingType::Int8, EmbeddingType::Uint8, EmbeddingType::Binary, EmbeddingType::Ubinary] {
        let found: Vec<f64> = match quantize_embeddings(&float_rows(&values, 16), kind, None).unwrap() {
            EmbeddingCodes::Int8(codes) | EmbeddingCodes::Binary(codes) => codes.into_iter().map(f64::from).collect(),
            EmbeddingCodes::Uint8(codes) | EmbeddingCodes::Ubinary(codes) => codes.into_iter().map(f64::from).collect(),
            other => panic!("{other:?}"),
        };
        assert_eq!(found, list(&stored["quantized"][kind.name()]), "{kind:?}");
    }
}

#[test]
fn ranges_are_shared_and_codes_saturate() {
    let corpus = [0.0, -1.0, 2.0, 1.0, 255.0, 0.0];
    let rows = EmbeddingRows { count: 2, ..float_rows(&corpus, 3) };
    let ranges = embedding_ranges(&rows).unwrap();
    assert_eq!(ranges, [0.0, -1.0, 0.0, 1.0, 255.0, 2.0]);
    // Beyond both ends, at a step's beginning, and the spare column between rows that is no part of them.
    let queries = [-3.0, 300.0, 1.0, 9.9, 0.5, 127.0, 2.0, 9.9];
    let rows = EmbeddingRows { values: EmbeddingValues::Float32(&queries), count: 2, dimension: 3, stride: 4 };
    let codes = quantize_embeddings(&rows, EmbeddingType::Uint8, Some(&ranges)).unwrap();
    assert_eq!(codes, EmbeddingCodes::Uint8(vec![0, 255, 127, 127, 127, 254]));
    let codes = quantize_embeddings(&rows, EmbeddingType::Int8, Some(&ranges)).unwrap();
    assert_eq!(codes, EmbeddingCodes::Int8(vec![-128, 127, -1, -1, -1, 126]));
    let halves = quantize_embeddings(&rows, EmbeddingType::Float16, None).unwrap();
    assert_eq!(halves, EmbeddingCodes::Float16([-3.0, 300.0, 1.0, 0.5, 127.0, 2.0].map(f16::from_f32).to_vec()));
    // Bits of a last byte that is not full are 0.
    let bits = quantize_embeddings(&float_rows(&[1.0; 11], 11), EmbeddingType::Ubinary, None).unwrap();
    assert_eq!(bits, EmbeddingCodes::Ubinary(vec![255, 0b1110_0000]));
}

#[test]
fn what_cannot_be_quantized_is_refused() {
    let says = |result: Result<EmbeddingCodes>, what: &str| {
        let error = result.unwrap_err();
        assert!(error.message().contains(what), "{error} does not say {what}");
    };
    let rows = float_rows(&[1.0, 2.0, 3.0, f32::NAN], 2);
    says(quantize_embeddings(&rows, EmbeddingType::Binary, None), "value 1 of embedding 1 is NaN");
    let rows = float_rows(&[1.0, f32::INFINITY], 2);
    says(quantize_embeddings(&rows, EmbeddingType::Int8, None), "value 1 of embedding 0 is inf");
    let rows = float_rows(&[1.0, 2.0], 2);
    says(quantize_embeddings(&rows, EmbeddingType::Int8, Some(&[0.0; 3])), "ranges: are 3 numbers, and 4");
    says(quantize_embeddings(&rows, EmbeddingType::Int8, Some(&[0.0, 2.0, 1.0, 1.0])), "2 to 1 is no range");
    says(quantize_embeddings(&rows, EmbeddingType::Int8, Some(&[0.0, 0.0, 1.0, f32::NAN])), "0 to NaN is no range");
    let codes = EmbeddingRows::new(EmbeddingValues::Int8(&[1, 2]), 2);
    says(quantize_embeddings(&codes, EmbeddingType::Binary, None), "embeddings.kind: is int8");
    says(
        quantize_embeddings(&EmbeddingRows { count: 2, ..rows }, EmbeddingType::Int8, None),
        "2 embeddings do not fit",
    );
    assert!(embedding_ranges(&float_rows(&[], 2)).unwrap_err().message().contains("ranges need an embedding"));
    let none = quantize_embeddings(&float_rows(&[], 2), EmbeddingType::Int8, None).unwrap();
    assert_eq!(none, EmbeddingCodes::Int8(Vec::new()));
}

#[test]
fn hits_are_those_of_a_plain_computation() {
    for (dimension, count, asked) in [(1, 5, 3), (7, 40, 2), (48, 3000, 33), (100, 1100, 1)] {
        let corpus = numbers(dimension as u64, dimension * count);
        let queries = numbers(99, dimension * asked);
        let (corpus, queries) = (float_rows(&corpus, dimension), float_rows(&queries, dimension));
        let ranges = embedding_ranges(&corpus).unwrap();
        for kind in EmbeddingType::ALL {
            let (codes, of_queries) = (
                quantize_embeddings(&corpus, kind, Some(&ranges)).unwrap(),
                quantize_embeddings(&queries, kind, Some(&ranges)).unwrap(),
            );
            let (a, b) = (decoded(of_queries.values(), dimension), decoded(codes.values(), dimension));
            for similarity in Similarity::ALL {
                if (similarity == Similarity::Hamming) != kind.is_binary() {
                    continue;
                }
                for top_k in [1, 10, count, count + 5] {
                    let options =
                        SearchOptions { top_k: Some(top_k), similarity: Some(similarity), ..SearchOptions::default() };
                    let search = |threads| {
                        let rows = |codes| EmbeddingRows::new(codes, dimension);
                        let options = SearchOptions { threads: Some(threads), ..options.clone() };
                        search(&rows(of_queries.values()), &rows(codes.values()), &options).unwrap()
                    };
                    let hits = search(1);
                    assert_eq!(hits.per_query, top_k.min(count));
                    let exact = kind.is_binary() || is_int_dot(kind, similarity);
                    check(&hits, &a, &b, similarity, exact);
                    assert!(hits == search(3), "{kind:?} {similarity:?}: threads change hits");
                }
            }
        }
    }
}

fn is_int_dot(kind: EmbeddingType, similarity: Similarity) -> bool {
    matches!(kind, EmbeddingType::Int8 | EmbeddingType::Uint8) && similarity == Similarity::Dot
}

#[test]
fn ties_go_to_the_lower_row_and_zeros_score_zero() {
    // Every row three times, in an order in which many threads meet equals; a row of zeros has no direction.
    let dimension = 8;
    let mut corpus: Vec<f32> = numbers(5, dimension * 700).repeat(3);
    corpus.extend([0.0; 8]);
    let queries = numbers(6, dimension * 4);
    for similarity in [Similarity::Dot, Similarity::Cosine] {
        let options = SearchOptions { top_k: Some(2101), similarity: Some(similarity), ..SearchOptions::default() };
        let hits = search(&float_rows(&queries, dimension), &float_rows(&corpus, dimension), &options).unwrap();
        for (indices, scores) in hits.indices.chunks(2101).zip(hits.scores.chunks(2101)) {
            assert!(scores.windows(2).zip(indices.windows(2)).all(|(s, i)| s[0] > s[1] || s[0] == s[1] && i[0] < i[1]));
            let zero = indices.iter().position(|&i| i == 2100).unwrap();
            assert_eq!(scores[zero], 0.0);
        }
    }
}

#[test]
fn queries_of_floats_are_rescored() {
    let (dimension, count) = (64, 500);
    let (corpus, queries) = (numbers(1, dimension * count), numbers(2, dimension * 5));
    let (corpus, queries) = (float_rows(&corpus, dimension), float_rows(&queries, dimension));
    let ranges = embedding_ranges(&corpus).unwrap();
    for kind in [EmbeddingType::Int8, EmbeddingType::Uint8, EmbeddingType::Binary, EmbeddingType::Ubinary] {
        let codes = quantize_embeddings(&corpus, kind, Some(&ranges)).unwrap();
        let codes = EmbeddingRows::new(codes.values(), dimension);
        let ranges = (!kind.is_binary()).then_some(&ranges[..]);
        let search = |queries: &EmbeddingRows, options: &SearchOptions| search(queries, &codes, options).unwrap();
        let options = SearchOptions { top_k: Some(4), ranges, rescore_multiplier: Some(3), ..SearchOptions::default() };
        let hits = search(&queries, &options);
        // By hand: twelve candidates, and of them the four with the greatest products.
        let own = quantize_embeddings(&queries, kind, ranges).unwrap();
        let candidates = search(
            &EmbeddingRows::new(own.values(), dimension),
            &SearchOptions { top_k: Some(12), ..SearchOptions::default() },
        );
        let (rows, numbers) = (decoded(codes.values, dimension), decoded(queries.values, dimension));
        for (q, query) in numbers.iter().enumerate() {
            let mut scored: Vec<(f32, i64)> = candidates.indices[q * 12..][..12]
                .iter()
                .map(|&i| (naive(Similarity::Dot, query, &rows[i as usize]) as f32, i))
                .collect();
            scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            let found: Vec<(f32, i64)> = (q * 4..q * 4 + 4).map(|i| (hits.scores[i], hits.indices[i])).collect();
            assert_eq!(found, scored[..4], "{kind:?}");
        }
        // As many candidates as there are embeddings.
        let all = SearchOptions { top_k: Some(count), rescore_multiplier: Some(usize::MAX), ..options };
        assert_eq!(search(&queries, &all).per_query, count);
    }
}

#[test]
fn rows_may_be_apart_and_floats_may_meet_halves() {
    let (dimension, stride) = (9, 12);
    let corpus = numbers(3, stride * 20);
    let halves: Vec<f16> = corpus.iter().map(|&x| f16::from_f32(x)).collect();
    let rows = |values| EmbeddingRows { values, count: 20, dimension, stride };
    let queries = EmbeddingRows { count: 2, ..rows(EmbeddingValues::Float16(&halves)) };
    let corpus = rows(EmbeddingValues::Float32(&corpus));
    let hits = search(&queries, &corpus, &SearchOptions::default()).unwrap();
    // Each finds itself first.
    assert_eq!((hits.per_query, hits.indices[0], hits.indices[10]), (10, 0, 1));
    assert!(hits.scores[0] > 0.9999 && hits.scores[10] > 0.9999);
    let back = search(&EmbeddingRows { count: 2, ..corpus }, &rows(queries.values), &SearchOptions::default()).unwrap();
    assert_eq!((back.indices[0], back.indices[10]), (0, 1));
}

#[test]
fn what_cannot_be_searched_is_refused() {
    let (floats, codes, bits) = ([1.0f32, 2.0, 3.0, 4.0], [1i8, 2, 3, 4], [1u8, 2]);
    let floats = float_rows(&floats, 2);
    let codes = EmbeddingRows::new(EmbeddingValues::Int8(&codes), 2);
    let bits = EmbeddingRows::new(EmbeddingValues::Ubinary(&bits), 2);
    let plain = SearchOptions::default();
    let ranges = [0.0; 4];
    let with_ranges = SearchOptions { ranges: Some(&ranges), ..SearchOptions::default() };
    let of = |similarity| SearchOptions { similarity: Some(similarity), ..SearchOptions::default() };
    let cases: [(&EmbeddingRows, &EmbeddingRows, &SearchOptions, &str); 15] = [
        (
            &float_rows(&[0.0, f32::NAN], 2),
            &EmbeddingRows { dimension: 2, ..bits },
            &plain,
            "queries: value 1 of embedding 0 is NaN",
        ),
        (&floats, &codes, &plain, "ranges: are needed"),
        (&floats, &floats, &with_ranges, "ranges: are only for"),
        (&floats, &bits, &with_ranges, "ranges: are only for"),
        (&codes, &floats, &plain, "queries.kind: is int8, which cannot be compared with a corpus of float32"),
        (&codes, &bits, &plain, "queries.kind: is int8"),
        (&floats, &floats, &of(Similarity::Hamming), "similarity: hamming is not for a corpus of float32"),
        (&bits, &bits, &of(Similarity::Dot), "similarity: dot is not for a corpus of ubinary"),
        (&float_rows(&[1.0; 3], 3), &floats, &plain, "queries.dimension: is 3, and the corpus has 2"),
        (&EmbeddingRows { dimension: 0, ..floats }, &floats, &plain, "queries.dimension: 0 is not in 1 to 32768"),
        (&floats, &EmbeddingRows { stride: 1, ..floats }, &plain, "corpus.stride: 1 is less than the 2"),
        (&floats, &EmbeddingRows { count: 3, ..floats }, &plain, "corpus.count: 3 embeddings do not fit into 4"),
        (&floats, &floats, &SearchOptions { top_k: Some(0), ..plain.clone() }, "top_k: is 0"),
        (
            &floats,
            &floats,
            &SearchOptions { rescore_multiplier: Some(2), ..plain.clone() },
            "rescore_multiplier: is only",
        ),
        (
            &float_rows(&[0.0, f32::NAN], 2),
            &floats,
            &plain,
            "the score of query 0 with embedding 0 of the corpus is NaN",
        ),
    ];
    for (queries, corpus, options, says) in cases {
        let error = search(queries, corpus, options).unwrap_err();
        assert!(error.message().contains(says), "{error} does not say {says}");
    }
    // Nothing to search with, or in.
    let none = EmbeddingRows { count: 0, ..floats };
    assert_eq!(search(&none, &floats, &plain).unwrap(), SearchHits { per_query: 2, ..SearchHits::default() });
    assert_eq!(search(&floats, &none, &plain).unwrap(), SearchHits::default());
}

#[test]
fn a_search_can_be_cancelled() {
    let corpus = numbers(1, 64 * 20_000);
    let corpus = float_rows(&corpus, 64);
    let (cancellation, ended) = (Cancellation::new(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // A search of all with all takes many seconds.
            std::thread::sleep(std::time::Duration::from_millis(20));
            assert!(!ended.load(Ordering::SeqCst));
            cancellation.cancel();
        });
        let options = SearchOptions { cancellation: Some(cancellation.clone()), ..SearchOptions::default() };
        let error = search(&corpus, &corpus, &options).unwrap_err();
        ended.store(true, Ordering::SeqCst);
        assert_eq!(error.status(), crate::Status::Cancelled);
    });
}
