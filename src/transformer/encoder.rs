//! The encoder stack: embeddings, then layers of attention and feed-forward (Vaswani et al. 2017), then an optional head.

use crate::backend::{Backend, Heads};
use crate::batching::Pass;
use crate::call::Call;
use crate::counters::Stage;
use crate::error::{Error, Result};
use crate::tasks::pooling::Pooling;

use super::relative;
use super::spec::{Activation, HeadKind, NormPlace, Position, Spec};
use super::weights::{EncoderView, NormView};

/// What a model can be asked for, whatever its backend.
pub trait Encode: Send + Sync {
    /// The last hidden states, pooled: one row of `hidden` values a sequence, or a token for `Pooling::None`.
    fn pooled(&self, pass: &Pass, pooling: Pooling, call: Call<'_>) -> Result<Vec<f32>>;
    /// The head's outputs: one row of `labels` values a sequence, or a token, as the head's kind says.
    fn logits(&self, pass: &Pass, call: Call<'_>) -> Result<Vec<f32>>;
    /// The backend's description.
    fn describe(&self) -> String;
}

/// An encoder loaded on a backend.
pub struct Encoder<B: Backend> {
    backend: B,
    spec: Spec,
    word: B::Table,
    position: B::Table,
    token_type: Option<B::Table>,
    embedding_norm: B::Norm,
    relative_bias: Option<B::RelativeBias>,
    layers: Vec<Layer<B>>,
    head_dense: Option<B::Linear>,
    head_output: Option<B::Linear>,
}

struct Layer<B: Backend> {
    qkv: B::Linear,
    attention_output: B::Linear,
    attention_norm: B::Norm,
    up: B::Linear,
    down: B::Linear,
    output_norm: B::Norm,
}

impl<B: Backend> Encoder<B> {
    /// Converts the weights to the backend's form, layer by layer. `progress(done, all)` counts layers (the embeddings are
    /// the first one) and may stop the load by returning an error.
    pub fn load(
        backend: B,
        spec: &Spec,
        view: &EncoderView,
        mut progress: impl FnMut(usize, usize) -> Result<()>,
    ) -> Result<Self> {
        let steps = spec.layers + 1;
        progress(0, steps)?;
        let norm = |n: &NormView| backend.norm_load(&n.weight, &n.bias, spec.norm.eps);
        let word = backend.table_load(&view.word)?;
        let position = backend.table_load(&view.position)?;
        let token_type = view.token_type.as_ref().map(|t| backend.table_load(t)).transpose()?;
        let embedding_norm = norm(&view.embedding_norm)?;
        let relative_bias = match (&view.relative_bias, spec.position) {
            (Some(table), Position::LearnedAndRelative { buckets, max_distance, .. }) => {
                let table = table.to_vec_f32()?;
                let rows = relative::by_distance(&table, buckets, max_distance, spec.heads, spec.max_tokens());
                Some(backend.relative_bias_load(rows)?)
            }
            _ => None,
        };
        progress(1, steps)?;
        let mut layers = Vec::with_capacity(view.layers.len());
        for layer in &view.layers {
            layers.push(Layer {
                qkv: backend.linear_load(&layer.qkv)?,
                attention_output: backend.linear_load(&layer.attention_output)?,
                attention_norm: norm(&layer.attention_norm)?,
                up: backend.linear_load(&layer.up)?,
                down: backend.linear_load(&layer.down)?,
                output_norm: norm(&layer.output_norm)?,
            });
            progress(1 + layers.len(), steps)?;
        }
        Ok(Self {
            word,
            position,
            token_type,
            embedding_norm,
            relative_bias,
            layers,
            head_dense: view.head_dense.as_ref().map(|l| backend.linear_load(l)).transpose()?,
            head_output: view.head_output.as_ref().map(|l| backend.linear_load(l)).transpose()?,
            spec: spec.clone(),
            backend,
        })
    }

    /// The last hidden states of a pass: `[tokens, hidden]`.
    fn hidden(&self, pass: &Pass, call: Call<'_>) -> Result<B::Tensor> {
        let (backend, spec, layout) = (&self.backend, &self.spec, &pass.layout);
        let (items, tokens) = (layout.sequences(), layout.tokens());
        let time = call.counters;
        let NormPlace::Post = spec.norm.place;

        call.check()?;
        let mut x = time.time(Stage::Embed, items, tokens, || {
            let positions = positions(pass, spec.position.padding());
            let mut sources = vec![(&self.word, pass.ids), (&self.position, positions.as_slice())];
            if let Some(types) = &self.token_type {
                sources.push((types, pass.type_ids));
            }
            backend.norm(backend.embed(&sources)?, &self.embedding_norm)
        })?;
        let heads = Heads { count: spec.heads, dim: spec.head_dim() };
        for layer in &self.layers {
            call.check()?;
            let qkv = time.time(Stage::Linear, items, tokens, || backend.project(&x, &layer.qkv, Activation::None))?;
            let attended = time.time(Stage::Attention, items, tokens, || {
                backend.attend(&qkv, layout, heads, self.relative_bias.as_ref())
            })?;
            drop(qkv);
            x = time.time(Stage::Linear, items, tokens, || {
                let x = backend.project_add(&attended, &layer.attention_output, x)?;
                let x = backend.norm(x, &layer.attention_norm)?;
                let x = backend.feed_forward(x, &layer.up, spec.activation, &layer.down)?;
                backend.norm(x, &layer.output_norm)
            })?;
        }
        Ok(x)
    }

    /// Ids that would read outside the tables are refused here, once, whatever the backend.
    fn check(&self, pass: &Pass) -> Result<()> {
        let spec = &self.spec;
        let within = |name: &str, ids: &[u32], limit: usize| match ids.iter().position(|&id| id as usize >= limit) {
            Some(i) => Err(Error::invalid_argument(format!("{name}: {} is not below {limit}", ids[i]))),
            None => Ok(()),
        };
        within("ids", pass.ids, spec.vocabulary)?;
        if spec.token_types > 0 {
            within("type_ids", pass.type_ids, spec.token_types)?;
        }
        match pass.positions.iter().max() {
            Some(&last) if last as usize >= spec.max_tokens() => {
                let (tokens, most) = (last as usize + 1, spec.max_tokens());
                Err(Error::invalid_argument(format!("a sequence of {tokens} tokens; the model takes at most {most}")))
            }
            _ => Ok(()),
        }
    }
}

impl<B: Backend> Encode for Encoder<B> {
    fn pooled(&self, pass: &Pass, pooling: Pooling, call: Call<'_>) -> Result<Vec<f32>> {
        self.check(pass)?;
        let hidden = self.hidden(pass, call)?;
        let (items, tokens) = (pass.layout.sequences(), pass.layout.tokens());
        let width = self.spec.hidden;
        call.counters.time(Stage::Pool, items, tokens, || self.backend.pool(&hidden, &pass.layout, width, pooling))
    }

    fn logits(&self, pass: &Pass, call: Call<'_>) -> Result<Vec<f32>> {
        let (Some(head), Some(output)) = (&self.spec.head, &self.head_output) else {
            return Err(Error::internal("logits were asked of a model without a head"));
        };
        self.check(pass)?;
        let backend = &self.backend;
        let layout = &pass.layout;
        let hidden = self.hidden(pass, call)?;
        call.counters.time(Stage::Linear, layout.sequences(), layout.tokens(), || {
            let mut x = match head.kind {
                HeadKind::Token => hidden,
                // Callers see to it that no sequence is empty.
                HeadKind::Sequence => backend.rows(&hidden, &layout.starts()[..layout.sequences()])?,
            };
            if let (Some(dense), Some(weight)) = (head.dense, &self.head_dense) {
                x = backend.project(&x, weight, dense.activation)?;
            }
            backend.read(&backend.project(&x, output, Activation::None)?)
        })
    }

    fn describe(&self) -> String {
        self.backend.describe()
    }
}

/// The rows of the position table that a pass's tokens take.
fn positions(pass: &Pass, padding: Option<usize>) -> Vec<u32> {
    let Some(padding) = padding.map(|id| id as u32) else {
        return pass.positions.clone();
    };
    let mut skipped = 0;
    let tokens = pass.positions.iter().zip(pass.ids);
    tokens
        .map(|(&position, &id)| {
            skipped = if position == 0 { 0 } else { skipped };
            if id == padding {
                skipped += 1;
                return padding;
            }
            padding + 1 + position - skipped
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batching::Layout;

    #[test]
    fn padding_tokens_within_a_text_are_not_counted() {
        // transformers' create_position_ids_from_input_ids, sequence by sequence.
        let ids = [0, 5, 1, 6, 2, 0, 1, 1, 2];
        let layout = Layout::new(vec![0, 5, 9]);
        let pass = Pass { layout, ids: &ids, type_ids: &[0; 9], positions: vec![0, 1, 2, 3, 4, 0, 1, 2, 3] };
        assert_eq!(positions(&pass, Some(1)), [2, 3, 1, 4, 5, 2, 1, 1, 3]);
        assert_eq!(positions(&pass, None), pass.positions);
    }
}
