//! Packed passes. The sequences of a batch are concatenated, without padding. A large batch is cut into passes, so that activations stay
//! in the cache and memory does not grow with the batch.

use std::ops::Range;

use crate::base::error::{Error, Result};
use crate::spec::{Batch, Layout};
use crate::text::encoding::Encoding;

/// Cuts some sequences of a batch into passes of whole sequences with at most `tokens` tokens, except for longer sequences. Sequences without tokens stay
/// in the numbering.
pub fn passes(encoding: &Encoding, some: Range<usize>, tokens: usize) -> impl Iterator<Item = Batch<'_>> {
    let Range { start: mut next, end } = some;
    std::iter::from_fn(move || {
        let starts = encoding.starts();
        let first = next;
        if first == end {
            return None;
        }
        next += 1;
        while next < end && starts[next + 1] - starts[first] <= tokens {
            next += 1;
        }
        let range = starts[first]..starts[next];
        let mut positions = Vec::with_capacity(range.len());
        for bounds in starts[first..=next].windows(2) {
            positions.extend(0..(bounds[1] - bounds[0]) as u32);
        }
        Some(Batch {
            layout: Layout::new(starts[first..=next].iter().map(|&start| start - range.start).collect()),
            ids: &encoding.ids()[range.clone()],
            type_ids: &encoding.type_ids()[range],
            positions,
        })
    })
}

/// Sequences of several batches, concatenated.
pub struct JoinedTexts {
    starts: Vec<usize>,
    ids: Vec<u32>,
    type_ids: Vec<u32>,
    positions: Vec<u32>,
}

impl JoinedTexts {
    /// Joins `texts`, each a sequence of a batch, in order and in up to `parts` parts of about as many tokens each.
    pub fn of(texts: &[(&Encoding, usize)], parts: usize) -> Vec<Self> {
        let all: usize = texts.iter().map(|(encoding, text)| encoding.tokens_of(*text)).sum();
        let (mut joined, mut before): (Vec<Self>, usize) = (Vec::with_capacity(parts), 0);
        for &(encoding, text) in texts {
            let count = encoding.tokens_of(text);
            // By the middle of the text.
            let part = ((2 * before + count) * parts / (2 * all).max(1)).min(parts - 1);
            before += count;
            if joined.len() <= part {
                let room = all / parts + count;
                let (ids, type_ids) = (Vec::with_capacity(room), Vec::with_capacity(room));
                joined.push(Self { starts: vec![0], ids, type_ids, positions: Vec::with_capacity(room) });
            }
            let Some(last) = joined.last_mut() else { continue };
            let range = encoding.starts()[text]..encoding.starts()[text + 1];
            last.ids.extend_from_slice(&encoding.ids()[range.clone()]);
            last.type_ids.extend_from_slice(&encoding.type_ids()[range]);
            last.positions.extend(0..count as u32);
            last.starts.push(last.ids.len());
        }
        joined
    }

    pub fn batch(&self) -> Batch<'_> {
        let (layout, positions) = (Layout::new(self.starts.clone()), self.positions.clone());
        Batch { layout, ids: &self.ids, type_ids: &self.type_ids, positions }
    }
}

/// Joins the rows of passes in order, although passes finish in any order.
pub struct OrderedRows {
    rows: Vec<f32>,
    /// The index of the next pass to append; later ones wait in `early`.
    next: usize,
    early: Vec<Option<Vec<f32>>>,
    error: Option<Error>,
}

impl OrderedRows {
    /// For `passes` passes, whose rows are appended to `rows`.
    pub fn new(rows: Vec<f32>, passes: usize) -> Self {
        Self { rows, next: 0, early: (0..passes).map(|_| None).collect(), error: None }
    }

    pub fn has_failed(&self) -> bool {
        self.error.is_some()
    }

    /// The rows of the first passes that are complete, and the number of these.
    pub fn finish(self) -> Result<(Vec<f32>, usize)> {
        self.error.map_or(Ok((self.rows, self.next)), Err)
    }

    pub fn add(&mut self, pass: usize, part: Result<Vec<f32>>) {
        match part {
            Ok(part) => self.early[pass] = Some(part),
            Err(error) => self.error = Some(error),
        }
        while let Some(part) = self.early.get_mut(self.next).and_then(Option::take) {
            self.rows.extend(part);
            self.next += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::PASS_TOKENS;

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
            for pass in passes(&batch, 0..batch.len(), PASS_TOKENS) {
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
            let some = lengths.len() / 2..lengths.len();
            let counts = passes(&batch, some.clone(), PASS_TOKENS).map(|pass| pass.layout.sequences());
            assert_eq!(counts.sum::<usize>(), some.len());
        }
    }

    #[test]
    fn joined_texts_keep_their_order_in_every_number_of_parts() {
        let batch = encoding(&[5, 0, 3, 100, 2, 2, 7]);
        let texts: Vec<_> = [3, 0, 1, 2, 6, 5, 4].map(|text| (&batch, text)).into();
        let ids: Vec<u32> = texts.iter().flat_map(|(b, i)| b.ids[b.starts[*i]..b.starts[i + 1]].to_vec()).collect();
        for parts in 1..5 {
            let joined = JoinedTexts::of(&texts, parts);
            assert!(joined.len() <= parts);
            assert_eq!(joined.iter().flat_map(|part| part.ids.clone()).collect::<Vec<_>>(), ids);
            let lengths =
                joined.iter().flat_map(|part| part.starts.windows(2).map(|w| w[1] - w[0]).collect::<Vec<_>>());
            assert_eq!(lengths.collect::<Vec<_>>(), [100, 5, 0, 3, 7, 2, 2]);
            for part in &joined {
                let batch = part.batch();
                assert_eq!(batch.positions.len(), batch.layout.tokens());
                assert_eq!(batch.type_ids.len(), batch.ids.len());
            }
        }
        assert_eq!(JoinedTexts::of(&[(&batch, 1)], 2).len(), 1);
    }
}
