//! Finding and opening a provider's library.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use libloading::Library;

use crate::base::error::{Error, Result, causes};
use crate::base::libraries;
use crate::base::log::Log;
use crate::spec::Device;

use super::table::{FunctionTable, VERSION};

/// The environment variable with the path of a provider, which is then used for all devices.
const VARIABLE: &str = "KINGLET_PROVIDER";

/// Whether the variable names a provider. It then runs candle's CPU device too, which tests it without a GPU.
pub fn is_named() -> bool {
    libraries::variable(VARIABLE).is_some()
}

/// The provider of a device. It is opened once per process and never closed.
pub fn open(device: Device, log: &Log) -> Result<&'static FunctionTable> {
    /// The open providers by file name.
    static OPEN: Mutex<Vec<(PathBuf, &FunctionTable)>> = Mutex::new(Vec::new());
    let kind = device.name();
    if device == Device::Metal {
        return Err(Error::unsupported("device metal: this build does not support it; use device cpu"));
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

/// Checks that a provider has the same version.
fn checked(table: &'static FunctionTable, path: &str) -> Result<&'static FunctionTable> {
    let ours = env!("CARGO_PKG_VERSION");
    // SAFETY: `version` and `build` are the first fields in all versions of the table.
    let build = (table.version == VERSION).then(|| String::from_utf8_lossy(unsafe { table.build.get() }));
    match build {
        Some(build) if build == ours => Ok(table),
        Some(build) => Err(Error::unsupported(format!("{path}: is from Kinglet {build}; this is {ours}"))),
        None => Err(Error::unsupported(format!("{path}: is from another version of Kinglet; this is {ours}"))),
    }
}

fn load(path: &Path) -> Result<&'static FunctionTable, String> {
    // SAFETY: the file is installed beside this library or named by the user.
    let library = unsafe { Library::new(path) }.map_err(|error| explain(&causes(&error)))?;
    type Entry = unsafe extern "C" fn() -> *const FunctionTable;
    // SAFETY: providers export this symbol with this type.
    let entry = unsafe { library.get::<Entry>(b"kinglet_provider\0") };
    let entry = *entry.map_err(|_| "is not a provider of Kinglet".to_string())?;
    // The table is in the library, so it is never closed.
    std::mem::forget(library);
    // SAFETY: it returns the provider's static table or NULL.
    unsafe { entry().as_ref() }.ok_or_else(|| "returns no table of functions".to_string())
}

/// The system's message, with an explanation if the cause is known.
fn explain(message: &str) -> String {
    let missing = |library: &str| message.contains(&format!("{library}.so"));
    if missing("libcuda") {
        return format!("this machine has no NVIDIA driver ({message})");
    }
    if ["libcublas", "libcublasLt", "libcurand", "libnvrtc", "libcudart"].into_iter().any(missing) {
        return format!(
            "CUDA 13's libraries are not on the library search path ({message}); install them or set LD_LIBRARY_PATH"
        );
    }
    message.to_string()
}
