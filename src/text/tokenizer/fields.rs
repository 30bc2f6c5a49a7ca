//! What is done with each field of `tokenizer_config.json`: it is read, it is refused, or it does not matter to inference. The tests compare
//! the lists with the fields of transformers' classes (`tests/fixtures/config_fields.json`). And what the class of a tokenizer makes of
//! `tokenizer.json`: transformers 5 builds a few classes anew, with the fields of this file instead of those of that one.

use tokenizers::Tokenizer as HfTokenizer;
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;

use crate::base::error::{Error, Result};
use crate::formats::json::Config;
use crate::formats::quoted;

/// Fields that are read.
const READ: &[&str] = &[
    // Only with vocabulary files instead of tokenizer.json, as in transformers.
    "add_bos_token",
    "add_eos_token",
    "extra_ids",
    "legacy",
    "separate_vocabs",
    "trim_offsets",
    // By some classes.
    "add_prefix_space",
    "do_lower_case",
    "strip_accents",
    "tokenize_chinese_chars",
    // By all.
    "added_tokens_decoder",
    "additional_special_tokens",
    "bos_token",
    "chat_template",
    "clean_up_tokenization_spaces",
    "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output",
    "cls_token",
    "eos_token",
    "extra_special_tokens",
    "mask_token",
    "max_len",
    "model_input_names",
    "model_max_length",
    "model_specific_special_tokens",
    "pad_token",
    "sep_token",
    "split_special_tokens",
    "tokenizer_class",
    "truncation_side",
    "unk_token",
];

/// Fields that would change tokens, refused when they are true.
const REFUSED: &[&str] = &["fix_mistral_regex"];

/// Fields that do not change the tokens of a text, or that are no fields of the file but what transformers passes beside them.
const IRRELEVANT: &[&str] = &[
    // The padding and truncation of other programs. A call decides here.
    "max_length",
    "pad_to_multiple_of",
    "pad_token_type_id",
    "padding",
    "padding_side",
    "stride",
    "truncation",
    "truncation_strategy",
    // What wrote the file, and where it was.
    "added_tokens_file",
    "auto_map",
    "backend",
    "device_map",
    "is_local",
    "name_or_path",
    "processor_class",
    "special_tokens_map_file",
    "tokenizer_file",
    "trust_remote_code",
    "use_fast",
    "verbose",
    "vocab_file",
    // Of answers that other programs parse, and of tokenizers that are not those of the `tokenizers` library.
    "chat_control_tokens",
    "do_basic_tokenize",
    "errors",
    "never_split",
    "response_schema",
    "response_template",
    "sp_model_kwargs",
    "spaces_between_special_tokens",
    "use_default_system_prompt",
    // Arguments that never are in the file.
    "_json_padding",
    "_json_truncation",
    "_spm_precompiled_charsmap",
    "files_loaded",
    "gguf_file",
    "init_inputs",
    "merges",
    "post_processor",
    "tokenizer",
    "tokenizer_object",
    "tokenizer_padding",
    "tokenizer_truncation",
    "unk_id",
    "vocab",
];

/// Refuses fields that would change tokens.
pub(super) fn check(config: &Config) -> Result<()> {
    for &name in REFUSED {
        if config.bool_opt(name)? == Some(true) {
            let path = config.path().display();
            return Err(Error::unsupported(format!("{path}: field `{name}` is true, which is not supported")));
        }
    }
    match config.str_opt("truncation_side")? {
        None | Some("left" | "right") => Ok(()),
        Some(side) => Err(config.invalid("truncation_side", format!("is {}; expected left or right", quoted(side)))),
    }
}

/// The fields that are not known and not used, with the file's name.
pub(super) fn unknown(config: &Config) -> Vec<String> {
    let known = |name: &str| {
        name.ends_with("_token")
            || name.starts_with('_')
            || [READ, REFUSED, IRRELEVANT].iter().any(|list| list.contains(&name))
    };
    let unknown = config.keys().filter(|name| config.has(name) && !known(name));
    unknown.map(|name| format!("{name} (tokenizer_config.json)")).collect()
}

