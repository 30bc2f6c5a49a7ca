//! Timing counters: totals per stage of the work, and the distribution of call durations.
//!
//! Recording costs a few atomic additions per stage and one short lock per call. Stages nest (a call contains all the others),
//! and concurrent calls add their times, so the sum over stages may exceed wall-clock time.

mod export;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::base::fork::Lock;

pub use export::Format;

/// A stage of the work. The numbers are part of the C ABI: new stages are only appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Stage {
    /// Reading, converting and packing a model.
    Load = 0,
    /// Tokenisation.
    Tokenize = 1,
    /// Concatenating token sequences into one packed batch.
    Pack = 2,
    /// Looking up and summing embeddings, and normalising the sum.
    Embed = 3,
    /// Scaled dot-product attention (its projections count as `Linear`).
    Attention = 4,
    /// Matrix products with weights, and the norms between them. For an ONNX graph, its whole runs.
    Linear = 5,
    /// Pooling, normalisation, and the activations of heads.
    Pool = 6,
    /// A whole call, from the arguments to the result.
    Call = 7,
    /// Generation steps that process at least one prompt; tokens of other texts in the same step count here too.
    Prefill = 8,
    /// Generation steps that add to each text one token, or several accepted draft tokens.
    Decode = 9,
    /// Selecting the next tokens.
    Sample = 10,
    /// Detokenisation.
    Detokenize = 11,
    /// From the start of a call to the first token of each text.
    FirstToken = 12,
    /// Generations answered from the answer cache; `tokens` counts what was generated when they entered the cache.
    AnswerHit = 13,
    /// Inputs that were not in the answer cache.
    AnswerMiss = 14,
    /// Prompt-lookup drafting: `items` counts texts with a draft, `tokens` counts draft tokens.
    Draft = 15,
    /// Draft tokens that were accepted; each saved one decoding step.
    Accept = 16,
    /// Transfers between host and GPU; `items` counts bytes. GPU work is asynchronous: the other stages show the time to submit
    /// work, this one includes waiting for its results.
    Transfer = 17,
    /// From the moment when a call has a pass or a step to run until it is begun; `calls` counts these.
    QueueWait = 18,
    /// Passes and steps that the scheduler ran: `items` counts their sequences, `tokens` their tokens, of all calls together.
    SharedPass = 19,
    /// Calls that were refused because the queue was full.
    Busy = 20,
    /// Calls that ended because their deadline had passed; the time from their start.
    DeadlineMissed = 21,
    /// As `FirstToken`, for calls of the priority interactive.
    FirstTokenInteractive = 22,
    /// As `FirstToken`, for calls of the priority normal.
    FirstTokenNormal = 23,
    /// As `FirstToken`, for calls of the priority bulk.
    FirstTokenBulk = 24,
    /// From one token of a text to the next, for calls of the priority interactive; `calls` counts steps, so the mean time per output
    /// token is `nanoseconds` by `calls`.
    OutputTokenInteractive = 25,
    /// As `OutputTokenInteractive`, for calls of the priority normal.
    OutputTokenNormal = 26,
    /// As `OutputTokenInteractive`, for calls of the priority bulk.
    OutputTokenBulk = 27,
}

impl Stage {
    pub const ALL: [Self; 28] = [
        Self::Load,
        Self::Tokenize,
        Self::Pack,
        Self::Embed,
        Self::Attention,
        Self::Linear,
        Self::Pool,
        Self::Call,
        Self::Prefill,
        Self::Decode,
        Self::Sample,
        Self::Detokenize,
        Self::FirstToken,
        Self::AnswerHit,
        Self::AnswerMiss,
        Self::Draft,
        Self::Accept,
        Self::Transfer,
        Self::QueueWait,
        Self::SharedPass,
        Self::Busy,
        Self::DeadlineMissed,
        Self::FirstTokenInteractive,
        Self::FirstTokenNormal,
        Self::FirstTokenBulk,
        Self::OutputTokenInteractive,
        Self::OutputTokenNormal,
        Self::OutputTokenBulk,
    ];

