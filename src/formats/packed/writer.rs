//! Writing a `.kinglet` file, which gets its name only when it is complete.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::checksum::Checksum;
use super::{ALIGN, MAGIC, PLAIN_VERSION, PREFIX, VERSION, bytes_of};
use crate::base::error::{Error, Result, Status};
use crate::base::file_size_guard::FileSizeGuard;
use crate::formats::tensor::DType;
use crate::spec::Precision;

/// Bytes that are written at once.
const BUFFER: usize = 1 << 20;

/// Writes a file tensor by tensor.
pub struct Writer {
    /// The tensors and small files. The header precedes them but is known last, so they are first written to an unlinked temporary file,
    /// which the system removes even if the process is killed.
    body: BufWriter<File>,
    path: PathBuf,
    folder: PathBuf,
    at: usize,
    tensors: Map<String, Value>,
}

impl Writer {
    /// # Errors
    /// The folder does not exist or cannot be written; `path` is anything but a new name, an empty file or a `.kinglet` file, which
    /// will be replaced.
    pub fn create(path: &Path) -> Result<Self> {
        check_destination(path)?;
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        if !folder.is_dir() {
            let folder = folder.display();
            return Err(Error::new(Status::NotFound, format!("{folder}: the destination's folder does not exist")));
        }
        let body = tempfile::tempfile_in(&folder).map_err(|e| Error::io(&folder, &e))?;
        Ok(Self {
            body: BufWriter::with_capacity(BUFFER, body),
            path: path.to_owned(),
            folder,
            at: 0,
            tensors: Map::new(),
        })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let _guard = FileSizeGuard::new();
        self.body.write_all(bytes).map_err(|e| Error::io(&self.path, &e))?;
        self.at += bytes.len();
        Ok(())
    }

    fn align(&mut self) -> Result<()> {
        self.write(&[0; ALIGN][..self.at.next_multiple_of(ALIGN) - self.at])
    }

    /// Adds a tensor whose memory is in parts.
    pub fn tensor(&mut self, name: &str, dtype: DType, shape: &[usize], parts: &[&[u8]]) -> Result<()> {
        if self.tensors.contains_key(name) {
            return Ok(());
        }
        self.align()?;
        let offset = self.at;
        parts.iter().try_for_each(|part| self.write(part))?;
        let expected = bytes_of(dtype, shape);
        if expected != Some(self.at - offset) {
            return Err(Error::internal(format!("tensor {name} has {} bytes, not {expected:?}", self.at - offset)));
        }
        self.tensors.insert(name.into(), json!({ "dtype": dtype.to_string(), "shape": shape, "offset": offset }));
        Ok(())
    }

    /// Writes header, with what calibration chose, and files, and renames the result to its destination. `poll` is called once per MiB; an error cancels.
    pub fn finish(
        mut self,
        precision: Precision,
        calibration: Option<&Value>,
        files: &BTreeMap<String, Vec<u8>>,
        poll: &mut dyn FnMut() -> Result<()>,
    ) -> Result<()> {
        let mut places = Map::new();
        for (name, bytes) in files {
            places.insert(name.clone(), json!([self.at, bytes.len()]));
            self.write(bytes)?;
        }
        // Offsets count from the body's beginning until the header's length is known, which depends on them.
        let header = |base: usize| {
            let mut value = json!({
                "kinglet": env!("CARGO_PKG_VERSION"), "precision": precision.name(), "files": places, "tensors": self.tensors
            });
            if let Some(calibration) = calibration {
                value["calibration"] = calibration.clone();
            }
            let shift = |value: &mut Value| *value = json!(value.as_u64().unwrap_or(0) + base as u64);
            value["files"].as_object_mut().into_iter().flatten().for_each(|(_, place)| shift(&mut place[0]));
            value["tensors"].as_object_mut().into_iter().flatten().for_each(|(_, tensor)| shift(&mut tensor["offset"]));
            value.to_string()
        };
        // Space for offsets that grow by as much as the header is long.
        let reserved = (header(usize::MAX >> 24).len() + 1024).next_multiple_of(4096);
        let base = PREFIX + reserved;
        let mut text = header(base).into_bytes();
        let length = text.len();
        text.resize(reserved, b' ');

        let version = if calibration.is_some() { VERSION } else { PLAIN_VERSION };
        let header = Header { version, text, length, total: base + self.at };
        let written = |e: io::Error| Error::io(&self.path, &e);
        let _guard = FileSizeGuard::new();
        let mut body = self.body.into_inner().map_err(|e| written(e.into_error()))?;
        let mut whole = tempfile::Builder::new();
        // The usual permissions, subject to the umask.
        #[cfg(unix)]
        whole.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let whole = whole.prefix(".kinglet-").suffix(".part").tempfile_in(&self.folder).map_err(written)?;
        write_whole(&header, &mut body, whole.as_file(), &mut || poll().map_err(io::Error::other)).map_err(|e| {
            // An error of `poll` keeps its status.
            match e.downcast::<Error>() {
                Ok(error) => error,
                Err(e) => written(e),
            }
        })?;
        check_destination(&self.path)?;
        whole.persist(&self.path).map_err(|e| written(e.error))?;
        Ok(())
    }
}

struct Header {
    version: u32,
    /// Padded with spaces.
    text: Vec<u8>,
    /// Without the padding.
    length: usize,
    /// Bytes of the whole file.
    total: usize,
}

/// Writes the final file: prefix, header and body.
fn write_whole(
    header: &Header,
    body: &mut File,
    out: &File,
    poll: &mut dyn FnMut() -> io::Result<()>,
) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(BUFFER, out);
    out.write_all(&[0; PREFIX])?;
    let mut checksum = Checksum::new();
    checksum.add(&header.text);
    out.write_all(&header.text)?;
    body.rewind()?;
    let mut buffer = vec![0; BUFFER];
    loop {
        poll()?;
        let count = body.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        checksum.add(&buffer[..count]);
        out.write_all(&buffer[..count])?;
    }
    let mut prefix = [0; PREFIX];
    prefix[..8].copy_from_slice(&MAGIC);
    prefix[8..12].copy_from_slice(&header.version.to_le_bytes());
    prefix[16..24].copy_from_slice(&(header.length as u64).to_le_bytes());
    prefix[24..32].copy_from_slice(&(header.total as u64).to_le_bytes());
    prefix[32..40].copy_from_slice(&checksum.finish().to_le_bytes());
    out.rewind()?;
    out.write_all(&prefix)?;
    out.flush()
}

/// Refuses to replace anything but an empty file or a `.kinglet` file.
fn check_destination(path: &Path) -> Result<()> {
    let refused = |what: &str| {
        let path = path.display();
        Err(Error::invalid_argument(format!(
            "{path}: {what} exists there; only an empty file or a .kinglet file is replaced"
        )))
    };
    if path.file_name().is_none() {
        return refused("a directory");
    }
    let kind = match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        kind => kind.map_err(|e| Error::io(path, &e))?.file_type(),
    };
    if !kind.is_file() {
        let name = [(kind.is_dir(), "a directory"), (kind.is_symlink(), "a symbolic link")];
        return refused(name.iter().find(|(is, _)| *is).map_or("a pipe, socket or device", |(_, name)| name));
    }
    let mut magic = Vec::new();
    let file = File::open(path).map_err(|e| Error::io(path, &e))?;
    file.take(MAGIC.len() as u64).read_to_end(&mut magic).map_err(|e| Error::io(path, &e))?;
    if magic.is_empty() || magic == MAGIC { Ok(()) } else { refused("another file") }
}
