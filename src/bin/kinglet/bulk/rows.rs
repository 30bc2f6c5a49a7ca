//! Reading rows in batches of bounded size, from any place on.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::columns::{Cells, Source};
use crate::failure::{Failure, Outcome};
use crate::run_args::RowFormat;

/// The longest row, in bytes.
const MAX_ROW: usize = 64 << 20;
/// A batch ends when it has this many bytes.
const MAX_BATCH: usize = 32 << 20;
/// Rows are parsed on several threads if a batch has more bytes.
const PARSED_ALONE: usize = 256 << 10;

/// A file of rows, or standard input.
#[derive(Clone, Debug)]
pub struct Input {
    /// None: standard input.
    pub path: Option<PathBuf>,
    pub format: RowFormat,
}

impl Input {
    pub fn name(&self) -> String {
        self.path.as_ref().map_or_else(|| "standard input".into(), |path| path.display().to_string())
    }
}

/// Where the next row begins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The index of the input.
    pub input: usize,
    /// Bytes before it.
    pub offset: u64,
    /// Lines before it; of Parquet and Arrow, rows.
    pub line: u64,
    /// Of CSV: the names of the columns, once they are read.
    pub columns: Option<Vec<String>>,
}

/// The fields that a row must have, and those that the output has.
#[derive(Clone)]
pub struct Fields {
    pub text: String,
    pub pair: Option<String>,
    /// Those that the output has; empty: all, unless it has none.
    pub only: Vec<String>,
    pub none: bool,
    /// Whether the output has columns.
    pub as_columns: bool,
}

impl Fields {
    pub fn keeps(&self, name: &String) -> bool {
        !self.none && (self.only.is_empty() || self.only.contains(name))
    }
}

pub struct Row {
    pub own: Own,
    pub text: String,
    pub pair: Option<String>,
}

/// What a row has of its own.
pub enum Own {
    Fields(Map<String, Value>),
    /// Of columns that become columns again.
    Cells(Cells),
}

impl Own {
    pub fn fields(&self) -> Option<&Map<String, Value>> {
        match self {
            Self::Fields(fields) => Some(fields),
            Self::Cells(_) => None,
        }
    }

    pub fn cells(&self) -> Option<&Cells> {
        match self {
            Self::Cells(cells) => Some(cells),
            Self::Fields(_) => None,
        }
    }
}

/// A row that cannot be read.
#[derive(Debug)]
pub struct BadRow {
    pub reason: String,
    pub source: String,
}

pub struct RowBatch {
    /// Each with the index of its input and its line, counted from 1.
    pub rows: Vec<(usize, u64, Result<Row, BadRow>)>,
    /// Where the next batch begins.
    pub end: Place,
}

/// A row as it is in its file.
enum Raw {
    Line(Vec<u8>),
    Record(Vec<String>),
    Cells(Cells),
    Bad(BadRow),
}

pub struct Reader {
    inputs: Vec<Input>,
    fields: Fields,
    place: Place,
    open: Option<Open>,
    /// Of standard input, which is opened once.
    stream: Option<Source>,
}

enum Open {
    Columns(Box<Source>),
    Lines(Box<dyn BufRead>),
    /// `start` is the place where the reader was opened, `left` what may still be read of the row.
    Csv {
        reader: Box<csv::Reader<Limited>>,
        start: Place,
        left: Rc<Cell<usize>>,
    },
}

impl Reader {
    /// `stream` is a source of columns on standard input.
    pub fn new(inputs: Vec<Input>, fields: Fields, place: Place, stream: Option<Source>) -> Self {
        Self { inputs, fields, place, open: None, stream }
    }

    /// The next batch of at most `size` rows; None at the end of all inputs.
    pub fn batch(&mut self, size: usize) -> Outcome<Option<RowBatch>> {
        let (mut raw, mut bytes) = (Vec::new(), 0);
        while raw.len() < size && bytes < MAX_BATCH && self.place.input < self.inputs.len() {
            let Some((line, row)) = self.raw()? else {
                self.open = None;
                self.place = Place { input: self.place.input + 1, ..Place::default() };
                continue;
            };
            bytes += match &row {
                Raw::Line(line) => line.len(),
                Raw::Record(cells) => cells.iter().map(String::len).sum(),
                Raw::Cells(cells) => cells.size(),
                Raw::Bad(bad) => bad.source.len(),
            };
            raw.push((
                self.place.input,
                line,
                self.place.columns.clone().filter(|_| matches!(row, Raw::Record(_))),
                row,
            ));
        }
        if raw.is_empty() {
            return Ok(None);
        }
        let threads = if bytes < PARSED_ALONE { 1 } else { thread::available_parallelism().map_or(1, usize::from) };
        let (fields, inputs) = (&self.fields, &self.inputs);
        let parse = |(input, line, columns, raw): (usize, u64, Option<Vec<String>>, Raw)| {
            let row = match raw {
                Raw::Line(line) if inputs[input].format == RowFormat::Text => text_row(line, fields),
                Raw::Line(line) => json_row(line, fields),
                Raw::Record(cells) => record_row(columns.unwrap_or_default(), cells, fields),
                Raw::Cells(cells) => cells_row(cells, fields),
                Raw::Bad(bad) => Err(bad),
            };
            (input, line, row)
        };
        let mut parts = Vec::new();
        let share = raw.len().div_ceil(threads);
        while !raw.is_empty() {
            let rest = raw.split_off(raw.len().min(share));
            parts.push(std::mem::replace(&mut raw, rest));
        }
        let rows = thread::scope(|scope| {
            let run = |part: Vec<_>| part.into_iter().map(parse).collect::<Vec<_>>();
            let handles: Vec<_> = parts.into_iter().map(|part| scope.spawn(move || run(part))).collect();
            handles.into_iter().map(|handle| handle.join()).collect::<Result<Vec<_>, _>>()
        });
        let rows = rows.map_err(|_| Failure::new("a row could not be parsed: a fault of kinglet"))?;
        Ok(Some(RowBatch { rows: rows.into_iter().flatten().collect(), end: self.place.clone() }))
    }

