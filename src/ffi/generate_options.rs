//! The options of generation.

use std::ffi::c_void;
use std::mem::offset_of;

use crate::base::error::{Error, Result};
use crate::generate::constraint::Grammar;
use crate::generate::options::{EarlyStopping, GenerateOptions};
use crate::generate::{Event, FinishReason};

use super::boundary::boundary;
use super::cancellation::{self, kinglet_cancellation};
use super::error::{kinglet_error, kinglet_status};
use super::handle;
use super::session::kinglet_prefix;
use super::strings::{array, kinglet_str, texts};
use super::structs::{self, Versioned, choice, flag, options, unknown};

/// A count or an id that is not set: the model's files or Hugging Face's default decide.
pub const KINGLET_UNSET: u64 = u64::MAX;

/// A switch that may be left to the model: one of the KINGLET_CHOICE constants.
pub type kinglet_choice = u32;

/// What the model's files say, else the default that the field names.
pub const KINGLET_CHOICE_AUTO: u32 = 0;
pub const KINGLET_CHOICE_NO: u32 = 1;
pub const KINGLET_CHOICE_YES: u32 = 2;

/// When beam search stops looking: one of the KINGLET_EARLY_STOPPING constants.
pub type kinglet_early_stopping = u32;

/// What the model's files say, else KINGLET_EARLY_STOPPING_NO.
pub const KINGLET_EARLY_STOPPING_AUTO: u32 = 0;
/// When the best running beam, scored at its present length, cannot beat the worst finished one.
pub const KINGLET_EARLY_STOPPING_NO: u32 = 1;
/// As soon as there are as many finished ones as beams.
pub const KINGLET_EARLY_STOPPING_YES: u32 = 2;
/// When the best running beam cannot beat the worst finished one at any length.
pub const KINGLET_EARLY_STOPPING_NEVER: u32 = 3;

/// What a text must be: one of the KINGLET_GRAMMAR constants.
pub type kinglet_grammar = u32;

/// Anything.
pub const KINGLET_GRAMMAR_NONE: u32 = 0;
/// JSON that satisfies the schema.
pub const KINGLET_GRAMMAR_JSON_SCHEMA: u32 = 1;
/// A text that a regular expression matches as a whole.
pub const KINGLET_GRAMMAR_REGEX: u32 = 2;
/// A text of a grammar in llguidance's form of Lark.
pub const KINGLET_GRAMMAR_LARK: u32 = 3;

/// Why a text ended: one of the KINGLET_FINISH constants.
pub type kinglet_finish = u32;

/// It has not, yet.
pub const KINGLET_FINISH_NONE: u32 = 0;
/// The model chose an end token, or the grammar allowed nothing more.
pub const KINGLET_FINISH_EOS: u32 = 1;
/// A stop string came up.
pub const KINGLET_FINISH_STOP_STRING: u32 = 2;
/// The limit of new tokens, or of the model's positions, was reached.
pub const KINGLET_FINISH_LENGTH: u32 = 3;

const _: () = {
    assert!(KINGLET_EARLY_STOPPING_NO == EarlyStopping::No as u32);
    assert!(KINGLET_EARLY_STOPPING_YES == EarlyStopping::Yes as u32);
    assert!(KINGLET_EARLY_STOPPING_NEVER == EarlyStopping::Never as u32);
    assert!(KINGLET_FINISH_EOS == FinishReason::Eos as u32);
    assert!(KINGLET_FINISH_STOP_STRING == FinishReason::StopString as u32);
    assert!(KINGLET_FINISH_LENGTH == FinishReason::Length as u32);
};

/// A list of token ids. `data` may be NULL if `count` is 0.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_ids {
    pub data: *const u32,
    pub count: usize,
}

impl kinglet_ids {
    const NONE: Self = Self { data: std::ptr::null(), count: 0 };

    /// # Safety
    /// `data` points at `count` ids that live as long as the result is used.
    unsafe fn get<'a>(self, name: &str) -> Result<Option<&'a [u32]>> {
        if self.count == 0 {
            return Ok(None);
        }
        // SAFETY: the caller's promise.
        unsafe { array(self.data, self.count, name) }.map(Some)
    }
}

/// A piece of a text as it grows. Later versions add fields at the end, as `struct_size` tells. Valid during the callback.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_piece {
    pub struct_size: usize,
    /// The number of the text in the call.
    pub index: usize,
    /// The number of the sequence, where several are drawn for a text.
    pub sequence: usize,
    /// What came to the text since its last piece: whole characters, possibly none.
    pub text: kinglet_str,
    /// The token of this step.
    pub token: u32,
    /// KINGLET_FINISH_NONE but for the text's last piece.
    pub finish: kinglet_finish,
}

