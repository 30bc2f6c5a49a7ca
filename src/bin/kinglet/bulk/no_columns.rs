//! Stands for `columns` in a build without Parquet and Arrow: no value of its types exists.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::manifest::Output;
use super::rows::{Fields, Input, Own, Place};
use super::tasks::Results;
use crate::failure::{Failure, Outcome};
use crate::run_args::{RowFormat, Run};

pub type Columns = Vec<Column>;

#[derive(Clone)]
pub enum Column {}
pub enum Source {}
#[derive(Clone)]
pub enum Cells {}
pub enum Sheet {}
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Kind {}

#[derive(Clone)]
pub enum OwnColumns {
    Cells(Columns),
    Fields(Vec<(String, Kind)>),
}

pub struct Accepted {
    pub own: Own,
    pub result: usize,
    pub place: usize,
    pub text: String,
}

fn refused(name: String) -> Failure {
    let what = "this build of kinglet lacks Parquet and Arrow";
    Failure::usage(format!(
        "{name}: {what}; build it with `cargo build --release --features parquet`, or use JSON Lines"
    ))
}

pub fn check_build(input: Option<String>, output: bool, args: &Run) -> Outcome<()> {
    match input.or_else(|| output.then(|| args.output.display().to_string())) {
        Some(name) => Err(refused(name)),
        None => Ok(()),
    }
}

pub fn join(_columns: &mut Columns, _other: &Columns) -> Result<(), String> {
    Ok(())
}

pub fn kinds<'a>(_rows: impl Iterator<Item = (&'a String, &'a Value)>, _kept: &[String]) -> Vec<(String, Kind)> {
    Vec::new()
}

pub fn check(_kinds: &[(String, Kind)], _row: &Map<String, Value>) -> Result<(), String> {
    Ok(())
}

impl Column {
    pub fn name(&self) -> &String {
        match *self {}
    }
}

impl Source {
    pub fn open(input: &Input, _fields: &Fields, _skipped: u64) -> Outcome<Self> {
        Err(refused(input.name()))
    }

    pub fn columns(&self) -> &Columns {
        match *self {}
    }

    pub fn skip(&mut self, _rows: u64) -> Outcome<()> {
        match *self {}
    }

    pub fn next(&mut self) -> Outcome<Option<Cells>> {
        match *self {}
    }
}

impl Cells {
    pub fn text(&self) -> Option<&str> {
        match *self {}
    }

    pub fn pair(&self) -> Option<&str> {
        match *self {}
    }

    pub fn json(&self) -> Map<String, Value> {
        match *self {}
    }

    pub fn size(&self) -> usize {
        match *self {}
    }
}

impl Sheet {
    pub fn new(
        _format: (RowFormat, usize),
        _own: OwnColumns,
        _sample: (&Results, &kinglet::Model),
        _output: &mut Output,
    ) -> Outcome<Self> {
        Err(refused("the output".into()))
    }

    pub fn kinds(&self) -> Option<&[(String, Kind)]> {
        match *self {}
    }

    pub fn write(
        &mut self,
        _rows: &[Accepted],
        _results: (&[Results], &kinglet::Model),
        _rejected: &[u8],
        _end: Place,
        _output: &mut Output,
    ) -> Outcome<()> {
        match *self {}
    }

    pub fn finish(self, _output: &mut Output) -> Outcome<()> {
        match self {}
    }
}
