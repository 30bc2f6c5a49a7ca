//! Greedy decoding and sampling, with prompt-lookup speculative decoding: one sequence per output.

use std::sync::Arc;

use crate::backend::host;
use crate::base::error::{Error, Result};
use crate::network::{Feed, Sequence, StepRows, Want};

use super::constraint::Constraint;
use super::detokenize::{Detokenizer, finished};
use super::logits_processors::{History, process};
use super::prompt_lookup::Lookup;
use super::sampling::{self, Random};
use super::search::{Context, FinishReason, NewText, Output, RESERVED_TOKENS, Search, Start, unexpected_rows};
use super::settings::Settings;

pub struct Single {
    settings: Arc<Settings>,
    /// If logits processors only forbid these tokens, the network returns the best token; else it returns all logits.
    forbidden: Option<Arc<[u32]>>,
    sequence: Sequence,
    prompt: Vec<u32>,
    source: Arc<[u32]>,
    context: Arc<[u32]>,
    /// Tokens in the KV cache.
    cached: usize,
    /// The generated tokens; between `feeds` and `advance` with the draft at the end.
    tokens: Vec<u32>,
    logprobs: Vec<f32>,
    limit: usize,
    constraint: Option<Constraint>,
    random: Random,
    detokenizer: Option<Detokenizer>,
    lookup: Option<Lookup>,
    /// Tokens of the last step's draft, and how many of them were accepted.
    drafted: usize,
    accepted: usize,
    /// [`Detokenizer::certain`] after each token of the last step.
    ends: Vec<usize>,
    reason: FinishReason,
}

impl Single {
    /// `detokenizer` is for streaming and stop strings.
    pub fn new(start: Start, seed: u64, detokenizer: Option<Detokenizer>) -> Self {
        let logprobs = start.settings.logprobs;
        Self {
            settings: start.settings,
            forbidden: start.forbidden.filter(|_| !logprobs),
            cached: start.sequence.length(),
            sequence: start.sequence,
            prompt: start.prompt,
            source: start.source,
            context: start.context,
            tokens: Vec::with_capacity(start.limit.min(RESERVED_TOKENS)),
            logprobs: Vec::new(),
            limit: start.limit,
            constraint: start.constraint,
            random: Random::new(seed, start.number),
            detokenizer,
            lookup: start.lookup,
            drafted: 0,
            accepted: 0,
            ends: Vec::new(),
            reason: FinishReason::Length,
        }
    }

    /// Chooses the token after `count` generated tokens.
    fn choose(&mut self, count: usize, row: &mut [f32], context: Context<'_>) -> Result<u32> {
        let settings = &*self.settings;
        let mut workspace = context.workspaces.take();
        let history = History { prompt: &self.prompt, generated: &self.tokens[..count], source: &self.source };
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
        token.ok_or_else(|| match &mut self.constraint {
            Some(constraint) => Error::invalid_argument(format!(
                "no token can be chosen: the grammar allows {}, which bad_words_ids, suppress_tokens, min_new_tokens or another option \
                 forbids, or the logits are not finite",
                constraint.expected()
            )),
            None => no_token_left(),
        })
    }

    /// Records the chosen token, the last of `count`. Returns whether the text ends with it.
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
        // The end token too: its text is part of the output without `skip_special_tokens`.
        if let Some(detokenizer) = &mut self.detokenizer {
            let stopped = detokenizer.push(token, context.tokenizer)?;
            self.ends.push(detokenizer.certain());
            if stopped && !eos {
                self.reason = FinishReason::StopString;
                return Ok(true);
            }
        }
        if eos || self.constraint.as_ref().is_some_and(Constraint::is_finished) {
            self.reason = match &self.constraint {
                Some(constraint) => constraint.finish_reason(|| {
                    let tokens = &self.tokens[..count - usize::from(eos)];
                    finished(&self.context, tokens, context.tokenizer, &self.settings.stop_strings, true)
                })?,
                None => FinishReason::Eos,
            };
            return Ok(true);
        }
        Ok(count >= self.limit)
    }
}

fn no_token_left() -> Error {
    Error::invalid_argument(
        "no token can be chosen: bad_words_ids, suppress_tokens and min_new_tokens forbid all tokens, or the logits are not finite",
    )
}

impl Search for Single {
    fn feeds<'a>(&'a mut self, feeds: &mut Vec<Feed<'a>>, room: usize) {
        let prompt = self.prompt.len();
        self.drafted = 0;
        // Prefill has no draft: it asks for the last token's logits only.
        let ids = if self.cached < prompt {
            &self.prompt[self.cached..]
        } else {
            // A step gives one token beyond the draft.
            let room = room.min(self.limit - self.tokens.len() - 1);
            if let Some(lookup) = &self.lookup {
                self.drafted = lookup.draft(room, &self.settings, &mut self.tokens);
            }
            &self.tokens[self.cached - prompt..]
        };
        self.cached += ids.len();
        let want = self.forbidden.as_ref().map_or(Want::Logits, |forbidden| Want::Token { forbidden });
        feeds.push(Feed { sequence: &mut self.sequence, ids, want, last: 1 + self.drafted, cancelled: None });
    }

    fn advance(&mut self, mut rows: StepRows<'_>, context: Context<'_>) -> Result<bool> {
        let drafted = self.drafted;
        let (before, mut ended) = (self.tokens.len() - drafted, false);
        self.ends.clear();
        // Each row is processed with its own history, as in a step without a draft.
        for place in 0..1 + drafted {
            let count = before + place;
            let (row, token) = match &mut rows {
                StepRows::Tokens(tokens) => (&mut [][..], tokens[place].ok_or_else(no_token_left)),
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
                // Returned by the next step, after the tokens before it were streamed.
                Err(_) if place > 0 => break,
                Err(error) => return Err(error),
            };
            let as_drafted = self.tokens.get(count) == Some(&token);
            if !as_drafted {
                self.tokens.truncate(count);
                self.tokens.push(token);
            }
            self.accepted = place;
            ended = self.accept(token, count + 1, row, context)?;
            if ended || !as_drafted {
                break;
            }
        }
        if drafted > 0 {
            self.tokens.truncate(before + self.accepted + 1);
            // The next step feeds the last token again, even if it was drafted.
            self.cached = self.prompt.len() + self.tokens.len() - 1;
            self.sequence.truncate(self.cached);
            if let Some(lookup) = &mut self.lookup {
                lookup.record(drafted, self.accepted);
            }
        }
        Ok(ended)
    }

    fn accepted(&self) -> usize {
        self.accepted
    }

    fn new_text(&mut self) -> Option<NewText<'_>> {
        let detokenizer = self.detokenizer.as_mut()?;
        let tokens = &self.tokens[self.tokens.len() - self.ends.len()..];
        Some(NewText { detokenizer, tokens, ends: &self.ends, reason: self.reason })
    }

    fn finish(self: Box<Self>, context: Context<'_>) -> Result<(Vec<Output>, Option<Sequence>)> {
        let s = &*self.settings;
        let text = finished(&self.context, &self.tokens, context.tokenizer, &s.stop_strings, s.skip_special_tokens)?;
        // The sum of an empty list is -0.
        let score = self.logprobs.iter().sum::<f32>() + 0.0;
        let (tokens, logprobs, finish_reason) = (self.tokens, self.logprobs, self.reason);
        let output = Output { text, tokens, logprobs, score, finish_reason, message: None };
        Ok((vec![output], Some(self.sequence)))
    }
}
