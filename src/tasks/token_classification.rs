//! Token classification, for instance named entity recognition.

use crate::base::call::Call;
use crate::base::error::{Error, Result};
use crate::engine::Engine;
use crate::spec::HeadKind;

use super::classification::{ClassifierSettings, ClassifyOptions, best, encode_options, token_scores};

/// The label of tokens that belong to no entity.
const OUTSIDE: &str = "O";

/// The aggregation of tokens to entities, as in Hugging Face's token classification pipeline. The numbers are part of the C ABI: new
/// ones are only appended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum Aggregation {
    /// One entity per token, named by the full label.
    None = 1,
    /// Adjacent tokens of one kind form an entity; `B-` starts a new one. The name has no `B-` and `I-`; the score is the mean of the
    /// tokens.
    #[default]
    Simple = 2,
}

impl Aggregation {
    pub fn from_u32(value: u32) -> Option<Self> {
        [Self::None, Self::Simple].into_iter().find(|&a| a as u32 == value)
    }
}

/// A labelled span of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Entity {
    /// The index of the text in the batch.
    pub text: usize,
    /// The label, or its kind without `B-` and `I-`.
    pub name: String,
    /// The label index of the first token.
    pub label: u32,
    pub score: f32,
    /// The byte range in the text.
    pub start: usize,
    pub end: usize,
}

#[derive(Clone, Debug)]
pub struct TokenClassifications {
    /// The entities in the order of the texts, without tokens labelled `O`.
    pub entities: Vec<Entity>,
    /// The scores of tokens, `[tokens, labels]`, all texts concatenated, special tokens included.
    pub scores: Vec<f32>,
    pub labels: usize,
    /// Text `i`'s tokens are `starts[i]..starts[i + 1]`.
    pub starts: Vec<usize>,
    /// 1 for each text that was truncated, else 0.
    pub truncated: Vec<u8>,
}

/// As [`crate::Model::classify_tokens`].
pub(crate) fn classify_tokens(
    engine: &Engine,
    settings: &ClassifierSettings,
    texts: &[&str],
    aggregation: Aggregation,
    options: &ClassifyOptions,
) -> Result<TokenClassifications> {
    engine.require_head(HeadKind::Token, "token classification")?;
    if options.prompt.is_some() || options.prompt_name.is_some() {
        return Err(Error::invalid_argument("prompt: texts whose tokens are classified have no prompt; leave it out"));
    }
    let names = &settings.labels;
    let labels = names.len();
    let work = |call: Call<'_>| {
        let encoding = engine.encode(texts, None, &encode_options(engine, options, true), call)?;
        let scores = token_scores(engine, labels, &encoding, options.function, call)?;
        let offsets = encoding.offsets().unwrap_or_default();
        let mut entities = Vec::new();
        for (text, bounds) in encoding.starts().windows(2).enumerate() {
            let tokens = (bounds[0]..bounds[1]).filter(|&t| encoding.special_tokens_mask()[t] == 0);
            let tokens = tokens.map(|t| {
                let row = &scores[t * labels..][..labels];
                let label = best(row);
                let name = names[label].clone();
                let (start, end) = (offsets[t].start, offsets[t].end);
                Entity { text, name, label: label as u32, score: row[label], start, end }
            });
            match aggregation {
                Aggregation::None => entities.extend(tokens),
                Aggregation::Simple => group(tokens, &mut entities),
            }
        }
        entities.retain(|e| e.name != OUTSIDE);
        Ok(TokenClassifications { entities, scores, labels, starts: encoding.starts, truncated: encoding.truncated })
    };
    let bytes = texts.iter().map(|text| text.len()).sum();
    engine.call(options.limits(bytes), work, |c| (c.truncated.len(), c.starts[c.starts.len() - 1]))
}

/// Joins adjacent tokens of one kind.
fn group(tokens: impl Iterator<Item = Entity>, entities: &mut Vec<Entity>) {
    let mut members = 0;
    for mut token in tokens {
        let (begins, kind) = match token.name.split_at_checked(2) {
            Some(("B-", kind)) => (true, kind),
            Some(("I-", kind)) => (false, kind),
            _ => (false, token.name.as_str()),
        };
        match entities.last_mut() {
            Some(last) if members > 0 && !begins && last.name == kind => {
                members += 1;
                last.score += (token.score - last.score) / members as f32;
                last.end = token.end;
            }
            _ => {
                token.name = kind.to_string();
                members = 1;
                entities.push(token);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_one_kind_are_joined() {
        let token = |name: &str, score: f32, start: usize| Entity {
            text: 0,
            name: name.into(),
            label: 0,
            score,
            start,
            end: start + 2,
        };
        let tokens = [
            token("B-PER", 0.8, 0),
            token("I-PER", 0.6, 3),
            token("B-PER", 0.9, 6),
            token("O", 0.5, 9),
            token("I-LOC", 0.7, 12),
        ];
        let mut entities = Vec::new();
        group(tokens.into_iter(), &mut entities);
        let found: Vec<_> = entities.iter().map(|e| (e.name.as_str(), e.start, e.end)).collect();
        assert_eq!(found, [("PER", 0, 5), ("PER", 6, 8), ("O", 9, 11), ("LOC", 12, 14)]);
        assert!((entities[0].score - 0.7).abs() < 1e-6);
    }
}
