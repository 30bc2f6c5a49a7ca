//! What a user holds: a loaded model. Clones share it, and every method may be called from any thread at any time.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use serde_json::{Value, json};

use crate::backend::{Device, Precision};
use crate::batching;
use crate::call::{Call, Cancellation};
use crate::counters::{Counters, Snapshot, Stage};
use crate::encoding::Encoding;
use crate::error::{Error, Result};
use crate::generation::answers::Answers;
use crate::generation::constraint::Vocabulary;
use crate::generation::options::Defaults;
use crate::generation::template::ChatTemplate;
use crate::loading::{self, LoadOptions};
use crate::log::Log;
use crate::memory::Budget;
use crate::tasks::classification::ClassifierSettings;
use crate::tasks::embedding::EmbeddingSettings;
use crate::threads::Pool;
use crate::tokenizer::{EncodeOptions, Tokenizer};
use crate::transformer::network::Network;
use crate::transformer::spec::{Position, Spec, Stack};

/// A loaded model.
#[derive(Clone)]
pub struct Model(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub directory: PathBuf,
    pub device: Device,
    pub device_index: usize,
    pub precision: Precision,
    pub spec: Spec,
    pub network: Box<dyn Network>,
    pub tokenizer: Tokenizer,
    /// The most tokens of a text, special ones counted.
    pub max_length: usize,
    pub embedding: EmbeddingSettings,
    pub classifier: ClassifierSettings,
    pub pool: Arc<Pool>,
    pub counters: Counters,
    pub weight_bytes: u64,
    /// What the caches of generation may take.
    pub budget: Arc<Budget>,
    /// What the model's files say of generation.
    pub generation: Defaults,
    pub answers: Answers,
    /// The chat template, or why there is none.
    pub chat: Result<ChatTemplate>,
    /// Kept, so that its target is released with the model and not before.
    pub _log: Log,
    /// The vocabulary as grammars need it, made when the first one comes.
    pub grammar: OnceLock<Result<Vocabulary>>,
}

impl Model {
    /// Loads an unconverted Hugging Face directory (`config.json`, `tokenizer.json` and `model.safetensors`, or shards with their
    /// index, and what lies beside them of sentence-transformers' files), a GGUF file, a `.kinglet` file, or an ONNX export: a
    /// directory with `model.onnx` or the like and no safetensors, or the path of a graph, which ONNX Runtime runs.
    ///
    /// # Errors
    /// A file that is missing, broken or hostile, by name; a family, device or precision that is not supported; a model larger
    /// than the memory limit (nothing has been allocated for it then); cancellation by the progress callback.
    pub fn load(directory: impl AsRef<Path>, options: LoadOptions) -> Result<Self> {
        loading::load(directory.as_ref(), options)
    }

    /// Tokenises a batch of texts, or of pairs, without running the model. Texts longer than the model takes are cut, as the
    /// tokenizer's files say, unless `options` sets another limit.
    pub fn tokenize(
        &self,
        texts: &[&str],
        pairs: Option<&[&str]>,
        options: &EncodeOptions,
        cancellation: Option<&Cancellation>,
    ) -> Result<Encoding> {
        self.call(cancellation, |call| self.encode(texts, pairs, options, call), Encoding::shape)
    }

