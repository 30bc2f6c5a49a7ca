//! `kinglet search`.

use kinglet::{
    EmbedOptions, EmbeddingCodes, EmbeddingRows, EmbeddingType, EmbeddingValues, Model, SearchOptions,
    embedding_ranges, quantize_embeddings,
};
use serde::Serialize;
use serde_json::Value;

use crate::args::{InputFormat, Search};
use crate::failure::{Failure, Outcome};
use crate::files;
use crate::input::{Batches, Kind};
use crate::output::{OneLine, Output, Significant};

#[derive(Serialize)]
struct Line<'a> {
    text: &'a str,
    hits: Vec<Hit<'a>>,
}

#[derive(Serialize)]
struct Hit<'a> {
    index: i64,
    score: f32,
    text: &'a str,
}

pub fn run(model: &Model, args: &Search) -> Outcome<()> {
    let corpus = Corpus::read(model, args)?;
    let embeddings = EmbeddingRows::new(EmbeddingValues::Float32(&corpus.embeddings), corpus.dimension);
    let ranges = match args.kind {
        EmbeddingType::Int8 | EmbeddingType::Uint8 if embeddings.count > 0 => Some(embedding_ranges(&embeddings)?),
        _ => None,
    };
    let codes: Option<EmbeddingCodes> = match args.kind {
        EmbeddingType::Float32 => None,
        kind => Some(quantize_embeddings(&embeddings, kind, ranges.as_deref())?),
    };
    let rows = match &codes {
        Some(codes) => {
            EmbeddingRows { count: embeddings.count, ..EmbeddingRows::new(codes.values(), corpus.dimension) }
        }
        None => embeddings,
    };
    let options = SearchOptions {
        top_k: Some(args.top_k),
        similarity: args.similarity,
        ranges: ranges.as_deref(),
        threads: Some(model.threads()),
        ..SearchOptions::default()
    };
    let embed = EmbedOptions {
        prompt_name: args.prompt.prompt_name.clone(),
        prompt: args.prompt.prompt.clone(),
        priority: args.call.priority.unwrap_or_default(),
        ..EmbedOptions::default()
    };
    let mut out = Output::new();
    let mut first = true;
    Batches::new(&args.input, Kind::Text, None)?.each(|batch| {
        let embed = EmbedOptions { deadline: args.call.deadline(), ..embed.clone() };
        let queries = model.embed(&batch.texts(), &embed)?;
        let given = EmbeddingRows::new(EmbeddingValues::Float32(&queries.values), queries.dimension);
        let found = kinglet::search(&given, &rows, &options)?;
        for (i, text) in batch.texts.iter().enumerate() {
            let of_query = i * found.per_query..(i + 1) * found.per_query;
            let hits = found.indices[of_query.clone()].iter().zip(&found.scores[of_query]);
            let hits = hits.map(|(&index, &score)| Hit { index, score, text: &corpus.texts[index as usize] });
            if args.input.json() {
                out.json(&Line { text, hits: hits.collect() })?;
                continue;
            }
            // An empty line between queries.
            if !std::mem::take(&mut first) {
                out.line("")?;
            }
            for hit in hits {
                out.line(format_args!("{}\t{}\t{}", Significant(hit.score), hit.index, OneLine(hit.text)))?;
            }
        }
        out.flush()?;
        Ok(queries.truncated.iter().filter(|&&cut| cut != 0).count())
    })
}

/// The texts to search in.
struct Corpus {
    texts: Vec<String>,
    /// One after the other.
    embeddings: Vec<f32>,
    dimension: usize,
}

impl Corpus {
    /// Texts are embedded, unless their lines have the embeddings, as `kinglet embed --json` prints them.
    fn read(model: &Model, args: &Search) -> Outcome<Self> {
        let path = args.corpus.display();
        let dimension = model.embedding_size_with(&EmbedOptions::default())?;
        let (mut texts, mut embeddings) = (Vec::new(), Vec::new());
        for (i, line) in files::lines(Some(&args.corpus))?.enumerate() {
            let wrong = |what: String| Failure::new(format!("{path}, line {}: {what}", i + 1));
            let line = line.map_err(|e| wrong(e.to_string()))?;
            let line = line.trim_end_matches(['\r', '\n']);
            if args.corpus_format == InputFormat::Lines {
                texts.push(line.to_string());
                continue;
            }
            if line.trim().is_empty() {
                continue;
            }
            let value: Value = serde_json::from_str(line).map_err(|e| wrong(format!("not JSON: {e}")))?;
            let text = value.get("text").and_then(Value::as_str);
            let text = text.ok_or_else(|| wrong("field \"text\" is missing or not a string".into()))?;
            if let Some(embedding) = value.get("embedding") {
                let numbers = embedding.as_array().map(Vec::as_slice).unwrap_or_default();
                let numbers: Option<Vec<f32>> = numbers.iter().map(|x| x.as_f64().map(|x| x as f32)).collect();
                let numbers = numbers.filter(|numbers| numbers.len() == dimension).ok_or_else(|| {
                    wrong(format!(
                        "field \"embedding\" is not a list of the {dimension} numbers that the model's embeddings have"
                    ))
                })?;
                embeddings.extend(numbers);
            }
            texts.push(text.to_string());
            if ![0, texts.len() * dimension].contains(&embeddings.len()) {
                return Err(wrong("some lines have the field \"embedding\", and some do not".into()));
            }
        }
        if embeddings.is_empty() && !texts.is_empty() {
            let all: Vec<&str> = texts.iter().map(String::as_str).collect();
            let options = EmbedOptions {
                prompt_name: args.corpus_prompt_name.clone(),
                prompt: args.corpus_prompt.clone(),
                priority: args.call.priority.unwrap_or_default(),
                ..EmbedOptions::default()
            };
            embeddings = model.embed(&all, &options)?.values;
        }
        Ok(Self { texts, embeddings, dimension })
    }
}
