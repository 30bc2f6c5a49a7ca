//! The memory of a pass's activations, for the memory limit.

use crate::spec::{Spec, Stack};

/// The tokens of a pass that the memory limit accounts for at load. Longer texts are counted when they run.
pub const ACCOUNTED_TOKENS: usize = 1024;

/// The bytes of activations per token on the CPU: residual stream, queries, keys and values (or the feed-forward's inner layer),
/// attention output, their 8-bit copy, and a head's scratch.
fn token_bytes(stack: &Stack) -> u64 {
    let experts = stack.experts.as_ref();
    let expert = experts.map_or(0, |experts| experts.intermediate.max(experts.shared.unwrap_or(0)));
    let inner = if stack.gated { 2 } else { 1 } * stack.intermediate.max(expert);
    // The router's logits, the normed rows, those of an expert and its outputs.
    let routed = experts.map_or(0, |experts| 3 * stack.hidden as u64 + 4 * experts.count as u64);
    let wide = stack.heads.qkv_width().max(inner) as u64;
    // With vectors of distances: those of a head, expanded, and the products of keys with them.
    let distances = stack.disentangled.map_or(0, |_| 2 * stack.heads.dim as u64 + 160);
    let floats = 2 * stack.hidden as u64 + wide + wide.div_ceil(4) + 4 * stack.heads.dim as u64 + distances + routed;
    floats.saturating_mul(size_of::<f32>() as u64)
}

/// The bytes of activations of passes of `tokens` on `threads` threads, for texts of up to [`ACCOUNTED_TOKENS`].
pub fn pass_bytes(spec: &Spec, tokens: usize, threads: usize) -> u64 {
    let stack = |stack: &Stack| {
        // An encoder runs whole sequences; a decoder cuts them.
        let longest = if stack.cross || spec.encoder.is_none() { 0 } else { stack.max_tokens.min(ACCOUNTED_TOKENS) };
        let threads = if spec.decoder.is_none() { threads } else { 1 };
        token_bytes(stack).saturating_mul(longest.max(tokens * threads) as u64)
    };
    [&spec.encoder, &spec.decoder].into_iter().flatten().map(stack).max().unwrap_or(0)
}

/// The bytes of activations of a pass beyond those that [`pass_bytes`] accounts for.
pub fn more_bytes(stack: &Stack, tokens: usize, accounted: usize) -> u64 {
    token_bytes(stack).saturating_mul(tokens.saturating_sub(accounted) as u64)
}
