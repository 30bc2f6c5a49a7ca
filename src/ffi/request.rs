//! Calls that the caller does not wait for.

use std::ffi::c_void;
use std::time::Duration;

use crate::api::{Model, Request};
use crate::base::call::{Cancellation, Priority};
use crate::base::error::{Error, Result};
use crate::tasks::classification::Classifications;
use crate::tasks::embedding::Embeddings;
use crate::tasks::token_classification::TokenClassifications;

use super::answers::Answers;
use super::boundary::{boundary, callback, quietly};
use super::classification::{self, kinglet_classifications, kinglet_classify_options};
use super::embedding::{self, kinglet_embed_options, kinglet_embeddings};
use super::error::{kinglet_error, kinglet_status};
use super::generate_options::{self, PieceCallback, kinglet_generate_options};
use super::generation::{kinglet_generations, listening};
use super::handle::{self, Handle, OutPointer, handle};
use super::model::kinglet_model;
use super::strings::{kinglet_str, texts};
use super::token_classification::kinglet_token_classifications;

handle! {
    /// A call that runs in the background, on one of a bounded number of the model's own threads (kinglet_scheduler_options). It holds a
    /// reference to the model until it is done. One thread at a time may use it, except for kinglet_request_cancel.
    pub struct kinglet_request: Owned<Pending>, "request";
    /// Cancels the call if it is not done, without waiting for it, and frees the request and a result that was not taken. Callbacks of the
    /// call may still be running, or run once more, until its completion callback was called.
    pub fn kinglet_request_free;
}

/// A request by the kind of its result.
pub enum Pending {
    Embeddings(Request<Embeddings>),
    Classifications(Request<Classifications>),
    TokenClassifications(Request<TokenClassifications>),
    Generations(Request<Answers>),
}

/// Tells that a request is done, on a thread of the model's: kinglet_request_wait then returns at once. Called exactly once, also for a
/// request that failed, was cancelled or was freed; possibly before the function that submitted it returns. It must not wait for other
/// requests.
pub type kinglet_request_callback = Option<extern "C" fn(user_data: *mut c_void)>;

/// What goes to another thread although it has a pointer of the caller's.
struct Sent<T>(T);

// SAFETY: the header says that callbacks of requests run on a thread of the model's, with their `user_data`.
unsafe impl<T> Send for Sent<T> {}

impl<T> Sent<T> {
    fn get(self) -> T {
        self.0
    }
}

type Completion = Option<Box<dyn FnOnce() + Send>>;

fn completion(function: kinglet_request_callback, user_data: *mut c_void) -> Completion {
    let function = function?;
    let user_data = Sent(user_data);
    Some(Box::new(move || callback(|| function(user_data.get()))))
}

fn owned(texts: Vec<&str>) -> Vec<String> {
    texts.into_iter().map(str::to_string).collect()
}

fn refs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// Submits work with the cancellation of the call's options, if they have one.
fn submit<T: Send + 'static>(
    model: &Model,
    priority: Priority,
    cancellation: Option<Cancellation>,
    done: Completion,
    work: impl FnOnce(&Model, Cancellation) -> Result<T> + Send + 'static,
) -> Result<Request<T>> {
    model.submit_with(priority, cancellation.unwrap_or_default(), done, work)
}

/// As kinglet_model_embed, in the background. Texts and options are copied; a cancellation in them also cancels the request, and
/// `deadline_ms` counts from this call. `done` may be NULL. `*request` receives the request. Fails with KINGLET_STATUS_BUSY if as many
/// requests wait as the queue may have; errors of the call itself come with its result.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_submit_embed(
    model: *const kinglet_model,
    texts: *const kinglet_str,
    count: usize,
    options: *const kinglet_embed_options,
    done: kinglet_request_callback,
    user_data: *mut c_void,
    request: *mut *mut kinglet_request,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    handle::create(request, error, || {
        let (loaded, texts, mut options) =
            // SAFETY: C passes a live handle, an array of `count` texts and options of the size that they state.
            unsafe { (handle::borrow(model)?, self::texts(texts, count, "texts")?, embedding::read(options)?) };
        let texts = owned(texts);
        let (priority, cancellation) = (options.priority, options.cancellation.take());
        let request =
            submit(&loaded.model, priority, cancellation, completion(done, user_data), move |model, cancel| {
                options.cancellation = Some(cancel);
                model.embed(&refs(&texts), &options)
            })?;
        Ok(Pending::Embeddings(request))
    })
}

