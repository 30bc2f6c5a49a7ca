//! The error type of the whole library. An error has a status, for callers to switch on, and a message that names the file,
//! field or argument at fault and says what to do.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

/// Text out of a file, made fit for an error message: the file decides what it says and how long it is.
pub(crate) use kinglet_jinja::quoted;

/// The kind of a failure. The numbers are part of the C ABI: new ones are only appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Status {
    Ok = 0,
    /// An argument is NULL, out of range, not UTF-8, or contradicts another.
    InvalidArgument = 1,
    /// A file or directory does not exist.
    NotFound = 2,
    /// A file exists but could not be read.
    Io = 3,
    /// A file's contents violate its format.
    InvalidFile = 4,
    /// The request is valid, but this build, machine or model cannot serve it.
    Unsupported = 5,
    /// The memory limit would be exceeded, or the system has no memory left.
    OutOfMemory = 6,
    /// The caller cancelled the call.
    Cancelled = 7,
    /// A bug in Kinglet that panicked; reported instead of crashing the host program.
    Panic = 8,
    /// A bug in Kinglet, found by one of its checks.
    Internal = 9,
    /// The model's queue is full; try again later.
    Busy = 10,
    /// The call's deadline passed before it was done.
    DeadlineExceeded = 11,
}

impl Status {
    pub(crate) const ALL: [Self; 12] = [
        Self::Ok,
        Self::InvalidArgument,
        Self::NotFound,
        Self::Io,
        Self::InvalidFile,
        Self::Unsupported,
        Self::OutOfMemory,
        Self::Cancelled,
        Self::Panic,
        Self::Internal,
        Self::Busy,
        Self::DeadlineExceeded,
    ];

    pub(crate) fn from_u32(value: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|&status| status as u32 == value)
    }
}

#[derive(Clone, Debug)]
pub struct Error {
    status: Status,
    message: String,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The message may quote what comes from files: it is made [`printable`] here, for all errors.
    pub fn new(status: Status, message: impl Into<String>) -> Self {
        let message = message.into();
        let message = match printable(&message) {
            Cow::Borrowed(_) => message,
            Cow::Owned(printable) => printable,
        };
        Self { status, message }
    }

    pub fn invalid_argument(message: impl Into<String>) -> Self {
        Self::new(Status::InvalidArgument, message)
    }

    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(Status::Unsupported, message)
    }

    pub fn out_of_memory(message: impl Into<String>) -> Self {
        Self::new(Status::OutOfMemory, message)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Status::Internal, message)
    }

    pub fn cancelled() -> Self {
        Self::new(Status::Cancelled, "the call was cancelled")
    }

    pub fn deadline_exceeded() -> Self {
        Self::new(Status::DeadlineExceeded, "the deadline of the call has passed")
    }

    /// A file whose contents violate its format.
    pub fn invalid_file(path: &Path, what: impl fmt::Display) -> Self {
        Self::new(Status::InvalidFile, format!("{}: {what}", path.display()))
    }

    /// A failed read: NotFound if the file does not exist, OutOfMemory if it cannot be mapped for want of memory, otherwise Io.
    pub fn io(path: &Path, error: &std::io::Error) -> Self {
        let status = match error.kind() {
            std::io::ErrorKind::NotFound => Status::NotFound,
            std::io::ErrorKind::OutOfMemory => Status::OutOfMemory,
            _ => Status::Io,
        };
        let advice = match status {
            Status::NotFound => {
                "; a model is a directory with config.json, tokenizer.json and model.safetensors, a .gguf, .kinglet or .onnx file"
            }
            _ => "",
        };
        Self::new(status, format!("{}: {error}{advice}", path.display()))
    }

    pub fn status(&self) -> Status {
        self.status
    }

    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// An error and its causes, in one line.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// The maximum length of an error message or log line in characters, and how many of them are its end.
const MAX_MESSAGE: usize = 4000;
const MESSAGE_END: usize = 500;

/// A message in one line that does nothing to a terminal or log that shows it: control characters and characters that are invisible or
/// change the direction of text are escaped, and the middle of what is too long is left out.
pub fn printable(message: &str) -> Cow<'_, str> {
    if message.len() <= MAX_MESSAGE && !message.contains(is_unprintable) {
        return Cow::Borrowed(message);
    }
    let escaped = |text: &str, printable: &mut String| {
        for c in text.chars() {
            if is_unprintable(c) { printable.extend(c.escape_default()) } else { printable.push(c) }
        }
    };
    let mut printable = String::new();
    let end = message.char_indices().rev().nth(MESSAGE_END - 1);
    match (message.char_indices().nth(MAX_MESSAGE - MESSAGE_END), end) {
        (Some((cut, _)), Some((end, _))) if cut < end => {
            escaped(&message[..cut], &mut printable);
            printable.push('…');
            escaped(&message[end..], &mut printable);
        }
        _ => escaped(message, &mut printable),
    }
    Cow::Owned(printable)
}

/// Control characters, line and paragraph separators, and format characters except those that join letters (U+200C, U+200D).
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(u32::from(c),
            0xad | 0x61c | 0x180e | 0x200b | 0x200e | 0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff | 0xfff9..=0xfffb
            | 0xe0000..=0xe007f)
}

/// A parser's message in one line, cut to 300 characters: parsers quote the text that they refuse, whatever its length.
pub(crate) fn shortened(message: impl fmt::Display) -> String {
    let message = message.to_string().replace('\n', " ");
    match message.char_indices().nth(300) {
        // The end holds the line and column.
        Some((cut, _)) => {
            let tail = message.char_indices().rev().nth(50).map_or(cut, |(i, _)| i.max(cut));
            format!("{}…{}", &message[..cut], &message[tail..])
        }
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_hold_nothing_that_a_terminal_obeys() {
        let error = Error::invalid_argument("name \u{1b}[2J\n\0\u{85}\u{202e}\u{2066}\u{200b}é\u{200d}日");
        assert_eq!(error.message(), r"name \u{1b}[2J\n\u{0}\u{85}\u{202e}\u{2066}\u{200b}é".to_owned() + "\u{200d}日");
        let long = Error::internal("é".repeat(1_000_000) + "\u{1b}the end");
        let length = long.message().chars().count();
        assert!(length < MAX_MESSAGE + 10 && long.message().ends_with(r"é\u{1b}the end"), "{length}");
        let fits = "é".repeat(MAX_MESSAGE);
        assert_eq!(printable(&fits), fits);
    }

    #[test]
    fn messages_of_parsers_are_cut() {
        assert_eq!(shortened("short"), "short");
        let long = shortened(format!("{} at line 1 column 7", "é".repeat(9000)));
        assert!(long.ends_with("at line 1 column 7") && long.chars().count() < 400, "{long}");
    }
}
