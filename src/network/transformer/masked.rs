//! The head of a masked language model: the scores of all tokens of the vocabulary for some tokens of a pass, or pooled for each text.

use crate::backend::Backend;
use crate::base::call::Call;
use crate::base::error::{Error, Result};
use crate::spec::{Activation, Batch, SparsePooling, VocabularyRows};

use super::Transformer;

/// The bytes of logits that are computed at a time, if this is [`LEAST_ROWS`] or more.
const BLOCK_BYTES: usize = 32 << 20;

/// The weights are read once for so many tokens at least.
const LEAST_ROWS: usize = 16;

impl<B: Backend> Transformer<B> {
    /// The rows that are wanted of a pass with these hidden states. The logits of the whole pass are never held together.
    pub(super) fn vocabulary(
        &self,
        hidden: &B::Tensor,
        pass: &Batch,
        rows: VocabularyRows,
        call: Call<'_>,
    ) -> Result<Vec<f32>> {
        let (layout, width) = (&pass.layout, self.spec.vocabulary);
        let mut values = Vec::new();
        match rows {
            VocabularyRows::Masks(mask) => {
                let tokens: Vec<usize> = (0..layout.tokens()).filter(|&token| pass.ids[token] == mask).collect();
                self.blocks(hidden, &tokens, call, |logits| values.extend_from_slice(logits))?;
            }
            VocabularyRows::Texts(pooling) => {
                values.resize(layout.sequences() * width, 0.0);
                let tokens: Vec<usize> = (0..layout.tokens()).collect();
                let mut texts = (0..layout.sequences()).flat_map(|text| layout.range(text).map(move |_| text));
                self.blocks(hidden, &tokens, call, |logits| {
                    for (row, text) in logits.chunks_exact(width).zip(&mut texts) {
                        pool(&mut values[text * width..][..width], row, pooling);
                    }
                })?;
                if !pooling.sum {
                    values.iter_mut().for_each(|value| *value = weight(*value, pooling));
                }
            }
        }
        Ok(values)
    }

    /// Calls `take` with the logits of each block of tokens, `[tokens, vocabulary]`.
    fn blocks(&self, hidden: &B::Tensor, tokens: &[usize], call: Call<'_>, mut take: impl FnMut(&[f32])) -> Result<()> {
        let (backend, width) = (&self.backend, self.spec.vocabulary);
        let Some(head) = &self.masked else {
            return Err(Error::internal("the vocabulary of a model without a masked language head"));
        };
        let row_bytes = width * size_of::<f32>();
        let most = (BLOCK_BYTES / row_bytes.max(1)).max(LEAST_ROWS);
        let _held = self.budget.hold((most.min(tokens.len()) * row_bytes) as u64, "the logits")?;
        let mut logits = Vec::new();
        for block in tokens.chunks(most) {
            call.check()?;
            let x = backend.project(&backend.rows(hidden, block)?, None, &head.dense, head.activation)?;
            let x = backend.project(&x, Some(&head.norm), &head.decoder, Activation::None)?;
            logits.clear();
            backend.read(&x, &mut logits)?;
            take(&logits);
        }
        Ok(())
    }
}

/// Adds a token's logits to its text's row. The function after the largest value is applied once, to the whole row: it is monotonic.
fn pool(row: &mut [f32], logits: &[f32], pooling: SparsePooling) {
    let values = row.iter_mut().zip(logits);
    // What is not a number stays so, to be refused. The row begins with 0, which is the ReLU of the largest value.
    match pooling.sum {
        true => values.for_each(|(sum, &logit)| *sum += weight(if logit <= 0.0 { 0.0 } else { logit }, pooling)),
        false => values.for_each(|(most, &logit)| *most = if logit > *most || logit.is_nan() { logit } else { *most }),
    }
}

/// The weight of a logit that is not negative.
fn weight(logit: f32, pooling: SparsePooling) -> f32 {
    let weight = logit.ln_1p();
    if pooling.twice { weight.ln_1p() } else { weight }
}
