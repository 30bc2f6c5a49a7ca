//! Functions of one number, sixteen at a time.

use super::vector::Vector;
use super::{Activation, BLOCK, ExpSum};

/// `coefficients[0] · x^(n-1) + ... + coefficients[n-1]` by Horner's rule.
///
/// # Safety
/// The machine has `V`'s instructions.
#[inline(always)]
unsafe fn polynomial<V: Vector, const N: usize>(x: V, coefficients: [f32; N]) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sum = V::splat(coefficients[0]);
        for &c in &coefficients[1..] {
            sum = sum.mul_add(x, V::splat(c));
        }
        sum
    }
}

/// eˣ to about 1 ulp, for x clamped to -87..=88 (so nothing below 1e-38 is returned).
///
/// Cody and Waite's reduction to |r| ≤ ln 2 / 2 in two parts, then the polynomial of Cephes' `expf`.
///
/// # Safety
/// The machine has `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn exp<V: Vector>(x: V) -> V {
    // SAFETY: the caller's promise; n is an integer in -126..=127.
    unsafe {
        let x = V::splat(-87.0).max(V::splat(88.0).min(x));
        let n = x.mul(V::splat(std::f32::consts::LOG2_E)).round();
        let r = n.mul_add(V::splat(-0.693_359_4), x);
        let r = n.mul_add(V::splat(2.121_944_4e-4), r);
        let p = polynomial(r, [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1]);
        p.mul_add(r.mul(r), r).add(V::splat(1.0)).times_power_of_two(n)
    }
}

/// 2ˣ with a relative error of 1e-4, for x up to 127. For probabilities that are rounded to bf16.
///
/// A minimax polynomial of degree 3 for |r| ≤ 1/2. Below -100 it is about 2⁻¹⁰⁰: products with bf16 that are denormal become 0, and a row
/// whose scores are all -∞ should be the mean of the values.
///
/// # Safety
/// The machine has `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn exp2_rounded<V: Vector>(x: V) -> V {
    // SAFETY: the caller's promise; n is an integer in -100..=127.
    unsafe {
        let x = V::splat(-100.0).max(x);
        let n = x.round();
        polynomial(x.sub(n), [5.517_167e-2, 2.426_111e-1, 6.932_61e-1, 9.999_281e-1]).times_power_of_two(n)
    }
}

/// The error function, to a few 1e-7: the rational approximation of Eigen's and XLA's `erf` for f32, clamped where it
/// reaches 1.
///
/// # Safety
/// The machine has `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn erf<V: Vector>(x: V) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        let x = V::splat(-4.0).max(V::splat(4.0).min(x));
        let s = x.mul(x);
        let p = polynomial(
            s,
            [
                -2.726_142_3e-10,
                2.770_681_4e-8,
                -2.101_024e-6,
                -5.692_506_4e-5,
                -7.349_906_3e-4,
                -2.954_6e-3,
                -1.609_603_3e-2,
            ],
        );
        let q = polynomial(s, [-1.456_607_2e-5, -2.133_740_6e-4, -1.682_827e-3, -7.373_329_2e-3, -1.426_473_9e-2]);
        let y = x.mul(p).div(q);
        V::splat(-1.0).max(V::splat(1.0).min(y))
    }
}

/// The hyperbolic tangent, to a few 1e-7: the rational approximation of Eigen's `tanh` for f32.
///
/// # Safety
/// The machine has `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn tanh<V: Vector>(x: V) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        let x = V::splat(-9.0).max(V::splat(9.0).min(x));
        let s = x.mul(x);
        let p = polynomial(
            s,
            [
                -2.760_768_5e-16,
                2.000_188e-13,
                -8.604_672e-11,
                5.122_297_1e-8,
                1.485_722_4e-5,
                6.372_619_3e-4,
                4.893_524_6e-3,
            ],
        );
        let q = polynomial(s, [1.198_258_4e-6, 1.185_347_1e-4, 2.268_434_6e-3, 4.893_525e-3]);
        let y = x.mul(p).div(q);
        V::splat(-1.0).max(V::splat(1.0).min(y))
    }
}

