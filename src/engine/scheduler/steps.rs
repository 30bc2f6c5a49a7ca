//! Steps of generation: of one call alone, or of several calls together.

use std::time::{Duration, Instant};

use crate::base::call::Call;
use crate::base::error::{Error, Result};
use crate::base::memory::emptied;
use crate::engine::Engine;
use crate::network::{Feed, StepOutput, Want};

use super::attempt;
use super::line::{Failure, Queue, Request, Step, StepSeat, Waiting, Work};
use super::texts::TextPlan;

/// How long a step waits for calls that come back with their next tokens: this part of the last step's duration, within these limits.
const WINDOW_PART: u32 = 4;
const WINDOW: (Duration, Duration) = (Duration::from_micros(100), Duration::from_millis(20));

/// The part of a pass's tokens that a step which also continues texts reads in prompts, so that these are not held up.
pub(super) const PROMPT_PART: usize = 4;

/// The maximum size of a step's logits, in bytes.
const LOGITS_BYTES: usize = 32 << 20;

/// A part of a feed in a pass.
struct Place {
    request: Waiting,
    feed: usize,
    /// The tokens that the pass appends.
    tokens: usize,
    /// The length of the sequence before.
    before: usize,
}

/// Lists of the leader, kept so that the next pass does not allocate.
#[derive(Default)]
pub(super) struct StepBuffers {
    pub texts: TextPlan,
    /// The calls of a step.
    pub requests: Vec<Waiting>,
    /// Calls that were served.
    pub served: Vec<Waiting>,
    feeds: Vec<Feed<'static>>,
    places: Vec<Place>,
    output: StepOutput,
}

// SAFETY: as `Queue`; between passes the lists are empty.
unsafe impl Send for StepBuffers {}

fn step_of<'r>(request: &'r mut Request<'static, 'static>) -> Result<&'r mut Step<'static, 'static>> {
    match &mut request.work {
        Work::Step(step) => Ok(step),
        Work::Texts(_) => Err(Error::internal("texts in a step")),
    }
}

/// Chooses the calls of the next step, the most urgent first.
pub(super) fn plan(queue: &Queue, chosen: Waiting, merges: bool, requests: &mut Vec<Waiting>) {
    requests.clear();
    if !merges {
        requests.push(chosen);
        return;
    }
    let steps = queue.requests.iter().zip(queue.iter()).filter(|(_, request)| matches!(request.work, Work::Step(_)));
    requests.extend(steps.map(|(&pointer, _)| pointer));
    // SAFETY: this thread leads.
    requests.sort_by_key(|&request| unsafe { (*request).call.priority.rank() });
}

/// Takes calls whose step is done out of the line, and expects them back.
pub(super) fn finish(
    queue: &mut Queue,
    requests: &mut Vec<Waiting>,
    served: &mut Vec<Waiting>,
    begun: Instant,
    merges: bool,
) {
    let now = Instant::now();
    let wait = ((now - begun) / WINDOW_PART).clamp(WINDOW.0, WINDOW.1);
    queue.window = now + wait;
    let mut back = 0;
    queue.remove(|request| {
        let failed = request.failure.is_some();
        let Work::Step(step) = &mut request.work else { return false };
        if !failed && !step.is_complete() {
            return false;
        }
        let seat = &mut *step.seat;
        seat.done.clear();
        seat.served = Some((now, wait));
        seat.counted = merges && !failed && !seat.single && !seat.late;
        back += usize::from(seat.counted);
        served.push(request);
        true
    });
    queue.between += back;
    requests.clear();
}

/// The steps of one call. While it exists, other calls may wait a little for its next step.
pub(crate) struct StepTurns<'e> {
    engine: &'e Engine,
    seat: StepSeat,
}

impl Drop for StepTurns<'_> {
    fn drop(&mut self) {
        if self.seat.counted && !self.engine.runs_alone() {
            self.engine.scheduler.turns.update(|queue| queue.between -= 1);
        }
    }
}

