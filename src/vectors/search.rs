//! Exact search: the embeddings of a corpus that are most similar to each query, by comparing all of them.
//!
//! Queries are taken in groups and the corpus in blocks that stay in a core's cache while the queries of a group pass over them. Each
//! task keeps a heap per query. A score depends only on its two rows, and hits are in a total order, so the result depends neither on the
//! number of threads nor on how the work was cut.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::sync::{Mutex, OnceLock, PoisonError};

use half::f16;

use crate::base::call::Cancellation;
use crate::base::error::{Error, Result};
use crate::base::memory::{catch, ensure, grow};
use crate::base::threads::{self, Pool};
use crate::kernels::{self, Kernel};

use super::codes::{EmbeddingCodes, quantize};
use super::{EmbeddingRows, EmbeddingType, EmbeddingValues, row};

/// What makes two embeddings similar. The numbers are part of the C ABI: new ones are only appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Similarity {
    /// The sum of the products of their values; of codes, without ranges.
    Dot = 1,
    /// The same divided by the lengths of both; 0 where a length is 0.
    Cosine = 2,
    /// Of binary types: how many bits differ, negated, so that more is more similar.
    Hamming = 3,
}

impl Similarity {
    pub const ALL: [Self; 3] = [Self::Dot, Self::Cosine, Self::Hamming];

    pub fn from_u32(value: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|&similarity| similarity as u32 == value)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Dot => "dot",
            Self::Cosine => "cosine",
            Self::Hamming => "hamming",
        }
    }
}

/// Options of [`search`].
#[derive(Clone, Debug, Default)]
pub struct SearchOptions<'a> {
    /// Hits per query; `None`: 10. All, if the corpus has fewer.
    pub top_k: Option<usize>,
    /// `None`: cosine for floats, the dot product for int8 and uint8, Hamming for binary types.
    pub similarity: Option<Similarity>,
    /// For queries of floats over a corpus of int8 or uint8: the ranges that the corpus was made with.
    pub ranges: Option<&'a [f32]>,
    /// For queries of floats over codes: this times `top_k` candidates are found by codes, and the best by the product of the query
    /// itself with their codes are kept. `None`: 2.
    pub rescore_multiplier: Option<usize>,
    /// Threads, the caller's included. `None`: as many as the process may run at once. A small search takes only the caller's.
    pub threads: Option<usize>,
    pub cancellation: Option<Cancellation>,
}

impl SearchOptions<'_> {
    /// Hits of each query in a corpus of so many embeddings.
    pub(crate) fn per_query(&self, corpus: usize) -> usize {
        self.top_k.unwrap_or(TOP_K).min(corpus)
    }
}

/// The hits of all queries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SearchHits {
    /// Rows of the corpus: `per_query` for each query, the most similar first, the lowest of equals first.
    pub indices: Vec<i64>,
    /// Their scores.
    pub scores: Vec<f32>,
    /// `top_k`, or the number of the corpus' embeddings if that is less.
    pub per_query: usize,
}

/// Hits per query unless the caller says otherwise.
const TOP_K: usize = 10;
const RESCORE_MULTIPLIER: usize = 2;
/// Queries that pass over a block of the corpus together.
const GROUP: usize = 32;
/// Bytes of the corpus in a block: most of a core's first cache.
const BLOCK_BYTES: usize = 32 << 10;
/// The least rows of the corpus in a task, and the most in a block.
const PART: usize = 1024;
/// Bytes that are read of the corpus, for each query anew, from which on threads are worth their start.
const THREADED: usize = 4 << 20;

