//! The lowest layer: errors, logging, panics, threads, memory, storage, counters, and the context of a call.

pub mod call;
pub mod counters;
pub mod error;
pub mod file_size_guard;
pub mod fork;
pub mod libraries;
pub mod log;
pub mod memory;
pub mod panics;
pub mod storage;
pub mod thread;
pub mod threads;
