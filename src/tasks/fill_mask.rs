//! The most likely tokens for masks in texts, as transformers' fill-mask pipeline finds them.

use std::time::Instant;

use crate::backend::host;
use crate::base::call::{Call, CallLimits, Cancellation, Priority};
use crate::base::error::{Error, Result, quoted};
use crate::engine::Engine;
use crate::spec::EncodeOutput;
use crate::text::encoding::Encoding;
use crate::text::tokenizer::EncodeOptions;

use super::batches::by_rows;

/// The tokens of each mask, unless a call says otherwise.
const TOP_K: usize = 5;

/// Options of [`crate::Model::fill_mask`].
#[derive(Clone, Debug, Default)]
pub struct FillMaskOptions {
    /// The tokens of each mask, the likeliest ones. `None`: 5.
    pub top_k: Option<usize>,
    /// Only these tokens are looked at; empty for the whole vocabulary. If a target is not one token, its first token is used, and a warning is
    /// logged.
    pub targets: Vec<String>,
    /// The maximum number of tokens of a text, special tokens included; longer texts are truncated.
    pub max_length: Option<usize>,
    pub cancellation: Option<Cancellation>,
    pub priority: Priority,
    /// When the call ends in any case, with [`Status::DeadlineExceeded`](crate::Status::DeadlineExceeded).
    pub deadline: Option<Instant>,
}

/// A token for a mask.
#[derive(Clone, Debug, PartialEq)]
pub struct Fill {
    pub token: u32,
    /// The token as text.
    pub token_text: String,
    /// Its probability among all tokens of the vocabulary.
    pub score: f32,
    /// The text with the token in the place of the mask; if it has several masks, with its special tokens.
    pub sequence: String,
}

/// The tokens of all masks of a batch.
#[derive(Clone, Debug, Default)]
pub struct MaskFills {
    /// `top_k` for each mask, the likeliest first.
    pub fills: Vec<Fill>,
    /// At most as many as there are targets.
    pub top_k: usize,
    /// Text `i`'s masks are `starts[i]..starts[i + 1]`.
    pub starts: Vec<usize>,
    /// The number of tokens of each text, special tokens included.
    pub tokens: Vec<usize>,
    /// 1 for each text that was truncated, else 0.
    pub truncated: Vec<u8>,
}

/// As [`crate::Model::fill_mask`].
pub(crate) fn fill_mask(engine: &Engine, texts: &[&str], options: &FillMaskOptions) -> Result<MaskFills> {
    engine.require_masked("filling masks")?;
    let mask = mask_token(engine)?;
    let targets = target_ids(engine, &options.targets)?;
    let most = targets.as_ref().map_or(engine.spec.vocabulary, Vec::len);
    let top_k = match options.top_k.unwrap_or(TOP_K) {
        0 => return Err(Error::invalid_argument("top_k: is 0")),
        top_k => top_k.min(most),
    };
    let work = |call: Call<'_>| {
        let max_length = options.max_length.map(|n| n.min(engine.spec.max_tokens()));
        let encoding = engine.encode(texts, None, &EncodeOptions { max_length, ..Default::default() }, call)?;
        let masks = masks_of(&encoding, mask)?;
        let mut all = MaskFills { top_k, starts: vec![0], ..MaskFills::default() };
        for part in by_rows(&masks, engine.spec.vocabulary) {
            let batch = encoding.select(&part);
            let logits = engine.read(&batch, &EncodeOutput::masks(mask.0), call)?;
            let mut rows = logits.chunks_exact(engine.spec.vocabulary);
            for &text in &part {
                call.check()?;
                let ids = encoding.ids_of(text);
                for row in rows.by_ref().take(masks[text]).enumerate() {
                    fill(engine, row, (ids, mask.0, masks[text]), targets.as_deref(), top_k, &mut all.fills)?;
                }
                all.starts.push(all.fills.len() / top_k);
            }
        }
        all.tokens.extend((0..encoding.len()).map(|text| encoding.tokens_of(text)));
        all.truncated = encoding.truncated;
        Ok(all)
    };
    let limits = CallLimits {
        cancellation: options.cancellation.as_ref(),
        priority: options.priority,
        deadline: options.deadline,
        bytes: texts.iter().map(|text| text.len()).sum(),
    };
    engine.call(limits, work, |fills| (fills.truncated.len(), fills.tokens.iter().sum()))
}

