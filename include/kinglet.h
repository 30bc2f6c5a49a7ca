/* Generated from src/ffi by `make header`; do not edit. */

/**
 * @file
 * Kinglet: small language models in your program.
 *
 * Load a model with kinglet_model_load, call kinglet_model_embed, kinglet_model_classify or
 * kinglet_model_generate, read the result, free it. The contracts below apply to every function; the
 * comments on functions and fields state only what differs.
 *
 * Errors. A function that can fail returns a kinglet_status and takes a `kinglet_error **error` as its last
 * parameter. Pass NULL, or the address of a pointer: on failure, and only then, it receives an error, which
 * the caller frees with kinglet_error_free. On failure no other output is written. An argument that is NULL,
 * out of range or not UTF-8 gives KINGLET_STATUS_INVALID_ARGUMENT, and the message names it. Any call may
 * also fail with KINGLET_STATUS_PANIC or KINGLET_STATUS_INTERNAL, which are defects of Kinglet. Functions
 * that return a value or nothing do not fail.
 *
 * Ownership. Handles (kinglet_model, kinglet_embeddings, ...) are opaque. A handle that a function returns
 * or writes through an output parameter belongs to the caller, who frees it with its own `_free` function;
 * those accept NULL. Pointers and strings that are read from a handle belong to it: they are valid until it is
 * freed. Arrays and strings that are passed in are read during the call and not kept.
 *
 * Structs. Options and results begin with `struct_size`, which the caller sets to sizeof the struct. With it
 * programs and libraries of different versions work together: options that the library does not know must be
 * zero (otherwise KINGLET_STATUS_UNSUPPORTED), results that the library does not know are set to zero. NULL
 * options are the defaults. In every options struct zero is the default of each field, so that
 * `kinglet_embed_options options = {.struct_size = sizeof options};` is complete; the one exception,
 * kinglet_generate_options, has a function that fills it.
 *
 * Values. Strings are UTF-8 with a length (kinglet_str). Arrays must not be empty, unless a comment says
 * what an empty one means. Enumerations are uint32_t, and later versions may add values; an unknown one as
 * an argument is KINGLET_STATUS_INVALID_ARGUMENT. Sizes are bytes, durations nanoseconds; matrices are
 * stored row by row.
 *
 * Threads. Every function may be called from any thread. Calls with the same handle may run at the same
 * time, with one exception: a `_free` function must not run at the same time as another call with that
 * handle, which must not be used afterwards. A pointer to const means that the call only reads; the library
 * does the locking where it does not.
 *
 * Callbacks run during a call, on the thread that the comment on their type names. They must not throw,
 * longjmp or end the thread. The callbacks `progress`, `log` and `log_release` must not call Kinglet, except
 * kinglet_cancellation_cancel and the functions that name values: functions that return a status then fail
 * with KINGLET_STATUS_INVALID_ARGUMENT. A piece callback may call Kinglet; the comment on its type names the
 * exception.
 *
 * Threads that call need 256 KB of stack. Results are those of the default floating-point environment: a
 * thread that calls must round to nearest and keep subnormal numbers.
 *
 * Memory. Where the system refuses memory, a call fails with KINGLET_STATUS_OUT_OF_MEMORY. Before work whose
 * allocations cannot fail one by one, the system is asked for the whole; what is not asked for are a few
 * kilobytes at a time, within a reserve of two megabytes. If other threads use that up at this moment, the
 * process aborts, as it does where the system promises memory that it does not have. A host that must rule
 * this out gives Kinglet a process of its own.
 *
 * Processes. The child of a fork may use, free and load models, also if other threads of its parent were in
 * a call. Models of the parent run on the calling thread alone there, and those that run in ONNX Runtime or on
 * candle's devices fail with KINGLET_STATUS_UNSUPPORTED. The library must not be unloaded (dlclose). It does not
 * print, exit or install signal handlers.
 */

#ifndef KINGLET_H
#define KINGLET_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/** Stands before every function. On Windows, define KINGLET_STATIC to link the static library. */
#ifndef KINGLET_API
#if defined(_WIN32) && !defined(KINGLET_STATIC)
#define KINGLET_API __declspec(dllimport)
#elif defined(__GNUC__)
#define KINGLET_API __attribute__((visibility("default")))
#else
#define KINGLET_API
#endif
#endif

/** Stands before functions that return a handle, which is lost if the result is ignored. */
#ifndef KINGLET_WARN_UNUSED
#if defined(__GNUC__)
#define KINGLET_WARN_UNUSED __attribute__((warn_unused_result))
#else
#define KINGLET_WARN_UNUSED
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Versions -------------------------------------------------------------------------------------------- */

/** @defgroup versions Versions
 *  @{ */

/** The version of this header, as a string. */
#define KINGLET_VERSION_STRING "0.1.0"

/** The major version. */
#define KINGLET_VERSION_MAJOR 0

/** The minor version. */
#define KINGLET_VERSION_MINOR 1

/** The patch version. */
#define KINGLET_VERSION_PATCH 0

/** The version as one number, for comparisons: major * 1000000 + minor * 1000 + patch. */
#define KINGLET_VERSION_NUMBER 1000

/**
 * The version of the C ABI that this header describes. It is 0 until Kinglet 1.0: until then a program must
 * be compiled against the header of the minor version (0.1, 0.2, …) that it runs with. From 1 on it changes
 * only when programs must be compiled anew.
 */
#define KINGLET_ABI_VERSION 0

/** The ABI version of the loaded library: KINGLET_ABI_VERSION, if header and library belong together. */
KINGLET_API uint32_t kinglet_abi_version(void);

/**
 * Does nothing. Referencing this symbol makes linking or loading fail against a library with a different ABI
 * version.
 */
KINGLET_API void kinglet_abi_v0(void);

/** The version of the loaded library, for instance "0.1.0". */
KINGLET_API const char *kinglet_version(void);

/** @} */

/* ---- Status and errors ----------------------------------------------------------------------------------- */

/** @defgroup status_and_errors Status and errors
 *  @{ */

/** The outcome of a call. Later versions may add values. One of the KINGLET_STATUS constants. */
typedef uint32_t kinglet_status;

/** The values of kinglet_status. */
enum kinglet_status_values {
  /** The call succeeded. */
  KINGLET_STATUS_OK = 0,
  /** An argument is NULL, out of range, not UTF-8, or contradicts another. */
  KINGLET_STATUS_INVALID_ARGUMENT = 1,
  /** A file or directory does not exist. */
  KINGLET_STATUS_NOT_FOUND = 2,
  /** A file exists but could not be read or written. */
  KINGLET_STATUS_IO = 3,
  /** The contents of a file break the rules of its format. */
  KINGLET_STATUS_INVALID_FILE = 4,
  /** The request is well formed, but this build, machine or model cannot serve it. */
  KINGLET_STATUS_UNSUPPORTED = 5,
  /** The call would exceed the memory limit, or the system has no memory left. */
  KINGLET_STATUS_OUT_OF_MEMORY = 6,
  /** The caller cancelled the call, by its cancellation handle or from a callback. */
  KINGLET_STATUS_CANCELLED = 7,
  /** A defect in Kinglet, reported instead of crashing the program. */
  KINGLET_STATUS_PANIC = 8,
  /** A defect in Kinglet, found by one of its own checks. */
  KINGLET_STATUS_INTERNAL = 9,
  /** The model's queue is full (kinglet_scheduler_options); nothing was done. Try again later. */
  KINGLET_STATUS_BUSY = 10,
  /** The deadline in the call's options passed before it was done. */
  KINGLET_STATUS_DEADLINE_EXCEEDED = 11,
};

/**
 * The short name of a value, for instance "deadline_exceeded"; "unknown" for a number that this version does
 * not know.
 */
KINGLET_API const char *kinglet_status_name(kinglet_status value);

/** Why a call failed. */
typedef struct kinglet_error kinglet_error;

/** The status that the failed call returned; KINGLET_STATUS_OK if `error` is NULL. */
KINGLET_API kinglet_status kinglet_error_status(const kinglet_error *error);

/**
 * What went wrong and what to do about it, for people: UTF-8, NUL-terminated, valid until `error` is freed.
 * An empty string if `error` is NULL.
 */
KINGLET_API const char *kinglet_error_message(const kinglet_error *error);

/** Frees an error. */
KINGLET_API void kinglet_error_free(kinglet_error *error);

/** @} */

/* ---- Strings, lists and switches ------------------------------------------------------------------------- */

/** @defgroup strings_lists_and_switches Strings, lists and switches
 *  @{ */

/**
 * A borrowed string: UTF-8 with its length, not NUL-terminated. Make one with KINGLET_STR or
 * kinglet_str_from. As an argument it is read during the call and not kept. As a result it is valid for as
 * long as the handle that it was read from. `data` may be NULL if `size` is 0. This struct never grows.
 */
typedef struct kinglet_str {
  /** The first byte. */
  const char *data;
  /** The number of bytes. */
  size_t size;
} kinglet_str;

/** A kinglet_str of a string literal, and only of one: `KINGLET_STR("a small bird")`. */
#ifdef __cplusplus
#define KINGLET_STR(literal) (kinglet_str{"" literal, sizeof("" literal) - 1})
#else
#define KINGLET_STR(literal) ((kinglet_str){"" literal, sizeof("" literal) - 1})
#endif

/** A kinglet_str of a NUL-terminated string, which it borrows. Empty if `text` is NULL. */
static inline kinglet_str kinglet_str_from(const char *text) {
  kinglet_str made;
  made.data = text;
  made.size = text ? strlen(text) : 0;
  return made;
}

/** A list of token ids. `data` may be NULL if `count` is 0. This struct never grows. */
typedef struct kinglet_ids {
  /** The first id. */
  const uint32_t *data;
  /** The number of ids. */
  size_t count;
} kinglet_ids;

/** A switch that may be left undecided. One of the KINGLET_TRISTATE constants. */
typedef uint32_t kinglet_tristate;

/** The values of kinglet_tristate. */
enum kinglet_tristate_values {
  /** The model's files decide; where they are silent, the default that the field names. */
  KINGLET_TRISTATE_AUTO = 0,
  /** No. */
  KINGLET_TRISTATE_NO = 1,
  /** Yes. */
  KINGLET_TRISTATE_YES = 2,
};

/** The short name of a value, for instance "yes"; "unknown" for a number that this version does not know. */
KINGLET_API const char *kinglet_tristate_name(kinglet_tristate value);

/** A string that the library made. */
typedef struct kinglet_text kinglet_text;

/** The string, valid until `text` is freed. Empty if `text` is NULL. */
KINGLET_API kinglet_str kinglet_text_str(const kinglet_text *text);

/** Frees a text. */
KINGLET_API void kinglet_text_free(kinglet_text *text);

/** @} */

/* ---- How calls share a model: options of the scheduler, priorities and deadlines ------------------------- */

/** @defgroup how_calls_share_a_model:_options_of_the_scheduler_priorities_and_deadlines How calls share a model: options of the scheduler, priorities and deadlines
 *  @{ */

/**
 * How urgent a call is. Work of a higher priority goes first; within a priority, calls take turns. One of the
 * KINGLET_PRIORITY constants.
 */
typedef uint32_t kinglet_priority;

/** The values of kinglet_priority. */
enum kinglet_priority_values {
  /** The default. */
  KINGLET_PRIORITY_NORMAL = 0,
  /**
   * Somebody waits for the result: it goes first, and it does not wait until texts of a lower priority are
   * done.
   */
  KINGLET_PRIORITY_INTERACTIVE = 1,
  /** Work in the background, which waits for all other calls. */
  KINGLET_PRIORITY_BULK = 2,
};

/** The short name of a value, for instance "bulk"; "unknown" for a number that this version does not know. */
KINGLET_API const char *kinglet_priority_name(kinglet_priority value);

/**
 * How a model shares its passes among concurrent calls. No option changes a result. Zero is the default of
 * every field.
 */
typedef struct kinglet_scheduler_options {
  /** sizeof(kinglet_scheduler_options). */
  size_t struct_size;
  /**
   * The most tokens of a pass, except for a longer text; a step that also continues texts reads a quarter of
   * it in prompts. At most 65,536. 0: what suits the device, 512 or more on the CPU.
   */
  uint32_t max_tokens;
  /** The most sequences of a generation step. At most 65,536. 0: 256. */
  uint32_t max_sequences;
  /**
   * How long a text that finds an idle model waits for others to share its pass, in microseconds, at most
   * 1,000,000. 0: it does not wait; only what waits anyway is merged.
   */
  uint32_t max_wait_us;
  /**
   * The most calls that may wait for their first pass; one more fails at once with KINGLET_STATUS_BUSY. 0: no
   * limit.
   */
  uint32_t queue_length;
  /**
   * The most bytes of input of these calls; a call that finds the queue empty is not refused. 0: no limit.
   */
  uint64_t queue_bytes;
  /**
   * The most requests (kinglet_model_submit_embed and its like) that run at once, each on a thread of the
   * model's own; others wait. At most 1,024. 0: 64.
   */
  uint32_t requests;
  /** Must be 0. */
  uint32_t reserved;
} kinglet_scheduler_options;

/** @} */

/* ---- Cancellation ---------------------------------------------------------------------------------------- */

/** @defgroup cancellation Cancellation
 *  @{ */

/**
 * Stops calls from another thread. A cancellation starts unset and, once set, stays set; it may be given to
 * many calls.
 */
typedef struct kinglet_cancellation kinglet_cancellation;

/** Makes a cancellation, which the caller frees with kinglet_cancellation_free. Never NULL. */
KINGLET_API KINGLET_WARN_UNUSED kinglet_cancellation *kinglet_cancellation_new(void);

/**
 * Sets the cancellation: calls that were given it, now and later, end soon with KINGLET_STATUS_CANCELLED.
 * NULL is ignored. May be called while those calls run, also from a callback.
 */
KINGLET_API void kinglet_cancellation_cancel(kinglet_cancellation *cancellation);

/** Frees a cancellation. Calls that were given it and have begun may still run. */
KINGLET_API void kinglet_cancellation_free(kinglet_cancellation *cancellation);

/** @} */

/* ---- Models ---------------------------------------------------------------------------------------------- */

/** @defgroup models Models
 *  @{ */

/** Where a model runs. One of the KINGLET_DEVICE constants. */
typedef uint32_t kinglet_device;

/** The values of kinglet_device. */
enum kinglet_device_values {
  /** Kinglet's own engine on the CPU. */
  KINGLET_DEVICE_CPU = 0,
  /**
   * The candle library on the CPU: in f32 the reference that the engine is tested against. Slow; candle
   * chooses its number of threads.
   */
  KINGLET_DEVICE_CANDLE_CPU = 1,
  /**
   * NVIDIA GPUs, through a second library, libkinglet_cuda.so, which is opened on first use from the
   * directory of this library, or from the path in the environment variable KINGLET_PROVIDER. Where the
   * library, a driver or a GPU is missing, loading a model fails as unsupported, with the reason.
   */
  KINGLET_DEVICE_CUDA = 2,
  /** Apple GPUs, in builds with the feature `metal`; unsupported in other builds. */
  KINGLET_DEVICE_METAL = 3,
};

/**
 * The short name of a value, for instance "metal"; "unknown" for a number that this version does not know.
 */
KINGLET_API const char *kinglet_device_name(kinglet_device value);

/** The number format of weights and matrix products. One of the KINGLET_PRECISION constants. */
typedef uint32_t kinglet_precision;

/** The values of kinglet_precision. */
enum kinglet_precision_values {
  /**
   * The format of the model's files: f32 stays f32; f16 and bf16 become f16; Q4_0 and Q4_1 of GGUF become
   * int4, its other quantised types int8; a .kinglet file keeps its own. On CUDA and Metal bf16 stays bf16;
   * on the device candle-cpu all become f32.
   */
  KINGLET_PRECISION_AUTO = 0,
  /** Weights, activations and KV cache in f32. */
  KINGLET_PRECISION_F32 = 1,
  /**
   * Weights in f16; activations and accumulation in f32. On GPUs matrix products read and write f16. On the
   * CPU the KV cache is f16 in this and the next three precisions.
   */
  KINGLET_PRECISION_F16 = 2,
  /**
   * Weights and the activations that they are multiplied with in 8-bit integers, accumulated exactly. On GPUs
   * weights are quantised in blocks of 32 that share a scale.
   */
  KINGLET_PRECISION_INT8 = 3,
  /**
   * Weights and the activations that they are multiplied with in bf16, accumulated in f32. Use it on CPUs
   * with AMX or fast AVX512-BF16 (AMD Zen 5: twice the speed of f32). On other CPUs f16 is at least as fast
   * and more accurate.
   */
  KINGLET_PRECISION_BF16 = 4,
  /**
   * Weights in 4 bits with a step and a least value per group of 32 inputs, multiplied with activations in 8
   * bits and accumulated exactly within a group. The output layer and embedding tables are as in int8. For
   * models of a billion parameters or more, whose decoding waits for memory; smaller ones lose more quality
   * (docs/precision.md).
   */
  KINGLET_PRECISION_INT4 = 5,
};

/** The short name of a value, for instance "int4"; "unknown" for a number that this version does not know. */
KINGLET_API const char *kinglet_precision_name(kinglet_precision value);

/** How severe a log record is; a smaller number is more severe. One of the KINGLET_LOG_LEVEL constants. */
typedef uint32_t kinglet_log_level;

