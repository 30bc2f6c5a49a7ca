//! Compression of documents.

use crate::base::error::Result;
use crate::tasks::compress::{CompressMethod, CompressOptions, CompressUnit, Compression};

use super::boundary::boundary;
use super::cancellation::{self, kinglet_cancellation};
use super::encoding::kinglet_span;
use super::enums::enumeration;
use super::error::{kinglet_error, kinglet_status};
use super::handle::{self, handle};
use super::model::kinglet_model;
use super::scheduler::{self, kinglet_priority};
use super::strings::{kinglet_str, optional, texts};
use super::structs::{Results, choice, flag, options, reserved, versioned};

enumeration! {
    /// How the units of a document are scored.
    pub type kinglet_compress_method, kinglet_compress_method_name;
    /// By the model: a token classifier; a decoder, unless it has sentence-transformers' files; else sentence embeddings.
    KINGLET_COMPRESS_METHOD_AUTO = 0, c"auto";
    /// The probability of the label of tokens to keep, by a token classifier (LLMLingua-2).
    KINGLET_COMPRESS_METHOD_TOKEN_CLASSIFIER = 1, c"token_classifier", CompressMethod::TokenClassifier;
    /// `-ln p` of tokens given those before, by a decoder (Selective Context).
    KINGLET_COMPRESS_METHOD_SELF_INFORMATION = 2, c"self_information", CompressMethod::SelfInformation;
    /// The relevance and novelty of sentences by their embeddings (maximal marginal relevance).
    KINGLET_COMPRESS_METHOD_SENTENCE_EMBEDDINGS = 3, c"sentence_embeddings", CompressMethod::SentenceEmbeddings;
}

enumeration! {
    /// What is kept or dropped as a whole.
    pub type kinglet_compress_unit, kinglet_compress_unit_name;
    /// Words for a token classifier, else sentences.
    KINGLET_COMPRESS_UNIT_AUTO = 0, c"auto";
    /// A token of the model's tokenizer.
    KINGLET_COMPRESS_UNIT_TOKEN = 1, c"token", CompressUnit::Token;
    /// What stands between spaces, without the punctuation at its ends, which is a unit of its own.
    KINGLET_COMPRESS_UNIT_WORD = 2, c"word", CompressUnit::Word;
    /// A sentence; a long list or table is cut between words.
    KINGLET_COMPRESS_UNIT_SENTENCE = 3, c"sentence", CompressUnit::Sentence;
}

/// Options of kinglet_model_compress. Zero is the default of every field, but one of `ratio` and `max_tokens` is required.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_compress_options {
    /// sizeof(kinglet_compress_options).
    pub struct_size: usize,
    /// Tokens of the document for each token that is kept: a number above 1. 0: as `max_tokens` says.
    pub ratio: f64,
    /// The maximum number of tokens that are kept, by the model's own tokenizer and without special tokens. 0: as `ratio` says.
    pub max_tokens: usize,
    /// How units are scored.
    pub method: kinglet_compress_method,
    /// What is kept or dropped as a whole.
    pub unit: kinglet_compress_unit,
    /// What sentences are to be relevant to. Empty: the mean of the document. Only for KINGLET_COMPRESS_METHOD_SENTENCE_EMBEDDINGS.
    pub query: kinglet_str,
    /// The label of tokens to keep. Empty: the one that is named so (`keep`, `preserve`), else the second of two. Only for
    /// KINGLET_COMPRESS_METHOD_TOKEN_CLASSIFIER.
    pub keep_label: kinglet_str,
    /// Tokens that the model reads at once, special tokens included. 0: as many as it takes, at most 2048.
    pub window: usize,
    /// Tokens that two windows share, at most half of a window. 0: an eighth of a window. Not for
    /// KINGLET_COMPRESS_METHOD_SENTENCE_EMBEDDINGS, which embeds each sentence alone.
    pub overlap: usize,
    /// How much the relevance of a sentence counts, from above 0 to 1; its novelty has the rest. 0: 0.7. Only for
    /// KINGLET_COMPRESS_METHOD_SENTENCE_EMBEDDINGS.
    pub relevance: f32,
    /// 1 keeps what has a digit.
    pub force_digits: u32,
    /// 1 keeps words that begin with a capital letter and are not the first of a sentence.
    pub force_capitalized: u32,
    /// Must be 0.
    pub reserved: u32,
    /// `force_token_count` words, or sequences of words, that are kept wherever they are. Upper and lower case differ.
    pub force_tokens: *const kinglet_str,
    /// The number of texts in `force_tokens`.
    pub force_token_count: usize,
    /// Cancels the call from another thread. NULL: none.
    pub cancellation: *const kinglet_cancellation,
    /// How urgent the call is.
    pub priority: kinglet_priority,
    /// Milliseconds after which the call fails with KINGLET_STATUS_DEADLINE_EXCEEDED if it is not done, whether it runs or waits. 0: none.
    pub deadline_ms: u32,
}

