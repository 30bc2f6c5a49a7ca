//! Finding and opening a provider's library.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::backend::Device;
use crate::error::{Error, Result};

use super::table::{Table, VERSION};

/// Names a provider's file, and takes its place whatever device is asked for.
pub const VARIABLE: &str = "KINGLET_PROVIDER";

/// Whether somebody has named a provider: then it runs candle's CPU too, which shows that all is well with it where no GPU is.
pub fn is_named() -> bool {
    std::env::var_os(VARIABLE).is_some_and(|name| !name.is_empty())
}

/// The provider of a device, opened once a process and kept.
pub fn open(device: Device) -> Result<&'static Table> {
    let named = std::env::var_os(VARIABLE).filter(|name| !name.is_empty());
    if device == Device::Metal && named.is_none() {
        return Err(Error::unsupported("device metal: this build of Kinglet has no support for it; use device cpu"));
    }
    imp::open(device, named)
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

#[cfg(unix)]
mod imp {
    use std::ffi::{CStr, CString};
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::sync::Mutex;
    use std::sync::PoisonError;

    use super::*;

    const EXTENSION: &str = if cfg!(target_os = "macos") { "dylib" } else { "so" };

    pub fn open(device: Device, named: Option<OsString>) -> Result<&'static Table> {
        /// Providers that are open, by their files' names.
        static OPEN: Mutex<Vec<(PathBuf, &Table)>> = Mutex::new(Vec::new());
        let name = format!("libkinglet_{}.{EXTENSION}", device.name());
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
                format!(
                    "`make {0}` builds it, and it lies beside libkinglet.{EXTENSION}; or use device cpu",
                    device.name()
                )
            };
            Error::unsupported(format!("device {}: {why} ({hint})", device.name()))
        })?;
        let table = checked(table, &path.display().to_string())?;
        open.push((path, table));
        Ok(table)
    }

    /// The file of this name in the folder of the library that this code lies in, if there is one.
    fn beside(name: &str) -> Option<PathBuf> {
        let mut info = std::mem::MaybeUninit::<libc::Dl_info>::uninit();
        let own = beside as fn(&str) -> Option<PathBuf> as *const libc::c_void;
        // SAFETY: an address of our own, and room for what is told of it.
        if unsafe { libc::dladdr(own, info.as_mut_ptr()) } == 0 {
            return None;
        }
        // SAFETY: dladdr has filled it in, and the name lives as long as the library.
        let library = unsafe { CStr::from_ptr(info.assume_init().dli_fname) };
        let library = PathBuf::from(OsString::from_vec(library.to_bytes().to_vec()));
        Some(library.parent()?.join(name)).filter(|path| path.exists())
    }

    fn load(path: &std::path::Path) -> Result<&'static Table, String> {
        let name = CString::new(path.as_os_str().as_bytes()).map_err(|_| "its name has a NUL".to_string())?;
        // SAFETY: the file is one that its owner put beside ours, or named; it stays open for good.
        let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if library.is_null() {
            return Err(explain(&last_error()));
        }
        // SAFETY: the library is open.
        let function = unsafe { libc::dlsym(library, c"kinglet_provider".as_ptr()) };
        if function.is_null() {
            return Err(format!("{}: is not a provider of Kinglet's", path.display()));
        }
        // SAFETY: the symbol is a provider's, whose type this is.
        let function: extern "C" fn() -> *const Table = unsafe { std::mem::transmute(function) };
        // SAFETY: a provider gives its table, which is never freed.
        unsafe { function().as_ref() }.ok_or_else(|| format!("{}: hands out no table", path.display()))
    }

    fn last_error() -> String {
        // SAFETY: dlerror gives NULL or text that stays until the thread's next call of its kind.
        let text = unsafe { libc::dlerror() };
        if text.is_null() {
            return "the system does not say why".to_string();
        }
        // SAFETY: as above.
        unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
    }

    /// The linker's message, with what it means where that is known.
    fn explain(message: &str) -> String {
        let missing = |library: &str| message.starts_with(library);
        if missing("libcuda.so") {
            return format!("this machine has no NVIDIA driver ({message})");
        }
        if ["libcublas", "libcurand", "libnvrtc", "libcudart"].iter().any(|library| missing(library)) {
            return format!(
                "CUDA 13's libraries are not where the system looks for them ({message}); install them or set LD_LIBRARY_PATH"
            );
        }
        message.to_string()
    }
}

#[cfg(not(unix))]
mod imp {
    use super::*;

    pub fn open(device: Device, _: Option<OsString>) -> Result<&'static Table> {
        let name = device.name();
        Err(Error::unsupported(format!(
            "device {name}: Kinglet's providers are not made for this system; use device cpu"
        )))
    }
}
