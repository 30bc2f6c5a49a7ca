//! Greedy decoding and sampling: one sequence a text.

use std::sync::Arc;

use crate::backend::host;
use crate::base::error::{Error, Result};
use crate::network::{Feed, Sequence, StepRows, Want};

use super::constraint::Constraint;
use super::detokenize::{Watch, finished};
use super::logits_processors::{History, process};
use super::options::Settings;
use super::prompt_lookup::Lookup;
use super::sampling::{self, Random};
use super::search::{Context, FinishReason, Fresh, Output, ROOM, Search, Start, unexpected_rows};

pub struct Single {
    settings: Arc<Settings>,
    /// Where the best token that is not forbidden is all that is wanted: the forbidden tokens.
    forbidden: Option<Arc<[u32]>>,
    sequence: Sequence,
    prompt: Vec<u32>,
    /// How much of the prompt and of what was generated the sequence holds.
    held: usize,
    /// What was generated; from feeding to advancing, a draft behind it.
    tokens: Vec<u32>,
    logprobs: Vec<f32>,
    limit: usize,
    constraint: Option<Constraint>,
    random: Random,
    watch: Option<Watch>,
    lookup: Option<Lookup>,
    /// Tokens of the last step's draft, and how many of them needed no step of their own.
    drafted: usize,
    accepted: usize,
    /// As far as which the text was certain after each token of the last step.
    ends: Vec<usize>,
    reason: FinishReason,
}

impl Single {
    /// `seed` has been settled; there is a `watch` where the text is followed as it grows.
    pub fn new(start: Start, seed: u64, watch: Option<Watch>) -> Self {
        let logprobs = start.settings.logprobs;
        Self {
            settings: start.settings,
            forbidden: start.forbidden.filter(|_| !logprobs),
            held: start.sequence.length(),
            sequence: start.sequence,
            prompt: start.prompt,
            tokens: Vec::with_capacity(start.limit.min(ROOM)),
            logprobs: Vec::new(),
            limit: start.limit,
            constraint: start.constraint,
            random: Random::new(seed, start.number),
            watch,
            lookup: start.lookup,
            drafted: 0,
            accepted: 0,
            ends: Vec::new(),
            reason: FinishReason::Length,
        }
    }

    /// Chooses the token after the first `count` that were generated.
    fn choose(&mut self, count: usize, row: &mut [f32], context: Context<'_>) -> Result<u32> {
        let settings = &*self.settings;
        let mut workspace = context.workspaces.take();
        let history = History { prompt: &self.prompt, generated: &self.tokens[..count] };
        process(row, &history, settings, self.limit, &mut workspace.tokens);
        if let Some(constraint) = &mut self.constraint {
            constraint.mask(row)?;
        }
        let token = match &settings.sampling {
            None => host::arg_max(row),
            Some(sampling) => {
                let candidates = sampling::candidates(row, sampling, &mut workspace.sampling);
                let draw = self.random.at(count);
                (!candidates.is_empty()).then(|| sampling::choose(candidates, draw))
            }
        };
        context.workspaces.give(workspace);
        token.ok_or_else(none_left)
    }

    /// Notes the chosen token, the last of `count`. Whether the text ends with it.
    fn accept(&mut self, token: u32, count: usize, row: &[f32], context: Context<'_>) -> Result<bool> {
        if self.settings.logprobs {
            self.logprobs.push(row[token as usize] - host::log_sum_exp(row));
        }
        if let Some(lookup) = &mut self.lookup {
            lookup.push(token);
        }
        if let Some(constraint) = &mut self.constraint {
            constraint.accept(token)?;
        }
        let eos = self.settings.eos.contains(&token);
        // An end token's text counts too, where special tokens are kept.
        if let Some(watch) = &mut self.watch {
            let stopped = watch.push(token, context.tokenizer)?;
            self.ends.push(watch.certain());
            if stopped && !eos {
                self.reason = FinishReason::StopString;
                return Ok(true);
            }
        }
        if eos || self.constraint.as_ref().is_some_and(Constraint::is_finished) {
            self.reason = FinishReason::Eos;
            return Ok(true);
        }
        Ok(count >= self.limit)
    }
}