/// Finds the `top_k` embeddings of `corpus` that are most similar to each query, exactly. Both have the same type and dimension; queries
/// of float32 go with a corpus of any type: with codes, they are quantised too, and the candidates rescored, as
/// `semantic_search_usearch` of sentence-transformers does. No index is built, and nothing of the corpus is copied.
///
/// The result does not depend on the number of threads, and for codes not on the instruction set.
///
/// # Errors
/// Types or dimensions that do not go together; a similarity that the types do not have; a score that is NaN; cancellation.
pub fn search(queries: &EmbeddingRows, corpus: &EmbeddingRows, options: &SearchOptions) -> Result<SearchHits> {
    queries.check("queries")?;
    corpus.check("corpus")?;
    if queries.dimension != corpus.dimension {
        let (a, b) = (queries.dimension, corpus.dimension);
        return Err(Error::invalid_argument(format!("queries.dimension: is {a}, and the corpus has {b}")));
    }
    let similarity = similarity(corpus.values.kind(), options.similarity)?;
    let top_k = options.top_k.unwrap_or(TOP_K);
    let multiplier = options.rescore_multiplier.unwrap_or(RESCORE_MULTIPLIER);
    for (value, name) in
        [(top_k, "top_k"), (multiplier, "rescore_multiplier"), (options.threads.unwrap_or(1), "threads")]
    {
        if value == 0 {
            return Err(Error::invalid_argument(format!("{name}: is 0")));
        }
    }
    let rescored = queries.values.kind() == EmbeddingType::Float32 && is_code(corpus.values.kind());
    if options.ranges.is_some() && (!rescored || corpus.values.kind().is_binary()) {
        return Err(Error::invalid_argument("ranges: are only for queries of float32 over a corpus of int8 or uint8"));
    }
    if options.rescore_multiplier.is_some() && !rescored {
        return Err(Error::invalid_argument(
            "rescore_multiplier: is only for queries of float32 over a corpus of int8, uint8 or binary types",
        ));
    }
    let per_query = options.per_query(corpus.count);
    catch(|| {
        let Some(converted) = converted(queries, corpus, options.ranges)? else {
            return run(queries, corpus, similarity, per_query, options);
        };
        let same = EmbeddingRows::new(converted.values(), queries.dimension);
        if !rescored {
            return run(&same, corpus, similarity, per_query, options);
        }
        let candidates = top_k.saturating_mul(multiplier).min(corpus.count);
        let found = run(&same, corpus, similarity, candidates, options)?;
        rescore(queries, corpus, similarity, &found, per_query)
    })
}

fn is_code(kind: EmbeddingType) -> bool {
    !matches!(kind, EmbeddingType::Float32 | EmbeddingType::Float16)
}

fn similarity(kind: EmbeddingType, wanted: Option<Similarity>) -> Result<Similarity> {
    let similarity = wanted.unwrap_or(match kind {
        EmbeddingType::Float32 | EmbeddingType::Float16 => Similarity::Cosine,
        EmbeddingType::Int8 | EmbeddingType::Uint8 => Similarity::Dot,
        EmbeddingType::Binary | EmbeddingType::Ubinary => Similarity::Hamming,
    });
    if (similarity == Similarity::Hamming) != kind.is_binary() {
        let (similarity, kind) = (similarity.name(), kind.name());
        return Err(Error::invalid_argument(format!(
            "similarity: {similarity} is not for a corpus of {kind}; hamming is for binary types, dot and cosine for the others"
        )));
    }
    Ok(similarity)
}

/// The queries in the type that the corpus is compared with; `None` if they have it.
fn converted(
    queries: &EmbeddingRows,
    corpus: &EmbeddingRows,
    ranges: Option<&[f32]>,
) -> Result<Option<EmbeddingCodes>> {
    use EmbeddingType::{Float16, Float32, Int8, Uint8};
    let (of_queries, of_corpus) = (queries.values.kind(), corpus.values.kind());
    match (queries.values, of_corpus) {
        (EmbeddingValues::Float16(values), Float16 | Float32) => {
            let rows = (0..queries.count).map(|i| row(values, queries.dimension, queries.stride, i));
            let mut widened = Vec::new();
            grow(&mut widened, queries.count.saturating_mul(queries.dimension), "the queries");
            rows.for_each(|row| widened.extend(row.iter().map(|x| x.to_f32())));
            Ok(Some(EmbeddingCodes::Float32(widened)))
        }
        (EmbeddingValues::Float32(_), Float16 | Float32) => Ok(None),
        _ if of_queries == of_corpus => Ok(None),
        (EmbeddingValues::Float32(_), Int8 | Uint8) if ranges.is_none() => Err(Error::invalid_argument(format!(
            "ranges: are needed to compare queries of float32 with a corpus of {}",
            of_corpus.name()
        ))),
        (EmbeddingValues::Float32(_), _) => quantize("queries", queries, of_corpus, ranges).map(Some),
        _ => Err(Error::invalid_argument(format!(
            "queries.kind: is {}, which cannot be compared with a corpus of {}",
            of_queries.name(),
            of_corpus.name()
        ))),
    }
}

/// Rows that can be compared.
#[derive(Clone, Copy)]
enum Pairs<'a> {
    Float32(&'a [f32], &'a [f32]),
    Float16(&'a [f32], &'a [f16]),
    Int8(&'a [i8], &'a [i8]),
    Uint8(&'a [u8], &'a [u8]),
    Bits(&'a [u8], &'a [u8]),
}

