//! `kinglet tokenize`: texts to token ids and, with `--decode`, ids to texts.

use kinglet::{EncodeOptions, Encoding, Model};
use serde::Serialize;

use crate::args::Tokenize;
use crate::failure::{Failure, Outcome};
use crate::input::{Batches, Kind};
use crate::output::{OneLine, Output, is_false};
use crate::values;

#[derive(Serialize)]
struct Line<'a> {
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pair: Option<&'a str>,
    ids: &'a [u32],
    type_ids: &'a [u32],
    #[serde(skip_serializing_if = "Option::is_none")]
    offsets: Option<Vec<[usize; 2]>>,
    #[serde(skip_serializing_if = "is_false")]
    truncated: bool,
}

#[derive(Serialize)]
struct Decoded<'a> {
    ids: &'a [u32],
    text: &'a str,
}

pub fn run(model: &Model, args: &Tokenize) -> Outcome<()> {
    if args.decode {
        return decode(model, args);
    }
    let options = EncodeOptions {
        add_special_tokens: !args.no_special_tokens,
        max_length: args.max_length,
        offsets: args.offsets,
        ..EncodeOptions::default()
    };
    let kind = if args.pair.asked() { Kind::Pair } else { Kind::Text };
    let mut out = Output::new();
    Batches::new(&args.input, kind, args.pair.pair_field.as_deref())?.each(|batch| {
        let encoding = model.tokenize(&batch.texts(), batch.pairs().as_deref(), &options, None)?;
        for (i, text) in batch.texts.iter().enumerate() {
            let tokens = encoding.starts()[i]..encoding.starts()[i + 1];
            let offsets = offsets(&encoding, tokens.clone());
            let ids = &encoding.ids()[tokens.clone()];
            if args.input.json() {
                out.json(&Line {
                    text,
                    pair: batch.pair(i),
                    ids,
                    type_ids: &encoding.type_ids()[tokens],
                    offsets,
                    truncated: encoding.truncated()[i] != 0,
                })?;
                continue;
            }
            let words: Vec<String> = match offsets {
                None => ids.iter().map(u32::to_string).collect(),
                Some(offsets) => {
                    ids.iter().zip(offsets).map(|(id, [start, end])| format!("{id}:{start}-{end}")).collect()
                }
            };
            out.line(words.join(" "))?;
        }
        out.flush()?;
        Ok(encoding.truncated().iter().filter(|&&cut| cut != 0).count())
    })
}

fn offsets(encoding: &Encoding, tokens: std::ops::Range<usize>) -> Option<Vec<[usize; 2]>> {
    encoding.offsets().map(|spans| spans[tokens].iter().map(|span| [span.start, span.end]).collect())
}

fn decode(model: &Model, args: &Tokenize) -> Outcome<()> {
    let mut out = Output::new();
    Batches::new(&args.input, Kind::Ids, None)?.each(|batch| {
        for given in &batch.texts {
            let ids = values::ids(given).map_err(Failure::new)?.0;
            let text = model.decode(&ids, args.no_special_tokens)?;
            if args.input.json() {
                out.json(&Decoded { ids: &ids, text: &text })?;
            } else {
                out.line(OneLine(&text))?;
            }
        }
        out.flush()?;
        Ok(0)
    })
}
