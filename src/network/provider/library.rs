//! Finding and opening a provider's library.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use libloading::Library;

use crate::base::error::{Error, Result, causes};
use crate::spec::Device;

use super::table::{FunctionTable, VERSION};

/// The environment variable with the path of a provider, which is then used for all devices.
const VARIABLE: &str = "KINGLET_PROVIDER";

/// Whether the variable names a provider. It then runs candle's CPU device too, which tests it without a GPU.
pub fn is_named() -> bool {
    std::env::var_os(VARIABLE).is_some_and(|name| !name.is_empty())
}

/// The provider of a device. It is opened once per process and never closed.
pub fn open(device: Device) -> Result<&'static FunctionTable> {
    /// The open providers by file name.
    static OPEN: Mutex<Vec<(PathBuf, &FunctionTable)>> = Mutex::new(Vec::new());
    let named = std::env::var_os(VARIABLE).filter(|name| !name.is_empty());
    let kind = device.name();
    if device == Device::Metal {
        return Err(Error::unsupported("device metal: this build does not support it; use device cpu"));
    }
    let name = format!("{DLL_PREFIX}kinglet_{kind}{DLL_SUFFIX}");
    let explicit = named.is_some();
    let path = named.map(PathBuf::from).or_else(|| beside(&name)).unwrap_or_else(|| name.into());
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, table)) = open.iter().find(|(known, _)| *known == path) {
        return Ok(table);
    }
    let table = load(&path).map_err(|why| {
        let hint = if explicit {
            format!("{VARIABLE} names it")
        } else {
            format!("`make {kind}` builds it; it must be beside {DLL_PREFIX}kinglet{DLL_SUFFIX}; or use device cpu")
        };
        Error::unsupported(format!("device {kind}: {why} ({hint})"))
    })?;
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

/// The file of this name beside the library that contains this code, if it exists.
#[cfg(unix)]
fn beside(name: &str) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::uninit();
    let own = beside as fn(&str) -> Option<PathBuf> as *const libc::c_void;
    // SAFETY: an address in this library, and space for the result.
    if unsafe { libc::dladdr(own, info.as_mut_ptr()) } == 0 {
        return None;
    }
    // SAFETY: dladdr has filled it in; the name lives as long as the library.
    let library = unsafe { std::ffi::CStr::from_ptr(info.assume_init().dli_fname) };
    let library = PathBuf::from(std::ffi::OsStr::from_bytes(library.to_bytes()));
    Some(library.parent()?.join(name)).filter(|path| path.exists())
}

/// Windows searches the program's folder itself.
#[cfg(not(unix))]
fn beside(_: &str) -> Option<PathBuf> {
    None
}

fn load(path: &Path) -> Result<&'static FunctionTable, String> {
    // SAFETY: the file is installed beside this library or named by the user.
    let library = unsafe { Library::new(path) }.map_err(|error| explain(&causes(&error)))?;
    type Entry = unsafe extern "C" fn() -> *const FunctionTable;
    // SAFETY: providers export this symbol with this type.
    let entry = unsafe { library.get::<Entry>(b"kinglet_provider\0") };
    let entry = *entry.map_err(|_| format!("{}: is not a Kinglet provider", path.display()))?;
    // The table is in the library, so it is never closed.
    std::mem::forget(library);
    // SAFETY: it returns the provider's static table or NULL.
    unsafe { entry().as_ref() }.ok_or_else(|| format!("{}: has no function table", path.display()))
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
