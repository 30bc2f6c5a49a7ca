//! A model as data. A family file maps `config.json` and tensor names to a [`Spec`], and the transformer reads only the Spec, so a new family
//! needs no arithmetic. Every field is honoured or refused by name when a model is loaded.

mod device;
#[cfg(test)]
pub(crate) mod fields;
mod modules;
mod output;
mod packed;
mod pooling;
mod position;

pub use device::{Device, DeviceInfo, Precision};
pub use modules::{Elementwise, Module, ModuleDense, Modules, Residual};
pub use output::{Dense, EncodeOutput, Head, HeadKind, HeadToken, Layers, MaskedHead, SparsePooling, VocabularyRows};
pub use packed::{Batch, Layout};
pub use pooling::Pooling;
pub use position::Position;

/// The description of a model: an encoder, a decoder, or both.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The `model_type` of `config.json`.
    pub family: &'static str,
    pub vocabulary: usize,
    pub encoder: Option<Stack>,
    pub decoder: Option<Stack>,
    /// The classification head on top of the encoder, or of a decoder that has none.
    pub head: Option<Head>,
    /// From the decoder's last hidden state to logits.
    pub language: Option<LanguageHead>,
    /// From the encoder's hidden states to logits over the vocabulary.
    pub masked: Option<MaskedHead>,
}

impl Spec {
    /// The stack that reads a text: the encoder, or a decoder that has none.
    pub fn reader(&self) -> Option<&Stack> {
        self.encoder.as_ref().or(self.decoder.as_ref())
    }

    /// Values in a hidden state.
    pub fn hidden(&self) -> usize {
        self.reader().map_or(0, |stack| stack.hidden)
    }

    /// The longest text that the model can take.
    pub fn max_tokens(&self) -> usize {
        self.reader().map_or(0, |stack| stack.max_tokens)
    }
}

/// Embeddings and layers of one shape.
#[derive(Clone, Debug)]
pub struct Stack {
    pub hidden: usize,
    /// The width of the tables of embeddings. A linear layer with a bias follows where [`Names::embedding_projection`] names one.
    pub embedding_size: usize,
    pub layers: usize,
    /// Whether all layers have the same weights, those of the first (ALBERT, Lan et al. 2020).
    pub shared_layers: bool,
    pub heads: Heads,
    pub intermediate: usize,
    pub activation: Activation,
    /// A gated feed-forward (SwiGLU, GeGLU; Shazeer 2020): `down(activation(gate(x)) · up(x))`. [`Names::up`] then has the gate first.
    pub gated: bool,
    /// A mixture of experts in place of the feed-forward.
    pub experts: Option<Experts>,
    pub norm: Norm,
    pub biases: Biases,
    /// The factor of word embeddings.
    pub embedding_scale: f32,
    pub position: Position,
    /// Relative position bias, added to the scores of self-attention.
    pub relative: Option<Relative>,
    /// ALiBi (Press et al. 2022): a head's slope times the distance is subtracted from the scores of self-attention. The slopes are the
    /// powers `2^(-max / n)`, `2^(-2 max / n)`, … of `n` heads; this is `max`.
    pub alibi: Option<f32>,
    /// Vectors of distances in self-attention.
    pub disentangled: Option<Disentangled>,
    /// Of queries and keys in self-attention.
    pub rotary: Option<Rotary>,
    pub attention: AttentionSpec,
    /// The number of token types; 0 if the model has none.
    pub token_types: usize,
    /// The maximum number of tokens of a sequence; `families::spec` refuses 0.
    pub max_tokens: usize,
    /// Whether each layer has cross-attention to the whole output of the encoder, with the stack's scale and soft cap and without
    /// positions.
    pub cross: bool,
    pub names: Names,
}

impl Stack {
    /// The number of layers with weights of their own.
    pub fn distinct_layers(&self) -> usize {
        if self.shared_layers { self.layers.min(1) } else { self.layers }
    }

