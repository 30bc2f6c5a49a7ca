//! What a user holds: a loaded model. Clones share it, and every method may be called from any thread at any time.

mod info;
mod verbs;

use std::path::Path;
use std::sync::Arc;

use crate::base::counters::Snapshot;
use crate::base::error::Result;
use crate::load::{LoadOptions, Loaded, load};
use crate::spec::{Device, Precision};
use crate::text::tokenizer::Tokenizer;

/// A loaded model.
#[derive(Clone)]
pub struct Model(pub(crate) Arc<Loaded>);

impl Model {
    /// Loads an unconverted Hugging Face directory (`config.json`, `tokenizer.json` and `model.safetensors`, or shards with their
    /// index, and what lies beside them of sentence-transformers' files), a GGUF file, a `.kinglet` file, or an ONNX export: a
    /// directory with `model.onnx` or the like and no safetensors, or the path of a graph, which ONNX Runtime runs.
    ///
    /// # Errors
    /// A file that is missing, broken or hostile, by name; a family, device or precision that is not supported; a model larger
    /// than the memory limit (nothing has been allocated for it then); cancellation by the progress callback.
    pub fn load(directory: impl AsRef<Path>, options: LoadOptions) -> Result<Self> {
        Ok(Self(Arc::new(load(directory.as_ref(), options)?)))
    }

    pub fn tokenizer(&self) -> &Tokenizer {
        &self.0.engine.tokenizer
    }

    /// The counters of this model since it was loaded or they were reset.
    pub fn counters(&self) -> Snapshot {
        let mut snapshot = self.0.engine.counters.read();
        snapshot.device_memory = self.device_memory();
        snapshot
    }

    pub fn reset_counters(&self) {
        self.0.engine.counters.reset();
    }

    /// The number of values in a hidden state.
    pub fn hidden_size(&self) -> usize {
        self.0.engine.spec.hidden()
    }

    /// The most tokens of a text, special ones counted; longer texts are cut.
    pub fn max_length(&self) -> usize {
        self.0.engine.max_length
    }

    /// The `model_type` of `config.json`.
    pub fn family(&self) -> &'static str {
        self.0.engine.spec.family
    }

    /// Ids run from 0 to this number less 1.
    pub fn vocabulary_size(&self) -> usize {
        self.0.engine.spec.vocabulary
    }

    /// Bytes of the weights in memory.
    pub fn weight_bytes(&self) -> u64 {
        self.0.weight_bytes
    }

    pub fn device(&self) -> Device {
        self.0.device
    }

    /// The precision that runs; never `Auto`.
    pub fn precision(&self) -> Precision {
        self.0.precision
    }

    /// Threads that one call may use, the caller's counted.
    pub fn threads(&self) -> usize {
        self.0.engine.pool.threads()
    }

    /// Which of the devices of its kind it runs on.
    pub fn device_index(&self) -> usize {
        self.0.device_index
    }

    /// Bytes that the model holds on a GPU now, weights and caches; 0 for one that runs on the CPU.
    pub fn device_memory(&self) -> u64 {
        match self.0.device {
            Device::Cpu | Device::CandleCpu => 0,
            Device::Cuda | Device::Metal => self.0.weight_bytes + self.cache_bytes(),
        }
    }

    /// Names of the classification head's outputs; empty for a model without a head.
    pub fn labels(&self) -> &[String] {
        &self.0.classifier.labels
    }

    /// Whether the model can generate text.
    pub fn can_generate(&self) -> bool {
        self.0.engine.spec.language.is_some()
    }

    /// Whether texts are read by an encoder.
    pub fn has_encoder(&self) -> bool {
        self.0.engine.spec.encoder.is_some()
    }

    /// Bytes that the caches of generation take now, those kept for the next calls too.
    pub fn cache_bytes(&self) -> u64 {
        self.0.engine.network.cache_bytes()
    }
}
