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

mod api;
mod backend;
mod base;
mod engine;
mod families;
pub mod ffi;
#[doc(hidden)]
pub mod formats;
mod generate;
#[doc(hidden)]
pub mod kernels;
mod load;
mod network;
mod spec;
mod tasks;
mod text;
mod vectors;

pub use api::{BatchGoal, BatchSuggestion, CalibrationOptions, CostTable, Curve, Workload, in_batches};
pub use api::{Model, Request};
pub use base::call::{Cancellation, Priority};
pub use base::counters::{Counters, Format, Latency, Snapshot, Stage, StageTotals};
#[doc(hidden)]
pub use base::error::printable;
pub use base::error::{Error, Result, Status};
pub use base::log::{Log, LogLevel};
#[doc(hidden)]
pub use base::threads;
pub use engine::SchedulerOptions;
pub use families::names as families;
pub use generate::constraint::{Grammar, SchemaMode};
#[doc(hidden)]
pub use generate::constraint::{GrammarLimits, GrammarVocabulary};
pub use generate::options::{EarlyStopping, GenerateOptions};
pub use generate::session::{Prefix, Session};
pub use generate::{FinishReason, Generations, Listener, Logits, Output, Piece};
pub use load::devices::{Devices, DevicesOptions, devices};
pub use load::{CalibratedLayer, LoadOptions, QuantizeOptions, quantize};
#[doc(hidden)]
pub use network::provider;
pub use spec::{Device, DeviceInfo, Pooling, Precision};
pub use tasks::classification::{Classifications, ClassifyOptions, Ranking, ScoreFunction};
pub use tasks::compress::{CompressMethod, CompressOptions, CompressUnit, Compression};
pub use tasks::embedding::{EmbedOptions, Embeddings};
pub use tasks::fill_mask::{Fill, FillMaskOptions, MaskFills};
pub use tasks::hidden::HiddenStates;
pub use tasks::sparse::{SparseEmbeddings, SparseOptions};
pub use tasks::token_classification::{Aggregation, Entity, TokenClassifications};
pub use tasks::zero_shot::{ZeroShot, ZeroShotOptions};
pub use text::chat::{ChatOptions, Message, ToolCall, ToolChoice, ToolFormat};
pub use text::encoding::{Encoding, NO_SEQUENCE, Span};
pub use text::tokenizer::{EncodeOptions, Tokenizer};
pub use vectors::{
    EmbeddingCodes, EmbeddingRows, EmbeddingType, EmbeddingValues, SearchHits, SearchOptions, Similarity,
    embedding_ranges, quantize_embeddings, search,
};
