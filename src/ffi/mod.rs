//! The C ABI: the only place with exported functions. One file per noun; `boundary` catches panics and turns errors into values,
//! `handle` owns what C holds, `structs` reads and writes structs whose size C states, `enums` declares enumerations. Nothing is decided
//! here: every function checks its arguments, calls the safe API and wraps the result.
//!
//! The header `include/kinglet.h`, `docs/api.json` and the enums of C++ and Go are generated from these files by `tests/header`: the
//! comments on public items are the documentation of the C API. Options whose default is not zero, and arrays of structs without a
//! `struct_size`, must not be added: see `docs/abi-policy.md`.
#![allow(non_camel_case_types, clippy::missing_safety_doc)]

mod answers;
mod arrow;
mod batch_size;
mod boundary;
mod cancellation;
mod chat;
mod classification;
mod compression;
mod counters;
mod device;
mod embedding;
mod encoding;
mod enums;
mod error;
mod fill_mask;
mod generate_options;
mod generation;
mod handle;
mod hidden;
mod logits;
mod model;
mod prefix;
mod quantize;
mod request;
mod rerank;
mod scheduler;
mod search;
mod session;
mod sparse;
mod strings;
mod structs;
mod token_classification;
mod version;
mod zero_shot;

pub use arrow::*;
pub use batch_size::*;
pub use cancellation::*;
pub use chat::*;
pub use classification::*;
pub use compression::*;
pub use counters::*;
pub use device::*;
pub use embedding::*;
pub use encoding::*;
pub use error::*;
pub use fill_mask::*;
pub use generate_options::*;
pub use generation::*;
pub use hidden::*;
pub use logits::*;
pub use model::*;
pub use prefix::*;
pub use quantize::*;
pub use request::*;
pub use rerank::*;
pub use scheduler::*;
pub use search::*;
pub use session::*;
pub use sparse::*;
pub use strings::*;
pub use token_classification::*;
pub use version::*;
pub use zero_shot::*;
