//! The one place where panics stop and errors become values.

use std::cell::Cell;

use crate::base::error::{Error, Result, Status};
use crate::base::panics::{describe, guarded};

use super::error::{kinglet_error, kinglet_status};
use super::handle;

thread_local! {
    /// Whether this thread is inside a callback that must not call Kinglet.
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`; a failure is stored in `*error`, where the caller gave one, and its status returned.
pub(super) fn boundary(error: *mut *mut kinglet_error, work: impl FnOnce() -> Result<()>) -> kinglet_status {
    let failure = match guarded(|| outside_callbacks().and_then(|()| work())) {
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

fn outside_callbacks() -> Result<()> {
    match IN_CALLBACK.get() {
        false => Ok(()),
        true => Err(Error::invalid_argument(
            "a progress, log or log_release callback called Kinglet; it must return first (see \"Callbacks\" in kinglet.h)",
        )),
    }
}

/// For functions that return nothing or a plain value: a panic gives the default.
pub(super) fn quietly<T: Default>(work: impl FnOnce() -> T) -> T {
    guarded(work).unwrap_or_default()
}

/// Runs a callback that must not call Kinglet: it may run while the library holds locks.
pub(super) fn callback<T>(run: impl FnOnce() -> T) -> T {
    let before = IN_CALLBACK.replace(true);
    let result = run();
    IN_CALLBACK.set(before);
    result
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

    #[test]
    fn calls_from_a_callback_are_refused() {
        let call = || boundary(std::ptr::null_mut(), || Ok(()));
        assert_eq!(callback(|| callback(call)), Status::InvalidArgument as kinglet_status);
        assert_eq!(call(), Status::Ok as kinglet_status);
    }
}
