//! Tasks of encoders: one file per task over an [`Engine`](crate::engine::Engine).

pub mod classification;
pub mod embedding;
pub mod hidden;
pub mod token_classification;
