//! Texts in Arrow's layout, and embeddings in the caller's memory.

use std::ptr::{null, null_mut};

use kinglet::ffi::*;

use crate::calls::*;

pub const COVERS: &[&str] = &["kinglet_model_embed_arrow"];

const F: &str = "kinglet_model_embed_arrow";
const DATA: &str = "leita small bird";
const OFFSETS: [i32; 5] = [0, 3, 4, 4, 16];
const OFFSETS_64: [i64; 5] = [0, 3, 4, 4, 16];
/// Values per vector of the fixture.
const DIMENSION: usize = 32;

/// The last three texts of an array of four: "t", "" and "a small bird".
fn texts() -> kinglet_arrow_texts {
    kinglet_arrow_texts {
        count: 3,
        first: 1,
        offsets: OFFSETS.as_ptr().cast(),
        offset_bits: 32,
        data: DATA.as_ptr().cast(),
        data_size: DATA.len(),
        ..sized!(kinglet_arrow_texts)
    }
}

fn buffer(values: &mut [f32]) -> kinglet_embedding_buffer {
    kinglet_embedding_buffer {
        dimension: DIMENSION,
        values: values.as_mut_ptr(),
        capacity: values.len(),
        ..sized!(kinglet_embedding_buffer)
    }
}

/// What kinglet_model_embed gives for the same texts: values and token counts.
fn expected(model: *const kinglet_model, options: *const kinglet_embed_options) -> (Vec<f32>, Vec<usize>) {
    let texts = [text("t"), text(""), text("a small bird")];
    let (mut embeddings, mut view) = (null_mut(), sized!(kinglet_embeddings_view));
    // SAFETY: valid arguments; the view says how many values there are.
    unsafe {
        ok(|e| kinglet_model_embed(model, texts.as_ptr(), 3, options, &mut embeddings, e));
        ok(|e| kinglet_embeddings_read(embeddings, &mut view, e));
        let values = std::slice::from_raw_parts(view.values, view.count * view.dimension).to_vec();
        let tokens = std::slice::from_raw_parts(view.token_counts, view.count).to_vec();
        kinglet_embeddings_free(embeddings);
        (values, tokens)
    }
}

#[test]
fn embeddings_of_an_array_are_those_of_its_texts() {
    let bert = load("bert");
    let (values, tokens) = expected(bert, null());
    let valid = [0b1110u8];
    for wide in [false, true] {
        let mut given = kinglet_arrow_texts { validity: valid.as_ptr(), ..texts() };
        if wide {
            (given.offsets, given.offset_bits) = (OFFSETS_64.as_ptr().cast(), 64);
        }
        // Rows one after the other, and rows with room between them, which stays as it is.
        for stride in [0, DIMENSION, DIMENSION + 5] {
            let step = stride.max(DIMENSION);
            let mut made = vec![7.0f32; 2 * step + DIMENSION];
            let (mut counts, mut truncated) = ([9usize; 3], [9u8; 3]);
            let into = kinglet_embedding_buffer {
                stride,
                token_counts: counts.as_mut_ptr(),
                truncated: truncated.as_mut_ptr(),
                ..buffer(&mut made)
            };
            // SAFETY: valid arguments.
            ok(|e| unsafe { kinglet_model_embed_arrow(bert, &given, null(), &into, e) });
            for row in 0..3 {
                let (written, between) = made[row * step..].split_at(DIMENSION);
                assert_eq!(written, &values[row * DIMENSION..(row + 1) * DIMENSION]);
                assert!(between.iter().take(step - DIMENSION).all(|&v| v == 7.0));
            }
            assert_eq!((counts.as_slice(), truncated), (tokens.as_slice(), [0; 3]));
        }
    }
    // Options count, and an array of empty texts needs no characters.
    let options = kinglet_embed_options { max_length: 3, truncate_dim: 8, ..sized!(kinglet_embed_options) };
    let (values, _) = expected(bert, &options);
    let (mut made, mut truncated) = ([0.0f32; 24], [9u8; 3]);
    let into = kinglet_embedding_buffer { dimension: 8, truncated: truncated.as_mut_ptr(), ..buffer(&mut made) };
    // SAFETY: valid arguments.
    ok(|e| unsafe { kinglet_model_embed_arrow(bert, &texts(), &options, &into, e) });
    assert_eq!((made.as_slice(), truncated), (values.as_slice(), [0, 0, 1]));
    let empty = kinglet_arrow_texts {
        count: 1,
        first: 0,
        offsets: [0i32, 0].as_ptr().cast(),
        data: null(),
        data_size: 0,
        ..texts()
    };
    // SAFETY: valid arguments.
    ok(|e| unsafe { kinglet_model_embed_arrow(bert, &empty, null(), &buffer(&mut [0.0; DIMENSION]), e) });
    // SAFETY: it is not used again.
    unsafe { kinglet_model_free(bert) };
}

