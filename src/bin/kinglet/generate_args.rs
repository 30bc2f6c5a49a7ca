//! The options of generation on the command line, by their Hugging Face names.

use std::path::PathBuf;

use clap::Args;
use kinglet::{EarlyStopping, GenerateOptions, Grammar, SchemaMode};

use crate::failure::{Failure, Outcome};
use crate::files;
use crate::values::{Ids, bias, choice, decay, ids, size};

/// The longest file that is read, in bytes. The library has a lower limit of its own.
const GRAMMAR_LIMIT: u64 = 1 << 20;

#[derive(Args)]
#[command(next_help_heading = "Generation (defaults: the model's generation_config.json)")]
pub struct GenerationArgs {
    /// Truncate input texts to N tokens, special tokens included; N may exceed the limit of the model's files [default: that limit for
    /// source texts, no limit for prompts]
    #[arg(long, value_name = "N")]
    pub max_input_length: Option<usize>,
    /// Generate at most N tokens
    #[arg(short = 'n', long, value_name = "N")]
    pub max_new_tokens: Option<usize>,
    /// Generate at least N tokens
    #[arg(long, value_name = "N")]
    pub min_new_tokens: Option<usize>,
    /// Sample instead of taking the most likely token
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "true|false")]
    pub do_sample: Option<bool>,
    /// Divide the logits by X before sampling
    #[arg(long, value_name = "X")]
    pub temperature: Option<f32>,
    /// Sample from the N most likely tokens
    #[arg(long, value_name = "N")]
    pub top_k: Option<usize>,
    /// Nucleus sampling: sample from the most likely tokens whose total probability is X
    #[arg(long, value_name = "X")]
    pub top_p: Option<f32>,
    /// Sample from tokens with at least X times the probability of the most likely one
    #[arg(long, value_name = "X")]
    pub min_p: Option<f32>,
    /// Locally typical sampling: sample from the tokens closest to the entropy whose total probability is X
    #[arg(long, value_name = "X")]
    pub typical_p: Option<f32>,
    /// Seed of the sampling; the same seed gives the same text
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Divide the scores of earlier tokens by X (values above 1 discourage repetition)
    #[arg(long, value_name = "X")]
    pub repetition_penalty: Option<f32>,
    /// Subtract X from the logits of tokens that were generated before
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub presence_penalty: Option<f32>,
    /// Subtract X from a token's logit for each time that it was generated
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub frequency_penalty: Option<f32>,
    /// Make tokens of the source text or the prompt more likely (values above 1)
    #[arg(long, value_name = "X")]
    pub encoder_repetition_penalty: Option<f32>,
    /// Never repeat a sequence of N tokens
    #[arg(long, value_name = "N")]
    pub no_repeat_ngram_size: Option<usize>,
    /// Never repeat a sequence of N tokens of the source text or the prompt
    #[arg(long, value_name = "N")]
    pub encoder_no_repeat_ngram_size: Option<usize>,
    /// Beam search with N beams; 1 is greedy
    #[arg(long, value_name = "N")]
    pub num_beams: Option<usize>,
    /// Return N texts per input
    #[arg(long, value_name = "N")]
    pub num_return_sequences: Option<usize>,
    /// Beam search: exponent of the length; above 0 favours longer texts
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub length_penalty: Option<f32>,
    /// From START tokens on, make end tokens more likely by FACTOR per token
    #[arg(long, value_name = "START,FACTOR", value_parser = decay)]
    pub exponential_decay_length_penalty: Option<(usize, f32)>,
    /// Beam search: when to stop
    #[arg(long, value_parser = choice(EarlyStopping::ALL.map(|e| (e.name(), e))))]
    pub early_stopping: Option<EarlyStopping>,
    /// End a text before STRING; repeatable
    #[arg(long, value_name = "STRING")]
    pub stop_strings: Vec<String>,
    /// Never generate this sequence of tokens; repeatable
    #[arg(long, value_name = "ID,ID…", value_parser = ids)]
    pub bad_words_ids: Vec<Ids>,
    /// Add X to the logit of the last of these tokens where the others precede it; repeatable
    #[arg(long, value_name = "ID,ID…=X", value_parser = bias, allow_hyphen_values = true)]
    pub sequence_bias: Vec<(Vec<u32>, f32)>,
    /// Never generate these tokens
    #[arg(long, value_name = "ID,ID…", value_parser = ids)]
    pub suppress_tokens: Option<Ids>,
    /// Do not begin with these tokens
    #[arg(long, value_name = "ID,ID…", value_parser = ids)]
    pub begin_suppress_tokens: Option<Ids>,
    /// Force the first token (encoder-decoder models)
    #[arg(long, value_name = "ID")]
    pub forced_bos_token_id: Option<u32>,
    /// Force the last token when the length limit is reached
    #[arg(long, value_name = "ID", value_parser = ids)]
    pub forced_eos_token_id: Option<Ids>,
    /// Tokens that end a text
    #[arg(long, value_name = "ID,ID…", value_parser = ids)]
    pub eos_token_id: Option<Ids>,
    /// Token that the decoder starts with (encoder-decoder models)
    #[arg(long, value_name = "ID")]
    pub decoder_start_token_id: Option<u32>,
    /// Tokens that the output continues (encoder-decoder models)
    #[arg(long, value_name = "ID,ID…", value_parser = ids)]
    pub decoder_input_ids: Option<Ids>,
    /// Text that the output continues (encoder-decoder models)
    #[arg(long, value_name = "TEXT", conflicts_with = "decoder_input_ids")]
    pub decoder_input_text: Option<String>,
    /// Do not stop before --max-new-tokens
    #[arg(long)]
    pub ignore_eos: bool,
    /// Print the log-probability of each token (with JSON output)
    #[arg(long)]
    pub logprobs: bool,
    /// Constrain the text to the JSON schema in FILE
    #[arg(long, value_name = "FILE", group = "grammar")]
    pub json_schema: Option<PathBuf>,
    /// What to do about keywords of the JSON schema that cannot be enforced while the text is generated: check the finished text, or refuse
    /// the schema (strict)
    #[arg(long, requires = "json_schema", value_parser = choice(SchemaMode::ALL.map(|mode| (mode.name(), mode))))]
    pub schema_mode: Option<SchemaMode>,
    /// Constrain the text to this regular expression
    #[arg(long, value_name = "REGEX", group = "grammar")]
    pub regex: Option<String>,
    /// Constrain the text to the Lark grammar in FILE
    #[arg(long, value_name = "FILE", group = "grammar")]
    pub lark: Option<PathBuf>,
    /// Refuse a grammar that takes more than N steps to compile; a core does about a million in a second or two [default: 1000000]
    #[arg(long, value_name = "N")]
    pub grammar_work_limit: Option<u64>,
    /// Refuse a grammar that takes more than SIZE bytes (suffixes K, M, G) [default: 256M]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub grammar_memory_limit: Option<u64>,
    #[command(flatten)]
    pub lookup: LookupArgs,
    /// Add no special tokens to the input
    #[arg(long)]
    pub no_special_tokens: bool,
    /// Keep special tokens in the text
    #[arg(long)]
    pub keep_special_tokens: bool,
}

