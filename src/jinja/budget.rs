//! What one rendering may use. A template comes with the model and is as untrusted as the rest of it: with doubling strings,
//! ten lines of Jinja ask for more memory than any machine has, so that everything that works or allocates asks here first.

use std::fmt;

/// The work of one rendering, in steps of roughly a tenth of a microsecond. A chat of a thousand messages takes about 100,000.
const STEPS: usize = 3_000_000;
/// What one rendering may allocate in all, freed or not. A real template copies each message a few times.
const BYTES: usize = 128 << 20;
/// Looking at so many bytes of a text is a step's work, and looking at a text at all is a small part of one.
const BYTES_PER_STEP: usize = 128;
const BYTES_A_TEXT: usize = 16;
/// How deep statements, expressions and macro calls may nest while they run. Each level takes some hundred bytes of the
/// host's stack, which may be as small as 512 KiB.
const NESTING: u32 = 160;

/// What an error says about who is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The template cannot be parsed or run.
    Template,
    /// The template refuses these messages, by `raise_exception`.
    Messages,
}

#[derive(Debug)]
pub(super) struct Fault {
    pub cause: Cause,
    pub message: String,
}

/// The fault is boxed to keep the results of the evaluator, which nest deep, small on the stack.
pub(super) type Outcome<T> = Result<T, Box<Fault>>;

pub(super) fn fault<T>(message: impl Into<String>) -> Outcome<T> {
    Err(Box::new(Fault { cause: Cause::Template, message: message.into() }))
}

pub(super) struct Budget {
    /// What is left of the steps, in bytes looked at.
    work: usize,
    bytes: usize,
    nesting: u32,
}

impl Budget {
    pub fn new() -> Self {
        Self { work: STEPS * BYTES_PER_STEP, bytes: BYTES, nesting: 0 }
    }

    pub fn spend(&mut self, steps: usize) -> Outcome<()> {
        self.work(steps.saturating_mul(BYTES_PER_STEP))
    }

    /// Charges for looking at `bytes` bytes of text.
    pub fn scan(&mut self, bytes: usize) -> Outcome<()> {
        self.work(bytes.saturating_add(BYTES_A_TEXT))
    }

    fn work(&mut self, bytes: usize) -> Outcome<()> {
        match self.work.checked_sub(bytes) {
            Some(left) => {
                self.work = left;
                Ok(())
            }
            None => fault(format!("the template takes more than {STEPS} steps")),
        }
    }

    /// Charges for `bytes` bytes that are about to be allocated and written.
    pub fn allocate(&mut self, bytes: usize) -> Outcome<()> {
        self.scan(bytes)?;
        match self.bytes.checked_sub(bytes) {
            Some(left) => {
                self.bytes = left;
                Ok(())
            }
            None => fault(format!("the template takes more than {} MiB of memory", BYTES >> 20)),
        }
    }

    pub fn enter(&mut self) -> Outcome<()> {
        self.spend(1)?;
        if self.nesting == NESTING {
            return fault(format!("the template nests calls and expressions deeper than {NESTING} levels"));
        }
        self.nesting += 1;
        Ok(())
    }

    pub fn leave(&mut self) {
        self.nesting -= 1;
    }
}

/// A text under construction that is charged as it grows.
pub(super) struct Text<'b> {
    pub budget: &'b mut Budget,
    text: String,
    failed: Option<Box<Fault>>,
}

impl<'b> Text<'b> {
    pub fn new(budget: &'b mut Budget) -> Self {
        Self { budget, text: String::new(), failed: None }
    }

    pub fn push(&mut self, text: &str) -> Outcome<()> {
        self.budget.allocate(text.len())?;
        self.text.push_str(text);
        Ok(())
    }

    pub fn push_char(&mut self, c: char) -> Outcome<()> {
        self.push(c.encode_utf8(&mut [0; 4]))
    }

    /// Writes a number or the like: `text.format(format_args!(…))`.
    pub fn format(&mut self, arguments: fmt::Arguments) -> Outcome<()> {
        match fmt::Write::write_fmt(self, arguments) {
            Ok(()) => Ok(()),
            Err(_) => match self.failed.take() {
                Some(fault) => Err(fault),
                None => fault("a value cannot be written"),
            },
        }
    }

    pub fn finish(self) -> String {
        self.text
    }
}

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text).map_err(|fault| {
            self.failed = Some(fault);
            fmt::Error
        })
    }
}
