//! ONNX graphs, run by ONNX Runtime: inputs, outputs and KV caches; no arithmetic.
//!
//! [`OnnxNetwork`] implements [`Network`] like the transformer, so tasks, searches and sessions are the same. Results may depend on the
//! batch in their last bits, because ONNX Runtime does not promise otherwise.

mod check;
mod decoder;
mod encoder;
mod graph;
mod past;
mod runtime;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::backend::cpu::Cpu;
use crate::backend::pooling;
use crate::base::call::Call;
use crate::base::counters::Stage;
use crate::base::error::{Error, Result};
use crate::base::log::Log;
use crate::base::memory::Budget;
use crate::base::threads::Pool;
use crate::formats::json::Config;
use crate::formats::onnx::{Graphs, Shape};
use crate::kernels;
use crate::network::modules::{self, Chain, ModulesView};
use crate::network::{Feed, Network, Sequence, StepOutput};
use crate::spec::{Batch, Device, EncodeOutput, Layers, Modules, Precision, RotarySwitch, Spec};

use decoder::Decoder;
use encoder::EncoderGraph;
use graph::Graph;
use runtime::{Runtime, SessionOptions};

/// The tokens of a pass: enough texts to group those of similar length.
const PASS_TOKENS: usize = 4096;

/// The shape of a model that a Spec describes.
pub fn shape(spec: &Spec) -> Shape {
    match (&spec.encoder, &spec.decoder) {
        (Some(_), Some(_)) => Shape::EncoderDecoder,
        (None, Some(_)) => Shape::Decoder,
        _ => Shape::Encoder,
    }
}

/// The arguments of [`OnnxNetwork::open`].
pub struct Opening<'a> {
    pub graphs: &'a Graphs,
    pub config: &'a Config,
    /// The modules after the transformer; None if the model's files name none or one that Kinglet does not support.
    pub modules: Option<&'a Modules>,
    /// The modules' tensors.
    pub view: &'a ModulesView<'a>,
    /// Threads for what no graph computes.
    pub pool: &'a Arc<Pool>,
    pub device: Device,
    /// The index among the devices of this kind.
    pub index: usize,
    pub threads: usize,
    /// The path of ONNX Runtime's library, if the caller gave one.
    pub library: Option<&'a Path>,
    pub budget: &'a Arc<Budget>,
    pub log: &'a Log,
}

/// A model's graphs.
pub struct OnnxNetwork {
    encoder: Option<EncoderGraph>,
    decoder: Option<Decoder>,
    /// Computes the modules after the graph, on the host.
    host: Cpu,
    modules: Chain<Cpu>,
    device: Device,
    version: String,
    budget: Arc<Budget>,
}

impl OnnxNetwork {
    /// Opens a model's graphs and compares them with its Spec. Removes from the Spec a decoder or a head that has no graph. `progress(done,
    /// all)` counts graphs and stops the load by returning an error.
    pub fn open(
        opening: Opening,
        spec: &mut Spec,
        mut progress: impl FnMut(usize, usize) -> Result<()>,
    ) -> Result<Self> {
        let Opening { graphs, config, modules, view, pool, device, index, threads, library, budget, log } = opening;
        let all = graphs.paths().count();
        let runtime = Runtime::get(library, log, &mut || progress(0, all))?;
        // Refuses an unknown KINGLET_ISA, as the other networks do.
        let kernel = kernels::select().map_err(Error::invalid_argument)?;
        let host = Cpu::new(kernel, Precision::F32, pool.clone());
        let options = SessionOptions { device, index, threads, log };
        let mut done = 0;
        let mut open = |path: &Path| {
            let graph = Graph::open(&runtime, path, &options)?;
            done += 1;
            progress(done, all)?;
            Ok::<_, Error>(graph)
        };
        let mut encoder = graphs.encoder.as_deref().map(&mut open).transpose()?;
        let mut first = graphs.decoder.as_deref().map(&mut open).transpose()?;
        // Decoders that embed are exported without logits.
        if encoder.is_none() && spec.encoder.is_none() && first.as_ref().is_some_and(EncoderGraph::embeds) {
            encoder = first.take();
            (spec.encoder, spec.language) = (spec.decoder.take(), None);
        }
        let with_past = graphs.with_past.as_deref().map(&mut open).transpose()?;
        if let Some(graph) = &encoder
            && spec.decoder.is_some()
            && first.is_none()
        {
            let path = graph.path().display();
            log.warning(|| {
                format!("{path}: there is no decoder graph beside it; the model can embed but not generate")
            });
            (spec.decoder, spec.language) = (None, None);
        }
        if let Some(graph) = &encoder {
            encoder::infer_head(graph, spec, config)?;
        }
        if let Some(graph) = &encoder
            && spec.head.is_some()
            && graph.output("logits").is_none()
        {
            let path = graph.path().display();
            log.warning(|| {
                format!("{path}: the graph has no output for the head in config.json; the model can only embed")
            });
            spec.head = None;
        }
        spec.masked = None;
        check::check(spec, encoder.as_ref(), first.as_ref())?;
        check::limit(spec, log);
        let encoder = encoder.map(|graph| EncoderGraph::new(graph, spec, config, modules)).transpose()?;
        let decoder = first.map(|first| Decoder::new(first, with_past, spec, budget)).transpose()?;
        if let Some(decoder) = decoder.as_ref().filter(|decoder| !decoder.has_kv_cache()) {
            let path = decoder.graphs().next().map(|graph| graph.path().display().to_string()).unwrap_or_default();
            log.warning(|| format!("{path}: no past_key_values; each token reprocesses the whole text"));
        }
        let modules = Chain::load(&host, view)?;
        let version = runtime.version().to_string();
        Ok(Self { encoder, decoder, host, modules, device, version, budget: budget.clone() })
    }

