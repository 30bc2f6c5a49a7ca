//! Requests: calls in the background.

use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use kinglet::ffi::*;

use crate::calls::*;

pub const COVERS: &[&str] = &[
    "kinglet_model_submit_classify",
    "kinglet_model_submit_classify_tokens",
    "kinglet_model_submit_embed",
    "kinglet_model_submit_generate",
    "kinglet_model_submit_score",
    "kinglet_request_cancel",
    "kinglet_request_free",
    "kinglet_request_take_classifications",
    "kinglet_request_take_embeddings",
    "kinglet_request_take_generations",
    "kinglet_request_take_token_classifications",
    "kinglet_request_wait",
];

extern "C" fn count(user_data: *mut c_void) {
    // SAFETY: `user_data` is a counter that lives until all requests are done.
    unsafe { &*user_data.cast::<AtomicUsize>() }.fetch_add(1, SeqCst);
}

#[test]
fn requests_give_what_calls_give() {
    let model = load("bert");
    let texts = [text("a small bird"), text("sings")];
    let calls = AtomicUsize::new(0);
    let seen = std::ptr::from_ref(&calls).cast_mut().cast();
    let (t, f) = (texts.as_ptr(), "kinglet_model_submit_embed");
    let mut request = untouched();
    let submit = kinglet_model_submit_embed;
    // SAFETY: what is wrong with each call is what it tests; the rest is valid.
    unsafe {
        let out = &raw mut request;
        refused(f, "model: is NULL", |e| submit(null(), t, 2, null(), None, null_mut(), out, e));
        refused(f, "texts: is NULL", |e| submit(model, null(), 2, null(), None, null_mut(), out, e));
        refused(f, "request: is NULL", |e| submit(model, t, 2, null(), None, null_mut(), null_mut(), e));
        let bad = kinglet_embed_options { priority: 77, ..sized!(kinglet_embed_options) };
        refused(f, "options.priority: 77", |e| submit(model, t, 2, &bad, None, null_mut(), out, e));
        assert_eq!(request.addr(), OUT);

        let (mut embeddings, mut alone) = (untouched(), null_mut());
        ok(|e| submit(model, t, 2, null(), Some(count), seen, out, e));
        assert_eq!(kinglet_request_wait(request, u64::MAX), 1);
        let (f, take) = ("kinglet_request_take_embeddings", kinglet_request_take_embeddings);
        refused(f, "request: is NULL", |e| take(null_mut(), &mut embeddings, e));
        refused(f, "embeddings: is NULL", |e| take(request, null_mut(), e));
        let (mut classifications, mut generations) = (untouched(), untouched());
        let f = "kinglet_request_take_classifications";
        refused(f, "request: is NULL", |e| kinglet_request_take_classifications(null_mut(), &mut classifications, e));
        refused(f, "classifications: is NULL", |e| kinglet_request_take_classifications(request, null_mut(), e));
        refused(f, "submit_embed", |e| kinglet_request_take_classifications(request, &mut classifications, e));
        let f = "kinglet_request_take_generations";
        refused(f, "request: is NULL", |e| kinglet_request_take_generations(null_mut(), &mut generations, e));
        refused(f, "generations: is NULL", |e| kinglet_request_take_generations(request, null_mut(), e));
        refused(f, "submit_embed", |e| kinglet_request_take_generations(request, &mut generations, e));
        ok(|e| take(request, &mut embeddings, e));
        let mut none = null_mut();
        refused("kinglet_request_take_embeddings", "taken before", |e| take(request, &mut none, e));
        ok(|e| kinglet_model_embed(model, t, 2, null(), &mut alone, e));
        for i in 0..2 {
            let row = |e| std::slice::from_raw_parts(kinglet_embeddings_vector(e, i), 32);
            assert_eq!(row(embeddings), row(alone));
        }
        kinglet_embeddings_free(embeddings);
        kinglet_embeddings_free(alone);
        kinglet_request_free(request);

        // The error of the call comes with the result.
        let bad = kinglet_embed_options { prompt_name: text("passage"), ..sized!(kinglet_embed_options) };
        ok(|e| submit(model, t, 2, &bad, Some(count), seen, out, e));
        assert_eq!(kinglet_request_wait(request, u64::MAX), 1);
        let mut error = null_mut();
        assert_eq!(take(request, &mut none, &mut error), KINGLET_STATUS_INVALID_ARGUMENT);
        kinglet_error_free(error);
        kinglet_request_free(request);

        // The request keeps the model; freed before it is done, it is cancelled and still calls back.
        ok(|e| submit(model, t, 2, null(), Some(count), seen, out, e));
        kinglet_model_free(model);
        kinglet_request_cancel(request);
        kinglet_request_free(request);
        kinglet_request_free(null_mut());
        kinglet_request_cancel(null());
        assert_eq!(kinglet_request_wait(null(), 0), 0);
        while calls.load(SeqCst) < 3 {
            std::thread::yield_now();
        }
    }
}

