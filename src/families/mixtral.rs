//! Mixtral (Jiang et al. 2024): Mistral with a mixture of experts in each layer.

use super::{llama, rope};
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{AttentionSpec, Experts, LinearTensors, Names, Spec, Stack};

const NAMES: Names = Names {
    router: Some("layers.{}.block_sparse_moe.gate"),
    expert_up: LinearTensors::Separate(&[
        "layers.{}.block_sparse_moe.experts.{e}.w1",
        "layers.{}.block_sparse_moe.experts.{e}.w3",
    ]),
    expert_down: LinearTensors::Single("layers.{}.block_sparse_moe.experts.{e}.w2"),
    ..llama::NAMES
};

const DEFAULTS: llama::Defaults = llama::Defaults {
    kv_heads: Some(8),
    eps: 1e-5,
    rope: rope::Defaults { theta: 1e6, ..rope::Defaults::PLAIN },
    ..llama::Defaults::PLAIN
};

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let stack = llama::stack(config, &DEFAULTS)?;
    let window = super::usize_default(config, "sliding_window", None)?;
    let windows = llama::window_in(config, stack.layers, window, |_| true)?;
    let count = config.usize_or("num_local_experts", 8)?;
    let experts = Experts::new(count, config.usize_or("num_experts_per_tok", 2)?, stack.intermediate, true);
    let attention = AttentionSpec { windows, ..stack.attention };
    llama::model(config, "mixtral", Stack { experts: Some(experts), attention, names: NAMES, ..stack }, false, 0.0)
}
