//! Attention over a packed sequence.

use super::*;

/// Queries, keys and values of one head, interleaved as a fused projection leaves them.
pub struct Heads {
    data: Vec<f32>,
    tokens: usize,
    dim: usize,
    /// How far a query sees.
    reach: usize,
}

impl Heads {
    pub fn new(tokens: usize, dim: usize) -> Self {
        Self { data: Numbers((tokens * 100 + dim) as u64).vec(tokens * 3 * dim), tokens, dim, reach: tokens }
    }

    pub fn of(x: &[f32], tokens: usize, dim: usize) -> Self {
        Self { data: x.iter().copied().cycle().take(tokens * 3 * dim).collect(), tokens, dim, reach: tokens }
    }

    fn row(&self, which: usize, token: usize) -> &[f32] {
        &self.data[(token * 3 + which) * self.dim..][..self.dim]
    }

    fn scale(&self) -> f32 {
        3.0 / (self.dim as f32).sqrt()
    }

    pub fn reference(&self, query: usize, bias: Option<&[f32]>, vectors: Option<&Vectors>) -> Vec<f64> {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
        let one = |which: usize, token: usize, vector: Vec<f32>| dot(self.row(which, token), &vector);
        let terms = |key: usize| {
            let vectors = vectors.into_iter();
            vectors
                .map(|v| {
                    let (key_vector, query_vector) =
                        (v.of(0, key as isize - query as isize), v.of(1, query as isize - key as isize));
                    key_vector.map_or(0.0, |x| one(0, query, x)) + query_vector.map_or(0.0, |x| one(1, key, x))
                })
                .sum::<f64>()
        };
        let scores: Vec<f64> = (0..self.tokens)
            .map(|key| {
                if key.abs_diff(query) > self.reach {
                    return f64::NEG_INFINITY;
                }
                let bias = bias.map_or(0.0, |b| f64::from(b[self.tokens - 1 + key - query]));
                f64::from(self.scale()) * (dot(self.row(0, query), self.row(1, key)) + terms(key)) + bias
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

/// Vectors of distances, with NaN where the kernel may read and must not use it.
pub struct Vectors {
    tokens: usize,
    dim: usize,
    parts: [Option<Vec<f32>>; 2],
}

impl Vectors {
    fn new(tokens: usize, dim: usize, has: [bool; 2]) -> Self {
        let step = Self::step(tokens);
        let made = |seed: usize| {
            let mut values = Numbers((seed + tokens * 100 + dim) as u64).vec(dim * step);
            for row in values.chunks_exact_mut(step) {
                let end = row.len() - BLOCK;
                row[..BLOCK].fill(f32::NAN);
                row[end..].fill(f32::NAN);
            }
            values
        };
        Self { tokens, dim, parts: [has[0].then(|| made(7)), has[1].then(|| made(8))] }
    }

    fn step(tokens: usize) -> usize {
        2 * tokens - 1 + 2 * BLOCK
    }

    fn of(&self, part: usize, distance: isize) -> Option<Vec<f32>> {
        let at = (BLOCK + self.tokens - 1).checked_add_signed(distance).unwrap();
        let values = self.parts[part].as_ref()?;
        Some((0..self.dim).map(|i| values[i * Self::step(self.tokens) + at]).collect())
    }

    fn pointers(&self) -> DistanceVectors {
        let at = |part: usize| self.parts[part].as_ref().map(|values| values[BLOCK + self.tokens - 1..].as_ptr());
        DistanceVectors { keys: at(0), queries: at(1), step: Self::step(self.tokens) }
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
    vectors: Option<&Vectors>,
) -> Vec<f32> {
    let (tokens, dim) = (heads.tokens, heads.dim);
    let mut out = vec![f32::NAN; tokens * dim];
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
        reach: heads.reach,
        bias: bias.map(|b| b[tokens - 1..].as_ptr()),
        distances: vectors.map(Vectors::pointers),
    };
    // Old scratch must not matter, not even NaN.
    let mut scratch = vec![f32::NAN; kernel.attention_scratch(&a)];
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
                        let out = attend(kernel, rounded, &heads, 0..tokens, bias, None);
                        for query in (0..tokens).step_by(1 + tokens / 20) {
                            for (d, want) in heads.reference(query, bias, None).into_iter().enumerate() {
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
            let vectors = Vectors::new(tokens, dim, [true, true]);
            for (rounded, vectors) in [(false, None), (true, None), (false, Some(&vectors))] {
                let whole = attend(kernel, rounded, &heads, 0..tokens, Some(&bias), vectors);
                for step in [1, 2, 5, 7, 16] {
                    let mut parts = Vec::new();
                    for first in (0..tokens).step_by(step) {
                        let end = tokens.min(first + step);
                        let part = attend(kernel, rounded, &heads, first..end, Some(&bias), vectors);
                        parts.extend_from_slice(&part[first * dim..end * dim]);
                    }
                    assert_same_bits(&whole, &parts);
                }
            }
        }
    }
}

/// Windows of all positions relative to chunks of keys, and the queries in parts.
#[test]
fn windows_hide_keys() {
    for kernel in available() {
        for (tokens, reach) in [(20, 1), (70, 3), (150, 40), (300, 64), (300, 130)] {
            let heads = Heads { reach, ..Heads::new(tokens, 32) };
            for (rounded, most) in [(false, 2e-6), (true, 2e-2)] {
                let at = format_args!("{} {tokens} tokens, reach {reach}, rounded: {rounded}", kernel.name());
                let out = attend(kernel, rounded, &heads, 0..tokens, None, None);
                for query in (0..tokens).step_by(7) {
                    for (d, want) in heads.reference(query, None, None).into_iter().enumerate() {
                        close(&at, out[query * heads.dim + d], want, most);
                    }
                }
                let mut parts = Vec::new();
                for first in (0..tokens).step_by(11) {
                    let end = tokens.min(first + 11);
                    let part = attend(kernel, rounded, &heads, first..end, None, None);
                    parts.extend_from_slice(&part[first * heads.dim..end * heads.dim]);
                }
                assert_same_bits(&out, &parts);
            }
        }
    }
}

#[test]
fn a_bias_of_minus_infinity_hides_keys() {
    for kernel in available() {
        for (tokens, dim) in [(5, 8), (33, 20), (150, 64)] {
            let heads = Heads::new(tokens, dim);
            // A query sees the keys at even distances, or none: then all count the same.
            let even: Vec<f32> =
                (0..2 * tokens - 1).map(|i| if (i + tokens) % 2 == 1 { 0.25 } else { f32::NEG_INFINITY }).collect();
            let none = vec![f32::NEG_INFINITY; 2 * tokens - 1];
            for (rounded, most) in [(false, 2e-6), (true, 2e-2)] {
                let at = format_args!("{} {tokens}x{dim}, rounded: {rounded}", kernel.name());
                let out = attend(kernel, rounded, &heads, 0..tokens, Some(&even), None);
                for query in (0..tokens).step_by(3) {
                    for (d, want) in heads.reference(query, Some(&even), None).into_iter().enumerate() {
                        close(&at, out[query * dim + d], want, most);
                    }
                }
                let out = attend(kernel, rounded, &heads, 0..tokens, Some(&none), None);
                for (d, &got) in out[..dim].iter().enumerate() {
                    let mean = (0..tokens).map(|key| f64::from(heads.row(2, key)[d])).sum::<f64>() / tokens as f64;
                    close(&at, got, mean, most);
                }
            }
        }
    }
}

#[test]
fn vectors_of_distances_agree_with_the_reference() {
    for kernel in available() {
        for dim in [1, 20, 64] {
            for tokens in (1..=18).chain([31, 70, 127, 128, 129, 300]) {
                let heads = Heads::new(tokens, dim);
                for has in [[true, true], [true, false], [false, true]] {
                    let vectors = Vectors::new(tokens, dim, has);
                    for queries in [0..tokens, tokens / 3..tokens - tokens / 4] {
                        let out = attend(kernel, true, &heads, queries.clone(), None, Some(&vectors));
                        for query in queries.step_by(1 + tokens / 20) {
                            for (d, want) in heads.reference(query, None, Some(&vectors)).into_iter().enumerate() {
                                let at = format_args!("{} {tokens}x{dim}, {has:?}", kernel.name());
                                close(&at, out[query * dim + d], want, 3e-6);
                            }
                        }
                    }
                }
            }
        }
    }
}
