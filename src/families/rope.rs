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
    let nested = old.is_none() && full.is_some();
    let section = old.or(full).or_else(|| parameters.clone());
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
        Some(section) if kind(section)? == Some("ntk") => {
            let (theta, scaling) = ntk(section, theta, dim)?;
            return Ok(Rotary { dim, theta, scaling, local_theta, without: Vec::new(), interleaved: false });
        }
        // The class looks for `truncate` beside the kinds of layers, if there are kinds.
        Some(section) => {
            Reader { config, section, top: parameters.as_ref().filter(|_| nested), dim, theta, max_tokens }
                .scaling(defaults)?
        }
        None => RotaryScaling::None,
    };
    Ok(Rotary { dim, theta, scaling, local_theta, without: Vec::new(), interleaved: false })
}

/// GTE's fixed NTK scaling (`NTKScalingRotaryEmbedding` of its own code): the base is multiplied by the factor, and all frequencies are
/// divided by the root of the factor that makes the lowest one as with linear scaling.
fn ntk(section: &Config, theta: f32, dim: usize) -> Result<(f32, RotaryScaling)> {
    let factor = section.f32("factor")?;
    if factor < 1.0 {
        return Err(section.invalid("factor", format!("is {factor}, but must be at least 1")));
    }
    if section.has("mixed_b") {
        return Err(section.invalid("mixed_b", "is set; mixed NTK scaling is not supported"));
    }
    Ok((theta * factor, RotaryScaling::Linear { factor: factor.powf(2.0 / dim as f32) }))
}

/// The type that a section names.
fn kind(section: &Config) -> Result<Option<&str>> {
    Ok(match section.str_opt("rope_type")? {
        Some(kind) => Some(kind),
        None => section.str_opt("type")?,
    })
}

/// What the kinds of scaling are read from.
struct Reader<'a> {
    config: &'a Config,
    section: &'a Config,
    /// The section of YaRN's `truncate`, if it is another.
    top: Option<&'a Config>,
    dim: usize,
    theta: f32,
    max_tokens: usize,
}

impl Reader<'_> {
    fn scaling(&self, defaults: &Defaults) -> Result<RotaryScaling> {
        let &Self { config, section, max_tokens, .. } = self;
        let kind = kind(section)?.unwrap_or("default");
        if section.has("mrope_section") {
            return Err(section.invalid("mrope_section", "is set; positions of several dimensions are not supported"));
        }
        match kind {
            "default" => Ok(RotaryScaling::None),
            "linear" => Ok(RotaryScaling::Linear { factor: self.factor()? }),
            "llama3" => Ok(RotaryScaling::Llama3 {
                factor: self.factor()?,
                low: section.f32("low_freq_factor")?,
                high: section.f32("high_freq_factor")?,
                original: self.original()?.max(1),
            }),
            "longrope" | "su" => self.long(),
            "yarn" if defaults.yarn_is_long => self.long(),
            "yarn" => self.yarn(),
            "dynamic" if self.dim == 2 => {
                Err(section.invalid("rope_type", "is \"dynamic\" with 2 components per head"))
            }
            // `original_max_position_embeddings` does not count here.
            "dynamic" => Ok(RotaryScaling::Dynamic { factor: self.factor()?, original: max_tokens.max(1) }),
            other => {
                let path = config.path().display();
                Err(Error::unsupported(format!(
                    "{path}: rope type {other:?} is not supported; supported are default, linear, dynamic, ntk, yarn, llama3, longrope"
                )))
            }
        }
    }

    fn factor(&self) -> Result<f32> {
        self.at_least_1(self.section.f32("factor")?)
    }

    fn at_least_1(&self, factor: f32) -> Result<f32> {
        match factor >= 1.0 {
            true => Ok(factor),
            false => Err(self.section.invalid("factor", format!("is {factor}, but must be at least 1"))),
        }
    }

    /// Phi-3's files have it at the top level, where it wins.
    fn original(&self) -> Result<usize> {
        const KEY: &str = "original_max_position_embeddings";
        match self.config.usize_opt(KEY)? {
            Some(original) => Ok(original),
            None => self.section.usize_or(KEY, self.max_tokens),
        }
    }

    /// YaRN.
    fn yarn(&self) -> Result<RotaryScaling> {
        let (section, original) = (self.section, self.original()?.max(1));
        if self.theta == 1.0 {
            return Err(section.invalid("rope_theta", "is 1, with which YaRN has no frequencies"));
        }
        let ratio = || self.max_tokens as f32 / original as f32;
        let factor = self.at_least_1(section.f32_opt("factor")?.unwrap_or_else(ratio))?;
        // 0 is unset, as in the reference.
        let set = |name: &str| -> Result<Option<f32>> { Ok(section.f32_opt(name)?.filter(|value| *value != 0.0)) };
        let beta = |name: &str, default: f32| match set(name)?.unwrap_or(default) {
            beta if beta > 0.0 => Ok(beta),
            beta => Err(section.invalid(name, format!("is {beta}, but must be above 0"))),
        };
        let scale = |by: f32| if factor <= 1.0 { 1.0 } else { 0.1 * f64::from(by) * f64::from(factor).ln() + 1.0 };
        let attention = match (section.f32_opt("attention_factor")?, set("mscale")?, set("mscale_all_dim")?) {
            (Some(given), ..) => given,
            (None, Some(one), Some(all)) => (scale(one) / scale(all)) as f32,
            _ => scale(1.0) as f32,
        };
        Ok(RotaryScaling::Yarn {
            factor,
            fast: beta("beta_fast", 32.0)?,
            slow: beta("beta_slow", 1.0)?,
            original,
            truncate: self.top.unwrap_or(section).bool_or("truncate", true)?,
            attention,
        })
    }

    /// LongRoPE.
    fn long(&self) -> Result<RotaryScaling> {
        let &Self { section, dim, max_tokens, .. } = self;
        let divisors = |key: &str| -> Result<Vec<f32>> {
            let list = section.get(key).and_then(|v| v.as_array()).map(Vec::as_slice).unwrap_or_default();
            let values: Vec<f32> = list.iter().filter_map(|v| v.as_f64()).map(|v| v as f32).collect();
            if values.len() != dim / 2 || values.iter().any(|v| !(v.is_finite() && *v > 0.0)) {
                return Err(section.invalid(key, format!("must be {} positive numbers", dim / 2)));
            }
            Ok(values)
        };
        let original = self.original()?.max(2);
        let factor = section.f32_opt("factor")?.unwrap_or(max_tokens as f32 / original as f32);
        let attention = match section.f32_opt("attention_factor")? {
            Some(given) => given,
            None if factor <= 1.0 => 1.0,
            None => (1.0 + factor.ln() / (original as f32).ln()).sqrt(),
        };
        let (short, long) = (divisors("short_factor")?, divisors("long_factor")?);
        Ok(RotaryScaling::Long { short, long, original, attention })
    }
}
