//! Failures of a verb.

use std::fmt::Display;
use std::io;

use kinglet::Status;

pub enum Failure {
    /// The command line is wrong, options that contradict each other included; exit status 2.
    Usage(String),
    /// The work failed; exit status 1.
    Message(String),
    /// The work is done, and its result is this exit status.
    Verdict(u8),
    /// The reader of standard output has closed it (`kinglet … | head`): not an error, but the work ends.
    ReaderGone,
}

pub type Outcome<T> = Result<T, Failure>;

impl Failure {
    /// What the message quotes from files is made printable here.
    pub fn new(message: impl Display) -> Self {
        Self::Message(kinglet::printable(&message.to_string()).into_owned())
    }

    pub fn usage(message: impl Display) -> Self {
        Self::Usage(kinglet::printable(&message.to_string()).into_owned())
    }

    pub fn message(self) -> String {
        match self {
            Self::Usage(message) | Self::Message(message) => message,
            Self::ReaderGone => "standard output is closed".into(),
            Self::Verdict(status) => format!("exit status {status}"),
        }
    }

    /// The failure for an error of writing to standard output.
    pub fn output(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ReaderGone,
            _ => Self::Message(format!("standard output: {error}")),
        }
    }
}

impl From<kinglet::Error> for Failure {
    fn from(error: kinglet::Error) -> Self {
        match error.status() {
            Status::InvalidArgument => Self::usage(error),
            _ => Self::new(error),
        }
    }
}