    /// A plain stack for families to change: post-norm, biases in all layers, no positions.
    pub fn new(hidden: usize, layers: usize, heads: Heads, intermediate: usize, names: Names) -> Self {
        Self {
            hidden,
            embedding_size: hidden,
            layers,
            shared_layers: false,
            heads,
            intermediate,
            activation: Activation::Gelu,
            gated: false,
            experts: None,
            norm: Norm::layer(NormPlace::Post, 1e-12),
            biases: Biases::ALL,
            embedding_scale: 1.0,
            position: Position::None,
            relative: None,
            alibi: None,
            disentangled: None,
            rotary: None,
            attention: AttentionSpec::plain(heads.dim),
            token_types: 0,
            max_tokens: 0,
            cross: false,
            names,
        }
    }
}

/// The heads of attention. Fewer heads of keys and values than of queries is grouped-query attention (Ainslie et al. 2023).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    pub count: usize,
    /// Heads of keys and values; each serves `count / kv` heads of queries.
    pub kv: usize,
    pub dim: usize,
}

impl Heads {
    pub fn equal(count: usize, dim: usize) -> Self {
        Self { count, kv: count, dim }
    }

    /// The number of query heads per key/value head.
    pub fn group(self) -> usize {
        self.count / self.kv
    }

    pub fn query_width(self) -> usize {
        self.count * self.dim
    }

    pub fn kv_width(self) -> usize {
        self.kv * self.dim
    }

    /// The outputs of the fused query, key and value layer.
    pub fn qkv_width(self) -> usize {
        self.query_width() + 2 * self.kv_width()
    }
}

/// A mixture of experts (Shazeer et al. 2017; Fedus et al. 2022): a router picks a few of many feed-forwards for each token, and their
/// outputs are added, each times the softmax of the router's logits. All have the stack's activation and gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Experts {
    pub count: usize,
    /// Experts that a token is sent to: those of the largest logits, of equals the first.
    pub per_token: usize,
    pub intermediate: usize,
    /// Whether the factors of a token's experts are divided by their sum.
    pub normalized: bool,
    /// The intermediate size of an expert that takes every token, times the sigmoid of a score where [`Names::shared_gate`] names one
    /// (Qwen2-MoE).
    pub shared: Option<usize>,
    /// Whether each layer has experts; empty if all have. The others have the stack's feed-forward.
    pub layers: Vec<bool>,
}

impl Experts {
    /// Experts in each layer, and none for all tokens.
    pub fn new(count: usize, per_token: usize, intermediate: usize, normalized: bool) -> Self {
        Self { count, per_token, intermediate, normalized, shared: None, layers: Vec::new() }
    }

    /// Whether a layer has experts.
    pub fn is_in(&self, layer: usize) -> bool {
        self.layers.get(layer).copied().unwrap_or(true)
    }
}

/// The norm of the residual stream.
#[derive(Clone, Copy, Debug)]
pub struct Norm {
    pub kind: NormKind,
    pub place: NormPlace,
    pub eps: f32,
    /// Whether norms have a bias.
    pub bias: bool,
    /// Added to norms' weights: Gemma stores them less 1.
    pub shift: f32,
    /// Whether the first layer has a norm before its attention. ModernBERT's has none: it follows the norm of the embeddings.
    pub first_attention: bool,
}

impl Norm {
    pub fn layer(place: NormPlace, eps: f32) -> Self {
        Self { kind: NormKind::LayerNorm, place, eps, bias: true, shift: 0.0, first_attention: true }
    }

    pub fn rms(place: NormPlace, eps: f32) -> Self {
        Self { kind: NormKind::RmsNorm, place, eps, bias: false, shift: 0.0, first_attention: true }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    LayerNorm,
    /// RMSNorm (Zhang and Sennrich 2019): the mean is not subtracted.
    RmsNorm,
}

/// Where the norms are relative to the residual addition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormPlace {
    /// Post-norm (BERT): `x = norm(x + f(x))`.
    Post,
    /// Pre-norm (GPT-2, Llama): `x = x + f(norm(x))`.
    Pre,
    /// Sandwich norm (Gemma 2): `x = x + norm'(f(norm(x)))`.
    Both,
    /// Only the second one of a sandwich (OLMo 2): `x = x + norm'(f(x))`.
    Output,
    /// Pre-norm, and both sublayers read the same stream (GPT-NeoX): `x = x + attention(norm(x)) + feed_forward(norm'(x))`.
    Parallel,
}

