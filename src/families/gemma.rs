//! Gemma (Mesnard et al. 2024): Llama with GeGLU and scaled embeddings. Gemma 2 (Riviere et al. 2024) and the text model of Gemma 3
//! (Kamath et al. 2025): RMSNorm before and after each sublayer, a sliding window in most layers, and soft capping of attention scores
//! (2) or normalised queries and keys (3).

use super::{activation, llama, rope};
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{Activation, AttentionSpec, Biases, Names, Norm, NormPlace, Spec, Stack};

const NAMES: Names = Names {
    attention_post_norm: Some("layers.{}.post_attention_layernorm"),
    output_norm: "layers.{}.pre_feedforward_layernorm",
    output_post_norm: Some("layers.{}.post_feedforward_layernorm"),
    ..llama::NAMES
};

/// What the two classes of transformers have where the file leaves a field out.
const DEFAULTS: llama::Defaults = llama::Defaults { kv_heads: Some(4), head_dim: Some(256), ..llama::Defaults::PLAIN };
const DEFAULTS_3: llama::Defaults = llama::Defaults {
    rope: rope::Defaults { theta: 1_000_000.0, local_theta: Some(10_000.0), ..rope::Defaults::PLAIN },
    ..DEFAULTS
};

pub(super) fn first(config: &Config) -> Result<Spec> {
    let defaults = llama::Defaults { kv_heads: Some(16), head_dim: Some(256), ..llama::Defaults::PLAIN };
    let stack = llama::stack(config, &defaults)?;
    let biased = config.bool_or("attention_bias", false)?;
    let stack = Stack {
        // The first files say "gelu" and mean the approximation, as transformers reads them too.
        activation: match activation(config, "hidden_act", "gelu_pytorch_tanh")? {
            Activation::Gelu => Activation::GeluTanh,
            other => other,
        },
        norm: Norm { shift: 1.0, ..stack.norm },
        biases: Biases { qkv: biased, attention_output: biased, ..Biases::NONE },
        embedding_scale: (stack.hidden as f32).sqrt(),
        ..stack
    };
    let spec = llama::model(config, "gemma", stack, true, 0.0)?;
    match config.bool_or("use_bidirectional_attention", false)? {
        true => Ok(super::bidirectional(spec, |window| window)),
        false => Ok(spec),
    }
}

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let third = config.str("model_type")? == "gemma3_text";
    let stack = llama::stack(config, if third { &DEFAULTS_3 } else { &DEFAULTS })?;
    let every = if third { config.usize_or("sliding_window_pattern", 6)?.max(1) } else { 2 };
    let window = super::usize_default(config, "sliding_window", Some(4096))?;
    let windows = llama::windows(config, stack.layers, window, |layer| !(layer + 1).is_multiple_of(every))?;
    let biased = config.bool_or("attention_bias", false)?;
    // 0 and null both mean no soft capping.
    let cap = |key: &str, default: f32| match config.contains(key) {
        true => config.f32_or(key, 0.0),
        false => Ok(if third { 0.0 } else { default }),
    };
    let scale = config.f32_or("query_pre_attn_scalar", 256.0)?.powf(-0.5);
    let stack = Stack {
        activation: activation(config, "hidden_activation", "gelu_pytorch_tanh")?,
        norm: Norm { shift: 1.0, ..Norm::rms(NormPlace::Both, stack.norm.eps) },
        biases: Biases { qkv: biased, attention_output: biased, ..Biases::NONE },
        embedding_scale: (stack.hidden as f32).sqrt(),
        attention: AttentionSpec {
            scale,
            softcap: cap("attn_logit_softcapping", 50.0)?,
            windows,
            head_norm: third,
            joint_norm: false,
        },
        names: NAMES,
        ..stack
    };
    let family = if third { "gemma3_text" } else { "gemma2" };
    let spec = llama::model(config, family, stack, true, cap("final_logit_softcapping", 30.0)?)?;
    // EmbeddingGemma. With it `sliding_window` is the width of the window on both sides together, as a Spec has it.
    match config.bool_or("use_bidirectional_attention", false)? {
        true => Ok(super::bidirectional(spec, |window| window)),
        false => Ok(spec),
    }
}
