//! NomicBERT (Nussbaum et al. 2024; nomic-embed-text v1 and v1.5): BERT with rotary positions and a gated feed-forward, without biases.
//! The published files have GPT-2's names for the fields; transformers 5 writes BERT's, and the same tensors.

use super::{activation, heads, rope, usize_default};
use crate::base::error::{Error, Result};
use crate::formats::json::Config;
use crate::spec::{Activation, Biases, Heads, LinearTensors, Names, Norm, NormPlace, Spec, Stack};

const NAMES: Names = Names {
    prefix: "bert.",
    word: &["embeddings.word_embeddings"],
    token_type: Some("embeddings.token_type_embeddings"),
    embedding_norm: Some("emb_ln"),
    qkv: LinearTensors::Single("encoder.layers.{}.attn.Wqkv"),
    attention_output: LinearTensors::Single("encoder.layers.{}.attn.out_proj"),
    attention_norm: "encoder.layers.{}.norm1",
    // The gate is the second of the two.
    up: LinearTensors::Separate(&["encoder.layers.{}.mlp.fc12", "encoder.layers.{}.mlp.fc11"]),
    down: LinearTensors::Single("encoder.layers.{}.mlp.fc2"),
    output_norm: "encoder.layers.{}.norm2",
    ..Names::EMPTY
};

const ROPE: rope::Defaults = rope::Defaults { theta: 1000.0, ..rope::Defaults::PLAIN };

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let published = config.contains("n_embd");
    let name = |published_name, name| if published { published_name } else { name };
    let hidden = config.usize(name("n_embd", "hidden_size"))?;
    let layers = config.usize(name("n_layer", "num_hidden_layers"))?;
    let count = config.usize(name("n_head", "num_attention_heads"))?;
    let heads = match usize_default(config, "head_dim", None)? {
        Some(dim) => Heads::equal(count, dim),
        None => heads(config, hidden, count)?,
    };
    let eps = config.f32_or(name("layer_norm_epsilon", "layer_norm_eps"), 1e-12)?;
    let max_tokens = if published { config.usize("n_positions")? } else { super::positions(config)? };
    let activation = if published { gate(config)? } else { activation(config, "hidden_act", "silu")? };
    // v1's `rotary_scaling_factor` changes the frequencies of texts beyond this length.
    let max_tokens = match published && config.has("rotary_scaling_factor") {
        true => max_tokens.min(config.usize_or("max_trained_positions", 2048)?),
        false => max_tokens,
    };
    let rotary = rope::read(config, heads.dim, max_tokens, &ROPE)?;
    let intermediate = match published {
        true => config.usize_or("n_inner", hidden.saturating_mul(4))?,
        false => config.usize("intermediate_size")?,
    };
    Ok(Spec {
        family: "nomic_bert",
        vocabulary: config.usize("vocab_size")?,
        encoder: Some(Stack {
            activation,
            gated: true,
            norm: Norm::layer(NormPlace::Post, eps),
            biases: Biases::NONE,
            max_tokens: rotary.reach(max_tokens),
            rotary: Some(rotary),
            token_types: config.usize_or("type_vocab_size", 2)?,
            ..Stack::new(hidden, layers, heads, intermediate, NAMES)
        }),
        decoder: None,
        head: None,
        language: None,
        masked: None,
    })
}

/// The gate's activation, which the published files name together with the gating.
fn gate(config: &Config) -> Result<Activation> {
    match config.str("activation_function")? {
        "swiglu" => Ok(Activation::Silu),
        "geglu" => Ok(Activation::Gelu),
        other => Err(Error::unsupported(format!(
            "{}: field `activation_function`: {other:?} is not supported for nomic_bert; supported are swiglu and geglu",
            config.path().display()
        ))),
    }
}
