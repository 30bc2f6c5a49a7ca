//! From a directory, a GGUF file, a `.kinglet` file or an ONNX export to a [`Model`]: read the configuration, find and check every tensor, compare with the memory limit, and only
//! then allocate and convert.

pub(crate) mod device;
#[cfg(feature = "onnx")]
mod graphs;

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::backend::{Device, Precision};
use crate::call::Cancellation;
use crate::counters::{Counters, Stage};
use crate::error::{Error, Result};
use crate::families;
use crate::formats::files::Files;

use crate::formats::source::Source;
use crate::generation::answers::Answers;
use crate::generation::options::Defaults;
use crate::generation::template::ChatTemplate;
use crate::log::Log;
use crate::model::{Inner, Model};
use crate::provider;
use crate::tasks::classification::ClassifierSettings;
use crate::tasks::embedding::EmbeddingSettings;
use crate::threads::{self, Pool};
use crate::tokenizer::{Tokenizer, TokenizerFiles};
use crate::transformer::weights::ModelView;

use device::{Limit, Place, Placed};

/// The most threads that a model may be given.
const MAX_THREADS: usize = 1024;

/// The longest chat template that is read.
const TEMPLATE_LIMIT: u64 = 1 << 20;

/// A tokenizer's tables take about this many times its file's size.
const TOKENIZER_FACTOR: u64 = 16;

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

