//! A progress bar on standard error, for work that takes longer than half a second.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Work that ends sooner shows no bar.
const PATIENCE: Duration = Duration::from_millis(500);

pub struct Meter {
    start: Instant,
    what: &'static str,
    length: Option<u64>,
    done: u64,
    wanted: bool,
    bar: Option<ProgressBar>,
}

impl Meter {
    /// `length` is `None` if it is not known. A bar is drawn only if standard error is a terminal and no results are printed to
    /// the same terminal while the work runs.
    pub fn new(what: &'static str, length: Option<u64>, prints_results: bool) -> Self {
        let wanted = io::stderr().is_terminal() && !(prints_results && io::stdout().is_terminal());
        Self { start: Instant::now(), what, length, done: 0, wanted, bar: None }
    }

    pub fn set(&mut self, done: u64) {
        self.done = done;
        if !self.wanted || self.start.elapsed() < PATIENCE {
            return;
        }
        self.bar.get_or_insert_with(|| bar(self.what, self.length, self.start)).set_position(done);
    }

    pub fn add(&mut self, more: u64) {
        self.set(self.done + more);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(what: &'static str, length: Option<u64>, start: Instant) -> ProgressBar {
    let template = match length {
        Some(_) => "{msg} {wide_bar} {percent}% {eta}",
        None => "{msg} {human_pos} {elapsed} {per_sec}",
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr())
        .with_style(style)
        .with_message(what)
        .with_elapsed(start.elapsed())
}
