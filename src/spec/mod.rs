//! A model as data. A family file turns `config.json` and its tensor names into a [`Spec`]; the transformer code reads the Spec and
//! nothing else, so a new family needs no arithmetic of its own.

mod device;
mod output;
mod packed;

pub use device::{Device, DeviceInfo, Precision};
pub use output::{Dense, Head, HeadKind, Output};
pub use packed::{Batch, Layout, QUERY_CHUNK};

/// Everything the transformer must know of a model: an encoder, a decoder, or both.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The `model_type` of `config.json`.
    pub family: &'static str,
    pub vocabulary: usize,
    pub encoder: Option<Stack>,
    pub decoder: Option<Stack>,
    /// What stands on top of a bare encoder.
    pub head: Option<Head>,
    /// From the decoder's last hidden state to the next token.
    pub language: Option<LanguageHead>,
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

/// Layers of one shape, and how they are entered.
#[derive(Clone, Debug)]
pub struct Stack {
    pub hidden: usize,
    pub layers: usize,
    pub heads: Heads,
    pub intermediate: usize,
    pub activation: Activation,
    /// Whether the feed-forward is `down(activation(gate(x)) · up(x))`; [`Names::up`] then holds the gate before the rest.
    pub gated: bool,
    pub norm: Norm,
    pub biases: Biases,
    /// What word embeddings are multiplied with.
    pub embedding_scale: f32,
    pub position: Position,
    pub relative: Option<Relative>,
    pub rotary: Option<Rotary>,
    pub attention: Attention,
    /// Kinds of token types; 0 if the model has none.
    pub token_types: usize,
    /// The longest sequence that the stack can take; `families::spec` refuses a Spec that takes none.
    pub max_tokens: usize,
    /// Whether each layer also attends to the encoder's output.
    pub cross: bool,
    pub names: Names,
}

impl Stack {
    /// A plain stack for families to change: layer norms after the sums, biases everywhere, no positions.
    pub fn new(hidden: usize, layers: usize, heads: Heads, intermediate: usize, names: Names) -> Self {
        Self {
            hidden,
            layers,
            heads,
            intermediate,
            activation: Activation::Gelu,
            gated: false,
            norm: Norm::layer(NormPlace::Post, 1e-12),
            biases: Biases::ALL,
            embedding_scale: 1.0,
            position: Position::None,
            relative: None,
            rotary: None,
            attention: Attention::plain(heads.dim),
            token_types: 0,
            max_tokens: 0,
            cross: false,
            names,
        }
    }
}

/// How attention is shared out among heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    pub count: usize,
    /// Heads of keys and values; each serves `count / kv` heads of queries (Ainslie et al. 2023).
    pub kv: usize,
    pub dim: usize,
}

impl Heads {
    pub fn equal(count: usize, dim: usize) -> Self {
        Self { count, kv: count, dim }
    }

    /// Heads of queries that share one of keys and values.
    pub fn group(self) -> usize {
        self.count / self.kv
    }

    pub fn query_width(self) -> usize {
        self.count * self.dim
    }

    pub fn kv_width(self) -> usize {
        self.kv * self.dim
    }

    /// Outputs of the layer that makes queries, keys and values at once.
    pub fn qkv_width(self) -> usize {
        self.query_width() + 2 * self.kv_width()
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
}

impl Norm {
    pub fn layer(place: NormPlace, eps: f32) -> Self {
        Self { kind: NormKind::LayerNorm, place, eps, bias: true, shift: 0.0 }
    }

