//! Tokenising and decoding.

use crate::base::error::Error;
use crate::text::encoding::{Encoding, Span};
use crate::text::tokenizer::EncodeOptions;

use super::boundary::{boundary, quietly};
use super::cancellation::{self, kinglet_cancellation};
use super::error::{kinglet_error, kinglet_status};
use super::handle::{self, Alone, Handle, Place, null};
use super::model::kinglet_model;
use super::strings::{array, kinglet_str, kinglet_text, texts};
use super::structs::{self, Results, Versioned, flag, options};

/// The value of kinglet_encoding_view.sequences for tokens that came from no text.
pub const KINGLET_NO_SEQUENCE: u8 = 255;

const _: () = assert!(KINGLET_NO_SEQUENCE == crate::text::encoding::NO_SEQUENCE);

/// What is wanted of kinglet_model_tokenize. Call kinglet_tokenize_options_init first; later versions add fields at the end.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_tokenize_options {
    pub struct_size: usize,
    /// 1 (the default) adds [CLS], </s> and the like; 0 does not.
    pub add_special_tokens: u32,
    /// 1 computes where each token lies in its text; 0 (the default) does not.
    pub offsets: u32,
    /// The most tokens of a text or pair, special ones counted; longer ones are cut as the tokenizer's files say. 0 (the default):
    /// what the model takes. SIZE_MAX: no limit.
    pub max_length: usize,
    /// Stops the call from another thread. Default NULL.
    pub cancellation: *const kinglet_cancellation,
}

impl Default for kinglet_tokenize_options {
    fn default() -> Self {
        Self {
            struct_size: size_of::<Self>(),
            add_special_tokens: 1,
            offsets: 0,
            max_length: 0,
            cancellation: std::ptr::null(),
        }
    }
}

// SAFETY: repr(C), `struct_size` first, integers and a pointer.
unsafe impl Versioned for kinglet_tokenize_options {
    const NAME: &'static str = "options";
    const FIRST_SIZE: usize = size_of::<Self>();
}

/// Fills options with their defaults. `struct_size` is sizeof the struct, as the caller was compiled. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_tokenize_options_init(
    options: *mut kinglet_tokenize_options,
    struct_size: usize,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    // SAFETY: C passes a struct of the size that it states.
    boundary(error, || unsafe { structs::init(options, struct_size, kinglet_tokenize_options::default()) })
}

/// A tokenised batch: the tokens of all texts end to end.
pub struct kinglet_encoding {
    _private: [u8; 0],
}

impl Handle for kinglet_encoding {
    type Target = Lent;
    type Ownership = Alone;
    const NAME: &'static str = "encoding";
}

/// An encoding with the lengths that C users like to have beside the starts.
pub(super) struct Lent {
    encoding: Encoding,
    lengths: Vec<usize>,
}

/// Bytes `start` to `end` (excluded) of a text.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_span {
    pub start: usize,
    pub end: usize,
}

const _: () = assert!(size_of::<kinglet_span>() == size_of::<Span>());

/// What an encoding holds. Set `struct_size` to its size before the call. All pointers are valid until the encoding is freed.
/// Sequence i's tokens are starts[i] to starts[i + 1] (excluded) in each of the arrays with one value a token.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_encoding_view {
    pub struct_size: usize,
    /// Sequences in the batch.
    pub count: usize,
    /// Tokens in the batch.
    pub token_count: usize,
    /// `count + 1` values.
    pub starts: *const usize,
    /// `count` values.
    pub lengths: *const usize,
    /// One value a token.
    pub ids: *const u32,
    /// One value a token: 0, or 1 for the second text of a pair, as the tokenizer's files say.
    pub type_ids: *const u32,
    /// One value a token: 1 for tokens that the tokenizer added.
    pub special_tokens_mask: *const u8,
    /// One value a token: which text of a pair it came from, 0 or 1, or KINGLET_NO_SEQUENCE.
    pub sequences: *const u8,
    /// One value a token, or NULL if offsets were not asked for.
    pub offsets: *const kinglet_span,
    /// `count` values: 1 for sequences that were cut.
    pub truncated: *const u8,
    /// The most tokens in one sequence.
    pub longest: usize,
    /// The tokenizer's padding token; 0 if it names none.
    pub pad_id: u32,
}