impl<'a> Pairs<'a> {
    fn new(queries: EmbeddingValues<'a>, corpus: EmbeddingValues<'a>) -> Result<Self> {
        use EmbeddingValues as V;
        Ok(match (queries, corpus) {
            (V::Float32(a), V::Float32(b)) => Self::Float32(a, b),
            (V::Float32(a), V::Float16(b)) => Self::Float16(a, b),
            (V::Int8(a), V::Int8(b)) => Self::Int8(a, b),
            (V::Uint8(a), V::Uint8(b)) => Self::Uint8(a, b),
            (V::Binary(a), V::Binary(b)) => Self::Bits(bytes(a), bytes(b)),
            (V::Ubinary(a), V::Ubinary(b)) => Self::Bits(a, b),
            _ => return Err(Error::internal("search compares types that do not go together")),
        })
    }
}

/// Which bits differ does not depend on the offset of 128 that both have.
fn bytes(signed: &[i8]) -> &[u8] {
    // SAFETY: both types are a byte of which every pattern is a value.
    unsafe { std::slice::from_raw_parts(signed.as_ptr().cast(), signed.len()) }
}

/// A row of the corpus and its score.
#[derive(Clone, Copy, PartialEq)]
struct Hit {
    score: f32,
    index: usize,
}

impl Eq for Hit {}

/// The better hit is less, so that a sorted list begins with the best and a heap shows the worst. Scores are not NaN.
impl Ord for Hit {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_score = other.score.partial_cmp(&self.score).unwrap_or(Ordering::Equal);
        by_score.then(self.index.cmp(&other.index))
    }
}

impl PartialOrd for Hit {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The search of one call.
struct Search<'a> {
    kernel: &'static dyn Kernel,
    pairs: Pairs<'a>,
    queries: EmbeddingRows<'a>,
    corpus: EmbeddingRows<'a>,
    similarity: Similarity,
    /// The lengths of the queries; empty unless scores are divided by them.
    lengths: Vec<f64>,
    top: usize,
    cancellation: Option<&'a Cancellation>,
    /// The first pair whose score is NaN, as query and row.
    nan: Mutex<Option<(usize, usize)>>,
}

/// Searches with queries that have the type for the corpus.
fn run(
    queries: &EmbeddingRows,
    corpus: &EmbeddingRows,
    similarity: Similarity,
    top: usize,
    options: &SearchOptions,
) -> Result<SearchHits> {
    let kernel = kernels::select().map_err(Error::invalid_argument)?;
    let mut search = Search {
        kernel,
        pairs: Pairs::new(queries.values, corpus.values)?,
        queries: *queries,
        corpus: *corpus,
        similarity,
        lengths: Vec::new(),
        top,
        cancellation: options.cancellation.as_ref(),
        nan: Mutex::new(None),
    };
    if similarity == Similarity::Cosine {
        lengths(kernel, queries, 0..queries.count, &mut search.lengths);
    }
    let groups = queries.count.div_ceil(GROUP);
    let threads = options.threads.unwrap_or_else(threads::available);
    let read = queries.count.saturating_mul(corpus.count).saturating_mul(search.row_bytes());
    let threads = if read < THREADED { 1 } else { threads };
    let parts = match threads.saturating_mul(2) {
        wanted if groups < wanted => wanted.div_ceil(groups.max(1)).min(corpus.count.div_ceil(PART)).max(1),
        _ => 1,
    };
    let rows = corpus.count.div_ceil(parts);
    // Heaps grow by doubling.
    let kept = queries.count.saturating_mul(parts).saturating_mul(top.min(rows)).saturating_mul(2 * size_of::<Hit>());
    ensure(kept as u64, "the hits")?;
    let tasks: Vec<OnceLock<Vec<Vec<Hit>>>> = (0..groups * parts).map(|_| OnceLock::new()).collect();
    Pool::new(threads.min(tasks.len()).max(1)).run(tasks.len(), |task| {
        let (group, part) = (task / parts, task % parts);
        let queries = group * GROUP..((group + 1) * GROUP).min(queries.count);
        let range = (part * rows).min(corpus.count)..((part + 1) * rows).min(corpus.count);
        let _ = tasks[task].set(search.part(queries, range));
    });
    search.check_cancelled()?;
    if let Some((query, row)) = search.nan.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(Error::invalid_argument(format!(
            "queries: the score of query {query} with embedding {row} of the corpus is NaN; one of them has a value that is NaN or \
             too large"
        )));
    }
    let mut hits = SearchHits { per_query: top, ..SearchHits::default() };
    grow(&mut hits.indices, queries.count.saturating_mul(top), "the hits");
    grow(&mut hits.scores, queries.count.saturating_mul(top), "the hits");
    let mut joined = Vec::new();
    for (group, parts) in tasks.chunks(parts).enumerate() {
        for i in 0..GROUP.min(queries.count - group * GROUP) {
            joined.clear();
            joined.extend(parts.iter().filter_map(OnceLock::get).flat_map(|queries| &queries[i]).copied());
            joined.sort_unstable();
            hits.append(&joined[..top]);
        }
    }
    Ok(hits)
}

