//! MPNet (Song et al. 2020): BERT's shape with T5's relative attention bias beside learned positions, and no token types.

use super::{activation, head};
use crate::error::Result;
use crate::formats::json::Config;
use crate::transformer::spec::{Activation, Dense, Names, Norm, NormKind, NormPlace, Position, Spec};

const NAMES: Names = Names {
    prefix: "mpnet.",
    word: "embeddings.word_embeddings",
    position: "embeddings.position_embeddings",
    token_type: None,
    embedding_norm: "embeddings.LayerNorm",
    relative_bias: Some("encoder.relative_attention_bias"),
    query: "encoder.layer.{}.attention.attn.q",
    key: "encoder.layer.{}.attention.attn.k",
    value: "encoder.layer.{}.attention.attn.v",
    attention_output: "encoder.layer.{}.attention.attn.o",
    attention_norm: "encoder.layer.{}.attention.LayerNorm",
    up: "encoder.layer.{}.intermediate.dense",
    down: "encoder.layer.{}.output.dense",
    output_norm: "encoder.layer.{}.output.LayerNorm",
};

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let rows = config.usize_or("max_position_embeddings", 512)?;
    let buckets = config.usize_or("relative_attention_num_buckets", 32)?;
    if buckets < 4 {
        return Err(
            config.invalid("relative_attention_num_buckets", format!("is {buckets}, and at least 4 are needed"))
        );
    }
    let dense = Dense { name: "classifier.dense", activation: Activation::Tanh, prefixed: false };
    Ok(Spec {
        family: "mpnet",
        vocabulary: config.usize_or("vocab_size", 30527)?,
        hidden: config.usize_or("hidden_size", 768)?,
        layers: config.usize_or("num_hidden_layers", 12)?,
        heads: config.usize_or("num_attention_heads", 12)?,
        intermediate: config.usize_or("intermediate_size", 3072)?,
        activation: activation(config, "hidden_act", "gelu")?,
        norm: Norm { kind: NormKind::LayerNorm, place: NormPlace::Post, eps: config.f32_or("layer_norm_eps", 1e-12)? },
        position: Position::LearnedAndRelative {
            rows,
            // Fixed in MPNet's code, whatever the configuration says.
            padding: 1,
            buckets,
            // Fixed in MPNet's code.
            max_distance: 128,
        },
        token_types: 0,
        names: NAMES,
        head: head(config, dense, "classifier.out_proj")?,
    })
}
