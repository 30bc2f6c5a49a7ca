//! Beam search as transformers 5 does it (`GenerationMixin._beam_search`): the running beams and the finished ones are kept apart,
//! twice as many continuations as beams are looked at (more with several end tokens), and a heuristic says when the running ones can
//! no longer win. The arithmetic is its, in f32, so that the same texts come out.

use crate::error::{Error, Result};
use crate::transformer::network::{Feed, Sequence, Want};

use super::constraint::Constraint;
use super::options::{EarlyStopping, Settings};
use super::processors::{History, process};
use super::search::{Context, FinishReason, Output, Rows, Search, Start};
use super::text::{Watch, finished};

/// What stands for an impossible score, as in the reference.
const IMPOSSIBLE: f32 = -1e9;

struct Beam {
    sequence: Sequence,
    tokens: Vec<u32>,
    logprobs: Vec<f32>,
    score: f32,
    constraint: Option<Constraint>,
    watch: Option<Watch>,
}

#[derive(Clone)]
struct Done {
    score: f32,
    tokens: Vec<u32>,
    logprobs: Vec<f32>,
    reason: Option<FinishReason>,
}

/// One continuation of one beam.
#[derive(Clone, Copy)]
struct Candidate {
    score: f32,
    beam: usize,
    token: u32,
    logprob: f32,
}

pub struct BeamSearch {
    prompt: Vec<u32>,
    held: usize,
    limit: usize,
    /// One before the first step, then as many as were asked for.
    running: Vec<Beam>,
    finished: Vec<Done>,
    may_improve: bool,
}

impl BeamSearch {
    pub fn new(start: Start, beams: usize, watch: Option<Watch>) -> Self {
        let nothing = Done { score: IMPOSSIBLE, tokens: Vec::new(), logprobs: Vec::new(), reason: None };
        let beam = Beam {
            sequence: start.sequence,
            tokens: Vec::new(),
            logprobs: Vec::new(),
            score: 0.0,
            constraint: start.constraint,
            watch,
        };
        Self {
            held: beam.sequence.length(),
            prompt: start.prompt,
            limit: start.limit,
            running: vec![beam],
            finished: vec![nothing; beams],
            may_improve: true,
        }
    }

    /// Turns each beam's row into scores of whole texts, and picks the best continuations of all of them.
    fn candidates(&mut self, logits: &mut [f32], context: Context<'_>, count: usize) -> Result<Vec<Candidate>> {
        let vocabulary = logits.len() / self.running.len();
        let mut best: Vec<Candidate> = Vec::with_capacity(count + 1);
        for (index, (beam, row)) in self.running.iter_mut().zip(logits.chunks_exact_mut(vocabulary)).enumerate() {
            let total = context.network.log_sum_exp(row);
            row.iter_mut().for_each(|x| *x -= total);
            process(row, &History { prompt: &self.prompt, generated: &beam.tokens }, context.settings, self.limit);
            if let Some(constraint) = &mut beam.constraint {
                constraint.mask(row)?;
            }
            for (token, &logprob) in row.iter().enumerate() {
                let score = logprob + beam.score;
                // Most are not among the best so far; the list is short and ordered.
                let floor = if best.len() == count { best[count - 1].score } else { f32::NEG_INFINITY };
                // Neither forbidden tokens nor NaN are above it.
                if score.partial_cmp(&floor) != Some(std::cmp::Ordering::Greater) {
                    continue;
                }
                let at = best.partition_point(|c| c.score >= score);
                best.insert(at, Candidate { score, beam: index, token: token as u32, logprob });
                best.truncate(count);
            }
        }
        Ok(best)
    }
}

