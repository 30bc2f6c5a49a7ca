//! Token classification.

use crate::tasks::token_classification::TokenClassifications;

use super::boundary::{boundary, quietly};
use super::classification::{kinglet_classify_options, read};
use super::error::{kinglet_error, kinglet_status};
use super::handle::{self, Alone, Handle, Place};
use super::model::kinglet_model;
use super::strings::{kinglet_str, texts};
use super::structs::{Results, Versioned};

/// A labelled piece of a text.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_entity {
    /// Which text of the batch.
    pub text: usize,
    /// Where it lies in that text: bytes `start` to `end` (excluded).
    pub start: usize,
    pub end: usize,
    /// The label, or with KINGLET_AGGREGATION_SIMPLE its kind without "B-" and "I-". Valid as long as the view.
    pub name: kinglet_str,
    /// The label of its first token.
    pub label: u32,
    pub score: f32,
}

/// The labelled tokens of a batch of texts.
pub struct kinglet_token_classifications {
    _private: [u8; 0],
}

impl Handle for kinglet_token_classifications {
    type Target = Lent;
    type Ownership = Alone;
    const NAME: &'static str = "classifications";
}

pub(super) struct Lent {
    result: TokenClassifications,
    /// The entities in C's form; their names point into `result`, which lives as long and never changes.
    entities: Vec<kinglet_entity>,
}

/// What token classifications hold. Set `struct_size` to its size before the call. All pointers are valid until they are freed.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_token_classifications_view {
    pub struct_size: usize,
    /// Texts in the batch.
    pub count: usize,
    /// Entities in the order of the texts; tokens labelled "O" make none.
    pub entities: *const kinglet_entity,
    pub entity_count: usize,
    /// `token_count * label_count` values, a row a token, special tokens included.
    pub scores: *const f32,
    pub token_count: usize,
    pub label_count: usize,
    /// `count + 1` values: text i's tokens are starts[i] to starts[i + 1] (excluded).
    pub starts: *const usize,
    /// `count` values: 1 for texts that were cut.
    pub truncated: *const u8,
}

// SAFETY: repr(C), `struct_size` first, plain values.
unsafe impl Versioned for kinglet_token_classifications_view {
    const NAME: &'static str = "view";
    const FIRST_SIZE: usize = size_of::<Self>();
}

/// Labels the tokens of `count` texts. `options` may be NULL. On success `*classifications` are token classifications that the
/// caller frees with kinglet_token_classifications_free. KINGLET_STATUS_UNSUPPORTED if the model has no head for it. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_classify_tokens(
    model: *const kinglet_model,
    texts: *const kinglet_str,
    count: usize,
    options: *const kinglet_classify_options,
    classifications: *mut *mut kinglet_token_classifications,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        let (loaded, texts, (options, aggregation)) =
            // SAFETY: C passes a live handle, an array of `count` texts and options of the size that they state.
            unsafe { (handle::borrow(model)?, self::texts(texts, count, "texts")?, read(options)?) };
        let place = Place::new(classifications, "classifications")?;
        let result = loaded.model.classify_tokens(&texts, aggregation, &options)?;
        let entities = result.entities.iter().map(|e| kinglet_entity {
            text: e.text,
            start: e.start,
            end: e.end,
            name: kinglet_str::lend(&e.name),
            label: e.label,
            score: e.score,
        });
        let entities = entities.collect();
        place.write(handle::give(Lent { result, entities }));
        Ok(())
    })
}

/// Fills `view` with what the token classifications hold. The view is valid until they are freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_token_classifications_read(
    classifications: *const kinglet_token_classifications,
    view: *mut kinglet_token_classifications_view,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle and a struct of the size that it states.
        let (Lent { result, entities }, view) = unsafe { (handle::borrow(classifications)?, Results::new(view)?) };
        view.write(kinglet_token_classifications_view {
            struct_size: 0,
            count: result.truncated.len(),
            entities: entities.as_ptr(),
            entity_count: entities.len(),
            scores: result.scores.as_ptr(),
            token_count: result.starts[result.starts.len() - 1],
            label_count: result.labels,
            starts: result.starts.as_ptr(),
            truncated: result.truncated.as_ptr(),
        });
        Ok(())
    })
}

/// Frees token classifications and all views of them. NULL does nothing. No other call may use them meanwhile or later.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_token_classifications_free(classifications: *mut kinglet_token_classifications) {
    // SAFETY: C passes NULL or a live handle and gives it up.
    quietly(|| unsafe { handle::free(classifications) });
}
