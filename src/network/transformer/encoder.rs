//! The encoder: every token sees its whole sequence. On top of it pooling or the layers of a head.

use crate::backend::{Backend, Scores};
use crate::base::call::Call;
use crate::base::counters::Stage;
use crate::base::error::{Error, Result};
use crate::network::activation_memory::{ACCOUNTED_TOKENS, more_bytes};
use crate::spec::{Batch, Output, Pooling};

use super::Transformer;
use super::rotary::Rotations;
use super::stack::{Run, Stack};
use crate::network::{check_ids, check_length, position_rows};

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
        let mut x = encoder.embed(run, pass.ids, pass.type_ids, &position_rows(pass, spec.position))?;
        let mut rotations = Rotations::default();
        encoder.rotations(&pass.positions, &pass.positions, &mut rotations);
        for index in 0..spec.layers {
            let attend = |qkv| {
                let scores = Scores {
                    scale: spec.attention.scale,
                    softcap: 0.0,
                    bias: encoder.relative_bias.as_ref(),
                    causal: false,
                    window: 0,
                };
                backend.attend(&qkv, layout, spec.heads, scores)
            };
            let no_cross = |_| Err(Error::internal("an encoder with cross-attention"));
            x = encoder.layer(run, index, x, &rotations, attend, no_cross)?;
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

    /// As [`Network::encode`](crate::network::Network::encode).
    pub(super) fn output(&self, pass: &Batch, output: Output, call: Call<'_>) -> Result<Vec<f32>> {
        let (backend, layout) = (&self.backend, &pass.layout);
        let (items, tokens) = (layout.sequences(), layout.tokens());
        let hidden = self.states(pass, call)?;
        if !output.head {
            let width = self.spec.hidden();
            return call
                .counters
                .time(Stage::Pool, items, tokens, || backend.pool(&hidden, layout, width, output.pooling));
        }
        let Some(head) = self.spec.head.as_ref().filter(|_| !self.head.is_empty()) else {
            return Err(Error::internal("a head's outputs were asked of a model without a head"));
        };
        call.counters.time(Stage::Linear, items, tokens, || {
            let mut x = match output.pooling {
                Pooling::None => hidden,
                // Callers see to it that no sequence is empty.
                Pooling::Cls => backend.rows(&hidden, &layout.starts()[..items])?,
                other => return Err(Error::unsupported(format!("a head over states with pooling {}", other.name()))),
            };
            for (dense, weight) in head.layers.iter().zip(&self.head) {
                x = backend.project(&x, None, weight, dense.activation)?;
            }
            let mut values = Vec::new();
            backend.read(&x, &mut values)?;
            Ok(values)
        })
    }
}
