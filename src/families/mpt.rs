//! MPT (MosaicML 2023): ALiBi, and no biases at all.

use super::{bloom, equal_heads, llama};
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{Activation, AttentionSpec, Biases, LinearTensors, Names, Norm, NormPlace, Spec, Stack};

const NAMES: Names = Names {
    prefix: "transformer.",
    word: &["wte"],
    qkv: LinearTensors::Single("blocks.{}.attn.Wqkv"),
    attention_output: LinearTensors::Single("blocks.{}.attn.out_proj"),
    attention_norm: "blocks.{}.norm_1",
    up: LinearTensors::Single("blocks.{}.ffn.up_proj"),
    down: LinearTensors::Single("blocks.{}.ffn.down_proj"),
    output_norm: "blocks.{}.norm_2",
    final_norm: Some("norm_f"),
    ..Names::EMPTY
};

/// Fields of `attn_config` that the class computes otherwise or ignores, and their values that change nothing.
fn check(attention: &Config) -> Result<()> {
    let on = |name: &str, expected: bool| Ok(attention.bool_or(name, expected)? != expected);
    for (wrong, name) in [
        (!attention.bool_or("alibi", true)?, "alibi"),
        (on("prefix_lm", false)?, "prefix_lm"),
        (on("qk_ln", false)?, "qk_ln"),
        (on("attn_uses_sequence_id", false)?, "attn_uses_sequence_id"),
        (attention.has("clip_qkv"), "clip_qkv"),
        // transformers' class computes 8 in any case.
        (attention.f32_opt("alibi_bias_max")?.is_some_and(|max| max != bloom::ALIBI), "alibi_bias_max"),
        (attention.str_or("attn_type", "multihead_attention")? != "multihead_attention", "attn_type"),
    ] {
        if wrong {
            return Err(attention.invalid(name, "has a value that is not supported for mpt"));
        }
    }
    Ok(())
}

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let heads = equal_heads(config, "d_model", "n_heads")?;
    let hidden = config.usize("d_model")?;
    let mut attention = AttentionSpec::plain(heads.dim);
    if let Some(section) = config.section("attn_config")? {
        check(&section)?;
        attention.scale = section.f32_opt("softmax_scale")?.unwrap_or(attention.scale);
    }
    // What the class reads and does not compute, or computes whatever it says.
    for (wrong, name) in [
        (!config.bool_or("no_bias", true)?, "no_bias"),
        (config.has("logit_scale"), "logit_scale"),
        (config.usize_or("expansion_ratio", 4)? != 4, "expansion_ratio"),
    ] {
        if wrong {
            return Err(config.invalid(name, "has a value that is not supported for mpt"));
        }
    }
    let stack = Stack {
        activation: Activation::Gelu,
        norm: Norm { bias: false, ..Norm::layer(NormPlace::Pre, config.f32_or("layer_norm_epsilon", 1e-5)?) },
        biases: Biases::NONE,
        alibi: Some(bloom::ALIBI),
        attention,
        max_tokens: config.usize_or("max_seq_len", 2048)?,
        ..Stack::new(hidden, config.usize("n_layers")?, heads, hidden.saturating_mul(4), NAMES)
    };
    llama::model(config, "mpt", stack, true, 0.0)
}