    pub fn rms(place: NormPlace, eps: f32) -> Self {
        Self { kind: NormKind::RmsNorm, place, eps, bias: false, shift: 0.0 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    LayerNorm,
    /// Without a mean taken out (Zhang and Sennrich 2019).
    RmsNorm,
}

/// Where the norms stand relative to the residual addition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormPlace {
    /// After it (BERT): `x = norm(x + f(x))`.
    Post,
    /// Before the sublayer (GPT-2, Llama): `x = x + f(norm(x))`.
    Pre,
    /// Before the sublayer and after it (Gemma 2): `x = x + norm'(f(norm(x)))`.
    Both,
    /// Before, and both sublayers read the same stream (GPT-NeoX): `x = x + attention(norm(x)) + feed_forward(norm'(x))`.
    Parallel,
}

/// Which linear layers have a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Biases {
    pub qkv: bool,
    pub attention_output: bool,
    pub feed_forward: bool,
}

impl Biases {
    pub const ALL: Self = Self { qkv: true, attention_output: true, feed_forward: true };
    pub const NONE: Self = Self { qkv: false, attention_output: false, feed_forward: false };
}

/// What is added to embeddings for a token's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// Nothing: attention knows the order.
    None,
    /// A learned vector a position; the first token takes row `first` of `rows`.
    Learned { rows: usize, first: usize },
    /// RoBERTa's: the first token has the row after `padding`; a padding token within a text takes row `padding` and is not
    /// counted.
    LearnedAfterPadding { rows: usize, padding: usize },
    /// Sines in the first half of the width and cosines in the second (Vaswani et al. 2017, as Marian orders them).
    Sinusoidal { rows: usize },
}

impl Position {
    /// The most tokens that the positions reach; None if they set no limit.
    pub fn max_tokens(self) -> Option<usize> {
        match self {
            Self::None => None,
            Self::Learned { rows, first } => Some(rows.saturating_sub(first)),
            Self::LearnedAfterPadding { rows, padding } => Some(rows.saturating_sub(padding.saturating_add(1))),
            Self::Sinusoidal { rows } => Some(rows),
        }
    }
}

/// A learned bias a head on the attention scores, by the bucket of the distance (Raffel et al. 2020, section 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relative {
    pub buckets: usize,
    pub max_distance: usize,
    /// Whether keys after the query have buckets of their own.
    pub bidirectional: bool,
}

/// Rotary positions (Su et al. 2021): pairs of a head's components turn with the position.
#[derive(Clone, Debug, PartialEq)]
pub struct Rotary {
    /// Components that turn, the first ones of a head.
    pub dim: usize,
    pub theta: f32,
    pub scaling: RotaryScaling,
    /// The base of layers with a window, where it is another (Gemma 3); those are not scaled.
    pub local_theta: Option<f32>,
}

/// How rotary frequencies are changed to reach further than the model was first trained for.
#[derive(Clone, Debug, PartialEq)]
pub enum RotaryScaling {
    None,
    /// Positions are divided.
    Linear {
        factor: f32,
    },
    /// Llama 3.1's: slow frequencies are divided, fast ones stay, and those between are blended.
    Llama3 {
        factor: f32,
        low: f32,
        high: f32,
        original: usize,
    },
    /// A divisor a frequency, those for texts up to `original` tokens and those beyond, and a factor on sines and cosines (Phi-3).
    Long {
        short: Vec<f32>,
        long: Vec<f32>,
        original: usize,
        attention: f32,
    },
}

/// How scores are made.
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    pub scale: f32,
    /// Scores are `softcap · tanh(score / softcap)`; 0 for none.
    pub softcap: f32,
    /// For each layer how many tokens a token sees, itself counted, 0 for all; empty if every layer sees all.
    pub windows: Vec<usize>,
    /// Whether queries and keys are normalised head by head.
    pub head_norm: bool,
}

impl Attention {
    /// Divided by the root of the head's width; every token is seen.
    pub fn plain(head_dim: usize) -> Self {
        Self { scale: 1.0 / (head_dim as f32).sqrt(), softcap: 0.0, windows: Vec::new(), head_norm: false }
    }

    /// The window of a layer; 0 for none.
    pub fn window(&self, layer: usize) -> usize {
        self.windows.get(layer).copied().unwrap_or(0)
    }
}

