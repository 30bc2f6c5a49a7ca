//! GPT-Neo (Black et al. 2021): GPT-2 with a sliding window in some layers, and scores that are not scaled.

use serde_json::Value;

use super::{activation, equal_heads, llama, usize_default};
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{AttentionSpec, Biases, LinearTensors, Names, Norm, NormPlace, Position, Spec, Stack};

const NAMES: Names = Names {
    prefix: "transformer.",
    word: &["wte"],
    position: "wpe",
    qkv: LinearTensors::Separate(&[
        "h.{}.attn.attention.q_proj",
        "h.{}.attn.attention.k_proj",
        "h.{}.attn.attention.v_proj",
    ]),
    attention_output: LinearTensors::Single("h.{}.attn.attention.out_proj"),
    attention_norm: "h.{}.ln_1",
    up: LinearTensors::Single("h.{}.mlp.c_fc"),
    down: LinearTensors::Single("h.{}.mlp.c_proj"),
    output_norm: "h.{}.ln_2",
    final_norm: Some("ln_f"),
    ..Names::EMPTY
};

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let heads = equal_heads(config, "hidden_size", "num_heads")?;
    let (hidden, layers, rows) = (config.usize("hidden_size")?, config.usize("num_layers")?, super::positions(config)?);
    let intermediate = usize_default(config, "intermediate_size", None)?.unwrap_or(hidden.saturating_mul(4));
    let windows = windows(config, layers)?;
    let stack = Stack {
        activation: activation(config, "activation_function", "gelu_new")?,
        norm: Norm::layer(NormPlace::Pre, config.f32_or("layer_norm_epsilon", 1e-5)?),
        biases: Biases { qkv: false, ..Biases::ALL },
        position: Position::Learned { rows, first: 0 },
        max_tokens: rows,
        attention: AttentionSpec { scale: 1.0, windows, ..AttentionSpec::plain(heads.dim) },
        ..Stack::new(hidden, layers, heads, intermediate, NAMES)
    };
    llama::model(config, "gpt_neo", stack, true, 0.0)
}

/// The window of each layer: `attention_types` is a list of lists of kinds and how often they are repeated,
/// `[[["global", "local"], 12]]`.
fn windows(config: &Config, layers: usize) -> Result<Vec<usize>> {
    let window = config.usize_or("window_size", 256)?;
    let wrong = || {
        config.invalid("attention_types", "is no list as [[[\"global\", \"local\"], 12]] of as many kinds as layers")
    };
    let default = serde_json::json!([[["global", "local"], 12]]);
    let types = config.get("attention_types").filter(|types| !types.is_null()).unwrap_or(&default);
    let mut windows = Vec::new();
    for group in types.as_array().ok_or_else(wrong)? {
        let [Value::Array(kinds), Value::Number(times)] = group.as_array().map_or(&[][..], Vec::as_slice) else {
            return Err(wrong());
        };
        for _ in 0..times.as_u64().ok_or_else(wrong)? {
            for kind in kinds {
                windows.push(match kind.as_str() {
                    Some("global") => 0,
                    Some("local") => window,
                    _ => return Err(wrong()),
                });
            }
            if windows.len() > layers {
                return Err(wrong());
            }
        }
    }
    if windows.len() == layers { Ok(windows) } else { Err(wrong()) }
}
