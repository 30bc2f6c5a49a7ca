//! Granite 3 (IBM 2024): Llama with factors on embeddings, attention scores, sublayers and logits, and with mixtures of experts.

use super::llama;
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{AttentionSpec, Biases, Experts, LanguageHead, LinearTensors, Names, Norm, Spec, Stack};

/// Of experts: all are in one tensor.
const NAMES: Names = Names {
    router: Some("layers.{}.block_sparse_moe.router.layer"),
    expert_up: LinearTensors::Single("layers.{}.block_sparse_moe.input_linear"),
    expert_down: LinearTensors::Single("layers.{}.block_sparse_moe.output_linear"),
    ..llama::NAMES
};

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let stack = stack(config)?;
    model(config, "granite", stack)
}

pub(super) fn moe(config: &Config) -> Result<Spec> {
    let stack = stack(config)?;
    let count = config.usize_or("num_local_experts", 8)?;
    let experts = Experts::new(count, config.usize_or("num_experts_per_tok", 2)?, stack.intermediate, true);
    model(config, "granitemoe", Stack { experts: Some(experts), names: NAMES, ..stack })
}

/// A factor that must be positive.
fn factor(config: &Config, key: &str) -> Result<f32> {
    match config.f32_or(key, 1.0)? {
        value if value.is_finite() && value > 0.0 => Ok(value),
        value => Err(config.invalid(key, format!("is {value}, and must be positive"))),
    }
}

fn stack(config: &Config) -> Result<Stack> {
    let attention = config.bool_or("attention_bias", false)?;
    let feed_forward = config.bool_or("mlp_bias", false)?;
    let (embedding, residual) = (factor(config, "embedding_multiplier")?, factor(config, "residual_multiplier")?);
    let stack = llama::stack(config, &llama::Defaults::PLAIN)?;
    // Sublayers are multiplied by `residual` before they are added. The stream divided by `residual` needs no factor, and its norms
    // give the same values if their epsilon is divided by the square.
    Ok(Stack {
        norm: Norm { eps: stack.norm.eps / (residual * residual), ..stack.norm },
        biases: Biases { qkv: attention, attention_output: attention, feed_forward, feed_forward_output: feed_forward },
        embedding_scale: embedding / residual,
        attention: AttentionSpec { scale: factor(config, "attention_multiplier")?, ..stack.attention },
        ..stack
    })
}

fn model(config: &Config, family: &'static str, stack: Stack) -> Result<Spec> {
    let mut spec = llama::model(config, family, stack, false, 0.0)?;
    let scale = 1.0 / factor(config, "logits_scaling")?;
    spec.language = spec.language.map(|head| LanguageHead { scale, ..head });
    Ok(spec)
}
