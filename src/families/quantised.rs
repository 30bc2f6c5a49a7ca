//! Checkpoints whose weights another library has quantised. Their tensors have shapes and names of their own, so the configuration is
//! asked first: otherwise the error would be about a shape.

use serde_json::Value;

use crate::base::error::{Error, Result};
use crate::formats::json::Config;

pub const FIELD: &str = "quantization_config";

/// # Errors
/// `Unsupported`: the weights are quantised; says by which method and what to load instead.
pub fn check(config: &Config) -> Result<()> {
    let Some(section) = config.get(FIELD) else { return Ok(()) };
    let path = config.path().display();
    Err(Error::unsupported(format!(
        "{path}: field `{FIELD}`: the weights are quantised ({}), which is not supported; load the original model, and quantise it by \
         `kinglet quantize`, or load a GGUF file of it",
        describe(section)
    )))
}

/// The method, with the numbers that its users know it by.
fn describe(section: &Value) -> String {
    let text = |name: &str| section.get(name).and_then(Value::as_str);
    let number = |name: &str| section.get(name).and_then(Value::as_i64);
    let flag = |name: &str| section.get(name).and_then(Value::as_bool) == Some(true);
    // Old files of bitsandbytes do not name the method.
    let bitsandbytes = flag("load_in_4bit") || flag("load_in_8bit");
    let method = text("quant_method").unwrap_or(if bitsandbytes { "bitsandbytes" } else { "an unnamed method" });
    let mut parts = vec![format!("by {}", shortened(method))];
    if flag("load_in_4bit") {
        parts.push("4 bits".into());
    } else if flag("load_in_8bit") {
        parts.push("8 bits".into());
    }
    parts.extend(number("bits").or_else(|| number("w_bit")).map(|bits| format!("{bits} bits")));
    parts.extend(number("group_size").filter(|&size| size > 0).map(|size| format!("groups of {size}")));
    parts.extend(text("format").or_else(|| text("fmt")).map(shortened));
    parts.join(", ")
}

/// At most 40 characters: the text comes from a file.
fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn methods_are_named_with_their_numbers() {
        for (section, words) in [
            (json!({"quant_method": "gptq", "bits": 4, "group_size": 128}), "by gptq, 4 bits, groups of 128"),
            (json!({"quant_method": "bitsandbytes", "load_in_4bit": true}), "by bitsandbytes, 4 bits"),
            (json!({"load_in_8bit": true, "load_in_4bit": false}), "by bitsandbytes, 8 bits"),
            (json!({"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}), "by fp8, e4m3"),
            (json!({"quant_method": "awq", "bits": 4, "group_size": -1}), "by awq, 4 bits"),
            (json!({"quant_method": "compressed-tensors", "format": "float-quantized"}), "float-quantized"),
            (json!({}), "an unnamed method"),
            (json!("gptq"), "an unnamed method"),
        ] {
            let path = std::path::Path::new("config.json");
            let config = Config::from_value(path, json!({"quantization_config": section})).unwrap();
            let error = check(&config).unwrap_err();
            assert!(error.message().contains(words) && error.message().contains("config.json: "), "{error}");
        }
        let plain =
            Config::from_value(std::path::Path::new("config.json"), json!({"quantization_config": null})).unwrap();
        assert!(check(&plain).is_ok());
    }
}
