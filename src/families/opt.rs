//! OPT (Zhang et al. 2022): GPT-2 with ReLU, separate projections, and positions that start at row 2 of their table.

use super::{activation, equal_heads, usize_default};
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{LanguageHead, LinearTensors, Names, Norm, NormPlace, Position, Spec, Stack};

const NAMES: Names = Names {
    prefix: "model.decoder.",
    word: &["embed_tokens"],
    position: "embed_positions",
    qkv: LinearTensors::Separate(&[
        "layers.{}.self_attn.q_proj",
        "layers.{}.self_attn.k_proj",
        "layers.{}.self_attn.v_proj",
    ]),
    attention_output: LinearTensors::Single("layers.{}.self_attn.out_proj"),
    attention_norm: "layers.{}.self_attn_layer_norm",
    up: LinearTensors::Single("layers.{}.fc1"),
    down: LinearTensors::Single("layers.{}.fc2"),
    output_norm: "layers.{}.final_layer_norm",
    final_norm: Some("final_layer_norm"),
    ..Names::EMPTY
};

/// Rows before the first position's; a constant of the class.
const FIRST: usize = 2;

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let heads = equal_heads(config, "hidden_size", "num_attention_heads")?;
    let (hidden, max_tokens) = (config.usize("hidden_size")?, super::positions(config)?);
    if let Some(width) = usize_default(config, "word_embed_proj_dim", None)?.filter(|&width| width != hidden) {
        let what = format!("is {width}; embeddings that are projected to the hidden size {hidden} are not supported");
        return Err(config.invalid("word_embed_proj_dim", what));
    }
    super::causal_or_not(
        config,
        Spec {
            family: "opt",
            vocabulary: config.usize("vocab_size")?,
            encoder: None,
            decoder: Some(Stack {
                activation: activation(config, "activation_function", "relu")?,
                norm: Norm::layer(NormPlace::Pre, 1e-5),
                position: Position::Learned { rows: max_tokens.saturating_add(FIRST), first: FIRST },
                max_tokens,
                ..Stack::new(hidden, config.usize("num_hidden_layers")?, heads, config.usize("ffn_dim")?, NAMES)
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
