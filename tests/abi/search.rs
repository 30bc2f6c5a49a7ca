//! Search, codes of embeddings, and reranking.

use std::ptr::{null, null_mut};

use kinglet::ffi::*;

use crate::calls::*;

pub const COVERS: &[&str] = &[
    "kinglet_embeddings_quantize",
    "kinglet_embeddings_ranges",
    "kinglet_embeddings_search",
    "kinglet_model_rerank",
    "kinglet_ranking_read",
];

/// Two embeddings of three values, with room for one more value between them.
static CORPUS: [f32; 7] = [1.0, -2.0, 0.5, 9.0, -1.0, 4.0, 0.25];

fn rows() -> kinglet_embedding_rows {
    let data = CORPUS.as_ptr().cast();
    kinglet_embedding_rows { data, count: 2, dimension: 3, stride: 4, ..sized!(kinglet_embedding_rows) }
}

fn codes<T>(kind: kinglet_embedding_type, into: &mut [T]) -> kinglet_embedding_codes {
    let data = into.as_mut_ptr().cast();
    kinglet_embedding_codes { kind, data, capacity: into.len(), ..sized!(kinglet_embedding_codes) }
}

fn buffer(indices: &mut [i64], scores: &mut [f32]) -> kinglet_search_buffer {
    let (indices, scores, capacity) = (indices.as_mut_ptr(), scores.as_mut_ptr(), scores.len());
    kinglet_search_buffer { indices, scores, capacity, ..sized!(kinglet_search_buffer) }
}

/// The embeddings of an argument: every way to be wrong.
fn bad_rows(function: &str, name: &str, mut call: impl FnMut(*const kinglet_embedding_rows, Error) -> kinglet_status) {
    let mut with = |says: &str, rows: kinglet_embedding_rows| {
        refused(function, &format!("{name}.{says}"), |e| call(&rows, e));
    };
    with("kind: 77", kinglet_embedding_rows { kind: 77, ..rows() });
    with("data: is NULL", kinglet_embedding_rows { data: null(), ..rows() });
    with("data: is not aligned", kinglet_embedding_rows { data: rows().data.wrapping_byte_add(1), ..rows() });
    with("dimension: 0", kinglet_embedding_rows { dimension: 0, ..rows() });
    with("dimension: 32769", kinglet_embedding_rows { dimension: 32769, stride: 0, ..rows() });
    with("stride: 2 is less than the 3", kinglet_embedding_rows { stride: 2, ..rows() });
    for (count, stride) in [(usize::MAX, 0), (2, usize::MAX), (usize::MAX / 16, 0)] {
        with("count: ", kinglet_embedding_rows { count, stride, ..rows() });
    }
    refused(function, &format!("{name}: is NULL"), |e| call(null(), e));
    for size in BAD_SIZES.into_iter().chain([first_size("kinglet_embedding_rows") - 1]) {
        let rows = kinglet_embedding_rows { struct_size: size, ..rows() };
        refused(function, "rows.struct_size: is", |e| call(&rows, e));
    }
    let reserved = kinglet_embedding_rows { reserved: 1, ..rows() };
    let says = format!("{name}.reserved: is 1");
    refused_with(KINGLET_STATUS_UNSUPPORTED, function, &says, &mut |e| call(&reserved, e));
}

#[test]
fn ranges() {
    const F: &str = "kinglet_embeddings_ranges";
    let mut made = [7.0f32; 7];
    let (into, call) = (made.as_mut_ptr(), kinglet_embeddings_ranges);
    // SAFETY: what is wrong with each call is what it tests; the rest is valid.
    unsafe {
        bad_rows(F, "embeddings", |rows, e| call(rows, into, 6, e));
        refused(F, "ranges: is NULL", |e| call(&rows(), null_mut(), 6, e));
        refused(F, "ranges: is not aligned", |e| call(&rows(), into.wrapping_byte_add(1), 6, e));
        refused(F, "capacity: is 5, and 6", |e| call(&rows(), into, 5, e));
        refused(F, "count: is 0", |e| call(&kinglet_embedding_rows { count: 0, data: null(), ..rows() }, into, 6, e));
        let bytes = kinglet_embedding_rows { kind: KINGLET_EMBEDDING_TYPE_INT8, ..rows() };
        refused(F, "embeddings.kind: is int8", |e| call(&bytes, into, 6, e));
        assert_eq!(made, [7.0; 7]);
        ok(|e| call(&rows(), into, 6, e));
    }
    assert_eq!(made, [-1.0, -2.0, 0.25, 1.0, 4.0, 0.5, 7.0]);
}