/** The values of kinglet_log_level. */
enum kinglet_log_level_values {
  /** In options: the default level, info. */
  KINGLET_LOG_LEVEL_DEFAULT = 0,
  /** Something failed. */
  KINGLET_LOG_LEVEL_ERROR = 1,
  /**
   * Something may surprise: a setting of the model that is not supported, fewer threads than were asked for.
   */
  KINGLET_LOG_LEVEL_WARNING = 2,
  /** Something happened, about once per load. */
  KINGLET_LOG_LEVEL_INFO = 3,
  /** Details. */
  KINGLET_LOG_LEVEL_DEBUG = 4,
};

/**
 * The short name of a value, for instance "debug"; "unknown" for a number that this version does not know.
 */
KINGLET_API const char *kinglet_log_level_name(kinglet_log_level value);

/**
 * A loaded model. It counts references: kinglet_model_retain adds one, kinglet_model_free releases one;
 * sessions and prefixes hold references of their own. Any number of calls may run on one model at the same
 * time; they share its threads.
 */
typedef struct kinglet_model kinglet_model;

/**
 * How far work has come. Later versions may add fields at the end; `struct_size` is set by the library. Valid
 * during the callback.
 */
typedef struct kinglet_progress {
  /** Set by the library to the size of its own version of the struct. */
  size_t struct_size;
  /** The part of the work that is done, from 0 to 1. */
  double fraction;
} kinglet_progress;

/**
 * Reports progress, on the thread that made the call. Returning 0 cancels the call; any other value
 * continues. Must not call Kinglet.
 */
typedef uint32_t (*kinglet_progress_callback)(void *user_data, const kinglet_progress *progress);

/**
 * A line for the log. Later versions may add fields at the end; `struct_size` is set by the library. Valid
 * during the callback.
 */
typedef struct kinglet_log_record {
  /** Set by the library to the size of its own version of the struct. */
  size_t struct_size;
  /** How severe it is; never KINGLET_LOG_LEVEL_DEFAULT. */
  kinglet_log_level level;
  /** 0. */
  uint32_t reserved;
  /** The message, without a line break at the end. */
  kinglet_str message;
} kinglet_log_record;

/**
 * Receives a log record, on any thread that is inside a call of Kinglet, and possibly on several threads at
 * once. Must not call Kinglet.
 */
typedef void (*kinglet_log_callback)(void *user_data, const kinglet_log_record *record);

/** Tells that the library will not use `user_data` again. Must not call Kinglet. */
typedef void (*kinglet_release_callback)(void *user_data);

/** Options of kinglet_model_load. Zero is the default of every field. */
typedef struct kinglet_model_options {
  /** sizeof(kinglet_model_options). */
  size_t struct_size;
  /** Where the model runs. 0: the CPU. */
  kinglet_device device;
  /** Which of the devices of that kind, counted from 0; kinglet_devices_list tells which there are. */
  uint32_t device_index;
  /** The number format of weights. 0: as in the model's files. */
  kinglet_precision precision;
  /** The least severe level that is passed to `log`. 0: info. */
  kinglet_log_level log_level;
  /**
   * Threads that one call may use, the calling thread included. 0: as many as the process may use. At most
   * 1024.
   */
  size_t threads;
  /**
   * Bytes that the model may use for its weights, its tokenizer (estimated), the working memory of one pass,
   * and the KV cache. A larger model is refused as out of memory before anything is allocated for it; so is a
   * generation whose KV cache would exceed the limit. 0: no limit.
   */
  uint64_t memory_limit;
  /**
   * Size in bytes of an LRU cache of finished generations: the same input with the same options is answered
   * from it. 0: no cache.
   */
  uint64_t answer_cache_bytes;
  /**
   * The path of the shared library of ONNX Runtime (libonnxruntime), version 1.17 or later; only ONNX models
   * need it. A process opens one such library: if another one is open already, that one is used and a warning
   * is logged. Empty: the absolute path in the environment variable ORT_DYLIB_PATH, or else libonnxruntime in
   * the folders of the system's libraries. For CUDA and Metal it must have the CUDA or the CoreML execution
   * provider. A library that does not return from its initialisation within 30 seconds is an error; until it
   * returns, the process can open no other library, and exit() waits.
   */
  kinglet_str onnxruntime;
  /** Cancels the load from another thread; may be freed after the call. NULL: none. */
  const kinglet_cancellation *cancellation;
  /** Receives the progress of the load. NULL: none. */
  kinglet_progress_callback progress;
  /** The first argument of `progress`. */
  void *progress_user_data;
  /** Receives log records, until `log_release` is called. NULL: none. */
  kinglet_log_callback log;
  /** The first argument of `log` and `log_release`. */
  void *log_user_data;
  /**
   * Called exactly once with `log_user_data`, when the log is not used any more: when a load fails, before
   * kinglet_model_load returns; otherwise when the last reference to the model is released, on the thread
   * that releases it (in kinglet_model_free, kinglet_session_free or kinglet_prefix_free). Not called if the
   * options themselves could not be read because `struct_size` is wrong. NULL: none.
   */
  kinglet_release_callback log_release;
  /**
   * Whether the files of weights are mapped. AUTO: they are. NO: they are read into memory and checked once,
   * so that nothing that happens to the files later (truncation is a SIGBUS where they are mapped) reaches
   * the process. This takes the size of the files in memory during the load; of a .kinglet file as long as
   * the model lives.
   */
  kinglet_tristate map_files;
  /** Must be 0. */
  uint32_t reserved;
  /** How concurrent calls share the model; read during the call. NULL: the defaults. */
  const kinglet_scheduler_options *scheduler;
  /** The longest text, in bytes, that a call on the model tokenizes; a longer one is refused. 0: 256 MB. */
  uint64_t max_text_bytes;
} kinglet_model_options;

/**
 * Loads a model from `path`: a directory in the layout of Hugging Face (config.json, tokenizer.json, and
 * model.safetensors or its shards with model.safetensors.index.json); a GGUF file; a .kinglet file, which is
 * mapped and must not change while the model is in use; or an ONNX export (a directory with model.onnx or a
 * similar name and no safetensors, or an .onnx file), which ONNX Runtime runs; `precision` then selects among
 * its files by their names. Where there is no such file, a name on the Hugging Face hub, as
 * sentence-transformers/all-MiniLM-L6-v2 (or a file in such a model), is looked up in the hub's local cache
 * (HF_HUB_CACHE, HF_HOME, ~/.cache/huggingface/hub); nothing is downloaded. `options` may be NULL. `*model`
 * receives the model. Other files must not change during the call.
 *
 * Fails with KINGLET_STATUS_NOT_FOUND, KINGLET_STATUS_IO or KINGLET_STATUS_INVALID_FILE (the message names
 * the file), KINGLET_STATUS_UNSUPPORTED (the model's family, the device or the precision),
 * KINGLET_STATUS_OUT_OF_MEMORY (the memory limit), or KINGLET_STATUS_CANCELLED.
 */
KINGLET_API KINGLET_WARN_UNUSED kinglet_status kinglet_model_load(
    kinglet_str path,
    const kinglet_model_options *options,
    kinglet_model **model,
    kinglet_error **error);

/**
 * Adds a reference and returns `model`, to be freed once more with kinglet_model_free. NULL if `model` is
 * NULL.
 */
KINGLET_API kinglet_model *kinglet_model_retain(kinglet_model *model);

/** What is known of a model. */
typedef struct kinglet_model_view {
  /** sizeof(kinglet_model_view), set by the caller. */
  size_t struct_size;
  /** The path that was given to kinglet_model_load: a directory or a file. */
  kinglet_str path;
  /** The `model_type` of config.json. */
  kinglet_str family;
  /** The device that it runs on. */
  kinglet_device device;
  /** Which of the devices of that kind. */
  uint32_t device_index;
  /** The precision in use; never KINGLET_PRECISION_AUTO. */
  kinglet_precision precision;
  /** 1 if the model generates text, else 0. */
  uint32_t can_generate;
  /** 1 if kinglet_session_new works: the model is a decoder and has a chat template. Else 0. */
  uint32_t can_chat;
  /**
   * 1 if the model has an encoder: all models that only embed or classify, and those that generate from a
   * source text. Else 0.
   */
  uint32_t has_encoder;
  /** Threads that one call may use. */
  size_t threads;
  /** Values per hidden state. */
  size_t dimension;
  /**
   * The maximum number of tokens that a text may have, special tokens included; longer texts are truncated.
   */
  size_t max_length;
  /** Token ids are below this number. */
  size_t vocabulary_size;
  /** The labels of the classification head: `label_count` names. NULL if there is no such head. */
  const kinglet_str *labels;
  /** The number of labels; 0 if there is no classification head. */
  size_t label_count;
  /** Bytes of the weights. */
  uint64_t weight_bytes;
  /**
   * Bytes that KV caches take now: those of running calls, sessions and prefixes, and memory kept for reuse.
   */
  uint64_t cache_bytes;
  /** Bytes that the model takes on a GPU now, weights and caches; 0 on the CPU. */
  uint64_t device_bytes;
  /** Values per embedding, by the modules and the truncate_dim of the model's sentence-transformers files. */
  size_t embedding_dimension;
} kinglet_model_view;

/** Fills `view`, which is valid until the model's last reference is released. */
KINGLET_API kinglet_status kinglet_model_read(
    const kinglet_model *model,
    kinglet_model_view *view,
    kinglet_error **error);

/**
 * Describes the model as a JSON object: family, architecture, sizes, precision, the kernels in use, pooling,
 * labels. `*text` receives the text. Later versions may add members.
 */
KINGLET_API KINGLET_WARN_UNUSED kinglet_status kinglet_model_describe(
    const kinglet_model *model,
    kinglet_text **text,
    kinglet_error **error);

/**
 * Releases one reference. With the last one the model and everything borrowed from it are freed. Calls that
 * use this reference must have returned. Results of the model's calls stay valid.
 */
KINGLET_API void kinglet_model_free(kinglet_model *model);

/** @} */

/* ---- Tokenising ------------------------------------------------------------------------------------------ */

/** @defgroup tokenising Tokenising
 *  @{ */

/** The value of `sequences` in kinglet_encoding_view for tokens that belong to no text. */
#define KINGLET_NO_SEQUENCE 255

/** Options of kinglet_model_tokenize. Zero is the default of every field. */
typedef struct kinglet_tokenize_options {
  /** sizeof(kinglet_tokenize_options). */
  size_t struct_size;
  /** Whether the tokenizer's special tokens are added, for instance `[CLS]` or `</s>`. AUTO: yes. */
  kinglet_tristate add_special_tokens;
  /** 1 computes the position of each token in its text; 0 does not. */
  uint32_t offsets;
  /**
   * The maximum number of tokens of a text or pair, special tokens included; longer ones are truncated by the
   * rules of the tokenizer's files. 0: the model's maximum. SIZE_MAX: no limit.
   */
  size_t max_length;
  /** Cancels the call from another thread. NULL: none. */
  const kinglet_cancellation *cancellation;
} kinglet_tokenize_options;

/** A tokenised batch: the tokens of all texts one after the other. */
typedef struct kinglet_encoding kinglet_encoding;

/** Bytes `start` to `end` (exclusive) of a text. This struct never grows. */
typedef struct kinglet_span {
  /** The first byte. */
  size_t start;
  /** The byte after the last one. */
  size_t end;
} kinglet_span;

/**
 * The contents of a kinglet_encoding. A sequence is a text or a pair. The tokens of sequence i are those from
 * `starts[i]` to `starts[i + 1]` (exclusive) in each array with one value per token.
 */
typedef struct kinglet_encoding_view {
  /** sizeof(kinglet_encoding_view), set by the caller. */
  size_t struct_size;
  /** Sequences in the batch. */
  size_t count;
  /** Tokens in the batch. */
  size_t token_count;
  /** The maximum number of tokens in one sequence. */
  size_t longest;
  /** Where each sequence starts: `count + 1` values. */
  const size_t *starts;
  /** The tokens of each sequence: `count` values. */
  const size_t *lengths;
  /** The token ids: `token_count` values. */
  const uint32_t *ids;
  /** One value per token: 0, or 1 for the second text of a pair, as the tokenizer's files say. */
  const uint32_t *type_ids;
  /** One value per token: 1 for special tokens that the tokenizer added, else 0. */
  const uint8_t *special_tokens_mask;
  /** One value per token: 0 or 1, the text of a pair that it came from, or KINGLET_NO_SEQUENCE. */
  const uint8_t *sequences;
  /** One value per token: its bytes in its text. NULL without `offsets`. */
  const kinglet_span *offsets;
  /** `count` values: 1 for sequences that were truncated, else 0. */
  const uint8_t *truncated;
  /** The id of the tokenizer's padding token; 0 if it names none. */
  uint32_t pad_id;
  /** 0. */
  uint32_t reserved;
} kinglet_encoding_view;

/**
 * Tokenises `count` texts, or `count` pairs if `pairs` is not NULL: then it holds the second texts. `options`
 * may be NULL. `*encoding` receives the encoding. Texts are divided among the model's threads. Fails with
 * KINGLET_STATUS_INVALID_ARGUMENT for a `max_length` that leaves no room beside the special tokens,
 * KINGLET_STATUS_UNSUPPORTED if the model has no tokenizer, or KINGLET_STATUS_CANCELLED.
 */
KINGLET_API KINGLET_WARN_UNUSED kinglet_status kinglet_model_tokenize(
    const kinglet_model *model,
    const kinglet_str *texts,
    const kinglet_str *pairs,
    size_t count,
    const kinglet_tokenize_options *options,
    kinglet_encoding **encoding,
    kinglet_error **error);

/** Fills `view`, which is valid until the encoding is freed. */
KINGLET_API kinglet_status kinglet_encoding_read(
    const kinglet_encoding *encoding,
    kinglet_encoding_view *view,
    kinglet_error **error);

/**
 * Writes the batch as a padded matrix, for programs that feed other engines; Kinglet itself needs no padding.
 * `ids` receives `count` rows of `length` ids, `attention_mask` as many values, 1 for tokens and 0 for
 * padding. Both arrays hold `capacity` values, at least `count * length`. `length` 0 means the longest
 * sequence. Fails with KINGLET_STATUS_INVALID_ARGUMENT if `length` is shorter than the longest sequence or
 * the capacity is too small.
 */
KINGLET_API kinglet_status kinglet_encoding_pad(
    const kinglet_encoding *encoding,
    size_t length,
    uint32_t pad_id,
    uint32_t *ids,
    uint32_t *attention_mask,
    size_t capacity,
    kinglet_error **error);

/** Options of kinglet_model_detokenize. Zero is the default of every field. */
typedef struct kinglet_detokenize_options {
  /** sizeof(kinglet_detokenize_options). */
  size_t struct_size;
  /** Whether special tokens are left out of the text. AUTO: yes. */
  kinglet_tristate skip_special_tokens;
  /** Must be 0. */
  uint32_t reserved;
} kinglet_detokenize_options;

/**
 * Turns `count` token ids back into text. `options` may be NULL. `*text` receives the text. Fails with
 * KINGLET_STATUS_INVALID_ARGUMENT for an id that the tokenizer does not know.
 */
KINGLET_API KINGLET_WARN_UNUSED kinglet_status kinglet_model_detokenize(
    const kinglet_model *model,
    const uint32_t *ids,
    size_t count,
    const kinglet_detokenize_options *options,
    kinglet_text **text,
    kinglet_error **error);

/** Frees an encoding and everything borrowed from it. */
KINGLET_API void kinglet_encoding_free(kinglet_encoding *encoding);

/** @} */

/* ---- Embeddings ------------------------------------------------------------------------------------------ */

/** @defgroup embeddings Embeddings
 *  @{ */

/** How the token vectors of a text become one vector. One of the KINGLET_POOLING constants. */
typedef uint32_t kinglet_pooling;

/** The values of kinglet_pooling. */
enum kinglet_pooling_values {
  /**
   * As the model's sentence-transformers files say. Without such files the last token for decoders that
   * generate, else the mean.
   */
  KINGLET_POOLING_AUTO = 0,
  /** The mean over all tokens, special tokens included. */
  KINGLET_POOLING_MEAN = 1,
  /** The vector of the first token. */
  KINGLET_POOLING_CLS = 2,
  /** The vector of the last token. */
  KINGLET_POOLING_LAST = 3,
  /** No pooling: one vector per token. */
  KINGLET_POOLING_NONE = 4,
  /** The largest value of each component over all tokens. */
  KINGLET_POOLING_MAX = 5,
  /** The mean weighted by position: the first token counts once, the second twice, and so on. */
  KINGLET_POOLING_WEIGHTEDMEAN = 6,
  /** The sum over all tokens divided by the square root of their number. */
  KINGLET_POOLING_MEAN_SQRT_LEN_TOKENS = 7,
};

/**
 * The short name of a value, for instance "mean_sqrt_len_tokens"; "unknown" for a number that this version
 * does not know.
 */
KINGLET_API const char *kinglet_pooling_name(kinglet_pooling value);

