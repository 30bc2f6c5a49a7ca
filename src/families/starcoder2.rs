//! StarCoder 2 (Lozhkov et al. 2024): Llama's attention with biases, LayerNorm, and GPT-2's feed-forward.

use super::llama;
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{AttentionSpec, Biases, LinearTensors, Names, Norm, NormPlace, Spec, Stack};

const NAMES: Names = Names {
    up: LinearTensors::Single("layers.{}.mlp.c_fc"),
    down: LinearTensors::Single("layers.{}.mlp.c_proj"),
    ..llama::NAMES
};

const DEFAULTS: llama::Defaults = llama::Defaults { kv_heads: Some(2), ..llama::Defaults::PLAIN };

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let stack = llama::stack(config, &DEFAULTS)?;
    let window = super::usize_default(config, "sliding_window", None)?;
    let windows = llama::window_in(config, stack.layers, window, |_| true)?;
    let stack = Stack {
        activation: super::activation(config, "hidden_act", "gelu_pytorch_tanh")?,
        gated: false,
        norm: Norm::layer(NormPlace::Pre, config.f32_or("norm_epsilon", 1e-5)?),
        biases: if config.bool_or("use_bias", true)? { Biases::ALL } else { Biases::NONE },
        attention: AttentionSpec { windows, ..stack.attention },
        names: NAMES,
        ..stack
    };
    llama::model(config, "starcoder2", stack, true, 0.0)
}
