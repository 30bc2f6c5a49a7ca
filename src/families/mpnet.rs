//! MPNet (Song et al. 2020): BERT with learned positions and T5's relative position bias, and without token types.

use super::{activation, head, heads, roberta};
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{Activation, Dense, LinearTensors, Names, Norm, NormPlace, Position, Relative, Spec, Stack};

const NAMES: Names = Names {
    prefix: "mpnet.",
    word: &["embeddings.word_embeddings"],
    position: "embeddings.position_embeddings",
    embedding_norm: Some("embeddings.LayerNorm"),
    relative_bias: Some("encoder.relative_attention_bias"),
    qkv: LinearTensors::Separate(&[
        "encoder.layer.{}.attention.attn.q",
        "encoder.layer.{}.attention.attn.k",
        "encoder.layer.{}.attention.attn.v",
    ]),
    attention_output: LinearTensors::Single("encoder.layer.{}.attention.attn.o"),
    attention_norm: "encoder.layer.{}.attention.LayerNorm",
    up: LinearTensors::Single("encoder.layer.{}.intermediate.dense"),
    down: LinearTensors::Single("encoder.layer.{}.output.dense"),
    output_norm: "encoder.layer.{}.output.LayerNorm",
    ..Names::EMPTY
};

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let rows = config.usize_or("max_position_embeddings", 512)?;
    let buckets = config.usize_or("relative_attention_num_buckets", 32)?;
    if buckets < 4 {
        return Err(
            config.invalid("relative_attention_num_buckets", format!("is {buckets}, but at least 4 are needed"))
        );
    }
    let dense = Dense { name: "classifier.dense", bias: true, activation: Activation::Tanh, prefixed: false };
    let (hidden, layers) = (config.usize_or("hidden_size", 768)?, config.usize_or("num_hidden_layers", 12)?);
    let heads = heads(config, hidden, config.usize_or("num_attention_heads", 12)?)?;
    // Both are constants in MPNet's code and ignore the configuration.
    let (padding, max_distance) = (1, 128);
    let position = Position::LearnedAfterPadding { rows, padding };
    Ok(Spec {
        family: "mpnet",
        vocabulary: config.usize_or("vocab_size", 30527)?,
        encoder: Some(Stack {
            activation: activation(config, "hidden_act", "gelu")?,
            norm: Norm::layer(NormPlace::Post, config.f32_or("layer_norm_eps", 1e-12)?),
            position,
            relative: Some(Relative { buckets, max_distance, bidirectional: true }),
            max_tokens: position.max_tokens().unwrap_or(0),
            ..Stack::new(hidden, layers, heads, config.usize_or("intermediate_size", 3072)?, NAMES)
        }),
        decoder: None,
        head: head(config, dense, "classifier.out_proj")?,
        language: None,
        masked: roberta::masked_head(config)?,
    })
}
