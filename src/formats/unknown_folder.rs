//! What a folder without a model holds instead, and what would help: the message of the error.

use std::path::Path;

use super::json::{CONFIG_LIMIT, read_if_exists};
use super::quoted;
use crate::base::error::{Error, Status};

const ADAPTER: &str = "adapter_config.json";

/// The maximum number of files that a message lists.
const LISTED: usize = 12;

/// The error for a folder without the `file` of a model.
pub fn error(folder: &Path, file: &str) -> Error {
    let found = adapter(folder).or_else(|| hub_cache(folder)).or_else(|| transformer_below(folder));
    let found = found.unwrap_or_else(|| format!("there is no {file}; {}", listing(folder)));
    Error::new(Status::NotFound, format!("{}: {found}", folder.display()))
}

/// What to say of a folder that holds an adapter and no model.
pub fn adapter(folder: &Path) -> Option<String> {
    let config = read_if_exists(&folder.join(ADAPTER), CONFIG_LIMIT).ok()??;
    let text = |key: &str| config[key].as_str();
    let base = text("base_model_name_or_path").map_or("its base model".to_string(), quoted);
    Some(format!(
        "this is an adapter ({}, {ADAPTER}) for {base}, and no model; merge the two with PEFT and load what that writes: \
         PeftModel.from_pretrained(base, adapter).merge_and_unload().save_pretrained(folder)",
        text("peft_type").unwrap_or("PEFT")
    ))
}

/// The top of a model in the cache of huggingface_hub.
fn hub_cache(folder: &Path) -> Option<String> {
    let snapshots = folder.join("snapshots");
    let revisions = names(&snapshots);
    let current = std::fs::read_to_string(folder.join("refs").join("main")).unwrap_or_default();
    let current = revisions.iter().find(|name| *name == current.trim()).or(revisions.first())?;
    Some(format!(
        "this is the top folder of a Hugging Face cache entry; pass the folder of a snapshot: {}",
        snapshots.join(current).display()
    ))
}

/// A folder of sentence-transformers without its modules.json.
fn transformer_below(folder: &Path) -> Option<String> {
    const BELOW: &str = "0_Transformer";
    folder.join(BELOW).join("config.json").is_file().then(|| {
        format!(
            "there is neither config.json nor modules.json, but {BELOW}/config.json; download modules.json too, or pass {} for the \
             transformer alone",
            folder.join(BELOW).display()
        )
    })
}

fn listing(folder: &Path) -> String {
    let mut names: Vec<_> = names(folder).iter().map(|name| quoted(name)).collect();
    let model = "a model is a directory with config.json, tokenizer.json and model.safetensors, a .gguf, .kinglet or .onnx file";
    if names.is_empty() {
        return format!("the folder is empty; {model}");
    }
    let more = names.len().saturating_sub(LISTED);
    names.truncate(LISTED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("found are {}{more}; {model}", names.join(", "))
}

/// The names in a folder, sorted; empty if it cannot be read.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).ok().into_iter().flatten();
    let mut names: Vec<_> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_says_what_lies_there_and_what_helps() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        let message = || error(at, "config.json").message().to_string();
        assert!(message().contains("there is no config.json; the folder is empty"), "{}", message());
        std::fs::write(at.join("README.md"), "").unwrap();
        assert!(message().contains("found are `README.md`"), "{}", message());
        std::fs::create_dir(at.join("0_Transformer")).unwrap();
        std::fs::write(at.join("0_Transformer/config.json"), "{}").unwrap();
        assert!(message().contains("0_Transformer/config.json") && message().contains("modules.json"), "{}", message());
        std::fs::create_dir_all(at.join("snapshots/abc")).unwrap();
        std::fs::create_dir_all(at.join("snapshots/def")).unwrap();
        assert!(message().ends_with("snapshots/abc"), "{}", message());
        std::fs::create_dir(at.join("refs")).unwrap();
        std::fs::write(at.join("refs/main"), "def").unwrap();
        assert!(message().ends_with("snapshots/def"), "{}", message());
        std::fs::write(at.join(ADAPTER), r#"{"peft_type": "LORA", "base_model_name_or_path": "a/b"}"#).unwrap();
        assert!(
            message().contains("LORA") && message().contains("`a/b`") && message().contains("merge"),
            "{}",
            message()
        );
    }
}
