//! Classification heads and the outputs of an encoder as data.

use super::{Activation, LanguageWeight, Modules, Pooling, Spec};

/// A classification head: dense layers over the hidden states that its kind reads.
#[derive(Clone, Debug)]
pub struct Head {
    pub kind: HeadKind,
    /// The token that a head of sequences reads.
    pub token: HeadToken,
    /// The layers in order. The last one has `labels` outputs, the others as many as a hidden state has values. Empty if a graph computes
    /// them.
    pub layers: Vec<Dense>,
    pub labels: usize,
}

/// A linear layer, and the function after it.
#[derive(Clone, Copy, Debug)]
pub struct Dense {
    pub name: &'static str,
    pub bias: bool,
    pub activation: Activation,
    /// Whether its name begins with [`Names::prefix`](super::Names::prefix).
    pub prefixed: bool,
}

/// The head of a masked language model: from a token's hidden state to a score for each token of the vocabulary,
/// `norm(activation(dense(x)))·Wᵀ + b`. The dense layer is as wide as the word embeddings.
#[derive(Clone, Debug)]
pub struct MaskedHead {
    pub dense: Dense,
    /// The norm's name; its kind, epsilon and bias are those of the encoder's norms.
    pub norm: &'static str,
    /// `Tied` means the encoder's word embeddings.
    pub weight: LanguageWeight,
    /// The bias of the logits: tensor names in the order in which they are tried; empty without a bias.
    pub bias: &'static [&'static str],
}

/// The token of a text whose hidden state a head of sequences reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadToken {
    First,
    /// The last one that is not `padding`: tokens at the end of a text that have this id are skipped too, as transformers does. The first
    /// one of a text that has no other token.
    Last {
        padding: Option<u32>,
    },
}

impl HeadToken {
    /// The index of the token in a text, which is not empty.
    pub fn of(self, ids: &[u32]) -> usize {
        match self {
            Self::First => 0,
            Self::Last { padding: None } => ids.len().saturating_sub(1),
            Self::Last { padding: Some(padding) } => ids.iter().rposition(|&id| id != padding).unwrap_or(0),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadKind {
    /// One row of logits per text, from one of its tokens ([`HeadToken`]).
    Sequence,
    /// One row of logits per token.
    Token,
}

impl HeadKind {
    /// The pooling of the head's input; `Cls` stands for the token that [`Head::token`] says.
    pub fn pooling(self) -> Pooling {
        match self {
            Self::Sequence => Pooling::Cls,
            Self::Token => Pooling::None,
        }
    }
}

/// The output of an encoder: the last hidden states, pooled, and the layers that the result is passed through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodeOutput {
    /// The results of several are concatenated in this order. `None` stands alone.
    pub poolings: Vec<Pooling>,
    /// The number of tokens at the beginning of each text that are not pooled.
    pub skip: usize,
    pub layers: Layers,
}

/// The layers after the last hidden states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layers {
    /// Nothing.
    None,
    /// The classification head, after the pooling.
    Head,
    /// The model's [`Modules`]: all those of tokens, and the first `texts` of those of texts.
    Modules { texts: usize },
    /// Those inside an ONNX graph ([`Modules::graph`]).
    Graph,
    /// The head of a masked language model.
    Vocabulary(VocabularyRows),
}

/// What is taken of the scores that the head of a masked language model gives, a number for each token of the vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VocabularyRows {
    /// The logits of each token that has this id.
    Masks(u32),
    /// One row per text.
    Texts(SparsePooling),
}

/// How the logits of a text's tokens become one row (SPLADE, Formal et al. 2021; sentence-transformers' module `SpladePooling`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SparsePooling {
    /// The sum over all tokens, and not the largest value.
    pub sum: bool,
    /// `ln(1 + ln(1 + relu(x)))`, and not `ln(1 + relu(x))`.
    pub twice: bool,
}

impl EncodeOutput {
    pub fn states(pooling: Pooling) -> Self {
        Self { poolings: vec![pooling], skip: 0, layers: Layers::None }
    }

    pub fn head(kind: HeadKind) -> Self {
        Self { layers: Layers::Head, ..Self::states(kind.pooling()) }
    }

    /// The logits of each token that has this id.
    pub fn masks(id: u32) -> Self {
        Self { layers: Layers::Vocabulary(VocabularyRows::Masks(id)), ..Self::states(Pooling::None) }
    }

    /// A row of weights of the vocabulary's tokens for each text.
    pub fn sparse(pooling: SparsePooling) -> Self {
        Self { layers: Layers::Vocabulary(VocabularyRows::Texts(pooling)), ..Self::states(Pooling::Max) }
    }

    /// Whether there is one row per token.
    pub fn by_token(&self) -> bool {
        self.poolings == [Pooling::None]
    }

    /// Values in a row.
    pub fn width(&self, spec: &Spec, modules: &Modules) -> usize {
        let hidden = spec.hidden();
        match (self.layers, &spec.head) {
            (Layers::Head, Some(head)) => head.labels,
            (Layers::Modules { texts }, _) => {
                let pooled = modules.token_width(hidden) * self.poolings.len();
                let texts = if self.by_token() { 0 } else { texts.min(modules.texts.len()) };
                super::modules::width(&modules.texts[..texts], pooled)
            }
            (Layers::Graph, _) => modules.graph.unwrap_or(hidden),
            (Layers::Vocabulary(_), _) => spec.vocabulary,
            _ => hidden * self.poolings.len(),
        }
    }

    /// The number of rows for this many texts with these tokens.
    pub fn rows(&self, texts: usize, ids: &[u32]) -> usize {
        match self.layers {
            Layers::Vocabulary(VocabularyRows::Masks(mask)) => ids.iter().filter(|&&id| id == mask).count(),
            _ if self.by_token() => ids.len(),
            _ => texts,
        }
    }
}
