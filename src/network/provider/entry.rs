//! The provider as a library: the one function that the main library looks for.

use kinglet::provider::{FunctionTable, table};

/// Returns the function table of this build, which is static.
#[unsafe(no_mangle)]
pub extern "C" fn kinglet_provider() -> *const FunctionTable {
    table()
}
