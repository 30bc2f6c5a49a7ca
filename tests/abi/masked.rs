//! Sparse embeddings, masks and zero-shot classification.

use std::ptr::{null, null_mut};

use kinglet::ffi::*;

use crate::calls::*;

pub const COVERS: &[&str] = &[
    "kinglet_mask_fills_fill",
    "kinglet_mask_fills_read",
    "kinglet_model_classify_zero_shot",
    "kinglet_model_fill_mask",
    "kinglet_model_sparse_embed",
    "kinglet_sparse_embeddings_read",
    "kinglet_zero_shot_results_read",
];

#[test]
fn sparse_embeddings() {
    const F: &str = "kinglet_model_sparse_embed";
    let (model, plain) = (load("tasks/splade"), load("bert"));
    let texts = [text("a small bird"), text("")];
    let (embed, t) = (kinglet_model_sparse_embed, texts.as_ptr());
    let mut embeddings = untouched();
    let out = &raw mut embeddings;
    let default = sized!(kinglet_sparse_options);
    // SAFETY: what is wrong with each call is what it tests; the rest is valid.
    unsafe {
        refused(F, "model: is NULL", |e| embed(null(), t, 2, null(), out, e));
        refused(F, "texts: is NULL", |e| embed(model, null(), 2, null(), out, e));
        refused(F, "texts: is empty", |e| embed(model, t, 0, null(), out, e));
        refused(F, "embeddings: is NULL", |e| embed(model, t, 2, null(), null_mut(), e));
        refused_with(KINGLET_STATUS_UNSUPPORTED, F, "ForMaskedLM", &mut |e| embed(plain, t, 2, null(), out, e));
        for (bad, says) in bad_strings() {
            refused(F, says, |e| embed(model, &bad, 1, null(), out, e));
            for options in [
                kinglet_sparse_options { prompt: bad, ..default },
                kinglet_sparse_options { prompt_name: bad, ..default },
            ] {
                refused(F, "options.prompt", |e| embed(model, t, 2, &options, out, e));
            }
        }
        check_options!("kinglet_model_sparse_embed", kinglet_sparse_options, default, [priority], |o, e| embed(
            model, t, 2, o, out, e
        ));
        let stop = kinglet_sparse_options { cancellation: cancelled(), ..default };
        refused_with(KINGLET_STATUS_CANCELLED, F, "", &mut |e| embed(model, t, 2, &stop, out, e));
        kinglet_cancellation_free(stop.cancellation.cast_mut());
        assert_eq!(embeddings.addr(), OUT);

        for (most, counts) in [(3, [3, 3]), (0, [20, 20])] {
            let options = kinglet_sparse_options { max_active_dims: most, ..default };
            ok(|e| embed(model, t, 2, &options, out, e));
            let view = check_filled!(
                "kinglet_sparse_embeddings_read",
                kinglet_sparse_embeddings_view,
                embeddings,
                "embeddings",
                |h, v, e| kinglet_sparse_embeddings_read(h, v, e)
            );
            assert_eq!((view.count, view.dimension), (2, 300));
            let starts = std::slice::from_raw_parts(view.starts, 3);
            assert_eq!([starts[1] - starts[0], starts[2] - starts[1]], counts);
            let indices = std::slice::from_raw_parts(view.indices, starts[1]);
            assert!(indices.is_sorted_by(|a, b| a < b) && *view.weights > 0.0);
            assert_eq!((*view.token_counts.add(1), *view.truncated), (2, 0));
            kinglet_sparse_embeddings_free(embeddings);
        }
        [model, plain].into_iter().for_each(|model| kinglet_model_free(model));
    }
}

#[test]
fn masks() {
    const F: &str = "kinglet_model_fill_mask";
    const FILL: &str = "kinglet_mask_fills_fill";
    let model = load("tasks/bert");
    let texts = [text("a [MASK] bird"), text("[MASK] and [MASK]")];
    let (fill_mask, t) = (kinglet_model_fill_mask, texts.as_ptr());
    let mut fills = untouched();
    let out = &raw mut fills;
    let default = sized!(kinglet_fill_mask_options);
    // SAFETY: what is wrong with each call is what it tests; the rest is valid.
    unsafe {
        refused(F, "model: is NULL", |e| fill_mask(null(), t, 2, null(), out, e));
        refused(F, "texts: is NULL", |e| fill_mask(model, null(), 2, null(), out, e));
        refused(F, "texts: is empty", |e| fill_mask(model, t, 0, null(), out, e));
        refused(F, "fills: is NULL", |e| fill_mask(model, t, 2, null(), null_mut(), e));
        refused(F, "texts[0]: has no mask token ([MASK])", |e| fill_mask(model, &text("bird"), 1, null(), out, e));
        let nowhere = kinglet_fill_mask_options { target_count: 1, ..default };
        refused(F, "options.targets: is NULL", |e| fill_mask(model, t, 2, &nowhere, out, e));
        for (bad, says) in bad_strings() {
            refused(F, says, |e| fill_mask(model, &bad, 1, null(), out, e));
            let options = kinglet_fill_mask_options { targets: &bad, target_count: 1, ..default };
            refused(F, "options.targets[0]", |e| fill_mask(model, t, 2, &options, out, e));
        }
        check_options!("kinglet_model_fill_mask", kinglet_fill_mask_options, default, [priority], |o, e| fill_mask(
            model, t, 2, o, out, e
        ));
        assert_eq!(fills.addr(), OUT);

        let targets = [text("river"), text("bird")];
        for (targets, target_count, top_k, found) in [(null(), 0, 0, 5), (null(), 0, 3, 3), (targets.as_ptr(), 2, 0, 2)]
        {
            let options = kinglet_fill_mask_options { targets, target_count, top_k, ..default };
            ok(|e| fill_mask(model, t, 2, &options, out, e));
            let view = check_filled!("kinglet_mask_fills_read", kinglet_mask_fills_view, fills, "fills", |h, v, e| {
                kinglet_mask_fills_read(h, v, e)
            });
            assert_eq!((view.count, view.mask_count, view.top_k), (2, 3, found));
            assert_eq!(std::slice::from_raw_parts(view.starts, 3), [0, 1, 3]);
            let mut fill = sized!(kinglet_mask_fill);
            refused(FILL, "mask: 3 is not below 3", |e| kinglet_mask_fills_fill(fills, 3, 0, &mut fill, e));
            refused(FILL, "rank: 5 is not below", |e| kinglet_mask_fills_fill(fills, 0, 5, &mut fill, e));
            let fill = check_filled!("kinglet_mask_fills_fill", kinglet_mask_fill, fills, "fills", |h, v, e| {
                kinglet_mask_fills_fill(h, 0, 0, v, e)
            });
            assert!(fill.score > 0.0 && (fill.token as usize) < 300);
            let (token, sequence) = (read(fill.token_text), read(fill.sequence));
            assert!(!token.is_empty() && sequence.ends_with("bird") && !sequence.contains("[MASK]"), "{sequence}");
            kinglet_mask_fills_free(fills);
        }
        kinglet_model_free(model);
    }
}

