//! Llama (Touvron et al. 2023) and models with the same structure (SmolLM2, TinyLlama, Llama 3): RMSNorm, rotary positions,
//! grouped-query attention, SwiGLU. Mistral, Qwen, Phi-3 and Gemma start from the same stack.

use super::{activation, rope};
use crate::base::error::{Error, Result};
use crate::formats::json::Config;
use crate::formats::quoted;
use crate::spec::{Biases, Heads, LanguageHead, LinearTensors, Names, Norm, NormPlace, Spec, Stack};

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
    router: Some("layers.{}.mlp.gate"),
    expert_up: LinearTensors::Separate(&["layers.{}.mlp.experts.{e}.gate_proj", "layers.{}.mlp.experts.{e}.up_proj"]),
    expert_down: LinearTensors::Single("layers.{}.mlp.experts.{e}.down_proj"),
    shared_up: LinearTensors::Separate(&[
        "layers.{}.mlp.shared_expert.gate_proj",
        "layers.{}.mlp.shared_expert.up_proj",
    ]),
    shared_down: LinearTensors::Single("layers.{}.mlp.shared_expert.down_proj"),
    shared_gate: Some("layers.{}.mlp.shared_expert_gate"),
    output_norm: "layers.{}.post_attention_layernorm",
    final_norm: Some("norm"),
    ..Names::EMPTY
};

/// The defaults of a family's configuration class in transformers, for fields that config.json leaves out.
pub(super) struct Defaults {
    /// None: as many as query heads.
    pub kv_heads: Option<usize>,
    /// None: the hidden size over the number of heads.
    pub head_dim: Option<usize>,
    pub eps: f32,
    pub rope: rope::Defaults,
}

impl Defaults {
    pub const PLAIN: Self = Self { kv_heads: None, head_dim: None, eps: 1e-6, rope: rope::Defaults::PLAIN };
}

/// The stack without biases and without a sliding window.
pub(super) fn stack(config: &Config, defaults: &Defaults) -> Result<Stack> {
    let (hidden, layers) = (config.usize("hidden_size")?, config.usize("num_hidden_layers")?);
    let count = config.usize("num_attention_heads")?;
    let dim = match super::usize_default(config, "head_dim", defaults.head_dim)? {
        Some(dim) => dim,
        None => super::heads(config, hidden, count)?.dim,
    };
    let kv = super::usize_default(config, "num_key_value_heads", defaults.kv_heads)?.unwrap_or(count);
    let heads = Heads { count, kv, dim };
    let max_tokens = super::positions(config)?;
    let rotary = rope::read(config, dim, max_tokens, &defaults.rope)?;
    Ok(Stack {
        activation: activation(config, "hidden_act", "silu")?,
        gated: true,
        norm: Norm::rms(NormPlace::Pre, config.f32_or("rms_norm_eps", defaults.eps)?),
        biases: Biases::NONE,
        max_tokens: rotary.reach(max_tokens),
        rotary: Some(rotary),
        ..Stack::new(hidden, layers, heads, config.usize("intermediate_size")?, NAMES)
    })
}

/// A decoder-only model with its language head.
pub(super) fn model(config: &Config, family: &'static str, decoder: Stack, tied: bool, softcap: f32) -> Result<Spec> {
    super::causal_or_not(
        config,
        Spec {
            family,
            vocabulary: config.usize("vocab_size")?,
            encoder: None,
            decoder: Some(decoder),
            head: None,
            masked: None,
            language: Some(LanguageHead {
                weight: super::language_weight(config, tied, &["lm_head"])?,
                bias: None,
                scale: 1.0,
                softcap,
            }),
        },
    )
}

/// The sliding window of each layer, 0 for none: by `layer_types`, or else by `windowed` for the layer's index.
pub(super) fn windows(
    config: &Config,
    layers: usize,
    window: Option<usize>,
    windowed: impl Fn(usize) -> bool,
) -> Result<Vec<usize>> {
    let types = config.strings("layer_types")?;
    if let Some(other) = types.iter().find(|kind| !["full_attention", "sliding_attention"].contains(kind)) {
        let path = config.path().display();
        return Err(Error::unsupported(format!(
            "{path}: field `layer_types`: {} is not supported; supported are full_attention and sliding_attention",
            quoted(other)
        )));
    }
    if !types.is_empty() && types.len() != layers {
        return Err(config.invalid("layer_types", format!("has {} values for {layers} layers", types.len())));
    }
    let has = |layer: usize| types.get(layer).map_or_else(|| windowed(layer), |kind| *kind == "sliding_attention");
    window_in(config, layers, window, has)
}

/// The sliding window of the layers that `has` names.
pub(super) fn window_in(
    config: &Config,
    layers: usize,
    window: Option<usize>,
    has: impl Fn(usize) -> bool,
) -> Result<Vec<usize>> {
    let Some(window) = window else { return Ok(Vec::new()) };
    if window == 0 {
        return Err(config.invalid("sliding_window", "is 0"));
    }
    // `check_stack` refuses more layers later; until then do not allocate memory for them.
    Ok((0..layers.min(4096)).map(|layer| if has(layer) { window } else { 0 }).collect())
}

/// Seed-OSS (ByteDance 2025): Llama with biases in some places.
pub(super) fn seed_oss(config: &Config) -> Result<Spec> {
    let feed_forward = config.bool_or("mlp_bias", false)?;
    let biases = Biases {
        qkv: config.bool_or("attention_bias", true)?,
        attention_output: config.bool_or("attention_out_bias", false)?,
        feed_forward,
        feed_forward_output: feed_forward,
    };
    let defaults = Defaults { kv_heads: Some(8), head_dim: Some(128), ..Defaults::PLAIN };
    model(config, "seed_oss", Stack { biases, ..stack(config, &defaults)? }, false, 0.0)
}

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let attention = config.bool_or("attention_bias", false)?;
    let feed_forward = config.bool_or("mlp_bias", false)?;
    let biases =
        Biases { qkv: attention, attention_output: attention, feed_forward, feed_forward_output: feed_forward };
    model(config, "llama", Stack { biases, ..stack(config, &Defaults::PLAIN)? }, false, 0.0)
}
