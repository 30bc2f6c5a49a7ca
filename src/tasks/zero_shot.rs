//! Zero-shot classification: a model of natural language inference scores whether a text entails a hypothesis about each label (Yin et al.
//! 2019), as transformers' pipeline of this name computes it.

use std::time::Instant;

use crate::base::call::{Call, CallLimits, Cancellation, Priority};
use crate::base::error::{Error, Result, quoted};
use crate::base::memory::grow;
use crate::engine::Engine;
use crate::spec::{EncodeOutput, HeadKind};
use crate::text::tokenizer::EncodeOptions;

use super::classification::{ClassifierSettings, ScoreFunction};

const TEMPLATE: &str = "This example is {}.";

/// What stands for the label in a template.
const PLACE: &str = "{}";

/// The pairs of texts and hypotheses that are tokenised together.
const PAIRS: usize = 4096;

/// Options of [`crate::Model::classify_zero_shot`].
#[derive(Clone, Debug, Default)]
pub struct ZeroShotOptions {
    /// The hypothesis about a label, which takes the place of `{}`. `None`: `This example is {}.`
    pub hypothesis_template: Option<String>,
    /// Whether a text may have several labels: each score is then between 0 and 1 on its own; otherwise a text's scores sum to 1.
    pub multi_label: bool,
    /// The maximum number of tokens of a text with a hypothesis, special tokens included. The text is truncated, never the hypothesis.
    pub max_length: Option<usize>,
    pub cancellation: Option<Cancellation>,
    pub priority: Priority,
    /// When the call ends in any case, with [`Status::DeadlineExceeded`](crate::Status::DeadlineExceeded).
    pub deadline: Option<Instant>,
}

/// The labels of each text, the likeliest first.
#[derive(Clone, Debug, Default)]
pub struct ZeroShot {
    /// The number of labels.
    pub labels: usize,
    /// `[texts, labels]`: indices of the call's labels; of equal ones the lower index first.
    pub order: Vec<u32>,
    /// `[texts, labels]`: the scores in this order.
    pub scores: Vec<f32>,
    /// The number of tokens of each text with all hypotheses.
    pub tokens: Vec<usize>,
    /// 1 for each text that was truncated for one of them, else 0.
    pub truncated: Vec<u8>,
}

/// The outputs of a model that stand for entailment and for its opposite.
fn outputs(engine: &Engine, settings: &ClassifierSettings) -> Result<(usize, usize)> {
    let count = settings.labels.len();
    let entailment = settings.entailment.filter(|&id| id < count && count > 1).ok_or_else(|| {
        let (path, names) = (engine.path.display(), quoted(&settings.labels.join(", ")));
        Error::unsupported(format!(
            "{path}: zero-shot classification needs a model of natural language inference: one of its labels begins with \"entail\"; \
             this one has {names}"
        ))
    })?;
    // As transformers: the first output, or the last one if that is entailment.
    Ok((entailment, if entailment == 0 { count - 1 } else { 0 }))
}

fn hypotheses(labels: &[&str], options: &ZeroShotOptions) -> Result<Vec<String>> {
    let template = options.hypothesis_template.as_deref().unwrap_or(TEMPLATE);
    if labels.is_empty() {
        return Err(Error::invalid_argument("labels: there are none"));
    }
    if let Some(i) = labels.iter().position(|label| label.trim().is_empty()) {
        return Err(Error::invalid_argument(format!("labels[{i}]: is empty")));
    }
    match template.split_once(PLACE) {
        Some((before, after)) if !before.contains(['{', '}']) && !after.contains(['{', '}']) => {
            Ok(labels.iter().map(|label| format!("{before}{label}{after}")).collect())
        }
        _ => Err(Error::invalid_argument(format!(
            "hypothesis_template: {} must have {PLACE} once, in the place of the label, and no other braces",
            quoted(template)
        ))),
    }
}