/// As kinglet_model_classify, in the background; otherwise as kinglet_model_submit_embed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_submit_classify(
    model: *const kinglet_model,
    texts: *const kinglet_str,
    pairs: *const kinglet_str,
    count: usize,
    options: *const kinglet_classify_options,
    done: kinglet_request_callback,
    user_data: *mut c_void,
    request: *mut *mut kinglet_request,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    handle::create(request, error, || {
        // SAFETY: C passes a live handle, arrays of `count` texts and options of the size that they state.
        let (loaded, texts, pairs, mut options) = unsafe {
            let pairs = if pairs.is_null() { None } else { Some(self::texts(pairs, count, "pairs")?) };
            let texts = self::texts(texts, count, "texts")?;
            (handle::borrow(model)?, texts, pairs, classification::read_without_aggregation(options)?)
        };
        let (texts, pairs) = (owned(texts), pairs.map(owned));
        let (priority, cancellation) = (options.priority, options.cancellation.take());
        let request =
            submit(&loaded.model, priority, cancellation, completion(done, user_data), move |model, cancel| {
                options.cancellation = Some(cancel);
                let pairs = pairs.as_deref().map(refs);
                model.classify(&refs(&texts), pairs.as_deref(), &options)
            })?;
        Ok(Pending::Classifications(request))
    })
}

/// As kinglet_model_score, in the background; otherwise as kinglet_model_submit_embed. kinglet_request_take_classifications takes the
/// result.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_submit_score(
    model: *const kinglet_model,
    queries: *const kinglet_str,
    documents: *const kinglet_str,
    count: usize,
    options: *const kinglet_classify_options,
    done: kinglet_request_callback,
    user_data: *mut c_void,
    request: *mut *mut kinglet_request,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    handle::create(request, error, || {
        // SAFETY: C passes a live handle, arrays of `count` texts and options of the size that they state.
        let (loaded, queries, documents, mut options) = unsafe {
            let documents = texts(documents, count, "documents")?;
            let queries = texts(queries, count, "queries")?;
            (handle::borrow(model)?, queries, documents, classification::read_without_aggregation(options)?)
        };
        let (queries, documents) = (owned(queries), owned(documents));
        let (priority, cancellation) = (options.priority, options.cancellation.take());
        let request =
            submit(&loaded.model, priority, cancellation, completion(done, user_data), move |model, cancel| {
                options.cancellation = Some(cancel);
                model.score(&refs(&queries), &refs(&documents), &options)
            })?;
        Ok(Pending::Classifications(request))
    })
}

/// As kinglet_model_classify_tokens, in the background; otherwise as kinglet_model_submit_embed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_submit_classify_tokens(
    model: *const kinglet_model,
    texts: *const kinglet_str,
    count: usize,
    options: *const kinglet_classify_options,
    done: kinglet_request_callback,
    user_data: *mut c_void,
    request: *mut *mut kinglet_request,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    handle::create(request, error, || {
        let (loaded, texts, (mut options, aggregation)) =
            // SAFETY: C passes a live handle, an array of `count` texts and options of the size that they state.
            unsafe { (handle::borrow(model)?, self::texts(texts, count, "texts")?, classification::read(options)?) };
        let texts = owned(texts);
        let (priority, cancellation) = (options.priority, options.cancellation.take());
        let request =
            submit(&loaded.model, priority, cancellation, completion(done, user_data), move |model, cancel| {
                options.cancellation = Some(cancel);
                model.classify_tokens(&refs(&texts), aggregation.unwrap_or_default(), &options)
            })?;
        Ok(Pending::TokenClassifications(request))
    })
}

/// As kinglet_model_generate, in the background; otherwise as kinglet_model_submit_embed. `on_piece` of the options is called on a thread
/// of the model's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_submit_generate(
    model: *const kinglet_model,
    texts: *const kinglet_str,
    count: usize,
    options: *const kinglet_generate_options,
    done: kinglet_request_callback,
    user_data: *mut c_void,
    request: *mut *mut kinglet_request,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    handle::create(request, error, || {
        let (loaded, texts, (mut options, pieces)) =
            // SAFETY: C passes a live handle, an array of `count` texts and options of the size that they state.
            unsafe { (handle::borrow(model)?, self::texts(texts, count, "texts")?, generate_options::read(options)?) };
        let texts = owned(texts);
        let pieces: Sent<Option<PieceCallback>> = Sent(pieces);
        let (priority, cancellation) = (options.priority, options.cancellation.take());
        let request =
            submit(&loaded.model, priority, cancellation, completion(done, user_data), move |model, cancel| {
                options.cancellation = Some(cancel);
                listening(pieces.get(), |listener| model.generate(&refs(&texts), &options, listener)).map(Answers::from)
            })?;
        Ok(Pending::Generations(request))
    })
}

