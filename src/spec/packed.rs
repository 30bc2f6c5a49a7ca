//! Packed sequences: the texts of a batch end to end, without padding.

use std::ops::Range;

/// The rows of each sequence in a packed activation.
#[derive(Clone, Debug)]
pub struct Layout {
    starts: Vec<usize>,
}

impl Layout {
    /// `starts` as in [`Encoding::starts`], beginning with 0.
    pub fn new(starts: Vec<usize>) -> Self {
        Self { starts }
    }

    pub fn sequences(&self) -> usize {
        self.starts.len() - 1
    }

    pub fn tokens(&self) -> usize {
        self.starts[self.starts.len() - 1]
    }

    pub fn starts(&self) -> &[usize] {
        &self.starts
    }

    /// A sequence's rows.
    pub fn range(&self, sequence: usize) -> Range<usize> {
        self.starts[sequence]..self.starts[sequence + 1]
    }
}

/// The input of one pass: whole sequences of a batch.
pub struct Batch<'a> {
    pub layout: Layout,
    pub ids: &'a [u32],
    pub type_ids: &'a [u32],
    /// The position of each token in its sequence, from 0.
    pub positions: Vec<u32>,
}
