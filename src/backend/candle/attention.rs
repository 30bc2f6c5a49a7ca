//! Attention of many sequences at once by candle's batched products.
//!
//! candle has no attention over packed sequences, so sequences of similar lengths form a padded group; linear layers stay packed. A
//! [`AttentionPlan`] has the groups' rows and masks. It is made once per pass and kind of layer, and cached for passes of the same shape:
//! decoding attends to the same source text in every step.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Result, Tensor};

use crate::backend::{DistanceRows, DistanceTensors};
use crate::spec::{Heads, Stack};

use super::{Candle, metal};

/// The maximum number of queries in a piece.
const QUERIES: usize = 1024;

/// The maximum number of scores of a group, over all heads. It takes a few times as many floats.
const SCORES: usize = 1 << 26;

/// The number of cached plans: a model has few kinds of layers, and few calls run at once.
const PLANS: usize = 16;

/// The maximum size of the masks and biases of cached plans, in bytes.
const PLAN_BYTES: usize = 64 << 20;

/// Relative position bias by distance, `[heads, distances]`, and the column of distance 0.
pub struct RelativeBias {
    pub by_distance: Tensor,
    pub centre: usize,
}

/// A layer's keys and queries of distances, `[heads, dim, rows]`.
pub struct Distances {
    keys: Option<Tensor>,
    queries: Option<Tensor>,
}

impl Distances {
    pub fn new(heads: Heads, vectors: &DistanceTensors<Tensor>) -> Result<Self> {
        let part = |source: &Option<(&Tensor, usize)>| {
            let Some((x, column)) = *source else { return Ok(None) };
            let x = x.narrow(1, column, heads.query_width())?.contiguous()?;
            x.reshape((x.dim(0)?, heads.count, heads.dim))?.permute((1, 2, 0))?.contiguous().map(Some)
        };
        Ok(Self { keys: part(&vectors.keys)?, queries: part(&vectors.queries)? })
    }
}

/// Queries of one sequence and the keys of that sequence.
#[derive(Clone, PartialEq)]
pub struct Piece {
    /// The queries' rows.
    pub rows: Range<usize>,
    /// The position of the first query.
    pub first: usize,
    /// The row of each key.
    pub keys: KeyRows,
    /// The number of keys.
    pub count: usize,
}

/// The rows of a sequence's keys.
#[derive(Clone, PartialEq)]
pub enum KeyRows {
    /// Consecutive rows from this one on.
    From(usize),
    /// Pages of this many rows.
    Pages(Arc<[u32]>, usize),
}

impl KeyRows {
    fn row(&self, key: usize) -> u32 {
        match self {
            Self::From(first) => (first + key) as u32,
            Self::Pages(pages, size) => pages[key / size] * *size as u32 + (key % size) as u32,
        }
    }
}

/// The keys that a query sees.
#[derive(Clone, Copy, PartialEq)]
pub struct Sight {
    /// None after its own position.
    pub causal: bool,
    /// As [`crate::spec::AttentionSpec::windows`] defines it; 0 for none.
    pub window: usize,
}

impl Sight {
    pub const ALL: Self = Self { causal: false, window: 0 };

    /// The range of keys that query `i` of a piece sees. Padding sees the last key, because the softmax needs one.
    fn range(self, piece: &Piece, i: usize) -> (usize, usize) {
        let (at, count) = (piece.first + i, piece.count);
        match (self.causal, self.window) {
            (false, 0) => (0, count),
            (false, window) => {
                (at.min(count.saturating_sub(1)).saturating_sub(window / 2), (at + window / 2 + 1).min(count))
            }
            (true, 0) => (0, (at + 1).min(count)),
            (true, window) => {
                let end = (at + 1).min(count);
                (end.saturating_sub(window), end)
            }
        }
    }
}

/// The cache key of a plan.
#[derive(PartialEq)]
struct Occasion {
    /// The rows of queries.
    all: usize,
    pieces: Vec<Piece>,
    sight: Sight,
    /// The address of the bias, which is constant for a model.
    bias: usize,
    /// As `bias`.
    distances: usize,
}

/// The arguments of a plan.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    pub candle: &'a Candle,
    pub heads: Heads,
    pub bias: Option<&'a RelativeBias>,
    pub distances: Option<&'a DistanceRows>,
}

pub struct AttentionPlan {
    occasion: Occasion,
    groups: Vec<Group>,
    /// For each row the row of the groups' results; None if they are the same.
    order: Option<Tensor>,
}

