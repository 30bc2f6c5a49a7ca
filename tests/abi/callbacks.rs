//! What callbacks may do, and when the log is released.

use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use kinglet::ffi::*;

use crate::calls::*;
use crate::support::fixtures;

/// What a load's callbacks saw.
#[derive(Default)]
struct Seen {
    model: Mutex<Option<usize>>,
    records: AtomicUsize,
    releases: AtomicUsize,
    reports: AtomicUsize,
    refusals: AtomicUsize,
}

impl Seen {
    fn counts(&self) -> [usize; 4] {
        [&self.records, &self.releases, &self.reports, &self.refusals].map(|count| count.load(SeqCst))
    }
}

/// Calls that a callback must not make; counted as one refusal.
fn call_kinglet(seen: &Seen) {
    let mut devices = null_mut();
    // SAFETY: a valid place.
    let status = unsafe { kinglet_devices_list(null(), &mut devices, null_mut()) };
    assert_eq!((status, devices), (KINGLET_STATUS_INVALID_ARGUMENT, null_mut()));
    seen.refusals.fetch_add(1, SeqCst);
    assert!(!kinglet_log_level_name(1).is_null());
}

extern "C" fn log(user_data: *mut c_void, record: *const kinglet_log_record) {
    // SAFETY: `user_data` is `Seen`, and the record is valid during the callback.
    let (seen, record) = unsafe { (&*user_data.cast::<Seen>(), &*record) };
    assert_eq!((record.struct_size, record.reserved), (size_of::<kinglet_log_record>(), 0));
    assert!((KINGLET_LOG_LEVEL_ERROR..=KINGLET_LOG_LEVEL_DEBUG).contains(&record.level) && record.message.size > 0);
    assert_eq!(seen.releases.load(SeqCst), 0);
    seen.records.fetch_add(1, SeqCst);
    call_kinglet(seen);
}

extern "C" fn release(user_data: *mut c_void) {
    // SAFETY: `user_data` is `Seen`.
    let seen = unsafe { &*user_data.cast::<Seen>() };
    seen.releases.fetch_add(1, SeqCst);
    call_kinglet(seen);
}

extern "C" fn progress(user_data: *mut c_void, _: *const kinglet_progress) -> u32 {
    // SAFETY: `user_data` is `Seen`.
    let seen = unsafe { &*user_data.cast::<Seen>() };
    seen.reports.fetch_add(1, SeqCst);
    call_kinglet(seen);
    1
}

fn options(seen: &Seen) -> kinglet_model_options {
    let user_data = std::ptr::from_ref(seen).cast_mut().cast();
    kinglet_model_options {
        progress: Some(progress),
        progress_user_data: user_data,
        log: Some(log),
        log_user_data: user_data,
        log_release: Some(release),
        ..sized!(kinglet_model_options)
    }
}

#[test]
fn the_log_is_released_with_the_last_reference() {
    let seen = Seen::default();
    let folder = fixtures().join("generation/gpt2");
    let path = text(folder.to_str().unwrap());
    let (mut model, mut prefix) = (null_mut(), null_mut());
    // SAFETY: valid arguments.
    unsafe {
        ok(|e| kinglet_model_load(path, &options(&seen), &mut model, e));
        let [records, releases, reports, refusals] = seen.counts();
        assert!(records > 0 && reports > 0 && releases == 0);
        assert_eq!(refusals, records + reports);
        kinglet_model_retain(model);
        ok(|e| kinglet_prefix_new(model, text("The river"), null(), &mut prefix, e));
        kinglet_model_free(model);
        kinglet_model_free(model);
        // The prefix is an owner too.
        assert_eq!(seen.counts()[1], 0);
        kinglet_prefix_free(prefix);
    }
    assert_eq!(seen.counts()[1], 1);
}

#[test]
fn the_log_is_released_when_a_load_fails() {
    let folder = fixtures().join("bert");
    let path = text(folder.to_str().unwrap());
    let mut model = null_mut();
    type Options = kinglet_model_options;
    // Early failures and late ones, and a release without a log.
    type Spoil = fn(Options) -> Options;
    let spoil: [(Spoil, kinglet_str); 6] = [
        (|o| o, text("")),
        (|o| o, bad_utf8()),
        (|o| o, text("no/such/place")),
        (|o| Options { device: 77, ..o }, path),
        (|o| Options { log_level: 77, ..o }, path),
        (|o| Options { memory_limit: 1, log: None, ..o }, path),
    ];
    for (i, (spoil, path)) in spoil.into_iter().enumerate() {
        let seen = Seen::default();
        let options = spoil(options(&seen));
        // SAFETY: what is wrong with each call is what it tests; the rest is valid.
        let status = unsafe { kinglet_model_load(path, &options, &mut model, null_mut()) };
        assert_ne!(status, KINGLET_STATUS_OK);
        assert_eq!(seen.counts()[1], 1, "load {i}");
    }
    // A struct that could not be read names no release.
    let seen = Seen::default();
    let unread = Options { struct_size: 3, ..options(&seen) };
    // SAFETY: as above.
    unsafe { kinglet_model_load(path, &unread, &mut model, null_mut()) };
    assert_eq!((seen.counts(), model), ([0; 4], null_mut()));
}

/// A piece callback may use the model that it comes from.
extern "C" fn embed(user_data: *mut c_void, piece: *const kinglet_generation_piece) -> u32 {
    // SAFETY: `user_data` is `Seen`, and the piece is valid during the callback.
    let (seen, piece) = unsafe { (&*user_data.cast::<Seen>(), &*piece) };
    assert_eq!(piece.struct_size, size_of::<kinglet_generation_piece>());
    let model = std::ptr::with_exposed_provenance::<kinglet_model>(seen.model.lock().unwrap().unwrap());
    let mut encoding = null_mut();
    // SAFETY: a live model.
    unsafe {
        ok(|e| kinglet_model_tokenize(model, &text("a small bird"), null(), 1, null(), &mut encoding, e));
        kinglet_encoding_free(encoding);
    }
    seen.reports.fetch_add(1, SeqCst);
    1
}

#[test]
fn a_piece_callback_may_call_kinglet() {
    let model = load("generation/gpt2");
    let seen = Seen::default();
    *seen.model.lock().unwrap() = Some(model.expose_provenance());
    let options = kinglet_generate_options {
        max_new_tokens: 3,
        ignore_eos: 1,
        on_piece: Some(embed),
        on_piece_user_data: std::ptr::from_ref(&seen).cast_mut().cast(),
        ..generate_options()
    };
    let mut generations = null_mut();
    // SAFETY: valid arguments.
    unsafe {
        ok(|e| kinglet_model_generate(model, &text("The river"), 1, &options, &mut generations, e));
        kinglet_generations_free(generations);
        kinglet_model_free(model);
    }
    assert_eq!(seen.counts()[2], 3);
}
