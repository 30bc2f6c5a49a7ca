//! Options of generation.

use std::ffi::c_void;

use crate::base::error::{Error, Result};
use crate::generate::constraint::{Grammar, SchemaMode};
use crate::generate::options::{EarlyStopping, GenerateOptions};
use crate::generate::{FinishReason, Piece};
use crate::text::chat::ToolChoice;

use super::boundary::quietly;
use super::cancellation::{self, kinglet_cancellation};
use super::enums::enumeration;
use super::handle;
use super::prefix::kinglet_prefix;
use super::scheduler::{self, kinglet_priority};
use super::strings::{array, kinglet_ids, kinglet_str, kinglet_tristate, texts};
use super::structs::{self, choice, flag, options_over, reserved, tristate, unknown, versioned};

/// A count or a token id of kinglet_generate_options that is not set.
pub const KINGLET_UNSET: u64 = u64::MAX;

enumeration! {
    /// When beam search stops.
    pub type kinglet_early_stopping, kinglet_early_stopping_name;
    /// As the model's files say; where they are silent, as the value `no`.
    KINGLET_EARLY_STOPPING_AUTO = 0, c"auto";
    /// When the best running beam, scored at its present length, cannot beat the worst finished one.
    KINGLET_EARLY_STOPPING_NO = 1, c"no", EarlyStopping::No;
    /// As soon as there are as many finished beams as `num_beams`.
    KINGLET_EARLY_STOPPING_YES = 2, c"yes", EarlyStopping::Yes;
    /// When no running beam can beat the worst finished one at any length.
    KINGLET_EARLY_STOPPING_NEVER = 3, c"never", EarlyStopping::Never;
}

enumeration! {
    /// What constrains a generated text.
    pub type kinglet_grammar_kind, kinglet_grammar_kind_name;
    /// Nothing.
    KINGLET_GRAMMAR_KIND_NONE = 0, c"none";
    /// A JSON schema: the text is JSON that satisfies it.
    KINGLET_GRAMMAR_KIND_JSON_SCHEMA = 1, c"json-schema";
    /// A regular expression that matches the whole text.
    KINGLET_GRAMMAR_KIND_REGEX = 2, c"regex";
    /// A grammar in llguidance's variant of Lark.
    KINGLET_GRAMMAR_KIND_LARK = 3, c"lark";
}

enumeration! {
    /// What becomes of a JSON schema with keywords that cannot be enforced while the text is generated: `uniqueItems` over many values,
    /// a `oneOf` whose alternatives cannot be told apart, and the like.
    pub type kinglet_schema_mode, kinglet_schema_mode_name;
    /// The default: KINGLET_SCHEMA_MODE_CHECK.
    KINGLET_SCHEMA_MODE_AUTO = 0, c"auto";
    /// The finished text is checked against the whole schema. One that does not satisfy it has KINGLET_FINISH_REASON_SCHEMA_MISMATCH.
    KINGLET_SCHEMA_MODE_CHECK = 1, c"check", SchemaMode::Check;
    /// The schema is refused; the error has the JSON pointers of these keywords.
    KINGLET_SCHEMA_MODE_STRICT = 2, c"strict", SchemaMode::Strict;
}

enumeration! {
    /// Why a text ended.
    pub type kinglet_finish_reason, kinglet_finish_reason_name;
    /// The text is not finished.
    KINGLET_FINISH_REASON_NONE = 0, c"none";
    /// The model chose an end token, or the grammar allowed nothing more.
    KINGLET_FINISH_REASON_EOS = 1, c"eos", FinishReason::Eos;
    /// A stop string was generated.
    KINGLET_FINISH_REASON_STOP_STRING = 2, c"stop_string", FinishReason::StopString;
    /// `max_new_tokens` or the model's maximum length was reached.
    KINGLET_FINISH_REASON_LENGTH = 3, c"length", FinishReason::Length;
    /// The text is complete, but does not satisfy a part of the JSON schema that cannot be enforced while it is generated.
    KINGLET_FINISH_REASON_SCHEMA_MISMATCH = 4, c"schema_mismatch", FinishReason::SchemaMismatch;
}

