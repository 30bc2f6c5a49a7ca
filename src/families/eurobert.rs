//! EuroBERT (Boizard et al. 2025): Llama whose tokens see each other in both directions.

use super::{bidirectional, llama};
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{Biases, Spec, Stack};

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let attention = config.bool_or("attention_bias", false)?;
    let feed_forward = config.bool_or("mlp_bias", false)?;
    let biases =
        Biases { qkv: attention, attention_output: attention, feed_forward, feed_forward_output: feed_forward };
    let stack = llama::stack(config, &llama::Defaults { eps: 1e-5, ..llama::Defaults::PLAIN })?;
    Ok(bidirectional(llama::model(config, "eurobert", Stack { biases, ..stack }, false, 0.0)?, |window| window))
}
