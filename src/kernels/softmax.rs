//! The online softmax of Milakov and Gimelshein (2018): the scores of one query for a chunk of keys, merged with earlier chunks.

use super::BLOCK;
use super::activation::{exp, tanh};
use super::vector::Vector;

/// How the dot products of one query and a chunk of keys become scores.
#[derive(Clone, Copy)]
pub(super) struct Scores {
    pub scale: f32,
    /// 0 for none.
    pub softcap: f32,
    /// Added to the scaled and capped scores; valid for `count` keys.
    pub bias: Option<*const f32>,
    /// Keys in the chunk.
    pub count: usize,
    /// The range of keys that the query sees.
    pub seen: (usize, usize),
}

/// The lanes `from..to` of `x`, the others from `rest`.
///
/// # Safety
/// The machine has `V`'s instructions; `from` and `to` are at most 16.
#[inline(always)]
unsafe fn keep<V: Vector>(x: V, (from, to): (usize, usize), rest: V) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        let x = if to < BLOCK { x.first_or(to, rest) } else { x };
        if from > 0 { rest.first_or(from, x) } else { x }
    }
}

impl Scores {
    /// The lanes of the block at `key` that are seen.
    #[inline(always)]
    fn lanes(&self, key: usize) -> (usize, usize) {
        (self.seen.0.saturating_sub(key).min(BLOCK), self.seen.1.saturating_sub(key).min(BLOCK))
    }

    /// Turns dot products into unnormalised probabilities, `exp(score - maximum)`, 0 for keys that are not seen, and adds them to the
    /// rescaled `sums`. Returns the factor by which the output so far must be rescaled for the new maximum.
    ///
    /// # Safety
    /// The machine has `V`'s instructions; `scores` holds whole blocks, `bias` is valid for `count` keys.
    #[inline(always)]
    pub unsafe fn soften<V: Vector>(self, scores: *mut f32, largest: &mut f32, sums: &mut [f32; BLOCK]) -> f32 {
        // SAFETY: the caller's promise.
        unsafe {
            let scale = V::splat(self.scale);
            let nothing = V::splat(f32::NEG_INFINITY);
            let mut top = nothing;
            for key in (0..self.count).step_by(BLOCK) {
                let (from, to) = self.lanes(key);
                let p = scores.add(key);
                let mut s = nothing;
                if from < to {
                    s = V::load(p);
                    let lanes = (self.count - key).min(BLOCK);
                    if self.softcap > 0.0 {
                        let cap = V::splat(self.softcap);
                        s = tanh(s.mul(scale).div(cap)).mul(cap);
                        if let Some(bias) = self.bias {
                            s = s.add(V::load_first(bias.add(key), lanes));
                        }
                    } else {
                        s = match self.bias {
                            Some(bias) => s.mul_add(scale, V::load_first(bias.add(key), lanes)),
                            None => s.mul(scale),
                        };
                    }
                    s = keep(s, (from, to), nothing);
                }
                s.store(p);
                top = s.max(top);
            }
            // With a maximum of -∞ (no key seen, or every score -∞) -∞ - -∞ would be NaN; any finite number avoids that.
            let new = largest.max(top.largest()).max(f32::MIN);
            let factor = if *largest == f32::NEG_INFINITY { 0.0 } else { (*largest - new).exp() };
            *largest = new;
            let mut total = V::load(sums.as_ptr()).mul(V::splat(factor));
            let (maximum, zero) = (V::splat(new), V::splat(0.0));
            for key in (0..self.count).step_by(BLOCK) {
                let (from, to) = self.lanes(key);
                let p = scores.add(key);
                let e = if from < to { keep(exp(V::load(p).sub(maximum)), (from, to), zero) } else { zero };
                e.store(p);
                total = total.add(e);
            }
            total.store(sums.as_mut_ptr());
            factor
        }
    }
}
