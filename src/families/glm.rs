//! GLM 4 and GLM-Edge (GLM team 2024): Llama with partial rotary positions of neighbouring components, biases of queries, keys and values, and
//! the gate in one tensor with the rest.

use super::{ernie4_5, llama, rope};
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{Biases, LinearTensors, Names, Spec, Stack};

const NAMES: Names = Names { up: LinearTensors::Single("layers.{}.mlp.gate_up_proj"), ..llama::NAMES };

const DEFAULTS: llama::Defaults = llama::Defaults {
    kv_heads: Some(2),
    head_dim: Some(128),
    eps: 1.5625e-7,
    rope: rope::Defaults { fraction: 0.5, ..rope::Defaults::PLAIN },
};

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let biases = Biases { qkv: config.bool_or("attention_bias", true)?, ..Biases::NONE };
    let stack = Stack { biases, names: NAMES, ..ernie4_5::interleaved(config, &DEFAULTS)? };
    llama::model(config, "glm", stack, false, 0.0)
}
