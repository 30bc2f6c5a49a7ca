//! Raw hidden states, for programs that tokenise themselves or compare with a reference.

use crate::call::Cancellation;
use crate::encoding::Encoding;
use crate::error::Result;
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
        let encoding = Encoding::from_ids(ids, lengths, type_ids)?;
        let work = |call: crate::call::Call<'_>| {
            let values = self.passes(&encoding, encoding.tokens() * self.0.spec.hidden(), call, |pass| {
                self.0.network.pooled(pass, Pooling::None, call)
            })?;
            Ok(HiddenStates { values, width: self.0.spec.hidden(), starts: encoding.starts.clone() })
        };
        self.call(cancellation, work, |_| encoding.shape())
    }
}
