//! Llama (Touvron et al. 2023) and models with the same structure (SmolLM2, TinyLlama, Llama 3): RMSNorm, rotary positions,
//! grouped-query attention, SwiGLU. Mistral, Qwen, Phi-3 and Gemma start from the same stack.

use super::{activation, rope};
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{Biases, Heads, LanguageHead, LanguageWeight, LinearTensors, Names, Norm, NormPlace, Spec, Stack};

pub(super) const NAMES: Names = Names {
    prefix: "model.",
    word: &["embed_tokens"],
    qkv: LinearTensors::Separate(&[
        "layers.{}.self_attn.q_proj",
        "layers.{}.self_attn.k_proj",
        "layers.{}.self_attn.v_proj",
    ]),
    attention_output: LinearTensors::Single("layers.{}.self_attn.o_proj"),
    attention_norm: "layers.{}.input_layernorm",
    query_norm: Some("layers.{}.self_attn.q_norm"),
    key_norm: Some("layers.{}.self_attn.k_norm"),
    up: LinearTensors::Separate(&["layers.{}.mlp.gate_proj", "layers.{}.mlp.up_proj"]),
    down: LinearTensors::Single("layers.{}.mlp.down_proj"),
    output_norm: "layers.{}.post_attention_layernorm",
    final_norm: Some("norm"),
    ..Names::EMPTY
};

/// The stack without biases and without a sliding window.
pub(super) fn stack(config: &Config) -> Result<Stack> {
    let (hidden, layers) = (config.usize("hidden_size")?, config.usize("num_hidden_layers")?);
    let count = config.usize("num_attention_heads")?;
    let dim = match config.usize_opt("head_dim")? {
        Some(dim) => dim,
        None => super::heads(config, hidden, count)?.dim,
    };
    let heads = Heads { count, kv: config.usize_or("num_key_value_heads", count)?, dim };
    let max_tokens = config.usize("max_position_embeddings")?;
    Ok(Stack {
        activation: activation(config, "hidden_act", "silu")?,
        gated: true,
        norm: Norm::rms(NormPlace::Pre, config.f32_or("rms_norm_eps", 1e-6)?),
        biases: Biases::NONE,
        rotary: Some(rope::read(config, dim, max_tokens)?),
        max_tokens,
        ..Stack::new(hidden, layers, heads, config.usize("intermediate_size")?, NAMES)
    })
}

/// A decoder-only model with its language head.
pub(super) fn model(config: &Config, family: &'static str, decoder: Stack, tied: bool, softcap: f32) -> Result<Spec> {
    let tied = config.bool_or("tie_word_embeddings", tied)?;
    Ok(Spec {
        family,
        vocabulary: config.usize("vocab_size")?,
        encoder: None,
        decoder: Some(decoder),
        head: None,
        language: Some(LanguageHead {
            weight: if tied { LanguageWeight::Tied } else { LanguageWeight::Own("lm_head") },
            bias: None,
            scale: 1.0,
            softcap,
        }),
    })
}

/// The sliding window of each layer, 0 for none: by `layer_types`, or else by `windowed` for the layer's index.
pub(super) fn windows(
    config: &Config,
    layers: usize,
    window: Option<usize>,
    windowed: impl Fn(usize) -> bool,
) -> Result<Vec<usize>> {
    let Some(window) = window else { return Ok(Vec::new()) };
    if window == 0 {
        return Err(config.invalid("sliding_window", "is 0"));
    }
    let types = config.strings("layer_types")?;
    let has = |layer: usize| types.get(layer).map_or_else(|| windowed(layer), |kind| *kind == "sliding_attention");
    // `check_stack` refuses more layers later; until then do not allocate memory for them.
    Ok((0..layers.min(4096)).map(|layer| if has(layer) { window } else { 0 }).collect())
}

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let attention = config.bool_or("attention_bias", false)?;
    let feed_forward = config.bool_or("mlp_bias", false)?;
    let biases = Biases { qkv: attention, attention_output: attention, feed_forward };
    model(config, "llama", Stack { biases, ..stack(config)? }, false, 0.0)
}
