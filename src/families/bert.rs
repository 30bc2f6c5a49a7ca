//! BERT (Devlin et al. 2018), and the many encoders that keep its shape and names.

use super::{activation, head};
use crate::error::{Error, Result};
use crate::formats::json::Config;
use crate::transformer::spec::{Activation, Dense, Names, Norm, NormKind, NormPlace, Position, Spec};

/// The names that BERT shares with RoBERTa.
pub(super) const NAMES: Names = Names {
    prefix: "bert.",
    word: "embeddings.word_embeddings",
    position: "embeddings.position_embeddings",
    token_type: Some("embeddings.token_type_embeddings"),
    embedding_norm: "embeddings.LayerNorm",
    relative_bias: None,
    query: "encoder.layer.{}.attention.self.query",
    key: "encoder.layer.{}.attention.self.key",
    value: "encoder.layer.{}.attention.self.value",
    attention_output: "encoder.layer.{}.attention.output.dense",
    attention_norm: "encoder.layer.{}.attention.output.LayerNorm",
    up: "encoder.layer.{}.intermediate.dense",
    down: "encoder.layer.{}.output.dense",
    output_norm: "encoder.layer.{}.output.LayerNorm",
};

pub(super) fn spec(config: &Config) -> Result<Spec> {
    absolute_positions(config)?;
    let rows = config.usize("max_position_embeddings")?;
    let dense = Dense { name: "pooler.dense", activation: Activation::Tanh, prefixed: true };
    Ok(Spec {
        family: "bert",
        vocabulary: config.usize("vocab_size")?,
        hidden: config.usize("hidden_size")?,
        layers: config.usize("num_hidden_layers")?,
        heads: config.usize("num_attention_heads")?,
        intermediate: config.usize("intermediate_size")?,
        activation: activation(config, "hidden_act", "gelu")?,
        norm: Norm { kind: NormKind::LayerNorm, place: NormPlace::Post, eps: config.f32_or("layer_norm_eps", 1e-12)? },
        position: Position::Learned { rows },
        token_types: config.usize_or("type_vocab_size", 2)?,
        names: NAMES,
        head: head(config, dense, "classifier")?,
    })
}

/// Old checkpoints may ask for relative key positions, which no current model uses.
pub(super) fn absolute_positions(config: &Config) -> Result<()> {
    match config.str_or("position_embedding_type", "absolute")? {
        "absolute" => Ok(()),
        other => {
            let path = config.path().display();
            Err(Error::unsupported(format!(
                "{path}: position_embedding_type {other:?} is not supported, only \"absolute\""
            )))
        }
    }
}
