//! Sparse embeddings: the weights of a text over the vocabulary, most of them 0 (SPLADE, Formal et al. 2021), as
//! sentence-transformers' `SparseEncoder` computes them.

use std::time::Instant;

use crate::base::call::{Call, CallLimits, Cancellation, Priority};
use crate::base::error::{Error, Result};
use crate::base::memory::grow;
use crate::engine::Engine;
use crate::families::SentenceTransformers;
use crate::spec::EncodeOutput;
use crate::text::tokenizer::EncodeOptions;

use super::batches::{batches, by_rows};
use super::prompts::{self, Prompt};

/// Options of [`crate::Model::sparse_embed`]. `None` means the setting of the model's files.
#[derive(Clone, Debug, Default)]
pub struct SparseOptions {
    /// Keeps only so many weights of each embedding, the largest ones.
    pub max_active_dims: Option<usize>,
    /// The maximum number of tokens of a text, special tokens and the prompt included; longer texts are truncated.
    pub max_length: Option<usize>,
    /// The name of a prompt of the model's files that is put before each text. `None`: their `default_prompt_name`, if they have one.
    pub prompt_name: Option<String>,
    /// A prompt that is put before each text, whatever `prompt_name` says; empty for none.
    pub prompt: Option<String>,
    pub cancellation: Option<Cancellation>,
    pub priority: Priority,
    /// When the call ends in any case, with [`Status::DeadlineExceeded`](crate::Status::DeadlineExceeded).
    pub deadline: Option<Instant>,
}

/// The sparse embeddings of a batch, as compressed rows (CSR).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SparseEmbeddings {
    /// Text `i`'s weights are `starts[i]..starts[i + 1]`.
    pub starts: Vec<usize>,
    /// Token ids, ascending for each text.
    pub indices: Vec<u32>,
    /// Their weights, all greater than 0.
    pub weights: Vec<f32>,
    /// The size of the vocabulary, below which all indices are.
    pub dimension: usize,
    /// The number of tokens of each text, special tokens included.
    pub tokens: Vec<usize>,
    /// 1 for each text that was truncated, else 0.
    pub truncated: Vec<u8>,
}

impl SparseEmbeddings {
    /// The indices and weights of text `i`.
    pub fn row(&self, i: usize) -> (&[u32], &[f32]) {
        let range = self.starts[i]..self.starts[i + 1];
        (&self.indices[range.clone()], &self.weights[range])
    }

    /// How well text `i` matches text `j` of `other`: the dot product of their embeddings.
    ///
    /// ```
    /// let embeddings = kinglet::SparseEmbeddings {
    ///     starts: vec![0, 2, 4],
    ///     indices: vec![3, 8, 8, 9],
    ///     weights: vec![1.0, 2.0, 0.5, 4.0],
    ///     dimension: 10,
    ///     tokens: vec![3, 3],
    ///     truncated: vec![0, 0],
    /// };
    /// assert_eq!(embeddings.dot(0, &embeddings, 1), 1.0);
    /// ```
    pub fn dot(&self, i: usize, other: &Self, j: usize) -> f32 {
        let ((left, weights), (right, others)) = (self.row(i), other.row(j));
        let (mut a, mut b, mut sum) = (0, 0, 0.0);
        while a < left.len() && b < right.len() {
            if left[a] == right[b] {
                sum += weights[a] * others[b];
            }
            let (l, r) = (left[a], right[b]);
            a += usize::from(l <= r);
            b += usize::from(r <= l);
        }
        sum
    }
}

/// As [`crate::Model::sparse_embed`].
pub(crate) fn sparse_embed(
    engine: &Engine,
    settings: &SentenceTransformers,
    texts: &[&str],
    options: &SparseOptions,
) -> Result<SparseEmbeddings> {
    engine.require_masked("sparse embeddings")?;
    let output = EncodeOutput::sparse(settings.sparse.clone()?);
    let most = options.max_active_dims.or(settings.max_active_dims).unwrap_or(usize::MAX);
    if most == 0 {
        return Err(Error::invalid_argument("max_active_dims: is 0"));
    }
    let prompt = Prompt::choose(settings, options.prompt.as_deref(), options.prompt_name.as_deref())?;
    let max_length = options.max_length.map(|n| n.min(engine.spec.max_tokens()));
    let encode = EncodeOptions { max_length, ..Default::default() };
    let work = |call: Call<'_>| {
        engine.tokenizer.check_lengths(texts, None)?;
        let dimension = engine.spec.vocabulary;
        let mut all = SparseEmbeddings { dimension, starts: vec![0], ..SparseEmbeddings::default() };
        for range in batches(texts, None) {
            let batch = &texts[range];
            let with_prompt = prompt.before(batch);
            let encoding = engine.encode(&prompts::refs(&with_prompt, batch), None, &encode, call)?;
            for part in by_rows(&vec![1; encoding.len()], dimension) {
                let rows = engine.read(&encoding.select(&part), &output, call)?;
                rows.chunks_exact(dimension).try_for_each(|row| {
                    call.check()?;
                    all.push(row, most);
                    Ok::<_, Error>(())
                })?;
            }
            all.tokens.extend((0..encoding.len()).map(|text| encoding.tokens_of(text)));
            all.truncated.extend_from_slice(encoding.truncated());
        }
        Ok(all)
    };
    let limits = CallLimits {
        cancellation: options.cancellation.as_ref(),
        priority: options.priority,
        deadline: options.deadline,
        bytes: texts.iter().map(|text| text.len()).sum(),
    };
    engine.call(limits, work, |e| (e.truncated.len(), e.tokens.iter().sum()))
}

impl SparseEmbeddings {
    /// Adds a row's weights that are not 0: at most `most`, the largest; of equal ones those of lower indices.
    fn push(&mut self, row: &[f32], most: usize) {
        let mut kept: Vec<u32> = (0..).zip(row).filter(|(_, weight)| **weight > 0.0).map(|(index, _)| index).collect();
        if kept.len() > most {
            let weight = |index: u32| row[index as usize];
            kept.select_nth_unstable_by(most, |&a, &b| weight(b).total_cmp(&weight(a)).then(a.cmp(&b)));
            kept.truncate(most);
            kept.sort_unstable();
        }
        grow(&mut self.indices, kept.len(), "the result");
        grow(&mut self.weights, kept.len(), "the result");
        self.weights.extend(kept.iter().map(|&index| row[index as usize]));
        self.indices.extend(kept);
        self.starts.push(self.indices.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_largest_weights_in_the_order_of_indices() {
        let mut all = SparseEmbeddings { starts: vec![0], ..SparseEmbeddings::default() };
        all.push(&[0.0, 2.0, 1.0, 0.0, 2.0, 3.0, 1.0], usize::MAX);
        all.push(&[0.0, 2.0, 1.0, 0.0, 2.0, 3.0, 1.0], 2);
        all.push(&[0.0; 7], 2);
        assert_eq!(all.starts, [0, 5, 7, 7]);
        assert_eq!(all.row(0), (&[1, 2, 4, 5, 6][..], &[2.0, 1.0, 2.0, 3.0, 1.0][..]));
        assert_eq!(all.row(1), (&[1, 5][..], &[2.0, 3.0][..]));
        assert_eq!((all.dot(0, &all, 1), all.dot(1, &all, 0), all.dot(2, &all, 0)), (13.0, 13.0, 0.0));
    }
}
