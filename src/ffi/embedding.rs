//! Embeddings.

use crate::base::error::Result;
use crate::spec::Pooling;
use crate::tasks::embedding::{EmbedOptions, Embeddings};

use super::boundary::boundary;
use super::cancellation::{self, kinglet_cancellation};
use super::enums::enumeration;
use super::error::{kinglet_error, kinglet_status};
use super::handle::{self, handle};
use super::model::kinglet_model;
use super::scheduler::{self, kinglet_priority};
use super::strings::{kinglet_str, kinglet_tristate, optional, texts};
use super::structs::{Results, choice, options, tristate, versioned};

enumeration! {
    /// How the token vectors of a text become one vector.
    pub type kinglet_pooling, kinglet_pooling_name;
    /// As the model's sentence-transformers files say. Without such files the last token for decoders that generate, else the mean.
    KINGLET_POOLING_AUTO = 0, c"auto";
    /// The mean over all tokens, special tokens included.
    KINGLET_POOLING_MEAN = 1, c"mean", Pooling::Mean;
    /// The vector of the first token.
    KINGLET_POOLING_CLS = 2, c"cls", Pooling::Cls;
    /// The vector of the last token.
    KINGLET_POOLING_LAST = 3, c"last", Pooling::Last;
    /// No pooling: one vector per token.
    KINGLET_POOLING_NONE = 4, c"none", Pooling::None;
    /// The largest value of each component over all tokens.
    KINGLET_POOLING_MAX = 5, c"max", Pooling::Max;
    /// The mean weighted by position: the first token counts once, the second twice, and so on.
    KINGLET_POOLING_WEIGHTEDMEAN = 6, c"weightedmean", Pooling::WeightedMean;
    /// The sum over all tokens divided by the square root of their number.
    KINGLET_POOLING_MEAN_SQRT_LEN_TOKENS = 7, c"mean_sqrt_len_tokens", Pooling::MeanSqrtLen;
}

/// Options of kinglet_model_embed. Zero is the default of every field.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_embed_options {
    /// sizeof(kinglet_embed_options).
    pub struct_size: usize,
    /// How token vectors become one vector, in place of the model's own pooling. Dense and other modules of the model's
    /// sentence-transformers files are applied all the same; with KINGLET_POOLING_NONE only those of tokens.
    pub pooling: kinglet_pooling,
    /// Whether vectors are scaled to length 1. YES does it last, after `truncate_dim`; NO leaves out the module Normalize at the end
    /// of the model's modules. AUTO: as the modules say; with KINGLET_POOLING_NONE and without such files no.
    pub normalize: kinglet_tristate,
    /// The maximum number of tokens of a text, special tokens included; longer texts are truncated. 0: the model's maximum.
    pub max_length: usize,
    /// Cancels the call from another thread. NULL: none.
    pub cancellation: *const kinglet_cancellation,
    /// The name of a prompt in the model's config_sentence_transformers.json, which is put before each text. Empty: its
    /// `default_prompt_name`, if it has one.
    pub prompt_name: kinglet_str,
    /// A prompt that is put before each text; `prompt_name` is then ignored. With `data` not NULL and `size` 0: no prompt.
    pub prompt: kinglet_str,
    /// Keeps only the first values of each vector, at most as many as it has. This is done before `normalize` YES and after the
    /// model's own Normalize. 0: as the model's files say, else all values.
    pub truncate_dim: usize,
    /// How urgent the call is.
    pub priority: kinglet_priority,
    /// Milliseconds after which the call fails with KINGLET_STATUS_DEADLINE_EXCEEDED if it is not done, whether it runs or waits. 0: none.
    pub deadline_ms: u32,
}

versioned!(kinglet_embed_options, "options", 32);

