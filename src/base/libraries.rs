//! Where libraries that are opened at run time may come from. Every library is opened by an absolute path, because the working
//! directory, `argv[0]` and, in a setuid program, the environment are under the control of whoever starts the process.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::base::error::{Error, Result, Status};

/// The path in an environment variable. None if it is unset or empty, or if the process has more privileges than the user who started
/// it (setuid, setgid, file capabilities).
pub fn variable(name: &str) -> Option<PathBuf> {
    if is_privileged() {
        return None;
    }
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn is_privileged() -> bool {
    // SAFETY: reads a value that the system gave to the process at its start.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

#[cfg(any(target_os = "macos", target_os = "ios"))]
fn is_privileged() -> bool {
    // SAFETY: only reads the process's state.
    unsafe { libc::issetugid() != 0 }
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "macos", target_os = "ios")))]
fn is_privileged() -> bool {
    false
}

/// The canonical path of a library that an environment variable, `origin`, names by an absolute path.
pub fn named(path: &Path, origin: &str) -> Result<PathBuf> {
    if !path.is_absolute() {
        let path = path.display();
        return Err(Error::invalid_argument(format!("{origin}: {path} is not an absolute path")));
    }
    file(path, origin)
}

/// The canonical path of a file that `origin` names.
pub fn file(path: &Path, origin: &str) -> Result<PathBuf> {
    match path.canonicalize() {
        Ok(found) if found.is_file() => Ok(found),
        _ => Err(Error::new(Status::NotFound, format!("{origin}: {} is not a file", path.display()))),
    }
}

/// The directory of the library or program that contains this code. None if the system does not report an absolute path.
fn own_folder() -> Option<&'static Path> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOLDER.get_or_init(|| Some(own_file()?.parent()?.to_path_buf()).filter(|folder| folder.is_absolute())).as_deref()
}

/// From the list of mapped files, because `dladdr` may report a path relative to a former working directory, and for a program it reports
/// `argv[0]`.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn own_file() -> Option<PathBuf> {
    let own = own_file as fn() -> Option<PathBuf> as usize;
    let maps = std::fs::read("/proc/self/maps").ok()?;
    // start-end permissions offset device inode path. Other files may have names that are not UTF-8.
    String::from_utf8_lossy(&maps).lines().find_map(|line| {
        let (start, rest) = line.split_once('-')?;
        let (end, rest) = rest.split_once(' ')?;
        let range = usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?;
        let path = &rest[rest.find('/')?..];
        range.contains(&own).then(|| PathBuf::from(path))
    })
}

#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
fn own_file() -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::uninit();
    let own = own_file as fn() -> Option<PathBuf> as *const libc::c_void;
    // SAFETY: an address of our own, and room for the answer.
    if unsafe { libc::dladdr(own, info.as_mut_ptr()) } == 0 {
        return None;
    }
    // SAFETY: dladdr has filled it in, and the name lives as long as the library.
    let library = unsafe { std::ffi::CStr::from_ptr(info.assume_init().dli_fname) };
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(library.to_bytes())))
}

#[cfg(not(unix))]
fn own_file() -> Option<PathBuf> {
    None
}

/// Directories of libraries that are installed with Kinglet: its own, and for a program in `bin` the `lib` next to it.
pub fn installed_folders() -> Vec<PathBuf> {
    let Some(own) = own_folder() else { return Vec::new() };
    let mut folders = vec![own.to_path_buf()];
    if own.ends_with("bin")
        && let Some(prefix) = own.parent()
    {
        folders.extend(under(prefix));
    }
    folders
}

/// Library directories of Linux distributions below a prefix.
fn under(prefix: &Path) -> [PathBuf; 3] {
    let lib = prefix.join("lib");
    [lib.join(format!("{}-linux-gnu", std::env::consts::ARCH)), prefix.join("lib64"), lib]
}

/// Directories that are searched for system libraries: Kinglet's, those in `LD_LIBRARY_PATH`, and the standard ones. Relative paths are
/// left out.
#[cfg_attr(not(feature = "onnx"), allow(dead_code))]
pub fn system_folders() -> Vec<PathBuf> {
    const VARIABLE: &str = if cfg!(target_vendor = "apple") { "DYLD_LIBRARY_PATH" } else { "LD_LIBRARY_PATH" };
    let mut folders = installed_folders();
    if let Some(list) = variable(VARIABLE) {
        folders.extend(std::env::split_paths(&list));
    }
    if cfg!(target_os = "linux") {
        folders.extend(["/usr/local", "/usr"].into_iter().flat_map(|prefix| under(Path::new(prefix))));
    } else if cfg!(target_vendor = "apple") {
        folders.extend(["/opt/homebrew/lib", "/usr/local/lib"].map(PathBuf::from));
    }
    folders.retain(|folder| folder.is_absolute());
    folders
}
