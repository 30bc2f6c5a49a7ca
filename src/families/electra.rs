//! ELECTRA (Clark et al. 2020): BERT whose embeddings may be narrower than the hidden size.

use super::{bert, head, masked};
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{Activation, Dense, Names, Spec, Stack};

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let dense = Dense { name: "classifier.dense", bias: true, activation: Activation::Gelu, prefixed: false };
    let embedding_size = config.usize_or("embedding_size", 128)?;
    let embedding_projection = (embedding_size != config.usize("hidden_size")?).then_some("embeddings_project");
    let names = Names { prefix: "electra.", embedding_projection, ..bert::NAMES };
    Ok(Spec {
        family: "electra",
        vocabulary: config.usize("vocab_size")?,
        encoder: Some(Stack { embedding_size, ..bert::encoder(config, names, "gelu")? }),
        decoder: None,
        head: head(config, dense, "classifier.out_proj")?,
        language: None,
        masked: masked(
            config,
            ("generator_predictions.dense", Activation::Gelu),
            "generator_predictions.LayerNorm",
            &["generator_lm_head"],
            &["generator_lm_head.bias"],
        )?,
    })
}
