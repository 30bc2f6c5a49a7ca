//! Strings in and out.

use crate::base::error::{Error, Result};

use super::boundary::boundary;
use super::error::{kinglet_error, kinglet_status};
use super::handle::{self, Alone, Handle, null};
use super::structs::{Results, Versioned};

/// Text that somebody else owns: UTF-8, not NUL-terminated. As an argument it is read during the call and never kept; as a result
/// it is valid for as long as what it was read from. `data` may be NULL if `size` is 0.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_str {
    pub data: *const u8,
    /// Bytes.
    pub size: usize,
}

impl kinglet_str {
    /// Lends a Rust string to C.
    pub(super) fn lend(text: &str) -> Self {
        Self { data: text.as_ptr(), size: text.len() }
    }

    /// # Safety
    /// `data` is NULL or points at `size` bytes that live as long as the result is used.
    pub(super) unsafe fn text<'a>(self, name: impl Fn() -> String) -> Result<&'a str> {
        if self.data.is_null() {
            return if self.size == 0 { Ok("") } else { Err(null(&name())) };
        }
        check_size(self.size, &name)?;
        // SAFETY: the caller's promise.
        let bytes = unsafe { std::slice::from_raw_parts(self.data, self.size) };
        std::str::from_utf8(bytes).map_err(|e| {
            let (name, at) = (name(), e.valid_up_to());
            Error::invalid_argument(format!("{name}: is not UTF-8 (byte {at})"))
        })
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

/// A text that the library made.
pub struct kinglet_text {
    _private: [u8; 0],
}

impl Handle for kinglet_text {
    type Target = Box<str>;
    type Ownership = Alone;
    const NAME: &'static str = "text";
}

/// What a kinglet_text holds. Set `struct_size` to its size before the call.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_text_view {
    pub struct_size: usize,
    /// Valid until the kinglet_text is freed.
    pub text: kinglet_str,
}

// SAFETY: repr(C), `struct_size` first, plain values.
unsafe impl Versioned for kinglet_text_view {
    const NAME: &'static str = "view";
    const FIRST_SIZE: usize = size_of::<Self>();
}

/// Fills `view` with what `text` holds. The view is valid until `text` is freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_text_read(
    text: *const kinglet_text,
    view: *mut kinglet_text_view,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle and a struct of the size that it states.
        let (text, view) = unsafe { (handle::borrow(text)?, Results::new(view)?) };
        view.write(kinglet_text_view { struct_size: 0, text: kinglet_str::lend(text) });
        Ok(())
    })
}

/// Frees a text and all views of it. NULL does nothing. No other call may use the text meanwhile or later.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_text_free(text: *mut kinglet_text) {
    // SAFETY: C passes NULL or a live handle and gives it up.
    super::boundary::quietly(|| unsafe { handle::free(text) });
}
