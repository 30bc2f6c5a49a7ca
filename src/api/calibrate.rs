//! Measures what a model's work costs on this machine, for `batch_size.rs`, and keeps it in a file.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::base::call::Cancellation;
use crate::base::error::{Error, Result};
use crate::generate::options::GenerateOptions;
use crate::network::activation_memory::pass_bytes;
use crate::spec::Precision;

use super::Model;
use super::batch_size::{BatchGoal, BatchSuggestion, CostTable, Curve, Workload};

/// How long a calibration may take, unless the caller says something else.
const TIME: Duration = Duration::from_secs(4);

/// The lengths of text that are measured, and the most texts and tokens of a run.
const LENGTHS: [usize; 3] = [16, 64, 256];
const MOST_TEXTS: usize = 64;
const MOST_TOKENS: usize = 8192;

/// The steps of which the time per step is taken.
const STEPS: usize = 4;

/// What a machine is taken to do without a calibration: bytes of weights that it reads, and weights that it multiplies, in a second.
const ASSUMED_READS: f64 = 1e10;
const ASSUMED_PRODUCTS: f64 = 5e10;

/// The form of the file.
const FORMAT: u64 = 1;

/// How costs are found.
#[derive(Clone, Copy, Debug, Default)]
pub struct CalibrationOptions<'a> {
    /// The most time that a calibration takes, apart from the run that is in progress then. Zero: four seconds.
    pub time: Duration,
    /// A file that keeps the costs. It is read if it is of the same model, device, precision, kernels and threads; else it is written.
    pub file: Option<&'a Path>,
    /// Measures nothing: costs are assumed from the size of the weights, or read from the file.
    pub skip: bool,
    pub cancellation: Option<&'a Cancellation>,
}

impl Model {
    /// The best batch size for a workload on this machine. On the first call a calibration runs the model, for some seconds at most; let
    /// nothing else run meanwhile.
    ///
    /// # Errors
    /// A workload that makes no sense; a file that cannot be written; cancellation; an error of the model.
    pub fn suggest_batch_size(
        &self,
        workload: &Workload,
        goal: BatchGoal,
        options: &CalibrationOptions,
    ) -> Result<BatchSuggestion> {
        // Before the model is run for seconds.
        workload.check()?;
        if options.cancellation.is_some_and(Cancellation::is_cancelled) {
            return Err(Error::cancelled());
        }
        self.cost_table(workload.output_tokens > 0, options)?.suggest(workload, goal)
    }

    /// The costs of embedding and classification or, with `generates`, of generation.
    ///
    /// # Errors
    /// As [`Self::suggest_batch_size`].
    pub fn cost_table(&self, generates: bool, options: &CalibrationOptions) -> Result<CostTable> {
        let kind = if generates { "generate" } else { "encode" };
        let mut kept = options.file.map_or(Ok(None), |file| self.kept(file))?;
        if let Some(table) = kept.as_ref().and_then(|kept| curves_of(&kept[kind])) {
            let (read, step) = table;
            return Ok(CostTable { read, step, measured: true, ..self.sizes() });
        }
        if generates {
            self.0.generator.require_language()?;
        }
        if options.skip {
            return Ok(self.assumed(generates));
        }
        let (read, step) = self.calibrate(generates, options)?;
        if let Some(file) = options.file {
            let kept = kept.get_or_insert_with(|| json!({ "format": FORMAT, "of": self.identity() }));
            kept[kind] = json!({ "read": json_of(&read), "step": json_of(&step) });
            std::fs::write(file, format!("{kept}\n")).map_err(|error| Error::io(file, &error))?;
        }
        Ok(CostTable { read, step, measured: true, ..self.sizes() })
    }

    /// What the costs depend on.
    fn identity(&self) -> Value {
        json!({
            "path": self.0.engine.path.display().to_string(),
            "weight_bytes": self.0.weight_bytes,
            "precision": self.precision().name(),
            "device": self.device().name(),
            "device_index": self.device_index(),
            "kernels": self.0.engine.network.describe(),
            "threads": self.threads(),
        })
    }

