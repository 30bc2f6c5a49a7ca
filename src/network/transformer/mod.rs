//! The transformer, written once: it reads a [`Spec`] and computes through a [`Backend`].

mod check;
mod decoder;
mod distances;
mod encoder;
mod masked;
mod mixture;
mod relative;
mod rotary;
mod stack;
#[cfg(test)]
mod tests;
pub(crate) mod weights;

use std::sync::Arc;

use serde_json::{Value, json};

use crate::backend::{Backend, CacheShape, Role};
use crate::base::call::Call;
use crate::base::error::Result;
use crate::base::fork::Lock;
use crate::base::memory::Budget;
use crate::spec::{Activation, Batch, EncodeOutput, LanguageHead, RotarySwitch, Spec};

use super::modules::Chain;
use super::{Feed, Network, Sequence, StepOutput};
use decoder::StepBuffers;
use stack::LoadedStack;
use weights::ModelView;

/// A model loaded on a backend.
pub struct Transformer<B: Backend> {
    backend: B,
    spec: Spec,
    encoder: Option<LoadedStack<B>>,
    decoder: Option<LoadedStack<B>>,
    /// The classification head's layers.
    head: Vec<B::Linear>,
    modules: Chain<B>,
    language: Option<(Arc<B::Linear>, LanguageHead)>,
    masked: Option<Masked<B>>,
    cache: Option<B::Cache>,
    buffers: Lock<Vec<StepBuffers<B>>>,
    budget: Arc<Budget>,
}

/// The head of a masked language model.
struct Masked<B: Backend> {
    dense: B::Linear,
    activation: Activation,
    norm: B::Norm,
    decoder: Arc<B::Linear>,
}

impl<B: Backend> Transformer<B> {
    /// Converts the weights to the backend's format. `progress(done, all)` counts layers and embeddings and stops the load by
    /// returning an error. KV caches are counted in `budget`.
    pub fn load(
        backend: B,
        spec: &Spec,
        view: &mut ModelView,
        budget: &Arc<Budget>,
        mut progress: impl FnMut(usize, usize) -> Result<()>,
    ) -> Result<Self> {
        let stacks = [&spec.encoder, &spec.decoder].into_iter().flatten();
        let steps = stacks.map(|stack| stack.distinct_layers() + 1).sum();
        progress(0, steps)?;
        let mut done = 0;
        let mut layer = || {
            done += 1;
            progress(done, steps)
        };
        if let (Some(head), Some(decoder)) = (&spec.language, &mut view.decoder)
            && let Some(norm) = &mut decoder.final_norm
        {
            norm.scale = head.scale;
        }
        let language = view.language.as_ref().map(|l| backend.linear_load(Role::Head, l).map(Arc::new)).transpose()?;
        let tied = match &language {
            Some(linear) if view.tied => Some(Arc::new(backend.table_of(linear)?)),
            _ => None,
        };
        let shared = view.shares_words();
        let decoder = match (&spec.decoder, &view.decoder) {
            (Some(stack), Some(view)) => Some(LoadedStack::load(&backend, stack, view, tied, &mut layer)?),
            _ => None,
        };
        let masked = match (&spec.masked, &view.masked) {
            (Some(head), Some(view)) => Some(Masked {
                dense: backend.linear_load(Role::Head, &view.dense)?,
                activation: head.dense.activation,
                norm: backend.norm_load(&view.norm)?,
                decoder: backend.linear_load(Role::Head, &view.decoder).map(Arc::new)?,
            }),
            _ => None,
        };
        let tied = masked.as_ref().filter(|_| view.masked_words(&backend));
        let word = match tied {
            Some(masked) => Some(Arc::new(backend.table_of(&masked.decoder)?)),
            None => decoder.as_ref().filter(|_| shared).map(|decoder| decoder.word.clone()),
        };
        let encoder = match (&spec.encoder, &view.encoder) {
            (Some(stack), Some(view)) => Some(LoadedStack::load(&backend, stack, view, word, &mut layer)?),
            _ => None,
        };
        let cache = spec.decoder.as_ref().map(|stack| {
            let heads = stack.heads;
            let shape = CacheShape { layers: stack.layers, kv_heads: heads.kv, head_dim: heads.dim };
            backend.cache(shape, budget)
        });
        Ok(Self {
            encoder,
            decoder,
            head: view.head.iter().map(|l| backend.linear_load(Role::Head, l)).collect::<Result<_>>()?,
            modules: Chain::load(&backend, &view.modules)?,
            language: language.zip(spec.language.clone()),
            masked,
            cache,
            buffers: Lock::default(),
            budget: budget.clone(),
            spec: spec.clone(),
            backend,
        })
    }
}

impl<B: Backend> Transformer<B> {
    /// Counts the transfers to and from the device.
    fn count_transfers<T>(&self, call: Call<'_>, result: T) -> T {
        if let Some(transfers) = self.backend.transfers() {
            transfers.move_to(call.counters);
        }
        result
    }
}

impl<B: Backend> Network for Transformer<B> {
    fn survives_fork(&self) -> bool {
        B::SURVIVES_FORK
    }

    fn survives_errors(&self) -> bool {
        true
    }

    fn encode(&self, pass: &Batch, output: &EncodeOutput, call: Call<'_>) -> Result<Vec<f32>> {
        self.count_transfers(call, self.output(pass, output, call))
    }

    fn read_sources(&self, pass: &Batch, call: Call<'_>) -> Result<Vec<Sequence>> {
        self.count_transfers(call, self.sequences_of(pass, call))
    }

    fn sequence(&self) -> Result<Sequence> {
        self.empty_sequence()
    }

    fn step(&self, feeds: &mut [Feed], output: &mut StepOutput, call: Call<'_>) -> Result<()> {
        self.count_transfers(call, self.feed(feeds, output, call))
    }

    fn rotary_switch(&self) -> Option<RotarySwitch> {
        self.decoder.as_ref().and_then(LoadedStack::rotary_switch)
    }

    fn describe(&self) -> String {
        self.backend.describe()
    }

    fn info(&self) -> Value {
        json!({ "backend": self.backend.name() })
    }

    fn pass_tokens(&self) -> usize {
        self.backend.pass_tokens()
    }

    fn thread_pass_tokens(&self) -> Option<usize> {
        self.backend.thread_pass_tokens()
    }

    fn cache_bytes(&self) -> u64 {
        self.budget.used()
    }
}
