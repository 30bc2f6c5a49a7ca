//! `modules.json` of sentence-transformers: the modules that a model is a chain of, and the folder of each.

use serde_json::Value;

use super::files::Files;
use super::quoted;
use crate::base::error::{Error, Result};

/// The file's name.
pub const FILE: &str = "modules.json";

/// The names that the file of a module `Transformer` has had, in the order of sentence-transformers.
pub const TRANSFORMER_FILES: [&str; 7] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

/// What the classes of sentence-transformers begin with; others are code of the model's own.
const PACKAGE: &str = "sentence_transformers.";

/// The maximum number of modules.
const MAX_MODULES: usize = 100;

/// One module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The class without its package, `Pooling`; the whole name for a class that is not from sentence-transformers.
    pub kind: String,
    /// Where its files are, from the file's own folder; empty for that folder itself.
    pub folder: String,
}

/// The modules in order; None if there is no such file.
pub fn read(top: &Files) -> Result<Option<Vec<Entry>>> {
    let Some(value) = top.json(FILE)? else { return Ok(None) };
    let path = top.name(FILE);
    let list = value.as_array().filter(|list| !list.is_empty() && list.len() <= MAX_MODULES);
    let list = list.ok_or_else(|| Error::invalid_file(&path, format!("not a list of 1 to {MAX_MODULES} modules")))?;
    let entry = |(i, module): (usize, &Value)| {
        let Some(class) = module["type"].as_str() else {
            return Err(Error::invalid_file(&path, format!("module {i} has no `type`")));
        };
        let kind = if class.starts_with(PACKAGE) { class.rsplit('.').next().unwrap_or(class) } else { class };
        let folder = module["path"].as_str().unwrap_or_default();
        let folder = folder_of(folder).ok_or_else(|| {
            Error::invalid_file(
                &path,
                format!("module {i} has the path {}, which is not a folder below", quoted(folder)),
            )
        })?;
        Ok(Entry { kind: kind.to_string(), folder })
    };
    list.iter().enumerate().map(entry).collect::<Result<_>>().map(Some)
}

/// A path that the file gives, if it leads to the file's folder or below on every system.
fn folder_of(path: &str) -> Option<String> {
    if path.starts_with('/') || path.contains(['\\', ':', '\0']) {
        return None;
    }
    let parts: Vec<_> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    (!parts.contains(&"..")).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;

    fn modules(text: &str) -> Result<Option<Vec<Entry>>> {
        let files = BTreeMap::from([(FILE.to_string(), text.as_bytes().to_vec())]);
        read(&Files::inside(Path::new("m"), files))
    }

    #[test]
    fn classes_lose_their_package_and_folders_lie_below() {
        let found = modules(
            r#"[{"type": "sentence_transformers.models.Transformer", "path": "0_Transformer/"},
                {"type": "sentence_transformers.sentence_transformer.modules.pooling.Pooling", "path": "./a/b"},
                {"type": "custom_st.Transformer", "path": ""}]"#,
        );
        let entry = |kind: &str, folder: &str| Entry { kind: kind.into(), folder: folder.into() };
        let expected =
            [entry("Transformer", "0_Transformer"), entry("Pooling", "a/b"), entry("custom_st.Transformer", "")];
        assert_eq!(found.unwrap().unwrap(), expected);
        assert!(read(&Files::inside(Path::new("m"), BTreeMap::new())).unwrap().is_none());
    }

    #[test]
    fn folders_outside_and_lists_of_something_else_are_refused() {
        for path in ["..", "a/../..", "/etc", "a\\\\b", "c:"] {
            let error = modules(&format!(r#"[{{"type": "x.Pooling", "path": "{path}"}}]"#)).unwrap_err();
            assert!(error.message().contains("modules.json: module 0 has the path"), "{error}");
        }
        for text in ["{}", "[]", "[1]", r#"[{"path": ""}]"#] {
            assert!(modules(text).unwrap_err().message().contains("m/modules.json"), "{text}");
        }
    }
}
