//! The encoder: attention without a causal mask. On top of it pooling, or a classification head.

use crate::backend::{Backend, Rotations, Sequences};
use crate::base::call::Call;
use crate::base::counters::Stage;
use crate::base::error::{Error, Result};
use crate::network::activation_memory::{ACCOUNTED_TOKENS, more_bytes};
use crate::spec::{Batch, Pooling};

use super::Transformer;
use super::stack::{Run, Stack};
use crate::network::{check_ids, check_length};
use crate::spec::{Activation, HeadKind};

impl<B: Backend> Transformer<B> {
    /// The last hidden states of a pass: `[tokens, hidden]`.
    pub(super) fn encode(&self, encoder: &Stack<B>, pass: &Batch, call: Call<'_>) -> Result<B::Tensor> {
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
        let run = Run { backend, call, items: layout.sequences(), tokens: layout.tokens() };
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

    /// The hidden states that tasks read: the encoder's, or those of a decoder that has none.
    fn states(&self, pass: &Batch, call: Call<'_>) -> Result<B::Tensor> {
        match (&self.encoder, &self.decoder) {
            (Some(encoder), _) => self.encode(encoder, pass, call),
            (None, Some(decoder)) => self.decode_pass(decoder, pass, call),
            (None, None) => Err(Error::internal("a model without layers")),
        }
    }

    pub(super) fn pooled_states(&self, pass: &Batch, pooling: Pooling, call: Call<'_>) -> Result<Vec<f32>> {
        let hidden = self.states(pass, call)?;
        let (items, tokens) = (pass.layout.sequences(), pass.layout.tokens());
        let width = self.spec.hidden();
        call.counters.time(Stage::Pool, items, tokens, || self.backend.pool(&hidden, &pass.layout, width, pooling))
    }

    pub(super) fn classification_logits(&self, pass: &Batch, call: Call<'_>) -> Result<Vec<f32>> {
        let (Some(head), Some(output)) = (&self.spec.head, &self.head_output) else {
            return Err(Error::internal("logits were asked of a model without a head"));
        };
        let backend = &self.backend;
        let layout = &pass.layout;
        let hidden = self.states(pass, call)?;
        call.counters.time(Stage::Linear, layout.sequences(), layout.tokens(), || {
            let mut x = match head.kind {
                HeadKind::Token => hidden,
                // Callers see to it that no sequence is empty.
                HeadKind::Sequence => backend.rows(&hidden, &layout.starts()[..layout.sequences()])?,
            };
            if let (Some(dense), Some(weight)) = (head.dense, &self.head_dense) {
                x = backend.project(&x, None, weight, dense.activation)?;
            }
            let mut logits = Vec::new();
            backend.read(&backend.project(&x, None, output, Activation::None)?, &mut logits)?;
            Ok(logits)
        })
    }
}
