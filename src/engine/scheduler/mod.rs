//! Many callers at once. Calls do not run their passes and steps themselves: they put them in the model's line, and one of the threads
//! that wait runs what belongs together for all of them, with the model's thread pool.
//!
//! - **Texts** (embedding, classification, source texts) of several calls form one packed pass, if they want the same output. Each call
//!   gives one text in turn, so a call with many texts does not hold up one with a single text.
//! - **Steps** of several generations form one step. A call keeps its own search and its own thread; only the network's step is shared.
//!   Prompts are read in slices, beside the steps of texts that are being written. A step waits for calls that have just been served and
//!   come back with their next token, for a quarter of the last step's duration at most; a call that was late is not waited for again
//!   until it has been in time.
//! - **Priorities.** Work of a higher priority goes first. Where texts of a lower priority are being run, a call of a higher one does not
//!   wait for the pass to end but runs at once, on its own thread.
//! - **Alone**, a call leads at once and runs its work as it is: two locks that nobody else wants, and no wake-up.
//!
//! Results do not depend on what shares a pass: a row's bits depend on its own text only. If a merged pass fails, the parts are run one by
//! one, so that an error or a panic reaches only the call that caused it.

mod line;
mod settings;
mod steps;
mod sync;
mod texts;
mod turns;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::base::call::{Call, Entry, Priority};
use crate::base::counters::Stage;
use crate::base::error::{Error, Result, Status};
use crate::base::fork::Lock;
use crate::network::Network;

use super::Engine;
use line::{Failure, Queue, Request, Waiting, Work};
use steps::StepBuffers;
use turns::{Demand, Line, Seat, Turns};

pub use settings::SchedulerOptions;
pub(crate) use steps::StepTurns;

/// Passes of calls of no priority: nothing runs.
const IDLE: usize = Priority::ALL.len();

pub(crate) struct Scheduler {
    turns: Turns<Queue>,
    options: SchedulerOptions,
    /// The most tokens of a pass.
    max_tokens: usize,
    /// Calls that have not begun, and their bytes.
    queued: AtomicUsize,
    queued_bytes: AtomicUsize,
    /// Requests in the line or being run.
    waiting: AtomicUsize,
    /// The rank of the priority of the texts that are being run; [`IDLE`] if none are.
    running: AtomicUsize,
    /// Calls that run beside the line, because what runs is less urgent.
    beside: AtomicUsize,
    /// The rows of the last step.
    rows: AtomicUsize,
    buffers: Lock<StepBuffers>,
}

impl Scheduler {
    pub fn new(options: SchedulerOptions, network: &dyn Network, threads: usize) -> Self {
        let pass = network.pass_tokens().max(network.thread_pass_tokens().unwrap_or(0) * threads);
        let max_tokens = if options.max_tokens == 0 { pass } else { options.max_tokens };
        Self {
            turns: Turns::new(Queue::new(options.max_wait, max_tokens)),
            options,
            max_tokens,
            queued: AtomicUsize::new(0),
            queued_bytes: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            running: AtomicUsize::new(IDLE),
            beside: AtomicUsize::new(0),
            rows: AtomicUsize::new(0),
            buffers: Lock::default(),
        }
    }

    /// Puts a call in the queue, or refuses it.
    pub fn admit(&self, bytes: usize) -> Result<Entry> {
        let (calls, all) =
            (self.queued.fetch_add(1, Ordering::Relaxed), self.queued_bytes.fetch_add(bytes, Ordering::Relaxed));
        let SchedulerOptions { queue_length, queue_bytes, .. } = self.options;
        // The first call of an empty queue begins at once.
        let full = calls > 0
            && (queue_length > 0 && calls >= queue_length
                || queue_bytes > 0 && all.saturating_add(bytes) > queue_bytes);
        if full {
            self.queued.fetch_sub(1, Ordering::Relaxed);
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Error::new(
                Status::Busy,
                format!("the model's queue is full: {calls} calls with {all} bytes wait; try again later"),
            ));
        }
        Ok(Entry { bytes, ..Entry::default() })
    }

    /// Takes a call out of the queue, if it is still there.
    pub fn begin(&self, entry: &Entry) {
        if !entry.begun.swap(true, Ordering::Relaxed) {
            self.queued.fetch_sub(1, Ordering::Relaxed);
            self.queued_bytes.fetch_sub(entry.bytes, Ordering::Relaxed);
        }
    }

    /// Rows of other calls in the last step, if `own` are one's own.
    pub fn other_rows(&self, own: usize) -> usize {
        self.rows.load(Ordering::Relaxed).saturating_sub(own)
    }
}

/// Runs work and catches panics, and what unwinds for want of memory.
fn attempt<T>(work: impl FnOnce() -> Result<T>) -> Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Failure::Error(error)),
        Err(payload) => Err(match payload.downcast::<Error>() {
            Ok(error) => Failure::Error(*error),
            Err(payload) => Failure::Panic(payload),
        }),
    }
}

impl Failure {
    fn into_result(self) -> Result<()> {
        match self {
            Self::Error(error) => Err(error),
            Self::Panic(payload) => resume_unwind(payload),
        }
    }
}

/// A call that runs beside the line.
struct Beside<'a>(&'a AtomicUsize);

impl<'a> Beside<'a> {
    /// None if there are `most` already.
    fn enter(count: &'a AtomicUsize, most: usize) -> Option<Self> {
        let entered = Self(count);
        (count.fetch_add(1, Ordering::Relaxed) < most).then_some(entered)
    }
}

