//! The input of texts: arguments, lines of standard input, or JSON Lines, in batches, so that input of any length can be processed.

use std::io::{self, BufRead, IsTerminal, StdinLock};

use serde_json::Value;

use crate::args::{PairArgs, TextArgs};
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::progress::Meter;

/// A batch of texts, or of pairs.
#[derive(Default)]
pub struct InputBatch {
    pub texts: Vec<String>,
    pairs: Option<Vec<String>>,
}

impl InputBatch {
    pub fn texts(&self) -> Vec<&str> {
        self.texts.iter().map(String::as_str).collect()
    }

    pub fn pairs(&self) -> Option<Vec<&str>> {
        self.pairs.as_ref().map(|pairs| pairs.iter().map(String::as_str).collect())
    }

    pub fn pair(&self, i: usize) -> Option<&str> {
        self.pairs.as_ref().map(|pairs| pairs[i].as_str())
    }
}

/// The kind of a record.
#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    Text,
    Pair,
    /// A list of token ids; a JSON field may hold a list of numbers.
    Ids,
}

/// A text and, in a pair, the second text.
type Record = (String, Option<String>);

/// Reads batches until the input ends.
pub struct Batches<'a> {
    source: InputSource<'a>,
    kind: Kind,
    size: usize,
    /// Reported after the texts before it have been processed.
    failure: Option<Failure>,
    progress: Meter,
}

enum InputSource<'a> {
    Arguments(std::slice::Iter<'a, String>),
    Lines(Lines),
    Json { lines: Lines, field: &'a str, pair_field: Option<&'a str> },
}

impl<'a> Batches<'a> {
    /// `kind` is the kind of one record; `pair_field` is the field of the second text.
    pub fn new(args: &'a TextArgs, kind: Kind, pair_field: Option<&'a str>) -> Outcome<Self> {
        let mut size = args.batch_size;
        let mut length = None;
        let source = if args.texts.is_empty() {
            let lines = Lines::new();
            if io::stdin().is_terminal() {
                output::note("reading texts from the terminal, one per line; Ctrl-D ends");
                size = 1;
            }
            // The default fields are the same as in JSON output, so one verb can read the output of another.
            match args.field(if kind == Kind::Ids { "ids" } else { "text" }) {
                Some(field) => {
                    let pair_field = (kind == Kind::Pair).then(|| pair_field.unwrap_or("pair"));
                    InputSource::Json { lines, field, pair_field }
                }
                None => InputSource::Lines(lines),
            }
        } else {
            let (texts, step) = (args.texts.len(), if kind == Kind::Pair { 2 } else { 1 });
            if texts % step != 0 {
                return Err(Failure::usage(format!(
                    "{texts} texts do not make pairs; give two arguments for each pair"
                )));
            }
            length = Some((texts / step) as u64);
            InputSource::Arguments(args.texts.iter())
        };
        Ok(Self { source, kind, size, failure: None, progress: Meter::new("texts", length, true) })
    }

    /// Runs `work` on every batch. `work` returns how many texts were truncated; a note gives the total at the end.
    pub fn each(mut self, mut work: impl FnMut(InputBatch) -> Outcome<usize>) -> Outcome<()> {
        let mut cut = 0;
        loop {
            let batch = self.next()?;
            let texts = batch.texts.len();
            if texts == 0 {
                break;
            }
            cut += work(batch)?;
            self.progress.add(texts as u64);
        }
        drop(self);
        match cut {
            0 => {}
            1 => output::note("1 text was too long and was cut"),
            _ => output::note(&format!("{cut} texts were too long and were cut")),
        }
        Ok(())
    }

    /// The next batch; an empty one at the end.
    fn next(&mut self) -> Outcome<InputBatch> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let mut batch = InputBatch { pairs: (self.kind == Kind::Pair).then(Vec::new), ..InputBatch::default() };
        while batch.texts.len() < self.size {
            match self.source.record(self.kind) {
                Ok(None) => break,
                Ok(Some((text, pair))) => {
                    batch.texts.push(text);
                    if let Some(pairs) = &mut batch.pairs {
                        pairs.push(pair.unwrap_or_default());
                    }
                }
                Err(failure) if batch.texts.is_empty() => return Err(failure),
                Err(failure) => {
                    self.failure = Some(failure);
                    break;
                }
            }
        }
        Ok(batch)
    }
}

impl PairArgs {
    pub fn asked(&self) -> bool {
        self.pairs || self.pair_field.is_some()
    }
}

impl InputSource<'_> {
    fn record(&mut self, kind: Kind) -> Outcome<Option<Record>> {
        match self {
            Self::Arguments(texts) => {
                let Some(text) = texts.next() else { return Ok(None) };
                let pair = if kind == Kind::Pair { texts.next().cloned() } else { None };
                Ok(Some((text.clone(), pair)))
            }
            Self::Lines(lines) => {
                let Some(line) = lines.next()? else { return Ok(None) };
                if kind != Kind::Pair {
                    return Ok(Some((line, None)));
                }
                match line.split_once('\t') {
                    Some((text, pair)) => Ok(Some((text.into(), Some(pair.into())))),
                    None => Err(lines.wrong("no tab; a pair is two texts with a tab between")),
                }
            }
            Self::Json { lines, field, pair_field } => loop {
                let Some(line) = lines.next()? else { return Ok(None) };
                if line.trim().is_empty() {
                    continue;
                }
                let value = serde_json::from_str(&line).map_err(|e| lines.wrong(format!("not JSON: {e}")))?;
                let text = take(&value, field, kind).map_err(|what| lines.wrong(what))?;
                let pair = pair_field.map(|field| take(&value, field, kind)).transpose();
                return Ok(Some((text, pair.map_err(|what| lines.wrong(what))?)));
            },
        }
    }
}

/// The text of a field.
pub fn take(value: &Value, field: &str, kind: Kind) -> Result<String, String> {
    let Value::Object(object) = value else {
        return Err("not a JSON object".into());
    };
    match object.get(field) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(list @ Value::Array(_)) if kind == Kind::Ids => Ok(list.to_string()),
        Some(_) if kind == Kind::Ids => Err(format!("field {field:?} is not a list of ids")),
        Some(_) => Err(format!("field {field:?} is not a string")),
        None => {
            let fields: Vec<_> = object.keys().take(10).map(String::as_str).collect();
            Err(format!("no field {field:?}; the line has: {}", fields.join(", ")))
        }
    }
}

/// The lines of standard input, counted.
struct Lines {
    input: StdinLock<'static>,
    number: usize,
}

impl Lines {
    fn new() -> Self {
        Self { input: io::stdin().lock(), number: 0 }
    }

    fn next(&mut self) -> Outcome<Option<String>> {
        self.number += 1;
        let mut line = String::new();
        match self.input.read_line(&mut line) {
            Ok(0) => Ok(None),
            Ok(_) => {
                if line.ends_with('\n') {
                    line.pop();
                    if line.ends_with('\r') {
                        line.pop();
                    }
                }
                Ok(Some(line))
            }
            Err(e) if e.kind() == io::ErrorKind::InvalidData => Err(self.wrong("not UTF-8")),
            Err(e) => Err(self.wrong(e)),
        }
    }

    /// A failure that names the last line read.
    fn wrong(&self, what: impl std::fmt::Display) -> Failure {
        Failure::new(format!("standard input, line {}: {what}", self.number))
    }
}
