//! Pegasus (Zhang et al. 2020) and M2M100 (Fan et al. 2020), NLLB's class: mBART with sinusoidal positions and without an embedding norm.

use super::bart::{self, Side};
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{LanguageHead, Names, NormPlace, Position, Spec, Stack};

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let rows = super::positions(config)?;
    let position = Position::Sinusoidal { rows, first: 0, inclusive: false };
    build(config, "pegasus", [position; 2], bart::language(config)?)
}

pub(super) fn m2m100(config: &Config) -> Result<Spec> {
    let (rows, padding) = (super::positions(config)?, config.usize_or("pad_token_id", 1)?);
    let first = padding.saturating_add(1);
    let encoder = Position::SinusoidalAfterPadding { rows: rows.saturating_add(first), padding };
    let decoder = Position::Sinusoidal { rows, first, inclusive: true };
    let language = LanguageHead { bias: None, ..bart::language(config)? };
    build(config, "m2m_100", [encoder, decoder], language)
}

fn build(config: &Config, family: &'static str, positions: [Position; 2], language: LanguageHead) -> Result<Spec> {
    let max_tokens = super::positions(config)?;
    let side = |prefix, cross, names, final_norm| Side {
        prefix,
        cross,
        names: Names { embedding_norm: None, final_norm: Some(final_norm), ..names },
    };
    let stack = |side, position| Ok(Stack { position, max_tokens, ..bart::stack(config, side, NormPlace::Pre)? });
    Ok(Spec {
        family,
        vocabulary: config.usize("vocab_size")?,
        encoder: Some(stack(side("encoder", false, bart::ENCODER, "encoder.layer_norm"), positions[0])?),
        decoder: Some(stack(side("decoder", true, bart::DECODER, "decoder.layer_norm"), positions[1])?),
        head: None,
        language: Some(language),
        masked: None,
    })
}
