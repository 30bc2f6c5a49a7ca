//! Attention over pages in both number types, against a plain reference in f64, and the rounding of what pages hold.

use super::*;

/// A head's keys and values in pages, and queries at its last positions.
struct Cache {
    kind: CacheType,
    dim: usize,
    keys: usize,
    /// As the pages hold them: `[key][dim]`.
    k: Vec<f32>,
    v: Vec<f32>,
    q: Vec<f32>,
    pages: Vec<Vec<u8>>,
}

/// Numbers before the head's keys in a page.
const BEFORE: usize = 48;

/// What a case sees.
#[derive(Clone, Copy, Debug)]
struct View {
    causal: bool,
    window: usize,
    softcap: f32,
    bias: bool,
    /// Whether queries are tokens in a row, and not heads of one token.
    advance: bool,
}

const VIEWS: [View; 5] = [
    View { causal: true, window: 0, softcap: 0.0, bias: false, advance: true },
    View { causal: true, window: 0, softcap: 0.0, bias: false, advance: false },
    View { causal: false, window: 0, softcap: 0.0, bias: true, advance: true },
    View { causal: true, window: 7, softcap: 5.0, bias: false, advance: true },
    View { causal: true, window: 140, softcap: 0.0, bias: true, advance: true },
];

impl Cache {
    fn new(kind: CacheType, dim: usize, keys: usize, queries: usize) -> Self {
        let mut numbers = Numbers((dim * 1000 + keys) as u64);
        let held = |x: f32| if kind == CacheType::F16 { f16::from_f32(x).to_f32() } else { x };
        let k: Vec<f32> = numbers.vec(keys * dim).into_iter().map(held).collect();
        let v: Vec<f32> = numbers.vec(keys * dim).into_iter().map(held).collect();
        let width = dim.next_multiple_of(BLOCK);
        // What was never stored must not matter, not even NaN.
        let mut pages = vec![vec![f32::NAN; BEFORE + BLOCK * (dim + width)]; keys.div_ceil(BLOCK)];
        for key in 0..keys {
            let (page, lane) = (&mut pages[key / BLOCK], key % BLOCK);
            for d in 0..dim {
                page[BEFORE + d * BLOCK + lane] = k[key * dim + d];
                page[BEFORE + BLOCK * dim + lane * width + d] = v[key * dim + d];
            }
        }
        let bytes = |x: &f32| match kind {
            CacheType::F32 => x.to_ne_bytes().to_vec(),
            CacheType::F16 => f16::from_f32(*x).to_ne_bytes().to_vec(),
        };
        let pages = pages.iter().map(|page| page.iter().flat_map(bytes).collect()).collect();
        Self { kind, dim, keys, k, v, q: numbers.vec(queries * dim), pages }
    }

    fn scale(&self) -> f32 {
        3.0 / (self.dim as f32).sqrt()
    }

    /// The position of a query; the last one's is that of the last key.
    fn position(&self, view: View, query: usize) -> usize {
        if view.advance { self.keys - self.q.len() / self.dim + query } else { self.keys - 1 }
    }

    fn run(&self, kernel: &dyn Kernel, view: View, queries: Range<usize>, bias: &[f32]) -> Vec<f32> {
        let pages: Vec<*const u8> = self.pages.iter().map(|page| page.as_ptr()).collect();
        let mut out = vec![f32::NAN; queries.len() * self.dim];
        let mut scratch = vec![f32::NAN; kernel.paged_scratch(self.dim)];
        let a = PagedAttention {
            q: self.q[queries.start * self.dim..].as_ptr(),
            q_stride: self.dim,
            out: out.as_mut_ptr(),
            out_stride: self.dim,
            queries: queries.len(),
            first: self.position(view, queries.start),
            advance: usize::from(view.advance),
            keys: self.keys,
            causal: view.causal,
            window: view.window,
            pages: pages.as_ptr(),
            kind: self.kind,
            key_offset: BEFORE,
            value_offset: BEFORE + BLOCK * self.dim,
            head_dim: self.dim,
            scale: self.scale(),
            softcap: view.softcap,
            bias: view.bias.then(|| bias[self.keys..].as_ptr()),
        };
        // SAFETY: the pages hold all keys, and the bias covers all distances.
        unsafe { kernel.attend_pages(&a, &mut scratch) };
        out
    }

