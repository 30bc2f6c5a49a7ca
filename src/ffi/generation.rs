//! Generation.

use crate::base::error::Result;
use crate::generate::{Listener, Piece};

use super::answers::Answers;
use super::boundary::boundary;
use super::error::{kinglet_error, kinglet_status};
use super::generate_options::{self, PieceCallback, kinglet_finish_reason, kinglet_generate_options};
use super::handle::{self, handle};
use super::model::kinglet_model;
use super::strings::{array, kinglet_str, texts};
use super::structs::{Results, versioned};

handle! {
    /// The outputs for a batch of inputs.
    pub struct kinglet_generations: Owned<Answers>, "generations";
    /// Frees generations and everything borrowed from them.
    pub fn kinglet_generations_free;
}

/// Runs `work` with a listener that calls C, if there is a callback.
pub(super) fn listening<T>(
    callback: Option<PieceCallback>,
    work: impl FnOnce(Option<Listener<'_>>) -> Result<T>,
) -> Result<T> {
    match callback {
        Some(callback) => work(Some(&mut |piece: Piece| callback.call(&piece))),
        None => work(None),
    }
}

/// Generates text for `count` prompts or, if the model has an encoder, from `count` source texts. `options` may be NULL.
/// `*generations` receives the outputs. Fails with KINGLET_STATUS_UNSUPPORTED if the model does not generate text,
/// KINGLET_STATUS_INVALID_ARGUMENT for options that contradict each other or a prompt without tokens, KINGLET_STATUS_OUT_OF_MEMORY if
/// the KV cache would exceed the memory limit, or KINGLET_STATUS_CANCELLED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_generate(
    model: *const kinglet_model,
    texts: *const kinglet_str,
    count: usize,
    options: *const kinglet_generate_options,
    generations: *mut *mut kinglet_generations,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    handle::create(generations, error, || {
        let (loaded, texts, (options, callback)) =
            // SAFETY: C passes a live handle, an array of `count` texts and options of the size that they state.
            unsafe { (handle::borrow(model)?, self::texts(texts, count, "texts")?, generate_options::read(options)?) };
        listening(callback, |listener| loaded.model.generate(&texts, &options, listener)).map(Answers::from)
    })
}

/// Like kinglet_model_generate, from token ids, to which nothing is added. `ids` holds the `id_count` ids of all inputs one after the
/// other, `lengths` the number of ids of each of the `count` inputs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_generate_ids(
    model: *const kinglet_model,
    ids: *const u32,
    id_count: usize,
    lengths: *const usize,
    count: usize,
    options: *const kinglet_generate_options,
    generations: *mut *mut kinglet_generations,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    handle::create(generations, error, || {
        // SAFETY: C passes a live handle, arrays of the sizes stated and options of the size that they state.
        let (loaded, ids, lengths, (options, callback)) = unsafe {
            let (ids, lengths) = (array(ids, id_count, "ids")?, array(lengths, count, "lengths")?);
            (handle::borrow(model)?, ids, lengths, generate_options::read(options)?)
        };
        listening(callback, |listener| loaded.model.generate_ids(ids, lengths, &options, listener)).map(Answers::from)
    })
}

/// The text of the first output for input number `index`. Valid until the generations are freed. Empty if `generations` is NULL or
/// there is no such input.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_generations_text(
    generations: *const kinglet_generations,
    index: usize,
) -> kinglet_str {
    // SAFETY: C passes NULL or a live handle.
    let output = unsafe { handle::borrow(generations) }.ok().and_then(|g| g.generations.outputs.get(index)?.first());
    output.map_or(kinglet_str::EMPTY, |output| kinglet_str::lend(&output.text))
}

/// The contents of a kinglet_generations, except the outputs themselves.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_generations_view {
    /// sizeof(kinglet_generations_view), set by the caller.
    pub struct_size: usize,
    /// Inputs in the batch.
    pub count: usize,
    /// `count` values: the tokens of each input, special tokens included.
    pub input_token_counts: *const usize,
    /// `count` values: 1 for inputs that were truncated to what the encoder takes, else 0.
    pub truncated: *const u8,
}

versioned!(kinglet_generations_view, "view", 32);

/// Fills `view`, which is valid until the generations are freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_generations_read(
    generations: *const kinglet_generations,
    view: *mut kinglet_generations_view,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle and a struct of the size that it states.
        let (g, view) = unsafe { (&handle::borrow(generations)?.generations, Results::new(view)?) };
        view.write(kinglet_generations_view {
            struct_size: 0,
            count: g.outputs.len(),
            input_token_counts: g.input_tokens.as_ptr(),
            truncated: g.truncated.as_ptr(),
        });
        Ok(())
    })
}

/// One generated text.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_generation_output {
    /// sizeof(kinglet_generation_output), set by the caller.
    pub struct_size: usize,
    /// The outputs for this input: `num_return_sequences`, or fewer if fewer beams were finished.
    pub output_count: usize,
    /// The text.
    pub text: kinglet_str,
    /// The generated tokens, the end token included: `token_count` values.
    pub tokens: *const u32,
    /// The number of generated tokens.
    pub token_count: usize,
    /// The log-probability of each token: `token_count` values. NULL without `logprobs`.
    pub logprobs: *const f32,
    /// With beam search the sum of log-probabilities / length^length_penalty; otherwise the sum of `logprobs`, or 0 without them.
    pub score: f32,
    /// Why the text ended.
    pub finish_reason: kinglet_finish_reason,
    /// Of a session's reply: the message that kinglet_model_parse_response reads in it, as JSON. Otherwise empty.
    pub message: kinglet_str,
}

versioned!(kinglet_generation_output, "output", 64);

/// Fills `output` with output number `sequence` for input number `index`, valid until the generations are freed. The outputs of an
/// input are sorted, the best one first. Fails with KINGLET_STATUS_INVALID_ARGUMENT if there is no such output.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_generations_output(
    generations: *const kinglet_generations,
    index: usize,
    sequence: usize,
    output: *mut kinglet_generation_output,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle and a struct of the size that it states.
        let (answers, place) = unsafe { (handle::borrow(generations)?, Results::new(output)?) };
        let all = handle::item(&answers.generations.outputs, index, "index")?;
        let o = handle::item(all, sequence, "sequence")?;
        place.write(kinglet_generation_output {
            struct_size: 0,
            output_count: all.len(),
            text: kinglet_str::lend(&o.text),
            tokens: o.tokens.as_ptr(),
            token_count: o.tokens.len(),
            logprobs: if o.logprobs.is_empty() { std::ptr::null() } else { o.logprobs.as_ptr() },
            score: o.score,
            finish_reason: o.finish_reason as u32,
            message: kinglet_str::lend(&answers.message),
        });
        Ok(())
    })
}
