//! The context of a long call: its cancellation flag, deadline and priority, and the counters that it reports to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::base::counters::{Counters, Stage};
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

/// How urgent a call is. Work of a higher priority goes first; within a priority, calls take turns. The numbers are part of the C ABI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Priority {
    #[default]
    Normal = 0,
    /// Somebody waits for the result. It goes first, and it does not wait for a pass of lower priority to end.
    Interactive = 1,
    /// Work in the background, which waits for all other calls.
    Bulk = 2,
}

impl Priority {
    pub const ALL: [Self; 3] = [Self::Interactive, Self::Normal, Self::Bulk];

    pub fn from_u32(value: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|&priority| priority as u32 == value)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Normal => "normal",
            Self::Bulk => "bulk",
        }
    }

    /// The stage of first tokens.
    pub(crate) fn first_token(self) -> Stage {
        match self {
            Self::Interactive => Stage::FirstTokenInteractive,
            Self::Normal => Stage::FirstTokenNormal,
            Self::Bulk => Stage::FirstTokenBulk,
        }
    }

    /// The stage of further tokens.
    pub(crate) fn output_token(self) -> Stage {
        match self {
            Self::Interactive => Stage::OutputTokenInteractive,
            Self::Normal => Stage::OutputTokenNormal,
            Self::Bulk => Stage::OutputTokenBulk,
        }
    }

    /// The place in [`Self::ALL`]: the smaller, the more urgent.
    pub(crate) fn rank(self) -> usize {
        match self {
            Self::Interactive => 0,
            Self::Normal => 1,
            Self::Bulk => 2,
        }
    }
}

/// What a caller says about a call as a whole.
#[derive(Clone, Copy, Default)]
pub struct CallLimits<'a> {
    pub cancellation: Option<&'a Cancellation>,
    pub priority: Priority,
    pub deadline: Option<Instant>,
    /// Bytes of the input, for the queue's limit.
    pub bytes: usize,
}

impl<'a> CallLimits<'a> {
    /// Only a cancellation.
    pub fn cancelled_by(cancellation: Option<&'a Cancellation>) -> Self {
        Self { cancellation, ..Self::default() }
    }
}

/// The context of one call, passed down from the public method to the transformer.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    pub counters: &'a Counters,
    /// Set when the caller has cancelled.
    pub cancelled: Option<&'a AtomicBool>,
    /// When the call ends in any case.
    pub deadline: Option<Instant>,
    pub priority: Priority,
    /// Its entry in the model's queue.
    pub entry: Option<&'a Entry>,
}

/// A call in a model's queue.
#[derive(Debug, Default)]
pub struct Entry {
    /// Set when a part of the call is run for the first time, or when it ends: it is then not in the queue any more.
    pub begun: AtomicBool,
    pub bytes: usize,
}

impl<'a> Call<'a> {
    /// A call that only counts.
    pub fn new(counters: &'a Counters) -> Self {
        Self { counters, cancelled: None, deadline: None, priority: Priority::Normal, entry: None }
    }

    /// Fails if the call was cancelled, or if its deadline has passed. Checked between layers and passes, so that such a call ends within
    /// milliseconds.
    pub fn check(&self) -> Result<()> {
        match self.cancelled {
            Some(cancelled) if cancelled.load(Ordering::Relaxed) => return Err(Error::cancelled()),
            _ => {}
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(Error::deadline_exceeded()),
            _ => Ok(()),
        }
    }
}
