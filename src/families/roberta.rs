//! RoBERTa (Liu et al. 2019), CamemBERT (Martin et al. 2020) and XLM-RoBERTa (Conneau et al. 2020): BERT with positions that start at the padding id plus 1.

use super::{activation, bert, equal_heads, head, masked};
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{Activation, Dense, MaskedHead, Names, Norm, NormPlace, Position, Spec, Stack};

/// The head of a masked language model, whose activation is no setting.
pub(super) fn masked_head(config: &Config) -> Result<Option<MaskedHead>> {
    masked(
        config,
        ("lm_head.dense", Activation::Gelu),
        "lm_head.layer_norm",
        &["lm_head.decoder"],
        &["lm_head.decoder.bias", "lm_head.bias"],
    )
}

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let rows = super::positions(config)?;
    let padding = config.usize_or("pad_token_id", 1)?;
    let dense = Dense { name: "classifier.dense", bias: true, activation: Activation::Tanh, prefixed: false };
    let heads = equal_heads(config, "hidden_size", "num_attention_heads")?;
    let (hidden, layers) = (config.usize("hidden_size")?, config.usize("num_hidden_layers")?);
    let position = Position::LearnedAfterPadding { rows, padding };
    let names = Names { prefix: "roberta.", ..bert::NAMES };
    Ok(Spec {
        family: match config.str("model_type")? {
            "roberta" => "roberta",
            "camembert" => "camembert",
            _ => "xlm-roberta",
        },
        vocabulary: config.usize("vocab_size")?,
        encoder: Some(Stack {
            activation: activation(config, "hidden_act", "gelu")?,
            norm: Norm::layer(NormPlace::Post, config.f32_or("layer_norm_eps", 1e-12)?),
            position,
            token_types: config.usize_or("type_vocab_size", 2)?,
            max_tokens: position.max_tokens().unwrap_or(0),
            ..Stack::new(hidden, layers, heads, config.usize("intermediate_size")?, names)
        }),
        decoder: None,
        head: head(config, dense, "classifier.out_proj")?,
        language: None,
        masked: masked_head(config)?,
    })
}
