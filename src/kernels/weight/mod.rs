//! Weights of linear layers, in the formats that kernels multiply. A format is one file and one entry of the list below.
//!
//! Output channels come in blocks of 16, one for each 32-bit lane of the widest vector, and every instruction set reads the same
//! layout, so a packed weight can be stored in a file and mapped on any machine. A block is contiguous, so a kernel streams through memory
//! for any tile shape.

mod blocks;
mod packed_bf16;
mod packed_f16;
mod packed_f32;
mod packed_i4;
mod packed_i8;
mod table;

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use half::f16;
use half::slice::HalfFloatSliceExt;
use memmap2::Mmap;

use super::instruction_set::Multiply;
use super::linear::Plan;
use super::{BLOCK, Epilogue, Input, InputType, Out};
use crate::base::storage::{self, Plain, Store, Zero};
use crate::base::thread;
use crate::spec::Precision;
pub use packed_i4::FourBits;
#[cfg(test)]
pub(super) use packed_i8::bytes_of;
pub use table::{ROWS_I8, TableType, row_scales_at};

/// Generates code from the list of formats.
macro_rules! formats {
    ($($module:ident::$format:ident),+) => {
        /// The type of a format.
        #[derive(Clone, Copy)]
        enum Kind {
            $($format),+
        }

        /// All formats; f32 is the first.
        pub static FORMATS: &[Format] = &[$(Format::of::<$module::$format>(Kind::$format)),+];

        impl Kind {
            /// # Safety
            /// As [`WeightFormat::multiply`].
            unsafe fn multiply<I: Multiply>(self, a: Input, w: &Weight, plan: &Plan) {
                match self {
                    // SAFETY: the caller's promise.
                    $(Self::$format => unsafe { I::multiply::<$module::$format>(a, w, plan) }),+
                }
            }
        }
    };
}

// The list. Each format is a module and its type.
formats! { packed_f32::F32, packed_f16::F16, packed_bf16::Bf16, packed_i8::I8, packed_i4::I4 }

/// A weight format.
pub(super) trait WeightFormat: 'static {
    const PRECISION: Precision;
    /// The type of its tensors in `.kinglet` files.
    const NAME: &'static str;
    const INPUT: InputType;
    /// The number type of embedding tables in a model of this precision.
    const TABLE: TableType;

    /// The parts of a weight's memory, one after the other: the bytes of each for a block of channels. None on overflow.
    fn parts(inputs: usize) -> Option<Vec<usize>>;

    /// The size of a weight in memory and in files, in bytes; a multiple of 64. None on overflow.
    fn bytes(shape: Shape) -> Option<usize> {
        let block = Self::parts(shape.inputs)?.into_iter().try_fold(0usize, usize::checked_add)?;
        shape.outputs.div_ceil(BLOCK).checked_mul(block)?.checked_next_multiple_of(LINE)
    }

    /// Packs channels into the parts of their blocks, which are zero before.
    fn pack(shape: Shape, rows: &mut dyn RowSource, parts: &mut [&mut [u8]]);

    /// The dequantised weight of an output and an input; None if it is outside of `bytes`.
    fn value(bytes: &[u8], shape: Shape, output: usize, input: usize) -> Option<f32>;

    /// Computes the product that `plan` describes. This is instantiated in a function compiled with the instruction set: it and
    /// everything that it calls must be `#[inline(always)]`.
    ///
    /// # Safety
    /// The machine has `I`'s instructions; `a` and `w` are of this format, `a` has the weight's inputs, and the plan's output is valid.
    unsafe fn multiply<I: Multiply>(a: Input, w: &Weight, plan: &Plan);
}

/// Outputs and inputs of a linear layer, or rows and columns of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub outputs: usize,
    pub inputs: usize,
}

impl Shape {
    pub fn blocks(self) -> usize {
        self.outputs.div_ceil(BLOCK)
    }
}

/// The rows of a weight to pack. A source that fails keeps its error and does not change the row.
pub trait RowSource {
    /// Fills `out` with all inputs of output `row`. Rows are read in order.
    fn f32(&mut self, row: usize, out: &mut [f32]);

    /// The same row, rounded to f16.
    fn f16(&mut self, row: usize, out: &mut [f16]) {
        let mut wide = vec![0.0; out.len()];
        self.f32(row, &mut wide);
        out.convert_from_f32_slice(&wide);
    }

