//! The public handle of a loaded model. Clones share the model; every method may be called from any thread at any time.

mod batch_size;
mod calibrate;
mod info;
mod request;
mod verbs;

use std::path::Path;
use std::sync::Arc;

use crate::base::counters::Snapshot;
use crate::base::error::Result;
use crate::load::{LoadOptions, Loaded, load};
use crate::spec::{Device, Precision};
use crate::text::tokenizer::Tokenizer;

pub use batch_size::{BatchGoal, BatchSuggestion, CostTable, Curve, Workload, in_batches};
pub use calibrate::CalibrationOptions;
pub use request::Request;

/// A loaded model.
#[derive(Clone)]
pub struct Model(pub(crate) Arc<Loaded>);

impl Model {
    /// Loads an unconverted Hugging Face directory (`config.json`, `tokenizer.json` and `model.safetensors`, or shards with their
    /// index, and the optional sentence-transformers files), a GGUF file, a `.kinglet` file, or an ONNX export, which ONNX Runtime
    /// runs: a directory with `model.onnx` or the like and without safetensors, or the path of a graph. Where there is no such file, a
    /// name on the Hugging Face hub, as `sentence-transformers/all-MiniLM-L6-v2` (or a file in such a model), is looked up in the hub's
    /// local cache (`HF_HUB_CACHE`, `HF_HOME`, `~/.cache/huggingface/hub`); nothing is downloaded.
    ///
    /// # Errors
    /// A missing, broken or hostile file (named in the message); an unsupported family, device or precision; a model larger than
    /// the memory limit (refused before anything is allocated); cancellation by the progress callback.
    pub fn load(directory: impl AsRef<Path>, options: LoadOptions) -> Result<Self> {
        Ok(Self(Arc::new(load(directory.as_ref(), options)?)))
    }

    pub fn tokenizer(&self) -> &Tokenizer {
        &self.0.engine.tokenizer
    }

    /// The counters of this model since it was loaded or the counters were reset.
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

    /// The number of values in an embedding: by the model's own modules and its `truncate_dim`.
    pub fn embedding_size(&self) -> usize {
        let Loaded { engine, embedding, .. } = &*self.0;
        let width = engine.modules.graph.unwrap_or_else(|| engine.modules.width(engine.spec.hidden()));
        embedding.truncate_dim.map_or(width, |dim| dim.min(width))
    }

    /// The maximum number of tokens per text, including special tokens; longer texts are truncated.
    pub fn max_length(&self) -> usize {
        self.0.engine.max_length
    }

    /// The `model_type` of `config.json`.
    pub fn family(&self) -> &'static str {
        self.0.engine.spec.family
    }

    /// Token ids are below this number.
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

    /// The precision in use; never `Auto`.
    pub fn precision(&self) -> Precision {
        self.0.precision
    }

    /// Threads that one call may use, including the caller's.
    pub fn threads(&self) -> usize {
        self.0.engine.pool.threads()
    }

    /// The index of the device that the model runs on, among devices of its kind.
    pub fn device_index(&self) -> usize {
        self.0.device_index
    }

    /// Bytes that the model holds on a GPU now: weights and KV caches. 0 for a model that runs on the CPU.
    pub fn device_memory(&self) -> u64 {
        match self.0.device {
            Device::Cpu | Device::CandleCpu => 0,
            Device::Cuda | Device::Metal => self.0.weight_bytes + self.cache_bytes(),
        }
    }

    /// Names of the classification head's outputs; empty for a model without such a head.
    pub fn labels(&self) -> &[String] {
        &self.0.classifier.labels
    }

    /// Whether the model can generate text.
    pub fn can_generate(&self) -> bool {
        self.0.engine.spec.language.is_some()
    }

    /// Whether the model has an encoder.
    pub fn has_encoder(&self) -> bool {
        self.0.engine.spec.encoder.is_some()
    }

    /// Whether [`Model::session`] works: the model is a decoder and has a chat template.
    pub fn can_chat(&self) -> bool {
        self.0.generator.can_chat()
    }

    /// Bytes that KV caches take now, including those kept for later calls.
    pub fn cache_bytes(&self) -> u64 {
        self.0.engine.network.cache_bytes()
    }
}
