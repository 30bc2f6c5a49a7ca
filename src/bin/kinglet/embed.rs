//! `kinglet embed`.

use kinglet::{EmbedOptions, Embeddings, Model};
use serde::Serialize;

use crate::args::Embed;
use crate::failure::Outcome;
use crate::input::{Batches, Kind};
use crate::output::{JsonRows, Output, SpacedValues, is_false};

#[derive(Serialize)]
struct Line<'a> {
    text: &'a str,
    embedding: Embedding<'a>,
    #[serde(skip_serializing_if = "is_false")]
    truncated: bool,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Embedding<'a> {
    Text(&'a [f32]),
    Tokens(JsonRows<'a>),
}

pub fn run(model: &Model, args: &Embed) -> Outcome<()> {
    let options = EmbedOptions {
        pooling: args.pooling,
        normalize: args.normalize.0,
        max_length: args.max_length,
        prompt_name: args.prompt.prompt_name.clone(),
        prompt: args.prompt.prompt.clone(),
        truncate_dim: args.truncate_dim,
        cancellation: None,
        priority: args.call.priority.unwrap_or_default(),
        deadline: None,
    };
    let by_token = args.pooling == Some(kinglet::Pooling::None);
    let mut out = Output::new();
    Batches::new(&args.input, Kind::Text, None)?.each(|batch| {
        let embeddings =
            model.embed(&batch.texts(), &EmbedOptions { deadline: args.call.deadline(), ..options.clone() })?;
        for (i, text) in batch.texts.iter().enumerate() {
            let rows = rows(&embeddings, i);
            if args.input.json() {
                let embedding = if by_token { Embedding::Tokens(rows) } else { Embedding::Text(rows.values) };
                out.json(&Line { text, embedding, truncated: embeddings.truncated[i] != 0 })?;
                continue;
            }
            for row in rows.values.chunks_exact(rows.width) {
                out.line(SpacedValues(row))?;
            }
            // An empty line between texts.
            if by_token {
                out.line("")?;
            }
        }
        out.flush()?;
        Ok(embeddings.truncated.iter().filter(|&&cut| cut != 0).count())
    })
}

/// All rows of text `i`.
fn rows(embeddings: &Embeddings, i: usize) -> JsonRows<'_> {
    let width = embeddings.dimension;
    let range = embeddings.starts[i] * width..embeddings.starts[i + 1] * width;
    JsonRows { values: &embeddings.values[range], width }
}
