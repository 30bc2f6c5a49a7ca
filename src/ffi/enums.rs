//! How an enumeration of C is written: a `uint32_t` with named values, so that a number that this version does not know is an error
//! and not undefined behaviour.

/// Declares the type, its constants and the function that names its values. Where a value has a counterpart in Rust, the two
/// numbers are compared at compile time. `tests/header` reads the same lines for the header and the enums of C++ and Go.
macro_rules! enumeration {
    (
        $(#[$doc:meta])*
        pub type $type:ident, $name:ident;
        $($(#[$value_doc:meta])* $constant:ident = $value:literal, $text:literal $(, $native:path)?;)*
    ) => {
        $(#[$doc])*
        pub type $type = u32;
        $($(#[$value_doc])* pub const $constant: $type = $value;)*
        $($(const _: () = assert!($constant == $native as u32);)?)*

        /// The short name of a value; "unknown" for a number that this version does not know.
        #[unsafe(no_mangle)]
        pub extern "C" fn $name(value: $type) -> *const std::ffi::c_char {
            let name: &std::ffi::CStr = match value {
                $($constant => $text,)*
                _ => c"unknown",
            };
            name.as_ptr()
        }
    };
}

pub(super) use enumeration;