#[derive(Args)]
pub struct LookupArgs {
    /// Prompt-lookup speculative decoding: draft up to N tokens; the text is the same, faster where it copies
    #[arg(long, value_name = "N")]
    pub prompt_lookup_num_tokens: Option<usize>,
    /// Prompt lookup: longest n-gram to search for
    #[arg(long, value_name = "N")]
    pub max_matching_ngram_size: Option<usize>,
}

impl GenerationArgs {
    /// As [`Self::options`], for a verb that prints no log-probabilities.
    pub fn options_of_text(&self) -> Outcome<GenerateOptions> {
        match self.logprobs {
            true => Err(Failure::usage("--logprobs: only generate with JSON output prints log-probabilities")),
            false => self.options(),
        }
    }

    pub fn options(&self) -> Outcome<GenerateOptions> {
        let read = |path: &PathBuf| files::text(path, GRAMMAR_LIMIT);
        let grammar = match (&self.json_schema, &self.regex, &self.lark) {
            (Some(path), ..) => Some(Grammar::JsonSchema(read(path)?)),
            (_, Some(regex), _) => Some(Grammar::Regex(regex.clone())),
            (_, _, Some(path)) => Some(Grammar::Lark(read(path)?)),
            _ => None,
        };
        let list = |ids: &Option<Ids>| ids.as_ref().map(|ids| ids.0.clone());
        let some = |list: Vec<_>| (!list.is_empty()).then_some(list);
        Ok(GenerateOptions {
            max_input_length: self.max_input_length,
            max_new_tokens: self.max_new_tokens,
            min_new_tokens: self.min_new_tokens,
            do_sample: self.do_sample,
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            typical_p: self.typical_p,
            seed: self.seed,
            repetition_penalty: self.repetition_penalty,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            encoder_repetition_penalty: self.encoder_repetition_penalty,
            no_repeat_ngram_size: self.no_repeat_ngram_size,
            encoder_no_repeat_ngram_size: self.encoder_no_repeat_ngram_size,
            num_beams: self.num_beams,
            num_return_sequences: self.num_return_sequences,
            length_penalty: self.length_penalty,
            exponential_decay_length_penalty: self.exponential_decay_length_penalty,
            early_stopping: self.early_stopping,
            stop_strings: (!self.stop_strings.is_empty()).then(|| self.stop_strings.clone()),
            bad_words_ids: some(self.bad_words_ids.iter().map(|ids| ids.0.clone()).collect()),
            sequence_bias: (!self.sequence_bias.is_empty()).then(|| self.sequence_bias.clone()),
            suppress_tokens: list(&self.suppress_tokens),
            begin_suppress_tokens: list(&self.begin_suppress_tokens),
            forced_bos_token_id: self.forced_bos_token_id,
            forced_eos_token_id: list(&self.forced_eos_token_id),
            eos_token_id: list(&self.eos_token_id),
            decoder_start_token_id: self.decoder_start_token_id,
            decoder_input_ids: list(&self.decoder_input_ids).map(|ids| vec![ids]),
            decoder_input_texts: self.decoder_input_text.clone().map(|text| vec![text]),
            ignore_eos: self.ignore_eos,
            logprobs: self.logprobs,
            grammar,
            schema_mode: self.schema_mode,
            grammar_work_limit: self.grammar_work_limit,
            grammar_memory_limit: self.grammar_memory_limit,
            // Of `chat`, which has an option for it.
            tool_choice: Default::default(),
            add_special_tokens: self.no_special_tokens.then_some(false),
            skip_special_tokens: self.keep_special_tokens.then_some(false),
            prompt_lookup_num_tokens: self.lookup.prompt_lookup_num_tokens,
            max_matching_ngram_size: self.lookup.max_matching_ngram_size,
            prefix: None,
            cancellation: None,
            priority: Default::default(),
            deadline: None,
        })
    }
}
