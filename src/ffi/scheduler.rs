//! How calls share a model: options of the scheduler, priorities and deadlines.

use std::time::{Duration, Instant};

use crate::base::call::Priority;
use crate::base::error::Result;
use crate::engine::SchedulerOptions;

use super::enums::enumeration;
use super::structs::{options, reserved, unknown, versioned};

enumeration! {
    /// How urgent a call is. Work of a higher priority goes first; within a priority, calls take turns.
    pub type kinglet_priority, kinglet_priority_name;
    /// The default.
    KINGLET_PRIORITY_NORMAL = 0, c"normal", Priority::Normal;
    /// Somebody waits for the result: it goes first, and it does not wait until texts of a lower priority are done.
    KINGLET_PRIORITY_INTERACTIVE = 1, c"interactive", Priority::Interactive;
    /// Work in the background, which waits for all other calls.
    KINGLET_PRIORITY_BULK = 2, c"bulk", Priority::Bulk;
}

/// How a model shares its passes among concurrent calls. No option changes a result. Zero is the default of every field.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_scheduler_options {
    /// sizeof(kinglet_scheduler_options).
    pub struct_size: usize,
    /// The most tokens of a pass, except for a longer text; a step that also continues texts reads a quarter of it in prompts. At most
    /// 65,536. 0: what suits the device, 512 or more on the CPU.
    pub max_tokens: u32,
    /// The most sequences of a generation step. At most 65,536. 0: 256.
    pub max_sequences: u32,
    /// How long a text that finds an idle model waits for others to share its pass, in microseconds, at most 1,000,000. 0: it does not
    /// wait; only what waits anyway is merged.
    pub max_wait_us: u32,
    /// The most calls that may wait for their first pass; one more fails at once with KINGLET_STATUS_BUSY. 0: no limit.
    pub queue_length: u32,
    /// The most bytes of input of these calls; a call that finds the queue empty is not refused. 0: no limit.
    pub queue_bytes: u64,
    /// The most requests (kinglet_model_submit_embed and its like) that run at once, each on a thread of the model's own; others wait. At
    /// most 1,024. 0: 64.
    pub requests: u32,
    /// Must be 0.
    pub reserved: u32,
}

versioned!(kinglet_scheduler_options, "scheduler", 40);

/// # Safety
/// `pointer` is NULL or points at options of the size that they state.
pub(super) unsafe fn scheduler(pointer: *const kinglet_scheduler_options) -> Result<SchedulerOptions> {
    // SAFETY: the caller's promise.
    let o = unsafe { options(pointer) }?;
    reserved(o.reserved)?;
    Ok(SchedulerOptions {
        max_tokens: o.max_tokens as usize,
        max_sequences: o.max_sequences as usize,
        max_wait: Duration::from_micros(o.max_wait_us.into()),
        queue_length: o.queue_length as usize,
        queue_bytes: usize::try_from(o.queue_bytes).unwrap_or(usize::MAX),
        requests: o.requests as usize,
    })
}

pub(super) fn priority(value: kinglet_priority) -> Result<Priority> {
    Priority::from_u32(value).ok_or_else(|| unknown(value, "options.priority"))
}

/// The moment this many milliseconds from now; None for 0.
pub(super) fn deadline(milliseconds: u32) -> Option<Instant> {
    (milliseconds > 0).then(|| Instant::now() + Duration::from_millis(milliseconds.into()))
}
