//! Calibration for `kinglet quantize`: from the inputs that real texts give each linear layer, factors of these inputs with which
//! activations and weights lose less when they are rounded.
//!
//! A few inputs of a layer are often far larger than the others, and one scale per token then leaves few steps for those. Multiplying
//! each input by a factor, and dividing its weights by it, moves the range into the weights, which have a scale per output: SmoothQuant
//! (Xiao et al. 2023). For weights of 4 bits the same factors protect the weights of large inputs: AWQ (Lin et al. 2024). The factors
//! are `weight^(1 - a) / input^a`, of the magnitudes of an input and of its weights, and the exponent `a` is that with the smallest
//! error of the layer's own product, or none.
//!
//! Where the large inputs are others for each token, as in the inner layer of a gated feed-forward, factors do not help; a Hadamard
//! transform spreads each of them over its block (QuaRot, Ashkboos et al. 2024).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::backend::cpu::Cpu;
use crate::backend::cpu::observe::{Observed, Observer, SAMPLE_ROWS};
use crate::backend::cpu::weights::{Linear, linear_load, linear_transformed};
use crate::backend::{Backend, InputTransform, LinearView, Role};
use crate::base::call::{Call, CallLimits};
use crate::base::error::{Error, Result};
use crate::base::memory::ensure;
use crate::base::threads::{Pool, available};
use crate::generate::options::GenerateOptions;
use crate::kernels::{self, block_of};
use crate::spec::{Activation, EncodeOutput, Pooling, Precision};
use crate::text::encoding::Encoding;
use crate::text::tokenizer::EncodeOptions;

use super::{LoadOptions, load_observed};

/// Texts that are run: evenly spaced ones, if there are more.
const TEXTS: usize = 128;

/// The first tokens of a text that are run.
const TOKENS: usize = 128;

/// Tokens that a language model adds to each text: the layers see its own answers too.
const NEW_TOKENS: usize = 8;

/// Texts per call, between which a cancellation is noticed.
const BATCH: usize = 8;

/// The exponents that are tried.
const EXPONENTS: [f32; 6] = [0.3, 0.4, 0.5, 0.6, 0.7, 0.8];

/// Those that are tried together with a rotation; None is the rotation alone.
const ROTATED_EXPONENTS: &[Option<f32>] = &[None, Some(0.5), Some(0.6), Some(0.7)];

/// A rotation costs a few hundredths of the time: it is for layers whose error becomes smaller by this factor.
const ROTATION_GAIN: f64 = 0.8;

/// Factors are within this range and its inverse.
const LARGEST_FACTOR: f32 = 1e4;

/// A layer's factors and what they gain.
#[derive(Clone, Debug)]
pub struct CalibratedLayer {
    /// The name of its first tensor, without `.weight`.
    pub name: String,
    /// The exponent; None if no factors are better than none.
    pub exponent: Option<f32>,
    /// The rows of the Hadamard matrix that rotates the inputs; 0 for no rotation.
    pub rotation: usize,
    /// The mean relative squared error of the layer's output, per token, with what was chosen and without.
    pub error: f64,
    pub error_before: f64,
}

impl CalibratedLayer {
    /// What was chosen, and the errors.
    pub fn to_json(&self) -> Value {
        json!({ "exponent": self.exponent.map(|a| (f64::from(a) * 10.0).round() / 10.0), "rotation": self.rotation, "error": self.error, "error_before": self.error_before })
    }
}