impl Drop for Beside<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Engine {
    /// Whether work runs on the calling thread alone: in the child of a `fork`, where those that waited in the line do not exist.
    fn runs_alone(&self) -> bool {
        self.birth.was_in_a_parent()
    }

    /// Waits until a request is done, and leads meanwhile when it is this thread's turn.
    fn wait_for(&self, request: &mut Request, join: impl FnOnce(&mut Queue)) -> Result<()> {
        let (scheduler, seat) = (&self.scheduler, Seat::new());
        request.seat = &raw const seat;
        // Lifetimes are erased, not extended: this function returns only after the request has left the line.
        let own: Waiting = (&raw mut *request).cast();
        scheduler.waiting.fetch_add(1, Ordering::Relaxed);
        let mut leads = scheduler.turns.enter(&seat, |queue| {
            join(queue);
            queue.add(own);
        });
        while leads {
            let served = self.lead(own);
            leads = scheduler.turns.proceed((!served).then_some(&seat));
        }
        // SAFETY: the request has left the line, so no other thread accesses it.
        match unsafe { (*own).failure.take() } {
            None => Ok(()),
            Some(failure) => failure.into_result(),
        }
    }

    /// Runs one pass of the line's work. Returns whether the request `own` was served.
    fn lead(&self, own: Waiting) -> bool {
        let scheduler = &self.scheduler;
        let mut buffers = std::mem::take(&mut *scheduler.buffers.lock());
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| self.run_pass(&mut buffers))) {
            self.fail_all(&mut buffers, own, payload);
        }
        // Only addresses are compared.
        let is_own = |request: &Waiting| std::ptr::eq(*request, own);
        let served = buffers.served.iter().any(is_own);
        scheduler.waiting.fetch_sub(buffers.served.len(), Ordering::Relaxed);
        for request in buffers.served.drain(..).filter(|request| !is_own(request)) {
            // SAFETY: it has left the line, and its thread waits for this.
            unsafe { Seat::serve((*request).seat) };
        }
        *scheduler.buffers.lock() = buffers;
        served
    }

    /// Chooses a pass, runs it, and takes the calls that are done out of the line.
    fn run_pass(&self, buffers: &mut StepBuffers) {
        let (scheduler, merges) = (&self.scheduler, self.network.merges());
        let chosen = scheduler.turns.with(|queue| {
            queue.remove(|request| {
                let Err(error) = request.call.check() else { return false };
                request.failure = Some(Failure::Error(error));
                buffers.served.push(request);
                true
            });
            let chosen = queue.next()?;
            // SAFETY: this thread leads.
            let first = unsafe { &*chosen };
            let texts = matches!(first.work, Work::Texts(_));
            if texts {
                texts::plan(queue, chosen, scheduler.max_tokens, merges, &mut buffers.texts);
            } else if queue.demand() == Demand::Now {
                steps::plan(queue, chosen, merges, &mut buffers.requests);
            } else {
                return None;
            }
            Some((first.call.priority.rank(), texts, queue.between > 0))
        });
        let Some((rank, texts, company)) = chosen else { return };
        let begun = Instant::now();
        let (sequences, tokens) = if texts {
            scheduler.running.store(rank, Ordering::Relaxed);
            let counts = self.run_texts(&mut buffers.texts);
            scheduler.running.store(IDLE, Ordering::Relaxed);
            counts
        } else {
            self.run_steps(buffers, company)
        };
        self.counters.add(Stage::SharedPass, sequences, tokens, begun.elapsed());
        scheduler.turns.with(|queue| {
            queue.stepped = !texts;
            if texts {
                texts::finish(queue, &mut buffers.texts, &mut buffers.served);
            } else {
                steps::finish(queue, &mut buffers.requests, &mut buffers.served, begun, merges);
            }
        });
    }

    /// After a panic of the scheduler itself: all work of the line fails, so that nobody waits for ever.
    fn fail_all(&self, buffers: &mut StepBuffers, own: Waiting, payload: Box<dyn Any + Send>) {
        self.scheduler.running.store(IDLE, Ordering::Relaxed);
        let mut payload = Some(payload);
        self.scheduler.turns.with(|queue| {
            queue.remove(|request| {
                let panic = if std::ptr::eq(request, own) { payload.take().map(Failure::Panic) } else { None };
                let error = || Failure::Error(Error::internal("the thread that ran this call's work panicked"));
                request.failure = Some(panic.unwrap_or_else(error));
                buffers.served.push(request);
                true
            });
        });
    }

    /// Marks a request, and its call, as begun.
    fn begin(&self, request: &mut Request) {
        if !std::mem::replace(&mut request.begun, true) {
            self.counters.add(Stage::QueueWait, 1, 0, request.since.elapsed());
            self.begin_call(request.call);
        }
    }

    fn begin_call(&self, call: Call<'_>) {
        if let Some(entry) = call.entry {
            self.scheduler.begin(entry);
        }
    }

    /// Runs `work` beside the line, if it is more urgent than the texts that are being run.
    fn beside<T>(&self, call: Call<'_>, work: impl FnOnce() -> T) -> Option<T> {
        let scheduler = &self.scheduler;
        let running = scheduler.running.load(Ordering::Relaxed);
        if running == IDLE || call.priority.rank() >= running {
            return None;
        }
        let _beside = Beside::enter(&scheduler.beside, self.pool.threads())?;
        self.begin_call(call);
        Some(work())
    }
}
