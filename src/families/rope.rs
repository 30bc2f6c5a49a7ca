//! Rotary positions in `config.json`: the fields of each family, and `rope_parameters`, which transformers 5 writes.

use crate::base::error::{Error, Result};
use crate::formats::json::Config;
use crate::spec::{Rotary, RotaryScaling};

/// Reads the rotary positions of heads of `head_dim` components, in a model of `max_tokens` positions.
pub(super) fn read(config: &Config, head_dim: usize, max_tokens: usize) -> Result<Rotary> {
    let parameters = config.section("rope_parameters")?;
    // Gemma 3 has parameters per kind of layer.
    let (full, sliding) = match &parameters {
        Some(p) => (p.section("full_attention")?, p.section("sliding_attention")?),
        None => (None, None),
    };
    let scaling_section = match full.or(parameters) {
        Some(section) => Some(section),
        None => config.section("rope_scaling")?,
    };
    // Newer configurations have a field in this section, older ones at the top level.
    let inside = |names: &[&str]| -> Result<Option<f32>> {
        for name in names {
            let inner = match &scaling_section {
                Some(section) => section.f32_opt(name)?,
                None => None,
            };
            if let Some(value) = inner.map_or_else(|| config.f32_opt(name), |value| Ok(Some(value)))? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    };
    let theta = inside(&["rope_theta", "rotary_emb_base"])?.unwrap_or(10_000.0);
    let fraction = inside(&["partial_rotary_factor", "rotary_pct"])?.unwrap_or(1.0);
    if !(fraction > 0.0 && fraction <= 1.0) || theta <= 0.0 {
        let what = format!("rotates a fraction of {fraction} per head with base {theta}, which is out of range");
        return Err(config.invalid("rope_parameters", what));
    }
    let dim = (head_dim as f32 * fraction) as usize;
    let local_theta = match sliding {
        Some(section) => section.f32_opt("rope_theta")?,
        None => config.f32_opt("rope_local_base_freq")?,
    };
    let scaling = match &scaling_section {
        Some(section) => scaling(config, section, dim, max_tokens)?,
        None => RotaryScaling::None,
    };
    Ok(Rotary { dim, theta, scaling, local_theta })
}

fn scaling(config: &Config, section: &Config, dim: usize, max_tokens: usize) -> Result<RotaryScaling> {
    let kind = match section.str_opt("rope_type")? {
        Some(kind) => kind,
        None => section.str_or("type", "default")?,
    };
    let factor = || match section.f32("factor")? {
        factor if factor >= 1.0 => Ok(factor),
        factor => Err(section.invalid("factor", format!("is {factor}, but must be at least 1"))),
    };
    let original = || match section.usize_opt("original_max_position_embeddings")? {
        Some(original) => Ok(original),
        None => config.usize_or("original_max_position_embeddings", max_tokens),
    };
    match kind {
        "default" => Ok(RotaryScaling::None),
        "linear" => Ok(RotaryScaling::Linear { factor: factor()? }),
        "llama3" => Ok(RotaryScaling::Llama3 {
            factor: factor()?,
            low: section.f32("low_freq_factor")?,
            high: section.f32("high_freq_factor")?,
            original: original()?.max(1),
        }),
        "longrope" | "su" => {
            let divisors = |key: &str| -> Result<Vec<f32>> {
                let list = section.get(key).and_then(|v| v.as_array()).map(Vec::as_slice).unwrap_or_default();
                let values: Vec<f32> = list.iter().filter_map(|v| v.as_f64()).map(|v| v as f32).collect();
                if values.len() != dim / 2 || values.iter().any(|v| !(v.is_finite() && *v > 0.0)) {
                    return Err(section.invalid(key, format!("must be {} positive numbers", dim / 2)));
                }
                Ok(values)
            };
            let original = original()?.max(2);
            let factor = section.f32_opt("factor")?.unwrap_or(max_tokens as f32 / original as f32);
            let attention = match section.f32_opt("attention_factor")? {
                Some(given) => given,
                None if factor <= 1.0 => 1.0,
                None => (1.0 + factor.ln() / (original as f32).ln()).sqrt(),
            };
            Ok(RotaryScaling::Long {
                short: divisors("short_factor")?,
                long: divisors("long_factor")?,
                original,
                attention,
            })
        }
        other => {
            let path = config.path().display();
            Err(Error::unsupported(format!(
                "{path}: rope type {other:?} is not supported; supported are default, linear, llama3, longrope"
            )))
        }
    }
}
