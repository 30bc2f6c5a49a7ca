//! Raw hidden states.

use crate::tasks::hidden::HiddenStates;

use super::boundary::{boundary, quietly};
use super::cancellation::{self, kinglet_cancellation};
use super::error::{kinglet_error, kinglet_status};
use super::handle::{self, Alone, Handle, Place};
use super::model::kinglet_model;
use super::strings::array;
use super::structs::{Results, Versioned};

/// The last hidden states of a batch of token sequences.
pub struct kinglet_hidden_states {
    _private: [u8; 0],
}

impl Handle for kinglet_hidden_states {
    type Target = HiddenStates;
    type Ownership = Alone;
    const NAME: &'static str = "states";
}

/// What hidden states hold. Set `struct_size` to its size before the call. All pointers are valid until they are freed.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_hidden_states_view {
    pub struct_size: usize,
    /// Sequences in the batch.
    pub count: usize,
    pub token_count: usize,
    /// Values in a row.
    pub width: usize,
    /// `token_count * width` values, a row a token, all sequences end to end.
    pub values: *const f32,
    /// `count + 1` values: sequence i's tokens are starts[i] to starts[i + 1] (excluded).
    pub starts: *const usize,
}

// SAFETY: repr(C), `struct_size` first, plain values.
unsafe impl Versioned for kinglet_hidden_states_view {
    const NAME: &'static str = "view";
    const FIRST_SIZE: usize = size_of::<Self>();
}

/// Runs token ids as they are: no tokens are added and nothing is cut. `ids` holds the `id_count` ids of all sequences end to end,
/// `lengths` the tokens of each of the `count` sequences, `type_ids` NULL or a value a token, `cancellation` NULL or a switch. On
/// success `*states` are hidden states that the caller frees with kinglet_hidden_states_free. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_hidden_states(
    model: *const kinglet_model,
    ids: *const u32,
    type_ids: *const u32,
    id_count: usize,
    lengths: *const usize,
    count: usize,
    cancellation: *const kinglet_cancellation,
    states: *mut *mut kinglet_hidden_states,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle, arrays of the sizes given and NULL or a live switch.
        let (loaded, ids, types, lengths, cancellation) = unsafe {
            let types = if type_ids.is_null() { None } else { Some(array(type_ids, id_count, "type_ids")?) };
            (
                handle::borrow(model)?,
                array(ids, id_count, "ids")?,
                types,
                array(lengths, count, "lengths")?,
                cancellation::optional(cancellation),
            )
        };
        let place = Place::new(states, "states")?;
        place.write(handle::give(loaded.model.hidden_states(ids, lengths, types, cancellation.as_ref())?));
        Ok(())
    })
}

/// Fills `view` with what the hidden states hold. The view is valid until they are freed. Any thread.
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
            width: h.width,
            values: h.values.as_ptr(),
            starts: h.starts.as_ptr(),
        });
        Ok(())
    })
}

/// Frees hidden states and all views of them. NULL does nothing. No other call may use them meanwhile or later.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_hidden_states_free(states: *mut kinglet_hidden_states) {
    // SAFETY: C passes NULL or a live handle and gives it up.
    quietly(|| unsafe { handle::free(states) });
}