/// Runs texts in f32 and returns what went into each layer, by name.
pub(super) fn observe(
    source: &Path,
    texts: &[&str],
    progress: &mut dyn FnMut(f32) -> Result<()>,
) -> Result<BTreeMap<String, Observed>> {
    let observer = Arc::new(Observer::default());
    let options = LoadOptions { precision: Some(Precision::F32), ..LoadOptions::default() };
    let loaded = load_observed(source, options, Some(observer.clone()))?;
    let (engine, generator) = (&loaded.engine, &loaded.generator);
    if !engine.tokenizer.is_present() {
        let path = source.display();
        return Err(Error::unsupported(format!("{path}: {}; calibration needs it", engine.tokenizer.absent())));
    }
    let texts: Vec<&str> = texts.iter().step_by(texts.len().div_ceil(TEXTS).max(1)).copied().collect();
    let width =
        engine.spec.encoder.iter().chain(&engine.spec.decoder).map(|stack| stack.intermediate.max(stack.hidden));
    let layers = engine.spec.encoder.iter().chain(&engine.spec.decoder).map(|stack| 7 * stack.layers);
    let sample = SAMPLE_ROWS.saturating_mul(layers.sum()).saturating_mul(width.max().unwrap_or(0));
    ensure(sample.saturating_mul(size_of::<f32>()) as u64, "the samples of calibration")?;
    for (i, batch) in texts.chunks(BATCH).enumerate() {
        progress((i * BATCH) as f32 / texts.len() as f32)?;
        if engine.spec.language.is_some() {
            let options = GenerateOptions {
                max_input_length: Some(TOKENS.min(engine.max_length)),
                max_new_tokens: Some(NEW_TOKENS),
                do_sample: Some(false),
                num_beams: Some(1),
                ..GenerateOptions::default()
            };
            generator.generate(batch, &options, None)?;
        } else {
            let options = EncodeOptions { max_length: Some(TOKENS.min(engine.max_length)), ..EncodeOptions::default() };
            let run = |call: Call<'_>| {
                let encoding = engine.encode(batch, None, &options, call)?;
                engine.read(&encoding, &EncodeOutput::states(Pooling::None), call)?;
                Ok(encoding)
            };
            engine.call(CallLimits::cancelled_by(None), run, Encoding::shape)?;
        }
    }
    Ok(observer.take())
}

/// Chooses transforms for layers.
pub(super) struct Calibrator {
    exact: Cpu,
    rounded: Cpu,
    precision: Precision,
    observed: BTreeMap<String, Observed>,
    pub layers: Vec<CalibratedLayer>,
}

impl Calibrator {
    pub fn new(precision: Precision, observed: BTreeMap<String, Observed>) -> Result<Self> {
        let kernel = kernels::select().map_err(Error::invalid_argument)?;
        let pool = Arc::new(Pool::new(available()));
        let backend = |precision| Cpu::new(kernel, precision, pool.clone());
        Ok(Self {
            exact: backend(Precision::F32),
            rounded: backend(precision),
            precision,
            observed,
            layers: Vec::new(),
        })
    }

    /// The transform of a layer's inputs; none if it would gain nothing, or if no text reached the layer.
    pub fn transform(&mut self, role: Role, view: &LinearView) -> Result<InputTransform> {
        // Those over one vector per text and routers are not rounded to few bits.
        let rounded = !matches!(role, Role::Vector | Role::Router);
        let observed = if rounded { self.observed.remove(&view.key) } else { None };
        let Some(observed) = observed else { return Ok(InputTransform::default()) };
        let x = self.exact.tensor_from(observed.rows(), view.inputs)?;
        let wanted = output(&self.exact, &x, &linear_load(Precision::F32, view, available())?)?;
        let weights = largest_weights(view)?;
        let error = |transform: &InputTransform| {
            let linear = linear_transformed(role.precision(self.precision), view, transform, available())?;
            Ok::<_, Error>(relative_error(&wanted, &output(&self.rounded, &x, &linear)?, view.outputs))
        };
        let error_before = error(&InputTransform::default())?;
        let mut best = (error_before, InputTransform::default(), None);
        for exponent in EXPONENTS {
            let factors = factors(&observed.largest, &weights, exponent);
            let transform = InputTransform { factors, block: 0 };
            let error = error(&transform)?;
            if error < best.0 {
                best = (error, transform, Some(exponent));
            }
        }
        let block = block_of(view.inputs);
        let mut limit = ROTATION_GAIN * best.0;
        for exponent in if block > 1 { ROTATED_EXPONENTS } else { &[] } {
            let factors = exponent.map_or_else(Vec::new, |exponent| factors(&observed.largest, &weights, exponent));
            let transform = InputTransform { factors, block };
            let error = error(&transform)?;
            if error < limit {
                (limit, best) = (error, (error, transform, *exponent));
            }
        }
        let (error, chosen, exponent) = best;
        let name = view.key.clone();
        self.layers.push(CalibratedLayer { name, exponent, rotation: chosen.block, error, error_before });
        Ok(chosen)
    }
}

