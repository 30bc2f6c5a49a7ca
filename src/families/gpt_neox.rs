//! GPT-NeoX (Black et al. 2022) and Pythia: attention and feed-forward in parallel, partial rotary positions.

use super::{activation, equal_heads, rope};
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{Biases, LanguageHead, LinearTensors, Names, Norm, NormPlace, Spec, Stack};

const NAMES: Names = Names {
    prefix: "gpt_neox.",
    word: &["embed_in"],
    qkv: LinearTensors::ByHead("layers.{}.attention.query_key_value"),
    attention_output: LinearTensors::Single("layers.{}.attention.dense"),
    attention_norm: "layers.{}.input_layernorm",
    up: LinearTensors::Single("layers.{}.mlp.dense_h_to_4h"),
    down: LinearTensors::Single("layers.{}.mlp.dense_4h_to_h"),
    output_norm: "layers.{}.post_attention_layernorm",
    final_norm: Some("final_layer_norm"),
    ..Names::EMPTY
};

/// The class rotates a quarter of a head where the file does not say.
const ROPE: rope::Defaults = rope::Defaults { fraction: 0.25, ..rope::Defaults::PLAIN };

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let heads = equal_heads(config, "hidden_size", "num_attention_heads")?;
    let (hidden, layers) = (config.usize("hidden_size")?, config.usize("num_hidden_layers")?);
    let place = if config.bool_or("use_parallel_residual", true)? { NormPlace::Parallel } else { NormPlace::Pre };
    let attention_bias = config.bool_or("attention_bias", true)?;
    let max_tokens = super::positions(config)?;
    let rotary = rope::read(config, heads.dim, max_tokens, &ROPE)?;
    super::causal_or_not(
        config,
        Spec {
            family: "gpt_neox",
            vocabulary: config.usize("vocab_size")?,
            encoder: None,
            decoder: Some(Stack {
                activation: activation(config, "hidden_act", "gelu")?,
                norm: Norm::layer(place, config.f32_or("layer_norm_eps", 1e-5)?),
                biases: Biases { qkv: attention_bias, attention_output: attention_bias, ..Biases::ALL },
                max_tokens: rotary.reach(max_tokens),
                rotary: Some(rotary),
                ..Stack::new(hidden, layers, heads, config.usize("intermediate_size")?, NAMES)
            }),
            head: None,
            masked: None,
            language: Some(LanguageHead {
                weight: super::language_weight(config, false, &["embed_out", "lm_head"])?,
                bias: None,
                scale: 1.0,
                softcap: 0.0,
            }),
        },
    )
}
