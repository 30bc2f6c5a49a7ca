//! DistilBERT (Sanh et al. 2019): BERT without token types, under names of its own.

use super::{activation, head};
use crate::error::Result;
use crate::formats::json::Config;
use crate::transformer::spec::{Activation, Dense, Names, Norm, NormKind, NormPlace, Position, Spec};

const NAMES: Names = Names {
    prefix: "distilbert.",
    word: "embeddings.word_embeddings",
    position: "embeddings.position_embeddings",
    token_type: None,
    embedding_norm: "embeddings.LayerNorm",
    relative_bias: None,
    query: "transformer.layer.{}.attention.q_lin",
    key: "transformer.layer.{}.attention.k_lin",
    value: "transformer.layer.{}.attention.v_lin",
    attention_output: "transformer.layer.{}.attention.out_lin",
    attention_norm: "transformer.layer.{}.sa_layer_norm",
    up: "transformer.layer.{}.ffn.lin1",
    down: "transformer.layer.{}.ffn.lin2",
    output_norm: "transformer.layer.{}.output_layer_norm",
};

pub(super) fn spec(config: &Config) -> Result<Spec> {
    // `sinusoidal_pos_embds` needs no code: the sinusoids lie in the checkpoint as an ordinary table.
    let rows = config.usize_or("max_position_embeddings", 512)?;
    let dense = Dense { name: "pre_classifier", activation: Activation::Relu, prefixed: false };
    Ok(Spec {
        family: "distilbert",
        vocabulary: config.usize_or("vocab_size", 30522)?,
        hidden: config.usize_or("dim", 768)?,
        layers: config.usize_or("n_layers", 6)?,
        heads: config.usize_or("n_heads", 12)?,
        intermediate: config.usize_or("hidden_dim", 3072)?,
        activation: activation(config, "activation", "gelu")?,
        norm: Norm { kind: NormKind::LayerNorm, place: NormPlace::Post, eps: 1e-12 },
        position: Position::Learned { rows },
        token_types: 0,
        names: NAMES,
        head: head(config, dense, "classifier")?,
    })
}
