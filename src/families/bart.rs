//! BART (Lewis et al. 2020), and mBART (Liu et al. 2020), which uses pre-norm and a final norm.

use super::{activation, heads};
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{LanguageHead, LinearTensors, Names, Norm, NormPlace, Position, Spec, Stack};

/// The row of the position table for the first token.
const FIRST: usize = 2;

/// The table that the encoder and the decoder share, unless the checkpoint has others for them.
const ENCODER_WORD: &[&str] = &["encoder.embed_tokens", "shared", "decoder.embed_tokens"];
const DECODER_WORD: &[&str] = &["decoder.embed_tokens", "shared", "encoder.embed_tokens"];

pub(super) const ENCODER: Names = Names {
    prefix: "model.",
    word: ENCODER_WORD,
    position: "encoder.embed_positions",
    embedding_norm: Some("encoder.layernorm_embedding"),
    qkv: LinearTensors::Separate(&[
        "encoder.layers.{}.self_attn.q_proj",
        "encoder.layers.{}.self_attn.k_proj",
        "encoder.layers.{}.self_attn.v_proj",
    ]),
    attention_output: LinearTensors::Single("encoder.layers.{}.self_attn.out_proj"),
    attention_norm: "encoder.layers.{}.self_attn_layer_norm",
    up: LinearTensors::Single("encoder.layers.{}.fc1"),
    down: LinearTensors::Single("encoder.layers.{}.fc2"),
    output_norm: "encoder.layers.{}.final_layer_norm",
    ..Names::EMPTY
};

pub(super) const DECODER: Names = Names {
    prefix: "model.",
    word: DECODER_WORD,
    position: "decoder.embed_positions",
    embedding_norm: Some("decoder.layernorm_embedding"),
    qkv: LinearTensors::Separate(&[
        "decoder.layers.{}.self_attn.q_proj",
        "decoder.layers.{}.self_attn.k_proj",
        "decoder.layers.{}.self_attn.v_proj",
    ]),
    attention_output: LinearTensors::Single("decoder.layers.{}.self_attn.out_proj"),
    attention_norm: "decoder.layers.{}.self_attn_layer_norm",
    cross_query: Some("decoder.layers.{}.encoder_attn.q_proj"),
    cross_key_value: Some(&["decoder.layers.{}.encoder_attn.k_proj", "decoder.layers.{}.encoder_attn.v_proj"]),
    cross_output: Some("decoder.layers.{}.encoder_attn.out_proj"),
    cross_norm: Some("decoder.layers.{}.encoder_attn_layer_norm"),
    up: LinearTensors::Single("decoder.layers.{}.fc1"),
    down: LinearTensors::Single("decoder.layers.{}.fc2"),
    output_norm: "decoder.layers.{}.final_layer_norm",
    ..Names::EMPTY
};

/// One of the two stacks; `prefix` is the prefix of its configuration fields.
pub(super) struct Side {
    pub prefix: &'static str,
    pub cross: bool,
    pub names: Names,
}

/// A stack as in BART, without positions.
pub(super) fn stack(config: &Config, side: Side, place: NormPlace) -> Result<Stack> {
    let hidden = config.usize("d_model")?;
    let field = |name: &str| config.usize(&format!("{}_{name}", side.prefix));
    let heads = heads(config, hidden, field("attention_heads")?)?;
    Ok(Stack {
        activation: activation(config, "activation_function", "gelu")?,
        norm: Norm::layer(place, 1e-5),
        embedding_scale: if config.bool_or("scale_embedding", false)? { (hidden as f32).sqrt() } else { 1.0 },
        cross: side.cross,
        ..Stack::new(hidden, field("layers")?, heads, field("ffn_dim")?, side.names)
    })
}

/// The language head of BART and similar models, with a bias on the logits.
pub(super) fn language(config: &Config) -> Result<LanguageHead> {
    let weight = super::language_weight(config, true, &["lm_head"])?;
    Ok(LanguageHead { weight, bias: Some("final_logits_bias"), scale: 1.0, softcap: 0.0 })
}

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let mbart = config.str("model_type")? == "mbart";
    let place = if mbart { NormPlace::Pre } else { NormPlace::Post };
    let last = |name: &'static str| mbart.then_some(name);
    let max_tokens = super::positions(config)?;
    let position = Position::Learned { rows: max_tokens.saturating_add(FIRST), first: FIRST };
    let encoder =
        Side { prefix: "encoder", cross: false, names: Names { final_norm: last("encoder.layer_norm"), ..ENCODER } };
    let decoder =
        Side { prefix: "decoder", cross: true, names: Names { final_norm: last("decoder.layer_norm"), ..DECODER } };
    Ok(Spec {
        family: if mbart { "mbart" } else { "bart" },
        vocabulary: config.usize("vocab_size")?,
        encoder: Some(Stack { position, max_tokens, ..stack(config, encoder, place)? }),
        decoder: Some(Stack { position, max_tokens, ..stack(config, decoder, place)? }),
        head: None,
        language: Some(language(config)?),
        masked: None,
    })
}
