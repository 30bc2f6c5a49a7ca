//! Options of loading a model.

use std::path::Path;

use crate::base::call::Cancellation;
use crate::base::log::Log;
use crate::engine::SchedulerOptions;
use crate::spec::{Device, Precision};

/// How to load a model. The default: on the CPU, in the checkpoint's own precision, on all cores, without a memory limit.
#[derive(Default)]
pub struct LoadOptions<'a> {
    pub device: Device,
    /// The index among the devices of that kind, from 0.
    pub device_index: usize,
    pub precision: Option<Precision>,
    /// Threads that one call may use, including the caller's; 0 means as many as the process may use.
    pub threads: usize,
    /// Maximum bytes of the model: its weights, its tokenizer (estimated from the file's size), the activations of one pass, and
    /// the KV caches of generation. 0 means no limit.
    pub memory_limit: u64,
    /// Whether the files of weights are mapped; None means yes. Not mapped, they are read into memory and checked once: nothing that
    /// happens to the files later reaches the model or the process. Loading then takes the size of the files in memory, during the load
    /// or, of a `.kinglet` file, as long as the model lives.
    pub map_files: Option<bool>,
    /// The longest text, in bytes, that a call on the model tokenises; a longer one is refused. None means 256 MB.
    pub max_text_bytes: Option<u64>,
    /// Size in bytes of an LRU cache of finished generations; 0 (the default) means no cache.
    pub answer_cache: usize,
    /// Called on the loading thread with the fraction of the work that is done; returning false cancels the load.
    pub progress: Option<&'a mut dyn FnMut(f32) -> bool>,
    /// The shared library of ONNX Runtime, for ONNX graphs. None: `ORT_DYLIB_PATH`, or else the system's. One per process.
    pub onnxruntime: Option<&'a Path>,
    /// How calls share passes, and how many may wait.
    pub scheduler: SchedulerOptions,
    pub cancellation: Option<Cancellation>,
    pub log: Log,
}
