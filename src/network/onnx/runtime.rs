//! ONNX Runtime's shared library: found, opened once per process, and used to create sessions.
//!
//! `ort` would open the library itself but panics on failure, so it is opened here and its function table passed to `ort`.

use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use libloading::Library;
use ort::environment::Environment;
use ort::ep;
use ort::logging::LogLevel as Gravity;
use ort::session::Session;
use ort::session::builder::SessionBuilder;

use crate::base::error::{Error, Result, Status, causes};
use crate::base::libraries;
use crate::base::log::{Log, LogLevel};
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
static OPEN: Mutex<Option<Runtime>> = Mutex::new(None);

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
    /// The library of this process: the open one, or else the one at `asked`, at `ORT_DYLIB_PATH`, or in the system's folders.
    pub fn get(asked: Option<&Path>, log: &Log) -> Result<Self> {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = &*open {
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
        let runtime = match (asked, libraries::variable(VARIABLE)) {
            (Some(path), _) => Self::named(libraries::file(path, "onnxruntime"), "onnxruntime")?,
            (None, Some(path)) => Self::named(libraries::named(&path, VARIABLE), VARIABLE)?,
            (None, None) => Self::of_system()?,
        };
        log.info(|| format!("ONNX Runtime {} from {}", runtime.version, runtime.path.display()));
        Ok(open.insert(runtime).clone())
    }

    fn named(path: Result<PathBuf>, origin: &str) -> Result<Self> {
        let path = path.map_err(|e| Error::new(e.status(), format!("{}. {}", e.message(), advice())))?;
        Self::open(&path).map_err(|e| {
            let advice = if e.status() == Status::NotFound { format!(". {}", advice()) } else { String::new() };
            Error::new(e.status(), format!("{origin}: {}{advice}", e.message()))
        })
    }

    fn of_system() -> Result<Self> {
        let folders = libraries::system_folders();
        let found =
            folders.iter().flat_map(|folder| NAMES.iter().map(|name| folder.join(name))).find(|path| path.is_file());
        match found {
            Some(path) => Self::open(&path),
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

fn same(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
