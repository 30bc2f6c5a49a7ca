//! Attention over a packed sequence.

use super::*;

/// Queries, keys and values of one head, interleaved as a fused projection leaves them.
pub struct Heads {
    data: Vec<f32>,
    tokens: usize,
    dim: usize,
}

impl Heads {
    fn new(tokens: usize, dim: usize) -> Self {
        Self { data: Numbers((tokens * 100 + dim) as u64).vec(tokens * 3 * dim), tokens, dim }
    }

    pub fn of(x: &[f32], tokens: usize, dim: usize) -> Self {
        Self { data: x.iter().copied().cycle().take(tokens * 3 * dim).collect(), tokens, dim }
    }

    fn row(&self, which: usize, token: usize) -> &[f32] {
        &self.data[(token * 3 + which) * self.dim..][..self.dim]
    }

    fn scale(&self) -> f32 {
        3.0 / (self.dim as f32).sqrt()
    }

    fn reference(&self, query: usize, bias: Option<&[f32]>) -> Vec<f64> {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
        let scores: Vec<f64> = (0..self.tokens)
            .map(|key| {
                let bias = bias.map_or(0.0, |b| f64::from(b[self.tokens - 1 + key - query]));
                f64::from(self.scale()) * dot(self.row(0, query), self.row(1, key)) + bias
            })
            .collect();
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
        let total: f64 = weights.iter().sum();
        (0..self.dim)
            .map(|d| (0..self.tokens).map(|key| weights[key] / total * f64::from(self.row(2, key)[d])).sum())
            .collect()
    }
}

/// Attends with some queries; the rows of the others stay NaN. `bias` holds all distances, the middle one being 0.
/// `rounded` is whether what is multiplied may be rounded to bf16.
pub fn attend(
    kernel: &dyn Kernel,
    rounded: bool,
    heads: &Heads,
    queries: Range<usize>,
    bias: Option<&[f32]>,
) -> Vec<f32> {
    let (tokens, dim) = (heads.tokens, heads.dim);
    let mut out = vec![f32::NAN; tokens * dim];
    // Old scratch must not matter, not even NaN.
    let mut scratch = vec![f32::NAN; kernel.attention_scratch(tokens, dim)];
    let a = Attention {
        q: heads.data.as_ptr(),
        k: heads.data[dim..].as_ptr(),
        v: heads.data[2 * dim..].as_ptr(),
        out: out.as_mut_ptr(),
        stride: 3 * dim,
        out_stride: dim,
        tokens,
        queries: (queries.start, queries.end),
        head_dim: dim,
        scale: heads.scale(),
        softcap: 0.0,
        reach: tokens,
        bias: bias.map(|b| b[tokens - 1..].as_ptr()),
    };
    // SAFETY: all pointers cover all tokens; the bias covers all distances.
    unsafe { if rounded { kernel.attend_rounded(&a, &mut scratch) } else { kernel.attend(&a, &mut scratch) } }
    out
}

#[test]
fn attention_agrees_with_the_reference() {
    for kernel in available() {
        for dim in [1, 8, 20, 32, 64, 100] {
            for tokens in (1..=18).chain([31, 33, 48, 70, 127, 128, 129, 300]) {
                let heads = Heads::new(tokens, dim);
                // Rising, so that later chunks raise the maximum.
                let bias: Vec<f32> = (0..2 * tokens - 1).map(|i| (i % 7) as f32 * 0.3 + i as f32 * 0.02).collect();
                for bias in [None, Some(&bias[..])] {
                    for (rounded, most) in [(false, 2e-6), (true, 2e-2)] {
                        let out = attend(kernel, rounded, &heads, 0..tokens, bias);
                        for query in (0..tokens).step_by(1 + tokens / 20) {
                            for (d, want) in heads.reference(query, bias).into_iter().enumerate() {
                                let at = format_args!("{} {tokens}x{dim}, rounded: {rounded}", kernel.name());
                                close(&at, out[query * dim + d], want, most);
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn attention_bits_do_not_depend_on_the_queries() {
    for kernel in available() {
        for (tokens, dim) in [(5, 8), (29, 20), (70, 32), (150, 32), (40, 64)] {
            let heads = Heads::new(tokens, dim);
            let bias = Numbers(1).vec(2 * tokens - 1);
            for rounded in [false, true] {
                let whole = attend(kernel, rounded, &heads, 0..tokens, Some(&bias));
                for step in [1, 2, 5, 7, 16] {
                    let mut parts = Vec::new();
                    for first in (0..tokens).step_by(step) {
                        let end = tokens.min(first + step);
                        let part = attend(kernel, rounded, &heads, first..end, Some(&bias));
                        parts.extend_from_slice(&part[first * dim..end * dim]);
                    }
                    assert_same_bits(&whole, &parts);
                }
            }
        }
    }
}
