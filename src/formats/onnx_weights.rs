//! The precision of an ONNX graph's weights. Only the types and shapes of tensors are read from the file (a protocol buffer,
//! `onnx.proto` in ONNX's repository). An invalid file is not an error here, because ONNX Runtime will refuse it.

use std::path::Path;

use memmap2::Mmap;

use crate::spec::Precision;

/// `ModelProto.graph`, `GraphProto.initializer`, `TensorProto.dims` and `.data_type`.
const GRAPH: u64 = 7;
const INITIALIZER: u64 = 5;
const DIMS: u64 = 1;
const TYPE: u64 = 2;

/// The type of most of a graph's weights; None if no weight has a supported type, or the file cannot be read.
pub fn precision(path: &Path) -> Option<Precision> {
    let (file, _) = super::open_regular(path).ok()?;
    // SAFETY: the documentation tells callers that the file must not change during a load; only types and sizes are read from it.
    let map = unsafe { Mmap::map(&file) }.ok()?;
    most_common(&map)
}

fn most_common(model: &[u8]) -> Option<Precision> {
    let mut counts =
        [(Precision::F32, 0u64), (Precision::F16, 0), (Precision::Bf16, 0), (Precision::Int8, 0), (Precision::Int4, 0)];
    let fields = |bytes| ProtobufFields { bytes }.filter_map(|(number, value)| Some((number, value.bytes()?)));
    for (_, graph) in fields(model).filter(|&(number, _)| number == GRAPH) {
        for (_, tensor) in fields(graph).filter(|&(number, _)| number == INITIALIZER) {
            let (mut elements, mut kind) = (1u64, None);
            for (number, value) in (ProtobufFields { bytes: tensor }) {
                match (number, value) {
                    (TYPE, ProtobufValue::Number(n)) => kind = of_type(n),
                    (DIMS, ProtobufValue::Number(n)) => elements = elements.saturating_mul(n),
                    (DIMS, ProtobufValue::Bytes(mut packed)) => {
                        while let Some(n) = varint(&mut packed) {
                            elements = elements.saturating_mul(n);
                        }
                    }
                    _ => {}
                }
            }
            if let Some((_, count)) = counts.iter_mut().find(|(precision, _)| Some(*precision) == kind) {
                *count = count.saturating_add(elements);
            }
        }
    }
    counts.into_iter().filter(|&(_, count)| count > 0).max_by_key(|&(_, count)| count).map(|(precision, _)| precision)
}

/// The precision of a `TensorProto.DataType` that weights may have.
fn of_type(number: u64) -> Option<Precision> {
    match number {
        1 => Some(Precision::F32),
        10 => Some(Precision::F16),
        16 => Some(Precision::Bf16),
        2 | 3 => Some(Precision::Int8),
        21 | 22 => Some(Precision::Int4),
        _ => None,
    }
}

/// The fields of a message, up to the first malformed one.
struct ProtobufFields<'a> {
    bytes: &'a [u8],
}

enum ProtobufValue<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> ProtobufValue<'a> {
    fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Number(_) => None,
        }
    }
}

impl<'a> Iterator for ProtobufFields<'a> {
    type Item = (u64, ProtobufValue<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let tag = varint(&mut self.bytes)?;
        let mut take = |length: usize| {
            let (taken, rest) = self.bytes.split_at_checked(length)?;
            self.bytes = rest;
            Some(taken)
        };
        let value = match tag & 7 {
            0 => ProtobufValue::Number(varint(&mut self.bytes)?),
            1 => ProtobufValue::Bytes(take(8)?),
            2 => {
                let length = varint(&mut self.bytes)?;
                let (taken, rest) = self.bytes.split_at_checked(usize::try_from(length).ok()?)?;
                self.bytes = rest;
                ProtobufValue::Bytes(taken)
            }
            5 => ProtobufValue::Bytes(take(4)?),
            _ => return None,
        };
        Some((tag >> 3, value))
    }
}

/// A number in seven bits per byte, the least significant first.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for place in 0..10 {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, bytes.len() as u8], bytes].concat()
    }

    /// A tensor of `rows` × 3 elements, its dimensions packed or one by one.
    fn tensor(kind: u8, rows: u8, packed: bool) -> Vec<u8> {
        let dims = if packed { field(1, &[rows, 3]) } else { vec![1 << 3, rows, 1 << 3, 3] };
        field(5, &[&dims[..], &[2 << 3, kind], &field(9, &[0; 7])].concat())
    }

    #[test]
    fn the_type_of_most_elements() {
        let model = |tensors: &[Vec<u8>]| [field(2, b"producer"), field(7, &tensors.concat())].concat();
        let found = |tensors: &[Vec<u8>]| most_common(&model(tensors));
        assert_eq!(found(&[tensor(1, 2, true), tensor(3, 7, false)]), Some(Precision::Int8));
        assert_eq!(found(&[tensor(1, 9, true), tensor(3, 7, true)]), Some(Precision::F32));
        assert_eq!(found(&[tensor(10, 1, false), tensor(7, 99, true)]), Some(Precision::F16));
        assert_eq!(found(&[tensor(7, 99, true)]), None);
        assert_eq!(found(&[]), None);
    }

    #[test]
    fn damaged_files_do_not_panic() {
        let whole = [field(7, &[tensor(1, 2, true), tensor(3, 7, false)].concat()), vec![0xff; 30]].concat();
        for length in 0..whole.len() {
            let _ = most_common(&whole[..length]);
            let mut damaged = whole.clone();
            damaged[length] ^= 0x55;
            let _ = most_common(&damaged);
        }
        assert_eq!(most_common(&whole), Some(Precision::Int8));
        assert_eq!(varint(&mut &[0xff; 20][..]), None);
    }
}