/** Options of kinglet_model_embed. Zero is the default of every field. */
typedef struct kinglet_embed_options {
  /** sizeof(kinglet_embed_options). */
  size_t struct_size;
  /**
   * How token vectors become one vector, in place of the model's own pooling. Dense and other modules of the
   * model's sentence-transformers files are applied all the same; with KINGLET_POOLING_NONE only those of
   * tokens.
   */
  kinglet_pooling pooling;
  /**
   * Whether vectors are scaled to length 1. YES does it last, after `truncate_dim`; NO leaves out the module
   * Normalize at the end of the model's modules. AUTO: as the modules say; with KINGLET_POOLING_NONE and
   * without such files no.
   */
  kinglet_tristate normalize;
  /**
   * The maximum number of tokens of a text, special tokens included; longer texts are truncated. 0: the
   * model's maximum.
   */
  size_t max_length;
  /** Cancels the call from another thread. NULL: none. */
  const kinglet_cancellation *cancellation;
  /**
   * The name of a prompt in the model's config_sentence_transformers.json, which is put before each text.
   * Empty: its `default_prompt_name`, if it has one.
   */
  kinglet_str prompt_name;
  /**
   * A prompt that is put before each text; `prompt_name` is then ignored. With `data` not NULL and `size` 0:
   * no prompt.
   */
  kinglet_str prompt;
  /**
   * Keeps only the first values of each vector, at most as many as it has. This is done before `normalize`
   * YES and after the model's own Normalize. 0: as the model's files say, else all values.
   */
  size_t truncate_dim;
  /** How urgent the call is. */
  kinglet_priority priority;
  /**
   * Milliseconds after which the call fails with KINGLET_STATUS_DEADLINE_EXCEEDED if it is not done, whether
   * it runs or waits. 0: none.
   */
  uint32_t deadline_ms;
} kinglet_embed_options;

/** The embeddings of a batch of texts. */
typedef struct kinglet_embeddings kinglet_embeddings;

/**
 * Computes the embeddings of `count` texts. `options` may be NULL. `*embeddings` receives them. On
 * KINGLET_DEVICE_CPU the values of a text are the same to the bit whatever the other texts of the batch and
 * the number of threads. Fails with KINGLET_STATUS_UNSUPPORTED if the model has no tokenizer or modules that
 * are not supported, KINGLET_STATUS_OUT_OF_MEMORY, or KINGLET_STATUS_CANCELLED.
 */
KINGLET_API KINGLET_WARN_UNUSED kinglet_status kinglet_model_embed(
    const kinglet_model *model,
    const kinglet_str *texts,
    size_t count,
    const kinglet_embed_options *options,
    kinglet_embeddings **embeddings,
    kinglet_error **error);

/** The number of texts; 0 if `embeddings` is NULL. */
KINGLET_API size_t kinglet_embeddings_count(const kinglet_embeddings *embeddings);

/** The number of values per vector; 0 if `embeddings` is NULL. */
KINGLET_API size_t kinglet_embeddings_dimension(const kinglet_embeddings *embeddings);

/**
 * Vector number `row`: that of text `row`, or with KINGLET_POOLING_NONE that of token `row` of the whole
 * batch. Valid until the embeddings are freed. NULL if `embeddings` is NULL or there is no such row.
 */
KINGLET_API const float *kinglet_embeddings_vector(const kinglet_embeddings *embeddings, size_t row);

/** The contents of a kinglet_embeddings. */
typedef struct kinglet_embeddings_view {
  /** sizeof(kinglet_embeddings_view), set by the caller. */
  size_t struct_size;
  /** Texts in the batch. */
  size_t count;
  /** Values per vector. */
  size_t dimension;
  /** The number of vectors: `count`, or with KINGLET_POOLING_NONE the number of tokens. */
  size_t row_count;
  /** The vectors one after the other: `row_count * dimension` values. */
  const float *values;
  /** `count + 1` values: the vectors of text i are those from `starts[i]` to `starts[i + 1]` (exclusive). */
  const size_t *starts;
  /** `count` values: the tokens of each text, special tokens included. */
  const size_t *token_counts;
  /** `count` values: 1 for texts that were truncated, else 0. */
  const uint8_t *truncated;
} kinglet_embeddings_view;

/** Fills `view`, which is valid until the embeddings are freed. */
KINGLET_API kinglet_status kinglet_embeddings_read(
    const kinglet_embeddings *embeddings,
    kinglet_embeddings_view *view,
    kinglet_error **error);

/** Frees embeddings and everything borrowed from them. */
KINGLET_API void kinglet_embeddings_free(kinglet_embeddings *embeddings);

/** @} */

/* ---- Sparse embeddings ----------------------------------------------------------------------------------- */

/** @defgroup sparse_embeddings Sparse embeddings
 *  @{ */

/** Options of kinglet_model_sparse_embed. Zero is the default of every field. */
typedef struct kinglet_sparse_options {
  /** sizeof(kinglet_sparse_options). */
  size_t struct_size;
  /** Keeps only so many weights of each text, the largest ones. 0: as the model's files say, else all. */
  size_t max_active_dims;
  /**
   * The maximum number of tokens of a text, special tokens included; longer texts are truncated. 0: the
   * model's maximum.
   */
  size_t max_length;
  /** Cancels the call from another thread. NULL: none. */
  const kinglet_cancellation *cancellation;
  /**
   * The name of a prompt in the model's config_sentence_transformers.json, which is put before each text.
   * Empty: its `default_prompt_name`, if it has one.
   */
  kinglet_str prompt_name;
  /**
   * A prompt that is put before each text; `prompt_name` is then ignored. With `data` not NULL and `size` 0:
   * no prompt.
   */
  kinglet_str prompt;
  /** How urgent the call is. */
  kinglet_priority priority;
  /**
   * Milliseconds after which the call fails with KINGLET_STATUS_DEADLINE_EXCEEDED if it is not done, whether
   * it runs or waits. 0: none.
   */
  uint32_t deadline_ms;
} kinglet_sparse_options;

/** The sparse embeddings of a batch of texts. */
typedef struct kinglet_sparse_embeddings kinglet_sparse_embeddings;

/**
 * Computes sparse embeddings of `count` texts with a masked language model (SPLADE): the weights of each text
 * over the vocabulary, without those that are 0. The dot product of two texts' weights is their similarity.
 * `options` may be NULL. `*embeddings` receives them. Fails with KINGLET_STATUS_UNSUPPORTED if the model has
 * no masked language head or its sentence-transformers files are of another kind of model,
 * KINGLET_STATUS_OUT_OF_MEMORY, or KINGLET_STATUS_CANCELLED.
 */
KINGLET_API KINGLET_WARN_UNUSED kinglet_status kinglet_model_sparse_embed(
    const kinglet_model *model,
    const kinglet_str *texts,
    size_t count,
    const kinglet_sparse_options *options,
    kinglet_sparse_embeddings **embeddings,
    kinglet_error **error);

/** The contents of a kinglet_sparse_embeddings: compressed rows (CSR). */
typedef struct kinglet_sparse_embeddings_view {
  /** sizeof(kinglet_sparse_embeddings_view), set by the caller. */
  size_t struct_size;
  /** Texts in the batch. */
  size_t count;
  /** The size of the vocabulary; all indices are below it. */
  size_t dimension;
  /** `count + 1` values: the weights of text i are those from `starts[i]` to `starts[i + 1]` (exclusive). */
  const size_t *starts;
  /** `starts[count]` values: token ids, ascending for each text. */
  const uint32_t *indices;
  /** `starts[count]` values: their weights, all greater than 0. */
  const float *weights;
  /** `count` values: the tokens of each text, special tokens included. */
  const size_t *token_counts;
  /** `count` values: 1 for texts that were truncated, else 0. */
  const uint8_t *truncated;
} kinglet_sparse_embeddings_view;

/** Fills `view`, which is valid until the embeddings are freed. */
KINGLET_API kinglet_status kinglet_sparse_embeddings_read(
    const kinglet_sparse_embeddings *embeddings,
    kinglet_sparse_embeddings_view *view,
    kinglet_error **error);

/** Frees sparse embeddings and everything borrowed from them. */
KINGLET_API void kinglet_sparse_embeddings_free(kinglet_sparse_embeddings *embeddings);

/** @} */

/* ---- Embeddings of texts in Arrow's layout, written into the caller's memory ----------------------------- */

/** @defgroup embeddings_of_texts_in_arrow's_layout_written_into_the_caller's_memory Embeddings of texts in Arrow's layout, written into the caller's memory
 *  @{ */

/**
 * Texts in the layout of an Arrow array of type Utf8 (32-bit offsets) or LargeUtf8 (64-bit offsets): the
 * buffers of the array as they are. They are read during the call and not kept.
 */
typedef struct kinglet_arrow_texts {
  /** sizeof(kinglet_arrow_texts), set by the caller. */
  size_t struct_size;
  /** The number of texts: the `length` of the array. */
  size_t count;
  /** The number of the first text in the buffers: the `offset` of the array, 0 unless it is a slice. */
  size_t first;
  /**
   * The buffer of offsets: `first + count + 1` signed integers. Text i of the buffers is bytes `offsets[i]`
   * to `offsets[i + 1]` (exclusive) of `data`.
   */
  const void *offsets;
  /** The size of an offset: 32 or 64 bits. */
  uint32_t offset_bits;
  /** Must be 0. */
  uint32_t reserved;
  /** The buffer of characters, UTF-8. It may be NULL if `data_size` is 0. */
  const char *data;
  /** The number of bytes of `data`; no offset may be greater. */
  size_t data_size;
  /**
   * The validity bitmap of the buffers, lowest bit first. NULL: there are no nulls. A null among the texts is
   * refused by its number.
   */
  const uint8_t *validity;
} kinglet_arrow_texts;

/** Where kinglet_model_embed_arrow writes. Nothing is written if the call fails. */
typedef struct kinglet_embedding_buffer {
  /** sizeof(kinglet_embedding_buffer), set by the caller. */
  size_t struct_size;
  /**
   * The values per vector that the caller expects: `embedding_dimension` of kinglet_model_view, or
   * `truncate_dim` of the options if that is less. Another number than the call would write is refused before
   * any work.
   */
  size_t dimension;
  /** Receives the vectors. */
  float *values;
  /** The number of values that fit there: at least `(count - 1) * stride + dimension`. */
  size_t capacity;
  /**
   * The distance between the first values of two vectors, at least `dimension`; what lies between them is not
   * written. 0: `dimension`, so that the vectors are one after the other.
   */
  size_t stride;
  /** Receives the tokens of each text, special tokens included: `count` values. NULL: not wanted. */
  size_t *token_counts;
  /** Receives 1 for each text that was truncated, else 0: `count` values. NULL: not wanted. */
  uint8_t *truncated;
} kinglet_embedding_buffer;

/**
 * Computes one embedding for each text of an Arrow array and writes it into the caller's memory, as
 * kinglet_model_embed computes them. `options` may be NULL; KINGLET_POOLING_NONE is refused. Fails with
 * KINGLET_STATUS_INVALID_ARGUMENT for a null, for offsets that decrease or are greater than `data_size`, and
 * for a buffer that is too small; otherwise like kinglet_model_embed.
 */
KINGLET_API kinglet_status kinglet_model_embed_arrow(
    const kinglet_model *model,
    const kinglet_arrow_texts *texts,
    const kinglet_embed_options *options,
    const kinglet_embedding_buffer *buffer,
    kinglet_error **error);

/** @} */

/* ---- Search among embeddings, and embeddings in fewer bits. No model is needed --------------------------- */

/** @defgroup search_among_embeddings_and_embeddings_in_fewer_bits._no_model_is_needed Search among embeddings, and embeddings in fewer bits. No model is needed
 *  @{ */

/** The type of an embedding's elements. One of the KINGLET_EMBEDDING_TYPE constants. */
typedef uint32_t kinglet_embedding_type;

/** The values of kinglet_embedding_type. */
enum kinglet_embedding_type_values {
  /** float. */
  KINGLET_EMBEDDING_TYPE_FLOAT32 = 0,
  /** IEEE half precision, two bytes. */
  KINGLET_EMBEDDING_TYPE_FLOAT16 = 1,
  /** One of 256 steps of the dimension's range, from -128 to 127. */
  KINGLET_EMBEDDING_TYPE_INT8 = 2,
  /** The same from 0 to 255. */
  KINGLET_EMBEDDING_TYPE_UINT8 = 3,
  /**
   * Whether each value is above 0, as a bit: eight values to an element, the first in the highest bit, and
   * 128 subtracted, which makes it an int8_t.
   */
  KINGLET_EMBEDDING_TYPE_BINARY = 4,
  /** The same as uint8_t. */
  KINGLET_EMBEDDING_TYPE_UBINARY = 5,
};

/**
 * The short name of a value, for instance "ubinary"; "unknown" for a number that this version does not know.
 */
KINGLET_API const char *kinglet_embedding_type_name(kinglet_embedding_type value);

/** What makes two embeddings similar. One of the KINGLET_SIMILARITY constants. */
typedef uint32_t kinglet_similarity;

/** The values of kinglet_similarity. */
enum kinglet_similarity_values {
  /** Cosine for floats, the dot product for int8 and uint8, Hamming for binary types. */
  KINGLET_SIMILARITY_AUTO = 0,
  /** The sum of the products of their values. Codes count as the numbers that they are. */
  KINGLET_SIMILARITY_DOT = 1,
  /** The same divided by the lengths of both; 0 where a length is 0. */
  KINGLET_SIMILARITY_COSINE = 2,
  /** Only of binary types: how many bits differ, negated, so that more is more similar. */
  KINGLET_SIMILARITY_HAMMING = 3,
};

/**
 * The short name of a value, for instance "hamming"; "unknown" for a number that this version does not know.
 */
KINGLET_API const char *kinglet_similarity_name(kinglet_similarity value);

/** Embeddings in the caller's memory. They are read during the call and not kept. */
typedef struct kinglet_embedding_rows {
  /** sizeof(kinglet_embedding_rows), set by the caller. */
  size_t struct_size;
  /** The type of their elements. */
  kinglet_embedding_type kind;
  /** Must be 0. */
  uint32_t reserved;
  /** The first element of the first embedding, aligned to its type. It may be NULL if `count` is 0. */
  const void *data;
  /** The number of embeddings. */
  size_t count;
  /**
   * Values per embedding, 1 to 32768. An embedding has as many elements; of binary types `(dimension + 7) /
   * 8`, whose spare bits are 0.
   */
  size_t dimension;
  /**
   * The distance between the first elements of two embeddings, in elements. 0: they are one after the other.
   */
  size_t stride;
} kinglet_embedding_rows;

/** Where kinglet_embeddings_quantize writes, and what. */
typedef struct kinglet_embedding_codes {
  /** sizeof(kinglet_embedding_codes), set by the caller. */
  size_t struct_size;
  /** The type to write. */
  kinglet_embedding_type kind;
  /** Must be 0. */
  uint32_t reserved;
  /** Receives the embeddings; aligned to the type. */
  void *data;
  /**
   * The number of elements that fit there: for `n` elements per embedding at least `(count - 1) * stride +
   * n`.
   */
  size_t capacity;
  /** As in kinglet_embedding_rows; what lies between embeddings is not written. */
  size_t stride;
} kinglet_embedding_codes;

/** Options of kinglet_embeddings_quantize. Zero is the default of every field. */
typedef struct kinglet_quantize_embeddings_options {
  /** sizeof(kinglet_quantize_embeddings_options). */
  size_t struct_size;
  /**
   * For int8 and uint8: `2 * dimension` values, as kinglet_embeddings_ranges gives them. Other types ignore
   * them. NULL: the ranges of the embeddings of this call.
   */
  const float *ranges;
} kinglet_quantize_embeddings_options;

/** Options of kinglet_embeddings_search. Zero is the default of every field. */
typedef struct kinglet_search_options {
  /** sizeof(kinglet_search_options). */
  size_t struct_size;
  /** Hits per query; all, if the corpus has fewer embeddings. 0: 10. */
  size_t top_k;
  /** What makes embeddings similar. */
  kinglet_similarity similarity;
  /**
   * Threads of the call, the caller's included; a small search takes only the caller's. 0: as many as the
   * process may run at once.
   */
  uint32_t threads;
  /** Cancels the call from another thread. NULL: none. */
  const kinglet_cancellation *cancellation;
  /**
   * For queries of float32 over a corpus of int8 or uint8, and only then: the ranges that the corpus was
   * quantised with, `2 * dimension` values.
   */
  const float *ranges;
  /**
   * For queries of float32 over a corpus of int8, uint8 or a binary type, and only then: `top_k` times so
   * many candidates are found by their codes, of which the best are kept by the product of the query's own
   * values with the codes (bits are 0 and 1). 0: 2.
   */
  size_t rescore_multiplier;
} kinglet_search_options;

/** Where kinglet_embeddings_search writes. Nothing is written if the call fails. */
typedef struct kinglet_search_buffer {
  /** sizeof(kinglet_search_buffer), set by the caller. */
  size_t struct_size;
  /** Receives for each query the numbers of its hits in the corpus. */
  int64_t *indices;
  /** Receives their scores. */
  float *scores;
  /** The number of values that fit into each: at least the number of queries times the hits per query. */
  size_t capacity;
} kinglet_search_buffer;

/**
 * Writes the range of each dimension among embeddings of float32 to `ranges`, which has room for `capacity`
 * values, at least `2 * dimension`: the least value of each dimension, then the greatest of each. Fails with
 * KINGLET_STATUS_INVALID_ARGUMENT if there is no embedding, or a value that is not finite.
 */
KINGLET_API kinglet_status kinglet_embeddings_ranges(
    const kinglet_embedding_rows *embeddings,
    float *ranges,
    size_t capacity,
    kinglet_error **error);

