//! What a model's files say of generation: `generation_config.json`, or in older models `config.json`. Like transformers 5, the second
//! counts only without the first.
//!
//! No value stops the load, because a model may be meant to embed: a value that cannot be used is an error of a generation that would
//! use it. -1 is unset wherever it cannot be a value, as null is, and numbers in strings are numbers; exporters write both.

use serde_json::Value;

use super::options::{EarlyStopping, GenerateOptions};
use crate::base::error::{Error, Result};
use crate::formats::json::Config;

/// When a field that is not supported changes what is generated.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Where {
    Always,
    Beams,
    Greedy,
    Sampling,
}

use Where::{Always, Beams, Greedy, Sampling};

/// Fields that change what is generated and that are not supported: the value that changes nothing, besides null.
const REFUSED: &[(&str, Option<f64>, Where)] = &[
    ("constraints", None, Always),
    ("diversity_penalty", Some(0.0), Beams),
    ("dola_layers", None, Greedy),
    ("epsilon_cutoff", Some(0.0), Sampling),
    ("eta_cutoff", Some(0.0), Sampling),
    ("force_words_ids", None, Always),
    ("guidance_scale", Some(1.0), Always),
    ("max_time", None, Always),
    ("mirostat", Some(0.0), Sampling),
    ("num_beam_groups", Some(1.0), Beams),
    ("penalty_alpha", Some(0.0), Greedy),
    ("token_healing", Some(0.0), Always),
    ("top_h", None, Sampling),
    ("watermarking_config", None, Always),
    ("xtc_probability", Some(0.0), Sampling),
];

/// Fields of `generation_config.json` that do not change what is generated: about the form of results, caches, compiling, and drafts,
/// which never change the output.
const IRRELEVANT: &[&str] = &[
    "_from_model_config",
    "assistant_confidence_threshold",
    "assistant_early_exit",
    "assistant_ensemble_weight",
    "assistant_lookbehind",
    "cache_config",
    "cache_implementation",
    "compile_config",
    "continuous_batching_config",
    "disable_compile",
    "is_assistant",
    "low_memory",
    "max_cache_len",
    "num_assistant_tokens",
    "num_assistant_tokens_schedule",
    "output_attentions",
    "output_hidden_states",
    "output_logits",
    "output_scores",
    "pad_token_id",
    "prefill_chunk_size",
    // Models whose numbers are not finite are an error anyway.
    "remove_invalid_values",
    "return_dict_in_generate",
    "speculation_type",
    "target_lookbehind",
    "transformers_version",
    "use_cache",
    "use_mtp",
];

/// Fields that are read.
const READ: &[&str] = &[
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token_id",
    "decoder_start_token_id",
    "do_sample",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "encoder_repetition_penalty",
    "eos_token_id",
    "exponential_decay_length_penalty",
    "force_bos_token_to_be_generated",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "length_penalty",
    "max_length",
    "max_matching_ngram_size",
    "max_new_tokens",
    "min_length",
    "min_new_tokens",
    "min_p",
    "no_repeat_ngram_size",
    "num_beams",
    "num_return_sequences",
    "prompt_lookup_num_tokens",
    "renormalize_logits",
    "repetition_penalty",
    "sequence_bias",
    "stop_strings",
    "suppress_tokens",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
];

