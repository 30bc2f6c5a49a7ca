//! Rotary positions in `config.json`: the fields of each family, and `rope_parameters`, which transformers 5 writes.

use crate::base::error::{Error, Result};
use crate::formats::json::Config;
use crate::spec::{Rotary, RotaryScaling};

/// The defaults of a family's configuration class in transformers, for fields that config.json leaves out.
pub(super) struct Defaults {
    pub theta: f32,
    pub fraction: f32,
    /// The base of layers with a sliding window; None for families in which all layers have the same.
    pub local_theta: Option<f32>,
    /// Whether the type "yarn" is LongRoPE, as in Phi-3's first files.
    pub yarn_is_long: bool,
}

impl Defaults {
    pub const PLAIN: Self = Self { theta: 10_000.0, fraction: 1.0, local_theta: None, yarn_is_long: false };
}

/// Reads the rotary positions of heads of `head_dim` components, in a model of `max_tokens` positions.
pub(super) fn read(config: &Config, head_dim: usize, max_tokens: usize, defaults: &Defaults) -> Result<Rotary> {
    let parameters = config.section("rope_parameters")?;
    // Gemma 3 has parameters per kind of layer.
    let (full, sliding) = match &parameters {
        Some(p) => (p.section("full_attention")?, p.section("sliding_attention")?),
        None => (None, None),
    };
    // Files of transformers 4 have `rope_scaling`, which wins.
    let old = config.section("rope_scaling")?.filter(|section| section.keys().next().is_some());
    let section = old.or(full).or(parameters);
    // Newer configurations have a field in this section, older ones at the top level.
    let inside = |names: &[&str]| -> Result<Option<f32>> {
        for name in names {
            let inner = match &section {
                Some(section) => section.f32_opt(name)?,
                None => None,
            };
            if let Some(value) = inner.map_or_else(|| config.f32_opt(name), |value| Ok(Some(value)))? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    };
    let theta = inside(&["rope_theta", "rotary_emb_base"])?.unwrap_or(defaults.theta);
    let fraction = inside(&["partial_rotary_factor", "rotary_pct"])?.unwrap_or(defaults.fraction);
    if !(fraction > 0.0 && fraction <= 1.0) || theta <= 0.0 {
        let what = format!("rotates a fraction of {fraction} per head with base {theta}, which is out of range");
        return Err(config.invalid("rope_parameters", what));
    }
    let dim = (head_dim as f32 * fraction) as usize;
    let local_theta = match (&sliding, defaults.local_theta) {
        (Some(section), default) => {
            if let kind @ Some(_) = kind(section)?.filter(|kind| *kind != "default") {
                return Err(section.invalid("rope_type", format!("is {kind:?}; layers with a window are not scaled")));
            }
            section.f32_opt("rope_theta")?.or(default)
        }
        (None, Some(default)) => Some(config.f32_or("rope_local_base_freq", default)?),
        (None, None) => None,
    };
    let scaling = match &section {
        Some(section) => scaling(config, section, dim, max_tokens, defaults)?,
        None => RotaryScaling::None,
    };
    Ok(Rotary { dim, theta, scaling, local_theta, without: Vec::new() })
}

/// The type that a section names.
fn kind(section: &Config) -> Result<Option<&str>> {
    Ok(match section.str_opt("rope_type")? {
        Some(kind) => Some(kind),
        None => section.str_opt("type")?,
    })
}

fn scaling(
    config: &Config,
    section: &Config,
    dim: usize,
    max_tokens: usize,
    defaults: &Defaults,
) -> Result<RotaryScaling> {
    let kind = kind(section)?.unwrap_or("default");
    if section.has("mrope_section") {
        return Err(section.invalid("mrope_section", "is set; positions of several dimensions are not supported"));
    }
    let factor = || match section.f32("factor")? {
        factor if factor >= 1.0 => Ok(factor),
        factor => Err(section.invalid("factor", format!("is {factor}, but must be at least 1"))),
    };
    // Phi-3's files have it at the top level, where it wins.
    let original = || match config.usize_opt("original_max_position_embeddings")? {
        Some(original) => Ok(original),
        None => section.usize_or("original_max_position_embeddings", max_tokens),
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
        "longrope" | "su" => long(section, dim, max_tokens, original()?),
        "yarn" if defaults.yarn_is_long => long(section, dim, max_tokens, original()?),
        other => {
            let path = config.path().display();
            Err(Error::unsupported(format!(
                "{path}: rope type {other:?} is not supported; supported are default, linear, llama3, longrope"
            )))
        }
    }
}

/// LongRoPE.
fn long(section: &Config, dim: usize, max_tokens: usize, original: usize) -> Result<RotaryScaling> {
    let divisors = |key: &str| -> Result<Vec<f32>> {
        let list = section.get(key).and_then(|v| v.as_array()).map(Vec::as_slice).unwrap_or_default();
        let values: Vec<f32> = list.iter().filter_map(|v| v.as_f64()).map(|v| v as f32).collect();
        if values.len() != dim / 2 || values.iter().any(|v| !(v.is_finite() && *v > 0.0)) {
            return Err(section.invalid(key, format!("must be {} positive numbers", dim / 2)));
        }
        Ok(values)
    };
    let original = original.max(2);
    let factor = section.f32_opt("factor")?.unwrap_or(max_tokens as f32 / original as f32);
    let attention = match section.f32_opt("attention_factor")? {
        Some(given) => given,
        None if factor <= 1.0 => 1.0,
        None => (1.0 + factor.ln() / (original as f32).ln()).sqrt(),
    };
    Ok(RotaryScaling::Long { short: divisors("short_factor")?, long: divisors("long_factor")?, original, attention })
}
