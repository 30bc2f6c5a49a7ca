//! The library's version and that of its ABI.

use std::ffi::c_char;

/// The version of the C ABI that this header describes. It changes only when programs must be compiled anew.
pub const KINGLET_ABI_VERSION: u32 = 1;

/// The version of the C ABI that the loaded library has; equal to KINGLET_ABI_VERSION if header and library belong together.
/// Never fails. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn kinglet_abi_version() -> u32 {
    KINGLET_ABI_VERSION
}

/// Does nothing. A program that refers to it cannot be linked with, or loaded beside, a library of another ABI. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn kinglet_abi_v1() {}

/// The library's version, for instance "0.1.0": NUL-terminated, and valid for as long as the library is loaded. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn kinglet_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}