versioned!(kinglet_compress_options, "options", 128);

/// # Safety
/// `pointer` is NULL or points at options of the size that they state, whose texts and cancellation are NULL or alive.
unsafe fn read(pointer: *const kinglet_compress_options) -> Result<CompressOptions> {
    // SAFETY: the caller's promise.
    let o = unsafe { options(pointer) }?;
    reserved(o.reserved)?;
    let force_tokens = match o.force_token_count {
        0 => Vec::new(),
        // SAFETY: likewise.
        count => unsafe { texts(o.force_tokens, count, "options.force_tokens") }?,
    };
    Ok(CompressOptions {
        ratio: (o.ratio != 0.0).then_some(o.ratio),
        max_tokens: (o.max_tokens != 0).then_some(o.max_tokens),
        method: choice(o.method, "options.method", CompressMethod::from_u32)?,
        unit: choice(o.unit, "options.unit", CompressUnit::from_u32)?,
        // SAFETY: likewise.
        query: unsafe { optional(o.query, "options.query") }?.filter(|query| !query.is_empty()),
        relevance: (o.relevance != 0.0).then_some(o.relevance),
        // SAFETY: likewise.
        keep_label: unsafe { optional(o.keep_label, "options.keep_label") }?.filter(|label| !label.is_empty()),
        window: (o.window != 0).then_some(o.window),
        overlap: (o.overlap != 0).then_some(o.overlap),
        force_digits: flag(o.force_digits, "options.force_digits")?,
        force_capitalized: flag(o.force_capitalized, "options.force_capitalized")?,
        force_tokens: force_tokens.into_iter().map(str::to_string).collect(),
        // SAFETY: likewise.
        cancellation: unsafe { cancellation::optional(o.cancellation) },
        priority: scheduler::priority(o.priority)?,
        deadline: scheduler::deadline(o.deadline_ms),
    })
}

handle! {
    /// A shortened document.
    pub struct kinglet_compression: Owned<Compression>, "compression";
    /// Frees a compression and everything borrowed from it.
    pub fn kinglet_compression_free;
}

/// Shortens a document of any length: the words or sentences that matter least are dropped, the others keep their order. The document is
/// read in windows. One that fits the budget is returned as it is. `*compression` receives the result. Fails with
/// KINGLET_STATUS_INVALID_ARGUMENT without `ratio` and `max_tokens` or with both, for an option that the method does not have, and if
/// the budget holds no unit, or not those that are to be kept in any case; KINGLET_STATUS_UNSUPPORTED if the model does not serve the
/// method; KINGLET_STATUS_OUT_OF_MEMORY, or KINGLET_STATUS_CANCELLED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_compress(
    model: *const kinglet_model,
    text: kinglet_str,
    options: *const kinglet_compress_options,
    compression: *mut *mut kinglet_compression,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    handle::create(compression, error, || {
        let (loaded, text, options) =
            // SAFETY: C passes a live handle, a text and options of the size that they state.
            unsafe { (handle::borrow(model)?, text.text(|| "text".to_string())?, read(options)?) };
        loaded.model.compress(text, &options)
    })
}

/// The contents of a kinglet_compression.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_compression_view {
    /// sizeof(kinglet_compression_view), set by the caller.
    pub struct_size: usize,
    /// The shortened text. Pieces that are not neighbours in the document are joined by a line break where a line begins with the second
    /// or a paragraph ends between them, else by a space; by nothing where the document has no space between them, or before punctuation.
    pub text: kinglet_str,
    /// `kept_count` stretches of the document, in order, that `text` is made of.
    pub kept: *const kinglet_span,
    /// The number of stretches.
    pub kept_count: usize,
    /// Tokens of the document, without special tokens.
    pub tokens_before: usize,
    /// Tokens of `text`, without special tokens.
    pub tokens_after: usize,
    /// What the model read: windows, or sentences where each is embedded alone. 0 for a document that fits as it is.
    pub windows: usize,
    /// The method; never AUTO.
    pub method: kinglet_compress_method,
    /// 0.
    pub reserved: u32,
}

versioned!(kinglet_compression_view, "view", 72);

/// Fills `view`, which is valid until the compression is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_compression_read(
    compression: *const kinglet_compression,
    view: *mut kinglet_compression_view,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle and a struct of the size that it states.
        let (c, view) = unsafe { (handle::borrow(compression)?, Results::new(view)?) };
        view.write(kinglet_compression_view {
            struct_size: 0,
            text: kinglet_str::lend(&c.text),
            kept: c.kept.as_ptr().cast(),
            kept_count: c.kept.len(),
            tokens_before: c.tokens_before,
            tokens_after: c.tokens_after,
            windows: c.windows,
            method: c.method as u32,
            reserved: 0,
        });
        Ok(())
    })
}