/**
 * Writes embeddings of float32 in another type, as sentence-transformers' `quantize_embeddings` does. int8
 * and uint8 are `floor((value - least) / step)` within 0 and 255, where a step is a 255th of the dimension's
 * range (1 for an empty range); int8 is less by 128. Codes that are compared must have the same ranges: give
 * those of the corpus to the calls for its queries. `options` may be NULL. Fails with
 * KINGLET_STATUS_INVALID_ARGUMENT for a NaN, for ranges that are none, and for a buffer that is too small;
 * nothing is written then.
 */
KINGLET_API kinglet_status kinglet_embeddings_quantize(
    const kinglet_embedding_rows *embeddings,
    const kinglet_quantize_embeddings_options *options,
    const kinglet_embedding_codes *codes,
    kinglet_error **error);

/**
 * Finds for each query the embeddings of the corpus that are most similar to it, exactly, by comparing it
 * with all of them. The first query's hits come first, the most similar one first, and the lower number of
 * two that are equal; each query has `top_k` of them, or as many as the corpus has. Queries and corpus have
 * the same dimension and type, or queries are float32 or float16 and the corpus any of these two, or queries
 * are float32 and are quantised as the corpus is (`ranges`, `rescore_multiplier`). `options` may be NULL.
 * Scores do not depend on the number of threads, and those of codes not on the machine. The corpus is read in
 * place; the memory of the call grows with the hits only. Fails with KINGLET_STATUS_INVALID_ARGUMENT for
 * types that do not go together or a score that is NaN, KINGLET_STATUS_OUT_OF_MEMORY, or
 * KINGLET_STATUS_CANCELLED.
 */
KINGLET_API kinglet_status kinglet_embeddings_search(
    const kinglet_embedding_rows *queries,
    const kinglet_embedding_rows *corpus,
    const kinglet_search_options *options,
    const kinglet_search_buffer *buffer,
    kinglet_error **error);

/** @} */

/* ---- Classification -------------------------------------------------------------------------------------- */

/** @defgroup classification Classification
 *  @{ */

/** How the outputs of a classification head become scores. One of the KINGLET_SCORE_FUNCTION constants. */
typedef uint32_t kinglet_score_function;

/** The values of kinglet_score_function. */
enum kinglet_score_function_values {
  /**
   * As the model's files say: for a cross-encoder its activation_fn; for others softmax or sigmoid by
   * `problem_type`, and sigmoid to score pairs.
   */
  KINGLET_SCORE_FUNCTION_AUTO = 0,
  /** The outputs unchanged. */
  KINGLET_SCORE_FUNCTION_NONE = 1,
  /** Independent labels: each score is between 0 and 1. */
  KINGLET_SCORE_FUNCTION_SIGMOID = 2,
  /** Exclusive labels: the scores sum to 1. */
  KINGLET_SCORE_FUNCTION_SOFTMAX = 3,
  /** Each label by itself, between -1 and 1. */
  KINGLET_SCORE_FUNCTION_TANH = 4,
};

/** The short name of a value, for instance "tanh"; "unknown" for a number that this version does not know. */
KINGLET_API const char *kinglet_score_function_name(kinglet_score_function value);

/** How labelled tokens become entities. One of the KINGLET_AGGREGATION constants. */
typedef uint32_t kinglet_aggregation;

/** The values of kinglet_aggregation. */
enum kinglet_aggregation_values {
  /** The default: simple. */
  KINGLET_AGGREGATION_AUTO = 0,
  /** One entity per token, named by the full label, for instance `B-PER`. */
  KINGLET_AGGREGATION_NONE = 1,
  /**
   * One entity per run of adjacent tokens of the same kind, named without `B-` and `I-`; its score is their
   * mean.
   */
  KINGLET_AGGREGATION_SIMPLE = 2,
};

/**
 * The short name of a value, for instance "simple"; "unknown" for a number that this version does not know.
 */
KINGLET_API const char *kinglet_aggregation_name(kinglet_aggregation value);

/**
 * Options of kinglet_model_classify, kinglet_model_score and kinglet_model_classify_tokens. Zero is the
 * default of every field.
 */
typedef struct kinglet_classify_options {
  /** sizeof(kinglet_classify_options). */
  size_t struct_size;
  /** How outputs become scores. */
  kinglet_score_function function;
  /** Only for kinglet_model_classify_tokens; the other calls refuse any value but 0. */
  kinglet_aggregation aggregation;
  /**
   * The maximum number of tokens of a text or pair, special tokens included; longer ones are truncated. 0:
   * the model's maximum.
   */
  size_t max_length;
  /** Cancels the call from another thread. NULL: none. */
  const kinglet_cancellation *cancellation;
  /**
   * The name of a prompt in the model's config_sentence_transformers.json, which is put before each text or
   * first text of a pair. Empty: its `default_prompt_name`, if it has one. Not for
   * kinglet_model_classify_tokens.
   */
  kinglet_str prompt_name;
  /**
   * A prompt that is put there; `prompt_name` is then ignored. With `data` not NULL and `size` 0: no prompt.
   */
  kinglet_str prompt;
  /** How urgent the call is. */
  kinglet_priority priority;
  /**
   * Milliseconds after which the call fails with KINGLET_STATUS_DEADLINE_EXCEEDED if it is not done, whether
   * it runs or waits. 0: none.
   */
  uint32_t deadline_ms;
} kinglet_classify_options;

/** The scores of a batch of texts or pairs. */
typedef struct kinglet_classifications kinglet_classifications;

/**
 * Classifies `count` texts, or `count` pairs if `pairs` is not NULL: then it holds the second texts.
 * `options` may be NULL. `*classifications` receives the scores. Fails with KINGLET_STATUS_UNSUPPORTED if the
 * model has no head for it, KINGLET_STATUS_OUT_OF_MEMORY, or KINGLET_STATUS_CANCELLED.
 */
KINGLET_API KINGLET_WARN_UNUSED kinglet_status kinglet_model_classify(
    const kinglet_model *model,
    const kinglet_str *texts,
    const kinglet_str *pairs,
    size_t count,
    const kinglet_classify_options *options,
    kinglet_classifications **classifications,
    kinglet_error **error);

/**
 * Scores `count` pairs of a query and a document with a cross-encoder: one score per pair. That is a model
 * with one output, or a decoder whose files have sentence-transformers' module `LogitScore`
 * (docs/sentence-transformers.md). `options` may be NULL. `*classifications` receives the scores, with a
 * `label_count` of 1. Fails with KINGLET_STATUS_UNSUPPORTED if the model is no cross-encoder,
 * KINGLET_STATUS_OUT_OF_MEMORY, or KINGLET_STATUS_CANCELLED.
 */
KINGLET_API KINGLET_WARN_UNUSED kinglet_status kinglet_model_score(
    const kinglet_model *model,
    const kinglet_str *queries,
    const kinglet_str *documents,
    size_t count,
    const kinglet_classify_options *options,
    kinglet_classifications **classifications,
    kinglet_error **error);

/** The number of texts or pairs; 0 if `classifications` is NULL. */
KINGLET_API size_t kinglet_classifications_count(const kinglet_classifications *classifications);

/**
 * The scores of text or pair number `index`: one per label. Valid until the classifications are freed. NULL
 * if `classifications` is NULL or there is no such text.
 */
KINGLET_API const float *kinglet_classifications_scores(
    const kinglet_classifications *classifications,
    size_t index);

/** The contents of a kinglet_classifications. */
typedef struct kinglet_classifications_view {
  /** sizeof(kinglet_classifications_view), set by the caller. */
  size_t struct_size;
  /** Texts or pairs in the batch. */
  size_t count;
  /** Scores per text; kinglet_model_view has the names of the labels. */
  size_t label_count;
  /** The scores of the texts one after the other: `count * label_count` values. */
  const float *scores;
  /** `count` values: the label with the highest score. */
  const uint32_t *best;
  /** `count` values: the tokens of each text or pair, special tokens included. */
  const size_t *token_counts;
  /** `count` values: 1 for those that were truncated, else 0. */
  const uint8_t *truncated;
} kinglet_classifications_view;

/** Fills `view`, which is valid until the classifications are freed. */
KINGLET_API kinglet_status kinglet_classifications_read(
    const kinglet_classifications *classifications,
    kinglet_classifications_view *view,
    kinglet_error **error);

/** Frees classifications and everything borrowed from them. */
KINGLET_API void kinglet_classifications_free(kinglet_classifications *classifications);

/** @} */

/* ---- Reranking ------------------------------------------------------------------------------------------- */

/** @defgroup reranking Reranking
 *  @{ */

/** Options of kinglet_model_rerank. Zero is the default of every field. */
typedef struct kinglet_rerank_options {
  /** sizeof(kinglet_rerank_options). */
  size_t struct_size;
  /** The most documents in the ranking. 0: all. */
  size_t top_n;
  /**
   * How pairs are scored, as by kinglet_model_score: the function, the maximum length, an instruction
   * (`prompt`), the cancellation and so on. NULL: the defaults.
   */
  const kinglet_classify_options *scoring;
} kinglet_rerank_options;

/** Documents in the order of how well they answer a query. */
typedef struct kinglet_ranking kinglet_ranking;

/**
 * Scores `count` documents for one query, as kinglet_model_score does with pairs, and sorts them: the best
 * first, the lower number of two that are equal first. `options` may be NULL. `*ranking` receives the result.
 * Fails as kinglet_model_score does.
 */
KINGLET_API KINGLET_WARN_UNUSED kinglet_status kinglet_model_rerank(
    const kinglet_model *model,
    kinglet_str query,
    const kinglet_str *documents,
    size_t count,
    const kinglet_rerank_options *options,
    kinglet_ranking **ranking,
    kinglet_error **error);

/** The contents of a kinglet_ranking. */
typedef struct kinglet_ranking_view {
  /** sizeof(kinglet_ranking_view), set by the caller. */
  size_t struct_size;
  /** Documents in the ranking: `top_n`, or all if there are fewer. */
  size_t count;
  /** `count` values, the best first: the numbers of the documents. */
  const size_t *indices;
  /** `count` values: their scores. */
  const float *scores;
  /** Documents of the call. */
  size_t document_count;
  /**
   * `document_count` values, in the order of the call: the tokens of the query with each document, special
   * tokens included.
   */
  const size_t *token_counts;
  /** `document_count` values: 1 for pairs that were truncated, else 0. */
  const uint8_t *truncated;
} kinglet_ranking_view;

/** Fills `view`, which is valid until the ranking is freed. */
KINGLET_API kinglet_status kinglet_ranking_read(
    const kinglet_ranking *ranking,
    kinglet_ranking_view *view,
    kinglet_error **error);

/** Frees a ranking and everything borrowed from it. */
KINGLET_API void kinglet_ranking_free(kinglet_ranking *ranking);

/** @} */

/* ---- Token classification -------------------------------------------------------------------------------- */

/** @defgroup token_classification Token classification
 *  @{ */

/** The labelled tokens of a batch of texts. */
typedef struct kinglet_token_classifications kinglet_token_classifications;

/**
 * Labels the tokens of `count` texts, for instance the names in them. `options` may be NULL.
 * `*classifications` receives the result. Fails with KINGLET_STATUS_UNSUPPORTED if the model has no head for
 * it, KINGLET_STATUS_OUT_OF_MEMORY, or KINGLET_STATUS_CANCELLED.
 */
KINGLET_API KINGLET_WARN_UNUSED kinglet_status kinglet_model_classify_tokens(
    const kinglet_model *model,
    const kinglet_str *texts,
    size_t count,
    const kinglet_classify_options *options,
    kinglet_token_classifications **classifications,
    kinglet_error **error);

/** The contents of a kinglet_token_classifications. */
typedef struct kinglet_token_classifications_view {
  /** sizeof(kinglet_token_classifications_view), set by the caller. */
  size_t struct_size;
  /** Texts in the batch. */
  size_t count;
  /** Entities in all texts; kinglet_token_classifications_entity has each. */
  size_t entity_count;
  /** Tokens in all texts, special tokens included. */
  size_t token_count;
  /** Scores per token; kinglet_model_view has the names of the labels. */
  size_t label_count;
  /** The scores of the tokens one after the other: `token_count * label_count` values. */
  const float *scores;
  /** `count + 1` values: the tokens of text i are those from `starts[i]` to `starts[i + 1]` (exclusive). */
  const size_t *starts;
  /** `count` values: 1 for texts that were truncated, else 0. */
  const uint8_t *truncated;
} kinglet_token_classifications_view;

/** Fills `view`, which is valid until the token classifications are freed. */
KINGLET_API kinglet_status kinglet_token_classifications_read(
    const kinglet_token_classifications *classifications,
    kinglet_token_classifications_view *view,
    kinglet_error **error);

/** A labelled part of a text. */
typedef struct kinglet_entity {
  /** sizeof(kinglet_entity), set by the caller. */
  size_t struct_size;
  /** The number of the text in the batch. */
  size_t text;
  /** Its first byte in that text. */
  size_t start;
  /** The byte after its last one. */
  size_t end;
  /** The label, or with KINGLET_AGGREGATION_SIMPLE the label without `B-` or `I-`. */
  kinglet_str name;
  /** The number of the label of its first token. */
  uint32_t label;
  /** The score of the label, or with KINGLET_AGGREGATION_SIMPLE the mean over its tokens. */
  float score;
} kinglet_entity;

/**
 * Fills `entity` with entity number `index`, valid until the token classifications are freed. Entities are in
 * the order of the texts; tokens labelled `O` make none. Fails with KINGLET_STATUS_INVALID_ARGUMENT if there
 * is no such entity.
 */
KINGLET_API kinglet_status kinglet_token_classifications_entity(
    const kinglet_token_classifications *classifications,
    size_t index,
    kinglet_entity *entity,
    kinglet_error **error);

/** Frees token classifications and everything borrowed from them. */
KINGLET_API void kinglet_token_classifications_free(kinglet_token_classifications *classifications);

/** @} */

/* ---- Zero-shot classification ---------------------------------------------------------------------------- */

/** @defgroup zero-shot_classification Zero-shot classification
 *  @{ */

/** Options of kinglet_model_classify_zero_shot. Zero is the default of every field. */
typedef struct kinglet_zero_shot_options {
  /** sizeof(kinglet_zero_shot_options). */
  size_t struct_size;
  /** The hypothesis about a label, which takes the place of `{}`. Empty: `This example is {}.` */
  kinglet_str hypothesis_template;
  /**
   * The maximum number of tokens of a text with a hypothesis, special tokens included. The text is truncated,
   * never the hypothesis. 0: the model's maximum.
   */
  size_t max_length;
  /** Cancels the call from another thread. NULL: none. */
  const kinglet_cancellation *cancellation;
  /**
   * 1: a text may have several labels, and each score is between 0 and 1 on its own. 0: the scores of a text
   * sum to 1, unless there is only one label.
   */
  uint32_t multi_label;
  /** Must be 0. */
  uint32_t reserved;
  /** How urgent the call is. */
  kinglet_priority priority;
  /**
   * Milliseconds after which the call fails with KINGLET_STATUS_DEADLINE_EXCEEDED if it is not done, whether
   * it runs or waits. 0: none.
   */
  uint32_t deadline_ms;
} kinglet_zero_shot_options;

/** The labels of a batch of texts, sorted by their scores. */
typedef struct kinglet_zero_shot_results kinglet_zero_shot_results;

/**
 * Classifies `count` texts by `label_count` labels with a model of natural language inference, which scores
 * whether a text entails a hypothesis about each label. `options` may be NULL. `*results` receives the labels
 * of each text, sorted. Fails with KINGLET_STATUS_UNSUPPORTED if no label of the model begins with "entail"
 * (the message names its labels), KINGLET_STATUS_INVALID_ARGUMENT for no label, an empty one, or one that
 * leaves no room for a text; KINGLET_STATUS_OUT_OF_MEMORY, or KINGLET_STATUS_CANCELLED.
 */
KINGLET_API KINGLET_WARN_UNUSED kinglet_status kinglet_model_classify_zero_shot(
    const kinglet_model *model,
    const kinglet_str *texts,
    size_t count,
    const kinglet_str *labels,
    size_t label_count,
    const kinglet_zero_shot_options *options,
    kinglet_zero_shot_results **results,
    kinglet_error **error);

/** The contents of a kinglet_zero_shot_results. */
typedef struct kinglet_zero_shot_results_view {
  /** sizeof(kinglet_zero_shot_results_view), set by the caller. */
  size_t struct_size;
  /** Texts in the batch. */
  size_t count;
  /** Labels of the call. */
  size_t label_count;
  /**
   * `count * label_count` values, text by text: the numbers of the labels, the likeliest first; of equal ones
   * the lower number first.
   */
  const uint32_t *labels;
  /** `count * label_count` values: their scores, in the same order. */
  const float *scores;
  /** `count` values: the tokens of each text with all hypotheses, special tokens included. */
  const size_t *token_counts;
  /** `count` values: 1 for texts that were truncated for at least one hypothesis, else 0. */
  const uint8_t *truncated;
} kinglet_zero_shot_results_view;

/** Fills `view`, which is valid until the results are freed. */
KINGLET_API kinglet_status kinglet_zero_shot_results_read(
    const kinglet_zero_shot_results *results,
    kinglet_zero_shot_results_view *view,
    kinglet_error **error);

