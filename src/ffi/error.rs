//! Status and errors.

use std::ffi::{CString, c_char};

use crate::base::error::{Error, Status};

use super::boundary::quietly;
use super::enums::enumeration;
use super::handle::{self, handle};

enumeration! {
    /// The outcome of a call. Later versions may add values.
    pub type kinglet_status, kinglet_status_name;
    /// The call succeeded.
    KINGLET_STATUS_OK = 0, c"ok", Status::Ok;
    /// An argument is NULL, out of range, not UTF-8, or contradicts another.
    KINGLET_STATUS_INVALID_ARGUMENT = 1, c"invalid_argument", Status::InvalidArgument;
    /// A file or directory does not exist.
    KINGLET_STATUS_NOT_FOUND = 2, c"not_found", Status::NotFound;
    /// A file exists but could not be read or written.
    KINGLET_STATUS_IO = 3, c"io", Status::Io;
    /// The contents of a file break the rules of its format.
    KINGLET_STATUS_INVALID_FILE = 4, c"invalid_file", Status::InvalidFile;
    /// The request is well formed, but this build, machine or model cannot serve it.
    KINGLET_STATUS_UNSUPPORTED = 5, c"unsupported", Status::Unsupported;
    /// The call would exceed the memory limit, or the system has no memory left.
    KINGLET_STATUS_OUT_OF_MEMORY = 6, c"out_of_memory", Status::OutOfMemory;
    /// The caller cancelled the call, by its cancellation handle or from a callback.
    KINGLET_STATUS_CANCELLED = 7, c"cancelled", Status::Cancelled;
    /// A defect in Kinglet, reported instead of crashing the program.
    KINGLET_STATUS_PANIC = 8, c"panic", Status::Panic;
    /// A defect in Kinglet, found by one of its own checks.
    KINGLET_STATUS_INTERNAL = 9, c"internal", Status::Internal;
    /// The model's queue is full (kinglet_scheduler_options); nothing was done. Try again later.
    KINGLET_STATUS_BUSY = 10, c"busy", Status::Busy;
    /// The deadline in the call's options passed before it was done.
    KINGLET_STATUS_DEADLINE_EXCEEDED = 11, c"deadline_exceeded", Status::DeadlineExceeded;
}

handle! {
    /// Why a call failed.
    pub struct kinglet_error: Owned<Reported>, "error";
    /// Frees an error.
    pub fn kinglet_error_free;
}

/// An error with its message ready for C.
pub(super) struct Reported {
    status: kinglet_status,
    message: CString,
}

impl From<Error> for Reported {
    fn from(error: Error) -> Self {
        // Errors escape control characters, NUL among them.
        let message = CString::new(error.message()).unwrap_or_default();
        Self { status: error.status() as kinglet_status, message }
    }
}

/// The status that the failed call returned; KINGLET_STATUS_OK if `error` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_error_status(error: *const kinglet_error) -> kinglet_status {
    // SAFETY: C passes NULL or a live handle.
    quietly(|| unsafe { handle::borrow(error) }.map_or(KINGLET_STATUS_OK, |reported| reported.status))
}

/// What went wrong and what to do about it, for people: UTF-8, NUL-terminated, valid until `error` is freed. An empty string if
/// `error` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_error_message(error: *const kinglet_error) -> *const c_char {
    // SAFETY: C passes NULL or a live handle.
    match unsafe { handle::borrow(error) } {
        Ok(reported) => reported.message.as_ptr(),
        Err(_) => c"".as_ptr(),
    }
}
