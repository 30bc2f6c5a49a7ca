//! The encoder: attention without a causal mask, then pooling or the layers of a classification head.

use crate::backend::{Backend, Rotations, Sequences};
use crate::base::call::Call;
use crate::base::counters::Stage;
use crate::base::error::{Error, Result};
use crate::network::activation_memory::{ACCOUNTED_TOKENS, more_bytes};
use crate::network::modules::{self, Chain};
use crate::spec::{Batch, EncodeOutput, Layers, Pooling};

use super::Transformer;
use super::stack::{LoadedStack, PassContext};
use crate::network::{check_ids, check_length};

impl<B: Backend> Transformer<B> {
    /// The last hidden states of a pass: `[tokens, hidden]`.
    pub(super) fn encode(&self, encoder: &LoadedStack<B>, pass: &Batch, call: Call<'_>) -> Result<B::Tensor> {
        let (backend, spec, layout) = (&self.backend, &encoder.spec, &pass.layout);
        check_ids("ids", pass.ids, self.spec.vocabulary)?;
        if spec.token_types > 0 {
            check_ids("type_ids", pass.type_ids, spec.token_types)?;
        }
        check_length(pass.positions.iter().max().map_or(0, |&last| last as usize + 1), spec.max_tokens)?;
        call.check()?;
        let accounted = ACCOUNTED_TOKENS.max(backend.pass_tokens());
        let more = more_bytes(spec, layout.tokens(), accounted);
        let _held = self.budget.hold(more, "the activations of a long text")?;
        let run = PassContext { backend, call, items: layout.sequences(), tokens: layout.tokens() };
        let mut rows = Vec::with_capacity(layout.tokens());
        spec.position.rows(pass.ids, &pass.positions, &mut rows);
        let mut x = encoder.embed(run, pass.ids, pass.type_ids, &rows)?;
        let ranges = (0..layout.sequences()).map(|sequence| layout.range(sequence));
        let lengths: Vec<u32> = ranges.flat_map(|rows| rows.clone().map(move |_| rows.len() as u32)).collect();
        let mut rotations = Rotations::default();
        let shared = encoder.begin(backend, &pass.positions, &lengths, &mut rotations, Sequences::Whole(layout))?;
        for index in 0..spec.layers {
            x = encoder.layer(run, &shared, index, x)?;
        }
        match &encoder.final_norm {
            Some(norm) => run.time(Stage::Linear, || backend.norm(x, norm)),
            None => Ok(x),
        }
    }

    /// The last hidden states of the encoder, or of the decoder of a model without one.
    fn states(&self, pass: &Batch, call: Call<'_>) -> Result<B::Tensor> {
        match (&self.encoder, &self.decoder) {
            (Some(encoder), _) => self.encode(encoder, pass, call),
            (None, Some(decoder)) => self.decode_pass(decoder, pass, call),
            (None, None) => Err(Error::internal("a model without layers")),
        }
    }

    /// As [`Network::encode`](crate::network::Network::encode).
    pub(super) fn output(&self, pass: &Batch, output: &EncodeOutput, call: Call<'_>) -> Result<Vec<f32>> {
        let (backend, layout) = (&self.backend, &pass.layout);
        let (items, tokens) = (layout.sequences(), layout.tokens());
        let hidden = self.states(pass, call)?;
        let width = self.spec.hidden();
        let pool = |x: &B::Tensor, width: usize| {
            let pool = || backend.pool(x, layout, width, &output.poolings, output.skip);
            call.counters.time(Stage::Pool, items, tokens, pool)
        };
        match output.layers {
            // Only graphs have modules inside.
            Layers::None | Layers::Graph => pool(&hidden, width),
            Layers::Head => call.counters.time(Stage::Linear, items, tokens, || self.head(hidden, pass, output)),
            Layers::Vocabulary(rows) => {
                call.counters.time(Stage::Linear, items, tokens, || self.vocabulary(&hidden, pass, rows, call))
            }
            Layers::Modules { texts } => {
                let Chain { tokens: before, texts: after } = &self.modules;
                let token_width = self.modules.token_width(width);
                let hidden = match before.is_empty() {
                    true => hidden,
                    false => call.counters.time(Stage::Linear, items, tokens, || {
                        let mut rows = Vec::new();
                        backend.read(&hidden, &mut rows)?;
                        backend.tensor_from(modules::run(backend, before, rows, width)?, token_width)
                    })?,
                };
                let rows = pool(&hidden, token_width)?;
                let after = &after[..texts.min(after.len())];
                if after.is_empty() || output.by_token() {
                    return Ok(rows);
                }
                let width = token_width * output.poolings.len();
                call.counters.time(Stage::Pool, items, tokens, || modules::run(backend, after, rows, width))
            }
        }
    }

    /// The logits of the classification head.
    fn head(&self, hidden: B::Tensor, pass: &Batch, output: &EncodeOutput) -> Result<Vec<f32>> {
        let backend = &self.backend;
        let Some(head) = self.spec.head.as_ref().filter(|_| !self.head.is_empty()) else {
            return Err(Error::internal("the head's output of a model without a head"));
        };
        let mut x = match output.poolings.as_slice() {
            [Pooling::None] => hidden,
            // Callers refuse empty sequences.
            [Pooling::Cls] => {
                let ranges = (0..pass.layout.sequences()).map(|sequence| pass.layout.range(sequence));
                let rows: Vec<_> = ranges.map(|rows| rows.start + head.token.of(&pass.ids[rows])).collect();
                backend.rows(&hidden, &rows)?
            }
            other => return Err(Error::unsupported(format!("a head over states with the poolings {other:?}"))),
        };
        for (dense, weight) in head.layers.iter().zip(&self.head) {
            x = backend.project(&x, None, weight, dense.activation)?;
        }
        let mut values = Vec::new();
        backend.read(&x, &mut values)?;
        Ok(values)
    }
}
