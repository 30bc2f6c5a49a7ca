//! The KV cache on the device, in pages of sixteen tokens (PagedAttention, Kwon et al. 2023): one tensor of keys and one of values per
//! layer, `[kv heads, rows, dim]`, written in place. Shared pages are never written: a sequence that is extended gets a copy, which is
//! made with the pass's writes, by the same scatter.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use candle_core::{DType, Device, Error as CandleError, Result as CandleResult, Tensor};

use crate::backend::{CacheShape, CachedSequence, Slot};
use crate::base::error::{Error, Result};
use crate::base::memory::Budget;

use super::Candle;
use super::attention::{KeyRows, Piece};

/// Tokens per page.
const PAGE: usize = 16;

/// Bytes that are kept after the last sequence is dropped.
const IDLE_BYTES: usize = 256 << 20;

/// The pages of a model.
pub struct PagePool {
    shape: CacheShape,
    dtype: DType,
    device: Device,
    /// Each layer's keys and values. Reading or writing rows needs the read lock; the write lock is for moving the tensors.
    layers: RwLock<Vec<(Tensor, Tensor)>>,
    pages: Mutex<Pages>,
    budget: Arc<Budget>,
}

#[derive(Default)]
struct Pages {
    all: usize,
    free: Vec<u32>,
}

impl PagePool {
    fn page_bytes(&self) -> usize {
        2 * self.shape.layers * self.shape.kv_heads * self.shape.head_dim * self.dtype.size_in_bytes() * PAGE
    }

    /// Takes a free page.
    fn page(self: &Arc<Self>) -> Result<Arc<Page>> {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if pages.free.is_empty() {
            self.grow(&mut pages)?;
        }
        let number = pages.free.pop().ok_or_else(|| Error::internal("a cache that grew has no free page"))?;
        Ok(Arc::new(Page { number, pool: self.clone() }))
    }

    /// Doubles the tensors, or adds one page if the budget does not allow that.
    fn grow(&self, pages: &mut Pages) -> Result<()> {
        const WHAT: &str = "the cache of keys and values";
        let bytes = |count: usize| (count * self.page_bytes()) as u64;
        let mut more = pages.all.max(8);
        if self.budget.take(bytes(more), WHAT).is_err() {
            more = 1;
            self.budget.take(bytes(more), WHAT)?;
        }
        let all = pages.all + more;
        if let Err(error) = self.lengthen(all) {
            self.budget.give(bytes(more));
            return Err(Error::out_of_memory(format!("{WHAT}: {} bytes on the device: {error}", bytes(all))));
        }
        // The first pages are used first.
        pages.free.extend((pages.all as u32..all as u32).rev());
        pages.all = all;
        Ok(())
    }

    fn lengthen(&self, pages: usize) -> CandleResult<()> {
        let shape = (self.shape.kv_heads, pages * PAGE, self.shape.head_dim);
        let mut layers = self.layers.write().unwrap_or_else(PoisonError::into_inner);
        let longer = |old: Option<&Tensor>| {
            let new = Tensor::zeros(shape, self.dtype, &self.device)?;
            old.map_or(Ok(()), |old| new.slice_set(old, 1, 0))?;
            CandleResult::Ok(new)
        };
        let mut all = Vec::with_capacity(self.shape.layers);
        for layer in 0..self.shape.layers {
            let old = layers.get(layer);
            all.push((longer(old.map(|(keys, _)| keys))?, longer(old.map(|(_, values)| values))?));
        }
        *layers = all;
        Ok(())
    }

    /// Returns a page to the pool.
    fn give(&self, number: u32) {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.free.push(number);
        let bytes = pages.all * self.page_bytes();
        if pages.free.len() == pages.all && bytes > IDLE_BYTES {
            self.layers.write().unwrap_or_else(PoisonError::into_inner).clear();
            self.budget.give(bytes as u64);
            *pages = Pages::default();
        }
    }
}

impl Drop for PagePool {
    fn drop(&mut self) {
        let pages = self.pages.get_mut().unwrap_or_else(PoisonError::into_inner).all;
        self.budget.give((pages * self.page_bytes()) as u64);
    }
}

struct Page {
    number: u32,
    pool: Arc<PagePool>,
}

impl Drop for Page {
    fn drop(&mut self) {
        self.pool.give(self.number);
    }
}

/// The page pool of a model.
pub struct Cache(Arc<PagePool>);

impl Cache {
    pub fn new(shape: CacheShape, dtype: DType, device: &Device, budget: &Arc<Budget>) -> Self {
        Self(Arc::new(PagePool {
            shape,
            dtype,
            device: device.clone(),
            layers: RwLock::default(),
            pages: Mutex::default(),
            budget: budget.clone(),
        }))
    }

    pub fn sequence(&self) -> Sequence {
        Sequence { pages: Vec::new(), length: 0, shared: None, pool: self.0.clone() }
    }
}

/// The KV cache of one sequence.
pub struct Sequence {
    pages: Vec<Arc<Page>>,
    length: usize,
    /// The shared page whose copy this sequence writes next; its rows are copied with the next writes.
    shared: Option<Arc<Page>>,
    pool: Arc<PagePool>,
}

impl Clone for Sequence {
    fn clone(&self) -> Self {
        let mut pages = self.pages.clone();
        if let Some(shared) = &self.shared {
            // A failed step has not made the copy.
            pages[self.length / PAGE] = shared.clone();
        }
        Self { pages, length: self.length, shared: None, pool: self.pool.clone() }
    }
}