/// A part of a text while it is generated. Later versions may add fields at the end; `struct_size` is set by the library. Valid during
/// the callback.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_generation_piece {
    /// Set by the library to the size of its own version of the struct.
    pub struct_size: usize,
    /// The number of the input in the call.
    pub index: usize,
    /// The number of the output, if several are sampled for one input.
    pub sequence: usize,
    /// The text since the last piece: whole characters, possibly none.
    pub text: kinglet_str,
    /// The token of this step.
    pub token: u32,
    /// KINGLET_FINISH_REASON_NONE, except in the text's last piece.
    pub finish_reason: kinglet_finish_reason,
}

/// Receives a piece of text, on the thread that made the call. Returning 0 cancels the call; any other value continues. It may call
/// Kinglet, except functions of the session that is generating: those fail with KINGLET_STATUS_INVALID_ARGUMENT.
pub type kinglet_piece_callback =
    Option<extern "C" fn(user_data: *mut c_void, piece: *const kinglet_generation_piece) -> u32>;

/// Options of kinglet_model_generate, kinglet_model_generate_ids, kinglet_session_send and kinglet_session_reply, by the names of
/// Hugging Face. What is unset is decided by the model's generation_config.json; the default that a field names is for models whose
/// file does not decide. Options that contradict each other are refused with a message that names them.
///
/// Zero is a meaningful value of many fields, so this struct must be filled by kinglet_generate_options_init; one that is all zeros is
/// refused, because `max_new_tokens` is 0. Unset is:
///
/// | type                                        | unset                        |
/// |---------------------------------------------|------------------------------|
/// | count or token id (uint64_t)                | KINGLET_UNSET                |
/// | number (float)                              | NAN                          |
/// | kinglet_tristate and other enumerations     | 0 (AUTO or NONE)             |
/// | list (kinglet_ids, pointer and count)       | count 0                      |
/// | pointer                                     | NULL                         |
/// | `seed`                                      | `has_seed` 0                 |
///
/// In fields that later versions add, zero means unset.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_generate_options {
    /// sizeof(kinglet_generate_options).
    pub struct_size: usize,
    /// The maximum number of tokens to generate, at least 1. Default 256.
    pub max_new_tokens: u64,
    /// No end token is chosen before this many tokens. Default 0.
    pub min_new_tokens: u64,
    /// Beams of beam search; 1 is greedy search or sampling. Default 1.
    pub num_beams: u64,
    /// Outputs per input: the best beams, or samples. Default 1.
    pub num_return_sequences: u64,
    /// Prompt-lookup decoding (a form of speculative decoding): proposes up to this many tokens by finding the last tokens earlier in
    /// the prompt, the output or the source text. Only tokens that the model would have chosen are kept, so the output is the same, but
    /// comes faster where text repeats. Not with `do_sample` or beams. 0: off. Default 0.
    pub prompt_lookup_num_tokens: u64,
    /// With `prompt_lookup_num_tokens`: the most last tokens that are searched for. Default 2.
    pub max_matching_ngram_size: u64,
    /// No sequence of this many tokens occurs twice; 0: no restriction. Default 0.
    pub no_repeat_ngram_size: u64,
    /// With `do_sample`: samples among this many most likely tokens; 0: among all. Default 0.
    pub top_k: u64,
    /// With `do_sample`: the same seed samples the same tokens for the same prompt. Only if `has_seed` is 1; otherwise each call has
    /// another seed.
    pub seed: u64,
    /// 1 if `seed` is set, else 0.
    pub has_seed: u32,
    /// Samples tokens instead of choosing the most likely one. Default no.
    pub do_sample: kinglet_tristate,
    /// With `do_sample`: divides the logits before sampling. Default 1.
    pub temperature: f32,
    /// With `do_sample`: nucleus sampling; keeps the most likely tokens whose probabilities add up to this. Default 1.
    pub top_p: f32,
    /// With `do_sample`: keeps tokens with at least this fraction of the most likely token's probability. Default 0.
    pub min_p: f32,
    /// With `do_sample`: locally typical sampling; keeps the tokens whose information content is closest to the entropy, until their
    /// probabilities add up to this. Default 1.
    pub typical_p: f32,
    /// Above 1: makes tokens of the prompt and the output less likely. Default 1.
    pub repetition_penalty: f32,
    /// Subtracted once from the logit of each token that was generated. Default 0.
    pub presence_penalty: f32,
    /// Subtracted from the logit of each token as often as it was generated. Default 0.
    pub frequency_penalty: f32,
    /// With beams: a beam's score is its log-probability divided by length^length_penalty. Default 1.
    pub length_penalty: f32,
    /// With beams: when the search stops.
    pub early_stopping: kinglet_early_stopping,
    /// 1 never chooses an end token; 0 is the default.
    pub ignore_eos: u32,
    /// 1 returns the log-probability of each token; 0 is the default.
    pub logprobs: u32,
    /// Adds the tokenizer's special tokens to the input. Default yes.
    pub add_special_tokens: kinglet_tristate,
    /// Leaves special tokens out of the text. Default yes.
    pub skip_special_tokens: kinglet_tristate,
    /// What `grammar` is.
    pub grammar_kind: kinglet_grammar_kind,
    /// The schema, the expression or the grammar.
    pub grammar: kinglet_str,
    /// The text ends before the first of these strings, `stop_string_count` of them.
    pub stop_strings: *const kinglet_str,
    /// The number of `stop_strings`.
    pub stop_string_count: usize,
    /// Token sequences that are never generated, `bad_word_count` of them.
    pub bad_words_ids: *const kinglet_ids,
    /// The number of `bad_words_ids`.
    pub bad_word_count: usize,
    /// Tokens that are never generated.
    pub suppress_tokens: kinglet_ids,
    /// Tokens that are not generated as the first one.
    pub begin_suppress_tokens: kinglet_ids,
    /// The end tokens.
    pub eos_token_ids: kinglet_ids,
    /// The last token if `max_new_tokens` is reached: one of these.
    pub forced_eos_token_ids: kinglet_ids,
    /// The first token that an encoder-decoder model generates.
    pub forced_bos_token_id: u64,
    /// The token that the decoder of an encoder-decoder model starts from.
    pub decoder_start_token_id: u64,
    /// A prompt prefix that was computed before. NULL: none.
    pub prefix: *const kinglet_prefix,
    /// Cancels the call from another thread, within one step. NULL: none.
    pub cancellation: *const kinglet_cancellation,
    /// Receives the texts while they are generated; needs `num_beams` 1. NULL: none.
    pub on_piece: kinglet_piece_callback,
    /// The first argument of `on_piece`.
    pub on_piece_user_data: *mut c_void,
    /// No sequence of this many tokens of the source text, or of the prompt if the model has no encoder, is generated. 0: unset, by
    /// default no restriction. A size beyond that of any text, for instance UINT32_MAX, lifts a restriction of the model's files.
    pub encoder_no_repeat_ngram_size: u64,
    /// With `exponential_decay_factor`: the number of generated tokens after which end tokens become more likely.
    pub exponential_decay_start: u64,
    /// Hugging Face's exponential_decay_length_penalty: with each token beyond `exponential_decay_start` end tokens gain by this factor.
    /// 0: unset, by default 1, which changes nothing.
    pub exponential_decay_factor: f32,
    /// Above 1: makes tokens of the source text, or of the prompt if the model has no encoder, more likely. 0: unset, by default 1,
    /// which changes nothing.
    pub encoder_repetition_penalty: f32,
    /// Token sequences whose last token's logit changes where the tokens before it are there, `sequence_bias_count` of them.
    pub sequence_bias_ids: *const kinglet_ids,
    /// What is added to these logits, `sequence_bias_count` finite numbers.
    pub sequence_bias: *const f32,
    /// The number of `sequence_bias_ids` and of `sequence_bias`.
    pub sequence_bias_count: usize,
    /// Tokens that the decoder of an encoder-decoder model continues, after its start token, `decoder_input_count` lists: one for all
    /// inputs, or one per input. They are not part of the output. Not with `decoder_input_texts`.
    pub decoder_input_ids: *const kinglet_ids,
    /// The number of `decoder_input_ids`.
    pub decoder_input_count: usize,
    /// As `decoder_input_ids`, as texts, `decoder_input_text_count` of them.
    pub decoder_input_texts: *const kinglet_str,
    /// The number of `decoder_input_texts`.
    pub decoder_input_text_count: usize,
    /// The most tokens of an input text, special tokens included; longer texts are cut, on the side that the tokenizer's files name.
    /// It may be more than the limit of the model's files, up to the model's positions. 0: a source text is cut at the files' limit,
    /// and a prompt of a model without an encoder is not cut. Not for token ids and chats.
    pub max_input_length: u64,
    /// With KINGLET_GRAMMAR_KIND_JSON_SCHEMA: what becomes of keywords that cannot be enforced while the text is generated.
    pub schema_mode: kinglet_schema_mode,
    /// How urgent the call is.
    pub priority: kinglet_priority,
    /// Milliseconds after which the call fails with KINGLET_STATUS_DEADLINE_EXCEEDED if it is not done, whether it runs or waits. 0: none.
    pub deadline_ms: u32,
    /// Must be 0.
    pub reserved: u32,
    /// The most work that compiling `grammar` may take, in steps of its compiler, of which a core does about a million in a second or two;
    /// each mask may take a fifth of it. A grammar that needs more is refused, on every machine alike. 0: 1,000,000.
    pub grammar_work_limit: u64,
    /// The most memory that the compiled `grammar` may take, in bytes (estimated). A grammar that needs more is refused, or ends the
    /// generation with an error. 0: 256 MB.
    pub grammar_memory_limit: u64,
    /// Of a session with tools: which of them the model is to call. `auto`: the model decides; `none`: none, and the prompt does not name
    /// them; `required`: one or more; the name of a tool: this one, once. With the last two the text is constrained to calls whose arguments
    /// satisfy the tools' schemas. Empty: auto.
    pub tool_choice: kinglet_str,
}

