//! T5 (Raffel et al. 2020) in all its versions: v1.0, v1.1 and Flan-T5, mT5 (Xue et al. 2021), CodeT5.

use super::named_activation;
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{
    Activation, AttentionSpec, Biases, Heads, LanguageHead, LanguageWeight, LinearTensors, Names, Norm, NormPlace,
    Relative, Spec, Stack,
};

/// The maximum number of tokens. T5's relative position bias sets none, because distant keys share a bucket; this limit bounds
/// the table of biases by distance.
const MAX_TOKENS: usize = 8192;

macro_rules! part {
    ($stack:literal, $rest:literal) => {
        concat!($stack, ".block.{}.layer.", $rest)
    };
}

const fn names(gated: bool, decoder: bool) -> Names {
    if decoder {
        Names {
            word: &["decoder.embed_tokens", "shared", "encoder.embed_tokens"],
            relative_bias: Some("decoder.block.0.layer.0.SelfAttention.relative_attention_bias"),
            qkv: LinearTensors::Separate(&[
                part!("decoder", "0.SelfAttention.q"),
                part!("decoder", "0.SelfAttention.k"),
                part!("decoder", "0.SelfAttention.v"),
            ]),
            attention_output: LinearTensors::Single(part!("decoder", "0.SelfAttention.o")),
            attention_norm: part!("decoder", "0.layer_norm"),
            cross_query: Some(part!("decoder", "1.EncDecAttention.q")),
            cross_key_value: Some(&[part!("decoder", "1.EncDecAttention.k"), part!("decoder", "1.EncDecAttention.v")]),
            cross_output: Some(part!("decoder", "1.EncDecAttention.o")),
            cross_norm: Some(part!("decoder", "1.layer_norm")),
            up: if gated {
                LinearTensors::Separate(&[
                    part!("decoder", "2.DenseReluDense.wi_0"),
                    part!("decoder", "2.DenseReluDense.wi_1"),
                ])
            } else {
                LinearTensors::Single(part!("decoder", "2.DenseReluDense.wi"))
            },
            down: LinearTensors::Single(part!("decoder", "2.DenseReluDense.wo")),
            output_norm: part!("decoder", "2.layer_norm"),
            final_norm: Some("decoder.final_layer_norm"),
            ..Names::EMPTY
        }
    } else {
        Names {
            word: &["encoder.embed_tokens", "shared", "decoder.embed_tokens"],
            relative_bias: Some("encoder.block.0.layer.0.SelfAttention.relative_attention_bias"),
            qkv: LinearTensors::Separate(&[
                part!("encoder", "0.SelfAttention.q"),
                part!("encoder", "0.SelfAttention.k"),
                part!("encoder", "0.SelfAttention.v"),
            ]),
            attention_output: LinearTensors::Single(part!("encoder", "0.SelfAttention.o")),
            attention_norm: part!("encoder", "0.layer_norm"),
            up: if gated {
                LinearTensors::Separate(&[
                    part!("encoder", "1.DenseReluDense.wi_0"),
                    part!("encoder", "1.DenseReluDense.wi_1"),
                ])
            } else {
                LinearTensors::Single(part!("encoder", "1.DenseReluDense.wi"))
            },
            down: LinearTensors::Single(part!("encoder", "1.DenseReluDense.wo")),
            output_norm: part!("encoder", "1.layer_norm"),
            final_norm: Some("encoder.final_layer_norm"),
            ..Names::EMPTY
        }
    }
}

/// `feed_forward_proj` is an activation, with the prefix `gated-` for a gated feed-forward; `gated-gelu` means the tanh
/// approximation.
fn feed_forward(config: &Config) -> Result<(Activation, bool)> {
    const KEY: &str = "feed_forward_proj";
    let default = if config.str("model_type")? == "mt5" { "gated-gelu" } else { "relu" };
    match config.str_or(KEY, default)? {
        "gated-gelu" => Ok((Activation::GeluTanh, true)),
        name => match name.strip_prefix("gated-") {
            Some(inner) => Ok((named_activation(config, KEY, inner)?, true)),
            None => Ok((named_activation(config, KEY, name)?, false)),
        },
    }
}

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let hidden = config.usize("d_model")?;
    let heads = Heads::equal(config.usize("num_heads")?, config.usize("d_kv")?);
    let layers = config.usize("num_layers")?;
    let (activation, gated) = feed_forward(config)?;
    let stack = |layers: usize, decoder: bool| -> Result<Stack> {
        Ok(Stack {
            activation,
            gated,
            norm: Norm::rms(NormPlace::Pre, config.f32_or("layer_norm_epsilon", 1e-6)?),
            biases: Biases::NONE,
            relative: Some(Relative {
                buckets: config.usize_or("relative_attention_num_buckets", 32)?,
                max_distance: config.usize_or("relative_attention_max_distance", 128)?,
                bidirectional: !decoder,
            }),
            attention: AttentionSpec { scale: 1.0, ..AttentionSpec::plain(heads.dim) },
            max_tokens: MAX_TOKENS,
            cross: decoder,
            ..Stack::new(hidden, layers, heads, config.usize("d_ff")?, names(gated, decoder))
        })
    };
    // The head is tied unless the checkpoint has another; `tie_word_embeddings` says whether the states are scaled, if not
    // `scale_decoder_outputs`, which transformers 5 writes, does. mT5's are not.
    let (tied, multilingual) = (config.bool_or("tie_word_embeddings", true)?, config.str("model_type")? == "mt5");
    let scaled = config.bool_or("scale_decoder_outputs", tied)? && !multilingual;
    // sentence-t5 and the text encoders of image models have no decoder.
    let encoder_only = config.strings("architectures")?.contains(&"T5EncoderModel");
    let decoder = if encoder_only { None } else { Some(stack(config.usize_or("num_decoder_layers", layers)?, true)?) };
    Ok(Spec {
        family: if multilingual { "mt5" } else { "t5" },
        vocabulary: config.usize("vocab_size")?,
        encoder: Some(stack(layers, false)?),
        head: None,
        masked: None,
        language: decoder.as_ref().map(|_| LanguageHead {
            weight: LanguageWeight::OwnOrTied(&["lm_head"]),
            bias: None,
            scale: if scaled { (hidden as f32).powf(-0.5) } else { 1.0 },
            softcap: 0.0,
        }),
        decoder,
    })
}
