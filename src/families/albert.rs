//! ALBERT (Lan et al. 2020): BERT with narrow embeddings and one layer's weights in all layers.

use super::{bert, head, masked};
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{Activation, Dense, LinearTensors, Names, Spec, Stack};

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
    let dense = Dense { name: "pooler", bias: true, activation: Activation::Tanh, prefixed: true };
    let embedding_size = config.usize_or("embedding_size", 128)?;
    let encoder = bert::encoder(config, NAMES, "gelu_new")?;
    Ok(Spec {
        family: "albert",
        vocabulary: config.usize("vocab_size")?,
        masked: masked(
            config,
            ("predictions.dense", encoder.activation),
            "predictions.LayerNorm",
            &["predictions.decoder"],
            &["predictions.decoder.bias", "predictions.bias"],
        )?,
        encoder: Some(Stack { embedding_size, shared_layers: true, ..encoder }),
        decoder: None,
        head: head(config, dense, "classifier")?,
        language: None,
    })
}