/// What a model's files say of generation.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    pub(super) options: GenerateOptions,
    /// The limit of prompt and output together.
    pub(super) max_length: Option<usize>,
    pub(super) min_length: usize,
    /// Normalises the scores of beams once more after the logits processors.
    pub(super) renormalize_logits: bool,
    /// Fields whose values cannot be used.
    faults: Vec<(&'static str, Error)>,
    refused: Vec<(&'static str, Where, Error)>,
    /// Fields that are not known.
    pub unknown: Vec<String>,
}

/// Reads fields and keeps the errors.
struct Reader<'a> {
    source: &'a Config,
    faults: Vec<(&'static str, Error)>,
}

impl<'a> Reader<'a> {
    fn read<T>(&mut self, key: &'static str, wanted: &str, get: impl FnOnce(&'a Value) -> Option<T>) -> Option<T> {
        let value = self.source.get(key)?;
        let found = get(value);
        if found.is_none() {
            let mut shown = value.to_string();
            if shown.len() > 60 {
                let end = (0..=60).rev().find(|&at| shown.is_char_boundary(at)).unwrap_or(0);
                shown.replace_range(end.., "…");
            }
            self.faults.push((key, self.source.invalid(key, format!("must be {wanted}; it is {shown}"))));
        }
        found
    }

    /// A count; None if it is -1.
    fn count(&mut self, key: &'static str) -> Option<usize> {
        self.read(key, "a whole number", |value| match number(value)? {
            -1.0 => Some(None),
            n => whole(n).map(Some),
        })?
    }

    /// A number that cannot be negative; None if it is -1.
    fn positive(&mut self, key: &'static str) -> Option<f32> {
        self.read(key, "a number that is not negative", |value| match number(value)? {
            -1.0 => Some(None),
            x => (x >= 0.0).then_some(Some(x as f32)),
        })?
    }

    fn number(&mut self, key: &'static str) -> Option<f32> {
        self.read(key, "a number", |value| number(value).map(|x| x as f32))
    }

    fn flag(&mut self, key: &'static str) -> Option<bool> {
        self.read(key, "true or false", |value| match value {
            Value::Bool(yes) => Some(*yes),
            Value::String(text) => text.to_ascii_lowercase().parse().ok(),
            _ => None,
        })
    }

    /// Token ids: one, or a list. Those that are -1 are left out.
    fn ids(&mut self, key: &'static str) -> Option<Vec<u32>> {
        let ids = self.read(key, "a token id or a list of them", ids)?;
        (!ids.is_empty()).then_some(ids)
    }

    fn first(&mut self, key: &'static str) -> Option<u32> {
        self.ids(key)?.first().copied()
    }

    fn early_stopping(&mut self) -> Option<EarlyStopping> {
        self.read("early_stopping", "true, false or \"never\"", |value| match (value.as_bool(), value.as_str()) {
            (Some(true), _) | (_, Some("true" | "True")) => Some(EarlyStopping::Yes),
            (Some(false), _) | (_, Some("false" | "False")) => Some(EarlyStopping::No),
            (_, Some("never")) => Some(EarlyStopping::Never),
            _ => None,
        })
    }

    fn stop_strings(&mut self) -> Option<Vec<String>> {
        let stops = self.read("stop_strings", "a string or a list of strings", |value| match value {
            Value::String(text) => Some(vec![text.clone()]),
            list => list.as_array()?.iter().map(|text| text.as_str().map(String::from)).collect(),
        })?;
        (!stops.is_empty()).then_some(stops)
    }

    fn bad_words(&mut self) -> Option<Vec<Vec<u32>>> {
        let words = self.read("bad_words_ids", "a list of lists of token ids", |value| {
            value.as_array()?.iter().map(|word| word.as_array().and_then(|_| ids(word))).collect::<Option<Vec<_>>>()
        })?;
        // A list that was only -1.
        Some(words.into_iter().filter(|word| !word.is_empty()).collect())
    }

    /// Pairs of token ids and a number, or an object in which ids in text name the number.
    fn sequence_bias(&mut self) -> Option<Vec<(Vec<u32>, f32)>> {
        let biases = self.read("sequence_bias", "a list of pairs of a list of token ids and a number", |value| {
            let pair = |pair: &Value| Some((ids(pair.get(0)?)?, number(pair.get(1)?)? as f32));
            value.as_array()?.iter().map(pair).collect::<Option<Vec<_>>>()
        })?;
        (!biases.is_empty()).then_some(biases)
    }

    fn decay(&mut self) -> Option<(usize, f32)> {
        self.read("exponential_decay_length_penalty", "a start and a factor", |value| {
            let list = value.as_array().filter(|list| list.len() == 2)?;
            Some((whole(number(&list[0])?)?, number(&list[1])? as f32))
        })
    }
}

/// A finite number, or one in a string.
fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::String(text) => text.trim().parse().ok()?,
        other => other.as_f64()?,
    };
    Some(number).filter(|x: &f64| x.is_finite())
}

fn whole(number: f64) -> Option<usize> {
    (number.fract() == 0.0 && (0.0..=2_147_483_648.0).contains(&number)).then_some(number as usize)
}

fn ids(value: &Value) -> Option<Vec<u32>> {
    let one = |value: &Value| match number(value)? {
        -1.0 => Some(None),
        // At most 2^31.
        id => whole(id).map(|id| Some(id as u32)),
    };
    let found: Option<Vec<Option<u32>>> = match value {
        Value::Array(list) => list.iter().map(one).collect(),
        other => one(other).map(|id| vec![id]),
    };
    Some(found?.into_iter().flatten().collect())
}