/// Sequences padded to one shape.
struct Group {
    batch: usize,
    queries: usize,
    keys: usize,
    /// The row of each query, `[batch · queries]`; None if the group is all rows in order.
    query_rows: Option<Tensor>,
    /// The row of each key, `[batch · keys]`; None if they are the queries' rows.
    key_rows: Option<Tensor>,
    /// Mask and bias, added to the scores: `[kv or 1, batch, group or 1, queries, keys]`, f32.
    added: Option<Tensor>,
    distances: Option<GroupDistances>,
}

/// The rows of distances.
struct GroupDistances {
    /// `[1, batch, queries, keys]`
    by_query: Tensor,
    /// `[1, batch, keys, queries]`
    by_key: Tensor,
}

impl GroupDistances {
    fn new(pieces: &[Piece], queries: usize, keys: usize, rows: &DistanceRows, candle: &Candle) -> Result<Self> {
        let row = |p: &Piece, i: usize, key: usize| rows.row((p.first + i) as isize - key as isize) as u32;
        let by_query =
            pieces.iter().flat_map(|p| (0..queries).flat_map(move |i| (0..keys).map(move |key| row(p, i, key))));
        let by_query = candle.carry(by_query.collect::<Vec<u32>>(), (1, pieces.len(), queries, keys))?;
        Ok(Self { by_key: by_query.transpose(2, 3)?.contiguous()?, by_query })
    }

    /// The terms of queries `[heads, batch, queries, dim]` and keys `[heads, batch, keys, dim]`, `[heads, batch, queries, keys]` in f32.
    fn terms(&self, q: &Tensor, k: &Tensor, vectors: &Distances) -> Result<Option<Tensor>> {
        let of = |x: &Tensor, vectors: &Tensor, rows: &Tensor| {
            let (heads, batch, tokens, dim) = x.dims4()?;
            let products = x.reshape((heads, batch * tokens, dim))?.matmul(vectors)?.to_dtype(DType::F32)?;
            let products = products.reshape((heads, batch, tokens, vectors.dim(2)?))?;
            let (_, _, _, others) = rows.dims4()?;
            products.gather(&rows.broadcast_as((heads, batch, tokens, others))?.contiguous()?, 3)
        };
        let queries = vectors.keys.as_ref().map(|keys| of(q, keys, &self.by_query)).transpose()?;
        let keys = vectors.queries.as_ref().map(|queries| of(k, queries, &self.by_key)?.transpose(2, 3)).transpose()?;
        match (queries, keys) {
            (Some(queries), Some(keys)) => (queries + keys).map(Some),
            (queries, keys) => Ok(queries.or(keys)),
        }
    }
}

/// The cached plans.
#[derive(Default)]
pub struct Plans(Mutex<VecDeque<Arc<AttentionPlan>>>);

impl Plans {
    /// The plan for these pieces, from the cache or new. `all` is the number of rows.
    pub fn of(&self, setting: &Setting, pieces: Vec<Piece>, all: usize, sight: Sight) -> Result<Arc<AttentionPlan>> {
        let identity = setting.bias.map_or(0, |bias| std::ptr::from_ref(bias).addr());
        let rows = setting.distances.map_or(0, |rows| std::ptr::from_ref(rows).addr());
        let occasion = Occasion { all, pieces, sight, bias: identity, distances: rows };
        let plans = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = plans().iter().find(|plan| plan.occasion == occasion) {
            return Ok(plan.clone());
        }
        let plan = Arc::new(AttentionPlan::new(occasion, setting)?);
        let mut plans = plans();
        plans.push_front(plan.clone());
        let bytes = |plans: &VecDeque<Arc<AttentionPlan>>| plans.iter().map(|plan| plan.bytes()).sum::<usize>();
        while plans.len() > PLANS || bytes(&plans) > PLAN_BYTES {
            plans.pop_back();
        }
        Ok(plan)
    }
}

/// Sequences whose lengths are in the same class share a group.
fn class(tokens: usize, step: u32) -> u32 {
    tokens.max(1).ilog2() / step
}

