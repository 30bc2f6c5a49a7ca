//! Weights as the kernels read them: one layout for every instruction set.
//!
//! Output channels come in blocks of 16, one for each 32-bit lane of the widest vector. Within a block an 8-bit weight
//! lies in groups of four inputs, which is at once the operand of `vpdpbusd`, of `vpmaddubsw` and of NEON's dot
//! product; a bf16 lies in pairs of inputs, the operand of `vdpbf16ps`, of AMX's tiles and of NEON's `bfdot`; a wider
//! float lies input by input. A block is contiguous, so that a kernel streams through memory whatever the
//! shape of its tile.
//!
//! Sources are asked for one output channel at a time: a whole matrix is never held widened to f32.

use std::marker::PhantomData;
use std::mem::size_of;
use std::sync::Arc;

use memmap2::Mmap;

use super::BLOCK;
use crate::base::storage::{self, Plain, Store, Zero};

/// Inputs in one group of an 8-bit weight.
const GROUP: usize = 4;

/// One cache line. The packed values are kept in these for their alignment.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

// SAFETY: bytes.
unsafe impl Plain for Line {}

const LINE: usize = size_of::<Line>();

impl Zero for Line {
    const ZERO: Self = Self([0; LINE]);
}

/// An 8-bit weight: byte (output `n`, input `k`) is at `[n / 16][k / 4][n % 16][k % 4]`, padding is zero.
///
/// Quantisation is symmetric for each output channel: `weight = scale · byte`, bytes in -127..=127 (never -128, whose
/// negation does not exist in 8 bits).
pub struct PackedI8 {
    outputs: usize,
    inputs: usize,
    data: Store<Line>,
    scales: Store<f32>,
    sums: Store<i32>,
}

impl PackedI8 {
    /// The most inputs for which no 32-bit sum of products can overflow (255 · 127 · inputs < 2³¹). Beyond it sums
    /// wrap.
    pub const MAX_INPUTS: usize = 66_000;

    /// Quantises and packs. `channel(i, row)` fills `row` (all inputs, zero when it is handed over) with the weights of
    /// output channel `i`; channels are asked for in order.
    pub fn new(outputs: usize, inputs: usize, mut channel: impl FnMut(usize, &mut [f32])) -> Self {
        let padded = inputs.next_multiple_of(GROUP);
        let blocks = outputs.div_ceil(BLOCK);
        let mut scales = vec![0.0; blocks * BLOCK];
        let mut sums = vec![0; blocks * BLOCK];
        let mut row = vec![0.0f32; inputs];
        // A group of four inputs of sixteen channels is exactly one line.
        let data = Store::filled(blocks * (padded / GROUP), |data: &mut [Line]| {
            for n in 0..outputs {
                row.fill(0.0);
                channel(n, &mut row);
                let largest = row.iter().fold(0.0f32, |m, w| m.max(w.abs()));
                // A range so small that its reciprocal overflows holds nothing that a sum of f32 would notice.
                let inverse = if largest > f32::MIN_POSITIVE * 256.0 { 127.0 / largest } else { 0.0 };
                scales[n] = if inverse > 0.0 { largest / 127.0 } else { 0.0 };
                let mut sum = 0i32;
                let block = &mut data[(n / BLOCK) * (padded / GROUP)..][..padded / GROUP];
                for (k, &w) in row.iter().enumerate() {
                    // A NaN becomes 0 here; infinities were caught by the scale, which is then infinite too.
                    let byte = (w * inverse).round_ties_even().clamp(-127.0, 127.0) as i8;
                    sum = sum.wrapping_add(i32::from(byte));
                    block[k / GROUP].0[(n % BLOCK) * GROUP + k % GROUP] = byte as u8;
                }
                sums[n] = sum;
            }
        });
        Self { outputs, inputs, data, scales: scales.into(), sums: sums.into() }
    }

