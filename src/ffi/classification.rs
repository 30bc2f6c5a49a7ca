//! Classification.

use crate::base::error::{Error, Result};
use crate::tasks::classification::{Classifications, ClassifyOptions, ScoreFunction};
use crate::tasks::token_classification::Aggregation;

use super::boundary::boundary;
use super::cancellation::{self, kinglet_cancellation};
use super::enums::enumeration;
use super::error::{kinglet_error, kinglet_status};
use super::handle::{self, handle};
use super::model::kinglet_model;
use super::scheduler::{self, kinglet_priority};
use super::strings::{kinglet_str, optional, texts};
use super::structs::{Results, choice, options, versioned};

enumeration! {
    /// How the outputs of a classification head become scores.
    pub type kinglet_score_function, kinglet_score_function_name;
    /// As the model's files say: for a cross-encoder its activation_fn; for others softmax or sigmoid by `problem_type`, and sigmoid to
    /// score pairs.
    KINGLET_SCORE_FUNCTION_AUTO = 0, c"auto";
    /// The outputs unchanged.
    KINGLET_SCORE_FUNCTION_NONE = 1, c"none", ScoreFunction::None;
    /// Independent labels: each score is between 0 and 1.
    KINGLET_SCORE_FUNCTION_SIGMOID = 2, c"sigmoid", ScoreFunction::Sigmoid;
    /// Exclusive labels: the scores sum to 1.
    KINGLET_SCORE_FUNCTION_SOFTMAX = 3, c"softmax", ScoreFunction::Softmax;
    /// Each label by itself, between -1 and 1.
    KINGLET_SCORE_FUNCTION_TANH = 4, c"tanh", ScoreFunction::Tanh;
}

enumeration! {
    /// How labelled tokens become entities.
    pub type kinglet_aggregation, kinglet_aggregation_name;
    /// The default: simple.
    KINGLET_AGGREGATION_AUTO = 0, c"auto";
    /// One entity per token, named by the full label, for instance `B-PER`.
    KINGLET_AGGREGATION_NONE = 1, c"none", Aggregation::None;
    /// One entity per run of adjacent tokens of the same kind, named without `B-` and `I-`; its score is their mean.
    KINGLET_AGGREGATION_SIMPLE = 2, c"simple", Aggregation::Simple;
}

/// Options of kinglet_model_classify, kinglet_model_score and kinglet_model_classify_tokens. Zero is the default of every field.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_classify_options {
    /// sizeof(kinglet_classify_options).
    pub struct_size: usize,
    /// How outputs become scores.
    pub function: kinglet_score_function,
    /// Only for kinglet_model_classify_tokens; the other calls refuse any value but 0.
    pub aggregation: kinglet_aggregation,
    /// The maximum number of tokens of a text or pair, special tokens included; longer ones are truncated. 0: the model's maximum.
    pub max_length: usize,
    /// Cancels the call from another thread. NULL: none.
    pub cancellation: *const kinglet_cancellation,
    /// The name of a prompt in the model's config_sentence_transformers.json, which is put before each text or
    /// first text of a pair. Empty: its `default_prompt_name`, if it has one. Not for kinglet_model_classify_tokens.
    pub prompt_name: kinglet_str,
    /// A prompt that is put there; `prompt_name` is then ignored. With `data` not NULL and `size` 0: no prompt.
    pub prompt: kinglet_str,
    /// How urgent the call is.
    pub priority: kinglet_priority,
    /// Milliseconds after which the call fails with KINGLET_STATUS_DEADLINE_EXCEEDED if it is not done, whether it runs or waits. 0: none.
    pub deadline_ms: u32,
}

versioned!(kinglet_classify_options, "options", 32);

/// Reads options; the aggregation separately, which only token classification has.
///
/// # Safety
/// `pointer` is NULL or points at options of the size that they state, whose cancellation is NULL or alive.
pub(super) unsafe fn read(pointer: *const kinglet_classify_options) -> Result<(ClassifyOptions, Option<Aggregation>)> {
    // SAFETY: the caller's promise.
    let o = unsafe { options(pointer) }?;
    let aggregation = choice(o.aggregation, "options.aggregation", Aggregation::from_u32)?;
    let options = ClassifyOptions {
        function: choice(o.function, "options.function", ScoreFunction::from_u32)?,
        max_length: (o.max_length != 0).then_some(o.max_length),
        // SAFETY: likewise.
        cancellation: unsafe { cancellation::optional(o.cancellation) },
        priority: scheduler::priority(o.priority)?,
        deadline: scheduler::deadline(o.deadline_ms),
        // SAFETY: likewise.
        prompt_name: unsafe { optional(o.prompt_name, "options.prompt_name") }?.filter(|name| !name.is_empty()),
        // SAFETY: likewise.
        prompt: unsafe { optional(o.prompt, "options.prompt") }?,
    };
    Ok((options, aggregation))
}

