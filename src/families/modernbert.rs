//! ModernBERT (Warner et al. 2024): pre-norm, rotary positions, a gated feed-forward, and a window in two of three layers.

use super::{activation, equal_heads, is_masked, language_weight, llama, rope};
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{AttentionSpec, Biases, Dense, LinearTensors, MaskedHead, Names, Norm, NormPlace, Spec, Stack};

const NAMES: Names = Names {
    prefix: "model.",
    word: &["embeddings.tok_embeddings"],
    embedding_norm: Some("embeddings.norm"),
    qkv: LinearTensors::Single("layers.{}.attn.Wqkv"),
    attention_output: LinearTensors::Single("layers.{}.attn.Wo"),
    attention_norm: "layers.{}.attn_norm",
    up: LinearTensors::Single("layers.{}.mlp.Wi"),
    down: LinearTensors::Single("layers.{}.mlp.Wo"),
    output_norm: "layers.{}.mlp_norm",
    final_norm: Some("final_norm"),
    ..Names::EMPTY
};

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let heads = equal_heads(config, "hidden_size", "num_attention_heads")?;
    let (hidden, layers) = (config.usize("hidden_size")?, config.usize("num_hidden_layers")?);
    let every = config.usize_or("global_attn_every_n_layers", 3)?.max(1);
    // Half of it on each side.
    let window = Some(config.usize_or("local_attention", 128)?);
    if window == Some(0) {
        return Err(config.invalid("local_attention", "is 0"));
    }
    let windows = llama::windows(config, layers, window, |layer| !layer.is_multiple_of(every))?;
    let attention_bias = config.bool_or("attention_bias", false)?;
    let max_tokens = super::positions(config)?;
    let defaults = rope::Defaults {
        theta: config.f32_or("global_rope_theta", 160_000.0)?,
        local_theta: Some(config.f32_or("local_rope_theta", 10_000.0)?),
        ..rope::Defaults::PLAIN
    };
    let rotary = rope::read(config, heads.dim, max_tokens, &defaults)?;
    let norm = Norm::layer(NormPlace::Pre, config.f32_or("norm_eps", 1e-5)?);
    Ok(Spec {
        family: "modernbert",
        vocabulary: config.usize("vocab_size")?,
        encoder: Some(Stack {
            activation: activation(config, "hidden_activation", "gelu")?,
            gated: true,
            norm: Norm { bias: config.bool_or("norm_bias", false)?, first_attention: false, ..norm },
            biases: Biases {
                qkv: attention_bias,
                attention_output: attention_bias,
                feed_forward: config.bool_or("mlp_bias", false)?,
                feed_forward_output: config.bool_or("mlp_bias", false)?,
            },
            max_tokens: rotary.reach(max_tokens),
            rotary: Some(rotary),
            attention: AttentionSpec { windows, ..AttentionSpec::plain(heads.dim) },
            ..Stack::new(hidden, layers, heads, config.usize("intermediate_size")?, NAMES)
        }),
        decoder: None,
        head: None,
        language: None,
        masked: if is_masked(config) { Some(masked_head(config)?) } else { None },
    })
}

/// The head of a masked language model.
fn masked_head(config: &Config) -> Result<MaskedHead> {
    Ok(MaskedHead {
        dense: Dense {
            name: "head.dense",
            bias: config.bool_or("classifier_bias", false)?,
            activation: activation(config, "classifier_activation", "gelu")?,
            prefixed: false,
        },
        norm: "head.norm",
        weight: language_weight(config, true, &["decoder"])?,
        bias: if config.bool_or("decoder_bias", true)? { &["decoder.bias"] } else { &[] },
    })
}
