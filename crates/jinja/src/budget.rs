//! What one rendering may use: work, memory and nesting. Every operation is charged *before* it computes or allocates.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, ErrorKind, Result, over_limit};

/// Scanning this many bytes of text is one step of work.
const BYTES_PER_STEP: usize = 128;
/// The fixed cost of a string operation, and the cost of visiting one entry of a list or dictionary, in scanned bytes.
const BYTES_PER_ENTRY: usize = 16;
/// How deep statements, expressions and macro calls may nest at run time. Each level takes stack of the calling thread, which
/// may have as little as 512 KiB.
const NESTING: u32 = 160;

/// The limits of one rendering.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Work, in steps of about 0.1 µs. A chat of a thousand messages takes about 100,000.
    pub steps: usize,
    /// Total of the bytes allocated, including those that are freed again. A real template copies each message a few times.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { steps: 3_000_000, bytes: 128 << 20 }
    }
}

pub(crate) struct Budget<'c> {
    limits: Limits,
    /// The remaining work, in scanned bytes.
    work: usize,
    bytes: usize,
    nesting: u32,
    cancelled: Option<&'c AtomicBool>,
}

impl<'c> Budget<'c> {
    pub fn new(limits: Limits, cancelled: Option<&'c AtomicBool>) -> Self {
        let work = limits.steps.saturating_mul(BYTES_PER_STEP);
        Self { limits, work, bytes: limits.bytes, nesting: 0, cancelled }
    }

    /// Charges for `steps` steps of work.
    pub fn spend(&mut self, steps: usize) -> Result<()> {
        self.work(steps.saturating_mul(BYTES_PER_STEP))
    }

    /// Charges for scanning a string of `bytes` bytes.
    pub fn scan(&mut self, bytes: usize) -> Result<()> {
        self.work(bytes.saturating_add(BYTES_PER_ENTRY))
    }

    /// Charges for visiting `count` entries of a list or dictionary.
    pub fn visit(&mut self, count: usize) -> Result<()> {
        self.scan(count.saturating_mul(BYTES_PER_ENTRY))
    }

    /// All work is charged here, so this is also where cancellation is checked.
    fn work(&mut self, bytes: usize) -> Result<()> {
        if self.cancelled.is_some_and(|cancelled| cancelled.load(Ordering::Relaxed)) {
            return Err(Error::new(ErrorKind::Cancelled, "the rendering was cancelled"));
        }
        match self.work.checked_sub(bytes) {
            Some(left) => {
                self.work = left;
                Ok(())
            }
            None => over_limit(format!("the template takes more than {} steps", self.limits.steps)),
        }
    }

    /// Charges for `bytes` bytes that are about to be allocated and written.
    pub fn allocate(&mut self, bytes: usize) -> Result<()> {
        self.scan(bytes)?;
        match self.bytes.checked_sub(bytes) {
            Some(left) => {
                self.bytes = left;
                Ok(())
            }
            None => over_limit(format!("the template takes more than {} MiB of memory", self.limits.bytes >> 20)),
        }
    }

    /// The bytes charged as allocated so far.
    #[cfg(test)]
    pub fn allocated(&self) -> usize {
        self.limits.bytes - self.bytes
    }

    /// Charges for `count` items that are about to be allocated.
    pub fn allocate_items<T>(&mut self, count: usize) -> Result<()> {
        self.allocate(count.saturating_mul(size_of::<T>()))
    }

    /// Whether two strings are equal. Strings of different lengths cost nothing: a caller that compares many charges for each.
    pub fn same(&mut self, a: &str, b: &str) -> Result<bool> {
        if a.len() != b.len() {
            return Ok(false);
        }
        self.scan(a.len())?;
        Ok(a == b)
    }

    pub fn enter(&mut self) -> Result<()> {
        self.spend(1)?;
        if self.nesting == NESTING {
            return over_limit(format!("the template nests calls and expressions deeper than {NESTING} levels"));
        }
        self.nesting += 1;
        Ok(())
    }

    pub fn leave(&mut self) {
        self.nesting -= 1;
    }
}

/// Builds a string and charges for each part that is added.
pub(crate) struct Text<'b, 'c> {
    pub budget: &'b mut Budget<'c>,
    text: String,
}

impl<'b, 'c> Text<'b, 'c> {
    pub fn new(budget: &'b mut Budget<'c>) -> Self {
        Self { budget, text: String::new() }
    }

    pub fn push(&mut self, text: &str) -> Result<()> {
        self.budget.allocate(text.len())?;
        self.text.push_str(text);
        Ok(())
    }

    pub fn push_char(&mut self, c: char) -> Result<()> {
        self.push(c.encode_utf8(&mut [0; 4]))
    }

    /// Adds a number or another short part: `text.format(format_args!(…))`.
    pub fn format(&mut self, arguments: fmt::Arguments) -> Result<()> {
        self.push(&arguments.to_string())
    }

    pub fn finish(self) -> String {
        self.text
    }
}
