//! Versions.

use std::ffi::c_char;

/// The version of the C ABI that this header describes. It is 0 until Kinglet 1.0: until then a program must be compiled against the
/// header of the minor version (0.1, 0.2, …) that it runs with. From 1 on it changes only when programs must be compiled anew.
pub const KINGLET_ABI_VERSION: u32 = 0;

/// The ABI version of the loaded library: KINGLET_ABI_VERSION, if header and library belong together.
#[unsafe(no_mangle)]
pub extern "C" fn kinglet_abi_version() -> u32 {
    KINGLET_ABI_VERSION
}

/// Does nothing. Referencing this symbol makes linking or loading fail against a library with a different ABI version.
#[unsafe(no_mangle)]
pub extern "C" fn kinglet_abi_v0() {}

/// The version of the loaded library, for instance "0.1.0".
#[unsafe(no_mangle)]
pub extern "C" fn kinglet_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}
