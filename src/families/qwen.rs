//! Qwen2 (Yang et al. 2024): Llama with biases on query, key and value. Qwen3 (Yang et al. 2025): without these biases, but with
//! RMSNorm on queries and keys. Qwen2-MoE and Qwen3-MoE: the same with mixtures of experts, of which Qwen2's has one for all tokens.

use super::llama;
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{AttentionSpec, Biases, Experts, Spec, Stack};

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let third = config.str("model_type")? == "qwen3";
    let head_dim = third.then_some(128);
    let defaults = llama::Defaults { kv_heads: Some(32), head_dim, ..llama::Defaults::PLAIN };
    let first = config.usize_or("max_window_layers", 28)?;
    let stack = stack(config, &defaults, third, first)?;
    llama::model(config, if third { "qwen3" } else { "qwen2" }, stack, false, 0.0)
}

/// Models with experts. `config.json` may leave some layers without them.
pub(super) fn moe(config: &Config) -> Result<Spec> {
    let third = config.str("model_type")? == "qwen3_moe";
    let defaults = llama::Defaults { kv_heads: Some(if third { 4 } else { 16 }), ..llama::Defaults::PLAIN };
    let first = if third { 0 } else { config.usize_or("max_window_layers", 28)? };
    let mut stack = stack(config, &defaults, third, first)?;
    if !third {
        stack.biases.qkv = config.bool_or("qkv_bias", true)?;
    }
    let step = config.usize_or("decoder_sparse_step", 1)?;
    if step == 0 {
        return Err(config.invalid("decoder_sparse_step", "is 0"));
    }
    let plain = config.usizes("mlp_only_layers")?;
    // `check_stack` refuses more layers later; until then do not allocate memory for them.
    let layers = (0..stack.layers.min(4096)).map(|layer| (layer + 1) % step == 0 && !plain.contains(&layer)).collect();
    let (count, per_token, intermediate) = if third { (128, 8, 768) } else { (60, 4, 1408) };
    let shared = || config.usize_or("shared_expert_intermediate_size", 5632).map(Some);
    stack.experts = Some(Experts {
        count: config.usize_or(if third { "num_local_experts" } else { "num_experts" }, count)?,
        per_token: config.usize_or("num_experts_per_tok", per_token)?,
        intermediate: config.usize_or("moe_intermediate_size", intermediate)?,
        normalized: config.bool_or("norm_topk_prob", false)?,
        shared: if third { None } else { shared()? },
        layers,
    });
    llama::model(config, if third { "qwen3_moe" } else { "qwen2_moe" }, stack, false, 0.0)
}

/// Layers from `first` on have the sliding window, if there is one.
fn stack(config: &Config, defaults: &llama::Defaults, third: bool, first: usize) -> Result<Stack> {
    let stack = llama::stack(config, defaults)?;
    let window = match config.bool_or("use_sliding_window", false)? {
        true => super::usize_default(config, "sliding_window", Some(4096))?,
        false => None,
    };
    let windows = llama::windows(config, stack.layers, window, |layer| layer >= first)?;
    let biased = third && config.bool_or("attention_bias", false)?;
    Ok(Stack {
        biases: Biases { qkv: !third || biased, attention_output: biased, ..Biases::NONE },
        attention: AttentionSpec { windows, head_norm: third, ..stack.attention },
        ..stack
    })
}
