//! A budget of bytes that grows and shrinks with what a model holds beyond its weights: the caches of generation.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::error::{Error, Result};

/// Bytes in use, and the most that may be.
#[derive(Debug)]
pub struct Budget {
    limit: u64,
    used: AtomicU64,
}

impl Budget {
    /// `limit` of `u64::MAX` stands for none.
    pub fn new(limit: u64) -> Self {
        Self { limit, used: AtomicU64::new(0) }
    }

    /// Counts bytes that are about to be allocated.
    pub fn take(&self, bytes: u64, what: &str) -> Result<()> {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.limit {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Error::out_of_memory(format!(
                "{what}: {bytes} bytes more than the {before} in use would pass the {} that the memory limit leaves beside the \
                 weights; generate less at once, or raise the limit",
                self.limit
            )));
        }
        Ok(())
    }

    /// Counts bytes for as long as the result lives.
    pub fn hold(&self, bytes: u64, what: &str) -> Result<Hold<'_>> {
        self.take(bytes, what)?;
        Ok(Hold { budget: self, bytes })
    }

    /// Counts bytes that were freed.
    pub fn give(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// The most bytes that may be in use.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// Bytes counted until this is dropped.
pub struct Hold<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.budget.give(self.bytes);
    }
}

/// The memory of a list, for items that differ from its own in a lifetime alone: what a loop lists in each round, it lists in the same
/// memory. Collecting in place keeps that; where it did not, only time would be lost.
pub(crate) fn emptied<T, U>(mut list: Vec<T>) -> Vec<U> {
    list.clear();
    list.into_iter().map(|_| unreachable!("the list is empty")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_not_passed() {
        let budget = Budget::new(100);
        budget.take(60, "a").unwrap();
        assert!(budget.take(41, "b").unwrap_err().message().starts_with("b: 41 bytes"));
        budget.give(20);
        drop(budget.hold(50, "c").unwrap());
        budget.take(60, "b").unwrap();
        assert_eq!(budget.used(), 100);
    }
}
