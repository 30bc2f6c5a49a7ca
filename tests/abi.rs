//! Every function of the C ABI with arguments that it must refuse: NULL, bad UTF-8, empty arrays, wrong struct sizes, unknown
//! numbers. Each refusal is a status and a message that names the argument, and leaves the outputs alone. The header is read for the
//! functions there are, so that a new one cannot be forgotten.

// The macros are used inside unsafe blocks and outside of them.
#![allow(unused_unsafe)]

mod support;

use std::collections::BTreeSet;
use std::ffi::{CStr, c_void};
use std::ptr::{null, null_mut};

use kinglet::ffi::*;
use support::fixtures;

/// What outputs hold before a call that must not touch them.
fn untouched<T>() -> *mut T {
    std::ptr::without_provenance_mut(0x5eed_0000)
}

const OUT: usize = 0x5eed_0000;

type Error = *mut *mut kinglet_error;

/// Calls twice, with and without a place for the error.
#[track_caller]
fn refused(function: &str, says: &str, mut call: impl FnMut(Error) -> kinglet_status) {
    refused_with(KINGLET_STATUS_INVALID_ARGUMENT, function, says, &mut call);
}

#[track_caller]
fn refused_with(expected: kinglet_status, function: &str, says: &str, call: &mut dyn FnMut(Error) -> kinglet_status) {
    let mut error = null_mut();
    assert_eq!(call(&mut error), expected, "{function}: {says}");
    assert!(!error.is_null(), "{function}: no error for {says}");
    // SAFETY: the error was just made, and is freed once.
    unsafe {
        assert_eq!(kinglet_error_status(error), expected);
        let message = CStr::from_ptr(kinglet_error_message(error)).to_str().unwrap();
        assert!(message.contains(says), "{function}: {message:?} does not say {says:?}");
        kinglet_error_free(error);
    }
    assert_eq!(call(null_mut()), expected, "{function} without an error: {says}");
}

#[track_caller]
fn ok(call: impl FnOnce(Error) -> kinglet_status) {
    let mut error = null_mut();
    let status = call(&mut error);
    // SAFETY: NULL or an error that was just made.
    let message = unsafe { CStr::from_ptr(kinglet_error_message(error)) };
    assert_eq!(status, KINGLET_STATUS_OK, "{message:?}");
    assert!(error.is_null());
}

fn text(text: &str) -> kinglet_str {
    kinglet_str { data: text.as_ptr(), size: text.len() }
}

const BAD_UTF8: [u8; 3] = [b'a', 0xff, b'b'];

fn bad_utf8() -> kinglet_str {
    kinglet_str { data: BAD_UTF8.as_ptr(), size: BAD_UTF8.len() }
}

/// NULL with a size, and a size that no memory has.
fn bad_strings() -> [(kinglet_str, &'static str); 3] {
    [
        (bad_utf8(), "not UTF-8"),
        (kinglet_str { data: null(), size: 3 }, "is NULL"),
        (kinglet_str { data: BAD_UTF8.as_ptr(), size: usize::MAX }, "cannot be"),
    ]
}

fn load(fixture: &str) -> *mut kinglet_model {
    let path = fixtures().join(fixture);
    let mut model = null_mut();
    // SAFETY: valid arguments.
    ok(|e| unsafe { kinglet_model_load(text(path.to_str().unwrap()), null(), &mut model, e) });
    model
}

/// A struct of options or results, as an `_init` function or `struct_size` makes it.
macro_rules! sized {
    ($type:ident) => {{
        // SAFETY: integers, pointers and optional functions, all of which may be zero.
        let mut value: $type = unsafe { std::mem::zeroed() };
        value.struct_size = size_of::<$type>();
        value
    }};
    ($type:ident, $init:ident) => {{
        let mut value = sized!($type);
        // SAFETY: a valid place.
        ok(|e| unsafe { $init(&mut value, size_of::<$type>(), e) });
        value
    }};
}

/// The sizes that no version of a struct has had.
const BAD_SIZES: [usize; 4] = [0, 8, 5000, usize::MAX];

/// Results: NULL handle, NULL view, wrong sizes; and the handle's `_free` takes NULL.
macro_rules! check_read {
    ($read:ident, $view:ident, $handle:expr, $name:literal) => {{
        let function = stringify!($read);
        let mut view = sized!($view);
        // SAFETY: what is wrong with each call is what it tests; the rest is valid.
        unsafe {
            refused(function, concat!($name, ": is NULL"), |e| $read(null(), &mut view, e));
            refused(function, "is NULL", |e| $read($handle, null_mut(), e));
            for size in BAD_SIZES {
                view.struct_size = size;
                refused(function, ".struct_size: is", |e| $read($handle, &mut view, e));
            }
            view.struct_size = size_of::<$view>();
            ok(|e| $read($handle, &mut view, e));
        }
        assert_eq!(view.struct_size, size_of::<$view>());
        view
    }};
}

/// Options: wrong sizes, and unknown numbers in the fields named.
macro_rules! check_options {
    ($function:literal, $options:ident, $init:ident, [$($field:ident),*], $call:expr) => {{
        let call = $call;
        // SAFETY: NULL is what is tested.
        let (init, size) = (stringify!($init), size_of::<$options>());
        refused(init, "options: is NULL", |e| unsafe { $init(null_mut(), size, e) });
        for size in BAD_SIZES {
            refused(init, "struct_size: is", |e| unsafe { $init(&mut sized!($options), size, e) });
        }
        for size in BAD_SIZES {
            let mut options = sized!($options, $init);
            options.struct_size = size;
            refused($function, "options.struct_size: is", |e| call(&raw const options, e));
        }
        $({
            let mut options = sized!($options, $init);
            options.$field = 77;
            let says = concat!("options.", stringify!($field), ": 77");
            refused($function, says, |e| call(&raw const options, e));
        })*
    }};
}

/// A model with a chat template, which no fixture has.
fn load_chat() -> *mut kinglet_model {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixtures().join("generation/gpt2")).unwrap() {
        let from = entry.unwrap().path();
        std::fs::copy(&from, folder.path().join(from.file_name().unwrap())).unwrap();
    }
    let template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}";
    std::fs::write(folder.path().join("chat_template.jinja"), template).unwrap();
    load(folder.path().to_str().unwrap())
}

