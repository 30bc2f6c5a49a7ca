//! Status codes and owned errors.

use std::ffi::{CString, c_char};

use crate::base::error::{Error, Status};

use super::boundary::quietly;
use super::handle::{self, Alone, Handle};

/// The outcome of a call: one of the KINGLET_STATUS constants. Later versions may add some.
pub type kinglet_status = u32;

/// The call succeeded.
pub const KINGLET_STATUS_OK: u32 = 0;
/// An argument is NULL, out of range, not UTF-8, or contradicts another.
pub const KINGLET_STATUS_INVALID_ARGUMENT: u32 = 1;
/// A file or directory does not exist.
pub const KINGLET_STATUS_NOT_FOUND: u32 = 2;
/// A file exists but could not be read.
pub const KINGLET_STATUS_IO: u32 = 3;
/// A file's contents are not what its format demands.
pub const KINGLET_STATUS_INVALID_FILE: u32 = 4;
/// The request is well formed, but this build, machine or model cannot serve it.
pub const KINGLET_STATUS_UNSUPPORTED: u32 = 5;
/// The memory limit would be passed, or the system has no memory left.
pub const KINGLET_STATUS_OUT_OF_MEMORY: u32 = 6;
/// The caller cancelled the call.
pub const KINGLET_STATUS_CANCELLED: u32 = 7;
/// A defect of Kinglet's own, reported instead of crashing the program.
pub const KINGLET_STATUS_PANIC: u32 = 8;
/// A defect of Kinglet's own, found by one of its checks.
pub const KINGLET_STATUS_INTERNAL: u32 = 9;

const _: () = {
    assert!(KINGLET_STATUS_OK == Status::Ok as u32);
    assert!(KINGLET_STATUS_INVALID_ARGUMENT == Status::InvalidArgument as u32);
    assert!(KINGLET_STATUS_NOT_FOUND == Status::NotFound as u32);
    assert!(KINGLET_STATUS_IO == Status::Io as u32);
    assert!(KINGLET_STATUS_INVALID_FILE == Status::InvalidFile as u32);
    assert!(KINGLET_STATUS_UNSUPPORTED == Status::Unsupported as u32);
    assert!(KINGLET_STATUS_OUT_OF_MEMORY == Status::OutOfMemory as u32);
    assert!(KINGLET_STATUS_CANCELLED == Status::Cancelled as u32);
    assert!(KINGLET_STATUS_PANIC == Status::Panic as u32);
    assert!(KINGLET_STATUS_INTERNAL == Status::Internal as u32);
};

/// Why a call failed. Functions that can fail take a `kinglet_error **error`: NULL if the caller does not want it, else a place
/// that receives, on failure only, an error that the caller frees with kinglet_error_free.
pub struct kinglet_error {
    _private: [u8; 0],
}

/// An error with its message ready for C.
pub(super) struct Reported {
    status: kinglet_status,
    message: CString,
}

impl From<Error> for Reported {
    fn from(error: Error) -> Self {
        // Messages quote files and arguments, which may hold anything.
        let message = error.message().replace('\0', "\u{fffd}");
        Self { status: error.status() as kinglet_status, message: CString::new(message).unwrap_or_default() }
    }
}

impl Handle for kinglet_error {
    type Target = Reported;
    type Ownership = Alone;
    const NAME: &'static str = "error";
}

/// The status that the failed call returned; KINGLET_STATUS_OK if `error` is NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_error_status(error: *const kinglet_error) -> kinglet_status {
    // SAFETY: C passes NULL or a live handle.
    quietly(|| unsafe { handle::borrow(error) }.map_or(KINGLET_STATUS_OK, |reported| reported.status))
}

/// What went wrong and what to do about it: UTF-8, NUL-terminated, valid until `error` is freed. An empty string if `error` is
/// NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_error_message(error: *const kinglet_error) -> *const c_char {
    // SAFETY: C passes NULL or a live handle.
    match unsafe { handle::borrow(error) } {
        Ok(reported) => reported.message.as_ptr(),
        Err(_) => c"".as_ptr(),
    }
}

/// Frees an error. NULL does nothing. No other call may use the error meanwhile or later.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_error_free(error: *mut kinglet_error) {
    // SAFETY: C passes NULL or a live handle and gives it up.
    quietly(|| unsafe { handle::free(error) });
}

/// The name of a status, for instance "KINGLET_STATUS_NOT_FOUND"; "unknown status" for a number that this version does not know.
/// NUL-terminated, and valid for as long as the library is loaded. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn kinglet_status_name(status: kinglet_status) -> *const c_char {
    let name = match status {
        KINGLET_STATUS_OK => c"KINGLET_STATUS_OK",
        KINGLET_STATUS_INVALID_ARGUMENT => c"KINGLET_STATUS_INVALID_ARGUMENT",
        KINGLET_STATUS_NOT_FOUND => c"KINGLET_STATUS_NOT_FOUND",
        KINGLET_STATUS_IO => c"KINGLET_STATUS_IO",
        KINGLET_STATUS_INVALID_FILE => c"KINGLET_STATUS_INVALID_FILE",
        KINGLET_STATUS_UNSUPPORTED => c"KINGLET_STATUS_UNSUPPORTED",
        KINGLET_STATUS_OUT_OF_MEMORY => c"KINGLET_STATUS_OUT_OF_MEMORY",
        KINGLET_STATUS_CANCELLED => c"KINGLET_STATUS_CANCELLED",
        KINGLET_STATUS_PANIC => c"KINGLET_STATUS_PANIC",
        KINGLET_STATUS_INTERNAL => c"KINGLET_STATUS_INTERNAL",
        _ => c"unknown status",
    };
    name.as_ptr()
}
