//! Why a verb ends early.

use std::fmt::Display;
use std::io;

pub enum Failure {
    /// To be told on standard error; exit status 1.
    Message(String),
    /// Nobody reads standard output any more (`kinglet … | head`): no error, but no reason to go on either.
    ReaderGone,
}

pub type Outcome<T> = Result<T, Failure>;

impl Failure {
    pub fn new(message: impl Display) -> Self {
        Self::Message(message.to_string())
    }

    /// What a failed write to standard output means.
    pub fn output(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ReaderGone,
            _ => Self::Message(format!("standard output: {error}")),
        }
    }
}

impl From<kinglet::Error> for Failure {
    fn from(error: kinglet::Error) -> Self {
        Self::new(error)
    }
}