/// The coefficients with which [`odd_gelu`] computes an activation; None if it is not a GELU.
///
/// Minimax polynomials for |x| ≤ 4 that reach 1 there; the largest error of the GELU is 2.2e-4.
#[inline(always)]
pub(super) fn rough_gelu(activation: Activation) -> Option<[f32; 7]> {
    match activation {
        Activation::Gelu => Some([
            4.517_640_3e-8,
            -3.177_653_8e-6,
            9.552_776_5e-5,
            -1.624_374_9e-3,
            1.752_738_1e-2,
            -1.291_088_3e-1,
            7.957_405_4e-1,
        ]),
        Activation::GeluTanh => Some([
            4.693_764_7e-8,
            -3.281_444_2e-6,
            9.786_899e-5,
            -1.648_948_5e-3,
            1.763_741_7e-2,
            -1.291_933_8e-1,
            7.954_27e-1,
        ]),
        _ => None,
    }
}

/// A GELU without a division, good for rows that are quantised to 8 bits, whose steps are rarely below 0.005: `x/2 · (1 + x·p(x²))`.
///
/// # Safety
/// The machine has `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn odd_gelu<V: Vector>(x: V, coefficients: [f32; 7]) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        let bounded = V::splat(-4.0).max(V::splat(4.0).min(x));
        let odd = polynomial(bounded.mul(bounded), coefficients).mul(bounded);
        let half = x.mul(V::splat(0.5));
        half.mul_add(odd, half)
    }
}

/// # Safety
/// The machine has `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn activate<V: Vector>(activation: Activation, x: V) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        match activation {
            Activation::None => x,
            Activation::Relu => V::splat(0.0).max(x),
            // Below -6 both forms of GELU are 0 to 1e-8; there the last bit of `erf` would be multiplied by a large
            // number.
            Activation::Gelu => {
                let x = V::splat(-6.0).max(x);
                let half = x.mul(V::splat(0.5));
                half.mul_add(erf(x.mul(V::splat(std::f32::consts::FRAC_1_SQRT_2))), half)
            }
            Activation::GeluTanh => {
                let x = V::splat(-6.0).max(x);
                let half = x.mul(V::splat(0.5));
                // sqrt(2/π) · (x + 0.044715·x³)
                let inner = x.mul(x).mul_add(V::splat(0.797_884_6 * 0.044_715), V::splat(0.797_884_6)).mul(x);
                half.mul_add(tanh(inner), half)
            }
            Activation::Silu => x.div(exp(V::splat(0.0).sub(x)).add(V::splat(1.0))),
            Activation::Tanh => tanh(x),
        }
    }
}

/// `out = activation(gate) · up`: the gated feed-forward of Shazeer (2020).
///
/// # Safety
/// The machine has `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn gate<V: Vector>(gate: &[f32], up: &[f32], activation: Activation, out: &mut [f32]) {
    assert!(gate.len() >= out.len() && up.len() >= out.len(), "a gate narrower than its output");
    for i in (0..out.len()).step_by(BLOCK) {
        let lanes = (out.len() - i).min(BLOCK);
        // SAFETY: the caller's promise; the assertion and `lanes` keep every access within the slices.
        unsafe {
            let g = activate(activation, V::load_first(gate.as_ptr().add(i), lanes));
            g.mul(V::load_first(up.as_ptr().add(i), lanes)).store_first(out.as_mut_ptr().add(i), lanes);
        }
    }
}

/// `Σ exp(x - largest)` and the largest value, which is -∞ if all values are.
///
/// # Safety
/// The machine has `V`'s instructions.
#[inline(always)]
pub(super) unsafe fn exp_sum<V: Vector>(x: &[f32]) -> ExpSum {
    let whole = x.len() / BLOCK * BLOCK;
    // SAFETY: the caller's promise; reads stay within `x`.
    unsafe {
        let mut top = V::splat(f32::NEG_INFINITY);
        for i in (0..whole).step_by(BLOCK) {
            top = V::load(x.as_ptr().add(i)).max(top);
        }
        let largest = x[whole..].iter().fold(top.largest(), |most, &v| most.max(v));
        if largest == f32::NEG_INFINITY {
            return ExpSum { largest, sum: 0.0 };
        }
        let maximum = V::splat(largest);
        let mut sum = V::splat(0.0);
        for i in (0..whole).step_by(BLOCK) {
            // `exp` returns e⁻⁸⁷ for a masked token's -∞: too small to change a sum of at least 1.
            sum = sum.add(exp(V::load(x.as_ptr().add(i)).sub(maximum)));
        }
        let rest = x.len() - whole;
        if rest > 0 {
            let e = exp(V::load_first(x.as_ptr().add(whole), rest).sub(maximum));
            sum = sum.add(e.first_or(rest, V::splat(0.0)));
        }
        ExpSum { largest, sum: sum.sum() }
    }
}
