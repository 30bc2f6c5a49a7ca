//! What stands on top of the hidden states, and what tasks read of them, as data.

use super::{Activation, Pooling, Spec};

/// A classification head: dense layers over the hidden states that its kind reads.
#[derive(Clone, Debug)]
pub struct Head {
    pub kind: HeadKind,
    /// The layers in order. All have as many outputs as the model's hidden states have values, but the last has `labels`. Empty where
    /// a graph holds them.
    pub layers: Vec<Dense>,
    pub labels: usize,
}

/// A linear layer with a bias, and the function after it.
#[derive(Clone, Copy, Debug)]
pub struct Dense {
    pub name: &'static str,
    pub activation: Activation,
    /// Whether its name follows [`Names::prefix`](super::Names::prefix).
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
    /// What the head reads.
    pub fn pooling(self) -> Pooling {
        match self {
            Self::Sequence => Pooling::Cls,
            Self::Token => Pooling::None,
        }
    }
}

/// What is read of texts: the last hidden states, pooled, and then put through the head's layers or not.
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

    /// Values in a row.
    pub fn width(self, spec: &Spec) -> usize {
        match &spec.head {
            Some(head) if self.head => head.labels,
            _ => spec.hidden(),
        }
    }

    /// Rows for so many texts with so many tokens.
    pub fn rows(self, texts: usize, tokens: usize) -> usize {
        if self.pooling == Pooling::None { tokens } else { texts }
    }
}
