//! Documents that are shortened.

use std::ffi::CStr;
use std::ptr::{null, null_mut};

use kinglet::ffi::*;

use crate::calls::*;

pub const COVERS: &[&str] = &[
    "kinglet_compress_method_name",
    "kinglet_compress_unit_name",
    "kinglet_compression_free",
    "kinglet_compression_read",
    "kinglet_model_compress",
];

#[test]
fn names_are_those_of_rust() {
    // SAFETY: a static string that ends with NUL.
    let name = |pointer| unsafe { CStr::from_ptr(pointer) }.to_str().unwrap();
    for method in kinglet::CompressMethod::ALL {
        assert_eq!(name(kinglet_compress_method_name(method as u32)), method.name());
    }
    for unit in kinglet::CompressUnit::ALL {
        assert_eq!(name(kinglet_compress_unit_name(unit as u32)), unit.name());
    }
}

#[test]
fn compressing() {
    let (bert, classifier, cancelled) = (load("bert"), load("bert-token-classifier"), cancelled());
    let document = "A small bird sings. The rain runs to the sea! It answers.";
    let text = crate::calls::text(document);
    let mut compression = untouched();
    let f = "kinglet_model_compress";
    let out = &raw mut compression;
    let compress = kinglet_model_compress;
    let default = kinglet_compress_options { ratio: 2.0, ..sized!(kinglet_compress_options) };
    // SAFETY: what is wrong with each call is what it tests; the rest is valid.
    unsafe {
        refused(f, "model: is NULL", |e| compress(null(), text, &default, out, e));
        refused(f, "compression: is NULL", |e| compress(bert, text, &default, null_mut(), e));
        refused(f, "ratio: give a ratio, or max_tokens", |e| compress(bert, text, null(), out, e));
        check_options!(
            "kinglet_model_compress",
            kinglet_compress_options,
            default,
            [method, unit, force_digits, force_capitalized, priority],
            |o, e| compress(bert, text, o, out, e)
        );
        for (bad, says) in bad_strings() {
            refused(f, says, |e| compress(bert, bad, &default, out, e));
            let options = kinglet_compress_options { query: bad, ..default };
            refused(f, says, |e| compress(bert, text, &options, out, e));
            let options = kinglet_compress_options { keep_label: bad, ..default };
            refused(f, says, |e| compress(bert, text, &options, out, e));
            let options = kinglet_compress_options { force_tokens: &bad, force_token_count: 1, ..default };
            refused(f, says, |e| compress(bert, text, &options, out, e));
        }
        let wrong = [
            (kinglet_compress_options { max_tokens: 5, ..default }, "ratio, max_tokens: give one"),
            (kinglet_compress_options { ratio: 0.5, ..default }, "ratio: 0.5 is not a number above 1"),
            (kinglet_compress_options { ratio: f64::NAN, ..default }, "ratio: NaN is not"),
            (kinglet_compress_options { window: 65, ..default }, "window: 65 tokens are more than the 64"),
            (kinglet_compress_options { overlap: 3, ..default }, "overlap: the method sentence_embeddings"),
            (kinglet_compress_options { relevance: -0.5, ..default }, "relevance: -0.5 is not"),
            (kinglet_compress_options { force_token_count: 2, ..default }, "options.force_tokens: is NULL"),
        ];
        for (options, says) in wrong {
            refused(f, says, |e| compress(bert, text, &options, out, e));
        }
        let options = kinglet_compress_options { reserved: 1, ..default };
        refused_with(KINGLET_STATUS_UNSUPPORTED, f, "reserved: is 1", &mut |e| compress(bert, text, &options, out, e));
        let method = KINGLET_COMPRESS_METHOD_TOKEN_CLASSIFIER;
        let options = kinglet_compress_options { method, ..default };
        refused_with(KINGLET_STATUS_UNSUPPORTED, f, "no head", &mut |e| compress(bert, text, &options, out, e));
        let options = kinglet_compress_options { cancellation: cancelled, ..default };
        refused_with(KINGLET_STATUS_CANCELLED, f, "cancelled", &mut |e| compress(bert, text, &options, out, e));
        assert_eq!(compression.addr(), OUT);

        let forced = [crate::calls::text("rain")];
        let options = kinglet_compress_options {
            ratio: 0.0,
            max_tokens: 12,
            keep_label: crate::calls::text("O"),
            force_tokens: forced.as_ptr(),
            force_token_count: 1,
            ..default
        };
        ok(|e| compress(classifier, text, &options, out, e));
        let view = check_filled!(
            "kinglet_compression_read",
            kinglet_compression_view,
            compression,
            "compression",
            |h, v, e| kinglet_compression_read(h, v, e)
        );
        assert_eq!((view.method, view.windows), (method, 1));
        assert!(view.tokens_after <= 12 && view.tokens_before > 20, "{} of {}", view.tokens_after, view.tokens_before);
        let kept = std::slice::from_raw_parts(view.kept, view.kept_count);
        let pieces: String = kept.iter().map(|span| &document[span.start..span.end]).collect();
        let spaces = |text: &str| text.replace([' ', '\n'], "");
        assert_eq!(spaces(&pieces), spaces(&read(view.text)));
        assert!(read(view.text).contains("rain"));
        kinglet_compression_free(compression);
        kinglet_compression_free(null_mut());
        kinglet_cancellation_free(cancelled);
        kinglet_model_free(classifier);
        kinglet_model_free(bert);
    }
}
