//! Ownership of what C holds. A handle type says once whether it has one owner or counts references, and which Rust type it holds;
//! freeing the wrong kind is then a type error here, not a crash there.

use std::sync::Arc;

use crate::base::error::{Error, Result};

use super::boundary::boundary;
use super::error::{kinglet_error, kinglet_status};

/// An opaque type of the C ABI.
pub(super) trait Handle {
    /// What the pointer points at.
    type Target;
    type Ownership: Ownership<Self::Target>;
    /// The name of the argument in messages.
    const NAME: &'static str;
}

pub(super) trait Ownership<T> {
    fn give(value: T) -> *const T;
    /// # Safety
    /// `pointer` came from `give` (or was retained), and this reference to it is given up.
    unsafe fn release(pointer: *const T);
}

/// One owner.
pub(super) struct Owned;

/// Any number of owners, counted.
pub(super) struct Counted;

impl<T> Ownership<T> for Owned {
    fn give(value: T) -> *const T {
        Box::into_raw(Box::new(value))
    }

    unsafe fn release(pointer: *const T) {
        // SAFETY: `give` made it with `Box::into_raw`.
        drop(unsafe { Box::from_raw(pointer.cast_mut()) });
    }
}

impl<T> Ownership<T> for Counted {
    fn give(value: T) -> *const T {
        Arc::into_raw(Arc::new(value))
    }

    unsafe fn release(pointer: *const T) {
        // SAFETY: `give` made it with `Arc::into_raw`.
        drop(unsafe { Arc::from_raw(pointer) });
    }
}

/// Hands a value over to C.
pub(super) fn give<H: Handle>(value: H::Target) -> *mut H {
    H::Ownership::give(value).cast_mut().cast()
}

/// # Safety
/// `pointer` is NULL or a live handle of its type, and stays so while the result is used.
pub(super) unsafe fn borrow<'a, H: Handle>(pointer: *const H) -> Result<&'a H::Target> {
    // SAFETY: the caller's promise; `as_ref` answers NULL with None.
    unsafe { pointer.cast::<H::Target>().as_ref() }.ok_or_else(|| null(H::NAME))
}

/// # Safety
/// `pointer` is NULL or a live handle of its type, which is not used again.
pub(super) unsafe fn free<H: Handle>(pointer: *mut H) {
    if !pointer.is_null() {
        // SAFETY: the caller's promise.
        unsafe { H::Ownership::release(pointer.cast_const().cast()) };
    }
}

/// Adds a reference to a counted handle.
///
/// # Safety
/// `pointer` is a live handle.
pub(super) unsafe fn retain<H: Handle<Ownership = Counted>>(pointer: *const H) {
    // SAFETY: `give` made it with `Arc::into_raw`, and it is alive.
    unsafe { Arc::increment_strong_count(pointer.cast::<H::Target>()) };
}

/// A place where C wants a result; NULL is refused before any work is done.
pub(super) struct OutPointer<T>(*mut T);

impl<T> OutPointer<T> {
    pub(super) fn new(pointer: *mut T, name: &str) -> Result<Self> {
        if pointer.is_null() { Err(null(name)) } else { Ok(Self(pointer)) }
    }

    pub(super) fn write(self, value: T) {
        // SAFETY: not NULL, and C passes a place for one `T`.
        unsafe { self.0.write(value) };
    }
}

/// Creates a handle for C, after checking the output pointer.
pub(super) fn create<H: Handle>(
    to: *mut *mut H,
    error: *mut *mut kinglet_error,
    work: impl FnOnce() -> Result<H::Target>,
) -> kinglet_status {
    boundary(error, || {
        let to = OutPointer::new(to, H::NAME)?;
        to.write(give(work()?));
        Ok(())
    })
}

/// The item that a caller asks for by its index.
pub(super) fn item<'a, T>(all: &'a [T], index: usize, name: &str) -> Result<&'a T> {
    let count = all.len();
    all.get(index).ok_or_else(|| Error::invalid_argument(format!("{name}: {index} is not below {count}")))
}

/// Declares an opaque type and the function that frees it. `tests/header` reads the same lines.
macro_rules! handle {
    (
        $(#[$doc:meta])*
        pub struct $handle:ident: $ownership:ident<$target:ty>, $name:literal;
        $(#[$free_doc:meta])*
        pub fn $free:ident;
    ) => {
        $(#[$doc])*
        pub struct $handle {
            _private: [u8; 0],
        }

        impl $crate::ffi::handle::Handle for $handle {
            type Target = $target;
            type Ownership = $crate::ffi::handle::$ownership;
            const NAME: &'static str = $name;
        }

        $(#[$free_doc])*
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $free(handle: *mut $handle) {
            // SAFETY: C passes NULL or a live handle and gives it up.
            $crate::ffi::boundary::quietly(|| unsafe { $crate::ffi::handle::free(handle) });
        }
    };
}

pub(super) use handle;

/// Row number `row` of a matrix with rows of `width` values; NULL beyond the end.
pub(super) fn row<T>(values: &[T], width: usize, row: usize) -> *const T {
    let start = row.checked_mul(width);
    let found = start.and_then(|start| values.get(start..)).filter(|rest| !rest.is_empty());
    found.map_or(std::ptr::null(), <[T]>::as_ptr)
}

pub(super) fn null(name: &str) -> Error {
    Error::invalid_argument(format!("{name}: is NULL"))
}
