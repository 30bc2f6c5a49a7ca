//! Tokenising.

use crate::base::error::Error;
use crate::text::encoding::{Encoding, Span};
use crate::text::tokenizer::EncodeOptions;

use super::boundary::boundary;
use super::cancellation::{self, kinglet_cancellation};
use super::error::{kinglet_error, kinglet_status};
use super::handle::{self, handle, null};
use super::model::kinglet_model;
use super::strings::{array, kinglet_str, kinglet_text, kinglet_tristate, texts};
use super::structs::{Results, flag, options, reserved, tristate, versioned};

/// The value of `sequences` in kinglet_encoding_view for tokens that belong to no text.
pub const KINGLET_NO_SEQUENCE: u8 = 255;

const _: () = assert!(KINGLET_NO_SEQUENCE == crate::text::encoding::NO_SEQUENCE);

/// Options of kinglet_model_tokenize. Zero is the default of every field.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_tokenize_options {
    /// sizeof(kinglet_tokenize_options).
    pub struct_size: usize,
    /// Whether the tokenizer's special tokens are added, for instance `[CLS]` or `</s>`. AUTO: yes.
    pub add_special_tokens: kinglet_tristate,
    /// 1 computes the position of each token in its text; 0 does not.
    pub offsets: u32,
    /// The maximum number of tokens of a text or pair, special tokens included; longer ones are truncated by the rules of the tokenizer's
    /// files. 0: the model's maximum. SIZE_MAX: no limit.
    pub max_length: usize,
    /// Cancels the call from another thread. NULL: none.
    pub cancellation: *const kinglet_cancellation,
}

versioned!(kinglet_tokenize_options, "options", 32);

handle! {
    /// A tokenised batch: the tokens of all texts one after the other.
    pub struct kinglet_encoding: Owned<Lent>, "encoding";
    /// Frees an encoding and everything borrowed from it.
    pub fn kinglet_encoding_free;
}

/// An encoding with the lengths that C users like to have beside the starts.
pub(super) struct Lent {
    encoding: Encoding,
    lengths: Vec<usize>,
}

/// Bytes `start` to `end` (exclusive) of a text. This struct never grows.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_span {
    /// The first byte.
    pub start: usize,
    /// The byte after the last one.
    pub end: usize,
}

const _: () = assert!(size_of::<kinglet_span>() == size_of::<Span>());

/// The contents of a kinglet_encoding. A sequence is a text or a pair. The tokens of sequence i are those from `starts[i]` to
/// `starts[i + 1]` (exclusive) in each array with one value per token.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_encoding_view {
    /// sizeof(kinglet_encoding_view), set by the caller.
    pub struct_size: usize,
    /// Sequences in the batch.
    pub count: usize,
    /// Tokens in the batch.
    pub token_count: usize,
    /// The maximum number of tokens in one sequence.
    pub longest: usize,
    /// Where each sequence starts: `count + 1` values.
    pub starts: *const usize,
    /// The tokens of each sequence: `count` values.
    pub lengths: *const usize,
    /// The token ids: `token_count` values.
    pub ids: *const u32,
    /// One value per token: 0, or 1 for the second text of a pair, as the tokenizer's files say.
    pub type_ids: *const u32,
    /// One value per token: 1 for special tokens that the tokenizer added, else 0.
    pub special_tokens_mask: *const u8,
    /// One value per token: 0 or 1, the text of a pair that it came from, or KINGLET_NO_SEQUENCE.
    pub sequences: *const u8,
    /// One value per token: its bytes in its text. NULL without `offsets`.
    pub offsets: *const kinglet_span,
    /// `count` values: 1 for sequences that were truncated, else 0.
    pub truncated: *const u8,
    /// The id of the tokenizer's padding token; 0 if it names none.
    pub pad_id: u32,
    /// 0.
    pub reserved: u32,
}

versioned!(kinglet_encoding_view, "view", 104);

/// Tokenises `count` texts, or `count` pairs if `pairs` is not NULL: then it holds the second texts. `options` may be NULL.
/// `*encoding` receives the encoding. Texts are divided among the model's threads. Fails with KINGLET_STATUS_INVALID_ARGUMENT for a
/// `max_length` that leaves no room beside the special tokens, KINGLET_STATUS_UNSUPPORTED if the model has no tokenizer, or
/// KINGLET_STATUS_CANCELLED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_tokenize(
    model: *const kinglet_model,
    texts: *const kinglet_str,
    pairs: *const kinglet_str,
    count: usize,
    options: *const kinglet_tokenize_options,
    encoding: *mut *mut kinglet_encoding,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    handle::create(encoding, error, || {
        // SAFETY: C passes a live handle, arrays of `count` texts and options of the size that they state.
        let (loaded, firsts, seconds, o) = unsafe {
            let seconds = if pairs.is_null() { None } else { Some(self::texts(pairs, count, "pairs")?) };
            (handle::borrow(model)?, self::texts(texts, count, "texts")?, seconds, self::options(options)?)
        };
        let options = EncodeOptions {
            add_special_tokens: tristate(o.add_special_tokens, "options.add_special_tokens")?.unwrap_or(true),
            max_length: (o.max_length != 0).then_some(o.max_length),
            offsets: flag(o.offsets, "options.offsets")?,
            ..EncodeOptions::default()
        };
        // SAFETY: C passes NULL or a live cancellation.
        let cancellation = unsafe { cancellation::optional(o.cancellation) };
        let encoding = loaded.model.tokenize(&firsts, seconds.as_deref(), &options, cancellation.as_ref())?;
        let lengths = encoding.starts().windows(2).map(|w| w[1] - w[0]).collect();
        Ok(Lent { encoding, lengths })
    })
}

