//! `kinglet zero-shot`.

use kinglet::{Model, ZeroShotOptions};
use serde::Serialize;

use crate::args::ZeroShot;
use crate::failure::Outcome;
use crate::input::{Batches, Kind};
use crate::output::{OneLine, Output, Significant, is_false};

/// A text, by the names of transformers' pipeline.
#[derive(Serialize)]
struct Line<'a> {
    text: &'a str,
    labels: Vec<&'a str>,
    scores: &'a [f32],
    #[serde(skip_serializing_if = "is_false")]
    truncated: bool,
}

pub fn run(model: &Model, args: &ZeroShot) -> Outcome<()> {
    let options = ZeroShotOptions {
        hypothesis_template: args.hypothesis_template.clone(),
        multi_label: args.multi_label,
        max_length: args.max_length,
        cancellation: None,
        priority: args.call.priority.unwrap_or_default(),
        deadline: None,
    };
    let labels: Vec<&str> = args.labels.iter().map(|label| label.trim()).collect();
    let mut out = Output::new();
    Batches::new(&args.input, Kind::Text, None)?.each(|batch| {
        let options = ZeroShotOptions { deadline: args.call.deadline(), ..options.clone() };
        let found = model.classify_zero_shot(&batch.texts(), &labels, &options)?;
        for (i, text) in batch.texts.iter().enumerate() {
            let range = i * found.labels..(i + 1) * found.labels;
            let (order, scores) = (&found.order[range.clone()], &found.scores[range]);
            let named: Vec<&str> = order.iter().map(|&label| labels[label as usize]).collect();
            if args.input.json() {
                out.json(&Line { text, labels: named, scores, truncated: found.truncated[i] != 0 })?;
                continue;
            }
            for (label, &score) in named.iter().zip(scores) {
                out.line(format_args!("{}\t{}\t{}", Significant(score), OneLine(label), OneLine(text)))?;
            }
            out.line("")?;
        }
        out.flush()?;
        Ok(found.truncated.iter().filter(|&&cut| cut != 0).count())
    })
}
