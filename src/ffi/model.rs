//! Models.

use std::ffi::c_void;
use std::path::Path;

use crate::api::Model;
use crate::base::error::{Error, Result};
use crate::base::log::{Log, LogLevel};
use crate::load::LoadOptions;
use crate::spec::{Device, Precision};

use super::boundary::{boundary, callback, quietly};
use super::cancellation::{self, kinglet_cancellation};
use super::enums::enumeration;
use super::error::{kinglet_error, kinglet_status};
use super::handle::{self, OutPointer, handle};
use super::scheduler::{self, kinglet_scheduler_options};
use super::strings::{kinglet_str, kinglet_text, kinglet_tristate};
use super::structs::{Results, choice, options, reserved, tristate, unknown, versioned};

enumeration! {
    /// Where a model runs.
    pub type kinglet_device, kinglet_device_name;
    /// Kinglet's own engine on the CPU.
    KINGLET_DEVICE_CPU = 0, c"cpu", Device::Cpu;
    /// The candle library on the CPU: in f32 the reference that the engine is tested against. Slow; candle chooses its number of
    /// threads.
    KINGLET_DEVICE_CANDLE_CPU = 1, c"candle-cpu", Device::CandleCpu;
    /// NVIDIA GPUs, through a second library, libkinglet_cuda.so, which is opened on first use from the directory of this library, or
    /// from the path in the environment variable KINGLET_PROVIDER. Where the library, a driver or a GPU is missing, loading a model
    /// fails as unsupported, with the reason.
    KINGLET_DEVICE_CUDA = 2, c"cuda", Device::Cuda;
    /// Apple GPUs, in builds with the feature `metal`; unsupported in other builds.
    KINGLET_DEVICE_METAL = 3, c"metal", Device::Metal;
}

enumeration! {
    /// The number format of weights and matrix products.
    pub type kinglet_precision, kinglet_precision_name;
    /// The format of the model's files: f32 stays f32; f16 and bf16 become f16; Q4_0 and Q4_1 of GGUF become int4, its other quantised
    /// types int8; a .kinglet file keeps its own. On CUDA and Metal bf16 stays bf16; on the device candle-cpu all become f32.
    KINGLET_PRECISION_AUTO = 0, c"auto", Precision::Auto;
    /// Weights, activations and KV cache in f32.
    KINGLET_PRECISION_F32 = 1, c"f32", Precision::F32;
    /// Weights in f16; activations and accumulation in f32. On GPUs matrix products read and write f16. On the CPU the KV cache is f16
    /// in this and the next three precisions.
    KINGLET_PRECISION_F16 = 2, c"f16", Precision::F16;
    /// Weights and the activations that they are multiplied with in 8-bit integers, accumulated exactly. On GPUs weights are quantised
    /// in blocks of 32 that share a scale.
    KINGLET_PRECISION_INT8 = 3, c"int8", Precision::Int8;
    /// Weights and the activations that they are multiplied with in bf16, accumulated in f32. Use it on CPUs with AMX or fast
    /// AVX512-BF16 (AMD Zen 5: twice the speed of f32). On other CPUs f16 is at least as fast and more accurate.
    KINGLET_PRECISION_BF16 = 4, c"bf16", Precision::Bf16;
    /// Weights in 4 bits with a step and a least value per group of 32 inputs, multiplied with activations in 8 bits and accumulated
    /// exactly within a group. The output layer and embedding tables are as in int8. For models of a billion parameters or more, whose
    /// decoding waits for memory; smaller ones lose more quality (docs/precision.md).
    KINGLET_PRECISION_INT4 = 5, c"int4", Precision::Int4;
}

enumeration! {
    /// How severe a log record is; a smaller number is more severe.
    pub type kinglet_log_level, kinglet_log_level_name;
    /// In options: the default level, info.
    KINGLET_LOG_LEVEL_DEFAULT = 0, c"default";
    /// Something failed.
    KINGLET_LOG_LEVEL_ERROR = 1, c"error", LogLevel::Error;
    /// Something may surprise: a setting of the model that is not supported, fewer threads than were asked for.
    KINGLET_LOG_LEVEL_WARNING = 2, c"warning", LogLevel::Warning;
    /// Something happened, about once per load.
    KINGLET_LOG_LEVEL_INFO = 3, c"info", LogLevel::Info;
    /// Details.
    KINGLET_LOG_LEVEL_DEBUG = 4, c"debug", LogLevel::Debug;
}

handle! {
    /// A loaded model. It counts references: kinglet_model_retain adds one, kinglet_model_free releases one; sessions and prefixes hold
    /// references of their own. Any number of calls may run on one model at the same time; they share its threads.
    pub struct kinglet_model: Counted<ModelHandle>, "model";
    /// Releases one reference. With the last one the model and everything borrowed from it are freed. Calls that use this reference must
    /// have returned. Results of the model's calls stay valid.
    pub fn kinglet_model_free;
}

