//! SmolLM3 (Hugging Face 2025): Llama without rotary positions in every fourth layer.

use super::{llama, rope};
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{AttentionSpec, Biases, Rotary, Spec, Stack};

const DEFAULTS: llama::Defaults = llama::Defaults {
    kv_heads: Some(4),
    rope: rope::Defaults { theta: 2_000_000.0, ..rope::Defaults::PLAIN },
    ..llama::Defaults::PLAIN
};

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let attention = config.bool_or("attention_bias", false)?;
    let feed_forward = config.bool_or("mlp_bias", false)?;
    let stack = llama::stack(config, &DEFAULTS)?;
    let without = without_rotary(config, stack.layers)?;
    let window = match config.bool_or("use_sliding_window", false)? {
        true => config.usize_opt("sliding_window")?,
        false => None,
    };
    // Layers with rotary positions are those with a window, where the file does not list them.
    let windows = llama::windows(config, stack.layers, window, |layer| !without.get(layer).copied().unwrap_or(false))?;
    let stack = Stack {
        biases: Biases { qkv: attention, attention_output: attention, feed_forward, feed_forward_output: feed_forward },
        attention: AttentionSpec { windows, ..stack.attention },
        rotary: stack.rotary.map(|rotary| Rotary { without, ..rotary }),
        ..stack
    };
    llama::model(config, "smollm3", stack, true, 0.0)
}

/// Which layers have no rotary positions: `no_rope_layers` has 1 for those that have them, in spite of its name.
fn without_rotary(config: &Config, layers: usize) -> Result<Vec<bool>> {
    if let Some(listed) = config.get("no_rope_layers").and_then(|value| value.as_array()) {
        if listed.len() != layers {
            return Err(config.invalid("no_rope_layers", format!("has {} values for {layers} layers", listed.len())));
        }
        let one = |value: &serde_json::Value| match value.as_u64() {
            Some(flag @ (0 | 1)) => Ok(flag == 0),
            _ => Err(config.invalid("no_rope_layers", "must be a list of 0 and 1")),
        };
        return listed.iter().map(one).collect();
    }
    let interval = config.usize_or("no_rope_layer_interval", 4)?;
    if interval == 0 {
        return Err(config.invalid("no_rope_layer_interval", "is 0"));
    }
    // `check_stack` refuses more layers later; until then do not allocate memory for them.
    Ok((0..layers.min(4096)).map(|layer| (layer + 1).is_multiple_of(interval)).collect())
}
