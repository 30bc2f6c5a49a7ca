//! `kinglet inspect --check`: loads a model and tries each verb on a short text. What is said is therefore what happens, not what the
//! files promise.

use std::sync::{Arc, Mutex, PoisonError};

use kinglet::{GenerateOptions, Log, LogLevel, Model};
use serde_json::{Map, Value, json};

use crate::args::Inspect;
use crate::failure::{Failure, Outcome};
use crate::output::{OneLine, Output, bytes};

/// What is embedded, classified and continued.
const TEXT: &str = "a small bird";

pub fn run(args: &Inspect) -> Outcome<()> {
    let warnings = Arc::new(Mutex::new(Vec::new()));
    let heard = warnings.clone();
    let log = Log::new(LogLevel::Warning, move |_, line| {
        heard.lock().unwrap_or_else(PoisonError::into_inner).push(line.to_owned());
    });
    let (model, error) = match crate::load_with_log(&args.model, log) {
        Ok(model) => (Some(model), None),
        Err(Failure::Usage(message) | Failure::Message(message)) => (None, Some(message)),
        Err(other) => return Err(other),
    };
    let verbs = model.as_ref().map(tries).unwrap_or_default();
    let runs = verbs.iter().any(|(_, result)| result.is_ok());
    let warnings = std::mem::take(&mut *warnings.lock().unwrap_or_else(PoisonError::into_inner));
    let path = args.model.model.display().to_string();

    let mut out = Output::new();
    if args.json {
        let verbs: Map<String, Value> =
            verbs.iter().map(|(verb, result)| ((*verb).to_owned(), json!(result.as_ref().err()))).collect();
        out.json(&json!({
            "path": path,
            "runs": runs,
            "error": error,
            "family": model.as_ref().map(Model::family),
            "precision": model.as_ref().map(|model| model.precision().name()),
            "weight_bytes": model.as_ref().map(Model::weight_bytes),
            "refused": verbs,
            "warnings": warnings,
        }))?;
    } else {
        let mut row = |name: &str, value: &str| out.line(format_args!("{name:<16}{}", OneLine(value)));
        row("path", &path)?;
        row("runs", if runs { "yes" } else { "no" })?;
        if let Some(error) = &error {
            row("error", error)?;
        }
        if let Some(model) = &model {
            row("family", model.family())?;
            row("weights", &format!("{} in {}", bytes(model.weight_bytes()), model.precision().name()))?;
        }
        for (verb, result) in &verbs {
            row(verb, result.as_ref().map_or_else(|reason| format!("no: {reason}"), |()| "yes".into()).as_str())?;
        }
        for warning in &warnings {
            row("warning", warning)?;
        }
    }
    out.flush()?;
    match (runs, error) {
        (true, _) => Ok(()),
        (false, Some(error)) => Err(Failure::Message(error)),
        (false, None) => Err(Failure::new(format!("{path}: loads, and no verb works"))),
    }
}

/// Each verb, and why it does not work.
fn tries(model: &Model) -> Vec<(&'static str, Result<(), String>)> {
    let short = GenerateOptions { max_new_tokens: Some(1), ..GenerateOptions::default() };
    let chat = || {
        let mut session = model.session()?;
        session.send(TEXT, &short, None).map(drop)
    };
    let mask = model.tokenizer().special_tokens().get("mask_token").unwrap_or(TEXT);
    let results = [
        ("tokenize", model.tokenize(&[TEXT], None, &Default::default(), None).map(drop)),
        ("embed", model.embed(&[TEXT], &Default::default()).map(drop)),
        ("classify", model.classify(&[TEXT], None, &Default::default()).map(drop)),
        ("classify tokens", model.classify_tokens(&[TEXT], Default::default(), &Default::default()).map(drop)),
        ("zero-shot", model.classify_zero_shot(&[TEXT], &[TEXT], &Default::default()).map(drop)),
        ("fill masks", model.fill_mask(&[mask], &Default::default()).map(drop)),
        ("embed sparsely", model.sparse_embed(&[TEXT], &Default::default()).map(drop)),
        ("score pairs", model.score(&[TEXT], &[TEXT], &Default::default()).map(drop)),
        ("generate", model.generate(&[TEXT], &short, None).map(drop)),
        ("chat", chat()),
    ];
    let said = |error: kinglet::Error| kinglet::printable(error.message()).into_owned();
    results.into_iter().map(|(verb, result)| (verb, result.map_err(said))).collect()
}