pub(super) struct ModelHandle {
    pub model: Model,
    path: String,
    /// Lent from the model, which lives as long.
    labels: Vec<kinglet_str>,
}

// SAFETY: the pointers in `labels` point into the model's own strings, which never change.
unsafe impl Send for ModelHandle {}
// SAFETY: as above.
unsafe impl Sync for ModelHandle {}

/// How far work has come. Later versions may add fields at the end; `struct_size` is set by the library. Valid during the callback.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_progress {
    /// Set by the library to the size of its own version of the struct.
    pub struct_size: usize,
    /// The part of the work that is done, from 0 to 1.
    pub fraction: f64,
}

/// Reports progress, on the thread that made the call. Returning 0 cancels the call; any other value continues. Must not call Kinglet.
pub type kinglet_progress_callback =
    Option<extern "C" fn(user_data: *mut c_void, progress: *const kinglet_progress) -> u32>;

/// A line for the log. Later versions may add fields at the end; `struct_size` is set by the library. Valid during the callback.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_log_record {
    /// Set by the library to the size of its own version of the struct.
    pub struct_size: usize,
    /// How severe it is; never KINGLET_LOG_LEVEL_DEFAULT.
    pub level: kinglet_log_level,
    /// 0.
    pub reserved: u32,
    /// The message, without a line break at the end.
    pub message: kinglet_str,
}

/// Receives a log record, on any thread that is inside a call of Kinglet, and possibly on several threads at once. Must not call
/// Kinglet.
pub type kinglet_log_callback = Option<extern "C" fn(user_data: *mut c_void, record: *const kinglet_log_record)>;

/// Tells that the library will not use `user_data` again. Must not call Kinglet.
pub type kinglet_release_callback = Option<extern "C" fn(user_data: *mut c_void)>;

/// Options of kinglet_model_load. Zero is the default of every field.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_model_options {
    /// sizeof(kinglet_model_options).
    pub struct_size: usize,
    /// Where the model runs. 0: the CPU.
    pub device: kinglet_device,
    /// Which of the devices of that kind, counted from 0; kinglet_devices_list tells which there are.
    pub device_index: u32,
    /// The number format of weights. 0: as in the model's files.
    pub precision: kinglet_precision,
    /// The least severe level that is passed to `log`. 0: info.
    pub log_level: kinglet_log_level,
    /// Threads that one call may use, the calling thread included. 0: as many as the process may use. At most 1024.
    pub threads: usize,
    /// Bytes that the model may use for its weights, its tokenizer (estimated), the working memory of one pass, and the KV cache. A
    /// larger model is refused as out of memory before anything is allocated for it; so is a generation whose KV cache would exceed
    /// the limit. 0: no limit.
    pub memory_limit: u64,
    /// Size in bytes of an LRU cache of finished generations: the same input with the same options is answered from it. 0: no cache.
    pub answer_cache_bytes: u64,
    /// The path of the shared library of ONNX Runtime (libonnxruntime), version 1.17 or later; only ONNX models need it. A process
    /// opens one such library: if another one is open already, that one is used and a warning is logged. Empty: the absolute path in the
    /// environment variable ORT_DYLIB_PATH, or else libonnxruntime in the folders of the system's libraries. For CUDA and Metal it must
    /// have the CUDA or the CoreML execution provider. A library that does not return from its initialisation within 30 seconds is an error;
    /// until it returns, the process can open no other library, and exit() waits.
    pub onnxruntime: kinglet_str,
    /// Cancels the load from another thread; may be freed after the call. NULL: none.
    pub cancellation: *const kinglet_cancellation,
    /// Receives the progress of the load. NULL: none.
    pub progress: kinglet_progress_callback,
    /// The first argument of `progress`.
    pub progress_user_data: *mut c_void,
    /// Receives log records, until `log_release` is called. NULL: none.
    pub log: kinglet_log_callback,
    /// The first argument of `log` and `log_release`.
    pub log_user_data: *mut c_void,
    /// Called exactly once with `log_user_data`, when the log is not used any more: when a load fails, before kinglet_model_load
    /// returns; otherwise when the last reference to the model is released, on the thread that releases it (in kinglet_model_free,
    /// kinglet_session_free or kinglet_prefix_free). Not called if the options themselves could not be read because `struct_size` is
    /// wrong. NULL: none.
    pub log_release: kinglet_release_callback,
    /// Whether the files of weights are mapped. AUTO: they are. NO: they are read into memory and checked once, so that nothing that
    /// happens to the files later (truncation is a SIGBUS where they are mapped) reaches the process. This takes the size of the files in
    /// memory during the load; of a .kinglet file as long as the model lives.
    pub map_files: kinglet_tristate,
    /// Must be 0.
    pub reserved: u32,
    /// How concurrent calls share the model; read during the call. NULL: the defaults.
    pub scheduler: *const kinglet_scheduler_options,
    /// The longest text, in bytes, that a call on the model tokenizes; a longer one is refused. 0: 256 MB.
    pub max_text_bytes: u64,
}

