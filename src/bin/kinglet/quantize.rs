//! `kinglet quantize`.

use std::path::Path;
use std::time::Instant;

use kinglet::{CalibratedLayer, QuantizeOptions};
use serde_json::{Map, Value, json};

use crate::args::Quantize;
use crate::failure::{Failure, Outcome};
use crate::input::{Kind, take};
use crate::output::{self, Output};
use crate::progress::Meter;
use crate::{files, interrupt};

/// The lines of a file that are read for calibration; more are not needed.
const MAX_TEXTS: usize = 100_000;

pub fn run(args: &Quantize) -> Outcome<()> {
    let start = Instant::now();
    let texts = args.calibrate.as_deref().map_or_else(|| Ok(Vec::new()), |path| texts(path, &args.text_field))?;
    let calibration_texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let options = QuantizeOptions { precision: args.precision, calibration_texts: &calibration_texts };
    let mut bar = Meter::new("quantizing", Some(1000), false);
    // A signal cancels the call, so that the unfinished file is removed.
    interrupt::remember_endings();
    let result = kinglet::quantize(&args.source, &args.destination, options, &mut |share| {
        bar.set((share * 1000.0) as u64);
        !interrupt::ending()
    });
    drop(bar);
    interrupt::end();
    let layers = result?;
    let bytes = std::fs::metadata(&args.destination).map_or(0, |m| m.len());
    let (precision, seconds) = (args.precision.name(), start.elapsed().as_secs_f64());
    if args.json {
        let of_layer = |layer: &CalibratedLayer| (layer.name.clone(), layer.to_json());
        let layers: Map<String, Value> = layers.iter().map(of_layer).collect();
        let calibration = args.calibrate.is_some().then(|| json!({ "texts": texts.len(), "layers": layers }));
        let mut out = Output::new();
        out.json(&json!({
            "path": args.destination, "bytes": bytes, "precision": precision, "seconds": seconds, "calibration": calibration,
        }))?;
        return out.flush();
    }
    let (path, size) = (args.destination.display(), output::bytes(bytes));
    output::note(&format!("{path}: {size} in {precision}, {seconds:.1} s"));
    if !layers.is_empty() {
        let mean = |error: fn(&CalibratedLayer) -> f64| layers.iter().map(error).sum::<f64>() / layers.len() as f64;
        let (before, after) = (mean(|layer| layer.error_before), mean(|layer| layer.error));
        let scaled = layers.iter().filter(|layer| layer.exponent.is_some()).count();
        let rotated = layers.iter().filter(|layer| layer.rotation > 0).count();
        output::note(&format!(
            "calibration: of {} layers {scaled} have factors and {rotated} a rotation; mean relative error {after:.1e}, before {before:.1e}",
            layers.len()
        ));
    }
    Ok(())
}

/// The texts of a file, empty ones left out.
fn texts(path: &Path, field: &str) -> Outcome<Vec<String>> {
    let is_json = path.extension().is_some_and(|extension| extension == "jsonl" || extension == "json");
    let mut texts = Vec::new();
    for (i, line) in files::lines(Some(path))?.take(MAX_TEXTS).enumerate() {
        let failed = |what: String| Failure::new(format!("{}: line {}: {what}", path.display(), i + 1));
        let line = line.map_err(|error| failed(error.to_string()))?;
        if line.trim().is_empty() {
            continue;
        }
        texts.push(match is_json {
            true => {
                let value = serde_json::from_str(&line).map_err(|error| failed(error.to_string()))?;
                take(&value, field, Kind::Text).map_err(failed)?
            }
            false => line.trim_end().to_owned(),
        });
    }
    if texts.is_empty() {
        return Err(Failure::new(format!("{}: holds no text", path.display())));
    }
    Ok(texts)
}