    /// The calibration in a file; None if the file does not exist, or was written for another model or machine.
    fn kept(&self, file: &Path) -> Result<Option<Value>> {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(file, &error)),
        };
        let value: Value = serde_json::from_str(&text).map_err(|error| {
            Error::invalid_file(file, format!("no file of calibrations, and is left as it is: {error}"))
        })?;
        if !value["format"].is_u64() {
            return Err(Error::invalid_file(file, "no file of calibrations, and is left as it is"));
        }
        Ok((value["format"] == FORMAT && value["of"] == self.identity()).then_some(value))
    }

    /// A table without times.
    fn sizes(&self) -> CostTable {
        let engine = &self.0.engine;
        let value = if self.precision() == Precision::F32 { 4 } else { 2 };
        let cache_bytes =
            engine.spec.decoder.as_ref().map_or(0, |stack| 2 * stack.layers * stack.heads.kv_width() * value);
        CostTable {
            weight_bytes: self.0.weight_bytes,
            cache_bytes: cache_bytes as u64,
            pass_bytes: pass_bytes(&engine.spec, engine.network.pass_tokens(), self.threads()),
            result_bytes: (self.embedding_size() * size_of::<f32>()) as u64,
            ..CostTable::default()
        }
    }

    /// Costs by the size of the weights: reading them, or multiplying with them, whichever takes longer.
    fn assumed(&self, generates: bool) -> CostTable {
        let weights = self.0.weight_bytes as f64;
        let curve = |length: usize, tokens: usize| {
            let seconds =
                |texts: usize| (weights / ASSUMED_READS).max(weights * (texts * tokens) as f64 / ASSUMED_PRODUCTS);
            let counts = std::iter::successors(Some(1), |n| Some(2 * n)).take_while(|&n| n <= MOST_TEXTS);
            Curve { length, points: counts.map(|n| (n, seconds(n).max(1e-6))).collect() }
        };
        let read = LENGTHS.map(|length| curve(length, length)).to_vec();
        let step = if generates { LENGTHS.map(|length| curve(length, 1)).to_vec() } else { Vec::new() };
        CostTable { read, step, ..self.sizes() }
    }

    fn calibrate(&self, generates: bool, options: &CalibrationOptions) -> Result<(Vec<Curve>, Vec<Curve>)> {
        let time = if options.time.is_zero() { TIME } else { options.time };
        let longest = self.max_length().min(self.0.engine.spec.max_tokens()).saturating_sub(STEPS + 1).max(1);
        let mut lengths: Vec<usize> = LENGTHS.into_iter().filter(|&length| length <= longest).collect();
        if lengths.is_empty() {
            lengths.push(longest);
        }
        let share = time / lengths.len() as u32;
        let cancellation = options.cancellation;
        let timed = |work: &dyn Fn() -> Result<()>| {
            let start = Instant::now();
            work().map(|()| start.elapsed().as_secs_f64())
        };
        // The first call allocates what later ones reuse.
        let mut warm = false;
        let (mut read, mut step) = (Vec::new(), Vec::new());
        for length in lengths {
            let [of_reading, of_steps] = curves(length, share, |texts| {
                let (ids, counts) = self.inputs(texts, length);
                let generate = |tokens: usize| {
                    let options = GenerateOptions {
                        max_new_tokens: Some(tokens),
                        num_beams: Some(1),
                        do_sample: Some(false),
                        ignore_eos: true,
                        cancellation: cancellation.cloned(),
                        ..GenerateOptions::default()
                    };
                    self.generate_ids(&ids, &counts, &options, None).map(|_| ())
                };
                let encode = || self.hidden_states(&ids, &counts, None, cancellation).map(|_| ());
                if !std::mem::replace(&mut warm, true) {
                    if generates { generate(1)? } else { encode()? }
                }
                if !generates {
                    return Ok([timed(&encode)?, 0.0]);
                }
                let first = timed(&|| generate(1))?;
                let whole = timed(&|| generate(1 + STEPS))?;
                Ok([first, ((whole - first) / STEPS as f64).max(1e-6)])
            })?;
            read.push(of_reading);
            if generates {
                step.push(of_steps);
            }
        }
        Ok((read, step))
    }

    /// Token ids that are spread over the vocabulary, and the lengths of the texts.
    fn inputs(&self, texts: usize, length: usize) -> (Vec<u32>, Vec<usize>) {
        let vocabulary = self.vocabulary_size().max(1);
        let ids = (0..texts * length).map(|i| (i.wrapping_mul(7919) % vocabulary) as u32).collect();
        (ids, vec![length; texts])
    }
}

/// Seconds rounded to whole nanoseconds, at least one. The parser of numbers is exact for so few digits, so that a file gives back the bits
/// that were written to it.
fn nanoseconds(seconds: f64) -> f64 {
    (seconds * 1e9).round().max(1.0) / 1e9
}

