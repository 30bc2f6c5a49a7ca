//! Counters.

use crate::base::counters::{Format, Stage};

use super::boundary::{boundary, quietly};
use super::enums::enumeration;
use super::error::{kinglet_error, kinglet_status};
use super::handle::{self};
use super::model::kinglet_model;
use super::strings::kinglet_text;
use super::structs::{Results, unknown, versioned};

enumeration! {
    /// A stage of the work. Later versions may add values.
    pub type kinglet_stage, kinglet_stage_name;
    /// Reading, converting and packing the model.
    KINGLET_STAGE_LOAD = 0, c"load", Stage::Load;
    /// Text to token ids.
    KINGLET_STAGE_TOKENIZE = 1, c"tokenize", Stage::Tokenize;
    /// Concatenating token sequences into one pass.
    KINGLET_STAGE_PACK = 2, c"pack", Stage::Pack;
    /// Looking up and adding embeddings, and their norm.
    KINGLET_STAGE_EMBED = 3, c"embed", Stage::Embed;
    /// Scaled dot-product attention; its projections count as linear.
    KINGLET_STAGE_ATTENTION = 4, c"attention", Stage::Attention;
    /// Matrix products with weights, and the norms between them; for ONNX models the whole run of the graph.
    KINGLET_STAGE_LINEAR = 5, c"linear", Stage::Linear;
    /// Pooling and normalisation, and the activations of heads.
    KINGLET_STAGE_POOL = 6, c"pool", Stage::Pool;
    /// Whole calls, from the arguments to the result.
    KINGLET_STAGE_CALL = 7, c"call", Stage::Call;
    /// Generation steps that process at least one prompt; tokens of other texts advanced in the same step are counted here too.
    KINGLET_STAGE_PREFILL = 8, c"prefill", Stage::Prefill;
    /// Generation steps that add tokens to each text: one, or several with prompt-lookup decoding.
    KINGLET_STAGE_DECODE = 9, c"decode", Stage::Decode;
    /// Choosing tokens.
    KINGLET_STAGE_SAMPLE = 10, c"sample", Stage::Sample;
    /// Token ids to text.
    KINGLET_STAGE_DETOKENIZE = 11, c"detokenize", Stage::Detokenize;
    /// From the beginning of a call to the first token of each text.
    KINGLET_STAGE_FIRST_TOKEN = 12, c"first_token", Stage::FirstToken;
    /// Inputs that were answered from the answer cache; `tokens` counts the tokens of the answers.
    KINGLET_STAGE_ANSWER_HIT = 13, c"answer_hit", Stage::AnswerHit;
    /// Inputs that the answer cache did not have.
    KINGLET_STAGE_ANSWER_MISS = 14, c"answer_miss", Stage::AnswerMiss;
    /// Prompt lookup: `items` counts the texts for which tokens were proposed, `tokens` the proposed tokens.
    KINGLET_STAGE_DRAFT = 15, c"draft", Stage::Draft;
    /// Proposed tokens that were accepted; each saved one decoding step.
    KINGLET_STAGE_ACCEPT = 16, c"accept", Stage::Accept;
    /// Transfers between host and GPU; `items` counts bytes. GPU work is asynchronous: other stages show the time to submit work, this
    /// one includes the time spent waiting for it.
    KINGLET_STAGE_TRANSFER = 17, c"transfer", Stage::Transfer;
    /// From the moment when a call has a pass or a step to run until it is begun; `calls` counts these.
    KINGLET_STAGE_QUEUE_WAIT = 18, c"queue_wait", Stage::QueueWait;
    /// Passes and steps that the scheduler ran: `items` counts their sequences and `tokens` their tokens, of all calls together.
    KINGLET_STAGE_SHARED_PASS = 19, c"shared_pass", Stage::SharedPass;
    /// Calls that were refused because the queue was full.
    KINGLET_STAGE_BUSY = 20, c"busy", Stage::Busy;
    /// Calls that ended because their deadline had passed; the time from their beginning.
    KINGLET_STAGE_DEADLINE_MISSED = 21, c"deadline_missed", Stage::DeadlineMissed;
    /// As KINGLET_STAGE_FIRST_TOKEN, for calls of the priority interactive.
    KINGLET_STAGE_FIRST_TOKEN_INTERACTIVE = 22, c"first_token_interactive", Stage::FirstTokenInteractive;
    /// As KINGLET_STAGE_FIRST_TOKEN, for calls of the priority normal.
    KINGLET_STAGE_FIRST_TOKEN_NORMAL = 23, c"first_token_normal", Stage::FirstTokenNormal;
    /// As KINGLET_STAGE_FIRST_TOKEN, for calls of the priority bulk.
    KINGLET_STAGE_FIRST_TOKEN_BULK = 24, c"first_token_bulk", Stage::FirstTokenBulk;
    /// From one token of a text to the next, for calls of the priority interactive; `calls` counts steps, so the mean time per output
    /// token is `nanoseconds` by `calls`.
    KINGLET_STAGE_OUTPUT_TOKEN_INTERACTIVE = 25, c"output_token_interactive", Stage::OutputTokenInteractive;
    /// The same for calls of the priority normal.
    KINGLET_STAGE_OUTPUT_TOKEN_NORMAL = 26, c"output_token_normal", Stage::OutputTokenNormal;
    /// The same for calls of the priority bulk.
    KINGLET_STAGE_OUTPUT_TOKEN_BULK = 27, c"output_token_bulk", Stage::OutputTokenBulk;
}

