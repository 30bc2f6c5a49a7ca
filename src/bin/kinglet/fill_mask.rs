//! `kinglet fill-mask`.

use kinglet::{Fill, FillMaskOptions, Model};
use serde::Serialize;

use crate::args::FillMask;
use crate::failure::Outcome;
use crate::input::{Batches, Kind};
use crate::output::{OneLine, Output, Significant, is_false};

#[derive(Serialize)]
struct Line<'a> {
    text: &'a str,
    /// The tokens of each mask.
    masks: Vec<Vec<Token<'a>>>,
    #[serde(skip_serializing_if = "is_false")]
    truncated: bool,
}

/// A token, by the names of transformers' pipeline.
#[derive(Serialize)]
struct Token<'a> {
    score: f32,
    token: u32,
    token_str: &'a str,
    sequence: &'a str,
}

impl<'a> Token<'a> {
    fn of(fill: &'a Fill) -> Self {
        Self { score: fill.score, token: fill.token, token_str: &fill.token_text, sequence: &fill.sequence }
    }
}

pub fn run(model: &Model, args: &FillMask) -> Outcome<()> {
    let options = FillMaskOptions {
        top_k: Some(args.top_k),
        targets: args.targets.clone(),
        max_length: args.max_length,
        cancellation: None,
        priority: args.call.priority.unwrap_or_default(),
        deadline: None,
    };
    let mut out = Output::new();
    Batches::new(&args.input, Kind::Text, None)?.each(|batch| {
        let options = FillMaskOptions { deadline: args.call.deadline(), ..options.clone() };
        let found = model.fill_mask(&batch.texts(), &options)?;
        for (i, text) in batch.texts.iter().enumerate() {
            let range = found.starts[i] * found.top_k..found.starts[i + 1] * found.top_k;
            let masks = found.fills[range].chunks_exact(found.top_k);
            if args.input.json() {
                let masks = masks.map(|fills| fills.iter().map(Token::of).collect()).collect();
                out.json(&Line { text, masks, truncated: found.truncated[i] != 0 })?;
                continue;
            }
            for fills in masks {
                for Fill { score, token_text, sequence, .. } in fills {
                    let (score, token) = (Significant(*score), OneLine(token_text));
                    out.line(format_args!("{score}\t{token}\t{}", OneLine(sequence)))?;
                }
                out.line("")?;
            }
        }
        out.flush()?;
        Ok(found.truncated.iter().filter(|&&cut| cut != 0).count())
    })
}
