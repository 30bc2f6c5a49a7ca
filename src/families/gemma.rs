//! Gemma 2 (Riviere et al. 2024) and the text model of Gemma 3 (Kamath et al. 2025): RMSNorm before and after each sublayer, a
//! sliding window in most layers, and soft capping of attention scores (2) or normalised queries and keys (3).

use super::{activation, llama};
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{AttentionSpec, Biases, Names, Norm, NormPlace, Spec, Stack};

const NAMES: Names = Names {
    attention_post_norm: Some("layers.{}.post_attention_layernorm"),
    output_norm: "layers.{}.pre_feedforward_layernorm",
    output_post_norm: Some("layers.{}.post_feedforward_layernorm"),
    ..llama::NAMES
};

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let third = config.str("model_type")? == "gemma3_text";
    let stack = llama::stack(config)?;
    let every = if third {
        let pattern = config.usize_opt("sliding_window_pattern")?;
        pattern.map_or_else(|| config.usize_or("_sliding_window_pattern", 6), Ok)?.max(1)
    } else {
        2
    };
    let window = config.usize_opt("sliding_window")?;
    let windows = llama::windows(config, stack.layers, window, |layer| !(layer + 1).is_multiple_of(every))?;
    let biased = config.bool_or("attention_bias", false)?;
    // 0 and null both mean no soft capping.
    let cap = |key: &str| config.f32_or(key, 0.0);
    let scale = config.f32_or("query_pre_attn_scalar", 256.0)?.powf(-0.5);
    let stack = Stack {
        activation: activation(config, "hidden_activation", config.str_or("hidden_act", "gelu_pytorch_tanh")?)?,
        norm: Norm { shift: 1.0, ..Norm::rms(NormPlace::Both, stack.norm.eps) },
        biases: Biases { qkv: biased, attention_output: biased, feed_forward: false },
        embedding_scale: (stack.hidden as f32).sqrt(),
        attention: AttentionSpec { scale, softcap: cap("attn_logit_softcapping")?, windows, head_norm: third },
        names: NAMES,
        ..stack
    };
    llama::model(config, if third { "gemma3_text" } else { "gemma2" }, stack, true, cap("final_logit_softcapping")?)
}
