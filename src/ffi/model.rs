//! Loading, sharing and describing models.

use std::ffi::c_void;
use std::mem::offset_of;
use std::path::Path;

use crate::api::Model;
use crate::base::error::{Error, Result};
use crate::base::log::{Log, LogLevel};
use crate::load::LoadOptions;
use crate::spec::{Device, Precision};

use super::boundary::{boundary, quietly};
use super::cancellation::{self, kinglet_cancellation};
use super::error::{kinglet_error, kinglet_status};
use super::handle::{self, Counted, Handle, Place};
use super::strings::{kinglet_str, kinglet_text};
use super::structs::{self, Results, Versioned, choice, options, unknown};

/// Where a model runs: one of the KINGLET_DEVICE constants.
pub type kinglet_device = u32;

/// Kinglet's own engine on the CPU.
pub const KINGLET_DEVICE_CPU: u32 = 0;
/// The same model over the candle library on the CPU: in f32 the reference that the engine is judged by. Slow, and its arithmetic uses
/// as many threads as candle likes.
pub const KINGLET_DEVICE_CANDLE_CPU: u32 = 1;
/// NVIDIA GPUs, by a library of its own, libkinglet_cuda.so, which is looked for beside this one on first use (the environment variable
/// KINGLET_PROVIDER names another). KINGLET_STATUS_UNSUPPORTED, with the reason, where it, a driver or a GPU is missing.
pub const KINGLET_DEVICE_CUDA: u32 = 2;
/// Apple GPUs, in builds with the feature metal. KINGLET_STATUS_UNSUPPORTED in others.
pub const KINGLET_DEVICE_METAL: u32 = 3;

/// The number type that weights are held and multiplied in: one of the KINGLET_PRECISION constants.
pub type kinglet_precision = u32;

/// What the model's files hold: f32 stays f32; f16, bf16 and GGUF's quantised types are held as f16; a .kinglet file stays as it was
/// packed. On GPUs bf16 stays bf16; on KINGLET_DEVICE_CANDLE_CPU all are f32.
pub const KINGLET_PRECISION_AUTO: u32 = 0;
pub const KINGLET_PRECISION_F32: u32 = 1;
/// Weights in f16, activations and sums in f32; on GPUs products round what they read and give to f16. In this precision and the next two the CPU engine caches keys and values in f16.
pub const KINGLET_PRECISION_F16: u32 = 2;
/// Weights and activations of matrix products in 8 bits, sums exact; on GPUs in blocks of 32 weights that share a scale.
pub const KINGLET_PRECISION_INT8: u32 = 3;
/// Weights and activations of matrix products in bf16, sums in f32. For processors with AMX, or with a fast AVX512-BF16 (AMD's Zen 5:
/// twice the speed of f32); elsewhere f16 is as fast or faster, and nearer.
pub const KINGLET_PRECISION_BF16: u32 = 4;

/// How grave a log line is: one of the KINGLET_LOG constants.
pub type kinglet_log_level = u32;

pub const KINGLET_LOG_ERROR: u32 = 1;
pub const KINGLET_LOG_WARNING: u32 = 2;
pub const KINGLET_LOG_INFO: u32 = 3;
pub const KINGLET_LOG_DEBUG: u32 = 4;

const _: () = {
    assert!(KINGLET_DEVICE_CPU == Device::Cpu as u32);
    assert!(KINGLET_DEVICE_CANDLE_CPU == Device::CandleCpu as u32);
    assert!(KINGLET_DEVICE_CUDA == Device::Cuda as u32);
    assert!(KINGLET_DEVICE_METAL == Device::Metal as u32);
    assert!(KINGLET_PRECISION_AUTO == Precision::Auto as u32);
    assert!(KINGLET_PRECISION_F32 == Precision::F32 as u32);
    assert!(KINGLET_PRECISION_F16 == Precision::F16 as u32);
    assert!(KINGLET_PRECISION_INT8 == Precision::Int8 as u32);
    assert!(KINGLET_PRECISION_BF16 == Precision::Bf16 as u32);
    assert!(KINGLET_LOG_ERROR == LogLevel::Error as u32);
    assert!(KINGLET_LOG_WARNING == LogLevel::Warning as u32);
    assert!(KINGLET_LOG_INFO == LogLevel::Info as u32);
    assert!(KINGLET_LOG_DEBUG == LogLevel::Debug as u32);
};