versioned!(kinglet_model_options, "options", 112);

/// Where log records go. Dropped with the last reference to the model, or when the load fails.
struct LogTarget {
    log: kinglet_log_callback,
    release: kinglet_release_callback,
    user_data: *mut c_void,
}

// SAFETY: the header demands callbacks that may be called from any thread, with `user_data` that any thread may use.
unsafe impl Send for LogTarget {}
// SAFETY: as above.
unsafe impl Sync for LogTarget {}

impl LogTarget {
    fn write(&self, level: LogLevel, line: &str) {
        if let Some(log) = self.log {
            let record = kinglet_log_record {
                struct_size: size_of::<kinglet_log_record>(),
                level: level as u32,
                reserved: 0,
                message: kinglet_str::lend(line),
            };
            callback(|| log(self.user_data, &record));
        }
    }
}

impl Drop for LogTarget {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            callback(|| release(self.user_data));
        }
    }
}

fn log_of(o: &kinglet_model_options) -> Result<Log> {
    let target = LogTarget { log: o.log, release: o.log_release, user_data: o.log_user_data };
    let level = match o.log_level {
        KINGLET_LOG_LEVEL_DEFAULT | KINGLET_LOG_LEVEL_INFO => LogLevel::Info,
        KINGLET_LOG_LEVEL_ERROR => LogLevel::Error,
        KINGLET_LOG_LEVEL_WARNING => LogLevel::Warning,
        KINGLET_LOG_LEVEL_DEBUG => LogLevel::Debug,
        other => return Err(unknown(other, "options.log_level")),
    };
    if target.log.is_none() && target.release.is_none() {
        return Ok(Log::default());
    }
    Ok(Log::new(level, move |level, line| target.write(level, line)))
}

/// Calls C with the progress; false cancels.
pub(super) fn report(progress: kinglet_progress_callback, user_data: *mut c_void, share: f32) -> bool {
    let report = kinglet_progress { struct_size: size_of::<kinglet_progress>(), fraction: share.into() };
    progress.is_none_or(|progress| callback(|| progress(user_data, &report)) != 0)
}

/// Loads a model from `path`: a directory in the layout of Hugging Face (config.json, tokenizer.json, and model.safetensors or its
/// shards with model.safetensors.index.json); a GGUF file; a .kinglet file, which is mapped and must not change while the model is in
/// use; or an ONNX export (a directory with model.onnx or a similar name and no safetensors, or an .onnx file), which ONNX Runtime
/// runs; `precision` then selects among its files by their names. Where there is no such file, a name on the Hugging Face hub, as
/// sentence-transformers/all-MiniLM-L6-v2 (or a file in such a model), is looked up in the hub's local cache (HF_HUB_CACHE, HF_HOME,
/// ~/.cache/huggingface/hub); nothing is downloaded. `options` may be NULL. `*model` receives the model. Other files must
/// not change during the call.
///
/// Fails with KINGLET_STATUS_NOT_FOUND, KINGLET_STATUS_IO or KINGLET_STATUS_INVALID_FILE (the message names the file),
/// KINGLET_STATUS_UNSUPPORTED (the model's family, the device or the precision), KINGLET_STATUS_OUT_OF_MEMORY (the memory limit), or
/// KINGLET_STATUS_CANCELLED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_load(
    path: kinglet_str,
    options: *const kinglet_model_options,
    model: *mut *mut kinglet_model,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes options of the size that they state.
        let o = unsafe { self::options(options) }?;
        // First, because the log's release has to be called whatever fails.
        let log = log_of(&o)?;
        // SAFETY: C passes text as its size says.
        let path = unsafe { path.text(|| "path".into()) }?;
        let place = OutPointer::new(model, "model")?;
        if path.is_empty() {
            return Err(Error::invalid_argument("path: is empty"));
        }
        reserved(o.reserved)?;
        let device = Device::from_u32(o.device).ok_or_else(|| unknown(o.device, "options.device"))?;
        let precision = choice(o.precision, "options.precision", Precision::from_u32)?;
        // SAFETY: C passes text as its size says.
        let onnxruntime = unsafe { o.onnxruntime.text(|| "options.onnxruntime".into()) }?;
        let mut progress = |share: f32| report(o.progress, o.progress_user_data, share);
        let options = LoadOptions {
            device,
            precision,
            threads: o.threads,
            memory_limit: o.memory_limit,
            map_files: tristate(o.map_files, "options.map_files")?,
            max_text_bytes: Some(o.max_text_bytes).filter(|&n| n > 0),
            answer_cache: usize::try_from(o.answer_cache_bytes).unwrap_or(usize::MAX),
            progress: Some(&mut progress),
            onnxruntime: (!onnxruntime.is_empty()).then(|| Path::new(onnxruntime)),
            // SAFETY: C passes NULL or a live cancellation.
            cancellation: unsafe { cancellation::optional(o.cancellation) },
            log,
            device_index: o.device_index as usize,
            // SAFETY: C passes NULL or options of the size that they state.
            scheduler: unsafe { scheduler::scheduler(o.scheduler) }?,
        };
        let model = Model::load(Path::new(path), options)?;
        let labels = model.labels().iter().map(|label| kinglet_str::lend(label)).collect();
        place.write(handle::give(ModelHandle { path: path.to_string(), labels, model }));
        Ok(())
    })
}

