//! Timing counters.

use std::mem::offset_of;

use crate::base::counters::{Format, Snapshot, Stage};

use super::boundary::boundary;
use super::error::{kinglet_error, kinglet_status};
use super::handle::{self, Place};
use super::model::kinglet_model;
use super::strings::kinglet_text;
use super::structs::{Results, Versioned, unknown};

/// A form for exported counters: one of the KINGLET_FORMAT constants.
pub type kinglet_format = u32;

/// One object: `stages` by name, and `latency`; times in nanoseconds.
pub const KINGLET_FORMAT_JSON: u32 = 0;
/// A header line, and a line a stage.
pub const KINGLET_FORMAT_CSV: u32 = 1;
/// Prometheus' text exposition format.
pub const KINGLET_FORMAT_PROMETHEUS: u32 = 2;

const _: () = {
    assert!(KINGLET_FORMAT_JSON == Format::Json as u32);
    assert!(KINGLET_FORMAT_CSV == Format::Csv as u32);
    assert!(KINGLET_FORMAT_PROMETHEUS == Format::Prometheus as u32);
};

/// Totals of one stage of the work since the model was loaded or its counters were reset. A stage that a call enters several times,
/// once a layer or once a pass, counts its items and tokens each time. Calls that run at once add their times.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct kinglet_stage {
    /// Times that the stage was entered.
    pub calls: u64,
    /// Texts or sequences that went through it; for `load`, files.
    pub items: u64,
    /// Tokens that went through it.
    pub tokens: u64,
    pub nanoseconds: u64,
}

/// The distribution of whole calls' durations, in nanoseconds, each within 0.1 %.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct kinglet_latency {
    pub count: u64,
    pub min: u64,
    pub max: u64,
    pub p50: u64,
    pub p90: u64,
    pub p95: u64,
    pub p99: u64,
    pub mean: f64,
    pub standard_deviation: f64,
}

/// The counters of a model. Set `struct_size` to its size before the call; later versions add stages at the end.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_counters {
    pub struct_size: usize,
    /// Whole calls that succeeded.
    pub latency: kinglet_latency,
    /// Reading, converting and packing the model.
    pub load: kinglet_stage,
    /// Text to token ids.
    pub tokenize: kinglet_stage,
    /// Laying token sequences end to end.
    pub pack: kinglet_stage,
    /// Looking up and summing embeddings, and their norm.
    pub embed: kinglet_stage,
    /// Scaled dot-product attention; its projections count as linear.
    pub attention: kinglet_stage,
    /// Matrix products with weights, and the norms between them; the whole runs of an ONNX graph.
    pub linear: kinglet_stage,
    /// Pooling and normalisation.
    pub pool: kinglet_stage,
    /// Whole calls, from the arguments to the result.
    pub call: kinglet_stage,
    /// Steps of generation that read prompts, those of texts under way in the same step too.
    pub prefill: kinglet_stage,
    /// Steps of generation that add a token to each text, or several that were drafted.
    pub decode: kinglet_stage,
    /// Choosing tokens.
    pub sample: kinglet_stage,
    /// Token ids to text.
    pub detokenize: kinglet_stage,
    /// From a call's beginning to the first token of each text.
    pub first_token: kinglet_stage,
    /// Answers that came from the answer cache.
    pub answer_hit: kinglet_stage,
    /// Questions that the answer cache was asked and did not know.
    pub answer_miss: kinglet_stage,
    /// Looking for drafts, where prompt_lookup_num_tokens is set: items are the texts that had one, tokens those drafted.
    pub draft: kinglet_stage,
    /// Drafted tokens that stood, so that they needed no step of their own.
    pub accept: kinglet_stage,
    /// Values carried between the host's memory and a GPU's, waiting for what they depend on included: items are their bytes. A GPU
    /// works beside the program, so the other stages show how long work took to hand over, and the work itself shows here.
    pub transfer: kinglet_stage,
    /// Bytes that the model holds on a GPU now; 0 for one that runs on the CPU.
    pub device_memory: u64,
}

// SAFETY: repr(C), `struct_size` first, plain values.
unsafe impl Versioned for kinglet_counters {
    const NAME: &'static str = "counters";
    const FIRST_SIZE: usize = offset_of!(Self, prefill);
}

fn fill(snapshot: &Snapshot) -> kinglet_counters {
    let stage = |stage: Stage| {
        let t = snapshot.stage(stage);
        kinglet_stage { calls: t.calls, items: t.items, tokens: t.tokens, nanoseconds: t.nanoseconds }
    };
    let l = snapshot.latency();
    kinglet_counters {
        struct_size: 0,
        latency: kinglet_latency {
            count: l.count,
            min: l.min,
            max: l.max,
            p50: l.p50,
            p90: l.p90,
            p95: l.p95,
            p99: l.p99,
            mean: l.mean,
            standard_deviation: l.standard_deviation,
        },
        load: stage(Stage::Load),
        tokenize: stage(Stage::Tokenize),
        pack: stage(Stage::Pack),
        embed: stage(Stage::Embed),
        attention: stage(Stage::Attention),
        linear: stage(Stage::Linear),
        pool: stage(Stage::Pool),
        call: stage(Stage::Call),
        prefill: stage(Stage::Prefill),
        decode: stage(Stage::Decode),
        sample: stage(Stage::Sample),
        detokenize: stage(Stage::Detokenize),
        first_token: stage(Stage::FirstToken),
        answer_hit: stage(Stage::AnswerHit),
        answer_miss: stage(Stage::AnswerMiss),
        draft: stage(Stage::Draft),
        accept: stage(Stage::Accept),
        transfer: stage(Stage::Transfer),
        device_memory: snapshot.device_memory,
    }
}

/// Fills `counters` with the model's figures since it was loaded or they were reset. Any thread, also while calls run, which then
/// may show in some figures and not in others.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_counters_read(
    model: *const kinglet_model,
    counters: *mut kinglet_counters,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle and a struct of the size that it states.
        let (loaded, counters) = unsafe { (handle::borrow(model)?, Results::new(counters)?) };
        counters.write(fill(&loaded.model.counters()));
        Ok(())
    })
}

/// Sets all of the model's counters to zero. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_counters_reset(
    model: *const kinglet_model,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle.
        unsafe { handle::borrow(model) }?.model.reset_counters();
        Ok(())
    })
}

/// Writes the model's counters as text. On success `*text` is a text that the caller frees with kinglet_text_free. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_counters_export(
    model: *const kinglet_model,
    format: kinglet_format,
    text: *mut *mut kinglet_text,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle.
        let loaded = unsafe { handle::borrow(model) }?;
        let place = Place::new(text, "text")?;
        let format = Format::from_u32(format).ok_or_else(|| unknown(format, "format"))?;
        place.write(handle::give(loaded.model.counters().export(format).into_boxed_str()));
        Ok(())
    })
}
