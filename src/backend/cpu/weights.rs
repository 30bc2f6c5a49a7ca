//! Weights in the kernels' formats, converted tensor by tensor: at most the packed weights and about a megabyte of the checkpoint are
//! resident.

use std::sync::Arc;

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::backend::{InputTransform, LinearView, Order, Part, RowReader};
use crate::base::error::{Error, Result};
use crate::base::memory::ensure;
use crate::base::storage::Store;
use crate::formats::safetensors::{DType, TensorView};
use crate::kernels::GROUP_INPUTS;
use crate::kernels::weight::{Format, FourBits, ROWS_I8, RowSource, Shape, TableType, Weight, row_scales_at};
use crate::spec::Precision;

/// Bytes of a mapped tensor that are read before their pages are released.
const RESIDENT: usize = 1 << 20;

/// A packed linear layer.
pub struct Linear {
    pub weight: Weight,
    /// One value per output; zeros if the layer has no bias.
    pub bias: Vec<f32>,
    /// What the inputs are before they are rounded and multiplied.
    pub transform: InputTransform,
}

/// The size of a packed layer in bytes, bias included.
pub fn linear_bytes(precision: Precision, outputs: usize, inputs: usize) -> usize {
    Format::new(precision).bytes(Shape { outputs, inputs }).saturating_add(outputs * size_of::<f32>())
}

/// The rows of a layer to pack. It keeps the first error and releases mapped pages.
struct LayerRows<'a> {
    rows: RowReader<'a>,
    transform: &'a InputTransform,
    since_release: usize,
    failure: Option<Error>,
}

impl LayerRows<'_> {
    fn done(&mut self, inputs: usize, result: Result<()>) {
        if let Err(error) = result {
            self.failure.get_or_insert(error);
        }
        self.since_release += inputs * size_of::<f32>();
        if self.since_release >= RESIDENT {
            self.since_release = 0;
            self.rows.release();
        }
    }
}

impl RowSource for LayerRows<'_> {
    fn f32(&mut self, row: usize, out: &mut [f32]) {
        let result = self.rows.f32(row, out);
        self.transform.weights(out);
        self.done(out.len(), result);
    }

    fn f16(&mut self, row: usize, out: &mut [f16]) {
        if !self.transform.is_none() {
            let mut wide = vec![0.0; out.len()];
            self.f32(row, &mut wide);
            return out.convert_from_f32_slice(&wide);
        }
        let result = self.rows.f16(row, out);
        self.done(out.len(), result);
    }

    fn four_bits(&mut self, row: usize, out: &mut [FourBits]) -> bool {
        if !self.transform.is_none() {
            return false;
        }
        let result = self.rows.four_bits(row, out);
        if matches!(result, Ok(false)) {
            return false;
        }
        self.done(out.len() * GROUP_INPUTS, result.map(|_| ()));
        true
    }

    fn bytes(&mut self, row: usize, out: &mut [i8]) -> Option<f32> {
        if !self.transform.is_none() {
            return None;
        }
        let result = self.rows.bytes(row, out).transpose()?;
        let scale = result.as_ref().map_or(0.0, |scale| *scale);
        self.done(out.len(), result.map(|_| ()));
        Some(scale)
    }
}

/// A layer of a `.kinglet` file in the same format, mapped.
fn linear_mapped(format: &'static Format, shape: Shape, view: &LinearView) -> Option<Weight> {
    let [Part { weight, order: Order::From(0), .. }] = view.parts.as_slice() else { return None };
    let (map, at) = weight.mapping();
    if weight.dtype == DType::Packed(&format.stored) { format.map(shape, map, at) } else { None }
}

/// Weights that are packed on one thread: starting others would take as long.
const SMALL: usize = 1 << 18;

/// Packs a layer on so many threads, unless it is small or mapped.
pub fn linear_load(precision: Precision, view: &LinearView, threads: usize) -> Result<Linear> {
    linear_transformed(precision, view, &InputTransform::default(), threads)
}

