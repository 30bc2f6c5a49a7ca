//! f32.

use super::blocks::Blocks;
use super::{RowSource, Shape, TableType, Weight, WeightFormat};
use crate::kernels::instruction_set::Multiply;
use crate::kernels::linear::{FloatProduct, Floats, Plan};
use crate::kernels::vector::Vector;
use crate::kernels::{BLOCK, Input, InputType};
use crate::spec::Precision;

pub struct F32;

type Numbers = Blocks<1, 4>;

impl WeightFormat for F32 {
    const PRECISION: Precision = Precision::F32;
    const NAME: &'static str = "PACKED_F32";
    const INPUT: InputType = InputType::F32;
    const TABLE: TableType = TableType::F32;

    fn parts(inputs: usize) -> Option<Vec<usize>> {
        Some(vec![Numbers::block(inputs)?])
    }

    fn pack(shape: Shape, rows: &mut dyn RowSource, parts: &mut [&mut [u8]]) {
        Numbers::pack(shape, |output, row| rows.f32(output, row), f32::to_le_bytes, parts[0]);
    }

    fn value(bytes: &[u8], shape: Shape, output: usize, input: usize) -> Option<f32> {
        Numbers::read(bytes, shape, output, input).map(f32::from_le_bytes)
    }

    #[inline(always)]
    unsafe fn multiply<I: Multiply>(a: Input, w: &Weight, plan: &Plan) {
        let Input::F32(a) = a else { unreachable!("rows of another format") };
        let inputs = w.inputs();
        let operand = Floats { data: w.bytes().as_ptr().cast(), block: inputs * BLOCK, step: BLOCK };
        let product = FloatProduct { a: a.data, stride: a.stride, inputs, w: operand };
        // SAFETY: the caller's promise.
        unsafe { plan.run::<I::Lanes, _>(&product, I::Lanes::FLOAT_ROWS, inputs * size_of::<f32>()) }
    }
}
