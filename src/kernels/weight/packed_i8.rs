//! 8 bits, quantised symmetrically with one scale per output channel: `weight = scale · byte`. Activations are quantised too.
//!
//! Bytes are in -127..=127, never -128, whose negation does not exist in 8 bits. After the bytes of all channels follow their scales (f32),
//! then the sums of their bytes (i32), which are multiplied by an activation's zero point; both are padded to whole blocks.

use super::blocks::Blocks;
use super::{RowSource, Shape, TableType, Weight, WeightFormat};
use crate::kernels::instruction_set::Multiply;
use crate::kernels::linear::{ByteProduct, Plan};
use crate::kernels::{BLOCK, Input, InputType};
use crate::spec::Precision;

pub struct I8;

type Numbers = Blocks<4, 1>;

/// 1.5·2²³: adding it and subtracting it again rounds smaller numbers to integers, ties to even. Unlike `round_ties_even`, which is a
/// call without SSE4.1, this is vectorised.
const ROUNDER: f32 = 12_582_912.0;

/// Where a channel's scale and sum are. The bytes before them are whole groups of four for sixteen channels: whole cache lines.
fn channel(shape: Shape, output: usize) -> (usize, usize) {
    let channels = shape.blocks() * BLOCK;
    let scales = channels * Numbers::padded(shape.inputs);
    (scales + 4 * output, scales + 4 * channels + 4 * output)
}

impl WeightFormat for I8 {
    const PRECISION: Precision = Precision::Int8;
    const NAME: &'static str = "PACKED_I8";
    const INPUT: InputType = InputType::I8;
    const TABLE: TableType = TableType::I8;

    /// Bytes, scales, sums.
    fn parts(inputs: usize) -> Option<Vec<usize>> {
        Some(vec![Numbers::block(inputs)?, BLOCK * size_of::<f32>(), BLOCK * size_of::<i32>()])
    }

    fn pack(shape: Shape, rows: &mut dyn RowSource, parts: &mut [&mut [u8]]) {
        let (mut row, mut bytes) = (vec![0.0f32; shape.inputs], vec![0i8; shape.inputs]);
        for output in 0..shape.outputs {
            let scale = rows.bytes(output, &mut bytes);
            if scale.is_some() {
                // One step for a weight in a hundred channels; another scale would round all weights again.
                bytes.iter_mut().for_each(|byte| *byte = (*byte).max(-127));
            }
            let scale = scale.unwrap_or_else(|| {
                row.fill(0.0);
                rows.f32(output, &mut row);
                let largest = row.iter().fold(0.0f32, |m, w| m.max(w.abs()));
                // The reciprocal of a smaller range overflows; such values do not matter in f32 sums.
                let inverse = if largest > f32::MIN_POSITIVE * 256.0 { 127.0 / largest } else { 0.0 };
                for (byte, w) in bytes.iter_mut().zip(&row) {
                    // A NaN becomes 0 here; infinities were caught by the scale, which is then infinite too.
                    *byte = ((w * inverse).clamp(-127.0, 127.0) + ROUNDER - ROUNDER) as i8;
                }
                if inverse > 0.0 { largest / 127.0 } else { 0.0 }
            });
            let sum = bytes.iter().fold(0i32, |sum, &byte| sum.wrapping_add(i32::from(byte)));
            Numbers::write(shape, output, bytes.iter().map(|byte| byte.to_le_bytes()), parts[0]);
            parts[1][4 * output..][..4].copy_from_slice(&scale.to_le_bytes());
            parts[2][4 * output..][..4].copy_from_slice(&sum.to_le_bytes());
        }
    }

    fn value(bytes: &[u8], shape: Shape, output: usize, input: usize) -> Option<f32> {
        let [byte] = Numbers::read(bytes, shape, output, input)?;
        let scale = bytes.get(channel(shape, output).0..)?.first_chunk()?;
        Some(f32::from_le_bytes(*scale) * f32::from(byte as i8))
    }

    #[inline(always)]
    unsafe fn multiply<I: Multiply>(a: Input, w: &Weight, plan: &Plan) {
        let Input::I8(a, scales) = a else { unreachable!("rows of another format") };
        assert!(scales.len() >= a.rows, "a row without its scale");
        let (inputs, bytes) = (Numbers::padded(w.inputs()), w.bytes().as_ptr());
        let (scales_at, sums_at) = channel(w.shape(), 0);
        // SAFETY: scales and sums are within the weight's bytes.
        let (channel_scales, channel_sums) = unsafe { (bytes.add(scales_at).cast(), bytes.add(sums_at).cast()) };
        let w = bytes.cast();
        let product = ByteProduct { a: a.data, stride: a.stride, scales, inputs, w, channel_scales, channel_sums };
        // SAFETY: the caller's promise.
        unsafe { I::bytes(&product, plan) }
    }
}

/// The bytes of an output channel, their scale and their sum.
#[cfg(test)]
pub fn bytes_of(w: &Weight, output: usize) -> (Vec<i8>, f32, i32) {
    let byte = |input| Numbers::read(w.bytes(), w.shape(), output, input).unwrap()[0] as i8;
    let word = |at: usize| *w.bytes()[at..].first_chunk().unwrap();
    let (scale, sum) = channel(w.shape(), output);
    ((0..w.inputs()).map(byte).collect(), f32::from_le_bytes(word(scale)), i32::from_le_bytes(word(sum)))
}