/// Measures 1, 2, 4, … texts for so long. `run` gives two times for a number of texts; of two runs the faster one counts.
fn curves(length: usize, most: Duration, mut run: impl FnMut(usize) -> Result<[f64; 2]>) -> Result<[Curve; 2]> {
    let start = Instant::now();
    let mut points: [Vec<(usize, f64)>; 2] = Default::default();
    let mut texts = 1;
    while texts <= MOST_TEXTS && (texts == 1 || texts * length <= MOST_TOKENS) {
        let begun = start.elapsed();
        let mut times = run(texts)?;
        let once = start.elapsed() - begun;
        if start.elapsed() + once <= most {
            let again = run(texts)?;
            times = [times[0].min(again[0]), times[1].min(again[1])];
        }
        for (points, time) in points.iter_mut().zip(times) {
            // More texts do not take less time: what seems so is noise.
            let least = points.last().map_or(0.0, |&(_, before)| before);
            points.push((texts, nanoseconds(time.max(least))));
        }
        // Twice as many take about twice as long, and run twice.
        if start.elapsed() + 4 * once > most {
            break;
        }
        texts *= 2;
    }
    Ok(points.map(|points| Curve { length, points }))
}

fn json_of(curves: &[Curve]) -> Value {
    curves.iter().map(|curve| json!({ "length": curve.length, "points": curve.points })).collect()
}

/// The curves of a file; None if something is wrong with them.
fn curves_of(value: &Value) -> Option<(Vec<Curve>, Vec<Curve>)> {
    let list = |name: &str| -> Option<Vec<Curve>> {
        let curve = |value: &Value| {
            let point = |point: &Value| {
                let (texts, seconds) = (usize::try_from(point[0].as_u64()?).ok()?, point[1].as_f64()?);
                (texts > 0 && seconds > 0.0 && seconds.is_finite()).then_some((texts, seconds))
            };
            let points = value["points"].as_array()?.iter().map(point).collect::<Option<Vec<_>>>()?;
            let length = usize::try_from(value["length"].as_u64()?).ok()?;
            let sound = length > 0 && !points.is_empty() && points.windows(2).all(|pair| pair[0].0 < pair[1].0);
            sound.then_some(Curve { length, points })
        };
        let curves = value[name].as_array()?.iter().map(curve).collect::<Option<Vec<_>>>()?;
        curves.windows(2).all(|pair| pair[0].length < pair[1].length).then_some(curves)
    };
    let (read, step) = (list("read")?, list("step")?);
    (!read.is_empty()).then_some((read, step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measured_times_rise_and_end_with_the_time() {
        let mut calls = 0;
        let [read, step] = curves(256, Duration::from_secs(3600), |texts| {
            calls += 1;
            // Noise: four texts seem to take less than two.
            Ok([if texts == 4 { 0.5 } else { texts as f64 }, 1.0])
        })
        .unwrap();
        assert_eq!(read.points, [(1, 1.0), (2, 2.0), (4, 2.0), (8, 8.0), (16, 16.0), (32, 32.0)]);
        assert_eq!((step.points.len(), calls), (6, 12));
        let [short, _] = curves(16, Duration::ZERO, |_| Ok([1.0, 1.0])).unwrap();
        assert_eq!(short.points, [(1, 1.0)]);
        assert!(curves(16, Duration::ZERO, |_| Err(Error::cancelled())).is_err());
    }

    #[test]
    fn files_give_back_what_was_written_and_nothing_that_is_wrong() {
        let curve = |length| Curve { length, points: vec![(1, 0.25), (2, 0.5)] };
        let (read, step) = (vec![curve(16), curve(64)], Vec::new());
        let written = json!({ "read": json_of(&read), "step": json_of(&step) });
        assert_eq!(curves_of(&written), Some((read, step)));
        for i in 1..2000 {
            let points = vec![(1, nanoseconds(f64::from(i) * 1.234_567_890_123e-5))];
            let read = vec![Curve { length: 16, points }];
            let text = json!({ "read": json_of(&read), "step": [] }).to_string();
            assert_eq!(curves_of(&serde_json::from_str(&text).unwrap()), Some((read, Vec::new())), "{text}");
        }
        for (name, wrong) in [
            ("read", json!([])),
            ("read", json!([{ "length": 0, "points": [[1, 1.0]] }])),
            ("read", json!([{ "length": 16, "points": [[2, 1.0], [1, 1.0]] }])),
            ("read", json!([{ "length": 16, "points": [[1, -1.0]] }])),
            ("read", json!([{ "length": 16, "points": [] }])),
            ("step", json!(null)),
        ] {
            let mut changed = written.clone();
            changed[name] = wrong;
            assert_eq!(curves_of(&changed), None, "{changed}");
        }
        assert_eq!(curves_of(&json!(null)), None);
    }
}