/// Called with each piece of text, on the thread that made the call. Returning 0 cancels the call. It must not throw or jump out.
pub type kinglet_piece_callback = Option<extern "C" fn(user_data: *mut c_void, piece: *const kinglet_piece) -> u32>;

/// What is wanted of a generation, by Hugging Face's names. Call kinglet_generate_options_init first; later versions add fields at
/// the end. What is left unset is decided by the model's generation_config.json, and where that is silent by Hugging Face's default.
/// Options that contradict each other are an error that names them.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_generate_options {
    pub struct_size: usize,
    /// The most tokens to generate. KINGLET_UNSET (the default): what the model's files say, else 256.
    pub max_new_tokens: u64,
    /// No end token before this many. Default KINGLET_UNSET.
    pub min_new_tokens: u64,
    /// Draws tokens at random instead of taking the likeliest. Default KINGLET_CHOICE_AUTO (no).
    pub do_sample: kinglet_choice,
    /// Default KINGLET_EARLY_STOPPING_AUTO.
    pub early_stopping: kinglet_early_stopping,
    /// Floats are unset while they are NAN, their default. With do_sample: what logits are divided by; 1.
    pub temperature: f32,
    /// With do_sample: the likeliest tokens that together have this probability; 1.
    pub top_p: f32,
    /// With do_sample: tokens of at least this share of the likeliest one's probability; 0.
    pub min_p: f32,
    /// With do_sample: the tokens nearest to the expected surprise that together have this probability; 1.
    pub typical_p: f32,
    /// Above 1 makes tokens that were there before less likely; 1.
    pub repetition_penalty: f32,
    /// Taken from the logits of generated tokens, once; 0.
    pub presence_penalty: f32,
    /// Taken from the logits of generated tokens, each time that they occurred; 0.
    pub frequency_penalty: f32,
    /// With beams: a score is the log-probability over the length to this power; 1.
    pub length_penalty: f32,
    /// With do_sample: this many of the likeliest tokens, 0 for all. Default KINGLET_UNSET.
    pub top_k: u64,
    /// No sequence of this many tokens occurs twice; 0 for none. Default KINGLET_UNSET.
    pub no_repeat_ngram_size: u64,
    /// Default KINGLET_UNSET (1).
    pub num_beams: u64,
    /// Default KINGLET_UNSET (1).
    pub num_return_sequences: u64,
    /// With do_sample: the same seed draws the same tokens for a prompt. Used if `has_seed` is 1.
    pub seed: u64,
    pub has_seed: u32,
    /// 1: never chooses an end token. Default 0.
    pub ignore_eos: u32,
    /// 1: returns the log-probability of each token. Default 0.
    pub logprobs: u32,
    /// Adds the tokenizer's special tokens to the input. Default KINGLET_CHOICE_AUTO (yes).
    pub add_special_tokens: kinglet_choice,
    /// Leaves special tokens out of the text. Default KINGLET_CHOICE_AUTO (yes).
    pub skip_special_tokens: kinglet_choice,
    /// Default KINGLET_GRAMMAR_NONE.
    pub grammar_kind: kinglet_grammar,
    /// The schema, the expression or the grammar.
    pub grammar: kinglet_str,
    /// A text ends before one of these, which is not part of it. Default none.
    pub stop_strings: *const kinglet_str,
    pub stop_string_count: usize,
    /// Token sequences that are never generated: `bad_word_count` of them. Default none.
    pub bad_words_ids: *const kinglet_ids,
    pub bad_word_count: usize,
    pub suppress_tokens: kinglet_ids,
    /// Not generated as the first token.
    pub begin_suppress_tokens: kinglet_ids,
    /// Empty (the default): the model's.
    pub eos_token_id: kinglet_ids,
    /// The last token where the limit is reached. Empty (the default): what the model's files say.
    pub forced_eos_token_id: kinglet_ids,
    /// The first token that an encoder-decoder model generates. Default KINGLET_UNSET.
    pub forced_bos_token_id: u64,
    /// Default KINGLET_UNSET.
    pub decoder_start_token_id: u64,
    /// A beginning of the prompts that was computed before. Default NULL.
    pub prefix: *const kinglet_prefix,
    /// Stops the call from another thread, within one step. Default NULL.
    pub cancellation: *const kinglet_cancellation,
    /// Gets the texts piece by piece; needs num_beams 1. Default NULL.
    pub on_piece: kinglet_piece_callback,
    pub on_piece_user_data: *mut c_void,
    /// Guesses up to this many tokens at once from where the last ones stood before, in the prompt, in the text or in what the
    /// encoder read, and keeps those that it would have chosen anyway (prompt lookup decoding): what comes is the same, sooner where
    /// texts repeat or copy. Not with do_sample or beams. 0 guesses nothing. Default KINGLET_UNSET (0).
    pub prompt_lookup_num_tokens: u64,
    /// With prompt_lookup_num_tokens: how many of the last tokens must have stood together before, at most. Default KINGLET_UNSET (2).
    pub max_matching_ngram_size: u64,
}

