//! Batch sizes: what they are suggested for, and what makes no sense.

use std::ptr::{null, null_mut};

use kinglet::ffi::*;

use crate::calls::*;

pub const COVERS: &[&str] =
    &["kinglet_batch_suggestion_free", "kinglet_batch_suggestion_read", "kinglet_model_suggest_batch_size"];

const F: &str = "kinglet_model_suggest_batch_size";

fn workload(input_tokens: f64, output_tokens: usize) -> kinglet_workload {
    kinglet_workload { input_tokens, output_tokens, ..sized!(kinglet_workload) }
}

/// What is suggested, and why.
fn suggest(
    model: *const kinglet_model,
    workload: &kinglet_workload,
    options: &kinglet_suggest_batch_size_options,
) -> (kinglet_batch_suggestion_view, String) {
    let (mut made, mut view) = (null_mut(), sized!(kinglet_batch_suggestion_view));
    // SAFETY: valid arguments; what was made is freed once.
    unsafe {
        ok(|e| kinglet_model_suggest_batch_size(model, workload, options, &mut made, e));
        ok(|e| kinglet_batch_suggestion_read(made, &mut view, e));
        let explanation = read(view.explanation);
        kinglet_batch_suggestion_free(made);
        (view, explanation)
    }
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let (bert, cancelled) = (load("bert"), cancelled());
    let reads = workload(12.0, 0);
    let mut made = untouched();
    let out = &raw mut made;
    let default =
        kinglet_suggest_batch_size_options { skip_calibration: 1, ..sized!(kinglet_suggest_batch_size_options) };
    let suggest = kinglet_model_suggest_batch_size;
    // SAFETY: what is wrong with each call is what it tests; the rest is valid.
    unsafe {
        refused(F, "model: is NULL", |e| suggest(null(), &reads, &default, out, e));
        refused(F, "workload: is NULL", |e| suggest(bert, null(), &default, out, e));
        refused(F, "suggestion: is NULL", |e| suggest(bert, &reads, &default, null_mut(), e));
        check_options!(
            "kinglet_model_suggest_batch_size",
            kinglet_suggest_batch_size_options,
            default,
            [goal, skip_calibration],
            |o, e| suggest(bert, &reads, o, out, e)
        );
        check_options!("kinglet_model_suggest_batch_size", kinglet_workload, reads, [], |w, e| {
            suggest(bert, w, &default, out, e)
        });
        for (wrong, says) in [
            (workload(0.0, 0), "input_tokens: 0"),
            (workload(f64::NAN, 0), "input_tokens: NaN"),
            (workload(f64::INFINITY, 0), "input_tokens: inf"),
            (kinglet_workload { input_spread: -1.0, ..reads }, "input_spread: -1"),
        ] {
            refused(F, says, |e| suggest(bert, &wrong, &default, out, e));
            // Also without options, and before the model is run.
            refused(F, says, |e| suggest(bert, &wrong, null(), out, e));
        }
        for (wrong, says) in [
            (
                kinglet_suggest_batch_size_options { goal: KINGLET_BATCH_GOAL_LATENCY, ..default },
                "options.latency_ms: 0",
            ),
            (kinglet_suggest_batch_size_options { latency_ms: 5.0, ..default }, "options.latency_ms: is set"),
            (kinglet_suggest_batch_size_options { latency_ms: f64::NAN, ..default }, "options.latency_ms: is set"),
            (
                kinglet_suggest_batch_size_options { goal: KINGLET_BATCH_GOAL_MEMORY, ..default },
                "options.memory_bytes: 0",
            ),
            (kinglet_suggest_batch_size_options { memory_bytes: 5, ..default }, "options.memory_bytes: is set"),
        ] {
            refused(F, says, |e| suggest(bert, &reads, &wrong, out, e));
        }
        for latency_ms in [f64::NAN, f64::INFINITY, -1.0] {
            let wrong = kinglet_suggest_batch_size_options { goal: KINGLET_BATCH_GOAL_LATENCY, latency_ms, ..default };
            refused(F, "options.latency_ms: ", |e| suggest(bert, &reads, &wrong, out, e));
        }
        let wrong = kinglet_suggest_batch_size_options { reserved: 1, ..default };
        refused_with(KINGLET_STATUS_UNSUPPORTED, F, "reserved: is 1", &mut |e| suggest(bert, &reads, &wrong, out, e));
        for (bad, says) in bad_strings() {
            let wrong = kinglet_suggest_batch_size_options { calibration_file: bad, ..default };
            refused(F, "options.calibration_file", |e| suggest(bert, &reads, &wrong, out, e));
            refused(F, says, |e| suggest(bert, &reads, &wrong, out, e));
        }
        let writes = workload(12.0, 4);
        for options in [&raw const default, null()] {
            refused_with(KINGLET_STATUS_UNSUPPORTED, F, "generates no text", &mut |e| {
                suggest(bert, &writes, options, out, e)
            });
        }
        let wrong = kinglet_suggest_batch_size_options { cancellation: cancelled, ..default };
        refused_with(KINGLET_STATUS_CANCELLED, F, "cancelled", &mut |e| suggest(bert, &reads, &wrong, out, e));
        assert_eq!(made.addr(), OUT);
        ok(|e| suggest(bert, &reads, &default, out, e));
        let view = check_filled!(
            "kinglet_batch_suggestion_read",
            kinglet_batch_suggestion_view,
            made,
            "suggestion",
            |h, v, e| kinglet_batch_suggestion_read(h, v, e)
        );
        assert!(view.batch_size >= 1 && view.reserved == 0 && read(view.explanation).contains("assumed speeds"));
        kinglet_batch_suggestion_free(made);
        kinglet_batch_suggestion_free(null_mut());
        kinglet_cancellation_free(cancelled);
        kinglet_model_free(bert);
    }
}

