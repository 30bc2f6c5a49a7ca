//! Generated texts, logits, and packing models.

use std::ffi::c_void;
use std::path::Path;

use crate::generate::{Event, Generations, Listener, Logits};
use crate::spec::Precision;

use super::boundary::{boundary, quietly};
use super::cancellation::{self, kinglet_cancellation};
use super::error::{kinglet_error, kinglet_status};
use super::generate_options::{self, PieceCallback, kinglet_finish, kinglet_generate_options};
use super::handle::{self, Alone, Handle, Place};
use super::model::{kinglet_model, kinglet_precision, kinglet_progress_callback};
use super::strings::{array, kinglet_str, texts};
use super::structs::{Results, Versioned, flag, unknown};
use crate::base::error::{Error, Result};

/// What was generated for a batch.
pub struct kinglet_generations {
    _private: [u8; 0],
}

impl Handle for kinglet_generations {
    type Target = Generations;
    type Ownership = Alone;
    const NAME: &'static str = "generations";
}

/// What generations hold. Set `struct_size` to its size before the call. All pointers are valid until they are freed.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_generations_view {
    pub struct_size: usize,
    /// Texts in the batch.
    pub count: usize,
    /// `count` values: each input's tokens, special ones counted.
    pub input_token_counts: *const usize,
    /// `count` values: 1 for inputs that were cut to what the encoder takes.
    pub truncated: *const u8,
}

// SAFETY: repr(C), `struct_size` first, plain values.
unsafe impl Versioned for kinglet_generations_view {
    const NAME: &'static str = "view";
    const FIRST_SIZE: usize = size_of::<Self>();
}

/// One generated text. Set `struct_size` to its size before the call. All pointers are valid until the generations are freed.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_output {
    pub struct_size: usize,
    /// Outputs of this input, of which this is one: num_return_sequences, or fewer where fewer were finished.
    pub output_count: usize,
    pub text: kinglet_str,
    /// The generated tokens, the end token too.
    pub tokens: *const u32,
    pub token_count: usize,
    /// `token_count` log-probabilities, or NULL if they were not asked for.
    pub logprobs: *const f32,
    /// With beams the log-probability over the length to the power of length_penalty; else the sum of `logprobs`.
    pub score: f32,
    pub finish: kinglet_finish,
}

// SAFETY: repr(C), `struct_size` first, plain values.
unsafe impl Versioned for kinglet_output {
    const NAME: &'static str = "output";
    const FIRST_SIZE: usize = size_of::<Self>();
}

/// Runs `work` with a listener that calls C, if there is a callback.
pub(super) fn listening<T>(
    callback: Option<PieceCallback>,
    work: impl FnOnce(Option<Listener<'_>>) -> Result<T>,
) -> Result<T> {
    match callback {
        Some(callback) => work(Some(&mut |event: Event| callback.call(&event))),
        None => work(None),
    }
}

/// Generates a text for each of `count` prompts or, where the model has an encoder, for each source text. `options` may be NULL. On
/// success `*generations` are generations that the caller frees with kinglet_generations_free. KINGLET_STATUS_UNSUPPORTED if the
/// model generates nothing, _INVALID_ARGUMENT for options that contradict each other, _OUT_OF_MEMORY where the memory limit would
/// be passed, _CANCELLED. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_generate(
    model: *const kinglet_model,
    texts: *const kinglet_str,
    count: usize,
    options: *const kinglet_generate_options,
    generations: *mut *mut kinglet_generations,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        let (loaded, texts, (options, callback)) =
            // SAFETY: C passes a live handle, an array of `count` texts and options of the size that they state.
            unsafe { (handle::borrow(model)?, self::texts(texts, count, "texts")?, generate_options::read(options)?) };
        let place = Place::new(generations, "generations")?;
        let result = listening(callback, |listener| loaded.model.generate(&texts, &options, listener))?;
        place.write(handle::give(result));
        Ok(())
    })
}

/// As kinglet_model_generate, from token ids as they are: `ids` holds the `id_count` ids of all inputs end to end, `lengths` the
/// tokens of each of the `count` inputs. Any thread.
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
    boundary(error, || {
        // SAFETY: C passes a live handle, arrays of the sizes stated and options of the size that they state.
        let (loaded, ids, lengths, (options, callback)) = unsafe {
            let (ids, lengths) = (array(ids, id_count, "ids")?, array(lengths, count, "lengths")?);
            (handle::borrow(model)?, ids, lengths, generate_options::read(options)?)
        };
        let place = Place::new(generations, "generations")?;
        let result = listening(callback, |listener| loaded.model.generate_ids(ids, lengths, &options, listener))?;
        place.write(handle::give(result));
        Ok(())
    })
}

/// Fills `view` with what is known of all texts. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_generations_read(
    generations: *const kinglet_generations,
    view: *mut kinglet_generations_view,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle and a struct of the size that it states.
        let (g, view) = unsafe { (handle::borrow(generations)?, Results::new(view)?) };
        view.write(kinglet_generations_view {
            struct_size: 0,
            count: g.outputs.len(),
            input_token_counts: g.input_tokens.as_ptr(),
            truncated: g.truncated.as_ptr(),
        });
        Ok(())
    })
}

