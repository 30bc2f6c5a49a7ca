//! NomicBERT (Nussbaum et al. 2024; nomic-embed-text v1 and v1.5): BERT with rotary positions and a gated feed-forward, without biases.
//! The published files have GPT-2's names for the fields; transformers 5 writes BERT's, and the same tensors. nomic-embed-text-v2-moe
//! (Nussbaum and Duderstadt 2025) has biases, a feed-forward without a gate, and a mixture of experts in every second layer, as the library
//! MegaBlocks has it.

use super::{activation, heads, rope, usize_default};
use crate::base::error::{Error, Result};
use crate::formats::json::Config;
use crate::spec::{Activation, Biases, Experts, Heads, LinearTensors, Names, Norm, NormPlace, Spec, Stack};

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

/// Without a gate, and with experts.
const PLAIN_NAMES: Names = Names {
    up: LinearTensors::Single("encoder.layers.{}.mlp.fc1"),
    router: Some("encoder.layers.{}.mlp.router.layer"),
    expert_up: LinearTensors::Single("encoder.layers.{}.mlp.experts.mlp.w1"),
    expert_down: LinearTensors::Transposed("encoder.layers.{}.mlp.experts.mlp.w2"),
    expert_bias: Some("encoder.layers.{}.mlp.experts.bias"),
    ..NAMES
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
    let (activation, gated) = match published {
        true => published_activation(config)?,
        false => (activation(config, "hidden_act", "silu")?, true),
    };
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
            gated,
            experts: experts(config, layers, intermediate, gated)?,
            norm: Norm::layer(NormPlace::Post, eps),
            biases: biases(config)?,
            max_tokens: rotary.reach(max_tokens),
            rotary: Some(rotary),
            token_types: config.usize_or("type_vocab_size", 2)?,
            ..Stack::new(hidden, layers, heads, intermediate, if gated { NAMES } else { PLAIN_NAMES })
        }),
        decoder: None,
        head: None,
        language: None,
        masked: None,
    })
}

/// The activation, and whether there is a gate, which the published files name together.
fn published_activation(config: &Config) -> Result<(Activation, bool)> {
    match config.str("activation_function")? {
        "swiglu" => Ok((Activation::Silu, true)),
        "geglu" => Ok((Activation::Gelu, true)),
        "gelu" => Ok((Activation::Gelu, false)),
        other => Err(Error::unsupported(format!(
            "{}: field `activation_function`: {other:?} is not supported for nomic_bert; supported are swiglu, geglu and gelu",
            config.path().display()
        ))),
    }
}

fn biases(config: &Config) -> Result<Biases> {
    let attention = config.bool_or("qkv_proj_bias", false)?;
    Ok(Biases {
        qkv: attention,
        attention_output: attention,
        feed_forward: config.bool_or("mlp_fc1_bias", false)?,
        feed_forward_output: config.bool_or("mlp_fc2_bias", false)?,
    })
}

fn experts(config: &Config, layers: usize, intermediate: usize, gated: bool) -> Result<Option<Experts>> {
    let (count, every) = (config.usize_or("num_experts", 0)?, config.usize_or("moe_every_n_layers", 0)?);
    if count == 0 || every == 0 {
        return Ok(None);
    }
    if gated {
        return Err(Error::unsupported(format!(
            "{}: field `num_experts`: experts with a gate are not supported for nomic_bert",
            config.path().display()
        )));
    }
    let parts = config.usize_or("ffn_div", 1)?;
    if parts == 0 {
        return Err(config.invalid("ffn_div", "is 0"));
    }
    Ok(Some(Experts {
        count,
        per_token: config.usize_or("moe_top_k", 1)?,
        intermediate: intermediate / parts,
        normalized: config.bool_or("moe_normalize_expert_weights", false)?,
        shared: None,
        // `check_stack` refuses more layers later; until then do not allocate memory for them.
        layers: (0..layers.min(4096)).map(|layer| layer % every == 1).collect(),
    }))
}
