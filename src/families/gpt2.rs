//! GPT-2 (Radford et al. 2019) and DistilGPT2.

use super::{activation, equal_heads};
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{AttentionSpec, LanguageHead, LinearTensors, Names, Norm, NormPlace, Position, Spec, Stack};

const NAMES: Names = Names {
    prefix: "transformer.",
    word: &["wte"],
    position: "wpe",
    qkv: LinearTensors::Transposed("h.{}.attn.c_attn"),
    attention_output: LinearTensors::Transposed("h.{}.attn.c_proj"),
    attention_norm: "h.{}.ln_1",
    up: LinearTensors::Transposed("h.{}.mlp.c_fc"),
    down: LinearTensors::Transposed("h.{}.mlp.c_proj"),
    output_norm: "h.{}.ln_2",
    final_norm: Some("ln_f"),
    ..Names::EMPTY
};

/// The same layers with weights `[outputs, inputs]`.
pub(super) const LINEAR_NAMES: Names = Names {
    qkv: LinearTensors::Single("h.{}.attn.c_attn"),
    attention_output: LinearTensors::Single("h.{}.attn.c_proj"),
    up: LinearTensors::Single("h.{}.mlp.c_fc"),
    down: LinearTensors::Single("h.{}.mlp.c_proj"),
    ..NAMES
};

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let heads = equal_heads(config, "n_embd", "n_head")?;
    let (hidden, rows) = (config.usize("n_embd")?, config.usize("n_positions")?);
    let names = if config.bool_or("kinglet_linear_weights", false)? { LINEAR_NAMES } else { NAMES };
    let intermediate = config.usize_or("n_inner", hidden.saturating_mul(4))?;
    let mut attention = AttentionSpec::plain(heads.dim);
    if !config.bool_or("scale_attn_weights", true)? {
        attention.scale = 1.0;
    }
    super::causal_or_not(
        config,
        Spec {
            family: "gpt2",
            vocabulary: config.usize("vocab_size")?,
            encoder: None,
            decoder: Some(Stack {
                activation: activation(config, "activation_function", "gelu_new")?,
                norm: Norm::layer(NormPlace::Pre, config.f32_or("layer_norm_epsilon", 1e-5)?),
                position: Position::Learned { rows, first: 0 },
                max_tokens: rows,
                attention,
                ..Stack::new(hidden, config.usize("n_layer")?, heads, intermediate, names)
            }),
            head: None,
            masked: None,
            language: Some(LanguageHead {
                weight: super::language_weight(config, true, &["lm_head"])?,
                bias: None,
                scale: 1.0,
                softcap: 0.0,
            }),
        },
    )
}
