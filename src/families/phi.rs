//! Phi 1 to 2 (Gunasekar et al. 2023): both sublayers read one norm's output, partial rotary positions, biases everywhere.

use super::{llama, rope};
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{Biases, LanguageHead, LinearTensors, Names, Norm, NormPlace, Spec, Stack};

const NAMES: Names = Names {
    attention_output: LinearTensors::Single("layers.{}.self_attn.dense"),
    up: LinearTensors::Single("layers.{}.mlp.fc1"),
    down: LinearTensors::Single("layers.{}.mlp.fc2"),
    output_norm: llama::NAMES.attention_norm,
    final_norm: Some("final_layernorm"),
    ..llama::NAMES
};

const DEFAULTS: llama::Defaults =
    llama::Defaults { rope: rope::Defaults { fraction: 0.5, ..rope::Defaults::PLAIN }, ..llama::Defaults::PLAIN };

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let stack = Stack {
        activation: super::activation(config, "hidden_act", "gelu_new")?,
        gated: false,
        norm: Norm::layer(NormPlace::Parallel, config.f32_or("layer_norm_eps", 1e-5)?),
        biases: Biases::ALL,
        names: NAMES,
        ..llama::stack(config, &DEFAULTS)?
    };
    let mut spec = llama::model(config, "phi", stack, false, 0.0)?;
    spec.language = spec.language.map(|head| LanguageHead { bias: Some("lm_head.bias"), ..head });
    Ok(spec)
}