impl CachedSequence for Sequence {
    fn length(&self) -> usize {
        self.length
    }

    fn truncate(&mut self, length: usize) {
        if length < self.length {
            if let Some(shared) = self.shared.take() {
                self.pages[self.length / PAGE] = shared;
            }
            self.length = length;
            self.pages.truncate(length.div_ceil(PAGE));
        }
    }

    fn reserve(&mut self, tokens: usize) -> Result<()> {
        if !self.length.is_multiple_of(PAGE)
            && let Some(page) = self.pages.get_mut(self.length / PAGE)
            && Arc::get_mut(page).is_none()
        {
            let own = self.pool.page()?;
            self.shared = Some(std::mem::replace(page, own));
        }
        while self.pages.len() * PAGE < self.length + tokens {
            self.pages.push(self.pool.page()?);
        }
        Ok(())
    }

    fn advance(&mut self, tokens: usize) {
        self.length += tokens;
        self.shared = None;
    }
}

impl Sequence {
    fn row(&self, token: usize) -> u32 {
        self.pages[token / PAGE].number * PAGE as u32 + (token % PAGE) as u32
    }

    /// Queries at `rows` with the first `count` keys.
    pub fn piece(&self, rows: Range<usize>, count: usize) -> Piece {
        let pages = self.pages[..count.div_ceil(PAGE)].iter().map(|page| page.number).collect();
        Piece { rows, first: self.length, keys: KeyRows::Pages(pages, PAGE), count }
    }

    pub fn pool(&self) -> &Arc<PagePool> {
        &self.pool
    }
}

/// The writes of a pass, the same in all layers: from rows of the activation and from copied pages to rows of the cache.
pub struct Writes {
    /// The number of rows from the activation.
    count: usize,
    /// The rows of the activation; None for all in order.
    from: Option<Tensor>,
    /// The row of the cache for each component.
    to: Tensor,
    /// The rows of the cache that are copied, after those of the activation.
    old: Option<Tensor>,
}

impl Writes {
    /// Appends each slot's rows to its sequence. `all` is the number of the activation's rows.
    pub fn new(candle: &Candle, slots: &[Slot<&mut Sequence>], all: usize) -> CandleResult<Self> {
        let (mut from, mut to, mut old, mut copies) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut shape = None;
        for Slot { rows, sequence } in slots.iter().filter(|slot| !slot.rows.is_empty()) {
            shape = Some(sequence.pool.shape);
            let length = sequence.length;
            from.extend(rows.clone().map(|row| row as u32));
            to.extend((length..length + rows.len()).map(|token| sequence.row(token)));
            if let Some(shared) = &sequence.shared {
                for i in 0..length % PAGE {
                    old.push(shared.number * PAGE as u32 + i as u32);
                    copies.push(sequence.row(length - length % PAGE + i));
                }
            }
        }
        to.append(&mut copies);
        let Some(CacheShape { kv_heads, head_dim, .. }) = shape else {
            return Err(CandleError::Msg("nothing to write".into()));
        };
        let straight = from.len() == all && from.iter().enumerate().all(|(i, &row)| i == row as usize);
        let (count, places, copied) = (from.len(), to.len(), old.len());
        let to = candle.carry(to, (1, places, 1))?.broadcast_as((kv_heads, places, head_dim))?.contiguous()?;
        Ok(Self {
            count,
            from: if straight { None } else { Some(candle.carry(from, count)?) },
            to,
            old: if copied == 0 { None } else { Some(candle.carry(old, copied)?) },
        })
    }
}

impl PagePool {
    /// Writes the keys (from `column` of `x` on) and values (right after them) of the rows.
    pub fn write(&self, x: &Tensor, column: usize, layer: usize, writes: &Writes) -> CandleResult<()> {
        let CacheShape { kv_heads, head_dim, .. } = self.shape;
        let layers = self.layers.read().unwrap_or_else(PoisonError::into_inner);
        let x = writes.from.as_ref().map_or_else(|| Ok(x.clone()), |rows| x.index_select(rows, 0))?;
        let width = kv_heads * head_dim;
        for (all, column) in [(&layers[layer].0, column), (&layers[layer].1, column + width)] {
            let new = x.narrow(1, column, width)?.reshape((writes.count, kv_heads, head_dim))?;
            let new = new.transpose(0, 1)?.to_dtype(self.dtype)?.contiguous()?;
            let new = match &writes.old {
                Some(old) => Tensor::cat(&[&new, &all.index_select(old, 1)?], 1)?.contiguous()?,
                None => new,
            };
            all.scatter_set(&writes.to, &new, 1)?;
        }
        Ok(())
    }

    /// The keys and values at rows of a layer: `[kv, batch, keys, dim]`.
    pub fn read(
        &self,
        layer: usize,
        rows: Option<&Tensor>,
        batch: usize,
        keys: usize,
    ) -> CandleResult<(Tensor, Tensor)> {
        let rows = rows.ok_or_else(|| CandleError::Msg("a plan without the cache's rows".into()))?;
        let layers = self.layers.read().unwrap_or_else(PoisonError::into_inner);
        let shape = (self.shape.kv_heads, batch, keys, self.shape.head_dim);
        let part = |all: &Tensor| all.index_select(rows, 1)?.reshape(shape);
        Ok((part(&layers[layer].0)?, part(&layers[layer].1)?))
    }
}