/// Reads options of a call that makes no entities.
///
/// # Safety
/// As `read`.
pub(super) unsafe fn read_without_aggregation(pointer: *const kinglet_classify_options) -> Result<ClassifyOptions> {
    // SAFETY: the caller's promise.
    match unsafe { read(pointer) }? {
        (options, None) => Ok(options),
        _ => Err(Error::invalid_argument("options.aggregation: is only for kinglet_model_classify_tokens")),
    }
}

handle! {
    /// The scores of a batch of texts or pairs.
    pub struct kinglet_classifications: Owned<Classifications>, "classifications";
    /// Frees classifications and everything borrowed from them.
    pub fn kinglet_classifications_free;
}

/// Classifies `count` texts, or `count` pairs if `pairs` is not NULL: then it holds the second texts. `options` may be NULL.
/// `*classifications` receives the scores. Fails with KINGLET_STATUS_UNSUPPORTED if the model has no head for it,
/// KINGLET_STATUS_OUT_OF_MEMORY, or KINGLET_STATUS_CANCELLED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_classify(
    model: *const kinglet_model,
    texts: *const kinglet_str,
    pairs: *const kinglet_str,
    count: usize,
    options: *const kinglet_classify_options,
    classifications: *mut *mut kinglet_classifications,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    handle::create(classifications, error, || {
        // SAFETY: C passes a live handle, arrays of `count` texts and options of the size that they state.
        let (loaded, firsts, seconds, options) = unsafe {
            let seconds = if pairs.is_null() { None } else { Some(self::texts(pairs, count, "pairs")?) };
            let firsts = self::texts(texts, count, "texts")?;
            (handle::borrow(model)?, firsts, seconds, read_without_aggregation(options)?)
        };
        loaded.model.classify(&firsts, seconds.as_deref(), &options)
    })
}

/// Scores `count` pairs of a query and a document with a cross-encoder: one score per pair. That is a model with one output, or a decoder
/// whose files have sentence-transformers' module `LogitScore` (docs/sentence-transformers.md). `options` may be NULL. `*classifications` receives the scores, with a `label_count` of 1. Fails with KINGLET_STATUS_UNSUPPORTED if the model is no
/// cross-encoder, KINGLET_STATUS_OUT_OF_MEMORY, or KINGLET_STATUS_CANCELLED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_score(
    model: *const kinglet_model,
    queries: *const kinglet_str,
    documents: *const kinglet_str,
    count: usize,
    options: *const kinglet_classify_options,
    classifications: *mut *mut kinglet_classifications,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    handle::create(classifications, error, || {
        // SAFETY: C passes a live handle, arrays of `count` texts and options of the size that they state.
        let (loaded, queries, documents, options) = unsafe {
            let documents = texts(documents, count, "documents")?;
            let queries = texts(queries, count, "queries")?;
            (handle::borrow(model)?, queries, documents, read_without_aggregation(options)?)
        };
        loaded.model.score(&queries, &documents, &options)
    })
}

/// The number of texts or pairs; 0 if `classifications` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_classifications_count(classifications: *const kinglet_classifications) -> usize {
    // SAFETY: C passes NULL or a live handle.
    unsafe { handle::borrow(classifications) }.map_or(0, |c| c.best.len())
}

/// The scores of text or pair number `index`: one per label. Valid until the classifications are freed. NULL if `classifications` is
/// NULL or there is no such text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_classifications_scores(
    classifications: *const kinglet_classifications,
    index: usize,
) -> *const f32 {
    // SAFETY: C passes NULL or a live handle.
    unsafe { handle::borrow(classifications) }.map_or(std::ptr::null(), |c| handle::row(&c.scores, c.labels, index))
}

/// The contents of a kinglet_classifications.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_classifications_view {
    /// sizeof(kinglet_classifications_view), set by the caller.
    pub struct_size: usize,
    /// Texts or pairs in the batch.
    pub count: usize,
    /// Scores per text; kinglet_model_view has the names of the labels.
    pub label_count: usize,
    /// The scores of the texts one after the other: `count * label_count` values.
    pub scores: *const f32,
    /// `count` values: the label with the highest score.
    pub best: *const u32,
    /// `count` values: the tokens of each text or pair, special tokens included.
    pub token_counts: *const usize,
    /// `count` values: 1 for those that were truncated, else 0.
    pub truncated: *const u8,
}

versioned!(kinglet_classifications_view, "view", 56);

/// Fills `view`, which is valid until the classifications are freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_classifications_read(
    classifications: *const kinglet_classifications,
    view: *mut kinglet_classifications_view,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle and a struct of the size that it states.
        let (c, view) = unsafe { (handle::borrow(classifications)?, Results::new(view)?) };
        view.write(kinglet_classifications_view {
            struct_size: 0,
            count: c.best.len(),
            label_count: c.labels,
            scores: c.scores.as_ptr(),
            best: c.best.as_ptr(),
            token_counts: c.tokens.as_ptr(),
            truncated: c.truncated.as_ptr(),
        });
        Ok(())
    })
}
