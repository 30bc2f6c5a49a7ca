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