#[test]
fn requests_classify_and_generate() {
    let (classifier, writer) = (load("bert-classifier"), load("generation/gpt2"));
    let texts = [text("a small bird")];
    let (t, mut request) = (texts.as_ptr(), untouched());
    // SAFETY: what is wrong with each call is what it tests; the rest is valid.
    unsafe {
        let (f, submit, out) = ("kinglet_model_submit_classify", kinglet_model_submit_classify, &raw mut request);
        refused(f, "model: is NULL", |e| submit(null(), t, null(), 1, null(), None, null_mut(), out, e));
        refused(f, "texts: is NULL", |e| submit(classifier, null(), null(), 1, null(), None, null_mut(), out, e));
        refused(f, "request: is NULL", |e| submit(classifier, t, null(), 1, null(), None, null_mut(), null_mut(), e));
        ok(|e| submit(classifier, t, t, 1, null(), None, null_mut(), out, e));
        while kinglet_request_wait(request, 1) == 0 {}
        let mut classifications = null_mut();
        ok(|e| kinglet_request_take_classifications(request, &mut classifications, e));
        assert_eq!(kinglet_classifications_count(classifications), 1);
        kinglet_classifications_free(classifications);
        kinglet_request_free(request);

        request = untouched();
        let (f, submit, out) = ("kinglet_model_submit_generate", kinglet_model_submit_generate, &raw mut request);
        let options = kinglet_generate_options { max_new_tokens: 4, ignore_eos: 1, ..generate_options() };
        refused(f, "model: is NULL", |e| submit(null(), t, 1, &options, None, null_mut(), out, e));
        refused(f, "texts: is NULL", |e| submit(writer, null(), 1, &options, None, null_mut(), out, e));
        refused(f, "request: is NULL", |e| submit(writer, t, 1, &options, None, null_mut(), null_mut(), e));
        ok(|e| submit(writer, t, 1, &options, None, null_mut(), out, e));
        let mut none = null_mut();
        let mut error = null_mut();
        if kinglet_request_take_generations(request, &mut none, &mut error) == KINGLET_STATUS_OK {
            kinglet_generations_free(none);
        } else {
            kinglet_error_free(error);
            assert_eq!(kinglet_request_wait(request, u64::MAX), 1);
            let mut generations = null_mut();
            ok(|e| kinglet_request_take_generations(request, &mut generations, e));
            assert!(!read(kinglet_generations_text(generations, 0)).is_empty());
            kinglet_generations_free(generations);
        }
        kinglet_request_free(request);
        kinglet_model_free(classifier);
        kinglet_model_free(writer);
    }
}

#[test]
fn requests_score_and_classify_tokens() {
    let (scorer, tagger) = (load("roberta-cross-encoder"), load("bert-token-classifier"));
    let (queries, documents) = ([text("what flies?"), text("a")], [text("a small bird"), text("a")]);
    let (q, d, mut request) = (queries.as_ptr(), documents.as_ptr(), untouched());
    // SAFETY: what is wrong with each call is what it tests; the rest is valid.
    unsafe {
        let (f, submit, out) = ("kinglet_model_submit_score", kinglet_model_submit_score, &raw mut request);
        refused(f, "model: is NULL", |e| submit(null(), q, d, 2, null(), None, null_mut(), out, e));
        refused(f, "queries: is NULL", |e| submit(scorer, null(), d, 2, null(), None, null_mut(), out, e));
        refused(f, "documents: is NULL", |e| submit(scorer, q, null(), 2, null(), None, null_mut(), out, e));
        refused(f, "request: is NULL", |e| submit(scorer, q, d, 2, null(), None, null_mut(), null_mut(), e));
        let entities = kinglet_classify_options { aggregation: 1, ..sized!(kinglet_classify_options) };
        refused(f, "options.aggregation", |e| submit(scorer, q, d, 2, &entities, None, null_mut(), out, e));
        ok(|e| submit(scorer, q, d, 2, null(), None, null_mut(), out, e));
        assert_eq!(kinglet_request_wait(request, u64::MAX), 1);
        let (f, take) = ("kinglet_request_take_token_classifications", kinglet_request_take_token_classifications);
        let mut tokens = untouched();
        refused(f, "request: is NULL", |e| take(null_mut(), &mut tokens, e));
        refused(f, "classifications: is NULL", |e| take(request, null_mut(), e));
        refused(f, "submit_score", |e| take(request, &mut tokens, e));
        let (mut scores, mut alone) = (null_mut(), null_mut());
        ok(|e| kinglet_request_take_classifications(request, &mut scores, e));
        ok(|e| kinglet_model_score(scorer, q, d, 2, null(), &mut alone, e));
        for i in 0..2 {
            assert_eq!(*kinglet_classifications_scores(scores, i), *kinglet_classifications_scores(alone, i));
        }
        kinglet_classifications_free(scores);
        kinglet_classifications_free(alone);
        kinglet_request_free(request);

        request = untouched();
        let (f, submit, out) =
            ("kinglet_model_submit_classify_tokens", kinglet_model_submit_classify_tokens, &raw mut request);
        refused(f, "model: is NULL", |e| submit(null(), d, 2, null(), None, null_mut(), out, e));
        refused(f, "texts: is NULL", |e| submit(tagger, null(), 2, null(), None, null_mut(), out, e));
        refused(f, "request: is NULL", |e| submit(tagger, d, 2, null(), None, null_mut(), null_mut(), e));
        ok(|e| submit(tagger, d, 2, &entities, None, null_mut(), out, e));
        assert_eq!(kinglet_request_wait(request, u64::MAX), 1);
        let (mut tokens, mut alone) = (null_mut(), null_mut());
        ok(|e| take(request, &mut tokens, e));
        ok(|e| kinglet_model_classify_tokens(tagger, d, 2, &entities, &mut alone, e));
        let read = |classifications| {
            let mut view = sized!(kinglet_token_classifications_view);
            ok(|e| kinglet_token_classifications_read(classifications, &mut view, e));
            (view.entity_count, std::slice::from_raw_parts(view.scores, view.token_count * view.label_count))
        };
        assert_eq!(read(tokens), read(alone));
        kinglet_token_classifications_free(tokens);
        kinglet_token_classifications_free(alone);
        kinglet_request_free(request);
        kinglet_model_free(scorer);
        kinglet_model_free(tagger);
    }
}
