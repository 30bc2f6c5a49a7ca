//! ONNX Runtime's shared library: found, opened once per process, and used to create sessions.
//!
//! `ort` would open the library itself but panics on failure, so it is opened here and its function table passed to `ort`.

use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use libloading::Library;
use ort::environment::Environment;
use ort::ep;
use ort::logging::LogLevel as Gravity;
use ort::session::Session;
use ort::session::builder::SessionBuilder;

use crate::base::error::{Error, Result, Status, causes};
use crate::base::libraries;
use crate::base::log::{Log, LogLevel};
use crate::base::thread::{STACK, Thread};
use crate::formats::shortened;
use crate::spec::Device;

/// The environment variable with the library's path, used if no option names it.
const VARIABLE: &str = "ORT_DYLIB_PATH";

/// Its names in the system's folders.
#[cfg(target_os = "macos")]
const NAMES: &[&str] = &["libonnxruntime.dylib", "libonnxruntime.1.dylib"];
#[cfg(windows)]
const NAMES: &[&str] = &["onnxruntime.dll"];
#[cfg(not(any(target_os = "macos", windows)))]
const NAMES: &[&str] = &["libonnxruntime.so", "libonnxruntime.so.1"];

/// The library of this process. It is never closed, because sessions may be alive.
static OPEN: Mutex<State> = Mutex::new(State::Closed);

/// How long a library may take to open. ONNX Runtime takes less than a second.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the result and a cancellation are looked for meanwhile.
const POLL: Duration = Duration::from_millis(2);

enum State {
    Closed,
    /// A thread is at it. Its code is the library's, so nothing can end it.
    Opening(Opening),
    Open(Runtime),
}

/// A library that is being opened by a thread of its own.
struct Opening {
    path: PathBuf,
    since: Instant,
    result: Receiver<Result<Runtime>>,
}

/// The opened library.
#[derive(Clone)]
pub struct Runtime {
    environment: Environment,
    /// The path or name that it was opened with.
    path: PathBuf,
    version: String,
}

/// The options of a session.
pub struct SessionOptions<'a> {
    pub device: Device,
    /// The index among the devices of this kind.
    pub index: usize,
    pub threads: usize,
    pub log: &'a Log,
}

/// The end of every error about a missing library.
fn advice() -> String {
    format!(
        "ONNX graphs need ONNX Runtime 1.{} or newer: `pip download --no-deps onnxruntime` and unpack libonnxruntime from the wheel's \
         onnxruntime/capi, take the system's package (onnxruntime), or the archive of its release page; then name the library with the \
         load option onnxruntime, or {VARIABLE}",
        ort::MINOR_VERSION
    )
}

impl Runtime {
    /// The library of this process: the open one, or else the one at `asked`, at `ORT_DYLIB_PATH`, or in the system's folders. An error of
    /// `poll` ends the wait for it.
    ///
    /// # Errors
    /// A library that is not there, is not ONNX Runtime, is too old, or does not return.
    pub fn get(asked: Option<&Path>, log: &Log, poll: &mut dyn FnMut() -> Result<()>) -> Result<Self> {
        let mut open = lock(poll)?;
        if let State::Open(runtime) = &*open {
            if let Some(asked) = asked.filter(|asked| !same(asked, &runtime.path)) {
                let (asked, path) = (asked.display(), runtime.path.display());
                log.warning(|| {
                    format!(
                        "onnxruntime: {asked} is ignored; this process already uses {path}, and it can use only one"
                    )
                });
            }
            return Ok(runtime.clone());
        }
        let named =
            |path: Result<PathBuf>| path.map_err(|e| Error::new(e.status(), format!("{}. {}", e.message(), advice())));
        let (path, origin) = match (asked, libraries::variable(VARIABLE)) {
            (Some(path), _) => (named(libraries::file(path, "onnxruntime"))?, "onnxruntime: "),
            (None, Some(path)) => (named(libraries::named(&path, VARIABLE))?, "ORT_DYLIB_PATH: "),
            (None, None) => (Self::of_system()?, ""),
        };
        let opened = Self::open_by_thread(&mut open, &path, PATIENCE, poll);
        let runtime = opened.map_err(|e| match (e.status(), origin) {
            (Status::Cancelled, _) | (_, "") => e,
            (Status::NotFound, _) => Error::new(e.status(), format!("{origin}{}. {}", e.message(), advice())),
            _ => Error::new(e.status(), format!("{origin}{}", e.message())),
        })?;
        log.info(|| format!("ONNX Runtime {} from {}", runtime.version, runtime.path.display()));
        *open = State::Open(runtime.clone());
        Ok(runtime)
    }