/// A loaded model. It is shared: kinglet_model_retain makes one more owner, kinglet_model_free gives one up, and the last one frees
/// the model. Every call on a model may run beside every other, from any thread; calls share the model's threads.
pub struct kinglet_model {
    _private: [u8; 0],
}

pub(super) struct Loaded {
    pub model: Model,
    path: String,
    /// Lent from the model, which lives as long.
    labels: Vec<kinglet_str>,
}

// SAFETY: the pointers in `labels` point into the model's own strings, which never change.
unsafe impl Send for Loaded {}
// SAFETY: as above.
unsafe impl Sync for Loaded {}

impl Handle for kinglet_model {
    type Target = Loaded;
    type Ownership = Counted;
    const NAME: &'static str = "model";
}

/// Called now and then while a model loads, with the done share of the work from 0 to 1, on the thread that loads. Returning 0
/// cancels the load; anything else goes on. It must not throw or jump out.
pub type kinglet_progress_callback = Option<extern "C" fn(user_data: *mut c_void, share: f32) -> u32>;

/// Called with each log line, from any thread that makes calls on the model, possibly from several at once. `line` is valid
/// during the call. It must not throw or jump out.
pub type kinglet_log_callback =
    Option<extern "C" fn(user_data: *mut c_void, level: kinglet_log_level, line: kinglet_str)>;

/// How a model is to be loaded. Call kinglet_model_options_init first; later versions add fields at the end.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_model_options {
    pub struct_size: usize,
    /// Default KINGLET_DEVICE_CPU.
    pub device: kinglet_device,
    /// Default KINGLET_PRECISION_AUTO.
    pub precision: kinglet_precision,
    /// Threads that one call may use, the calling one counted. 0 (the default): as many as the process may use.
    pub threads: u32,
    /// The gravest level that reaches `log` is KINGLET_LOG_ERROR, the least grave this one. Default KINGLET_LOG_INFO.
    pub log_level: kinglet_log_level,
    /// Bytes that the model may take: its weights, its tokenizer (estimated), its working memory for one pass, and the keys and
    /// values of the texts that it generates. A larger model is refused with KINGLET_STATUS_OUT_OF_MEMORY before anything is
    /// allocated for it, a generation that would pass the limit likewise. 0 (the default): no limit.
    pub memory_limit: u64,
    /// Default NULL: no reports.
    pub progress: kinglet_progress_callback,
    pub progress_user_data: *mut c_void,
    /// Default NULL: no log. It may be called until the last owner has freed the model.
    pub log: kinglet_log_callback,
    pub log_user_data: *mut c_void,
    /// Stops the load from another thread. Default NULL. Not needed after the call.
    pub cancellation: *const kinglet_cancellation,
    /// Bytes that finished generations may be remembered in, the least recently used forgotten first: a question that comes again
    /// with the same options is answered from there. 0 (the default): none are.
    pub answer_cache_bytes: u64,
    /// Which of the devices of that kind, from 0 (the default); kinglet_device_list tells which there are.
    pub device_index: u32,
    /// The path of ONNX Runtime's shared library (libonnxruntime), version 1.17 or newer, which ONNX graphs need and nothing else
    /// does. A process opens one: where another is open already, that stays in use and a warning is logged. Default empty: what the
    /// environment variable ORT_DYLIB_PATH names, else what the system's search path has. For KINGLET_DEVICE_CUDA and _METAL it must
    /// have the CUDA or the CoreML provider. Not needed after the call.
    pub onnxruntime: kinglet_str,
}

impl Default for kinglet_model_options {
    fn default() -> Self {
        Self {
            struct_size: size_of::<Self>(),
            device: KINGLET_DEVICE_CPU,
            precision: KINGLET_PRECISION_AUTO,
            threads: 0,
            log_level: KINGLET_LOG_INFO,
            memory_limit: 0,
            progress: None,
            progress_user_data: std::ptr::null_mut(),
            log: None,
            log_user_data: std::ptr::null_mut(),
            cancellation: std::ptr::null(),
            answer_cache_bytes: 0,
            device_index: 0,
            onnxruntime: kinglet_str { data: std::ptr::null(), size: 0 },
        }
    }
}

