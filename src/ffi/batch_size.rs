//! Which batch size suits a workload.

use std::path::Path;
use std::time::Duration;

use crate::api::{BatchGoal, BatchSuggestion, CalibrationOptions, Workload};
use crate::base::error::{Error, Result};

use super::boundary::boundary;
use super::cancellation::{self, kinglet_cancellation};
use super::enums::enumeration;
use super::error::{kinglet_error, kinglet_status};
use super::handle::{self, handle, null};
use super::model::kinglet_model;
use super::strings::kinglet_str;
use super::structs::{Results, flag, options, reserved, unknown, versioned};

enumeration! {
    /// What a batch size is chosen for.
    pub type kinglet_batch_goal, kinglet_batch_goal_name;
    /// The best throughput.
    KINGLET_BATCH_GOAL_THROUGHPUT = 0, c"throughput";
    /// The best throughput among batches that take at most `latency_ms`.
    KINGLET_BATCH_GOAL_LATENCY = 1, c"latency";
    /// The best throughput among batches with which the model takes at most `memory_bytes`, its weights included.
    KINGLET_BATCH_GOAL_MEMORY = 2, c"memory";
}

/// What the batches of a program are made of.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_workload {
    /// sizeof(kinglet_workload).
    pub struct_size: usize,
    /// Tokens per input: their mean, special tokens included; at least 1.
    pub input_tokens: f64,
    /// The standard deviation of the tokens per input.
    pub input_spread: f64,
    /// Tokens to generate per input. 0: the inputs are embedded or classified.
    pub output_tokens: usize,
    /// Beams per input. 0: one.
    pub beams: usize,
}

versioned!(kinglet_workload, "workload", 40);

/// Options of kinglet_model_suggest_batch_size. Zero is the default of every field.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_suggest_batch_size_options {
    /// sizeof(kinglet_suggest_batch_size_options).
    pub struct_size: usize,
    /// What the size is chosen for. 0: the best throughput.
    pub goal: kinglet_batch_goal,
    /// 1: nothing is measured; costs are assumed from the size of the weights, or read from `calibration_file`. 0: the model is run.
    pub skip_calibration: u32,
    /// With KINGLET_BATCH_GOAL_LATENCY the most milliseconds that a batch may take; otherwise 0.
    pub latency_ms: f64,
    /// With KINGLET_BATCH_GOAL_MEMORY the most bytes that the model may take; otherwise 0.
    pub memory_bytes: u64,
    /// The path of a file that keeps the times that were measured. It is read if it is of the same model, device, precision, kernels and
    /// threads; else it is written, unless `skip_calibration` is 1. Empty: none.
    pub calibration_file: kinglet_str,
    /// The most milliseconds that a calibration takes, apart from the run that is in progress then. 0: 4000.
    pub calibration_ms: u32,
    /// Must be 0.
    pub reserved: u32,
    /// Cancels the call from another thread. NULL: none.
    pub cancellation: *const kinglet_cancellation,
}

versioned!(kinglet_suggest_batch_size_options, "options", 64);

impl kinglet_suggest_batch_size_options {
    /// A bound without its goal is refused: it would not be kept.
    fn goal(&self) -> Result<BatchGoal> {
        let other = |name: &str, goal: &str| {
            Err(Error::invalid_argument(format!("options.{name}: is set, and options.goal is not {goal}")))
        };
        if self.latency_ms != 0.0 && self.goal != KINGLET_BATCH_GOAL_LATENCY {
            return other("latency_ms", "KINGLET_BATCH_GOAL_LATENCY");
        }
        if self.memory_bytes != 0 && self.goal != KINGLET_BATCH_GOAL_MEMORY {
            return other("memory_bytes", "KINGLET_BATCH_GOAL_MEMORY");
        }
        match self.goal {
            KINGLET_BATCH_GOAL_THROUGHPUT => Ok(BatchGoal::Throughput),
            KINGLET_BATCH_GOAL_LATENCY if self.latency_ms > 0.0 && self.latency_ms.is_finite() => {
                let most = Duration::try_from_secs_f64(self.latency_ms / 1e3).unwrap_or(Duration::MAX);
                Ok(BatchGoal::Latency(most))
            }
            KINGLET_BATCH_GOAL_LATENCY => {
                let value = self.latency_ms;
                Err(Error::invalid_argument(format!("options.latency_ms: {value} is not a number above 0")))
            }
            KINGLET_BATCH_GOAL_MEMORY if self.memory_bytes > 0 => Ok(BatchGoal::Memory(self.memory_bytes)),
            KINGLET_BATCH_GOAL_MEMORY => Err(Error::invalid_argument(
                "options.memory_bytes: 0 is no bound; give the bytes that the model may take",
            )),
            goal => Err(unknown(goal, "options.goal")),
        }
    }
}

