//! StableLM 2 (Bellagente et al. 2024): Llama with LayerNorm and partial rotary positions; its largest model runs both sublayers in
//! parallel, behind one norm.

use super::{llama, rope};
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{Biases, Names, Norm, NormPlace, Spec, Stack};

const DEFAULTS: llama::Defaults = llama::Defaults {
    kv_heads: Some(32),
    rope: rope::Defaults { fraction: 0.25, ..rope::Defaults::PLAIN },
    ..llama::Defaults::PLAIN
};

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let stack = llama::stack(config, &DEFAULTS)?;
    let parallel = config.bool_or("use_parallel_residual", false)?;
    let (place, names) = match parallel {
        true => (NormPlace::Parallel, Names { output_norm: stack.names.attention_norm, ..stack.names }),
        false => (NormPlace::Pre, stack.names),
    };
    let stack = Stack {
        norm: Norm::layer(place, config.f32_or("layer_norm_eps", 1e-5)?),
        biases: Biases { qkv: config.bool_or("use_qkv_bias", false)?, ..Biases::NONE },
        names,
        ..stack
    };
    llama::model(config, "stablelm", stack, false, 0.0)
}