    /// Token ids back to text.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String> {
        self.0.tokenizer.decode(ids, skip_special_tokens)
    }

    pub fn tokenizer(&self) -> &Tokenizer {
        &self.0.tokenizer
    }

    /// The counters of this model since it was loaded or they were reset.
    pub fn counters(&self) -> Snapshot {
        let mut snapshot = self.0.counters.read();
        snapshot.device_memory = self.device_memory();
        snapshot
    }

    pub fn reset_counters(&self) {
        self.0.counters.reset();
    }

    /// The number of values in a hidden state.
    pub fn hidden_size(&self) -> usize {
        self.0.spec.hidden()
    }

    /// The most tokens of a text, special ones counted; longer texts are cut.
    pub fn max_length(&self) -> usize {
        self.0.max_length
    }

    /// The `model_type` of `config.json`.
    pub fn family(&self) -> &'static str {
        self.0.spec.family
    }

    /// Ids run from 0 to this number less 1.
    pub fn vocabulary_size(&self) -> usize {
        self.0.spec.vocabulary
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
        self.0.pool.threads()
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

    /// What was loaded and how it runs, as one JSON object.
    pub fn info(&self) -> Value {
        let Inner { spec, embedding, classifier, .. } = &*self.0;
        let head = spec.head.as_ref().map(|head| format!("{:?}", head.kind).to_lowercase());
        let pooling = match &embedding.pooling {
            Ok(pooling) => json!(pooling.name()),
            Err(error) => json!(error.message()),
        };
        let mut info = json!({
            "path": self.0.directory.display().to_string(),
            "family": spec.family,
            "device": self.0.device.name(),
            "device_index": self.0.device_index,
            "device_memory": self.device_memory_info(),
            "precision": self.0.precision.name(),
            "kernels": self.0.network.describe(),
            "threads": self.0.pool.threads(),
            "weight_bytes": self.0.weight_bytes,
            "max_length": self.0.max_length,
            "vocabulary": spec.vocabulary,
            "max_tokens": spec.max_tokens(),
            "encoder": spec.encoder.as_ref().map(describe),
            "decoder": spec.decoder.as_ref().map(describe),
            "embedding": { "pooling": pooling, "normalize": embedding.normalize },
            "head": head,
            "labels": classifier.labels,
        });
        if let (Value::Object(info), Value::Object(more)) = (&mut info, self.0.network.info()) {
            info.extend(more);
        }
        info
    }

    /// A GPU's memory: the model's, all, and what nobody uses; null for a model that runs on the CPU.
    fn device_memory_info(&self) -> Value {
        let of_kind = match self.0.device {
            Device::Cpu | Device::CandleCpu => return Value::Null,
            device => crate::devices::of_kind(device).unwrap_or_default(),
        };
        let info = of_kind.into_iter().find(|info| info.index == self.0.device_index);
        json!({
            "used_by_model": self.device_memory(),
            "total": info.as_ref().map(|info| info.memory_total),
            "free": info.as_ref().map(|info| info.memory_free),
        })
    }

    /// The model's chat template.
    pub(crate) fn chat_template(&self) -> Result<&ChatTemplate> {
        self.0.chat.as_ref().map_err(Error::clone)
    }

    /// The vocabulary as grammars need it.
    pub(crate) fn grammar_vocabulary(&self) -> Result<&Vocabulary> {
        let made = self.0.grammar.get_or_init(|| {
            let eos = self.0.generation.eos();
            Vocabulary::new(self.0.tokenizer.inner()?, self.0.spec.vocabulary, eos)
        });
        made.as_ref().map_err(Error::clone)
    }

    /// Bytes that the caches of generation take now, those kept for the next calls too.
    pub fn cache_bytes(&self) -> u64 {
        self.0.network.cache_bytes()
    }

    pub(crate) fn encode(
        &self,
        texts: &[&str],
        pairs: Option<&[&str]>,
        options: &EncodeOptions,
        call: Call<'_>,
    ) -> Result<Encoding> {
        let max_length = options.max_length.unwrap_or(self.0.max_length);
        let options = EncodeOptions { max_length: Some(max_length), ..options.clone() };
        self.0.tokenizer.encode(texts, pairs, &options, &self.0.pool, call)
    }

    /// Runs a whole call: hands out its context, and counts it if it succeeds. `shape` tells its items and tokens.
    pub(crate) fn call<T>(
        &self,
        cancellation: Option<&Cancellation>,
        work: impl FnOnce(Call<'_>) -> Result<T>,
        shape: impl FnOnce(&T) -> (usize, usize),
    ) -> Result<T> {
        let start = Instant::now();
        let call = Call { counters: &self.0.counters, cancelled: cancellation.map(Cancellation::flag) };
        let result = work(call)?;
        let (items, tokens) = shape(&result);
        self.0.counters.call(items, tokens, start.elapsed());
        Ok(result)
    }

    /// Runs an encoding through the model a pass at a time and strings the passes' rows together, `values` numbers in all: growing
    /// step by step would hold a large result twice. A large batch runs a pass a thread, so that threads wait for each other only at
    /// the end; a small one shares each pass among them.
    pub(crate) fn passes(
        &self,
        encoding: &Encoding,
        values: usize,
        call: Call<'_>,
        run: impl Fn(&batching::Pass) -> Result<Vec<f32>> + Sync,
    ) -> Result<Vec<f32>> {
        let mut rows = Vec::with_capacity(values);
        let pool = &self.0.pool;
        let longest = encoding.starts().windows(2).map(|bounds| bounds[1] - bounds[0]).max().unwrap_or(0);
        let tokens = self.0.network.pass_tokens();
        let apart =
            self.0.network.thread_pass_tokens().filter(|&part| {
                pool.threads() > 1 && longest <= tokens && encoding.tokens() >= 2 * part * pool.threads()
            });
        let mut passes = batching::passes(encoding, apart.unwrap_or(tokens));
        let mut next = || {
            let start = Instant::now();
            let pass = passes.next()?;
            call.counters.add(Stage::Pack, pass.layout.sequences(), pass.layout.tokens(), start.elapsed());
            Some(pass)
        };
        if apart.is_none() {
            while let Some(pass) = next() {
                rows.extend(run(&pass)?);
            }
            return Ok(rows);
        }
        let passes: Vec<batching::Pass> = std::iter::from_fn(next).collect();
        let parts = Mutex::new(Parts { rows, next: 0, early: passes.iter().map(|_| None).collect(), error: None });
        let parts_of = || parts.lock().unwrap_or_else(PoisonError::into_inner);
        pool.run(passes.len(), |i| {
            if parts_of().error.is_none() {
                let part = run(&passes[i]);
                parts_of().add(i, part);
            }
        });
        let Parts { rows, error, .. } = parts.into_inner().unwrap_or_else(PoisonError::into_inner);
        error.map_or(Ok(rows), Err)
    }

    /// Refuses a task that the model has no head for.
    pub(crate) fn require_head(&self, kind: crate::transformer::spec::HeadKind, task: &str) -> Result<()> {
        match &self.0.spec.head {
            Some(head) if head.kind == kind => Ok(()),
            _ => {
                let directory = self.0.directory.display();
                Err(Error::unsupported(format!(
                    "{directory}: the model has no head for {task} (config.json's \"architectures\" says what it has)"
                )))
            }
        }
    }
}

/// Rows of passes that end in any order, strung together in theirs as soon as may be.
struct Parts {
    rows: Vec<f32>,
    /// The pass whose rows come next; those behind it wait.
    next: usize,
    early: Vec<Option<Vec<f32>>>,
    error: Option<Error>,
}

impl Parts {
    fn add(&mut self, pass: usize, part: Result<Vec<f32>>) {
        match part {
            Ok(part) => self.early[pass] = Some(part),
            Err(error) => self.error = Some(error),
        }
        while let Some(part) = self.early.get_mut(self.next).and_then(Option::take) {
            self.rows.extend(part);
            self.next += 1;
        }
    }
}

fn describe(stack: &Stack) -> Value {
    let attention = &stack.attention;
    json!({
        "hidden": stack.hidden,
        "layers": stack.layers,
        "heads": stack.heads.count,
        "kv_heads": stack.heads.kv,
        "head_dim": stack.heads.dim,
        "intermediate": stack.intermediate,
        "activation": format!("{}{:?}", if stack.gated { "gated " } else { "" }, stack.activation),
        "norm": format!("{:?} {:?} eps {:e}", stack.norm.place, stack.norm.kind, stack.norm.eps),
        "position": position(stack),
        "token_types": stack.token_types,
        "window": attention.windows.iter().max(),
        "max_tokens": stack.max_tokens,
    })
}

/// How a stack knows the order of tokens.
fn position(stack: &Stack) -> String {
    let mut parts = Vec::new();
    if stack.position != Position::None {
        parts.push(format!("{:?}", stack.position));
    }
    parts.extend(stack.relative.map(|relative| format!("{relative:?}")));
    parts.extend(stack.rotary.as_ref().map(|r| format!("rotary, {} components, base {}", r.dim, r.theta)));
    parts.join(" and ")
}
