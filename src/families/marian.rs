//! Marian translation models (Junczys-Dowmunt et al. 2018): BART with sinusoidal positions and without an embedding norm.

use super::bart::{self, Side};
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{Names, NormPlace, Position, Spec, Stack};

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let max_tokens = super::positions(config)?;
    let position = Position::Sinusoidal { rows: max_tokens, first: 0, inclusive: false };
    let side = |prefix, cross, names| Side { prefix, cross, names: Names { embedding_norm: None, ..names } };
    let stack = |side| Ok(Stack { position, max_tokens, ..bart::stack(config, side, NormPlace::Post)? });
    Ok(Spec {
        family: "marian",
        vocabulary: config.usize("vocab_size")?,
        encoder: Some(stack(side("encoder", false, bart::ENCODER))?),
        decoder: Some(stack(side("decoder", true, bart::DECODER))?),
        head: None,
        language: Some(bart::language(config)?),
        masked: None,
    })
}
