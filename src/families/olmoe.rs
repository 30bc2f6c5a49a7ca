//! OLMoE (Muennighoff et al. 2024): Llama with norms of queries and keys over all heads, and a mixture of experts in each layer.

use super::llama;
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{AttentionSpec, Biases, Experts, Spec, Stack};

const DEFAULTS: llama::Defaults = llama::Defaults { eps: 1e-5, ..llama::Defaults::PLAIN };

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let stack = llama::stack(config, &DEFAULTS)?;
    let biased = config.bool_or("attention_bias", false)?;
    let (count, per_token) = (config.usize_or("num_experts", 64)?, config.usize_or("num_experts_per_tok", 8)?);
    let normalized = config.bool_or("norm_topk_prob", false)?;
    let experts = Experts::new(count, per_token, stack.intermediate, normalized);
    let stack = Stack {
        experts: Some(experts),
        biases: Biases { qkv: biased, attention_output: biased, ..Biases::NONE },
        attention: AttentionSpec { head_norm: true, joint_norm: true, ..stack.attention },
        ..stack
    };
    llama::model(config, "olmoe", stack, false, 0.0)
}
