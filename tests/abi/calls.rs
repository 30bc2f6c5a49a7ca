//! Calls that must fail or succeed, and their arguments.

use std::ffi::CStr;
use std::ptr::{null, null_mut};

use kinglet::ffi::*;

use crate::support::fixtures;

pub const OUT: usize = 0x5eed_0000;

/// The contents of outputs before a call that must not change them.
pub fn untouched<T>() -> *mut T {
    std::ptr::without_provenance_mut(OUT)
}

pub type Error = *mut *mut kinglet_error;

/// A call that must fail as an invalid argument, with a message that contains `says`.
#[track_caller]
pub fn refused(function: &str, says: &str, mut call: impl FnMut(Error) -> kinglet_status) {
    refused_with(KINGLET_STATUS_INVALID_ARGUMENT, function, says, &mut call);
}

/// Calls twice, with and without a place for the error.
#[track_caller]
pub fn refused_with(
    expected: kinglet_status,
    function: &str,
    says: &str,
    call: &mut dyn FnMut(Error) -> kinglet_status,
) {
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
pub fn ok(call: impl FnOnce(Error) -> kinglet_status) {
    let mut error = null_mut();
    let status = call(&mut error);
    // SAFETY: NULL or an error that was just made.
    let message = unsafe { CStr::from_ptr(kinglet_error_message(error)) };
    assert_eq!(status, KINGLET_STATUS_OK, "{message:?}");
    assert!(error.is_null());
}

pub fn text(text: &str) -> kinglet_str {
    kinglet_str { data: text.as_ptr().cast(), size: text.len() }
}

/// What C sees.
pub fn read(text: kinglet_str) -> String {
    if text.size == 0 {
        return String::new();
    }
    // SAFETY: strings from the library are as their sizes say.
    let bytes = unsafe { std::slice::from_raw_parts(text.data.cast::<u8>(), text.size) };
    String::from_utf8(bytes.to_vec()).unwrap()
}

const BAD_UTF8: [u8; 3] = [b'a', 0xff, b'b'];

pub fn bad_utf8() -> kinglet_str {
    kinglet_str { data: BAD_UTF8.as_ptr().cast(), size: BAD_UTF8.len() }
}

/// Bytes that are no text, NULL with a size, and a size that no memory has.
pub fn bad_strings() -> [(kinglet_str, &'static str); 3] {
    [
        (bad_utf8(), "not UTF-8"),
        (kinglet_str { data: null(), size: 3 }, "is NULL"),
        (kinglet_str { data: BAD_UTF8.as_ptr().cast(), size: usize::MAX }, "cannot be"),
    ]
}

pub fn load(fixture: &str) -> *mut kinglet_model {
    let path = fixtures().join(fixture);
    let mut model = null_mut();
    // SAFETY: valid arguments.
    ok(|e| unsafe { kinglet_model_load(text(path.to_str().unwrap()), null(), &mut model, e) });
    model
}

/// A model with a chat template, which no fixture has.
pub fn load_chat() -> *mut kinglet_model {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixtures().join("generation/gpt2")).unwrap() {
        let from = entry.unwrap().path();
        std::fs::copy(&from, folder.path().join(from.file_name().unwrap())).unwrap();
    }
    let template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}";
    std::fs::write(folder.path().join("chat_template.jinja"), template).unwrap();
    load(folder.path().to_str().unwrap())
}

/// A cancellation that is set.
pub fn cancelled() -> *mut kinglet_cancellation {
    let cancellation = kinglet_cancellation_new();
    // SAFETY: a live handle.
    unsafe { kinglet_cancellation_cancel(cancellation) };
    cancellation
}

/// The API as `docs/api.json` describes it.
pub fn api() -> serde_json::Value {
    serde_json::from_str(include_str!("../../docs/api.json")).unwrap()
}

/// The first size of every struct that has one.
pub fn first_sizes() -> Vec<(String, usize)> {
    let api = api();
    let structs = api["sections"].as_array().unwrap().iter().flat_map(|section| section["structs"].as_array().unwrap());
    structs.filter_map(|s| Some((s["name"].as_str()?.to_string(), s["first_size"].as_u64()? as usize))).collect()
}

