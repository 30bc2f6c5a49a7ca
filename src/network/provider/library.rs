//! Finding and opening a provider's library.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use libloading::Library;

use crate::base::error::{Error, Result, causes};
use crate::base::libraries;
use crate::base::log::Log;
use crate::spec::Device;

use super::table::{Table, VERSION};

/// Names a provider's file, and takes its place whatever device is asked for.
const VARIABLE: &str = "KINGLET_PROVIDER";

/// Whether somebody has named a provider: then it runs candle's CPU too, which shows that all is well with it where no GPU is.
pub fn is_named() -> bool {
    libraries::variable(VARIABLE).is_some()
}

/// The provider of a device, opened once per process and kept.
pub fn open(device: Device, log: &Log) -> Result<&'static Table> {
    /// Providers that are open, by their files' names.
    static OPEN: Mutex<Vec<(PathBuf, &Table)>> = Mutex::new(Vec::new());
    let kind = device.name();
    if device == Device::Metal {
        return Err(Error::unsupported("device metal: this build of Kinglet has no support for it; use device cpu"));
    }
    let name = format!("{DLL_PREFIX}kinglet_{kind}{DLL_SUFFIX}");
    let of_device = |why: &str| Error::unsupported(format!("device {kind}: {why}"));
    let variable = libraries::variable(VARIABLE);
    let hint = if variable.is_some() { format!(" ({VARIABLE} names it)") } else { String::new() };
    let path = match variable {
        Some(path) => libraries::named(&path, VARIABLE).map_err(|error| of_device(error.message()))?,
        None => {
            let folders = libraries::installed_folders();
            folders.iter().map(|folder| folder.join(&name)).find(|path| path.is_file()).ok_or_else(|| {
                let folders: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
                let folders = if folders.is_empty() { "Kinglet's folder".to_string() } else { folders.join(", ") };
                of_device(&format!(
                    "there is no {name} in {folders}; `make {kind}` and `make install` put it there; or use device cpu"
                ))
            })?
        }
    };
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, table)) = open.iter().find(|(known, _)| *known == path) {
        return Ok(table);
    }
    log.info(|| format!("device {kind}: opening {}", path.display()));
    let table = load(&path).map_err(|why| of_device(&format!("{}: {why}{hint}", path.display())))?;
    let table = checked(table, &path.display().to_string())?;
    open.push((path, table));
    Ok(table)
}

/// Checks that a provider is of this build.
fn checked(table: &'static Table, path: &str) -> Result<&'static Table> {
    let ours = env!("CARGO_PKG_VERSION");
    // SAFETY: the version stands first in every table, and the build behind it.
    let build = (table.version == VERSION).then(|| String::from_utf8_lossy(unsafe { table.build.get() }));
    match build {
        Some(build) if build == ours => Ok(table),
        Some(build) => Err(Error::unsupported(format!("{path}: is of Kinglet {build}, and this is {ours}"))),
        None => Err(Error::unsupported(format!("{path}: is of another version of Kinglet than this, {ours}"))),
    }
}

fn load(path: &Path) -> Result<&'static Table, String> {
    // SAFETY: the file is one that its owner put beside ours, or named.
    let library = unsafe { Library::new(path) }.map_err(|error| explain(&causes(&error)))?;
    type Entry = unsafe extern "C" fn() -> *const Table;
    // SAFETY: a symbol of this name is a provider's, whose type this is.
    let entry = unsafe { library.get::<Entry>(b"kinglet_provider\0") };
    let entry = *entry.map_err(|_| "is not a provider of Kinglet".to_string())?;
    // The table lies in it: it stays open for good.
    std::mem::forget(library);
    // SAFETY: a provider gives its table, which is never freed.
    unsafe { entry().as_ref() }.ok_or_else(|| "returns no table of functions".to_string())
}

/// The system's message, with what it means where that is known.
fn explain(message: &str) -> String {
    let missing = |library: &str| message.contains(&format!("{library}.so"));
    if missing("libcuda") {
        return format!("this machine has no NVIDIA driver ({message})");
    }
    if ["libcublas", "libcublasLt", "libcurand", "libnvrtc", "libcudart"].into_iter().any(missing) {
        return format!(
            "CUDA 13's libraries are not where the system looks for them ({message}); install them or set LD_LIBRARY_PATH"
        );
    }
    message.to_string()
}
