//! Beam search as in transformers 5 (`GenerationMixin._beam_search`): running and finished beams are separate lists; a step considers
//! twice as many candidates as beams (more with several end tokens); a heuristic decides when the running beams cannot win any more.
//! Same arithmetic, in f32, so that the output is the same.

use std::sync::Arc;

use crate::backend::host;
use crate::base::error::Result;
use crate::network::{Feed, Sequence, StepRows, Want};

use super::constraint::Constraint;
use super::detokenize::{Detokenizer, finished};
use super::logits_processors::{History, process};
use super::options::EarlyStopping;
use super::search::{Context, FinishReason, Output, RESERVED_TOKENS, Search, Start, unexpected_rows};
use super::settings::Settings;

/// The score of a finished beam that does not exist yet, as in the reference.
const IMPOSSIBLE: f32 = -1e9;

struct Beam {
    sequence: Sequence,
    tokens: Vec<u32>,
    logprobs: Vec<f32>,
    score: f32,
    constraint: Option<Constraint>,
    detokenizer: Option<Detokenizer>,
}

#[derive(Default)]
struct Done {
    score: f32,
    tokens: Vec<u32>,
    logprobs: Vec<f32>,
    reason: Option<FinishReason>,
}

/// A beam with one more token.
#[derive(Clone, Copy)]
struct Candidate {
    score: f32,
    beam: usize,
    token: u32,
    logprob: f32,
}

impl Candidate {
    /// The best first; equal scores by beam, then by token.
    fn precedes(&self, other: &Self) -> bool {
        self.score > other.score || self.score == other.score && (self.beam, self.token) < (other.beam, other.token)
    }
}

/// The number of candidates in a step: enough to continue all beams even if each end token is among them for every beam.
fn candidate_count(s: &Settings) -> usize {
    (s.eos.len().max(1) + 1) * s.num_beams
}

/// A candidate, the reason if its text ends with it, and its detokenised text if there are stop strings.
struct Continuation {
    candidate: Candidate,
    reason: Option<FinishReason>,
    detokenizer: Option<Detokenizer>,
}

/// Lists of one step, kept so that the next step does not allocate.
#[derive(Default)]
struct BeamBuffers {
    candidates: Vec<Candidate>,
    continuations: Vec<Continuation>,
    /// Indices of the continuations that become the running beams.
    kept: Vec<usize>,
    parents: Vec<Option<Beam>>,
}

pub struct BeamSearch {
    settings: Arc<Settings>,
    /// If logits processors only forbid these tokens, the network returns the top k; else it returns all logits.
    forbidden: Option<Arc<[u32]>>,
    /// Candidates in a step: of all beams, and of each.
    count: usize,
    each: usize,
    prompt: Vec<u32>,
    source: Arc<[u32]>,
    context: Arc<[u32]>,
    /// Tokens in the KV cache.
    cached: usize,
    limit: usize,
    /// One before the first step, then `num_beams`.
    running: Vec<Beam>,
    /// Dropped beams whose allocations are reused.
    idle: Vec<Beam>,
    /// The best first; always `num_beams`.
    finished: Vec<Done>,
    may_improve: bool,
    buffers: BeamBuffers,
}

impl BeamSearch {
    pub fn new(start: Start, vocabulary: usize, detokenizer: Option<Detokenizer>) -> Self {
        let (beams, count) = (start.settings.num_beams, candidate_count(&start.settings));
        let room = start.limit.min(RESERVED_TOKENS);
        let beam = Beam {
            sequence: start.sequence,
            tokens: Vec::with_capacity(room),
            logprobs: Vec::with_capacity(room),
            score: 0.0,
            constraint: start.constraint,
            detokenizer,
        };
        let finished = (0..beams).map(|_| Done { score: IMPOSSIBLE, ..Done::default() });
        Self {
            settings: start.settings,
            forbidden: start.forbidden,
            count,
            each: count.min(vocabulary.max(1)),
            cached: beam.sequence.length(),
            prompt: start.prompt,
            source: start.source,
            context: start.context,
            limit: start.limit,
            running: vec![beam],
            idle: Vec::new(),
            finished: finished.collect(),
            may_improve: true,
            buffers: BeamBuffers::default(),
        }
    }

