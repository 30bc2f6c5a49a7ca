//! One small file a model family: `config.json` and tensor names to a [`Spec`]. No arithmetic.

mod bert;
mod distilbert;
mod mpnet;
mod roberta;

use crate::error::{Error, Result};
use crate::formats::json::Config;
use crate::transformer::spec::{Activation, Dense, Head, HeadKind, Spec};

type Reader = fn(&Config) -> Result<Spec>;

/// The families, by `model_type`.
const FAMILIES: [(&str, Reader); 5] = [
    ("bert", bert::spec),
    ("distilbert", distilbert::spec),
    ("roberta", roberta::spec),
    ("xlm-roberta", roberta::spec),
    ("mpnet", mpnet::spec),
];

/// The `model_type`s that can be loaded.
pub fn names() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().map(|&(name, _)| name)
}

/// Reads the Spec of a model from its `config.json`.
pub fn spec(config: &Config) -> Result<Spec> {
    let family = config.str("model_type")?;
    let Some((_, read)) = FAMILIES.iter().find(|&&(name, _)| name == family) else {
        let known: Vec<_> = names().collect();
        let path = config.path().display();
        let known = known.join(", ");
        return Err(Error::unsupported(format!(
            "{path}: model_type {family:?} is not supported; supported are {known}"
        )));
    };
    let spec = read(config)?;
    check(config, &spec)?;
    Ok(spec)
}

/// What every Spec must hold to, whatever the family.
fn check(config: &Config, spec: &Spec) -> Result<()> {
    let bad = |what: String| Err(Error::invalid_file(config.path(), what));
    let (hidden, heads) = (spec.hidden, spec.heads);
    for (name, value) in [
        ("the vocabulary", spec.vocabulary),
        ("the hidden size", hidden),
        ("the number of layers", spec.layers),
        ("the number of heads", heads),
        ("the intermediate size", spec.intermediate),
        ("the number of positions (less those before the first token)", spec.max_tokens()),
    ] {
        if value == 0 {
            return bad(format!("{name} is 0"));
        }
    }
    if !hidden.is_multiple_of(heads) {
        return bad(format!("the hidden size {hidden} is not a multiple of {heads} heads"));
    }
    if !spec.norm.eps.is_finite() || spec.norm.eps < 0.0 {
        return bad(format!("the layer norm's epsilon is {}", spec.norm.eps));
    }
    // 32-bit sums of 8-bit products are exact up to this many inputs.
    let most = (i32::MAX / (255 * 128)) as usize;
    if hidden.max(spec.intermediate) > most {
        return bad(format!("a layer of {} inputs; at most {most} are supported", hidden.max(spec.intermediate)));
    }
    Ok(())
}

/// `hidden_act` and its relatives, by Hugging Face's names.
fn activation(config: &Config, key: &str, default: &str) -> Result<Activation> {
    let name = config.str_or(key, default)?;
    Ok(match name {
        "gelu" | "gelu_python" => Activation::Gelu,
        "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" => Activation::GeluTanh,
        "relu" => Activation::Relu,
        "silu" | "swish" => Activation::Silu,
        "tanh" => Activation::Tanh,
        other => {
            let path = config.path().display();
            return Err(Error::unsupported(format!(
                "{path}: {key} {other:?} is not supported; supported are gelu, gelu_new, relu, silu, tanh"
            )));
        }
    })
}

/// The number of labels: `id2label` where it is given, else `num_labels`, else Hugging Face's default of 2.
pub fn labels(config: &Config) -> Result<usize> {
    match config.get("id2label").and_then(|v| v.as_object()) {
        Some(labels) => Ok(labels.len()),
        None => config.usize_or("num_labels", 2),
    }
}

/// The head that `architectures` names, if any: for sequence classification `dense` then `output`, for token
/// classification `classifier` alone.
fn head(config: &Config, dense: Dense, output: &'static str) -> Result<Option<Head>> {
    let architecture = config.get("architectures").and_then(|v| v[0].as_str()).unwrap_or_default();
    let kind = match architecture {
        a if a.ends_with("ForSequenceClassification") => HeadKind::Sequence,
        a if a.ends_with("ForTokenClassification") => HeadKind::Token,
        _ => return Ok(None),
    };
    let labels = labels(config)?;
    if labels == 0 {
        return Err(Error::invalid_file(config.path(), "id2label: names no label"));
    }
    Ok(Some(match kind {
        HeadKind::Sequence => Head { kind, dense: Some(dense), output, labels },
        HeadKind::Token => Head { kind, dense: None, output: "classifier", labels },
    }))
}