/// As [`crate::Model::classify_zero_shot`].
pub(crate) fn classify_zero_shot(
    engine: &Engine,
    settings: &ClassifierSettings,
    texts: &[&str],
    labels: &[&str],
    options: &ZeroShotOptions,
) -> Result<ZeroShot> {
    engine.require_head(HeadKind::Sequence, "zero-shot classification")?;
    let outputs = outputs(engine, settings)?;
    let hypotheses = hypotheses(labels, options)?;
    let hypotheses: Vec<&str> = hypotheses.iter().map(String::as_str).collect();
    let max_length = options.max_length.map(|n| n.min(engine.spec.max_tokens()));
    let encode = EncodeOptions { max_length, only_first: true, ..Default::default() };
    let (count, width) = (labels.len(), settings.labels.len());
    let work = |call: Call<'_>| {
        engine.tokenizer.check_lengths(texts, None)?;
        let mut all = ZeroShot { labels: count, ..ZeroShot::default() };
        grow(&mut all.order, texts.len().saturating_mul(count), "the result");
        grow(&mut all.scores, texts.len().saturating_mul(count), "the result");
        // The logits of a text may come in several parts.
        let (mut logits, mut tokens, mut truncated) = (Vec::new(), 0, 0);
        let pairs = texts.len().saturating_mul(count);
        for first in (0..pairs).step_by(PAIRS) {
            let range = first..pairs.min(first + PAIRS);
            let firsts: Vec<&str> = range.clone().map(|pair| texts[pair / count]).collect();
            let seconds: Vec<&str> = range.clone().map(|pair| hypotheses[pair % count]).collect();
            let encoding = engine.encode(&firsts, Some(&seconds), &encode, call)?;
            let rows = engine.read(&encoding, &EncodeOutput::head(HeadKind::Sequence), call)?;
            for ((i, pair), row) in range.enumerate().zip(rows.chunks_exact(width)) {
                logits.extend([row[outputs.1], row[outputs.0]]);
                tokens += encoding.tokens_of(i);
                truncated |= encoding.truncated()[i];
                if pair % count == count - 1 {
                    all.push(scores(&std::mem::take(&mut logits), options.multi_label));
                    all.tokens.push(std::mem::take(&mut tokens));
                    all.truncated.push(std::mem::take(&mut truncated));
                }
            }
        }
        Ok(all)
    };
    let limits = CallLimits {
        cancellation: options.cancellation.as_ref(),
        priority: options.priority,
        deadline: options.deadline,
        bytes: texts.iter().map(|text| text.len()).sum(),
    };
    engine.call(limits, work, |z| (z.truncated.len(), z.tokens.iter().sum()))
}

/// The scores of one text's labels, from the logits of contradiction and entailment of each.
fn scores(logits: &[f32], multi_label: bool) -> Vec<f32> {
    let entailment = |values: &[f32]| values.chunks_exact(2).map(|pair| pair[1]).collect::<Vec<f32>>();
    // A single label would have the score 1 whatever the text.
    if multi_label || logits.len() == 2 {
        let mut scores = logits.to_vec();
        ScoreFunction::Softmax.apply(&mut scores, 2);
        return entailment(&scores);
    }
    let mut scores = entailment(logits);
    let count = scores.len();
    ScoreFunction::Softmax.apply(&mut scores, count);
    scores
}

impl ZeroShot {
    fn push(&mut self, scores: Vec<f32>) {
        let mut order: Vec<u32> = (0..scores.len() as u32).collect();
        order.sort_by(|&a, &b| scores[b as usize].total_cmp(&scores[a as usize]));
        self.scores.extend(order.iter().map(|&label| scores[label as usize]));
        self.order.extend(order);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_of_all_labels_or_of_each() {
        let logits = [0.0, 1.0, 9.0, 1.0, 0.0, 3.0];
        let all = scores(&logits, false);
        assert!((all.iter().sum::<f32>() - 1.0).abs() < 1e-6 && all[0] == all[1] && all[2] > all[0]);
        let each = scores(&logits, true);
        assert!(each[0] > 0.5 && each[1] < 0.01 && each[2] > 0.9);
        assert_eq!(scores(&logits[..2], false), scores(&logits[..2], true));
        let mut found = ZeroShot::default();
        found.push(all);
        assert_eq!(found.order, [2, 0, 1]);
    }

    #[test]
    fn templates_need_a_place_for_the_label() {
        let with = |template: Option<&str>, labels: &[&str]| {
            let hypothesis_template = template.map(str::to_string);
            hypotheses(labels, &ZeroShotOptions { hypothesis_template, ..ZeroShotOptions::default() })
        };
        assert_eq!(with(None, &["art", "law"]).unwrap(), ["This example is art.", "This example is law."]);
        assert_eq!(with(Some("On {}?"), &["{}"]).unwrap(), ["On {}?"]);
        for (template, labels, named) in [
            (Some("none"), &["a"][..], "hypothesis_template"),
            (Some("{} {}"), &["a"], "hypothesis_template"),
            (Some("{{}"), &["a"], "hypothesis_template"),
            (None, &[], "labels"),
            (None, &["a", " "], "labels[1]"),
        ] {
            assert!(with(template, labels).unwrap_err().message().contains(named));
        }
    }
}
