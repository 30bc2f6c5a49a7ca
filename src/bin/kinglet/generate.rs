//! `kinglet generate`.

use std::io::{self, Write};

use kinglet::{GenerateOptions, Model, Output as Generated, Piece};
use serde::Serialize;

use crate::args::Generate;
use crate::failure::{Failure, Outcome};
use crate::input::{Batches, Kind};
use crate::output::{OneLine, Output, is_false};

#[derive(Serialize)]
struct Line<'a> {
    text: &'a str,
    outputs: Vec<One<'a>>,
    #[serde(skip_serializing_if = "is_false")]
    truncated: bool,
}

#[derive(Serialize)]
struct One<'a> {
    text: &'a str,
    tokens: &'a [u32],
    score: f32,
    finish_reason: &'static str,
    #[serde(skip_serializing_if = "<[f32]>::is_empty")]
    logprobs: &'a [f32],
}

impl<'a> From<&'a Generated> for One<'a> {
    fn from(o: &'a Generated) -> Self {
        let finish_reason = o.finish_reason.name();
        Self { text: &o.text, tokens: &o.tokens, score: o.score, finish_reason, logprobs: &o.logprobs }
    }
}

pub fn run(model: &Model, args: &Generate) -> Outcome<()> {
    let generation = &args.generation;
    let mut options = if args.input.json() { generation.options()? } else { generation.options_of_text()? };
    options.priority = args.call.priority.unwrap_or_default();
    if let Some(text) = &args.prefix {
        options.prefix = Some(model.prefix(text, !args.generation.no_special_tokens, None)?);
    }
    let whole = |text: &str| match &args.prefix {
        Some(prefix) => format!("{prefix}{text}"),
        None => text.to_string(),
    };
    let mut out = Output::new();
    // A text may have several lines, so an empty line separates it from the next.
    let mut printed = 0;
    Batches::new(&args.input, Kind::Text, None)?.each(|batch| {
        let prompts: Vec<String> = batch.texts.iter().map(|text| whole(text)).collect();
        if args.stream {
            let mut cut = 0;
            for prompt in &prompts {
                options.deadline = args.call.deadline();
                cut += usize::from(stream(model, prompt, &options)?);
            }
            return Ok(cut);
        }
        let prompts: Vec<&str> = prompts.iter().map(String::as_str).collect();
        options.deadline = args.call.deadline();
        let result = model.generate(&prompts, &options, None)?;
        for ((text, outputs), &cut) in batch.texts.iter().zip(&result.outputs).zip(&result.truncated) {
            if args.input.json() {
                out.json(&Line { text, outputs: outputs.iter().map(One::from).collect(), truncated: cut != 0 })?;
                continue;
            }
            for output in outputs {
                if args.one_line {
                    out.line(OneLine(&output.text))?;
                } else {
                    if printed > 0 {
                        out.line("")?;
                    }
                    out.line(&output.text)?;
                }
                printed += 1;
            }
        }
        out.flush()?;
        Ok(result.truncated.iter().filter(|&&cut| cut != 0).count())
    })
}

/// Prints a text while it is generated. Returns whether its prompt was cut.
fn stream(model: &Model, prompt: &str, options: &GenerateOptions) -> Outcome<bool> {
    let mut failure = None;
    let mut listener = printer(&mut failure);
    let result = model.generate(&[prompt], options, Some(&mut listener));
    drop(listener);
    failure.map_or(Ok(()), Err)?;
    let cut = result?.truncated.contains(&1);
    io::stdout().write_all(b"\n").map_err(Failure::output)?;
    Ok(cut)
}

/// A listener that prints pieces. A failed write ends the call and is stored in `failure`.
pub fn printer(failure: &mut Option<Failure>) -> impl FnMut(Piece) -> bool {
    |piece| {
        let mut out = io::stdout();
        let written = out.write_all(piece.text.as_bytes()).and_then(|()| out.flush());
        match written {
            Ok(()) => true,
            Err(error) => {
                *failure = Some(Failure::output(error));
                false
            }
        }
    }
}