    /// Opens a library on a thread of its own, because the initialisers of a library can do anything, and waits for it for some time. One
    /// that did not return in time is waited for again in the next call: opening another would wait for it, too.
    fn open_by_thread(
        state: &mut State,
        path: &Path,
        patience: Duration,
        poll: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Self> {
        let opening = match std::mem::replace(state, State::Closed) {
            State::Opening(opening) => opening,
            _ => {
                let (sender, result) = channel();
                let library = path.to_owned();
                let started = Thread::start("kinglet-onnxruntime", STACK, move || {
                    // Nobody may be waiting any more.
                    let _ = sender.send(Self::open(&library));
                });
                started
                    .map_err(|e| Error::out_of_memory(format!("{}: no thread that opens it: {e}", path.display())))?;
                Opening { path: path.to_owned(), since: Instant::now(), result }
            }
        };
        let end = Instant::now() + patience;
        loop {
            // Not `recv_timeout`: a thread that waits for the first time registers a destructor, for which it needs the dynamic linker's
            // lock, and the library's initialiser runs under that.
            match opening.result.try_recv() {
                Ok(result) => return result,
                Err(TryRecvError::Disconnected) => {
                    return Err(Error::internal(format!("{}: opening it failed", opening.path.display())));
                }
                Err(TryRecvError::Empty) => {}
            }
            let hangs = Instant::now() >= end;
            if let Err(error) = poll() {
                *state = State::Opening(opening);
                return Err(error);
            }
            if hangs {
                let seconds = opening.since.elapsed().as_secs();
                let what = format!(
                    "the library has not returned from its initialisation for {seconds} seconds; is it ONNX Runtime? Until it returns, \
                     this process can open no other library, and exit() waits"
                );
                let error = Error::invalid_file(&opening.path, what);
                *state = State::Opening(opening);
                return Err(error);
            }
            thread::sleep(POLL);
        }
    }

    fn of_system() -> Result<PathBuf> {
        let folders = libraries::system_folders();
        let found =
            folders.iter().flat_map(|folder| NAMES.iter().map(|name| folder.join(name))).find(|path| path.is_file());
        match found {
            Some(path) => Ok(path),
            None => {
                let folders: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
                let (name, folders, advice) = (NAMES[0], folders.join(", "), advice());
                Err(Error::new(Status::NotFound, format!("onnxruntime: there is no {name} in {folders}. {advice}")))
            }
        }
    }

    /// Opens a library by its absolute path.
    fn open(path: &Path) -> Result<Self> {
        let at = path.display();
        // SAFETY: opening a library runs its initialisers, and the host has named this one or installed it as ONNX Runtime.
        let library = unsafe { Library::new(path) };
        let library = library
            .map_err(|e| Error::new(Status::NotFound, format!("{at}: cannot be opened: {}", shortened(causes(&e)))))?;
        type Base = unsafe extern "system" fn() -> *const ort::sys::OrtApiBase;
        // SAFETY: ONNX Runtime exports the function with this type.
        let base = unsafe { library.get::<Base>(b"OrtGetApiBase\0") };
        let base = base.map_err(|_| {
            Error::new(Status::InvalidFile, format!("{at}: is not ONNX Runtime; it has no OrtGetApiBase"))
        })?;
        // SAFETY: the function takes nothing; what it returns lives as long as the library, which is kept.
        let base = unsafe { base().as_ref() };
        let nothing = || Error::new(Status::InvalidFile, format!("{at}: ONNX Runtime's table of functions is empty"));
        let base = base.ok_or_else(nothing)?;
        // SAFETY: it returns a C string that lives as long as the library, or NULL.
        let version = unsafe {
            let text = (base.GetVersionString)();
            if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
        };
        // SAFETY: the function may be asked for any version; it gives NULL for one that it does not know.
        let api = unsafe { (base.GetApi)(ort::sys::ORT_API_VERSION) };
        if api.is_null() {
            let message = format!("{at}: is ONNX Runtime {version}, which is too old. {}", advice());
            return Err(Error::new(Status::Unsupported, message));
        }
        // `ort` may call it at any time from here on.
        std::mem::forget(library);
        // SAFETY: it points to a table of this version or of a later one, which begins with the same functions.
        if !ort::set_api(unsafe { std::ptr::read(api) }) {
            return Err(Error::internal(format!(
                "{at}: this process already tried another ONNX Runtime, which did not start"
            )));
        }
        // Sessions have their own loggers; messages without a session are dropped.
        let silent = Arc::new(|_: Gravity, _: &str, _: &str, _: &str, _: &str| {});
        let environment = ort::init().with_name("kinglet").with_telemetry(false).with_logger(silent).build();
        let environment =
            environment.map_err(|e| Error::internal(format!("{at}: ONNX Runtime does not start: {}", shortened(e))))?;
        Ok(Self { environment, path: path.to_owned(), version })
    }

    /// The library's version, for instance `1.24.0`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Opens a graph by its path, so that external data beside it is found.
    pub fn session(&self, graph: &Path, options: &SessionOptions) -> Result<Session> {
        let failed = |e: String| {
            let (graph, version) = (graph.display(), &self.version);
            Error::new(
                Status::InvalidFile,
                format!("{graph}: ONNX Runtime {version} does not load it: {}", shortened(e)),
            )
        };
        let builder = self.builder(options).map_err(|e| failed(e.to_string()))?;
        let mut builder = with_device(builder, options.device, options.index)?;
        builder.commit_from_file(graph).map_err(|e| failed(e.to_string()))
    }

    fn builder(&self, options: &SessionOptions) -> ort::Result<SessionBuilder> {
        let log = options.log.clone();
        let logger = move |gravity: Gravity, _: &str, _: &str, _: &str, message: &str| {
            let level = match gravity {
                Gravity::Fatal | Gravity::Error => LogLevel::Error,
                Gravity::Warning => LogLevel::Warning,
                Gravity::Info | Gravity::Verbose => LogLevel::Debug,
            };
            log.write(level, || format!("ONNX Runtime: {message}"));
        };
        let builder = Session::builder(&self.environment)?
            .with_logger(Arc::new(logger))?
            .with_log_level(Gravity::Warning)?
            .with_intra_threads(options.threads)?
            .with_inter_threads(1)?
            // Memory patterns are cached per shape, and every batch has another shape.
            .with_memory_pattern(false)?;
        Ok(builder)
    }
}

/// Registers the execution provider of a device. There is no silent fallback.
fn with_device(builder: SessionBuilder, device: Device, index: usize) -> Result<SessionBuilder> {
    let (provider, needs) = match device {
        Device::Cpu => return Ok(builder),
        Device::Cuda => (
            ep::CUDA::default().with_device_id(i32::try_from(index).unwrap_or(i32::MAX)).build().error_on_failure(),
            "a libonnxruntime with CUDA (onnxruntime-gpu), its libonnxruntime_providers_cuda beside it, and CUDA with cuDNN",
        ),
        Device::Metal if index > 0 => {
            return Err(Error::unsupported(format!("device_index: {index}; CoreML chooses the device itself, use 0")));
        }
        Device::Metal if cfg!(target_os = "macos") => {
            (ep::CoreML::default().build().error_on_failure(), "a libonnxruntime with CoreML")
        }
        Device::Metal => {
            return Err(Error::unsupported("device metal: ONNX graphs use CoreML, which only macOS has; use cpu"));
        }
        Device::CandleCpu => {
            return Err(Error::unsupported(
                "device candle-cpu: candle does not run ONNX graphs; use cpu, or the original safetensors",
            ));
        }
    };
    builder.with_execution_providers([provider]).map_err(|e| {
        let (device, reason) = (device.name(), shortened(e));
        Error::unsupported(format!("device {device}: needs {needs}; use cpu otherwise: {reason}"))
    })
}

/// The name of a device's execution provider.
pub fn provider(device: Device) -> &'static str {
    match device {
        Device::Cuda => "cuda",
        Device::Metal => "coreml",
        Device::Cpu | Device::CandleCpu => "cpu",
    }
}

