//! ONNX Runtime's shared library: found, opened once a process, and asked for sessions.
//!
//! `ort` would open it by itself and panics where it cannot, so it is opened here and its table of functions handed to `ort`.

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

/// Where the library is looked for if no option names it.
const VARIABLE: &str = "ORT_DYLIB_PATH";

/// Its names in the system's folders.
#[cfg(target_os = "macos")]
const NAMES: &[&str] = &["libonnxruntime.dylib", "libonnxruntime.1.dylib"];
#[cfg(windows)]
const NAMES: &[&str] = &["onnxruntime.dll"];
#[cfg(not(any(target_os = "macos", windows)))]
const NAMES: &[&str] = &["libonnxruntime.so", "libonnxruntime.so.1"];

/// The library that the process uses. It is never closed: sessions of any model may be alive.
static OPEN: Mutex<Option<Runtime>> = Mutex::new(None);

/// The opened library.
#[derive(Clone)]
pub struct Runtime {
    environment: Environment,
    /// What it was opened as.
    path: PathBuf,
    version: String,
}

/// How sessions are to run.
pub struct Options<'a> {
    pub device: Device,
    /// Which of the devices of that kind.
    pub index: usize,
    pub threads: usize,
    pub log: &'a Log,
}

/// What every failure to find the library ends with.
fn advice() -> String {
    format!(
        "ONNX graphs need ONNX Runtime 1.{} or newer: `pip download --no-deps onnxruntime` and unpack libonnxruntime from the wheel's \
         onnxruntime/capi, take the system's package (onnxruntime), or the archive of its release page; then name the library with the \
         load option onnxruntime, or {VARIABLE}",
        ort::MINOR_VERSION
    )
}

impl Runtime {
    /// The process's library: the one that is open, else the one at `asked`, else at `ORT_DYLIB_PATH`, else the system's.
    pub fn get(asked: Option<&Path>, log: &Log) -> Result<Self> {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = &*open {
            if let Some(asked) = asked.filter(|asked| !same(asked, &runtime.path)) {
                let (asked, path) = (asked.display(), runtime.path.display());
                log.warning(|| {
                    format!("onnxruntime: {asked} is not opened; this process uses {path} already, and one is all that it can")
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
        // From here on `ort` may call it at any time: it stays open.
        std::mem::forget(library);
        // SAFETY: it points to a table of this version or of a later one, which begins with the same functions.
        if !ort::set_api(unsafe { std::ptr::read(api) }) {
            return Err(Error::internal(format!(
                "{at}: this process has begun with another ONNX Runtime, which did not start"
            )));
        }
        // Sessions have loggers of their own; what comes without a session has nobody to listen.
        let silent = Arc::new(|_: Gravity, _: &str, _: &str, _: &str, _: &str| {});
        let environment = ort::init().with_name("kinglet").with_telemetry(false).with_logger(silent).build();
        let environment =
            environment.map_err(|e| Error::internal(format!("{at}: ONNX Runtime does not start: {}", shortened(e))))?;
        Ok(Self { environment, path: path.to_owned(), version })
    }

    /// Its own version, `1.24.0` and the like.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Opens a graph. The path is handed over, so that data beside the graph is found.
    pub fn session(&self, graph: &Path, options: &Options) -> Result<Session> {
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

    fn builder(&self, options: &Options) -> ort::Result<SessionBuilder> {
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
            // Plans of memory are kept a shape, and every batch has another.
            .with_memory_pattern(false)?;
        Ok(builder)
    }
}

/// Registers the provider of a device, which must be there: nothing falls back in silence.
fn with_device(builder: SessionBuilder, device: Device, index: usize) -> Result<SessionBuilder> {
    let (provider, needs) = match device {
        Device::Cpu => return Ok(builder),
        Device::Cuda => (
            ep::CUDA::default().with_device_id(i32::try_from(index).unwrap_or(i32::MAX)).build().error_on_failure(),
            "a libonnxruntime with CUDA (onnxruntime-gpu), its libonnxruntime_providers_cuda beside it, and CUDA with cuDNN",
        ),
        Device::Metal if index > 0 => {
            return Err(Error::unsupported(format!("device_index: {index}, but CoreML chooses by itself; use 0")));
        }
        Device::Metal if cfg!(target_os = "macos") => {
            (ep::CoreML::default().build().error_on_failure(), "a libonnxruntime with CoreML")
        }
        Device::Metal => {
            return Err(Error::unsupported(
                "device metal: ONNX graphs run there through CoreML, on macOS alone; use cpu",
            ));
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

/// The name of what runs on a device.
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
