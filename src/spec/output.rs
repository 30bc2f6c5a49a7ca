//! Classification heads and the outputs of an encoder as data.

use super::{Activation, Pooling, Spec};

/// A classification head: dense layers over the hidden states that its kind reads.
#[derive(Clone, Debug)]
pub struct Head {
    pub kind: HeadKind,
    /// The layers in order. The last one has `labels` outputs, the others as many as a hidden state has values. Empty if a graph computes
    /// them.
    pub layers: Vec<Dense>,
    pub labels: usize,
}

/// A linear layer with a bias, and the function after it.
#[derive(Clone, Copy, Debug)]
pub struct Dense {
    pub name: &'static str,
    pub activation: Activation,
    /// Whether its name begins with [`Names::prefix`](super::Names::prefix).
    pub prefixed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadKind {
    /// One row of logits per text, from its first token.
    Sequence,
    /// One row of logits per token.
    Token,
}

impl HeadKind {
    /// The pooling of the head's input.
    pub fn pooling(self) -> Pooling {
        match self {
            Self::Sequence => Pooling::Cls,
            Self::Token => Pooling::None,
        }
    }
}

/// The output of an encoder: the last hidden states, pooled, and optionally passed through the head's layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeOutput {
    pub pooling: Pooling,
    pub head: bool,
}

impl EncodeOutput {
    pub fn states(pooling: Pooling) -> Self {
        Self { pooling, head: false }
    }

    pub fn head(kind: HeadKind) -> Self {
        Self { pooling: kind.pooling(), head: true }
    }

    /// The number of values in a row.
    pub fn width(self, spec: &Spec) -> usize {
        match &spec.head {
            Some(head) if self.head => head.labels,
            _ => spec.hidden(),
        }
    }

    /// The number of rows for this many texts and tokens.
    pub fn rows(self, texts: usize, tokens: usize) -> usize {
        if self.pooling == Pooling::None { tokens } else { texts }
    }
}
