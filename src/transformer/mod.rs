//! The transformer, written once: it reads a [`spec::Spec`] and computes through a [`crate::backend::Backend`].

pub mod encoder;
pub mod relative;
pub mod spec;
pub mod weights;
