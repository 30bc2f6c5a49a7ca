//! How GPTQ, AWQ and compressed-tensors store a weight: `weight = scale · (number - zero)`, with a scale and a zero for each output and
//! group of inputs.

use half::{bf16, f16};

use crate::formats::tensor::DType;
use crate::kernels::GROUP_INPUTS;
use crate::kernels::weight::FourBits;

/// Numbers that are unpacked at a time.
const BLOCK: usize = 256;

/// Where the bits of a number are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// `[inputs · bits / 32, outputs]` words: the numbers of an output are a stream of bits, its words in a column. GPTQ: Frantar et al.
    /// 2022, as AutoGPTQ and GPTQModel store it.
    Columns,
    /// `[inputs, outputs / 8]` words, each of eight outputs of an input in the order of [`INTERLEAVED`]. AWQ: Lin et al. 2023, as AutoAWQ
    /// stores it for its kernel `gemm`.
    Interleaved,
    /// `[outputs, inputs · bits / 32]` words, each of whole numbers. compressed-tensors' `pack-quantized`.
    Rows,
    /// `[outputs, inputs]` signed bytes. compressed-tensors' `int-quantized`.
    Bytes,
}

/// How the zeros are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zeros {
    /// Not at all: this is the zero of all.
    All(i32),
    /// `[groups, outputs · bits / 32]` words, a stream of bits for each group, each less by `less`, modulo the number of values. GPTQ.
    Stream { less: u32 },
    /// `[groups, outputs / 8]` words in the order of [`INTERLEAVED`].
    Interleaved,
    /// `[outputs · bits / 32, groups]` words.
    Columns,
    /// `[outputs, groups]` signed bytes that stand for numbers with `more` added.
    Bytes { more: i32 },
}

/// The place of output `o % 8` in a word of AWQ's: AutoAWQ packs the outputs 0, 2, 4, 6, 1, 3, 5, 7.
const INTERLEAVED: [u32; 8] = [0, 4, 1, 5, 2, 6, 3, 7];

/// Everything but the bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layout {
    pub packing: Packing,
    pub bits: u32,
    pub outputs: usize,
    pub inputs: usize,
    pub groups: usize,
    /// Inputs in a group; not used where the groups are listed.
    pub group_size: usize,
    pub zeros: Zeros,
    pub scale_type: DType,
    /// Steps between the scales (and zeros in bytes) of two outputs and of two groups: 0 where they share one.
    pub scale_strides: (usize, usize),
}

/// A quantised weight with its bytes.
#[derive(Clone, Copy, PartialEq)]
pub struct Quantised<'a> {
    pub layout: &'a Layout,
    pub scales: &'a [u8],
    /// Empty if the zeros are not stored.
    pub zeros: &'a [u8],
    /// The group of each input, as words; empty if the groups are in order.
    pub groups: &'a [u8],
}

fn word(bytes: &[u8], index: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(index.checked_mul(4)?..)?.first_chunk()?))
}

/// The number at `index` of a stream of bits; `word` gives its words.
fn of_stream(bits: u32, index: usize, word: impl Fn(usize) -> Option<u32>) -> Option<u32> {
    let bit = index * bits as usize;
    let (at, shift) = (bit / 32, (bit % 32) as u32);
    let mut wide = u64::from(word(at)?);
    if shift + bits > 32 {
        wide |= u64::from(word(at + 1)?) << 32;
    }
    Some((wide >> shift) as u32 & mask(bits))
}

fn mask(bits: u32) -> u32 {
    (1 << bits) - 1
}

impl Layout {
    /// Whether each 32 inputs from a multiple of 32 on are in one group, if the groups are in order.
    pub fn in_order_fits(&self) -> bool {
        self.groups <= 1 || self.group_size.is_multiple_of(GROUP_INPUTS)
    }
}

