//! Rows of Parquet and Arrow: [`Source`] reads them, [`Sheet`] writes them.

mod arrow_in;
#[cfg(test)]
mod damage;
mod fields;
mod json;
mod page;
mod parquet_in;
mod results;
mod sheet;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, FieldRef, Schema};
use serde_json::{Map, Value};

use super::rows::{Fields, Input};
use crate::failure::{Failure, Outcome};
use crate::run_args::{RowFormat, Run};

pub use fields::{Kind, check, kinds};
pub use sheet::{Accepted, OwnColumns, Sheet};

/// The columns of the input that the output has.
pub type Columns = Vec<FieldRef>;

/// A file of columns, or a stream on standard input.
pub struct Source {
    name: String,
    input: AnyInput,
    columns: Columns,
    /// The places of the text and of the second text among the columns that are read.
    text: usize,
    pair: Option<usize>,
    table: Option<(Arc<Table>, usize)>,
}

enum AnyInput {
    Parquet(parquet_in::ParquetInput),
    Arrow(arrow_in::ArrowInput),
}

/// A row of a table.
#[derive(Clone)]
pub struct Cells {
    table: Arc<Table>,
    row: usize,
}

struct Table {
    batch: RecordBatch,
    text: ArrayRef,
    pair: Option<ArrayRef>,
}

impl Source {
    /// Opens an input without its first `skipped` rows.
    pub fn open(input: &Input, fields: &Fields, skipped: u64) -> Outcome<Self> {
        guarded(|| Self::opened(input, fields, skipped)).map_err(|what| failed(&input.name(), what))
    }

    fn opened(input: &Input, fields: &Fields, skipped: u64) -> Result<Self, String> {
        let mut opened = match (input.format, &input.path) {
            (RowFormat::Parquet, Some(path)) => AnyInput::Parquet(parquet_in::ParquetInput::open(path)?),
            (RowFormat::Parquet, None) => return Err("Parquet is read from its end and must be a file".into()),
            _ => AnyInput::Arrow(arrow_in::ArrowInput::open(input)?),
        };
        let schema: &Schema = match &opened {
            AnyInput::Parquet(input) => input.schema(),
            AnyInput::Arrow(input) => input.schema(),
        };
        let names: Vec<&String> = schema.fields().iter().map(|field| field.name()).collect();
        if let Some(twice) = (1..names.len()).find(|&i| names[..i].contains(&names[i])) {
            return Err(format!("has two columns {:?}", names[twice]));
        }
        let wanted = |name: &String| fields.keeps(name) || *name == fields.text || fields.pair.as_ref() == Some(name);
        let read: Vec<usize> = (0..names.len()).filter(|&i| wanted(names[i])).collect();
        let place = |name: &String| -> Result<usize, String> {
            let missing = || {
                let names: Vec<&str> = names.iter().take(10).map(|name| name.as_str()).collect();
                format!("no column {name:?}; there are: {}", names.join(", "))
            };
            let place = read.iter().position(|&i| names[i] == name).ok_or_else(missing)?;
            match schema.field(read[place]).data_type() {
                kind if is_text(kind) => Ok(place),
                kind => Err(format!("column {name:?} has no strings, but {kind}")),
            }
        };
        let (text, pair) = (place(&fields.text)?, fields.pair.as_ref().map(place).transpose()?);
        for name in &fields.only {
            if !names.contains(&name) {
                return Err(format!("--keep {name}: there is no such column"));
            }
        }
        let kept = read.iter().filter(|&&i| fields.keeps(names[i]));
        let columns: Columns = kept.map(|&i| schema.fields()[i].clone()).collect();
        for field in &columns {
            let named =
                |what: &str| format!("column {:?} has type {}, {what}; see --keep", field.name(), field.data_type());
            if !fields.as_columns && !json::has_values(field.data_type()) {
                return Err(named("which JSON does not have"));
            }
            if nests_dictionary(field.data_type()) {
                return Err(named("a dictionary within another type, which is not written"));
            }
        }
        match &mut opened {
            AnyInput::Parquet(input) => input.select(&read, skipped)?,
            AnyInput::Arrow(input) => input.select(&read, skipped),
        }
        Ok(Self { name: input.name(), input: opened, columns, text, pair, table: None })
    }

    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// Leaves out rows of a source that was opened before it was known how many.
    pub fn skip(&mut self, rows: u64) -> Outcome<()> {
        for _ in 0..rows {
            if self.next()?.is_none() {
                return Err(failed(&self.name, "has fewer rows than the unfinished run had read".into()));
            }
        }
        Ok(())
    }

    pub fn next(&mut self) -> Outcome<Option<Cells>> {
        loop {
            if let Some((table, row)) = &mut self.table
                && *row < table.batch.num_rows()
            {
                *row += 1;
                return Ok(Some(Cells { table: table.clone(), row: *row - 1 }));
            }
            let batch = guarded(|| match &mut self.input {
                AnyInput::Parquet(input) => input.next(),
                AnyInput::Arrow(input) => input.next(),
            });
            let Some(batch) = batch.map_err(|what| failed(&self.name, what))? else { return Ok(None) };
            let strings = |column: usize| values(batch.column(column)).map_err(|what| failed(&self.name, what));
            let (text, pair) = (strings(self.text)?, self.pair.map(strings).transpose()?);
            self.table = Some((Arc::new(Table { batch, text, pair }), 0));
        }
    }
}

