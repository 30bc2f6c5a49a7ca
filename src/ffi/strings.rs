//! Strings, lists and switches.

use std::ffi::c_char;

use crate::base::error::{Error, Result};

use super::enums::enumeration;
use super::handle::{self, handle, null};

/// A borrowed string: UTF-8 with its length, not NUL-terminated. Make one with KINGLET_STR or kinglet_str_from. As an argument it is
/// read during the call and not kept. As a result it is valid for as long as the handle that it was read from. `data` may be NULL if
/// `size` is 0. This struct never grows.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_str {
    /// The first byte.
    pub data: *const c_char,
    /// The number of bytes.
    pub size: usize,
}

impl kinglet_str {
    pub(super) const EMPTY: Self = Self { data: std::ptr::null(), size: 0 };

    /// Lends a Rust string to C.
    pub(super) fn lend(text: &str) -> Self {
        Self { data: text.as_ptr().cast(), size: text.len() }
    }

    /// # Safety
    /// `data` is NULL or points at `size` bytes that live as long as the result is used.
    pub(super) unsafe fn text<'a>(self, name: impl Fn() -> String) -> Result<&'a str> {
        if self.data.is_null() {
            return if self.size == 0 { Ok("") } else { Err(null(&name())) };
        }
        check_size(self.size, &name)?;
        // SAFETY: the caller's promise.
        let bytes = unsafe { std::slice::from_raw_parts(self.data.cast::<u8>(), self.size) };
        std::str::from_utf8(bytes).map_err(|e| {
            let (name, at) = (name(), e.valid_up_to());
            Error::invalid_argument(format!("{name}: is not UTF-8 (byte {at})"))
        })
    }
}

/// Text that may be left out: None if `data` is NULL and `size` is 0.
///
/// # Safety
/// As [`kinglet_str::text`].
pub(super) unsafe fn optional(text: kinglet_str, name: &str) -> Result<Option<String>> {
    if text.data.is_null() && text.size == 0 {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    unsafe { text.text(|| name.to_string()) }.map(|text| Some(text.to_string()))
}

/// A list of token ids. `data` may be NULL if `count` is 0. This struct never grows.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_ids {
    /// The first id.
    pub data: *const u32,
    /// The number of ids.
    pub count: usize,
}

impl kinglet_ids {
    /// # Safety
    /// `data` points at `count` ids that live as long as the result is used.
    pub(super) unsafe fn get<'a>(self, name: &str) -> Result<Option<&'a [u32]>> {
        if self.count == 0 {
            return Ok(None);
        }
        // SAFETY: the caller's promise.
        unsafe { array(self.data, self.count, name) }.map(Some)
    }
}

/// Sizes above this cannot be those of real memory: a negative number that was cast, for instance.
fn check_size(bytes: usize, name: &impl Fn() -> String) -> Result<()> {
    if bytes > isize::MAX as usize {
        return Err(Error::invalid_argument(format!("{}: a size of {bytes} bytes cannot be", name())));
    }
    Ok(())
}

/// An array from C. Empty ones are refused: every function that takes an array needs something in it.
///
/// # Safety
/// `data` is NULL or points at `count` values that live as long as the result is used.
pub(super) unsafe fn array<'a, T>(data: *const T, count: usize, name: &str) -> Result<&'a [T]> {
    if count == 0 {
        return Err(Error::invalid_argument(format!("{name}: is empty")));
    }
    if data.is_null() {
        return Err(null(name));
    }
    check_size(count.saturating_mul(size_of::<T>()), &|| name.to_string())?;
    // SAFETY: the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(data, count) })
}

/// Texts from C, each checked for UTF-8.
///
/// # Safety
/// As `array`, and each text's `data` as its `size` says.
pub(super) unsafe fn texts<'a>(data: *const kinglet_str, count: usize, name: &str) -> Result<Vec<&'a str>> {
    // SAFETY: the caller's promise.
    let texts = unsafe { array(data, count, name) }?;
    // SAFETY: likewise for each text.
    texts.iter().enumerate().map(|(i, text)| unsafe { text.text(|| format!("{name}[{i}]")) }).collect()
}

enumeration! {
    /// A switch that may be left undecided.
    pub type kinglet_tristate, kinglet_tristate_name;
    /// The model's files decide; where they are silent, the default that the field names.
    KINGLET_TRISTATE_AUTO = 0, c"auto";
    /// No.
    KINGLET_TRISTATE_NO = 1, c"no";
    /// Yes.
    KINGLET_TRISTATE_YES = 2, c"yes";
}

handle! {
    /// A string that the library made.
    pub struct kinglet_text: Owned<Box<str>>, "text";
    /// Frees a text.
    pub fn kinglet_text_free;
}

/// The string, valid until `text` is freed. Empty if `text` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_text_str(text: *const kinglet_text) -> kinglet_str {
    // SAFETY: C passes NULL or a live handle.
    unsafe { handle::borrow(text) }.map_or(kinglet_str::EMPTY, |text| kinglet_str::lend(text))
}