    /// Collects the best candidates of all beams.
    fn candidates(&mut self, rows: StepRows<'_>, context: Context<'_>, best: &mut Vec<Candidate>) -> Result<()> {
        let count = self.count;
        best.clear();
        best.reserve(count + 1);
        match rows {
            StepRows::Logits(logits) => self.candidates_of_logits(logits, context, best),
            StepRows::TopK(tokens, totals) => {
                let rows = tokens.chunks_exact(self.each).zip(totals);
                for (index, (beam, (row, total))) in self.running.iter().zip(rows).enumerate() {
                    for &(logit, token) in row.iter().filter(|(logit, _)| *logit > f32::NEG_INFINITY) {
                        let logprob = logit - total;
                        let candidate = Candidate { score: logprob + beam.score, beam: index, token, logprob };
                        // False for NaN.
                        if candidate.score > f32::NEG_INFINITY {
                            let at = best.partition_point(|c| c.precedes(&candidate));
                            best.insert(at, candidate);
                            best.truncate(count);
                        }
                    }
                }
                Ok(())
            }
            other => Err(unexpected_rows(&other)),
        }
    }

    /// As [`Self::candidates`], from each beam's row of logits.
    fn candidates_of_logits(
        &mut self,
        logits: &mut [f32],
        context: Context<'_>,
        best: &mut Vec<Candidate>,
    ) -> Result<()> {
        let (count, vocabulary) = (self.count, logits.len() / self.running.len());
        let mut workspace = context.workspaces.take();
        for (index, (beam, row)) in self.running.iter_mut().zip(logits.chunks_exact_mut(vocabulary)).enumerate() {
            let total = host::log_sum_exp(row);
            row.iter_mut().for_each(|x| *x -= total);
            let history = History { prompt: &self.prompt, generated: &beam.tokens, source: &self.source };
            process(row, &history, &self.settings, self.limit, &mut workspace.tokens);
            if let Some(constraint) = &mut beam.constraint {
                constraint.mask(row)?;
            }
            if self.settings.renormalize_logits {
                let total = host::log_sum_exp(row);
                row.iter_mut().for_each(|x| *x -= total);
            }
            for (token, &logprob) in row.iter().enumerate() {
                let score = logprob + beam.score;
                let floor = if best.len() == count { best[count - 1].score } else { f32::NEG_INFINITY };
                // Forbidden tokens and NaN are never above it.
                if score.partial_cmp(&floor) != Some(std::cmp::Ordering::Greater) {
                    continue;
                }
                let candidate = Candidate { score, beam: index, token: token as u32, logprob };
                let at = best.partition_point(|c| c.precedes(&candidate));
                best.insert(at, candidate);
                best.truncate(count);
            }
        }
        context.workspaces.give(workspace);
        Ok(())
    }

    /// Adds a finished text if it is better than the worst of the list.
    fn add_finished(&mut self, c: Candidate, score: f32, reason: FinishReason) {
        let at = self.finished.partition_point(|done| done.score.total_cmp(&score).is_ge());
        if at == self.finished.len() {
            return;
        }
        let (beam, mut done) = (&self.running[c.beam], self.finished.pop().unwrap_or_default());
        done.tokens.clone_from(&beam.tokens);
        done.tokens.push(c.token);
        done.logprobs.clone_from(&beam.logprobs);
        done.logprobs.push(c.logprob);
        self.finished.insert(at, Done { score, reason: Some(reason), ..done });
    }

    /// Makes the kept continuations the running beams. The last child of a beam takes its sequence; the others fork it.
    fn continue_beams(&mut self, buffers: &mut BeamBuffers) -> Result<()> {
        let BeamBuffers { continuations, kept, parents, .. } = buffers;
        parents.extend(self.running.drain(..).map(Some));
        for (place, &i) in kept.iter().enumerate() {
            let c = continuations[i].candidate;
            let again = kept[place + 1..].iter().any(|&later| continuations[later].candidate.beam == c.beam);
            let beam =
                if again { parents[c.beam].as_ref().map(|b| b.fork(self.idle.pop())) } else { parents[c.beam].take() };
            let Some(mut beam) = beam else { continue };
            beam.tokens.push(c.token);
            beam.logprobs.push(c.logprob);
            beam.score = c.score;
            beam.detokenizer = continuations[i].detokenizer.take();
            if let Some(constraint) = &mut beam.constraint {
                constraint.accept(c.token)?;
            }
            self.running.push(beam);
        }
        for mut beam in parents.drain(..).flatten() {
            beam.sequence.truncate(0);
            self.idle.push(beam);
        }
        Ok(())
    }

    /// Whether early stopping ends the search.
    fn is_full(&self, s: &Settings) -> bool {
        s.early_stopping == EarlyStopping::Yes && self.finished.iter().all(|d| d.reason.is_some())
    }
}