impl StepTurns<'_> {
    /// As [`Network::step`](crate::network::Network::step), together with the steps of other calls.
    pub fn step(&mut self, feeds: &mut [Feed], output: &mut StepOutput, call: Call<'_>) -> Result<()> {
        let engine = self.engine;
        if feeds.is_empty() || engine.runs_alone() {
            engine.begin_call(call);
            return engine.network.step(feeds, output, call);
        }
        let seat = &mut self.seat;
        let since = Instant::now();
        seat.late = seat.served.is_some_and(|(served, wait)| since - served > wait);
        seat.done.clear();
        seat.gathered = false;
        let counted = std::mem::take(&mut seat.counted);
        let work = Work::Step(Step { feeds, output, seat });
        let mut request = Request { seat: std::ptr::null(), call, since, begun: false, work, failure: None };
        engine.wait_for(&mut request, |queue| queue.between -= usize::from(counted))
    }
}

impl Engine {
    /// For the steps of one call.
    pub fn turns(&self) -> StepTurns<'_> {
        StepTurns { engine: self, seat: StepSeat::default() }
    }

    /// As [`Network::step`](crate::network::Network::step), for a call that makes only one.
    pub fn step_once(&self, feeds: &mut [Feed], output: &mut StepOutput, call: Call<'_>) -> Result<()> {
        StepTurns { engine: self, seat: StepSeat { single: true, ..StepSeat::default() } }.step(feeds, output, call)
    }

    /// Runs one pass for the chosen calls. `company` tells whether others are expected. Returns its sequences and tokens.
    pub(super) fn run_steps(&self, buffers: &mut StepBuffers, company: bool) -> (usize, usize) {
        for &request in &buffers.requests {
            // SAFETY: this thread leads, and the request waits.
            self.begin(unsafe { &mut *request });
        }
        let requests = std::mem::take(&mut buffers.requests);
        let counts = self.run_some(&requests, buffers, company);
        buffers.requests = requests;
        self.scheduler.rows.store(counts.0, std::sync::atomic::Ordering::Relaxed);
        counts
    }

    fn slices(&self) -> bool {
        // Without a KV cache a slice would process the whole text again; where LongRoPE's factors change within a prompt, all of it is
        // to be read with the same ones.
        self.network.has_kv_cache() && self.network.rotary_switch().is_none() && self.network.merges()
    }

    fn run_some(&self, requests: &[Waiting], buffers: &mut StepBuffers, company: bool) -> (usize, usize) {
        if let [only] = *requests {
            // SAFETY: this thread leads, and the request waits.
            let request = unsafe { &mut *only };
            let call = request.call;
            let Ok(step) = step_of(request) else { return (0, 0) };
            let (tokens, rows) = (step.tokens(), step.feeds.iter().map(Feed::rows).sum::<usize>());
            let most = self.scheduler.max_tokens;
            let short = tokens <= most && (!company || tokens - rows <= most / PROMPT_PART);
            if !step.is_partial() && (short || !self.slices()) {
                let sequences = step.feeds.len();
                let outcome = attempt(|| self.network.step(step.feeds, step.output, call));
                step.seat.done.extend(step.feeds.iter().map(|feed| feed.ids.len()));
                request.failure = outcome.err();
                return (sequences, tokens);
            }
        }
        let StepBuffers { feeds, places, output, .. } = buffers;
        let mut feeds: Vec<Feed> = emptied(std::mem::take(feeds));
        places.clear();
        self.fill_pass(requests, &mut feeds, places, company);
        // SAFETY: as above.
        let call = if let [only] = *requests { unsafe { (*only).call } } else { Call::new(&self.counters) };
        let outcome = attempt(|| self.network.step(&mut feeds, output, call));
        let counts = (feeds.len(), places.iter().map(|place| place.tokens).sum());
        if let Err(failure) = outcome {
            let kept = feeds.iter_mut().zip(&*places).map(|(feed, place)| {
                let kept = feed.sequence.length() >= place.before;
                feed.sequence.truncate(place.before);
                kept
            });
            let kept: Vec<bool> = kept.collect();
            buffers.feeds = emptied(feeds);
            self.recover(requests, buffers, &kept, failure);
            return counts;
        }
        buffers.feeds = emptied(feeds);
        for (number, place) in buffers.places.iter().enumerate() {
            // SAFETY: as above.
            let request = unsafe { &mut *place.request };
            if buffers.output.is_cancelled(number) {
                request.failure.get_or_insert(Failure::Error(Error::cancelled()));
                continue;
            }
            let Ok(step) = step_of(request) else { continue };
            if !step.seat.gathered {
                step.output.gather(step.feeds, &buffers.output);
                step.seat.gathered = true;
            }
            let done = &mut step.seat.done[place.feed];
            *done += place.tokens;
            if *done == step.feeds[place.feed].ids.len() {
                step.output.take(place.feed, &buffers.output, number);
            }
        }
        counts
    }

    /// After a pass that failed: runs its calls one by one. `kept` tells which sequences of the pass are as they were.
    fn recover(&self, requests: &[Waiting], buffers: &mut StepBuffers, kept: &[bool], failure: Failure) {
        let places = std::mem::take(&mut buffers.places);
        let mut first = Some(failure);
        for &own in requests {
            let mine = |place: &&Place| std::ptr::eq(place.request, own);
            if !places.iter().any(|place| mine(&place)) {
                continue;
            }
            let lost = places.iter().zip(kept).any(|(place, kept)| mine(&place) && !kept);
            if requests.len() > 1 && !lost && self.network.survives_errors() {
                self.run_some(&[own], buffers, true);
                continue;
            }
            let failure = match &mut first {
                Some(Failure::Error(error)) => Failure::Error(error.clone()),
                panic => panic
                    .take()
                    .unwrap_or_else(|| Failure::Error(Error::internal("a step that another call shared panicked"))),
            };
            // SAFETY: as above.
            unsafe { (*own).failure = Some(failure) };
        }
    }

    /// Chooses what of the calls' feeds goes into a pass: first the texts that are continued, then prompts, in slices.
    fn fill_pass(&self, requests: &[Waiting], feeds: &mut Vec<Feed<'_>>, places: &mut Vec<Place>, company: bool) {
        let scheduler = &self.scheduler;
        let (max_tokens, max_sequences) = (scheduler.max_tokens, scheduler.options.sequences());
        let max_logits = (LOGITS_BYTES / 4 / self.spec.vocabulary.max(1)).max(8);
        let slices = self.slices();
        let (mut tokens, mut logits) = (0, 0);
        for prompts in [false, true] {
            let most = if prompts && (company || requests.len() > 1 && tokens > 0) {
                (tokens + max_tokens / PROMPT_PART).min(max_tokens).max(tokens + 1)
            } else {
                max_tokens
            };
            for &request in requests {
                // SAFETY: this thread leads, the request waits, and each is in the list once per round; a feed is in one round only.
                let own = unsafe { &mut *request };
                let flag = own.call.cancelled;
                let Ok(step) = step_of(own) else { continue };
                step.seat.done.resize(step.feeds.len(), 0);
                for (number, feed) in step.feeds.iter_mut().enumerate() {
                    let (from, rows) = (step.seat.done[number], feed.rows());
                    let left = feed.ids.len() - from;
                    if left == 0 || (left > rows) != prompts || feeds.len() == max_sequences {
                        continue;
                    }
                    let wanted = if feed.want == Want::Logits { rows } else { 0 };
                    let room = most.saturating_sub(tokens);
                    let take = match prompts && slices {
                        // The rows that are wanted are those of one pass.
                        true if room < left => room.min(left - rows),
                        _ => left,
                    };
                    let fits = take > 0 && take <= room && logits + wanted <= max_logits;
                    if !fits && !feeds.is_empty() || take == 0 {
                        continue;
                    }
                    let before = feed.sequence.length();
                    let (want, last) = if take == left { (feed.want, feed.last) } else { (Want::None, 0) };
                    tokens += take;
                    logits += if take == left { wanted } else { 0 };
                    let ids = &feed.ids[from..from + take];
                    feeds.push(Feed {
                        sequence: &mut *feed.sequence,
                        ids,
                        want,
                        last,
                        cancelled: feed.cancelled.or(flag),
                    });
                    places.push(Place { request, feed: number, tokens: take, before });
                }
            }
        }
    }
}
