//! Texts to tokens, vectors, labels and back.

use std::ptr::{null, null_mut};

use kinglet::ffi::*;

use crate::calls::*;

pub const COVERS: &[&str] = &[
    "kinglet_classifications_read",
    "kinglet_embeddings_read",
    "kinglet_encoding_pad",
    "kinglet_encoding_read",
    "kinglet_hidden_states_read",
    "kinglet_model_classify",
    "kinglet_model_classify_tokens",
    "kinglet_model_detokenize",
    "kinglet_model_embed",
    "kinglet_model_hidden_states",
    "kinglet_model_score",
    "kinglet_model_tokenize",
    "kinglet_token_classifications_entity",
    "kinglet_token_classifications_read",
];

#[test]
fn tokenising() {
    let (bert, cancelled) = (load("bert"), cancelled());
    let texts = [text("a small bird"), text("")];
    let mut encoding = untouched();
    let f = "kinglet_model_tokenize";
    let t = texts.as_ptr();
    let out = &raw mut encoding;
    let tokenize = kinglet_model_tokenize;
    // SAFETY: what is wrong with each call is what it tests; the rest is valid.
    unsafe {
        refused(f, "model: is NULL", |e| tokenize(null(), t, null(), 2, null(), out, e));
        refused(f, "texts: is NULL", |e| tokenize(bert, null(), null(), 2, null(), out, e));
        refused(f, "texts: is empty", |e| tokenize(bert, t, null(), 0, null(), out, e));
        refused(f, "cannot be", |e| tokenize(bert, t, null(), usize::MAX, null(), out, e));
        refused(f, "encoding: is NULL", |e| tokenize(bert, t, null(), 2, null(), null_mut(), e));
        for (bad, says) in bad_strings() {
            let bad = [text("good"), bad];
            refused(f, says, |e| tokenize(bert, bad.as_ptr(), null(), 2, null(), out, e));
            refused(f, "pairs[1]", |e| tokenize(bert, t, bad.as_ptr(), 2, null(), out, e));
        }
        check_options!(
            "kinglet_model_tokenize",
            kinglet_tokenize_options,
            sized!(kinglet_tokenize_options),
            [add_special_tokens, offsets],
            |o, e| tokenize(bert, t, null(), 2, o, out, e)
        );
        let default = sized!(kinglet_tokenize_options);
        let options = kinglet_tokenize_options { max_length: 2, ..default };
        refused(f, "max_length: 2", |e| tokenize(bert, t, null(), 2, &options, out, e));
        let options = kinglet_tokenize_options { cancellation: cancelled, ..default };
        refused_with(KINGLET_STATUS_CANCELLED, f, "cancelled", &mut |e| tokenize(bert, t, null(), 2, &options, out, e));
        assert_eq!(encoding.addr(), OUT);
        ok(|e| tokenize(bert, t, null(), 2, null(), out, e));
        let view = check_filled!("kinglet_encoding_read", kinglet_encoding_view, encoding, "encoding", |h, v, e| {
            kinglet_encoding_read(h, v, e)
        });
        assert_eq!((view.count, view.offsets.is_null(), view.reserved), (2, true, 0));
        padding(encoding);
        kinglet_encoding_free(encoding);
        kinglet_cancellation_free(cancelled);
        kinglet_model_free(bert);
    }
}

fn padding(encoding: *const kinglet_encoding) {
    let (mut ids, mut mask) = (vec![9u32; 64], vec![9u32; 64]);
    let (i, m) = (ids.as_mut_ptr(), mask.as_mut_ptr());
    let f = "kinglet_encoding_pad";
    let pad = kinglet_encoding_pad;
    // SAFETY: what is wrong with each call is what it tests; the rest is valid.
    unsafe {
        refused(f, "encoding: is NULL", |e| pad(null(), 0, 0, i, m, 64, e));
        refused(f, "ids: is NULL", |e| pad(encoding, 0, 0, null_mut(), m, 64, e));
        refused(f, "attention_mask: is NULL", |e| pad(encoding, 0, 0, i, null_mut(), 64, e));
        refused(f, "attention_mask: is the same", |e| pad(encoding, 0, 0, i, i, 64, e));
        refused(f, "length: 1", |e| pad(encoding, 1, 0, i, m, 64, e));
        refused(f, "capacity: 3", |e| pad(encoding, 0, 0, i, m, 3, e));
        refused(f, "capacity", |e| pad(encoding, 0, 0, i, m, usize::MAX, e));
        refused(f, "capacity: 64", |e| pad(encoding, usize::MAX, 0, i, m, 64, e));
        assert!(ids.iter().chain(&mask).all(|&v| v == 9));
        ok(|e| pad(encoding, 0, 7, i, m, 64, e));
    }
    assert!(ids[0] != 9 && mask[0] == 1);
}

