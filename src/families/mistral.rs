//! Mistral (Jiang et al. 2023): Llama with sliding-window attention.

use super::llama;
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{AttentionSpec, Spec, Stack};

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let stack = llama::stack(config)?;
    let windows = llama::windows(config, stack.layers, config.usize_opt("sliding_window")?, |_| true)?;
    let attention = AttentionSpec { windows, ..stack.attention };
    llama::model(config, "mistral", Stack { attention, ..stack }, false, 0.0)
}
