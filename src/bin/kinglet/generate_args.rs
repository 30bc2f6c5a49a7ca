//! The options of generation on the command line, by their Hugging Face names.

use std::path::PathBuf;

use clap::Args;
use kinglet::{EarlyStopping, GenerateOptions, Grammar};

use crate::args::{Ids, choice, ids};
use crate::failure::{Failure, Outcome};

#[derive(Args)]
#[command(next_help_heading = "Generation (what is left out is as the model's generation_config.json says)")]
pub struct GenerationArgs {
    /// The most tokens to generate
    #[arg(long, value_name = "N")]
    pub max_new_tokens: Option<usize>,
    /// No end before this many tokens
    #[arg(long, value_name = "N")]
    pub min_new_tokens: Option<usize>,
    /// Draws tokens at random instead of taking the likeliest
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "true|false")]
    pub do_sample: Option<bool>,
    /// With --do-sample: below 1 the likelier tokens are drawn more often, above 1 less
    #[arg(long, value_name = "X")]
    pub temperature: Option<f32>,
    /// With --do-sample: draws among this many of the likeliest tokens
    #[arg(long, value_name = "N")]
    pub top_k: Option<usize>,
    /// With --do-sample: draws among the likeliest tokens that together have this probability
    #[arg(long, value_name = "X")]
    pub top_p: Option<f32>,
    /// With --do-sample: draws among tokens of at least this share of the likeliest one's probability
    #[arg(long, value_name = "X")]
    pub min_p: Option<f32>,
    /// With --do-sample: draws among the tokens nearest to the expected surprise that together have this probability
    #[arg(long, value_name = "X")]
    pub typical_p: Option<f32>,
    /// With --do-sample: the same seed draws the same tokens
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Above 1 makes tokens that were there before less likely
    #[arg(long, value_name = "X")]
    pub repetition_penalty: Option<f32>,
    /// Taken from the logits of generated tokens, once
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub presence_penalty: Option<f32>,
    /// Taken from the logits of generated tokens, each time that they occurred
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub frequency_penalty: Option<f32>,
    /// No sequence of this many tokens occurs twice
    #[arg(long, value_name = "N")]
    pub no_repeat_ngram_size: Option<usize>,
    /// Beams to search with; 1 is greedy
    #[arg(long, value_name = "N")]
    pub num_beams: Option<usize>,
    /// Texts for each input
    #[arg(long, value_name = "N")]
    pub num_return_sequences: Option<usize>,
    /// With beams: above 0 favours longer texts
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub length_penalty: Option<f32>,
    /// With beams: when to stop looking
    #[arg(long, value_parser = choice(EarlyStopping::ALL.map(|e| (e.name(), e))))]
    pub early_stopping: Option<EarlyStopping>,
    /// A text ends before this string; may be given again
    #[arg(long, value_name = "STRING")]
    pub stop_strings: Vec<String>,
    /// Tokens that are never generated in this order; may be given again
    #[arg(long, value_name = "ID,ID…", value_parser = ids)]
    pub bad_words_ids: Vec<Ids>,
    /// Tokens that are never generated
    #[arg(long, value_name = "ID,ID…", value_parser = ids)]
    pub suppress_tokens: Option<Ids>,
    /// Tokens that are not generated first
    #[arg(long, value_name = "ID,ID…", value_parser = ids)]
    pub begin_suppress_tokens: Option<Ids>,
    /// The first token, of an encoder-decoder model
    #[arg(long, value_name = "ID")]
    pub forced_bos_token_id: Option<u32>,
    /// The last token, where the limit is reached
    #[arg(long, value_name = "ID", value_parser = ids)]
    pub forced_eos_token_id: Option<Ids>,
    /// Tokens that end a text
    #[arg(long, value_name = "ID,ID…", value_parser = ids)]
    pub eos_token_id: Option<Ids>,
    /// The token that an encoder-decoder model's answer begins with
    #[arg(long, value_name = "ID")]
    pub decoder_start_token_id: Option<u32>,
    /// Never ends before --max-new-tokens
    #[arg(long)]
    pub ignore_eos: bool,
    /// Tells the log-probability of each token (with --json)
    #[arg(long)]
    pub logprobs: bool,
    /// The text is JSON of this schema: a file
    #[arg(long, value_name = "FILE", group = "grammar")]
    pub json_schema: Option<PathBuf>,
    /// The whole text matches this regular expression
    #[arg(long, value_name = "REGEX", group = "grammar")]
    pub regex: Option<String>,
    /// The text is of this Lark grammar: a file
    #[arg(long, value_name = "FILE", group = "grammar")]
    pub lark: Option<PathBuf>,
    #[command(flatten)]
    pub lookup: LookupArgs,
    /// Adds no special tokens to the input
    #[arg(long)]
    pub no_special_tokens: bool,
    /// Leaves special tokens in the text
    #[arg(long)]
    pub keep_special_tokens: bool,
}

#[derive(Args)]
pub struct LookupArgs {
    /// Guesses this many tokens at once from where the last ones stood before: the same text, sooner where it repeats or copies
    #[arg(long, value_name = "N")]
    pub prompt_lookup_num_tokens: Option<usize>,
    /// With --prompt-lookup-num-tokens: how many of the last tokens must have stood together before, at most
    #[arg(long, value_name = "N")]
    pub max_matching_ngram_size: Option<usize>,
}

impl GenerationArgs {
    pub fn options(&self) -> Outcome<GenerateOptions> {
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path).map_err(|e| Failure::new(format!("{}: {e}", path.display())))
        };
        let grammar = match (&self.json_schema, &self.regex, &self.lark) {
            (Some(path), ..) => Some(Grammar::JsonSchema(read(path)?)),
            (_, Some(regex), _) => Some(Grammar::Regex(regex.clone())),
            (_, _, Some(path)) => Some(Grammar::Lark(read(path)?)),
            _ => None,
        };
        let list = |ids: &Option<Ids>| ids.as_ref().map(|ids| ids.0.clone());
        let some = |list: Vec<_>| (!list.is_empty()).then_some(list);
        Ok(GenerateOptions {
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
            no_repeat_ngram_size: self.no_repeat_ngram_size,
            num_beams: self.num_beams,
            num_return_sequences: self.num_return_sequences,
            length_penalty: self.length_penalty,
            early_stopping: self.early_stopping,
            stop_strings: (!self.stop_strings.is_empty()).then(|| self.stop_strings.clone()),
            bad_words_ids: some(self.bad_words_ids.iter().map(|ids| ids.0.clone()).collect()),
            suppress_tokens: list(&self.suppress_tokens),
            begin_suppress_tokens: list(&self.begin_suppress_tokens),
            forced_bos_token_id: self.forced_bos_token_id,
            forced_eos_token_id: list(&self.forced_eos_token_id),
            eos_token_id: list(&self.eos_token_id),
            decoder_start_token_id: self.decoder_start_token_id,
            ignore_eos: self.ignore_eos,
            logprobs: self.logprobs,
            grammar,
            add_special_tokens: self.no_special_tokens.then_some(false),
            skip_special_tokens: self.keep_special_tokens.then_some(false),
            prompt_lookup_num_tokens: self.lookup.prompt_lookup_num_tokens,
            max_matching_ngram_size: self.lookup.max_matching_ngram_size,
            prefix: None,
            cancellation: None,
        })
    }
}