impl SearchHits {
    fn append(&mut self, hits: &[Hit]) {
        self.indices.extend(hits.iter().map(|hit| hit.index as i64));
        self.scores.extend(hits.iter().map(|hit| hit.score));
    }
}

impl Search<'_> {
    fn row_bytes(&self) -> usize {
        let element = match self.pairs {
            Pairs::Float32(..) => size_of::<f32>(),
            Pairs::Float16(..) => size_of::<f16>(),
            Pairs::Int8(..) | Pairs::Uint8(..) | Pairs::Bits(..) => 1,
        };
        self.corpus.width() * element
    }

    fn check_cancelled(&self) -> Result<()> {
        match self.cancellation {
            Some(cancellation) if cancellation.is_cancelled() => Err(Error::cancelled()),
            _ => Ok(()),
        }
    }

    /// The best hits of some queries in some rows of the corpus, best first; as far as it got if the call is cancelled.
    fn part(&self, queries: Range<usize>, rows: Range<usize>) -> Vec<Vec<Hit>> {
        let mut best: Vec<BinaryHeap<Hit>> = queries.clone().map(|_| BinaryHeap::new()).collect();
        let block = (BLOCK_BYTES / self.row_bytes()).clamp(8, PART);
        let (mut scores, mut sums, mut lengths) = (vec![0.0; block], vec![0; block], Vec::new());
        for first in rows.clone().step_by(block) {
            if self.check_cancelled().is_err() {
                break;
            }
            let count = block.min(rows.end - first);
            if self.similarity == Similarity::Cosine {
                lengths.clear();
                self::lengths(self.kernel, &self.corpus, first..first + count, &mut lengths);
            }
            for (query, best) in queries.clone().zip(&mut best) {
                let scores = &mut scores[..count];
                self.score(query, first, &lengths, scores, &mut sums[..count]);
                if let Some(at) = scores.iter().position(|score| score.is_nan()) {
                    self.report((query, first + at));
                    continue;
                }
                for (i, &score) in scores.iter().enumerate() {
                    let hit = Hit { score, index: first + i };
                    if best.len() < self.top {
                        best.push(hit);
                    } else if let Some(mut worst) = best.peek_mut()
                        && hit < *worst
                    {
                        *worst = hit;
                    }
                }
            }
        }
        best.into_iter().map(BinaryHeap::into_sorted_vec).collect()
    }

    fn report(&self, pair: (usize, usize)) {
        let mut nan = self.nan.lock().unwrap_or_else(PoisonError::into_inner);
        if nan.is_none_or(|found| pair < found) {
            *nan = Some(pair);
        }
    }

    /// The scores of a query with the rows from `first` on.
    fn score(&self, query: usize, first: usize, lengths: &[f64], scores: &mut [f32], sums: &mut [i32]) {
        let (kernel, stride, from) = (self.kernel, self.corpus.stride, first * self.corpus.stride);
        let at = query * self.queries.stride;
        let query_range = at..at + self.queries.width();
        match self.pairs {
            Pairs::Float32(queries, corpus) => kernel.dots_f32(&queries[query_range], &corpus[from..], stride, scores),
            Pairs::Float16(queries, corpus) => kernel.dots_f16(&queries[query_range], &corpus[from..], stride, scores),
            Pairs::Int8(queries, corpus) => {
                kernel.dots_i8(&queries[query_range], &corpus[from..], stride, sums);
                widen(sums, scores);
            }
            Pairs::Uint8(queries, corpus) => {
                kernel.dots_u8(&queries[query_range], &corpus[from..], stride, sums);
                widen(sums, scores);
            }
            Pairs::Bits(queries, corpus) => {
                kernel.hamming(&queries[query_range], &corpus[from..], stride, sums);
                sums.iter_mut().for_each(|sum| *sum = -*sum);
                widen(sums, scores);
            }
        }
        if self.similarity == Similarity::Cosine {
            for (score, length) in scores.iter_mut().zip(lengths) {
                *score = cosine(f64::from(*score), self.lengths[query] * length);
            }
        }
    }
}

