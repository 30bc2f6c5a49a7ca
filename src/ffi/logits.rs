//! Logits.

use crate::generate::Logits;

use super::boundary::boundary;
use super::cancellation::{self, kinglet_cancellation};
use super::error::{kinglet_error, kinglet_status};
use super::handle::{self, handle};
use super::model::kinglet_model;
use super::strings::array;
use super::structs::{Results, flag, options, reserved, versioned};

/// Options of kinglet_model_logits. Zero is the default of every field.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_logits_options {
    /// sizeof(kinglet_logits_options).
    pub struct_size: usize,
    /// 1 runs the tokens one at a time, as generation does; 0 runs them in one pass. On the CPU the logits are the same.
    pub stepwise: u32,
    /// Must be 0.
    pub reserved: u32,
    /// Cancels the call from another thread. NULL: none.
    pub cancellation: *const kinglet_cancellation,
}

versioned!(kinglet_logits_options, "options", 24);

handle! {
    /// The logits of one sequence of tokens.
    pub struct kinglet_logits: Owned<Logits>, "logits";
    /// Frees logits and everything borrowed from them.
    pub fn kinglet_logits_free;
}

/// Computes the logits that follow each token of a sequence, before any logits processor. For a decoder the sequence is `ids`, and
/// `decoder_ids` is NULL. For an encoder-decoder model `ids` is the source text and `decoder_ids` the sequence, which starts with the
/// decoder's start token. `options` may be NULL. `*logits` receives the logits. Fails with KINGLET_STATUS_UNSUPPORTED if the model
/// does not generate text, KINGLET_STATUS_INVALID_ARGUMENT for an unknown id or a sequence longer than the model takes,
/// KINGLET_STATUS_OUT_OF_MEMORY, or KINGLET_STATUS_CANCELLED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_logits(
    model: *const kinglet_model,
    ids: *const u32,
    id_count: usize,
    decoder_ids: *const u32,
    decoder_id_count: usize,
    options: *const kinglet_logits_options,
    logits: *mut *mut kinglet_logits,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    handle::create(logits, error, || {
        // SAFETY: C passes a live handle, arrays of the sizes stated and options of the size that they state.
        let (loaded, ids, decoder_ids, o) = unsafe {
            let decoder_ids = match decoder_ids.is_null() {
                true => None,
                false => Some(array(decoder_ids, decoder_id_count, "decoder_ids")?),
            };
            (handle::borrow(model)?, array(ids, id_count, "ids")?, decoder_ids, self::options(options)?)
        };
        reserved(o.reserved)?;
        let stepwise = flag(o.stepwise, "options.stepwise")?;
        // SAFETY: C passes NULL or a live cancellation.
        let cancellation = unsafe { cancellation::optional(o.cancellation) };
        loaded.model.logits(ids, decoder_ids, stepwise, cancellation.as_ref())
    })
}

/// The contents of a kinglet_logits.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_logits_view {
    /// sizeof(kinglet_logits_view), set by the caller.
    pub struct_size: usize,
    /// Tokens of the sequence: rows.
    pub token_count: usize,
    /// Values per row.
    pub vocabulary_size: usize,
    /// The rows one after the other: `token_count * vocabulary_size` values. Row i has the logits that follow token i.
    pub values: *const f32,
}

versioned!(kinglet_logits_view, "view", 32);

/// Fills `view`, which is valid until the logits are freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_logits_read(
    logits: *const kinglet_logits,
    view: *mut kinglet_logits_view,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle and a struct of the size that it states.
        let (l, view) = unsafe { (handle::borrow(logits)?, Results::new(view)?) };
        view.write(kinglet_logits_view {
            struct_size: 0,
            token_count: l.values.len() / l.vocabulary.max(1),
            vocabulary_size: l.vocabulary,
            values: l.values.as_ptr(),
        });
        Ok(())
    })
}
