//! Rows of activations in the number type that a weight format multiplies.

use half::bf16;

use super::{GROUP_INPUTS, GroupScale, Kernel, RowScale, Rows};

/// The number type of activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputType {
    F32,
    /// Rounded to bf16.
    Bf16,
    /// Quantised to 8 bits, with a scale and a zero point per row.
    I8,
    /// Quantised to 8 bits, with a scale per group of inputs.
    Groups,
}

/// Rows of activations in memory.
#[derive(Clone, Copy)]
pub enum Input<'a> {
    F32(Rows<f32>),
    Bf16(Rows<bf16>),
    /// With a scale for each row.
    I8(Rows<u8>, &'a [RowScale]),
    /// With a scale for each group, row by row.
    Groups(Rows<i8>, &'a [GroupScale]),
}

impl Input<'_> {
    pub fn rows(&self) -> usize {
        match self {
            Self::F32(a) => a.rows,
            Self::Bf16(a) => a.rows,
            Self::I8(a, _) => a.rows,
            Self::Groups(a, _) => a.rows,
        }
    }
}

impl InputType {
    /// The length of a row in memory: the inputs rounded up to the group that an instruction multiplies.
    pub fn padded(self, inputs: usize) -> usize {
        match self {
            Self::F32 => inputs,
            Self::Bf16 => inputs.next_multiple_of(2),
            Self::I8 => inputs.next_multiple_of(4),
            Self::Groups => inputs.next_multiple_of(GROUP_INPUTS),
        }
    }

    /// Bytes of converted rows. Scales follow all rows.
    pub fn bytes(self, rows: usize, inputs: usize) -> usize {
        let number = match self {
            Self::F32 => size_of::<f32>(),
            Self::Bf16 => size_of::<bf16>(),
            Self::I8 | Self::Groups => size_of::<u8>(),
        };
        let scales = match self {
            Self::F32 | Self::Bf16 => 0,
            Self::I8 => size_of::<RowScale>(),
            Self::Groups => inputs.div_ceil(GROUP_INPUTS) * size_of::<GroupScale>(),
        };
        rows * (self.padded(inputs) * number + scales)
    }

    /// Converts row `row` of `rows`.
    ///
    /// # Safety
    /// `memory` is aligned to 4 and has space for all rows; nothing else accesses this row and its scales.
    pub unsafe fn convert(self, kernel: &dyn Kernel, x: &[f32], memory: *mut u8, rows: usize, row: usize) {
        let padded = self.padded(x.len());
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Self::F32 => memory.cast::<f32>().add(row * padded).copy_from_nonoverlapping(x.as_ptr(), padded),
                Self::Bf16 => {
                    let out = memory.cast::<bf16>().add(row * padded);
                    kernel.round_row(x, std::slice::from_raw_parts_mut(out, padded));
                }
                Self::I8 => {
                    let out = std::slice::from_raw_parts_mut(memory.add(row * padded), padded);
                    let scale = kernel.quantize_row(x, out);
                    memory.add(rows * padded).cast::<RowScale>().add(row).write(scale);
                }
                Self::Groups => {
                    let out = std::slice::from_raw_parts_mut(memory.add(row * padded), padded);
                    let groups = padded / GROUP_INPUTS;
                    let scales = memory.add(rows * padded).cast::<GroupScale>().add(row * groups);
                    kernel.quantize_groups(x, out, std::slice::from_raw_parts_mut(scales, groups));
                }
            }
        }
    }

    /// The rows that `convert` has written.
    ///
    /// # Safety
    /// `memory` is aligned to 4, all rows were converted, and it does not change for `'a`.
    pub unsafe fn converted<'a>(self, memory: *const u8, rows: usize, inputs: usize) -> Input<'a> {
        let stride = self.padded(inputs);
        match self {
            Self::F32 => Input::F32(Rows { data: memory.cast(), stride, rows }),
            Self::Bf16 => Input::Bf16(Rows { data: memory.cast(), stride, rows }),
            Self::I8 => {
                // SAFETY: the caller's promise.
                let scales = unsafe { std::slice::from_raw_parts(memory.add(rows * stride).cast(), rows) };
                Input::I8(Rows { data: memory, stride, rows }, scales)
            }
            Self::Groups => {
                let scales = memory.wrapping_add(rows * stride).cast();
                // SAFETY: the caller's promise.
                let scales = unsafe { std::slice::from_raw_parts(scales, rows * (stride / GROUP_INPUTS)) };
                Input::Groups(Rows { data: memory.cast(), stride, rows }, scales)
            }
        }
    }
}
