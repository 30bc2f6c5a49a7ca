//! Prompt prefixes.

use crate::generate::session::Prefix;

use super::cancellation::{self, kinglet_cancellation};
use super::error::{kinglet_error, kinglet_status};
use super::handle::{self, handle};
use super::model::kinglet_model;
use super::strings::{kinglet_str, kinglet_tristate};
use super::structs::{options, reserved, tristate, versioned};

handle! {
    /// The first tokens of prompts, for instance a system prompt, with their keys and values computed. It holds a reference to its
    /// model.
    pub struct kinglet_prefix: Owned<Prefix>, "prefix";
    /// Frees a prefix. Calls that were given it and have begun may still run.
    pub fn kinglet_prefix_free;
}

/// Options of kinglet_prefix_new. Zero is the default of every field.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_prefix_options {
    /// sizeof(kinglet_prefix_options).
    pub struct_size: usize,
    /// Whether the tokenizer's special tokens are added to the text, as it will be for the prompts. AUTO: yes.
    pub add_special_tokens: kinglet_tristate,
    /// Must be 0.
    pub reserved: u32,
    /// Cancels the call from another thread. NULL: none.
    pub cancellation: *const kinglet_cancellation,
}

versioned!(kinglet_prefix_options, "options", 24);

/// Computes and caches the beginning of prompts, for `prefix` in kinglet_generate_options. A prompt reuses the cached part as far as
/// its first tokens are the same. `options` may be NULL. `*prefix` receives the prefix. Fails with KINGLET_STATUS_UNSUPPORTED if the
/// model is not a decoder, KINGLET_STATUS_INVALID_ARGUMENT for a text that is longer than the model takes,
/// KINGLET_STATUS_OUT_OF_MEMORY, or KINGLET_STATUS_CANCELLED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_prefix_new(
    model: *const kinglet_model,
    text: kinglet_str,
    options: *const kinglet_prefix_options,
    prefix: *mut *mut kinglet_prefix,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    handle::create(prefix, error, || {
        let (loaded, text, o) =
            // SAFETY: C passes a live handle, a text as its size says and options of the size that they state.
            unsafe { (handle::borrow(model)?, text.text(|| "text".into())?, self::options(options)?) };
        reserved(o.reserved)?;
        let add_special_tokens = tristate(o.add_special_tokens, "options.add_special_tokens")?.unwrap_or(true);
        // SAFETY: C passes NULL or a live cancellation.
        let cancellation = unsafe { cancellation::optional(o.cancellation) };
        loaded.model.prefix(text, add_special_tokens, cancellation.as_ref())
    })
}
