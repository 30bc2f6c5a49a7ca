//! Whether memory is there before it is used: a budget of bytes for the memory that a model uses beside its weights (KV caches and
//! activations), and a check with the system.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::MmapMut;

use crate::base::error::{Error, Result};

/// What is always left for small allocations, in bytes.
const HEADROOM: u64 = 2 << 20;

/// Fails unless the system grants `bytes` more at this moment. Many allocations, most of them in dependencies, abort the process when
/// they fail; work that checks its whole need first does not get that far. `what` names the purpose.
///
/// The memory is mapped and unmapped untouched, which takes about two microseconds and does not change `malloc`'s thresholds.
pub fn ensure(bytes: u64, what: &str) -> Result<()> {
    let all = bytes.saturating_add(HEADROOM);
    match usize::try_from(all).ok().and_then(|all| MmapMut::map_anon(all).ok()) {
        Some(_) => Ok(()),
        None => Err(Error::out_of_memory(format!(
            "{what}: out of memory: it may need {all} bytes, which the system does not grant"
        ))),
    }
}

/// Makes a list long enough for `more` items. Where the system refuses, the call that is under way ends with an error: it unwinds to
/// [`catch`], because the operations of a pass return no errors.
pub fn grow<T>(list: &mut Vec<T>, more: usize, what: &str) {
    if list.try_reserve(more).is_err() {
        let bytes = more.saturating_mul(size_of::<T>());
        let error = Error::out_of_memory(format!("{what}: the system does not grant {bytes} bytes"));
        // Unlike a panic, this does not run the panic hook.
        resume_unwind(Box::new(error));
    }
}

/// Runs a call and returns the error of [`grow`]. Panics go on.
pub fn catch<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| match payload.downcast::<Error>() {
        Ok(error) => Err(*error),
        Err(payload) => resume_unwind(payload),
    })
}

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

    /// Reserves bytes until the result is dropped, and checks that the system grants them.
    pub fn hold(&self, bytes: u64, what: &str) -> Result<Hold<'_>> {
        self.take(bytes, what)?;
        let hold = Hold { budget: self, bytes };
        if bytes > 0 {
            ensure(bytes, what)?;
        }
        Ok(hold)
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

    #[test]
    fn what_the_system_refuses_is_an_error() {
        for error in [
            ensure(u64::MAX, "all").unwrap_err(),
            ensure(1 << 60, "all").unwrap_err(),
            catch(|| {
                grow(&mut Vec::<u64>::new(), 1 << 57, "all");
                Ok(())
            })
            .unwrap_err(),
        ] {
            assert_eq!(error.status(), crate::base::error::Status::OutOfMemory);
            assert!(error.message().starts_with("all: "), "{error}");
        }
        ensure(1 << 20, "some").unwrap();
        assert!(catch_unwind(|| catch::<()>(|| panic!("a bug"))).is_err());
    }
}
