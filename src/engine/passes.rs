//! Packed passes. The sequences of a batch are concatenated, without padding. A large batch is cut into passes, so that activations stay
//! in the cache and memory does not grow with the batch.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::base::call::Call;
use crate::base::counters::Stage;
use crate::base::error::{Error, Result};
use crate::base::memory::grow;
use crate::spec::{Batch, EncodeOutput, Layout};
use crate::text::encoding::Encoding;

use super::Engine;

/// Cuts a batch into passes of whole sequences with at most `tokens` tokens, except for longer sequences. Sequences without tokens stay
/// in the numbering.
pub fn passes(encoding: &Encoding, tokens: usize) -> impl Iterator<Item = Batch<'_>> {
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
        Some(Batch {
            layout: Layout::new(starts[first..=next].iter().map(|&start| start - range.start).collect()),
            ids: &encoding.ids()[range.clone()],
            type_ids: &encoding.type_ids()[range],
            positions,
        })
    })
}

impl Engine {
    /// Computes `output` for a batch, pass by pass, and joins the rows of all passes. In a large batch each thread runs its own passes,
    /// so threads wait for each other only at the end; in a small one all threads share each pass.
    pub fn read(&self, encoding: &Encoding, output: &EncodeOutput, call: Call<'_>) -> Result<Vec<f32>> {
        // Allocated at once: growing would copy a large result.
        let values = output.rows(encoding.len(), encoding.tokens()) * output.width(&self.spec, &self.modules);
        let mut rows = Vec::new();
        grow(&mut rows, values, "the result");
        let run = |pass: &Batch| self.network.encode(pass, output, call);
        let pool = &self.pool;
        let longest = encoding.starts().windows(2).map(|bounds| bounds[1] - bounds[0]).max().unwrap_or(0);
        let tokens = self.network.pass_tokens();
        let apart = self
            .network
            .thread_pass_tokens()
            .filter(|&part| pool.threads() > 1 && longest <= tokens && encoding.tokens() >= 2 * part * pool.threads());
        let mut passes = passes(encoding, apart.unwrap_or(tokens));
        let mut next = || {
            let start = Instant::now();
            let pass = passes.next()?;
            call.counters.add(Stage::Pack, pass.layout.sequences(), pass.layout.tokens(), start.elapsed());
            Some(pass)
        };
        if apart.is_none() {
            while let Some(pass) = next() {
                rows.extend(run(&pass)?);
            }
            return self.finite(rows);
        }
        let passes: Vec<Batch> = std::iter::from_fn(next).collect();
        let parts =
            Mutex::new(OrderedRows { rows, next: 0, early: passes.iter().map(|_| None).collect(), error: None });
        let parts_of = || parts.lock().unwrap_or_else(PoisonError::into_inner);
        pool.run(passes.len(), |i| {
            if parts_of().error.is_none() {
                let part = run(&passes[i]);
                parts_of().add(i, part);
            }
        });
        let OrderedRows { rows, error, .. } = parts.into_inner().unwrap_or_else(PoisonError::into_inner);
        error.map_or_else(|| self.finite(rows), Err)
    }

    /// Refuses results that are infinite or not a number: sums that overflowed, most likely in 16 bits.
    fn finite(&self, rows: Vec<f32>) -> Result<Vec<f32>> {
        const EXPONENT: u32 = 0x7f80_0000;
        // A maximum of integers, because that is vectorised.
        let largest = rows.iter().fold(0, |most, value| (value.to_bits() & EXPONENT).max(most));
        if largest != EXPONENT {
            return Ok(rows);
        }
        let (path, backend) = (self.path.display(), self.network.describe());
        Err(Error::unsupported(format!("{path}: a result is not finite with {backend}; load the model in f32")))
    }
}

/// Joins the rows of passes in order, although passes finish in any order.
struct OrderedRows {
    rows: Vec<f32>,
    /// The index of the next pass to append; later ones wait in `early`.
    next: usize,
    early: Vec<Option<Vec<f32>>>,
    error: Option<Error>,
}

impl OrderedRows {
    fn add(&mut self, pass: usize, part: Result<Vec<f32>>) {
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
}
