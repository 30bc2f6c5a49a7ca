//! Greedy decoding and sampling: one sequence a text.

use crate::error::{Error, Result};
use crate::transformer::network::{Feed, Sequence, Want};

use super::constraint::Constraint;
use super::processors::{History, process};
use super::sampling::{self, Random};
use super::search::{Context, FinishReason, Output, Search, Start};
use super::text::{Watch, finished};

pub struct Single {
    sequence: Sequence,
    prompt: Vec<u32>,
    /// How much of the prompt and of what was generated the sequence holds.
    held: usize,
    tokens: Vec<u32>,
    logprobs: Vec<f32>,
    limit: usize,
    constraint: Option<Constraint>,
    random: Random,
    watch: Option<Watch>,
    reason: FinishReason,
}

impl Single {
    /// `seed` has been settled; `watches` says whether the text is followed as it grows.
    pub fn new(start: Start, seed: u64, watch: Option<Watch>) -> Self {
        Self {
            held: start.sequence.length(),
            sequence: start.sequence,
            prompt: start.prompt,
            tokens: Vec::new(),
            logprobs: Vec::new(),
            limit: start.limit,
            constraint: start.constraint,
            random: Random::new(seed, start.number),
            watch,
            reason: FinishReason::Length,
        }
    }

    fn choose(&mut self, row: &mut [f32], context: Context<'_>) -> Result<u32> {
        let settings = context.settings;
        process(row, &History { prompt: &self.prompt, generated: &self.tokens }, settings, self.limit);
        if let Some(constraint) = &mut self.constraint {
            constraint.mask(row)?;
        }
        let token = match &settings.sampling {
            None => likeliest(row),
            Some(sampling) => {
                let candidates = sampling::candidates(row, sampling);
                let draw = self.random.at(self.tokens.len());
                (!candidates.is_empty()).then(|| sampling::choose(&candidates, draw))
            }
        };
        token.ok_or_else(|| {
            Error::invalid_argument(
                "no token is left to choose: bad_words_ids, suppress_tokens, min_new_tokens and the grammar forbid them all, or \
                 the model's numbers are not finite",
            )
        })
    }
}

/// The token with the highest score, the lowest of equals; None if all are forbidden.
fn likeliest(row: &[f32]) -> Option<u32> {
    // In lanes, so that the comparison is vectorised; the place is looked up after.
    let mut lanes = [f32::NEG_INFINITY; 32];
    let chunks = row.chunks_exact(32);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = if x > *lane { x } else { *lane };
        }
    }
    let top = lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max);
    if top == f32::NEG_INFINITY {
        return None;
    }
    row.iter().position(|&x| x == top).map(|i| i as u32)
}

impl Search for Single {
    fn feeds<'a>(&'a mut self, feeds: &mut Vec<Feed<'a>>) {
        let ids = if self.held < self.prompt.len() {
            &self.prompt[self.held..]
        } else {
            &self.tokens[self.held - self.prompt.len()..]
        };
        self.held += ids.len();
        feeds.push(Feed { sequence: &mut self.sequence, ids, want: Want::Last });
    }

    fn advance(&mut self, logits: &mut [f32], context: Context<'_>) -> Result<bool> {
        let token = self.choose(logits, context)?;
        if context.settings.logprobs {
            self.logprobs.push(logits[token as usize] - context.network.log_sum_exp(logits));
        }
        self.tokens.push(token);
        if let Some(constraint) = &mut self.constraint {
            constraint.accept(token)?;
        }
        let eos = context.settings.eos.contains(&token);
        // An end token's text counts too, where special tokens are kept.
        if let Some(watch) = &mut self.watch
            && watch.push(token, context.tokenizer)?
            && !eos
        {
            self.reason = FinishReason::StopString;
            return Ok(true);
        }
        if eos || self.constraint.as_ref().is_some_and(Constraint::is_finished) {
            self.reason = FinishReason::Eos;
            return Ok(true);
        }
        Ok(self.tokens.len() >= self.limit)
    }

    fn fresh(&mut self) -> Option<(&mut Watch, u32, FinishReason)> {
        let token = *self.tokens.last()?;
        Some((self.watch.as_mut()?, token, self.reason))
    }

    fn finish(self: Box<Self>, context: Context<'_>) -> Result<(Vec<Output>, Option<Sequence>)> {
        let s = context.settings;
        let text = finished(&self.tokens, context.tokenizer, &s.stop_strings, s.skip_special_tokens)?;
        // Nothing sums to -0.
        let score = self.logprobs.iter().sum::<f32>() + 0.0;
        let output = Output { text, tokens: self.tokens, logprobs: self.logprobs, score, finish_reason: self.reason };
        Ok((vec![output], Some(self.sequence)))
    }
}

#[cfg(test)]
mod tests {
    use super::likeliest;

    #[test]
    fn the_first_of_the_likeliest() {
        let mut row = vec![0.0; 100];
        assert_eq!(likeliest(&row), Some(0));
        (row[40], row[77], row[99]) = (2.0, 2.0, f32::NAN);
        assert_eq!(likeliest(&row), Some(40));
        row[98] = 3.0;
        assert_eq!(likeliest(&row), Some(98));
        assert_eq!(likeliest(&[f32::NEG_INFINITY; 40]), None);
        assert_eq!(likeliest(&[f32::NAN; 40]), None);
    }
}
