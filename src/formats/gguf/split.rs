//! Models in several files, as `llama-gguf-split` writes them: `NAME-00001-of-00003.gguf` and so on. The first one has the fields of
//! the model; the tensors are in any of them.

use std::path::{Path, PathBuf};

use super::container::Container;
use crate::base::error::{Error, Result};
use crate::formats::quoted;
use crate::formats::weights::MAX_SHARDS;

const NUMBER: &str = "split.no";
const COUNT: &str = "split.count";
const TENSORS: &str = "split.tensors.count";

/// The name of one file of a split model.
#[derive(PartialEq, Eq)]
struct Name<'a> {
    start: &'a str,
    /// From 1.
    number: usize,
    count: usize,
}

impl<'a> Name<'a> {
    fn parse(path: &'a Path) -> Option<Self> {
        let (rest, count) = path.file_name()?.to_str()?.strip_suffix(".gguf")?.rsplit_once("-of-")?;
        let (start, number) = rest.rsplit_once('-')?;
        let parse = |digits: &str| digits.parse().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()));
        Some(Self { start, number: parse(number)?, count: parse(count)? })
    }

    fn file(&self, number: usize) -> String {
        format!("{}-{number:05}-of-{:05}.gguf", self.start, self.count)
    }
}

/// The first file of the split model that all these files belong to.
pub fn first(paths: &[PathBuf]) -> Option<PathBuf> {
    let one = paths.first()?;
    let name = Name::parse(one)?;
    let is_part = |path: &PathBuf| Name::parse(path).is_some_and(|other| Name { number: name.number, ..other } == name);
    paths.iter().all(is_part).then(|| one.with_file_name(name.file(1)))
}

/// The files of a model, whose first one is given: usually there is no other.
///
/// Fails with InvalidFile for files that do not fit together, with NotFound for a missing one, and as [`Container::open`] does.
pub(super) fn open(path: &Path) -> Result<Vec<Container>> {
    let first = Container::open(path)?;
    let fields = &first.metadata;
    let (number, count) = (fields.usize_opt(NUMBER)?.unwrap_or(0), fields.usize_opt(COUNT)?.unwrap_or(1));
    if count <= 1 {
        return Ok(vec![first]);
    }
    if count > MAX_SHARDS {
        return Err(fields.invalid(COUNT, format!("is {count}; the maximum is {MAX_SHARDS}")));
    }
    let name = Name::parse(path).filter(|name| name.count == count && name.number == number + 1);
    let Some(name) = name else {
        let name = Name { start: "NAME", number, count }.file(number + 1);
        let what = format!("is {count}: the file must be called {name}, and the other parts lie beside it");
        return Err(fields.invalid(COUNT, what));
    };
    if number != 0 {
        let (part, first) = (number + 1, path.with_file_name(name.file(1)));
        let what = format!("this is part {part} of {count} of a model: pass the first one, {}", first.display());
        return Err(Error::invalid_file(path, what));
    }
    let expected = fields.usize_opt(TENSORS)?;
    let mut parts = vec![first];
    for number in 1..count {
        let other = path.with_file_name(name.file(number + 1));
        let part = Container::open(&other).map_err(|error| {
            let of = format!("part {} of {count} of {}", number + 1, path.display());
            Error::new(error.status(), format!("{} ({of})", error.message()))
        })?;
        // The other fields of these parts are copies, if there are any.
        for (key, expected) in [(NUMBER, number), (COUNT, count)] {
            let found = part.metadata.usize(key)?;
            if found != expected {
                return Err(part.metadata.invalid(key, format!("is {found}, but the file's name says {expected}")));
            }
        }
        let before = parts.iter().find_map(|before| {
            let name = part.tensors.keys().find(|&name| before.tensors.contains_key(name))?;
            Some((quoted(name), before.metadata.path()))
        });
        if let Some((tensor, before)) = before {
            return Err(Error::invalid_file(&other, format!("tensor {tensor} is in {} too", before.display())));
        }
        parts.push(part);
    }
    let found: usize = parts.iter().map(|part| part.tensors.len()).sum();
    match expected.filter(|&expected| expected != found) {
        None => Ok(parts),
        Some(expected) => {
            let what = format!("is {expected}, but the {count} parts have {found} tensors");
            Err(parts[0].metadata.invalid(TENSORS, what))
        }
    }
}
