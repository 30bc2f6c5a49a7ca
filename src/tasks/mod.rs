//! Tasks of encoders: one file per task over an [`Engine`](crate::engine::Engine).

mod batches;
pub mod classification;
pub mod embedding;
pub mod hidden;
mod logit_score;
mod prompts;
pub mod token_classification;