#[test]
fn numbers_that_no_machine_has_are_no_panic() {
    let gpt2 = load("generation/gpt2");
    let options =
        kinglet_suggest_batch_size_options { skip_calibration: 1, ..sized!(kinglet_suggest_batch_size_options) };
    let most = kinglet_workload { input_spread: f64::MAX, beams: usize::MAX, ..workload(f64::MAX, usize::MAX) };
    let (found, _) = suggest(gpt2, &most, &options);
    assert_eq!((found.batch_size, found.bytes), (1, u64::MAX));
    // SAFETY: a live handle, freed once.
    unsafe { kinglet_model_free(gpt2) };
}

#[test]
fn a_calibration_is_kept_and_bounds_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    for (fixture, reads) in [("bert", workload(12.0, 0)), ("generation/gpt2", workload(8.0, 6))] {
        let model = load(fixture);
        let file = folder.path().join(fixture.replace('/', "-") + ".json");
        let measured = kinglet_suggest_batch_size_options {
            calibration_file: text(file.to_str().unwrap()),
            calibration_ms: 100,
            ..sized!(kinglet_suggest_batch_size_options)
        };
        let (found, explanation) = suggest(model, &reads, &measured);
        assert!(explanation.contains("measured on this machine") && explanation.contains("no bound"), "{explanation}");
        assert!(found.batch_ms > 0.0 && found.bytes > 0 && found.within_bound == 1);
        let per_text = found.tokens_per_second / found.texts_per_second;
        assert!((per_text - if reads.output_tokens > 0 { 6.0 } else { 12.0 }).abs() < 1e-6);
        let expected = found.batch_size as f64 / (found.batch_ms / 1e3);
        assert!((found.texts_per_second / expected - 1.0).abs() < 1e-3, "{expected}");

        // The file answers from now on, also where nothing may be measured.
        let kept = kinglet_suggest_batch_size_options { skip_calibration: 1, ..measured };
        let (again, said) = suggest(model, &reads, &kept);
        assert_eq!((again.batch_size, again.batch_ms, said), (found.batch_size, found.batch_ms, explanation));

        let latency = |latency_ms: f64| {
            let options = kinglet_suggest_batch_size_options { goal: KINGLET_BATCH_GOAL_LATENCY, latency_ms, ..kept };
            suggest(model, &reads, &options).0
        };
        let memory = |memory_bytes: u64| {
            let options = kinglet_suggest_batch_size_options { goal: KINGLET_BATCH_GOAL_MEMORY, memory_bytes, ..kept };
            suggest(model, &reads, &options).0
        };
        for bound in [1.5 * found.batch_ms, found.batch_ms + 1e-3] {
            let bounded = latency(bound);
            assert!(bounded.within_bound == 1 && bounded.batch_ms <= bound);
        }
        let none = latency(1e-6);
        assert_eq!((none.within_bound, none.batch_size), (0, 1));
        let one = memory(1);
        assert_eq!((one.within_bound, one.batch_size), (0, 1));
        for bound in [one.bytes, found.bytes, 2 * found.bytes] {
            let bounded = memory(bound);
            assert!(bounded.within_bound == 1 && bounded.bytes <= bound);
        }
        assert_eq!(memory(one.bytes).batch_size, 1);
        // SAFETY: a live handle, freed once.
        unsafe { kinglet_model_free(model) };
    }

    // What is no file of calibrations is named, and left as it is.
    let (model, file) = (load("bert"), folder.path().join("notes"));
    std::fs::write(&file, "my notes").unwrap();
    let path = file.to_str().unwrap();
    let options = kinglet_suggest_batch_size_options {
        calibration_file: text(path),
        ..sized!(kinglet_suggest_batch_size_options)
    };
    let reads = workload(12.0, 0);
    let mut made = untouched();
    // SAFETY: valid arguments, but for what is tested.
    unsafe {
        refused_with(KINGLET_STATUS_INVALID_FILE, F, path, &mut |e| {
            kinglet_model_suggest_batch_size(model, &reads, &options, &mut made, e)
        });
        kinglet_model_free(model);
    }
    assert_eq!((made.addr(), std::fs::read_to_string(&file).unwrap().as_str()), (OUT, "my notes"));
}
