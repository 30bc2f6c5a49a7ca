//! A budget of bytes for the memory that a model uses beside its weights: KV caches and activations.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::error::{Error, Result};

/// Bytes in use, and their limit.
#[derive(Debug)]
pub struct Budget {
    limit: u64,
    used: AtomicU64,
}

impl Budget {
    /// A `limit` of `u64::MAX` means no limit.
    pub fn new(limit: u64) -> Self {
        Self { limit, used: AtomicU64::new(0) }
    }

    /// Reserves bytes that are about to be allocated. Fails if the limit would be exceeded; `what` names the purpose.
    pub fn take(&self, bytes: u64, what: &str) -> Result<()> {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.limit {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Error::out_of_memory(format!(
                "{what}: {bytes} bytes are needed and {before} are in use, but the memory limit leaves only {} beside the \
                 weights; use a smaller batch or shorter texts, or raise the limit",
                self.limit
            )));
        }
        Ok(())
    }

    /// Reserves bytes until the result is dropped.
    pub fn hold(&self, bytes: u64, what: &str) -> Result<Hold<'_>> {
        self.take(bytes, what)?;
        Ok(Hold { budget: self, bytes })
    }

    /// Releases bytes that were freed.
    pub fn give(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// The maximum number of bytes in use.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// Bytes that are reserved until this is dropped.
pub struct Hold<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.budget.give(self.bytes);
    }
}

/// Reuses a Vec's allocation for items that differ only in lifetime, so that a loop allocates once. This relies on collecting in
/// place; without it the result would only be slower.
pub(crate) fn emptied<T, U>(mut list: Vec<T>) -> Vec<U> {
    list.clear();
    list.into_iter().map(|_| unreachable!("the list is empty")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_not_exceeded() {
        let budget = Budget::new(100);
        budget.take(60, "a").unwrap();
        assert!(budget.take(41, "b").unwrap_err().message().starts_with("b: 41 bytes"));
        budget.give(20);
        drop(budget.hold(50, "c").unwrap());
        budget.take(60, "b").unwrap();
        assert_eq!(budget.used(), 100);
    }
}