#[test]
fn bad_arrays_and_buffers_are_refused() {
    let (bert, cancelled) = (load("bert"), cancelled());
    let mut made = [7.0f32; 3 * DIMENSION];
    let good = texts();
    let into = buffer(&mut made);
    let embed = kinglet_model_embed_arrow;
    // SAFETY: what is wrong with each call is what it tests; the rest is valid.
    let with_texts =
        |says: &str, t: kinglet_arrow_texts| refused(F, says, |e| unsafe { embed(bert, &t, null(), &into, e) });
    // SAFETY: likewise.
    let with_buffer =
        |says: &str, b: kinglet_embedding_buffer| refused(F, says, |e| unsafe { embed(bert, &good, null(), &b, e) });

    // SAFETY: likewise.
    unsafe {
        refused(F, "model: is NULL", |e| embed(null(), &good, null(), &into, e));
        refused(F, "texts: is NULL", |e| embed(bert, null(), null(), &into, e));
        refused(F, "buffer: is NULL", |e| embed(bert, &good, null(), null(), e));
    }
    for size in BAD_SIZES.into_iter().chain([first_size("kinglet_arrow_texts") - 1]) {
        with_texts("texts.struct_size: is", kinglet_arrow_texts { struct_size: size, ..good });
    }
    for size in BAD_SIZES.into_iter().chain([first_size("kinglet_embedding_buffer") - 1]) {
        with_buffer("buffer.struct_size: is", kinglet_embedding_buffer { struct_size: size, ..into });
    }
    check_options!(
        "kinglet_model_embed_arrow",
        kinglet_embed_options,
        sized!(kinglet_embed_options),
        [pooling, normalize],
        // SAFETY: as above.
        |o, e| unsafe { embed(bert, &good, o, &into, e) }
    );

    with_texts("texts.count: is 0", kinglet_arrow_texts { count: 0, ..good });
    with_texts("texts.count: ", kinglet_arrow_texts { count: usize::MAX, ..good });
    with_texts("offsets cannot be", kinglet_arrow_texts { first: usize::MAX / 4, ..good });
    with_texts("texts.offsets: is NULL", kinglet_arrow_texts { offsets: null(), ..good });
    with_texts("texts.offset_bits: 16 is neither 32 nor 64", kinglet_arrow_texts { offset_bits: 16, ..good });
    with_texts("texts.data: is NULL", kinglet_arrow_texts { data: null(), ..good });
    with_texts("texts.data_size: a size of", kinglet_arrow_texts { data_size: usize::MAX, ..good });
    with_texts("text 2 is bytes 4 to 16, which are not in the 15", kinglet_arrow_texts { data_size: 15, ..good });
    let nulls = [0b1011u8];
    with_texts("texts.validity: text 1 is null", kinglet_arrow_texts { validity: nulls.as_ptr(), ..good });
    for (offsets, says) in [
        ([0i32, 3, 4, 2, 16], "text 1 is bytes 4 to 2"),
        ([0, -3, 4, 4, 16], "text 0 is bytes -3 to 4"),
        ([0, 3, 4, 4, i32::MAX], "text 2 is bytes 4 to 2147483647"),
    ] {
        with_texts(says, kinglet_arrow_texts { offsets: offsets.as_ptr().cast(), ..good });
    }
    let not_utf8 = b"leit\xffa small birdx";
    with_texts(
        "texts.data: text 2 is not UTF-8 (byte 0",
        kinglet_arrow_texts { data: not_utf8.as_ptr().cast(), ..good },
    );

    with_buffer("buffer.values: is NULL", kinglet_embedding_buffer { values: null_mut(), ..into });
    with_buffer("aligned", kinglet_embedding_buffer { values: into.values.wrapping_byte_add(1), ..into });
    let odd = std::ptr::without_provenance_mut(0x1001);
    with_buffer("aligned", kinglet_embedding_buffer { token_counts: odd, ..into });
    with_buffer("buffer.dimension: is 0, and a vector has 32", kinglet_embedding_buffer { dimension: 0, ..into });
    with_buffer("buffer.dimension: is 33, and a vector has 32", kinglet_embedding_buffer { dimension: 33, ..into });
    with_buffer("buffer.stride: 31 is less", kinglet_embedding_buffer { stride: 31, ..into });
    with_buffer("buffer.capacity: is 96, and 98", kinglet_embedding_buffer { stride: 33, ..into });
    with_buffer("buffer.capacity: 96 values cannot be", kinglet_embedding_buffer { stride: usize::MAX, ..into });
    with_buffer("values cannot be", kinglet_embedding_buffer { capacity: usize::MAX, ..into });

    // SAFETY: as above.
    unsafe {
        let reserved = kinglet_arrow_texts { reserved: 1, ..good };
        refused_with(KINGLET_STATUS_UNSUPPORTED, F, "texts.reserved: is 1", &mut |e| {
            embed(bert, &reserved, null(), &into, e)
        });
        let options = kinglet_embed_options { pooling: KINGLET_POOLING_NONE, ..sized!(kinglet_embed_options) };
        refused(F, "pooling: none", |e| embed(bert, &good, &options, &into, e));
        let options = kinglet_embed_options { cancellation: cancelled, ..sized!(kinglet_embed_options) };
        refused_with(KINGLET_STATUS_CANCELLED, F, "cancelled", &mut |e| embed(bert, &good, &options, &into, e));
        kinglet_cancellation_free(cancelled);
        kinglet_model_free(bert);
    }
    assert!(made.iter().all(|&v| v == 7.0), "a call that failed has written");
}