/** Frees results and everything borrowed from them. */
KINGLET_API void kinglet_zero_shot_results_free(kinglet_zero_shot_results *results);

/** @} */

/* ---- Filling masks --------------------------------------------------------------------------------------- */

/** @defgroup filling_masks Filling masks
 *  @{ */

/** Options of kinglet_model_fill_mask. Zero is the default of every field. */
typedef struct kinglet_fill_mask_options {
  /** sizeof(kinglet_fill_mask_options). */
  size_t struct_size;
  /** The tokens of each mask, the likeliest ones. 0: 5. */
  size_t top_k;
  /**
   * `target_count` texts: only these tokens are looked at. If a target is not one token, its first token is
   * used, and a warning is logged. NULL: the whole vocabulary.
   */
  const kinglet_str *targets;
  /** The number of targets. */
  size_t target_count;
  /**
   * The maximum number of tokens of a text, special tokens included; longer texts are truncated. 0: the
   * model's maximum.
   */
  size_t max_length;
  /** Cancels the call from another thread. NULL: none. */
  const kinglet_cancellation *cancellation;
  /** How urgent the call is. */
  kinglet_priority priority;
  /**
   * Milliseconds after which the call fails with KINGLET_STATUS_DEADLINE_EXCEEDED if it is not done, whether
   * it runs or waits. 0: none.
   */
  uint32_t deadline_ms;
} kinglet_fill_mask_options;

/** The tokens for the masks of a batch of texts. */
typedef struct kinglet_mask_fills kinglet_mask_fills;

/**
 * Finds the likeliest tokens for each mask token (`[MASK]`, `<mask>`) of `count` texts with a masked language
 * model. `options` may be NULL. `*fills` receives them. Fails with KINGLET_STATUS_INVALID_ARGUMENT for a text
 * without a mask token, which the message names, or a target without a token; KINGLET_STATUS_UNSUPPORTED if
 * the model has no masked language head, KINGLET_STATUS_OUT_OF_MEMORY, or KINGLET_STATUS_CANCELLED.
 */
KINGLET_API KINGLET_WARN_UNUSED kinglet_status kinglet_model_fill_mask(
    const kinglet_model *model,
    const kinglet_str *texts,
    size_t count,
    const kinglet_fill_mask_options *options,
    kinglet_mask_fills **fills,
    kinglet_error **error);

/** The contents of a kinglet_mask_fills. */
typedef struct kinglet_mask_fills_view {
  /** sizeof(kinglet_mask_fills_view), set by the caller. */
  size_t struct_size;
  /** Texts in the batch. */
  size_t count;
  /** Masks in all texts. */
  size_t mask_count;
  /** Tokens for each mask: `top_k` of the call, or fewer if there are fewer targets. */
  size_t top_k;
  /** `count + 1` values: the masks of text i are those from `starts[i]` to `starts[i + 1]` (exclusive). */
  const size_t *starts;
  /** `count` values: the tokens of each text, special tokens included. */
  const size_t *token_counts;
  /** `count` values: 1 for texts that were truncated, else 0. */
  const uint8_t *truncated;
} kinglet_mask_fills_view;

/** Fills `view`, which is valid until the fills are freed. */
KINGLET_API kinglet_status kinglet_mask_fills_read(
    const kinglet_mask_fills *fills,
    kinglet_mask_fills_view *view,
    kinglet_error **error);

/** A token for a mask. */
typedef struct kinglet_mask_fill {
  /** sizeof(kinglet_mask_fill), set by the caller. */
  size_t struct_size;
  /** The token's id. */
  uint32_t token;
  /** Its probability among all tokens of the vocabulary. */
  float score;
  /** The token as text. */
  kinglet_str token_text;
  /** The text with the token in the place of the mask; if it has several masks, with its special tokens. */
  kinglet_str sequence;
} kinglet_mask_fill;

/**
 * Fills `fill` with a token, valid until the fills are freed: of `mask`, counted through all texts, the token
 * number `rank`, of which 0 is the likeliest. Fails with KINGLET_STATUS_INVALID_ARGUMENT if there is no such
 * mask or token.
 */
KINGLET_API kinglet_status kinglet_mask_fills_fill(
    const kinglet_mask_fills *fills,
    size_t mask,
    size_t rank,
    kinglet_mask_fill *fill,
    kinglet_error **error);

/** Frees fills and everything borrowed from them. */
KINGLET_API void kinglet_mask_fills_free(kinglet_mask_fills *fills);

/** @} */

/* ---- Compression of documents ---------------------------------------------------------------------------- */

/** @defgroup compression_of_documents Compression of documents
 *  @{ */

/** How the units of a document are scored. One of the KINGLET_COMPRESS_METHOD constants. */
typedef uint32_t kinglet_compress_method;

/** The values of kinglet_compress_method. */
enum kinglet_compress_method_values {
  /**
   * By the model: a token classifier; a decoder, unless it has sentence-transformers' files; else sentence
   * embeddings.
   */
  KINGLET_COMPRESS_METHOD_AUTO = 0,
  /** The probability of the label of tokens to keep, by a token classifier (LLMLingua-2). */
  KINGLET_COMPRESS_METHOD_TOKEN_CLASSIFIER = 1,
  /** `-ln p` of tokens given those before, by a decoder (Selective Context). */
  KINGLET_COMPRESS_METHOD_SELF_INFORMATION = 2,
  /** The relevance and novelty of sentences by their embeddings (maximal marginal relevance). */
  KINGLET_COMPRESS_METHOD_SENTENCE_EMBEDDINGS = 3,
};

/**
 * The short name of a value, for instance "sentence_embeddings"; "unknown" for a number that this version
 * does not know.
 */
KINGLET_API const char *kinglet_compress_method_name(kinglet_compress_method value);

/** What is kept or dropped as a whole. One of the KINGLET_COMPRESS_UNIT constants. */
typedef uint32_t kinglet_compress_unit;

/** The values of kinglet_compress_unit. */
enum kinglet_compress_unit_values {
  /** Words for a token classifier, else sentences. */
  KINGLET_COMPRESS_UNIT_AUTO = 0,
  /** A token of the model's tokenizer. */
  KINGLET_COMPRESS_UNIT_TOKEN = 1,
  /** What stands between spaces, without the punctuation at its ends, which is a unit of its own. */
  KINGLET_COMPRESS_UNIT_WORD = 2,
  /** A sentence; a long list or table is cut between words. */
  KINGLET_COMPRESS_UNIT_SENTENCE = 3,
};

/**
 * The short name of a value, for instance "sentence"; "unknown" for a number that this version does not know.
 */
KINGLET_API const char *kinglet_compress_unit_name(kinglet_compress_unit value);

/**
 * Options of kinglet_model_compress. Zero is the default of every field, but one of `ratio` and `max_tokens`
 * is required.
 */
typedef struct kinglet_compress_options {
  /** sizeof(kinglet_compress_options). */
  size_t struct_size;
  /** Tokens of the document for each token that is kept: a number above 1. 0: as `max_tokens` says. */
  double ratio;
  /**
   * The maximum number of tokens that are kept, by the model's own tokenizer and without special tokens. 0:
   * as `ratio` says.
   */
  size_t max_tokens;
  /** How units are scored. */
  kinglet_compress_method method;
  /** What is kept or dropped as a whole. */
  kinglet_compress_unit unit;
  /**
   * What sentences are to be relevant to. Empty: the mean of the document. Only for
   * KINGLET_COMPRESS_METHOD_SENTENCE_EMBEDDINGS.
   */
  kinglet_str query;
  /**
   * The label of tokens to keep. Empty: the one that is named so (`keep`, `preserve`), else the second of
   * two. Only for KINGLET_COMPRESS_METHOD_TOKEN_CLASSIFIER.
   */
  kinglet_str keep_label;
  /** Tokens that the model reads at once, special tokens included. 0: as many as it takes, at most 2048. */
  size_t window;
  /**
   * Tokens that two windows share, at most half of a window. 0: an eighth of a window. Not for
   * KINGLET_COMPRESS_METHOD_SENTENCE_EMBEDDINGS, which embeds each sentence alone.
   */
  size_t overlap;
  /**
   * How much the relevance of a sentence counts, from above 0 to 1; its novelty has the rest. 0: 0.7. Only
   * for KINGLET_COMPRESS_METHOD_SENTENCE_EMBEDDINGS.
   */
  float relevance;
  /** 1 keeps what has a digit. */
  uint32_t force_digits;
  /** 1 keeps words that begin with a capital letter and are not the first of a sentence. */
  uint32_t force_capitalized;
  /** Must be 0. */
  uint32_t reserved;
  /**
   * `force_token_count` words, or sequences of words, that are kept wherever they are. Upper and lower case
   * differ.
   */
  const kinglet_str *force_tokens;
  /** The number of texts in `force_tokens`. */
  size_t force_token_count;
  /** Cancels the call from another thread. NULL: none. */
  const kinglet_cancellation *cancellation;
  /** How urgent the call is. */
  kinglet_priority priority;
  /**
   * Milliseconds after which the call fails with KINGLET_STATUS_DEADLINE_EXCEEDED if it is not done, whether
   * it runs or waits. 0: none.
   */
  uint32_t deadline_ms;
} kinglet_compress_options;

/** A shortened document. */
typedef struct kinglet_compression kinglet_compression;

/**
 * Shortens a document of any length: the words or sentences that matter least are dropped, the others keep
 * their order. The document is read in windows. One that fits the budget is returned as it is. `*compression`
 * receives the result. Fails with KINGLET_STATUS_INVALID_ARGUMENT without `ratio` and `max_tokens` or with
 * both, for an option that the method does not have, and if the budget holds no unit, or not those that are
 * to be kept in any case; KINGLET_STATUS_UNSUPPORTED if the model does not serve the method;
 * KINGLET_STATUS_OUT_OF_MEMORY, or KINGLET_STATUS_CANCELLED.
 */
KINGLET_API KINGLET_WARN_UNUSED kinglet_status kinglet_model_compress(
    const kinglet_model *model,
    kinglet_str text,
    const kinglet_compress_options *options,
    kinglet_compression **compression,
    kinglet_error **error);

/** The contents of a kinglet_compression. */
typedef struct kinglet_compression_view {
  /** sizeof(kinglet_compression_view), set by the caller. */
  size_t struct_size;
  /**
   * The shortened text. Pieces that are not neighbours in the document are joined by a line break where a
   * line begins with the second or a paragraph ends between them, else by a space; by nothing where the
   * document has no space between them, or before punctuation.
   */
  kinglet_str text;
  /** `kept_count` stretches of the document, in order, that `text` is made of. */
  const kinglet_span *kept;
  /** The number of stretches. */
  size_t kept_count;
  /** Tokens of the document, without special tokens. */
  size_t tokens_before;
  /** Tokens of `text`, without special tokens. */
  size_t tokens_after;
  /**
   * What the model read: windows, or sentences where each is embedded alone. 0 for a document that fits as it
   * is.
   */
  size_t windows;
  /** The method; never AUTO. */
  kinglet_compress_method method;
  /** 0. */
  uint32_t reserved;
} kinglet_compression_view;

/** Fills `view`, which is valid until the compression is freed. */
KINGLET_API kinglet_status kinglet_compression_read(
    const kinglet_compression *compression,
    kinglet_compression_view *view,
    kinglet_error **error);

/** Frees a compression and everything borrowed from it. */
KINGLET_API void kinglet_compression_free(kinglet_compression *compression);

/** @} */

/* ---- Prompt prefixes ------------------------------------------------------------------------------------- */

/** @defgroup prompt_prefixes Prompt prefixes
 *  @{ */

/**
 * The first tokens of prompts, for instance a system prompt, with their keys and values computed. It holds a
 * reference to its model.
 */
typedef struct kinglet_prefix kinglet_prefix;

/** Options of kinglet_prefix_new. Zero is the default of every field. */
typedef struct kinglet_prefix_options {
  /** sizeof(kinglet_prefix_options). */
  size_t struct_size;
  /**
   * Whether the tokenizer's special tokens are added to the text, as it will be for the prompts. AUTO: yes.
   */
  kinglet_tristate add_special_tokens;
  /** Must be 0. */
  uint32_t reserved;
  /** Cancels the call from another thread. NULL: none. */
  const kinglet_cancellation *cancellation;
} kinglet_prefix_options;

/**
 * Computes and caches the beginning of prompts, for `prefix` in kinglet_generate_options. A prompt reuses the
 * cached part as far as its first tokens are the same. `options` may be NULL. `*prefix` receives the prefix.
 * Fails with KINGLET_STATUS_UNSUPPORTED if the model is not a decoder, KINGLET_STATUS_INVALID_ARGUMENT for a
 * text that is longer than the model takes, KINGLET_STATUS_OUT_OF_MEMORY, or KINGLET_STATUS_CANCELLED.
 */
KINGLET_API KINGLET_WARN_UNUSED kinglet_status kinglet_prefix_new(
    const kinglet_model *model,
    kinglet_str text,
    const kinglet_prefix_options *options,
    kinglet_prefix **prefix,
    kinglet_error **error);

/** Frees a prefix. Calls that were given it and have begun may still run. */
KINGLET_API void kinglet_prefix_free(kinglet_prefix *prefix);

/** @} */

/* ---- Options of generation ------------------------------------------------------------------------------- */

/** @defgroup options_of_generation Options of generation
 *  @{ */

/** A count or a token id of kinglet_generate_options that is not set. */
#define KINGLET_UNSET UINT64_MAX

/** When beam search stops. One of the KINGLET_EARLY_STOPPING constants. */
typedef uint32_t kinglet_early_stopping;

/** The values of kinglet_early_stopping. */
enum kinglet_early_stopping_values {
  /** As the model's files say; where they are silent, as the value `no`. */
  KINGLET_EARLY_STOPPING_AUTO = 0,
  /** When the best running beam, scored at its present length, cannot beat the worst finished one. */
  KINGLET_EARLY_STOPPING_NO = 1,
  /** As soon as there are as many finished beams as `num_beams`. */
  KINGLET_EARLY_STOPPING_YES = 2,
  /** When no running beam can beat the worst finished one at any length. */
  KINGLET_EARLY_STOPPING_NEVER = 3,
};

/**
 * The short name of a value, for instance "never"; "unknown" for a number that this version does not know.
 */
KINGLET_API const char *kinglet_early_stopping_name(kinglet_early_stopping value);

/** What constrains a generated text. One of the KINGLET_GRAMMAR_KIND constants. */
typedef uint32_t kinglet_grammar_kind;

/** The values of kinglet_grammar_kind. */
enum kinglet_grammar_kind_values {
  /** Nothing. */
  KINGLET_GRAMMAR_KIND_NONE = 0,
  /** A JSON schema: the text is JSON that satisfies it. */
  KINGLET_GRAMMAR_KIND_JSON_SCHEMA = 1,
  /** A regular expression that matches the whole text. */
  KINGLET_GRAMMAR_KIND_REGEX = 2,
  /** A grammar in llguidance's variant of Lark. */
  KINGLET_GRAMMAR_KIND_LARK = 3,
};

/** The short name of a value, for instance "lark"; "unknown" for a number that this version does not know. */
KINGLET_API const char *kinglet_grammar_kind_name(kinglet_grammar_kind value);

/**
 * What becomes of a JSON schema with keywords that cannot be enforced while the text is generated:
 * `uniqueItems` over many values, a `oneOf` whose alternatives cannot be told apart, and the like. One of the
 * KINGLET_SCHEMA_MODE constants.
 */
typedef uint32_t kinglet_schema_mode;

/** The values of kinglet_schema_mode. */
enum kinglet_schema_mode_values {
  /** The default: KINGLET_SCHEMA_MODE_CHECK. */
  KINGLET_SCHEMA_MODE_AUTO = 0,
  /**
   * The finished text is checked against the whole schema. One that does not satisfy it has
   * KINGLET_FINISH_REASON_SCHEMA_MISMATCH.
   */
  KINGLET_SCHEMA_MODE_CHECK = 1,
  /** The schema is refused; the error has the JSON pointers of these keywords. */
  KINGLET_SCHEMA_MODE_STRICT = 2,
};

/**
 * The short name of a value, for instance "strict"; "unknown" for a number that this version does not know.
 */
KINGLET_API const char *kinglet_schema_mode_name(kinglet_schema_mode value);

/** Why a text ended. One of the KINGLET_FINISH_REASON constants. */
typedef uint32_t kinglet_finish_reason;

/** The values of kinglet_finish_reason. */
enum kinglet_finish_reason_values {
  /** The text is not finished. */
  KINGLET_FINISH_REASON_NONE = 0,
  /** The model chose an end token, or the grammar allowed nothing more. */
  KINGLET_FINISH_REASON_EOS = 1,
  /** A stop string was generated. */
  KINGLET_FINISH_REASON_STOP_STRING = 2,
  /** `max_new_tokens` or the model's maximum length was reached. */
  KINGLET_FINISH_REASON_LENGTH = 3,
  /**
   * The text is complete, but does not satisfy a part of the JSON schema that cannot be enforced while it is
   * generated.
   */
  KINGLET_FINISH_REASON_SCHEMA_MISMATCH = 4,
};

/**
 * The short name of a value, for instance "schema_mismatch"; "unknown" for a number that this version does
 * not know.
 */
KINGLET_API const char *kinglet_finish_reason_name(kinglet_finish_reason value);

/**
 * A part of a text while it is generated. Later versions may add fields at the end; `struct_size` is set by
 * the library. Valid during the callback.
 */
