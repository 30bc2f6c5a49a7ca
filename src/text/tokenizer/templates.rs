//! Checks the templates of special tokens at load: the crate looks their tokens up only when it uses them, and panics if one is
//! missing.

use serde_json::Value;
use tokenizers::processors::PostProcessorWrapper;

/// A special token that a template uses and its `special_tokens` does not define.
pub fn missing_token(post: &PostProcessorWrapper) -> Option<String> {
    missing(&serde_json::to_value(post).ok()?)
}

/// As `missing_token`, for a post-processor as it is in `tokenizer.json`.
fn missing(post: &Value) -> Option<String> {
    let list = |name: &str| post[name].as_array().into_iter().flatten();
    if let Some(token) = list("processors").find_map(missing) {
        return Some(token);
    }
    let pieces = list("single").chain(list("pair"));
    let mut tokens = pieces.filter_map(|piece| piece["SpecialToken"]["id"].as_str());
    tokens.find(|token| post["special_tokens"].get(*token).is_none()).map(str::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn undefined_tokens_of_a_template_are_named() {
        let template = |special: Value| {
            json!({
                "type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
                "special_tokens": special,
            })
        };
        let token = |id: &str| json!({"id": id, "ids": [0], "tokens": [id]});
        let whole = template(json!({"<s>": token("<s>"), "</s>": token("</s>")}));
        assert_eq!(missing(&whole), None);
        let post: PostProcessorWrapper = serde_json::from_value(whole).unwrap();
        assert_eq!(missing_token(&post), None);
        let lacking = template(json!({"<s>": token("<s>")}));
        assert_eq!(missing(&lacking).as_deref(), Some("</s>"));
        assert_eq!(missing(&json!({"type": "Sequence", "processors": [lacking]})).as_deref(), Some("</s>"));
        assert_eq!(missing(&json!({"type": "ByteLevel"})), None);
    }
}
