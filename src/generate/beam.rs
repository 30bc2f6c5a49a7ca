//! Beam search as transformers 5 does it (`GenerationMixin._beam_search`): the running beams and the finished ones are kept apart,
//! twice as many continuations as beams are looked at (more with several end tokens), and a heuristic says when the running ones can
//! no longer win. The arithmetic is its, in f32, so that the same texts come out.

use std::sync::Arc;

use crate::backend::host;
use crate::base::error::Result;
use crate::network::{Feed, Sequence, StepRows, Want};

use super::constraint::Constraint;
use super::detokenize::{Watch, finished};
use super::logits_processors::{History, process};
use super::options::{EarlyStopping, Settings};
use super::search::{Context, FinishReason, Output, ROOM, Search, Start, unexpected_rows};

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

#[derive(Default)]
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

impl Candidate {
    /// The order of the candidates: the best first, and equals by their places among the scores of all beams.
    fn precedes(&self, other: &Self) -> bool {
        let place = |c: &Self| (c.beam, c.token);
        self.score > other.score || self.score == other.score && place(self) < place(other)
    }
}

/// How many continuations are looked at in a step: enough for all beams to go on whichever of them end.
fn continuations(s: &Settings) -> usize {
    (s.eos.len().max(1) + 1) * s.num_beams
}

/// A candidate, why its text ends with it, if it does, and where stop strings have to be looked for, how its text stands.
struct Continuation {
    candidate: Candidate,
    reason: Option<FinishReason>,
    watch: Option<Watch>,
}

/// The memory of one step's lists, which the next one uses again.
#[derive(Default)]
struct Lists {
    candidates: Vec<Candidate>,
    continuations: Vec<Continuation>,
    /// The continuations that go on.
    going: Vec<usize>,
    parents: Vec<Option<Beam>>,
}

pub struct BeamSearch {
    settings: Arc<Settings>,
    /// Where the best continuations without these tokens are all that is wanted; else the logits are.
    forbidden: Option<Arc<[u32]>>,
    /// How many continuations are looked at in a step, of each beam and of all.
    count: usize,
    each: usize,
    prompt: Vec<u32>,
    held: usize,
    limit: usize,
    /// One before the first step, then as many as were asked for.
    running: Vec<Beam>,
    /// Beams without children, whose memory serves those that split off.
    idle: Vec<Beam>,
    /// The best first; always as many as were asked for.
    finished: Vec<Done>,
    may_improve: bool,
    lists: Lists,
}

impl BeamSearch {
    pub fn new(start: Start, vocabulary: usize, watch: Option<Watch>) -> Self {
        let (beams, count) = (start.settings.num_beams, continuations(&start.settings));
        let room = start.limit.min(ROOM);
        let beam = Beam {
            sequence: start.sequence,
            tokens: Vec::with_capacity(room),
            logprobs: Vec::with_capacity(room),
            score: 0.0,
            constraint: start.constraint,
            watch,
        };
        let finished = (0..beams).map(|_| Done { score: IMPOSSIBLE, ..Done::default() });
        Self {
            settings: start.settings,
            forbidden: start.forbidden,
            count,
            each: count.min(vocabulary.max(1)),
            held: beam.sequence.length(),
            prompt: start.prompt,
            limit: start.limit,
            running: vec![beam],
            idle: Vec::new(),
            finished: finished.collect(),
            may_improve: true,
            lists: Lists::default(),
        }
    }

    /// Picks the best continuations of all beams.
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
                        // Neither NaN nor what is beyond the last of them goes in.
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