    /// The name in exports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Tokenize => "tokenize",
            Self::Pack => "pack",
            Self::Embed => "embed",
            Self::Attention => "attention",
            Self::Linear => "linear",
            Self::Pool => "pool",
            Self::Call => "call",
            Self::Prefill => "prefill",
            Self::Decode => "decode",
            Self::Sample => "sample",
            Self::Detokenize => "detokenize",
            Self::FirstToken => "first_token",
            Self::AnswerHit => "answer_hit",
            Self::AnswerMiss => "answer_miss",
            Self::Draft => "draft",
            Self::Accept => "accept",
            Self::Transfer => "transfer",
            Self::QueueWait => "queue_wait",
            Self::SharedPass => "shared_pass",
            Self::Busy => "busy",
            Self::DeadlineMissed => "deadline_missed",
            Self::FirstTokenInteractive => "first_token_interactive",
            Self::FirstTokenNormal => "first_token_normal",
            Self::FirstTokenBulk => "first_token_bulk",
            Self::OutputTokenInteractive => "output_token_interactive",
            Self::OutputTokenNormal => "output_token_normal",
            Self::OutputTokenBulk => "output_token_bulk",
        }
    }

    pub fn from_u32(value: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|&stage| stage as u32 == value)
    }
}

#[derive(Default)]
struct Cell {
    calls: AtomicU64,
    items: AtomicU64,
    tokens: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Cell {
    /// Returns the totals and resets them to zero.
    fn take(&self) -> StageTotals {
        let taken = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        StageTotals {
            calls: taken(&self.calls),
            items: taken(&self.items),
            tokens: taken(&self.tokens),
            nanoseconds: taken(&self.nanoseconds),
        }
    }

    fn add(&self, calls: u64, items: usize, tokens: usize, time: Duration) {
        self.calls.fetch_add(calls, Ordering::Relaxed);
        self.items.fetch_add(items as u64, Ordering::Relaxed);
        self.tokens.fetch_add(tokens as u64, Ordering::Relaxed);
        self.nanoseconds.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }
}

/// A backend's transfers to and from its device since the last `move_to`.
#[derive(Default)]
pub struct Transfers(Cell);

impl Transfers {
    #[cfg(feature = "candle")]
    pub fn add(&self, bytes: usize, time: Duration) {
        self.0.add(1, bytes, 0, time);
    }

    /// Adds the transfers to `counters` and resets them.
    pub fn move_to(&self, counters: &Counters) {
        counters.put(Stage::Transfer, self.0.take());
    }
}

/// Totals of one stage since the model was loaded or the counters were reset. A stage that is entered once per layer or once per
/// pass counts its items and tokens each time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageTotals {
    /// Number of times that the stage was entered.
    pub calls: u64,
    /// Texts or sequences processed (files, for `Load`).
    pub items: u64,
    /// Tokens processed.
    pub tokens: u64,
    pub nanoseconds: u64,
}

impl StageTotals {
    /// Tokens per second; 0 if no time was recorded.
    pub fn tokens_per_second(&self) -> f64 {
        if self.nanoseconds == 0 { 0.0 } else { self.tokens as f64 * 1e9 / self.nanoseconds as f64 }
    }
}

/// The distribution of call durations, in nanoseconds, each within 0.1 %.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Latency {
    pub count: u64,
    pub min: u64,
    pub max: u64,
    pub mean: f64,
    pub standard_deviation: f64,
    pub p50: u64,
    pub p90: u64,
    pub p95: u64,
    pub p99: u64,
}

/// The live counters of one model. All methods may be called from any thread at any time.
pub struct Counters {
    stages: [Cell; Stage::ALL.len()],
    calls: Lock<Histogram<u64>>,
}

impl Default for Counters {
    fn default() -> Self {
        // The upper bound is one hour in nanoseconds; longer calls count as one hour. The tests show that `hdrhistogram` accepts
        // these constant bounds.
        let calls = Histogram::new_with_bounds(1, 3_600_000_000_000, 3);
        let calls = calls.unwrap_or_else(|_| unreachable!("constant bounds"));
        Self { stages: Default::default(), calls: Lock::new(calls) }
    }
}

impl Counters {
    /// Adds one entry to a stage. For `Stage::Call` use [`Counters::call`], which also feeds the distribution.
    pub fn add(&self, stage: Stage, items: usize, tokens: usize, time: Duration) {
        self.stages[stage as usize].add(1, items, tokens, time);
    }

    /// Runs `work` and adds its time to a stage.
    pub fn time<T>(&self, stage: Stage, items: usize, tokens: usize, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.add(stage, items, tokens, start.elapsed());
        result
    }

