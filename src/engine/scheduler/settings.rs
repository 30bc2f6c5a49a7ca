//! The scheduler's options.

use std::time::Duration;

use crate::base::error::{Error, Result};

/// The most tokens and sequences that the options may set.
const MOST: usize = 65_536;

/// The most sequences of a step without the option.
const MAX_SEQUENCES: usize = 256;

/// The most requests that run at once: with the option, and without.
const MOST_REQUESTS: usize = 1024;
const REQUESTS: usize = 64;

/// How a model shares its passes among concurrent calls. Zero is the default of every field. None of them changes a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchedulerOptions {
    /// The most tokens of a pass, except for a longer text; a step that also continues texts reads a quarter of it in prompts. 0: what
    /// suits the backend, 512 or more on the CPU.
    pub max_tokens: usize,
    /// The most sequences of a generation step. 0: 256.
    pub max_sequences: usize,
    /// How long a text that finds an idle model waits for others to share its pass. 0: it does not wait; only what waits anyway is merged.
    pub max_wait: Duration,
    /// The most calls that may wait for their first pass; one more is refused with [`Status::Busy`](crate::Status::Busy). 0: no limit.
    pub queue_length: usize,
    /// The most bytes of input of these calls; a call that finds the queue empty is not refused. 0: no limit.
    pub queue_bytes: usize,
    /// The most requests ([`Model::submit`](crate::Model::submit)) that run at once, each on a thread of the model's own; others wait. At
    /// most 1,024. 0: 64.
    pub requests: usize,
}

impl SchedulerOptions {
    pub(crate) fn check(&self) -> Result<()> {
        for (name, value) in [("max_tokens", self.max_tokens), ("max_sequences", self.max_sequences)] {
            if value > MOST {
                return Err(Error::invalid_argument(format!("scheduler.{name}: {value} is more than {MOST}")));
            }
        }
        if self.requests > MOST_REQUESTS {
            let value = self.requests;
            return Err(Error::invalid_argument(format!("scheduler.requests: {value} is more than {MOST_REQUESTS}")));
        }
        let limit = Duration::from_secs(1);
        if self.max_wait > limit {
            return Err(Error::invalid_argument("scheduler.max_wait: is more than a second"));
        }
        Ok(())
    }

    /// The most threads for requests.
    pub(crate) fn threads(&self) -> usize {
        if self.requests == 0 { REQUESTS } else { self.requests }
    }

    pub(super) fn sequences(&self) -> usize {
        if self.max_sequences == 0 { MAX_SEQUENCES } else { self.max_sequences }
    }
}
