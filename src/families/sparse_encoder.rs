//! sentence-transformers' `SparseEncoder`: a masked language model whose logits are pooled (SPLADE).

use super::sentence_fields::{SPLADE_POOLING, known};
use super::transformer_module::TransformerModule;
use crate::base::error::{Error, Result, quoted};
use crate::formats::files::Files;
use crate::formats::json::Config;
use crate::formats::modules::{self, Entry};
use crate::spec::SparsePooling;

/// The name of the module that pools.
const POOLING: &str = "SpladePooling";

/// What a module `Transformer` of a sparse encoder gives. Versions before 5.4 have a class of its own for it.
const LOGITS: (&str, &str) = ("fill-mask", "token_embeddings");
const OLDER_CLASS: &str = "MLMTransformer";

/// Whether the modules are a sparse encoder's whatever `config_sentence_transformers.json` says.
pub(super) fn is_one(entries: &[Entry]) -> bool {
    entries.iter().any(|entry| entry.kind == POOLING)
}

/// Reads the modules. Without `modules.json` a masked language model is pooled by the largest weight, as in sentence-transformers.
///
/// # Errors
/// What is not honoured, by its name.
pub(super) fn read(top: &Files, entries: Option<&[Entry]>, transformer: &TransformerModule) -> Result<SparsePooling> {
    let Some(entries) = entries else { return Ok(SparsePooling::default()) };
    let refuse = |what: String| Err(Error::unsupported(format!("{}: {what}", top.name(modules::FILE).display())));
    match entries {
        [first, pooling] if pooling.kind == POOLING => {
            let task = transformer.task()?;
            let reads_logits = match first.kind.as_str() {
                OLDER_CLASS => task.is_none_or(|task| task == LOGITS.0),
                "Transformer" => task.is_some_and(|task| task == LOGITS.0),
                other => return refuse(format!("module {} of a SparseEncoder is not supported", quoted(other))),
            };
            if !reads_logits {
                return refuse(format!("{POOLING} needs a module Transformer with the transformer_task {}", LOGITS.0));
            }
            transformer.of_logits(LOGITS)?;
            splade(&top.folder(&pooling.folder).require_config("config.json")?)
        }
        _ => {
            let kinds: Vec<&str> = entries.iter().map(|entry| entry.kind.as_str()).collect();
            let kinds = quoted(&kinds.join(", "));
            refuse(format!("sparse embeddings need the modules Transformer and {POOLING}; it has {kinds}"))
        }
    }
}

fn splade(config: &Config) -> Result<SparsePooling> {
    known(config, SPLADE_POOLING)?;
    let choose = |name: &str, [first, second]: [&str; 2]| match config.str_or(name, first)? {
        value if value == first => Ok(false),
        value if value == second => Ok(true),
        other => Err(config.invalid(name, format!("is {}; supported are {first} and {second}", quoted(other)))),
    };
    Ok(SparsePooling {
        sum: choose("pooling_strategy", ["max", "sum"])?,
        twice: choose("activation_function", ["relu", "log1p_relu"])?,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};

    use super::*;
    use crate::families::sentence_transformers;

    fn read(files: &[(&str, Value)]) -> Result<SparsePooling> {
        let list = files.iter().map(|(name, value)| (name.to_string(), value.to_string().into_bytes()));
        let files = Files::inside(Path::new("m"), list.collect());
        let model = Config::from_value(Path::new("m/config.json"), json!({})).unwrap();
        sentence_transformers(&files, &model, 4).and_then(|read| read.sparse)
    }

    fn chain(kinds: &[&str]) -> Value {
        let package = "sentence_transformers.sparse_encoder.models";
        let module = |(i, kind): (usize, &&str)| {
            let path = if i == 0 { String::new() } else { format!("{i}_{kind}") };
            json!({ "type": format!("{package}.{kind}"), "path": path })
        };
        kinds.iter().enumerate().map(module).collect()
    }

    #[test]
    fn pooling_is_read_or_refused_by_name() {
        let pool = "1_SpladePooling/config.json";
        let older = chain(&["MLMTransformer", "SpladePooling"]);
        let both = json!({ "pooling_strategy": "sum", "activation_function": "log1p_relu", "embedding_dimension": 9 });
        let found = read(&[("modules.json", older.clone()), (pool, both)]).unwrap();
        assert_eq!(found, SparsePooling { sum: true, twice: true });
        assert_eq!(read(&[("modules.json", older.clone()), (pool, json!({}))]).unwrap(), SparsePooling::default());
        assert_eq!(read(&[]).unwrap(), SparsePooling::default());
        for (wrong, named) in [
            (json!({ "pooling_strategy": "mean" }), "pooling_strategy"),
            (json!({ "activation_function": "gelu" }), "activation_function"),
            (json!({ "new": 1 }), "field `new`"),
        ] {
            let error = read(&[("modules.json", older.clone()), (pool, wrong)]).unwrap_err();
            assert!(error.message().contains(named) && error.message().contains(pool), "{error}");
        }
        let error = read(&[("modules.json", older)]).unwrap_err();
        assert!(error.message().contains(pool), "{error}");
    }

    #[test]
    fn other_chains_are_refused_by_their_modules() {
        let pool = ("1_SpladePooling/config.json", json!({}));
        let file = |task: &str| ("sentence_bert_config.json", json!({ "transformer_task": task }));
        let newer = ("modules.json", chain(&["Transformer", "SpladePooling"]));
        assert!(read(&[newer.clone(), pool.clone(), file("fill-mask")]).is_ok());
        for files in [vec![newer.clone(), pool.clone()], vec![newer, pool.clone(), file("feature-extraction")]] {
            assert!(read(&files).unwrap_err().message().contains("transformer_task"));
        }
        for kinds in [&["Transformer", "Pooling"][..], &["Router", "SpladePooling"], &["SparseStaticEmbedding"]] {
            let error = read(&[("modules.json", chain(kinds)), pool.clone()]).unwrap_err();
            assert!(error.message().contains(kinds[0]), "{error}");
        }
    }
}