#[test]
fn zero_shot_classification() {
    const F: &str = "kinglet_model_classify_zero_shot";
    let (model, other) = (load("tasks/nli"), load("bert-classifier"));
    let texts = [text("a small bird"), text("the train to Paris")];
    let labels = [text("birds"), text("trains"), text("money")];
    let (classify, t, l) = (kinglet_model_classify_zero_shot, texts.as_ptr(), labels.as_ptr());
    let mut results = untouched();
    let out = &raw mut results;
    let default = sized!(kinglet_zero_shot_options);
    // SAFETY: what is wrong with each call is what it tests; the rest is valid.
    unsafe {
        refused(F, "model: is NULL", |e| classify(null(), t, 2, l, 3, null(), out, e));
        refused(F, "texts: is NULL", |e| classify(model, null(), 2, l, 3, null(), out, e));
        refused(F, "texts: is empty", |e| classify(model, t, 0, l, 3, null(), out, e));
        refused(F, "labels: is NULL", |e| classify(model, t, 2, null(), 3, null(), out, e));
        refused(F, "labels: is empty", |e| classify(model, t, 2, l, 0, null(), out, e));
        refused(F, "labels[0]: is empty", |e| classify(model, t, 2, &text(""), 1, null(), out, e));
        refused(F, "results: is NULL", |e| classify(model, t, 2, l, 3, null(), null_mut(), e));
        refused_with(KINGLET_STATUS_UNSUPPORTED, F, "NEGATIVE", &mut |e| classify(other, t, 2, l, 3, null(), out, e));
        for (bad, says) in bad_strings() {
            refused(F, says, |e| classify(model, &bad, 1, l, 3, null(), out, e));
            refused(F, "labels[0]", |e| classify(model, t, 2, &bad, 1, null(), out, e));
            let options = kinglet_zero_shot_options { hypothesis_template: bad, ..default };
            refused(F, "options.hypothesis_template", |e| classify(model, t, 2, l, 3, &options, out, e));
        }
        let template = kinglet_zero_shot_options { hypothesis_template: text("about"), ..default };
        refused(F, "hypothesis_template: `about`", |e| classify(model, t, 2, l, 3, &template, out, e));
        check_options!(
            "kinglet_model_classify_zero_shot",
            kinglet_zero_shot_options,
            default,
            [priority, multi_label],
            |o, e| classify(model, t, 2, l, 3, o, out, e)
        );
        let reserved = kinglet_zero_shot_options { reserved: 1, ..default };
        refused_with(KINGLET_STATUS_UNSUPPORTED, F, "options.reserved: is 1", &mut |e| {
            classify(model, t, 2, l, 3, &reserved, out, e)
        });
        assert_eq!(results.addr(), OUT);

        for multi_label in [0, 1] {
            let options = kinglet_zero_shot_options { multi_label, ..default };
            ok(|e| classify(model, t, 2, l, 3, &options, out, e));
            let view = check_filled!(
                "kinglet_zero_shot_results_read",
                kinglet_zero_shot_results_view,
                results,
                "results",
                |h, v, e| kinglet_zero_shot_results_read(h, v, e)
            );
            assert_eq!((view.count, view.label_count), (2, 3));
            for text in 0..2 {
                let mut order = std::slice::from_raw_parts(view.labels.add(3 * text), 3).to_vec();
                let scores = std::slice::from_raw_parts(view.scores.add(3 * text), 3);
                assert!(scores.is_sorted_by(|a, b| a >= b));
                assert_eq!((scores.iter().sum::<f32>() - 1.0).abs() < 1e-5, multi_label == 0);
                order.sort();
                assert_eq!(order, [0, 1, 2]);
                assert!(*view.token_counts.add(text) > 20 && *view.truncated.add(text) == 0);
            }
            kinglet_zero_shot_results_free(results);
        }
        [model, other].into_iter().for_each(|model| kinglet_model_free(model));
    }
}
