//! GTE (Zhang et al. 2024; gte-multilingual, gte-en-v1.5, snowflake-arctic-embed-m-v2.0): BERT with rotary positions and a gated
//! feed-forward. Published as `model_type` "new"; transformers 5 calls it "gte" and writes the same tensors behind another prefix.

use super::{activation, equal_heads, head, rope};
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{Activation, Biases, Dense, LinearTensors, Names, Norm, NormPlace, Spec, Stack};

const NAMES: Names = Names {
    prefix: "gte.",
    word: &["embeddings.word_embeddings"],
    token_type: Some("embeddings.token_type_embeddings"),
    embedding_norm: Some("embeddings.LayerNorm"),
    qkv: LinearTensors::Single("encoder.layer.{}.attention.qkv_proj"),
    attention_output: LinearTensors::Single("encoder.layer.{}.attention.o_proj"),
    attention_norm: "encoder.layer.{}.attn_ln",
    up: LinearTensors::Reversed("encoder.layer.{}.mlp.up_gate_proj"),
    down: LinearTensors::Single("encoder.layer.{}.mlp.down_proj"),
    output_norm: "encoder.layer.{}.mlp_ln",
    ..Names::EMPTY
};

/// With `pack_qkv` false.
const SEPARATE: LinearTensors = LinearTensors::Separate(&[
    "encoder.layer.{}.attention.q_proj",
    "encoder.layer.{}.attention.k_proj",
    "encoder.layer.{}.attention.v_proj",
]);

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let published = config.str("model_type")? == "new";
    let heads = equal_heads(config, "hidden_size", "num_attention_heads")?;
    let (hidden, layers) = (config.usize("hidden_size")?, config.usize("num_hidden_layers")?);
    let max_tokens = super::positions(config)?;
    for name in ["logn_attention_scale", "logn_attention_clip1"] {
        if config.bool_or(name, false)? {
            return Err(
                config.invalid(name, "is true; attention that is scaled by the length is not supported for gte")
            );
        }
    }
    for (name, only) in [("layer_norm_type", "layer_norm"), ("position_embedding_type", "rope")] {
        if config.str_or(name, only)? != only {
            return Err(config.invalid(name, format!("only {only:?} is supported for gte")));
        }
    }
    // What the two classes have where the file says nothing.
    let theta = if published { 10_000.0 } else { 160_000.0 };
    let rotary = rope::read(config, heads.dim, max_tokens, &rope::Defaults { theta, ..rope::Defaults::PLAIN })?;
    let qkv = if config.bool_or("pack_qkv", true)? { NAMES.qkv } else { SEPARATE };
    let prefix = if published { "new." } else { NAMES.prefix };
    let dense = Dense { name: "pooler.dense", bias: true, activation: Activation::Tanh, prefixed: true };
    Ok(Spec {
        family: "gte",
        vocabulary: config.usize("vocab_size")?,
        encoder: Some(Stack {
            activation: activation(config, "hidden_act", "gelu")?,
            gated: true,
            norm: Norm::layer(NormPlace::Post, config.f32_or("layer_norm_eps", 1e-12)?),
            biases: Biases { feed_forward: false, ..Biases::ALL },
            token_types: config.usize_or("type_vocab_size", usize::from(!published))?,
            max_tokens: rotary.reach(max_tokens),
            rotary: Some(rotary),
            ..Stack::new(hidden, layers, heads, config.usize("intermediate_size")?, Names { prefix, qkv, ..NAMES })
        }),
        decoder: None,
        head: head(config, dense, "classifier")?,
        language: None,
        masked: None,
    })
}
