//! The options of generation, the defaults from the model's files, and the complete settings that result.

use crate::base::call::Cancellation;
use crate::base::error::{Error, Result};
use crate::formats::json::Config;

use super::constraint::Grammar;
use super::prompt_lookup::LookupSettings;
use super::session::Prefix;

/// `max_new_tokens` if neither the caller nor the model's files set a limit.
const DEFAULT_NEW_TOKENS: usize = 256;

/// The default of `max_matching_ngram_size`, as in transformers.
const DEFAULT_NGRAM: usize = 2;

/// The maximum of `num_beams` and `num_return_sequences`.
const MAX_BEAMS: usize = 64;

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
    /// No n-gram of this many tokens occurs twice; 0 for no limit.
    pub no_repeat_ngram_size: Option<usize>,
    pub num_beams: Option<usize>,
    pub num_return_sequences: Option<usize>,
    /// A beam's score is its log-probability divided by `length ^ length_penalty`.
    pub length_penalty: Option<f32>,
    pub early_stopping: Option<EarlyStopping>,
    /// Generation stops when one of these is generated; it is not part of the text.
    pub stop_strings: Option<Vec<String>>,
    /// Token sequences that are never generated.
    pub bad_words_ids: Option<Vec<Vec<u32>>>,
    pub suppress_tokens: Option<Vec<u32>>,
    /// Tokens that are never generated first.
    pub begin_suppress_tokens: Option<Vec<u32>>,
    /// The first token that an encoder-decoder model generates.
    pub forced_bos_token_id: Option<u32>,
    /// The last token if `max_new_tokens` is reached.
    pub forced_eos_token_id: Option<Vec<u32>>,
    pub eos_token_id: Option<Vec<u32>>,
    pub decoder_start_token_id: Option<u32>,
    /// Never chooses an end token, so `max_new_tokens` tokens are generated.
    pub ignore_eos: bool,
    /// Returns the log-probability of each token.
    pub logprobs: bool,
    /// Constrains the text.
    pub grammar: Option<Grammar>,
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
}

/// The complete settings of a generation.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub max_new_tokens: usize,
    /// The limit of prompt and output together, if the model's files have one and neither they nor the caller limit the new tokens.
    pub max_length: Option<usize>,
    pub min_new_tokens: usize,
    /// The minimum length of prompt and output together.
    pub min_length: usize,
    pub sampling: Option<Sampling>,
    pub repetition_penalty: f32,
    pub presence_penalty: f32,
    pub frequency_penalty: f32,
    pub no_repeat_ngram_size: usize,
    pub num_beams: usize,
    pub num_return_sequences: usize,
    pub length_penalty: f32,
    pub early_stopping: EarlyStopping,
    pub stop_strings: Vec<String>,
    pub bad_words: Vec<Vec<u32>>,
    pub suppress: Vec<u32>,
    pub begin_suppress: Vec<u32>,
    pub forced_bos: Option<u32>,
    pub forced_eos: Vec<u32>,
    pub eos: Vec<u32>,
    pub ignore_eos: bool,
    pub decoder_start: Option<u32>,
    pub logprobs: bool,
    pub grammar: Option<Grammar>,
    pub skip_special_tokens: bool,
    /// Changes the speed, not the output.
    pub lookup: LookupSettings,
}

impl Settings {
    /// If logits processors only forbid the same tokens in every step: these tokens.
    pub fn always_forbidden(&self) -> Option<Vec<u32>> {
        let plain = self.sampling.is_none()
            && self.grammar.is_none()
            && (self.ignore_eos || self.min_new_tokens == 0 && self.min_length == 0)
            && self.repetition_penalty == 1.0
            && self.presence_penalty == 0.0
            && self.frequency_penalty == 0.0
            && self.no_repeat_ngram_size == 0
            && self.bad_words.is_empty()
            && self.begin_suppress.is_empty()
            && self.forced_bos.is_none()
            && self.forced_eos.is_empty();
        let eos: &[u32] = if self.ignore_eos { &self.eos } else { &[] };
        plain.then(|| [eos, &self.suppress].concat())
    }

