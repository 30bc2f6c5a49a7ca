//! The results of the tasks as columns.

use std::sync::Arc;

use arrow_array::builder::{
    ArrayBuilder, FixedSizeListBuilder, Float32Builder, Int32Builder, ListBuilder, StringBuilder, StructBuilder,
    UInt64Builder,
};
use arrow_array::{ArrayRef, BooleanArray, Float32Array, Float64Array, StringArray, UInt64Array};
use arrow_schema::{DataType, Field, FieldRef, Fields};
use kinglet::Model;

use super::Columns;
use super::sheet::Accepted;
use crate::bulk::tasks::Results;
use crate::classify::EntityLine;

fn field(name: &str, kind: DataType) -> FieldRef {
    Arc::new(Field::new(name, kind, false))
}

/// The field of a list's elements. It may be null, as other libraries have it.
fn element(kind: DataType) -> FieldRef {
    Arc::new(Field::new_list_field(kind, true))
}

fn list(kind: DataType) -> DataType {
    DataType::List(element(kind))
}

/// The columns of results such as `sample`.
pub fn columns(sample: &Results, model: &Model) -> Result<Columns, String> {
    let mut columns = match sample {
        Results::Embeddings(embeddings, by_token) => {
            let width = i32::try_from(embeddings.dimension).map_err(|error| error.to_string())?;
            let vector = DataType::FixedSizeList(element(DataType::Float32), width);
            vec![field("embedding", if *by_token { list(vector) } else { vector })]
        }
        Results::Classes(classes) => {
            let labels = &model.labels()[..model.labels().len().min(classes.labels)];
            if let Some(twice) = (1..labels.len()).find(|&i| labels[..i].contains(&labels[i])) {
                return Err(format!("the model has two labels {:?}, of which no columns can be made", labels[twice]));
            }
            let scores = labels.iter().map(|label| field(label, DataType::Float32)).collect();
            vec![
                field("label", DataType::Utf8),
                field("score", DataType::Float32),
                field("scores", DataType::Struct(scores)),
            ]
        }
        Results::Scores(_) => vec![field("score", DataType::Float32)],
        Results::Entities(..) => vec![field("entities", list(DataType::Struct(entity())))],
        Results::Texts(texts) => {
            let several = texts.outputs.first().is_some_and(|outputs| outputs.len() != 1);
            let kind = if several { list(DataType::Utf8) } else { DataType::Utf8 };
            vec![field("generated_text", kind.clone()), field("finish_reason", kind)]
        }
        Results::Tokens(_) => vec![field("input_ids", list(DataType::Int32))],
        Results::Compressions(_) => {
            return Ok(vec![
                field("compressed_text", DataType::Utf8),
                field("tokens_before", DataType::UInt64),
                field("tokens_after", DataType::UInt64),
                field("ratio", DataType::Float64),
            ]);
        }
    };
    columns.push(field("truncated", DataType::Boolean));
    Ok(columns)
}

fn entity() -> Fields {
    let fields = [
        ("entity", DataType::Utf8),
        ("score", DataType::Float32),
        ("start", DataType::UInt64),
        ("end", DataType::UInt64),
        ("text", DataType::Utf8),
    ];
    fields.into_iter().map(|(name, kind)| Field::new(name, kind, false)).collect()
}

/// Of each row what `of` finds in its results; None: results of another task, which do not come.
fn each<'a, T>(
    results: &'a [Results],
    rows: &[Accepted],
    of: impl Fn(&'a Results, usize) -> Option<T>,
) -> Vec<Option<T>> {
    rows.iter().map(|row| of(&results[row.result], row.place)).collect()
}

/// The columns of `columns` for these rows.
pub fn arrays(results: &[Results], rows: &[Accepted], columns: &[FieldRef], model: &Model) -> Vec<ArrayRef> {
    columns.iter().map(|column| array(results, rows, column, model)).collect()
}