    /// Records a successful call.
    pub fn call(&self, items: usize, tokens: usize, time: Duration) {
        self.add(Stage::Call, items, tokens, time);
        self.calls.lock().saturating_record(time.as_nanos() as u64);
    }

    /// Sets everything to zero, including `Load`.
    pub fn reset(&self) {
        for cell in &self.stages {
            for counter in [&cell.calls, &cell.items, &cell.tokens, &cell.nanoseconds] {
                counter.store(0, Ordering::Relaxed);
            }
        }
        self.calls.lock().reset();
    }

    /// Sets the stages to zero and passes the former totals to `each`, without the empty ones.
    pub(crate) fn take(&self, mut each: impl FnMut(Stage, StageTotals)) {
        for (cell, stage) in self.stages.iter().zip(Stage::ALL) {
            let totals = cell.take();
            if totals != StageTotals::default() {
                each(stage, totals);
            }
        }
    }

    /// Adds totals that were counted elsewhere.
    pub(crate) fn put(&self, stage: Stage, totals: StageTotals) {
        let StageTotals { calls, items, tokens, nanoseconds } = totals;
        self.stages[stage as usize].add(calls, items as usize, tokens as usize, Duration::from_nanos(nanoseconds));
    }

    /// A copy of all counters. A call that finishes meanwhile may be included in some of them and not in others.
    pub fn read(&self) -> Snapshot {
        let stages = std::array::from_fn(|i| {
            let cell = &self.stages[i];
            StageTotals {
                calls: cell.calls.load(Ordering::Relaxed),
                items: cell.items.load(Ordering::Relaxed),
                tokens: cell.tokens.load(Ordering::Relaxed),
                nanoseconds: cell.nanoseconds.load(Ordering::Relaxed),
            }
        });
        let calls = self.calls.lock();
        let latency = if calls.is_empty() {
            Latency::default()
        } else {
            Latency {
                count: calls.len(),
                min: calls.min(),
                max: calls.max(),
                mean: calls.mean(),
                standard_deviation: calls.stdev(),
                p50: calls.value_at_quantile(0.50),
                p90: calls.value_at_quantile(0.90),
                p95: calls.value_at_quantile(0.95),
                p99: calls.value_at_quantile(0.99),
            }
        };
        Snapshot { stages, latency, device_memory: 0 }
    }
}

/// The counters at one point in time.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    stages: [StageTotals; Stage::ALL.len()],
    latency: Latency,
    /// Bytes that the model holds on a GPU; 0 for a model that runs on the CPU.
    pub device_memory: u64,
}

impl Snapshot {
    pub fn stage(&self, stage: Stage) -> StageTotals {
        self.stages[stage as usize]
    }

    pub fn latency(&self) -> Latency {
        self.latency
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_add_up_and_reset() {
        let counters = Counters::default();
        counters.add(Stage::Linear, 2, 30, Duration::from_micros(5));
        counters.add(Stage::Linear, 1, 10, Duration::from_micros(3));
        let linear = counters.read().stage(Stage::Linear);
        assert_eq!(linear, StageTotals { calls: 2, items: 3, tokens: 40, nanoseconds: 8_000 });
        assert!((linear.tokens_per_second() - 5e6).abs() < 1.0);
        counters.call(1, 1, Duration::from_millis(1));
        counters.reset();
        let empty = counters.read();
        assert!(Stage::ALL.iter().all(|&s| empty.stage(s) == StageTotals::default()));
        assert_eq!(empty.latency(), Latency::default());
    }

    #[test]
    fn percentiles_of_known_calls() {
        let counters = Counters::default();
        for ms in 1..=100 {
            counters.call(1, 10, Duration::from_millis(ms));
        }
        let latency = counters.read().latency();
        let near = |value: u64, ms: f64| (value as f64 / 1e6 - ms).abs() < 0.002 * ms;
        assert_eq!(latency.count, 100);
        assert!(
            near(latency.p50, 50.0) && near(latency.p90, 90.0) && near(latency.p95, 95.0) && near(latency.p99, 99.0)
        );
        assert!((latency.mean / 1e6 - 50.5).abs() < 0.1);
        // The population standard deviation of 1..=100.
        assert!((latency.standard_deviation / 1e6 - 28.866).abs() < 0.1);
    }

    #[test]
    fn a_call_longer_than_the_range_is_kept() {
        let counters = Counters::default();
        counters.call(1, 1, Duration::from_secs(100_000));
        assert_eq!(counters.read().latency().count, 1);
    }
}