    /// The maximum number of new tokens after a prompt of this many.
    pub fn limit(&self, prompt: usize) -> usize {
        self.max_length.map_or(self.max_new_tokens, |length| length.saturating_sub(prompt).max(1))
    }
}

/// The options of sampling.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sampling {
    pub temperature: f32,
    pub top_k: usize,
    pub top_p: f32,
    pub min_p: f32,
    pub typical_p: f32,
    pub seed: Option<u64>,
}

/// The defaults of a model: `generation_config.json`, and for older models `config.json`.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    options: GenerateOptions,
    /// The maximum length of prompt and output together.
    max_length: Option<usize>,
    min_length: usize,
    /// Fields that ask for something that Kinglet does not support.
    pub ignored: Vec<&'static str>,
}

/// Fields of transformers that Kinglet does not support, with the value that does not change the output.
const UNSUPPORTED: [(&str, f64); 12] = [
    ("encoder_no_repeat_ngram_size", 0.0),
    ("encoder_repetition_penalty", 1.0),
    ("diversity_penalty", 0.0),
    ("num_beam_groups", 1.0),
    ("penalty_alpha", 0.0),
    ("epsilon_cutoff", 0.0),
    ("eta_cutoff", 0.0),
    ("guidance_scale", 1.0),
    ("top_h", 0.0),
    ("sequence_bias", f64::NAN),
    ("exponential_decay_length_penalty", f64::NAN),
    ("watermarking_config", f64::NAN),
];

fn id(value: usize) -> u32 {
    // Config's numbers are at most 2^31.
    value as u32
}

impl Defaults {
    pub(crate) fn read(generation: Option<&Config>, model: &Config) -> Result<Self> {
        let source = generation.unwrap_or(model);
        let ids = |key: &str| -> Result<Option<Vec<u32>>> {
            let mut found = source.usizes(key)?;
            if found.is_empty() {
                found = model.usizes(key)?;
            }
            Ok((!found.is_empty()).then(|| found.into_iter().map(id).collect()))
        };
        let first = |key: &str| -> Result<Option<u32>> { Ok(ids(key)?.and_then(|ids| ids.first().copied())) };
        let list = |key: &str| -> Result<Option<Vec<u32>>> {
            let found = source.usizes(key)?;
            Ok((!found.is_empty()).then(|| found.into_iter().map(id).collect()))
        };
        let early_stopping = match source.get("early_stopping") {
            None => None,
            Some(value) => Some(match (value.as_bool(), value.as_str()) {
                (Some(true), _) => EarlyStopping::Yes,
                (Some(false), _) => EarlyStopping::No,
                (_, Some("never")) => EarlyStopping::Never,
                _ => return Err(source.invalid("early_stopping", "must be true, false or \"never\"")),
            }),
        };
        let bad_words_ids = match source.get("bad_words_ids") {
            None => None,
            Some(value) => {
                let words = value.as_array().map(Vec::as_slice).unwrap_or_default().iter().map(|word| {
                    let ids = word.as_array()?.iter().map(|id| u32::try_from(id.as_u64()?).ok());
                    ids.collect::<Option<Vec<u32>>>()
                });
                let words: Option<Vec<_>> = words.collect();
                Some(words.ok_or_else(|| source.invalid("bad_words_ids", "must be a list of lists of token ids"))?)
            }
        };
        let options = GenerateOptions {
            max_new_tokens: source.usize_opt("max_new_tokens")?,
            min_new_tokens: source.usize_opt("min_new_tokens")?,
            do_sample: source.bool_opt("do_sample")?,
            temperature: source.f32_opt("temperature")?,
            top_k: source.usize_opt("top_k")?,
            top_p: source.f32_opt("top_p")?,
            min_p: source.f32_opt("min_p")?,
            typical_p: source.f32_opt("typical_p")?,
            repetition_penalty: source.f32_opt("repetition_penalty")?,
            no_repeat_ngram_size: source.usize_opt("no_repeat_ngram_size")?,
            num_beams: source.usize_opt("num_beams")?,
            num_return_sequences: source.usize_opt("num_return_sequences")?,
            length_penalty: source.f32_opt("length_penalty")?,
            early_stopping,
            bad_words_ids,
            suppress_tokens: list("suppress_tokens")?,
            begin_suppress_tokens: list("begin_suppress_tokens")?,
            forced_bos_token_id: first("forced_bos_token_id")?,
            forced_eos_token_id: ids("forced_eos_token_id")?,
            eos_token_id: ids("eos_token_id")?,
            decoder_start_token_id: first("decoder_start_token_id")?.or(first("bos_token_id")?),
            prompt_lookup_num_tokens: source.usize_opt("prompt_lookup_num_tokens")?,
            max_matching_ngram_size: source.usize_opt("max_matching_ngram_size")?,
            ..GenerateOptions::default()
        };
        let asks = |&&(name, neutral): &&(&str, f64)| source.get(name).is_some_and(|v| v.as_f64() != Some(neutral));
        Ok(Self {
            options,
            max_length: source.usize_opt("max_length")?,
            min_length: source.usize_or("min_length", 0)?,
            ignored: UNSUPPORTED.iter().filter(asks).map(|(name, _)| *name).collect(),
        })
    }

