//! `sentence_bert_config.json` and its like: how sentence-transformers' module `Transformer` reads texts.

use serde_json::Value;

use super::cross_encoder::PairTemplate;
use super::sentence_fields::{TRANSFORMER, known};
use crate::base::error::{Error, Result, quoted};
use crate::formats::files::Files;
use crate::formats::json::Config;
use crate::formats::modules::TRANSFORMER_FILES as FILES;

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

/// Arguments of transformers' `apply_chat_template` that are no variables of the template.
const NOT_VARIABLES: [&str; 14] = [
    "chat_template",
    "continue_final_message",
    "documents",
    "load_audio_from_video",
    "max_length",
    "padding",
    "processor_kwargs",
    "return_assistant_tokens_mask",
    "return_dict",
    "return_tensors",
    "tokenize",
    "tokenizer_kwargs",
    "tools",
    "truncation",
];

/// What the file says.
pub struct TransformerModule {
    /// The maximum number of tokens of a text.
    pub max_length: Option<usize>,
    pub do_lower_case: bool,
    /// The file itself, if there is one.
    config: Option<Config>,
}

impl TransformerModule {
    pub fn read(files: &Files) -> Result<Self> {
        for name in FILES {
            if let Some(config) = files.config(name)? {
                let max_length = config.usize_opt("max_seq_length")?.filter(|&n| n > 0);
                let overruling = overruling_length(&config)?;
                return Ok(Self {
                    max_length: overruling.or(max_length),
                    do_lower_case: config.bool_or("do_lower_case", false)?,
                    config: Some(config),
                });
            }
        }
        Ok(Self { max_length: None, do_lower_case: false, config: None })
    }

    pub fn is_found(&self) -> bool {
        self.config.is_some()
    }

    /// Refuses what would change the vectors of a text that is embedded.
    pub fn of_texts(&self) -> Result<()> {
        let Some(config) = &self.config else { return Ok(()) };
        let message = check(config, ("feature-extraction", "token_embeddings"), "last_hidden_state")?;
        match message {
            Some(_) => Err(unsupported(config, MESSAGES)),
            None => Ok(()),
        }
    }

    /// What the module makes of its model, if the file says it.
    pub fn task(&self) -> Result<Option<&str>> {
        self.config.as_ref().map_or(Ok(None), |config| config.str_opt("transformer_task"))
    }

    /// Refuses what would change the logits of a text's tokens.
    pub fn of_logits(&self, expected: (&str, &str)) -> Result<()> {
        let Some(config) = &self.config else { return Ok(()) };
        match check(config, expected, "logits")? {
            Some(_) => Err(unsupported(config, MESSAGES)),
            None => Ok(()),
        }
    }