impl Cells {
    /// The text and the second text; None: null.
    pub fn text(&self) -> Option<&str> {
        string(&self.table.text, self.row)
    }

    pub fn pair(&self) -> Option<&str> {
        self.table.pair.as_ref().and_then(|pair| string(pair, self.row))
    }

    pub fn json(&self) -> Map<String, Value> {
        let batch = &self.table.batch;
        let schema = batch.schema();
        let cells = schema.fields().iter().zip(batch.columns());
        cells.map(|(field, column)| (field.name().clone(), json::value(column, self.row))).collect()
    }

    /// About the bytes of the row. They depend on nothing else, so that batches have the same ends after an interruption.
    pub fn size(&self) -> usize {
        self.table.batch.columns().iter().map(|column| size(column, self.row)).sum()
    }
}

/// Whether this build can do what is asked for: it can.
pub fn check_build(_input: Option<String>, _output: bool, _args: &Run) -> Outcome<()> {
    Ok(())
}

/// Makes the columns of two inputs those of one output, or says what is different.
pub fn join(columns: &mut Columns, other: &Columns) -> Result<(), String> {
    if let Some(name) =
        other.iter().map(|field| field.name()).find(|name| !columns.iter().any(|known| known.name() == *name))
    {
        return Err(format!("has a column {name:?}, which is not"));
    }
    for known in columns.iter_mut() {
        let (name, kind) = (known.name(), without_dictionary(known).data_type().clone());
        let Some(field) = other.iter().find(|field| field.name() == name) else {
            return Err(format!("lacks the column {name:?}, which is"));
        };
        let other = without_dictionary(field).data_type().clone();
        if other != kind {
            return Err(format!("column {name:?} has type {other}, and {kind}"));
        }
        if field.is_nullable() && !known.is_nullable() {
            *known = Arc::new(known.as_ref().clone().with_nullable(true));
        }
    }
    Ok(())
}

fn failed(name: &str, what: String) -> Failure {
    Failure::new(format!("{name}: {what}"))
}

/// Damaged files can make the libraries panic.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err("is damaged: it cannot be read".into()))
}

fn is_text(kind: &DataType) -> bool {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values) && !matches!(**values, DataType::Dictionary(..)),
        _ => false,
    }
}

/// Whether a type other than a dictionary has one within.
fn nests_dictionary(kind: &DataType) -> bool {
    use DataType::*;
    let has = |kind: &DataType| matches!(kind, Dictionary(..)) || nests_dictionary(kind);
    match kind {
        List(field)
        | LargeList(field)
        | FixedSizeList(field, _)
        | Map(field, _)
        | ListView(field)
        | LargeListView(field) => has(field.data_type()),
        RunEndEncoded(_, field) => has(field.data_type()),
        Struct(fields) => fields.iter().any(|field| has(field.data_type())),
        Union(fields, _) => fields.iter().any(|(_, field)| has(field.data_type())),
        Dictionary(_, values) => has(values),
        _ => false,
    }
}

/// The values of a dictionary, row by row; another array as it is.
fn values(array: &ArrayRef) -> Result<ArrayRef, String> {
    match array.as_any_dictionary_opt() {
        None => Ok(array.clone()),
        Some(dictionary) => {
            arrow_select::take::take(dictionary.values(), dictionary.keys(), None).map_err(|error| error.to_string())
        }
    }
}

/// A column whose dictionary is replaced by its values: each batch has a dictionary of its own, and an Arrow file may have one only.
fn without_dictionary(field: &FieldRef) -> FieldRef {
    match field.data_type() {
        DataType::Dictionary(_, values) => {
            let metadata = field.metadata().clone();
            Arc::new(Field::new(field.name(), (**values).clone(), field.is_nullable()).with_metadata(metadata))
        }
        _ => field.clone(),
    }
}

fn string(array: &ArrayRef, row: usize) -> Option<&str> {
    if array.is_null(row) {
        return None;
    }
    match array.data_type() {
        DataType::Utf8 => Some(array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => Some(array.as_string::<i64>().value(row)),
        DataType::Utf8View => Some(array.as_string_view().value(row)),
        _ => None,
    }
}

fn size(array: &dyn Array, row: usize) -> usize {
    use DataType::*;
    let all = |values: ArrayRef| (0..values.len()).map(|i| size(&values, i)).sum();
    if array.is_null(row) {
        return 1;
    }
    match array.data_type() {
        Utf8 => array.as_string::<i32>().value(row).len(),
        LargeUtf8 => array.as_string::<i64>().value(row).len(),
        Utf8View => array.as_string_view().value(row).len(),
        Binary => array.as_binary::<i32>().value(row).len(),
        LargeBinary => array.as_binary::<i64>().value(row).len(),
        BinaryView => array.as_binary_view().value(row).len(),
        List(_) => all(array.as_list::<i32>().value(row)),
        LargeList(_) => all(array.as_list::<i64>().value(row)),
        FixedSizeList(field, count) if field.data_type().is_primitive() => *count as usize * 8,
        FixedSizeList(..) => all(array.as_fixed_size_list().value(row)),
        Struct(_) => array.as_struct().columns().iter().map(|column| size(column, row)).sum(),
        _ => 8,
    }
}