    /// Tokens that end a text.
    pub(crate) fn eos(&self) -> &[u32] {
        self.options.eos_token_id.as_deref().unwrap_or_default()
    }
}

fn check(good: bool, name: &str, what: &str) -> Result<()> {
    if good { Ok(()) } else { Err(Error::invalid_argument(format!("{name}: {what}"))) }
}

impl GenerateOptions {
    /// Completes the options.
    ///
    /// # Errors
    /// A value out of range, or one that contradicts another; the error names both.
    pub(crate) fn settle(&self, defaults: &Defaults, vocabulary: usize) -> Result<Settings> {
        let d = &defaults.options;
        let do_sample = self.do_sample.or(d.do_sample).unwrap_or(false);
        // The caller's do_sample overrides the files' num_beams, and the other way round.
        let num_beams = match (self.num_beams, self.do_sample) {
            (Some(beams), _) => beams,
            (None, Some(true)) => 1,
            (None, _) => d.num_beams.unwrap_or(1),
        };
        let do_sample =
            if self.do_sample.is_none() && self.num_beams.is_some_and(|n| n > 1) { false } else { do_sample };
        check((1..=MAX_BEAMS).contains(&num_beams), "num_beams", &format!("must be from 1 to {MAX_BEAMS}"))?;
        check(!(do_sample && num_beams > 1), "num_beams", "beam search contradicts do_sample; choose one")?;
        if !do_sample {
            for (set, name) in [
                (self.temperature.is_some(), "temperature"),
                (self.top_k.is_some(), "top_k"),
                (self.top_p.is_some(), "top_p"),
                (self.min_p.is_some(), "min_p"),
                (self.typical_p.is_some(), "typical_p"),
                (self.seed.is_some(), "seed"),
            ] {
                check(!set, name, "requires do_sample")?;
            }
        }
        if num_beams == 1 {
            check(self.length_penalty.is_none(), "length_penalty", "requires num_beams above 1")?;
            check(self.early_stopping.is_none(), "early_stopping", "requires num_beams above 1")?;
        }
        let num_return_sequences = self.num_return_sequences.or(d.num_return_sequences).unwrap_or(1);
        let max = if do_sample { MAX_BEAMS } else { num_beams };
        check(
            (1..=max).contains(&num_return_sequences),
            "num_return_sequences",
            &format!("must be from 1 to {max} (the number of beams, unless do_sample is set)"),
        )?;
        let chosen = self.max_new_tokens.or(d.max_new_tokens);
        let max_length = if chosen.is_none() { defaults.max_length } else { None };
        let max_new_tokens = chosen.unwrap_or(DEFAULT_NEW_TOKENS);
        check(max_new_tokens > 0, "max_new_tokens", "must be at least 1")?;
        let min_new_tokens = self.min_new_tokens.or(d.min_new_tokens).unwrap_or(0);
        let both = self.min_new_tokens.is_some();
        check(
            !both || min_new_tokens <= max_new_tokens,
            "min_new_tokens",
            &format!("{min_new_tokens} is more than max_new_tokens, {max_new_tokens}"),
        )?;
        check(
            !(self.ignore_eos && self.grammar.is_some()),
            "ignore_eos",
            "contradicts grammar, which decides where the text ends",
        )?;
        let lookup = self.lookup(d, do_sample, num_beams)?;
        let sampling = Sampling {
            temperature: self.temperature.or(d.temperature).unwrap_or(1.0),
            // transformers 5 has no default of 50 any more.
            top_k: self.top_k.or(d.top_k).unwrap_or(0),
            top_p: self.top_p.or(d.top_p).unwrap_or(1.0),
            min_p: self.min_p.or(d.min_p).unwrap_or(0.0),
            typical_p: self.typical_p.or(d.typical_p).unwrap_or(1.0),
            seed: self.seed,
        };
        if do_sample {
            let share = |x: f32| x > 0.0 && x <= 1.0;
            let t = sampling.temperature;
            check(t > 0.0 && t.is_finite(), "temperature", "must be above 0; for greedy decoding leave do_sample out")?;
            check(share(sampling.top_p), "top_p", "must be above 0 and at most 1")?;
            check((0.0..=1.0).contains(&sampling.min_p), "min_p", "must be from 0 to 1")?;
            check(share(sampling.typical_p), "typical_p", "must be above 0 and at most 1")?;
        }
        let repetition_penalty = self.repetition_penalty.or(d.repetition_penalty).unwrap_or(1.0);
        check(repetition_penalty > 0.0 && repetition_penalty.is_finite(), "repetition_penalty", "must be above 0")?;
        let length_penalty = self.length_penalty.or(d.length_penalty).unwrap_or(1.0);
        check(length_penalty.is_finite(), "length_penalty", "must be a finite number")?;
        let penalty = |value: Option<f32>, name: &str| {
            let value = value.unwrap_or(0.0);
            check(value.is_finite(), name, "must be a finite number").map(|()| value)
        };
        let stop_strings = self.stop_strings.clone().or(d.stop_strings.clone()).unwrap_or_default();
        check(stop_strings.iter().all(|s| !s.is_empty()), "stop_strings", "one of them is empty")?;
        check(stop_strings.len() <= 64, "stop_strings", "more than 64 of them")?;
        let bad_words = self.bad_words_ids.clone().or(d.bad_words_ids.clone()).unwrap_or_default();
        check(bad_words.iter().all(|w| !w.is_empty()), "bad_words_ids", "one of them is empty")?;
        let mut eos = self.eos_token_id.clone().or(d.eos_token_id.clone()).unwrap_or_default();
        eos.sort_unstable();
        eos.dedup();
        check(eos.len() <= 256, "eos_token_id", "more than 256 of them")?;
        let suppress = self.suppress_tokens.clone().or(d.suppress_tokens.clone()).unwrap_or_default();
        let begin_suppress = self.begin_suppress_tokens.clone().or(d.begin_suppress_tokens.clone()).unwrap_or_default();
        let forced_eos = self.forced_eos_token_id.clone().or(d.forced_eos_token_id.clone()).unwrap_or_default();
        let forced_bos = self.forced_bos_token_id.or(d.forced_bos_token_id);
        let decoder_start = self.decoder_start_token_id.or(d.decoder_start_token_id);
        let within = |ids: &[u32], name: &str| match ids.iter().find(|&&id| id as usize >= vocabulary) {
            Some(id) => Err(Error::invalid_argument(format!("{name}: {id} is not below {vocabulary}"))),
            None => Ok(()),
        };
        bad_words.iter().try_for_each(|word| within(word, "bad_words_ids"))?;
        within(&suppress, "suppress_tokens")?;
        within(&begin_suppress, "begin_suppress_tokens")?;
        within(&eos, "eos_token_id")?;
        within(&forced_eos, "forced_eos_token_id")?;
        within(forced_bos.as_slice(), "forced_bos_token_id")?;
        within(decoder_start.as_slice(), "decoder_start_token_id")?;
        Ok(Settings {
            max_new_tokens,
            max_length,
            min_length: if self.min_new_tokens.is_some() { 0 } else { defaults.min_length },
            min_new_tokens,
            sampling: do_sample.then_some(sampling),
            repetition_penalty,
            presence_penalty: penalty(self.presence_penalty, "presence_penalty")?,
            frequency_penalty: penalty(self.frequency_penalty, "frequency_penalty")?,
            no_repeat_ngram_size: self.no_repeat_ngram_size.or(d.no_repeat_ngram_size).unwrap_or(0),
            num_beams,
            num_return_sequences: if do_sample || num_beams > 1 { num_return_sequences } else { 1 },
            length_penalty,
            early_stopping: self.early_stopping.or(d.early_stopping).unwrap_or(EarlyStopping::No),
            stop_strings,
            bad_words,
            suppress,
            begin_suppress,
            forced_bos,
            forced_eos: if self.ignore_eos { Vec::new() } else { forced_eos },
            eos,
            ignore_eos: self.ignore_eos,
            decoder_start,
            logprobs: self.logprobs,
            grammar: self.grammar.clone(),
            skip_special_tokens: self.skip_special_tokens.unwrap_or(true),
            lookup,
        })
    }