    /// How pairs are read, by a module whose task and output are `expected`.
    pub fn of_pairs(&self, expected: (&str, &str)) -> Result<Option<PairTemplate>> {
        self.config.as_ref().map_or(Ok(None), |config| check(config, expected, "logits"))
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

/// A field that asks for inputs that are not honoured.
const MESSAGES: &str = "modality_config with inputs other than plain text";

fn unsupported(config: &Config, what: &str) -> Error {
    Error::unsupported(format!("{}: {what} is not supported", config.path().display()))
}

/// Refuses what would change a text's tokens or what is read of it. `of_model` is the output of transformers' model. Returns how chats
/// are rendered, if the module makes chats of its texts.
fn check(config: &Config, (task, output): (&str, &str), of_model: &str) -> Result<Option<PairTemplate>> {
    let refuse = |what: &str| Err(unsupported(config, what));
    known(config, TRANSFORMER)?;
    let found = config.str_or("transformer_task", task)?;
    if found != task {
        return refuse(&format!("transformer_task {}", quoted(found)));
    }
    let found = config.str_or("module_output_name", output)?;
    if found != output {
        return refuse(&format!("module_output_name {}", quoted(found)));
    }
    let mut structured = None;
    if let Some(modalities) = config.section("modality_config")? {
        for kind in modalities.keys().filter(|kind| modalities.has(kind)) {
            let Some(section) = modalities.section(kind)? else { continue };
            if !matches!(kind, "text" | "message") {
                // Pictures and sounds cannot be passed.
                continue;
            }
            known(&section, &["method", "method_output_name", "format"])?;
            let field = |name: &str| section.get(name).and_then(Value::as_str);
            if (field("method"), field("method_output_name")) != (Some("forward"), Some(of_model)) {
                return refuse(MESSAGES);
            }
            if kind == "message" {
                structured = match field("format") {
                    Some("flat") => Some(false),
                    Some("structured") => Some(true),
                    _ => return refuse("modality_config.message without a format, flat or structured,"),
                };
            }
        }
        if structured.is_none() && !modalities.has("text") {
            return refuse(MESSAGES);
        }
    }
    for name in ["tokenizer_args", "processor_kwargs", "model_args", "model_kwargs", "config_args", "config_kwargs"] {
        let Some(section) = config.section(name)? else { continue };
        let mut keys = section.keys().filter(|key| section.has(key));
        let unknown = keys.find(|key| !HARMLESS.contains(key) && *key != "model_max_length");
        if let Some(key) = unknown {
            return refuse(&format!("{name}.{}", quoted(key)));
        }
    }
    let mut template =
        structured.map(|structured| PairTemplate { structured, variables: Default::default(), restore_suffix: true });
    let Some(processing) = config.section("processing_kwargs")? else { return Ok(template) };
    for key in processing.keys().filter(|key| processing.has(key)) {
        if key != "text" && (key != "chat_template" || template.is_none()) {
            return refuse(&format!("processing_kwargs.{}", quoted(key)));
        }
    }
    if let Some(text) = processing.section("text")? {
        for key in text.keys().filter(|key| text.has(key)) {
            let honoured = match key {
                "max_length" | "padding" => true,
                // Only the last one is read.
                "logits_to_keep" => of_model == "logits",
                "truncation" => text.get(key).is_some_and(|v| v == true || v == "longest_first"),
                _ => false,
            };
            if !honoured {
                return refuse(&format!("processing_kwargs.text.{}", quoted(key)));
            }
        }
    }
    if let (Some(template), Some(chat)) = (&mut template, processing.section("chat_template")?) {
        template.restore_suffix = chat.bool_or("restore_suffix", true)?;
        for key in chat.keys().filter(|key| *key != "restore_suffix") {
            let value = chat.get(key).cloned().unwrap_or_default();
            if !NOT_VARIABLES.contains(&key) {
                template.variables.insert(key.to_string(), value);
            } else if !value.is_null() && value != Value::Bool(false) {
                return refuse(&format!("processing_kwargs.chat_template.{}", quoted(key)));
            }
        }
    }
    Ok(template)
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
            assert!(found.is_found() && found.do_lower_case && found.of_texts().is_ok(), "{name}");
            assert_eq!(found.max_length, Some(24), "{name}");
        }
        let other =
            json!({ "max_seq_length": 24, "processing_kwargs": { "text": { "max_length": 12, "truncation": true } } });
        let found = read(FILES[0], other);
        assert!(found.max_length == Some(12) && found.of_texts().is_ok());
        assert!(!read("other.json", json!({})).is_found());
    }

    #[test]
    fn what_is_not_honoured_is_named() {
        let plain = json!({ "method": "forward", "method_output_name": "last_hidden_state" });
        let fine = json!({ "transformer_task": "feature-extraction", "module_output_name": "token_embeddings",
            "modality_config": { "text": plain }, "unpad_inputs": null, "model_args": { "dtype": "float16" } });
        assert!(read(FILES[0], fine).of_texts().is_ok());
        for (wrong, name) in [
            (json!({ "transformer_task": "fill-mask" }), "transformer_task"),
            (json!({ "module_output_name": "sentence_embedding" }), "module_output_name"),
            (json!({ "modality_config": { "text": plain, "message": plain } }), "modality_config"),
            (
                json!({ "modality_config": { "text": plain, "message": { "method": "forward",
                    "method_output_name": "last_hidden_state", "format": "flat" } } }),
                "modality_config",
            ),
            (json!({ "tokenizer_args": { "add_eos_token": true } }), "tokenizer_args.`add_eos_token`"),
            (json!({ "processing_kwargs": { "text": { "stride": 1 } } }), "processing_kwargs.text.`stride`"),
            (json!({ "processing_kwargs": { "chat_template": {} } }), "processing_kwargs.`chat_template`"),
            (json!({ "query_length": 32 }), "query_length"),
        ] {
            let error = read(FILES[0], wrong).of_texts().unwrap_err();
            assert!(error.message().contains(name), "{error}");
        }
    }
}
