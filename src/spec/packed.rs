//! Packed sequences: the texts of a batch end to end, without padding.

use std::ops::Range;

/// Queries of one head that are one piece of attention's work.
pub const QUERY_CHUNK: usize = 128;

/// How sequences lie in a packed activation.
#[derive(Clone, Debug)]
pub struct Layout {
    starts: Vec<usize>,
    chunks: Vec<(u32, u32)>,
}

impl Layout {
    /// `starts` as in [`Encoding::starts`], beginning with 0.
    pub fn new(starts: Vec<usize>) -> Self {
        let chunks = starts.windows(2).enumerate().flat_map(|(sequence, bounds)| {
            let tokens = bounds[1] - bounds[0];
            (0..tokens).step_by(QUERY_CHUNK).map(move |query| (sequence as u32, query as u32))
        });
        let chunks = chunks.collect();
        Self { starts, chunks }
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

    /// Where a sequence lies.
    pub fn range(&self, sequence: usize) -> Range<usize> {
        self.starts[sequence]..self.starts[sequence + 1]
    }

    /// Attention's work, cut into (sequence, first query) pieces of [`QUERY_CHUNK`] queries.
    pub fn chunks(&self) -> &[(u32, u32)] {
        &self.chunks
    }
}

/// One pass's input: a run of whole sequences of a batch.
pub struct Batch<'a> {
    pub layout: Layout,
    pub ids: &'a [u32],
    pub type_ids: &'a [u32],
    /// The position of each token in its sequence, from 0.
    pub positions: Vec<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_every_query_once() {
        let layout = Layout::new(vec![0, 5, 5, 5 + 300, 305 + 128]);
        assert_eq!(layout.chunks(), [(0, 0), (2, 0), (2, 128), (2, 256), (3, 0)]);
    }
}
