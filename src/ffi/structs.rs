//! Structs whose first field, `struct_size`, says which version of them the caller was compiled with. An older caller's struct is
//! shorter: the missing options have their defaults, the missing results are not written. A newer caller's is longer: that is
//! fine as long as it left what this library does not know at zero.

use crate::base::error::{Error, Result};

use super::handle::null;

/// A struct that starts with `struct_size: usize`.
///
/// # Safety
/// The type is `repr(C)`, its first field is `struct_size: usize`, and every byte pattern with the fields' own rules checked later
/// is a valid value (integers, floats, raw pointers, `Option<extern fn>`).
pub(super) unsafe trait Versioned: Copy {
    const NAME: &'static str;
    /// The size that the struct had when it first appeared.
    const FIRST_SIZE: usize;
}

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
        "{name}: is {size}, and a size from {least} to {SANE} is expected; set it to sizeof the struct (option structs: call their \
         _init function)"
    )))
}

/// Fills an options struct of the size that the caller was compiled with: never a byte more, whatever this library's own has.
///
/// # Safety
/// `pointer` is NULL or points at `size` bytes that may be written.
pub(super) unsafe fn init<T: Versioned>(pointer: *mut T, size: usize, default: T) -> Result<()> {
    if pointer.is_null() {
        return Err(null(T::NAME));
    }
    check_size::<T>(size, "struct_size")?;
    // SAFETY: the caller's promise; both structs have `min(size, size_of::<T>())` bytes, and the size comes first.
    unsafe {
        std::ptr::write_bytes(pointer.cast::<u8>(), 0, size);
        let known = size.min(size_of::<T>());
        std::ptr::copy_nonoverlapping((&raw const default).cast::<u8>(), pointer.cast::<u8>(), known);
        pointer.cast::<usize>().write_unaligned(size);
    }
    Ok(())
}

/// Reads options; NULL gives `default`.
///
/// # Safety
/// As `stated_size`.
pub(super) unsafe fn options<T: Versioned>(pointer: *const T, default: T) -> Result<T> {
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

    /// Writes the fields that the caller's version has, but for `struct_size`.
    pub(super) fn write(self, value: T) {
        let (skip, ours) = (size_of::<usize>(), size_of::<T>());
        // SAFETY: both structs have `min(size, ours)` bytes, and that is at least `struct_size`'s.
        unsafe {
            std::ptr::copy_nonoverlapping(
                (&raw const value).cast::<u8>().add(skip),
                self.pointer.cast::<u8>().add(skip),
                self.size.min(ours) - skip,
            );
        }
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

/// Reads a variant; 0 stands for the model's own choice.
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

    // SAFETY: repr(C), `struct_size` first, integers only.
    unsafe impl Versioned for Options {
        const NAME: &'static str = "options";
        const FIRST_SIZE: usize = 16;
    }

    const DEFAULT: Options = Options { struct_size: 24, first: 1, second: 2, third: 3 };

    #[test]
    fn an_older_caller_gets_defaults_for_what_it_does_not_know() {
        let old = [16usize, 0x9_0000_0008];
        // SAFETY: 16 bytes, as stated.
        let read = unsafe { options(old.as_ptr().cast::<Options>(), DEFAULT) }.unwrap();
        assert_eq!(read, Options { struct_size: 16, first: 8, second: 9, third: 3 });
    }

    #[test]
    fn a_newer_caller_may_only_use_what_is_known() {
        let mut new = [32usize, 0, 5, 0];
        // SAFETY: 32 bytes, as stated.
        assert_eq!(unsafe { options(new.as_ptr().cast::<Options>(), DEFAULT) }.unwrap().third, 5);
        new[3] = 1;
        // SAFETY: as above.
        let error = unsafe { options(new.as_ptr().cast::<Options>(), DEFAULT) }.unwrap_err();
        assert_eq!(error.status(), crate::Status::Unsupported);
    }

    #[test]
    fn defaults_fill_the_caller_s_struct_and_no_more() {
        for (size, expected) in [(16usize, [16, 0x2_0000_0001, 77, 77, 77]), (32, [32, 0x2_0000_0001, 3, 0, 77])] {
            let mut space = [77usize; 5];
            // SAFETY: 40 bytes, more than stated.
            unsafe { init(space.as_mut_ptr().cast::<Options>(), size, DEFAULT) }.unwrap();
            assert_eq!(space, expected);
        }
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
