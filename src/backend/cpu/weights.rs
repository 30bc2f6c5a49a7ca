//! Weights in the forms that the kernels read, converted tensor by tensor: resident memory never holds more than the packed weights
//! and about a megabyte of the checkpoint.

use std::sync::Arc;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::backend::{LinearView, Order, Part, RowReader};
use crate::base::error::Result;
use crate::base::storage::Store;
use crate::formats::safetensors::{DType, TensorView};
use crate::kernels::{PackedBf16, PackedF16, PackedF32, PackedI8};
use crate::spec::Precision;

/// Bytes of a mapped tensor that may be resident before they are let go.
const RESIDENT: usize = 1 << 20;

/// A packed linear layer.
pub struct Linear {
    pub weight: Weight,
    /// One value an output; zeros where the layer has none.
    pub bias: Vec<f32>,
}

pub enum Weight {
    F32(PackedF32),
    F16(PackedF16),
    Int8(PackedI8),
    Bf16(PackedBf16),
}

impl Weight {
    pub fn outputs(&self) -> usize {
        match self {
            Self::F32(w) => w.outputs(),
            Self::F16(w) => w.outputs(),
            Self::Int8(w) => w.outputs(),
            Self::Bf16(w) => w.outputs(),
        }
    }

    pub fn inputs(&self) -> usize {
        match self {
            Self::F32(w) => w.inputs(),
            Self::F16(w) => w.inputs(),
            Self::Int8(w) => w.inputs(),
            Self::Bf16(w) => w.inputs(),
        }
    }

    pub fn blocks(&self) -> usize {
        match self {
            Self::F32(w) => w.blocks(),
            Self::F16(w) => w.blocks(),
            Self::Int8(w) => w.blocks(),
            Self::Bf16(w) => w.blocks(),
        }
    }
}

impl Weight {
    /// Adds the weights of one output to `x`: a row of the word embeddings, where they are the language head too.
    pub fn add_row(&self, output: usize, x: &mut [f32]) {
        match self {
            Self::F32(w) => x.iter_mut().zip(w.channel(output)).for_each(|(x, w)| *x += w),
            Self::F16(w) => x.iter_mut().zip(w.channel(output)).for_each(|(x, w)| *x += w.to_f32()),
            Self::Bf16(w) => x.iter_mut().zip(w.channel(output)).for_each(|(x, w)| *x += w.to_f32()),
            Self::Int8(w) => {
                let scale = w.scales()[output];
                x.iter_mut().zip(w.channel(output)).for_each(|(x, w)| *x += scale * f32::from(w));
            }
        }
    }
}

/// Bytes that a packed layer takes, bias included.
pub fn linear_bytes(precision: Precision, outputs: usize, inputs: usize) -> usize {
    let weight = match precision {
        Precision::Auto | Precision::F32 => PackedF32::size(outputs, inputs),
        Precision::F16 => PackedF16::size(outputs, inputs),
        Precision::Int8 => PackedI8::size(outputs, inputs),
        Precision::Bf16 => PackedBf16::size(outputs, inputs),
    };
    weight.saturating_add(outputs * size_of::<f32>())
}

/// Fills a weight row by row; a row that cannot be read fails the whole at the end. Mapped pages are let go on the way.
fn fill<T>(view: &LinearView, make: impl FnOnce(&mut dyn FnMut(&mut RowReader, Result<()>)) -> T) -> Result<T> {
    let (mut since_release, mut failure) = (0, None);
    let weight = make(&mut |rows, result| {
        if let Err(error) = result {
            failure.get_or_insert(error);
        }
        since_release += view.inputs * size_of::<f32>();
        if since_release >= RESIDENT {
            since_release = 0;
            rows.release();
        }
    });
    view.parts.iter().for_each(|part| part.weight.release());
    failure.map_or(Ok(weight), Err)
}

