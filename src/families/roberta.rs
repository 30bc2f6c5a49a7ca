//! RoBERTa (Liu et al. 2019) and XLM-RoBERTa (Conneau et al. 2020): BERT's shape; positions are counted from the padding id plus 1.

use super::{activation, bert, head};
use crate::error::Result;
use crate::formats::json::Config;
use crate::transformer::spec::{Activation, Dense, Names, Norm, NormKind, NormPlace, Position, Spec};

pub(super) fn spec(config: &Config) -> Result<Spec> {
    bert::absolute_positions(config)?;
    let rows = config.usize("max_position_embeddings")?;
    let padding = config.usize_or("pad_token_id", 1)?;
    let dense = Dense { name: "classifier.dense", activation: Activation::Tanh, prefixed: false };
    Ok(Spec {
        family: if config.str("model_type")? == "roberta" { "roberta" } else { "xlm-roberta" },
        vocabulary: config.usize("vocab_size")?,
        hidden: config.usize("hidden_size")?,
        layers: config.usize("num_hidden_layers")?,
        heads: config.usize("num_attention_heads")?,
        intermediate: config.usize("intermediate_size")?,
        activation: activation(config, "hidden_act", "gelu")?,
        norm: Norm { kind: NormKind::LayerNorm, place: NormPlace::Post, eps: config.f32_or("layer_norm_eps", 1e-12)? },
        position: Position::LearnedAfterPadding { rows, padding },
        token_types: config.usize_or("type_vocab_size", 2)?,
        names: Names { prefix: "roberta.", ..bert::NAMES },
        head: head(config, dense, "classifier.out_proj")?,
    })
}