#[test]
fn quantizing() {
    const F: &str = "kinglet_embeddings_quantize";
    let call = kinglet_embeddings_quantize;
    let mut made = [7i8; 8];
    let into = codes(KINGLET_EMBEDDING_TYPE_INT8, &mut made);
    let (good, default) = (rows(), sized!(kinglet_quantize_embeddings_options));
    // SAFETY: what is wrong with each call is what it tests; the rest is valid.
    unsafe {
        bad_rows(F, "embeddings", |rows, e| call(rows, null(), &into, e));
        refused(F, "codes: is NULL", |e| call(&good, null(), null(), e));
        let with = |says: &str, codes: kinglet_embedding_codes| refused(F, says, |e| call(&good, null(), &codes, e));
        for size in BAD_SIZES.into_iter().chain([first_size("kinglet_embedding_codes") - 1]) {
            with("codes.struct_size: is", kinglet_embedding_codes { struct_size: size, ..into });
        }
        with("codes.kind: 77", kinglet_embedding_codes { kind: 77, ..into });
        with("codes.data: is NULL", kinglet_embedding_codes { data: null_mut(), ..into });
        with("codes.capacity: is 5, and 6", kinglet_embedding_codes { capacity: 5, ..into });
        with("codes.capacity: is 8, and 10", kinglet_embedding_codes { stride: 7, ..into });
        with("codes.capacity: ", kinglet_embedding_codes { stride: usize::MAX, ..into });
        with("codes.stride: 2 is less", kinglet_embedding_codes { stride: 2, ..into });
        let odd = std::ptr::without_provenance_mut(0x1001);
        with(
            "codes.data: is not aligned",
            kinglet_embedding_codes { kind: KINGLET_EMBEDDING_TYPE_FLOAT16, data: odd, ..into },
        );
        let reserved = kinglet_embedding_codes { reserved: 1, ..into };
        refused_with(KINGLET_STATUS_UNSUPPORTED, F, "codes.reserved: is 1", &mut |e| call(&good, null(), &reserved, e));
        check_options!("kinglet_embeddings_quantize", kinglet_quantize_embeddings_options, default, [], |o, e| call(
            &good, o, &into, e
        ));
        let not = [0.0f32, 0.0, 0.0, 1.0, -1.0, 1.0];
        let options = kinglet_quantize_embeddings_options { ranges: not.as_ptr(), ..default };
        refused(F, "0 to -1 is no range", |e| call(&good, &options, &into, e));
        let options = kinglet_quantize_embeddings_options { ranges: not.as_ptr().wrapping_byte_add(1), ..default };
        refused(F, "options.ranges: is not aligned", |e| call(&good, &options, &into, e));
        assert_eq!(made, [7; 8]);

        // Its own ranges, whose ends are rounded down too, and room between the rows, which stays as it is.
        let into = kinglet_embedding_codes { stride: 4, ..codes(KINGLET_EMBEDDING_TYPE_INT8, &mut made) };
        ok(|e| call(&good, null(), &into, e));
        assert_eq!(made, [126, -128, 126, 7, -128, 127, -128, 7]);
        let ranges = [-1.0f32, -2.0, 0.0, 1.0, 4.0, 255.0];
        let options = kinglet_quantize_embeddings_options { ranges: ranges.as_ptr(), ..default };
        let mut bytes = [7u8; 7];
        ok(|e| call(&good, &options, &codes(KINGLET_EMBEDDING_TYPE_UINT8, &mut bytes), e));
        assert_eq!(bytes, [254, 0, 0, 0, 255, 0, 7]);
        let mut bits = [7u8; 2];
        ok(|e| call(&good, null(), &codes(KINGLET_EMBEDDING_TYPE_UBINARY, &mut bits), e));
        assert_eq!(bits, [0b1010_0000, 0b0110_0000]);
        let mut floats = [0.0f32; 6];
        ok(|e| call(&good, null(), &codes(KINGLET_EMBEDDING_TYPE_FLOAT32, &mut floats), e));
        assert_eq!(floats, [1.0, -2.0, 0.5, -1.0, 4.0, 0.25]);
        let none = kinglet_embedding_rows { count: 0, data: null(), ..good };
        let nowhere = kinglet_embedding_codes { data: null_mut(), ..codes::<u8>(KINGLET_EMBEDDING_TYPE_INT8, &mut []) };
        ok(|e| call(&none, null(), &nowhere, e));
    }
}

