//! Finds a Spec's tensors in the checkpoint and checks every shape before anything is allocated.

use crate::backend::{Backend, LinearView};
use crate::error::Result;
use crate::formats::safetensors::{TensorView, Weights};

use super::spec::{Position, Spec};

/// A norm's weight and bias.
pub struct NormView<'a> {
    pub weight: TensorView<'a>,
    pub bias: TensorView<'a>,
}

pub struct LayerView<'a> {
    pub qkv: LinearView<'a>,
    pub attention_output: LinearView<'a>,
    pub attention_norm: NormView<'a>,
    pub up: LinearView<'a>,
    pub down: LinearView<'a>,
    pub output_norm: NormView<'a>,
}

/// The tensors of an encoder, found and of the right shapes.
pub struct EncoderView<'a> {
    pub word: TensorView<'a>,
    pub position: TensorView<'a>,
    pub token_type: Option<TensorView<'a>>,
    pub embedding_norm: NormView<'a>,
    /// `[buckets, heads]`.
    pub relative_bias: Option<TensorView<'a>>,
    pub layers: Vec<LayerView<'a>>,
    pub head_dense: Option<LinearView<'a>>,
    pub head_output: Option<LinearView<'a>>,
}

struct Finder<'a> {
    weights: &'a Weights,
    /// What stands before the encoder's names in this checkpoint.
    prefix: &'static str,
}

impl<'a> Finder<'a> {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<TensorView<'a>> {
        self.weights.require(name, shape)
    }

    fn linear_named(&self, names: &[String], outputs: usize, inputs: usize) -> Result<LinearView<'a>> {
        let part = |name: &String| {
            let weight = self.tensor(&format!("{name}.weight"), &[outputs, inputs])?;
            let bias = self.tensor(&format!("{name}.bias"), &[outputs])?;
            Ok((weight, Some(bias)))
        };
        let parts = names.iter().map(part).collect::<Result<Vec<_>>>()?;
        Ok(LinearView { inputs, outputs: outputs * parts.len(), parts })
    }

    fn full(&self, template: &str, layer: usize) -> String {
        format!("{}{}", self.prefix, template.replace("{}", &layer.to_string()))
    }

    fn linear(&self, templates: &[&str], layer: usize, outputs: usize, inputs: usize) -> Result<LinearView<'a>> {
        let names: Vec<_> = templates.iter().map(|template| self.full(template, layer)).collect();
        self.linear_named(&names, outputs, inputs)
    }

    /// Checkpoints converted from TensorFlow call a norm's weight and bias `gamma` and `beta`.
    fn norm(&self, template: &str, layer: usize, width: usize) -> Result<NormView<'a>> {
        let name = self.full(template, layer);
        let old = self.weights.get(&format!("{name}.gamma")).is_some();
        let (weight, bias) = if old { ("gamma", "beta") } else { ("weight", "bias") };
        Ok(NormView {
            weight: self.tensor(&format!("{name}.{weight}"), &[width])?,
            bias: self.tensor(&format!("{name}.{bias}"), &[width])?,
        })
    }
}

impl<'a> EncoderView<'a> {
    /// # Errors
    /// A tensor that is missing or of another shape than the Spec says, by file and name.
    pub fn find(spec: &Spec, weights: &'a Weights) -> Result<Self> {
        let names = &spec.names;
        let word = format!("{}{}.weight", names.prefix, names.word);
        let prefix = if weights.get(&word).is_some() { names.prefix } else { "" };
        let find = Finder { weights, prefix };
        let (hidden, inner) = (spec.hidden, spec.intermediate);
        let table = |name: &str, rows: usize| find.tensor(&format!("{prefix}{name}.weight"), &[rows, hidden]);

        let layer = |i: usize| {
            Ok(LayerView {
                qkv: find.linear(&[names.query, names.key, names.value], i, hidden, hidden)?,
                attention_output: find.linear(&[names.attention_output], i, hidden, hidden)?,
                attention_norm: find.norm(names.attention_norm, i, hidden)?,
                up: find.linear(&[names.up], i, inner, hidden)?,
                down: find.linear(&[names.down], i, hidden, inner)?,
                output_norm: find.norm(names.output_norm, i, hidden)?,
            })
        };
        let (mut head_dense, mut head_output) = (None, None);
        if let Some(head) = &spec.head {
            if let Some(dense) = head.dense {
                let name = format!("{}{}", if dense.prefixed { prefix } else { "" }, dense.name);
                head_dense = Some(find.linear_named(&[name], hidden, hidden)?);
            }
            head_output = Some(find.linear_named(&[head.output.to_string()], head.labels, hidden)?);
        }
        let relative_bias = match (spec.position, names.relative_bias) {
            (Position::LearnedAndRelative { buckets, .. }, Some(name)) => {
                Some(find.tensor(&format!("{prefix}{name}.weight"), &[buckets, spec.heads])?)
            }
            _ => None,
        };
        Ok(Self {
            word: table(names.word, spec.vocabulary)?,
            position: table(names.position, spec.position.rows())?,
            token_type: match names.token_type {
                Some(name) if spec.token_types > 0 => Some(table(name, spec.token_types)?),
                _ => None,
            },
            embedding_norm: find.norm(names.embedding_norm, 0, hidden)?,
            relative_bias,
            // The first missing layer ends this, however many the configuration promises.
            layers: (0..spec.layers).map(layer).collect::<Result<_>>()?,
            head_dense,
            head_output,
        })
    }

    /// All linear layers.
    pub fn linears(&self) -> impl Iterator<Item = &LinearView<'a>> {
        let layers = self.layers.iter().flat_map(|l| [&l.qkv, &l.attention_output, &l.up, &l.down]);
        layers.chain(&self.head_dense).chain(&self.head_output)
    }

    /// Bytes that the weights will take on a backend.
    pub fn bytes<B: Backend>(&self, backend: &B, spec: &Spec) -> u64 {
        let linears = self.linears().map(|l| backend.linear_bytes(l.outputs, l.inputs) as u64).sum::<u64>();
        let tables = [Some(&self.word), Some(&self.position), self.token_type.as_ref()];
        let tables =
            tables.into_iter().flatten().map(|t| backend.table_bytes(t.shape[0], t.shape[1]) as u64).sum::<u64>();
        let norms = (1 + 2 * self.layers.len()) * 2 * spec.hidden * size_of::<f32>();
        let distances =
            self.relative_bias.as_ref().map_or(0, |_| 2 * spec.max_tokens() * spec.heads * size_of::<f32>());
        linears + tables + norms as u64 + distances as u64
    }
}