    /// The same row where the source stores it as groups of 4 bits; false if it does not. A failure of the source counts as true.
    fn four_bits(&mut self, _row: usize, _out: &mut [FourBits]) -> bool {
        false
    }

    /// The same row, and its scale, where the source stores it as bytes with one scale; None if it does not. A failure of the source
    /// counts as a scale.
    fn bytes(&mut self, _row: usize, _out: &mut [i8]) -> Option<f32> {
        None
    }
}

impl<F: FnMut(usize, &mut [f32])> RowSource for F {
    fn f32(&mut self, row: usize, out: &mut [f32]) {
        self(row, out);
    }
}

/// A tensor type of `.kinglet` files in a kernel's layout.
pub struct PackedType {
    /// The name in the file's header.
    pub name: &'static str,
    /// Bytes of a tensor; None if they overflow.
    pub bytes: fn(Shape) -> Option<usize>,
    /// Decodes the elements from number `start` on, row by row; None if they are outside of the bytes.
    pub decode: fn(&[u8], Shape, usize, &mut [f32]) -> Option<()>,
}

impl PackedType {
    /// All such types.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        FORMATS.iter().map(|format| &format.stored).chain([&ROWS_I8])
    }
}

impl PartialEq for PackedType {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for PackedType {}

impl fmt::Debug for PackedType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Decodes elements, each found by `value` from its row and column.
fn decode(shape: Shape, start: usize, out: &mut [f32], value: impl Fn(usize, usize) -> Option<f32>) -> Option<()> {
    for (element, out) in (start..).zip(out) {
        *out = value(element / shape.inputs, element % shape.inputs)?;
    }
    Some(())
}

/// A weight format as data.
pub struct Format {
    kind: Kind,
    pub precision: Precision,
    pub stored: PackedType,
    pub input: InputType,
    pub table: TableType,
    parts: fn(usize) -> Option<Vec<usize>>,
    pack: fn(Shape, &mut dyn RowSource, &mut [&mut [u8]]),
}

/// Rows from one on.
struct Following<'a> {
    rows: &'a mut dyn RowSource,
    first: usize,
}

impl RowSource for Following<'_> {
    fn f32(&mut self, row: usize, out: &mut [f32]) {
        self.rows.f32(self.first + row, out);
    }

    fn f16(&mut self, row: usize, out: &mut [f16]) {
        self.rows.f16(self.first + row, out);
    }

    fn four_bits(&mut self, row: usize, out: &mut [FourBits]) -> bool {
        self.rows.four_bits(self.first + row, out)
    }

    fn bytes(&mut self, row: usize, out: &mut [i8]) -> Option<f32> {
        self.rows.bytes(self.first + row, out)
    }
}

impl Format {
    const fn of<F: WeightFormat>(kind: Kind) -> Self {
        let decode = |bytes: &[u8], shape: Shape, start: usize, out: &mut [f32]| {
            decode(shape, start, out, |output, input| F::value(bytes, shape, output, input))
        };
        let stored = PackedType { name: F::NAME, bytes: F::bytes, decode };
        let (precision, input, table) = (F::PRECISION, F::INPUT, F::TABLE);
        Self { kind, precision, stored, input, table, parts: F::parts, pack: F::pack }
    }

