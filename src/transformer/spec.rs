//! A model as data. A family file turns `config.json` and its tensor names into a [`Spec`]; the transformer code reads the Spec and
//! nothing else, so a new family needs no arithmetic of its own.

pub use crate::kernels::Activation;

/// Everything the encoder stack must know of a model.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The `model_type` of `config.json`.
    pub family: &'static str,
    pub vocabulary: usize,
    pub hidden: usize,
    pub layers: usize,
    pub heads: usize,
    pub intermediate: usize,
    pub activation: Activation,
    pub norm: Norm,
    pub position: Position,
    /// Kinds of token types; 0 if the model has none.
    pub token_types: usize,
    /// The longest sequence that the model can take.
    pub max_tokens: usize,
    pub names: Names,
    pub head: Option<Head>,
}

impl Spec {
    pub fn head_dim(&self) -> usize {
        self.hidden / self.heads
    }
}

/// The norm of the residual stream.
#[derive(Clone, Copy, Debug)]
pub struct Norm {
    pub kind: NormKind,
    pub place: NormPlace,
    pub eps: f32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    LayerNorm,
}

/// Where the norm stands relative to the residual addition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormPlace {
    /// After it (BERT): `x = norm(x + f(x))`.
    Post,
}

/// How a model knows the order of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// A learned vector a position; the first token has position `first` (RoBERTa counts from its padding id plus 1).
    Learned { rows: usize, first: usize },
    /// Learned positions, and beside them a learned bias a head on the attention scores, by the bucket of the distance
    /// (T5's scheme, Raffel et al. 2020, section 2.1; MPNet has both).
    LearnedAndRelative { rows: usize, first: usize, buckets: usize, max_distance: usize },
}

impl Position {
    /// The table's rows, and the position of a sequence's first token.
    pub fn learned(self) -> (usize, usize) {
        match self {
            Self::Learned { rows, first } | Self::LearnedAndRelative { rows, first, .. } => (rows, first),
        }
    }
}

/// Tensor names. `{}` stands for the layer's number; weights and biases add `.weight` and `.bias`.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// What a checkpoint with a head puts before the encoder's names; a bare encoder may leave it out.
    pub prefix: &'static str,
    pub word: &'static str,
    pub position: &'static str,
    pub token_type: Option<&'static str>,
    pub embedding_norm: &'static str,
    pub relative_bias: Option<&'static str>,
    pub query: &'static str,
    pub key: &'static str,
    pub value: &'static str,
    pub attention_output: &'static str,
    pub attention_norm: &'static str,
    pub up: &'static str,
    pub down: &'static str,
    pub output_norm: &'static str,
}

/// What stands on top of the encoder.
#[derive(Clone, Debug)]
pub struct Head {
    pub kind: HeadKind,
    /// The layer before the last one, with its activation, and whether its name lies under [`Names::prefix`].
    pub dense: Option<Dense>,
    /// The last layer: `labels` outputs.
    pub output: &'static str,
    pub labels: usize,
}

#[derive(Clone, Copy, Debug)]
pub struct Dense {
    pub name: &'static str,
    pub activation: Activation,
    pub prefixed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadKind {
    /// One row of logits a text, from its first token.
    Sequence,
    /// One row of logits a token.
    Token,
}