handle! {
    /// A batch size, and what to expect of it.
    pub struct kinglet_batch_suggestion: Owned<BatchSuggestion>, "suggestion";
    /// Frees a suggestion and everything borrowed from it.
    pub fn kinglet_batch_suggestion_free;
}

/// Suggests how many texts to give to one call, for this model, machine and workload. The first question runs the model, for some seconds at
/// most; let nothing else run meanwhile, or keep the times in `calibration_file`. `options` may be NULL. `*suggestion` receives the suggestion;
/// if no size keeps the goal's bound it is a batch of one text, and says so. Fails with KINGLET_STATUS_INVALID_ARGUMENT for a workload or bound
/// that makes no sense, KINGLET_STATUS_UNSUPPORTED if the workload generates and the model does not, KINGLET_STATUS_IO or
/// KINGLET_STATUS_INVALID_FILE (the message names the file; one that keeps no calibrations is left as it is),
/// KINGLET_STATUS_OUT_OF_MEMORY, or KINGLET_STATUS_CANCELLED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_suggest_batch_size(
    model: *const kinglet_model,
    workload: *const kinglet_workload,
    options: *const kinglet_suggest_batch_size_options,
    suggestion: *mut *mut kinglet_batch_suggestion,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    handle::create(suggestion, error, || {
        if workload.is_null() {
            return Err(null("workload"));
        }
        // SAFETY: C passes a live handle, and structs of the sizes that they state.
        let (loaded, w, o) = unsafe { (handle::borrow(model)?, self::options(workload)?, self::options(options)?) };
        reserved(o.reserved)?;
        // SAFETY: C passes text as its size says.
        let file = unsafe { o.calibration_file.text(|| "options.calibration_file".into()) }?;
        // SAFETY: C passes NULL or a live cancellation.
        let cancellation = unsafe { cancellation::optional(o.cancellation) };
        let workload = Workload {
            input_tokens: w.input_tokens,
            input_spread: w.input_spread,
            output_tokens: w.output_tokens,
            beams: w.beams.max(1),
        };
        let calibration = CalibrationOptions {
            time: Duration::from_millis(o.calibration_ms.into()),
            file: (!file.is_empty()).then(|| Path::new(file)),
            skip: flag(o.skip_calibration, "options.skip_calibration")?,
            cancellation: cancellation.as_ref(),
        };
        loaded.model.suggest_batch_size(&workload, o.goal()?, &calibration)
    })
}

/// The contents of a kinglet_batch_suggestion.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_batch_suggestion_view {
    /// sizeof(kinglet_batch_suggestion_view), set by the caller.
    pub struct_size: usize,
    /// Texts per call.
    pub batch_size: usize,
    /// The expected milliseconds of one batch.
    pub batch_ms: f64,
    /// The expected throughput.
    pub texts_per_second: f64,
    /// Of input tokens, or of generated ones if the workload generates.
    pub tokens_per_second: f64,
    /// Bytes of weights, KV caches, activations and results.
    pub bytes: u64,
    /// 1 if the goal's bound is kept, or if it has none. If no size keeps it 0, and `batch_size` is 1.
    pub within_bound: u32,
    /// 0.
    pub reserved: u32,
    /// How the size was found, in words.
    pub explanation: kinglet_str,
}

versioned!(kinglet_batch_suggestion_view, "view", 72);

/// Fills `view`, which is valid until the suggestion is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_batch_suggestion_read(
    suggestion: *const kinglet_batch_suggestion,
    view: *mut kinglet_batch_suggestion_view,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle and a struct of the size that it states.
        let (s, view) = unsafe { (handle::borrow(suggestion)?, Results::new(view)?) };
        view.write(kinglet_batch_suggestion_view {
            struct_size: 0,
            batch_size: s.batch_size,
            batch_ms: 1e3 * s.time.as_secs_f64(),
            texts_per_second: s.texts_per_second,
            tokens_per_second: s.tokens_per_second,
            bytes: s.bytes,
            within_bound: s.within_bound.into(),
            reserved: 0,
            explanation: kinglet_str::lend(&s.explanation),
        });
        Ok(())
    })
}