impl Defaults {
    pub(crate) fn read(generation: Option<&Config>, model: &Config) -> Self {
        let source = generation.unwrap_or(model);
        let mut r = Reader { source, faults: Vec::new() };
        // Without them an encoder-decoder model cannot generate at all, so for these the other file is asked too.
        let mut beside = Reader { source: model, faults: Vec::new() };
        let mut start = |key| r.first(key).or_else(|| beside.first(key));
        let (start, bos) = (start("decoder_start_token_id"), start("bos_token_id"));
        let forced_bos = match generation.is_none() && r.flag("force_bos_token_to_be_generated").unwrap_or(false) {
            true => r.first("bos_token_id"),
            false => r.first("forced_bos_token_id"),
        };
        let options = GenerateOptions {
            max_new_tokens: r.count("max_new_tokens"),
            min_new_tokens: r.count("min_new_tokens"),
            do_sample: r.flag("do_sample"),
            temperature: r.positive("temperature"),
            top_k: r.count("top_k"),
            top_p: r.positive("top_p"),
            min_p: r.positive("min_p"),
            typical_p: r.positive("typical_p"),
            repetition_penalty: r.positive("repetition_penalty"),
            encoder_repetition_penalty: r.positive("encoder_repetition_penalty"),
            no_repeat_ngram_size: r.count("no_repeat_ngram_size"),
            encoder_no_repeat_ngram_size: r.count("encoder_no_repeat_ngram_size"),
            num_beams: r.count("num_beams"),
            num_return_sequences: r.count("num_return_sequences"),
            length_penalty: r.number("length_penalty"),
            exponential_decay_length_penalty: r.decay(),
            early_stopping: r.early_stopping(),
            stop_strings: r.stop_strings(),
            bad_words_ids: r.bad_words(),
            sequence_bias: r.sequence_bias(),
            suppress_tokens: r.ids("suppress_tokens"),
            begin_suppress_tokens: r.ids("begin_suppress_tokens"),
            forced_bos_token_id: forced_bos,
            forced_eos_token_id: r.ids("forced_eos_token_id"),
            eos_token_id: r.ids("eos_token_id"),
            decoder_start_token_id: start.or(bos),
            prompt_lookup_num_tokens: r.count("prompt_lookup_num_tokens"),
            max_matching_ngram_size: r.count("max_matching_ngram_size"),
            ..GenerateOptions::default()
        };
        let (max_length, min_length) = (r.count("max_length"), r.count("min_length").unwrap_or(0));
        let renormalize_logits = r.flag("renormalize_logits").unwrap_or(false);
        let is_known = |name: &str| {
            READ.contains(&name) || IRRELEVANT.contains(&name) || REFUSED.iter().any(|(refused, ..)| *refused == name)
        };
        // The fields of config.json are the families' concern.
        let unknown = generation.into_iter().flat_map(|c| c.keys().filter(|key| c.has(key) && !is_known(key)));
        Self {
            options,
            max_length: max_length.filter(|&length| length > 0),
            min_length,
            renormalize_logits,
            refused: refused(source),
            unknown: unknown.map(String::from).collect(),
            faults: r.faults,
        }
    }

    /// Tokens that end a text.
    pub(crate) fn eos(&self) -> &[u32] {
        self.options.eos_token_id.as_deref().unwrap_or_default()
    }