/// Where a linear layer's rows lie in the checkpoint. `{}` stands for the layer's number; weights and biases add `.weight` and
/// `.bias`.
#[derive(Clone, Copy, Debug)]
pub enum Rows {
    /// A tensor for each part.
    Apart(&'static [&'static str]),
    /// One tensor, the parts one after the other.
    Together(&'static str),
    /// As `Together`, `[inputs, outputs]` (GPT-2's `Conv1D`).
    Transposed(&'static str),
    /// One tensor with the query, key and value of the first head, then those of the second, … (GPT-NeoX).
    ByHead(&'static str),
}

/// Tensor names. `{}` stands for the layer's number; weights and biases add `.weight` and `.bias`.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// What a checkpoint with a head puts before the stack's names; a bare model may leave it out.
    pub prefix: &'static str,
    /// Names to try, the first that is there: an encoder and a decoder may share one table or hold copies.
    pub word: &'static [&'static str],
    pub position: &'static str,
    pub token_type: Option<&'static str>,
    pub embedding_norm: Option<&'static str>,
    pub relative_bias: Option<&'static str>,
    pub qkv: Rows,
    pub attention_output: Rows,
    pub attention_norm: &'static str,
    /// With [`NormPlace::Both`]: the norm of attention's output.
    pub attention_post_norm: Option<&'static str>,
    /// Of queries and keys, with [`Attention::head_norm`].
    pub query_norm: Option<&'static str>,
    pub key_norm: Option<&'static str>,
    pub cross_query: Option<&'static str>,
    pub cross_key_value: Option<&'static [&'static str]>,
    pub cross_output: Option<&'static str>,
    pub cross_norm: Option<&'static str>,
    pub up: Rows,
    pub down: Rows,
    /// The feed-forward's norm.
    pub output_norm: &'static str,
    pub output_post_norm: Option<&'static str>,
    /// The norm after the last layer.
    pub final_norm: Option<&'static str>,
}

impl Names {
    /// What most families leave out.
    pub const EMPTY: Self = Self {
        prefix: "",
        word: &[],
        position: "",
        token_type: None,
        embedding_norm: None,
        relative_bias: None,
        qkv: Rows::Together(""),
        attention_output: Rows::Together(""),
        attention_norm: "",
        attention_post_norm: None,
        query_norm: None,
        key_norm: None,
        cross_query: None,
        cross_key_value: None,
        cross_output: None,
        cross_norm: None,
        up: Rows::Together(""),
        down: Rows::Together(""),
        output_norm: "",
        output_post_norm: None,
        final_norm: None,
    };
}

/// From the decoder's last hidden state to a score for each token of the vocabulary.
#[derive(Clone, Debug)]
pub struct LanguageHead {
    pub weight: LanguageWeight,
    /// A bias on the logits, `[1, vocabulary]`, where the checkpoint has one (BART, Marian).
    pub bias: Option<&'static str>,
    /// What hidden states are multiplied with first (T5 with tied embeddings).
    pub scale: f32,
    /// As [`Attention::softcap`], on the logits.
    pub softcap: f32,
}

/// Where the language head's weight is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LanguageWeight {
    /// It is the decoder's word embeddings.
    Tied,
    /// A tensor of its own.
    Own(&'static str),
    /// A tensor of its own where the checkpoint has it, else the word embeddings (T5: whether it does is not in its configuration).
    OwnOrTied(&'static str),
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

/// How one vector per token becomes one vector per text (sentence-transformers' `Pooling` module, Reimers & Gurevych 2019).
///
/// The numbers are part of the C ABI: they are only ever appended to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Pooling {
    /// The mean over all tokens, special ones included.
    Mean = 1,
    /// The first token's vector.
    Cls = 2,
    /// The last token's vector.
    Last = 3,
    /// No pooling: one vector a token.
    None = 4,
}

impl Pooling {
    pub const ALL: [Self; 4] = [Self::Mean, Self::Cls, Self::Last, Self::None];

    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Cls => "cls",
            Self::Last => "last",
            Self::None => "none",
        }
    }

    pub fn from_u32(value: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|&p| p as u32 == value)
    }
}
