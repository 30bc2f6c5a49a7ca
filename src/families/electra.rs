//! ELECTRA (Clark et al. 2020): BERT whose embeddings may be narrower than the hidden size.

use super::{activation, bert, equal_heads, head};
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{Activation, Dense, Names, Norm, NormPlace, Position, Spec, Stack};

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let rows = super::positions(config)?;
    let dense = Dense { name: "classifier.dense", bias: true, activation: Activation::Gelu, prefixed: false };
    let heads = equal_heads(config, "hidden_size", "num_attention_heads")?;
    let (hidden, layers) = (config.usize("hidden_size")?, config.usize("num_hidden_layers")?);
    let embedding_size = config.usize_or("embedding_size", 128)?;
    let embedding_projection = (embedding_size != hidden).then_some("embeddings_project");
    let names = Names { prefix: "electra.", embedding_projection, ..bert::NAMES };
    Ok(Spec {
        family: "electra",
        vocabulary: config.usize("vocab_size")?,
        encoder: Some(Stack {
            embedding_size,
            activation: activation(config, "hidden_act", "gelu")?,
            norm: Norm::layer(NormPlace::Post, config.f32_or("layer_norm_eps", 1e-12)?),
            position: Position::Learned { rows, first: 0 },
            token_types: config.usize_or("type_vocab_size", 2)?,
            max_tokens: rows,
            ..Stack::new(hidden, layers, heads, config.usize("intermediate_size")?, names)
        }),
        decoder: None,
        head: head(config, dense, "classifier.out_proj")?,
        language: None,
    })
}