pub fn first_size(name: &str) -> usize {
    first_sizes().into_iter().find(|(found, _)| found == name).unwrap_or_else(|| panic!("{name}: has no first size")).1
}

/// The sizes that no version of a struct has had.
pub const BAD_SIZES: [usize; 4] = [0, 7, 5000, usize::MAX];

/// A struct of zeros with its size.
macro_rules! sized {
    ($type:ident) => {{
        // SAFETY: numbers, pointers and optional functions, all of which may be zero.
        let mut value: $type = unsafe { std::mem::zeroed() };
        value.struct_size = size_of::<$type>();
        value
    }};
}

/// Generate options as `_init` makes them.
pub fn generate_options() -> kinglet_generate_options {
    let mut options = sized!(kinglet_generate_options);
    // SAFETY: a valid place.
    unsafe { kinglet_generate_options_init(&mut options, size_of::<kinglet_generate_options>()) };
    options
}

/// A function that fills a struct: NULL handle, NULL struct, wrong sizes, the first size, and a newer caller's size, whose additional
/// bytes must come back as zero. Gives the struct filled. `$call` takes handle, struct and error.
macro_rules! check_filled {
    ($function:literal, $type:ident, $handle:expr, $name:literal, $call:expr) => {{
        let call = $call;
        let mut filled = sized!($type);
        let handle = $handle;
        let none = std::ptr::null_mut();
        $crate::calls::refused($function, concat!($name, ": is NULL"), |e| call(none, &raw mut filled, e));
        $crate::calls::refused($function, ": is NULL", |e| call(handle, std::ptr::null_mut(), e));
        let first = $crate::calls::first_size(stringify!($type));
        for size in $crate::calls::BAD_SIZES.into_iter().chain([first - 1]) {
            filled.struct_size = size;
            $crate::calls::refused($function, ".struct_size: is", |e| call(handle, &raw mut filled, e));
        }
        filled.struct_size = first;
        $crate::calls::ok(|e| call(handle, &raw mut filled, e));
        let mut newer = [std::mem::MaybeUninit::<$type>::uninit(); 2];
        // SAFETY: room for two structs; every byte is written before it is read.
        unsafe {
            newer.as_mut_ptr().cast::<u8>().write_bytes(0xaa, 2 * size_of::<$type>());
            newer.as_mut_ptr().cast::<usize>().write(2 * size_of::<$type>());
            $crate::calls::ok(|e| call(handle, newer.as_mut_ptr().cast::<$type>(), e));
            let tail = std::slice::from_raw_parts(newer.as_ptr().add(1).cast::<u8>(), size_of::<$type>());
            assert!(tail.iter().all(|&byte| byte == 0), "{}: left what it does not know", $function);
        }
        filled.struct_size = size_of::<$type>();
        $crate::calls::ok(|e| call(handle, &raw mut filled, e));
        assert_eq!(filled.struct_size, size_of::<$type>());
        filled
    }};
}

/// Options: wrong sizes, a newer caller that sets what is not known, and unknown numbers in the fields named. `$call` takes options
/// and error.
macro_rules! check_options {
    ($function:literal, $type:ident, $base:expr, [$($field:ident),*], $call:expr) => {{
        let call = $call;
        let first = $crate::calls::first_size(stringify!($type));
        for size in $crate::calls::BAD_SIZES.into_iter().chain([first - 1]) {
            let mut options: $type = $base;
            options.struct_size = size;
            $crate::calls::refused($function, ".struct_size: is", |e| call(&raw const options, e));
        }
        let mut newer = [$base, $base];
        newer[0].struct_size = 2 * size_of::<$type>();
        $crate::calls::refused_with(KINGLET_STATUS_UNSUPPORTED, $function, "does not know", &mut |e| {
            call(newer.as_ptr(), e)
        });
        $({
            let mut options: $type = $base;
            options.$field = 77;
            let says = concat!("options.", stringify!($field), ": 77");
            $crate::calls::refused($function, says, |e| call(&raw const options, e));
        })*
    }};
}
