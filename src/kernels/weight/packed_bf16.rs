//! bf16 in pairs of inputs, multiplied with activations in bf16.

use half::bf16;

use super::blocks::Blocks;
use super::{RowSource, Shape, TableType, Weight, WeightFormat};
use crate::kernels::instruction_set::Multiply;
use crate::kernels::linear::{PairProduct, Plan};
use crate::kernels::{BLOCK, Input, InputType};
use crate::spec::Precision;

pub struct Bf16;

type Numbers = Blocks<2, 2>;

impl WeightFormat for Bf16 {
    const PRECISION: Precision = Precision::Bf16;
    const NAME: &'static str = "PACKED_BF16";
    const INPUT: InputType = InputType::Bf16;
    /// Tables are not multiplied: f16 takes as much memory as bf16 and is more exact.
    const TABLE: TableType = TableType::F16;

    fn parts(inputs: usize) -> Option<Vec<usize>> {
        Some(vec![Numbers::block(inputs)?])
    }

    fn pack(shape: Shape, rows: &mut dyn RowSource, parts: &mut [&mut [u8]]) {
        Numbers::pack(shape, |output, row| rows.f32(output, row), |x: f32| bf16::from_f32(x).to_le_bytes(), parts[0]);
    }

    fn value(bytes: &[u8], shape: Shape, output: usize, input: usize) -> Option<f32> {
        Numbers::read(bytes, shape, output, input).map(|x| bf16::from_le_bytes(x).to_f32())
    }

    #[inline(always)]
    unsafe fn multiply<I: Multiply>(a: Input, w: &Weight, plan: &Plan) {
        let Input::Bf16(a) = a else { unreachable!("rows of another format") };
        let inputs = Numbers::padded(w.inputs());
        let w = w.bytes().as_ptr().cast();
        let product = PairProduct { a: a.data, stride: a.stride, inputs, w, block: inputs * BLOCK };
        // SAFETY: the caller's promise.
        unsafe { I::pairs(&product, plan) }
    }
}