    /// # Errors
    /// `InvalidFile`: a field whose value cannot be used and that the caller does not set. `Unsupported`: a field that asks for what is
    /// not supported in this way of decoding.
    pub(super) fn check(&self, caller: &GenerateOptions, do_sample: bool, num_beams: usize) -> Result<()> {
        if let Some((_, fault)) = self.faults.iter().find(|(name, _)| !is_set(caller, name)) {
            return Err(fault.clone());
        }
        let counts = |place: &Where| match place {
            Always => true,
            Beams => num_beams > 1,
            Greedy => num_beams == 1 && !do_sample,
            Sampling => do_sample,
        };
        match self.refused.iter().find(|(_, place, _)| counts(place)) {
            Some((.., error)) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// Names of fields that a generation will refuse, in some way of decoding.
    pub fn refused(&self) -> Vec<&'static str> {
        self.refused.iter().map(|(name, ..)| *name).chain(self.faults.iter().map(|(name, _)| *name)).collect()
    }
}

/// Whether the caller sets an option, by its name.
fn is_set(options: &GenerateOptions, name: &str) -> bool {
    match name {
        "max_new_tokens" | "max_length" => options.max_new_tokens.is_some(),
        "min_new_tokens" | "min_length" => options.min_new_tokens.is_some(),
        "do_sample" => options.do_sample.is_some(),
        "temperature" => options.temperature.is_some(),
        "top_k" => options.top_k.is_some(),
        "top_p" => options.top_p.is_some(),
        "min_p" => options.min_p.is_some(),
        "typical_p" => options.typical_p.is_some(),
        "repetition_penalty" => options.repetition_penalty.is_some(),
        "encoder_repetition_penalty" => options.encoder_repetition_penalty.is_some(),
        "no_repeat_ngram_size" => options.no_repeat_ngram_size.is_some(),
        "encoder_no_repeat_ngram_size" => options.encoder_no_repeat_ngram_size.is_some(),
        "num_beams" => options.num_beams.is_some(),
        "num_return_sequences" => options.num_return_sequences.is_some(),
        "length_penalty" => options.length_penalty.is_some(),
        "exponential_decay_length_penalty" => options.exponential_decay_length_penalty.is_some(),
        "early_stopping" => options.early_stopping.is_some(),
        "stop_strings" => options.stop_strings.is_some(),
        "bad_words_ids" => options.bad_words_ids.is_some(),
        "sequence_bias" => options.sequence_bias.is_some(),
        "suppress_tokens" => options.suppress_tokens.is_some(),
        "begin_suppress_tokens" => options.begin_suppress_tokens.is_some(),
        "forced_bos_token_id" => options.forced_bos_token_id.is_some(),
        "forced_eos_token_id" => options.forced_eos_token_id.is_some(),
        "eos_token_id" => options.eos_token_id.is_some(),
        "decoder_start_token_id" | "bos_token_id" => options.decoder_start_token_id.is_some(),
        "prompt_lookup_num_tokens" => options.prompt_lookup_num_tokens.is_some(),
        "max_matching_ngram_size" => options.max_matching_ngram_size.is_some(),
        _ => false,
    }
}

fn refused(source: &Config) -> Vec<(&'static str, Where, Error)> {
    let asks = |&&(name, neutral, _): &&(&'static str, Option<f64>, Where)| {
        source.get(name).is_some_and(|value| {
            let same = match value {
                Value::Bool(yes) => neutral == Some(f64::from(u8::from(*yes))),
                other => number(other).is_some_and(|number| neutral == Some(number) || number == -1.0),
            };
            let empty = value.as_array().is_some_and(Vec::is_empty);
            !same && !empty
        })
    };
    let error = |name: &'static str, place: Where| {
        let way_out = match place {
            Always => "remove it from the file",
            Beams => "set num_beams to 1, or remove it from the file",
            Greedy => "set do_sample or num_beams, or remove it from the file",
            Sampling => "set do_sample to false, or remove it from the file",
        };
        let path = source.path().display();
        Error::unsupported(format!("{path}: field `{name}` asks for what is not supported; {way_out}"))
    };
    REFUSED.iter().filter(asks).map(|&(name, _, place)| (name, place, error(name, place))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::base::error::Status;

    fn config(name: &str, value: Value) -> Config {
        Config::from_value(std::path::Path::new(name), value).unwrap()
    }

    fn of(generation: Value) -> Defaults {
        Defaults::read(Some(&config("generation_config.json", generation)), &config("config.json", json!({})))
    }

    #[test]
    fn every_field_of_the_class_is_read_or_refused_or_irrelevant() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/config_fields.json");
        let fields: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let list = |name: &str| fields[name].as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_string());
        for name in list("generation").chain(list("generation_deprecated")) {
            let refused = REFUSED.iter().any(|(refused, ..)| *refused == name);
            let lists = [READ.contains(&&*name), IRRELEVANT.contains(&&*name), refused];
            assert_eq!(lists.iter().filter(|&&is| is).count(), 1, "{name}: {lists:?}");
        }
        assert_eq!(of(json!({"my_note": 1, "top_k": 3, "unset": null})).unknown, ["my_note"]);
    }

    #[test]
    fn fields_that_are_read_count() {
        let plain = format!("{:?}", of(json!({})));
        for name in READ {
            let value = match *name {
                "bad_words_ids" => json!([[3]]),
                "do_sample" | "renormalize_logits" => json!(true),
                "early_stopping" => json!("never"),
                "exponential_decay_length_penalty" => json!([2, 1.5]),
                "sequence_bias" => json!([[[3], 1.5]]),
                "stop_strings" => json!(["x"]),
                // Only in config.json.
                "force_bos_token_to_be_generated" => continue,
                _ => json!(7),
            };
            assert!(format!("{:?}", of(json!({*name: value}))) != plain, "{name}");
            for unset in [json!(null), json!(-1)] {
                let whatever = ["do_sample", "early_stopping", "exponential_decay_length_penalty", "length_penalty"];
                let lists = ["renormalize_logits", "sequence_bias", "stop_strings", "bad_words_ids"];
                if unset.is_null() || !whatever.contains(name) && !lists.contains(name) {
                    assert!(format!("{:?}", of(json!({*name: unset}))) == plain, "{name} {unset}");
                }
            }
        }
    }

    #[test]
    fn numbers_in_strings_are_numbers() {
        let d = of(
            json!({"temperature": "0.6", "top_k": "20", "eos_token_id": ["7", -1, 8], "do_sample": "True", "max_length": 96.0}),
        );
        assert_eq!((d.options.temperature, d.options.top_k, d.options.do_sample), (Some(0.6), Some(20), Some(true)));
        assert_eq!((d.options.eos_token_id, d.max_length), (Some(vec![7, 8]), Some(96)));
        assert!(d.faults.is_empty());
    }

    #[test]
    fn values_that_cannot_be_used_are_errors_of_the_generation_that_uses_them() {
        for (value, name) in [
            (json!({"num_beams": "many"}), "num_beams"),
            (json!({"temperature": -2.0}), "temperature"),
            (json!({"eos_token_id": "</s>"}), "eos_token_id"),
            (json!({"early_stopping": 3}), "early_stopping"),
            (json!({"bad_words_ids": [3]}), "bad_words_ids"),
            (json!({"exponential_decay_length_penalty": [1]}), "exponential_decay_length_penalty"),
            (json!({"sequence_bias": {"3": 1.0}}), "sequence_bias"),
            (json!({"max_new_tokens": 1.5}), "max_new_tokens"),
        ] {
            let defaults = of(value);
            let error = GenerateOptions::default().settle(&defaults, 100).unwrap_err();
            assert_eq!(error.status(), Status::InvalidFile);
            assert!(error.message().contains(&format!("generation_config.json: field `{name}`")), "{error}");
        }
        let mine = GenerateOptions { num_beams: Some(2), ..GenerateOptions::default() };
        assert_eq!(mine.settle(&of(json!({"num_beams": "many"})), 100).unwrap().num_beams, 2);
    }

    #[test]
    fn what_is_not_supported_is_refused_where_it_would_count() {
        let o = GenerateOptions::default;
        let beams = || GenerateOptions { num_beams: Some(4), ..o() };
        let sampled = || GenerateOptions { do_sample: Some(true), ..o() };
        for (name, value, refused, allowed) in [
            ("num_beam_groups", json!(2), beams(), Some(o())),
            ("diversity_penalty", json!(0.5), beams(), Some(sampled())),
            ("penalty_alpha", json!(0.6), o(), Some(beams())),
            ("epsilon_cutoff", json!(0.1), sampled(), Some(o())),
            ("top_h", json!(0.4), sampled(), Some(beams())),
            ("guidance_scale", json!(1.5), o(), None),
            ("watermarking_config", json!({}), o(), None),
            ("token_healing", json!(true), o(), None),
            ("force_words_ids", json!([[3]]), beams(), None),
        ] {
            let defaults = of(json!({name: value}));
            assert_eq!(defaults.refused(), [name]);
            let error = refused.settle(&defaults, 100).unwrap_err();
            assert!(error.status() == Status::Unsupported && error.message().contains(&format!("`{name}`")), "{error}");
            if let Some(allowed) = allowed {
                assert!(allowed.settle(&defaults, 100).is_ok(), "{name}");
            }
        }
        for neutral in [
            json!({"num_beam_groups": 1, "diversity_penalty": 0.0, "guidance_scale": null, "token_healing": false}),
            json!({
                "penalty_alpha": 0, "max_time": null, "constraints": [], "num_beam_groups": -1
            }),
        ] {
            assert!(of(neutral.clone()).refused().is_empty(), "{neutral}");
        }
    }

    #[test]
    fn config_json_counts_only_alone() {
        let model = config(
            "config.json",
            json!({
                "eos_token_id": 1, "num_beams": 4, "forced_eos_token_id": 2, "decoder_start_token_id": 9, "bos_token_id": 6,
                "force_bos_token_to_be_generated": true
            }),
        );
        let alone = Defaults::read(None, &model).options;
        assert_eq!((alone.eos_token_id, alone.num_beams, alone.forced_bos_token_id), (Some(vec![1]), Some(4), Some(6)));
        let beside = Defaults::read(Some(&config("generation_config.json", json!({}))), &model).options;
        assert_eq!((beside.eos_token_id, beside.num_beams, beside.forced_eos_token_id), (None, None, None));
        assert_eq!((beside.forced_bos_token_id, beside.decoder_start_token_id), (None, Some(9)));
    }
}
