//! Writing results in the order of the rows, and rejected rows beside them.

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use kinglet::Model;
use serde_json::{Map, Value, json};

use super::columns::{self, Accepted, OwnColumns, Sheet};
use super::manifest::{Manifest, Output};
use super::rows::{BadRow, Own, Row};
use super::tasks::{Fields, Line, Results, Task};
use super::{Done, Plan};
use crate::failure::Outcome;
use crate::progress::Meter;
use crate::run_args::{RowFormat, Run};

/// The time between two manifests.
const SAVED: Duration = Duration::from_secs(1);

pub struct Writer<'a> {
    model: &'a Model,
    args: &'a Run,
    plan: &'a Plan,
    task: &'a Task,
    /// Results as those of each batch will be.
    sample: &'a Results,
    output: Output,
    /// Of an output with columns, once they are known.
    sheet: Option<Sheet>,
}

/// What a batch adds to the output.
#[derive(Default)]
struct Added {
    bytes: Vec<u8>,
    /// Of an output with columns.
    rows: Vec<Accepted>,
}

impl<'a> Writer<'a> {
    pub fn new(
        (model, args, plan): (&'a Model, &'a Run, &'a Plan),
        task: &'a Task,
        sample: &'a Results,
        output: Output,
    ) -> Outcome<Self> {
        let known = match (&plan.columns, &output.manifest.kinds) {
            _ if !plan.output_format.has_columns() => None,
            (Some(columns), _) => Some(OwnColumns::Cells(columns.clone())),
            (None, kinds) => kinds.clone().map(OwnColumns::Fields),
        };
        let mut writer = Self { model, args, plan, task, sample, output, sheet: None };
        known.map(|columns| writer.begin(columns)).transpose()?;
        Ok(writer)
    }

    pub fn rows(&self) -> u64 {
        self.output.manifest.rows
    }

    /// Writes what comes, until no more does.
    pub fn run(mut self, batches: Receiver<Done>) -> Outcome<Self> {
        let mut meter = Meter::new("rows", None, false);
        let mut saved = Instant::now();
        for done in batches {
            meter.add(done.batch.rows.len() as u64);
            self.write(done)?;
            if saved.elapsed() >= SAVED {
                self.output.save()?;
                saved = Instant::now();
            }
        }
        self.output.save()?;
        Ok(self)
    }

    pub fn finish(mut self) -> Outcome<Manifest> {
        if self.plan.output_format.has_columns() && self.sheet.is_none() {
            // There was no row.
            self.begin(OwnColumns::Fields(columns::kinds(std::iter::empty(), &self.args.keep)))?;
        }
        if let Some(sheet) = self.sheet {
            sheet.finish(&mut self.output)?;
        }
        self.output.finish()
    }

    fn begin(&mut self, columns: OwnColumns) -> Outcome<()> {
        let format = (self.plan.output_format, self.args.row_group_size);
        let sheet = Sheet::new(format, columns, (self.sample, self.model), &mut self.output)?;
        self.output.manifest.kinds = sheet.kinds().map(<[_]>::to_vec);
        self.sheet = Some(sheet);
        Ok(())
    }

    fn write(&mut self, done: Done) -> Outcome<()> {
        let Done { batch, results, places } = done;
        if self.plan.output_format.has_columns() && self.sheet.is_none() {
            let rows = || batch.rows.iter().filter_map(|(.., row)| row.as_ref().ok()?.own.fields());
            let fields = rows().flatten().filter(|(name, _)| self.plan.fields.keeps(name));
            let kinds = columns::kinds(fields, &self.args.keep);
            if rows().next().is_some() {
                self.begin(OwnColumns::Fields(kinds))?;
            }
        }
        let (mut added, mut rejected) = (Added::default(), Vec::new());
        let mut places = places.into_iter();
        for (input, number, row) in batch.rows {
            self.output.manifest.rows += 1;
            let refused = row.and_then(|row| {
                let place = places.next().unwrap_or_else(|| Err("was not processed: a fault of kinglet".into()));
                self.one(row, place, &results, &mut added)
            });
            if let Err(BadRow { reason, source }) = refused {
                self.output.manifest.rejected += 1;
                let name = self.plan.inputs[input].name();
                let line = json!({"input": name, "line": number, "reason": reason, "row": source});
                rejected.extend(format!("{line}\n").into_bytes());
            }
        }
        match &mut self.sheet {
            Some(sheet) => sheet.write(&added.rows, (&results, self.model), &rejected, batch.end, &mut self.output),
            None => {
                self.output.append(&added.bytes, &rejected)?;
                self.output.manifest.place = batch.end;
                Ok(())
            }
        }
    }

    /// Adds a row, or says why it cannot be written.
    fn one(
        &mut self,
        row: Row,
        place: Result<(usize, usize), String>,
        results: &[Results],
        added: &mut Added,
    ) -> Result<(), BadRow> {
        let (own, rest) = match row.own {
            Own::Fields(fields) => {
                let (kept, rest) = fields.into_iter().partition(|(name, _)| self.plan.fields.keeps(name));
                (Own::Fields(kept), rest)
            }
            cells => (cells, Map::new()),
        };
        let (result, place) = match place.and_then(|place| self.check(&own).map(|()| place)) {
            Ok(place) => place,
            Err(reason) => return Err(bad(reason, own, rest)),
        };
        match own {
            Own::Fields(kept) if self.sheet.is_none() => {
                let fields = Fields { model: self.model, results: &results[result], row: place, text: &row.text };
                let written = self.line(&Line { kept: &kept, fields }, &mut added.bytes);
                written.map_err(|reason| bad(reason, Own::Fields(kept), rest))?;
            }
            own => added.rows.push(Accepted { own, result, place, text: row.text }),
        }
        self.output.manifest.truncated += u64::from(results[result].truncated(place));
        Ok(())
    }

    /// Whether a row's own fields can be written.
    fn check(&self, own: &Own) -> Result<(), String> {
        // Columns were checked before the first row.
        let Own::Fields(kept) = own else { return Ok(()) };
        if let Some(name) = self.task.fields().iter().copied().find(|&name| kept.contains_key(name)) {
            return Err(format!("the task writes a field {name:?} of its own; see --keep"));
        }
        match self.sheet.as_ref().and_then(Sheet::kinds) {
            Some(kinds) => columns::check(kinds, kept),
            None => Ok(()),
        }
    }

    /// Appends a row in JSON or CSV.
    fn line(&mut self, line: &Line<'_>, written: &mut Vec<u8>) -> Result<(), String> {
        if self.plan.output_format != RowFormat::Csv {
            serde_json::to_writer(&mut *written, line).map_err(|error| error.to_string())?;
            written.push(b'\n');
            return Ok(());
        }
        let cells = line.cells();
        let columns = self.columns(line.kept, written)?;
        if let Some((name, _)) = cells.iter().find(|(name, _)| !columns.contains(name)) {
            return Err(format!(
                "field {name:?} is no column of the output, which are those of the first row; see --keep"
            ));
        }
        let cell = |column: &String| cells.iter().find(|(name, _)| name == column).map_or("", |(_, cell)| cell);
        record(columns.iter().map(cell), written)
    }

    /// The columns of CSV; the first row, which has them, gets the header before it.
    fn columns(&mut self, first: &Map<String, Value>, written: &mut Vec<u8>) -> Result<Vec<String>, String> {
        if let Some(columns) = &self.output.manifest.columns {
            return Ok(columns.clone());
        }
        let mut columns: Vec<String> =
            if self.args.keep.is_empty() { first.keys().cloned().collect() } else { self.args.keep.clone() };
        columns.extend(self.task.fields().iter().map(|&name| name.into()));
        record(columns.iter().map(String::as_str), written)?;
        self.output.manifest.columns = Some(columns.clone());
        Ok(columns)
    }
}

fn bad(reason: String, own: Own, rest: Map<String, Value>) -> BadRow {
    let own = match own {
        Own::Fields(fields) => fields,
        Own::Cells(cells) => cells.json(),
    };
    BadRow { reason, source: Value::Object(own.into_iter().chain(rest).collect()).to_string() }
}

/// Appends a record of CSV.
fn record<'a>(cells: impl Iterator<Item = &'a str>, written: &mut Vec<u8>) -> Result<(), String> {
    let mut writer = csv::Writer::from_writer(written);
    writer.write_record(cells).and_then(|()| Ok(writer.flush()?)).map_err(|error| error.to_string())
}