impl Quantised<'_> {
    /// The group of an input.
    pub fn group(&self, input: usize) -> Option<usize> {
        match self.groups {
            [] => Some(input / self.layout.group_size.max(1)),
            listed => usize::try_from(word(listed, input)?).ok(),
        }
    }

    /// The scale and the zero of an output's group; None if they are outside of the bytes.
    fn of_group(&self, output: usize, group: usize) -> Option<(f32, i32)> {
        let Layout { bits, outputs, groups, zeros, scale_type, scale_strides, .. } = *self.layout;
        let place = output * scale_strides.0 + group * scale_strides.1;
        let half = || Some(*self.scales.get(2 * place..)?.first_chunk()?);
        let scale = match scale_type {
            DType::F16 => f16::from_le_bytes(half()?).to_f32(),
            DType::BF16 => bf16::from_le_bytes(half()?).to_f32(),
            DType::F32 => f32::from_bits(word(self.scales, place)?),
            _ => return None,
        };
        let zero = match zeros {
            Zeros::All(zero) => zero,
            Zeros::Stream { less } => {
                let words = (outputs * bits as usize).div_ceil(32);
                let stored = of_stream(bits, output, |at| word(self.zeros, group * words + at))?;
                ((stored + less) & mask(bits)) as i32
            }
            Zeros::Interleaved => {
                let packed = word(self.zeros, group * (outputs / 8) + output / 8)?;
                (packed >> (4 * INTERLEAVED[output % 8]) & 15) as i32
            }
            Zeros::Columns => {
                let each = (32 / bits) as usize;
                let packed = word(self.zeros, output / each * groups + group)?;
                (packed >> (bits * (output % each) as u32) & mask(bits)) as i32
            }
            Zeros::Bytes { more } => i32::from(*self.zeros.get(place)? as i8) + more,
        };
        Some((scale, zero))
    }

    /// The numbers of an output from an input on.
    fn numbers(&self, bytes: &[u8], output: usize, first: usize, out: &mut [i16]) -> Option<()> {
        let Layout { packing, bits, outputs, inputs, .. } = *self.layout;
        let numbered = (first..).zip(out);
        match packing {
            Packing::Columns => {
                for (input, out) in numbered {
                    *out = of_stream(bits, input, |at| word(bytes, at * outputs + output))? as i16;
                }
            }
            Packing::Interleaved => {
                let (words, shift) = (outputs / 8, 4 * INTERLEAVED[output % 8]);
                for (input, out) in numbered {
                    *out = (word(bytes, input * words + output / 8)? >> shift & 15) as i16;
                }
            }
            Packing::Rows => {
                let each = (32 / bits) as usize;
                let words = inputs.div_ceil(each);
                for (input, out) in numbered {
                    let packed = word(bytes, output * words + input / each)?;
                    *out = (packed >> (bits * (input % each) as u32) & mask(bits)) as i16;
                }
            }
            Packing::Bytes => {
                for (out, byte) in numbered.map(|(_, out)| out).zip(bytes.get(output * inputs + first..)?) {
                    *out = i16::from(*byte as i8);
                }
            }
        }
        Some(())
    }

    /// Decodes the elements from number `start` on, row by row; None if they are outside of the bytes.
    pub fn decode(&self, bytes: &[u8], start: usize, out: &mut [f32]) -> Option<()> {
        let inputs = self.layout.inputs.max(1);
        let mut done = 0;
        while done < out.len() {
            let (output, first) = ((start + done) / inputs, (start + done) % inputs);
            let count = (inputs - first).min(out.len() - done).min(BLOCK);
            let mut numbers = [0; BLOCK];
            self.numbers(bytes, output, first, &mut numbers[..count])?;
            let (mut last, mut scale, mut zero) = (usize::MAX, 0.0, 0);
            for (i, (out, number)) in out[done..done + count].iter_mut().zip(numbers).enumerate() {
                let group = self.group(first + i)?;
                if group != last {
                    (scale, zero) = self.of_group(output, group)?;
                    last = group;
                }
                *out = scale * (i32::from(number) - zero) as f32;
            }
            done += count;
        }
        Some(())
    }

    /// An output as the kernels' groups of 4 bits: the numbers are taken over. None if they are outside of the bytes.
    ///
    /// The step and the least value are f16. A scale in f16 with a zero that is a power of two, which symmetric weights have, is so without loss;
    /// otherwise the product of scale and zero is rounded, by at most 1/2048 of itself.
    pub fn four_bits(&self, bytes: &[u8], output: usize, out: &mut [FourBits]) -> Option<()> {
        for (i, out) in out.iter_mut().enumerate() {
            let first = i * GROUP_INPUTS;
            let mut numbers = [0; GROUP_INPUTS];
            let count = GROUP_INPUTS.min(self.layout.inputs.checked_sub(first)?);
            self.numbers(bytes, output, first, &mut numbers[..count])?;
            let (scale, zero) = self.of_group(output, self.group(first)?)?;
            *out = FourBits::new(scale, scale * -(zero as f32), numbers.map(|number| number as u8));
        }
        Some(())
    }

    /// An output as signed bytes times a scale, if it has one scale for all and its numbers fit. None if they do not.
    pub fn signed_bytes(&self, bytes: &[u8], output: usize, out: &mut [i8]) -> Option<f32> {
        if self.layout.groups != 1 {
            return None;
        }
        let (scale, zero) = self.of_group(output, 0)?;
        let mut numbers = [0; BLOCK];
        for (i, out) in out.chunks_mut(BLOCK).enumerate() {
            self.numbers(bytes, output, i * BLOCK, &mut numbers[..out.len()])?;
            for (out, number) in out.iter_mut().zip(numbers) {
                *out = i8::try_from(i32::from(number) - zero).ok()?;
            }
        }
        Some(scale)
    }
}