impl AttentionPlan {
    fn new(occasion: Occasion, setting: &Setting) -> Result<Self> {
        let (heads, all) = (setting.heads, occasion.all);
        let mut alike: BTreeMap<_, Vec<Piece>> = BTreeMap::new();
        for piece in &occasion.pieces {
            for start in (0..piece.rows.len()).step_by(QUERIES) {
                let end = piece.rows.len().min(start + QUERIES);
                let rows = piece.rows.start + start..piece.rows.start + end;
                let part = Piece { rows, first: piece.first + start, ..piece.clone() };
                alike.entry((class(end - start, 1), piece.count > 0, class(piece.count, 2))).or_default().push(part);
            }
        }
        let mut groups = Vec::new();
        let mut places = vec![0u32; all];
        let mut place = 0;
        for pieces in alike.values() {
            let most = |of: fn(&Piece) -> usize| pieces.iter().map(of).max().unwrap_or(0);
            let (queries, keys) = (most(|p| p.rows.len()), most(|p| p.count));
            let scores = if setting.distances.is_some() { SCORES / 4 } else { SCORES };
            let batch = (scores / (queries * keys * heads.count).max(1)).max(1);
            for pieces in pieces.chunks(batch) {
                for piece in pieces {
                    for (i, row) in piece.rows.clone().enumerate() {
                        places[row] = (place + i) as u32;
                    }
                    place += queries;
                }
                groups.push(Group::new(pieces, queries, keys, &occasion, setting)?);
            }
        }
        let straight = places.iter().enumerate().all(|(row, &at)| at as usize == row) && place == all;
        let order = if straight { None } else { Some(setting.candle.carry(places, all)?) };
        Ok(Self { occasion, groups, order })
    }

    /// The size of the masks and biases in bytes.
    fn bytes(&self) -> usize {
        self.groups.iter().filter_map(|group| group.added.as_ref()).map(|x| x.elem_count() * size_of::<f32>()).sum()
    }

    /// From queries `[rows, heads · dim]` to results of the same shape. `keys` returns the keys and values of rows,
    /// `[kv, batch, keys, dim]`.
    pub fn attend(
        &self,
        q: &Tensor,
        stack: &Stack,
        distances: Option<&Distances>,
        keys_of: impl Fn(Option<&Tensor>, usize, usize) -> Result<(Tensor, Tensor)>,
    ) -> Result<Tensor> {
        let heads = stack.heads;
        let mut results = Vec::with_capacity(self.groups.len());
        for group in &self.groups {
            if group.keys == 0 {
                // No keys.
                let shape = (group.batch * group.queries, heads.query_width());
                results.push(Tensor::zeros(shape, q.dtype(), q.device())?);
                continue;
            }
            let (keys, values) = keys_of(group.key_rows.as_ref(), group.batch, group.keys)?;
            let (dtype, q_type) = (keys.dtype(), q.dtype());
            let q = group.query_rows.as_ref().map_or_else(|| Ok(q.clone()), |rows| q.index_select(rows, 0))?;
            let q = q.reshape((group.batch, group.queries, heads.kv, heads.group(), heads.dim))?;
            let q = q.permute((2, 0, 3, 1, 4))?.contiguous()?.to_dtype(dtype)?;
            let q = q.reshape((heads.kv, group.batch, heads.group() * group.queries, heads.dim))?;
            let mixed = group.mix(&q, &keys, &values, stack, distances)?;
            let mixed = mixed.reshape((heads.kv, group.batch, heads.group(), group.queries, heads.dim))?;
            let mixed = mixed.permute((1, 3, 0, 2, 4))?.contiguous()?.to_dtype(q_type)?;
            results.push(mixed.reshape((group.batch * group.queries, heads.query_width()))?);
        }
        let joined = match &results[..] {
            [only] => only.clone(),
            many => Tensor::cat(many, 0)?,
        };
        self.order.as_ref().map_or_else(|| Ok(joined.clone()), |order| joined.index_select(order, 0))
    }
}

