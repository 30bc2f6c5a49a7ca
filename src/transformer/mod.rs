//! The transformer, written once: it reads a [`spec::Spec`] and computes through a [`crate::backend::Backend`].

mod decoder;
pub(crate) mod encoder;
pub mod network;
mod relative;
mod rotary;
pub mod spec;
mod stack;
pub mod weights;