versioned!(kinglet_generate_options, "options", 304);

impl Default for kinglet_generate_options {
    fn default() -> Self {
        Self {
            struct_size: size_of::<Self>(),
            max_new_tokens: KINGLET_UNSET,
            min_new_tokens: KINGLET_UNSET,
            num_beams: KINGLET_UNSET,
            num_return_sequences: KINGLET_UNSET,
            prompt_lookup_num_tokens: KINGLET_UNSET,
            max_matching_ngram_size: KINGLET_UNSET,
            no_repeat_ngram_size: KINGLET_UNSET,
            top_k: KINGLET_UNSET,
            temperature: f32::NAN,
            top_p: f32::NAN,
            min_p: f32::NAN,
            typical_p: f32::NAN,
            repetition_penalty: f32::NAN,
            presence_penalty: f32::NAN,
            frequency_penalty: f32::NAN,
            length_penalty: f32::NAN,
            forced_bos_token_id: KINGLET_UNSET,
            decoder_start_token_id: KINGLET_UNSET,
            ..structs::zeroed()
        }
    }
}

/// Sets every field to unset, and `struct_size`, which is sizeof(kinglet_generate_options). NULL is ignored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_generate_options_init(options: *mut kinglet_generate_options, struct_size: usize) {
    // SAFETY: C passes NULL or a struct of the size that it states.
    quietly(|| unsafe { structs::init(options, struct_size, kinglet_generate_options::default()) });
}

