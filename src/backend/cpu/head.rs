//! The language head when only the best token or the top k are wanted: each task computes the logits of some channels in scratch memory
//! and keeps only the largest.

use crate::backend::{Projection, TopKRows, cap};
use crate::kernels::{BLOCK, EXP_PART, Epilogue, ExpSum, FREE, Out, TopKEntry, keep_largest};
use crate::spec::Activation;

use super::linear::{FloatRows, INNER_BYTES, part};
use super::{Cpu, SharedPointer, Tensor};

/// The division of channels into groups at multiples of `unit` blocks.
#[derive(Clone, Copy)]
struct Cut {
    unit: usize,
    groups: usize,
}

impl Cpu {
    /// Groups whose logits stay in the L2 cache beside the weights.
    fn cut(&self, rows: usize, blocks: usize, unit: usize) -> Cut {
        let most = INNER_BYTES / (rows * BLOCK * size_of::<f32>()).max(1);
        let groups = blocks.div_ceil(most.max(2)).max(self.groups(blocks)).min(blocks.div_ceil(unit)).max(1);
        Cut { unit, groups }
    }

    /// Calls `work` for each group of channels and each row: the group's index, its first channel, the row's index and the logits.
    fn each_group(
        &self,
        x: &Tensor,
        head: &Projection<Self>,
        cut: Cut,
        work: impl Fn(usize, usize, usize, &mut [f32]) + Sync,
    ) {
        let (rows, w) = (x.rows, head.weight);
        let (blocks, outputs) = (w.weight.blocks(), w.weight.outputs());
        let operand = self.operand(FloatRows::of(x), head.norm, w, true);
        self.pool.run(cut.groups, |group| {
            let part = part(blocks, cut.unit, cut.groups, group);
            let first = part.start * BLOCK;
            let width = outputs.min(part.end * BLOCK) - first;
            let mut logits = self.scratch.take(rows * width);
            let data = logits.floats_mut();
            let e = Epilogue { bias: Some(&w.bias), activation: Activation::None, residual: None };
            // SAFETY: the buffer has room for the part's channels of all rows: the pointer is moved back by what the kernel adds for
            // the first of them.
            unsafe {
                let to = Out { data: data.as_mut_ptr().wrapping_sub(first), stride: width };
                self.multiply(&operand, rows, w, part, to, &e);
            }
            cap(data, head.softcap);
            for (row, logits) in data.chunks_exact_mut(width).enumerate() {
                work(group, first, row, logits);
            }
        });
    }

    /// [`LogitRows::Tokens`](crate::backend::LogitRows::Tokens).
    pub(super) fn best_tokens(
        &self,
        x: &Tensor,
        head: &Projection<Self>,
        forbidden: &[u32],
        out: &mut Vec<Option<u32>>,
    ) {
        let rows = x.rows;
        let cut = self.cut(rows, head.weight.weight.blocks(), 2);
        let mut found = self.scratch.filled(cut.groups * rows, FREE);
        let table = SharedPointer(found.as_mut_ptr());
        self.each_group(x, head, cut, |group, first, row, logits| {
            forbid(logits, first, forbidden);
            if let Some((place, value)) = self.kernel.arg_max(logits) {
                // SAFETY: the table has a place for each group and row, and this one is the task's.
                unsafe { table.at(group * rows + row).write((value, (first + place) as u32)) };
            }
        });
        for row in 0..rows {
            let mut best = [FREE];
            (0..cut.groups).for_each(|group| keep_largest(&mut best, found[group * rows + row]));
            out.push((best[0].0 > f32::NEG_INFINITY).then_some(best[0].1));
        }
    }

    /// [`LogitRows::TopK`](crate::backend::LogitRows::TopK).
    pub(super) fn top_k(&self, x: &Tensor, head: &Projection<Self>, forbidden: &[u32], out: &mut TopKRows) {
        let (rows, weight, count) = (x.rows, &head.weight.weight, out.count);
        let cut = self.cut(rows, weight.blocks(), EXP_PART / BLOCK);
        let mut found = self.scratch.filled(cut.groups * rows * count, FREE);
        let mut sums = self.scratch.filled(weight.outputs().div_ceil(EXP_PART) * rows, ExpSum::NONE);
        let (lists, totals) = (SharedPointer(found.as_mut_ptr()), SharedPointer(sums.as_mut_ptr()));
        self.each_group(x, head, cut, |group, first, row, logits| {
            for (i, part) in logits.chunks(EXP_PART).enumerate() {
                // SAFETY: there is a sum for each part and row, and this group's are the task's.
                unsafe { totals.at((first / EXP_PART + i) * rows + row).write(self.kernel.exp_sum(part)) };
            }
            forbid(logits, first, forbidden);
            // SAFETY: there is a list for each group and row, and this one is the task's.
            let list = unsafe { std::slice::from_raw_parts_mut(lists.at((group * rows + row) * count), count) };
            self.kernel.top_k(logits, first as u32, list);
        });
        for row in 0..rows {
            let total = sums.iter().skip(row).step_by(rows).fold(ExpSum::NONE, |sum, part| sum.join(*part));
            let list: &mut [TopKEntry] = out.push(total.ln());
            for group in 0..cut.groups {
                found[(group * rows + row) * count..][..count].iter().for_each(|placed| keep_largest(list, *placed));
            }
        }
    }
}

/// Sets the logits of forbidden channels to -∞.
fn forbid(logits: &mut [f32], first: usize, forbidden: &[u32]) {
    for &channel in forbidden {
        if let Some(logit) = (channel as usize).checked_sub(first).and_then(|i| logits.get_mut(i)) {
            *logit = f32::NEG_INFINITY;
        }
    }
}
