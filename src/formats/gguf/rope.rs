//! Scaling of rotary frequencies for longer contexts, in the form of `rope_scaling` in `config.json`.

use std::f32::consts::TAU;

use serde_json::{Value, json};

use super::config::{Fields, number};
use crate::base::error::Result;
use crate::formats::quoted;
use crate::formats::weights::Weights;

/// Divisors of the frequencies: Llama 3's, and Phi-3's for texts beyond and up to its original context length.
pub(super) const FACTORS: &str = "rope_freqs.weight";
pub(super) const LONG: &str = "rope_factors_long.weight";
pub(super) const SHORT: &str = "rope_factors_short.weight";

/// Llama 3's original context length, and the bounds of its interpolation: the same in all models of the family.
const LLAMA3_ORIGINAL: usize = 8192;
const LLAMA3_LOW: f32 = 1.0;
const LLAMA3_HIGH: f32 = 4.0;

/// None if the frequencies follow from `theta` without scaling. `rotated` is the number of rotated components per head.
pub(super) fn scaling(
    fields: &Fields,
    weights: &Weights,
    rotated: usize,
    theta: f32,
    context: usize,
) -> Result<Option<Value>> {
    let original = fields.size_opt("rope.scaling.original_context_length")?;
    let factors = |name: &str| factors(fields, weights, name, rotated);
    if let (Some(long), Some(short)) = (factors(LONG)?, factors(SHORT)?) {
        let mut scaling = json!({
            "rope_type": "longrope",
            "long_factor": numbers(&long),
            "short_factor": numbers(&short),
            "original_max_position_embeddings": original.unwrap_or(context),
        });
        if let Some(attention) = fields.number_opt("rope.scaling.attn_factor")? {
            scaling["attention_factor"] = number(attention);
        }
        return Ok(Some(scaling));
    }
    if let Some(factors) = factors(FACTORS)? {
        return Ok(divided(&factors, rotated, theta, original, context));
    }
    let kind = fields.text_opt("rope.scaling.type")?.unwrap_or("none");
    let legacy = fields.number_opt("rope.scale_linear")?;
    let factor = fields.number_opt("rope.scaling.factor")?.or(legacy).unwrap_or(1.0);
    match kind {
        "none" if legacy.is_none() => Ok(None),
        // Old files have a factor and no type. A factor of 0 means no scaling.
        "none" | "linear" if factor == 0.0 || factor == 1.0 => Ok(None),
        "none" | "linear" => Ok(Some(json!({ "rope_type": "linear", "factor": number(factor) }))),
        "yarn" => Ok(Some(yarn(fields, factor, original.unwrap_or(context))?)),
        // Phi-3 models with a short context name this type too, but have no factors.
        "longrope" => Ok(None),
        other => Err(fields.unsupported(format!("the rotary scaling {} is not supported", quoted(other)))),
    }
}

/// YaRN (Peng et al. 2023). The attention factor follows from `factor`; the file may have a further factor on it.
fn yarn(fields: &Fields, factor: f32, original: usize) -> Result<Value> {
    let mut scaling = json!({
        "rope_type": "yarn",
        "factor": number(factor),
        "original_max_position_embeddings": original,
    });
    for (leaf, name) in [("yarn_beta_fast", "beta_fast"), ("yarn_beta_slow", "beta_slow")] {
        if let Some(beta) = fields.number_opt(&format!("rope.scaling.{leaf}"))? {
            scaling[name] = number(beta);
        }
    }
    // Both count.
    let upon = |leaf: &str| Ok(fields.number_opt(leaf)?.unwrap_or(1.0));
    let upon: f32 = upon("rope.scaling.attn_factor")? * upon("rope.scaling.yarn_attn_factor")?;
    // The share of frequencies that are not divided; below 0 it is unset.
    match fields.number_opt("rope.scaling.yarn_ext_factor")?.filter(|&share| share >= 0.0) {
        None | Some(1.0) => {}
        Some(0.0) if upon == 1.0 => return Ok(json!({ "rope_type": "linear", "factor": number(factor) })),
        Some(other) => {
            let what = format!("is {other} (attention factor {upon}); supported are 1, and 0 with a factor of 1");
            return Err(fields.metadata.invalid(&fields.key("rope.scaling.yarn_ext_factor"), what));
        }
    }
    if upon != 1.0 {
        scaling["attention_factor"] = number(upon * (0.1 * factor.ln() + 1.0));
    }
    Ok(scaling)
}

