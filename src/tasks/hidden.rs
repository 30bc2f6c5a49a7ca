//! Raw hidden states, for programs that tokenise themselves or compare with a reference.

use crate::base::call::{Call, CallLimits, Cancellation};
use crate::base::error::Result;
use crate::engine::Engine;
use crate::spec::{EncodeOutput, Pooling};
use crate::text::encoding::Encoding;

/// The last hidden states of a batch.
#[derive(Clone, Debug)]
pub struct HiddenStates {
    /// `[tokens, width]`, all sequences concatenated.
    pub values: Vec<f32>,
    pub width: usize,
    /// Sequence `i`'s tokens are `starts[i]..starts[i + 1]`.
    pub starts: Vec<usize>,
}

/// As [`crate::Model::hidden_states`].
pub(crate) fn hidden_states(
    engine: &Engine,
    ids: &[u32],
    lengths: &[usize],
    type_ids: Option<&[u32]>,
    cancellation: Option<&Cancellation>,
) -> Result<HiddenStates> {
    let encoding = Encoding::from_ids(ids, lengths, type_ids)?;
    let work = |call: Call<'_>| {
        let values = engine.read(&encoding, &EncodeOutput::states(Pooling::None), call)?;
        Ok(HiddenStates { values, width: engine.spec.hidden(), starts: encoding.starts.clone() })
    };
    engine.call(CallLimits { bytes: size_of_val(ids), ..CallLimits::cancelled_by(cancellation) }, work, |_| {
        encoding.shape()
    })
}
