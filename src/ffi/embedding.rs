//! Embeddings.

use crate::spec::Pooling;
use crate::tasks::embedding::{EmbedOptions, Embeddings};

use super::boundary::{boundary, quietly};
use super::cancellation::{self, kinglet_cancellation};
use super::error::{kinglet_error, kinglet_status};
use super::handle::{self, Alone, Handle, Place};
use super::model::kinglet_model;
use super::strings::{kinglet_str, texts};
use super::structs::{self, Results, Versioned, choice, options, unknown};

/// How the vectors of a text's tokens become one: one of the KINGLET_POOLING constants.
pub type kinglet_pooling = u32;

/// What the model's sentence-transformers files say; without such files the mean.
pub const KINGLET_POOLING_AUTO: u32 = 0;
/// The mean over all tokens, special ones included.
pub const KINGLET_POOLING_MEAN: u32 = 1;
/// The first token's vector.
pub const KINGLET_POOLING_CLS: u32 = 2;
/// The last token's vector.
pub const KINGLET_POOLING_LAST: u32 = 3;
/// No pooling: a vector a token.
pub const KINGLET_POOLING_NONE: u32 = 4;

/// Whether vectors are scaled to length 1: one of the KINGLET_NORMALIZE constants.
pub type kinglet_normalize = u32;

/// What the model's sentence-transformers files say; without such files they are not.
pub const KINGLET_NORMALIZE_AUTO: u32 = 0;
pub const KINGLET_NORMALIZE_NO: u32 = 1;
pub const KINGLET_NORMALIZE_YES: u32 = 2;

const _: () = {
    assert!(KINGLET_POOLING_MEAN == Pooling::Mean as u32);
    assert!(KINGLET_POOLING_CLS == Pooling::Cls as u32);
    assert!(KINGLET_POOLING_LAST == Pooling::Last as u32);
    assert!(KINGLET_POOLING_NONE == Pooling::None as u32);
};

/// What is wanted of kinglet_model_embed. Call kinglet_embed_options_init first; later versions add fields at the end.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_embed_options {
    pub struct_size: usize,
    /// Default KINGLET_POOLING_AUTO.
    pub pooling: kinglet_pooling,
    /// Default KINGLET_NORMALIZE_AUTO.
    pub normalize: kinglet_normalize,
    /// The most tokens of a text, special ones counted; longer texts are cut. 0 (the default): what the model takes.
    pub max_length: usize,
    /// Stops the call from another thread. Default NULL.
    pub cancellation: *const kinglet_cancellation,
}

impl Default for kinglet_embed_options {
    fn default() -> Self {
        Self {
            struct_size: size_of::<Self>(),
            pooling: KINGLET_POOLING_AUTO,
            normalize: KINGLET_NORMALIZE_AUTO,
            max_length: 0,
            cancellation: std::ptr::null(),
        }
    }
}

// SAFETY: repr(C), `struct_size` first, integers and a pointer.
unsafe impl Versioned for kinglet_embed_options {
    const NAME: &'static str = "options";
    const FIRST_SIZE: usize = size_of::<Self>();
}

/// Fills options with their defaults. `struct_size` is sizeof the struct, as the caller was compiled. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_embed_options_init(
    options: *mut kinglet_embed_options,
    struct_size: usize,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    // SAFETY: C passes a struct of the size that it states.
    boundary(error, || unsafe { structs::init(options, struct_size, kinglet_embed_options::default()) })
}

/// The embeddings of a batch of texts.
pub struct kinglet_embeddings {
    _private: [u8; 0],
}

impl Handle for kinglet_embeddings {
    type Target = Embeddings;
    type Ownership = Alone;
    const NAME: &'static str = "embeddings";
}

/// What embeddings hold. Set `struct_size` to its size before the call. All pointers are valid until the embeddings are freed.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_embeddings_view {
    pub struct_size: usize,
    /// Texts in the batch.
    pub count: usize,
    /// Values in a row.
    pub dimension: usize,
    /// Rows in all: `count`, or with KINGLET_POOLING_NONE one a token.
    pub row_count: usize,
    /// `row_count * dimension` values, row by row.
    pub values: *const f32,
    /// `count + 1` values: text i's rows are starts[i] to starts[i + 1] (excluded).
    pub starts: *const usize,
    /// `count` values: each text's tokens, special ones counted.
    pub token_counts: *const usize,
    /// `count` values: 1 for texts that were cut.
    pub truncated: *const u8,
}

// SAFETY: repr(C), `struct_size` first, plain values.
unsafe impl Versioned for kinglet_embeddings_view {
    const NAME: &'static str = "view";
    const FIRST_SIZE: usize = size_of::<Self>();
}

/// Embeds `count` texts. `options` may be NULL. On success `*embeddings` are embeddings that the caller frees with
/// kinglet_embeddings_free. On KINGLET_DEVICE_CPU a text's values are the same bits whatever the other texts and however many the
/// threads. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_embed(
    model: *const kinglet_model,
    texts: *const kinglet_str,
    count: usize,
    options: *const kinglet_embed_options,
    embeddings: *mut *mut kinglet_embeddings,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle, an array of `count` texts and options of the size that they state.
        let (loaded, texts, o) = unsafe {
            (handle::borrow(model)?, self::texts(texts, count, "texts")?, self::options(options, Default::default())?)
        };
        let place = Place::new(embeddings, "embeddings")?;
        let normalize = match o.normalize {
            KINGLET_NORMALIZE_AUTO => None,
            KINGLET_NORMALIZE_NO => Some(false),
            KINGLET_NORMALIZE_YES => Some(true),
            other => return Err(unknown(other, "options.normalize")),
        };
        let options = EmbedOptions {
            pooling: choice(o.pooling, "options.pooling", Pooling::from_u32)?,
            normalize,
            max_length: (o.max_length != 0).then_some(o.max_length),
            // SAFETY: C passes NULL or a live switch.
            cancellation: unsafe { cancellation::optional(o.cancellation) },
        };
        place.write(handle::give(loaded.model.embed(&texts, &options)?));
        Ok(())
    })
}

/// Fills `view` with what the embeddings hold. The view is valid until they are freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_embeddings_read(
    embeddings: *const kinglet_embeddings,
    view: *mut kinglet_embeddings_view,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle and a struct of the size that it states.
        let (e, view) = unsafe { (handle::borrow(embeddings)?, Results::new(view)?) };
        view.write(kinglet_embeddings_view {
            struct_size: 0,
            count: e.truncated.len(),
            dimension: e.dimension,
            row_count: e.starts[e.starts.len() - 1],
            values: e.values.as_ptr(),
            starts: e.starts.as_ptr(),
            token_counts: e.tokens.as_ptr(),
            truncated: e.truncated.as_ptr(),
        });
        Ok(())
    })
}

/// Frees embeddings and all views of them. NULL does nothing. No other call may use them meanwhile or later.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_embeddings_free(embeddings: *mut kinglet_embeddings) {
    // SAFETY: C passes NULL or a live handle and gives it up.
    quietly(|| unsafe { handle::free(embeddings) });
}
