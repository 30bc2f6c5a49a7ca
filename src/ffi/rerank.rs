//! Reranking.

use crate::tasks::classification::Ranking;

use super::boundary::boundary;
use super::classification::{self, kinglet_classify_options};
use super::error::{kinglet_error, kinglet_status};
use super::handle::{self, handle};
use super::model::kinglet_model;
use super::strings::{kinglet_str, texts};
use super::structs::{Results, options, versioned};

/// Options of kinglet_model_rerank. Zero is the default of every field.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_rerank_options {
    /// sizeof(kinglet_rerank_options).
    pub struct_size: usize,
    /// The most documents in the ranking. 0: all.
    pub top_n: usize,
    /// How pairs are scored, as by kinglet_model_score: the function, the maximum length, an instruction (`prompt`), the cancellation
    /// and so on. NULL: the defaults.
    pub scoring: *const kinglet_classify_options,
}

versioned!(kinglet_rerank_options, "options", 24);

handle! {
    /// Documents in the order of how well they answer a query.
    pub struct kinglet_ranking: Owned<Ranking>, "ranking";
    /// Frees a ranking and everything borrowed from it.
    pub fn kinglet_ranking_free;
}

/// Scores `count` documents for one query, as kinglet_model_score does with pairs, and sorts them: the best first, the lower number of
/// two that are equal first. `options` may be NULL. `*ranking` receives the result. Fails as kinglet_model_score does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_rerank(
    model: *const kinglet_model,
    query: kinglet_str,
    documents: *const kinglet_str,
    count: usize,
    options: *const kinglet_rerank_options,
    ranking: *mut *mut kinglet_ranking,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    handle::create(ranking, error, || {
        // SAFETY: C passes a live handle, a text, an array of `count` texts and options of the size that they state.
        let (loaded, query, documents, o, scoring) = unsafe {
            let (query, documents) = (query.text(|| "query".into())?, texts(documents, count, "documents")?);
            let o = self::options(options)?;
            (handle::borrow(model)?, query, documents, o, classification::read_without_aggregation(o.scoring)?)
        };
        loaded.model.rerank(query, &documents, (o.top_n != 0).then_some(o.top_n), &scoring)
    })
}

/// The contents of a kinglet_ranking.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_ranking_view {
    /// sizeof(kinglet_ranking_view), set by the caller.
    pub struct_size: usize,
    /// Documents in the ranking: `top_n`, or all if there are fewer.
    pub count: usize,
    /// `count` values, the best first: the numbers of the documents.
    pub indices: *const usize,
    /// `count` values: their scores.
    pub scores: *const f32,
    /// Documents of the call.
    pub document_count: usize,
    /// `document_count` values, in the order of the call: the tokens of the query with each document, special tokens included.
    pub token_counts: *const usize,
    /// `document_count` values: 1 for pairs that were truncated, else 0.
    pub truncated: *const u8,
}

versioned!(kinglet_ranking_view, "view", 56);

/// Fills `view`, which is valid until the ranking is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_ranking_read(
    ranking: *const kinglet_ranking,
    view: *mut kinglet_ranking_view,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle and a struct of the size that it states.
        let (r, view) = unsafe { (handle::borrow(ranking)?, Results::new(view)?) };
        view.write(kinglet_ranking_view {
            struct_size: 0,
            count: r.indices.len(),
            indices: r.indices.as_ptr(),
            scores: r.scores.as_ptr(),
            document_count: r.tokens.len(),
            token_counts: r.tokens.as_ptr(),
            truncated: r.truncated.as_ptr(),
        });
        Ok(())
    })
}
