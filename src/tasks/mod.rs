//! Tasks: one file or folder per task over an [`Engine`](crate::engine::Engine).

mod batches;
pub mod classification;
pub mod compress;
pub mod embedding;
pub mod hidden;
mod logit_score;
mod prompts;
pub mod token_classification;
