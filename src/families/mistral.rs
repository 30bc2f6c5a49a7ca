//! Mistral (Jiang et al. 2023): Llama with sliding-window attention.

use super::llama;
use crate::base::error::Result;
use crate::formats::json::Config;
use crate::spec::{AttentionSpec, Spec, Stack};

pub(super) fn spec(config: &Config) -> Result<Spec> {
    let defaults = llama::Defaults { kv_heads: Some(8), ..llama::Defaults::PLAIN };
    let stack = llama::stack(config, &defaults)?;
    let window = super::usize_default(config, "sliding_window", Some(4096))?;
    let windows = llama::windows(config, stack.layers, window, |_| true)?;
    let attention = AttentionSpec { windows, ..stack.attention };
    llama::model(config, "mistral", Stack { attention, ..stack }, false, 0.0)
}
