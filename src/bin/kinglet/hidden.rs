//! `kinglet hidden`.

use kinglet::Model;
use serde::Serialize;

use crate::args::Hidden;
use crate::failure::{Failure, Outcome};
use crate::output::{JsonRows, Output};

#[derive(Serialize)]
struct Line<'a> {
    ids: &'a [u32],
    hidden: JsonRows<'a>,
}

pub fn run(model: &Model, args: &Hidden) -> Outcome<()> {
    let lengths: Vec<usize> = args.ids.iter().map(|ids| ids.0.len()).collect();
    let types: Vec<usize> = args.type_ids.iter().map(|types| types.0.len()).collect();
    if !types.is_empty() && types != lengths {
        return Err(Failure::usage(format!(
            "--type-ids: {types:?} values for {lengths:?} ids; give it once for each --ids, with one value per id"
        )));
    }
    let ids: Vec<u32> = args.ids.iter().flat_map(|ids| ids.0.iter().copied()).collect();
    let types: Option<Vec<u32>> =
        (!types.is_empty()).then(|| args.type_ids.iter().flat_map(|t| t.0.iter().copied()).collect());
    let states = model.hidden_states(&ids, &lengths, types.as_deref(), None)?;

    let (width, mut out) = (states.width, Output::new());
    for (i, bounds) in states.starts.windows(2).enumerate() {
        let values = &states.values[bounds[0] * width..bounds[1] * width];
        if args.json {
            out.json(&Line { ids: &args.ids[i].0, hidden: JsonRows { values, width } })?;
            continue;
        }
        // An empty line between sequences.
        if i > 0 {
            out.line("")?;
        }
        for row in values.chunks_exact(width) {
            // All digits, for comparisons.
            let row: Vec<String> = row.iter().map(|value| format!("{value:?}")).collect();
            out.line(row.join(" "))?;
        }
    }
    out.flush()
}