typedef struct kinglet_generation_piece {
  /** Set by the library to the size of its own version of the struct. */
  size_t struct_size;
  /** The number of the input in the call. */
  size_t index;
  /** The number of the output, if several are sampled for one input. */
  size_t sequence;
  /** The text since the last piece: whole characters, possibly none. */
  kinglet_str text;
  /** The token of this step. */
  uint32_t token;
  /** KINGLET_FINISH_REASON_NONE, except in the text's last piece. */
  kinglet_finish_reason finish_reason;
} kinglet_generation_piece;

/**
 * Receives a piece of text, on the thread that made the call. Returning 0 cancels the call; any other value
 * continues. It may call Kinglet, except functions of the session that is generating: those fail with
 * KINGLET_STATUS_INVALID_ARGUMENT.
 */
typedef uint32_t (*kinglet_piece_callback)(void *user_data, const kinglet_generation_piece *piece);

/**
 * Options of kinglet_model_generate, kinglet_model_generate_ids, kinglet_session_send and
 * kinglet_session_reply, by the names of Hugging Face. What is unset is decided by the model's
 * generation_config.json; the default that a field names is for models whose file does not decide. Options
 * that contradict each other are refused with a message that names them.
 *
 * Zero is a meaningful value of many fields, so this struct must be filled by kinglet_generate_options_init;
 * one that is all zeros is refused, because `max_new_tokens` is 0. Unset is:
 *
 * | type                                        | unset                        |
 * |---------------------------------------------|------------------------------|
 * | count or token id (uint64_t)                | KINGLET_UNSET                |
 * | number (float)                              | NAN                          |
 * | kinglet_tristate and other enumerations     | 0 (AUTO or NONE)             |
 * | list (kinglet_ids, pointer and count)       | count 0                      |
 * | pointer                                     | NULL                         |
 * | `seed`                                      | `has_seed` 0                 |
 *
 * In fields that later versions add, zero means unset.
 */
typedef struct kinglet_generate_options {
  /** sizeof(kinglet_generate_options). */
  size_t struct_size;
  /** The maximum number of tokens to generate, at least 1. Default 256. */
  uint64_t max_new_tokens;
  /** No end token is chosen before this many tokens. Default 0. */
  uint64_t min_new_tokens;
  /** Beams of beam search; 1 is greedy search or sampling. Default 1. */
  uint64_t num_beams;
  /** Outputs per input: the best beams, or samples. Default 1. */
  uint64_t num_return_sequences;
  /**
   * Prompt-lookup decoding (a form of speculative decoding): proposes up to this many tokens by finding the
   * last tokens earlier in the prompt, the output or the source text. Only tokens that the model would have
   * chosen are kept, so the output is the same, but comes faster where text repeats. Not with `do_sample` or
   * beams. 0: off. Default 0.
   */
  uint64_t prompt_lookup_num_tokens;
  /** With `prompt_lookup_num_tokens`: the most last tokens that are searched for. Default 2. */
  uint64_t max_matching_ngram_size;
  /** No sequence of this many tokens occurs twice; 0: no restriction. Default 0. */
  uint64_t no_repeat_ngram_size;
  /** With `do_sample`: samples among this many most likely tokens; 0: among all. Default 0. */
  uint64_t top_k;
  /**
   * With `do_sample`: the same seed samples the same tokens for the same prompt. Only if `has_seed` is 1;
   * otherwise each call has another seed.
   */
  uint64_t seed;
  /** 1 if `seed` is set, else 0. */
  uint32_t has_seed;
  /** Samples tokens instead of choosing the most likely one. Default no. */
  kinglet_tristate do_sample;
  /** With `do_sample`: divides the logits before sampling. Default 1. */
  float temperature;
  /**
   * With `do_sample`: nucleus sampling; keeps the most likely tokens whose probabilities add up to this.
   * Default 1.
   */
  float top_p;
  /**
   * With `do_sample`: keeps tokens with at least this fraction of the most likely token's probability.
   * Default 0.
   */
  float min_p;
  /**
   * With `do_sample`: locally typical sampling; keeps the tokens whose information content is closest to the
   * entropy, until their probabilities add up to this. Default 1.
   */
  float typical_p;
  /** Above 1: makes tokens of the prompt and the output less likely. Default 1. */
  float repetition_penalty;
  /** Subtracted once from the logit of each token that was generated. Default 0. */
  float presence_penalty;
  /** Subtracted from the logit of each token as often as it was generated. Default 0. */
  float frequency_penalty;
  /** With beams: a beam's score is its log-probability divided by length^length_penalty. Default 1. */
  float length_penalty;
  /** With beams: when the search stops. */
  kinglet_early_stopping early_stopping;
  /** 1 never chooses an end token; 0 is the default. */
  uint32_t ignore_eos;
  /** 1 returns the log-probability of each token; 0 is the default. */
  uint32_t logprobs;
  /** Adds the tokenizer's special tokens to the input. Default yes. */
  kinglet_tristate add_special_tokens;
  /** Leaves special tokens out of the text. Default yes. */
  kinglet_tristate skip_special_tokens;
  /** What `grammar` is. */
  kinglet_grammar_kind grammar_kind;
  /** The schema, the expression or the grammar. */
  kinglet_str grammar;
  /** The text ends before the first of these strings, `stop_string_count` of them. */
  const kinglet_str *stop_strings;
  /** The number of `stop_strings`. */
  size_t stop_string_count;
  /** Token sequences that are never generated, `bad_word_count` of them. */
  const kinglet_ids *bad_words_ids;
  /** The number of `bad_words_ids`. */
  size_t bad_word_count;
  /** Tokens that are never generated. */
  kinglet_ids suppress_tokens;
  /** Tokens that are not generated as the first one. */
  kinglet_ids begin_suppress_tokens;
  /** The end tokens. */
  kinglet_ids eos_token_ids;
  /** The last token if `max_new_tokens` is reached: one of these. */
  kinglet_ids forced_eos_token_ids;
  /** The first token that an encoder-decoder model generates. */
  uint64_t forced_bos_token_id;
  /** The token that the decoder of an encoder-decoder model starts from. */
  uint64_t decoder_start_token_id;
  /** A prompt prefix that was computed before. NULL: none. */
  const kinglet_prefix *prefix;
  /** Cancels the call from another thread, within one step. NULL: none. */
  const kinglet_cancellation *cancellation;
  /** Receives the texts while they are generated; needs `num_beams` 1. NULL: none. */
  kinglet_piece_callback on_piece;
  /** The first argument of `on_piece`. */
  void *on_piece_user_data;
  /**
   * No sequence of this many tokens of the source text, or of the prompt if the model has no encoder, is
   * generated. 0: unset, by default no restriction. A size beyond that of any text, for instance UINT32_MAX,
   * lifts a restriction of the model's files.
   */
  uint64_t encoder_no_repeat_ngram_size;
  /**
   * With `exponential_decay_factor`: the number of generated tokens after which end tokens become more
   * likely.
   */
  uint64_t exponential_decay_start;
  /**
   * Hugging Face's exponential_decay_length_penalty: with each token beyond `exponential_decay_start` end
   * tokens gain by this factor. 0: unset, by default 1, which changes nothing.
   */
  float exponential_decay_factor;
  /**
   * Above 1: makes tokens of the source text, or of the prompt if the model has no encoder, more likely. 0:
   * unset, by default 1, which changes nothing.
   */
  float encoder_repetition_penalty;
  /**
   * Token sequences whose last token's logit changes where the tokens before it are there,
   * `sequence_bias_count` of them.
   */
  const kinglet_ids *sequence_bias_ids;
  /** What is added to these logits, `sequence_bias_count` finite numbers. */
  const float *sequence_bias;
  /** The number of `sequence_bias_ids` and of `sequence_bias`. */
  size_t sequence_bias_count;
  /**
   * Tokens that the decoder of an encoder-decoder model continues, after its start token,
   * `decoder_input_count` lists: one for all inputs, or one per input. They are not part of the output. Not
   * with `decoder_input_texts`.
   */
  const kinglet_ids *decoder_input_ids;
  /** The number of `decoder_input_ids`. */
  size_t decoder_input_count;
  /** As `decoder_input_ids`, as texts, `decoder_input_text_count` of them. */
  const kinglet_str *decoder_input_texts;
  /** The number of `decoder_input_texts`. */
  size_t decoder_input_text_count;
  /**
   * The most tokens of an input text, special tokens included; longer texts are cut, on the side that the
   * tokenizer's files name. It may be more than the limit of the model's files, up to the model's positions.
   * 0: a source text is cut at the files' limit, and a prompt of a model without an encoder is not cut. Not
   * for token ids and chats.
   */
  uint64_t max_input_length;
  /**
   * With KINGLET_GRAMMAR_KIND_JSON_SCHEMA: what becomes of keywords that cannot be enforced while the text is
   * generated.
   */
  kinglet_schema_mode schema_mode;
  /** How urgent the call is. */
  kinglet_priority priority;
  /**
   * Milliseconds after which the call fails with KINGLET_STATUS_DEADLINE_EXCEEDED if it is not done, whether
   * it runs or waits. 0: none.
   */
  uint32_t deadline_ms;
  /** Must be 0. */
  uint32_t reserved;
  /**
   * The most work that compiling `grammar` may take, in steps of its compiler, of which a core does about a
   * million in a second or two; each mask may take a fifth of it. A grammar that needs more is refused, on
   * every machine alike. 0: 1,000,000.
   */
  uint64_t grammar_work_limit;
  /**
   * The most memory that the compiled `grammar` may take, in bytes (estimated). A grammar that needs more is
   * refused, or ends the generation with an error. 0: 256 MB.
   */
  uint64_t grammar_memory_limit;
  /**
   * Of a session with tools: which of them the model is to call. `auto`: the model decides; `none`: none, and
   * the prompt does not name them; `required`: one or more; the name of a tool: this one, once. With the last
   * two the text is constrained to calls whose arguments satisfy the tools' schemas. Empty: auto.
   */
  kinglet_str tool_choice;
} kinglet_generate_options;

/**
 * Sets every field to unset, and `struct_size`, which is sizeof(kinglet_generate_options). NULL is ignored.
 */
KINGLET_API void kinglet_generate_options_init(kinglet_generate_options *options, size_t struct_size);

/** @} */

/* ---- Generation ------------------------------------------------------------------------------------------ */

/** @defgroup generation Generation
 *  @{ */

/** The outputs for a batch of inputs. */
typedef struct kinglet_generations kinglet_generations;

/**
 * Generates text for `count` prompts or, if the model has an encoder, from `count` source texts. `options`
 * may be NULL. `*generations` receives the outputs. Fails with KINGLET_STATUS_UNSUPPORTED if the model does
 * not generate text, KINGLET_STATUS_INVALID_ARGUMENT for options that contradict each other or a prompt
 * without tokens, KINGLET_STATUS_OUT_OF_MEMORY if the KV cache would exceed the memory limit, or
 * KINGLET_STATUS_CANCELLED.
 */
KINGLET_API KINGLET_WARN_UNUSED kinglet_status kinglet_model_generate(
    const kinglet_model *model,
    const kinglet_str *texts,
    size_t count,
    const kinglet_generate_options *options,
    kinglet_generations **generations,
    kinglet_error **error);

/**
 * Like kinglet_model_generate, from token ids, to which nothing is added. `ids` holds the `id_count` ids of
 * all inputs one after the other, `lengths` the number of ids of each of the `count` inputs.
 */
KINGLET_API KINGLET_WARN_UNUSED kinglet_status kinglet_model_generate_ids(
    const kinglet_model *model,
    const uint32_t *ids,
    size_t id_count,
    const size_t *lengths,
    size_t count,
    const kinglet_generate_options *options,
    kinglet_generations **generations,
    kinglet_error **error);

/**
 * The text of the first output for input number `index`. Valid until the generations are freed. Empty if
 * `generations` is NULL or there is no such input.
 */
KINGLET_API kinglet_str kinglet_generations_text(const kinglet_generations *generations, size_t index);

/** The contents of a kinglet_generations, except the outputs themselves. */
typedef struct kinglet_generations_view {
  /** sizeof(kinglet_generations_view), set by the caller. */
  size_t struct_size;
  /** Inputs in the batch. */
  size_t count;
  /** `count` values: the tokens of each input, special tokens included. */
  const size_t *input_token_counts;
  /** `count` values: 1 for inputs that were truncated to what the encoder takes, else 0. */
  const uint8_t *truncated;
} kinglet_generations_view;

/** Fills `view`, which is valid until the generations are freed. */
KINGLET_API kinglet_status kinglet_generations_read(
    const kinglet_generations *generations,
    kinglet_generations_view *view,
    kinglet_error **error);

/** One generated text. */
typedef struct kinglet_generation_output {
  /** sizeof(kinglet_generation_output), set by the caller. */
  size_t struct_size;
  /** The outputs for this input: `num_return_sequences`, or fewer if fewer beams were finished. */
  size_t output_count;
  /** The text. */
  kinglet_str text;
  /** The generated tokens, the end token included: `token_count` values. */
  const uint32_t *tokens;
  /** The number of generated tokens. */
  size_t token_count;
  /** The log-probability of each token: `token_count` values. NULL without `logprobs`. */
  const float *logprobs;
  /**
   * With beam search the sum of log-probabilities / length^length_penalty; otherwise the sum of `logprobs`,
   * or 0 without them.
   */
  float score;
  /** Why the text ended. */
  kinglet_finish_reason finish_reason;
  /**
   * Of a session's reply: the message that kinglet_model_parse_response reads in it, as JSON. Otherwise
   * empty.
   */
  kinglet_str message;
} kinglet_generation_output;

/**
 * Fills `output` with output number `sequence` for input number `index`, valid until the generations are
 * freed. The outputs of an input are sorted, the best one first. Fails with KINGLET_STATUS_INVALID_ARGUMENT
 * if there is no such output.
 */
KINGLET_API kinglet_status kinglet_generations_output(
    const kinglet_generations *generations,
    size_t index,
    size_t sequence,
    kinglet_generation_output *output,
    kinglet_error **error);

/** Frees generations and everything borrowed from them. */
KINGLET_API void kinglet_generations_free(kinglet_generations *generations);

/** @} */

/* ---- Calls that the caller does not wait for ------------------------------------------------------------- */

/** @defgroup calls_that_the_caller_does_not_wait_for Calls that the caller does not wait for
 *  @{ */

/**
 * A call that runs in the background, on one of a bounded number of the model's own threads
 * (kinglet_scheduler_options). It holds a reference to the model until it is done. One thread at a time may
 * use it, except for kinglet_request_cancel.
 */
typedef struct kinglet_request kinglet_request;

/**
 * Tells that a request is done, on a thread of the model's: kinglet_request_wait then returns at once. Called
 * exactly once, also for a request that failed, was cancelled or was freed; possibly before the function that
 * submitted it returns. It must not wait for other requests.
 */
typedef void (*kinglet_request_callback)(void *user_data);

/**
 * As kinglet_model_embed, in the background. Texts and options are copied; a cancellation in them also
 * cancels the request, and `deadline_ms` counts from this call. `done` may be NULL. `*request` receives the
 * request. Fails with KINGLET_STATUS_BUSY if as many requests wait as the queue may have; errors of the call
 * itself come with its result.
 */
KINGLET_API KINGLET_WARN_UNUSED kinglet_status kinglet_model_submit_embed(
    const kinglet_model *model,
    const kinglet_str *texts,
    size_t count,
    const kinglet_embed_options *options,
    kinglet_request_callback done,
    void *user_data,
    kinglet_request **request,
    kinglet_error **error);

/** As kinglet_model_classify, in the background; otherwise as kinglet_model_submit_embed. */
KINGLET_API KINGLET_WARN_UNUSED kinglet_status kinglet_model_submit_classify(
    const kinglet_model *model,
    const kinglet_str *texts,
    const kinglet_str *pairs,
    size_t count,
    const kinglet_classify_options *options,
    kinglet_request_callback done,
    void *user_data,
    kinglet_request **request,
    kinglet_error **error);

/**
 * As kinglet_model_score, in the background; otherwise as kinglet_model_submit_embed.
 * kinglet_request_take_classifications takes the result.
 */
KINGLET_API KINGLET_WARN_UNUSED kinglet_status kinglet_model_submit_score(
    const kinglet_model *model,
    const kinglet_str *queries,
    const kinglet_str *documents,
    size_t count,
    const kinglet_classify_options *options,
    kinglet_request_callback done,
    void *user_data,
    kinglet_request **request,
    kinglet_error **error);

/** As kinglet_model_classify_tokens, in the background; otherwise as kinglet_model_submit_embed. */
KINGLET_API KINGLET_WARN_UNUSED kinglet_status kinglet_model_submit_classify_tokens(
    const kinglet_model *model,
    const kinglet_str *texts,
    size_t count,
    const kinglet_classify_options *options,
    kinglet_request_callback done,
    void *user_data,
    kinglet_request **request,
    kinglet_error **error);

/**
 * As kinglet_model_generate, in the background; otherwise as kinglet_model_submit_embed. `on_piece` of the
 * options is called on a thread of the model's.
 */
KINGLET_API KINGLET_WARN_UNUSED kinglet_status kinglet_model_submit_generate(
    const kinglet_model *model,
    const kinglet_str *texts,
    size_t count,
    const kinglet_generate_options *options,
    kinglet_request_callback done,
    void *user_data,
    kinglet_request **request,
    kinglet_error **error);