#[test]
fn detokenising() {
    let bert = load("bert");
    let mut made = untouched();
    let f = "kinglet_model_detokenize";
    let ids = [5u32, 6];
    let (i, out) = (ids.as_ptr(), &raw mut made);
    let detokenize = kinglet_model_detokenize;
    // SAFETY: what is wrong with each call is what it tests; the rest is valid.
    unsafe {
        refused(f, "model: is NULL", |e| detokenize(null(), i, 2, null(), out, e));
        refused(f, "ids: is NULL", |e| detokenize(bert, null(), 2, null(), out, e));
        refused(f, "ids: is empty", |e| detokenize(bert, i, 0, null(), out, e));
        refused(f, "text: is NULL", |e| detokenize(bert, i, 2, null(), null_mut(), e));
        refused(f, "ids[0]: 4000000000", |e| detokenize(bert, [4_000_000_000].as_ptr(), 1, null(), out, e));
        check_options!(
            "kinglet_model_detokenize",
            kinglet_detokenize_options,
            sized!(kinglet_detokenize_options),
            [skip_special_tokens],
            |o, e| detokenize(bert, i, 2, o, out, e)
        );
        let options = kinglet_detokenize_options { reserved: 1, ..sized!(kinglet_detokenize_options) };
        refused_with(KINGLET_STATUS_UNSUPPORTED, f, "reserved: is 1", &mut |e| {
            detokenize(bert, i, 2, &options, out, e)
        });
        assert_eq!(made.addr(), OUT);
        // [CLS] is left out unless it is asked for.
        let no = kinglet_detokenize_options {
            skip_special_tokens: KINGLET_TRISTATE_NO,
            ..sized!(kinglet_detokenize_options)
        };
        for (options, shown) in [(null(), false), (&raw const no, true)] {
            ok(|e| detokenize(bert, [2u32, 53].as_ptr(), 2, options, out, e));
            assert_eq!(read(kinglet_text_str(made)).contains("[CLS]"), shown);
            kinglet_text_free(made);
        }
        kinglet_model_free(bert);
    }
}

#[test]
fn embedding() {
    let (bert, cancelled) = (load("bert"), cancelled());
    let texts = [text("a small bird"), text("")];
    let mut embeddings = untouched();
    let f = "kinglet_model_embed";
    let (t, out) = (texts.as_ptr(), &raw mut embeddings);
    let embed = kinglet_model_embed;
    // SAFETY: what is wrong with each call is what it tests; the rest is valid.
    unsafe {
        refused(f, "model: is NULL", |e| embed(null(), t, 2, null(), out, e));
        refused(f, "texts: is NULL", |e| embed(bert, null(), 2, null(), out, e));
        refused(f, "texts: is empty", |e| embed(bert, t, 0, null(), out, e));
        refused(f, "embeddings: is NULL", |e| embed(bert, t, 2, null(), null_mut(), e));
        for (bad, says) in bad_strings() {
            refused(f, says, |e| embed(bert, &bad, 1, null(), out, e));
        }
        check_options!(
            "kinglet_model_embed",
            kinglet_embed_options,
            sized!(kinglet_embed_options),
            [pooling, normalize],
            |o, e| embed(bert, t, 2, o, out, e)
        );
        for (bad, says) in bad_strings() {
            let options = kinglet_embed_options { prompt: bad, ..sized!(kinglet_embed_options) };
            refused(f, says, |e| embed(bert, t, 2, &options, out, e));
            let options = kinglet_embed_options { prompt_name: bad, ..sized!(kinglet_embed_options) };
            refused(f, says, |e| embed(bert, t, 2, &options, out, e));
        }
        let options = kinglet_embed_options { prompt_name: text("passage"), ..sized!(kinglet_embed_options) };
        refused(f, "prompt_name: `passage` is unknown", |e| embed(bert, t, 2, &options, out, e));
        let options = kinglet_embed_options { cancellation: cancelled, ..sized!(kinglet_embed_options) };
        refused_with(KINGLET_STATUS_CANCELLED, f, "cancelled", &mut |e| embed(bert, t, 2, &options, out, e));
        assert_eq!(embeddings.addr(), OUT);
        ok(|e| embed(bert, t, 2, null(), out, e));
        let view =
            check_filled!("kinglet_embeddings_read", kinglet_embeddings_view, embeddings, "embeddings", |h, v, e| {
                kinglet_embeddings_read(h, v, e)
            });
        assert_eq!((view.count, view.dimension, view.row_count), (2, 32, 2));
        assert_eq!((kinglet_embeddings_count(embeddings), kinglet_embeddings_dimension(embeddings)), (2, 32));
        assert_eq!(kinglet_embeddings_vector(embeddings, 0), view.values);
        assert_eq!(kinglet_embeddings_vector(embeddings, 1), view.values.add(32));
        for row in [2, 3, usize::MAX, usize::MAX / 32 + 1] {
            assert!(kinglet_embeddings_vector(embeddings, row).is_null());
        }
        kinglet_embeddings_free(embeddings);
        kinglet_cancellation_free(cancelled);
        kinglet_model_free(bert);
    }
}

