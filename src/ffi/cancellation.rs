//! A switch that stops long calls from another thread.

use crate::base::call::Cancellation;
use crate::base::error::Result;

use super::boundary::{boundary, quietly};
use super::error::{kinglet_error, kinglet_status};
use super::handle::{self, Alone, Handle, Place};

/// A switch that stops the calls that were given it. It starts unset and, once set, stays so; one switch may serve many calls.
pub struct kinglet_cancellation {
    _private: [u8; 0],
}

impl Handle for kinglet_cancellation {
    type Target = Cancellation;
    type Ownership = Alone;
    const NAME: &'static str = "cancellation";
}

/// The switch in an options struct: NULL is none.
///
/// # Safety
/// `pointer` is NULL or a live handle.
pub(super) unsafe fn optional(pointer: *const kinglet_cancellation) -> Option<Cancellation> {
    // SAFETY: the caller's promise.
    unsafe { handle::borrow(pointer) }.ok().cloned()
}

/// Makes a switch, which the caller frees with kinglet_cancellation_free. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_cancellation_new(
    cancellation: *mut *mut kinglet_cancellation,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        Place::new(cancellation, "cancellation")?.write(handle::give(Cancellation::new()));
        Ok(())
    })
}

/// Sets the switch: calls that were given it, now and later, end soon with KINGLET_STATUS_CANCELLED. Any thread, also while those
/// calls run.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_cancellation_cancel(
    cancellation: *const kinglet_cancellation,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || -> Result<()> {
        // SAFETY: C passes a live handle.
        unsafe { handle::borrow(cancellation) }?.cancel();
        Ok(())
    })
}

/// Frees a switch. NULL does nothing. Calls that were given it and have begun may still run; no other thread may be inside
/// kinglet_cancellation_cancel with it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_cancellation_free(cancellation: *mut kinglet_cancellation) {
    // SAFETY: C passes NULL or a live handle and gives it up.
    quietly(|| unsafe { handle::free(cancellation) });
}
