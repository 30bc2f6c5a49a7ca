//! Tasks: one file or folder per task over an [`Engine`](crate::engine::Engine).

mod batches;
pub mod classification;
pub mod compress;
pub mod embedding;
pub mod fill_mask;
pub mod hidden;
mod logit_score;
mod prompts;
pub mod sparse;
pub mod token_classification;
pub mod zero_shot;
