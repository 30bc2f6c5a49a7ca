//! Loading a model from a directory, a GGUF file, a `.kinglet` file or an ONNX export: read the configuration, find and check
//! every tensor, compare the size with the memory limit, and only then allocate and convert.

mod calibrate;
pub(crate) mod devices;
#[cfg(feature = "onnx")]
mod graphs;
mod options;
mod quantize;

use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

use crate::backend::cpu::observe::Observer;
use crate::base::call::Cancellation;
use crate::base::counters::{Counters, Stage};
use crate::base::error::{Error, Result};
use crate::base::fork::Birth;
use crate::base::memory::ensure;
use crate::base::threads::{self, Pool};
use crate::engine::{Engine, Scheduler, Workers};
use crate::families::{self, SentenceTransformers};
use crate::formats::files::Files;
use crate::formats::hub_cache;
use crate::formats::packed::Opening;
use crate::formats::source::Source;
use crate::generate::Generator;
use crate::generate::answer_cache::AnswerCache;
use crate::generate::defaults::Defaults;
use crate::network::modules::ModulesView;
use crate::network::placement::{Limit, LoadedNetwork, Placement};
use crate::network::provider;
use crate::network::transformer::weights::ModelView;
use crate::spec::{Device, Precision};
use crate::tasks::classification::ClassifierSettings;
use crate::text::chat::ChatTemplate;
use crate::text::tokenizer::{SpecialTokens, Tokenizer, TokenizerFiles};

pub use calibrate::CalibratedLayer;
pub use options::LoadOptions;
pub use quantize::{QuantizeOptions, quantize};

/// The maximum of [`LoadOptions::threads`].
const MAX_THREADS: usize = 1024;

/// The maximum size of a chat template file, in bytes.
const TEMPLATE_LIMIT: u64 = 1 << 20;

/// The memory for opening a model's files and reading what is small, in bytes.
const OPENING: u64 = 8 << 20;

/// The tables of a tokenizer take about this many times the size of its file.
const TOKENIZER_FACTOR: u64 = 16;

/// A loaded model: the engine, and the settings of its tasks.
pub(crate) struct Loaded {
    pub engine: Arc<Engine>,
    pub generator: Arc<Generator>,
    pub embedding: SentenceTransformers,
    pub classifier: ClassifierSettings,
    pub device: Device,
    pub device_index: usize,
    /// Never `Auto`.
    pub precision: Precision,
    pub weight_bytes: u64,
    /// What the calibration of a `.kinglet` file chose.
    pub calibration: Option<Value>,
}

pub(crate) fn load(path: &Path, options: LoadOptions) -> Result<Loaded> {
    load_observed(path, options, None)
}

