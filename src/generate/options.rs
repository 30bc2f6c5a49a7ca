//! The options of a generation.

use std::time::Instant;

use crate::base::call::{CallLimits, Cancellation, Priority};

use crate::text::chat::ToolChoice;

use super::constraint::{Grammar, SchemaMode};
use super::session::Prefix;

/// When beam search stops. Names and meaning are Hugging Face's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum EarlyStopping {
    /// When the best running beam, scored at its current length, cannot beat the worst finished one.
    No = 1,
    /// As soon as there are `num_beams` finished beams.
    Yes = 2,
    /// When the best running beam cannot beat the worst finished one at any length.
    Never = 3,
}

impl EarlyStopping {
    pub const ALL: [Self; 3] = [Self::No, Self::Yes, Self::Never];

    pub fn name(self) -> &'static str {
        match self {
            Self::No => "false",
            Self::Yes => "true",
            Self::Never => "never",
        }
    }

    pub fn from_u32(value: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|&e| e as u32 == value)
    }
}

/// The options of generation, with Hugging Face's names. `None`: the value in the model's `generation_config.json`, or else Hugging
/// Face's default.
#[derive(Clone, Debug, Default)]
pub struct GenerateOptions {
    /// The maximum number of tokens of an input text, special tokens included; longer texts are truncated, on the side that the
    /// tokenizer's files name. It may exceed the files' limit, up to the model's positions. Not for token ids and chats. `None`: a
    /// source text is truncated at the files' limit, and a decoder's prompt is not truncated. (`max_length` is Hugging Face's name for
    /// something else: prompt and new tokens together.)
    pub max_input_length: Option<usize>,
    /// The maximum number of new tokens. Default: the limit in the model's files, or else 256. Generation also ends at the model's
    /// maximum length.
    pub max_new_tokens: Option<usize>,
    /// The minimum number of new tokens: no end token before.
    pub min_new_tokens: Option<usize>,
    /// Samples tokens instead of taking the most likely one.
    pub do_sample: Option<bool>,
    pub temperature: Option<f32>,
    /// Samples from this many of the most likely tokens; 0 for all.
    pub top_k: Option<usize>,
    /// Nucleus sampling: samples from the most likely tokens that together have this probability (Holtzman et al. 2020).
    pub top_p: Option<f32>,
    /// Samples from tokens with at least this fraction of the most likely token's probability (Nguyen et al. 2024).
    pub min_p: Option<f32>,
    /// Locally typical sampling: samples from the tokens whose information content is closest to the entropy, up to this total
    /// probability (Meister et al. 2022).
    pub typical_p: Option<f32>,
    /// The same seed samples the same tokens for a prompt, alone or in any batch. Default: a random seed per call.
    pub seed: Option<u64>,
    /// Above 1 makes tokens of the prompt and of the output less likely (Keskar et al. 2019).
    pub repetition_penalty: Option<f32>,
    /// Subtracted once from the logits of tokens that were generated.
    pub presence_penalty: Option<f32>,
    /// Subtracted from the logits of tokens that were generated, once per occurrence.
    pub frequency_penalty: Option<f32>,
    /// Above 1 makes tokens of the encoder's input, or of the prompt of a model without an encoder, more likely.
    pub encoder_repetition_penalty: Option<f32>,
    /// No n-gram of this many tokens occurs twice; 0 for no limit.
    pub no_repeat_ngram_size: Option<usize>,
    /// No n-gram of this many tokens of the encoder's input, or of the prompt of a model without an encoder, is generated; 0 for no
    /// limit.
    pub encoder_no_repeat_ngram_size: Option<usize>,
    pub num_beams: Option<usize>,
    pub num_return_sequences: Option<usize>,
    /// A beam's score is its log-probability divided by `length ^ length_penalty`.
    pub length_penalty: Option<f32>,
    /// A number of new tokens, and a factor: each token beyond that number multiplies by the factor how much end tokens gain.
    pub exponential_decay_length_penalty: Option<(usize, f32)>,
    pub early_stopping: Option<EarlyStopping>,
    /// Generation stops when one of these is generated; it is not part of the text.
    pub stop_strings: Option<Vec<String>>,
    /// Token sequences that are never generated.
    pub bad_words_ids: Option<Vec<Vec<u32>>>,
    /// Added to the logit of the last token of each sequence of tokens where the ones before it are there. A later bias of the same
    /// sequence replaces an earlier one.
    pub sequence_bias: Option<Vec<(Vec<u32>, f32)>>,
    pub suppress_tokens: Option<Vec<u32>>,
    /// Tokens that are never generated first.
    pub begin_suppress_tokens: Option<Vec<u32>>,
    /// The first token that an encoder-decoder model generates.
    pub forced_bos_token_id: Option<u32>,
    /// The last token if `max_new_tokens` is reached.
    pub forced_eos_token_id: Option<Vec<u32>>,
    pub eos_token_id: Option<Vec<u32>>,
    pub decoder_start_token_id: Option<u32>,
    /// Tokens that the decoder of an encoder-decoder model continues, after its start token: one list for all inputs, or one per input.
    /// They are not part of the output.
    pub decoder_input_ids: Option<Vec<Vec<u32>>>,
    /// As `decoder_input_ids`, as texts, which get no special tokens.
    pub decoder_input_texts: Option<Vec<String>>,
    /// Never chooses an end token, so `max_new_tokens` tokens are generated.
    pub ignore_eos: bool,
    /// Returns the log-probability of each token.
    pub logprobs: bool,
    /// Constrains the text.
    pub grammar: Option<Grammar>,
    /// With a JSON schema: what becomes of keywords that cannot be enforced while the text is generated. Default: the finished text is
    /// checked.
    pub schema_mode: Option<SchemaMode>,
    /// The most work that compiling the grammar may take, in steps of its compiler, of which a core does about a million in a second or
    /// two; a mask of the grammar may take a fifth of it. A grammar that needs more is refused, on every machine alike. Default 1,000,000.
    pub grammar_work_limit: Option<u64>,
    /// The most memory that the compiled grammar may take, in bytes. Default 256 MB.
    pub grammar_memory_limit: Option<u64>,
    /// Of a chat with tools: which of them the model is to call. With [`ToolChoice::Required`] or a tool's name the text is constrained to
    /// calls whose arguments satisfy the tools' schemas. Default [`ToolChoice::Auto`].
    pub tool_choice: ToolChoice,
    /// Adds the tokenizer's special tokens to the input. Default true.
    pub add_special_tokens: Option<bool>,
    /// Leaves special tokens out of the text. Default true.
    pub skip_special_tokens: Option<bool>,
    /// Prompt-lookup speculative decoding (Saxena 2023): the maximum draft length. A draft is the text after an earlier occurrence of
    /// the last tokens, in the prompt, the output or the source text. The output does not change; it comes faster where texts repeat.
    /// Not with `do_sample` or beam search. Default 0: off.
    pub prompt_lookup_num_tokens: Option<usize>,
    /// With `prompt_lookup_num_tokens`: the maximum length of the n-gram that is looked up; shorter ones are tried next. Default 2.
    pub max_matching_ngram_size: Option<usize>,
    /// A prompt prefix whose KV cache is reused.
    pub prefix: Option<Prefix>,
    pub cancellation: Option<Cancellation>,
    pub priority: Priority,
    /// When the call ends in any case, with [`Status::DeadlineExceeded`](crate::Status::DeadlineExceeded).
    pub deadline: Option<Instant>,
}

impl GenerateOptions {
    /// For a call with this many bytes of input.
    pub(super) fn limits(&self, bytes: usize) -> CallLimits<'_> {
        let Self { cancellation, priority, deadline, .. } = self;
        CallLimits { cancellation: cancellation.as_ref(), priority: *priority, deadline: *deadline, bytes }
    }
}
