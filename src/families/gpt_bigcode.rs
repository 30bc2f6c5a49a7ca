//! GPT-BigCode (Allal et al. 2023; SantaCoder, StarCoder): GPT-2 whose heads share one key and one value.

use super::{activation, equal_heads};
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{Heads, LinearTensors, Names, Spec, Stack};

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let heads = equal_heads(config, "n_embd", "n_head")?;
    let shared = config.bool_or("multi_query", true)?;
    let names = super::gpt2::LINEAR_NAMES;
    let mut spec = super::gpt2::spec(config)?;
    let stacks = spec.decoder.iter_mut().chain(&mut spec.encoder);
    for stack in stacks {
        let heads = if shared { Heads { kv: 1, ..heads } } else { heads };
        let names = if shared { names } else { Names { qkv: LinearTensors::ByHead("h.{}.attn.c_attn"), ..names } };
        *stack = Stack {
            activation: activation(config, "activation_function", "gelu_pytorch_tanh")?,
            heads,
            names,
            ..stack.clone()
        };
    }
    Ok(Spec { family: "gpt_bigcode", ..spec })
}