#[test]
fn searching() {
    const F: &str = "kinglet_embeddings_search";
    let (call, cancelled) = (kinglet_embeddings_search, cancelled());
    let (mut indices, mut scores) = ([7i64; 6], [7.0f32; 6]);
    let (good, default) = (rows(), sized!(kinglet_search_options));
    let into = buffer(&mut indices, &mut scores);
    // SAFETY: what is wrong with each call is what it tests; the rest is valid.
    unsafe {
        bad_rows(F, "queries", |rows, e| call(rows, &good, null(), &into, e));
        bad_rows(F, "corpus", |rows, e| call(&good, rows, null(), &into, e));
        refused(F, "buffer: is NULL", |e| call(&good, &good, null(), null(), e));
        let with = |says: &str, buffer: kinglet_search_buffer| {
            refused(F, says, |e| call(&good, &good, null(), &buffer, e));
        };
        for size in BAD_SIZES.into_iter().chain([first_size("kinglet_search_buffer") - 1]) {
            with("buffer.struct_size: is", kinglet_search_buffer { struct_size: size, ..into });
        }
        with("buffer.capacity: is 3, and there are 4 hits", kinglet_search_buffer { capacity: 3, ..into });
        with("buffer.indices: is NULL", kinglet_search_buffer { indices: null_mut(), ..into });
        with("buffer.scores: is NULL", kinglet_search_buffer { scores: null_mut(), ..into });
        let odd = into.indices.wrapping_byte_add(1);
        with("buffer.indices: is not aligned", kinglet_search_buffer { indices: odd, ..into });
        let odd = into.scores.wrapping_byte_add(1);
        with("buffer.scores: is not aligned", kinglet_search_buffer { scores: odd, ..into });
        check_options!("kinglet_embeddings_search", kinglet_search_options, default, [similarity], |o, e| call(
            &good, &good, o, &into, e
        ));
        let with = |says: &str, options: kinglet_search_options| {
            refused(F, says, |e| call(&good, &good, &options, &into, e));
        };
        let similarity = KINGLET_SIMILARITY_HAMMING;
        with("similarity: hamming is not for", kinglet_search_options { similarity, ..default });
        with("ranges: are only for", kinglet_search_options { ranges: CORPUS.as_ptr(), ..default });
        with("rescore_multiplier: is only for", kinglet_search_options { rescore_multiplier: 2, ..default });
        let bytes = kinglet_embedding_rows { kind: KINGLET_EMBEDDING_TYPE_INT8, ..good };
        refused(F, "ranges: are needed", |e| call(&good, &bytes, null(), &into, e));
        refused(F, "queries.kind: is int8", |e| call(&bytes, &good, null(), &into, e));
        let wider = kinglet_embedding_rows { dimension: 4, count: 1, ..good };
        refused(F, "queries.dimension: is 4", |e| call(&wider, &good, null(), &into, e));
        let options = kinglet_search_options { cancellation: cancelled, ..default };
        refused_with(KINGLET_STATUS_CANCELLED, F, "cancelled", &mut |e| call(&good, &good, &options, &into, e));
        kinglet_cancellation_free(cancelled);
        assert_eq!((indices, scores), ([7; 6], [7.0; 6]));

        // More hits are wanted than there are embeddings.
        let into = buffer(&mut indices, &mut scores);
        let options = kinglet_search_options { similarity: KINGLET_SIMILARITY_DOT, threads: 1, ..default };
        ok(|e| call(&good, &good, &options, &into, e));
        assert_eq!((indices, scores), ([0, 1, 1, 0, 7, 7], [5.25, -8.875, 17.0625, -8.875, 7.0, 7.0]));
        let options = kinglet_search_options { top_k: 1, ..default };
        let into = buffer(&mut indices, &mut scores);
        ok(|e| call(&good, &good, &options, &into, e));
        assert!(indices[..3] == [0, 1, 1] && scores[..2].iter().all(|score| (score - 1.0).abs() < 1e-6));
        let none = kinglet_embedding_rows { count: 0, data: null(), ..good };
        let nowhere = kinglet_search_buffer { indices: null_mut(), scores: null_mut(), ..buffer(&mut [], &mut []) };
        ok(|e| call(&none, &good, null(), &nowhere, e));
        ok(|e| call(&good, &none, null(), &nowhere, e));
    }
}

