//! `kinglet rerank`.

use kinglet::{ClassifyOptions, Model};
use serde::Serialize;

use crate::args::Rerank;
use crate::failure::Outcome;
use crate::input::{Batches, Kind};
use crate::output::{OneLine, Output, Significant, is_false, note};

#[derive(Serialize)]
struct Line<'a> {
    index: usize,
    score: f32,
    text: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    truncated: bool,
}

pub fn run(model: &Model, args: &Rerank) -> Outcome<()> {
    let mut documents = Vec::new();
    Batches::new(&args.input, Kind::Text, None)?.each(|batch| {
        documents.extend(batch.texts);
        Ok(0)
    })?;
    if documents.is_empty() {
        return Ok(());
    }
    let options = ClassifyOptions {
        function: args.function,
        max_length: args.max_length,
        prompt_name: args.prompt.prompt_name.clone(),
        prompt: args.prompt.prompt.clone(),
        cancellation: None,
        priority: args.call.priority.unwrap_or_default(),
        deadline: args.call.deadline(),
    };
    let texts: Vec<&str> = documents.iter().map(String::as_str).collect();
    let ranking = model.rerank(&args.query, &texts, args.top_n, &options)?;
    let mut out = Output::new();
    for (&index, &score) in ranking.indices.iter().zip(&ranking.scores) {
        let text = texts[index];
        if args.input.json() {
            out.json(&Line { index, score, text, truncated: ranking.truncated[index] != 0 })?;
        } else {
            out.line(format_args!("{}\t{index}\t{}", Significant(score), OneLine(text)))?;
        }
    }
    out.flush()?;
    match ranking.truncated.iter().filter(|&&cut| cut != 0).count() {
        0 => {}
        1 => note("1 text was too long and was cut"),
        cut => note(&format!("{cut} texts were too long and were cut")),
    }
    Ok(())
}
