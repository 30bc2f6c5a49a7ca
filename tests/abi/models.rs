//! Models, their counters, devices, and quantizing.

use std::ffi::c_void;
use std::ptr::{null, null_mut};

use kinglet::ffi::*;

use crate::calls::*;
use crate::support::fixtures;

pub const COVERS: &[&str] = &[
    "kinglet_devices_info",
    "kinglet_devices_list",
    "kinglet_model_describe",
    "kinglet_model_export_counters",
    "kinglet_model_latency",
    "kinglet_model_load",
    "kinglet_model_quantize",
    "kinglet_model_read",
    "kinglet_model_stage",
];

extern "C" fn stop(_: *mut c_void, progress: *const kinglet_progress) -> u32 {
    // SAFETY: valid during the callback.
    let progress = unsafe { *progress };
    assert_eq!(progress.struct_size, size_of::<kinglet_progress>());
    assert!((0.0..=1.0).contains(&progress.fraction));
    0
}

#[test]
fn loading() {
    let path = fixtures().join("bert");
    let path = text(path.to_str().unwrap());
    let cancelled = cancelled();
    let mut model = untouched();
    let f = "kinglet_model_load";
    // SAFETY: what is wrong with each call is what it tests; the rest is valid.
    unsafe {
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
            sized!(kinglet_model_options),
            [device, precision, log_level],
            |o, e| kinglet_model_load(path, o, &mut untouched(), e)
        );
        let default = sized!(kinglet_model_options);
        type Options = kinglet_model_options;
        let options = Options { threads: 100_000, ..default };
        refused(f, "threads: 100000", |e| kinglet_model_load(path, &options, &mut model, e));
        for device in [KINGLET_DEVICE_CUDA, KINGLET_DEVICE_METAL] {
            let options = Options { device, ..default };
            refused_with(KINGLET_STATUS_UNSUPPORTED, f, "device", &mut |e| {
                kinglet_model_load(path, &options, &mut model, e)
            });
        }
        let options = Options { device_index: 3, ..default };
        refused(f, "device_index: 3", |e| kinglet_model_load(path, &options, &mut model, e));
        let options = Options { memory_limit: 1, ..default };
        refused_with(KINGLET_STATUS_OUT_OF_MEMORY, f, "limit is 1", &mut |e| {
            kinglet_model_load(path, &options, &mut model, e)
        });
        for (bad, says) in bad_strings() {
            let options = Options { onnxruntime: bad, ..default };
            refused(f, says, |e| kinglet_model_load(path, &options, &mut model, e));
        }
        let options = Options { onnxruntime: text("no/such/library.so"), ..default };
        let export = fixtures().join("onnx/bert");
        let status = if cfg!(feature = "onnx") { KINGLET_STATUS_NOT_FOUND } else { KINGLET_STATUS_UNSUPPORTED };
        refused_with(status, f, if cfg!(feature = "onnx") { "no/such/library.so" } else { "ONNX" }, &mut |e| {
            kinglet_model_load(text(export.to_str().unwrap()), &options, &mut model, e)
        });
        for options in [Options { progress: Some(stop), ..default }, Options { cancellation: cancelled, ..default }] {
            refused_with(KINGLET_STATUS_CANCELLED, f, "cancelled", &mut |e| {
                kinglet_model_load(path, &options, &mut model, e)
            });
        }
        kinglet_cancellation_free(cancelled);
    }
    assert_eq!(model.addr(), OUT, "a failed load touched its output");
}

#[test]
fn reading() {
    let bert = load("bert");
    let mut info = untouched();
    // SAFETY: what is wrong with each call is what it tests; the rest is valid.
    unsafe {
        refused("kinglet_model_describe", "model: is NULL", |e| kinglet_model_describe(null(), &mut info, e));
        refused("kinglet_model_describe", "text: is NULL", |e| kinglet_model_describe(bert, null_mut(), e));
        assert_eq!(info.addr(), OUT);
        ok(|e| kinglet_model_describe(bert, &mut info, e));
        assert!(read(kinglet_text_str(info)).contains("\"family\":\"bert\""));
        kinglet_text_free(info);
        let view =
            check_filled!("kinglet_model_read", kinglet_model_view, bert, "model", |m, v, e| kinglet_model_read(
                m, v, e
            ));
        assert_eq!((view.dimension, view.max_length, view.label_count), (32, 24, 0));
        assert_eq!((view.can_generate, view.can_chat, view.has_encoder), (0, 0, 1));
        assert!(view.labels.is_null() && read(view.family) == "bert");
        // Two references, and so two calls of free.
        assert_eq!(kinglet_model_retain(bert), bert);
        kinglet_model_free(bert);
        ok(|e| kinglet_model_read(bert, &mut sized!(kinglet_model_view), e));
        kinglet_model_free(bert);
        for (model, chats) in [(load("generation/gpt2"), 0), (load_chat(), 1)] {
            let mut view = sized!(kinglet_model_view);
            ok(|e| kinglet_model_read(model, &mut view, e));
            assert_eq!((view.can_generate, view.can_chat, view.has_encoder, view.cache_bytes), (1, chats, 0, 0));
            assert_eq!(view.device_bytes, 0);
            kinglet_model_free(model);
        }
    }
}