fn output(backend: &Cpu, x: &<Cpu as Backend>::Tensor, linear: &Linear) -> Result<Vec<f32>> {
    let mut values = Vec::new();
    backend.read(&backend.project(x, None, linear, Activation::None)?, &mut values)?;
    Ok(values)
}

/// The largest magnitude of each input's weights.
fn largest_weights(view: &LinearView) -> Result<Vec<f32>> {
    let (mut largest, mut row, mut rows) = (vec![0.0f32; view.inputs], vec![0.0; view.inputs], view.rows());
    for output in 0..view.outputs {
        rows.f32(output, &mut row)?;
        largest.iter_mut().zip(&row).for_each(|(most, weight)| *most = most.max(weight.abs()));
    }
    rows.release();
    Ok(largest)
}

/// `weight^(1 - exponent) / input^exponent`, divided by its geometric mean; 1 for inputs that are always 0 or have no weights.
fn factors(inputs: &[f32], weights: &[f32], exponent: f32) -> Vec<f32> {
    let raw = |x: f32, w: f32| (x > 0.0 && w > 0.0).then(|| (1.0 - exponent) * w.ln() - exponent * x.ln());
    let logarithms: Vec<Option<f32>> = inputs.iter().zip(weights).map(|(&x, &w)| raw(x, w)).collect();
    let known = logarithms.iter().flatten().count().max(1) as f32;
    let mean = logarithms.iter().flatten().sum::<f32>() / known;
    let factor = |logarithm: f32| (logarithm - mean).exp().clamp(1.0 / LARGEST_FACTOR, LARGEST_FACTOR);
    logarithms.into_iter().map(|logarithm| logarithm.map_or(1.0, factor)).collect()
}

/// The mean over rows of the squared error divided by the squared length.
fn relative_error(wanted: &[f32], got: &[f32], width: usize) -> f64 {
    let rows = wanted.chunks_exact(width).zip(got.chunks_exact(width));
    let of_row = |(wanted, got): (&[f32], &[f32])| {
        let squares = |values: &mut dyn Iterator<Item = f32>| values.map(|x| f64::from(x).powi(2)).sum::<f64>();
        let error = squares(&mut wanted.iter().zip(got).map(|(a, b)| a - b));
        error / squares(&mut wanted.iter().copied()).max(f64::from(f32::MIN_POSITIVE))
    };
    let count = (wanted.len() / width.max(1)).max(1);
    rows.map(of_row).sum::<f64>() / count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_even_out_inputs_and_have_the_geometric_mean_of_one() {
        let factors = factors(&[100.0, 1.0, 0.0, 1.0], &[1.0, 1.0, 1.0, 0.0], 0.5);
        assert_eq!(factors[2..], [1.0, 1.0]);
        assert!(
            (factors[0] * factors[1] - 1.0).abs() < 1e-5 && (factors[1] / factors[0] - 10.0).abs() < 1e-3,
            "{factors:?}"
        );
    }

    #[test]
    fn an_error_is_relative_to_each_row() {
        let error = relative_error(&[1.0, 0.0, 1000.0, 0.0], &[1.1, 0.0, 1100.0, 0.0], 2);
        assert!((error - 0.01).abs() < 1e-4, "{error}");
    }
}
