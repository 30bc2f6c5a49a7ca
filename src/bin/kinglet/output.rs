//! Writing results: standard output is buffered and flushed once per batch, standard error may be closed.

use std::fmt;
use std::io::{self, BufWriter, StdoutLock, Write};

use serde::Serialize;
use serde::ser::Serializer;

use crate::failure::{Failure, Outcome};

/// Writes a message to standard error, marked as Kinglet's.
pub fn note(message: &str) {
    to_stderr(&format!("kinglet: {message}\n"));
}

/// `print!`, but a closed standard output is no reason to panic.
pub fn to_stdout(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// A number of bytes for people, in binary units.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let (mut size, mut unit) = (bytes as f64 / 1024.0, 0);
    while size >= 1023.95 && unit + 1 < UNITS.len() {
        (size, unit) = (size / 1024.0, unit + 1);
    }
    format!("{size:.1} {}", UNITS[unit])
}

/// `eprint!`, but a closed standard error is no reason to panic.
pub fn to_stderr(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

pub struct Output(BufWriter<StdoutLock<'static>>);

impl Output {
    pub fn new() -> Self {
        Self(BufWriter::with_capacity(1 << 16, io::stdout().lock()))
    }

    pub fn line(&mut self, line: impl fmt::Display) -> Outcome<()> {
        writeln!(self.0, "{line}").map_err(Failure::output)
    }

    /// One JSON object on a line.
    pub fn json(&mut self, value: &impl Serialize) -> Outcome<()> {
        serde_json::to_writer(&mut self.0, value).map_err(|e| Failure::output(e.into()))?;
        self.line("")
    }

    pub fn flush(&mut self) -> Outcome<()> {
        self.0.flush().map_err(Failure::output)
    }
}

/// Values with spaces between them.
pub struct SpacedValues<'a>(pub &'a [f32]);

impl fmt::Display for SpacedValues<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, value) in self.0.iter().enumerate() {
            write!(f, "{}{}", if i == 0 { "" } else { " " }, Significant(*value))?;
        }
        Ok(())
    }
}

/// A value with six significant digits, as C's `%g` has them but for trailing zeros, which stay.
pub struct Significant(pub f32);

impl fmt::Display for Significant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scientific = format!("{:.5e}", self.0);
        match scientific.split_once('e').and_then(|(_, e)| e.parse::<i32>().ok()) {
            Some(exponent @ -5..=5) => write!(f, "{:.*}", (5 - exponent) as usize, self.0),
            _ => f.write_str(&scientific),
        }
    }
}

/// A text on one line and in one column: control characters are written as escapes.
pub struct OneLine<'a>(pub &'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(i) = rest.find(char::is_control) {
            f.write_str(&rest[..i])?;
            let mut tail = rest[i..].chars();
            tail.next().map_or(Ok(()), |c| write!(f, "{}", c.escape_default()))?;
            rest = tail.as_str();
        }
        f.write_str(rest)
    }
}

/// Rows of `width` values as a JSON list of lists.
pub struct JsonRows<'a> {
    pub values: &'a [f32],
    pub width: usize,
}

impl Serialize for JsonRows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.values.chunks_exact(self.width))
    }
}

/// `{"label": score, …}`.
pub struct JsonScores<'a> {
    pub labels: &'a [String],
    pub scores: &'a [f32],
}

impl Serialize for JsonScores<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.labels.iter().zip(self.scores))
    }
}

/// For `skip_serializing_if`.
pub fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_significant_digits() {
        let shown = |v: f32| Significant(v).to_string();
        assert_eq!(shown(0.0), "0.00000");
        assert_eq!(shown(-0.689_434_9), "-0.689435");
        assert_eq!(shown(0.001_234_567), "0.00123457");
        assert_eq!(shown(123_456.0), "123456");
        assert_eq!(shown(9.999_999), "10.0000");
        assert_eq!(shown(1.5e-7), "1.50000e-7");
        assert_eq!(shown(f32::NAN), "NaN");
    }

    #[test]
    fn byte_counts_have_binary_units() {
        let shown = [0, 1023, 1024, 1536, 1 << 20, (1 << 30) - 1, 5 << 40].map(bytes);
        assert_eq!(shown, ["0 bytes", "1023 bytes", "1.0 KiB", "1.5 KiB", "1.0 MiB", "1.0 GiB", "5.0 TiB"]);
    }

    #[test]
    fn one_line() {
        assert_eq!(OneLine("a\tb\né\u{7}").to_string(), "a\\tb\\né\\u{7}");
    }
}