fn array(results: &[Results], rows: &[Accepted], column: &FieldRef, model: &Model) -> ArrayRef {
    use Results::*;
    match column.name().as_str() {
        "embedding" => vectors(results, rows, column),
        "label" => {
            let label = |result: &Results, row| match result {
                Classes(classes) => Some(model.labels().get(classes.best[row] as usize).map_or("", String::as_str)),
                _ => None,
            };
            Arc::new(StringArray::from(each(results, rows, label)))
        }
        "score" => {
            let score = |result: &Results, row| match result {
                Classes(classes) | Scores(classes) => {
                    Some(classes.scores[row * classes.labels + classes.best[row] as usize])
                }
                _ => None,
            };
            Arc::new(Float32Array::from(each(results, rows, score)))
        }
        "scores" => {
            let DataType::Struct(fields) = column.data_type() else { return nulls(rows) };
            let scores = (0..fields.len()).map(|label| {
                let score = |result: &Results, row| match result {
                    Classes(classes) => classes.scores[row * classes.labels..][..classes.labels].get(label).copied(),
                    _ => None,
                };
                Arc::new(Float32Array::from(each(results, rows, score))) as ArrayRef
            });
            Arc::new(arrow_array::StructArray::new(fields.clone(), scores.collect(), None))
        }
        "entities" => entities(results, rows),
        name @ ("generated_text" | "finish_reason") => {
            let words = each(results, rows, |result, row| match result {
                Texts(texts) => Some(texts.outputs[row].iter().map(move |one| match name {
                    "finish_reason" => one.finish_reason.name(),
                    _ => one.text.as_str(),
                })),
                _ => None,
            });
            if column.data_type() == &DataType::Utf8 {
                let one = words.into_iter().map(|words| words.and_then(|mut words| words.next()));
                return Arc::new(one.collect::<StringArray>());
            }
            let mut lists = ListBuilder::new(StringBuilder::new());
            words.into_iter().for_each(|words| lists.append_option(words.map(|words| words.map(Some))));
            Arc::new(lists.finish())
        }
        "input_ids" => {
            let ids = each(results, rows, |result, row| match result {
                Tokens(encoding) => Some(&encoding.ids()[encoding.starts()[row]..encoding.starts()[row + 1]]),
                _ => None,
            });
            let mut lists = ListBuilder::new(Int32Builder::new());
            ids.into_iter().for_each(|ids| lists.append_option(ids.map(|ids| ids.iter().map(|&id| Some(id as i32)))));
            Arc::new(lists.finish())
        }
        "truncated" => {
            let truncated = each(results, rows, |result, row| Some(result.truncated(row)));
            Arc::new(BooleanArray::from(truncated))
        }
        "compressed_text" => Arc::new(StringArray::from(each(results, rows, |result, row| {
            result.compression(row).map(|c| c.text.as_str())
        }))),
        name @ ("tokens_before" | "tokens_after") => {
            let count = each(results, rows, |result, row| {
                let found = result.compression(row)?;
                Some(if name == "tokens_before" { found.tokens_before } else { found.tokens_after } as u64)
            });
            Arc::new(UInt64Array::from(count))
        }
        "ratio" => {
            Arc::new(Float64Array::from(each(results, rows, |result, row| result.compression(row).map(|c| c.ratio()))))
        }
        _ => nulls(rows),
    }
}

fn nulls(rows: &[Accepted]) -> ArrayRef {
    arrow_array::new_null_array(&DataType::Null, rows.len())
}

fn vectors(results: &[Results], rows: &[Accepted], column: &FieldRef) -> ArrayRef {
    let (width, by_token) = match column.data_type() {
        DataType::FixedSizeList(_, width) => (*width, false),
        DataType::List(vector) => match vector.data_type() {
            DataType::FixedSizeList(_, width) => (*width, true),
            _ => return nulls(rows),
        },
        _ => return nulls(rows),
    };
    let values = each(results, rows, |result, row| match result {
        Results::Embeddings(embeddings, _) => {
            let width = embeddings.dimension;
            Some(&embeddings.values[embeddings.starts[row] * width..embeddings.starts[row + 1] * width])
        }
        _ => None,
    });
    let vector = FixedSizeListBuilder::new(Float32Builder::new(), width);
    if !by_token {
        let mut vectors = vector;
        for values in values {
            vectors.values().append_slice(values.unwrap_or_default());
            vectors.append(true);
        }
        return Arc::new(vectors.finish());
    }
    let mut lists = ListBuilder::new(vector);
    for values in values {
        for token in values.unwrap_or_default().chunks_exact(width.max(1) as usize) {
            lists.values().values().append_slice(token);
            lists.values().append(true);
        }
        lists.append(true);
    }
    Arc::new(lists.finish())
}

fn entities(results: &[Results], rows: &[Accepted]) -> ArrayRef {
    let builders: Vec<Box<dyn ArrayBuilder>> = vec![
        Box::new(StringBuilder::new()),
        Box::new(Float32Builder::new()),
        Box::new(UInt64Builder::new()),
        Box::new(UInt64Builder::new()),
        Box::new(StringBuilder::new()),
    ];
    let mut lists = ListBuilder::new(StructBuilder::new(entity(), builders));
    for row in rows {
        if let Results::Entities(found, ranges) = &results[row.result] {
            for entity in &found.entities[ranges[row.place].clone()] {
                append(lists.values(), &EntityLine::of(entity, &row.text));
            }
        }
        lists.append(true);
    }
    Arc::new(lists.finish())
}

fn append(to: &mut StructBuilder, line: &EntityLine<'_>) {
    for (place, text) in [(0, line.entity), (4, line.text)] {
        if let Some(builder) = to.field_builder::<StringBuilder>(place) {
            builder.append_value(text);
        }
    }
    if let Some(builder) = to.field_builder::<Float32Builder>(1) {
        builder.append_value(line.score);
    }
    for (place, at) in [(2, line.start), (3, line.end)] {
        if let Some(builder) = to.field_builder::<UInt64Builder>(place) {
            builder.append_value(at as u64);
        }
    }
    to.append(true);
}