    /// A weight that lies in a mapped file as [`Self::parts`] gave it; None if the file has no room for it there.
    pub fn mapped(outputs: usize, inputs: usize, map: &Arc<Mmap>, offset: usize) -> Option<Self> {
        let (blocks, padded) = (outputs.div_ceil(BLOCK), inputs.next_multiple_of(GROUP));
        let data = blocks.checked_mul(padded)?.checked_mul(BLOCK)?;
        let scales = offset.checked_add(data)?;
        let sums = scales.checked_add(blocks * BLOCK * size_of::<f32>())?;
        Some(Self {
            outputs,
            inputs,
            data: Store::mapped(map, offset, data / LINE)?,
            scales: Store::mapped(map, scales, blocks * BLOCK)?,
            sums: Store::mapped(map, sums, blocks * BLOCK)?,
        })
    }

    /// The weight's memory: bytes, scales, sums, one after the other.
    pub fn parts(&self) -> [&[u8]; 3] {
        [storage::bytes(&self.data), storage::bytes(&self.scales), storage::bytes(&self.sums)]
    }

    /// Bytes that `new` allocates and keeps for this shape; saturates instead of overflowing.
    pub fn size(outputs: usize, inputs: usize) -> usize {
        let channels = outputs.div_ceil(BLOCK).saturating_mul(BLOCK);
        let per_channel = inputs.saturating_add(GROUP - 1) / GROUP * GROUP;
        channels.saturating_mul(per_channel.saturating_add(size_of::<f32>() + size_of::<i32>()))
    }

    pub fn outputs(&self) -> usize {
        self.outputs
    }

    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Inputs rounded up to a group: the length of a quantised row of activations.
    pub fn padded_inputs(&self) -> usize {
        self.inputs.next_multiple_of(GROUP)
    }

    pub fn blocks(&self) -> usize {
        self.outputs.div_ceil(BLOCK)
    }

    /// Memory held.
    pub fn bytes(&self) -> usize {
        self.data.len() * LINE + self.scales.len() * size_of::<f32>() + self.sums.len() * size_of::<i32>()
    }

    /// The dequantising factor of each output channel, padded to whole blocks.
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// The sum of the bytes of each output channel, padded to whole blocks: what an activation's zero point multiplies.
    pub fn sums(&self) -> &[i32] {
        &self.sums
    }

    /// One quantised weight.
    pub fn byte(&self, output: usize, input: usize) -> i8 {
        assert!(output < self.outputs && input < self.inputs);
        let line = &self.data[(output / BLOCK) * (self.padded_inputs() / GROUP) + input / GROUP];
        line.0[(output % BLOCK) * GROUP + input % GROUP] as i8
    }

    /// The quantised weights of one output channel, input by input.
    pub fn channel(&self, output: usize) -> impl Iterator<Item = i8> + '_ {
        assert!(output < self.outputs);
        let groups = self.padded_inputs() / GROUP;
        let lines = &self.data[(output / BLOCK) * groups..][..groups];
        let at = (output % BLOCK) * GROUP;
        lines.iter().flat_map(move |line| line.0[at..at + GROUP].iter().map(|&byte| byte as i8)).take(self.inputs)
    }

    /// The first byte of the first block; blocks are `16 · padded_inputs` apart. Aligned to 64.
    pub(super) fn data(&self) -> *const i8 {
        self.data.as_ptr().cast()
    }
}

mod sealed {
    /// Plain numbers for which all bits zero is 0.
    pub trait Element: Copy {
        /// Inputs that lie together.
        const GROUP: usize;
    }
    impl Element for f32 {
        const GROUP: usize = 1;
    }
    impl Element for half::f16 {
        const GROUP: usize = 1;
    }
    impl Element for half::bf16 {
        const GROUP: usize = 2;
    }
}

/// A weight that is used as it is: value (output `n`, input `k`) is at `[n / 16][k / g][n % 16][k % g]`, where `g` is 2 for
/// bf16 and else 1; padding is zero.
pub struct PackedFloat<T> {
    outputs: usize,
    inputs: usize,
    data: Store<Line>,
    element: PhantomData<T>,
}

pub type PackedF32 = PackedFloat<f32>;
pub type PackedF16 = PackedFloat<half::f16>;
pub type PackedBf16 = PackedFloat<half::bf16>;