impl Default for kinglet_generate_options {
    fn default() -> Self {
        Self {
            struct_size: size_of::<Self>(),
            max_new_tokens: KINGLET_UNSET,
            min_new_tokens: KINGLET_UNSET,
            do_sample: KINGLET_CHOICE_AUTO,
            early_stopping: KINGLET_EARLY_STOPPING_AUTO,
            temperature: f32::NAN,
            top_p: f32::NAN,
            min_p: f32::NAN,
            typical_p: f32::NAN,
            repetition_penalty: f32::NAN,
            presence_penalty: f32::NAN,
            frequency_penalty: f32::NAN,
            length_penalty: f32::NAN,
            top_k: KINGLET_UNSET,
            no_repeat_ngram_size: KINGLET_UNSET,
            num_beams: KINGLET_UNSET,
            num_return_sequences: KINGLET_UNSET,
            seed: 0,
            has_seed: 0,
            ignore_eos: 0,
            logprobs: 0,
            add_special_tokens: KINGLET_CHOICE_AUTO,
            skip_special_tokens: KINGLET_CHOICE_AUTO,
            grammar_kind: KINGLET_GRAMMAR_NONE,
            grammar: kinglet_str { data: std::ptr::null(), size: 0 },
            stop_strings: std::ptr::null(),
            stop_string_count: 0,
            bad_words_ids: std::ptr::null(),
            bad_word_count: 0,
            suppress_tokens: kinglet_ids::NONE,
            begin_suppress_tokens: kinglet_ids::NONE,
            eos_token_id: kinglet_ids::NONE,
            forced_eos_token_id: kinglet_ids::NONE,
            forced_bos_token_id: KINGLET_UNSET,
            decoder_start_token_id: KINGLET_UNSET,
            prefix: std::ptr::null(),
            cancellation: std::ptr::null(),
            on_piece: None,
            on_piece_user_data: std::ptr::null_mut(),
            prompt_lookup_num_tokens: KINGLET_UNSET,
            max_matching_ngram_size: KINGLET_UNSET,
        }
    }
}

// SAFETY: repr(C), `struct_size` first, numbers, pointers and an optional function.
unsafe impl Versioned for kinglet_generate_options {
    const NAME: &'static str = "options";
    const FIRST_SIZE: usize = offset_of!(Self, prompt_lookup_num_tokens);
}

/// Fills options with their defaults. `struct_size` is sizeof the struct, as the caller was compiled. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_generate_options_init(
    options: *mut kinglet_generate_options,
    struct_size: usize,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    // SAFETY: C passes a struct of the size that it states.
    boundary(error, || unsafe { structs::init(options, struct_size, kinglet_generate_options::default()) })
}

fn count(value: u64, name: &str) -> Result<Option<usize>> {
    match value {
        KINGLET_UNSET => Ok(None),
        value => match usize::try_from(value).ok().filter(|&n| n < 1 << 40) {
            Some(value) => Ok(Some(value)),
            None => Err(Error::invalid_argument(format!("options.{name}: {value} is beyond reason"))),
        },
    }
}

fn id(value: u64, name: &str) -> Result<Option<u32>> {
    match value {
        KINGLET_UNSET => Ok(None),
        value => match u32::try_from(value) {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(Error::invalid_argument(format!("options.{name}: {value} is not a token id"))),
        },
    }
}

fn float(value: f32) -> Option<f32> {
    (!value.is_nan()).then_some(value)
}

fn decided(value: u32, name: &str) -> Result<Option<bool>> {
    choice(value, name, |value| match value {
        KINGLET_CHOICE_NO => Some(false),
        KINGLET_CHOICE_YES => Some(true),
        _ => None,
    })
}

/// What listens to a call, from C.
pub(super) struct PieceCallback {
    callback: extern "C" fn(user_data: *mut c_void, piece: *const kinglet_piece) -> u32,
    user_data: *mut c_void,
}

impl PieceCallback {
    pub(super) fn call(&self, event: &Event) -> bool {
        let piece = kinglet_piece {
            struct_size: size_of::<kinglet_piece>(),
            index: event.index,
            sequence: event.sequence,
            text: kinglet_str::lend(event.text),
            token: event.token,
            finish: event.finish_reason.map_or(KINGLET_FINISH_NONE, |reason| reason as u32),
        };
        (self.callback)(self.user_data, &piece) != 0
    }
}

