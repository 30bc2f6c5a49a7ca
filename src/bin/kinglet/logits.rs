//! `kinglet logits`.

use kinglet::Model;
use serde::Serialize;

use crate::args::Logits;
use crate::failure::Outcome;
use crate::output::{JsonRows, Output};

#[derive(Serialize)]
struct Line<'a> {
    ids: &'a [u32],
    #[serde(skip_serializing_if = "Option::is_none")]
    decoder_ids: Option<&'a [u32]>,
    logits: JsonRows<'a>,
}

pub fn run(model: &Model, args: &Logits) -> Outcome<()> {
    let decoder_ids = args.decoder_ids.as_ref().map(|ids| ids.0.as_slice());
    let logits = model.logits(&args.ids.0, decoder_ids, args.stepwise, None)?;
    let mut out = Output::new();
    if args.json {
        let rows = JsonRows { values: &logits.values, width: logits.vocabulary };
        out.json(&Line { ids: &args.ids.0, decoder_ids, logits: rows })?;
        return out.flush();
    }
    for row in logits.values.chunks_exact(logits.vocabulary) {
        // All digits, for comparisons.
        let row: Vec<String> = row.iter().map(|value| format!("{value:?}")).collect();
        out.line(row.join(" "))?;
    }
    out.flush()
}
