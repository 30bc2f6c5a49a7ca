//! Kinglet runs small language models inside other people's programs.
//!
//! This is the safe Rust API; the C API in `include/kinglet.h` has the same nouns and verbs.
//!
//! ```no_run
//! use kinglet::{LoadOptions, Model};
//!
//! let model = Model::load("all-MiniLM-L6-v2", LoadOptions::default())?;
//! let embeddings = model.embed(&["a small bird", "the quickest of its woods"], &Default::default())?;
//! println!("{} values", embeddings.row(0).len());
//! # Ok::<(), kinglet::Error>(())
//! ```

pub mod backend;
mod batching;
mod call;
pub mod counters;
pub mod devices;
mod encoding;
mod error;
mod families;
pub mod ffi;
#[doc(hidden)]
pub mod formats;
mod generation;
#[doc(hidden)]
pub mod jinja;
#[doc(hidden)]
pub mod kernels;
mod loading;
mod log;
mod memory;
mod model;
#[cfg(feature = "onnx")]
mod onnx;
mod packing;
mod panics;
#[doc(hidden)]
pub mod provider;
mod storage;
mod tasks;
#[doc(hidden)]
pub mod threads;
mod tokenizer;
mod transformer;

pub use backend::{Device, Precision};
pub use call::Cancellation;
pub use counters::{Counters, Format, Latency, Snapshot, Stage, StageTotals};
pub use devices::{DeviceInfo, Devices, devices};
pub use encoding::{Encoding, NO_SEQUENCE, Span};
pub use error::{Error, Result, Status};
pub use families::names as families;
pub use generation::chat::Message;
pub use generation::constraint::Grammar;
pub use generation::options::{EarlyStopping, GenerateOptions};
pub use generation::session::{Prefix, Session};
pub use generation::{Event, FinishReason, Generations, Listener, Logits, Output};
pub use loading::LoadOptions;
pub use log::{Log, LogLevel};
pub use model::Model;
pub use packing::quantize;
pub use tasks::classification::{Classifications, ClassifyOptions, ScoreFunction};
pub use tasks::embedding::{EmbedOptions, Embeddings};
pub use tasks::hidden::HiddenStates;
pub use tasks::pooling::Pooling;
pub use tasks::token_classification::{Aggregation, Entity, TokenClassifications};
pub use tokenizer::{EncodeOptions, Tokenizer};