/// Fills `output` with one output of one text, both counted from 0; the outputs of a text are the best first. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_generations_output(
    generations: *const kinglet_generations,
    index: usize,
    number: usize,
    output: *mut kinglet_output,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle and a struct of the size that it states.
        let (g, place) = unsafe { (handle::borrow(generations)?, Results::new(output)?) };
        let texts = g.outputs.len();
        let all = g.outputs.get(index);
        let all = all.ok_or_else(|| Error::invalid_argument(format!("index: {index} is not below {texts}")))?;
        let found = all.get(number);
        let o = found.ok_or_else(|| Error::invalid_argument(format!("number: {number} is not below {}", all.len())))?;
        place.write(kinglet_output {
            struct_size: 0,
            output_count: all.len(),
            text: kinglet_str::lend(&o.text),
            tokens: o.tokens.as_ptr(),
            token_count: o.tokens.len(),
            logprobs: if o.logprobs.is_empty() { std::ptr::null() } else { o.logprobs.as_ptr() },
            score: o.score,
            finish: o.finish_reason as u32,
        });
        Ok(())
    })
}

/// Frees generations and all views of them. NULL does nothing. No other call may use them meanwhile or later.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_generations_free(generations: *mut kinglet_generations) {
    // SAFETY: C passes NULL or a live handle and gives it up.
    quietly(|| unsafe { handle::free(generations) });
}

/// The logits of a sequence.
pub struct kinglet_logits {
    _private: [u8; 0],
}

impl Handle for kinglet_logits {
    type Target = Logits;
    type Ownership = Alone;
    const NAME: &'static str = "logits";
}

/// What logits hold. Set `struct_size` to its size before the call. All pointers are valid until they are freed.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_logits_view {
    pub struct_size: usize,
    /// Tokens: rows.
    pub token_count: usize,
    /// Values in a row.
    pub vocabulary_size: usize,
    /// `token_count * vocabulary_size` values, row by row.
    pub values: *const f32,
}

// SAFETY: repr(C), `struct_size` first, plain values.
unsafe impl Versioned for kinglet_logits_view {
    const NAME: &'static str = "view";
    const FIRST_SIZE: usize = size_of::<Self>();
}

/// Computes the logits of a sequence's tokens before any processing: of `decoder_ids` given the source text `ids`, or for a model
/// without an encoder of `ids` (`decoder_ids` is NULL then). `stepwise` 1 runs the tokens one at a time, as generation does, 0 all
/// at once; the numbers are the same. `cancellation` is NULL or a switch. On success `*logits` are logits that the caller frees with
/// kinglet_logits_free. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_logits(
    model: *const kinglet_model,
    ids: *const u32,
    id_count: usize,
    decoder_ids: *const u32,
    decoder_id_count: usize,
    stepwise: u32,
    cancellation: *const kinglet_cancellation,
    logits: *mut *mut kinglet_logits,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle, arrays of the sizes stated, and NULL or a live switch.
        let (loaded, ids, decoder_ids, cancellation) = unsafe {
            let decoder_ids = match decoder_ids.is_null() {
                true => None,
                false => Some(array(decoder_ids, decoder_id_count, "decoder_ids")?),
            };
            let cancellation = cancellation::optional(cancellation);
            (handle::borrow(model)?, array(ids, id_count, "ids")?, decoder_ids, cancellation)
        };
        let place = Place::new(logits, "logits")?;
        let stepwise = flag(stepwise, "stepwise")?;
        place.write(handle::give(loaded.model.logits(ids, decoder_ids, stepwise, cancellation.as_ref())?));
        Ok(())
    })
}

/// Fills `view` with what the logits hold. The view is valid until they are freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_logits_read(
    logits: *const kinglet_logits,
    view: *mut kinglet_logits_view,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle and a struct of the size that it states.
        let (l, view) = unsafe { (handle::borrow(logits)?, Results::new(view)?) };
        view.write(kinglet_logits_view {
            struct_size: 0,
            token_count: l.values.len() / l.vocabulary.max(1),
            vocabulary_size: l.vocabulary,
            values: l.values.as_ptr(),
        });
        Ok(())
    })
}

/// Frees logits and all views of them. NULL does nothing. No other call may use them meanwhile or later.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_logits_free(logits: *mut kinglet_logits) {
    // SAFETY: C passes NULL or a live handle and gives it up.
    quietly(|| unsafe { handle::free(logits) });
}

/// Reads a model (a Hugging Face directory or a GGUF file) and writes it to `destination` as one .kinglet file with its weights in
/// `precision`, which kinglet_model_load then maps instead of converting. The file appears when it is complete. `progress` may be
/// NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_quantize(
    source: kinglet_str,
    destination: kinglet_str,
    precision: kinglet_precision,
    progress: kinglet_progress_callback,
    progress_user_data: *mut c_void,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        let (source, destination) =
            // SAFETY: C passes texts as their sizes say.
            unsafe { (source.text(|| "source".into())?, destination.text(|| "destination".into())?) };
        for (path, name) in [(source, "source"), (destination, "destination")] {
            if path.is_empty() {
                return Err(Error::invalid_argument(format!("{name}: is empty")));
            }
        }
        let precision = Precision::from_u32(precision).ok_or_else(|| unknown(precision, "precision"))?;
        let mut report = |share: f32| progress.is_none_or(|callback| callback(progress_user_data, share) != 0);
        crate::load::quantize(Path::new(source), Path::new(destination), precision, &mut report)
    })
}