/// # Safety
/// `pointer` is NULL or points at options of the size that they state, whose cancellation is NULL or alive.
pub(super) unsafe fn read(pointer: *const kinglet_embed_options) -> Result<EmbedOptions> {
    // SAFETY: the caller's promise.
    let o = unsafe { options(pointer) }?;
    Ok(EmbedOptions {
        pooling: choice(o.pooling, "options.pooling", Pooling::from_u32)?,
        normalize: tristate(o.normalize, "options.normalize")?,
        max_length: (o.max_length != 0).then_some(o.max_length),
        // SAFETY: likewise.
        cancellation: unsafe { cancellation::optional(o.cancellation) },
        priority: scheduler::priority(o.priority)?,
        deadline: scheduler::deadline(o.deadline_ms),
        // SAFETY: likewise.
        prompt_name: unsafe { optional(o.prompt_name, "options.prompt_name") }?.filter(|name| !name.is_empty()),
        // SAFETY: likewise.
        prompt: unsafe { optional(o.prompt, "options.prompt") }?,
        truncate_dim: (o.truncate_dim != 0).then_some(o.truncate_dim),
    })
}

handle! {
    /// The embeddings of a batch of texts.
    pub struct kinglet_embeddings: Owned<Embeddings>, "embeddings";
    /// Frees embeddings and everything borrowed from them.
    pub fn kinglet_embeddings_free;
}

/// Computes the embeddings of `count` texts. `options` may be NULL. `*embeddings` receives them. On KINGLET_DEVICE_CPU the values of a
/// text are the same to the bit whatever the other texts of the batch and the number of threads. Fails with
/// KINGLET_STATUS_UNSUPPORTED if the model has no tokenizer or modules that are not supported, KINGLET_STATUS_OUT_OF_MEMORY, or
/// KINGLET_STATUS_CANCELLED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_embed(
    model: *const kinglet_model,
    texts: *const kinglet_str,
    count: usize,
    options: *const kinglet_embed_options,
    embeddings: *mut *mut kinglet_embeddings,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    handle::create(embeddings, error, || {
        let (loaded, texts, options) =
            // SAFETY: C passes a live handle, an array of `count` texts and options of the size that they state.
            unsafe { (handle::borrow(model)?, self::texts(texts, count, "texts")?, read(options)?) };
        loaded.model.embed(&texts, &options)
    })
}

/// The number of texts; 0 if `embeddings` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_embeddings_count(embeddings: *const kinglet_embeddings) -> usize {
    // SAFETY: C passes NULL or a live handle.
    unsafe { handle::borrow(embeddings) }.map_or(0, |e| e.truncated.len())
}

/// The number of values per vector; 0 if `embeddings` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_embeddings_dimension(embeddings: *const kinglet_embeddings) -> usize {
    // SAFETY: C passes NULL or a live handle.
    unsafe { handle::borrow(embeddings) }.map_or(0, |e| e.dimension)
}

/// Vector number `row`: that of text `row`, or with KINGLET_POOLING_NONE that of token `row` of the whole batch. Valid until the
/// embeddings are freed. NULL if `embeddings` is NULL or there is no such row.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_embeddings_vector(embeddings: *const kinglet_embeddings, row: usize) -> *const f32 {
    // SAFETY: C passes NULL or a live handle.
    unsafe { handle::borrow(embeddings) }.map_or(std::ptr::null(), |e| handle::row(&e.values, e.dimension, row))
}

/// The contents of a kinglet_embeddings.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_embeddings_view {
    /// sizeof(kinglet_embeddings_view), set by the caller.
    pub struct_size: usize,
    /// Texts in the batch.
    pub count: usize,
    /// Values per vector.
    pub dimension: usize,
    /// The number of vectors: `count`, or with KINGLET_POOLING_NONE the number of tokens.
    pub row_count: usize,
    /// The vectors one after the other: `row_count * dimension` values.
    pub values: *const f32,
    /// `count + 1` values: the vectors of text i are those from `starts[i]` to `starts[i + 1]` (exclusive).
    pub starts: *const usize,
    /// `count` values: the tokens of each text, special tokens included.
    pub token_counts: *const usize,
    /// `count` values: 1 for texts that were truncated, else 0.
    pub truncated: *const u8,
}

versioned!(kinglet_embeddings_view, "view", 64);

/// Fills `view`, which is valid until the embeddings are freed.
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
