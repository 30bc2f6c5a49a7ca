//! Fields of JSON and CSV as columns. A column's kind is that of the first rows' values; later values must fit it.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray};
use arrow_schema::{DataType, Field};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Columns;

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    String,
    Boolean,
    Integer,
    Number,
    /// Text in JSON, because the values are of several kinds, lists or objects.
    Json,
}

/// The largest whole number up to which a double has all of them.
const EXACT: u64 = 1 << 53;

impl Kind {
    /// None: null tells nothing.
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Null => None,
            Value::String(_) => Some(Self::String),
            Value::Bool(_) => Some(Self::Boolean),
            Value::Number(number) if number.is_i64() => Some(Self::Integer),
            Value::Number(_) => Some(Self::Number),
            _ => Some(Self::Json),
        }
    }

    fn with(self, other: Self) -> Self {
        match (self, other) {
            (Self::Integer, Self::Number) | (Self::Number, Self::Integer) => Self::Number,
            (a, b) if a == b => a,
            _ => Self::Json,
        }
    }

    fn holds(self, value: &Value) -> bool {
        match (self, value) {
            (_, Value::Null) | (Self::Json, _) => true,
            (Self::Number, Value::Number(number)) => {
                !(number.is_i64() || number.is_u64()) || number.as_i64().is_some_and(|n| n.unsigned_abs() <= EXACT)
            }
            (kind, value) => Self::of(value) == Some(kind),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::String => "strings",
            Self::Boolean => "booleans",
            Self::Integer => "64-bit integers",
            Self::Number => "64-bit floating-point numbers",
            Self::Json => "JSON",
        }
    }

    fn data_type(self) -> DataType {
        match self {
            Self::String | Self::Json => DataType::Utf8,
            Self::Boolean => DataType::Boolean,
            Self::Integer => DataType::Int64,
            Self::Number => DataType::Float64,
        }
    }

    fn array<'a>(self, values: impl Iterator<Item = Option<&'a Value>>) -> ArrayRef {
        let values = values.map(|value| value.filter(|value| !value.is_null()));
        match self {
            Self::String => Arc::new(values.map(|value| value.and_then(Value::as_str)).collect::<StringArray>()),
            Self::Json => Arc::new(values.map(|value| value.map(Value::to_string)).collect::<StringArray>()),
            Self::Boolean => Arc::new(values.map(|value| value.and_then(Value::as_bool)).collect::<BooleanArray>()),
            Self::Integer => Arc::new(values.map(|value| value.and_then(Value::as_i64)).collect::<Int64Array>()),
            Self::Number => Arc::new(values.map(|value| value.and_then(Value::as_f64)).collect::<Float64Array>()),
        }
    }
}

/// The kinds of the fields of some rows, in the order in which the rows have them; those of `kept` are there in any case.
pub fn kinds<'a>(rows: impl Iterator<Item = (&'a String, &'a Value)>, kept: &[String]) -> Vec<(String, Kind)> {
    let mut found: Vec<(String, Option<Kind>)> = Vec::new();
    for (name, value) in rows {
        let kind = Kind::of(value);
        match found.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = known.map_or(kind, |known| Some(kind.map_or(known, |kind| known.with(kind)))),
            None => found.push((name.clone(), kind)),
        }
    }
    for name in kept {
        if !found.iter().any(|(known, _)| known == name) {
            found.push((name.clone(), None));
        }
    }
    found.into_iter().map(|(name, kind)| (name, kind.unwrap_or(Kind::String))).collect()
}

/// Why a row does not fit.
pub fn check(kinds: &[(String, Kind)], row: &Map<String, Value>) -> Result<(), String> {
    for (name, value) in row {
        let Some((_, kind)) = kinds.iter().find(|(known, _)| known == name) else {
            return Err(format!(
                "field {name:?} is no column of the output, which are those of the first rows; see --keep"
            ));
        };
        if !kind.holds(value) {
            return Err(format!(
                "field {name:?} does not fit its column, which has {}, as the first rows do; see --keep",
                kind.name()
            ));
        }
    }
    Ok(())
}

pub fn columns(kinds: &[(String, Kind)]) -> Columns {
    kinds.iter().map(|(name, kind)| Arc::new(Field::new(name, kind.data_type(), true))).collect()
}

pub fn arrays(kinds: &[(String, Kind)], rows: &[&Map<String, Value>]) -> Vec<ArrayRef> {
    kinds.iter().map(|(name, kind)| kind.array(rows.iter().map(|row| row.get(name)))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn kinds_of_the_first_rows() {
        let rows = [
            json!({"a": 1, "b": null, "c": true, "d": "x", "e": [1], "f": 1, "g": null}),
            json!({"a": 2.5, "b": "y", "c": false, "d": 7, "e": null, "f": 2}),
        ];
        let rows: Vec<_> = rows.iter().filter_map(Value::as_object).collect();
        let kinds = kinds(rows.iter().flat_map(|row| row.iter()), &["h".into()]);
        let found: Vec<_> = kinds.iter().map(|(name, kind)| (&**name, *kind)).collect();
        use Kind::*;
        let expected = [
            ("a", Number),
            ("b", String),
            ("c", Boolean),
            ("d", Json),
            ("e", Json),
            ("f", Integer),
            ("g", String),
            ("h", String),
        ];
        assert_eq!(found, expected);
        for (row, what) in [
            (json!({"a": 3, "b": "z", "e": "text", "f": null}), None),
            (json!({"f": 2.5}), Some("\"f\" does not fit its column, which has 64-bit integers")),
            (json!({"f": u64::MAX}), Some("\"f\" does not fit")),
            (json!({"a": EXACT + 1}), Some("\"a\" does not fit")),
            (json!({"c": "true"}), Some("which has booleans")),
            (json!({"b": 1}), Some("which has strings")),
            (json!({"i": 1}), Some("\"i\" is no column")),
        ] {
            let result = check(&kinds, row.as_object().unwrap());
            match what {
                None => assert_eq!(result, Ok(())),
                Some(what) => assert!(result.clone().is_err_and(|found| found.contains(what)), "{row}: {result:?}"),
            }
        }
    }
}