    /// The next row of the current input with its line; None at its end.
    fn raw(&mut self) -> Outcome<Option<(u64, Raw)>> {
        let input = &self.inputs[self.place.input];
        if self.open.is_none() && input.format.has_columns() {
            self.open = Some(Open::Columns(Box::new(match (&input.path, self.stream.take()) {
                (None, Some(mut stream)) => {
                    stream.skip(self.place.line)?;
                    stream
                }
                _ => Source::open(input, &self.fields, self.place.line)?,
            })));
        }
        let failed = |error: &dyn std::fmt::Display| Failure::new(format!("{}: {error}", input.name()));
        let open = match &mut self.open {
            Some(open) => open,
            None => self.open.insert(open(input, &mut self.place).map_err(|error| failed(&error))?),
        };
        match open {
            Open::Columns(source) => {
                let Some(cells) = source.next()? else { return Ok(None) };
                self.place.line += 1;
                Ok(Some((self.place.line, Raw::Cells(cells))))
            }
            Open::Lines(source) => loop {
                let mut line = Vec::new();
                let count = source.take(MAX_ROW as u64 + 1).read_until(b'\n', &mut line).map_err(|e| failed(&e))?;
                if count == 0 {
                    return Ok(None);
                }
                self.place.line += 1;
                let mut all = count as u64;
                let whole = line.ends_with(b"\n") || count <= MAX_ROW;
                if !whole {
                    all += skip_line(source).map_err(|e| failed(&e))?;
                }
                self.place.offset += all;
                let number = self.place.line;
                if !whole {
                    let reason = format!("the row has {all} bytes; the maximum is {MAX_ROW}");
                    return Ok(Some((number, Raw::Bad(BadRow { reason, source: String::new() }))));
                }
                if line.ends_with(b"\n") {
                    line.pop();
                    if line.ends_with(b"\r") {
                        line.pop();
                    }
                }
                if number == 1 && line.starts_with("\u{feff}".as_bytes()) {
                    line.drain(..3);
                }
                if input.format == RowFormat::Jsonl && line.trim_ascii().is_empty() {
                    continue;
                }
                return Ok(Some((number, Raw::Line(line))));
            },
            Open::Csv { reader, start, left } => {
                left.set(MAX_ROW);
                let mut record = csv::StringRecord::new();
                let line = start.line + reader.position().line();
                let read = reader.read_record(&mut record);
                self.place.offset = start.offset + reader.position().byte();
                self.place.line = start.line + reader.position().line() - 1;
                let bad = |reason: String| Raw::Bad(BadRow { reason, source: String::new() });
                match read {
                    Ok(false) => Ok(None),
                    Ok(true) => {
                        let columns = self.place.columns.as_ref().map_or(0, Vec::len);
                        let row = if record.len() == columns {
                            Raw::Record(record.iter().map(Into::into).collect())
                        } else {
                            bad(format!("the row has {} columns, and the header {columns}", record.len()))
                        };
                        Ok(Some((line, row)))
                    }
                    Err(error) if matches!(error.kind(), csv::ErrorKind::Utf8 { .. }) => {
                        Ok(Some((line, bad("the row is not UTF-8".into()))))
                    }
                    Err(error) => Err(failed(&error)),
                }
            }
        }
    }
}

/// Opens an input at a place, and reads the names of the columns of CSV if they are not known.
fn open(input: &Input, place: &mut Place) -> io::Result<Open> {
    let mut source: Box<dyn Read> = match &input.path {
        Some(path) => {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(place.offset))?;
            Box::new(file)
        }
        None => {
            let mut source = io::stdin();
            let skipped = io::copy(&mut (&mut source).take(place.offset), &mut io::sink())?;
            if skipped < place.offset {
                let what = format!("has {skipped} bytes; the unfinished run had read {}", place.offset);
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
            }
            Box::new(source)
        }
    };
    if input.format != RowFormat::Csv {
        return Ok(Open::Lines(Box::new(BufReader::with_capacity(1 << 20, source))));
    }
    let left = Rc::new(Cell::new(MAX_ROW));
    if place.columns.is_none() {
        skip_mark(&mut source, place)?;
    }
    let limited = Limited { source, left: left.clone() };
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(limited);
    let start = Place { columns: None, ..place.clone() };
    if place.columns.is_none() {
        let mut header = csv::StringRecord::new();
        reader.read_record(&mut header).map_err(io::Error::other)?;
        place.columns = Some(header.iter().map(Into::into).collect());
        place.offset = start.offset + reader.position().byte();
    }
    Ok(Open::Csv { reader: Box::new(reader), start, left })
}