    /// Turns each beam's row into scores of whole texts.
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
            let history = History { prompt: &self.prompt, generated: &beam.tokens };
            process(row, &history, &self.settings, self.limit, &mut workspace.tokens);
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
                let candidate = Candidate { score, beam: index, token: token as u32, logprob };
                let at = best.partition_point(|c| c.precedes(&candidate));
                best.insert(at, candidate);
                best.truncate(count);
            }
        }
        context.workspaces.give(workspace);
        Ok(())
    }

    /// Keeps a text that ended, if it is better than one of those kept.
    fn keep(&mut self, c: Candidate, score: f32, reason: FinishReason) {
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

    /// Continues the running beams. A beam's last child takes its cache, the others share what it holds.
    fn go_on(&mut self, lists: &mut Lists) -> Result<()> {
        let Lists { continuations, going, parents, .. } = lists;
        parents.extend(self.running.drain(..).map(Some));
        for (place, &i) in going.iter().enumerate() {
            let c = continuations[i].candidate;
            let again = going[place + 1..].iter().any(|&later| continuations[later].candidate.beam == c.beam);
            let beam =
                if again { parents[c.beam].as_ref().map(|b| b.split(self.idle.pop())) } else { parents[c.beam].take() };
            let Some(mut beam) = beam else { continue };
            beam.tokens.push(c.token);
            beam.logprobs.push(c.logprob);
            beam.score = c.score;
            beam.watch = continuations[i].watch.take();
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

    /// Whether finished texts fill all places and nothing more is wanted.
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
        let (held, prompt) = (self.held, &self.prompt);
        for beam in &mut self.running {
            let ids = if held < prompt.len() { &prompt[held..] } else { &beam.tokens[held - prompt.len()..] };
            self.held = held + ids.len();
            feeds.push(Feed { sequence: &mut beam.sequence, ids, want, last: 1, cancelled: None });
        }
    }

    fn advance(&mut self, rows: StepRows<'_>, context: Context<'_>) -> Result<bool> {
        let settings = self.settings.clone();
        let s = &*settings;
        let beams = self.finished.len();
        let mut lists = std::mem::take(&mut self.lists);
        self.candidates(rows, context, &mut lists.candidates)?;
        let length = self.running[0].tokens.len() + 1;
        let at_limit = length >= self.limit;

        lists.continuations.clear();
        for &candidate in &lists.candidates {
            let mut reason = at_limit.then_some(FinishReason::Length);
            let eos = s.eos.contains(&candidate.token);
            if eos {
                reason = Some(FinishReason::Eos);
            }
            let mut watch = self.running[candidate.beam].watch.clone();
            if let Some(watch) = watch.as_mut().filter(|_| !eos)
                && watch.push(candidate.token, context.tokenizer)?
            {
                reason = Some(FinishReason::StopString);
            }
            lists.continuations.push(Continuation { candidate, reason, watch });
        }

        // Finished texts: the old ones and the new, the best of which stay.
        let divisor = (length as f64).powf(f64::from(s.length_penalty)) as f32;
        if !self.is_full(s) && self.may_improve {
            for Continuation { candidate, reason, .. } in lists.continuations.iter().take(beams) {
                if let Some(reason) = *reason {
                    self.keep(*candidate, candidate.score / divisor, reason);
                }
            }
        }

        // The best of those that go on.
        lists.going.clear();
        let going = lists.continuations.iter().enumerate().filter(|(_, c)| c.reason.is_none());
        lists.going.extend(going.map(|(i, _)| i).take(beams));
        let none_goes_on = lists.going.is_empty();
        if !none_goes_on {
            self.go_on(&mut lists)?;
            let best_length = match s.early_stopping {
                EarlyStopping::Never if s.length_penalty > 0.0 => self.limit,
                _ => length,
            };
            let possible = self.running[0].score / (best_length as f64).powf(f64::from(s.length_penalty)) as f32;
            let lowest = self.finished.iter().map(|d| d.score).fold(f32::INFINITY, f32::min);
            let beaten = |d: &Done| possible > if d.reason.is_some() { lowest } else { IMPOSSIBLE };
            self.may_improve = self.may_improve && self.finished.iter().any(beaten);
        }
        self.lists = lists;
        Ok(none_goes_on || self.is_full(s) || !self.may_improve)
    }

    fn finish(self: Box<Self>, context: Context<'_>) -> Result<(Vec<Output>, Option<Sequence>)> {
        let s = &*self.settings;
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
    /// A beam that goes on from here, in the memory of another one, if there is one.
    fn split(&self, other: Option<Self>) -> Self {
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
                watch: None,
            },
        };
        beam.tokens.clone_from(&self.tokens);
        beam.logprobs.clone_from(&self.logprobs);
        beam.constraint.clone_from(&self.constraint);
        beam
    }
}