impl NormPlace {
    /// Whether sublayers' outputs are normalised before they are added.
    pub fn has_output_norms(self) -> bool {
        matches!(self, Self::Both | Self::Output)
    }
}

/// Which linear layers have a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Biases {
    pub qkv: bool,
    pub attention_output: bool,
    /// The feed-forward's first layer.
    pub feed_forward: bool,
    pub feed_forward_output: bool,
}

impl Biases {
    pub const ALL: Self = Self { qkv: true, attention_output: true, feed_forward: true, feed_forward_output: true };
    pub const NONE: Self =
        Self { qkv: false, attention_output: false, feed_forward: false, feed_forward_output: false };
}

/// Relative position bias: a learned number per head and bucket of distances, added to the scaled and capped scores (Raffel et al.
/// 2020, section 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relative {
    pub buckets: usize,
    pub max_distance: usize,
    /// Whether keys after the query have separate buckets; otherwise they share the bucket of distance 0.
    pub bidirectional: bool,
}

/// Disentangled attention (He et al. 2021): a table of vectors of distances, of which each layer makes keys and queries. Their products with
/// a token's query and key are added to the products of queries and keys, before these are scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disentangled {
    /// Half of the table's rows. Distance 0 has row `span`, and a query that is `n` tokens after the key has a row after it; those
    /// beyond the ends have the first and the last row.
    pub span: usize,
    /// Distances of more than half of `span` share rows of logarithmic width, of which the last one that counts is of `max_distance - 1`
    /// tokens; None: each has a row.
    pub max_distance: Option<usize>,
    /// Whether keys of distances are multiplied with the queries of tokens (c2p).
    pub content_to_position: bool,
    /// Whether queries of distances are multiplied with the keys of tokens (p2c).
    pub position_to_content: bool,
}

/// The maximum of [`Rotary::reach`] beyond what the configuration says.
const MAX_REACH: usize = 1 << 24;

/// Rotary positions (RoPE, Su et al. 2021): pairs of a head's components are rotated by the position times a frequency.
#[derive(Clone, Debug, PartialEq)]
pub struct Rotary {
    /// Components that are rotated, the first ones of a head; even.
    pub dim: usize,
    pub theta: f32,
    pub scaling: RotaryScaling,
    /// A different base for layers with a sliding window (Gemma 3), which are not scaled.
    pub local_theta: Option<f32>,
    /// The layers without rotary positions (SmolLM3); empty if all have them.
    pub without: Vec<bool>,
    /// Whether the checkpoint has the two components of a pair side by side (GPT-J), not half of `dim` apart. Its rows of queries and keys
    /// are put in the other order when they are read.
    pub interleaved: bool,
}

impl Rotary {
    /// Whether a layer's queries and keys are rotated.
    pub fn is_in(&self, layer: usize) -> bool {
        !self.without.get(layer).copied().unwrap_or(false)
    }

    /// The number of positions of a model whose configuration says `max_tokens`. That may be the length of the training, which YaRN and
    /// dynamic NTK extend by their factor.
    pub fn reach(&self, max_tokens: usize) -> usize {
        let (factor, original) = match self.scaling {
            RotaryScaling::Yarn { factor, original, .. } | RotaryScaling::Dynamic { factor, original } => {
                (factor, original)
            }
            _ => return max_tokens,
        };
        max_tokens.max(((original as f64 * f64::from(factor)) as usize).min(MAX_REACH))
    }
}