    /// The format of a precision; f32 for `Auto`, which is resolved before weights are packed.
    pub fn new(precision: Precision) -> &'static Self {
        FORMATS.iter().find(|format| format.precision == precision).unwrap_or(&FORMATS[0])
    }

    /// The size of a packed weight in bytes; saturates on overflow.
    pub fn bytes(&self, shape: Shape) -> usize {
        (self.stored.bytes)(shape).unwrap_or(usize::MAX)
    }

    /// Packs a weight.
    pub fn pack(&'static self, shape: Shape, mut rows: impl RowSource + Send) -> Weight {
        self.pack_shared(shape, &mut [&mut rows])
    }

    /// Packs a weight on a thread per source; each reads a share of the rows. There is at least one source.
    pub fn pack_shared<S: RowSource + Send>(&'static self, shape: Shape, sources: &mut [&mut S]) -> Weight {
        let data = Store::filled(self.bytes(shape).div_ceil(LINE), |lines: &mut [Line]| {
            let length = size_of_val(lines);
            // SAFETY: lines are bytes without padding, and any bytes are lines.
            let mut rest: &mut [u8] = unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), length) };
            let (blocks, threads) = (shape.blocks(), sources.len());
            let first = |thread: usize| blocks * thread / threads;
            let mut shares: Vec<Vec<&mut [u8]>> = (0..threads).map(|_| Vec::new()).collect();
            for block in (self.parts)(shape.inputs).unwrap_or_default() {
                for (thread, share) in shares.iter_mut().enumerate() {
                    let (part, after) = rest.split_at_mut((first(thread + 1) - first(thread)) * block);
                    share.push(part);
                    rest = after;
                }
            }
            let shares = Mutex::new(sources.iter_mut().zip(shares).enumerate());
            // Whoever is free takes the next share: where a thread cannot start, the others pack its share.
            let work = || {
                let next = || shares.lock().unwrap_or_else(PoisonError::into_inner).next();
                while let Some((thread, (source, mut parts))) = next() {
                    let rows = first(thread) * BLOCK..shape.outputs.min(first(thread + 1) * BLOCK);
                    let shape = Shape { outputs: rows.len(), ..shape };
                    (self.pack)(shape, &mut Following { rows: &mut **source, first: rows.start }, &mut parts);
                }
            };
            thread::beside("kinglet-load", threads - 1, work);
        });
        Weight { format: self, shape, data }
    }

    /// A weight in a mapped file that was written from [`Weight::bytes`]; None if the file is too short.
    pub fn map(&'static self, shape: Shape, map: &Arc<Mmap>, offset: usize) -> Option<Weight> {
        let data = Store::mapped(map, offset, (self.stored.bytes)(shape)? / LINE)?;
        Some(Weight { format: self, shape, data })
    }
}

/// One cache line. Packed weights are kept in these for their alignment.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

// SAFETY: bytes.
unsafe impl Plain for Line {}

const LINE: usize = size_of::<Line>();

impl Zero for Line {
    const ZERO: Self = Self([0; LINE]);
}

/// The packed weight of a linear layer.
pub struct Weight {
    format: &'static Format,
    shape: Shape,
    data: Store<Line>,
}

impl Weight {
    pub fn format(&self) -> &'static Format {
        self.format
    }

    pub fn shape(&self) -> Shape {
        self.shape
    }

    pub fn outputs(&self) -> usize {
        self.shape.outputs
    }

    pub fn inputs(&self) -> usize {
        self.shape.inputs
    }

    pub fn blocks(&self) -> usize {
        self.shape.blocks()
    }

    /// The weight's memory, aligned to 64.
    pub fn bytes(&self) -> &[u8] {
        storage::bytes(&self.data)
    }

    /// One weight, dequantised.
    #[cfg(test)]
    pub(super) fn value(&self, output: usize, input: usize) -> f32 {
        let mut value = [0.0];
        let start = output * self.inputs() + input;
        (self.format.stored.decode)(self.bytes(), self.shape, start, &mut value).unwrap();
        value[0]
    }

    /// Adds the weights of one output to `x`: a row of word embeddings that are tied to the language head.
    pub fn add_row(&self, output: usize, x: &mut [f32]) {
        let mut part = [0.0; 64];
        let mut start = output * self.inputs();
        for x in x.chunks_mut(part.len()) {
            let part = &mut part[..x.len()];
            let inside = (self.format.stored.decode)(self.bytes(), self.shape, start, part);
            assert!(inside.is_some(), "a row beyond the weight");
            x.iter_mut().zip(&*part).for_each(|(x, w)| *x += w);
            start += x.len();
        }
    }

    /// # Safety
    /// That of `Kernel::linear`, and the machine has `I`'s instructions.
    pub(super) unsafe fn multiply<I: Multiply>(&self, a: Input, blocks: Range<usize>, out: Out, epilogue: &Epilogue) {
        assert!(blocks.end <= self.blocks(), "blocks beyond the weight");
        assert!(epilogue.bias.is_none_or(|bias| bias.len() >= self.outputs()), "bias shorter than the outputs");
        let plan = Plan { rows: a.rows(), blocks, outputs: self.outputs(), out, epilogue };
        // SAFETY: the caller's promise.
        unsafe { self.format.kind.multiply::<I>(a, self, &plan) }
    }
}