    /// The width of the vector per text that the graph gives by itself, where that is the embedding.
    pub fn own_vectors(&self) -> Option<usize> {
        self.encoder.as_ref().and_then(EncoderGraph::own_vectors)
    }

    /// Pooled states, and what they go through.
    fn pooled(&self, pass: &Batch, output: &EncodeOutput, call: Call<'_>) -> Result<Vec<f32>> {
        let encoder = self.require_encoder()?;
        let (items, tokens) = (pass.layout.sequences(), pass.layout.tokens());
        let Layers::Modules { texts } = output.layers else { return encoder.pooled(pass, output, call) };
        let (before, after) = (&self.modules.tokens, &self.modules.texts);
        if !encoder.gives_tokens() {
            let mut rows = encoder.pooled(pass, output, call)?;
            // The one module that is left to a graph's own vectors is Normalize.
            if texts > 0 {
                pooling::normalize(&mut rows, encoder.hidden());
            }
            return Ok(rows);
        }
        if before.is_empty() && after.is_empty() {
            return encoder.pooled(pass, output, call);
        }
        let states = encoder.states(pass, call)?;
        call.counters.time(Stage::Pool, items, tokens, || {
            let rows = modules::run(&self.host, before, states, encoder.hidden())?;
            let width = self.modules.token_width(encoder.hidden());
            let rows = pooling::pool(rows, pass.layout.starts(), width, &output.poolings, output.skip);
            let after = if output.by_token() { &[] } else { &after[..texts.min(after.len())] };
            modules::run(&self.host, after, rows, width * output.poolings.len())
        })
    }

    fn require_encoder(&self) -> Result<&EncoderGraph> {
        self.encoder.as_ref().ok_or_else(|| {
            let path = self.decoder.iter().flat_map(Decoder::graphs).next().map(|graph| graph.path().display());
            let path = path.map(|path| path.to_string()).unwrap_or_default();
            Error::unsupported(format!("{path}: the graph returns only logits, no hidden states; it can only generate"))
        })
    }

    fn require_decoder(&self) -> Result<&Decoder> {
        self.decoder.as_ref().ok_or_else(|| Error::internal("a model without a decoder graph"))
    }
}

impl Network for OnnxNetwork {
    /// Padding and the scales of quantised activations depend on the texts that a graph runs together.
    fn merges(&self) -> bool {
        false
    }

    fn encode(&self, pass: &Batch, output: &EncodeOutput, call: Call<'_>) -> Result<Vec<f32>> {
        match output.layers {
            Layers::Head => self.require_encoder()?.classify(pass, call),
            // `open` takes the head from the Spec, so that tasks refuse the model.
            Layers::Vocabulary(_) => Err(Error::internal("the vocabulary of a graph")),
            _ => self.pooled(pass, output, call),
        }
    }

    fn read_sources(&self, pass: &Batch, call: Call<'_>) -> Result<Vec<Sequence>> {
        self.require_decoder()?.read_sources(self.require_encoder()?, pass, call)
    }

    fn sequence(&self) -> Result<Sequence> {
        self.require_decoder()?.sequence()
    }

    fn step(&self, feeds: &mut [Feed], output: &mut StepOutput, call: Call<'_>) -> Result<()> {
        self.require_decoder()?.feed(feeds, output, call)
    }

    fn rotary_switch(&self) -> Option<RotarySwitch> {
        None
    }

    fn describe(&self) -> String {
        format!("onnxruntime {} {}", self.version, runtime::provider(self.device))
    }

    fn info(&self) -> Value {
        let graphs =
            self.encoder.iter().map(|encoder| &encoder.graph).chain(self.decoder.iter().flat_map(Decoder::graphs));
        json!({
            "backend": "onnx",
            "graphs": graphs.map(|graph| graph.path().display().to_string()).collect::<Vec<_>>(),
            "onnxruntime": self.version,
            "execution_provider": runtime::provider(self.device),
            "past": self.decoder.as_ref().map(Decoder::has_kv_cache),
        })
    }

    fn pass_tokens(&self) -> usize {
        PASS_TOKENS
    }

    fn cache_bytes(&self) -> u64 {
        self.budget.used()
    }

    fn has_kv_cache(&self) -> bool {
        self.decoder.as_ref().is_none_or(Decoder::has_kv_cache)
    }
}