/// Scaling of rotary frequencies for texts longer than in the original training.
#[derive(Clone, Debug, PartialEq)]
pub enum RotaryScaling {
    None,
    /// Position interpolation: positions are divided.
    Linear {
        factor: f32,
    },
    /// Llama 3.1's: low frequencies are divided, high ones stay, and those between are blended.
    Llama3 {
        factor: f32,
        low: f32,
        high: f32,
        original: usize,
    },
    /// LongRoPE (Phi-3): divisors per frequency, for texts of up to `original` tokens and for longer ones, and a factor on sines and
    /// cosines.
    Long {
        short: Vec<f32>,
        long: Vec<f32>,
        original: usize,
        attention: f32,
    },
    /// YaRN (Peng et al. 2023): frequencies with less than `slow` turns within the `original` context length are divided by `factor`,
    /// those with more than `fast` stay, and those between are blended; and a factor on sines and cosines.
    Yarn {
        factor: f32,
        fast: f32,
        slow: f32,
        original: usize,
        /// Whether the bounds of the blend are whole frequencies.
        truncate: bool,
        attention: f32,
    },
    /// Dynamic NTK: the base grows with the length of a text of more than `original` tokens.
    Dynamic {
        factor: f32,
        original: usize,
    },
}

/// Where the rotary frequencies of a sequence change as it grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RotarySwitch {
    /// Up to this many tokens the frequencies are the same.
    pub length: usize,
    /// Whether they change with each further token (dynamic NTK), or once (LongRoPE).
    pub grows: bool,
}

/// Attention scores, `cap(scale · q·kᵀ)`, and the keys that a token sees.
#[derive(Clone, Debug, PartialEq)]
pub struct AttentionSpec {
    pub scale: f32,
    /// Scores are `softcap · tanh(score / softcap)`; 0 for none.
    pub softcap: f32,
    /// The sliding window of each layer, 0 for none; empty if no layer has one. With a window `w` a decoder's token sees the last `w`
    /// tokens, itself counted; an encoder's token `i` sees the tokens `j` with `|i - j| <= w / 2`, rounded down, on both sides
    /// (ModernBERT's `local_attention`, EmbeddingGemma's `sliding_window`).
    pub windows: Vec<usize>,
    /// Whether queries and keys are normalised head by head, before rotary positions. Not in cross-attention.
    pub head_norm: bool,
    /// Whether [`Self::head_norm`] takes all heads together, as one vector (OLMo 2).
    pub joint_norm: bool,
}

impl AttentionSpec {
    /// Scores divided by the square root of the head's width; all tokens are visible.
    pub fn plain(head_dim: usize) -> Self {
        Self {
            scale: 1.0 / (head_dim as f32).sqrt(),
            softcap: 0.0,
            windows: Vec::new(),
            head_norm: false,
            joint_norm: false,
        }
    }

    /// The window of a layer; 0 for none.
    pub fn window(&self, layer: usize) -> usize {
        self.windows.get(layer).copied().unwrap_or(0)
    }
}

