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

/// Deferred handling of signals that end the program, for work that must clean up first: poll `ending`, stop, then call `end`.
#[cfg(unix)]
mod signals {
    use std::sync::atomic::{AtomicI32, Ordering};

    /// The signal that came; 0 if none has.
    static ENDING: AtomicI32 = AtomicI32::new(0);

    extern "C" fn remember(signal: libc::c_int) {
        ENDING.store(signal, Ordering::Relaxed);
    }

    /// Defers SIGINT, SIGTERM and SIGHUP from now on.
    pub fn remember_endings() {
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            let handler = remember as extern "C" fn(libc::c_int) as libc::sighandler_t;
            // SAFETY: the handler only stores to an atomic, which is allowed in a signal handler. A signal that the parent ignores (nohup)
            // stays ignored.
            unsafe {
                if libc::signal(signal, handler) == libc::SIG_IGN {
                    libc::signal(signal, libc::SIG_IGN);
                }
            }
        }
    }

    pub fn ending() -> bool {
        ENDING.load(Ordering::Relaxed) != 0
    }

    /// Ends the program by the signal that came, if one did, so that its parent sees which.
    pub fn end() {
        let signal = ENDING.load(Ordering::Relaxed);
        if signal != 0 {
            // SAFETY: the default action of these signals ends the process.
            unsafe {
                libc::signal(signal, libc::SIG_DFL);
                libc::raise(signal);
            }
        }
    }
}

#[cfg(not(unix))]
mod signals {
    pub fn remember_endings() {}
    pub fn ending() -> bool {
        false
    }
    pub fn end() {}
}

pub use signals::{end, ending, remember_endings};
