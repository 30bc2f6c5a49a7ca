//! `quantization_config` of `config.json`: which library has quantised the weights, and how.

use serde_json::Value;

use crate::base::error::{Error, Result};
use crate::formats::json::Config;
use crate::formats::quoted;

pub const FIELD: &str = "quantization_config";

/// Groups of compressed-tensors' configuration; each module belongs to one.
const MAX_GROUPS: usize = 64;

/// What the tensors of a quantised module are.
#[derive(Clone, Debug, PartialEq)]
pub enum Scheme {
    /// GPTQ. `less` is what the stored zeros are less by.
    Gptq { bits: u32, group_size: Option<usize>, less: u32 },
    /// AWQ, of 4 bits.
    Awq { group_size: Option<usize> },
    /// compressed-tensors: a module is of the first of these that its tensors fit.
    Compressed(Vec<Compressed>),
}

/// A group of modules in compressed-tensors' configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Compressed {
    /// The numbers are packed into words; otherwise they are bytes.
    pub packed: bool,
    pub bits: u32,
    pub symmetric: bool,
    pub strategy: Strategy,
}

/// What has a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    Tensor,
    Channel,
    Group(usize),
}

impl Scheme {
    /// The scheme of a configuration; None if the weights are not quantised.
    ///
    /// # Errors
    /// `Unsupported`: a method that is not read; says which and what to load instead. `InvalidFile`: a field of another type.
    pub fn read(config: &Config) -> Result<Option<Self>> {
        let Some(value) = config.get(FIELD) else { return Ok(None) };
        let refuse = |what: &str| refusal(config, value, what);
        if !value.is_object() {
            return Err(refuse(""));
        }
        let Some(section) = config.section(FIELD)? else { return Ok(None) };
        match section.str_opt("quant_method")? {
            Some("gptq") => gptq(&section, &refuse).map(Some),
            Some("awq") => awq(&section, &refuse).map(Some),
            Some("compressed-tensors") => compressed(&section, &refuse).map(Some),
            _ => Err(refuse("")),
        }
    }
}

type Refuse<'a> = &'a dyn Fn(&str) -> Error;

/// The error for what is not supported; `what` is a field with its value, or empty for the method as a whole.
fn refusal(config: &Config, section: &Value, what: &str) -> Error {
    let path = config.path().display();
    let (which, described) = (if what.is_empty() { "which" } else { what }, describe(section));
    Error::unsupported(format!(
        "{path}: field `{FIELD}`: the weights are quantised ({described}); {which} is not supported; load the original model, and \
         quantise it by `kinglet quantize`, or load a GGUF file of it"
    ))
}

/// Refuses a field whose value is not one of those that are computed. Absent and null are.
fn only(section: &Config, name: &str, supported: &[&str], refuse: Refuse) -> Result<()> {
    match section.str_opt(name)? {
        Some(value) if !supported.iter().any(|supported| value.eq_ignore_ascii_case(supported)) => {
            Err(refuse(&format!("`{name}` {}", quoted(&shortened(value)))))
        }
        _ => Ok(()),
    }
}

