//! ONNX graphs, run whole by ONNX Runtime: no arithmetic here, only what goes in and what comes out.
//!
//! A graph stands where the transformer over a backend stands otherwise, so that tasks, searches and sessions are the same for both. The
//! bits of a result may depend on the batch, because ONNX Runtime makes no promise there.

mod decoder;
mod graph;
mod past;
mod reader;
mod runtime;

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
use crate::spec::{Batch, Device, Layers, Modules, Output, Precision, Spec};

use decoder::Decoder;
use graph::Graph;
use reader::Reader;
use runtime::{Options, Runtime};

/// Tokens of a pass: enough texts that those of like lengths find each other.
const PASS_TOKENS: usize = 4096;

/// The shape of a model that a Spec describes.
pub fn shape(spec: &Spec) -> Shape {
    match (&spec.encoder, &spec.decoder) {
        (Some(_), Some(_)) => Shape::EncoderDecoder,
        (None, Some(_)) => Shape::Decoder,
        _ => Shape::Encoder,
    }
}

/// How a model's graphs are to be opened.
pub struct Opening<'a> {
    pub graphs: &'a Graphs,
    pub config: &'a Config,
    /// What follows the transformer, if the model's files say so and it can be computed.
    pub modules: Option<&'a Modules>,
    /// The modules' tensors.
    pub view: &'a ModulesView<'a>,
    /// Threads for what no graph computes.
    pub pool: &'a Arc<Pool>,
    pub device: Device,
    /// Which of the devices of that kind.
    pub index: usize,
    pub threads: usize,
    /// Where ONNX Runtime lies, if the caller said so.
    pub library: Option<&'a Path>,
    pub budget: &'a Arc<Budget>,
    pub log: &'a Log,
}

/// A model's graphs.
pub struct OnnxNetwork {
    reader: Option<Reader>,
    decoder: Option<Decoder>,
    /// Computes the modules after the graph, on the host.
    host: Cpu,
    modules: Chain<Cpu>,
    device: Device,
    version: String,
    budget: Arc<Budget>,
}

impl OnnxNetwork {
    /// Opens a model's graphs and checks them against its Spec, from which what the graphs do not give is taken away. `progress(done,
    /// all)` counts graphs and may stop the load by returning an error.
    pub fn open(
        opening: Opening,
        spec: &mut Spec,
        mut progress: impl FnMut(usize, usize) -> Result<()>,
    ) -> Result<Self> {
        let Opening { graphs, config, modules, view, pool, device, index, threads, library, budget, log } = opening;
        let runtime = Runtime::get(library, log)?;
        // A KINGLET_ISA that names no kernel is refused here as by the other networks.
        let kernel = kernels::select().map_err(Error::invalid_argument)?;
        let host = Cpu::new(kernel, Precision::F32, pool.clone());
        let options = Options { device, index, threads, log };
        let (mut done, all) = (0, graphs.paths().count());
        let mut open = |path: &Path| {
            let graph = Graph::open(&runtime, path, &options)?;
            done += 1;
            progress(done, all)?;
            Ok::<_, Error>(graph)
        };
        let mut reader = graphs.encoder.as_deref().map(&mut open).transpose()?;
        let mut first = graphs.decoder.as_deref().map(&mut open).transpose()?;
        // Decoders that were trained to embed are exported without logits.
        if reader.is_none() && first.as_ref().is_some_and(Reader::is) {
            reader = first.take();
            (spec.encoder, spec.language) = (spec.decoder.take(), None);
        }
        let with_past = graphs.with_past.as_deref().map(&mut open).transpose()?;
        if let Some(graph) = &reader
            && spec.decoder.is_some()
            && first.is_none()
        {
            let path = graph.path().display();
            log.warning(|| format!("{path}: has no decoder beside it; the model embeds and generates nothing"));
            (spec.decoder, spec.language) = (None, None);
        }
        if let Some(graph) = &reader {
            reader::infer_head(graph, spec, config)?;
        }
        if let Some(graph) = &reader
            && spec.head.is_some()
            && graph.output("logits").is_none()
        {
            let path = graph.path().display();
            log.warning(|| format!("{path}: config.json has a head that the graph has not; the model embeds alone"));
            spec.head = None;
        }
        let reader = reader.map(|graph| Reader::new(graph, spec, config, modules)).transpose()?;
        let decoder = first.map(|first| Decoder::new(first, with_past, spec, budget)).transpose()?;
        if let Some(decoder) = decoder.as_ref().filter(|decoder| !decoder.remembers()) {
            let path = decoder.graphs().next().map(|graph| graph.path().display().to_string()).unwrap_or_default();
            log.warning(|| format!("{path}: has no past_key_values; each token costs the whole text again"));
        }
        let modules = Chain::load(&host, view)?;
        let version = runtime.version().to_string();
        Ok(Self { reader, decoder, host, modules, device, version, budget: budget.clone() })
    }

