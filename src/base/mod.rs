//! What everything stands on: errors, logging, panics, threads, memory, storage, counters, and what a call carries.

pub mod call;
pub mod counters;
pub mod error;
pub mod log;
pub mod memory;
pub mod panics;
pub mod storage;
pub mod threads;