impl Search for BeamSearch {
    fn feeds<'a>(&'a mut self, feeds: &mut Vec<Feed<'a>>, _: usize) {
        let want = match &self.forbidden {
            Some(forbidden) => Want::TopK { k: self.each, forbidden },
            None => Want::Logits,
        };
        let (cached, prompt) = (self.cached, &self.prompt);
        for beam in &mut self.running {
            let ids = if cached < prompt.len() { &prompt[cached..] } else { &beam.tokens[cached - prompt.len()..] };
            self.cached = cached + ids.len();
            feeds.push(Feed { sequence: &mut beam.sequence, ids, want, last: 1, cancelled: None });
        }
    }

    fn advance(&mut self, rows: StepRows<'_>, context: Context<'_>) -> Result<bool> {
        let settings = self.settings.clone();
        let s = &*settings;
        let beams = self.finished.len();
        let mut buffers = std::mem::take(&mut self.buffers);
        self.candidates(rows, context, &mut buffers.candidates)?;
        let length = self.running[0].tokens.len() + 1;
        let at_limit = length >= self.limit;

        buffers.continuations.clear();
        for &candidate in &buffers.candidates {
            let mut reason = at_limit.then_some(FinishReason::Length);
            let eos = s.eos.contains(&candidate.token);
            if eos {
                let beam = &self.running[candidate.beam];
                reason = Some(match &beam.constraint {
                    Some(constraint) => constraint.finish_reason(|| {
                        finished(&self.context, &beam.tokens, context.tokenizer, &s.stop_strings, true)
                    })?,
                    None => FinishReason::Eos,
                });
            }
            let mut detokenizer = self.running[candidate.beam].detokenizer.clone();
            if let Some(detokenizer) = detokenizer.as_mut().filter(|_| !eos)
                && detokenizer.push(candidate.token, context.tokenizer)?
            {
                reason = Some(FinishReason::StopString);
            }
            buffers.continuations.push(Continuation { candidate, reason, detokenizer });
        }

        // As in the reference, only the first `num_beams` candidates may finish.
        let divisor = (length as f64).powf(f64::from(s.length_penalty)) as f32;
        if !self.is_full(s) && self.may_improve {
            for Continuation { candidate, reason, .. } in buffers.continuations.iter().take(beams) {
                if let Some(reason) = *reason {
                    self.add_finished(*candidate, candidate.score / divisor, reason);
                }
            }
        }

        buffers.kept.clear();
        let unfinished = buffers.continuations.iter().enumerate().filter(|(_, c)| c.reason.is_none());
        buffers.kept.extend(unfinished.map(|(i, _)| i).take(beams));
        let all_finished = buffers.kept.is_empty();
        if !all_finished {
            self.continue_beams(&mut buffers)?;
            let best_length = match s.early_stopping {
                EarlyStopping::Never if s.length_penalty > 0.0 => self.limit,
                _ => length,
            };
            let possible = self.running[0].score / (best_length as f64).powf(f64::from(s.length_penalty)) as f32;
            let lowest = self.finished.iter().map(|d| d.score).fold(f32::INFINITY, f32::min);
            let beaten = |d: &Done| possible > if d.reason.is_some() { lowest } else { IMPOSSIBLE };
            self.may_improve = self.may_improve && self.finished.iter().any(beaten);
        }
        self.buffers = buffers;
        Ok(all_finished || self.is_full(s) || !self.may_improve)
    }

    fn finish(self: Box<Self>, context: Context<'_>) -> Result<(Vec<Output>, Option<Sequence>)> {
        let s = &*self.settings;
        let outputs = self.finished.into_iter().take(s.num_return_sequences).filter_map(|d| {
            let finish_reason = d.reason?;
            let text = finished(&self.context, &d.tokens, context.tokenizer, &s.stop_strings, s.skip_special_tokens);
            let logprobs = if s.logprobs { d.logprobs } else { Vec::new() };
            Some(text.map(|text| Output {
                text,
                tokens: d.tokens,
                logprobs,
                score: d.score,
                finish_reason,
                message: None,
            }))
        });
        Ok((outputs.collect::<Result<_>>()?, None))
    }
}

impl Beam {
    /// A copy with a forked sequence, in the allocations of `other` if there is one.
    fn fork(&self, other: Option<Self>) -> Self {
        let room = self.tokens.capacity();
        let mut beam = match other {
            Some(mut beam) => {
                beam.sequence.clone_from(&self.sequence);
                beam
            }
            None => Self {
                sequence: self.sequence.clone(),
                tokens: Vec::with_capacity(room),
                logprobs: Vec::with_capacity(room),
                score: self.score,
                constraint: None,
                detokenizer: None,
            },
        };
        beam.tokens.clone_from(&self.tokens);
        beam.logprobs.clone_from(&self.logprobs);
        beam.constraint.clone_from(&self.constraint);
        beam
    }
}
