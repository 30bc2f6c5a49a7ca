//! `kinglet inspect`.

use kinglet::Model;
use serde_json::Value;

use crate::args::Inspect;
use crate::failure::Outcome;
use crate::output::{OneLine, Output, bytes};

/// Labels that are listed by name; some models have thousands.
const LABELS: usize = 20;

pub fn run(model: &Model, args: &Inspect) -> Outcome<()> {
    let info = model.info();
    let mut out = Output::new();
    if args.json {
        out.json(&info)?;
        return out.flush();
    }
    for name in ["path", "family", "device", "precision", "backend", "kernels", "threads"] {
        row(&mut out, name, &plain(&info[name]))?;
    }
    if !info["device_memory"].is_null() {
        let memory = &info["device_memory"];
        let size = |name: &str| memory[name].as_u64().map_or_else(|| "unknown".into(), bytes);
        let (used, total, free) = (size("used_by_model"), size("total"), size("free"));
        row(&mut out, "device memory", &format!("{used} of {total}, {free} free"))?;
    }
    for graph in info["graphs"].as_array().into_iter().flatten() {
        row(&mut out, "graph", &plain(graph))?;
    }
    if info["past"] == false {
        row(&mut out, "KV cache", "none; each token reprocesses the whole text")?;
    }
    row(&mut out, "weights", &bytes(model.weight_bytes()))?;
    if let Some(layers) = info["calibration"]["layers"].as_object() {
        let scaled = layers.values().filter(|layer| !layer["exponent"].is_null()).count();
        let rotated = layers.values().filter(|layer| layer["rotation"] != 0).count();
        let count = layers.len();
        row(&mut out, "calibration", &format!("of {count} layers {scaled} have factors, {rotated} a rotation"))?;
    }
    row(&mut out, "longest text", &format!("{} tokens", model.max_length()))?;
    row(&mut out, "pooling", &plain(&info["embedding"]["pooling"]))?;
    for module in info["embedding"]["modules"].as_array().into_iter().flatten() {
        row(&mut out, "module", &plain(module))?;
    }
    row(&mut out, "normalised", if info["embedding"]["normalize"] == true { "yes" } else { "no" })?;
    row(&mut out, "embedding", &format!("{} values", model.embedding_size()))?;
    let prompts = info["embedding"]["prompts"].as_object().into_iter().flatten();
    for (name, text) in prompts.filter(|(_, text)| text.as_str().is_some_and(|text| !text.is_empty())) {
        let default = if info["embedding"]["default_prompt_name"] == **name { " (default)" } else { "" };
        row(&mut out, "prompt", &format!("{name}{default}: {text}"))?;
    }
    if let Some(similarity) = info["embedding"]["similarity_fn_name"].as_str() {
        row(&mut out, "similarity", similarity)?;
    }
    row(&mut out, "head", &info["head"].as_str().map_or_else(|| "none".into(), |h| format!("{h} classification")))?;
    if !model.labels().is_empty() {
        let mut labels = model.labels().iter().take(LABELS).cloned().collect::<Vec<_>>().join(", ");
        if let Some(more) = model.labels().len().checked_sub(LABELS).filter(|&more| more > 0) {
            labels.push_str(&format!(" and {more} more"));
        }
        row(&mut out, "labels", &labels)?;
    }
    row(&mut out, "generates", if model.can_generate() { "yes" } else { "no" })?;
    row(&mut out, "vocabulary", &format!("{} tokens", model.vocabulary_size()))?;
    for stack in ["encoder", "decoder"] {
        let Some(spec) = info[stack].as_object() else { continue };
        out.line(format_args!("\n{stack}"))?;
        for (name, value) in spec.iter().filter(|(_, value)| !value.is_null()) {
            row(&mut out, &format!("  {}", name.replace('_', " ")), &plain(value))?;
        }
    }
    out.flush()
}

fn row(out: &mut Output, name: &str, value: &str) -> Outcome<()> {
    out.line(format_args!("{name:<16}{}", OneLine(value)))
}

/// A JSON value without quotes.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}
