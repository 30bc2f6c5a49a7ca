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
    pub names: Names,
    pub head: Option<Head>,
}

impl Spec {
    pub fn head_dim(&self) -> usize {
        self.hidden / self.heads
    }

    /// The longest sequence that the model can take; `families::spec` refuses a Spec that takes none.
    pub fn max_tokens(&self) -> usize {
        self.position.max_tokens().unwrap_or(0)
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
    /// A learned vector a position; the first token has position 0.
    Learned { rows: usize },
    /// RoBERTa's: the first token has the position after `padding`; a padding token within a text takes position `padding` and is
    /// not counted.
    LearnedAfterPadding { rows: usize, padding: usize },
    /// RoBERTa's positions, and beside them a learned bias a head on the attention scores, by the bucket of the distance
    /// (T5's scheme, Raffel et al. 2020, section 2.1; MPNet has both).
    LearnedAndRelative { rows: usize, padding: usize, buckets: usize, max_distance: usize },
}

impl Position {
    /// Rows of the learned table.
    pub fn rows(self) -> usize {
        match self {
            Self::Learned { rows } | Self::LearnedAfterPadding { rows, .. } | Self::LearnedAndRelative { rows, .. } => {
                rows
            }
        }
    }

    /// The token id that positions are counted after, if they are.
    pub fn padding(self) -> Option<usize> {
        match self {
            Self::Learned { .. } => None,
            Self::LearnedAfterPadding { padding, .. } | Self::LearnedAndRelative { padding, .. } => Some(padding),
        }
    }

    /// The most tokens that the table has positions for; None if it has none at all.
    pub fn max_tokens(self) -> Option<usize> {
        self.rows().checked_sub(self.padding().map_or(0, |padding| padding.saturating_add(1))).filter(|&n| n > 0)
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
