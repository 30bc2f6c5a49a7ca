//! A linear layer in a checkpoint, and reading its rows. Checkpoints store queries, keys and values together or separately,
//! interleaved by head, or transposed; backends read the same rows in all cases.

use half::f16;

use super::transform::InputTransform;
use crate::base::error::Result;
use crate::formats::safetensors::TensorView;
use crate::kernels::weight::FourBits;
use crate::spec::Precision;

/// Columns of a transposed tensor that are read together: whole cache lines.
const COLUMNS: usize = 64;

/// What a linear layer is for, which decides the precision of its weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Attention and feed-forward: nearly all weights.
    Layer,
    /// The language head and classifiers, whose errors reach the result directly, and the projection of embeddings, whose errors reach all
    /// layers: at least 8 bits.
    Head,
    /// The router of a mixture of experts, whose errors pick other experts: f32.
    Router,
    /// Over one vector per text, which costs next to nothing: at least 16 bits.
    Vector,
}

impl Role {
    /// The precision of such a layer in a model of this precision.
    pub fn precision(self, model: Precision) -> Precision {
        match (self, model) {
            (Self::Head, Precision::Int4) => Precision::Int8,
            (Self::Router, _) => Precision::F32,
            (Self::Vector, Precision::Int4 | Precision::Int8) => Precision::F16,
            _ => model,
        }
    }
}

/// A linear layer. `parts` are concatenated along the outputs (query, key and value are one product).
#[derive(Clone)]
pub struct LinearView<'a> {
    /// The layer's name in packed files: the name of its first tensor.
    pub key: String,
    pub parts: Vec<Part<'a>>,
    pub inputs: usize,
    pub outputs: usize,
    /// What the inputs are before they are multiplied with the stored weights.
    pub transform: InputTransform,
}

/// A part of a layer: rows of one tensor.
#[derive(Clone)]
pub struct Part<'a> {
    pub weight: TensorView<'a>,
    pub bias: Option<TensorView<'a>>,
    pub outputs: usize,
    pub order: Order,
}

/// Which rows of a tensor belong to a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Rows from this one on.
    From(usize),
    /// Columns from `first` on, of the rows from `row` on: the tensor is `[inputs, outputs]`, or several of these.
    Columns { first: usize, row: usize },
    /// `dim` rows at `first`, and again every `stride` rows.
    ByHead { first: usize, dim: usize, stride: usize },
    /// Rows from `first` on, in heads of `dim`, of which the first `rotated` have the components of a pair side by side: first those of
    /// all pairs that come first.
    Pairs { first: usize, dim: usize, rotated: usize },
}

impl Order {
    /// The index of output `i` along the tensor's outputs.
    fn at(self, i: usize) -> usize {
        match self {
            Self::From(first) | Self::Columns { first, .. } => first + i,
            Self::ByHead { first, dim, stride } => first + i / dim * stride + i % dim,
            Self::Pairs { first, dim, rotated } => {
                let (head, within, half) = (i / dim * dim, i % dim, rotated / 2);
                first + head + if within < rotated { within % half * 2 + within / half } else { within }
            }
        }
    }
}

impl Part<'_> {
    /// The bias of each output; zeros if the part has no bias.
    fn bias(&self) -> Result<Vec<f32>> {
        match &self.bias {
            None => Ok(vec![0.0; self.outputs]),
            Some(bias) => {
                let all = bias.to_vec_f32()?;
                Ok((0..self.outputs).map(|i| all[self.order.at(i)]).collect())
            }
        }
    }
}

impl LinearView<'_> {
    /// The bias of each output; zeros for parts without a bias.
    pub fn bias(&self) -> Result<Vec<f32>> {
        let mut bias = Vec::with_capacity(self.outputs);
        for part in &self.parts {
            bias.extend(part.bias()?);
        }
        Ok(bias)
    }

    pub fn rows(&self) -> RowReader<'_> {
        RowReader { view: self, part: 0, before: 0, block: Vec::new(), block_at: (usize::MAX, 0) }
    }
}

