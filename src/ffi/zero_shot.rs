//! Zero-shot classification.

use crate::tasks::zero_shot::{ZeroShot, ZeroShotOptions};

use super::boundary::boundary;
use super::cancellation::{self, kinglet_cancellation};
use super::error::{kinglet_error, kinglet_status};
use super::handle::{self, handle};
use super::model::kinglet_model;
use super::scheduler::{self, kinglet_priority};
use super::strings::{kinglet_str, optional, texts};
use super::structs::{Results, flag, options, reserved, versioned};

/// Options of kinglet_model_classify_zero_shot. Zero is the default of every field.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_zero_shot_options {
    /// sizeof(kinglet_zero_shot_options).
    pub struct_size: usize,
    /// The hypothesis about a label, which takes the place of `{}`. Empty: `This example is {}.`
    pub hypothesis_template: kinglet_str,
    /// The maximum number of tokens of a text with a hypothesis, special tokens included. The text is truncated, never the hypothesis. 0: the
    /// model's maximum.
    pub max_length: usize,
    /// Cancels the call from another thread. NULL: none.
    pub cancellation: *const kinglet_cancellation,
    /// 1: a text may have several labels, and each score is between 0 and 1 on its own. 0: the scores of a text sum to 1, unless there is only
    /// one label.
    pub multi_label: u32,
    /// Must be 0.
    pub reserved: u32,
    /// How urgent the call is.
    pub priority: kinglet_priority,
    /// Milliseconds after which the call fails with KINGLET_STATUS_DEADLINE_EXCEEDED if it is not done, whether it runs or waits. 0: none.
    pub deadline_ms: u32,
}

versioned!(kinglet_zero_shot_options, "options", 56);

handle! {
    /// The labels of a batch of texts, sorted by their scores.
    pub struct kinglet_zero_shot_results: Owned<ZeroShot>, "results";
    /// Frees results and everything borrowed from them.
    pub fn kinglet_zero_shot_results_free;
}

/// Classifies `count` texts by `label_count` labels with a model of natural language inference, which scores whether a text entails a
/// hypothesis about each label. `options` may be NULL. `*results` receives the labels of each text, sorted. Fails with
/// KINGLET_STATUS_UNSUPPORTED if no label of the model begins with "entail" (the message names its labels),
/// KINGLET_STATUS_INVALID_ARGUMENT for no label, an empty one, or one that leaves no room for a text; KINGLET_STATUS_OUT_OF_MEMORY, or
/// KINGLET_STATUS_CANCELLED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_classify_zero_shot(
    model: *const kinglet_model,
    texts: *const kinglet_str,
    count: usize,
    labels: *const kinglet_str,
    label_count: usize,
    options: *const kinglet_zero_shot_options,
    results: *mut *mut kinglet_zero_shot_results,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    handle::create(results, error, || {
        // SAFETY: C passes a live handle, arrays of `count` texts and `label_count` labels, and options of the size that they state with a
        // text and a cancellation that are NULL or alive.
        let (loaded, texts, labels, o, cancellation, template) = unsafe {
            let o = self::options(options)?;
            let template = optional(o.hypothesis_template, "options.hypothesis_template")?;
            let (texts, labels) = (self::texts(texts, count, "texts")?, self::texts(labels, label_count, "labels")?);
            (handle::borrow(model)?, texts, labels, o, cancellation::optional(o.cancellation), template)
        };
        reserved(o.reserved)?;
        let options = ZeroShotOptions {
            hypothesis_template: template.filter(|template| !template.is_empty()),
            multi_label: flag(o.multi_label, "options.multi_label")?,
            max_length: (o.max_length != 0).then_some(o.max_length),
            cancellation,
            priority: scheduler::priority(o.priority)?,
            deadline: scheduler::deadline(o.deadline_ms),
        };
        loaded.model.classify_zero_shot(&texts, &labels, &options)
    })
}

/// The contents of a kinglet_zero_shot_results.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_zero_shot_results_view {
    /// sizeof(kinglet_zero_shot_results_view), set by the caller.
    pub struct_size: usize,
    /// Texts in the batch.
    pub count: usize,
    /// Labels of the call.
    pub label_count: usize,
    /// `count * label_count` values, text by text: the numbers of the labels, the likeliest first; of equal ones the lower number first.
    pub labels: *const u32,
    /// `count * label_count` values: their scores, in the same order.
    pub scores: *const f32,
    /// `count` values: the tokens of each text with all hypotheses, special tokens included.
    pub token_counts: *const usize,
    /// `count` values: 1 for texts that were truncated for at least one hypothesis, else 0.
    pub truncated: *const u8,
}

versioned!(kinglet_zero_shot_results_view, "view", 56);

/// Fills `view`, which is valid until the results are freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_zero_shot_results_read(
    results: *const kinglet_zero_shot_results,
    view: *mut kinglet_zero_shot_results_view,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle and a struct of the size that it states.
        let (z, view) = unsafe { (handle::borrow(results)?, Results::new(view)?) };
        view.write(kinglet_zero_shot_results_view {
            struct_size: 0,
            count: z.tokens.len(),
            label_count: z.labels,
            labels: z.order.as_ptr(),
            scores: z.scores.as_ptr(),
            token_counts: z.tokens.as_ptr(),
            truncated: z.truncated.as_ptr(),
        });
        Ok(())
    })
}
