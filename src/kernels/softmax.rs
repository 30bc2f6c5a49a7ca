//! The online softmax of Milakov and Gimelshein (2018): the scores of one query for a chunk of keys, merged with earlier chunks.

use half::bf16;

use super::BLOCK;
use super::activation::{exp, exp2_rounded, tanh};
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
    /// Whether every query sees every key.
    pub whole: bool,
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

    /// Whether the scores are the scaled dot products. It must not depend on the chunk, whose size depends on the other queries of a tile.
    #[inline(always)]
    fn plain(&self) -> bool {
        self.bias.is_none() && self.softcap == 0.0 && self.whole && self.scale > 0.0
    }

    /// The largest dot product, lane by lane.
    ///
    /// # Safety
    /// As `soften`.
    #[inline(always)]
    unsafe fn largest<V: Vector>(&self, scores: *const f32) -> V {
        // SAFETY: the caller's promise.
        unsafe {
            let nothing = V::splat(f32::NEG_INFINITY);
            let (mut top, whole) = (nothing, self.count / BLOCK * BLOCK);
            for key in (0..whole).step_by(BLOCK) {
                top = V::load(scores.add(key)).max(top);
            }
            if whole < self.count {
                top = V::load(scores.add(whole)).first_or(self.count - whole, nothing).max(top);
            }
            top
        }
    }

    /// Turns dot products into scores, -∞ for keys that are not seen, and returns the largest, lane by lane.
    ///
    /// # Safety
    /// As `soften`.
    #[inline(always)]
    unsafe fn complete<V: Vector>(&self, scores: *mut f32) -> V {
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
            top
        }
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
            let factor = raise(largest, self.complete::<V>(scores).largest());
            let mut total = V::load(sums.as_ptr()).mul(V::splat(factor));
            let (maximum, zero) = (V::splat(*largest), V::splat(0.0));
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

    /// As `soften`, but writes the probabilities to `out`, rounded to bf16; the rest of `out`, whole blocks, becomes 0. The exponential
    /// is good for that: its error is a twentieth of that of the rounding.
    ///
    /// # Safety
    /// As `soften`.
    #[inline(always)]
    pub unsafe fn soften_rounded<V: Vector>(
        self,
        scores: *mut f32,
        out: &mut [bf16],
        largest: &mut f32,
        sums: &mut [f32; BLOCK],
    ) -> f32 {
        const LOG2_E: f32 = std::f32::consts::LOG2_E;
        assert!(out.len() >= self.count && out.len().is_multiple_of(BLOCK), "no room for the probabilities");
        // SAFETY: the caller's promise; the assertion keeps whole blocks within `out`.
        unsafe {
            // Plain scores are scaled as they are exponentiated, which saves a pass of stores.
            let (top, scale) = if self.plain() {
                (self.largest::<V>(scores).largest() * self.scale, self.scale * LOG2_E)
            } else {
                (self.complete::<V>(scores).largest(), LOG2_E)
            };
            let factor = raise(largest, top);
            let mut total = V::load(sums.as_ptr()).mul(V::splat(factor));
            // Finite for every maximum: -∞ + ∞ would be NaN.
            let maximum = V::splat((-*largest * LOG2_E).min(f32::MAX));
            let (scale, zero) = (V::splat(scale), V::splat(0.0));
            let plain = if self.plain() { self.count / BLOCK * BLOCK } else { 0 };
            for key in (0..plain).step_by(BLOCK) {
                let e = exp2_rounded(V::load(scores.add(key)).mul_add(scale, maximum));
                total = total.add(e);
                e.store_bf16(out.as_mut_ptr().add(key));
            }
            for key in (plain..out.len()).step_by(BLOCK) {
                let (from, to) = self.lanes(key);
                let mut e = zero;
                if from < to {
                    e = keep(exp2_rounded(V::load(scores.add(key)).mul_add(scale, maximum)), (from, to), zero);
                    total = total.add(e);
                }
                e.store_bf16(out.as_mut_ptr().add(key));
            }
            total.store(sums.as_mut_ptr());
            factor
        }
    }
}

/// Raises the maximum so far to that of a chunk, and returns `exp(old - new)`.
#[inline(always)]
fn raise(largest: &mut f32, top: f32) -> f32 {
    // With a maximum of -∞ (no key seen, or every score -∞) -∞ - -∞ would be NaN; any finite number avoids that.
    let new = largest.max(top).max(f32::MIN);
    let factor = if *largest == f32::NEG_INFINITY { 0.0 } else { (*largest - new).exp() };
    *largest = new;
    factor
}
