//! Log lines go to the callback that was passed when the model was loaded; the library itself never prints.

use std::sync::Arc;

use super::error::printable;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum LogLevel {
    Error = 1,
    Warning = 2,
    Info = 3,
    Debug = 4,
}

type Sink = dyn Fn(LogLevel, &str) + Send + Sync;

/// The receiver of log lines, and its level. The default drops all lines.
#[derive(Clone, Default)]
pub struct Log(Option<(LogLevel, Arc<Sink>)>);

impl Log {
    /// `sink` receives every line of `level` or more severe; it may be called from any thread that calls the library.
    pub fn new(level: LogLevel, sink: impl Fn(LogLevel, &str) + Send + Sync + 'static) -> Self {
        Self(Some((level, Arc::new(sink))))
    }

    /// `line` is called only if the sink accepts this level. What it quotes from files is made printable here.
    pub fn write(&self, level: LogLevel, line: impl FnOnce() -> String) {
        if let Some((least_severe, sink)) = &self.0
            && level <= *least_severe
        {
            sink(level, &printable(&line()));
        }
    }

    pub fn info(&self, line: impl FnOnce() -> String) {
        self.write(LogLevel::Info, line);
    }

    pub fn warning(&self, line: impl FnOnce() -> String) {
        self.write(LogLevel::Warning, line);
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Log({:?})", self.0.as_ref().map(|(level, _)| level))
    }
}