/// Reads options.
///
/// # Safety
/// `pointer` is NULL or points at options of the size that they state, whose pointers are as the fields say.
pub(super) unsafe fn read(
    pointer: *const kinglet_generate_options,
) -> Result<(GenerateOptions, Option<PieceCallback>)> {
    // SAFETY: the caller's promise, here and for every pointer below.
    let o = unsafe { options(pointer, kinglet_generate_options::default()) }?;
    let list = |ids: kinglet_ids, name: &str| -> Result<Option<Vec<u32>>> {
        // SAFETY: as above.
        Ok(unsafe { ids.get(&format!("options.{name}")) }?.map(<[u32]>::to_vec))
    };
    let stop_strings = match o.stop_string_count {
        0 => None,
        // SAFETY: as above.
        n => Some(unsafe { texts(o.stop_strings, n, "options.stop_strings") }?.into_iter().map(String::from).collect()),
    };
    let bad_words_ids = match o.bad_word_count {
        0 => None,
        n => {
            // SAFETY: as above.
            let words = unsafe { array(o.bad_words_ids, n, "options.bad_words_ids") }?;
            let words = words.iter().map(|&word| Ok(list(word, "bad_words_ids")?.unwrap_or_default()));
            Some(words.collect::<Result<Vec<_>>>()?)
        }
    };
    // SAFETY: as above.
    let source = || Ok::<_, Error>(unsafe { o.grammar.text(|| "options.grammar".into()) }?.to_string());
    let grammar = match o.grammar_kind {
        KINGLET_GRAMMAR_NONE => None,
        KINGLET_GRAMMAR_JSON_SCHEMA => Some(Grammar::JsonSchema(source()?)),
        KINGLET_GRAMMAR_REGEX => Some(Grammar::Regex(source()?)),
        KINGLET_GRAMMAR_LARK => Some(Grammar::Lark(source()?)),
        other => return Err(unknown(other, "options.grammar_kind")),
    };
    let callback = o.on_piece.map(|callback| PieceCallback { callback, user_data: o.on_piece_user_data });
    let options = GenerateOptions {
        max_new_tokens: count(o.max_new_tokens, "max_new_tokens")?,
        min_new_tokens: count(o.min_new_tokens, "min_new_tokens")?,
        do_sample: decided(o.do_sample, "options.do_sample")?,
        temperature: float(o.temperature),
        top_k: count(o.top_k, "top_k")?,
        top_p: float(o.top_p),
        min_p: float(o.min_p),
        typical_p: float(o.typical_p),
        seed: flag(o.has_seed, "options.has_seed")?.then_some(o.seed),
        repetition_penalty: float(o.repetition_penalty),
        presence_penalty: float(o.presence_penalty),
        frequency_penalty: float(o.frequency_penalty),
        no_repeat_ngram_size: count(o.no_repeat_ngram_size, "no_repeat_ngram_size")?,
        num_beams: count(o.num_beams, "num_beams")?,
        num_return_sequences: count(o.num_return_sequences, "num_return_sequences")?,
        length_penalty: float(o.length_penalty),
        early_stopping: choice(o.early_stopping, "options.early_stopping", EarlyStopping::from_u32)?,
        stop_strings,
        bad_words_ids,
        suppress_tokens: list(o.suppress_tokens, "suppress_tokens")?,
        begin_suppress_tokens: list(o.begin_suppress_tokens, "begin_suppress_tokens")?,
        forced_bos_token_id: id(o.forced_bos_token_id, "forced_bos_token_id")?,
        forced_eos_token_id: list(o.forced_eos_token_id, "forced_eos_token_id")?,
        eos_token_id: list(o.eos_token_id, "eos_token_id")?,
        decoder_start_token_id: id(o.decoder_start_token_id, "decoder_start_token_id")?,
        ignore_eos: flag(o.ignore_eos, "options.ignore_eos")?,
        logprobs: flag(o.logprobs, "options.logprobs")?,
        grammar,
        add_special_tokens: decided(o.add_special_tokens, "options.add_special_tokens")?,
        skip_special_tokens: decided(o.skip_special_tokens, "options.skip_special_tokens")?,
        prompt_lookup_num_tokens: count(o.prompt_lookup_num_tokens, "prompt_lookup_num_tokens")?,
        max_matching_ngram_size: count(o.max_matching_ngram_size, "max_matching_ngram_size")?,
        // SAFETY: as above; NULL is none.
        prefix: unsafe { handle::borrow(o.prefix) }.ok().cloned(),
        // SAFETY: as above.
        cancellation: unsafe { cancellation::optional(o.cancellation) },
    };
    Ok((options, callback))
}
