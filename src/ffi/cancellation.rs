//! Cancellation.

use crate::base::call::Cancellation;

use super::boundary::quietly;
use super::handle::{self, handle};

handle! {
    /// Stops calls from another thread. A cancellation starts unset and, once set, stays set; it may be given to many calls.
    pub struct kinglet_cancellation: Owned<Cancellation>, "cancellation";
    /// Frees a cancellation. Calls that were given it and have begun may still run.
    pub fn kinglet_cancellation_free;
}

/// The cancellation in an options struct, which may be NULL.
///
/// # Safety
/// `pointer` is NULL or a live handle.
pub(super) unsafe fn optional(pointer: *const kinglet_cancellation) -> Option<Cancellation> {
    // SAFETY: the caller's promise.
    unsafe { handle::borrow(pointer) }.ok().cloned()
}

/// Makes a cancellation, which the caller frees with kinglet_cancellation_free. Never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn kinglet_cancellation_new() -> *mut kinglet_cancellation {
    handle::give(Cancellation::new())
}

/// Sets the cancellation: calls that were given it, now and later, end soon with KINGLET_STATUS_CANCELLED. NULL is ignored. May be
/// called while those calls run, also from a callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_cancellation_cancel(cancellation: *mut kinglet_cancellation) {
    // SAFETY: C passes NULL or a live handle.
    quietly(|| unsafe { handle::borrow(cancellation) }.map(Cancellation::cancel).unwrap_or_default());
}