/// The state, as soon as no other load opens the library. In the child of a `fork`, whose parent was opening it, that is never.
fn lock(poll: &mut dyn FnMut() -> Result<()>) -> Result<MutexGuard<'static, State>> {
    let end = Instant::now() + 2 * PATIENCE;
    loop {
        match OPEN.try_lock() {
            Ok(state) => return Ok(state),
            Err(TryLockError::Poisoned(state)) => return Ok(PoisonError::into_inner(state)),
            Err(TryLockError::WouldBlock) => thread::sleep(POLL),
        }
        poll()?;
        if Instant::now() > end {
            let what =
                "onnxruntime: another load is opening it and does not end; after a fork, load ONNX graphs before";
            return Err(Error::internal(what));
        }
    }
}

fn same(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_does_not_return_is_named() {
        let (sender, result) = channel();
        let path = PathBuf::from("/nowhere/hanging.so");
        let mut state = State::Opening(Opening { path: path.clone(), since: Instant::now(), result });
        for patience in [Duration::ZERO, Duration::from_millis(50)] {
            let error = Runtime::open_by_thread(&mut state, &path, patience, &mut || Ok(())).err().unwrap();
            assert_eq!(error.status(), Status::InvalidFile);
            assert!(error.message().starts_with("/nowhere/hanging.so: "), "{error}");
            assert!(matches!(state, State::Opening(_)));
        }
        let cancelled = &mut || Err(Error::cancelled());
        let error = Runtime::open_by_thread(&mut state, &path, PATIENCE, cancelled).err().unwrap();
        assert_eq!(error.status(), Status::Cancelled);
        // It returns after all, with an error.
        sender.send(Err(Error::internal("no"))).unwrap();
        let error = Runtime::open_by_thread(&mut state, &path, PATIENCE, &mut || Ok(())).err().unwrap();
        assert_eq!(error.message(), "no");
        assert!(matches!(state, State::Closed));
    }
}