/// Totals of one stage since the model was loaded or its counters were reset. A stage that a call enters several times, once per layer
/// or once per pass, counts its items and tokens each time. The times of concurrent calls are added.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_stage_totals {
    /// sizeof(kinglet_stage_totals), set by the caller.
    pub struct_size: usize,
    /// How often the stage was entered.
    pub calls: u64,
    /// Texts or sequences that were processed; for KINGLET_STAGE_LOAD files.
    pub items: u64,
    /// Tokens that were processed.
    pub tokens: u64,
    /// Time in the stage, in nanoseconds.
    pub nanoseconds: u64,
}

versioned!(kinglet_stage_totals, "totals", 40);

/// Fills `totals` with those of one stage. Calls in progress may be counted in some stages and not yet in others. Fails with
/// KINGLET_STATUS_INVALID_ARGUMENT for an unknown stage.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_stage(
    model: *const kinglet_model,
    stage: kinglet_stage,
    totals: *mut kinglet_stage_totals,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle and a struct of the size that it states.
        let (loaded, place) = unsafe { (handle::borrow(model)?, Results::new(totals)?) };
        let stage = Stage::from_u32(stage).ok_or_else(|| unknown(stage, "stage"))?;
        let t = loaded.model.counters().stage(stage);
        place.write(kinglet_stage_totals {
            struct_size: 0,
            calls: t.calls,
            items: t.items,
            tokens: t.tokens,
            nanoseconds: t.nanoseconds,
        });
        Ok(())
    })
}

/// The distribution of the durations of whole calls that succeeded, in nanoseconds, within 0.1 %. All 0 before the first call.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_latency {
    /// sizeof(kinglet_latency), set by the caller.
    pub struct_size: usize,
    /// The number of calls.
    pub count: u64,
    /// The shortest call.
    pub min: u64,
    /// The longest call.
    pub max: u64,
    /// The median.
    pub p50: u64,
    /// The 90th percentile.
    pub p90: u64,
    /// The 95th percentile.
    pub p95: u64,
    /// The 99th percentile.
    pub p99: u64,
    /// The mean.
    pub mean: f64,
    /// The standard deviation.
    pub standard_deviation: f64,
}

versioned!(kinglet_latency, "latency", 80);

/// Fills `latency` with the durations of the model's calls since it was loaded or its counters were reset.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_latency(
    model: *const kinglet_model,
    latency: *mut kinglet_latency,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle and a struct of the size that it states.
        let (loaded, place) = unsafe { (handle::borrow(model)?, Results::new(latency)?) };
        let l = loaded.model.counters().latency();
        place.write(kinglet_latency {
            struct_size: 0,
            count: l.count,
            min: l.min,
            max: l.max,
            p50: l.p50,
            p90: l.p90,
            p95: l.p95,
            p99: l.p99,
            mean: l.mean,
            standard_deviation: l.standard_deviation,
        });
        Ok(())
    })
}

/// Sets all of the model's counters to zero. NULL is ignored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_reset_counters(model: *mut kinglet_model) {
    // SAFETY: C passes NULL or a live handle.
    quietly(|| unsafe { handle::borrow(model) }.map(|loaded| loaded.model.reset_counters()).unwrap_or_default());
}

enumeration! {
    /// A text format of exported counters.
    pub type kinglet_counters_format, kinglet_counters_format_name;
    /// One JSON object with the members `stages`, by name, and `latency`; times in nanoseconds.
    KINGLET_COUNTERS_FORMAT_JSON = 0, c"json", Format::Json;
    /// A header line, then one line per stage.
    KINGLET_COUNTERS_FORMAT_CSV = 1, c"csv", Format::Csv;
    /// The text exposition format of Prometheus.
    KINGLET_COUNTERS_FORMAT_PROMETHEUS = 2, c"prometheus", Format::Prometheus;
}

/// Writes all of the model's counters as text. `*text` receives the text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_export_counters(
    model: *const kinglet_model,
    format: kinglet_counters_format,
    text: *mut *mut kinglet_text,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    handle::create(text, error, || {
        // SAFETY: C passes a live handle.
        let loaded = unsafe { handle::borrow(model) }?;
        let format = Format::from_u32(format).ok_or_else(|| unknown(format, "format"))?;
        Ok(loaded.model.counters().export(format).into_boxed_str())
    })
}