#[test]
fn reranking() {
    const F: &str = "kinglet_model_rerank";
    let (encoder, classifier) = (load("roberta-cross-encoder"), load("bert-classifier"));
    let documents = [text("a stone falls"), text("a small bird"), text(""), text("a small bird")];
    let (rerank, query, d) = (kinglet_model_rerank, text("what flies?"), documents.as_ptr());
    let mut ranking = untouched();
    let out = &raw mut ranking;
    let default = sized!(kinglet_rerank_options);
    // SAFETY: what is wrong with each call is what it tests; the rest is valid.
    unsafe {
        refused(F, "model: is NULL", |e| rerank(null(), query, d, 4, null(), out, e));
        refused(F, "documents: is NULL", |e| rerank(encoder, query, null(), 4, null(), out, e));
        refused(F, "documents: is empty", |e| rerank(encoder, query, d, 0, null(), out, e));
        refused(F, "ranking: is NULL", |e| rerank(encoder, query, d, 4, null(), null_mut(), e));
        refused_with(KINGLET_STATUS_UNSUPPORTED, F, "2 labels", &mut |e| {
            rerank(classifier, query, d, 4, null(), out, e)
        });
        for (bad, says) in bad_strings() {
            refused(F, says, |e| rerank(encoder, bad, d, 4, null(), out, e));
            refused(F, "query", |e| rerank(encoder, bad, d, 4, null(), out, e));
            refused(F, "documents[0]", |e| rerank(encoder, query, &bad, 1, null(), out, e));
        }
        check_options!("kinglet_model_rerank", kinglet_rerank_options, default, [], |o, e| rerank(
            encoder, query, d, 4, o, out, e
        ));
        check_options!(
            "kinglet_model_rerank",
            kinglet_classify_options,
            sized!(kinglet_classify_options),
            [function, aggregation],
            |scoring, e| { rerank(encoder, query, d, 4, &kinglet_rerank_options { scoring, ..default }, out, e) }
        );
        assert_eq!(ranking.addr(), OUT);

        // The scores are those of pairs; equal documents keep their order.
        let mut scores = null_mut();
        let queries = [query; 4];
        ok(|e| kinglet_model_score(encoder, queries.as_ptr(), d, 4, null(), &mut scores, e));
        let scores_of = std::slice::from_raw_parts(kinglet_classifications_scores(scores, 0), 4).to_vec();
        kinglet_classifications_free(scores);
        let mut order = [0usize, 1, 2, 3];
        order.sort_by(|&a, &b| scores_of[b].total_cmp(&scores_of[a]));
        for top_n in [0, 2, 9] {
            ok(|e| rerank(encoder, query, d, 4, &kinglet_rerank_options { top_n, ..default }, out, e));
            let view = check_filled!("kinglet_ranking_read", kinglet_ranking_view, ranking, "ranking", |h, v, e| {
                kinglet_ranking_read(h, v, e)
            });
            let count = if top_n == 2 { 2 } else { 4 };
            assert_eq!((view.count, view.document_count), (count, 4));
            let indices = std::slice::from_raw_parts(view.indices, count);
            assert_eq!(indices, &order[..count]);
            let found = std::slice::from_raw_parts(view.scores, count);
            assert!(indices.iter().zip(found).all(|(&i, &score)| scores_of[i] == score));
            let tokens = std::slice::from_raw_parts(view.token_counts, 4);
            assert!(tokens[1] == tokens[3] && tokens[1] > tokens[2]);
            assert_eq!(std::slice::from_raw_parts(view.truncated, 4), [0; 4]);
            kinglet_ranking_free(ranking);
        }
        [encoder, classifier].into_iter().for_each(|model| kinglet_model_free(model));
    }
}
