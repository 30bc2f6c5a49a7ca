//! Filling masks.

use crate::base::error::Error;
use crate::tasks::fill_mask::{FillMaskOptions, MaskFills};

use super::boundary::boundary;
use super::cancellation::{self, kinglet_cancellation};
use super::error::{kinglet_error, kinglet_status};
use super::handle::{self, handle};
use super::model::kinglet_model;
use super::scheduler::{self, kinglet_priority};
use super::strings::{kinglet_str, texts};
use super::structs::{Results, options, versioned};

/// Options of kinglet_model_fill_mask. Zero is the default of every field.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_fill_mask_options {
    /// sizeof(kinglet_fill_mask_options).
    pub struct_size: usize,
    /// The tokens of each mask, the likeliest ones. 0: 5.
    pub top_k: usize,
    /// `target_count` texts: only these tokens are looked at. If a target is not one token, its first token is used, and a
    /// warning is logged. NULL: the whole vocabulary.
    pub targets: *const kinglet_str,
    /// The number of targets.
    pub target_count: usize,
    /// The maximum number of tokens of a text, special tokens included; longer texts are truncated. 0: the model's maximum.
    pub max_length: usize,
    /// Cancels the call from another thread. NULL: none.
    pub cancellation: *const kinglet_cancellation,
    /// How urgent the call is.
    pub priority: kinglet_priority,
    /// Milliseconds after which the call fails with KINGLET_STATUS_DEADLINE_EXCEEDED if it is not done, whether it runs or waits. 0: none.
    pub deadline_ms: u32,
}

versioned!(kinglet_fill_mask_options, "options", 56);

handle! {
    /// The tokens for the masks of a batch of texts.
    pub struct kinglet_mask_fills: Owned<MaskFills>, "fills";
    /// Frees fills and everything borrowed from them.
    pub fn kinglet_mask_fills_free;
}

/// Finds the likeliest tokens for each mask token (`[MASK]`, `<mask>`) of `count` texts with a masked language model. `options` may be NULL.
/// `*fills` receives them. Fails with KINGLET_STATUS_INVALID_ARGUMENT for a text without a mask token, which the message names, or a
/// target without a token; KINGLET_STATUS_UNSUPPORTED if the model has no masked language head, KINGLET_STATUS_OUT_OF_MEMORY, or
/// KINGLET_STATUS_CANCELLED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_fill_mask(
    model: *const kinglet_model,
    texts: *const kinglet_str,
    count: usize,
    options: *const kinglet_fill_mask_options,
    fills: *mut *mut kinglet_mask_fills,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    handle::create(fills, error, || {
        // SAFETY: C passes a live handle, an array of `count` texts, and options of the size that they state with `target_count` targets
        // and a cancellation that is NULL or alive.
        let (loaded, texts, o, targets, cancellation) = unsafe {
            let o = self::options(options)?;
            let targets = match o.target_count {
                0 => Vec::new(),
                count => self::texts(o.targets, count, "options.targets")?,
            };
            let texts = self::texts(texts, count, "texts")?;
            (handle::borrow(model)?, texts, o, targets, cancellation::optional(o.cancellation))
        };
        let options = FillMaskOptions {
            top_k: (o.top_k != 0).then_some(o.top_k),
            targets: targets.into_iter().map(String::from).collect(),
            max_length: (o.max_length != 0).then_some(o.max_length),
            cancellation,
            priority: scheduler::priority(o.priority)?,
            deadline: scheduler::deadline(o.deadline_ms),
        };
        loaded.model.fill_mask(&texts, &options)
    })
}

/// The contents of a kinglet_mask_fills.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_mask_fills_view {
    /// sizeof(kinglet_mask_fills_view), set by the caller.
    pub struct_size: usize,
    /// Texts in the batch.
    pub count: usize,
    /// Masks in all texts.
    pub mask_count: usize,
    /// Tokens for each mask: `top_k` of the call, or fewer if there are fewer targets.
    pub top_k: usize,
    /// `count + 1` values: the masks of text i are those from `starts[i]` to `starts[i + 1]` (exclusive).
    pub starts: *const usize,
    /// `count` values: the tokens of each text, special tokens included.
    pub token_counts: *const usize,
    /// `count` values: 1 for texts that were truncated, else 0.
    pub truncated: *const u8,
}

versioned!(kinglet_mask_fills_view, "view", 56);

/// Fills `view`, which is valid until the fills are freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_mask_fills_read(
    fills: *const kinglet_mask_fills,
    view: *mut kinglet_mask_fills_view,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle and a struct of the size that it states.
        let (f, view) = unsafe { (handle::borrow(fills)?, Results::new(view)?) };
        view.write(kinglet_mask_fills_view {
            struct_size: 0,
            count: f.truncated.len(),
            mask_count: f.starts[f.starts.len() - 1],
            top_k: f.top_k,
            starts: f.starts.as_ptr(),
            token_counts: f.tokens.as_ptr(),
            truncated: f.truncated.as_ptr(),
        });
        Ok(())
    })
}

/// A token for a mask.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_mask_fill {
    /// sizeof(kinglet_mask_fill), set by the caller.
    pub struct_size: usize,
    /// The token's id.
    pub token: u32,
    /// Its probability among all tokens of the vocabulary.
    pub score: f32,
    /// The token as text.
    pub token_text: kinglet_str,
    /// The text with the token in the place of the mask; if it has several masks, with its special tokens.
    pub sequence: kinglet_str,
}

versioned!(kinglet_mask_fill, "fill", 48);

/// Fills `fill` with a token, valid until the fills are freed: of `mask`, counted through all texts, the token number `rank`, of which 0 is
/// the likeliest. Fails with KINGLET_STATUS_INVALID_ARGUMENT if there is no such mask or token.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_mask_fills_fill(
    fills: *const kinglet_mask_fills,
    mask: usize,
    rank: usize,
    fill: *mut kinglet_mask_fill,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle and a struct of the size that it states.
        let (f, place) = unsafe { (handle::borrow(fills)?, Results::new(fill)?) };
        let masks = f.starts[f.starts.len() - 1];
        let ranked = f.fills.chunks_exact(f.top_k).nth(mask);
        let ranked = ranked.ok_or_else(|| Error::invalid_argument(format!("mask: {mask} is not below {masks}")))?;
        let found = handle::item(ranked, rank, "rank")?;
        place.write(kinglet_mask_fill {
            struct_size: 0,
            token: found.token,
            score: found.score,
            token_text: kinglet_str::lend(&found.token_text),
            sequence: kinglet_str::lend(&found.sequence),
        });
        Ok(())
    })
}