    /// The width of the vector per text that the graph gives by itself, where that is the embedding.
    pub fn own_vectors(&self) -> Option<usize> {
        self.reader.as_ref().and_then(Reader::own_vectors)
    }

    /// Pooled states, and what they go through.
    fn pooled(&self, pass: &Batch, output: &Output, call: Call<'_>) -> Result<Vec<f32>> {
        let reader = self.reader()?;
        let (items, tokens) = (pass.layout.sequences(), pass.layout.tokens());
        let Layers::Modules { texts } = output.layers else { return reader.pooled(pass, output, call) };
        let (before, after) = (&self.modules.tokens, &self.modules.texts);
        if !reader.gives_tokens() {
            let mut rows = reader.pooled(pass, output, call)?;
            // The one module that is left to a graph's own vectors is Normalize.
            if texts > 0 {
                pooling::normalize(&mut rows, reader.hidden());
            }
            return Ok(rows);
        }
        if before.is_empty() && after.is_empty() {
            return reader.pooled(pass, output, call);
        }
        let states = reader.states(pass, call)?;
        call.counters.time(Stage::Pool, items, tokens, || {
            let rows = modules::run(&self.host, before, states, reader.hidden())?;
            let width = rows.len() / tokens.max(1);
            let rows = pooling::pool(rows, pass.layout.starts(), width, &output.poolings, output.skip);
            let after = if output.by_token() { &[] } else { &after[..texts.min(after.len())] };
            modules::run(&self.host, after, rows, width * output.poolings.len())
        })
    }

    fn reader(&self) -> Result<&Reader> {
        self.reader.as_ref().ok_or_else(|| {
            let path = self.decoder.iter().flat_map(Decoder::graphs).next().map(|graph| graph.path().display());
            let path = path.map(|path| path.to_string()).unwrap_or_default();
            Error::unsupported(format!("{path}: the graph gives logits alone and no hidden states; generate with it"))
        })
    }

    fn decoder(&self) -> Result<&Decoder> {
        self.decoder.as_ref().ok_or_else(|| Error::internal("a model without a decoder's graph"))
    }
}

impl Network for OnnxNetwork {
    fn encode(&self, pass: &Batch, output: &Output, call: Call<'_>) -> Result<Vec<f32>> {
        match output.layers {
            Layers::Head => self.reader()?.classify(pass, call),
            _ => self.pooled(pass, output, call),
        }
    }

    fn read_sources(&self, pass: &Batch, call: Call<'_>) -> Result<Vec<Sequence>> {
        self.decoder()?.read_sources(self.reader()?, pass, call)
    }

    fn sequence(&self) -> Result<Sequence> {
        self.decoder()?.sequence()
    }

    fn step(&self, feeds: &mut [Feed], output: &mut StepOutput, call: Call<'_>) -> Result<()> {
        self.decoder()?.feed(feeds, output, call)
    }

    fn switch(&self) -> Option<usize> {
        None
    }

    fn describe(&self) -> String {
        format!("onnxruntime {} {}", self.version, runtime::provider(self.device))
    }

    fn info(&self) -> Value {
        let graphs =
            self.reader.iter().map(|reader| &reader.graph).chain(self.decoder.iter().flat_map(Decoder::graphs));
        json!({
            "backend": "onnx",
            "graphs": graphs.map(|graph| graph.path().display().to_string()).collect::<Vec<_>>(),
            "onnxruntime": self.version,
            "execution_provider": runtime::provider(self.device),
            "past": self.decoder.as_ref().map(Decoder::remembers),
        })
    }

    fn pass_tokens(&self) -> usize {
        PASS_TOKENS
    }

    fn cache_bytes(&self) -> u64 {
        self.budget.used()
    }

    fn remembers(&self) -> bool {
        self.decoder.as_ref().is_none_or(Decoder::remembers)
    }
}