#[test]
fn counters() {
    let bert = load("bert");
    let texts = [text("a small bird")];
    let (mut embeddings, mut exported) = (null_mut(), untouched());
    // SAFETY: what is wrong with each call is what it tests; the rest is valid.
    unsafe {
        ok(|e| kinglet_model_embed(bert, texts.as_ptr(), 1, null(), &mut embeddings, e));
        kinglet_embeddings_free(embeddings);
        let stage = |stage: kinglet_stage| {
            check_filled!("kinglet_model_stage", kinglet_stage_totals, bert, "model", |m, t, e| {
                kinglet_model_stage(m, stage, t, e)
            })
        };
        assert_eq!((stage(KINGLET_STAGE_LOAD).calls, stage(KINGLET_STAGE_CALL).calls), (1, 1));
        assert!(stage(KINGLET_STAGE_CALL).nanoseconds > 0 && stage(KINGLET_STAGE_CALL).items == 1);
        let mut totals = sized!(kinglet_stage_totals);
        refused("kinglet_model_stage", "stage: 28", |e| kinglet_model_stage(bert, 28, &mut totals, e));
        let latency = check_filled!("kinglet_model_latency", kinglet_latency, bert, "model", |m, l, e| {
            kinglet_model_latency(m, l, e)
        });
        assert!(latency.count == 1 && latency.min > 0 && latency.mean > 0.0);
        kinglet_model_reset_counters(bert);
        assert_eq!((stage(KINGLET_STAGE_LOAD).calls, stage(KINGLET_STAGE_CALL).calls), (0, 0));
        let f = "kinglet_model_export_counters";
        refused(f, "model: is NULL", |e| kinglet_model_export_counters(null(), 0, &mut exported, e));
        refused(f, "text: is NULL", |e| kinglet_model_export_counters(bert, 0, null_mut(), e));
        refused(f, "format: 77", |e| kinglet_model_export_counters(bert, 77, &mut exported, e));
        assert_eq!(exported.addr(), OUT);
        ok(|e| kinglet_model_export_counters(bert, KINGLET_COUNTERS_FORMAT_CSV, &mut exported, e));
        assert!(read(kinglet_text_str(exported)).contains("attention,"));
        kinglet_text_free(exported);
        kinglet_model_free(bert);
    }
}

#[test]
fn scheduler_options() {
    let path = fixtures().join("bert");
    let (path, texts) = (text(path.to_str().unwrap()), [text("a small bird")]);
    let mut model = untouched();
    // SAFETY: what is wrong with each call is what it tests; the rest is valid.
    unsafe {
        let scheduler = kinglet_scheduler_options { max_tokens: 1 << 20, ..sized!(kinglet_scheduler_options) };
        let mut options = sized!(kinglet_model_options);
        let f = "kinglet_model_load";
        options.scheduler = &raw const scheduler;
        refused(f, "scheduler.max_tokens: ", |e| kinglet_model_load(path, &options, &mut model, e));
        let scheduler = kinglet_scheduler_options { struct_size: 3, ..scheduler };
        options.scheduler = &raw const scheduler;
        refused(f, "scheduler.struct_size: ", |e| kinglet_model_load(path, &options, &mut model, e));
        let scheduler = kinglet_scheduler_options { queue_length: 4, ..sized!(kinglet_scheduler_options) };
        options.scheduler = &raw const scheduler;
        ok(|e| kinglet_model_load(path, &options, &mut model, e));
        let (mut embeddings, mut options) = (untouched(), sized!(kinglet_embed_options));
        options.priority = 77;
        let f = "kinglet_model_embed";
        refused(f, "options.priority: 77", |e| {
            kinglet_model_embed(model, texts.as_ptr(), 1, &options, &mut embeddings, e)
        });
        options.priority = KINGLET_PRIORITY_BULK;
        options.deadline_ms = 3_600_000;
        ok(|e| kinglet_model_embed(model, texts.as_ptr(), 1, &options, &mut embeddings, e));
        kinglet_embeddings_free(embeddings);
        kinglet_model_free(model);
    }
}