/// Waits until the request is done, at most `timeout_ms` milliseconds; 0 only asks, and UINT64_MAX waits without limit. Returns 1 if it is
/// done, else 0; also 0 if `request` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_request_wait(request: *const kinglet_request, timeout_ms: u64) -> u32 {
    quietly(|| {
        let timeout = (timeout_ms < u64::MAX).then(|| Duration::from_millis(timeout_ms));
        // SAFETY: C passes NULL or a live handle.
        let done = match unsafe { handle::borrow(request) } {
            Ok(Pending::Embeddings(request)) => request.wait(timeout),
            Ok(Pending::Classifications(request)) => request.wait(timeout),
            Ok(Pending::TokenClassifications(request)) => request.wait(timeout),
            Ok(Pending::Generations(request)) => request.wait(timeout),
            Err(_) => false,
        };
        done.into()
    })
}

/// Cancels the call, which is then soon done with KINGLET_STATUS_CANCELLED, or with its result if it was about to end. NULL is ignored. May be
/// called from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_request_cancel(request: *const kinglet_request) {
    // SAFETY: C passes NULL or a live handle.
    quietly(|| match unsafe { handle::borrow(request) } {
        Ok(Pending::Embeddings(request)) => request.cancel(),
        Ok(Pending::Classifications(request)) => request.cancel(),
        Ok(Pending::TokenClassifications(request)) => request.cancel(),
        Ok(Pending::Generations(request)) => request.cancel(),
        Err(_) => {}
    });
}

fn other_kind(function: &str) -> Error {
    Error::invalid_argument(format!("request: was submitted by {function}, whose result is of another kind"))
}

fn submitted_by(pending: &Pending) -> &'static str {
    match pending {
        Pending::Embeddings(_) => "kinglet_model_submit_embed",
        Pending::Classifications(_) => "kinglet_model_submit_classify or kinglet_model_submit_score",
        Pending::TokenClassifications(_) => "kinglet_model_submit_classify_tokens",
        Pending::Generations(_) => "kinglet_model_submit_generate",
    }
}

/// Takes the result of a request that `of_kind` picks, and gives it to `place`, the argument `name`.
///
/// # Safety
/// `request` is NULL or a live handle, and `place` NULL or a place for a pointer.
unsafe fn take<H: Handle>(
    request: *mut kinglet_request,
    place: *mut *mut H,
    name: &str,
    error: *mut *mut kinglet_error,
    of_kind: impl FnOnce(&Pending) -> Option<&Request<H::Target>>,
) -> kinglet_status {
    boundary(error, || {
        let place = OutPointer::new(place, name)?;
        // SAFETY: the caller's promise.
        let pending = unsafe { handle::borrow(request.cast_const()) }?;
        let of_kind = of_kind(pending).ok_or_else(|| other_kind(submitted_by(pending)))?;
        place.write(handle::give(of_kind.take()?));
        Ok(())
    })
}

/// Takes the result of kinglet_model_submit_embed, or its error. `*embeddings` receives it; it is freed apart from the request. Fails with
/// KINGLET_STATUS_INVALID_ARGUMENT if the request is not done, its result was taken, or it is of another kind.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_request_take_embeddings(
    request: *mut kinglet_request,
    embeddings: *mut *mut kinglet_embeddings,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    // SAFETY: C passes NULL or a live handle, and NULL or a place for a pointer.
    unsafe {
        take(request, embeddings, "embeddings", error, |pending| match pending {
            Pending::Embeddings(request) => Some(request),
            _ => None,
        })
    }
}

/// Takes the result of kinglet_model_submit_classify or kinglet_model_submit_score; otherwise as kinglet_request_take_embeddings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_request_take_classifications(
    request: *mut kinglet_request,
    classifications: *mut *mut kinglet_classifications,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    // SAFETY: C passes NULL or a live handle, and NULL or a place for a pointer.
    unsafe {
        take(request, classifications, "classifications", error, |pending| match pending {
            Pending::Classifications(request) => Some(request),
            _ => None,
        })
    }
}

/// Takes the result of kinglet_model_submit_classify_tokens; otherwise as kinglet_request_take_embeddings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_request_take_token_classifications(
    request: *mut kinglet_request,
    classifications: *mut *mut kinglet_token_classifications,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    // SAFETY: C passes NULL or a live handle, and NULL or a place for a pointer.
    unsafe {
        take(request, classifications, "classifications", error, |pending| match pending {
            Pending::TokenClassifications(request) => Some(request),
            _ => None,
        })
    }
}

/// Takes the result of kinglet_model_submit_generate; otherwise as kinglet_request_take_embeddings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_request_take_generations(
    request: *mut kinglet_request,
    generations: *mut *mut kinglet_generations,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    // SAFETY: C passes NULL or a live handle, and NULL or a place for a pointer.
    unsafe {
        take(request, generations, "generations", error, |pending| match pending {
            Pending::Generations(request) => Some(request),
            _ => None,
        })
    }
}
