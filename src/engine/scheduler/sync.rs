//! What `turns.rs` needs of threads. The model checker's test has its own version.

pub use std::sync::atomic::{AtomicU32, Ordering};
pub use std::thread::{Thread, current, park, park_timeout};

pub use crate::base::fork::Lock;