/// Reads the rows of a layer, fastest in order.
pub struct RowReader<'a> {
    view: &'a LinearView<'a>,
    /// The current part, and the outputs before it.
    part: usize,
    before: usize,
    /// A block of columns of a transposed tensor, stored as rows, and which block: its part and first column.
    block: Vec<f32>,
    block_at: (usize, usize),
}

impl<'a> RowReader<'a> {
    /// The part that has an output, and the output's index in that part.
    fn find(&mut self, output: usize) -> (&'a Part<'a>, usize) {
        if output < self.before {
            (self.part, self.before) = (0, 0);
        }
        let parts = &self.view.parts;
        while self.part + 1 < parts.len() && output - self.before >= parts[self.part].outputs {
            self.before += parts[self.part].outputs;
            self.part += 1;
        }
        (&parts[self.part], output - self.before)
    }

    pub fn f32(&mut self, output: usize, out: &mut [f32]) -> Result<()> {
        let (part, i) = self.find(output);
        if let Order::Columns { first, row } = part.order {
            self.load_columns(part, first + i, row)?;
            let column = first + i - self.block_at.1;
            out.copy_from_slice(&self.block[column * out.len()..][..out.len()]);
        } else {
            part.weight.read_row_f32(part.order.at(i), out)?;
        }
        self.view.transform.undo_weights(out);
        Ok(())
    }

    /// Whether rows cannot be handed over as they are stored.
    fn is_changed(&self, part: &Part) -> bool {
        matches!(part.order, Order::Columns { .. }) || !self.view.transform.is_none()
    }

    pub fn f16(&mut self, output: usize, out: &mut [f16]) -> Result<()> {
        let (part, i) = self.find(output);
        if self.is_changed(part) {
            let mut row = vec![0.0; out.len()];
            self.f32(output, &mut row)?;
            for (out, x) in out.iter_mut().zip(row) {
                *out = f16::from_f32(x);
            }
            return Ok(());
        }
        part.weight.read_row_f16(part.order.at(i), out)
    }

    /// An output as groups of 4 bits, if it is stored in such groups; false if not.
    pub fn four_bits(&mut self, output: usize, out: &mut [FourBits]) -> Result<bool> {
        let (part, i) = self.find(output);
        if self.is_changed(part) {
            return Ok(false);
        }
        part.weight.read_row_four_bits(part.order.at(i), out)
    }

    /// An output as bytes, and their scale, if it is stored as bytes with one scale.
    pub fn bytes(&mut self, output: usize, out: &mut [i8]) -> Result<Option<f32>> {
        let (part, i) = self.find(output);
        if self.is_changed(part) {
            return Ok(None);
        }
        part.weight.read_row_bytes(part.order.at(i), out)
    }

    /// Loads the block of columns that contains `column`, of rows from `first_row` on, unless it is loaded.
    fn load_columns(&mut self, part: &Part, column: usize, first_row: usize) -> Result<()> {
        let first = column / COLUMNS * COLUMNS;
        if self.block_at == (self.part, first) {
            return Ok(());
        }
        let (inputs, width) = (self.view.inputs, part.weight.cols());
        let count = COLUMNS.min(width - first);
        self.block.resize(inputs * count, 0.0);
        let mut row = [0.0; COLUMNS];
        for input in 0..inputs {
            part.weight.read_f32((first_row + input) * width + first, &mut row[..count])?;
            for (j, x) in row[..count].iter().enumerate() {
                self.block[j * inputs + input] = *x;
            }
        }
        self.block_at = (self.part, first);
        Ok(())
    }

    /// Releases the pages of the tensor that was read last.
    pub fn release(&self) {
        if let Some(part) = self.view.parts.get(self.part) {
            part.weight.release();
        }
    }
}