/// The tensors of a linear layer in the checkpoint. `{}` is replaced by the layer's number; weights and biases add `.weight` and
/// `.bias`.
#[derive(Clone, Copy, Debug)]
pub enum LinearTensors {
    /// One per part, for instance query, key and value.
    Separate(&'static [&'static str]),
    /// One, with the parts concatenated.
    Single(&'static str),
    /// As `Single`, the last part first (GTE's gate).
    Reversed(&'static str),
    /// As `Single`, `[inputs, outputs]` (GPT-2's `Conv1D`).
    Transposed(&'static str),
    /// One, interleaved by head: query, key and value of the first head, then of the second, … (GPT-NeoX). Not for grouped-query
    /// attention.
    ByHead(&'static str),
}

impl LinearTensors {
    /// The names.
    pub fn names(&self) -> &[&'static str] {
        match self {
            Self::Separate(names) => names,
            Self::Single(name) | Self::Reversed(name) | Self::Transposed(name) | Self::ByHead(name) => {
                std::slice::from_ref(name)
            }
        }
    }
}

/// Tensor names. `{}` is replaced by the layer's number; weights and biases add `.weight` and `.bias`.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// The prefix of the stack's names in a checkpoint with a head; a bare model may not have it.
    pub prefix: &'static str,
    /// Names to try in order: an encoder and a decoder may share one table or hold copies.
    pub word: &'static [&'static str],
    pub position: &'static str,
    pub token_type: Option<&'static str>,
    pub embedding_norm: Option<&'static str>,
    /// A linear layer after the embeddings and their norm, from [`Stack::embedding_size`] to [`Stack::hidden`].
    pub embedding_projection: Option<&'static str>,
    pub relative_bias: Option<&'static str>,
    /// The table of [`Disentangled`], and its norm.
    pub distances: Option<&'static str>,
    pub distance_norm: Option<&'static str>,
    /// Linear layers of keys and queries of distances; None if they are those of tokens.
    pub distance_key: Option<&'static str>,
    pub distance_query: Option<&'static str>,
    pub qkv: LinearTensors,
    pub attention_output: LinearTensors,
    pub attention_norm: &'static str,
    /// With [`NormPlace::Both`] and [`NormPlace::Output`]: the norm of attention's output.
    pub attention_post_norm: Option<&'static str>,
    /// Of queries and keys, with [`AttentionSpec::head_norm`].
    pub query_norm: Option<&'static str>,
    pub key_norm: Option<&'static str>,
    pub cross_query: Option<&'static str>,
    pub cross_key_value: Option<&'static [&'static str]>,
    pub cross_output: Option<&'static str>,
    pub cross_norm: Option<&'static str>,
    pub up: LinearTensors,
    pub down: LinearTensors,
    /// Of [`Experts`]: the router, and the experts' layers. `{e}` is the expert's number; without it, or where there are no tensors of
    /// one expert, all are in one tensor `[experts, outputs, inputs]`, or with the first two joined, whose name lacks `.{e}` and may lack
    /// `.weight`. They have no biases.
    pub router: Option<&'static str>,
    pub expert_up: LinearTensors,
    pub expert_down: LinearTensors,
    /// Added once to the sum of the experts' outputs; the whole name.
    pub expert_bias: Option<&'static str>,
    pub shared_up: LinearTensors,
    pub shared_down: LinearTensors,
    /// The score of the shared expert.
    pub shared_gate: Option<&'static str>,
    /// The feed-forward's norm.
    pub output_norm: &'static str,
    pub output_post_norm: Option<&'static str>,
    /// The norm after the last layer.
    pub final_norm: Option<&'static str>,
}

impl Names {
    /// Empty names, for families to fill in.
    pub const EMPTY: Self = Self {
        prefix: "",
        word: &[],
        position: "",
        token_type: None,
        embedding_norm: None,
        embedding_projection: None,
        relative_bias: None,
        distances: None,
        distance_norm: None,
        distance_key: None,
        distance_query: None,
        qkv: LinearTensors::Single(""),
        attention_output: LinearTensors::Single(""),
        attention_norm: "",
        attention_post_norm: None,
        query_norm: None,
        key_norm: None,
        cross_query: None,
        cross_key_value: None,
        cross_output: None,
        cross_norm: None,
        up: LinearTensors::Single(""),
        down: LinearTensors::Single(""),
        router: None,
        expert_up: LinearTensors::Single(""),
        expert_down: LinearTensors::Single(""),
        expert_bias: None,
        shared_up: LinearTensors::Single(""),
        shared_down: LinearTensors::Single(""),
        shared_gate: None,
        output_norm: "",
        output_post_norm: None,
        final_norm: None,
    };
}

/// From the decoder's last hidden state to a score for each token of the vocabulary.
#[derive(Clone, Debug)]
pub struct LanguageHead {
    pub weight: LanguageWeight,
    /// A bias on the logits: `[1, vocabulary]` where the checkpoint has it (BART, Marian), or the head's own (Phi).
    pub bias: Option<&'static str>,
    /// The factor of hidden states (T5 with tied embeddings).
    pub scale: f32,
    /// As [`AttentionSpec::softcap`], on the logits.
    pub softcap: f32,
}

/// Where the language head's weight is. The names are tried in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LanguageWeight {
    /// The decoder's word embeddings.
    Tied,
    /// A tensor of its own. A checkpoint without it, as of a base model, has no language head.
    Own(&'static [&'static str]),
    /// A tensor of its own if the checkpoint has one that differs from the word embeddings, else the word embeddings.
    OwnOrTied(&'static [&'static str]),
}

/// The function between two linear layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    None,
    Relu,
    /// `x·Φ(x)` with the error function (`gelu` in Hugging Face configurations).
    Gelu,
    /// The tanh approximation (`gelu_new`, `gelu_pytorch_tanh`).
    GeluTanh,
    Silu,
    Tanh,
}