/// Leaves out a byte order mark.
fn skip_mark(source: &mut Box<dyn Read>, place: &mut Place) -> io::Result<()> {
    let mut mark = Vec::new();
    source.as_mut().take(3).read_to_end(&mut mark)?;
    if mark == "\u{feff}".as_bytes() {
        place.offset += 3;
        return Ok(());
    }
    let rest = std::mem::replace(source, Box::new(io::empty()));
    *source = Box::new(io::Cursor::new(mark).chain(rest));
    Ok(())
}

/// Reads to the end of the line, and returns the number of bytes.
fn skip_line(source: &mut Box<dyn BufRead>) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let buffer = source.fill_buf()?;
        let (count, ended) = match buffer.iter().position(|&byte| byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        source.consume(count);
        skipped += count as u64;
        if ended {
            return Ok(skipped);
        }
    }
}

/// Ends a row of CSV that is too long, which an opened quote can make of the rest of a file.
struct Limited {
    source: Box<dyn Read>,
    left: Rc<Cell<usize>>,
}

impl Read for Limited {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        match self.left.get().checked_sub(count) {
            Some(left) => self.left.set(left),
            None => {
                return Err(io::Error::other(format!("a row has more than {MAX_ROW} bytes; is a quote not closed?")));
            }
        }
        Ok(count)
    }
}

fn utf8(line: Vec<u8>) -> Result<String, BadRow> {
    String::from_utf8(line).map_err(|error| BadRow {
        reason: "the row is not UTF-8".into(),
        source: String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

fn text_row(line: Vec<u8>, fields: &Fields) -> Result<Row, BadRow> {
    let text = utf8(line)?;
    let map = Map::from_iter([(fields.text.clone(), Value::String(text.clone()))]);
    row(map, fields).map_err(|reason| BadRow { reason, source: text })
}

fn json_row(line: Vec<u8>, fields: &Fields) -> Result<Row, BadRow> {
    let line = utf8(line)?;
    let map = match serde_json::from_str(&line) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err("the row is not a JSON object".into()),
        Err(error) => Err(format!("the row is not JSON: {error}")),
    };
    map.and_then(|map| row(map, fields)).map_err(|reason| BadRow { reason, source: line })
}

fn record_row(columns: Vec<String>, cells: Vec<String>, fields: &Fields) -> Result<Row, BadRow> {
    let map: Map<String, Value> = columns.into_iter().zip(cells.into_iter().map(Value::String)).collect();
    let source = map.clone();
    row(map, fields).map_err(|reason| BadRow { reason, source: Value::Object(source).to_string() })
}

fn row(map: Map<String, Value>, fields: &Fields) -> Result<Row, String> {
    let take = |field: &String| match map.get(field) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(format!("field {field:?} is not a string")),
        None => {
            let names: Vec<&str> = map.keys().take(10).map(String::as_str).collect();
            Err(format!("no field {field:?}; the row has: {}", names.join(", ")))
        }
    };
    let text = take(&fields.text)?;
    let pair = fields.pair.as_ref().map(take).transpose()?;
    Ok(Row { own: Own::Fields(map), text, pair })
}

fn cells_row(cells: Cells, fields: &Fields) -> Result<Row, BadRow> {
    let bad = |reason: String| BadRow { reason, source: Value::Object(cells.json()).to_string() };
    let take = |text: Option<&str>, field: &String| match text {
        Some(text) if text.len() > MAX_ROW => {
            Err(bad(format!("field {field:?} has {} bytes; the maximum is {MAX_ROW}", text.len())))
        }
        Some(text) => Ok(text.to_string()),
        None => Err(bad(format!("field {field:?} is null"))),
    };
    let text = take(cells.text(), &fields.text)?;
    let pair = fields.pair.as_ref().map(|field| take(cells.pair(), field)).transpose()?;
    Ok(Row { own: if fields.as_columns { Own::Cells(cells) } else { Own::Fields(cells.json()) }, text, pair })
}

/// The format that a file's name tells.
pub fn format_of(path: &Path) -> Outcome<RowFormat> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    match extension.to_ascii_lowercase().as_str() {
        "jsonl" | "ndjson" => Ok(RowFormat::Jsonl),
        "csv" => Ok(RowFormat::Csv),
        "txt" => Ok(RowFormat::Text),
        "gz" | "zst" | "bz2" | "xz" => {
            Err(Failure::usage(format!("{}: is compressed; decompress it into `--input -`", path.display())))
        }
        "parquet" => Ok(RowFormat::Parquet),
        "arrow" | "arrows" | "feather" | "ipc" => Ok(RowFormat::Arrow),
        _ => Err(Failure::usage(format!("{}: the name does not tell the format; see --input-format", path.display()))),
    }
}
