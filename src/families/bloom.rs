//! BLOOM (Le Scao et al. 2022): ALiBi, a norm after the embeddings, and one tensor of queries, keys and values.

use super::{equal_heads, llama};
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{Activation, LinearTensors, Names, Norm, NormPlace, Spec, Stack};

const NAMES: Names = Names {
    prefix: "transformer.",
    word: &["word_embeddings"],
    embedding_norm: Some("word_embeddings_layernorm"),
    qkv: LinearTensors::ByHead("h.{}.self_attention.query_key_value"),
    attention_output: LinearTensors::Single("h.{}.self_attention.dense"),
    attention_norm: "h.{}.input_layernorm",
    up: LinearTensors::Single("h.{}.mlp.dense_h_to_4h"),
    down: LinearTensors::Single("h.{}.mlp.dense_4h_to_h"),
    output_norm: "h.{}.post_attention_layernorm",
    final_norm: Some("ln_f"),
    ..Names::EMPTY
};

/// ALiBi's steepest exponent; a constant of the class.
pub(super) const ALIBI: f32 = 8.0;

/// The class has no limit, because ALiBi has none; the models were trained on 2,048 tokens.
const MAX_TOKENS: usize = 8192;

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let heads = equal_heads(config, "hidden_size", "n_head")?;
    let hidden = config.usize("hidden_size")?;
    if config.bool_or("apply_residual_connection_post_layernorm", false)? {
        return Err(
            config.invalid("apply_residual_connection_post_layernorm", "is true, which is not supported for bloom")
        );
    }
    let stack = Stack {
        activation: Activation::GeluTanh,
        norm: Norm::layer(NormPlace::Pre, config.f32_or("layer_norm_epsilon", 1e-5)?),
        alibi: Some(ALIBI),
        max_tokens: MAX_TOKENS,
        ..Stack::new(hidden, config.usize("n_layer")?, heads, hidden.saturating_mul(4), NAMES)
    };
    llama::model(config, "bloom", stack, true, 0.0)
}