/// The scaling that has these divisors. Llama 3's is recognised by its values; any other is written as LongRoPE with the same
/// divisors for short and long texts.
fn divided(factors: &[f32], rotated: usize, theta: f32, original: Option<usize>, context: usize) -> Option<Value> {
    if factors.iter().all(|&factor| factor == 1.0) {
        return None;
    }
    let factor = factors.iter().copied().fold(1.0, f32::max);
    let trained = original.unwrap_or(LLAMA3_ORIGINAL);
    let is_llama3 = factors.iter().enumerate().all(|(i, found)| {
        let expected = llama3(i, rotated, theta, factor, trained);
        (found - expected).abs() <= 1e-3 * expected
    });
    Some(if is_llama3 {
        json!({
            "rope_type": "llama3",
            "factor": number(factor),
            "low_freq_factor": number(LLAMA3_LOW),
            "high_freq_factor": number(LLAMA3_HIGH),
            "original_max_position_embeddings": trained,
        })
    } else {
        let list = numbers(factors);
        json!({
            "rope_type": "longrope",
            "long_factor": list,
            "short_factor": list,
            "original_max_position_embeddings": context,
            "attention_factor": 1.0,
        })
    })
}

/// Llama 3's divisor of the `i`th frequency: 1 for frequencies with many rotations within the original context length, `factor`
/// for less than one rotation, interpolated between.
fn llama3(i: usize, rotated: usize, theta: f32, factor: f32, trained: usize) -> f32 {
    let wavelength = TAU * theta.powf(2.0 * i as f32 / rotated as f32);
    let turns = trained as f32 / wavelength;
    let smooth = ((turns - LLAMA3_LOW) / (LLAMA3_HIGH - LLAMA3_LOW)).clamp(0.0, 1.0);
    1.0 / ((1.0 - smooth) / factor + smooth)
}

fn numbers(list: &[f32]) -> Vec<Value> {
    list.iter().copied().map(number).collect()
}

/// A tensor with one divisor per frequency, all above 0.
fn factors(fields: &Fields, weights: &Weights, name: &str, rotated: usize) -> Result<Option<Vec<f32>>> {
    if weights.get(name).is_none() {
        return Ok(None);
    }
    let view = weights.require(name, &[rotated / 2])?;
    let list = view.to_vec_f32()?;
    if list.iter().any(|x| *x <= 0.0) {
        let what = format!("tensor {} has values that are not above 0", quoted(name));
        return Err(crate::base::error::Error::invalid_file(fields.metadata.path(), what));
    }
    Ok(Some(list))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Llama 3.2's divisors as `transformers` computes them, at some indices: factor 32 over 8192 tokens, 64 components, base
    /// 500,000.
    #[test]
    fn llama_3_is_told_by_its_divisors() {
        let divisors: Vec<f32> = (0..32).map(|i| llama3(i, 64, 500_000.0, 32.0, 8192)).collect();
        assert_eq!(divisors[..15], [1.0; 15]);
        for (found, expected) in divisors[15..18].iter().zip([1.651_329, 3.292_263, 9.666_73]) {
            assert!((found - expected).abs() < 1e-4 * expected, "{found} {expected}");
        }
        assert_eq!(divisors[18..], [32.0; 14]);
        let scaling = divided(&divisors, 64, 500_000.0, None, 131_072).unwrap();
        let expected = json!({"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192});
        assert_eq!(scaling, expected);
    }

    #[test]
    fn other_divisors_are_kept_as_they_are() {
        let scaling = divided(&[1.0, 2.5], 4, 10_000.0, None, 4096).unwrap();
        assert_eq!(scaling["rope_type"], "longrope");
        assert_eq!(scaling["long_factor"], json!([1.0, 2.5]));
        assert_eq!(scaling["short_factor"], scaling["long_factor"]);
        assert_eq!(divided(&[1.0, 1.0], 4, 10_000.0, None, 4096), None);
    }
}
