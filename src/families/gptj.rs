//! GPT-J (Wang and Komatsuzaki 2021): both sublayers read one norm's output; rotary positions of neighbouring components.

use super::{activation, equal_heads, llama, usize_default};
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{Biases, LanguageHead, LinearTensors, Names, Norm, NormPlace, Rotary, RotaryScaling, Spec, Stack};

const NAMES: Names = Names {
    prefix: "transformer.",
    word: &["wte"],
    qkv: LinearTensors::Separate(&["h.{}.attn.q_proj", "h.{}.attn.k_proj", "h.{}.attn.v_proj"]),
    attention_output: LinearTensors::Single("h.{}.attn.out_proj"),
    attention_norm: "h.{}.ln_1",
    up: LinearTensors::Single("h.{}.mlp.fc_in"),
    down: LinearTensors::Single("h.{}.mlp.fc_out"),
    output_norm: "h.{}.ln_1",
    final_norm: Some("ln_f"),
    ..Names::EMPTY
};

/// The base of the frequencies; a constant of the class.
const THETA: f32 = 10_000.0;

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let heads = equal_heads(config, "n_embd", "n_head")?;
    let (hidden, max_tokens) = (config.usize("n_embd")?, config.usize_or("n_positions", 2048)?);
    let intermediate = usize_default(config, "n_inner", None)?.unwrap_or(hidden.saturating_mul(4));
    let dim = usize_default(config, "rotary_dim", Some(64))?.unwrap_or(heads.dim);
    let rotary = Rotary {
        dim,
        theta: THETA,
        scaling: RotaryScaling::None,
        local_theta: None,
        without: Vec::new(),
        interleaved: true,
    };
    let stack = Stack {
        activation: activation(config, "activation_function", "gelu_new")?,
        norm: Norm::layer(NormPlace::Parallel, config.f32_or("layer_norm_epsilon", 1e-5)?),
        biases: Biases { qkv: false, attention_output: false, ..Biases::ALL },
        max_tokens,
        rotary: Some(rotary),
        ..Stack::new(hidden, config.usize("n_layer")?, heads, intermediate, NAMES)
    };
    let mut spec = llama::model(config, "gptj", stack, false, 0.0)?;
    spec.language = spec.language.map(|head| LanguageHead { bias: Some("lm_head.bias"), ..head });
    Ok(spec)
}
