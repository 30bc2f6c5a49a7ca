//! Qwen2 (Yang et al. 2024): Llama with biases on query, key and value. Qwen3 (Yang et al. 2025): without these biases, but with
//! RMSNorm on queries and keys.

use super::llama;
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{AttentionSpec, Biases, Spec, Stack};

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let third = config.str("model_type")? == "qwen3";
    let head_dim = third.then_some(128);
    let stack = llama::stack(config, &llama::Defaults { kv_heads: Some(32), head_dim, ..llama::Defaults::PLAIN })?;
    let window = match config.bool_or("use_sliding_window", false)? {
        true => super::usize_default(config, "sliding_window", Some(4096))?,
        false => None,
    };
    let first = config.usize_or("max_window_layers", 28)?;
    let windows = llama::windows(config, stack.layers, window, |layer| layer >= first)?;
    let biased = third && config.bool_or("attention_bias", false)?;
    let stack = Stack {
        biases: Biases { qkv: !third || biased, attention_output: biased, ..Biases::NONE },
        attention: AttentionSpec { windows, head_norm: third, ..stack.attention },
        ..stack
    };
    llama::model(config, if third { "qwen3" } else { "qwen2" }, stack, false, 0.0)
}