/// The mask token's id and text.
fn mask_token(engine: &Engine) -> Result<(u32, &str)> {
    let text = engine.tokenizer.special_tokens().get("mask_token");
    let found = text.and_then(|text| Some((engine.tokenizer.token_id(text)?, text)));
    found.ok_or_else(|| {
        let path = engine.tokenizer.path().display();
        Error::unsupported(format!("{path}: the tokenizer's files name no mask token"))
    })
}

/// The number of masks of each text.
fn masks_of(encoding: &Encoding, (mask, name): (u32, &str)) -> Result<Vec<usize>> {
    let count = |text| encoding.ids_of(text).iter().filter(|&&id| id == mask).count();
    let masks: Vec<usize> = (0..encoding.len()).map(count).collect();
    if let Some(text) = masks.iter().position(|&count| count == 0) {
        let cut = if encoding.truncated()[text] != 0 { " in the part that is left of it" } else { "" };
        return Err(Error::invalid_argument(format!("texts[{text}]: has no mask token ({name}){cut}")));
    }
    Ok(masks)
}

/// The ids of the targets, each once; None for the whole vocabulary.
fn target_ids(engine: &Engine, targets: &[String]) -> Result<Option<Vec<u32>>> {
    if targets.is_empty() {
        return Ok(None);
    }
    let mut ids = Vec::with_capacity(targets.len());
    for (i, target) in targets.iter().enumerate() {
        let id = match engine.tokenizer.token_id(target) {
            Some(id) => id,
            None => {
                let first = engine.tokenizer.ids(target, false)?.first().copied();
                let id = first
                    .ok_or_else(|| Error::invalid_argument(format!("targets[{i}]: {} has no token", quoted(target))))?;
                let token = engine.tokenizer.decode(&[id], false)?;
                let (target, token) = (quoted(target), quoted(&token));
                engine.log.warning(|| {
                    format!(
                        "targets[{i}]: {target} is not one token of the vocabulary; its first token {token} is used"
                    )
                });
                id
            }
        };
        if id as usize >= engine.spec.vocabulary {
            let limit = engine.spec.vocabulary;
            return Err(Error::invalid_argument(format!(
                "targets[{i}]: token {id} of {} is beyond the model's vocabulary of {limit}",
                quoted(target)
            )));
        }
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(Some(ids))
}

/// Adds the likeliest tokens for one of a text's masks, by its logits.
fn fill(
    engine: &Engine,
    (nth, logits): (usize, &[f32]),
    (ids, mask, masks): (&[u32], u32, usize),
    targets: Option<&[u32]>,
    top_k: usize,
    fills: &mut Vec<Fill>,
) -> Result<()> {
    let tokenizer = &engine.tokenizer;
    let mut list: Vec<(f32, u32)> = match targets {
        Some(targets) => targets.iter().map(|&id| (logits[id as usize], id)).collect(),
        None => logits.iter().copied().zip(0..).collect(),
    };
    let likelier = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
    if top_k < list.len() {
        list.select_nth_unstable_by(top_k, likelier);
        list.truncate(top_k);
    }
    list.sort_unstable_by(likelier);
    let total = host::log_sum_exp(logits);
    let at = ids.iter().enumerate().filter(|(_, id)| **id == mask).nth(nth).map_or(0, |(at, _)| at);
    let mut sequence = ids.to_vec();
    for (logit, token) in list {
        sequence[at] = token;
        let shown: Vec<u32> = sequence.iter().copied().filter(|&id| Some(id) != tokenizer.pad_id()).collect();
        fills.push(Fill {
            token,
            token_text: tokenizer.decode_lenient(&[token], false)?,
            score: (logit - total).exp(),
            // The other masks of a text would be left out as special tokens.
            sequence: tokenizer.decode_lenient(&shown, masks == 1)?,
        });
    }
    Ok(())
}
