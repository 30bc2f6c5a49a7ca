//! The fields of sentence-transformers' files: those that are read, or refused where they say something that is not honoured, and those
//! that do not matter to inference. The tests compare the lists with the classes of sentence-transformers
//! (`tests/fixtures/sentence_fields.json`).

use serde_json::Value;

use crate::base::error::{Error, Result, quoted};
use crate::formats::json::Config;
use crate::formats::modules;

/// Of a module `Pooling`; the flags are those of versions before 6.
pub(super) const POOLING: &[&str] = &[
    "embedding_dimension",
    "include_prompt",
    "pooling_mode",
    "pooling_mode_cls_token",
    "pooling_mode_lasttoken",
    "pooling_mode_max_tokens",
    "pooling_mode_mean_sqrt_len_tokens",
    "pooling_mode_mean_tokens",
    "pooling_mode_weightedmean_tokens",
    "word_embedding_dimension",
];

pub(super) const DENSE: &[&str] = &[
    "activation_function",
    "bias",
    "in_features",
    "module_input_name",
    "module_output_name",
    "out_features",
    "use_residual",
];

pub(super) const LAYER_NORM: &[&str] = &["dimension"];

pub(super) const NORMALIZE: &[&str] = &["module_input_name", "module_output_name"];

pub(super) const SPLADE_POOLING: &[&str] =
    &["activation_function", "embedding_dimension", "pooling_strategy", "word_embedding_dimension"];

pub(super) const LOGIT_SCORE: &[&str] = &["false_token_id", "module_input_name", "true_token_id"];

/// Of `sentence_bert_config.json` and its like; the names that end in `_args` are those of older versions.
pub(super) const TRANSFORMER: &[&str] = &[
    "config_args",
    "config_kwargs",
    "do_lower_case",
    "max_seq_length",
    "modality_config",
    "model_args",
    "model_kwargs",
    "module_output_name",
    "processing_kwargs",
    "processor_kwargs",
    "tokenizer_args",
    "transformer_task",
    // How it is computed.
    "unpad_inputs",
];

/// Of `config_sentence_transformers.json`, read.
const WHOLE: &[&str] = &[
    "activation_fn",
    "default_prompt_name",
    "max_active_dims",
    "model_type",
    "prompts",
    "similarity_fn_name",
    "truncate_dim",
];

/// Fields of `config_sentence_transformers.json` that do not change results: versions, and modules to keep in f32.
const WHOLE_IRRELEVANT: &[&str] = &["__version__", "keep_in_fp32_modules"];

/// Of the entries of `modules.json`; `kwargs` are names of arguments of calls, of which there are none here.
const ENTRY: &[&str] = &["idx", "kwargs", "name", "path", "type"];

/// Refuses fields that nobody reads.
pub(super) fn known(config: &Config, names: &[&str]) -> Result<()> {
    match config.keys().find(|key| config.has(key) && !names.contains(key)) {
        None => Ok(()),
        Some(key) => {
            Err(Error::unsupported(format!("{}: field {} is not supported", config.path().display(), quoted(key))))
        }
    }
}

/// The fields of `config_sentence_transformers.json` and `modules.json` that are not known. They are not an error: a file may hold
/// custom fields.
pub(super) fn unknown(whole: Option<&Config>, modules: Option<&Value>) -> Vec<String> {
    let whole = whole.into_iter().flat_map(|config| config.keys().filter(|key| config.has(key)));
    let whole = whole.filter(|key| !WHOLE.contains(key) && !WHOLE_IRRELEVANT.contains(key));
    let entries = modules.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object);
    let entries = entries.flatten().map(|(key, _)| key.as_str()).filter(|key| !ENTRY.contains(key));
    let mut found: Vec<String> = whole.map(|key| format!("{key} (config_sentence_transformers.json)")).collect();
    found.extend(entries.map(|key| format!("{key} ({})", modules::FILE)));
    found
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::formats::files::Files;

    /// Fields that only those models have that are refused by their `model_type`, their task or their module.
    const REFUSED: &[&str] = &["document_length", "query_expansion", "query_length"];

    #[test]
    fn every_field_of_the_classes_is_read_or_refused_or_irrelevant() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/sentence_fields.json");
        let classes: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let files = classes["files"].as_object().unwrap();
        for (kind, lists) in [
            ("Pooling", &[POOLING][..]),
            ("Dense", &[DENSE]),
            ("LayerNorm", &[LAYER_NORM]),
            ("Normalize", &[NORMALIZE]),
            ("LogitScore", &[LOGIT_SCORE]),
            ("SpladePooling", &[SPLADE_POOLING]),
            ("Transformer", &[TRANSFORMER, REFUSED]),
            ("config_sentence_transformers.json", &[WHOLE, WHOLE_IRRELEVANT]),
            ("modules.json", &[ENTRY]),
        ] {
            let fields = files[kind].as_array().unwrap();
            assert!(!fields.is_empty());
            for name in fields.iter().map(|name| name.as_str().unwrap()) {
                let count = lists.iter().filter(|list| list.contains(&name)).count();
                assert_eq!(count, 1, "{kind}: {name}; make_sentence_fields.py has it from sentence-transformers");
            }
        }
        // A Dropout does nothing here, whatever it says.
        assert_eq!(files.len(), 10, "{:?}", files.keys());
        for name in REFUSED {
            let config = Config::from_value(Path::new("sentence_bert_config.json"), json!({ *name: 3 })).unwrap();
            assert!(known(&config, TRANSFORMER).unwrap_err().message().contains(name));
        }
    }

    #[test]
    fn what_is_not_known_is_told_by_its_file() {
        let list = [
            ("modules.json", json!([{ "type": "sentence_transformers.models.Transformer", "path": "", "hue": 1 }])),
            ("config_sentence_transformers.json", json!({ "prompts": {}, "shade": 2, "unset": null })),
        ];
        let list = list.map(|(name, value)| (name.to_string(), value.to_string().into_bytes()));
        let files = Files::inside(Path::new("m"), list.into_iter().collect());
        let model = Config::from_value(Path::new("m/config.json"), json!({})).unwrap();
        let read = super::super::sentence_transformers(&files, &model, 4).unwrap();
        assert_eq!(read.unknown, ["shade (config_sentence_transformers.json)", "hue (modules.json)"]);
    }
}
