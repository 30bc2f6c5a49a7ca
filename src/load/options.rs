//! What a caller may ask of a load.

use std::path::Path;

use crate::base::call::Cancellation;
use crate::base::log::Log;
use crate::spec::{Device, Precision};

/// How a model is to be loaded. The default: on the CPU, in the checkpoint's own precision, on all cores, without a limit.
#[derive(Default)]
pub struct LoadOptions<'a> {
    pub device: Device,
    /// Which of the devices of that kind, from 0.
    pub device_index: usize,
    pub precision: Option<Precision>,
    /// Threads that one call may use, the caller's counted; 0 stands for as many as the process may use.
    pub threads: usize,
    /// Bytes that the model may take: its weights, its tokenizer (estimated from the file's size), the activations of one pass, and
    /// the keys and values of the texts that it generates. 0 stands for no limit.
    pub memory_limit: u64,
    /// Bytes that finished generations may be remembered in; 0 (the default) remembers none.
    pub answer_cache: usize,
    /// Called with the done share of the work, from 0 to 1, on the loading thread; returning false cancels the load.
    pub progress: Option<&'a mut dyn FnMut(f32) -> bool>,
    /// The shared library of ONNX Runtime, for ONNX graphs. None: what `ORT_DYLIB_PATH` names, else the system's. A process can open one.
    pub onnxruntime: Option<&'a Path>,
    pub cancellation: Option<Cancellation>,
    pub log: Log,
}