fn count(value: u64, name: &str) -> Result<Option<usize>> {
    match value {
        KINGLET_UNSET => Ok(None),
        value => match usize::try_from(value).ok().filter(|&n| n < 1 << 40) {
            Some(value) => Ok(Some(value)),
            None => Err(Error::invalid_argument(format!("options.{name}: {value} is too large"))),
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

/// A number in a field for which 0 is unset.
fn unless_zero(value: f32) -> Option<f32> {
    (value != 0.0).then_some(value)
}

/// What listens to a call, from C.
pub(super) struct PieceCallback {
    callback: extern "C" fn(user_data: *mut c_void, piece: *const kinglet_generation_piece) -> u32,
    user_data: *mut c_void,
}

impl PieceCallback {
    pub(super) fn call(&self, piece: &Piece) -> bool {
        let piece = kinglet_generation_piece {
            struct_size: size_of::<kinglet_generation_piece>(),
            index: piece.index,
            sequence: piece.sequence,
            text: kinglet_str::lend(piece.text),
            token: piece.token,
            finish_reason: piece.finish_reason.map_or(KINGLET_FINISH_REASON_NONE, |reason| reason as u32),
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
    let o = unsafe { options_over(pointer, kinglet_generate_options::default()) }?;
    if o.max_new_tokens == 0 {
        return Err(Error::invalid_argument(
            "options.max_new_tokens: is 0 and must be at least 1; fill the struct by kinglet_generate_options_init first",
        ));
    }
    let list = |ids: kinglet_ids, name: &str| -> Result<Option<Vec<u32>>> {
        // SAFETY: as above.
        Ok(unsafe { ids.get(&format!("options.{name}")) }?.map(<[u32]>::to_vec))
    };
    let stop_strings = match o.stop_string_count {
        0 => None,
        // SAFETY: as above.
        n => Some(unsafe { texts(o.stop_strings, n, "options.stop_strings") }?.into_iter().map(String::from).collect()),
    };
    let lists = |lists: *const kinglet_ids, n: usize, name: &str| -> Result<Option<Vec<Vec<u32>>>> {
        if n == 0 {
            return Ok(None);
        }
        // SAFETY: as above.
        let lists = unsafe { array(lists, n, &format!("options.{name}")) }?;
        let lists = lists.iter().map(|&ids| Ok(list(ids, name)?.unwrap_or_default()));
        lists.collect::<Result<Vec<_>>>().map(Some)
    };
    let sequence_bias = match lists(o.sequence_bias_ids, o.sequence_bias_count, "sequence_bias_ids")? {
        None => None,
        Some(words) => {
            // SAFETY: as above.
            let biases = unsafe { array(o.sequence_bias, o.sequence_bias_count, "options.sequence_bias") }?;
            Some(words.into_iter().zip(biases.iter().copied()).collect())
        }
    };
    let decay_start = count(o.exponential_decay_start, "exponential_decay_start")?.unwrap_or(0);
    let decay = unless_zero(o.exponential_decay_factor).map(|factor| (decay_start, factor));
    if decay.is_none() && decay_start > 0 {
        return Err(Error::invalid_argument(
            "options.exponential_decay_start: is set without exponential_decay_factor",
        ));
    }
    let decoder_input_texts = match o.decoder_input_text_count {
        0 => None,
        n => {
            // SAFETY: as above.
            let texts = unsafe { texts(o.decoder_input_texts, n, "options.decoder_input_texts") }?;
            Some(texts.into_iter().map(String::from).collect())
        }
    };
    // SAFETY: as above.
    let source = || Ok::<_, Error>(unsafe { o.grammar.text(|| "options.grammar".into()) }?.to_string());
    let grammar = match o.grammar_kind {
        KINGLET_GRAMMAR_KIND_NONE => None,
        KINGLET_GRAMMAR_KIND_JSON_SCHEMA => Some(Grammar::JsonSchema(source()?)),
        KINGLET_GRAMMAR_KIND_REGEX => Some(Grammar::Regex(source()?)),
        KINGLET_GRAMMAR_KIND_LARK => Some(Grammar::Lark(source()?)),
        other => return Err(unknown(other, "options.grammar_kind")),
    };
    reserved(o.reserved)?;
    let callback = o.on_piece.map(|callback| PieceCallback { callback, user_data: o.on_piece_user_data });
    // SAFETY: as above.
    let tool_choice = match unsafe { o.tool_choice.text(|| "options.tool_choice".into()) }? {
        "" => ToolChoice::Auto,
        name => ToolChoice::named(name),
    };
    let options = GenerateOptions {
        max_input_length: count(o.max_input_length, "max_input_length")?.filter(|&n| n > 0),
        max_new_tokens: count(o.max_new_tokens, "max_new_tokens")?,
        min_new_tokens: count(o.min_new_tokens, "min_new_tokens")?,
        do_sample: tristate(o.do_sample, "options.do_sample")?,
        temperature: float(o.temperature),
        top_k: count(o.top_k, "top_k")?,
        top_p: float(o.top_p),
        min_p: float(o.min_p),
        typical_p: float(o.typical_p),
        seed: flag(o.has_seed, "options.has_seed")?.then_some(o.seed),
        repetition_penalty: float(o.repetition_penalty),
        presence_penalty: float(o.presence_penalty),
        frequency_penalty: float(o.frequency_penalty),
        encoder_repetition_penalty: unless_zero(o.encoder_repetition_penalty),
        no_repeat_ngram_size: count(o.no_repeat_ngram_size, "no_repeat_ngram_size")?,
        encoder_no_repeat_ngram_size: count(o.encoder_no_repeat_ngram_size, "encoder_no_repeat_ngram_size")?
            .filter(|&size| size > 0),
        num_beams: count(o.num_beams, "num_beams")?,
        num_return_sequences: count(o.num_return_sequences, "num_return_sequences")?,
        length_penalty: float(o.length_penalty),
        exponential_decay_length_penalty: decay,
        early_stopping: choice(o.early_stopping, "options.early_stopping", EarlyStopping::from_u32)?,
        stop_strings,
        bad_words_ids: lists(o.bad_words_ids, o.bad_word_count, "bad_words_ids")?,
        sequence_bias,
        suppress_tokens: list(o.suppress_tokens, "suppress_tokens")?,
        begin_suppress_tokens: list(o.begin_suppress_tokens, "begin_suppress_tokens")?,
        forced_bos_token_id: id(o.forced_bos_token_id, "forced_bos_token_id")?,
        forced_eos_token_id: list(o.forced_eos_token_ids, "forced_eos_token_ids")?,
        eos_token_id: list(o.eos_token_ids, "eos_token_ids")?,
        decoder_start_token_id: id(o.decoder_start_token_id, "decoder_start_token_id")?,
        decoder_input_ids: lists(o.decoder_input_ids, o.decoder_input_count, "decoder_input_ids")?,
        decoder_input_texts,
        ignore_eos: flag(o.ignore_eos, "options.ignore_eos")?,
        logprobs: flag(o.logprobs, "options.logprobs")?,
        grammar,
        schema_mode: choice(o.schema_mode, "options.schema_mode", SchemaMode::from_u32)?,
        grammar_work_limit: Some(o.grammar_work_limit).filter(|&n| n > 0),
        grammar_memory_limit: Some(o.grammar_memory_limit).filter(|&n| n > 0),
        tool_choice,
        add_special_tokens: tristate(o.add_special_tokens, "options.add_special_tokens")?,
        skip_special_tokens: tristate(o.skip_special_tokens, "options.skip_special_tokens")?,
        prompt_lookup_num_tokens: count(o.prompt_lookup_num_tokens, "prompt_lookup_num_tokens")?,
        max_matching_ngram_size: count(o.max_matching_ngram_size, "max_matching_ngram_size")?,
        // SAFETY: as above; NULL is none.
        prefix: unsafe { handle::borrow(o.prefix) }.ok().cloned(),
        // SAFETY: as above.
        cancellation: unsafe { cancellation::optional(o.cancellation) },
        priority: scheduler::priority(o.priority)?,
        deadline: scheduler::deadline(o.deadline_ms),
    };
    Ok((options, callback))
}