/// The classes whose normaliser is made of the fields.
const BERT: &[&str] = &["Bert", "DistilBert", "Electra", "MPNet"];
/// The classes whose pre-tokeniser is made of the field.
const BYTE_LEVEL: &[&str] = &["Roberta", "Bart", "GPT2"];

/// Gives a tokenizer the settings of its class: those of the fields, or if `is_named` (the file names the class) the class's defaults.
pub(super) fn apply(tokenizer: &mut HfTokenizer, config: &Config, class: &str, is_named: bool) -> Result<()> {
    let or = |name: &str, default: bool| Ok::<_, Error>(config.bool_opt(name)?.or(is_named.then_some(default)));
    if BERT.contains(&class)
        && let Some(NormalizerWrapper::BertNormalizer(mut normalizer)) = tokenizer.get_normalizer().cloned()
    {
        normalizer.lowercase = or("do_lower_case", true)?.unwrap_or(normalizer.lowercase);
        normalizer.handle_chinese_chars =
            or("tokenize_chinese_chars", true)?.unwrap_or(normalizer.handle_chinese_chars);
        if is_named || config.contains("strip_accents") {
            normalizer.strip_accents = config.bool_opt("strip_accents")?;
        }
        tokenizer.with_normalizer(Some(normalizer)).map_err(|e| Error::invalid_file(config.path(), e))?;
    }
    if BYTE_LEVEL.contains(&class)
        && let Some(PreTokenizerWrapper::ByteLevel(mut bytes)) = tokenizer.get_pre_tokenizer().cloned()
        && let Some(prefix) = or("add_prefix_space", false)?
    {
        bytes.add_prefix_space = prefix;
        tokenizer.with_pre_tokenizer(Some(bytes));
    }
    Ok(())
}

/// `model_max_length`, or `max_len` as older files call it. Transformers writes an unset one as 1e30.
pub(super) fn max_length(config: &Config) -> Option<usize> {
    let value = config.get("model_max_length").or_else(|| config.get("max_len"))?;
    // Some exporters write numbers as strings.
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
    number.filter(|n| (1.0..1e9).contains(n)).map(|n| n as usize)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};

    use super::*;

    fn config(value: Value) -> Config {
        Config::from_value(Path::new("tokenizer_config.json"), value).unwrap()
    }

    #[test]
    fn every_field_of_the_classes_is_read_or_refused_or_irrelevant() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/config_fields.json");
        let fields: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let fields = fields["tokenizer"].as_array().unwrap();
        assert!(fields.len() > 40, "{}", fields.len());
        for name in fields.iter().map(|name| name.as_str().unwrap()) {
            let lists = [READ, REFUSED, IRRELEVANT].map(|list| list.contains(&name));
            assert_eq!(lists.iter().filter(|&&is| is).count(), 1, "{name}: {lists:?}");
        }
    }

    #[test]
    fn unknown_fields_are_told_and_those_that_change_tokens_refused() {
        let found = config(json!({ "my_note": 1, "unset": null, "video_token": "<v>", "padding_side": "left" }));
        assert_eq!(unknown(&found), ["my_note (tokenizer_config.json)"]);
        assert!(check(&config(json!({ "fix_mistral_regex": false }))).is_ok());
        let error = check(&config(json!({ "fix_mistral_regex": true }))).unwrap_err();
        assert!(error.message().contains("`fix_mistral_regex`"), "{error}");
    }

    #[test]
    fn the_older_name_of_the_limit_counts_alone() {
        assert_eq!(max_length(&config(json!({ "max_len": 77 }))), Some(77));
        assert_eq!(max_length(&config(json!({ "max_len": 77, "model_max_length": 55 }))), Some(55));
        assert_eq!(max_length(&config(json!({ "model_max_length": 1e30 }))), None);
        assert_eq!(max_length(&config(json!({ "model_max_length": "512" }))), Some(512));
        assert_eq!(max_length(&config(json!({ "model_max_length": -1 }))), None);
    }

    #[test]
    fn a_side_that_there_is_not_is_refused() {
        assert!(check(&config(json!({ "truncation_side": "left" }))).is_ok());
        let error = check(&config(json!({ "truncation_side": "middle" }))).unwrap_err();
        assert!(error.message().contains("`truncation_side` is `middle`"), "{error}");
    }
}
