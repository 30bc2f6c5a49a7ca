//! Granite 3 (IBM 2024): Llama with factors on embeddings, attention scores, sublayers and logits.

use super::llama;
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{AttentionSpec, Biases, LanguageHead, Norm, Spec, Stack};

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let attention = config.bool_or("attention_bias", false)?;
    let feed_forward = config.bool_or("mlp_bias", false)?;
    let factor = |key: &str| match config.f32_or(key, 1.0)? {
        value if value.is_finite() && value > 0.0 => Ok(value),
        value => Err(config.invalid(key, format!("is {value}, and must be positive"))),
    };
    let (embedding, residual) = (factor("embedding_multiplier")?, factor("residual_multiplier")?);
    let stack = llama::stack(config, &llama::Defaults::PLAIN)?;
    // Sublayers are multiplied by `residual` before they are added. The stream divided by `residual` needs no factor, and its norms
    // give the same values if their epsilon is divided by the square.
    let stack = Stack {
        norm: Norm { eps: stack.norm.eps / (residual * residual), ..stack.norm },
        biases: Biases { qkv: attention, attention_output: attention, feed_forward, feed_forward_output: feed_forward },
        embedding_scale: embedding / residual,
        attention: AttentionSpec { scale: factor("attention_multiplier")?, ..stack.attention },
        ..stack
    };
    let mut spec = llama::model(config, "granite", stack, false, 0.0)?;
    let scale = 1.0 / factor("logits_scaling")?;
    spec.language = spec.language.map(|head| LanguageHead { scale, ..head });
    Ok(spec)
}
