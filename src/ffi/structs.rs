//! Structs whose first field, `struct_size`, says which version of them the caller was compiled with. An older caller's struct is
//! shorter: the missing options have their defaults, the missing results are not written. A newer caller's is longer: its additional
//! options must be zero, its additional results are set to zero.

use crate::base::error::{Error, Result};

use super::handle::null;
use super::strings::{KINGLET_TRISTATE_NO, KINGLET_TRISTATE_YES};

/// A struct that starts with `struct_size: usize`.
///
/// # Safety
/// The type is `repr(C)`, its first field is `struct_size: usize`, and every byte pattern with the fields' own rules checked later
/// is a valid value (integers, floats, raw pointers, `Option<extern fn>`).
pub(super) unsafe trait Versioned: Copy {
    const NAME: &'static str;
    /// The size that the struct had in the first version that had it. A literal: it does not grow with the struct.
    const FIRST_SIZE: usize;
}

/// Says that a struct is `Versioned`: its name in messages, and its first size on 64-bit targets.
macro_rules! versioned {
    ($type:ident, $name:literal, $first_size:literal) => {
        // SAFETY: the struct is repr(C) and starts with `struct_size: usize`; `tests/header` checks both, and that all other fields
        // are numbers, raw pointers, optional functions and structs of such.
        unsafe impl $crate::ffi::structs::Versioned for $type {
            const NAME: &'static str = $name;
            const FIRST_SIZE: usize = if cfg!(target_pointer_width = "64") { $first_size } else { size_of::<$type>() };
        }
        const _: () = assert!($first_size <= size_of::<$type>() || !cfg!(target_pointer_width = "64"));
    };
}

pub(super) use versioned;

/// More than any struct will ever have; a larger `struct_size` is an uninitialised struct.
const SANE: usize = 4096;

/// # Safety
/// `pointer` is NULL or points at a struct of at least the size that it states.
unsafe fn stated_size<T: Versioned>(pointer: *const T) -> Result<usize> {
    if pointer.is_null() {
        return Err(null(T::NAME));
    }
    // SAFETY: every version of the struct starts with its size.
    let size = unsafe { pointer.cast::<usize>().read_unaligned() };
    check_size::<T>(size, &format!("{}.struct_size", T::NAME))?;
    Ok(size)
}

fn check_size<T: Versioned>(size: usize, name: &str) -> Result<()> {
    let least = T::FIRST_SIZE;
    if (least..=SANE).contains(&size) {
        return Ok(());
    }
    Err(Error::invalid_argument(format!(
        "{name}: is {size}, and a size from {least} to {SANE} is expected; set it to sizeof the struct"
    )))
}

/// Fills an options struct of the size that the caller was compiled with: never a byte more, whatever this library's own has. A size
/// that no version has had is left in the struct, so that the call that is given it refuses it.
///
/// # Safety
/// `pointer` is NULL or points at `size` bytes that may be written.
pub(super) unsafe fn init<T: Versioned>(pointer: *mut T, size: usize, default: T) {
    if pointer.is_null() || size < size_of::<usize>() {
        return;
    }
    // SAFETY: the caller's promise; both structs have `min(size, size_of::<T>())` bytes, and the size comes first.
    unsafe {
        if check_size::<T>(size, "struct_size").is_ok() {
            std::ptr::write_bytes(pointer.cast::<u8>(), 0, size);
            let known = size.min(size_of::<T>());
            std::ptr::copy_nonoverlapping((&raw const default).cast::<u8>(), pointer.cast::<u8>(), known);
        }
        pointer.cast::<usize>().write_unaligned(size);
    }
}

/// A struct of zeros.
pub(super) fn zeroed<T: Versioned>() -> T {
    // SAFETY: every byte pattern is a valid value, as the trait promises.
    unsafe { std::mem::zeroed() }
}

/// Reads options whose defaults are zero; NULL gives the defaults.
///
/// # Safety
/// As `stated_size`.
pub(super) unsafe fn options<T: Versioned>(pointer: *const T) -> Result<T> {
    // SAFETY: the caller's promise.
    unsafe { options_over(pointer, zeroed()) }
}

/// Reads options; what the caller's version of the struct does not have is as in `default`.
///
/// # Safety
/// As `stated_size`.
pub(super) unsafe fn options_over<T: Versioned>(pointer: *const T, default: T) -> Result<T> {
    if pointer.is_null() {
        return Ok(default);
    }
    // SAFETY: the caller's promise.
    let size = unsafe { stated_size(pointer) }?;
    let mut value = default;
    let ours = size_of::<T>();
    // SAFETY: both structs have `min(size, ours)` bytes; the result is a valid value as the trait promises.
    unsafe { std::ptr::copy_nonoverlapping(pointer.cast::<u8>(), (&raw mut value).cast::<u8>(), size.min(ours)) };
    if size > ours {
        // SAFETY: the caller's struct has `size` bytes.
        let rest = unsafe { std::slice::from_raw_parts(pointer.cast::<u8>().add(ours), size - ours) };
        if rest.iter().any(|&byte| byte != 0) {
            let name = T::NAME;
            return Err(Error::unsupported(format!(
                "{name}: sets a field that this version of Kinglet ({}) does not know",
                env!("CARGO_PKG_VERSION")
            )));
        }
    }
    Ok(value)
}

/// A struct of results to fill, checked before any work is done.
pub(super) struct Results<T> {
    pointer: *mut T,
    size: usize,
}

