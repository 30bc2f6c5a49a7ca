//! `kinglet embed`.

use kinglet::{
    EmbedOptions, EmbeddingCodes, EmbeddingRows, EmbeddingType, EmbeddingValues, Embeddings, Model, quantize_embeddings,
};
use serde::Serialize;

use crate::args::Embed;
use crate::failure::{Failure, Outcome};
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
    Codes(Vec<i32>),
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
    if args.kind != EmbeddingType::Float32 {
        return if by_token {
            Err(Failure::usage("--type: vectors of tokens are float32"))
        } else {
            codes(model, args, &options)
        };
    }
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

/// Prints embeddings in a type of fewer bits.
fn codes(model: &Model, args: &Embed, options: &EmbedOptions) -> Outcome<()> {
    let mut all = (Vec::new(), Vec::new(), Vec::new());
    let mut dimension = 0;
    Batches::new(&args.input, Kind::Text, None)?.each(|batch| {
        let embeddings =
            model.embed(&batch.texts(), &EmbedOptions { deadline: args.call.deadline(), ..options.clone() })?;
        let cut = embeddings.truncated.iter().filter(|&&cut| cut != 0).count();
        dimension = embeddings.dimension;
        all.0.extend(batch.texts);
        all.1.extend(embeddings.values);
        all.2.extend(embeddings.truncated);
        Ok(cut)
    })?;
    let (texts, values, truncated) = all;
    if texts.is_empty() {
        return Ok(());
    }
    let rows = EmbeddingRows::new(EmbeddingValues::Float32(&values), dimension);
    let codes: Vec<i32> = match quantize_embeddings(&rows, args.kind, None)? {
        EmbeddingCodes::Int8(codes) | EmbeddingCodes::Binary(codes) => codes.into_iter().map(i32::from).collect(),
        EmbeddingCodes::Uint8(codes) | EmbeddingCodes::Ubinary(codes) => codes.into_iter().map(i32::from).collect(),
        EmbeddingCodes::Float32(_) | EmbeddingCodes::Float16(_) => {
            return Err(Failure::usage("--type: is no type of codes"));
        }
    };
    let mut out = Output::new();
    for (i, row) in codes.chunks(args.kind.width(dimension)).enumerate() {
        if args.input.json() {
            let embedding = Embedding::Codes(row.to_vec());
            out.json(&Line { text: &texts[i], embedding, truncated: truncated[i] != 0 })?;
        } else {
            let numbers: Vec<String> = row.iter().map(i32::to_string).collect();
            out.line(numbers.join(" "))?;
        }
    }
    out.flush()
}

/// All rows of text `i`.
fn rows(embeddings: &Embeddings, i: usize) -> JsonRows<'_> {
    let width = embeddings.dimension;
    let range = embeddings.starts[i] * width..embeddings.starts[i + 1] * width;
    JsonRows { values: &embeddings.values[range], width }
}