// What the files say is changed by graphs alone.
#[cfg_attr(not(feature = "onnx"), allow(unused_mut))]
pub(crate) fn load(directory: &Path, mut options: LoadOptions) -> Result<Model> {
    let start = Instant::now();
    let cancellation = options.cancellation.take();
    let mut report = options.progress.take();
    let mut progress = |share: f32| {
        let cancelled = cancellation.as_ref().is_some_and(Cancellation::is_cancelled);
        if cancelled || report.as_mut().is_some_and(|report| !report(share)) {
            return Err(Error::new(crate::error::Status::Cancelled, "the load was cancelled"));
        }
        Ok(())
    };
    if options.threads > MAX_THREADS {
        return Err(Error::invalid_argument(format!("threads: {} is more than {MAX_THREADS}", options.threads)));
    }
    if options.device_index > 0 && matches!(options.device, Device::Cpu | Device::CandleCpu) {
        let (index, name) = (options.device_index, options.device.name());
        return Err(Error::invalid_argument(format!("device_index: {index}, but there is one {name} alone: 0")));
    }
    let Source { files, weights, precision: packed, export } = Source::open(directory)?;
    let config = files.require_config("config.json")?;
    let mut spec = match &export {
        Some(export) => families::spec_of_graph(&config, export.has_decoder())?,
        None => families::spec(&config)?,
    };
    let mut embedding = EmbeddingSettings::read(&files)?;
    let mut classifier = ClassifierSettings::read(&config, &spec)?;
    let generation = Defaults::read(files.config("generation_config.json")?.as_ref(), &config)?;
    let chat = chat_template(&files)?;
    let mut view = if export.is_some() { ModelView::default() } else { ModelView::find(&spec, &weights)? };
    let tokenizer_files = TokenizerFiles::read(&files)?;
    let tokenizer_size = tokenizer_files.json.len() as u64;

    let asked = options.precision.unwrap_or(Precision::Auto);
    let threads = if options.threads == 0 { threads::available() } else { options.threads };
    let tokenizer = tokenizer_size.saturating_mul(TOKENIZER_FACTOR);
    let limit = Limit { bytes: options.memory_limit, threads, tokenizer };
    progress(0.0)?;
    let mut layers = |done: usize, all: usize| progress(0.1 + 0.9 * done as f32 / all as f32);
    let pool = Arc::new(Pool::new(threads));
    let place = Place { device: options.device, index: options.device_index, precision: asked, packed, limit };
    let here = place.is_here() && !(place.device == Device::CandleCpu && provider::is_named());
    let shards = weights.files().count();
    let (placed, opened) = match &export {
        #[cfg(feature = "onnx")]
        Some(export) => {
            let (embedding, classifier) = (&mut embedding, &mut classifier);
            let known = graphs::Known { config: &config, spec: &mut spec, embedding, classifier };
            place.load_graphs(directory, export, known, options.onnxruntime, &options.log, &mut layers)?
        }
        #[cfg(not(feature = "onnx"))]
        Some(export) => {
            let path = export.path().display();
            return Err(Error::unsupported(format!(
                "{path}: this build runs no ONNX graphs; use safetensors, or GGUF"
            )));
        }
        None if here => (place.load(directory, &spec, &mut view, &pool, &mut layers)?, shards),
        None => (provider::load(&place, directory, &mut layers, cancellation.as_ref())?, shards),
    };
    let Placed { network, precision, weight_bytes, budget } = placed;
    // Vocabulary and embedding table may differ (both are padded here and there); ids are checked when they are used.
    let tokenizer = Tokenizer::new(tokenizer_files)?;
    progress(1.0)?;

    let wanted = embedding.max_seq_length.unwrap_or_else(|| tokenizer.max_length());
    let max_length = wanted.min(spec.max_tokens());
    let counters = Counters::default();
    counters.add(Stage::Load, opened, 0, start.elapsed());
    if pool.threads() < threads {
        options.log.warning(|| format!("the system gave {} of {threads} threads", pool.threads()));
    }
    if !generation.ignored.is_empty() {
        let (path, fields) = (directory.display(), generation.ignored.join(", "));
        options
            .log
            .warning(|| format!("{path}: generation_config.json asks for {fields}, which Kinglet does not have"));
    }
    if !tokenizer.is_present() {
        let path = tokenizer.path().display();
        options.log.warning(|| format!("{path}: not found; the model takes token ids alone"));
    }
    if !embedding.found && spec.head.is_none() {
        let directory = directory.display();
        options
            .log
            .info(|| format!("{directory}: no sentence-transformers files; embeddings are the mean, not normalised"));
    }
    options.log.info(|| {
        format!(
            "{}: {} in {}, {} on {} thread(s), loaded in {:.0} ms",
            directory.display(),
            spec.family,
            precision.name(),
            network.describe(),
            pool.threads(),
            start.elapsed().as_secs_f64() * 1e3
        )
    });
    Ok(Model(Arc::new(Inner {
        directory: directory.to_path_buf(),
        device: options.device,
        device_index: options.device_index,
        precision,
        spec,
        network,
        tokenizer,
        max_length,
        embedding,
        classifier,
        pool,
        counters,
        weight_bytes,
        budget,
        generation,
        answers: Answers::new(options.answer_cache),
        chat,
        _log: options.log,
        grammar: OnceLock::new(),
    })))
}

/// The chat template, or why there is none: a model without one can do everything but chat.
fn chat_template(files: &Files) -> Result<Result<ChatTemplate>> {
    const JINJA: &str = "chat_template.jinja";
    const CONFIG: &str = "tokenizer_config.json";
    let (jinja, config) = (files.text(JINJA, TEMPLATE_LIMIT)?, files.json(CONFIG)?);
    let Some(source) = ChatTemplate::source_of(jinja.as_deref(), config.as_ref()) else {
        let path = files.path().display();
        return Ok(Err(Error::unsupported(format!(
            "{path}: no chat template ({JINJA}, or chat_template in {CONFIG}); use generate"
        ))));
    };
    let origin = files.name(if jinja.is_some() { JINJA } else { CONFIG });
    let names = ["bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token"];
    let text = |name: &str| {
        let value = config.as_ref()?.get(name)?;
        value.as_str().or_else(|| value.get("content")?.as_str())
    };
    let special: Vec<_> = names.into_iter().filter_map(|name| Some((name, text(name)?))).collect();
    Ok(ChatTemplate::new(&source, &special, &origin))
}
