//! DeBERTa v2 and v3 (He et al. 2021): BERT with disentangled attention, most often without absolute positions and token types.

use super::{activation, bert, equal_heads, head, masked};
use crate::base::error::{Error, Result, quoted};
use crate::formats::json::Config;
use crate::spec::{
    Activation, AttentionSpec, Dense, Disentangled, LanguageWeight, LinearTensors, MaskedHead, Names, Norm, NormPlace,
    Position, Spec, Stack,
};

const NAMES: Names = Names {
    prefix: "deberta.",
    distances: Some("encoder.rel_embeddings"),
    qkv: LinearTensors::Separate(&[
        "encoder.layer.{}.attention.self.query_proj",
        "encoder.layer.{}.attention.self.key_proj",
        "encoder.layer.{}.attention.self.value_proj",
    ]),
    ..bert::NAMES
};

/// The kinds of attention to distances, a list or names with `|` between them: whether c2p and p2c are among them.
fn kinds(config: &Config) -> Result<[bool; 2]> {
    const KEY: &str = "pos_att_type";
    let names: Vec<String> = match config.get(KEY).and_then(|value| value.as_str()) {
        Some(text) => text.split('|').map(|name| name.trim().to_lowercase()).collect(),
        None => config.strings(KEY)?.into_iter().map(String::from).collect(),
    };
    match names.iter().find(|name| !["c2p", "p2c", "none", ""].contains(&name.as_str())) {
        Some(other) => {
            let (path, other) = (config.path().display(), quoted(other));
            Err(Error::unsupported(format!("{path}: {KEY} {other} is not supported; supported are c2p and p2c")))
        }
        None => Ok(["c2p", "p2c"].map(|kind| names.iter().any(|name| name == kind))),
    }
}

/// An integer field; null and values below 1 mean that it is not set.
fn positive(config: &Config, key: &str) -> Result<Option<usize>> {
    match config.get(key).and_then(|value| value.as_i64()) {
        Some(number) if number < 1 => Ok(None),
        _ => config.usize_opt(key),
    }
}

/// Refuses a width other than the hidden size.
fn is_hidden(config: &Config, key: &str, hidden: usize) -> Result<()> {
    match config.usize_opt(key)?.filter(|&width| width != hidden) {
        Some(width) => {
            let path = config.path().display();
            Err(Error::unsupported(format!("{path}: {key} {width} is not supported; only the hidden size {hidden} is")))
        }
        None => Ok(()),
    }
}