/// Adds a reference and returns `model`, to be freed once more with kinglet_model_free. NULL if `model` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_retain(model: *mut kinglet_model) -> *mut kinglet_model {
    if !model.is_null() {
        // SAFETY: C passes a live handle.
        quietly(|| unsafe { handle::retain(model) });
    }
    model
}

/// What is known of a model.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_model_view {
    /// sizeof(kinglet_model_view), set by the caller.
    pub struct_size: usize,
    /// The path that was given to kinglet_model_load: a directory or a file.
    pub path: kinglet_str,
    /// The `model_type` of config.json.
    pub family: kinglet_str,
    /// The device that it runs on.
    pub device: kinglet_device,
    /// Which of the devices of that kind.
    pub device_index: u32,
    /// The precision in use; never KINGLET_PRECISION_AUTO.
    pub precision: kinglet_precision,
    /// 1 if the model generates text, else 0.
    pub can_generate: u32,
    /// 1 if kinglet_session_new works: the model is a decoder and has a chat template. Else 0.
    pub can_chat: u32,
    /// 1 if the model has an encoder: all models that only embed or classify, and those that generate from a source text. Else 0.
    pub has_encoder: u32,
    /// Threads that one call may use.
    pub threads: usize,
    /// Values per hidden state.
    pub dimension: usize,
    /// The maximum number of tokens that a text may have, special tokens included; longer texts are truncated.
    pub max_length: usize,
    /// Token ids are below this number.
    pub vocabulary_size: usize,
    /// The labels of the classification head: `label_count` names. NULL if there is no such head.
    pub labels: *const kinglet_str,
    /// The number of labels; 0 if there is no classification head.
    pub label_count: usize,
    /// Bytes of the weights.
    pub weight_bytes: u64,
    /// Bytes that KV caches take now: those of running calls, sessions and prefixes, and memory kept for reuse.
    pub cache_bytes: u64,
    /// Bytes that the model takes on a GPU now, weights and caches; 0 on the CPU.
    pub device_bytes: u64,
    /// Values per embedding, by the modules and the truncate_dim of the model's sentence-transformers files.
    pub embedding_dimension: usize,
}

versioned!(kinglet_model_view, "view", 136);

/// Fills `view`, which is valid until the model's last reference is released.
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
            device_index: model.device_index() as u32,
            precision: model.precision() as u32,
            can_generate: model.can_generate().into(),
            can_chat: model.can_chat().into(),
            has_encoder: model.has_encoder().into(),
            threads: model.threads(),
            dimension: model.hidden_size(),
            max_length: model.max_length(),
            vocabulary_size: model.vocabulary_size(),
            labels: if loaded.labels.is_empty() { std::ptr::null() } else { loaded.labels.as_ptr() },
            label_count: loaded.labels.len(),
            weight_bytes: model.weight_bytes(),
            cache_bytes: model.cache_bytes(),
            device_bytes: model.device_memory(),
            embedding_dimension: model.embedding_size(),
        });
        Ok(())
    })
}

/// Describes the model as a JSON object: family, architecture, sizes, precision, the kernels in use, pooling, labels. `*text` receives
/// the text. Later versions may add members.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_describe(
    model: *const kinglet_model,
    text: *mut *mut kinglet_text,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    handle::create(text, error, || {
        // SAFETY: C passes a live handle.
        let loaded = unsafe { handle::borrow(model) }?;
        Ok(loaded.model.info().to_string().into_boxed_str())
    })
}