// SAFETY: repr(C), `struct_size` first, integers, pointers, text and optional functions.
unsafe impl Versioned for kinglet_model_options {
    const NAME: &'static str = "options";
    const FIRST_SIZE: usize = offset_of!(Self, answer_cache_bytes);
}

/// Fills options with their defaults. `struct_size` is sizeof the struct, as the caller was compiled. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_options_init(
    options: *mut kinglet_model_options,
    struct_size: usize,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    // SAFETY: C passes a struct of the size that it states.
    boundary(error, || unsafe { structs::init(options, struct_size, kinglet_model_options::default()) })
}

/// A pointer that the host handed over for its own callbacks.
#[derive(Clone, Copy)]
struct UserData(*mut c_void);

// SAFETY: the host is told that its log callback is called from any thread.
unsafe impl Send for UserData {}
// SAFETY: as above.
unsafe impl Sync for UserData {}

impl UserData {
    fn get(&self) -> *mut c_void {
        self.0
    }
}

fn log_of(options: &kinglet_model_options) -> Result<Log> {
    let levels = [LogLevel::Error, LogLevel::Warning, LogLevel::Info, LogLevel::Debug];
    let level = levels.into_iter().find(|&level| level as u32 == options.log_level);
    let level = level.ok_or_else(|| unknown(options.log_level, "options.log_level"))?;
    let Some(callback) = options.log else {
        return Ok(Log::default());
    };
    let user_data = UserData(options.log_user_data);
    Ok(Log::new(level, move |level, line| callback(user_data.get(), level as u32, kinglet_str::lend(line))))
}

/// Loads a model: a directory as Hugging Face publishes it (config.json, tokenizer.json, and model.safetensors or its shards with
/// model.safetensors.index.json), a GGUF file, a .kinglet file, which stays mapped and must not change while the model lives, or an
/// ONNX export (a directory with model.onnx or the like and no safetensors, or the path of an .onnx file), which ONNX Runtime runs and
/// of whose files `precision` picks one by its name.
/// `options` may be NULL for the defaults. On success `*model` is a model that the caller frees with kinglet_model_free. Any thread; loads may run beside each other. The files must not change during the call.
///
/// Fails with KINGLET_STATUS_NOT_FOUND, _IO, _INVALID_FILE (the message names the file), _UNSUPPORTED (a family, device or
/// precision), _OUT_OF_MEMORY (the limit) and _CANCELLED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_load(
    path: kinglet_str,
    options: *const kinglet_model_options,
    model: *mut *mut kinglet_model,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes text and options as their sizes say.
        let (path, o) = unsafe { (path.text(|| "path".into())?, self::options(options, Default::default())?) };
        let place = Place::new(model, "model")?;
        if path.is_empty() {
            return Err(Error::invalid_argument("path: is empty"));
        }
        let device = Device::from_u32(o.device).ok_or_else(|| unknown(o.device, "options.device"))?;
        let precision = choice(o.precision, "options.precision", Precision::from_u32)?;
        // SAFETY: C passes text as its size says.
        let onnxruntime = unsafe { o.onnxruntime.text(|| "options.onnxruntime".into()) }?;
        let mut progress = |share: f32| o.progress.is_none_or(|callback| callback(o.progress_user_data, share) != 0);
        let options = LoadOptions {
            device,
            precision,
            threads: o.threads as usize,
            memory_limit: o.memory_limit,
            answer_cache: usize::try_from(o.answer_cache_bytes).unwrap_or(usize::MAX),
            progress: Some(&mut progress),
            onnxruntime: (!onnxruntime.is_empty()).then(|| Path::new(onnxruntime)),
            // SAFETY: C passes NULL or a live switch.
            cancellation: unsafe { cancellation::optional(o.cancellation) },
            log: log_of(&o)?,
            device_index: o.device_index as usize,
        };
        let model = Model::load(Path::new(path), options)?;
        let labels = model.labels().iter().map(|label| kinglet_str::lend(label)).collect();
        place.write(handle::give(Loaded { path: path.to_string(), labels, model }));
        Ok(())
    })
}

