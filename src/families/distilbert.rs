//! DistilBERT (Sanh et al. 2019): BERT without token types, with its own tensor names.

use super::{activation, head, heads, masked};
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{Activation, Dense, LinearTensors, Names, Position, Spec, Stack};

const NAMES: Names = Names {
    prefix: "distilbert.",
    word: &["embeddings.word_embeddings"],
    position: "embeddings.position_embeddings",
    embedding_norm: Some("embeddings.LayerNorm"),
    qkv: LinearTensors::Separate(&[
        "transformer.layer.{}.attention.q_lin",
        "transformer.layer.{}.attention.k_lin",
        "transformer.layer.{}.attention.v_lin",
    ]),
    attention_output: LinearTensors::Single("transformer.layer.{}.attention.out_lin"),
    attention_norm: "transformer.layer.{}.sa_layer_norm",
    up: LinearTensors::Single("transformer.layer.{}.ffn.lin1"),
    down: LinearTensors::Single("transformer.layer.{}.ffn.lin2"),
    output_norm: "transformer.layer.{}.output_layer_norm",
    ..Names::EMPTY
};

pub(super) fn spec(config: &Config) -> Result<Spec> {
    // `sinusoidal_pos_embds` needs no code: the checkpoint has the sinusoids as an ordinary table.
    let rows = config.usize_or("max_position_embeddings", 512)?;
    let dense = Dense { name: "pre_classifier", bias: true, activation: Activation::Relu, prefixed: false };
    let (hidden, layers) = (config.usize_or("dim", 768)?, config.usize_or("n_layers", 6)?);
    let heads = heads(config, hidden, config.usize_or("n_heads", 12)?)?;
    let activation = activation(config, "activation", "gelu")?;
    Ok(Spec {
        family: "distilbert",
        vocabulary: config.usize_or("vocab_size", 30522)?,
        encoder: Some(Stack {
            activation,
            position: Position::Learned { rows, first: 0 },
            max_tokens: rows,
            ..Stack::new(hidden, layers, heads, config.usize_or("hidden_dim", 3072)?, NAMES)
        }),
        decoder: None,
        head: head(config, dense, "classifier")?,
        language: None,
        masked: masked(
            config,
            ("vocab_transform", activation),
            "vocab_layer_norm",
            &["vocab_projector"],
            &["vocab_projector.bias"],
        )?,
    })
}
