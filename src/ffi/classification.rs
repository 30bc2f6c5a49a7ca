//! Classification of texts, and scoring of pairs.

use crate::base::error::Result;
use crate::tasks::classification::{Classifications, ClassifyOptions, ScoreFunction};
use crate::tasks::token_classification::Aggregation;

use super::boundary::{boundary, quietly};
use super::cancellation::{self, kinglet_cancellation};
use super::error::{kinglet_error, kinglet_status};
use super::handle::{self, Alone, Handle, Place};
use super::model::kinglet_model;
use super::strings::{kinglet_str, texts};
use super::structs::{self, Results, Versioned, choice, options, unknown};

/// How a head's outputs become scores: one of the KINGLET_FUNCTION constants.
pub type kinglet_function = u32;

/// What the model's files say: softmax or sigmoid as `problem_type` has it; for pairs what the cross-encoder's files name, else
/// sigmoid.
pub const KINGLET_FUNCTION_AUTO: u32 = 0;
/// The outputs as they are.
pub const KINGLET_FUNCTION_NONE: u32 = 1;
/// Each label on its own, between 0 and 1.
pub const KINGLET_FUNCTION_SIGMOID: u32 = 2;
/// Labels exclude each other; the scores add up to 1.
pub const KINGLET_FUNCTION_SOFTMAX: u32 = 3;

/// How labelled tokens become entities: one of the KINGLET_AGGREGATION constants.
pub type kinglet_aggregation = u32;

/// An entity a token, under the label's full name.
pub const KINGLET_AGGREGATION_NONE: u32 = 0;
/// Neighbouring tokens of one kind make one entity, named without "B-" and "I-"; its score is their mean.
pub const KINGLET_AGGREGATION_SIMPLE: u32 = 1;

const _: () = {
    assert!(KINGLET_FUNCTION_NONE == ScoreFunction::None as u32);
    assert!(KINGLET_FUNCTION_SIGMOID == ScoreFunction::Sigmoid as u32);
    assert!(KINGLET_FUNCTION_SOFTMAX == ScoreFunction::Softmax as u32);
    assert!(KINGLET_AGGREGATION_NONE == Aggregation::None as u32);
    assert!(KINGLET_AGGREGATION_SIMPLE == Aggregation::Simple as u32);
};

/// What is wanted of kinglet_model_classify, _score and _classify_tokens. Call kinglet_classify_options_init first; later versions
/// add fields at the end.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_classify_options {
    pub struct_size: usize,
    /// Default KINGLET_FUNCTION_AUTO.
    pub function: kinglet_function,
    /// For kinglet_model_classify_tokens. Default KINGLET_AGGREGATION_SIMPLE.
    pub aggregation: kinglet_aggregation,
    /// The most tokens of a text or pair, special ones counted; longer ones are cut. 0 (the default): what the model takes.
    pub max_length: usize,
    /// Stops the call from another thread. Default NULL.
    pub cancellation: *const kinglet_cancellation,
}

impl Default for kinglet_classify_options {
    fn default() -> Self {
        Self {
            struct_size: size_of::<Self>(),
            function: KINGLET_FUNCTION_AUTO,
            aggregation: KINGLET_AGGREGATION_SIMPLE,
            max_length: 0,
            cancellation: std::ptr::null(),
        }
    }
}

// SAFETY: repr(C), `struct_size` first, integers and a pointer.
unsafe impl Versioned for kinglet_classify_options {
    const NAME: &'static str = "options";
    const FIRST_SIZE: usize = size_of::<Self>();
}

/// Reads options; the aggregation apart, which only token classification has.
///
/// # Safety
/// `pointer` is NULL or points at options of the size that they state, whose switch is NULL or alive.
pub(super) unsafe fn read(pointer: *const kinglet_classify_options) -> Result<(ClassifyOptions, Aggregation)> {
    // SAFETY: the caller's promise.
    let o = unsafe { options(pointer, kinglet_classify_options::default()) }?;
    let aggregation = Aggregation::from_u32(o.aggregation);
    let options = ClassifyOptions {
        function: choice(o.function, "options.function", ScoreFunction::from_u32)?,
        max_length: (o.max_length != 0).then_some(o.max_length),
        // SAFETY: likewise.
        cancellation: unsafe { cancellation::optional(o.cancellation) },
    };
    Ok((options, aggregation.ok_or_else(|| unknown(o.aggregation, "options.aggregation"))?))
}