/// Refuses fields that have a value other than false, an empty list or an empty object.
fn absent(section: &Config, names: &[&str], refuse: Refuse) -> Result<()> {
    let empty = |value: &Value| match value {
        Value::Bool(set) => !set,
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    match names.iter().find(|name| section.get(name).is_some_and(|value| !empty(value))) {
        Some(name) => Err(refuse(&format!("`{name}`"))),
        None => Ok(()),
    }
}

/// Inputs in a group; None if all are in one (-1).
fn group_size(section: &Config, names: &[&str]) -> Result<Option<usize>> {
    let name = names.iter().find(|name| section.has(name)).copied().unwrap_or("group_size");
    if section.get(name).and_then(Value::as_i64) == Some(-1) {
        return Ok(None);
    }
    // transformers' default.
    match section.usize_or(name, 128)? {
        0 => Err(section.invalid(name, "is 0")),
        size => Ok(Some(size)),
    }
}

/// The fields are those of AutoGPTQ and GPTQModel. `desc_act` and `sym` only say how the numbers were found: the groups of the
/// inputs (`g_idx`) and the zeros are stored in any case.
fn gptq(section: &Config, refuse: Refuse) -> Result<Scheme> {
    for name in ["checkpoint_format", "format"] {
        only(section, name, &["gptq", "gptq_v2"], refuse)?;
    }
    only(section, "pack_dtype", &["int32"], refuse)?;
    absent(section, &["is_marlin_format", "rotation"], refuse)?;
    // Expressions that exclude modules (-:) are settled by which tensors there are.
    if let Some(dynamic) = section.section("dynamic")?
        && dynamic.keys().any(|key| !key.starts_with("-:"))
    {
        return Err(refuse("`dynamic`"));
    }
    let bits = match section.usize("bits")? {
        bits @ (2 | 3 | 4 | 8) => bits as u32,
        bits => return Err(refuse(&format!("`bits` {bits}"))),
    };
    let format = section.str_opt("checkpoint_format")?.or(section.str_opt("format")?);
    // GPTQ's first kernel added one to the zero, so its files hold one less. `gptq_v2` ended that.
    let less = u32::from(!format.is_some_and(|format| format.eq_ignore_ascii_case("gptq_v2")));
    Ok(Scheme::Gptq { bits, group_size: group_size(section, &["group_size"])?, less })
}

/// The fields are those of AutoAWQ; some files have the names of its own `quant_config.json`. `modules_to_not_convert` is settled by
/// which tensors there are.
fn awq(section: &Config, refuse: Refuse) -> Result<Scheme> {
    for name in ["version", "checkpoint_format", "format"] {
        only(section, name, &["gemm"], refuse)?;
    }
    let bits = section.usize_opt("bits")?.or(section.usize_opt("w_bit")?).unwrap_or(4);
    if bits != 4 {
        return Err(refuse(&format!("`bits` {bits}")));
    }
    if !section.bool_or("zero_point", true)? {
        return Err(refuse("`zero_point` false"));
    }
    Ok(Scheme::Awq { group_size: group_size(section, &["group_size", "q_group_size"])? })
}

/// The fields are those of compressed-tensors. `ignore` and the modules in `targets` are settled by which tensors there are. What is
/// said of activations is how vLLM rounds them; here the precision decides that.
fn compressed(section: &Config, refuse: Refuse) -> Result<Scheme> {
    const FORMATS: [&str; 3] = ["pack-quantized", "int-quantized", "naive-quantized"];
    only(section, "format", &[FORMATS[0], FORMATS[1], FORMATS[2], "mixed-precision"], refuse)?;
    absent(section, &["kv_cache_scheme", "transform_config", "moe_sparsity_config"], refuse)?;
    if let Some(sparsity) = section.section("sparsity_config")? {
        let dense = |format: &str| format.eq_ignore_ascii_case("dense");
        if sparsity.keys().next().is_some() && !sparsity.str_opt("format")?.is_some_and(dense) {
            return Err(refuse("`sparsity_config`"));
        }
    }
    let Some(groups) = section.section("config_groups")? else {
        return Err(section.invalid("config_groups", "is missing"));
    };
    if groups.keys().count() > MAX_GROUPS {
        return Err(section.invalid("config_groups", format!("has more than {MAX_GROUPS} groups")));
    }
    let mut found = Vec::new();
    for name in groups.keys() {
        let Some(group) = groups.section(name)? else { continue };
        only(&group, "format", &FORMATS, refuse)?;
        // Only linear layers are read so: by their class, name or an expression.
        for target in group.strings("targets")? {
            if target != "Linear" && !target.contains('.') && !target.starts_with("re:") && target != "lm_head" {
                return Err(refuse(&format!("`targets` {}", quoted(&shortened(target)))));
            }
        }
        absent(&group, &["output_activations"], refuse)?;
        if let Some(inputs) = group.section("input_activations")? {
            only(&inputs, "type", &["int"], refuse)?;
            if inputs.usize_or("num_bits", 8)? != 8 {
                return Err(refuse("`input_activations` of other than 8 bits"));
            }
        }
        let Some(weights) = group.section("weights")? else { continue };
        only(&weights, "type", &["int"], refuse)?;
        let format = group.str_opt("format")?.or(section.str_opt("format")?).unwrap_or_default();
        let packed = format == FORMATS[0];
        let bits = match weights.usize_or("num_bits", 8)? {
            bits @ (4 | 8) => bits as u32,
            bits => return Err(refuse(&format!("`num_bits` {bits}"))),
        };
        if !FORMATS.contains(&format) {
            return Err(refuse(&format!("`format` {}", quoted(&shortened(format)))));
        }
        let size = weights.get("group_size").filter(|size| size.as_i64() != Some(-1));
        let size = size.map(|_| weights.usize("group_size")).transpose()?;
        let strategy = match (weights.str_opt("strategy")?, size) {
            (Some("tensor"), _) => Strategy::Tensor,
            (None, None) if !weights.has("group_size") => Strategy::Tensor,
            (Some("channel"), _) | (None, None) => Strategy::Channel,
            (Some("group") | None, Some(size)) if size > 0 => Strategy::Group(size),
            (Some("group"), _) => return Err(weights.invalid("group_size", "is missing or 0")),
            (Some(other), _) => return Err(refuse(&format!("`strategy` {}", quoted(&shortened(other))))),
            (None, _) => return Err(weights.invalid("group_size", "is 0")),
        };
        found.push(Compressed { packed, bits, symmetric: weights.bool_or("symmetric", true)?, strategy });
    }
    Ok(Scheme::Compressed(found))
}

/// The method, with the numbers that its users know it by.
pub fn describe(section: &Value) -> String {
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
    // compressed-tensors.
    for group in section.get("config_groups").and_then(Value::as_object).into_iter().flatten().take(4) {
        let number = |name: &str| group.1.get("weights").and_then(|weights| weights.get(name)).and_then(Value::as_i64);
        parts.extend(number("num_bits").map(|bits| format!("{bits} bits")));
        parts.extend(number("group_size").filter(|&size| size > 0).map(|size| format!("groups of {size}")));
    }
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

    fn read(section: Value) -> Result<Option<Scheme>> {
        let path = std::path::Path::new("config.json");
        Scheme::read(&Config::from_value(path, json!({"quantization_config": section})).unwrap())
    }

    #[test]
    fn methods_that_are_not_read_are_named_with_their_numbers() {
        for (section, words) in [
            (json!({"quant_method": "bitsandbytes", "load_in_4bit": true}), "by bitsandbytes, 4 bits); which is not"),
            (json!({"load_in_8bit": true, "load_in_4bit": false}), "by bitsandbytes, 8 bits"),
            (json!({"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}), "by fp8, e4m3"),
            (json!({}), "an unnamed method"),
            (json!("gptq"), "an unnamed method"),
            (
                json!({"quant_method": "gptq", "bits": 5, "group_size": 128}),
                "by gptq, 5 bits, groups of 128); `bits` 5",
            ),
            (json!({"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"}), "`checkpoint_format` `marlin`"),
            (json!({"quant_method": "gptq", "bits": 4, "is_marlin_format": true}), "`is_marlin_format`"),
            (json!({"quant_method": "gptq", "bits": 4, "dynamic": {"+:.*up": {"bits": 8}}}), "`dynamic`"),
            (json!({"quant_method": "awq", "bits": 4, "version": "gemv"}), "`version` `gemv`"),
            (json!({"quant_method": "awq", "bits": 4, "version": "marlin"}), "`version` `marlin`"),
            (json!({"quant_method": "awq", "bits": 8}), "`bits` 8"),
            (json!({"quant_method": "awq", "zero_point": false}), "`zero_point` false"),
            (json!({"quant_method": "compressed-tensors", "format": "float-quantized"}), "`format` `float-quantized`"),
            (json!({"quant_method": "compressed-tensors", "format": "nvfp4-pack-quantized"}), "nvfp4"),
            (json!({"quant_method": "compressed-tensors", "format": "marlin-24"}), "marlin-24"),
            (
                json!({"quant_method": "compressed-tensors", "format": "pack-quantized", "kv_cache_scheme": {"num_bits": 8}}),
                "`kv_cache_scheme`",
            ),
            (
                json!({"quant_method": "compressed-tensors", "sparsity_config": {"format": "sparse-24-bitmask"}}),
                "`sparsity_config`",
            ),
            (weights(json!({"num_bits": 3})), "`num_bits` 3"),
            (weights(json!({"num_bits": 8, "type": "float"})), "`type` `float`"),
            (weights(json!({"num_bits": 8, "strategy": "block"})), "`strategy` `block`"),
            (group(json!({"targets": ["Embedding"]})), "`targets` `Embedding`"),
            (group(json!({"output_activations": {"num_bits": 8}})), "`output_activations`"),
            (group(json!({"input_activations": {"num_bits": 4}})), "`input_activations`"),
        ] {
            let error = read(section).unwrap_err();
            assert_eq!(error.status(), crate::base::error::Status::Unsupported, "{error}");
            assert!(error.message().contains(words) && error.message().contains("config.json: "), "{error}");
        }
        assert_eq!(read(Value::Null).unwrap(), None);
    }

    fn group(group: Value) -> Value {
        json!({"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {"group_0": group}})
    }

    fn weights(weights: Value) -> Value {
        group(json!({"targets": ["Linear"], "weights": weights}))
    }

    #[test]
    fn schemes_that_are_read() {
        let gptq = |bits, group_size, less| Scheme::Gptq { bits, group_size, less };
        let compressed = |packed, bits, symmetric, strategy| {
            Scheme::Compressed(vec![Compressed { packed, bits, symmetric, strategy }])
        };
        for (section, scheme) in [
            (json!({"quant_method": "gptq", "bits": 4}), gptq(4, Some(128), 1)),
            (json!({"quant_method": "gptq", "bits": 3, "group_size": -1, "desc_act": true}), gptq(3, None, 1)),
            (
                json!({"quant_method": "gptq", "bits": 8, "group_size": 32, "checkpoint_format": "gptq_v2", "sym": false}),
                gptq(8, Some(32), 0),
            ),
            (json!({"quant_method": "gptq", "bits": 4, "dynamic": {"-:.*head": {}}}), gptq(4, Some(128), 1)),
            (
                json!({"quant_method": "awq", "w_bit": 4, "q_group_size": 64, "version": "GEMM"}),
                Scheme::Awq { group_size: Some(64) },
            ),
            (
                weights(
                    json!({"num_bits": 4, "strategy": "group", "group_size": 128, "symmetric": false, "type": "int"}),
                ),
                compressed(true, 4, false, Strategy::Group(128)),
            ),
            (
                json!({"quant_method": "compressed-tensors", "format": "int-quantized", "config_groups": {"group_0": {
                    "targets": ["Linear"],
                    "weights": {"num_bits": 8, "strategy": "channel", "group_size": null},
                    "input_activations": {"num_bits": 8, "dynamic": true, "strategy": "token", "type": "int"},
                }}, "sparsity_config": {}, "kv_cache_scheme": null, "transform_config": {}}),
                compressed(false, 8, true, Strategy::Channel),
            ),
        ] {
            assert_eq!(read(section.clone()).unwrap(), Some(scheme), "{section}");
        }
    }

    #[test]
    fn fields_of_another_type_are_named() {
        for (section, field) in [
            (json!({"quant_method": "gptq", "bits": "four"}), "quantization_config.bits"),
            (json!({"quant_method": "gptq", "bits": 4, "group_size": 0}), "quantization_config.group_size"),
            (json!({"quant_method": "gptq"}), "quantization_config.bits"),
            (json!({"quant_method": "compressed-tensors"}), "quantization_config.config_groups"),
            (weights(json!({"num_bits": 4, "strategy": "group"})), "weights.group_size"),
        ] {
            let error = read(section).unwrap_err();
            assert!(error.message().contains(field), "{error}");
        }
    }
}
