//! From a directory to a [`Model`]: read the configuration, find and check every tensor, compare with the memory limit, and only
//! then allocate and convert.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crate::backend::{Backend, Device, Precision, cpu::Cpu};
use crate::call::Cancellation;
use crate::counters::{Counters, Stage};
use crate::error::{Error, Result};
use crate::families;
use crate::formats::json::Config;
use crate::formats::safetensors::{DType, Weights};
use crate::kernels;
use crate::log::Log;
use crate::model::{Inner, Model};
use crate::tasks::classification::ClassifierSettings;
use crate::tasks::embedding::EmbeddingSettings;
use crate::threads::{self, Pool};
use crate::tokenizer::Tokenizer;
use crate::transformer::encoder::{Encode, Encoder};
use crate::transformer::spec::Spec;
use crate::transformer::weights::EncoderView;

/// The most threads that a model may be given.
const MAX_THREADS: usize = 1024;

/// A tokenizer's tables take about this many times its file's size.
const TOKENIZER_FACTOR: u64 = 16;

/// How a model is to be loaded. The default: on the CPU, in the checkpoint's own precision, on all cores, without a limit.
#[derive(Default)]
pub struct LoadOptions<'a> {
    pub device: Device,
    pub precision: Option<Precision>,
    /// Threads that one call may use, the caller's counted; 0 stands for as many as the process may use.
    pub threads: usize,
    /// Bytes that the model may take: its weights, its tokenizer (estimated from the file's size) and the activations of one
    /// pass. 0 stands for no limit.
    pub memory_limit: u64,
    /// Called with the done share of the work, from 0 to 1, on the loading thread; returning false cancels the load.
    pub progress: Option<&'a mut dyn FnMut(f32) -> bool>,
    pub cancellation: Option<Cancellation>,
    pub log: Log,
}

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
    let config = Config::open(&directory.join("config.json"))?;
    let spec = families::spec(&config)?;
    let embedding = EmbeddingSettings::read(directory)?;
    let classifier = ClassifierSettings::read(&config, &spec)?;
    let weights = Weights::open(directory)?;
    let view = EncoderView::find(&spec, &weights)?;
    let tokenizer_path = directory.join("tokenizer.json");
    let tokenizer_size = std::fs::metadata(&tokenizer_path).map_err(|e| Error::io(&tokenizer_path, &e))?.len();

    let asked = options.precision.unwrap_or(Precision::Auto);
    let threads = if options.threads == 0 { threads::available() } else { options.threads };
    let limit = Limit { bytes: options.memory_limit, tokenizer: tokenizer_size.saturating_mul(TOKENIZER_FACTOR) };
    progress(0.0)?;
    let mut layers = |done: usize, all: usize| progress(0.1 + 0.9 * done as f32 / all as f32);
    let pool = Arc::new(Pool::new(threads));
    let (encoder, precision, weight_bytes): (Box<dyn Encode>, _, _) = match options.device {
        Device::Cpu => {
            let kernel = kernels::select().map_err(Error::invalid_argument)?;
            let precision = settle(asked, view.word.dtype);
            let backend = Cpu::new(kernel, precision, pool.clone());
            let bytes = limit.check(&backend, &view, &spec, directory)?;
            (Box::new(Encoder::load(backend, &spec, &view, &mut layers)?), precision, bytes)
        }
        #[cfg(feature = "candle")]
        Device::CandleCpu => {
            if !matches!(asked, Precision::Auto | Precision::F32) {
                return Err(Error::unsupported(format!(
                    "precision {}: device candle-cpu computes in f32 alone; use f32, or device cpu",
                    asked.name()
                )));
            }
            let backend = crate::backend::candle::Candle::cpu();
            let bytes = limit.check(&backend, &view, &spec, directory)?;
            (Box::new(Encoder::load(backend, &spec, &view, &mut layers)?), Precision::F32, bytes)
        }
        #[cfg(not(feature = "candle"))]
        Device::CandleCpu => {
            return Err(Error::unsupported("device candle-cpu: this build has no candle; use cpu"));
        }
        device @ (Device::Cuda | Device::Metal) => {
            let name = device.name();
            return Err(Error::unsupported(format!("device {name}: this build cannot run on it; use cpu")));
        }
    };
    // Vocabulary and embedding table may differ (both are padded here and there); ids are checked when they are used.
    let tokenizer = Tokenizer::from_directory(directory)?;
    progress(1.0)?;

    let wanted = embedding.max_seq_length.unwrap_or_else(|| tokenizer.max_length());
    let max_length = wanted.min(spec.max_tokens());
    let counters = Counters::default();
    counters.add(Stage::Load, weights.files().count(), 0, start.elapsed());
    if pool.threads() < threads {
        options.log.warning(|| format!("the system gave {} of {threads} threads", pool.threads()));
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
            encoder.describe(),
            pool.threads(),
            start.elapsed().as_secs_f64() * 1e3
        )
    });
    Ok(Model(Arc::new(Inner {
        directory: directory.to_path_buf(),
        device: options.device,
        precision,
        spec,
        encoder,
        tokenizer,
        max_length,
        embedding,
        classifier,
        pool,
        counters,
        weight_bytes,
    })))
}

/// What `Auto` stands for.
fn settle(asked: Precision, stored: DType) -> Precision {
    match (asked, stored) {
        (Precision::Auto, DType::F16 | DType::BF16) => Precision::F16,
        (Precision::Auto, _) => Precision::F32,
        (asked, _) => asked,
    }
}

struct Limit {
    bytes: u64,
    tokenizer: u64,
}

impl Limit {
    /// Refuses a model that would pass the limit, before anything is allocated for it. Returns its weights' bytes.
    fn check<B: Backend>(&self, backend: &B, view: &EncoderView, spec: &Spec, directory: &Path) -> Result<u64> {
        let weights = view.bytes(backend, spec);
        let pass = crate::batching::pass_bytes(spec);
        let needed = weights.saturating_add(self.tokenizer).saturating_add(pass);
        if self.bytes != 0 && needed > self.bytes {
            let (directory, limit, precision) = (directory.display(), self.bytes, backend.precision().name());
            return Err(Error::out_of_memory(format!(
                "{directory}: needs about {needed} bytes in {precision} ({weights} of weights, {pass} of activations, {} of \
                 tokenizer), and the memory limit is {limit}",
                self.tokenizer
            )));
        }
        Ok(weights)
    }
}
