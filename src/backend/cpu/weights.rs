//! Weights in the forms that the kernels read, converted tensor by tensor: resident memory never holds more than the packed weights
//! and about a megabyte of the checkpoint.

use half::f16;

use crate::backend::{LinearView, Precision};
use crate::error::{Error, Result};
use crate::formats::safetensors::TensorView;
use crate::kernels::{PackedF16, PackedF32, PackedI8};

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
}

impl Weight {
    pub fn outputs(&self) -> usize {
        match self {
            Self::F32(w) => w.outputs(),
            Self::F16(w) => w.outputs(),
            Self::Int8(w) => w.outputs(),
        }
    }

    pub fn inputs(&self) -> usize {
        match self {
            Self::F32(w) => w.inputs(),
            Self::F16(w) => w.inputs(),
            Self::Int8(w) => w.inputs(),
        }
    }

    pub fn blocks(&self) -> usize {
        match self {
            Self::F32(w) => w.blocks(),
            Self::F16(w) => w.blocks(),
            Self::Int8(w) => w.blocks(),
        }
    }
}

/// Bytes that a packed layer takes, bias included.
pub fn linear_bytes(precision: Precision, outputs: usize, inputs: usize) -> usize {
    let weight = match precision {
        Precision::Auto | Precision::F32 => PackedF32::size(outputs, inputs),
        Precision::F16 => PackedF16::size(outputs, inputs),
        Precision::Int8 => PackedI8::size(outputs, inputs),
    };
    weight.saturating_add(outputs * size_of::<f32>())
}

/// Reads one row at a time of the stacked parts of a layer, letting go of mapped pages on the way.
struct RowReader<'a> {
    view: &'a LinearView<'a>,
    per_part: usize,
    since_release: usize,
    failure: Option<Error>,
}

impl<'a> RowReader<'a> {
    fn new(view: &'a LinearView<'a>) -> Self {
        Self { view, per_part: view.outputs / view.parts.len().max(1), since_release: 0, failure: None }
    }

    fn row(&mut self, output: usize, read: impl FnOnce(&TensorView, usize) -> Result<()>) {
        let (tensor, _) = &self.view.parts[output / self.per_part];
        if let Err(error) = read(tensor, output % self.per_part * self.view.inputs) {
            self.failure.get_or_insert(error);
        }
        self.since_release += self.view.inputs * size_of::<f32>();
        if self.since_release >= RESIDENT {
            self.since_release = 0;
            tensor.release();
        }
    }

    fn finish<T>(self, value: T) -> Result<T> {
        self.view.parts.iter().for_each(|(tensor, _)| tensor.release());
        self.failure.map_or(Ok(value), Err)
    }
}

pub fn linear_load(precision: Precision, view: &LinearView) -> Result<Linear> {
    let (n, k) = (view.outputs, view.inputs);
    let mut rows = RowReader::new(view);
    let weight = match precision {
        Precision::Auto | Precision::F32 => {
            Weight::F32(PackedF32::new(n, k, |i, row: &mut [f32]| rows.row(i, |t, at| t.read_f32(at, row))))
        }
        Precision::F16 => {
            Weight::F16(PackedF16::new(n, k, |i, row: &mut [f16]| rows.row(i, |t, at| t.read_f16(at, row))))
        }
        Precision::Int8 => Weight::Int8(PackedI8::new(n, k, |i, row| rows.row(i, |t, at| t.read_f32(at, row)))),
    };
    let weight = rows.finish(weight)?;
    let mut bias = Vec::with_capacity(n);
    for (_, part) in &view.parts {
        match part {
            Some(part) => bias.extend(part.to_vec_f32()?),
            None => bias.resize(bias.len() + n / view.parts.len(), 0.0),
        }
    }
    Ok(Linear { weight, bias })
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
    Int8(Vec<i8>, Vec<f32>),
}

pub fn table_bytes(precision: Precision, rows: usize, width: usize) -> usize {
    let elements = rows.saturating_mul(width);
    match precision {
        Precision::Auto | Precision::F32 => elements.saturating_mul(4),
        Precision::F16 => elements.saturating_mul(2),
        Precision::Int8 => elements.saturating_add(rows.saturating_mul(4)),
    }
}

pub fn table_load(precision: Precision, view: &TensorView) -> Result<Table> {
    let (rows, width) = (view.rows(), view.cols());
    let each_row = |read: &mut dyn FnMut(usize) -> Result<()>| -> Result<()> {
        let group = (RESIDENT / (width * size_of::<f32>()).max(1)).max(1);
        for row in 0..rows {
            read(row)?;
            if row % group == group - 1 {
                view.release();
            }
        }
        view.release();
        Ok(())
    };
    let values = match precision {
        Precision::Auto | Precision::F32 => {
            let mut values = vec![0.0; rows * width];
            each_row(&mut |i| view.read_f32(i * width, &mut values[i * width..][..width]))?;
            Values::F32(values)
        }
        Precision::F16 => {
            let mut values = vec![f16::ZERO; rows * width];
            each_row(&mut |i| view.read_f16(i * width, &mut values[i * width..][..width]))?;
            Values::F16(values)
        }
        Precision::Int8 => {
            let (mut values, mut scales) = (vec![0i8; rows * width], vec![0.0; rows]);
            let mut row = vec![0.0; width];
            each_row(&mut |i| {
                view.read_f32(i * width, &mut row)?;
                let largest = row.iter().fold(0.0f32, |most, v| most.max(v.abs()));
                scales[i] = largest / 127.0;
                let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
                for (q, v) in values[i * width..][..width].iter_mut().zip(&row) {
                    *q = (v * inverse).round_ties_even() as i8;
                }
                Ok(())
            })?;
            Values::Int8(values, scales)
        }
    };
    Ok(Table { values, width })
}
