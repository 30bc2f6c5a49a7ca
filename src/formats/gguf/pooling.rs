//! `pooling_type`, as the files in which sentence-transformers says how a text's vector is made.

use serde_json::{Value, json};

use super::config::Fields;
use crate::base::error::Result;
use crate::formats::quoted;

const LEAF: &str = "pooling_type";

/// The contents of `modules.json` and of its pooling module's `config.json`; None if the file says nothing of pooling. Pooled vectors
/// have length 1, as llama.cpp returns them.
pub(super) fn modules(fields: &Fields) -> Result<Option<(Value, Value)>> {
    // By llama.cpp's numbers; -1 is unspecified.
    if fields.metadata.is_number(&fields.key(LEAF), |number| number == -1.0 || number == f64::from(u32::MAX)) {
        return Ok(None);
    }
    let pooling = match fields.size_opt(LEAF)? {
        None => return Ok(None),
        // The vectors of tokens: not what an embedding is, so the caller has to name a pooling.
        Some(0) => json!({"pooling_mode": "none"}),
        Some(1) => json!({"pooling_mode_mean_tokens": true}),
        Some(2) => json!({"pooling_mode_cls_token": true}),
        Some(3) => json!({"pooling_mode_lasttoken": true}),
        Some(4) => json!({"pooling_mode": "rank"}),
        Some(other) => {
            let what = format!("field {} is {other}, which is not supported", quoted(&fields.key(LEAF)));
            return Err(fields.unsupported(what));
        }
    };
    let module = |index: usize, path: &str, kind: &str| json!({"idx": index, "name": index.to_string(), "path": path, "type": format!("sentence_transformers.models.{kind}")});
    let modules =
        json!([module(0, "", "Transformer"), module(1, "1_Pooling", "Pooling"), module(2, "2_Normalize", "Normalize")]);
    Ok(Some((modules, pooling)))
}
