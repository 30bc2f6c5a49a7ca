//! The KV cache in pages of sixteen tokens, each with all layers (PagedAttention, Kwon et al. 2023). Shared pages are never written: forked
//! beams and sessions share all full pages, and only the last one is copied when one of them is extended. Free pages are kept for the next
//! sequence, so a decoding step does not allocate.

use std::cell::UnsafeCell;
use std::sync::Arc;

use crate::backend::{CacheShape, CachedSequence};
use crate::base::error::{Error, Result};
use crate::base::fork::Lock;
use crate::base::memory::Budget;
use crate::kernels::{BLOCK, CacheType};

/// One cache line, so that pages are aligned for the widest vectors. Threads write different parts of a page at the same time.
#[repr(C, align(64))]
struct Line(UnsafeCell<[u8; 64]>);

// SAFETY: writes follow the contract of `Sequence::pages`.
unsafe impl Sync for Line {}

/// The maximum size of free pages that are kept, in bytes.
const IDLE_BYTES: usize = 64 << 20;

/// The offsets of a page's parts, in numbers of its type.
#[derive(Clone, Copy)]
pub struct PageShape {
    shape: CacheShape,
    pub kind: CacheType,
    /// A value's components, rounded up to whole vectors.
    pub width: usize,
}

impl PageShape {
    pub fn new(shape: CacheShape, kind: CacheType) -> Self {
        Self { shape, kind, width: shape.head_dim.next_multiple_of(BLOCK) }
    }

    pub fn kv_heads(&self) -> usize {
        self.shape.kv_heads
    }

    pub fn head_dim(&self) -> usize {
        self.shape.head_dim
    }

    /// The offset of a head's keys, `[head_dim][BLOCK]`.
    pub fn keys(&self, layer: usize, head: usize) -> usize {
        (layer * self.shape.kv_heads + head) * BLOCK * (self.shape.head_dim + self.width)
    }

    /// The offset of a head's values, `[BLOCK][width]`.
    pub fn values(&self, layer: usize, head: usize) -> usize {
        self.keys(layer, head) + BLOCK * self.shape.head_dim
    }

    fn lines(&self) -> usize {
        (self.keys(self.shape.layers, 0) * self.kind.bytes()).div_ceil(size_of::<Line>())
    }

    pub fn bytes(&self) -> usize {
        self.lines() * size_of::<Line>()
    }
}

struct PagePool {
    shape: PageShape,
    /// Pages that no sequence uses.
    idle: Lock<Vec<Arc<Page>>>,
    budget: Arc<Budget>,
}

impl PagePool {
    fn page(&self) -> Result<Arc<Page>> {
        let idle = self.idle.lock().pop();
        if let Some(page) = idle {
            return Ok(page);
        }
        let bytes = self.shape.bytes() as u64;
        self.budget.take(bytes, "the cache of keys and values")?;
        let mut memory = Vec::new();
        if memory.try_reserve_exact(self.shape.lines()).is_err() {
            self.budget.give(bytes);
            return Err(Error::out_of_memory("the system has no memory for the cache of keys and values"));
        }
        memory.resize_with(self.shape.lines(), || Line(UnsafeCell::new([0; 64])));
        Ok(Arc::new(Page { memory: memory.into_boxed_slice(), budget: self.budget.clone() }))
    }

    /// Returns pages to the pool.
    fn give(&self, pages: impl Iterator<Item = Arc<Page>>) {
        // Free pages count as used: with a memory limit, they must leave most of it.
        let most = (self.budget.limit() / 8).min(IDLE_BYTES as u64) as usize / self.shape.bytes().max(1);
        let mut idle = self.idle.lock();
        for mut page in pages {
            if idle.len() < most && Arc::get_mut(&mut page).is_some() {
                idle.push(page);
            }
        }
    }
}

struct Page {
    memory: Box<[Line]>,
    budget: Arc<Budget>,
}

impl Page {
    fn data(&self) -> *mut u8 {
        UnsafeCell::raw_get(self.memory.as_ptr().cast::<UnsafeCell<u8>>())
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.budget.give(size_of_val(&*self.memory) as u64);
    }
}

/// The page pool of a model.
pub struct Cache(Arc<PagePool>);

impl Cache {
    pub fn new(shape: CacheShape, kind: CacheType, budget: &Arc<Budget>) -> Self {
        Self(Arc::new(PagePool { shape: PageShape::new(shape, kind), idle: Lock::default(), budget: budget.clone() }))
    }

    pub fn sequence(&self) -> Sequence {
        Sequence { pages: Vec::with_capacity(FIRST_PAGES), length: 0, pool: self.0.clone() }
    }
}

/// The capacity of a sequence's page list from the start.
const FIRST_PAGES: usize = 64;

/// The KV cache of one sequence. A clone shares the pages.
pub struct Sequence {
    pages: Vec<Arc<Page>>,
    length: usize,
    pool: Arc<PagePool>,
}

