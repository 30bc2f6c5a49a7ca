//! Files named by options, read with limits: some never end (`/dev/zero`).

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use crate::failure::{Failure, Outcome};

/// The longest line, in bytes.
const MAX_LINE: u64 = 64 << 20;

/// The text of a file of at most `limit` bytes.
pub fn text(path: &Path, limit: u64) -> Outcome<String> {
    document(Some(path), limit)
}

/// The text of a file, or of standard input without one, of at most `limit` bytes.
pub fn document(path: Option<&Path>, limit: u64) -> Outcome<String> {
    let name = path.map_or_else(|| "standard input".into(), |path| path.display().to_string());
    let failed = |error: io::Error| Failure::new(format!("{name}: {error}"));
    let input: Box<dyn Read> = match path {
        Some(path) => Box::new(File::open(path).map_err(failed)?),
        None => Box::new(io::stdin().lock()),
    };
    let mut text = String::new();
    input.take(limit.saturating_add(1)).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > limit {
        return Err(Failure::new(format!("{name}: is longer than {limit} bytes")));
    }
    Ok(text)
}

/// The lines of a file, or of standard input without one.
pub fn lines(path: Option<&Path>) -> Outcome<impl Iterator<Item = io::Result<String>>> {
    let mut input: Box<dyn BufRead> = match path {
        Some(path) => {
            let file = File::open(path).map_err(|e| Failure::new(format!("{}: {e}", path.display())))?;
            Box::new(BufReader::new(file))
        }
        None => Box::new(io::stdin().lock()),
    };
    Ok(std::iter::from_fn(move || {
        let mut line = String::new();
        match input.by_ref().take(MAX_LINE + 1).read_line(&mut line) {
            Ok(0) => None,
            Ok(count) if count as u64 > MAX_LINE => {
                Some(Err(io::Error::other(format!("is longer than {} MiB", MAX_LINE >> 20))))
            }
            Ok(_) => Some(Ok(line)),
            Err(error) => Some(Err(error)),
        }
    }))
}