fn none_left() -> Error {
    Error::invalid_argument(
        "no token is left to choose: bad_words_ids, suppress_tokens, min_new_tokens and the grammar forbid them all, or the model's \
         numbers are not finite",
    )
}

impl Search for Single {
    fn feeds<'a>(&'a mut self, feeds: &mut Vec<Feed<'a>>, room: usize) {
        let prompt = self.prompt.len();
        self.drafted = 0;
        // A prompt's own step has no draft: logits are wanted of its end alone.
        let ids = if self.held < prompt {
            &self.prompt[self.held..]
        } else {
            // The last token of a step is never drafted, because the model gives it for nothing.
            let room = room.min(self.limit - self.tokens.len() - 1);
            if let Some(lookup) = &self.lookup {
                self.drafted = lookup.draft(room, &self.settings, &mut self.tokens);
            }
            &self.tokens[self.held - prompt..]
        };
        self.held += ids.len();
        let want = self.forbidden.as_ref().map_or(Want::Logits, |forbidden| Want::Token { forbidden });
        feeds.push(Feed { sequence: &mut self.sequence, ids, want, last: 1 + self.drafted, cancelled: None });
    }

    fn advance(&mut self, mut rows: StepRows<'_>, context: Context<'_>) -> Result<bool> {
        let drafted = self.drafted;
        let (before, mut ended) = (self.tokens.len() - drafted, false);
        self.ends.clear();
        // Each row as if its step were the only one, with the tokens before it and no others.
        for place in 0..1 + drafted {
            let count = before + place;
            let (row, token) = match &mut rows {
                StepRows::Tokens(tokens) => (&mut [][..], tokens[place].ok_or_else(none_left)),
                StepRows::Logits(logits) => {
                    let width = logits.len() / (1 + drafted);
                    let row = &mut logits[place * width..][..width];
                    let token = self.choose(count, row, context);
                    (row, token)
                }
                other => return Err(unexpected_rows(other)),
            };
            let token = match token {
                Ok(token) => token,
                // It comes again in a step of its own, once the tokens before it were handed out.
                Err(_) if place > 0 => break,
                Err(error) => return Err(error),
            };
            let foreseen = self.tokens.get(count) == Some(&token);
            if !foreseen {
                self.tokens.truncate(count);
                self.tokens.push(token);
            }
            self.accepted = place;
            ended = self.accept(token, count + 1, row, context)?;
            if ended || !foreseen {
                break;
            }
        }
        if drafted > 0 {
            self.tokens.truncate(before + self.accepted + 1);
            // The last token is still to be fed, as in every step, even if it was drafted.
            self.held = self.prompt.len() + self.tokens.len() - 1;
            self.sequence.truncate(self.held);
            if let Some(lookup) = &mut self.lookup {
                lookup.judge(drafted, self.accepted);
            }
        }
        Ok(ended)
    }

    fn accepted(&self) -> usize {
        self.accepted
    }

    fn fresh(&mut self) -> Option<Fresh<'_>> {
        let watch = self.watch.as_mut()?;
        let tokens = &self.tokens[self.tokens.len() - self.ends.len()..];
        Some(Fresh { watch, tokens, ends: &self.ends, reason: self.reason })
    }

    fn finish(self: Box<Self>, context: Context<'_>) -> Result<(Vec<Output>, Option<Sequence>)> {
        let s = &*self.settings;
        let text = finished(&self.tokens, context.tokenizer, &s.stop_strings, s.skip_special_tokens)?;
        // Nothing sums to -0.
        let score = self.logprobs.iter().sum::<f32>() + 0.0;
        let output = Output { text, tokens: self.tokens, logprobs: self.logprobs, score, finish_reason: self.reason };
        Ok((vec![output], Some(self.sequence)))
    }
}