/**
 * Waits until the request is done, at most `timeout_ms` milliseconds; 0 only asks, and UINT64_MAX waits
 * without limit. Returns 1 if it is done, else 0; also 0 if `request` is NULL.
 */
KINGLET_API uint32_t kinglet_request_wait(const kinglet_request *request, uint64_t timeout_ms);

/**
 * Cancels the call, which is then soon done with KINGLET_STATUS_CANCELLED, or with its result if it was about
 * to end. NULL is ignored. May be called from any thread.
 */
KINGLET_API void kinglet_request_cancel(const kinglet_request *request);

/**
 * Takes the result of kinglet_model_submit_embed, or its error. `*embeddings` receives it; it is freed apart
 * from the request. Fails with KINGLET_STATUS_INVALID_ARGUMENT if the request is not done, its result was
 * taken, or it is of another kind.
 */
KINGLET_API KINGLET_WARN_UNUSED kinglet_status kinglet_request_take_embeddings(
    kinglet_request *request,
    kinglet_embeddings **embeddings,
    kinglet_error **error);

/**
 * Takes the result of kinglet_model_submit_classify or kinglet_model_submit_score; otherwise as
 * kinglet_request_take_embeddings.
 */
KINGLET_API KINGLET_WARN_UNUSED kinglet_status kinglet_request_take_classifications(
    kinglet_request *request,
    kinglet_classifications **classifications,
    kinglet_error **error);

/** Takes the result of kinglet_model_submit_classify_tokens; otherwise as kinglet_request_take_embeddings. */
KINGLET_API KINGLET_WARN_UNUSED kinglet_status kinglet_request_take_token_classifications(
    kinglet_request *request,
    kinglet_token_classifications **classifications,
    kinglet_error **error);

/** Takes the result of kinglet_model_submit_generate; otherwise as kinglet_request_take_embeddings. */
KINGLET_API KINGLET_WARN_UNUSED kinglet_status kinglet_request_take_generations(
    kinglet_request *request,
    kinglet_generations **generations,
    kinglet_error **error);

/**
 * Cancels the call if it is not done, without waiting for it, and frees the request and a result that was not
 * taken. Callbacks of the call may still be running, or run once more, until its completion callback was
 * called.
 */
KINGLET_API void kinglet_request_free(kinglet_request *request);

/** @} */

/* ---- Chat templates: prompts, and what answers say ------------------------------------------------------- */

/** @defgroup chat_templates:_prompts_and_what_answers_say Chat templates: prompts, and what answers say
 *  @{ */

/** How a model writes the calls of tools. One of the KINGLET_TOOL_FORMAT constants. */
typedef uint32_t kinglet_tool_format;

/** The values of kinglet_tool_format. */
enum kinglet_tool_format_values {
  /** As the model's chat template says. */
  KINGLET_TOOL_FORMAT_AUTO = 0,
  /** `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`: Hermes, Qwen 2.5 and 3. */
  KINGLET_TOOL_FORMAT_HERMES = 1,
  /**
   * `{"name": ..., "parameters": {...}}` at the beginning of the answer, with or without `<|python_tag|>`:
   * Llama 3.
   */
  KINGLET_TOOL_FORMAT_LLAMA3 = 2,
  /** `[TOOL_CALLS][{"name": ..., "arguments": {...}}]`, or `[TOOL_CALLS]name[ARGS]{...}`: Mistral. */
  KINGLET_TOOL_FORMAT_MISTRAL = 3,
  /** `<tool_call><function=name><parameter=key>value</parameter></function></tool_call>`: Qwen 3 Coder. */
  KINGLET_TOOL_FORMAT_QWEN_XML = 4,
};

/**
 * The short name of a value, for instance "qwen_xml"; "unknown" for a number that this version does not know.
 */
KINGLET_API const char *kinglet_tool_format_name(kinglet_tool_format value);

/**
 * What a chat has beside its messages, by the names of transformers' apply_chat_template. Zero is the default
 * of every field.
 */
typedef struct kinglet_chat_options {
  /** sizeof(kinglet_chat_options). */
  size_t struct_size;
  /**
   * A JSON array of the functions that the model may call: `{"type": "function", "function": {"name",
   * "description", "parameters"}}`, or what `function` is there alone. `parameters` is a JSON schema of type
   * object. Empty: none.
   */
  kinglet_str tools;
  /** A JSON array of documents, objects with the members that the template reads. Empty: none. */
  kinglet_str documents;
  /**
   * A JSON object of further variables of the template, for instance `{"enable_thinking": false}`. Empty:
   * none.
   */
  kinglet_str template_variables;
  /** How the model writes the calls of tools. */
  kinglet_tool_format tool_format;
  /** 1 ends the prompt with what begins an answer; 0 is the default. A session does so always. */
  uint32_t add_generation_prompt;
  /**
   * 1 ends the prompt in the last message, so that the model continues it; 0 is the default. Not for a
   * session.
   */
  uint32_t continue_final_message;
  /** Must be 0. */
  uint32_t reserved;
  /**
   * Cancels the call from another thread. NULL: none. Not the replies of a session: kinglet_generate_options
   * has one for each.
   */
  const kinglet_cancellation *cancellation;
} kinglet_chat_options;

/**
 * Writes the prompt that the model's chat template makes of a chat. `messages` is a JSON array of messages,
 * each an object with a `role`, a `content` (a text, a list of parts, or none) and what else the template
 * reads, as transformers' apply_chat_template takes them. `options` may be NULL. `*text` receives the prompt;
 * special tokens are in it, so generate with `add_special_tokens` off. Fails with KINGLET_STATUS_UNSUPPORTED
 * if the model has no chat template, KINGLET_STATUS_INVALID_ARGUMENT for messages and options that are not as
 * they should be or that the template rejects, KINGLET_STATUS_INVALID_FILE if the template itself is broken,
 * or KINGLET_STATUS_CANCELLED.
 */
KINGLET_API KINGLET_WARN_UNUSED kinglet_status kinglet_model_apply_chat_template(
    const kinglet_model *model,
    kinglet_str messages,
    const kinglet_chat_options *options,
    kinglet_text **text,
    kinglet_error **error);

/**
 * Reads the text of an answer, `response`. `*text` receives a JSON object with `role`, `content` and, where
 * there is any, `reasoning_content` (what the model thought) and `tool_calls` (the tools of `options` that it
 * calls, as `{"type": "function", "id": ..., "function": {"name": ..., "arguments": {...}}}`). What is no
 * whole call of one of these tools stays in the content. `prefix` is the prompt, or its end, or empty: some
 * templates begin the thought themselves. `options` may be NULL. Fails with KINGLET_STATUS_UNSUPPORTED if the
 * model has no chat template, and KINGLET_STATUS_INVALID_ARGUMENT for options that are not as they should be.
 */
KINGLET_API KINGLET_WARN_UNUSED kinglet_status kinglet_model_parse_response(
    const kinglet_model *model,
    kinglet_str response,
    kinglet_str prefix,
    const kinglet_chat_options *options,
    kinglet_text **text,
    kinglet_error **error);

/** @} */

/* ---- Chat sessions --------------------------------------------------------------------------------------- */

/** @defgroup chat_sessions Chat sessions
 *  @{ */

/** A message of a chat. */
typedef struct kinglet_message {
  /** sizeof(kinglet_message), set by the caller. */
  size_t struct_size;
  /** `system`, `user`, `assistant`, `tool`, or another role that the model's chat template knows. */
  kinglet_str role;
  /** The text of the message. */
  kinglet_str content;
  /**
   * The whole message as a JSON object, if it has more than a role and a text: `tool_calls`, `tool_call_id`,
   * `name`, `reasoning_content`, a `content` of parts, or what else the template reads. Empty: none. A role
   * and a content beside it must be empty, or the same as in it.
   */
  kinglet_str json;
} kinglet_message;

/** Options of kinglet_session_new. Zero is the default of every field. */
typedef struct kinglet_session_options {
  /** sizeof(kinglet_session_options). */
  size_t struct_size;
  /** Tools, documents and variables of the template. They are read during the call. NULL: none. */
  const kinglet_chat_options *chat;
} kinglet_session_options;

/**
 * A chat with a model that keeps the keys and values of earlier turns, so that a turn costs only its own
 * tokens. It holds a reference to its model. Calls on one session from several threads run one after the
 * other.
 */
typedef struct kinglet_session kinglet_session;

/**
 * Starts a chat. `options` may be NULL. `*session` receives the session. Fails with
 * KINGLET_STATUS_UNSUPPORTED if the model is not a decoder or has no chat template, and with
 * KINGLET_STATUS_INVALID_ARGUMENT for options that are not as they should be.
 */
KINGLET_API KINGLET_WARN_UNUSED kinglet_status kinglet_session_new(
    const kinglet_model *model,
    const kinglet_session_options *options,
    kinglet_session **session,
    kinglet_error **error);

/**
 * Adds a message without asking for a reply, for instance a system prompt, an example or the result of a
 * tool.
 */
KINGLET_API kinglet_status kinglet_session_add(
    kinglet_session *session,
    const kinglet_message *message,
    kinglet_error **error);

/**
 * Adds a user's message, generates the reply and adds it. `options` may be NULL. `*generations` receives the
 * reply as its only output. If the call fails or is cancelled, the chat is unchanged. Fails like
 * kinglet_model_generate.
 */
KINGLET_API KINGLET_WARN_UNUSED kinglet_status kinglet_session_send(
    kinglet_session *session,
    kinglet_str content,
    const kinglet_generate_options *options,
    kinglet_generations **generations,
    kinglet_error **error);

/**
 * Generates the next message from the messages so far and adds it as the assistant's. Otherwise like
 * kinglet_session_send.
 */
KINGLET_API KINGLET_WARN_UNUSED kinglet_status kinglet_session_reply(
    kinglet_session *session,
    const kinglet_generate_options *options,
    kinglet_generations **generations,
    kinglet_error **error);

/**
 * Removes all messages from number `count` on, so that the first `count` are left; what those need stays
 * computed. Does nothing if there are no more than that.
 */
KINGLET_API kinglet_status kinglet_session_rewind(
    kinglet_session *session,
    size_t count,
    kinglet_error **error);

/** What is known of a session. */
typedef struct kinglet_session_view {
  /** sizeof(kinglet_session_view), set by the caller. */
  size_t struct_size;
  /** Messages in the chat. */
  size_t message_count;
  /** Tokens whose keys and values are kept for the next turn. */
  size_t held_tokens;
} kinglet_session_view;

/** Fills `view` with the present state of the session. */
KINGLET_API kinglet_status kinglet_session_read(
    const kinglet_session *session,
    kinglet_session_view *view,
    kinglet_error **error);

/**
 * Writes the prompt that the next reply continues: the messages so far as the chat template writes them.
 * `*text` receives it. Fails like kinglet_model_apply_chat_template.
 */
KINGLET_API KINGLET_WARN_UNUSED kinglet_status kinglet_session_prompt(
    const kinglet_session *session,
    kinglet_text **text,
    kinglet_error **error);

/** The messages of a chat at one moment; a copy. */
typedef struct kinglet_messages kinglet_messages;

/** Copies the messages of the chat. `*messages` receives the copy. */
KINGLET_API KINGLET_WARN_UNUSED kinglet_status kinglet_session_messages(
    const kinglet_session *session,
    kinglet_messages **messages,
    kinglet_error **error);

/** The number of messages; 0 if `messages` is NULL. */
KINGLET_API size_t kinglet_messages_count(const kinglet_messages *messages);

/**
 * Fills `message` with message number `index`, valid until the messages are freed. Fails with
 * KINGLET_STATUS_INVALID_ARGUMENT if there is no such message.
 */
KINGLET_API kinglet_status kinglet_messages_get(
    const kinglet_messages *messages,
    size_t index,
    kinglet_message *message,
    kinglet_error **error);

/** Frees a session. */
KINGLET_API void kinglet_session_free(kinglet_session *session);

/** Frees messages and everything borrowed from them. */
KINGLET_API void kinglet_messages_free(kinglet_messages *messages);

/** @} */

/* ---- Logits ---------------------------------------------------------------------------------------------- */

/** @defgroup logits Logits
 *  @{ */

/** Options of kinglet_model_logits. Zero is the default of every field. */
typedef struct kinglet_logits_options {
  /** sizeof(kinglet_logits_options). */
  size_t struct_size;
  /**
   * 1 runs the tokens one at a time, as generation does; 0 runs them in one pass. On the CPU the logits are
   * the same.
   */
  uint32_t stepwise;
  /** Must be 0. */
  uint32_t reserved;
  /** Cancels the call from another thread. NULL: none. */
  const kinglet_cancellation *cancellation;
} kinglet_logits_options;

/** The logits of one sequence of tokens. */
typedef struct kinglet_logits kinglet_logits;

/**
 * Computes the logits that follow each token of a sequence, before any logits processor. For a decoder the
 * sequence is `ids`, and `decoder_ids` is NULL. For an encoder-decoder model `ids` is the source text and
 * `decoder_ids` the sequence, which starts with the decoder's start token. `options` may be NULL. `*logits`
 * receives the logits. Fails with KINGLET_STATUS_UNSUPPORTED if the model does not generate text,
 * KINGLET_STATUS_INVALID_ARGUMENT for an unknown id or a sequence longer than the model takes,
 * KINGLET_STATUS_OUT_OF_MEMORY, or KINGLET_STATUS_CANCELLED.
 */
KINGLET_API KINGLET_WARN_UNUSED kinglet_status kinglet_model_logits(
    const kinglet_model *model,
    const uint32_t *ids,
    size_t id_count,
    const uint32_t *decoder_ids,
    size_t decoder_id_count,
    const kinglet_logits_options *options,
    kinglet_logits **logits,
    kinglet_error **error);

/** The contents of a kinglet_logits. */
typedef struct kinglet_logits_view {
  /** sizeof(kinglet_logits_view), set by the caller. */
  size_t struct_size;
  /** Tokens of the sequence: rows. */
  size_t token_count;
  /** Values per row. */
  size_t vocabulary_size;
  /**
   * The rows one after the other: `token_count * vocabulary_size` values. Row i has the logits that follow
   * token i.
   */
  const float *values;
} kinglet_logits_view;

/** Fills `view`, which is valid until the logits are freed. */
KINGLET_API kinglet_status kinglet_logits_read(
    const kinglet_logits *logits,
    kinglet_logits_view *view,
    kinglet_error **error);

/** Frees logits and everything borrowed from them. */
KINGLET_API void kinglet_logits_free(kinglet_logits *logits);

/** @} */

/* ---- Hidden states --------------------------------------------------------------------------------------- */

/** @defgroup hidden_states Hidden states
 *  @{ */

/** Options of kinglet_model_hidden_states. Zero is the default of every field. */
typedef struct kinglet_hidden_states_options {
  /** sizeof(kinglet_hidden_states_options). */
  size_t struct_size;
  /** Cancels the call from another thread. NULL: none. */
  const kinglet_cancellation *cancellation;
} kinglet_hidden_states_options;

/** The last hidden states of a batch of token sequences. */
typedef struct kinglet_hidden_states kinglet_hidden_states;

/**
 * Computes the last hidden states of `count` sequences of token ids, to which nothing is added and of which
 * nothing is cut. `ids` holds the `id_count` ids of all sequences one after the other, `lengths` the number
 * of ids of each sequence. `type_ids` is NULL (all 0) or holds one token type per id. `options` may be NULL.
 * `*states` receives the hidden states. Fails with KINGLET_STATUS_INVALID_ARGUMENT for lengths that do not
 * add up to `id_count`, an unknown id or type, or a sequence longer than the model takes,
 * KINGLET_STATUS_OUT_OF_MEMORY, or KINGLET_STATUS_CANCELLED.
 */
KINGLET_API KINGLET_WARN_UNUSED kinglet_status kinglet_model_hidden_states(
    const kinglet_model *model,
    const uint32_t *ids,
    const uint32_t *type_ids,
    size_t id_count,
    const size_t *lengths,
    size_t count,
    const kinglet_hidden_states_options *options,
    kinglet_hidden_states **states,
    kinglet_error **error);

/** The contents of a kinglet_hidden_states. */
typedef struct kinglet_hidden_states_view {
  /** sizeof(kinglet_hidden_states_view), set by the caller. */
  size_t struct_size;
  /** Sequences in the batch. */
  size_t count;
  /** Tokens in the batch. */
  size_t token_count;
  /** Values per hidden state. */
  size_t dimension;
  /** One hidden state per token, of all sequences one after the other: `token_count * dimension` values. */
  const float *values;
  /**
   * `count + 1` values: the tokens of sequence i are those from `starts[i]` to `starts[i + 1]` (exclusive).
   */
  const size_t *starts;
} kinglet_hidden_states_view;

/** Fills `view`, which is valid until the hidden states are freed. */
KINGLET_API kinglet_status kinglet_hidden_states_read(
    const kinglet_hidden_states *states,
    kinglet_hidden_states_view *view,
    kinglet_error **error);

/** Frees hidden states and everything borrowed from them. */
KINGLET_API void kinglet_hidden_states_free(kinglet_hidden_states *states);

/** @} */

/* ---- Counters -------------------------------------------------------------------------------------------- */

/** @defgroup counters Counters
 *  @{ */