impl Search for BeamSearch {
    fn feeds<'a>(&'a mut self, feeds: &mut Vec<Feed<'a>>, _: usize, _: &Settings) {
        let (held, prompt) = (self.held, &self.prompt);
        for beam in &mut self.running {
            let ids = if held < prompt.len() { &prompt[held..] } else { &beam.tokens[held - prompt.len()..] };
            self.held = held + ids.len();
            feeds.push(Feed { sequence: &mut beam.sequence, ids, want: Want::Last });
        }
    }

    fn advance(&mut self, rows: Rows<'_>, context: Context<'_>) -> Result<bool> {
        let Rows::Logits(logits) = rows else {
            return Err(Error::internal("beams without logits"));
        };
        let s = context.settings;
        let beams = self.finished.len();
        let ends = s.eos.len().max(1) + 1;
        let candidates = self.candidates(logits, context, (ends * beams).min(logits.len()))?;
        let length = self.running[0].tokens.len() + 1;
        let at_limit = length >= self.limit;

        // Which continuations end here, and where stop strings have to be looked for, how their text stands.
        let mut reasons = Vec::with_capacity(candidates.len());
        let mut watches = Vec::with_capacity(candidates.len());
        for c in &candidates {
            let mut reason = at_limit.then_some(FinishReason::Length);
            let eos = s.eos.contains(&c.token);
            if eos {
                reason = Some(FinishReason::Eos);
            }
            let mut watch = self.running[c.beam].watch.clone();
            if let Some(watch) = watch.as_mut().filter(|_| !eos)
                && watch.push(c.token, context.tokenizer)?
            {
                reason = Some(FinishReason::StopString);
            }
            reasons.push(reason);
            watches.push(watch);
        }

        // Finished texts: the old ones and the new, the best of which stay.
        let full = s.early_stopping == EarlyStopping::Yes && self.finished.iter().all(|d| d.reason.is_some());
        let divisor = (length as f64).powf(f64::from(s.length_penalty)) as f32;
        for (i, (c, reason)) in candidates.iter().zip(&reasons).enumerate() {
            if reason.is_none() || i >= beams || full || !self.may_improve {
                continue;
            }
            let beam = &self.running[c.beam];
            let (mut tokens, mut logprobs) = (beam.tokens.clone(), beam.logprobs.clone());
            tokens.push(c.token);
            logprobs.push(c.logprob);
            self.finished.push(Done { score: c.score / divisor, tokens, logprobs, reason: *reason });
        }
        self.finished.sort_by(|a, b| b.score.total_cmp(&a.score));
        self.finished.truncate(beams);

        // The best of those that go on. A beam's last child takes its cache, the others share what it holds.
        let going: Vec<usize> = (0..candidates.len()).filter(|&i| reasons[i].is_none()).take(beams).collect();
        let none_goes_on = going.is_empty();
        if !none_goes_on {
            let mut parents: Vec<Option<Beam>> = self.running.drain(..).map(Some).collect();
            for (place, &i) in going.iter().enumerate() {
                let c = candidates[i];
                let again = going[place + 1..].iter().any(|&later| candidates[later].beam == c.beam);
                let mut beam = if again { parents[c.beam].as_ref().map(Beam::split) } else { parents[c.beam].take() };
                if let Some(beam) = &mut beam {
                    beam.tokens.push(c.token);
                    beam.logprobs.push(c.logprob);
                    beam.score = c.score;
                    beam.watch = watches[i].take();
                    if let Some(constraint) = &mut beam.constraint {
                        constraint.accept(c.token)?;
                    }
                }
                self.running.extend(beam);
            }
            let best_length = match s.early_stopping {
                EarlyStopping::Never if s.length_penalty > 0.0 => self.limit,
                _ => length,
            };
            let possible = self.running[0].score / (best_length as f64).powf(f64::from(s.length_penalty)) as f32;
            let lowest = self.finished.iter().map(|d| d.score).fold(f32::INFINITY, f32::min);
            let beaten = |d: &Done| possible > if d.reason.is_some() { lowest } else { IMPOSSIBLE };
            self.may_improve = self.may_improve && self.finished.iter().any(beaten);
        }
        let full = s.early_stopping == EarlyStopping::Yes && self.finished.iter().all(|d| d.reason.is_some());
        Ok(none_goes_on || full || !self.may_improve)
    }

    fn finish(self: Box<Self>, context: Context<'_>) -> Result<(Vec<Output>, Option<Sequence>)> {
        let s = context.settings;
        let outputs = self.finished.into_iter().take(s.num_return_sequences).filter_map(|d| {
            let finish_reason = d.reason?;
            let text = finished(&d.tokens, context.tokenizer, &s.stop_strings, s.skip_special_tokens);
            let logprobs = if s.logprobs { d.logprobs } else { Vec::new() };
            Some(text.map(|text| Output { text, tokens: d.tokens, logprobs, score: d.score, finish_reason }))
        });
        Ok((outputs.collect::<Result<_>>()?, None))
    }
}

impl Beam {
    fn split(&self) -> Self {
        Self {
            sequence: self.sequence.clone(),
            tokens: self.tokens.clone(),
            logprobs: self.logprobs.clone(),
            score: self.score,
            constraint: self.constraint.clone(),
            watch: self.watch.clone(),
        }
    }
}
