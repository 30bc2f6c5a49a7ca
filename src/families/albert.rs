//! ALBERT (Lan et al. 2020): BERT with narrow embeddings and one layer's weights in all layers.

use super::{activation, bert, equal_heads, head};
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{Activation, Dense, LinearTensors, Names, Norm, NormPlace, Position, Spec, Stack};

const NAMES: Names = Names {
    prefix: "albert.",
    embedding_projection: Some("encoder.embedding_hidden_mapping_in"),
    qkv: LinearTensors::Separate(&[
        "encoder.albert_layer_groups.0.albert_layers.0.attention.query",
        "encoder.albert_layer_groups.0.albert_layers.0.attention.key",
        "encoder.albert_layer_groups.0.albert_layers.0.attention.value",
    ]),
    attention_output: LinearTensors::Single("encoder.albert_layer_groups.0.albert_layers.0.attention.dense"),
    attention_norm: "encoder.albert_layer_groups.0.albert_layers.0.attention.LayerNorm",
    up: LinearTensors::Single("encoder.albert_layer_groups.0.albert_layers.0.ffn"),
    down: LinearTensors::Single("encoder.albert_layer_groups.0.albert_layers.0.ffn_output"),
    output_norm: "encoder.albert_layer_groups.0.albert_layers.0.full_layer_layer_norm",
    ..bert::NAMES
};

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let rows = super::positions(config)?;
    let dense = Dense { name: "pooler", bias: true, activation: Activation::Tanh, prefixed: true };
    let heads = equal_heads(config, "hidden_size", "num_attention_heads")?;
    let (hidden, layers) = (config.usize("hidden_size")?, config.usize("num_hidden_layers")?);
    Ok(Spec {
        family: "albert",
        vocabulary: config.usize("vocab_size")?,
        encoder: Some(Stack {
            embedding_size: config.usize_or("embedding_size", 128)?,
            shared_layers: true,
            activation: activation(config, "hidden_act", "gelu_new")?,
            norm: Norm::layer(NormPlace::Post, config.f32_or("layer_norm_eps", 1e-12)?),
            position: Position::Learned { rows, first: 0 },
            token_types: config.usize_or("type_vocab_size", 2)?,
            max_tokens: rows,
            ..Stack::new(hidden, layers, heads, config.usize("intermediate_size")?, NAMES)
        }),
        decoder: None,
        head: head(config, dense, "classifier")?,
        language: None,
    })
}