#[test]
fn hidden_states() {
    let (bert, cancelled) = (load("bert"), cancelled());
    let mut states = untouched();
    let f = "kinglet_model_hidden_states";
    let (ids, lengths) = ([5u32, 6, 7], [2usize, 1]);
    let (i, l, out) = (ids.as_ptr(), lengths.as_ptr(), &raw mut states);
    // SAFETY: what is wrong with each call is what it tests; the rest is valid.
    unsafe {
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
        let with = |o, e| kinglet_model_hidden_states(bert, i, null(), 3, l, 2, o, out, e);
        check_options!(
            "kinglet_model_hidden_states",
            kinglet_hidden_states_options,
            sized!(kinglet_hidden_states_options),
            [],
            with
        );
        let options =
            kinglet_hidden_states_options { cancellation: cancelled, ..sized!(kinglet_hidden_states_options) };
        refused_with(KINGLET_STATUS_CANCELLED, f, "cancelled", &mut |e| with(&options, e));
        assert_eq!(states.addr(), OUT);
        ok(|e| call(bert, i, null(), 3, l, 2, out, e));
        let view =
            check_filled!("kinglet_hidden_states_read", kinglet_hidden_states_view, states, "states", |h, v, e| {
                kinglet_hidden_states_read(h, v, e)
            });
        assert_eq!((view.count, view.token_count, view.dimension), (2, 3, 32));
        kinglet_hidden_states_free(states);
        kinglet_cancellation_free(cancelled);
        kinglet_model_free(bert);
    }
}

#[test]
fn classifying() {
    let bert = load("bert");
    let (classifier, encoder) = (load("bert-classifier"), load("roberta-cross-encoder"));
    let texts = [text("a small bird"), text("")];
    let mut scores = untouched();
    let (t, out) = (texts.as_ptr(), &raw mut scores);
    let (classify, score) = (kinglet_model_classify, kinglet_model_score);
    // SAFETY: what is wrong with each call is what it tests; the rest is valid.
    unsafe {
        let f = "kinglet_model_classify";
        refused(f, "model: is NULL", |e| classify(null(), t, null(), 2, null(), out, e));
        refused(f, "texts: is NULL", |e| classify(classifier, null(), null(), 2, null(), out, e));
        refused(f, "texts: is empty", |e| classify(classifier, t, null(), 0, null(), out, e));
        refused(f, "classifications: is NULL", |e| classify(classifier, t, null(), 2, null(), null_mut(), e));
        refused_with(KINGLET_STATUS_UNSUPPORTED, f, "no head", &mut |e| classify(bert, t, null(), 2, null(), out, e));
        let f = "kinglet_model_score";
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
        let default = sized!(kinglet_classify_options);
        check_options!("kinglet_model_classify", kinglet_classify_options, default, [function, aggregation], |o, e| {
            classify(classifier, t, null(), 2, o, out, e)
        });
        check_options!(
            "kinglet_model_score",
            kinglet_classify_options,
            default,
            [function, aggregation],
            |o, e| score(encoder, t, t, 2, o, out, e)
        );
        for aggregation in [KINGLET_AGGREGATION_NONE, KINGLET_AGGREGATION_SIMPLE] {
            let options = kinglet_classify_options { aggregation, ..default };
            let says = "options.aggregation: is only for kinglet_model_classify_tokens";
            refused(f, says, |e| score(encoder, t, t, 2, &options, out, e));
            refused("kinglet_model_classify", says, |e| classify(classifier, t, null(), 2, &options, out, e));
        }
        assert_eq!(scores.addr(), OUT);
        ok(|e| score(encoder, t, t, 2, null(), out, e));
        let view = check_filled!(
            "kinglet_classifications_read",
            kinglet_classifications_view,
            scores,
            "classifications",
            |h, v, e| kinglet_classifications_read(h, v, e)
        );
        assert_eq!((view.count, view.label_count, kinglet_classifications_count(scores)), (2, 1, 2));
        assert_eq!(kinglet_classifications_scores(scores, 1), view.scores.add(1));
        assert!(kinglet_classifications_scores(scores, 2).is_null());
        kinglet_classifications_free(scores);
        [bert, classifier, encoder].into_iter().for_each(|model| kinglet_model_free(model));
    }
}