#[test]
fn devices() {
    let mut devices = untouched();
    // SAFETY: what is wrong with each call is what it tests; the rest is valid.
    unsafe {
        refused("kinglet_devices_list", "devices: is NULL", |e| kinglet_devices_list(null(), null_mut(), e));
        ok(|e| kinglet_devices_list(null(), &mut devices, e));
        let count = kinglet_devices_count(devices);
        assert!(count > 0);
        for index in 0..count {
            let info = check_filled!("kinglet_devices_info", kinglet_device_info, devices, "devices", |d, i, e| {
                kinglet_devices_info(d, index, i, e)
            });
            assert!(info.name.size > 0 && info.device < 4);
            assert!(index > 0 || (info.device, info.device_index) == (KINGLET_DEVICE_CPU, 0));
        }
        let mut only = sized!(kinglet_devices_options);
        only.open_libraries = 3;
        refused("kinglet_devices_list", "options.open_libraries: 3", |e| kinglet_devices_list(&only, &mut devices, e));
        only.open_libraries = KINGLET_TRISTATE_NO;
        let mut built_in = untouched();
        ok(|e| kinglet_devices_list(&only, &mut built_in, e));
        assert!(read(kinglet_devices_missing(built_in)).contains("its library was not to be opened"));
        kinglet_devices_free(built_in);
        let mut info = sized!(kinglet_device_info);
        let says = format!("index: {count} is not below {count}");
        refused("kinglet_devices_info", &says, |e| kinglet_devices_info(devices, count, &mut info, e));
        let lines = read(kinglet_devices_missing(devices));
        assert!(lines.is_empty() || lines.lines().all(|line| line.contains("device")), "{lines}");
        kinglet_devices_free(devices);
    }
}

#[test]
fn quantizing() {
    let f = "kinglet_model_quantize";
    let source = fixtures().join("bert");
    let from = text(source.to_str().unwrap());
    let scratch = tempfile::tempdir().unwrap();
    let place = scratch.path().join("bert.kinglet");
    let to = text(place.to_str().unwrap());
    let cancelled = cancelled();
    let quantize = kinglet_model_quantize;
    // SAFETY: what is wrong with each call is what it tests; the rest is valid.
    unsafe {
        refused(f, "source: is empty", |e| quantize(text(""), to, 1, null(), e));
        refused(f, "destination: is empty", |e| quantize(from, text(""), 1, null(), e));
        refused(f, "precision: 77", |e| quantize(from, to, 77, null(), e));
        refused(f, "precision: auto", |e| quantize(from, to, KINGLET_PRECISION_AUTO, null(), e));
        for (bad, says) in bad_strings() {
            refused(f, says, |e| quantize(bad, to, 1, null(), e));
            refused(f, "destination: ", |e| quantize(from, bad, 1, null(), e));
        }
        refused_with(KINGLET_STATUS_NOT_FOUND, f, "no/such/place", &mut |e| {
            quantize(text("no/such/place"), to, 1, null(), e)
        });
        check_options!(
            "kinglet_model_quantize",
            kinglet_quantize_options,
            sized!(kinglet_quantize_options),
            [],
            |o, e| quantize(from, to, 1, o, e)
        );
        let default = sized!(kinglet_quantize_options);
        let without = kinglet_quantize_options { calibration_text_count: 1, ..default };
        refused(f, "options.calibration_texts", |e| quantize(from, to, 1, &without, e));
        let texts = [text("a bird")];
        let calibrated =
            kinglet_quantize_options { calibration_texts: texts.as_ptr(), calibration_text_count: 1, ..default };
        refused(f, "f32 has no calibration", |e| quantize(from, to, KINGLET_PRECISION_F32, &calibrated, e));
        for options in [
            kinglet_quantize_options { progress: Some(stop), ..default },
            kinglet_quantize_options { cancellation: cancelled, ..default },
        ] {
            refused_with(KINGLET_STATUS_CANCELLED, f, "cancelled", &mut |e| quantize(from, to, 1, &options, e));
        }
        assert!(!place.exists(), "a failed call left its file");
        ok(|e| quantize(from, to, KINGLET_PRECISION_INT8, &default, e));
        assert!(place.exists());
        kinglet_cancellation_free(cancelled);
    }
}
