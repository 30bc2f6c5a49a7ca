//! The complete settings of a generation: the caller's options over the defaults of the model's files.

use std::collections::BTreeMap;

use crate::base::error::{Error, Result};

use super::constraint::{Grammar, GrammarLimits, SchemaMode};
use super::defaults::Defaults;
use super::options::{EarlyStopping, GenerateOptions};
use super::prompt_lookup::LookupSettings;

/// `max_new_tokens` if neither the caller nor the model's files set a limit.
const DEFAULT_NEW_TOKENS: usize = 256;

/// The default of `max_matching_ngram_size`, as in transformers.
const DEFAULT_NGRAM: usize = 2;

/// The maximum of `num_beams` and `num_return_sequences`.
const MAX_BEAMS: usize = 64;

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
    pub encoder_repetition_penalty: f32,
    pub no_repeat_ngram_size: usize,
    pub encoder_no_repeat_ngram_size: usize,
    pub num_beams: usize,
    pub num_return_sequences: usize,
    pub length_penalty: f32,
    pub exponential_decay: Option<(usize, f32)>,
    pub renormalize_logits: bool,
    pub early_stopping: EarlyStopping,
    pub stop_strings: Vec<String>,
    pub bad_words: Vec<Vec<u32>>,
    pub sequence_bias: Vec<(Vec<u32>, f32)>,
    pub suppress: Vec<u32>,
    pub begin_suppress: Vec<u32>,
    pub forced_bos: Option<u32>,
    pub forced_eos: Vec<u32>,
    pub eos: Vec<u32>,
    pub ignore_eos: bool,
    pub decoder_start: Option<u32>,
    pub logprobs: bool,
    pub grammar: Option<Grammar>,
    pub schema_mode: SchemaMode,
    pub grammar_limits: GrammarLimits,
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
            && self.encoder_repetition_penalty == 1.0
            && self.no_repeat_ngram_size == 0
            && self.encoder_no_repeat_ngram_size == 0
            && self.exponential_decay.is_none()
            && !(self.renormalize_logits && self.num_beams > 1)
            && self.bad_words.is_empty()
            && self.sequence_bias.is_empty()
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
        defaults.check(self, do_sample, num_beams)?;
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
        check(
            self.schema_mode.is_none() || matches!(self.grammar, Some(Grammar::JsonSchema(_))),
            "schema_mode",
            "requires a JSON schema as grammar",
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
        let encoder_repetition_penalty =
            self.encoder_repetition_penalty.or(d.encoder_repetition_penalty).unwrap_or(1.0);
        check(
            encoder_repetition_penalty > 0.0 && encoder_repetition_penalty.is_finite(),
            "encoder_repetition_penalty",
            "must be above 0",
        )?;
        let exponential_decay = self.exponential_decay_length_penalty.or(d.exponential_decay_length_penalty);
        check(
            exponential_decay.is_none_or(|(_, factor)| factor > 0.0 && factor.is_finite()),
            "exponential_decay_length_penalty",
            "the factor must be above 0",
        )?;
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
        let sequence_bias = self.sequence_bias.clone().or(d.sequence_bias.clone()).unwrap_or_default();
        check(sequence_bias.iter().all(|(word, _)| !word.is_empty()), "sequence_bias", "a sequence is empty")?;
        check(
            sequence_bias.iter().all(|(_, bias)| bias.is_finite()),
            "sequence_bias",
            "a bias is not a finite number",
        )?;
        check(
            self.decoder_input_ids.is_none() || self.decoder_input_texts.is_none(),
            "decoder_input_texts",
            "contradicts decoder_input_ids; choose one",
        )?;
        // As in the reference, a later bias of the same sequence replaces an earlier one.
        let sequence_bias: Vec<_> = sequence_bias.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect();
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
        sequence_bias.iter().try_for_each(|(word, _)| within(word, "sequence_bias"))?;
        let prefixes = self.decoder_input_ids.iter().flatten();
        prefixes.into_iter().try_for_each(|ids| within(ids, "decoder_input_ids"))?;
        within(&suppress, "suppress_tokens")?;
        within(&begin_suppress, "begin_suppress_tokens")?;
        within(&eos, "eos_token_id")?;
        within(&forced_eos, "forced_eos_token_id")?;
        within(forced_bos.as_slice(), "forced_bos_token_id")?;
        within(decoder_start.as_slice(), "decoder_start_token_id")?;
        let all_suppressed = |forced: &[u32]| !forced.is_empty() && forced.iter().all(|token| suppress.contains(token));
        check(
            !all_suppressed(forced_bos.as_slice()),
            "forced_bos_token_id",
            "contradicts suppress_tokens, which has it",
        )?;
        check(!all_suppressed(&forced_eos), "forced_eos_token_id", "contradicts suppress_tokens, which has all of it")?;
        Ok(Settings {
            max_new_tokens,
            max_length,
            min_length: if self.min_new_tokens.is_some() { 0 } else { defaults.min_length },
            min_new_tokens,
            sampling: do_sample.then_some(sampling),
            repetition_penalty,
            encoder_repetition_penalty,
            presence_penalty: penalty(self.presence_penalty, "presence_penalty")?,
            frequency_penalty: penalty(self.frequency_penalty, "frequency_penalty")?,
            no_repeat_ngram_size: self.no_repeat_ngram_size.or(d.no_repeat_ngram_size).unwrap_or(0),
            encoder_no_repeat_ngram_size: self
                .encoder_no_repeat_ngram_size
                .or(d.encoder_no_repeat_ngram_size)
                .unwrap_or(0),
            num_beams,
            num_return_sequences: if do_sample || num_beams > 1 { num_return_sequences } else { 1 },
            length_penalty,
            exponential_decay,
            renormalize_logits: defaults.renormalize_logits,
            early_stopping: self.early_stopping.or(d.early_stopping).unwrap_or(EarlyStopping::No),
            stop_strings,
            bad_words,
            sequence_bias,
            suppress,
            begin_suppress,
            forced_bos,
            forced_eos: if self.ignore_eos { Vec::new() } else { forced_eos },
            eos,
            ignore_eos: self.ignore_eos,
            decoder_start,
            logprobs: self.logprobs,
            grammar: self.grammar.clone(),
            schema_mode: self.schema_mode.unwrap_or_default(),
            grammar_limits: GrammarLimits {
                work: self.grammar_work_limit.unwrap_or(GrammarLimits::default().work),
                memory: self.grammar_memory_limit.unwrap_or(GrammarLimits::default().memory),
            },
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
    use crate::formats::json::Config;

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
        let defaults = Defaults::read(Some(&generation), &model);
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
        let defaults = Defaults::read(Some(&files), &none);
        let lookup = |options: GenerateOptions| options.settle(&defaults, 100).unwrap().lookup;
        assert_eq!(lookup(GenerateOptions::default()), LookupSettings { tokens: 7, ngram: 3 });
        assert_eq!(lookup(o()), LookupSettings { tokens: 4, ngram: 3 });
        assert_eq!(lookup(GenerateOptions { prompt_lookup_num_tokens: Some(0), ..o() }).tokens, 0);
        assert_eq!(lookup(GenerateOptions { num_beams: Some(2), ..GenerateOptions::default() }).tokens, 0);
        assert_eq!(lookup(GenerateOptions { do_sample: Some(true), ..GenerateOptions::default() }).tokens, 0);
        let sampled = config(serde_json::json!({"do_sample": true}));
        let error = o().settle(&Defaults::read(Some(&sampled), &none), 100).unwrap_err();
        assert!(error.message().contains("do_sample"), "{error}");
    }
}
