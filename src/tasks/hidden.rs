//! Raw hidden states, for programs that tokenise themselves or compare with a reference.

use crate::call::Cancellation;
use crate::encoding::Encoding;
use crate::error::{Error, Result};
use crate::model::Model;

use super::pooling::Pooling;

/// The last hidden states of a batch.
#[derive(Clone, Debug)]
pub struct HiddenStates {
    /// `[tokens, width]`, all sequences end to end.
    pub values: Vec<f32>,
    pub width: usize,
    /// Sequence `i`'s tokens are `starts[i]..starts[i + 1]`.
    pub starts: Vec<usize>,
}

impl Model {
    /// Runs token ids as they are: no tokens are added and nothing is cut. `lengths` says how many of `ids` make up each
    /// sequence; `type_ids`, where given, has one value a token (0 everywhere if not).
    ///
    /// # Errors
    /// Lengths that do not add up to the number of ids, an id outside the vocabulary, a sequence longer than the model takes.
    pub fn hidden_states(
        &self,
        ids: &[u32],
        lengths: &[usize],
        type_ids: Option<&[u32]>,
        cancellation: Option<&Cancellation>,
    ) -> Result<HiddenStates> {
        let encoding = self.packed(ids, lengths, type_ids)?;
        let work = |call: crate::call::Call<'_>| {
            let values = self.passes(&encoding, encoding.tokens() * self.0.spec.hidden, call, |pass| {
                self.0.encoder.pooled(pass, Pooling::None, call)
            })?;
            Ok(HiddenStates { values, width: self.0.spec.hidden, starts: encoding.starts.clone() })
        };
        self.call(cancellation, work, |_| encoding.shape())
    }

    fn packed(&self, ids: &[u32], lengths: &[usize], type_ids: Option<&[u32]>) -> Result<Encoding> {
        let mut starts = Vec::with_capacity(lengths.len() + 1);
        let mut total = 0usize;
        starts.push(0);
        for length in lengths {
            total = total.saturating_add(*length);
            starts.push(total);
        }
        if total != ids.len() {
            return Err(Error::invalid_argument(format!(
                "lengths: they add up to {total}, and there are {} ids",
                ids.len()
            )));
        }
        if let Some(types) = type_ids
            && types.len() != ids.len()
        {
            return Err(Error::invalid_argument(format!("type_ids: {} values for {} ids", types.len(), ids.len())));
        }
        Ok(Encoding {
            starts,
            ids: ids.to_vec(),
            type_ids: type_ids.map_or_else(|| vec![0; ids.len()], <[u32]>::to_vec),
            truncated: vec![0; lengths.len()],
            ..Encoding::default()
        })
    }
}