    fn reference(&self, view: View, query: usize, bias: &[f32]) -> Vec<f64> {
        let position = self.position(view, query);
        let end = if view.causal { position + 1 } else { self.keys };
        let begin = if view.window > 0 { end.saturating_sub(view.window) } else { 0 };
        let q = &self.q[query * self.dim..][..self.dim];
        let scores: Vec<f64> = (begin..end)
            .map(|key| {
                let k = &self.k[key * self.dim..][..self.dim];
                let dot = q.iter().zip(k).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
                let score = dot * f64::from(self.scale());
                let cap = f64::from(view.softcap);
                let score = if cap > 0.0 { cap * (score / cap).tanh() } else { score };
                score + if view.bias { f64::from(bias[self.keys + key - position]) } else { 0.0 }
            })
            .collect();
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
        let total: f64 = weights.iter().sum();
        let value = |key: usize, d: usize| f64::from(self.v[(begin + key) * self.dim + d]);
        (0..self.dim).map(|d| weights.iter().enumerate().map(|(key, w)| w / total * value(key, d)).sum()).collect()
    }
}

fn bias(keys: usize) -> Vec<f32> {
    (0..2 * keys).map(|i| (i % 7) as f32 * 0.3 + i as f32 * 0.02).collect()
}

#[test]
fn pages_agree_with_the_reference() {
    for kernel in available() {
        for kind in [CacheType::F32, CacheType::F16] {
            for dim in [1, 8, 20, 64, 100] {
                for keys in (1..=18).chain([31, 33, 127, 128, 129, 300]) {
                    let cache = Cache::new(kind, dim, keys, keys.min(14));
                    let (bias, queries) = (bias(keys), keys.min(14));
                    for view in VIEWS {
                        let out = cache.run(kernel, view, 0..queries, &bias);
                        for query in 0..queries {
                            for (d, want) in cache.reference(view, query, &bias).into_iter().enumerate() {
                                let at = format_args!("{} {kind:?} {keys}x{dim} {view:?}", kernel.name());
                                close(&at, out[query * dim + d], want, 3e-6);
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn page_bits_do_not_depend_on_the_queries() {
    for kernel in available() {
        for kind in [CacheType::F32, CacheType::F16] {
            for (keys, dim) in [(29, 20), (150, 32), (300, 64)] {
                let cache = Cache::new(kind, dim, keys, 29);
                let bias = bias(keys);
                for view in VIEWS {
                    let whole = cache.run(kernel, view, 0..29, &bias);
                    for step in [1, 2, 5, 12] {
                        let parts = (0..29).step_by(step);
                        let parts = parts.flat_map(|i| cache.run(kernel, view, i..29.min(i + step), &bias));
                        assert_same_bits(&whole, &parts.collect::<Vec<_>>());
                    }
                }
            }
        }
    }
}

#[test]
fn cached_numbers_are_rounded_to_the_nearest_f16() {
    let largest = f16::MAX.to_f32();
    // All halves, what lies around them and around the ties between them, and what no half can hold.
    let halves = (0..=u16::MAX).map(|bits| f16::from_bits(bits).to_f32());
    let near =
        |x: f32| [0i32, 1, -1, 0xfff, 0x1000, 0x1001].map(|d| f32::from_bits(x.to_bits().wrapping_add_signed(d)));
    let tiny = (0..5000).map(|i| i as f32 * 2f32.powi(-26));
    let extremes = [f32::MAX, f32::MIN, 65505.0, 65520.0, -70000.0, 1e-45, -1e-38];
    let all: Vec<f32> = halves.flat_map(near).chain(tiny).chain(extremes).collect();
    for kernel in available() {
        let mut rounded = vec![f16::NAN; all.len()];
        kernel.narrow(&all, &mut rounded);
        for (&got, &x) in rounded.iter().zip(&all) {
            let want = f16::from_f32(x.clamp(-largest, largest));
            let same = if x.is_nan() { got.is_nan() } else { got.to_bits() == want.to_bits() };
            assert!(same, "{}: {x:e} gave {got:e}, not {want:e}", kernel.name());
        }
        for count in [0, 1, 3, 15, 16, 17, 33] {
            let mut part = vec![f16::NAN; count];
            kernel.narrow(&all[200_000..][..count], &mut part);
            assert!(part.iter().map(|x| x.to_bits()).eq(rounded[200_000..][..count].iter().map(|x| x.to_bits())));
        }
    }
}