/// Fills options with their defaults. `struct_size` is sizeof the struct, as the caller was compiled. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_classify_options_init(
    options: *mut kinglet_classify_options,
    struct_size: usize,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    // SAFETY: C passes a struct of the size that it states.
    boundary(error, || unsafe { structs::init(options, struct_size, kinglet_classify_options::default()) })
}

/// The scores of a batch of texts or pairs.
pub struct kinglet_classifications {
    _private: [u8; 0],
}

impl Handle for kinglet_classifications {
    type Target = Classifications;
    type Ownership = Alone;
    const NAME: &'static str = "classifications";
}

/// What classifications hold. Set `struct_size` to its size before the call. All pointers are valid until they are freed.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_classifications_view {
    pub struct_size: usize,
    /// Texts or pairs in the batch.
    pub count: usize,
    /// Scores in a row; kinglet_model_read has the labels' names.
    pub label_count: usize,
    /// `count * label_count` values, row by row.
    pub scores: *const f32,
    /// `count` values: the label with the highest score.
    pub best: *const u32,
    /// `count` values: each text's or pair's tokens, special ones counted.
    pub token_counts: *const usize,
    /// `count` values: 1 for those that were cut.
    pub truncated: *const u8,
}

// SAFETY: repr(C), `struct_size` first, plain values.
unsafe impl Versioned for kinglet_classifications_view {
    const NAME: &'static str = "view";
    const FIRST_SIZE: usize = size_of::<Self>();
}

/// Classifies `count` texts, or pairs if `pairs` is not NULL and holds their `count` second texts. `options` may be NULL. On
/// success `*classifications` are classifications that the caller frees with kinglet_classifications_free.
/// KINGLET_STATUS_UNSUPPORTED if the model has no head for it. Any thread.
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
    boundary(error, || {
        // SAFETY: C passes a live handle, arrays of `count` texts and options of the size that they state.
        let (loaded, firsts, seconds, (options, _)) = unsafe {
            let seconds = if pairs.is_null() { None } else { Some(self::texts(pairs, count, "pairs")?) };
            (handle::borrow(model)?, self::texts(texts, count, "texts")?, seconds, read(options)?)
        };
        let place = Place::new(classifications, "classifications")?;
        place.write(handle::give(loaded.model.classify(&firsts, seconds.as_deref(), &options)?));
        Ok(())
    })
}

/// Scores `count` pairs of a query and a document with a cross-encoder, a model with one output: one score a pair. `options` may
/// be NULL. On success `*classifications` are classifications with a `label_count` of 1, which the caller frees with
/// kinglet_classifications_free. KINGLET_STATUS_UNSUPPORTED if the model is no cross-encoder. Any thread.
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
    boundary(error, || {
        // SAFETY: C passes a live handle, arrays of `count` texts and options of the size that they state.
        let (loaded, queries, documents, (options, _)) = unsafe {
            let documents = texts(documents, count, "documents")?;
            (handle::borrow(model)?, texts(queries, count, "queries")?, documents, read(options)?)
        };
        let place = Place::new(classifications, "classifications")?;
        place.write(handle::give(loaded.model.score(&queries, &documents, &options)?));
        Ok(())
    })
}

/// Fills `view` with what the classifications hold. The view is valid until they are freed. Any thread.
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

/// Frees classifications and all views of them. NULL does nothing. No other call may use them meanwhile or later.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_classifications_free(classifications: *mut kinglet_classifications) {
    // SAFETY: C passes NULL or a live handle and gives it up.
    quietly(|| unsafe { handle::free(classifications) });
}
