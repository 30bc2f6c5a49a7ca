//! Hidden states.

use crate::tasks::hidden::HiddenStates;

use super::boundary::boundary;
use super::cancellation::{self, kinglet_cancellation};
use super::error::{kinglet_error, kinglet_status};
use super::handle::{self, handle};
use super::model::kinglet_model;
use super::strings::array;
use super::structs::{Results, options, versioned};

/// Options of kinglet_model_hidden_states. Zero is the default of every field.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_hidden_states_options {
    /// sizeof(kinglet_hidden_states_options).
    pub struct_size: usize,
    /// Cancels the call from another thread. NULL: none.
    pub cancellation: *const kinglet_cancellation,
}

versioned!(kinglet_hidden_states_options, "options", 16);

handle! {
    /// The last hidden states of a batch of token sequences.
    pub struct kinglet_hidden_states: Owned<HiddenStates>, "states";
    /// Frees hidden states and everything borrowed from them.
    pub fn kinglet_hidden_states_free;
}

/// Computes the last hidden states of `count` sequences of token ids, to which nothing is added and of which nothing is cut. `ids` holds
/// the `id_count` ids of all sequences one after the other, `lengths` the number of ids of each sequence. `type_ids` is NULL (all 0) or
/// holds one token type per id. `options` may be NULL. `*states` receives the hidden states. Fails with
/// KINGLET_STATUS_INVALID_ARGUMENT for lengths that do not add up to `id_count`, an unknown id or type, or a sequence longer than the
/// model takes, KINGLET_STATUS_OUT_OF_MEMORY, or KINGLET_STATUS_CANCELLED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_hidden_states(
    model: *const kinglet_model,
    ids: *const u32,
    type_ids: *const u32,
    id_count: usize,
    lengths: *const usize,
    count: usize,
    options: *const kinglet_hidden_states_options,
    states: *mut *mut kinglet_hidden_states,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    handle::create(states, error, || {
        // SAFETY: C passes a live handle, arrays of the sizes given and options of the size that they state.
        let (loaded, ids, types, lengths, o) = unsafe {
            let types = if type_ids.is_null() { None } else { Some(array(type_ids, id_count, "type_ids")?) };
            let (ids, lengths) = (array(ids, id_count, "ids")?, array(lengths, count, "lengths")?);
            (handle::borrow(model)?, ids, types, lengths, self::options(options)?)
        };
        // SAFETY: C passes NULL or a live cancellation.
        let cancellation = unsafe { cancellation::optional(o.cancellation) };
        loaded.model.hidden_states(ids, lengths, types, cancellation.as_ref())
    })
}

/// The contents of a kinglet_hidden_states.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_hidden_states_view {
    /// sizeof(kinglet_hidden_states_view), set by the caller.
    pub struct_size: usize,
    /// Sequences in the batch.
    pub count: usize,
    /// Tokens in the batch.
    pub token_count: usize,
    /// Values per hidden state.
    pub dimension: usize,
    /// One hidden state per token, of all sequences one after the other: `token_count * dimension` values.
    pub values: *const f32,
    /// `count + 1` values: the tokens of sequence i are those from `starts[i]` to `starts[i + 1]` (exclusive).
    pub starts: *const usize,
}

versioned!(kinglet_hidden_states_view, "view", 48);

/// Fills `view`, which is valid until the hidden states are freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_hidden_states_read(
    states: *const kinglet_hidden_states,
    view: *mut kinglet_hidden_states_view,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle and a struct of the size that it states.
        let (h, view) = unsafe { (handle::borrow(states)?, Results::new(view)?) };
        view.write(kinglet_hidden_states_view {
            struct_size: 0,
            count: h.starts.len() - 1,
            token_count: h.starts[h.starts.len() - 1],
            dimension: h.width,
            values: h.values.as_ptr(),
            starts: h.starts.as_ptr(),
        });
        Ok(())
    })
}