fn widen(sums: &[i32], scores: &mut [f32]) {
    for (score, &sum) in scores.iter_mut().zip(sums) {
        *score = sum as f32;
    }
}

fn cosine(dot: f64, lengths: f64) -> f32 {
    if lengths == 0.0 { 0.0 } else { (dot / lengths) as f32 }
}

/// The Euclidean lengths of some rows.
fn lengths(kernel: &dyn Kernel, rows: &EmbeddingRows, range: Range<usize>, out: &mut Vec<f64>) {
    let (width, stride) = (rows.width(), rows.stride);
    let mut widened = Vec::new();
    let (mut square, mut sum) = ([0.0f32], [0i32]);
    for i in range {
        match rows.values {
            EmbeddingValues::Float32(values) => {
                let row = row(values, width, stride, i);
                kernel.dots_f32(row, row, width, &mut square);
            }
            EmbeddingValues::Float16(values) => {
                let row = row(values, width, stride, i);
                widened.clear();
                widened.extend(row.iter().map(|x| x.to_f32()));
                kernel.dots_f16(&widened, row, width, &mut square);
            }
            EmbeddingValues::Int8(values) => {
                let row = row(values, width, stride, i);
                kernel.dots_i8(row, row, width, &mut sum);
                widen(&sum, &mut square);
            }
            EmbeddingValues::Uint8(values) => {
                let row = row(values, width, stride, i);
                kernel.dots_u8(row, row, width, &mut sum);
                widen(&sum, &mut square);
            }
            EmbeddingValues::Binary(_) | EmbeddingValues::Ubinary(_) => {}
        }
        out.push(f64::from(square[0]).sqrt());
    }
}

/// The best of the candidates by the products of the queries themselves with the candidates' codes; bits count as 0 and 1.
fn rescore(
    queries: &EmbeddingRows,
    corpus: &EmbeddingRows,
    similarity: Similarity,
    found: &SearchHits,
    per_query: usize,
) -> Result<SearchHits> {
    let EmbeddingValues::Float32(values) = queries.values else {
        return Err(Error::internal("search rescores queries that are codes"));
    };
    let mut hits = SearchHits { per_query, ..SearchHits::default() };
    grow(&mut hits.indices, queries.count.saturating_mul(per_query), "the hits");
    grow(&mut hits.scores, queries.count.saturating_mul(per_query), "the hits");
    let mut code = vec![0.0; corpus.dimension];
    let mut rescored = Vec::new();
    for (i, candidates) in found.indices.chunks(found.per_query.max(1)).enumerate() {
        let query = row(values, queries.dimension, queries.stride, i);
        let length = |row: &mut dyn Iterator<Item = f64>| row.map(|x| x * x).sum::<f64>().sqrt();
        rescored.clear();
        for index in candidates.iter().map(|&index| index as usize) {
            read_code(corpus, index, &mut code);
            let dot = query.iter().zip(&code).map(|(&x, &y)| f64::from(x) * y).sum::<f64>();
            let score = match similarity {
                Similarity::Cosine => {
                    let of_query = length(&mut query.iter().map(|&x| f64::from(x)));
                    cosine(dot, of_query * length(&mut code.iter().copied()))
                }
                Similarity::Dot | Similarity::Hamming => dot as f32,
            };
            rescored.push(Hit { score, index });
        }
        rescored.sort_unstable();
        hits.append(&rescored[..per_query]);
    }
    Ok(hits)
}

/// The numbers of a row of codes.
fn read_code(corpus: &EmbeddingRows, index: usize, out: &mut [f64]) {
    let (width, stride) = (corpus.width(), corpus.stride);
    let unpack = |bytes: &[u8], out: &mut [f64]| {
        for (i, out) in out.iter_mut().enumerate() {
            *out = f64::from(bytes[i / 8] >> (7 - i % 8) & 1);
        }
    };
    match corpus.values {
        EmbeddingValues::Int8(values) => {
            out.iter_mut().zip(row(values, width, stride, index)).for_each(|(out, &x)| *out = f64::from(x));
        }
        EmbeddingValues::Uint8(values) => {
            out.iter_mut().zip(row(values, width, stride, index)).for_each(|(out, &x)| *out = f64::from(x));
        }
        EmbeddingValues::Ubinary(values) => unpack(row(values, width, stride, index), out),
        EmbeddingValues::Binary(values) => {
            let packed: Vec<u8> = row(values, width, stride, index).iter().map(|x| x.cast_unsigned() ^ 128).collect();
            unpack(&packed, out);
        }
        EmbeddingValues::Float32(_) | EmbeddingValues::Float16(_) => {}
    }
}
