//! OLMo 2 (Walsh et al. 2024): Llama with the norms after the sublayers, and norms of queries and keys over all heads.

use super::llama;
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{AttentionSpec, Biases, Names, Norm, NormPlace, Spec, Stack};

const NAMES: Names = Names {
    attention_post_norm: Some("layers.{}.post_attention_layernorm"),
    output_post_norm: Some("layers.{}.post_feedforward_layernorm"),
    ..llama::NAMES
};

const DEFAULTS: llama::Defaults = llama::Defaults { eps: 1e-5, ..llama::Defaults::PLAIN };

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let stack = llama::stack(config, &DEFAULTS)?;
    let biased = config.bool_or("attention_bias", false)?;
    let stack = Stack {
        norm: Norm { place: NormPlace::Output, ..stack.norm },
        biases: Biases { qkv: biased, attention_output: biased, ..Biases::NONE },
        attention: AttentionSpec { head_norm: true, joint_norm: true, ..stack.attention },
        names: NAMES,
        ..stack
    };
    llama::model(config, "olmo2", stack, false, 0.0)
}
