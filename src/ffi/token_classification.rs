//! Token classification.

use crate::tasks::token_classification::TokenClassifications;

use super::boundary::boundary;
use super::classification::{kinglet_classify_options, read};
use super::error::{kinglet_error, kinglet_status};
use super::handle::{self, handle};
use super::model::kinglet_model;
use super::strings::{kinglet_str, texts};
use super::structs::{Results, versioned};

handle! {
    /// The labelled tokens of a batch of texts.
    pub struct kinglet_token_classifications: Owned<TokenClassifications>, "classifications";
    /// Frees token classifications and everything borrowed from them.
    pub fn kinglet_token_classifications_free;
}

/// Labels the tokens of `count` texts, for instance the names in them. `options` may be NULL. `*classifications` receives the result.
/// Fails with KINGLET_STATUS_UNSUPPORTED if the model has no head for it, KINGLET_STATUS_OUT_OF_MEMORY, or KINGLET_STATUS_CANCELLED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_classify_tokens(
    model: *const kinglet_model,
    texts: *const kinglet_str,
    count: usize,
    options: *const kinglet_classify_options,
    classifications: *mut *mut kinglet_token_classifications,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    handle::create(classifications, error, || {
        let (loaded, texts, (options, aggregation)) =
            // SAFETY: C passes a live handle, an array of `count` texts and options of the size that they state.
            unsafe { (handle::borrow(model)?, self::texts(texts, count, "texts")?, read(options)?) };
        loaded.model.classify_tokens(&texts, aggregation.unwrap_or_default(), &options)
    })
}

/// The contents of a kinglet_token_classifications.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_token_classifications_view {
    /// sizeof(kinglet_token_classifications_view), set by the caller.
    pub struct_size: usize,
    /// Texts in the batch.
    pub count: usize,
    /// Entities in all texts; kinglet_token_classifications_entity has each.
    pub entity_count: usize,
    /// Tokens in all texts, special tokens included.
    pub token_count: usize,
    /// Scores per token; kinglet_model_view has the names of the labels.
    pub label_count: usize,
    /// The scores of the tokens one after the other: `token_count * label_count` values.
    pub scores: *const f32,
    /// `count + 1` values: the tokens of text i are those from `starts[i]` to `starts[i + 1]` (exclusive).
    pub starts: *const usize,
    /// `count` values: 1 for texts that were truncated, else 0.
    pub truncated: *const u8,
}

versioned!(kinglet_token_classifications_view, "view", 64);

/// Fills `view`, which is valid until the token classifications are freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_token_classifications_read(
    classifications: *const kinglet_token_classifications,
    view: *mut kinglet_token_classifications_view,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle and a struct of the size that it states.
        let (result, view) = unsafe { (handle::borrow(classifications)?, Results::new(view)?) };
        view.write(kinglet_token_classifications_view {
            struct_size: 0,
            count: result.truncated.len(),
            entity_count: result.entities.len(),
            token_count: result.starts[result.starts.len() - 1],
            label_count: result.labels,
            scores: result.scores.as_ptr(),
            starts: result.starts.as_ptr(),
            truncated: result.truncated.as_ptr(),
        });
        Ok(())
    })
}

/// A labelled part of a text.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_entity {
    /// sizeof(kinglet_entity), set by the caller.
    pub struct_size: usize,
    /// The number of the text in the batch.
    pub text: usize,
    /// Its first byte in that text.
    pub start: usize,
    /// The byte after its last one.
    pub end: usize,
    /// The label, or with KINGLET_AGGREGATION_SIMPLE the label without `B-` or `I-`.
    pub name: kinglet_str,
    /// The number of the label of its first token.
    pub label: u32,
    /// The score of the label, or with KINGLET_AGGREGATION_SIMPLE the mean over its tokens.
    pub score: f32,
}

versioned!(kinglet_entity, "entity", 56);

/// Fills `entity` with entity number `index`, valid until the token classifications are freed. Entities are in the order of the texts;
/// tokens labelled `O` make none. Fails with KINGLET_STATUS_INVALID_ARGUMENT if there is no such entity.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_token_classifications_entity(
    classifications: *const kinglet_token_classifications,
    index: usize,
    entity: *mut kinglet_entity,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle and a struct of the size that it states.
        let (result, place) = unsafe { (handle::borrow(classifications)?, Results::new(entity)?) };
        let e = handle::item(&result.entities, index, "index")?;
        place.write(kinglet_entity {
            struct_size: 0,
            text: e.text,
            start: e.start,
            end: e.end,
            name: kinglet_str::lend(&e.name),
            label: e.label,
            score: e.score,
        });
        Ok(())
    })
}