impl Group {
    fn new(pieces: &[Piece], queries: usize, keys: usize, occasion: &Occasion, setting: &Setting) -> Result<Self> {
        let &Setting { candle, heads, bias, distances } = setting;
        let all = occasion.all;
        let batch = pieces.len();
        let rows_of = |list: Vec<u32>| {
            let count = list.len();
            candle.carry(list, count).map(Some)
        };
        // The results of padding are dropped, so any row is valid.
        let query_rows: Vec<u32> = (pieces.iter())
            .flat_map(|p| (0..queries).map(|i| if i < p.rows.len() { (p.rows.start + i) as u32 } else { 0 }))
            .collect();
        let key_rows: Vec<u32> =
            (pieces.iter()).flat_map(|p| (0..keys).map(|i| if i < p.count { p.keys.row(i) } else { 0 })).collect();
        let straight = query_rows.len() == all && query_rows.iter().enumerate().all(|(i, &row)| row as usize == i);
        let own = straight && matches!(pieces[0].keys, KeyRows::From(_)) && key_rows == query_rows;
        let mut group = Self {
            batch,
            queries,
            keys,
            query_rows: if straight { None } else { rows_of(query_rows)? },
            key_rows: if own { None } else { rows_of(key_rows)? },
            added: group_mask(pieces, queries, keys, occasion.sight, candle)?,
            distances: distances.map(|rows| GroupDistances::new(pieces, queries, keys, rows, candle)).transpose()?,
        };
        if let Some(bias) = bias {
            let distance = |p: &Piece, i: usize, key: usize| (bias.centre + key).saturating_sub(p.first + i);
            let most = bias.by_distance.dim(1)?.saturating_sub(1);
            let index = pieces.iter().flat_map(|p| {
                // Padding may be beyond all distances.
                (0..queries).flat_map(move |i| (0..keys).map(move |key| distance(p, i, key).min(most) as u32))
            });
            let index = candle.carry(index.collect::<Vec<u32>>(), batch * queries * keys)?;
            let values = bias.by_distance.index_select(&index, 1)?;
            let values = values.reshape((heads.kv, heads.group(), batch, queries, keys))?.transpose(1, 2)?;
            group.added = Some(match &group.added {
                Some(mask) => values.broadcast_add(mask)?,
                None => values.contiguous()?,
            });
        }
        Ok(group)
    }

    /// `softmax(cap(scale · (q·Kᵀ + terms of distances)) + added)·V`.
    fn mix(&self, q: &Tensor, k: &Tensor, v: &Tensor, stack: &Stack, distances: Option<&Distances>) -> Result<Tensor> {
        let (heads, scores) = (stack.heads, &stack.attention);
        let terms = match (&self.distances, distances) {
            (Some(group), Some(vectors)) => group.terms(q, k, vectors)?,
            _ => None,
        };
        if terms.is_none() && self.added.is_none() && scores.softcap == 0.0 && metal::fuses(q) {
            return metal::attention(q, k, v, scores.scale);
        }
        let q = if scores.scale == 1.0 { q.clone() } else { (q * f64::from(scores.scale))? };
        let mut s = q.matmul(&k.t()?)?.to_dtype(DType::F32)?;
        if let Some(terms) = terms {
            s = (s + (terms * f64::from(scores.scale))?)?;
        }
        if scores.softcap > 0.0 {
            let cap = f64::from(scores.softcap);
            s = ((s / cap)?.tanh()? * cap)?;
        }
        if let Some(added) = &self.added {
            let shape = s.shape().clone();
            s = s.reshape((heads.kv, self.batch, heads.group(), self.queries, self.keys))?;
            s = s.broadcast_add(added)?.reshape(shape)?;
        }
        candle_nn::ops::softmax_last_dim(&s)?.to_dtype(v.dtype())?.matmul(v)
    }
}

/// The mask with -∞ for invisible keys, `[1, batch, 1, queries, keys]`; None if all queries see all keys.
fn group_mask(pieces: &[Piece], queries: usize, keys: usize, sight: Sight, candle: &Candle) -> Result<Option<Tensor>> {
    let ranges = || pieces.iter().flat_map(|p| (0..queries).map(move |i| sight.range(p, i)));
    if ranges().all(|range| range == (0, keys)) {
        return Ok(None);
    }
    let column = |values: Vec<f32>| candle.carry(values, (pieces.len() * queries, 1));
    let first = column(ranges().map(|(first, _)| first as f32).collect())?;
    let end = column(ranges().map(|(_, end)| end as f32).collect())?;
    let key = Tensor::arange(0.0, keys as f32, &candle.device)?.unsqueeze(0)?;
    let shape = (pieces.len() * queries, keys);
    let late = key.broadcast_ge(&end)?;
    let outside = if sight.window == 0 { late } else { (late + key.broadcast_lt(&first)?)? };
    let hidden = Tensor::full(f32::NEG_INFINITY, shape, &candle.device)?;
    let mask = outside.where_cond(&hidden, &Tensor::zeros(shape, DType::F32, &candle.device)?)?;
    mask.reshape((1, pieces.len(), 1, queries, keys)).map(Some)
}
