//! The block types of GGUF files: 32 elements that share a scale, or, in the K types, 256 elements with a scale for their scales.
//! The layouts are ggml's; arithmetic is in f32, in the order of the `gguf` Python package, so that results have the same bits.

use half::f16;

use super::tensor::DType;

/// The number of elements of the largest block.
const LARGEST: usize = 256;

/// Converts blocks to f32. `bytes` are whole blocks, each of `block.0` elements in `block.1` bytes. The first `skip` elements are
/// left out, and the last block may be used in part. For a type that is not a block type, `out` is unchanged.
pub(super) fn decode(dtype: DType, block: (usize, usize), bytes: &[u8], skip: usize, out: &mut [f32]) {
    let decode_block = match dtype {
        DType::Q8_0 => q8_0,
        DType::Q4_0 => q4_0,
        DType::Q4_1 => q4_1,
        DType::Q5_0 => q5_0,
        DType::Q5_1 => q5_1,
        DType::Q2K => q2_k,
        DType::Q3K => q3_k,
        DType::Q4K => q4_k,
        DType::Q5K => q5_k,
        DType::Q6K => q6_k,
        DType::IQ4NL => iq4_nl,
        DType::IQ4XS => iq4_xs,
        DType::MXFP4 => mxfp4,
        _ => return,
    };
    let (elements, size) = block;
    let (mut skip, mut rest) = (skip, out);
    for bytes in bytes.chunks_exact(size) {
        let count = (elements - skip).min(rest.len());
        let (now, later) = rest.split_at_mut(count);
        if count == elements {
            decode_block(bytes, now);
        } else {
            let mut whole = [0.0; LARGEST];
            decode_block(bytes, &mut whole[..elements]);
            now.copy_from_slice(&whole[skip..skip + count]);
        }
        (skip, rest) = (0, later);
    }
}

