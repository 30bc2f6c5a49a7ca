//! Cells as JSON values.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_schema::{DataType, TimeUnit};
use serde_json::Value;

/// Whether cells of a type have a value in JSON.
pub fn has_values(kind: &DataType) -> bool {
    use DataType::*;
    match kind {
        Duration(_) | Interval(_) | Union(..) | RunEndEncoded(..) | ListView(_) | LargeListView(_) => false,
        List(field) | LargeList(field) | FixedSizeList(field, _) | Map(field, _) => has_values(field.data_type()),
        Struct(fields) => fields.iter().all(|field| has_values(field.data_type())),
        Dictionary(_, values) => has_values(values),
        _ => true,
    }
}

/// The value of a cell whose type has values: bytes as hexadecimal digits, decimals as strings, times as ISO 8601 has them.
pub fn value(array: &dyn Array, row: usize) -> Value {
    use DataType::*;
    if array.is_null(row) {
        return Value::Null;
    }
    macro_rules! number {
        ($kind:ty) => {
            Value::from(array.as_primitive::<$kind>().value(row))
        };
    }
    macro_rules! decimal {
        ($kind:ty) => {
            Value::from(array.as_primitive::<$kind>().value_as_string(row))
        };
    }
    match array.data_type() {
        Boolean => array.as_boolean().value(row).into(),
        Int8 => number!(Int8Type),
        Int16 => number!(Int16Type),
        Int32 => number!(Int32Type),
        Int64 => number!(Int64Type),
        UInt8 => number!(UInt8Type),
        UInt16 => number!(UInt16Type),
        UInt32 => number!(UInt32Type),
        UInt64 => number!(UInt64Type),
        Float16 => short(array.as_primitive::<Float16Type>().value(row).to_f32()),
        Float32 => short(array.as_primitive::<Float32Type>().value(row)),
        Float64 => number!(Float64Type),
        Decimal32(..) => decimal!(Decimal32Type),
        Decimal64(..) => decimal!(Decimal64Type),
        Decimal128(..) => decimal!(Decimal128Type),
        Decimal256(..) => decimal!(Decimal256Type),
        Utf8 => array.as_string::<i32>().value(row).into(),
        LargeUtf8 => array.as_string::<i64>().value(row).into(),
        Utf8View => array.as_string_view().value(row).into(),
        Binary => digits(array.as_binary::<i32>().value(row)),
        LargeBinary => digits(array.as_binary::<i64>().value(row)),
        BinaryView => digits(array.as_binary_view().value(row)),
        FixedSizeBinary(_) => digits(array.as_fixed_size_binary().value(row)),
        Date32 => date::<Date32Type>(array, row),
        Date64 => date::<Date64Type>(array, row),
        Time32(TimeUnit::Second) => time::<Time32SecondType>(array, row),
        Time32(_) => time::<Time32MillisecondType>(array, row),
        Time64(TimeUnit::Microsecond) => time::<Time64MicrosecondType>(array, row),
        Time64(_) => time::<Time64NanosecondType>(array, row),
        Timestamp(TimeUnit::Second, zone) => moment::<TimestampSecondType>(array, row, zone.is_some()),
        Timestamp(TimeUnit::Millisecond, zone) => moment::<TimestampMillisecondType>(array, row, zone.is_some()),
        Timestamp(TimeUnit::Microsecond, zone) => moment::<TimestampMicrosecondType>(array, row, zone.is_some()),
        Timestamp(TimeUnit::Nanosecond, zone) => moment::<TimestampNanosecondType>(array, row, zone.is_some()),
        List(_) => list(&*array.as_list::<i32>().value(row)),
        LargeList(_) => list(&*array.as_list::<i64>().value(row)),
        FixedSizeList(..) => list(&*array.as_fixed_size_list().value(row)),
        Struct(fields) => {
            let columns = array.as_struct().columns();
            fields.iter().zip(columns).map(|(field, column)| (field.name().clone(), value(column, row))).collect()
        }
        Map(..) => {
            let entries = array.as_map().value(row);
            let (keys, values) = (entries.column(0), entries.column(1));
            let entry = |i| (plain(value(keys, i)), value(values, i));
            Value::Object((0..entries.len()).map(entry).collect::<serde_json::Map<_, _>>())
        }
        Dictionary(..) => {
            let cell = array.slice(row, 1);
            let cell = cell.as_any_dictionary();
            value(cell.values(), cell.normalized_keys()[0])
        }
        // Null, and what has no values.
        _ => Value::Null,
    }
}

/// A value as text: a string as it is, anything else as JSON.
fn plain(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

fn list(values: &dyn Array) -> Value {
    (0..values.len()).map(|i| value(values, i)).collect()
}

/// With as many digits as tell it from its neighbours, and not those of the number as a double.
fn short(number: f32) -> Value {
    number.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}

fn digits(bytes: &[u8]) -> Value {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
}

/// Times that no calendar has are numbers.
fn date<T: ArrowTemporalType>(array: &dyn Array, row: usize) -> Value
where
    i64: From<T::Native>,
{
    let array = array.as_primitive::<T>();
    array.value_as_date(row).map_or_else(|| i64::from(array.value(row)).into(), |date| date.to_string().into())
}

fn time<T: ArrowTemporalType>(array: &dyn Array, row: usize) -> Value
where
    i64: From<T::Native>,
{
    let array = array.as_primitive::<T>();
    array.value_as_time(row).map_or_else(|| i64::from(array.value(row)).into(), |time| time.to_string().into())
}

fn moment<T: ArrowTemporalType>(array: &dyn Array, row: usize, utc: bool) -> Value
where
    i64: From<T::Native>,
{
    let array = array.as_primitive::<T>();
    let zone = if utc { "Z" } else { "" };
    let text = array.value_as_datetime(row).map(|moment| format!("{moment:?}{zone}"));
    text.map_or_else(|| i64::from(array.value(row)).into(), Value::from)
}
