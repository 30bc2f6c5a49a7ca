//! Ctrl-C: stops the current work, or ends the program when it is idle.

use std::sync::{Mutex, PoisonError};

use kinglet::Cancellation;

use crate::failure::{Failure, Outcome};
use crate::output;

/// The work that Ctrl-C stops.
static WORK: Mutex<Option<Cancellation>> = Mutex::new(None);

/// The shell's exit status for a program that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// Handles Ctrl-C from now on.
pub fn handle() -> Outcome<()> {
    let handler = || {
        let work = WORK.lock().unwrap_or_else(PoisonError::into_inner);
        match &*work {
            Some(cancellation) if !cancellation.is_cancelled() => cancellation.cancel(),
            // Nothing to stop, or the second Ctrl-C.
            _ => {
                output::to_stderr("\n");
                std::process::exit(INTERRUPTED);
            }
        }
    };
    ctrlc::set_handler(handler).map_err(|error| Failure::new(format!("Ctrl-C cannot be handled: {error}")))
}

/// Runs `work`, which Ctrl-C stops by its cancellation.
pub fn stoppable<T>(work: impl FnOnce(&Cancellation) -> T) -> T {
    let cancellation = Cancellation::default();
    let set = |work| *WORK.lock().unwrap_or_else(PoisonError::into_inner) = work;
    set(Some(cancellation.clone()));
    let result = work(&cancellation);
    set(None);
    result
}