fn half(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// The four-bit numbers of 16 bytes: all low halves, then all high halves.
fn nibbles(bytes: &[u8]) -> impl Iterator<Item = u8> {
    bytes.iter().map(|b| b & 15).chain(bytes.iter().map(|b| b >> 4))
}

fn q8_0(bytes: &[u8], out: &mut [f32]) {
    let d = half(bytes, 0);
    for (out, q) in out.iter_mut().zip(&bytes[2..]) {
        *out = f32::from(*q as i8) * d;
    }
}

fn q4_0(bytes: &[u8], out: &mut [f32]) {
    let d = half(bytes, 0);
    for (out, q) in out.iter_mut().zip(nibbles(&bytes[2..18])) {
        *out = d * f32::from(q as i8 - 8);
    }
}

fn q4_1(bytes: &[u8], out: &mut [f32]) {
    let (d, m) = (half(bytes, 0), half(bytes, 2));
    for (out, q) in out.iter_mut().zip(nibbles(&bytes[4..20])) {
        *out = d * f32::from(q) + m;
    }
}

/// The five-bit numbers of a block: 32 fifth bits, then 16 bytes of nibbles.
fn five_bits(bytes: &[u8]) -> impl Iterator<Item = u8> {
    let high = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    nibbles(&bytes[4..20]).enumerate().map(move |(i, q)| q | ((high >> i & 1) as u8) << 4)
}

fn q5_0(bytes: &[u8], out: &mut [f32]) {
    let d = half(bytes, 0);
    for (out, q) in out.iter_mut().zip(five_bits(&bytes[2..])) {
        *out = d * f32::from(q as i8 - 16);
    }
}

fn q5_1(bytes: &[u8], out: &mut [f32]) {
    let (d, m) = (half(bytes, 0), half(bytes, 2));
    for (out, q) in out.iter_mut().zip(five_bits(&bytes[4..])) {
        *out = d * f32::from(q) + m;
    }
}

/// The six-bit scale and minimum of the `j`th 32 elements, from 12 bytes that hold eight of each. The first four are in the low
/// bits of bytes 0 to 3 and 4 to 7; the last four are in the nibbles of bytes 8 to 11, their high bits in those of bytes 0 to 7.
fn scale_and_minimum(packed: &[u8], j: usize) -> (f32, f32) {
    let (scale, minimum) = if j < 4 {
        (packed[j] & 63, packed[j + 4] & 63)
    } else {
        let (i, low) = (j - 4, packed[j + 4]);
        (low & 15 | packed[i] >> 6 << 4, low >> 4 | packed[i + 4] >> 6 << 4)
    };
    (f32::from(scale), f32::from(minimum))
}

fn q4_k(bytes: &[u8], out: &mut [f32]) {
    let (d, dmin, scales) = (half(bytes, 0), half(bytes, 2), &bytes[4..16]);
    for (j, out) in out.chunks_exact_mut(32).enumerate() {
        let (scale, minimum) = scale_and_minimum(scales, j);
        let (scale, minimum) = (d * scale, dmin * minimum);
        // Two groups of 32 elements share 32 bytes: the first uses the low nibbles.
        let low = &bytes[16 + j / 2 * 32..][..32];
        for (out, q) in out.iter_mut().zip(low) {
            *out = scale * f32::from(q >> (4 * (j % 2)) & 15) - minimum;
        }
    }
}

fn q5_k(bytes: &[u8], out: &mut [f32]) {
    let (d, dmin, scales, high) = (half(bytes, 0), half(bytes, 2), &bytes[4..16], &bytes[16..48]);
    for (j, out) in out.chunks_exact_mut(32).enumerate() {
        let (scale, minimum) = scale_and_minimum(scales, j);
        let (scale, minimum) = (d * scale, dmin * minimum);
        let low = &bytes[48 + j / 2 * 32..][..32];
        for ((out, low), high) in out.iter_mut().zip(low).zip(high) {
            let q = low >> (4 * (j % 2)) & 15 | (high >> j & 1) << 4;
            *out = scale * f32::from(q) - minimum;
        }
    }
}

fn q6_k(bytes: &[u8], out: &mut [f32]) {
    let (low, high, scales, d) = (&bytes[..128], &bytes[128..192], &bytes[192..208], half(bytes, 208));
    for (j, out) in out.chunks_exact_mut(32).enumerate() {
        // 128 elements take 64 bytes of nibbles and 32 of high bits. The first 64 elements are in the low nibbles.
        let (part, run) = (j / 4, j % 4);
        let low = &low[part * 64 + run % 2 * 32..][..32];
        let high = &high[part * 32..][..32];
        for (k, out) in out.iter_mut().enumerate() {
            let q = low[k] >> (run / 2 * 4) & 15 | (high[k] >> (2 * run) & 3) << 4;
            let scale = d * f32::from(scales[2 * j + k / 16] as i8);
            *out = scale * f32::from(q as i8 - 32);
        }
    }
}

/// The two bits of each of 256 elements: 32 bytes hold 128 elements, 32 at each pair of bits.
fn two_bits(bytes: &[u8]) -> impl Iterator<Item = u8> {
    (0..256).map(|i| bytes[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3)
}

fn q2_k(bytes: &[u8], out: &mut [f32]) {
    let (scales, d, dmin) = (&bytes[..16], half(bytes, 80), half(bytes, 82));
    for (i, (out, q)) in out.iter_mut().zip(two_bits(&bytes[16..80])).enumerate() {
        let packed = scales[i / 16];
        *out = d * f32::from(packed & 15) * f32::from(q) - dmin * f32::from(packed >> 4);
    }
}

fn q3_k(bytes: &[u8], out: &mut [f32]) {
    let (high, low, scales, d) = (&bytes[..32], &bytes[32..96], &bytes[96..108], half(bytes, 108));
    for (i, (out, q)) in out.iter_mut().zip(two_bits(low)).enumerate() {
        // Sixteen scales of six bits: eight bytes of nibbles, then four bytes of high bits.
        let j = i / 16;
        let scale = scales[j % 8] >> (j / 8 * 4) & 15 | (scales[8 + j % 4] >> (j / 4 * 2) & 3) << 4;
        // A high bit that is not set subtracts.
        let minus = (!high[i % 32] >> (i / 32) & 1) << 2;
        *out = d * f32::from(scale as i8 - 32) * f32::from(q as i8 - minus as i8);
    }
}

/// The values of the non-linear four-bit types, times a scale.
const NON_LINEAR: [f32; 16] =
    [-127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0];

fn iq4_nl(bytes: &[u8], out: &mut [f32]) {
    let d = half(bytes, 0);
    for (out, q) in out.iter_mut().zip(nibbles(&bytes[2..18])) {
        *out = d * NON_LINEAR[usize::from(q)];
    }
}

fn iq4_xs(bytes: &[u8], out: &mut [f32]) {
    let (d, high, low) = (half(bytes, 0), u16::from_le_bytes([bytes[2], bytes[3]]), &bytes[4..8]);
    for (j, out) in out.chunks_exact_mut(32).enumerate() {
        let scale = low[j / 2] >> (j % 2 * 4) & 15 | ((high >> (2 * j) & 3) as u8) << 4;
        let scale = d * f32::from(scale as i8 - 32);
        for (out, q) in out.iter_mut().zip(nibbles(&bytes[8 + 16 * j..][..16])) {
            *out = scale * NON_LINEAR[usize::from(q)];
        }
    }
}

/// Twice the values of E2M1, a sign, two bits of exponent and one of mantissa.
const E2M1: [f32; 16] = [0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 0.0, -1.0, -2.0, -3.0, -4.0, -6.0, -8.0, -12.0];

fn mxfp4(bytes: &[u8], out: &mut [f32]) {
    // Half of 2^(e - 127), which is subnormal for the smallest two.
    let bits = match bytes[0] {
        e @ 0..2 => 0x0020_0000 << e,
        e => u32::from(e - 1) << 23,
    };
    let d = f32::from_bits(bits);
    for (out, q) in out.iter_mut().zip(nibbles(&bytes[1..17])) {
        *out = d * E2M1[usize::from(q)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::gguf::container;

    const VECTORS: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/gguf/blocks.bin"));

    /// The type, the blocks, and their values as the `gguf` package decodes them.
    fn vectors() -> Vec<(DType, &'static [u8], Vec<f32>)> {
        let (mut rest, mut records) = (VECTORS, Vec::new());
        while !rest.is_empty() {
            let number = |i: usize| u32::from_le_bytes(rest[4 * i..4 * i + 4].try_into().unwrap()) as usize;
            let (elements, size) = (number(1), number(2));
            let dtype = container::dtype(number(0) as u32).unwrap();
            let (values, after) = rest[12 + size..].split_at(4 * elements);
            let values = values.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            records.push((dtype, &rest[12..12 + size], values));
            rest = after;
        }
        records
    }

    /// Equal bits, except for the payload of NaNs.
    fn assert_same(found: &[f32], expected: &[f32], what: std::fmt::Arguments) {
        for (i, (a, b)) in found.iter().zip(expected).enumerate() {
            assert!(a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(), "{what}: element {i} is {a}, not {b}");
        }
    }

    #[test]
    fn every_type_decodes_to_the_bits_of_the_gguf_package() {
        let records = vectors();
        assert_eq!(records.len(), 13);
        for (dtype, bytes, expected) in records {
            let block = dtype.block().unwrap();
            assert_eq!(bytes.len() / block.1 * block.0, expected.len(), "{dtype}");
            let mut found = vec![0.0; expected.len()];
            decode(dtype, block, bytes, 0, &mut found);
            assert_same(&found, &expected, format_args!("{dtype}"));
        }
    }

    #[test]
    fn a_range_may_begin_and_end_within_blocks() {
        for (dtype, bytes, expected) in vectors() {
            let (elements, size) = dtype.block().unwrap();
            for (start, count) in [(0, 1), (1, elements), (elements - 1, 2), (elements / 2, 2 * elements), (3, 0)] {
                let mut found = vec![0.0; count];
                let bytes = &bytes[..(start + count).div_ceil(elements) * size];
                decode(dtype, (elements, size), bytes, start, &mut found);
                assert_same(&found, &expected[start..], format_args!("{dtype} {start} {count}"));
            }
        }
    }
}