/// Makes one more owner of a model: `*retained` is the same model, to be freed with kinglet_model_free in its turn. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_retain(
    model: *const kinglet_model,
    retained: *mut *mut kinglet_model,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes NULL or a live handle.
        unsafe { handle::borrow(model) }?;
        let place = Place::new(retained, "retained")?;
        // SAFETY: it is not NULL, so it is alive.
        unsafe { handle::retain(model) };
        place.write(model.cast_mut());
        Ok(())
    })
}

/// Gives up one ownership of a model; the last one frees it and all that was lent from it. NULL does nothing. Results made by the
/// model's calls stay valid. Any thread, but calls on this ownership must have ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_free(model: *mut kinglet_model) {
    // SAFETY: C passes NULL or a live handle and gives it up.
    quietly(|| unsafe { handle::free(model) });
}

/// What was loaded. Set `struct_size` to its size before the call.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_model_view {
    pub struct_size: usize,
    /// The directory, as it was given.
    pub path: kinglet_str,
    /// The `model_type` of config.json.
    pub family: kinglet_str,
    pub device: kinglet_device,
    /// The precision that runs; never KINGLET_PRECISION_AUTO.
    pub precision: kinglet_precision,
    /// Threads that one call may use.
    pub threads: usize,
    /// Values in a hidden state, and in an embedding.
    pub hidden_size: usize,
    /// The most tokens of a text, special ones counted; longer texts are cut.
    pub max_length: usize,
    /// Ids run from 0 to this less 1.
    pub vocabulary_size: usize,
    /// Bytes of the weights in memory.
    pub weight_bytes: u64,
    /// The classification head's labels, `label_count` of them; 0 if there is no such head.
    pub labels: *const kinglet_str,
    pub label_count: usize,
    /// 1 if the model generates text.
    pub can_generate: u32,
    /// 1 if texts are read by an encoder: all models that only embed or classify, and those that generate from a source text.
    pub has_encoder: u32,
    /// Bytes that the caches of keys and values take now: of calls, sessions and prefixes, and what is kept for the next ones.
    pub cache_bytes: u64,
    /// Which of the devices of its kind the model runs on.
    pub device_index: u32,
}

// SAFETY: repr(C), `struct_size` first, plain values.
unsafe impl Versioned for kinglet_model_view {
    const NAME: &'static str = "view";
    const FIRST_SIZE: usize = offset_of!(Self, can_generate);
}

/// Fills `view` with what is known of the model. It is valid until the model's last owner has freed it. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_read(
    model: *const kinglet_model,
    view: *mut kinglet_model_view,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle and a struct of the size that it states.
        let (loaded, view) = unsafe { (handle::borrow(model)?, Results::new(view)?) };
        let model = &loaded.model;
        view.write(kinglet_model_view {
            struct_size: 0,
            path: kinglet_str::lend(&loaded.path),
            family: kinglet_str::lend(model.family()),
            device: model.device() as u32,
            precision: model.precision() as u32,
            threads: model.threads(),
            hidden_size: model.hidden_size(),
            max_length: model.max_length(),
            vocabulary_size: model.vocabulary_size(),
            weight_bytes: model.weight_bytes(),
            labels: loaded.labels.as_ptr(),
            label_count: loaded.labels.len(),
            can_generate: model.can_generate().into(),
            has_encoder: model.has_encoder().into(),
            cache_bytes: model.cache_bytes(),
            device_index: model.device_index() as u32,
        });
        Ok(())
    })
}

/// Describes the model as a JSON object: family, Spec, sizes, precision, the kernels chosen, pooling, labels. On success `*text` is
/// a text that the caller frees. Later versions may add fields. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_info(
    model: *const kinglet_model,
    text: *mut *mut kinglet_text,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle.
        let loaded = unsafe { handle::borrow(model) }?;
        let place = Place::new(text, "text")?;
        place.write(handle::give(loaded.model.info().to_string().into_boxed_str()));
        Ok(())
    })
}