extern "C" fn stop_piece(_: *mut c_void, _: *const kinglet_piece) -> u32 {
    0
}

extern "C" fn stop(_: *mut c_void, _: f32) -> u32 {
    0
}

#[test]
fn every_function_refuses_bad_arguments() {
    let mut tested = BTreeSet::new();
    let mut covers = |names: &[&'static str]| tested.extend(names.iter().copied());

    let path = fixtures().join("bert");
    let path = text(path.to_str().unwrap());
    let texts = [text("a small bird"), text("")];
    let bert = load("bert");

    // Versions and errors cannot fail.
    covers(&["kinglet_abi_version", "kinglet_abi_v1", "kinglet_version", "kinglet_status_name"]);
    covers(&["kinglet_error_status", "kinglet_error_message", "kinglet_error_free"]);
    assert_eq!(kinglet_abi_version(), KINGLET_ABI_VERSION);
    kinglet_abi_v1();
    // SAFETY: NULL is allowed; names are NUL-terminated.
    unsafe {
        assert_eq!(CStr::from_ptr(kinglet_version()).to_str().unwrap(), env!("CARGO_PKG_VERSION"));
        assert_eq!(CStr::from_ptr(kinglet_status_name(KINGLET_STATUS_IO)), c"KINGLET_STATUS_IO");
        assert_eq!(CStr::from_ptr(kinglet_status_name(4_000_000_000)), c"unknown status");
        assert_eq!(kinglet_error_status(null()), KINGLET_STATUS_OK);
        assert_eq!(CStr::from_ptr(kinglet_error_message(null())), c"");
        kinglet_error_free(null_mut());
    }

    // Every _free takes NULL.
    covers(&["kinglet_model_free", "kinglet_text_free", "kinglet_encoding_free", "kinglet_embeddings_free"]);
    covers(&["kinglet_classifications_free", "kinglet_token_classifications_free", "kinglet_hidden_states_free"]);
    covers(&["kinglet_cancellation_free", "kinglet_generations_free", "kinglet_logits_free", "kinglet_prefix_free"]);
    covers(&["kinglet_session_free", "kinglet_devices_free"]);
    // SAFETY: NULL is allowed.
    unsafe {
        kinglet_model_free(null_mut());
        kinglet_text_free(null_mut());
        kinglet_encoding_free(null_mut());
        kinglet_embeddings_free(null_mut());
        kinglet_classifications_free(null_mut());
        kinglet_token_classifications_free(null_mut());
        kinglet_hidden_states_free(null_mut());
        kinglet_cancellation_free(null_mut());
        kinglet_generations_free(null_mut());
        kinglet_logits_free(null_mut());
        kinglet_prefix_free(null_mut());
        kinglet_session_free(null_mut());
        kinglet_devices_free(null_mut());
    }

    covers(&["kinglet_cancellation_new", "kinglet_cancellation_cancel"]);
    // SAFETY: NULL is what is tested.
    unsafe {
        refused("kinglet_cancellation_new", "cancellation: is NULL", |e| kinglet_cancellation_new(null_mut(), e));
        refused("kinglet_cancellation_cancel", "cancellation: is NULL", |e| kinglet_cancellation_cancel(null(), e));
    }
    let mut cancelled = null_mut();
    // SAFETY: valid arguments.
    unsafe {
        ok(|e| kinglet_cancellation_new(&mut cancelled, e));
        ok(|e| kinglet_cancellation_cancel(cancelled, e));
    }

    covers(&["kinglet_model_load", "kinglet_model_options_init"]);
    let mut model = untouched();
    // SAFETY (of all calls below): what is wrong with each call is what it tests; the rest is valid.
    unsafe {
        let f = "kinglet_model_load";
        refused(f, "model: is NULL", |e| kinglet_model_load(path, null(), null_mut(), e));
        refused(f, "path: is empty", |e| kinglet_model_load(text(""), null(), &mut model, e));
        for (bad, says) in bad_strings() {
            refused(f, says, |e| kinglet_model_load(bad, null(), &mut model, e));
        }
        refused_with(KINGLET_STATUS_NOT_FOUND, f, "no/such/place", &mut |e| {
            kinglet_model_load(text("no/such/place"), null(), &mut model, e)
        });
        check_options!(
            "kinglet_model_load",
            kinglet_model_options,
            kinglet_model_options_init,
            [device, precision, log_level],
            |o, e| kinglet_model_load(path, o, &mut untouched(), e)
        );
        let mut options = sized!(kinglet_model_options, kinglet_model_options_init);
        options.threads = 100_000;
        refused(f, "threads: 100000", |e| kinglet_model_load(path, &options, &mut model, e));
        options.threads = 0;
        for device in [KINGLET_DEVICE_CUDA, KINGLET_DEVICE_METAL] {
            options.device = device;
            refused_with(KINGLET_STATUS_UNSUPPORTED, f, "device", &mut |e| {
                kinglet_model_load(path, &options, &mut model, e)
            });
        }
        (options.device, options.device_index) = (KINGLET_DEVICE_CPU, 3);
        refused(f, "device_index: 3", |e| kinglet_model_load(path, &options, &mut model, e));
        let mut options = sized!(kinglet_model_options, kinglet_model_options_init);
        options.memory_limit = 1;
        refused_with(KINGLET_STATUS_OUT_OF_MEMORY, f, "limit is 1", &mut |e| {
            kinglet_model_load(path, &options, &mut model, e)
        });
        let mut options = sized!(kinglet_model_options, kinglet_model_options_init);
        for (bad, says) in bad_strings() {
            options.onnxruntime = bad;
            refused(f, says, |e| kinglet_model_load(path, &options, &mut model, e));
        }
        options.onnxruntime = text("no/such/library.so");
        let export = fixtures().join("onnx/bert");
        let status = if cfg!(feature = "onnx") { KINGLET_STATUS_NOT_FOUND } else { KINGLET_STATUS_UNSUPPORTED };
        refused_with(status, f, if cfg!(feature = "onnx") { "no/such/library.so" } else { "ONNX" }, &mut |e| {
            kinglet_model_load(text(export.to_str().unwrap()), &options, &mut model, e)
        });
        let mut options = sized!(kinglet_model_options, kinglet_model_options_init);
        options.progress = Some(stop);
        refused_with(KINGLET_STATUS_CANCELLED, f, "cancelled", &mut |e| {
            kinglet_model_load(path, &options, &mut model, e)
        });
        (options.progress, options.cancellation) = (None, cancelled);
        refused_with(KINGLET_STATUS_CANCELLED, f, "cancelled", &mut |e| {
            kinglet_model_load(path, &options, &mut model, e)
        });
    }
    assert_eq!(model.addr(), OUT, "a failed load touched its output");

    covers(&["kinglet_model_retain", "kinglet_model_read", "kinglet_model_info"]);
    unsafe {
        refused("kinglet_model_retain", "model: is NULL", |e| kinglet_model_retain(null(), &mut model, e));
        refused("kinglet_model_retain", "retained: is NULL", |e| kinglet_model_retain(bert, null_mut(), e));
        let mut info = untouched();
        refused("kinglet_model_info", "model: is NULL", |e| kinglet_model_info(null(), &mut info, e));
        refused("kinglet_model_info", "text: is NULL", |e| kinglet_model_info(bert, null_mut(), e));
        assert_eq!((model.addr(), info.addr()), (OUT, OUT));
    }
    let view = check_read!(kinglet_model_read, kinglet_model_view, bert, "model");
    assert_eq!((view.hidden_size, view.max_length, view.label_count), (32, 24, 0));

    covers(&[
        "kinglet_model_tokenize",
        "kinglet_tokenize_options_init",
        "kinglet_encoding_read",
        "kinglet_encoding_pad",
    ]);
    let mut encoding = untouched();
    unsafe {
        let f = "kinglet_model_tokenize";
        let t = texts.as_ptr();
        let out = &raw mut encoding;
        refused(f, "model: is NULL", |e| kinglet_model_tokenize(null(), t, null(), 2, null(), out, e));
        refused(f, "texts: is NULL", |e| kinglet_model_tokenize(bert, null(), null(), 2, null(), out, e));
        refused(f, "texts: is empty", |e| kinglet_model_tokenize(bert, t, null(), 0, null(), out, e));
        refused(f, "cannot be", |e| kinglet_model_tokenize(bert, t, null(), usize::MAX, null(), out, e));
        refused(f, "encoding: is NULL", |e| kinglet_model_tokenize(bert, t, null(), 2, null(), null_mut(), e));
        for (bad, says) in bad_strings() {
            let bad = [text("good"), bad];
            refused(f, says, |e| kinglet_model_tokenize(bert, bad.as_ptr(), null(), 2, null(), out, e));
            refused(f, "pairs[1]", |e| kinglet_model_tokenize(bert, t, bad.as_ptr(), 2, null(), out, e));
        }
        check_options!(
            "kinglet_model_tokenize",
            kinglet_tokenize_options,
            kinglet_tokenize_options_init,
            [add_special_tokens, offsets],
            |o, e| kinglet_model_tokenize(bert, t, null(), 2, o, out, e)
        );
        let mut options = sized!(kinglet_tokenize_options, kinglet_tokenize_options_init);
        options.max_length = 2;
        refused(f, "max_length: 2", |e| kinglet_model_tokenize(bert, t, null(), 2, &options, out, e));
        options.cancellation = cancelled;
        options.max_length = 0;
        refused_with(KINGLET_STATUS_CANCELLED, f, "cancelled", &mut |e| {
            kinglet_model_tokenize(bert, t, null(), 2, &options, out, e)
        });
        assert_eq!(encoding.addr(), OUT);
        ok(|e| kinglet_model_tokenize(bert, t, null(), 2, null(), out, e));
        let view = check_read!(kinglet_encoding_read, kinglet_encoding_view, encoding, "encoding");
        assert_eq!((view.count, view.offsets.is_null()), (2, true));
        let (mut ids, mut mask) = (vec![9u32; 64], vec![9u32; 64]);
        let (i, m) = (ids.as_mut_ptr(), mask.as_mut_ptr());
        let f = "kinglet_encoding_pad";
        refused(f, "encoding: is NULL", |e| kinglet_encoding_pad(null(), 0, 0, i, m, 64, e));
        refused(f, "ids: is NULL", |e| kinglet_encoding_pad(encoding, 0, 0, null_mut(), m, 64, e));
        refused(f, "attention_mask: is NULL", |e| kinglet_encoding_pad(encoding, 0, 0, i, null_mut(), 64, e));
        refused(f, "attention_mask: is the same", |e| kinglet_encoding_pad(encoding, 0, 0, i, i, 64, e));
        refused(f, "length: 1", |e| kinglet_encoding_pad(encoding, 1, 0, i, m, 64, e));
        refused(f, "capacity: 3", |e| kinglet_encoding_pad(encoding, 0, 0, i, m, 3, e));
        refused(f, "capacity", |e| kinglet_encoding_pad(encoding, 0, 0, i, m, usize::MAX, e));
        refused(f, "capacity: 64", |e| kinglet_encoding_pad(encoding, usize::MAX, 0, i, m, 64, e));
        assert!(ids.iter().chain(&mask).all(|&v| v == 9));
        kinglet_encoding_free(encoding);
    }

    covers(&["kinglet_model_decode", "kinglet_text_read"]);
    let mut decoded = untouched();
    unsafe {
        let f = "kinglet_model_decode";
        let ids = [5u32, 6];
        let (i, out) = (ids.as_ptr(), &raw mut decoded);
        refused(f, "model: is NULL", |e| kinglet_model_decode(null(), i, 2, 1, out, e));
        refused(f, "ids: is NULL", |e| kinglet_model_decode(bert, null(), 2, 1, out, e));
        refused(f, "ids: is empty", |e| kinglet_model_decode(bert, i, 0, 1, out, e));
        refused(f, "skip_special_tokens: 2", |e| kinglet_model_decode(bert, i, 2, 2, out, e));
        refused(f, "text: is NULL", |e| kinglet_model_decode(bert, i, 2, 1, null_mut(), e));
        refused(f, "ids[0]: 4000000000", |e| kinglet_model_decode(bert, [4_000_000_000].as_ptr(), 1, 1, out, e));
        assert_eq!(decoded.addr(), OUT);
        ok(|e| kinglet_model_decode(bert, i, 2, 1, out, e));
        check_read!(kinglet_text_read, kinglet_text_view, decoded, "text");
        kinglet_text_free(decoded);
    }

    covers(&["kinglet_model_embed", "kinglet_embed_options_init", "kinglet_embeddings_read"]);
    let mut embeddings = untouched();
    unsafe {
        let f = "kinglet_model_embed";
        let (t, out) = (texts.as_ptr(), &raw mut embeddings);
        refused(f, "model: is NULL", |e| kinglet_model_embed(null(), t, 2, null(), out, e));
        refused(f, "texts: is NULL", |e| kinglet_model_embed(bert, null(), 2, null(), out, e));
        refused(f, "texts: is empty", |e| kinglet_model_embed(bert, t, 0, null(), out, e));
        refused(f, "embeddings: is NULL", |e| kinglet_model_embed(bert, t, 2, null(), null_mut(), e));
        for (bad, says) in bad_strings() {
            refused(f, says, |e| kinglet_model_embed(bert, &bad, 1, null(), out, e));
        }
        check_options!(
            "kinglet_model_embed",
            kinglet_embed_options,
            kinglet_embed_options_init,
            [pooling, normalize],
            |o, e| kinglet_model_embed(bert, t, 2, o, out, e)
        );
        let mut options = sized!(kinglet_embed_options, kinglet_embed_options_init);
        options.cancellation = cancelled;
        refused_with(KINGLET_STATUS_CANCELLED, f, "cancelled", &mut |e| {
            kinglet_model_embed(bert, t, 2, &options, out, e)
        });
        assert_eq!(embeddings.addr(), OUT);
        ok(|e| kinglet_model_embed(bert, t, 2, null(), out, e));
        let view = check_read!(kinglet_embeddings_read, kinglet_embeddings_view, embeddings, "embeddings");
        assert_eq!((view.count, view.dimension, view.row_count), (2, 32, 2));
        kinglet_embeddings_free(embeddings);
    }

    covers(&["kinglet_model_hidden_states", "kinglet_hidden_states_read"]);
    let mut states = untouched();
    unsafe {
        let f = "kinglet_model_hidden_states";
        let (ids, lengths) = ([5u32, 6, 7], [2usize, 1]);
        let (i, l, out) = (ids.as_ptr(), lengths.as_ptr(), &raw mut states);
        let call = |m, i, t, n, l, c, out, e| kinglet_model_hidden_states(m, i, t, n, l, c, null(), out, e);
        refused(f, "model: is NULL", |e| call(null(), i, null(), 3, l, 2, out, e));
        refused(f, "ids: is NULL", |e| call(bert, null(), null(), 3, l, 2, out, e));
        refused(f, "ids: is empty", |e| call(bert, i, null(), 0, l, 2, out, e));
        refused(f, "lengths: is NULL", |e| call(bert, i, null(), 3, null(), 2, out, e));
        refused(f, "lengths: is empty", |e| call(bert, i, null(), 3, l, 0, out, e));
        refused(f, "lengths: they add up to 2", |e| call(bert, i, null(), 3, l, 1, out, e));
        refused(f, "lengths", |e| call(bert, i, null(), 3, [usize::MAX, 4].as_ptr(), 2, out, e));
        refused(f, "states: is NULL", |e| call(bert, i, null(), 3, l, 2, null_mut(), e));
        refused(f, "ids: 300 is not below 300", |e| call(bert, [300u32].as_ptr(), null(), 1, [1].as_ptr(), 1, out, e));
        refused(f, "type_ids: 7 is not below 2", |e| call(bert, i, [0u32, 7, 0].as_ptr(), 3, l, 2, out, e));
        refused(f, "at most 64", |e| call(bert, [5u32; 65].as_ptr(), null(), 65, [65].as_ptr(), 1, out, e));
        refused_with(KINGLET_STATUS_CANCELLED, f, "cancelled", &mut |e| {
            kinglet_model_hidden_states(bert, i, null(), 3, l, 2, cancelled, out, e)
        });
        assert_eq!(states.addr(), OUT);
        ok(|e| call(bert, i, null(), 3, l, 2, out, e));
        let view = check_read!(kinglet_hidden_states_read, kinglet_hidden_states_view, states, "states");
        assert_eq!((view.count, view.token_count, view.width), (2, 3, 32));
        kinglet_hidden_states_free(states);
    }

    covers(&["kinglet_model_classify", "kinglet_classify_options_init", "kinglet_classifications_read"]);
    covers(&["kinglet_model_score"]);
    let (classifier, encoder) = (load("bert-classifier"), load("roberta-cross-encoder"));
    let mut scores = untouched();
    unsafe {
        let (t, out) = (texts.as_ptr(), &raw mut scores);
        let f = "kinglet_model_classify";
        let classify = kinglet_model_classify;
        refused(f, "model: is NULL", |e| classify(null(), t, null(), 2, null(), out, e));
        refused(f, "texts: is NULL", |e| classify(classifier, null(), null(), 2, null(), out, e));
        refused(f, "texts: is empty", |e| classify(classifier, t, null(), 0, null(), out, e));
        refused(f, "classifications: is NULL", |e| classify(classifier, t, null(), 2, null(), null_mut(), e));
        refused_with(KINGLET_STATUS_UNSUPPORTED, f, "no head", &mut |e| classify(bert, t, null(), 2, null(), out, e));
        let f = "kinglet_model_score";
        let score = kinglet_model_score;
        refused(f, "model: is NULL", |e| score(null(), t, t, 2, null(), out, e));
        refused(f, "queries: is NULL", |e| score(encoder, null(), t, 2, null(), out, e));
        refused(f, "documents: is NULL", |e| score(encoder, t, null(), 2, null(), out, e));
        refused(f, "is empty", |e| score(encoder, t, t, 0, null(), out, e));
        refused(f, "classifications: is NULL", |e| score(encoder, t, t, 2, null(), null_mut(), e));
        refused_with(KINGLET_STATUS_UNSUPPORTED, f, "2 labels", &mut |e| score(classifier, t, t, 2, null(), out, e));
        for (bad, says) in bad_strings() {
            let (good, bad) = (text("good"), bad);
            refused("classify", says, |e| classify(classifier, &bad, null(), 1, null(), out, e));
            refused("classify", "pairs[0]", |e| classify(classifier, &good, &bad, 1, null(), out, e));
            refused(f, "queries[0]", |e| score(encoder, &bad, &good, 1, null(), out, e));
            refused(f, "documents[0]", |e| score(encoder, &good, &bad, 1, null(), out, e));
        }
        check_options!(
            "kinglet_model_classify",
            kinglet_classify_options,
            kinglet_classify_options_init,
            [function, aggregation],
            |o, e| classify(classifier, t, null(), 2, o, out, e)
        );
        check_options!(
            "kinglet_model_score",
            kinglet_classify_options,
            kinglet_classify_options_init,
            [function, aggregation],
            |o, e| score(encoder, t, t, 2, o, out, e)
        );
        assert_eq!(scores.addr(), OUT);
        ok(|e| score(encoder, t, t, 2, null(), out, e));
        let view = check_read!(kinglet_classifications_read, kinglet_classifications_view, scores, "classifications");
        assert_eq!((view.count, view.label_count), (2, 1));
        kinglet_classifications_free(scores);
    }

    covers(&["kinglet_model_classify_tokens", "kinglet_token_classifications_read"]);
    let tagger = load("bert-token-classifier");
    let mut entities = untouched();
    unsafe {
        let (t, out) = (texts.as_ptr(), &raw mut entities);
        let f = "kinglet_model_classify_tokens";
        let tag = kinglet_model_classify_tokens;
        refused(f, "model: is NULL", |e| tag(null(), t, 2, null(), out, e));
        refused(f, "texts: is NULL", |e| tag(tagger, null(), 2, null(), out, e));
        refused(f, "texts: is empty", |e| tag(tagger, t, 0, null(), out, e));
        refused(f, "classifications: is NULL", |e| tag(tagger, t, 2, null(), null_mut(), e));
        for (bad, says) in bad_strings() {
            refused(f, says, |e| tag(tagger, &bad, 1, null(), out, e));
        }
        refused_with(KINGLET_STATUS_UNSUPPORTED, f, "no head", &mut |e| tag(bert, t, 2, null(), out, e));
        check_options!(
            "kinglet_model_classify_tokens",
            kinglet_classify_options,
            kinglet_classify_options_init,
            [function, aggregation],
            |o, e| tag(tagger, t, 2, o, out, e)
        );
        assert_eq!(entities.addr(), OUT);
        ok(|e| tag(tagger, t, 2, null(), out, e));
        let read = kinglet_token_classifications_read;
        let view = check_read!(read, kinglet_token_classifications_view, entities, "classifications");
        assert_eq!((view.count, view.label_count), (2, 5));
        kinglet_token_classifications_free(entities);
    }

    covers(&["kinglet_device_list", "kinglet_devices_read"]);
    let mut devices = untouched();
    unsafe {
        refused("kinglet_device_list", "devices: is NULL", |e| kinglet_device_list(null_mut(), e));
        ok(|e| kinglet_device_list(&mut devices, e));
        let view = check_read!(kinglet_devices_read, kinglet_devices_view, devices, "devices");
        let listed = std::slice::from_raw_parts(view.devices, view.count);
        assert_eq!((listed[0].device, listed[0].index), (KINGLET_DEVICE_CPU, 0));
        assert!(listed.iter().all(|info| info.name.size > 0));
        kinglet_devices_free(devices);
    }

    covers(&["kinglet_counters_read", "kinglet_counters_reset", "kinglet_counters_export"]);
    let counters = check_read!(kinglet_counters_read, kinglet_counters, bert, "model");
    assert!(counters.call.calls > 0 && counters.load.calls == 1);
    let mut exported = untouched();
    unsafe {
        refused("kinglet_counters_reset", "model: is NULL", |e| kinglet_counters_reset(null(), e));
        let f = "kinglet_counters_export";
        refused(f, "model: is NULL", |e| kinglet_counters_export(null(), 0, &mut exported, e));
        refused(f, "text: is NULL", |e| kinglet_counters_export(bert, 0, null_mut(), e));
        refused(f, "format: 77", |e| kinglet_counters_export(bert, 77, &mut exported, e));
        assert_eq!(exported.addr(), OUT);
        ok(|e| kinglet_counters_reset(bert, e));
    }

    covers(&["kinglet_model_generate", "kinglet_generate_options_init", "kinglet_generations_read"]);
    covers(&["kinglet_generations_output", "kinglet_model_generate_ids"]);
    let writer = load("generation/gpt2");
    let view = check_read!(kinglet_model_read, kinglet_model_view, writer, "model");
    assert_eq!((view.can_generate, view.has_encoder, view.cache_bytes), (1, 0, 0));
    let mut generations = untouched();
    let (ids, lengths) = ([299u32, 295, 73], [2usize, 1]);
    unsafe {
        let (t, i, l, out) = (texts.as_ptr(), ids.as_ptr(), lengths.as_ptr(), &raw mut generations);
        let f = "kinglet_model_generate";
        let generate = kinglet_model_generate;
        refused(f, "model: is NULL", |e| generate(null(), t, 1, null(), out, e));
        refused(f, "texts: is NULL", |e| generate(writer, null(), 1, null(), out, e));
        refused(f, "texts: is empty", |e| generate(writer, t, 0, null(), out, e));
        refused(f, "cannot be", |e| generate(writer, t, usize::MAX, null(), out, e));
        refused(f, "texts[1]: has no tokens", |e| generate(writer, t, 2, null(), out, e));
        refused(f, "generations: is NULL", |e| generate(writer, t, 1, null(), null_mut(), e));
        for (bad, says) in bad_strings() {
            refused(f, says, |e| generate(writer, &bad, 1, null(), out, e));
        }
        refused_with(KINGLET_STATUS_UNSUPPORTED, f, "generates no text", &mut |e| generate(bert, t, 1, null(), out, e));
        check_options!(
            "kinglet_model_generate",
            kinglet_generate_options,
            kinglet_generate_options_init,
            [
                do_sample,
                early_stopping,
                has_seed,
                ignore_eos,
                logprobs,
                add_special_tokens,
                skip_special_tokens,
                grammar_kind
            ],
            |o, e| generate(writer, t, 1, o, out, e)
        );
        let default = sized!(kinglet_generate_options, kinglet_generate_options_init);
        let (none, two) = (kinglet_ids { data: null(), count: 1 }, kinglet_ids { data: ids.as_ptr(), count: 2 });
        let huge = kinglet_ids { data: ids.as_ptr(), count: usize::MAX };
        let bad = bad_utf8();
        type Options = kinglet_generate_options;
        for (says, options) in [
            ("options.max_new_tokens", Options { max_new_tokens: 1 << 41, ..default }),
            ("max_new_tokens: must be", Options { max_new_tokens: 0, ..default }),
            ("options.top_k", Options { top_k: KINGLET_UNSET - 1, ..default }),
            ("options.prompt_lookup_num_tokens", Options { prompt_lookup_num_tokens: 1 << 41, ..default }),
            ("max_matching_ngram_size: ", Options { max_matching_ngram_size: 2, ..default }),
            ("num_beams", Options { prompt_lookup_num_tokens: 4, num_beams: 2, ..default }),
            ("do_sample", Options { prompt_lookup_num_tokens: 4, do_sample: KINGLET_CHOICE_YES, ..default }),
            ("options.forced_bos_token_id", Options { forced_bos_token_id: 1 << 32, ..default }),
            ("decoder_start_token_id: 300", Options { decoder_start_token_id: 300, ..default }),
            ("temperature: ", Options { temperature: 0.5, ..default }),
            ("num_beams: ", Options { num_beams: 65, ..default }),
            ("options.stop_strings: is NULL", Options { stop_string_count: 1, ..default }),
            ("options.stop_strings[0]", Options { stop_string_count: 1, stop_strings: &bad, ..default }),
            ("options.bad_words_ids: is NULL", Options { bad_word_count: 1, ..default }),
            ("options.bad_words_ids: is NULL", Options { bad_word_count: 1, bad_words_ids: &none, ..default }),
            ("options.suppress_tokens: is NULL", Options { suppress_tokens: none, ..default }),
            ("options.suppress_tokens: a size", Options { suppress_tokens: huge, ..default }),
            ("options.eos_token_id: is NULL", Options { eos_token_id: none, ..default }),
            ("options.grammar: is not UTF-8", Options { grammar_kind: 2, grammar: bad, ..default }),
        ] {
            refused(f, says, |e| generate(writer, t, 1, &options, out, e));
        }
        let options = Options { cancellation: cancelled, ..default };
        refused_with(KINGLET_STATUS_CANCELLED, f, "cancelled", &mut |e| generate(writer, t, 1, &options, out, e));
        let options = Options { on_piece: Some(stop_piece), ..default };
        refused_with(KINGLET_STATUS_CANCELLED, f, "cancelled", &mut |e| generate(writer, t, 1, &options, out, e));

        let f = "kinglet_model_generate_ids";
        let generate_ids = kinglet_model_generate_ids;
        refused(f, "model: is NULL", |e| generate_ids(null(), i, 3, l, 2, null(), out, e));
        refused(f, "ids: is NULL", |e| generate_ids(writer, null(), 3, l, 2, null(), out, e));
        refused(f, "ids: is empty", |e| generate_ids(writer, i, 0, l, 2, null(), out, e));
        refused(f, "lengths: is NULL", |e| generate_ids(writer, i, 3, null(), 2, null(), out, e));
        refused(f, "lengths: is empty", |e| generate_ids(writer, i, 3, l, 0, null(), out, e));
        refused(f, "lengths: they add up to 2", |e| generate_ids(writer, i, 3, l, 1, null(), out, e));
        refused(f, "300", |e| generate_ids(writer, [300].as_ptr(), 1, [1].as_ptr(), 1, null(), out, e));
        refused(f, "generations: is NULL", |e| generate_ids(writer, i, 3, l, 2, null(), null_mut(), e));
        refused_with(KINGLET_STATUS_UNSUPPORTED, f, "generates no text", &mut |e| {
            generate_ids(bert, i, 3, l, 2, null(), out, e)
        });
        assert_eq!(generations.addr(), OUT);
        let options = Options { max_new_tokens: 3, ignore_eos: 1, suppress_tokens: two, ..default };
        ok(|e| generate_ids(writer, i, 3, l, 2, &options, out, e));
        let view = check_read!(kinglet_generations_read, kinglet_generations_view, generations, "generations");
        assert_eq!((view.count, *view.input_token_counts.add(1)), (2, 1));
        let f = "kinglet_generations_output";
        let mut output = sized!(kinglet_output);
        refused(f, "generations: is NULL", |e| kinglet_generations_output(null(), 0, 0, &mut output, e));
        refused(f, "output: is NULL", |e| kinglet_generations_output(generations, 0, 0, null_mut(), e));
        refused(f, "index: 2", |e| kinglet_generations_output(generations, 2, 0, &mut output, e));
        refused(f, "number: 1", |e| kinglet_generations_output(generations, 0, 1, &mut output, e));
        for size in BAD_SIZES {
            output.struct_size = size;
            let says = "output.struct_size: is";
            refused(f, says, |e| kinglet_generations_output(generations, 0, 0, &mut output, e));
        }
        output.struct_size = size_of::<kinglet_output>();
        assert!(output.tokens.is_null(), "a failed call touched its output");
        ok(|e| kinglet_generations_output(generations, 1, 0, &mut output, e));
        assert_eq!((output.output_count, output.token_count, output.finish), (1, 3, KINGLET_FINISH_LENGTH));
        kinglet_generations_free(generations);
    }

    covers(&["kinglet_model_logits", "kinglet_logits_read"]);
    let translator = load("generation/t5-gated");
    let mut logits = untouched();
    unsafe {
        let f = "kinglet_model_logits";
        let (i, out) = (ids.as_ptr(), &raw mut logits);
        let call = |m, i, n, d, k, s, out, e| kinglet_model_logits(m, i, n, d, k, s, null(), out, e);
        refused(f, "model: is NULL", |e| call(null(), i, 3, null(), 0, 0, out, e));
        refused(f, "ids: is NULL", |e| call(writer, null(), 3, null(), 0, 0, out, e));
        refused(f, "ids: is empty", |e| call(writer, i, 0, null(), 0, 0, out, e));
        refused(f, "decoder_ids: is empty", |e| call(translator, i, 3, i, 0, 0, out, e));
        refused(f, "decoder_ids: are needed", |e| call(translator, i, 3, null(), 0, 0, out, e));
        refused(f, "decoder_ids: the model has no encoder", |e| call(writer, i, 3, i, 3, 0, out, e));
        refused(f, "stepwise: 2", |e| call(writer, i, 3, null(), 0, 2, out, e));
        refused(f, "300", |e| call(writer, [300].as_ptr(), 1, null(), 0, 0, out, e));
        refused(f, "logits: is NULL", |e| call(writer, i, 3, null(), 0, 0, null_mut(), e));
        refused_with(KINGLET_STATUS_UNSUPPORTED, f, "generates no text", &mut |e| {
            call(bert, i, 3, null(), 0, 0, out, e)
        });
        refused_with(KINGLET_STATUS_CANCELLED, f, "cancelled", &mut |e| {
            kinglet_model_logits(writer, i, 3, null(), 0, 0, cancelled, out, e)
        });
        assert_eq!(logits.addr(), OUT);
        ok(|e| call(translator, i, 3, i, 2, 1, out, e));
        let view = check_read!(kinglet_logits_read, kinglet_logits_view, logits, "logits");
        assert_eq!((view.token_count, view.vocabulary_size), (2, 300));
        kinglet_logits_free(logits);
    }

    covers(&["kinglet_prefix_new", "kinglet_session_new", "kinglet_session_add", "kinglet_session_reply"]);
    covers(&["kinglet_session_rewind", "kinglet_session_read", "kinglet_session_message"]);
    let (mut prefix, mut session) = (untouched(), untouched());
    let talker = load_chat();
    unsafe {
        let (good, out) = (text("good"), &raw mut prefix);
        let f = "kinglet_prefix_new";
        refused(f, "model: is NULL", |e| kinglet_prefix_new(null(), good, 1, out, e));
        refused(f, "prefix: is NULL", |e| kinglet_prefix_new(writer, good, 1, null_mut(), e));
        refused(f, "add_special_tokens: 2", |e| kinglet_prefix_new(writer, good, 2, out, e));
        for (bad, says) in bad_strings() {
            refused(f, says, |e| kinglet_prefix_new(writer, bad, 1, out, e));
        }
        refused_with(KINGLET_STATUS_UNSUPPORTED, f, "needs a decoder", &mut |e| {
            kinglet_prefix_new(translator, good, 1, out, e)
        });
        assert_eq!(prefix.addr(), OUT);
        ok(|e| kinglet_prefix_new(writer, good, 1, out, e));
        kinglet_prefix_free(prefix);

        let f = "kinglet_session_new";
        refused(f, "model: is NULL", |e| kinglet_session_new(null(), &mut session, e));
        refused(f, "session: is NULL", |e| kinglet_session_new(talker, null_mut(), e));
        refused_with(KINGLET_STATUS_UNSUPPORTED, f, "chat template", &mut |e| {
            kinglet_session_new(writer, &mut session, e)
        });
        assert_eq!(session.addr(), OUT);
        ok(|e| kinglet_session_new(talker, &mut session, e));
        let f = "kinglet_session_add";
        refused(f, "session: is NULL", |e| kinglet_session_add(null(), good, good, e));
        for (bad, says) in bad_strings() {
            refused(f, says, |e| kinglet_session_add(session, bad, good, e));
            refused(f, "content: ", |e| kinglet_session_add(session, good, bad, e));
        }
        let mut reply = untouched();
        let out = &raw mut reply;
        let f = "kinglet_session_reply";
        ok(|e| kinglet_session_add(session, text("user"), good, e));
        refused(f, "session: is NULL", |e| kinglet_session_reply(null(), null(), out, e));
        refused(f, "generations: is NULL", |e| kinglet_session_reply(session, null(), null_mut(), e));
        check_options!(
            "kinglet_session_reply",
            kinglet_generate_options,
            kinglet_generate_options_init,
            [do_sample],
            |o, e| kinglet_session_reply(session, o, out, e)
        );
        let mut options = sized!(kinglet_generate_options, kinglet_generate_options_init);
        options.cancellation = cancelled;
        refused_with(KINGLET_STATUS_CANCELLED, f, "cancelled", &mut |e| {
            kinglet_session_reply(session, &options, out, e)
        });
        covers(&["kinglet_session_send"]);
        let f = "kinglet_session_send";
        refused(f, "session: is NULL", |e| kinglet_session_send(null(), good, null(), out, e));
        refused(f, "generations: is NULL", |e| kinglet_session_send(session, good, null(), null_mut(), e));
        for (bad, says) in bad_strings() {
            refused(f, says, |e| kinglet_session_send(session, bad, null(), out, e));
        }
        refused_with(KINGLET_STATUS_CANCELLED, f, "cancelled", &mut |e| {
            kinglet_session_send(session, good, &options, out, e)
        });
        assert_eq!(reply.addr(), OUT);
        let view = check_read!(kinglet_session_read, kinglet_session_view, session, "session");
        assert_eq!((view.message_count, view.held_tokens), (1, 0));
        (options.cancellation, options.max_new_tokens) = (null(), 2);
        ok(|e| kinglet_session_reply(session, &options, out, e));
        kinglet_generations_free(reply);
        let f = "kinglet_session_message";
        let mut message = sized!(kinglet_message_view);
        refused(f, "session: is NULL", |e| kinglet_session_message(null(), 0, &mut message, e));
        refused(f, "view: is NULL", |e| kinglet_session_message(session, 0, null_mut(), e));
        refused(f, "index: 2", |e| kinglet_session_message(session, 2, &mut message, e));
        for size in BAD_SIZES {
            message.struct_size = size;
            let says = "view.struct_size: is";
            refused(f, says, |e| kinglet_session_message(session, 0, &mut message, e));
        }
        message.struct_size = size_of::<kinglet_message_view>();
        ok(|e| kinglet_session_message(session, 1, &mut message, e));
        assert_eq!(message.role.size, "assistant".len());
        refused("kinglet_session_rewind", "session: is NULL", |e| kinglet_session_rewind(null(), 0, e));
        ok(|e| kinglet_session_rewind(session, 0, e));
        kinglet_session_free(session);
    }

    covers(&["kinglet_quantize"]);
    unsafe {
        let f = "kinglet_quantize";
        let scratch = tempfile::tempdir().unwrap();
        let place = scratch.path().join("bert.kinglet");
        let to = text(place.to_str().unwrap());
        refused(f, "source: is empty", |e| kinglet_quantize(text(""), to, 1, None, null_mut(), e));
        refused(f, "destination: is empty", |e| kinglet_quantize(path, text(""), 1, None, null_mut(), e));
        refused(f, "precision: 77", |e| kinglet_quantize(path, to, 77, None, null_mut(), e));
        for (bad, says) in bad_strings() {
            refused(f, says, |e| kinglet_quantize(bad, to, 1, None, null_mut(), e));
            refused(f, "destination: ", |e| kinglet_quantize(path, bad, 1, None, null_mut(), e));
        }
        refused_with(KINGLET_STATUS_NOT_FOUND, f, "no/such/place", &mut |e| {
            kinglet_quantize(text("no/such/place"), to, 1, None, null_mut(), e)
        });
        refused_with(KINGLET_STATUS_CANCELLED, f, "cancelled", &mut |e| {
            kinglet_quantize(path, to, 1, Some(stop), null_mut(), e)
        });
        assert!(!place.exists(), "a failed call left its file");

        [bert, classifier, encoder, tagger, writer, translator, talker]
            .into_iter()
            .for_each(|model| kinglet_model_free(model));
        kinglet_cancellation_free(cancelled);
    }

    let header = include_str!("../include/kinglet.h");
    let declared: BTreeSet<&str> =
        header.match_indices("kinglet_").filter_map(|(at, _)| function_at(header, at)).collect();
    assert!(declared.len() > 40, "the header was not understood: {declared:?}");
    assert_eq!(tested, declared, "tested and declared functions differ");
}

/// The name at `at`, if a function is declared there: a line that is no comment, and a parenthesis after the name.
fn function_at(header: &str, at: usize) -> Option<&str> {
    let line = &header[header[..at].rfind('\n')? + 1..at];
    let end = at + header[at..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
    let declares = !line.trim_start().starts_with("//") && !line.contains(['(', '*']) | line.ends_with('*');
    (declares && header[end..].starts_with('(')).then(|| &header[at..end])
}