impl<T: sealed::Element + Default> PackedFloat<T> {
    /// Packs. `channel(i, row)` fills `row` (all inputs, zero when it is handed over) with the weights of output
    /// channel `i`; channels are asked for in order.
    pub fn new(outputs: usize, inputs: usize, mut channel: impl FnMut(usize, &mut [T])) -> Self {
        let blocks = outputs.div_ceil(BLOCK);
        let padded = inputs.next_multiple_of(T::GROUP);
        let count = blocks * padded * BLOCK;
        let mut row = vec![T::default(); inputs];
        let data = Store::filled((count * size_of::<T>()).div_ceil(LINE), |data: &mut [Line]| {
            // SAFETY: the buffer holds at least `count` elements, is aligned for them, and any initialised bytes are a float.
            let values = unsafe { std::slice::from_raw_parts_mut(data.as_mut_ptr().cast::<T>(), count) };
            for n in 0..outputs {
                row.fill(T::default());
                channel(n, &mut row);
                let block = &mut values[(n / BLOCK) * padded * BLOCK..][..padded * BLOCK];
                for (lanes, group) in block.chunks_exact_mut(BLOCK * T::GROUP).zip(row.chunks(T::GROUP)) {
                    lanes[(n % BLOCK) * T::GROUP..][..group.len()].copy_from_slice(group);
                }
            }
        });
        Self { outputs, inputs, data, element: PhantomData }
    }

    /// A weight that lies in a mapped file as [`Self::parts`] gave it; None if the file has no room for it there.
    pub fn mapped(outputs: usize, inputs: usize, map: &Arc<Mmap>, offset: usize) -> Option<Self> {
        let padded = inputs.checked_next_multiple_of(T::GROUP)?;
        let values = outputs.div_ceil(BLOCK).checked_mul(BLOCK)?.checked_mul(padded)?;
        let data = Store::mapped(map, offset, values.checked_mul(size_of::<T>())?.div_ceil(LINE))?;
        Some(Self { outputs, inputs, data, element: PhantomData })
    }

    /// The weight's memory.
    pub fn parts(&self) -> [&[u8]; 1] {
        [storage::bytes(&self.data)]
    }

    /// Bytes that `new` allocates and keeps for this shape; saturates instead of overflowing.
    pub fn size(outputs: usize, inputs: usize) -> usize {
        let channels = outputs.div_ceil(BLOCK).saturating_mul(BLOCK);
        let per_channel = inputs.saturating_add(T::GROUP - 1) / T::GROUP * T::GROUP;
        channels.saturating_mul(per_channel).saturating_mul(size_of::<T>()).saturating_add(LINE - 1) / LINE * LINE
    }

    pub fn outputs(&self) -> usize {
        self.outputs
    }

    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Inputs rounded up to a group: the length of a row of rounded activations.
    pub fn padded_inputs(&self) -> usize {
        self.inputs.next_multiple_of(T::GROUP)
    }

    pub fn blocks(&self) -> usize {
        self.outputs.div_ceil(BLOCK)
    }

    /// Memory held.
    pub fn bytes(&self) -> usize {
        self.data.len() * LINE
    }

    /// One weight.
    pub fn value(&self, output: usize, input: usize) -> T {
        assert!(output < self.outputs && input < self.inputs);
        // SAFETY: the assertion keeps the index within the buffer.
        unsafe { *self.data().add(self.first(output) + Self::step(input)) }
    }

    /// The weights of one output channel, input by input.
    pub fn channel(&self, output: usize) -> impl Iterator<Item = T> + '_ {
        assert!(output < self.outputs);
        let first = self.first(output);
        // SAFETY: the assertion keeps the block within the buffer.
        (0..self.inputs).map(move |input| unsafe { *self.data().add(first + Self::step(input)) })
    }

    /// Where an output's first weight is.
    fn first(&self, output: usize) -> usize {
        (output / BLOCK) * self.padded_inputs() * BLOCK + (output % BLOCK) * T::GROUP
    }

    /// How far behind the first an output's weights are.
    fn step(input: usize) -> usize {
        input / T::GROUP * T::GROUP * BLOCK + input % T::GROUP
    }

    /// The first value of the first block; blocks are `16 · padded_inputs` apart. Aligned to 64.
    pub(super) fn data(&self) -> *const T {
        self.data.as_ptr().cast()
    }
}
