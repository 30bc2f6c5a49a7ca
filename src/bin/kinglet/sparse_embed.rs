//! `kinglet sparse-embed`.

use kinglet::{Model, SparseOptions};
use serde::Serialize;

use crate::args::SparseEmbed;
use crate::failure::Outcome;
use crate::input::{Batches, Kind};
use crate::output::{OneLine, Output, Significant, is_false};

#[derive(Serialize)]
struct Line<'a> {
    text: &'a str,
    indices: &'a [u32],
    weights: &'a [f32],
    #[serde(skip_serializing_if = "is_false")]
    truncated: bool,
}

#[derive(Serialize)]
struct Match<'a> {
    text: &'a str,
    score: f32,
    #[serde(skip_serializing_if = "is_false")]
    truncated: bool,
}

pub fn run(model: &Model, args: &SparseEmbed) -> Outcome<()> {
    let options = SparseOptions {
        max_active_dims: args.max_active_dims,
        max_length: args.max_length,
        prompt_name: args.prompt.prompt_name.clone(),
        prompt: args.prompt.prompt.clone(),
        cancellation: None,
        priority: args.call.priority.unwrap_or_default(),
        deadline: args.call.deadline(),
    };
    let query = args.query.as_deref().map(|query| model.sparse_embed(&[query], &options)).transpose()?;
    let mut out = Output::new();
    Batches::new(&args.input, Kind::Text, None)?.each(|batch| {
        let options = SparseOptions { deadline: args.call.deadline(), ..options.clone() };
        let found = model.sparse_embed(&batch.texts(), &options)?;
        for (i, text) in batch.texts.iter().enumerate() {
            let truncated = found.truncated[i] != 0;
            let (indices, weights) = found.row(i);
            match (&query, args.input.json()) {
                (Some(query), true) => out.json(&Match { text, score: query.dot(0, &found, i), truncated })?,
                (Some(query), false) => {
                    out.line(format_args!("{}\t{}", Significant(query.dot(0, &found, i)), OneLine(text)))?;
                }
                (None, true) => out.json(&Line { text, indices, weights, truncated })?,
                (None, false) => out.line(tokens(model, indices, weights)?)?,
            }
        }
        out.flush()?;
        Ok(found.truncated.iter().filter(|&&cut| cut != 0).count())
    })
}

/// The tokens and their weights, the largest first.
fn tokens(model: &Model, indices: &[u32], weights: &[f32]) -> Outcome<String> {
    let mut order: Vec<usize> = (0..indices.len()).collect();
    order.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]));
    let mut parts = Vec::with_capacity(order.len());
    for i in order {
        // Models' tables may have more rows than the vocabulary has tokens.
        let token = model.decode(&[indices[i]], false).unwrap_or_else(|_| indices[i].to_string());
        parts.push(format!("{}:{}", OneLine(token.trim()), Significant(weights[i])));
    }
    Ok(parts.join(" "))
}