/// A layer that lies packed in a `.kinglet` file in this very precision.
fn linear_mapped(precision: Precision, view: &LinearView) -> Option<Weight> {
    let [Part { weight, order: Order::From(0), .. }] = view.parts.as_slice() else { return None };
    let ((map, at), n, k) = (weight.mapping(), view.outputs, view.inputs);
    match (precision, weight.dtype) {
        (Precision::F32, DType::PackedF32) => PackedF32::mapped(n, k, map, at).map(Weight::F32),
        (Precision::F16, DType::PackedF16) => PackedF16::mapped(n, k, map, at).map(Weight::F16),
        (Precision::Int8, DType::PackedI8) => PackedI8::mapped(n, k, map, at).map(Weight::Int8),
        (Precision::Bf16, DType::PackedBf16) => PackedBf16::mapped(n, k, map, at).map(Weight::Bf16),
        _ => None,
    }
}

pub fn linear_load(precision: Precision, view: &LinearView) -> Result<Linear> {
    if let Some(weight) = linear_mapped(precision, view) {
        return Ok(Linear { weight, bias: view.bias()? });
    }
    let (n, k) = (view.outputs, view.inputs);
    let mut rows = view.rows();
    let weight = fill(view, |done| match precision {
        Precision::Auto | Precision::F32 => Weight::F32(PackedF32::new(n, k, |i, row: &mut [f32]| {
            let result = rows.f32(i, row);
            done(&mut rows, result);
        })),
        Precision::F16 => Weight::F16(PackedF16::new(n, k, |i, row: &mut [f16]| {
            let result = rows.f16(i, row);
            done(&mut rows, result);
        })),
        Precision::Int8 => Weight::Int8(PackedI8::new(n, k, |i, row| {
            let result = rows.f32(i, row);
            done(&mut rows, result);
        })),
        Precision::Bf16 => {
            let mut wide = vec![0.0; k];
            Weight::Bf16(PackedBf16::new(n, k, |i, row: &mut [bf16]| {
                let result = rows.f32(i, &mut wide);
                row.convert_from_f32_slice(&wide);
                done(&mut rows, result);
            }))
        }
    })?;
    Ok(Linear { weight, bias: view.bias()? })
}

/// Rows to look up, each `width` long.
pub struct Table {
    pub values: Values,
    pub width: usize,
}

pub enum Values {
    F32(Vec<f32>),
    F16(Vec<f16>),
    /// A symmetric scale a row.
    Int8(Store<i8>, Store<f32>),
    /// The rows of a linear layer that is used as a table too.
    Layer(Arc<Linear>),
}

impl Table {
    /// A table of computed values, in f32.
    pub fn from_values(values: Vec<f32>, width: usize) -> Self {
        Self { values: Values::F32(values), width }
    }
}

pub fn table_bytes(precision: Precision, rows: usize, width: usize) -> usize {
    let elements = rows.saturating_mul(width);
    match precision {
        Precision::Auto | Precision::F32 => elements.saturating_mul(4),
        Precision::F16 | Precision::Bf16 => elements.saturating_mul(2),
        Precision::Int8 => elements.saturating_add(rows.saturating_mul(4)),
    }
}

/// Calls `read` for every row, letting go of mapped pages on the way.
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

pub fn table_load(precision: Precision, view: &TensorView) -> Result<Table> {
    let (rows, width) = (view.rows(), view.cols());
    let (map, at) = view.mapping();
    let mapped = match (precision, view.dtype) {
        (Precision::Int8, DType::RowsI8) => {
            let scales = at + (rows * width).next_multiple_of(64);
            Store::mapped(map, at, rows * width).zip(Store::mapped(map, scales, rows)).map(|(v, s)| Values::Int8(v, s))
        }
        _ => None,
    };
    if let Some(values) = mapped {
        return Ok(Table { values, width });
    }
    let values = match precision {
        Precision::Auto | Precision::F32 => {
            let mut values = vec![0.0; rows * width];
            each_row(view, |i| view.read_row_f32(i, &mut values[i * width..][..width]))?;
            Values::F32(values)
        }
        // Tables are not multiplied: f16 takes as much room as bf16 and is nearer.
        Precision::F16 | Precision::Bf16 => Values::F16(rows_f16(view)?),
        Precision::Int8 => {
            let (values, scales) = rows_i8(view)?;
            Values::Int8(values.into(), scales.into())
        }
    };
    Ok(Table { values, width })
}
