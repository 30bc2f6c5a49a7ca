//! Phi-3 (Abdin et al. 2024): Llama with one fused tensor for query, key and value, and one for gate and up projection.

use super::{llama, rope};
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{AttentionSpec, LinearTensors, Names, Spec, Stack};

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let rope = rope::Defaults { yarn_is_long: true, ..rope::Defaults::PLAIN };
    let stack = llama::stack(config, &llama::Defaults { eps: 1e-5, rope, ..llama::Defaults::PLAIN })?;
    let windows = llama::window_in(config, stack.layers, config.usize_opt("sliding_window")?, |_| true)?;
    let names = Names {
        qkv: LinearTensors::Single("layers.{}.self_attn.qkv_proj"),
        up: LinearTensors::Single("layers.{}.mlp.gate_up_proj"),
        ..llama::NAMES
    };
    let attention = AttentionSpec { windows, ..stack.attention };
    llama::model(config, "phi3", Stack { attention, names, ..stack }, false, 0.0)
}