// SAFETY: repr(C), `struct_size` first, plain values.
unsafe impl Versioned for kinglet_encoding_view {
    const NAME: &'static str = "view";
    const FIRST_SIZE: usize = size_of::<Self>();
}

/// Tokenises `count` texts, or pairs if `pairs` is not NULL and holds their `count` second texts. `options` may be NULL. On
/// success `*encoding` is an encoding that the caller frees with kinglet_encoding_free. Any thread; texts are spread over the
/// model's threads.
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
    boundary(error, || {
        // SAFETY: C passes a live handle, arrays of `count` texts and options of the size that they state.
        let (loaded, firsts, seconds, o) = unsafe {
            let seconds = if pairs.is_null() { None } else { Some(self::texts(pairs, count, "pairs")?) };
            (
                handle::borrow(model)?,
                self::texts(texts, count, "texts")?,
                seconds,
                self::options(options, Default::default())?,
            )
        };
        let place = Place::new(encoding, "encoding")?;
        let options = EncodeOptions {
            add_special_tokens: flag(o.add_special_tokens, "options.add_special_tokens")?,
            max_length: (o.max_length != 0).then_some(o.max_length),
            offsets: flag(o.offsets, "options.offsets")?,
        };
        // SAFETY: C passes NULL or a live switch.
        let cancellation = unsafe { cancellation::optional(o.cancellation) };
        let encoding = loaded.model.tokenize(&firsts, seconds.as_deref(), &options, cancellation.as_ref())?;
        let lengths = encoding.starts().windows(2).map(|w| w[1] - w[0]).collect();
        place.write(handle::give(Lent { encoding, lengths }));
        Ok(())
    })
}

/// Fills `view` with what the encoding holds. The view is valid until the encoding is freed. Any thread.
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
            starts: encoding.starts().as_ptr(),
            lengths: lengths.as_ptr(),
            ids: encoding.ids().as_ptr(),
            type_ids: encoding.type_ids().as_ptr(),
            special_tokens_mask: encoding.special_tokens_mask().as_ptr(),
            sequences: encoding.sequences().as_ptr(),
            offsets: encoding.offsets().map_or(std::ptr::null(), |spans| spans.as_ptr().cast()),
            truncated: encoding.truncated().as_ptr(),
            longest: encoding.longest(),
            pad_id: encoding.pad_id(),
        });
        Ok(())
    })
}

/// Writes the batch as a padded matrix of `count` rows of `length` ids, and its attention mask (1 for tokens, 0 for padding), each
/// into an array of `capacity` values, at least `count * length`. `length` 0 stands for the longest sequence. Kinglet itself never
/// needs padding. Any thread.
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

/// Frees an encoding and all views of it. NULL does nothing. No other call may use it meanwhile or later.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_encoding_free(encoding: *mut kinglet_encoding) {
    // SAFETY: C passes NULL or a live handle and gives it up.
    quietly(|| unsafe { handle::free(encoding) });
}

/// Turns `count` token ids back into text; `skip_special_tokens` is 1 or 0. On success `*text` is a text that the caller frees
/// with kinglet_text_free. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_decode(
    model: *const kinglet_model,
    ids: *const u32,
    count: usize,
    skip_special_tokens: u32,
    text: *mut *mut kinglet_text,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle and an array of `count` ids.
        let (loaded, ids) = unsafe { (handle::borrow(model)?, array(ids, count, "ids")?) };
        let place = Place::new(text, "text")?;
        let skip = flag(skip_special_tokens, "skip_special_tokens")?;
        place.write(handle::give(loaded.model.decode(ids, skip)?.into_boxed_str()));
        Ok(())
    })
}