/** A stage of the work. Later versions may add values. One of the KINGLET_STAGE constants. */
typedef uint32_t kinglet_stage;

/** The values of kinglet_stage. */
enum kinglet_stage_values {
  /** Reading, converting and packing the model. */
  KINGLET_STAGE_LOAD = 0,
  /** Text to token ids. */
  KINGLET_STAGE_TOKENIZE = 1,
  /** Concatenating token sequences into one pass. */
  KINGLET_STAGE_PACK = 2,
  /** Looking up and adding embeddings, and their norm. */
  KINGLET_STAGE_EMBED = 3,
  /** Scaled dot-product attention; its projections count as linear. */
  KINGLET_STAGE_ATTENTION = 4,
  /** Matrix products with weights, and the norms between them; for ONNX models the whole run of the graph. */
  KINGLET_STAGE_LINEAR = 5,
  /** Pooling and normalisation, and the activations of heads. */
  KINGLET_STAGE_POOL = 6,
  /** Whole calls, from the arguments to the result. */
  KINGLET_STAGE_CALL = 7,
  /**
   * Generation steps that process at least one prompt; tokens of other texts advanced in the same step are
   * counted here too.
   */
  KINGLET_STAGE_PREFILL = 8,
  /** Generation steps that add tokens to each text: one, or several with prompt-lookup decoding. */
  KINGLET_STAGE_DECODE = 9,
  /** Choosing tokens. */
  KINGLET_STAGE_SAMPLE = 10,
  /** Token ids to text. */
  KINGLET_STAGE_DETOKENIZE = 11,
  /** From the beginning of a call to the first token of each text. */
  KINGLET_STAGE_FIRST_TOKEN = 12,
  /** Inputs that were answered from the answer cache; `tokens` counts the tokens of the answers. */
  KINGLET_STAGE_ANSWER_HIT = 13,
  /** Inputs that the answer cache did not have. */
  KINGLET_STAGE_ANSWER_MISS = 14,
  /** Prompt lookup: `items` counts the texts for which tokens were proposed, `tokens` the proposed tokens. */
  KINGLET_STAGE_DRAFT = 15,
  /** Proposed tokens that were accepted; each saved one decoding step. */
  KINGLET_STAGE_ACCEPT = 16,
  /**
   * Transfers between host and GPU; `items` counts bytes. GPU work is asynchronous: other stages show the
   * time to submit work, this one includes the time spent waiting for it.
   */
  KINGLET_STAGE_TRANSFER = 17,
  /** From the moment when a call has a pass or a step to run until it is begun; `calls` counts these. */
  KINGLET_STAGE_QUEUE_WAIT = 18,
  /**
   * Passes and steps that the scheduler ran: `items` counts their sequences and `tokens` their tokens, of all
   * calls together.
   */
  KINGLET_STAGE_SHARED_PASS = 19,
  /** Calls that were refused because the queue was full. */
  KINGLET_STAGE_BUSY = 20,
  /** Calls that ended because their deadline had passed; the time from their beginning. */
  KINGLET_STAGE_DEADLINE_MISSED = 21,
  /** As KINGLET_STAGE_FIRST_TOKEN, for calls of the priority interactive. */
  KINGLET_STAGE_FIRST_TOKEN_INTERACTIVE = 22,
  /** As KINGLET_STAGE_FIRST_TOKEN, for calls of the priority normal. */
  KINGLET_STAGE_FIRST_TOKEN_NORMAL = 23,
  /** As KINGLET_STAGE_FIRST_TOKEN, for calls of the priority bulk. */
  KINGLET_STAGE_FIRST_TOKEN_BULK = 24,
  /**
   * From one token of a text to the next, for calls of the priority interactive; `calls` counts steps, so the
   * mean time per output token is `nanoseconds` by `calls`.
   */
  KINGLET_STAGE_OUTPUT_TOKEN_INTERACTIVE = 25,
  /** The same for calls of the priority normal. */
  KINGLET_STAGE_OUTPUT_TOKEN_NORMAL = 26,
  /** The same for calls of the priority bulk. */
  KINGLET_STAGE_OUTPUT_TOKEN_BULK = 27,
};

/**
 * The short name of a value, for instance "output_token_bulk"; "unknown" for a number that this version does
 * not know.
 */
KINGLET_API const char *kinglet_stage_name(kinglet_stage value);

/**
 * Totals of one stage since the model was loaded or its counters were reset. A stage that a call enters
 * several times, once per layer or once per pass, counts its items and tokens each time. The times of
 * concurrent calls are added.
 */
typedef struct kinglet_stage_totals {
  /** sizeof(kinglet_stage_totals), set by the caller. */
  size_t struct_size;
  /** How often the stage was entered. */
  uint64_t calls;
  /** Texts or sequences that were processed; for KINGLET_STAGE_LOAD files. */
  uint64_t items;
  /** Tokens that were processed. */
  uint64_t tokens;
  /** Time in the stage, in nanoseconds. */
  uint64_t nanoseconds;
} kinglet_stage_totals;

/**
 * Fills `totals` with those of one stage. Calls in progress may be counted in some stages and not yet in
 * others. Fails with KINGLET_STATUS_INVALID_ARGUMENT for an unknown stage.
 */
KINGLET_API kinglet_status kinglet_model_stage(
    const kinglet_model *model,
    kinglet_stage stage,
    kinglet_stage_totals *totals,
    kinglet_error **error);

/**
 * The distribution of the durations of whole calls that succeeded, in nanoseconds, within 0.1 %. All 0 before
 * the first call.
 */
typedef struct kinglet_latency {
  /** sizeof(kinglet_latency), set by the caller. */
  size_t struct_size;
  /** The number of calls. */
  uint64_t count;
  /** The shortest call. */
  uint64_t min;
  /** The longest call. */
  uint64_t max;
  /** The median. */
  uint64_t p50;
  /** The 90th percentile. */
  uint64_t p90;
  /** The 95th percentile. */
  uint64_t p95;
  /** The 99th percentile. */
  uint64_t p99;
  /** The mean. */
  double mean;
  /** The standard deviation. */
  double standard_deviation;
} kinglet_latency;

/** Fills `latency` with the durations of the model's calls since it was loaded or its counters were reset. */
KINGLET_API kinglet_status kinglet_model_latency(
    const kinglet_model *model,
    kinglet_latency *latency,
    kinglet_error **error);

/** Sets all of the model's counters to zero. NULL is ignored. */
KINGLET_API void kinglet_model_reset_counters(kinglet_model *model);

/** A text format of exported counters. One of the KINGLET_COUNTERS_FORMAT constants. */
typedef uint32_t kinglet_counters_format;

/** The values of kinglet_counters_format. */
enum kinglet_counters_format_values {
  /** One JSON object with the members `stages`, by name, and `latency`; times in nanoseconds. */
  KINGLET_COUNTERS_FORMAT_JSON = 0,
  /** A header line, then one line per stage. */
  KINGLET_COUNTERS_FORMAT_CSV = 1,
  /** The text exposition format of Prometheus. */
  KINGLET_COUNTERS_FORMAT_PROMETHEUS = 2,
};

/**
 * The short name of a value, for instance "prometheus"; "unknown" for a number that this version does not
 * know.
 */
KINGLET_API const char *kinglet_counters_format_name(kinglet_counters_format value);

/** Writes all of the model's counters as text. `*text` receives the text. */
KINGLET_API KINGLET_WARN_UNUSED kinglet_status kinglet_model_export_counters(
    const kinglet_model *model,
    kinglet_counters_format format,
    kinglet_text **text,
    kinglet_error **error);

/** @} */

/* ---- Devices --------------------------------------------------------------------------------------------- */

/** @defgroup devices Devices
 *  @{ */

/** The devices of this machine that this build can run models on. */
typedef struct kinglet_devices kinglet_devices;

/** Options of kinglet_devices_list. Zero is the default of every field. */
typedef struct kinglet_devices_options {
  /** sizeof(kinglet_devices_options). */
  size_t struct_size;
  /**
   * Whether the library for NVIDIA GPUs is opened, if it is installed, to ask what there is. AUTO: yes. NO:
   * only the devices that this library runs by itself are listed.
   */
  kinglet_tristate open_libraries;
  /** 0. */
  uint32_t reserved;
} kinglet_devices_options;

/**
 * Finds the devices of this machine. `*devices` receives the list, CPUs first. `options` may be NULL. A kind
 * of device whose driver or library is missing is left out without an error; kinglet_devices_missing has the
 * reason. The first call that opens the library for NVIDIA GPUs may take seconds.
 */
KINGLET_API KINGLET_WARN_UNUSED kinglet_status kinglet_devices_list(
    const kinglet_devices_options *options,
    kinglet_devices **devices,
    kinglet_error **error);

/** The number of devices; 0 if `devices` is NULL. */
KINGLET_API size_t kinglet_devices_count(const kinglet_devices *devices);

/**
 * Why there are no other devices: one line for each kind that is missing. Valid until the list is freed.
 * Empty if `devices` is NULL.
 */
KINGLET_API kinglet_str kinglet_devices_missing(const kinglet_devices *devices);

/** A device that a model can be loaded on. */
typedef struct kinglet_device_info {
  /** sizeof(kinglet_device_info), set by the caller. */
  size_t struct_size;
  /** Its kind. */
  kinglet_device device;
  /** The index among devices of its kind, for `device_index` in kinglet_model_options. */
  uint32_t device_index;
  /** A name for people, for instance the model of the GPU. */
  kinglet_str name;
  /** Bytes of its memory; 0 if not known. */
  uint64_t memory_total;
  /** Bytes of its memory that are free; 0 if not known. */
  uint64_t memory_free;
} kinglet_device_info;

/**
 * Fills `info` with device number `index` of the list, valid until the list is freed. Fails with
 * KINGLET_STATUS_INVALID_ARGUMENT if there is no such device.
 */
KINGLET_API kinglet_status kinglet_devices_info(
    const kinglet_devices *devices,
    size_t index,
    kinglet_device_info *info,
    kinglet_error **error);

/** Frees a list of devices and everything borrowed from it. */
KINGLET_API void kinglet_devices_free(kinglet_devices *devices);

/** @} */

/* ---- Quantizing ------------------------------------------------------------------------------------------ */

/** @defgroup quantizing Quantizing
 *  @{ */

/** Options of kinglet_model_quantize. Zero is the default of every field. */
typedef struct kinglet_quantize_options {
  /** sizeof(kinglet_quantize_options). */
  size_t struct_size;
  /** Cancels the call from another thread, within one layer. NULL: none. */
  const kinglet_cancellation *cancellation;
  /** Receives the progress. NULL: none. */
  kinglet_progress_callback progress;
  /** The first argument of `progress`. */
  void *progress_user_data;
  /**
   * Texts like those that the model will get, for INT8 and INT4: some of them are run, and for each layer the
   * change of its inputs is chosen with which rounding loses least (factors, or a rotation). The call then
   * takes as long as running 128 texts of 128 tokens in F32 and some 15 conversions. NULL: no calibration.
   */
  const kinglet_str *calibration_texts;
  /** The number of `calibration_texts`. */
  size_t calibration_text_count;
} kinglet_quantize_options;

/**
 * Reads a model (a Hugging Face directory or a GGUF file) and writes it to `destination` as one .kinglet file
 * with its weights in `precision`, which must not be AUTO. kinglet_model_load maps such a file instead of
 * converting it. `options` may be NULL. The file appears under its name when it is complete; a call that
 * fails leaves nothing. Only a .kinglet file or an empty file is replaced, and no link is followed. Fails
 * with KINGLET_STATUS_NOT_FOUND, KINGLET_STATUS_IO or KINGLET_STATUS_INVALID_FILE (the message names the
 * file), KINGLET_STATUS_UNSUPPORTED for an ONNX export or an unknown family, KINGLET_STATUS_INVALID_ARGUMENT
 * for a source that is a .kinglet file already, a destination that is anything else or calibration texts for
 * another precision than INT8 and INT4, or KINGLET_STATUS_CANCELLED.
 */
KINGLET_API kinglet_status kinglet_model_quantize(
    kinglet_str source,
    kinglet_str destination,
    kinglet_precision precision,
    const kinglet_quantize_options *options,
    kinglet_error **error);

/** @} */

/* ---- Which batch size suits a workload ------------------------------------------------------------------- */

/** @defgroup which_batch_size_suits_a_workload Which batch size suits a workload
 *  @{ */

/** What a batch size is chosen for. One of the KINGLET_BATCH_GOAL constants. */
typedef uint32_t kinglet_batch_goal;

/** The values of kinglet_batch_goal. */
enum kinglet_batch_goal_values {
  /** The best throughput. */
  KINGLET_BATCH_GOAL_THROUGHPUT = 0,
  /** The best throughput among batches that take at most `latency_ms`. */
  KINGLET_BATCH_GOAL_LATENCY = 1,
  /**
   * The best throughput among batches with which the model takes at most `memory_bytes`, its weights
   * included.
   */
  KINGLET_BATCH_GOAL_MEMORY = 2,
};

/**
 * The short name of a value, for instance "memory"; "unknown" for a number that this version does not know.
 */
KINGLET_API const char *kinglet_batch_goal_name(kinglet_batch_goal value);

/** What the batches of a program are made of. */
typedef struct kinglet_workload {
  /** sizeof(kinglet_workload). */
  size_t struct_size;
  /** Tokens per input: their mean, special tokens included; at least 1. */
  double input_tokens;
  /** The standard deviation of the tokens per input. */
  double input_spread;
  /** Tokens to generate per input. 0: the inputs are embedded or classified. */
  size_t output_tokens;
  /** Beams per input. 0: one. */
  size_t beams;
} kinglet_workload;

/** Options of kinglet_model_suggest_batch_size. Zero is the default of every field. */
typedef struct kinglet_suggest_batch_size_options {
  /** sizeof(kinglet_suggest_batch_size_options). */
  size_t struct_size;
  /** What the size is chosen for. 0: the best throughput. */
  kinglet_batch_goal goal;
  /**
   * 1: nothing is measured; costs are assumed from the size of the weights, or read from `calibration_file`.
   * 0: the model is run.
   */
  uint32_t skip_calibration;
  /** With KINGLET_BATCH_GOAL_LATENCY the most milliseconds that a batch may take; otherwise 0. */
  double latency_ms;
  /** With KINGLET_BATCH_GOAL_MEMORY the most bytes that the model may take; otherwise 0. */
  uint64_t memory_bytes;
  /**
   * The path of a file that keeps the times that were measured. It is read if it is of the same model,
   * device, precision, kernels and threads; else it is written, unless `skip_calibration` is 1. Empty: none.
   */
  kinglet_str calibration_file;
  /** The most milliseconds that a calibration takes, apart from the run that is in progress then. 0: 4000. */
  uint32_t calibration_ms;
  /** Must be 0. */
  uint32_t reserved;
  /** Cancels the call from another thread. NULL: none. */
  const kinglet_cancellation *cancellation;
} kinglet_suggest_batch_size_options;

/** A batch size, and what to expect of it. */
typedef struct kinglet_batch_suggestion kinglet_batch_suggestion;

/**
 * Suggests how many texts to give to one call, for this model, machine and workload. The first question runs
 * the model, for some seconds at most; let nothing else run meanwhile, or keep the times in
 * `calibration_file`. `options` may be NULL. `*suggestion` receives the suggestion; if no size keeps the
 * goal's bound it is a batch of one text, and says so. Fails with KINGLET_STATUS_INVALID_ARGUMENT for a
 * workload or bound that makes no sense, KINGLET_STATUS_UNSUPPORTED if the workload generates and the model
 * does not, KINGLET_STATUS_IO or KINGLET_STATUS_INVALID_FILE (the message names the file; one that keeps no
 * calibrations is left as it is), KINGLET_STATUS_OUT_OF_MEMORY, or KINGLET_STATUS_CANCELLED.
 */
KINGLET_API KINGLET_WARN_UNUSED kinglet_status kinglet_model_suggest_batch_size(
    const kinglet_model *model,
    const kinglet_workload *workload,
    const kinglet_suggest_batch_size_options *options,
    kinglet_batch_suggestion **suggestion,
    kinglet_error **error);

/** The contents of a kinglet_batch_suggestion. */
typedef struct kinglet_batch_suggestion_view {
  /** sizeof(kinglet_batch_suggestion_view), set by the caller. */
  size_t struct_size;
  /** Texts per call. */
  size_t batch_size;
  /** The expected milliseconds of one batch. */
  double batch_ms;
  /** The expected throughput. */
  double texts_per_second;
  /** Of input tokens, or of generated ones if the workload generates. */
  double tokens_per_second;
  /** Bytes of weights, KV caches, activations and results. */
  uint64_t bytes;
  /** 1 if the goal's bound is kept, or if it has none. If no size keeps it 0, and `batch_size` is 1. */
  uint32_t within_bound;
  /** 0. */
  uint32_t reserved;
  /** How the size was found, in words. */
  kinglet_str explanation;
} kinglet_batch_suggestion_view;

/** Fills `view`, which is valid until the suggestion is freed. */
KINGLET_API kinglet_status kinglet_batch_suggestion_read(
    const kinglet_batch_suggestion *suggestion,
    kinglet_batch_suggestion_view *view,
    kinglet_error **error);

/** Frees a suggestion and everything borrowed from it. */
KINGLET_API void kinglet_batch_suggestion_free(kinglet_batch_suggestion *suggestion);

/** @} */

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* KINGLET_H */
