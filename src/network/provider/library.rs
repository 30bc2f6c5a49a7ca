//! Finding and opening a provider's library.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use libloading::Library;

use crate::base::error::{Error, Result, causes};
use crate::spec::Device;

use super::table::{Table, VERSION};

/// Names a provider's file, and takes its place whatever device is asked for.
const VARIABLE: &str = "KINGLET_PROVIDER";

/// Whether somebody has named a provider: then it runs candle's CPU too, which shows that all is well with it where no GPU is.
pub fn is_named() -> bool {
    std::env::var_os(VARIABLE).is_some_and(|name| !name.is_empty())
}

/// The provider of a device, opened once a process and kept.
pub fn open(device: Device) -> Result<&'static Table> {
    /// Providers that are open, by their files' names.
    static OPEN: Mutex<Vec<(PathBuf, &Table)>> = Mutex::new(Vec::new());
    let named = std::env::var_os(VARIABLE).filter(|name| !name.is_empty());
    let kind = device.name();
    if device == Device::Metal {
        return Err(Error::unsupported("device metal: this build of Kinglet has no support for it; use device cpu"));
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
            format!("`make {kind}` builds it, and it lies beside {DLL_PREFIX}kinglet{DLL_SUFFIX}; or use device cpu")
        };
        Error::unsupported(format!("device {kind}: {why} ({hint})"))
    })?;
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

/// The file of this name in the folder of the library that this code lies in, if there is one.
#[cfg(unix)]
fn beside(name: &str) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::uninit();
    let own = beside as fn(&str) -> Option<PathBuf> as *const libc::c_void;
    // SAFETY: an address of our own, and room for what is told of it.
    if unsafe { libc::dladdr(own, info.as_mut_ptr()) } == 0 {
        return None;
    }
    // SAFETY: dladdr has filled it in, and the name lives as long as the library.
    let library = unsafe { std::ffi::CStr::from_ptr(info.assume_init().dli_fname) };
    let library = PathBuf::from(std::ffi::OsStr::from_bytes(library.to_bytes()));
    Some(library.parent()?.join(name)).filter(|path| path.exists())
}

/// Windows looks in the program's folder by itself.
#[cfg(not(unix))]
fn beside(_: &str) -> Option<PathBuf> {
    None
}

fn load(path: &Path) -> Result<&'static Table, String> {
    // SAFETY: the file is one that its owner put beside ours, or named.
    let library = unsafe { Library::new(path) }.map_err(|error| explain(&causes(&error)))?;
    type Entry = unsafe extern "C" fn() -> *const Table;
    // SAFETY: a symbol of this name is a provider's, whose type this is.
    let entry = unsafe { library.get::<Entry>(b"kinglet_provider\0") };
    let entry = *entry.map_err(|_| format!("{}: is not a provider of Kinglet's", path.display()))?;
    // The table lies in it: it stays open for good.
    std::mem::forget(library);
    // SAFETY: a provider gives its table, which is never freed.
    unsafe { entry().as_ref() }.ok_or_else(|| format!("{}: hands out no table", path.display()))
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
