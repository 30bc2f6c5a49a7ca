//! Refuses, by the field's name, what a Spec may say and the transformer does not compute, before any tensor is looked up.

use crate::base::error::Result;
use crate::network::refuse;
use crate::spec::{HeadKind, HeadToken, LinearTensors, NormPlace, RotaryScaling, Spec, Stack};

/// # Errors
/// Unsupported: the first field that would not be honoured.
pub fn check(spec: &Spec) -> Result<()> {
    if let Some(encoder) = &spec.encoder {
        check_stack("encoder", encoder)?;
        refuse(encoder.cross, "encoder.cross", "an encoder has no source text to attend to")?;
    }
    if let Some(decoder) = &spec.decoder {
        check_stack("decoder", decoder)?;
        check_decoder(spec, decoder)?;
    }
    refuse(spec.encoder.is_none() && spec.decoder.is_none(), "encoder", "there is neither an encoder nor a decoder")?;
    let empty = spec.head.as_ref().is_some_and(|head| head.layers.is_empty());
    refuse(empty, "head.layers", "a classification head has at least one")?;
    let token = spec.head.as_ref().is_some_and(|head| head.kind == HeadKind::Token && head.token != HeadToken::First);
    refuse(token, "head.token", "a head of tokens reads all of them")?;
    let alone = spec.masked.is_some() && spec.encoder.is_none();
    refuse(alone, "masked", "the head of a masked language model needs an encoder")?;
    if let Some(language) = &spec.language {
        let Some(decoder) = &spec.decoder else { return refuse(true, "language", "a language head needs a decoder") };
        let scaled = language.scale != 1.0 && decoder.names.final_norm.is_none();
        refuse(scaled, "language.scale", "it is applied by the final norm, and the decoder has none")?;
    }
    Ok(())
}

fn check_decoder(spec: &Spec, decoder: &Stack) -> Result<()> {
    let after_padding = decoder.position.is_after_padding();
    refuse(after_padding, "decoder.position", "a decoder does not skip padding tokens (LearnedAfterPadding)")?;
    let projected = decoder.names.embedding_projection.is_some();
    refuse(projected, "decoder.embedding_size", "a decoder's embeddings are not projected to the hidden size")?;
    refuse(decoder.disentangled.is_some(), "decoder.disentangled", "a decoder has no vectors of distances")?;
    refuse(decoder.token_types > 0, "decoder.token_types", "a decoder has no token types")?;
    let encoder = spec.encoder.as_ref();
    refuse(decoder.cross != encoder.is_some(), "decoder.cross", "an encoder and cross-attention need each other")?;
    let differ = encoder.is_some_and(|encoder| encoder.hidden != decoder.hidden);
    refuse(differ, "decoder.hidden", "it differs from the encoder's")?;
    let parallel = decoder.cross && decoder.norm.place == NormPlace::Parallel;
    refuse(parallel, "decoder.norm.place", "Parallel has no place for cross-attention")
}

fn check_stack(part: &str, stack: &Stack) -> Result<()> {
    let refuse = |wrong, field: &str, why| refuse(wrong, &format!("{part}.{field}"), why);
    let (names, attention, heads) = (&stack.names, &stack.attention, stack.heads);
    let short = stack.position.max_tokens().is_some_and(|rows| rows < stack.max_tokens);
    refuse(short, "max_tokens", "the table of positions has fewer rows")?;
    let first = !stack.norm.first_attention && !matches!(stack.norm.place, NormPlace::Pre);
    refuse(first, "norm.first_attention", "only a norm before the attention may be missing in the first layer")?;
    let unnamed = "the family gives no name for its tensors";
    let projected = stack.embedding_size != stack.hidden;
    refuse(projected && names.embedding_projection.is_none(), "embedding_size", unnamed)?;
    refuse(stack.relative.is_some() && names.relative_bias.is_none(), "relative", unnamed)?;
    refuse(stack.alibi.is_some() && stack.relative.is_some(), "alibi", "there is a relative position bias too")?;
    if let Some(disentangled) = &stack.disentangled {
        refuse(names.distances.is_none(), "disentangled", unnamed)?;
        refuse(heads.kv != heads.count, "heads.kv", "grouped-query attention with vectors of distances")?;
        let rows = disentangled.span == 0 || disentangled.max_distance.is_some_and(|_| disentangled.span < 2);
        refuse(rows, "disentangled.span", "the table has too few rows")?;
        let near = disentangled.max_distance.is_some_and(|most| most < disentangled.span / 2 + 2);
        refuse(near, "disentangled.max_distance", "no distance shares a row")?;
    }
    if let Some(experts) = &stack.experts {
        refuse(names.router.is_none(), "experts", unnamed)?;
        let many = experts.per_token == 0 || experts.per_token > experts.count;
        refuse(many, "experts.per_token", "it must be from 1 to the number of experts")?;
        let layers = experts.layers.len();
        refuse(layers != 0 && layers != stack.layers, "experts.layers", "there must be one per layer")?;
        refuse(stack.shared_layers, "experts", "all layers have the same weights")?;
        let rows = matches!(names.expert_up, LinearTensors::Separate(_) | LinearTensors::Single(_));
        refuse(!rows, "names.expert_up", "the rows of an expert are together")?;
        let down = matches!(names.expert_down, LinearTensors::Single(_) | LinearTensors::Transposed(_));
        refuse(!down, "names.expert_down", "the rows of an expert are together")?;
        let norms = stack.norm.place.has_output_norms();
        refuse(norms, "experts", "the outputs of experts are not normalised")?;
    }
    refuse(stack.token_types > 0 && names.token_type.is_none(), "token_types", unnamed)?;
    let post_norms = names.attention_post_norm.is_some() && names.output_post_norm.is_some();
    refuse(stack.norm.place.has_output_norms() && !post_norms, "norm.place", unnamed)?;
    let crossed = stack.cross && stack.norm.place == NormPlace::Output;
    refuse(crossed, "norm.place", "Output has no place for cross-attention")?;
    let head_norms = names.query_norm.is_some() && names.key_norm.is_some();
    refuse(attention.head_norm && !head_norms, "attention.head_norm", unnamed)?;
    refuse(attention.joint_norm && !attention.head_norm, "attention.joint_norm", "queries and keys have no norms")?;
    let by_head = matches!(names.qkv, LinearTensors::ByHead(_)) && heads.kv != heads.count;
    refuse(by_head, "heads.kv", "grouped-query attention with one tensor interleaved by head")?;
    let windows = attention.windows.len();
    refuse(windows != 0 && windows != stack.layers, "attention.windows", "there must be one per layer")?;
    refuse(attention.softcap.is_nan() || attention.softcap < 0.0, "attention.softcap", "it is negative")?;
    let Some(rotary) = &stack.rotary else { return Ok(()) };
    let odd = rotary.dim == 0 || rotary.dim > heads.dim || !rotary.dim.is_multiple_of(2);
    refuse(odd, "rotary.dim", "it must be even and at most a head's width")?;
    let apart = matches!(names.qkv, LinearTensors::Separate(_) | LinearTensors::Single(_)) && !attention.head_norm;
    refuse(rotary.interleaved && !apart, "rotary.interleaved", "only plain rows of queries and keys are reordered")?;
    let without = rotary.without.len();
    refuse(without != 0 && without != stack.layers, "rotary.without", "there must be one per layer")?;
    let divisors = match &rotary.scaling {
        RotaryScaling::Long { short, long, .. } => [short.len(), long.len()],
        _ => [rotary.dim / 2; 2],
    };
    refuse(divisors != [rotary.dim / 2; 2], "rotary.scaling", "there must be one divisor per pair of components")
}
