//! Command R (Cohere 2024): Llama with LayerNorm without bias, both sublayers in parallel behind one norm, and rotary positions of
//! neighbouring components.

use super::{llama, rope};
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{Biases, LanguageHead, Names, Norm, NormPlace, Rotary, Spec, Stack};

const NAMES: Names = Names { output_norm: llama::NAMES.attention_norm, ..llama::NAMES };

const DEFAULTS: llama::Defaults =
    llama::Defaults { rope: rope::Defaults { theta: 500_000.0, ..rope::Defaults::PLAIN }, ..llama::Defaults::PLAIN };

pub(super) fn spec(config: &Config) -> Result<Spec> {
    if config.bool_or("use_qk_norm", false)? {
        return Err(config.invalid("use_qk_norm", "is true; norms of queries and keys are not supported for cohere"));
    }
    let stack = llama::stack(config, &DEFAULTS)?;
    let biased = config.bool_or("attention_bias", false)?;
    let stack = Stack {
        norm: Norm { bias: false, ..Norm::layer(NormPlace::Parallel, config.f32_or("layer_norm_eps", 1e-5)?) },
        biases: Biases { qkv: biased, attention_output: biased, ..Biases::NONE },
        rotary: stack.rotary.map(|rotary| Rotary { interleaved: true, ..rotary }),
        names: NAMES,
        ..stack
    };
    let scale = config.f32_or("logit_scale", 0.0625)?;
    let spec = llama::model(config, "cohere", stack, true, 0.0)?;
    Ok(Spec { language: spec.language.map(|head| LanguageHead { scale, ..head }), ..spec })
}
