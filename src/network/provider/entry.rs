//! The provider as a library: the one function that the main library looks for.

use kinglet::provider::{Table, table};

/// Hands out the functions of this build; they are never freed.
#[unsafe(no_mangle)]
pub extern "C" fn kinglet_provider() -> *const Table {
    table()
}
