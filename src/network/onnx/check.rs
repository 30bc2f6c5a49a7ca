//! Which fields of a Spec ONNX graphs honour. A graph computes its layers itself, so fields that only describe them change nothing:
//! sizes, norms, biases, attention, tensor names, the layers of a head. `EncoderGraph` and `Decoder` compare hidden size, vocabulary, labels
//! and kind of head with the shapes that the graph states, and check ids, type ids and lengths. The rest is refused or limited here.
//! The table test names the fields of each kind, and fails for a field that it does not name.

use super::encoder::POSITIONS;
use super::graph::Graph;
use crate::base::error::Result;
use crate::base::log::Log;
use crate::network::refuse;
use crate::spec::{Position, RotaryScaling, Spec, Stack};

/// # Errors
/// Unsupported: the first field that would not be honoured.
pub fn check(spec: &Spec, encoder: Option<&Graph>, decoder: Option<&Graph>) -> Result<()> {
    let missing = "either it or its graph is missing";
    refuse(spec.encoder.is_some() != encoder.is_some(), "encoder", missing)?;
    refuse(spec.decoder.is_some() != decoder.is_some(), "decoder", missing)?;
    refuse(spec.head.is_some() && encoder.is_none(), "head", "a classification head needs an encoder")?;
    refuse(spec.language.is_some() && decoder.is_none(), "language", "a language head needs a decoder")?;
    let crossing = spec.encoder.as_ref().is_some_and(|encoder| encoder.cross);
    refuse(crossing, "encoder.cross", "an encoder has no source text to attend to")?;
    let (Some(stack), Some(graph)) = (&spec.decoder, decoder) else { return Ok(()) };
    refuse(stack.cross != encoder.is_some(), "decoder.cross", "an encoder and cross-attention need each other")?;
    let skips = matches!(stack.position, Position::LearnedAfterPadding { .. }) && graph.input(POSITIONS).is_some();
    refuse(skips, "decoder.position", "a decoder does not skip padding tokens (LearnedAfterPadding)")
}

/// Ends texts where LongRoPE would switch to its long factors, or dynamic NTK's base would grow: a traced graph has the first frequencies
/// only, and the keys in a KV cache would have to be computed again.
pub fn limit(spec: &mut Spec, log: &Log) {
    for (part, stack) in [("encoder", &mut spec.encoder), ("decoder", &mut spec.decoder)] {
        let Some(Stack { rotary: Some(rotary), max_tokens, .. }) = stack else { continue };
        if let RotaryScaling::Long { original, .. } | RotaryScaling::Dynamic { original, .. } = rotary.scaling
            && original < *max_tokens
        {
            *max_tokens = original;
            log.warning(|| format!("{part}.rotary.scaling: ONNX graphs support this kind up to {original} tokens"));
        }
    }
}