/// As [`linear_load`], with a transform of the inputs, which is that of the file where the layer is mapped.
pub fn linear_transformed(
    precision: Precision,
    view: &LinearView,
    transform: &InputTransform,
    threads: usize,
) -> Result<Linear> {
    let format = Format::new(precision);
    let shape = Shape { outputs: view.outputs, inputs: view.inputs };
    if let Some(weight) = linear_mapped(format, shape, view) {
        return Ok(Linear { weight, bias: view.bias()?, transform: view.transform.clone() });
    }
    ensure(linear_bytes(precision, view.outputs, view.inputs) as u64, "the weights")?;
    let small = view.outputs.saturating_mul(view.inputs) < SMALL;
    let source = |_| LayerRows { rows: view.rows(), transform, since_release: 0, failure: None };
    let mut sources: Vec<LayerRows> = (0..if small { 1 } else { threads.max(1) }).map(source).collect();
    let weight = format.pack_shared(shape, &mut sources.iter_mut().collect::<Vec<_>>());
    view.parts.iter().for_each(|part| part.weight.release());
    match sources.into_iter().find_map(|source| source.failure) {
        None => Ok(Linear { weight, bias: view.bias()?, transform: transform.clone() }),
        Some(error) => Err(error),
    }
}

/// Rows to look up, each `width` long.
pub struct Table {
    pub values: TableValues,
    pub width: usize,
}

pub enum TableValues {
    F32(Vec<f32>),
    F16(Vec<f16>),
    /// Values, and a symmetric scale per row.
    Int8(Store<i8>, Store<f32>),
    /// The rows of a linear layer that is also a table.
    Layer(Arc<Linear>),
}

impl Table {
    /// A table of computed values, in f32.
    pub fn from_values(values: Vec<f32>, width: usize) -> Self {
        Self { values: TableValues::F32(values), width }
    }
}

pub fn table_bytes(precision: Precision, rows: usize, width: usize) -> usize {
    Format::new(precision).table.bytes(rows, width)
}

/// As [`Backend::tables_are_exact`](crate::backend::Backend::tables_are_exact): the tables of bf16 models are f16.
pub fn tables_are_exact(precision: Precision) -> bool {
    precision != Precision::Bf16
}

/// Calls `read` for each row and releases mapped pages.
fn each_row(view: &TensorView, mut read: impl FnMut(usize) -> Result<()>) -> Result<()> {
    let group = (RESIDENT / (view.cols() * size_of::<f32>()).max(1)).max(1);
    for row in 0..view.rows() {
        read(row)?;
        if row % group == group - 1 {
            view.release();
        }
    }
    view.release();
    Ok(())
}

/// A table in f16.
pub fn rows_f16(view: &TensorView) -> Result<Vec<f16>> {
    let width = view.cols();
    let mut values = vec![f16::ZERO; view.rows() * width];
    each_row(view, |i| view.read_row_f16(i, &mut values[i * width..][..width]))?;
    Ok(values)
}

/// A table in 8 bits, and a scale for each row.
pub fn rows_i8(view: &TensorView) -> Result<(Vec<i8>, Vec<f32>)> {
    let (rows, width) = (view.rows(), view.cols());
    let (mut values, mut scales) = (vec![0i8; rows * width], vec![0.0; rows]);
    let mut row = vec![0.0; width];
    each_row(view, |i| {
        view.read_row_f32(i, &mut row)?;
        let largest = row.iter().fold(0.0f32, |most, v| most.max(v.abs()));
        scales[i] = largest / 127.0;
        let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
        for (q, v) in values[i * width..][..width].iter_mut().zip(&row) {
            *q = (v * inverse).round_ties_even() as i8;
        }
        Ok(())
    })?;
    Ok((values, scales))
}

/// An 8-bit table of a `.kinglet` file, mapped.
fn table_mapped(view: &TensorView) -> Option<TableValues> {
    let shape = Shape { outputs: view.rows(), inputs: view.cols() };
    let (map, at) = view.mapping();
    let scales = Store::mapped(map, at.checked_add(row_scales_at(shape)?)?, shape.outputs)?;
    Some(TableValues::Int8(Store::mapped(map, at, shape.outputs * shape.inputs)?, scales))
}

pub fn table_load(precision: Precision, view: &TensorView) -> Result<Table> {
    let (rows, width) = (view.rows(), view.cols());
    let table = Format::new(precision).table;
    if table == TableType::I8
        && view.dtype == DType::Packed(&ROWS_I8)
        && let Some(values) = table_mapped(view)
    {
        return Ok(Table { values, width });
    }
    ensure(table.bytes(rows, width) as u64, "the weights")?;
    let values = match table {
        TableType::F32 => {
            let mut values = vec![0.0; rows * width];
            each_row(view, |i| view.read_row_f32(i, &mut values[i * width..][..width]))?;
            TableValues::F32(values)
        }
        TableType::F16 => TableValues::F16(rows_f16(view)?),
        TableType::I8 => {
            let (values, scales) = rows_i8(view)?;
            TableValues::Int8(values.into(), scales.into())
        }
    };
    Ok(Table { values, width })
}
