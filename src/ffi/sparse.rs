//! Sparse embeddings.

use crate::tasks::sparse::{SparseEmbeddings, SparseOptions};

use super::boundary::boundary;
use super::cancellation::{self, kinglet_cancellation};
use super::error::{kinglet_error, kinglet_status};
use super::handle::{self, handle};
use super::model::kinglet_model;
use super::scheduler::{self, kinglet_priority};
use super::strings::{kinglet_str, optional, texts};
use super::structs::{Results, options, versioned};

/// Options of kinglet_model_sparse_embed. Zero is the default of every field.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_sparse_options {
    /// sizeof(kinglet_sparse_options).
    pub struct_size: usize,
    /// Keeps only so many weights of each text, the largest ones. 0: as the model's files say, else all.
    pub max_active_dims: usize,
    /// The maximum number of tokens of a text, special tokens included; longer texts are truncated. 0: the model's maximum.
    pub max_length: usize,
    /// Cancels the call from another thread. NULL: none.
    pub cancellation: *const kinglet_cancellation,
    /// The name of a prompt in the model's config_sentence_transformers.json, which is put before each text. Empty: its
    /// `default_prompt_name`, if it has one.
    pub prompt_name: kinglet_str,
    /// A prompt that is put before each text; `prompt_name` is then ignored. With `data` not NULL and `size` 0: no prompt.
    pub prompt: kinglet_str,
    /// How urgent the call is.
    pub priority: kinglet_priority,
    /// Milliseconds after which the call fails with KINGLET_STATUS_DEADLINE_EXCEEDED if it is not done, whether it runs or waits. 0: none.
    pub deadline_ms: u32,
}

versioned!(kinglet_sparse_options, "options", 72);

handle! {
    /// The sparse embeddings of a batch of texts.
    pub struct kinglet_sparse_embeddings: Owned<SparseEmbeddings>, "embeddings";
    /// Frees sparse embeddings and everything borrowed from them.
    pub fn kinglet_sparse_embeddings_free;
}

/// Computes sparse embeddings of `count` texts with a masked language model (SPLADE): the weights of each text over the vocabulary,
/// without those that are 0. The dot product of two texts' weights is their similarity. `options` may be NULL. `*embeddings` receives them. Fails with
/// KINGLET_STATUS_UNSUPPORTED if the model has no masked language head or its sentence-transformers files are of another kind of model,
/// KINGLET_STATUS_OUT_OF_MEMORY, or KINGLET_STATUS_CANCELLED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_sparse_embed(
    model: *const kinglet_model,
    texts: *const kinglet_str,
    count: usize,
    options: *const kinglet_sparse_options,
    embeddings: *mut *mut kinglet_sparse_embeddings,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    handle::create(embeddings, error, || {
        // SAFETY: C passes a live handle, an array of `count` texts, and options of the size that they state with texts and a cancellation
        // that are NULL or alive.
        let (loaded, texts, o, cancellation, name, prompt) = unsafe {
            let o = self::options(options)?;
            let name = optional(o.prompt_name, "options.prompt_name")?;
            let prompt = optional(o.prompt, "options.prompt")?;
            let texts = self::texts(texts, count, "texts")?;
            (handle::borrow(model)?, texts, o, cancellation::optional(o.cancellation), name, prompt)
        };
        let options = SparseOptions {
            max_active_dims: (o.max_active_dims != 0).then_some(o.max_active_dims),
            max_length: (o.max_length != 0).then_some(o.max_length),
            prompt_name: name.filter(|name| !name.is_empty()),
            prompt,
            cancellation,
            priority: scheduler::priority(o.priority)?,
            deadline: scheduler::deadline(o.deadline_ms),
        };
        loaded.model.sparse_embed(&texts, &options)
    })
}

/// The contents of a kinglet_sparse_embeddings: compressed rows (CSR).
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_sparse_embeddings_view {
    /// sizeof(kinglet_sparse_embeddings_view), set by the caller.
    pub struct_size: usize,
    /// Texts in the batch.
    pub count: usize,
    /// The size of the vocabulary; all indices are below it.
    pub dimension: usize,
    /// `count + 1` values: the weights of text i are those from `starts[i]` to `starts[i + 1]` (exclusive).
    pub starts: *const usize,
    /// `starts[count]` values: token ids, ascending for each text.
    pub indices: *const u32,
    /// `starts[count]` values: their weights, all greater than 0.
    pub weights: *const f32,
    /// `count` values: the tokens of each text, special tokens included.
    pub token_counts: *const usize,
    /// `count` values: 1 for texts that were truncated, else 0.
    pub truncated: *const u8,
}

versioned!(kinglet_sparse_embeddings_view, "view", 64);

/// Fills `view`, which is valid until the embeddings are freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_sparse_embeddings_read(
    embeddings: *const kinglet_sparse_embeddings,
    view: *mut kinglet_sparse_embeddings_view,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle and a struct of the size that it states.
        let (e, view) = unsafe { (handle::borrow(embeddings)?, Results::new(view)?) };
        view.write(kinglet_sparse_embeddings_view {
            struct_size: 0,
            count: e.tokens.len(),
            dimension: e.dimension,
            starts: e.starts.as_ptr(),
            indices: e.indices.as_ptr(),
            weights: e.weights.as_ptr(),
            token_counts: e.tokens.as_ptr(),
            truncated: e.truncated.as_ptr(),
        });
        Ok(())
    })
}