/// The head of a masked language model: BERT's, or with `legacy` false that of the published pretraining.
fn masked_head(config: &Config, activation: Activation) -> Result<Option<MaskedHead>> {
    if config.bool_or("legacy", true)? {
        return bert::masked_head(config, activation);
    }
    let dense = ("lm_predictions.lm_head.dense", activation);
    // Only `.kinglet` files have a decoder.
    let (decoder, bias) = (&["lm_predictions.lm_head.decoder"], &["lm_predictions.lm_head.bias"]);
    let found = masked(config, dense, "lm_predictions.lm_head.LayerNorm", decoder, bias)?;
    Ok(found.map(|head| MaskedHead { weight: LanguageWeight::OwnOrTied(decoder), ..head }))
}

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let rows = super::positions(config)?;
    let heads = equal_heads(config, "hidden_size", "num_attention_heads")?;
    let (hidden, layers) = (config.usize("hidden_size")?, config.usize("num_hidden_layers")?);
    is_hidden(config, "embedding_size", hidden)?;
    is_hidden(config, "pooler_hidden_size", hidden)?;
    let [content_to_position, position_to_content] = kinds(config)?;
    // Of the scores with distances, whether they are added or not.
    let parts = 1 + usize::from(content_to_position) + usize::from(position_to_content);
    let has_distances = content_to_position || position_to_content;
    let disentangled = if has_distances && config.bool_or("relative_attention", false)? {
        let longest = positive(config, "max_relative_positions")?.unwrap_or(rows);
        let buckets = positive(config, "position_buckets")?;
        let (span, max_distance) = (buckets.unwrap_or(longest), buckets.map(|_| longest));
        Some(Disentangled { span, max_distance, content_to_position, position_to_content })
    } else {
        None
    };
    let normed = config.str_or("norm_rel_ebd", "none")?.to_lowercase();
    let normed = normed.split('|').any(|name| name.trim() == "layer_norm");
    let mut names = Names { distance_norm: normed.then_some("encoder.LayerNorm"), ..NAMES };
    if !config.bool_or("share_att_key", false)? {
        names.distance_key = Some("encoder.layer.{}.attention.self.pos_key_proj");
        names.distance_query = Some("encoder.layer.{}.attention.self.pos_query_proj");
    }
    let absolute = config.bool_or("position_biased_input", true)?;
    let pooler = activation(config, "pooler_hidden_act", "gelu")?;
    let dense = Dense { name: "pooler.dense", bias: true, activation: pooler, prefixed: false };
    let activation = activation(config, "hidden_act", "gelu")?;
    Ok(Spec {
        family: "deberta-v2",
        vocabulary: config.usize("vocab_size")?,
        encoder: Some(Stack {
            activation,
            norm: Norm::layer(NormPlace::Post, config.f32_or("layer_norm_eps", 1e-7)?),
            position: if absolute { Position::Learned { rows, first: 0 } } else { Position::None },
            disentangled,
            attention: AttentionSpec {
                scale: 1.0 / ((heads.dim * parts) as f32).sqrt(),
                ..AttentionSpec::plain(heads.dim)
            },
            token_types: config.usize_or("type_vocab_size", 0)?,
            max_tokens: rows,
            ..Stack::new(hidden, layers, heads, config.usize("intermediate_size")?, names)
        }),
        decoder: None,
        head: head(config, dense, "classifier")?,
        language: None,
        masked: masked_head(config, activation)?,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};

    use super::*;
    use crate::families;

    fn read(more: Value) -> Result<Spec> {
        let mut fields = json!({
            "model_type": "deberta-v2", "vocab_size": 50, "hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 2,
            "intermediate_size": 40, "relative_attention": true, "pos_att_type": "p2c|c2p",
        });
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        families::spec(&Config::from_value(Path::new("config.json"), fields).unwrap())
    }

    #[test]
    fn the_table_is_of_buckets_or_of_all_distances() {
        let table = |more: Value| {
            let table = read(more).unwrap().encoder.unwrap().disentangled.unwrap();
            (table.span, table.max_distance)
        };
        assert_eq!(table(json!({})), (512, None));
        assert_eq!(table(json!({ "max_relative_positions": 100, "position_buckets": -1 })), (100, None));
        assert_eq!(table(json!({ "max_relative_positions": -1, "position_buckets": 256 })), (256, Some(512)));
        let scale = |more: Value| read(more).unwrap().encoder.unwrap().attention.scale;
        assert_eq!(scale(json!({})), 1.0 / 24f32.sqrt());
        // As in transformers, the kinds count even where they are not added.
        assert_eq!(scale(json!({ "relative_attention": false })), 1.0 / 24f32.sqrt());
        assert_eq!(scale(json!({ "pos_att_type": ["c2p"] })), 1.0 / 16f32.sqrt());
    }

    #[test]
    fn what_is_not_computed_is_refused_by_name() {
        for (more, named) in [
            (json!({ "conv_kernel_size": 3 }), "`conv_kernel_size`"),
            (json!({ "embedding_size": 16 }), "embedding_size 16"),
            (json!({ "pooler_hidden_size": 16 }), "pooler_hidden_size 16"),
            (json!({ "pos_att_type": ["p2p"] }), "pos_att_type"),
            (json!({ "max_position_embeddings": 70000 }), "65536 positions"),
        ] {
            let error = read(more).unwrap_err();
            assert!(error.message().contains(named), "{error}");
        }
    }
}