/// Loads a model. On the CPU, linear layers show their inputs to the observer.
// Only ONNX graphs change the settings that the files give.
#[cfg_attr(not(feature = "onnx"), allow(unused_mut))]
fn load_observed(path: &Path, mut options: LoadOptions, observer: Option<Arc<Observer>>) -> Result<Loaded> {
    let start = Instant::now();
    check(&options)?;
    let path = &*hub_cache::resolve(path)?;
    let cancellation = options.cancellation.take();
    let mut report = options.progress.take();
    let mut progress = |share: f32| {
        let cancelled = cancellation.as_ref().is_some_and(Cancellation::is_cancelled);
        if cancelled || report.as_mut().is_some_and(|report| !report(share)) {
            return Err(Error::new(crate::base::error::Status::Cancelled, "the load was cancelled"));
        }
        Ok(())
    };
    ensure(OPENING, "loading a model")?;
    let read = options.map_files == Some(false);
    let Source { files, weights, precision: packed, calibration, export } = {
        let mut poll = || progress(0.0);
        Source::open(path, Opening { memory_limit: options.memory_limit, poll: Some(&mut poll), read })?
    };
    let config = files.require_config("config.json")?;
    let mut spec = match &export {
        Some(export) => families::spec_of_graph(&config, export.has_decoder())?,
        None => families::spec(&config)?,
    };
    let mut unknown = if export.is_some() { Vec::new() } else { families::unknown_fields(&config) };
    let mut embedding = families::sentence_transformers(&files, &config, spec.hidden())?;
    if let (Some(_), Ok(modules)) = (&export, &embedding.modules)
        && let Err(missing) = ModulesView::find(modules, &weights)
    {
        embedding.modules = Err(missing);
    }
    unknown.append(&mut embedding.unknown);
    let mut modules = embedding.known_modules();
    let mut classifier = ClassifierSettings::read(&config, &spec, &embedding)?;
    let defaults = Defaults::read(files.config("generation_config.json")?.as_ref(), &config);
    let mut view = ModelView::default();
    if export.is_none() {
        view = ModelView::find(&spec, &weights)?;
        view.settle(&mut spec);
        if let Some(error) = &view.unfit {
            let what = "the head of a masked language model cannot be used";
            options.log.warning(|| format!("{}; {what}", error.message()));
        }
    }
    let mut view = view.with_modules(&modules, &weights)?;
    let tokenizer_files = TokenizerFiles::read(&files)?.lower_case(embedding.do_lower_case);
    let tokenizer_files = tokenizer_files.max_text_bytes(options.max_text_bytes);
    unknown.extend(tokenizer_files.unknown_fields());
    let tokenizer = (tokenizer_files.json.len() as u64).saturating_mul(TOKENIZER_FACTOR);

    let precision = options.precision.unwrap_or(Precision::Auto);
    let threads = if options.threads == 0 { threads::available() } else { options.threads };
    let limit = Limit { bytes: options.memory_limit, threads, tokenizer };
    progress(0.0)?;
    let mut layers = |done: usize, all: usize| progress(0.1 + 0.9 * done as f32 / all as f32);
    let pool = Arc::new(Pool::new(threads));
    let place = Placement { device: options.device, index: options.device_index, precision, packed, read, limit };
    let here = place.is_here() && !(place.device == Device::CandleCpu && provider::is_named());
    let shards = weights.files().count();
    let (placed, opened) = match &export {
        #[cfg(feature = "onnx")]
        Some(export) => {
            let (embedding, modules, classifier) = (&mut embedding, &mut modules, &mut classifier);
            let (config, spec, view, pool) = (&config, &mut spec, &view.modules, &pool);
            let known = graphs::Known { config, spec, embedding, modules, view, classifier, pool };
            graphs::load(&place, path, export, known, options.onnxruntime, &options.log, &mut layers)?
        }
        #[cfg(not(feature = "onnx"))]
        Some(export) => {
            let path = export.path().display();
            return Err(Error::unsupported(format!(
                "{path}: this build does not support ONNX graphs; use safetensors or GGUF"
            )));
        }
        None if here => (place.load(path, &spec, &mut view, &pool, observer, &mut layers)?, shards),
        None => {
            (provider::load(&place, path, &spec, &modules, &mut layers, cancellation.as_ref(), &options.log)?, shards)
        }
    };
    let LoadedNetwork { network, precision, weight_bytes, budget } = placed;
    // The vocabulary and the embedding table may differ in size (either may be padded); ids are checked when used.
    let tokenizer = Tokenizer::new(tokenizer_files)?;
    let chat = chat_template(&files, tokenizer.special_tokens())?;
    progress(1.0)?;

    let max_length = embedding.max_seq_length.unwrap_or_else(|| tokenizer.max_length()).min(spec.max_tokens());
    let counters = Counters::default();
    counters.add(Stage::Load, opened, 0, start.elapsed());
    let engine = Arc::new(Engine {
        path: path.to_path_buf(),
        spec,
        modules,
        tokenizer,
        max_length,
        workers: Workers::new(options.scheduler.threads(), options.scheduler.queue_length),
        scheduler: Scheduler::new(options.scheduler, &*network, pool.threads()),
        network: ManuallyDrop::new(network),
        pool,
        counters,
        budget,
        log: options.log,
        birth: Birth::now(),
    });
    let loaded = Loaded {
        device: options.device,
        device_index: options.device_index,
        generator: Arc::new(Generator::new(engine.clone(), defaults, AnswerCache::new(options.answer_cache), chat)),
        engine,
        embedding,
        classifier,
        precision,
        weight_bytes,
        calibration,
    };
    loaded.report(&unknown, threads, start);
    Ok(loaded)
}

