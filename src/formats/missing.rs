//! The errors for a folder that is not a model: what was found in it, what is missing, and what helps.

use std::path::Path;

use super::json::{CONFIG_LIMIT, read_if_exists};
use super::{hub_cache, quoted, shortened};
use crate::base::error::{Error, Status};

/// The maximum number of files that an error lists.
const LISTED: usize = 8;

const MERGE: &str = "merge it into its model and pass that: python -c \"from peft import AutoPeftModel; \
                     AutoPeftModel.from_pretrained('ADAPTER').merge_and_unload().save_pretrained('MODEL')\"";

/// What an adapter's configuration says of it.
fn adapter(folder: &Path) -> String {
    let config = read_if_exists(&folder.join("adapter_config.json"), CONFIG_LIMIT).ok().flatten();
    let text = |key: &str| config.as_ref().and_then(|config| config[key].as_str());
    let base = text("base_model_name_or_path").map_or_else(String::new, |base| format!(" for {}", quoted(base)));
    format!(
        "an adapter ({}adapter_config.json){base}",
        text("peft_type").map_or(String::new(), |kind| shortened(kind) + ", ")
    )
}

/// The names in a folder, sorted; folders end in a slash.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| {
            let is_folder = entry.path().is_dir();
            format!("{}{}", entry.file_name().to_string_lossy(), if is_folder { "/" } else { "" })
        })
        .collect();
    names.sort();
    names
}

fn list(names: &[String]) -> String {
    let mut text = names.iter().take(LISTED).map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
    if names.len() > LISTED {
        text += &format!(" and {} more", names.len() - LISTED);
    }
    text
}

/// A folder without `config.json`, and without anything else that is a model.
pub fn config(folder: &Path) -> Error {
    let names = names(folder);
    let has = |name: &str| names.iter().any(|other| other == name);
    let what = if has("adapter_config.json") {
        format!("this is {}, which has no model of its own; {MERGE}", adapter(folder))
    } else if has("snapshots/") {
        let first = |names: Vec<String>| folder.join("snapshots").join(names.first().map_or("", |name| name));
        let example = hub_cache::snapshot(folder).unwrap_or_else(first);
        format!(
            "this is the top of a cache of the Hugging Face hub; pass the folder in snapshots/: {}",
            example.display()
        )
    } else if let Some(inner) =
        names.iter().find(|name| name.ends_with('/') && folder.join(name).join("config.json").exists())
    {
        let path = folder.join(inner.trim_end_matches('/'));
        format!(
            "there is no config.json here, but one in {}; pass {}, or download modules.json too if this is a model of sentence-transformers",
            quoted(inner),
            path.display()
        )
    } else if names.is_empty() {
        "the folder is empty; a model is a folder with config.json, tokenizer.json and model.safetensors, a .gguf, .kinglet or .onnx file"
            .to_string()
    } else {
        format!(
            "there is no config.json, only {}; a model is a folder with config.json, tokenizer.json and model.safetensors, a .gguf, .kinglet \
             or .onnx file. To get the missing files: hf download REPOSITORY --local-dir {}",
            list(&names),
            folder.display()
        )
    };
    Error::new(Status::NotFound, format!("{}: {what}", folder.display()))
}

/// A folder with `config.json`, and without weights.
pub fn weights(folder: &Path) -> Error {
    let names = names(folder);
    let shards: Vec<String> = names.iter().filter(|name| is_shard(name)).cloned().collect();
    let with = |end: &str| -> Vec<String> { names.iter().filter(|name| name.ends_with(end)).cloned().collect() };
    let (safetensors, others) = (
        with(".safetensors"),
        [".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".ot"].iter().flat_map(|end| with(end)).collect::<Vec<_>>(),
    );
    let here = folder.display();
    let what = if names.iter().any(|name| name == "adapter_config.json") && !safetensors.is_empty() {
        let adapter = adapter(folder);
        format!("found neither model.safetensors nor model.safetensors.index.json, but {adapter}; {MERGE}")
    } else if !shards.is_empty() {
        let index =
            if shards[0].ends_with(".bin") { "pytorch_model.bin.index.json" } else { "model.safetensors.index.json" };
        format!(
            "found {}, but not {index}, which says where each tensor is: hf download REPOSITORY {index} --local-dir {here}",
            list(&shards)
        )
    } else if !safetensors.is_empty() {
        format!(
            "found neither model.safetensors nor model.safetensors.index.json, only {}; rename it",
            list(&safetensors)
        )
    } else if !others.is_empty() {
        format!(
            "found neither model.safetensors nor pytorch_model.bin, only {}; convert it: python -c \"from transformers import AutoModel; \
             AutoModel.from_pretrained('MODEL').save_pretrained('MODEL')\"",
            list(&others)
        )
    } else {
        format!(
            "found neither model.safetensors nor model.safetensors.index.json; the weights are not here: hf download REPOSITORY --local-dir \
             {here}"
        )
    };
    Error::new(Status::NotFound, format!("{here}: {what}"))
}

/// `model-00001-of-00003.safetensors` and the like.
fn is_shard(name: &str) -> bool {
    let Some((stem, ending)) = name.rsplit_once('.') else { return false };
    let of =
        stem.rsplit_once("-of-").is_some_and(|(_, all)| !all.is_empty() && all.bytes().all(|b| b.is_ascii_digit()));
    of && ["safetensors", "bin"].contains(&ending)
}
