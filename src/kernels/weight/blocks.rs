//! The layout that most formats share: numbers in blocks of sixteen output channels.

use super::super::BLOCK;
use super::Shape;

/// Numbers of `SIZE` bytes: that of output `n` and input `k` is number `[n / 16][k / GROUP][n % 16][k % GROUP]`. Inputs are padded to
/// whole groups and outputs to whole blocks, with zeros.
///
/// A group is what an instruction multiplies in a 32-bit lane: four bytes (`vpdpbusd`, `vpmaddubsw`, NEON's `sdot`, AMX), two bf16
/// (`vdpbf16ps`, AMX, NEON's `bfdot`), one wider float.
pub struct Blocks<const GROUP: usize, const SIZE: usize>;

impl<const GROUP: usize, const SIZE: usize> Blocks<GROUP, SIZE> {
    /// Inputs rounded up to a group.
    pub fn padded(inputs: usize) -> usize {
        inputs.next_multiple_of(GROUP)
    }

    /// The size of a block of channels in bytes; None on overflow.
    pub fn block(inputs: usize) -> Option<usize> {
        inputs.checked_next_multiple_of(GROUP)?.checked_mul(SIZE * BLOCK)
    }

    /// The first byte of a number.
    fn at(shape: Shape, output: usize, input: usize) -> usize {
        let group = output / BLOCK * (Self::padded(shape.inputs) / GROUP) + input / GROUP;
        ((group * BLOCK + output % BLOCK) * GROUP + input % GROUP) * SIZE
    }

    /// Packs all outputs of a weight of floats: `read` reads one row of inputs, `bytes` converts a number.
    pub fn pack<T: Copy + Default>(
        shape: Shape,
        mut read: impl FnMut(usize, &mut [T]),
        bytes: impl Fn(T) -> [u8; SIZE],
        out: &mut [u8],
    ) {
        let mut row = vec![T::default(); shape.inputs];
        for output in 0..shape.outputs {
            row.fill(T::default());
            read(output, &mut row);
            Self::write(shape, output, row.iter().map(|&number| bytes(number)), out);
        }
    }

    /// Writes the numbers of one output.
    pub fn write(shape: Shape, output: usize, mut numbers: impl Iterator<Item = [u8; SIZE]>, out: &mut [u8]) {
        // A weight without inputs has no bytes.
        let rest = out.get_mut(Self::at(shape, output, 0)..).unwrap_or_default();
        for group in rest.chunks_mut(BLOCK * GROUP * SIZE) {
            for place in group.as_chunks_mut().0.iter_mut().take(GROUP) {
                match numbers.next() {
                    Some(number) => *place = number,
                    None => return,
                }
            }
        }
    }

    /// One number; None if it is outside of `bytes`.
    pub fn read(bytes: &[u8], shape: Shape, output: usize, input: usize) -> Option<[u8; SIZE]> {
        bytes.get(Self::at(shape, output, input)..)?.first_chunk().copied()
    }
}
