//! BERT (Devlin et al. 2018), and the many encoders with the same structure and names.

use super::{activation, equal_heads, head, masked};
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{Activation, Dense, LinearTensors, MaskedHead, Names, Norm, NormPlace, Position, Spec, Stack};

/// The names that BERT shares with RoBERTa.
pub(super) const NAMES: Names = Names {
    prefix: "bert.",
    word: &["embeddings.word_embeddings"],
    position: "embeddings.position_embeddings",
    token_type: Some("embeddings.token_type_embeddings"),
    embedding_norm: Some("embeddings.LayerNorm"),
    qkv: LinearTensors::Separate(&[
        "encoder.layer.{}.attention.self.query",
        "encoder.layer.{}.attention.self.key",
        "encoder.layer.{}.attention.self.value",
    ]),
    attention_output: LinearTensors::Single("encoder.layer.{}.attention.output.dense"),
    attention_norm: "encoder.layer.{}.attention.output.LayerNorm",
    up: LinearTensors::Single("encoder.layer.{}.intermediate.dense"),
    down: LinearTensors::Single("encoder.layer.{}.output.dense"),
    output_norm: "encoder.layer.{}.output.LayerNorm",
    ..Names::EMPTY
};

/// An encoder with BERT's fields; `default` is the activation of a file that names none.
pub(super) fn encoder(config: &Config, names: Names, default: &str) -> Result<Stack> {
    let rows = super::positions(config)?;
    let heads = equal_heads(config, "hidden_size", "num_attention_heads")?;
    let (hidden, layers) = (config.usize("hidden_size")?, config.usize("num_hidden_layers")?);
    Ok(Stack {
        activation: activation(config, "hidden_act", default)?,
        norm: Norm::layer(NormPlace::Post, config.f32_or("layer_norm_eps", 1e-12)?),
        position: Position::Learned { rows, first: 0 },
        token_types: config.usize_or("type_vocab_size", 2)?,
        max_tokens: rows,
        ..Stack::new(hidden, layers, heads, config.usize("intermediate_size")?, names)
    })
}

/// The head of a masked language model whose activation is the encoder's.
pub(super) fn masked_head(config: &Config, activation: Activation) -> Result<Option<MaskedHead>> {
    masked(
        config,
        ("cls.predictions.transform.dense", activation),
        "cls.predictions.transform.LayerNorm",
        &["cls.predictions.decoder"],
        &["cls.predictions.decoder.bias", "cls.predictions.bias"],
    )
}

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let dense = Dense { name: "pooler.dense", bias: true, activation: Activation::Tanh, prefixed: true };
    let encoder = encoder(config, NAMES, "gelu")?;
    Ok(Spec {
        family: "bert",
        vocabulary: config.usize("vocab_size")?,
        masked: masked_head(config, encoder.activation)?,
        encoder: Some(encoder),
        decoder: None,
        head: head(config, dense, "classifier")?,
        language: None,
    })
}