impl Clone for Sequence {
    fn clone(&self) -> Self {
        // With capacity for more pages.
        let mut pages = Vec::with_capacity(self.pages.capacity());
        pages.extend_from_slice(&self.pages);
        Self { pages, length: self.length, pool: self.pool.clone() }
    }

    fn clone_from(&mut self, source: &Self) {
        self.pool.give(self.pages.drain(..));
        self.pages.extend_from_slice(&source.pages);
        self.length = source.length;
        self.pool.clone_from(&source.pool);
    }
}

impl Drop for Sequence {
    fn drop(&mut self) {
        self.pool.give(self.pages.drain(..));
    }
}

impl Sequence {
    pub fn shape(&self) -> PageShape {
        self.pool.shape
    }

    /// The first byte of each page. Reserved rows may be written while the sequence is not cloned and nothing reads these rows.
    pub fn pages(&self) -> impl ExactSizeIterator<Item = *mut u8> + '_ {
        self.pages.iter().map(|page| page.data())
    }
}

impl CachedSequence for Sequence {
    fn length(&self) -> usize {
        self.length
    }

    fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
        let needed = self.length.div_ceil(BLOCK).min(self.pages.len());
        self.pool.give(self.pages.drain(needed..));
    }

    fn reserve(&mut self, tokens: usize) -> Result<()> {
        let needed = (self.length + tokens).div_ceil(BLOCK);
        for page in self.pages[..].iter_mut().take(needed).skip(self.length / BLOCK) {
            if Arc::get_mut(page).is_none() {
                let copy = self.pool.page()?;
                // SAFETY: the copy is not shared, and shared pages are never written.
                unsafe { copy.data().copy_from_nonoverlapping(page.data(), size_of_val(&*page.memory)) };
                *page = copy;
            }
        }
        while self.pages.len() < needed {
            self.pages.push(self.pool.page()?);
        }
        Ok(())
    }

    fn advance(&mut self, tokens: usize) {
        self.length += tokens;
        debug_assert!(self.length <= self.pages.len() * BLOCK, "a sequence beyond its pages");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(limit: u64) -> (Cache, Arc<Budget>) {
        let budget = Arc::new(Budget::new(limit));
        (Cache::new(CacheShape { layers: 2, kv_heads: 3, head_dim: 20 }, CacheType::F32, &budget), budget)
    }

    #[test]
    fn parts_of_a_page_do_not_overlap() {
        for (kind, bytes) in [(CacheType::F32, 4), (CacheType::F16, 2)] {
            let shape = PageShape::new(CacheShape { layers: 2, kv_heads: 3, head_dim: 20 }, kind);
            let mut at = 0;
            for (layer, head) in (0..2).flat_map(|layer| (0..3).map(move |head| (layer, head))) {
                assert_eq!(shape.keys(layer, head), at);
                assert_eq!(shape.values(layer, head), at + 20 * 16);
                at += 20 * 16 + 16 * 32;
            }
            assert_eq!(shape.bytes(), at * bytes);
        }
        let odd = PageShape::new(CacheShape { layers: 1, kv_heads: 1, head_dim: 1 }, CacheType::F16);
        assert_eq!(odd.bytes(), (16 + 16 * 16) * 2 + 32);
    }

    #[test]
    fn a_split_sequence_copies_only_its_last_page() {
        let (cache, budget) = cache(u64::MAX);
        let page = cache.0.shape.bytes() as u64;
        let mut one = cache.sequence();
        one.reserve(20).unwrap();
        one.advance(20);
        let mut other = one.clone();
        assert_eq!(budget.used(), 2 * page);
        other.reserve(1).unwrap();
        assert_eq!(budget.used(), 3 * page);
        let (a, b): (Vec<_>, Vec<_>) = (one.pages().collect(), other.pages().collect());
        assert_eq!(a[0], b[0]);
        assert_ne!(a[1], b[1]);
        // The first may write to its page now.
        one.reserve(1).unwrap();
        assert_eq!(one.pages().collect::<Vec<_>>(), a);
        // At the end of a page nothing is copied.
        one.truncate(16);
        let mut third = one.clone();
        third.reserve(1).unwrap();
        assert_eq!(third.pages().next(), one.pages().next());
    }

    #[test]
    fn freed_pages_serve_again_and_the_budget_holds() {
        let (cache, budget) = cache(0);
        assert_eq!(cache.sequence().reserve(1).unwrap_err().status(), crate::Status::OutOfMemory);
        assert_eq!(budget.used(), 0);
        let (cache, budget) = self::cache(u64::MAX);
        for _ in 0..3 {
            cache.sequence().reserve(40).unwrap();
        }
        assert_eq!(budget.used(), 3 * cache.0.shape.bytes() as u64);
        drop(cache);
        assert_eq!(budget.used(), 0);
    }
}
