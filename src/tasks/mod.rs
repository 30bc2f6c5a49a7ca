//! What a model is used for: each file adds one task's methods to [`crate::Model`].

pub mod classification;
pub mod embedding;
pub mod hidden;
pub mod pooling;
pub mod token_classification;
