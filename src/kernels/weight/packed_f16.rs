//! f16, widened to f32 when it is multiplied.

use half::f16;

use super::blocks::Blocks;
use super::{RowSource, Shape, TableType, Weight, WeightFormat};
use crate::kernels::instruction_set::Multiply;
use crate::kernels::linear::{FloatProduct, Operand, Plan};
use crate::kernels::vector::Vector;
use crate::kernels::{BLOCK, Input, InputType};
use crate::spec::Precision;

pub struct F16;

type Numbers = Blocks<1, 2>;

impl WeightFormat for F16 {
    const PRECISION: Precision = Precision::F16;
    const NAME: &'static str = "PACKED_F16";
    const INPUT: InputType = InputType::F32;
    const TABLE: TableType = TableType::F16;

    fn parts(inputs: usize) -> Option<Vec<usize>> {
        Some(vec![Numbers::block(inputs)?])
    }

    fn pack(shape: Shape, rows: &mut dyn RowSource, parts: &mut [&mut [u8]]) {
        Numbers::pack(shape, |output, row| rows.f16(output, row), f16::to_le_bytes, parts[0]);
    }

    fn value(bytes: &[u8], shape: Shape, output: usize, input: usize) -> Option<f32> {
        Numbers::read(bytes, shape, output, input).map(|x| f16::from_le_bytes(x).to_f32())
    }

    #[inline(always)]
    unsafe fn multiply<I: Multiply>(a: Input, w: &Weight, plan: &Plan) {
        let Input::F32(a) = a else { unreachable!("rows of another format") };
        let inputs = w.inputs();
        let operand = Halves { data: w.bytes().as_ptr().cast(), block: inputs * BLOCK };
        let product = FloatProduct { a: a.data, stride: a.stride, inputs, w: operand };
        // SAFETY: the caller's promise.
        unsafe { plan.run::<I::Lanes, _>(&product, I::Lanes::FLOAT_ROWS, inputs * size_of::<f32>()) }
    }
}

/// Lanes of a packed weight, blocks `block` numbers apart.
#[derive(Clone, Copy)]
struct Halves {
    data: *const f16,
    block: usize,
}

impl<V: Vector> Operand<V> for Halves {
    #[inline(always)]
    unsafe fn lanes(self, block: usize, k: usize) -> V {
        // SAFETY: the caller's promise.
        unsafe { V::load_f16(self.data.add(block * self.block + k * BLOCK)) }
    }
}