fn check(options: &LoadOptions) -> Result<()> {
    if options.threads > MAX_THREADS {
        return Err(Error::invalid_argument(format!("threads: {} is more than {MAX_THREADS}", options.threads)));
    }
    options.scheduler.check()?;
    if options.device_index > 0 && matches!(options.device, Device::Cpu | Device::CandleCpu) {
        let (index, name) = (options.device_index, options.device.name());
        return Err(Error::invalid_argument(format!(
            "device_index: {index}; there is only one {name} device, index 0"
        )));
    }
    Ok(())
}

impl Loaded {
    /// Logs what was loaded, and warnings about it.
    fn report(&self, unknown: &[String], threads: usize, start: Instant) {
        let Self { engine, generator, embedding, .. } = self;
        let log = &engine.log;
        let path = engine.path.display();
        if engine.pool.threads() < threads {
            log.warning(|| format!("the system started only {} of {threads} threads", engine.pool.threads()));
        }
        let refused = generator.defaults.refused();
        if engine.spec.language.is_some() && !refused.is_empty() {
            let fields = refused.join(", ");
            log.warning(|| format!("{path}: the files ask for {fields}, which generation does not support"));
        }
        let unknown: Vec<&str> = unknown.iter().chain(&generator.defaults.unknown).map(String::as_str).collect();
        if !unknown.is_empty() {
            let fields = unknown.join(", ");
            log.warning(|| format!("{path}: fields that are not known and not used: {fields}"));
        }
        if !engine.tokenizer.is_present() {
            let (path, absent) = (engine.tokenizer.path().display(), engine.tokenizer.absent());
            log.warning(|| format!("{path}: {absent}; the model accepts only token ids"));
        }
        // A sparse encoder has no modules of embeddings.
        let is_sparse = embedding.sparse.is_ok() && engine.spec.masked.is_some();
        if let Err(error) = &embedding.modules
            && !is_sparse
        {
            log.warning(|| format!("{}; a call that names a pooling embeds without it", error.message()));
        }
        if !embedding.found && engine.spec.head.is_none() {
            let pooling = engine.modules.poolings.first().map_or("mean", |pooling| pooling.name());
            log.info(|| format!("{path}: no sentence-transformers files; pooling is {pooling}, without normalisation"));
        }
        log.info(|| {
            format!(
                "{path}: {} in {}, {} on {} thread(s), loaded in {:.0} ms",
                engine.spec.family,
                self.precision.name(),
                engine.network.describe(),
                engine.pool.threads(),
                start.elapsed().as_secs_f64() * 1e3
            )
        });
    }
}

/// The chat template, or the error to return for a chat: a model without a template can do everything else.
fn chat_template(files: &Files, special: &SpecialTokens) -> Result<Result<ChatTemplate>> {
    const JINJA: &str = "chat_template.jinja";
    const CONFIG: &str = "tokenizer_config.json";
    const TOOL_USE: &str = "additional_chat_templates/tool_use.jinja";
    let (jinja, config) = (files.text(JINJA, TEMPLATE_LIMIT)?, files.json(CONFIG)?);
    let Some(source) = ChatTemplate::source_of(jinja.as_deref(), config.as_ref()) else {
        let path = files.path().display();
        return Ok(Err(Error::unsupported(format!(
            "{path}: no chat template ({JINJA}, or chat_template in {CONFIG}); use generate"
        ))));
    };
    let origin = files.name(if jinja.is_some() { JINJA } else { CONFIG });
    let special: Vec<_> = special.variables().collect();
    let template = ChatTemplate::new(&source, &special, &origin);
    // As transformers does, a chat with tools takes another template if the files have one for it.
    let tool_use = match files.text(TOOL_USE, TEMPLATE_LIMIT)? {
        Some(source) => Some((source, TOOL_USE)),
        None if jinja.is_none() => {
            ChatTemplate::named_source(config.as_ref(), "tool_use").map(|source| (source, CONFIG))
        }
        None => None,
    };
    Ok(match tool_use {
        Some((source, file)) => template.map(|template| template.with_tool_use(&source, &files.name(file))),
        None => template,
    })
}
