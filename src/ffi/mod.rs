//! The C ABI: the only home of `no_mangle`. One file a noun; `boundary` catches panics and turns errors into values, `handle` owns
//! what C holds, `structs` reads and writes structs whose size C states. Nothing is decided here: every function checks its
//! arguments, calls the safe API and wraps the result.
//!
//! The header `include/kinglet.h` is generated from this module: the comments on its items are C documentation.
#![allow(non_camel_case_types, clippy::missing_safety_doc)]

mod boundary;
mod cancellation;
mod classification;
mod counters;
mod device;
mod embedding;
mod encoding;
mod error;
mod generate_options;
mod generation;
mod handle;
mod hidden;
mod model;
mod session;
mod strings;
mod structs;
mod token_classification;
mod version;

pub use cancellation::*;
pub use classification::*;
pub use counters::*;
pub use device::*;
pub use embedding::*;
pub use encoding::*;
pub use error::*;
pub use generate_options::*;
pub use generation::*;
pub use hidden::*;
pub use model::*;
pub use session::*;
pub use strings::*;
pub use token_classification::*;
pub use version::*;
