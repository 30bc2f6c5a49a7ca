//! The error type, and how untrusted text is quoted in messages.

use std::fmt;

/// The kind of an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The template has a syntax error, or fails while it runs.
    Template,
    /// The template exceeds a limit: its length, the nesting, [`Limits`](crate::Limits), or the length of its output.
    Limit,
    /// The template rejects its variables by `raise_exception`.
    Raised,
    /// The caller cancelled the rendering.
    Cancelled,
}

/// Why a template cannot be parsed or rendered.
// Boxed so that results stay small: the evaluator recurses, and each level holds one on the stack.
#[derive(Clone, Debug)]
pub struct Error(Box<Content>);

#[derive(Clone, Debug)]
struct Content {
    kind: ErrorKind,
    line: Option<u32>,
    message: String,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Content { kind, line: None, message: message.into() }))
    }

    pub(crate) fn at_line(mut self, line: u32) -> Self {
        self.0.line = Some(line);
        self
    }

    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The line of the template at fault, counted from 1. None if the error is not about one line.
    pub fn line(&self) -> Option<u32> {
        self.0.line
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.line {
            Some(line) => write!(f, "chat template, line {line}: {}", self.0.message),
            None => f.write_str(&self.0.message),
        }
    }
}

impl std::error::Error for Error {}

pub(crate) fn fail<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::new(ErrorKind::Template, message))
}

pub(crate) fn over_limit<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::new(ErrorKind::Limit, message))
}

/// Untrusted text for an error message: in backquotes, control characters escaped, at most 100 characters.
pub fn quoted(text: &str) -> String {
    format!("`{}`", escaped(text, 100))
}

/// At most `most` characters of untrusted text, with control characters escaped.
pub(crate) fn escaped(text: &str, most: usize) -> String {
    let mut escaped: String = text.chars().take(most).flat_map(char::escape_debug).collect();
    if text.chars().nth(most).is_some() {
        escaped.push('…');
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untrusted_text_is_escaped_and_cut() {
        assert_eq!(quoted("a\n\u{1b}[31m"), "`a\\n\\u{1b}[31m`");
        assert_eq!(quoted(&"é".repeat(5000)).chars().count(), 103);
    }
}
