//! `kinglet compress`: documents in files, standard input or JSON Lines.

use std::io::{self, IsTerminal};
use std::time::Instant;

use kinglet::{CompressOptions, Compression, EmbedOptions, LoadOptions, Model};
use serde::Serialize;

use crate::compress_args::Compress;
use crate::failure::{Failure, Outcome};
use crate::files;
use crate::input::{Kind, take};
use crate::machine;
use crate::metrics::ranking::cosine;
use crate::metrics::rouge::of_documents;
use crate::output::{self, OneLine, Output};
use crate::progress::Meter;

/// The longest document, unless --max-text-bytes says otherwise.
const LIMIT: u64 = 256 << 20;
/// Bytes of a part of a document that is embedded, for each token that the model reads at once. Fewer than text has, so that none is cut.
const PART: usize = 2;

#[derive(Serialize)]
struct Line<'a> {
    text: &'a str,
    method: &'static str,
    tokens_before: usize,
    tokens_after: usize,
    ratio: f64,
    windows: usize,
    kept: Vec<[usize; 2]>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    measures: Option<Measures>,
}

/// What `--measure` adds.
#[derive(Serialize)]
struct Measures {
    seconds: f64,
    tokens_per_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_rss_mb: Option<f64>,
    rouge_1: f64,
    rouge_2: f64,
    /// Left out where looking for it would take too long.
    #[serde(skip_serializing_if = "Option::is_none")]
    rouge_l: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding_cosine: Option<f64>,
}

pub fn run(model: &Model, args: &Compress) -> Outcome<()> {
    let priority = args.call.priority.unwrap_or_default();
    let options = CompressOptions { priority, ..args.compression.options() };
    let embedder = args.embedder.as_deref().map(|path| Model::load(path, LoadOptions::default())).transpose()?;
    let file = args.file.as_deref().filter(|path| path.as_os_str() != "-");
    let limit = args.model.max_text_bytes.unwrap_or(LIMIT);
    if file.is_none() && io::stdin().is_terminal() {
        output::note("reading from the terminal; Ctrl-D ends");
    }
    let mut out = Output::new();
    let mut one = |document: &str| {
        let resets = args.measure && machine::reset_peak_rss();
        let options = CompressOptions { deadline: args.call.deadline(), ..options.clone() };
        let start = Instant::now();
        let result = model.compress(document, &options)?;
        let seconds = start.elapsed().as_secs_f64();
        let peak = machine::peak_rss_mb().filter(|_| resets);
        let measures = match args.measure {
            true => Some(measures(document, &result, (seconds, peak), embedder.as_ref())?),
            false => None,
        };
        print(&mut out, args, &result, measures)
    };
    let Some(name) = &args.jsonl else {
        return one(&files::document(file, limit)?);
    };
    let place = file.map_or_else(|| "standard input".into(), |path| path.display().to_string());
    let mut progress = Meter::new("documents", None, true);
    for (number, line) in files::lines(file)?.enumerate() {
        let wrong = |what: &dyn std::fmt::Display| Failure::new(format!("{place}, line {}: {what}", number + 1));
        let line = line.map_err(|error| wrong(&error))?;
        if line.trim().is_empty() {
            continue;
        }
        let value = serde_json::from_str(&line).map_err(|e| wrong(&format!("not JSON: {e}")))?;
        let document = take(&value, name, Kind::Text).map_err(|what| wrong(&what))?;
        one(&document).map_err(|failure| match failure {
            Failure::Usage(what) => Failure::Usage(format!("{place}, line {}: {what}", number + 1)),
            Failure::Message(what) => wrong(&what),
            other => other,
        })?;
        progress.add(1);
    }
    Ok(())
}

fn print(out: &mut Output, args: &Compress, result: &Compression, measures: Option<Measures>) -> Outcome<()> {
    let Compression { text, kept, tokens_before, tokens_after, windows, method } = result;
    let ratio = result.ratio();
    if args.json {
        let kept = kept.iter().map(|span| [span.start, span.end]).collect();
        let (tokens_before, tokens_after, windows) = (*tokens_before, *tokens_after, *windows);
        out.json(&Line { text, method: method.name(), tokens_before, tokens_after, ratio, windows, kept, measures })?;
        return out.flush();
    }
    match args.jsonl {
        Some(_) => out.line(OneLine(text))?,
        None => out.line(text)?,
    }
    out.flush()?;
    let Some(m) = measures else { return Ok(()) };
    let mut lines = vec![
        format!(
            "{tokens_before} tokens became {tokens_after}: ratio {ratio:.2}, by {} in {windows} windows",
            method.name()
        ),
        format!("{:.3} s, {:.0} tokens/s", m.seconds, m.tokens_per_s),
    ];
    lines.extend(m.peak_rss_mb.map(|peak| format!("peak memory {peak:.1} MiB")));
    let l = m.rouge_l.map_or_else(|| "-".into(), |l| format!("{l:.4}"));
    lines.push(format!("ROUGE-1 {:.4}, ROUGE-2 {:.4}, ROUGE-L {l} against the document", m.rouge_1, m.rouge_2));
    lines.extend(m.embedding_cosine.map(|cosine| format!("cosine of the embeddings {cosine:.4}")));
    lines.iter().for_each(|line| output::note(line));
    Ok(())
}

fn measures(
    document: &str,
    result: &Compression,
    (seconds, peak_rss_mb): (f64, Option<f64>),
    embedder: Option<&Model>,
) -> Outcome<Measures> {
    let (rouge_1, rouge_2, rouge_l) = of_documents(&result.text, document);
    let embedding_cosine = match embedder {
        Some(model) => Some(cosine(&embed(model, document)?, &embed(model, &result.text)?)),
        None => None,
    };
    Ok(Measures {
        seconds,
        tokens_per_s: result.tokens_before as f64 / seconds.max(1e-9),
        peak_rss_mb,
        rouge_1,
        rouge_2,
        rouge_l,
        embedding_cosine,
    })
}

/// The embedding of a text of any length: the mean over parts, weighted by their tokens.
fn embed(model: &Model, text: &str) -> Outcome<Vec<f32>> {
    const TOGETHER: usize = 64;
    let size = model.max_length().min(4096) * PART;
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.floor_char_boundary(size.max(4));
        let end = if end == rest.len() { end } else { rest[..end].rfind(' ').filter(|&at| at > 0).unwrap_or(end) };
        parts.push(&rest[..end]);
        rest = &rest[end..];
    }
    let mut mean = Vec::new();
    for parts in parts.chunks(TOGETHER) {
        let embeddings = model.embed(parts, &EmbedOptions::default())?;
        mean.resize(embeddings.dimension, 0f32);
        for (i, &tokens) in embeddings.tokens.iter().enumerate() {
            mean.iter_mut().zip(embeddings.row(i)).for_each(|(sum, value)| *sum += value * tokens as f32);
        }
    }
    Ok(mean)
}
