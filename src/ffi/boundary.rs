//! The one place where panics stop and errors become values.

use crate::base::error::{Error, Result, Status};
use crate::base::panics::{describe, guarded};

use super::error::{kinglet_error, kinglet_status};
use super::handle;

/// Runs `work`; a failure is stored in `*error`, where the caller gave one, and its status returned.
pub(super) fn boundary(error: *mut *mut kinglet_error, work: impl FnOnce() -> Result<()>) -> kinglet_status {
    let failure = match guarded(work) {
        Ok(Ok(())) => return Status::Ok as kinglet_status,
        Ok(Err(failure)) => failure,
        Err(payload) => Error::new(Status::Panic, describe(&*payload)),
    };
    let status = failure.status() as kinglet_status;
    if !error.is_null() {
        // SAFETY: C passes NULL or a place for one pointer.
        unsafe { error.write(handle::give::<kinglet_error>(failure.into())) };
    }
    status
}

/// For functions that return nothing or a plain value: a panic gives the default.
pub(super) fn quietly<T: Default>(work: impl FnOnce() -> T) -> T {
    guarded(work).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffi::{kinglet_error_free, kinglet_error_message, kinglet_error_status};
    use std::ffi::CStr;

    #[test]
    fn a_panic_becomes_an_error_with_its_message() {
        let mut error = std::ptr::null_mut();
        let status = boundary(&mut error, || panic!("number {}", 7));
        assert_eq!(status, Status::Panic as kinglet_status);
        // SAFETY: the error was just made.
        let (status, message) = unsafe { (kinglet_error_status(error), CStr::from_ptr(kinglet_error_message(error))) };
        assert_eq!(status, Status::Panic as kinglet_status);
        assert!(message.to_str().unwrap().contains("number 7"));
        // SAFETY: and is freed once.
        unsafe { kinglet_error_free(error) };
    }

    #[test]
    fn a_caller_may_pass_no_error() {
        assert_eq!(boundary(std::ptr::null_mut(), || Err(Error::cancelled())), Status::Cancelled as kinglet_status);
    }
}