impl<T: Versioned> Results<T> {
    /// # Safety
    /// As `stated_size`; the struct may be written.
    pub(super) unsafe fn new(pointer: *mut T) -> Result<Self> {
        // SAFETY: the caller's promise.
        let size = unsafe { stated_size(pointer.cast_const()) }?;
        Ok(Self { pointer, size })
    }

    /// Writes the fields that both versions have, except `struct_size`, and zeros into those that only the caller's has.
    pub(super) fn write(self, value: T) {
        let (skip, known) = (size_of::<usize>(), self.size.min(size_of::<T>()));
        let to = self.pointer.cast::<u8>();
        // SAFETY: both structs have `known` bytes, which is at least `struct_size`'s, and the caller's has `size`.
        unsafe {
            std::ptr::copy_nonoverlapping((&raw const value).cast::<u8>().add(skip), to.add(skip), known - skip);
            std::ptr::write_bytes(to.add(known), 0, self.size - known);
        }
    }
}

/// Refuses what a later version may give a meaning.
pub(super) fn reserved(value: u32) -> Result<()> {
    match value {
        0 => Ok(()),
        _ => Err(Error::unsupported(format!("options.reserved: is {value} and must be 0"))),
    }
}

/// Reads a switch that is 0 or 1.
pub(super) fn flag(value: u32, name: &str) -> Result<bool> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(unknown(value, name)),
    }
}

/// Reads a tristate; AUTO is `None`.
pub(super) fn tristate(value: u32, name: &str) -> Result<Option<bool>> {
    choice(value, name, |value| match value {
        KINGLET_TRISTATE_NO => Some(false),
        KINGLET_TRISTATE_YES => Some(true),
        _ => None,
    })
}

/// Reads an enumeration whose 0 is AUTO, which gives `None`.
pub(super) fn choice<T>(value: u32, name: &str, from: impl FnOnce(u32) -> Option<T>) -> Result<Option<T>> {
    if value == 0 { Ok(None) } else { from(value).map(Some).ok_or_else(|| unknown(value, name)) }
}

pub(super) fn unknown(value: u32, name: &str) -> Error {
    Error::invalid_argument(format!("{name}: {value} is not one of its constants in kinglet.h"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    #[repr(C)]
    struct Options {
        struct_size: usize,
        first: u32,
        second: u32,
        /// Added later.
        third: u64,
    }

    versioned!(Options, "options", 16);

    const DEFAULT: Options = Options { struct_size: 24, first: 1, second: 2, third: 3 };

    #[test]
    fn an_older_caller_gets_defaults_for_what_it_does_not_know() {
        let old = [16usize, 0x9_0000_0008];
        // SAFETY: 16 bytes, as stated.
        let read = unsafe { options_over(old.as_ptr().cast::<Options>(), DEFAULT) }.unwrap();
        assert_eq!(read, Options { struct_size: 16, first: 8, second: 9, third: 3 });
    }

    #[test]
    fn a_newer_caller_may_only_use_what_is_known() {
        let mut new = [32usize, 0, 5, 0];
        // SAFETY: 32 bytes, as stated.
        assert_eq!(unsafe { options_over(new.as_ptr().cast::<Options>(), DEFAULT) }.unwrap().third, 5);
        new[3] = 1;
        // SAFETY: as above.
        let error = unsafe { options_over(new.as_ptr().cast::<Options>(), DEFAULT) }.unwrap_err();
        assert_eq!(error.status(), crate::Status::Unsupported);
    }

    #[test]
    fn defaults_fill_the_caller_s_struct_and_no_more() {
        for (size, expected) in [(16usize, [16, 0x2_0000_0001, 77, 77, 77]), (32, [32, 0x2_0000_0001, 3, 0, 77])] {
            let mut space = [77usize; 5];
            // SAFETY: 40 bytes, more than stated.
            unsafe { init(space.as_mut_ptr().cast::<Options>(), size, DEFAULT) };
            assert_eq!(space, expected);
        }
    }

    #[test]
    fn a_size_that_cannot_be_is_left_for_the_call_to_refuse() {
        for (size, expected) in [(0usize, [77; 3]), (7, [77; 3]), (15, [15, 77, 77]), (5000, [5000, 77, 77])] {
            let mut space = [77usize; 3];
            // SAFETY: nothing is written but the size.
            unsafe { init(space.as_mut_ptr().cast::<Options>(), size, DEFAULT) };
            assert_eq!(space, expected);
            // SAFETY: the size is readable.
            assert!(unsafe { options(space.as_ptr().cast::<Options>()) }.is_err() || size < 8);
        }
    }

    #[test]
    fn results_that_this_library_does_not_know_are_zero() {
        let mut new = [40usize, 77, 77, 77, 77, 77];
        // SAFETY: 40 bytes and more, as stated.
        unsafe { Results::new(new.as_mut_ptr().cast::<Options>()) }.unwrap().write(DEFAULT);
        assert_eq!(new, [40, 0x2_0000_0001, 3, 0, 0, 77]);
    }

    #[test]
    fn results_are_written_as_far_as_the_caller_knows_them() {
        let mut old = [16usize, 0, 77];
        // SAFETY: 16 bytes and more, as stated.
        unsafe { Results::new(old.as_mut_ptr().cast::<Options>()) }.unwrap().write(DEFAULT);
        assert_eq!(old, [16, 0x2_0000_0001, 77]);
        old[0] = 15;
        // SAFETY: the size is readable.
        assert!(unsafe { Results::new(old.as_mut_ptr().cast::<Options>()) }.is_err());
    }
}
