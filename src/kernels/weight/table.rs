//! Embedding tables, which are added and not multiplied.

use super::{PackedType, Shape, decode};

/// The number type of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableType {
    F32,
    F16,
    /// 8 bits, with a symmetric scale per row.
    I8,
}

impl TableType {
    /// The size of a table in memory, in bytes; saturates on overflow.
    pub fn bytes(self, rows: usize, width: usize) -> usize {
        let elements = rows.saturating_mul(width);
        match self {
            Self::F32 => elements.saturating_mul(4),
            Self::F16 => elements.saturating_mul(2),
            Self::I8 => elements.saturating_add(rows.saturating_mul(4)),
        }
    }
}

/// An 8-bit table in a `.kinglet` file: the rows, and from the next multiple of 64 bytes on one scale (f32) per row.
pub static ROWS_I8: PackedType = PackedType {
    name: "ROWS_I8",
    bytes: |shape| row_scales_at(shape)?.checked_add(shape.outputs.checked_mul(4)?),
    decode: |bytes, shape, start, out| {
        let scales = bytes.get(row_scales_at(shape)?..)?;
        decode(shape, start, out, |row, column| {
            let scale = f32::from_le_bytes(*scales.get(4 * row..)?.first_chunk()?);
            Some(scale * f32::from(*bytes.get(row * shape.inputs + column)? as i8))
        })
    },
};

/// The offset of the scales; None on overflow.
pub fn row_scales_at(shape: Shape) -> Option<usize> {
    shape.outputs.checked_mul(shape.inputs)?.checked_next_multiple_of(64)
}