#[test]
fn token_classification() {
    let (bert, tagger) = (load("bert"), load("bert-token-classifier"));
    let texts = [text("a small bird"), text("")];
    let mut tagged = untouched();
    let (t, out) = (texts.as_ptr(), &raw mut tagged);
    let f = "kinglet_model_classify_tokens";
    let tag = kinglet_model_classify_tokens;
    // SAFETY: what is wrong with each call is what it tests; the rest is valid.
    unsafe {
        refused(f, "model: is NULL", |e| tag(null(), t, 2, null(), out, e));
        refused(f, "texts: is NULL", |e| tag(tagger, null(), 2, null(), out, e));
        refused(f, "texts: is empty", |e| tag(tagger, t, 0, null(), out, e));
        refused(f, "classifications: is NULL", |e| tag(tagger, t, 2, null(), null_mut(), e));
        for (bad, says) in bad_strings() {
            refused(f, says, |e| tag(tagger, &bad, 1, null(), out, e));
        }
        refused_with(KINGLET_STATUS_UNSUPPORTED, f, "no head", &mut |e| tag(bert, t, 2, null(), out, e));
        let default = sized!(kinglet_classify_options);
        check_options!(
            "kinglet_model_classify_tokens",
            kinglet_classify_options,
            default,
            [function, aggregation],
            |o, e| tag(tagger, t, 2, o, out, e)
        );
        assert_eq!(tagged.addr(), OUT);
        let mut counts = [0; 3];
        let choices = [KINGLET_AGGREGATION_AUTO, KINGLET_AGGREGATION_SIMPLE, KINGLET_AGGREGATION_NONE];
        for (aggregation, entities) in choices.into_iter().zip(&mut counts) {
            let options = kinglet_classify_options { aggregation, ..default };
            ok(|e| tag(tagger, t, 2, &options, out, e));
            let view = check_filled!(
                "kinglet_token_classifications_read",
                kinglet_token_classifications_view,
                tagged,
                "classifications",
                |h, v, e| kinglet_token_classifications_read(h, v, e)
            );
            assert_eq!((view.count, view.label_count), (2, 5));
            for index in 0..view.entity_count {
                let entity = check_filled!(
                    "kinglet_token_classifications_entity",
                    kinglet_entity,
                    tagged,
                    "classifications",
                    |h, v, e| kinglet_token_classifications_entity(h, index, v, e)
                );
                assert!(entity.text < 2 && entity.start < entity.end && entity.name.size > 0 && entity.label < 5);
            }
            let mut entity = sized!(kinglet_entity);
            let (count, says) = (view.entity_count, format!("index: {} is not below", view.entity_count));
            refused("kinglet_token_classifications_entity", &says, |e| {
                kinglet_token_classifications_entity(tagged, count, &mut entity, e)
            });
            *entities = count;
            kinglet_token_classifications_free(tagged);
        }
        assert!(counts[0] > 0 && counts[0] == counts[1] && counts[1] <= counts[2], "{counts:?}");
        [bert, tagger].into_iter().for_each(|model| kinglet_model_free(model));
    }
}
