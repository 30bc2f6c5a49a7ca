//! ERNIE 4.5 (Baidu 2025), dense: Llama with rotary positions of neighbouring components. Helium (Kyutai 2025) has the same.

use super::{llama, rope};
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{Biases, Rotary, Spec, Stack};

const ERNIE: llama::Defaults = llama::Defaults {
    kv_heads: Some(2),
    head_dim: Some(128),
    eps: 1e-5,
    rope: rope::Defaults { theta: 500_000.0, ..rope::Defaults::PLAIN },
};

const HELIUM: llama::Defaults = llama::Defaults {
    kv_heads: Some(20),
    head_dim: Some(128),
    eps: 1e-8,
    rope: rope::Defaults { theta: 100_000.0, ..rope::Defaults::PLAIN },
};

/// Llama's stack with the components of a pair side by side.
pub(super) fn interleaved(config: &Config, defaults: &llama::Defaults) -> Result<Stack> {
    let stack = llama::stack(config, defaults)?;
    Ok(Stack { rotary: stack.rotary.map(|rotary| Rotary { interleaved: true, ..rotary }), ..stack })
}

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let biases = if config.bool_or("use_bias", false)? { Biases::ALL } else { Biases::NONE };
    let stack = Stack { biases, ..interleaved(config, &ERNIE)? };
    llama::model(config, "ernie4_5", stack, true, 0.0)
}

pub(super) fn helium(config: &Config) -> Result<Spec> {
    let feed_forward = config.bool_or("mlp_bias", false)?;
    let biases = Biases {
        qkv: config.bool_or("attention_bias", false)?,
        attention_output: false,
        feed_forward,
        feed_forward_output: feed_forward,
    };
    let stack = Stack { biases, ..interleaved(config, &HELIUM)? };
    llama::model(config, "helium", stack, false, 0.0)
}