    /// Speculative decoding is for greedy search only. If the model's files ask for it and the caller for another search, it is off.
    fn lookup(&self, defaults: &GenerateOptions, do_sample: bool, num_beams: usize) -> Result<LookupSettings> {
        let (name, greedy) = ("prompt_lookup_num_tokens", !do_sample && num_beams == 1);
        if self.prompt_lookup_num_tokens.is_some_and(|n| n > 0) {
            check(!do_sample, name, "contradicts do_sample: it is for greedy decoding only")?;
            check(greedy, name, "contradicts num_beams above 1: it is for greedy decoding only")?;
        }
        let tokens =
            self.prompt_lookup_num_tokens.or(defaults.prompt_lookup_num_tokens.filter(|_| greedy)).unwrap_or(0);
        let (name, ngram) = ("max_matching_ngram_size", self.max_matching_ngram_size);
        check(ngram != Some(0), name, "must be at least 1")?;
        check(tokens > 0 || ngram.is_none(), name, "requires prompt_lookup_num_tokens")?;
        let ngram = ngram.or(defaults.max_matching_ngram_size).unwrap_or(DEFAULT_NGRAM).max(1);
        Ok(LookupSettings { tokens, ngram })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(options: GenerateOptions) -> Result<Settings> {
        options.settle(&Defaults::default(), 100)
    }

    #[test]
    fn contradictions_are_named() {
        let o = GenerateOptions::default;
        for (options, name) in [
            (GenerateOptions { temperature: Some(0.5), ..o() }, "temperature"),
            (GenerateOptions { do_sample: Some(false), top_p: Some(0.5), ..o() }, "top_p"),
            (GenerateOptions { seed: Some(1), ..o() }, "seed"),
            (GenerateOptions { do_sample: Some(true), num_beams: Some(2), ..o() }, "num_beams"),
            (GenerateOptions { num_beams: Some(0), ..o() }, "num_beams"),
            (GenerateOptions { length_penalty: Some(1.0), ..o() }, "length_penalty"),
            (GenerateOptions { early_stopping: Some(EarlyStopping::Yes), ..o() }, "early_stopping"),
            (GenerateOptions { num_return_sequences: Some(2), ..o() }, "num_return_sequences"),
            (GenerateOptions { num_beams: Some(2), num_return_sequences: Some(3), ..o() }, "num_return_sequences"),
            (GenerateOptions { max_new_tokens: Some(0), ..o() }, "max_new_tokens"),
            (GenerateOptions { max_new_tokens: Some(3), min_new_tokens: Some(4), ..o() }, "min_new_tokens"),
            (GenerateOptions { do_sample: Some(true), temperature: Some(0.0), ..o() }, "temperature"),
            (GenerateOptions { do_sample: Some(true), top_p: Some(f32::NAN), ..o() }, "top_p"),
            (GenerateOptions { do_sample: Some(true), min_p: Some(1.5), ..o() }, "min_p"),
            (GenerateOptions { repetition_penalty: Some(-1.0), ..o() }, "repetition_penalty"),
            (GenerateOptions { stop_strings: Some(vec![String::new()]), ..o() }, "stop_strings"),
            (GenerateOptions { suppress_tokens: Some(vec![100]), ..o() }, "suppress_tokens"),
            (GenerateOptions { bad_words_ids: Some(vec![vec![1, 100]]), ..o() }, "bad_words_ids"),
            (GenerateOptions { max_matching_ngram_size: Some(2), ..o() }, "max_matching_ngram_size"),
            (
                GenerateOptions { prompt_lookup_num_tokens: Some(2), max_matching_ngram_size: Some(0), ..o() },
                "max_matching_ngram_size",
            ),
        ] {
            let error = settle(options).unwrap_err();
            assert!(error.message().starts_with(&format!("{name}: ")), "{error}");
        }
    }

    #[test]
    fn files_give_defaults_and_the_caller_wins() {
        let path = std::path::Path::new("generation_config.json");
        let config = |value| Config::from_value(path, value).unwrap();
        let generation = config(serde_json::json!({
            "num_beams": 4, "early_stopping": "never", "max_length": 50, "eos_token_id": [7, 8], "length_penalty": 2.0,
            "forced_bos_token_id": 3, "bad_words_ids": [[5], [6, 7]]
        }));
        let model = config(serde_json::json!({"decoder_start_token_id": 9, "eos_token_id": 1}));
        let defaults = Defaults::read(Some(&generation), &model).unwrap();
        let s = GenerateOptions::default().settle(&defaults, 100).unwrap();
        assert_eq!((s.num_beams, s.early_stopping, s.limit(10)), (4, EarlyStopping::Never, 40));
        assert_eq!((s.eos.as_slice(), s.decoder_start, s.forced_bos), (&[7, 8][..], Some(9), Some(3)));
        assert_eq!((s.length_penalty, s.bad_words.len()), (2.0, 2));
        let mine = GenerateOptions { num_beams: Some(1), max_new_tokens: Some(5), ..GenerateOptions::default() };
        let s = mine.settle(&defaults, 100).unwrap();
        assert_eq!((s.num_beams, s.limit(10)), (1, 5));
        let sampled = GenerateOptions { do_sample: Some(true), ..GenerateOptions::default() };
        assert_eq!(sampled.settle(&defaults, 100).unwrap().num_beams, 1);
    }

    #[test]
    fn drafts_are_for_greedy_decoding_alone() {
        let o = || GenerateOptions { prompt_lookup_num_tokens: Some(4), ..GenerateOptions::default() };
        assert_eq!(settle(o()).unwrap().lookup, LookupSettings { tokens: 4, ngram: 2 });
        for (options, other) in [
            (GenerateOptions { do_sample: Some(true), ..o() }, "do_sample"),
            (GenerateOptions { num_beams: Some(2), ..o() }, "num_beams"),
        ] {
            let error = settle(options).unwrap_err();
            let message = error.message();
            assert!(message.starts_with("prompt_lookup_num_tokens: ") && message.contains(other), "{message}");
        }
        // The caller's options override the files'.
        let path = std::path::Path::new("generation_config.json");
        let config = |value| Config::from_value(path, value).unwrap();
        let none = config(serde_json::json!({}));
        let files = config(serde_json::json!({"prompt_lookup_num_tokens": 7, "max_matching_ngram_size": 3}));
        let defaults = Defaults::read(Some(&files), &none).unwrap();
        let lookup = |options: GenerateOptions| options.settle(&defaults, 100).unwrap().lookup;
        assert_eq!(lookup(GenerateOptions::default()), LookupSettings { tokens: 7, ngram: 3 });
        assert_eq!(lookup(o()), LookupSettings { tokens: 4, ngram: 3 });
        assert_eq!(lookup(GenerateOptions { prompt_lookup_num_tokens: Some(0), ..o() }).tokens, 0);
        assert_eq!(lookup(GenerateOptions { num_beams: Some(2), ..GenerateOptions::default() }).tokens, 0);
        assert_eq!(lookup(GenerateOptions { do_sample: Some(true), ..GenerateOptions::default() }).tokens, 0);
        let sampled = config(serde_json::json!({"do_sample": true}));
        let error = o().settle(&Defaults::read(Some(&sampled), &none).unwrap(), 100).unwrap_err();
        assert!(error.message().contains("do_sample"), "{error}");
    }
}
