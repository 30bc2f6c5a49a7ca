//! The context of a long call: its cancellation flag, and the counters that it reports to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::base::counters::Counters;
use crate::base::error::{Error, Result};

/// A flag that stops calls from another thread. Clones share the flag; it cannot be reset.
#[derive(Clone, Debug, Default)]
pub struct Cancellation(Arc<AtomicBool>);

impl Cancellation {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The flag that `cancel` sets.
    pub(crate) fn flag(&self) -> &AtomicBool {
        &self.0
    }
}

/// The context of one call, passed down from the public method to the transformer.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    pub counters: &'a Counters,
    /// Set when the caller has cancelled.
    pub cancelled: Option<&'a AtomicBool>,
}

impl Call<'_> {
    /// Fails if the call was cancelled. Checked between layers and passes, so that a cancelled call ends within milliseconds.
    pub fn check(&self) -> Result<()> {
        match self.cancelled {
            Some(cancelled) if cancelled.load(Ordering::Relaxed) => Err(Error::cancelled()),
            _ => Ok(()),
        }
    }
}
