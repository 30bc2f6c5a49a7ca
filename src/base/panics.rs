//! Catching panics without output on standard error: the library never prints, but Rust's panic hook does.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    /// The number of guards that this thread is inside.
    static INSIDE: Cell<u32> = const { Cell::new(0) };
}

/// Runs `work` and returns a panic as its payload. Values that `work` was modifying must not be used after a panic.
pub fn guarded<T>(work: impl FnOnce() -> T) -> std::thread::Result<T> {
    install();
    INSIDE.with(|inside| inside.set(inside.get() + 1));
    let outcome = catch_unwind(AssertUnwindSafe(work));
    INSIDE.with(|inside| inside.set(inside.get() - 1));
    outcome
}

/// The error message for a panic.
pub fn describe(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message");
    format!("a bug in Kinglet: {text}; please report it with the steps that led to it")
}

/// Panics inside a guard, or on a worker thread, are not reported, because they are returned as errors; all others go to the
/// previous hook.
fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if INSIDE.try_with(Cell::get).unwrap_or(0) == 0 {
                previous(info);
            }
        }));
    });
}
