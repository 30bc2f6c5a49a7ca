//! Readers of model files. They treat every file as hostile: sizes are checked before memory is allocated, offsets before they
//! are read, nothing is executed, and every error starts with the file's name.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use memmap2::{Mmap, MmapMut};

use crate::base::error::{Error, Result};
pub(crate) use crate::base::error::{quoted, shortened};
use crate::base::memory::ensure;

pub mod base64;
mod blocks;
pub mod charsmap;
pub mod files;
pub mod gguf;
pub mod hub_cache;
pub mod json;
mod missing;
pub mod modules;
#[cfg(test)]
mod mutation;
pub mod onnx;
pub mod onnx_weights;
pub mod packed;
mod pickle;
pub mod quantised;
pub mod safetensors;
pub(crate) mod sentencepiece;
pub mod source;
pub mod tensor;
mod torch;
pub mod weights;

/// Opens `path` for reading and returns the file and its length in bytes.
///
/// Only a regular file (or a link to one) is opened: a directory would fail later with an unhelpful message, and opening a
/// named pipe would block the host program until another program wrote to it.
pub(crate) fn open_regular(path: &Path) -> Result<(File, u64)> {
    let kind = fs::metadata(path).map_err(|e| Error::io(path, &e))?;
    if kind.is_dir() {
        return Err(Error::invalid_file(path, "this is a directory; a file is needed"));
    }
    if !kind.is_file() {
        return Err(Error::invalid_file(path, "this is a pipe, socket or device; a regular file is needed"));
    }
    let file = File::open(path).map_err(|e| Error::io(path, &e))?;
    let length = file.metadata().map_err(|e| Error::io(path, &e))?.len();
    if length == 0 {
        return Err(Error::invalid_file(path, "the file is empty"));
    }
    Ok((file, length))
}

/// Reads a whole file into memory, which no later change of the file can reach.
pub(crate) fn read_whole(path: &Path, file: &mut File, length: usize) -> Result<Mmap> {
    ensure(length as u64, &format!("{}", path.display()))?;
    let failed = |error| Error::io(path, &error);
    let mut memory = MmapMut::map_anon(length).map_err(failed)?;
    file.seek(SeekFrom::Start(0)).and_then(|_| file.read_exact(&mut memory)).map_err(failed)?;
    memory.make_read_only().map_err(failed)
}

/// The contents of a file of at most `limit` bytes, or None if no such file exists.
pub(crate) fn read_if_exists(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    if fs::symlink_metadata(path).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound) {
        return Ok(None);
    }
    let (file, length) = open_regular(path)?;
    if length > limit {
        return Err(Error::invalid_file(path, format!("the file has {length} bytes; the maximum is {limit}")));
    }
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).map_err(|e| Error::io(path, &e))?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error::Status;

    #[test]
    fn only_regular_files_with_contents_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let error = open_regular(dir.path()).unwrap_err();
        assert!(error.message().contains("this is a directory"), "{error}");
        let error = open_regular(&dir.path().join("absent")).unwrap_err();
        assert_eq!(error.status(), Status::NotFound);
        assert!(error.message().contains("absent"), "{error}");
        let empty = dir.path().join("empty");
        fs::write(&empty, "").unwrap();
        assert!(open_regular(&empty).unwrap_err().message().contains("is empty"));
        fs::write(&empty, "abc").unwrap();
        assert_eq!(open_regular(&empty).unwrap().1, 3);
    }

    #[cfg(unix)]
    #[test]
    fn a_named_pipe_is_refused_without_blocking() {
        use std::os::unix::ffi::OsStrExt;
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        let name = std::ffi::CString::new(pipe.as_os_str().as_bytes()).unwrap();
        // SAFETY: `name` is a NUL-terminated string that outlives the call.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        assert!(open_regular(&pipe).unwrap_err().message().contains("a pipe, socket or device"));
    }
}
