//! `sentence_bert_config.json` and its like: how sentence-transformers' module `Transformer` reads texts.

use serde_json::Value;

use super::sentence_transformers::known;
use crate::base::error::{Error, Result, quoted};
use crate::formats::files::Files;
use crate::formats::json::Config;

/// The names that the file has had, in the order of sentence-transformers. `formats::packed` keeps them.
const FILES: [&str; 7] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

/// Arguments for loading that decide how something is computed, and not what.
const HARMLESS: [&str; 8] = [
    "attn_implementation",
    "torch_dtype",
    "dtype",
    "trust_remote_code",
    "use_fast",
    "padding_side",
    "add_pooling_layer",
    "device_map",
];

/// What the file says.
pub struct TransformerModule {
    pub found: bool,
    /// The maximum number of tokens of a text.
    pub max_length: Option<usize>,
    pub do_lower_case: bool,
    /// What is not honoured.
    pub refused: Result<()>,
}

impl TransformerModule {
    pub fn read(files: &Files) -> Result<Self> {
        for name in FILES {
            if let Some(config) = files.config(name)? {
                let max_length = config.usize_opt("max_seq_length")?.filter(|&n| n > 0);
                let overruling = overruling_length(&config)?;
                return Ok(Self {
                    found: true,
                    max_length: overruling.or(max_length),
                    do_lower_case: config.bool_or("do_lower_case", false)?,
                    refused: check(&config),
                });
            }
        }
        Ok(Self { found: false, max_length: None, do_lower_case: false, refused: Ok(()) })
    }
}

/// The two fields that say more than `max_seq_length`.
fn overruling_length(config: &Config) -> Result<Option<usize>> {
    let inner = |outer: &str, inner: &str| match config.section(outer)? {
        Some(section) => section.section(inner),
        None => Ok(None),
    };
    if let Some(text) = inner("processing_kwargs", "text")?
        && let Some(length) = text.usize_opt("max_length")?
    {
        return Ok(Some(length));
    }
    for name in ["processor_kwargs", "tokenizer_args"] {
        if let Some(section) = config.section(name)?
            && let Some(length) = section.usize_opt("model_max_length")?
        {
            return Ok(Some(length));
        }
    }
    Ok(None)
}

/// Refuses what would change a text's tokens or the vectors that are read of it.
fn check(config: &Config) -> Result<()> {
    let refuse =
        |what: String| Err(Error::unsupported(format!("{}: {what} is not supported", config.path().display())));
    let names = ["max_seq_length", "do_lower_case", "transformer_task", "modality_config", "module_output_name"];
    let more =
        ["unpad_inputs", "processing_kwargs", "tokenizer_args", "processor_kwargs", "model_args", "model_kwargs"];
    known(config, &[&names[..], &more, &["config_args", "config_kwargs"]].concat())?;
    let task = config.str_or("transformer_task", "feature-extraction")?;
    if task != "feature-extraction" {
        return refuse(format!("transformer_task {}", quoted(task)));
    }
    let output = config.str_or("module_output_name", "token_embeddings")?;
    if output != "token_embeddings" {
        return refuse(format!("module_output_name {}", quoted(output)));
    }
    if let Some(modalities) = config.section("modality_config")? {
        let text = modalities.section("text")?;
        let field = |name: &str| text.as_ref().and_then(|text| text.get(name)).and_then(Value::as_str);
        let plain = (field("method"), field("method_output_name")) == (Some("forward"), Some("last_hidden_state"));
        if !plain || modalities.has("message") {
            return refuse("modality_config with other texts than those that the model reads plainly".into());
        }
    }
    for name in ["tokenizer_args", "processor_kwargs", "model_args", "model_kwargs", "config_args", "config_kwargs"] {
        let Some(section) = config.section(name)? else { continue };
        let unknown = section.keys().find(|key| !HARMLESS.contains(key) && *key != "model_max_length");
        if let Some(key) = unknown {
            return refuse(format!("{name}.{}", quoted(key)));
        }
    }
    let Some(processing) = config.section("processing_kwargs")? else { return Ok(()) };
    for key in processing.keys().filter(|key| processing.has(key)) {
        if key != "text" {
            return refuse(format!("processing_kwargs.{}", quoted(key)));
        }
    }
    let Some(text) = processing.section("text")? else { return Ok(()) };
    for key in text.keys().filter(|key| text.has(key)) {
        let honoured = match key {
            "max_length" | "padding" => true,
            "truncation" => text.get(key).is_some_and(|v| v == true || v == "longest_first"),
            _ => false,
        };
        if !honoured {
            return refuse(format!("processing_kwargs.text.{}", quoted(key)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use serde_json::json;

    use super::*;

    fn read(name: &str, value: Value) -> TransformerModule {
        let files = BTreeMap::from([(name.to_string(), value.to_string().into_bytes())]);
        TransformerModule::read(&Files::inside(Path::new("m"), files)).unwrap()
    }

    #[test]
    fn the_length_is_found_under_every_name_of_the_file() {
        for name in FILES {
            let found = read(name, json!({ "max_seq_length": 24, "do_lower_case": true }));
            assert!(found.found && found.do_lower_case && found.refused.is_ok(), "{name}");
            assert_eq!(found.max_length, Some(24), "{name}");
        }
        let other =
            json!({ "max_seq_length": 24, "processing_kwargs": { "text": { "max_length": 12, "truncation": true } } });
        let found = read(FILES[0], other);
        assert!(found.max_length == Some(12) && found.refused.is_ok());
        assert!(!read("other.json", json!({})).found);
    }

    #[test]
    fn what_is_not_honoured_is_named() {
        let plain = json!({ "method": "forward", "method_output_name": "last_hidden_state" });
        let fine = json!({ "transformer_task": "feature-extraction", "module_output_name": "token_embeddings",
            "modality_config": { "text": plain }, "unpad_inputs": null, "model_args": { "dtype": "float16" } });
        assert!(read(FILES[0], fine).refused.is_ok());
        for (wrong, name) in [
            (json!({ "transformer_task": "fill-mask" }), "transformer_task"),
            (json!({ "module_output_name": "sentence_embedding" }), "module_output_name"),
            (json!({ "modality_config": { "text": plain, "message": plain } }), "modality_config"),
            (json!({ "tokenizer_args": { "add_eos_token": true } }), "tokenizer_args.`add_eos_token`"),
            (json!({ "processing_kwargs": { "text": { "stride": 1 } } }), "processing_kwargs.text.`stride`"),
            (json!({ "processing_kwargs": { "chat_template": {} } }), "processing_kwargs.`chat_template`"),
            (json!({ "query_length": 32 }), "query_length"),
        ] {
            let error = read(FILES[0], wrong).refused.unwrap_err();
            assert!(error.message().contains(name), "{error}");
        }
    }
}
