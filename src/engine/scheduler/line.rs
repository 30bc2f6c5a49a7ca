//! The line of a model: the work of calls that wait, and which of it goes next.

use std::any::Any;
use std::time::{Duration, Instant};

use crate::base::call::Call;
use crate::base::error::Error;
use crate::network::{Feed, Sequence, StepOutput};
use crate::spec::EncodeOutput;
use crate::text::encoding::Encoding;

use super::turns::{Demand, Line, Seat};

/// Why work was not done.
pub(super) enum Failure {
    Error(Error),
    /// A panic, to be resumed on the call's own thread.
    Panic(Box<dyn Any + Send>),
}

/// Work that a call waits for. It lives on the call's thread; the line has a pointer to it.
pub(super) struct Request<'a, 'f> {
    pub seat: *const Seat,
    pub call: Call<'a>,
    pub since: Instant,
    /// Whether a part of it was run.
    pub begun: bool,
    pub work: Work<'a, 'f>,
    pub failure: Option<Failure>,
}

pub(super) enum Work<'a, 'f> {
    Texts(Texts<'a>),
    Step(Step<'a, 'f>),
}

/// Whole texts for [`Network::encode`](crate::network::Network::encode), or for `read_sources` without `output`.
pub(super) struct Texts<'a> {
    pub encoding: &'a Encoding,
    pub output: Option<&'a EncodeOutput>,
    /// The next text, and the one at which it ends.
    pub next: usize,
    pub end: usize,
    /// The results of the texts before `next`, in order.
    pub rows: Vec<f32>,
    pub sequences: Vec<Sequence>,
}

impl Texts<'_> {
    pub fn tokens_of(&self, text: usize) -> usize {
        self.encoding.starts()[text + 1] - self.encoding.starts()[text]
    }

    fn tokens_left(&self) -> usize {
        self.encoding.starts()[self.end] - self.encoding.starts()[self.next]
    }
}

/// The feeds of one step of one call.
pub(super) struct Step<'a, 'f> {
    pub feeds: &'a mut [Feed<'f>],
    pub output: &'a mut StepOutput,
    pub seat: &'a mut StepSeat,
}

impl Step<'_, '_> {
    /// Whether parts of it were run and others not.
    pub fn is_partial(&self) -> bool {
        !self.seat.done.is_empty()
    }

    pub fn is_complete(&self) -> bool {
        self.is_partial() && self.feeds.iter().zip(&self.seat.done).all(|(feed, done)| *done == feed.ids.len())
    }

    pub fn tokens(&self) -> usize {
        self.feeds.iter().map(|feed| feed.ids.len()).sum()
    }
}

/// What is known of a call between its steps.
#[derive(Default)]
pub(super) struct StepSeat {
    /// The tokens of each feed that were appended; empty if the step has not begun.
    pub done: Vec<usize>,
    /// Whether the output has places for the rows of all feeds.
    pub gathered: bool,
    /// Whether it makes only one step.
    pub single: bool,
    /// When its last step was done, and how long other calls were to wait for the next one.
    pub served: Option<(Instant, Duration)>,
    /// Whether it came later than that.
    pub late: bool,
    /// Whether it is counted in [`Queue::between`].
    pub counted: bool,
}

pub(super) type Waiting = *mut Request<'static, 'static>;

/// The work that waits.
pub(super) struct Queue {
    /// In the order in which they take turns.
    pub requests: Vec<Waiting>,
    /// How many of them are texts.
    texts: usize,
    /// Calls that are between two steps and are expected to be back soon, and until when others wait for them.
    pub between: usize,
    pub window: Instant,
    /// How long a text without company waits for some, and the tokens that are company enough.
    pub max_wait: Duration,
    pub max_tokens: usize,
    /// Whether the last pass was a step.
    pub stepped: bool,
}

// SAFETY: requests are on threads that wait until they are served; only the leader, or a thread that holds the lock, accesses them.
unsafe impl Send for Queue {}

impl Queue {
    pub fn new(max_wait: Duration, max_tokens: usize) -> Self {
        let window = Instant::now();
        Self { requests: Vec::new(), texts: 0, between: 0, window, max_wait, max_tokens, stepped: false }
    }

    pub fn add(&mut self, request: Waiting) {
        // SAFETY: the caller's own request.
        self.texts += usize::from(matches!(unsafe { &(*request).work }, Work::Texts(_)));
        self.requests.push(request);
    }

    /// Takes requests out for which `leaves` is true.
    pub fn remove(&mut self, mut leaves: impl FnMut(&mut Request<'static, 'static>) -> bool) {
        let texts = &mut self.texts;
        self.requests.retain(|&request| {
            // SAFETY: the leader calls this.
            let request = unsafe { &mut *request };
            let leaves = leaves(request);
            *texts -= usize::from(leaves && matches!(request.work, Work::Texts(_)));
            !leaves
        });
    }

    /// The requests, which nobody else accesses: the caller leads, or holds the lock and only reads while nobody leads.
    pub fn iter(&self) -> impl Iterator<Item = &Request<'static, 'static>> {
        // SAFETY: as said above.
        self.requests.iter().map(|&request| unsafe { &*request })
    }

    fn texts_demand(&self, texts: &Texts, since: Instant) -> Demand {
        if self.max_wait.is_zero() || self.requests.len() > 1 || texts.tokens_left() >= self.max_tokens {
            return Demand::Now;
        }
        let rest = self.max_wait.saturating_sub(since.elapsed());
        if rest.is_zero() { Demand::Now } else { Demand::Within(rest) }
    }

    fn step_demand(&self) -> Demand {
        if self.between == 0 {
            return Demand::Now;
        }
        let rest = self.window.saturating_duration_since(Instant::now());
        if rest.is_zero() { Demand::Now } else { Demand::Within(rest) }
    }

    /// What goes next: of the highest priority, the first in turn; at the same priority, texts and steps alternate. Steps that are to wait
    /// for company come last.
    pub fn next(&self) -> Option<Waiting> {
        let step_now = self.texts == self.requests.len() || self.step_demand() == Demand::Now;
        let key = |request: &Request| {
            let step = matches!(request.work, Work::Step(_));
            (step && !step_now, request.call.priority.rank(), step == self.stepped)
        };
        let best = self.iter().map(key).enumerate().min_by_key(|(_, key)| *key);
        best.map(|(place, _)| self.requests[place])
    }
}

impl Line for Queue {
    fn demand(&self) -> Demand {
        let Some(first) = self.iter().next() else { return Demand::None };
        if let (1, Work::Texts(texts)) = (self.requests.len(), &first.work) {
            return self.texts_demand(texts, first.since);
        }
        if self.texts > 0 { Demand::Now } else { self.step_demand() }
    }

    fn first(&self) -> *const Seat {
        // SAFETY: as in `iter`.
        self.next().map_or(std::ptr::null(), |request| unsafe { (*request).seat })
    }
}