/// Fills `view`, which is valid until the encoding is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_encoding_read(
    encoding: *const kinglet_encoding,
    view: *mut kinglet_encoding_view,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle and a struct of the size that it states.
        let (Lent { encoding, lengths }, view) = unsafe { (handle::borrow(encoding)?, Results::new(view)?) };
        view.write(kinglet_encoding_view {
            struct_size: 0,
            count: encoding.len(),
            token_count: encoding.tokens(),
            longest: encoding.longest(),
            starts: encoding.starts().as_ptr(),
            lengths: lengths.as_ptr(),
            ids: encoding.ids().as_ptr(),
            type_ids: encoding.type_ids().as_ptr(),
            special_tokens_mask: encoding.special_tokens_mask().as_ptr(),
            sequences: encoding.sequences().as_ptr(),
            offsets: encoding.offsets().map_or(std::ptr::null(), |spans| spans.as_ptr().cast()),
            truncated: encoding.truncated().as_ptr(),
            pad_id: encoding.pad_id(),
            reserved: 0,
        });
        Ok(())
    })
}

/// Writes the batch as a padded matrix, for programs that feed other engines; Kinglet itself needs no padding. `ids` receives `count`
/// rows of `length` ids, `attention_mask` as many values, 1 for tokens and 0 for padding. Both arrays hold `capacity` values, at least
/// `count * length`. `length` 0 means the longest sequence. Fails with KINGLET_STATUS_INVALID_ARGUMENT if `length` is shorter than
/// the longest sequence or the capacity is too small.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_encoding_pad(
    encoding: *const kinglet_encoding,
    length: usize,
    pad_id: u32,
    ids: *mut u32,
    attention_mask: *mut u32,
    capacity: usize,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle.
        let Lent { encoding, .. } = unsafe { handle::borrow(encoding) }?;
        for (pointer, name) in [(ids, "ids"), (attention_mask, "attention_mask")] {
            if pointer.is_null() {
                return Err(null(name));
            }
        }
        if capacity.saturating_mul(size_of::<u32>()) > isize::MAX as usize {
            return Err(Error::invalid_argument(format!("capacity: {capacity} values cannot be")));
        }
        if std::ptr::eq(ids, attention_mask) {
            return Err(Error::invalid_argument("attention_mask: is the same array as ids"));
        }
        // SAFETY: C passes two arrays of `capacity` values that it does not use meanwhile.
        let (ids, mask) = unsafe {
            (std::slice::from_raw_parts_mut(ids, capacity), std::slice::from_raw_parts_mut(attention_mask, capacity))
        };
        encoding.pad(length, pad_id, ids, mask)
    })
}

/// Options of kinglet_model_detokenize. Zero is the default of every field.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_detokenize_options {
    /// sizeof(kinglet_detokenize_options).
    pub struct_size: usize,
    /// Whether special tokens are left out of the text. AUTO: yes.
    pub skip_special_tokens: kinglet_tristate,
    /// Must be 0.
    pub reserved: u32,
}

versioned!(kinglet_detokenize_options, "options", 16);

/// Turns `count` token ids back into text. `options` may be NULL. `*text` receives the text. Fails with
/// KINGLET_STATUS_INVALID_ARGUMENT for an id that the tokenizer does not know.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_detokenize(
    model: *const kinglet_model,
    ids: *const u32,
    count: usize,
    options: *const kinglet_detokenize_options,
    text: *mut *mut kinglet_text,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    handle::create(text, error, || {
        // SAFETY: C passes a live handle, an array of `count` ids and options of the size that they state.
        let (loaded, ids, o) = unsafe { (handle::borrow(model)?, array(ids, count, "ids")?, self::options(options)?) };
        reserved(o.reserved)?;
        let skip = tristate(o.skip_special_tokens, "options.skip_special_tokens")?.unwrap_or(true);
        Ok(loaded.model.decode(ids, skip)?.into_boxed_str())
    })
}
