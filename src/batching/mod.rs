//! Packing: the sequences of a batch lie end to end, so that nothing is computed for padding; and passes: a large batch runs a part
//! at a time, so that activations stay in the cache and memory does not grow with the batch.

use std::ops::Range;

use crate::encoding::Encoding;
use crate::transformer::spec::{Spec, Stack};

/// Tokens that one pass through the model aims at. Activations of this many tokens fit the second-level cache of the
/// machines at hand for MiniLM's shape; larger passes only cost memory. Results do not depend on it.
pub const PASS_TOKENS: usize = 512;

/// Tokens that a pass aims at where every thread runs passes of its own: their queries, keys and values stay in one core's cache.
pub const THREAD_PASS_TOKENS: usize = 256;

/// Tokens that a pass on a GPU aims at: enough to keep it busy.
#[cfg(feature = "candle")]
pub const DEVICE_PASS_TOKENS: usize = 4096;

/// Queries of one head that are one piece of attention's work.
pub const QUERY_CHUNK: usize = 128;

/// Tokens of a pass that a model's memory limit accounts for beforehand. A text that is longer is counted when it comes.
pub const ACCOUNTED_TOKENS: usize = 1024;

/// Bytes of activations that a token of a pass takes at once on the CPU: the residual stream, queries, keys and values (or the
/// feed-forward's inner layer), attention's result, their 8-bit copy, and a head's scratch.
fn token_bytes(stack: &Stack) -> u64 {
    let inner = if stack.gated { 2 * stack.intermediate } else { stack.intermediate };
    let wide = stack.heads.qkv_width().max(inner) as u64;
    let floats = 2 * stack.hidden as u64 + wide + wide.div_ceil(4) + 4 * stack.heads.dim as u64;
    floats.saturating_mul(size_of::<f32>() as u64)
}

/// Bytes of activations that passes of `tokens` on `threads` threads may hold, but for texts of more than [`ACCOUNTED_TOKENS`].
pub fn pass_bytes(spec: &Spec, tokens: usize, threads: usize) -> u64 {
    let stack = |stack: &Stack| {
        // An encoder's sequences are run whole; a decoder's are cut.
        let longest = if stack.cross || spec.encoder.is_none() { 0 } else { stack.max_tokens.min(ACCOUNTED_TOKENS) };
        let threads = if spec.decoder.is_none() { threads } else { 1 };
        token_bytes(stack).saturating_mul(longest.max(tokens * threads) as u64)
    };
    [&spec.encoder, &spec.decoder].into_iter().flatten().map(stack).max().unwrap_or(0)
}

/// Bytes of activations that a pass takes beyond those of the tokens that [`pass_bytes`] accounts for.
pub fn more_bytes(stack: &Stack, tokens: usize, accounted: usize) -> u64 {
    token_bytes(stack).saturating_mul(tokens.saturating_sub(accounted) as u64)
}

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
pub struct Pass<'a> {
    pub layout: Layout,
    pub ids: &'a [u32],
    pub type_ids: &'a [u32],
    /// The position of each token in its sequence, from 0.
    pub positions: Vec<u32>,
}

/// Cuts a batch into passes of whole sequences and, but for longer sequences, at most `tokens` tokens. Sequences without tokens take
/// no part in a pass but keep their place.
pub fn passes(encoding: &Encoding, tokens: usize) -> impl Iterator<Item = Pass<'_>> {
    let mut next = 0;
    std::iter::from_fn(move || {
        let starts = encoding.starts();
        let first = next;
        if first == encoding.len() {
            return None;
        }
        next += 1;
        while next < encoding.len() && starts[next + 1] - starts[first] <= tokens {
            next += 1;
        }
        let range = starts[first]..starts[next];
        let mut positions = Vec::with_capacity(range.len());
        for bounds in starts[first..=next].windows(2) {
            positions.extend(0..(bounds[1] - bounds[0]) as u32);
        }
        Some(Pass {
            layout: Layout::new(starts[first..=next].iter().map(|&start| start - range.start).collect()),
            ids: &encoding.ids()[range.clone()],
            type_ids: &encoding.type_ids()[range],
            positions,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoding(lengths: &[usize]) -> Encoding {
        let mut starts = vec![0];
        for length in lengths {
            starts.push(starts[starts.len() - 1] + length);
        }
        let tokens = starts[lengths.len()];
        Encoding {
            ids: (0..tokens as u32).collect(),
            type_ids: vec![0; tokens],
            truncated: vec![0; lengths.len()],
            starts,
            ..Encoding::default()
        }
    }

    #[test]
    fn passes_hold_every_sequence_once_and_in_order() {
        for lengths in [
            vec![],
            vec![0],
            vec![3],
            vec![0, 0, 5, 0],
            vec![700, 700, 10, 2000, 1],
            vec![PASS_TOKENS, 1, PASS_TOKENS - 1],
        ] {
            let batch = encoding(&lengths);
            let (mut found, mut ids) = (Vec::new(), Vec::new());
            for pass in passes(&batch, PASS_TOKENS) {
                assert!(pass.layout.tokens() <= PASS_TOKENS || pass.layout.sequences() == 1);
                assert_eq!(pass.layout.tokens(), pass.ids.len());
                for sequence in 0..pass.layout.sequences() {
                    let range = pass.layout.range(sequence);
                    found.push(range.len());
                    assert!(pass.positions[range].iter().copied().eq(0..found[found.len() - 1] as u32));
                }
                ids.extend_from_slice(pass.ids);
            }
            assert_eq!(found, lengths);
            assert_eq!(ids, batch.ids());
        }
    }

    #[test]
    fn chunks_cover_every_query_once() {
        let layout = Layout::new(vec![0, 5, 5, 5 + 300, 305 + 128]);
        assert_eq!(layout.chunks(), [(0, 0), (2, 0), (2, 128), (2, 256), (3, 0)]);
    }
}
