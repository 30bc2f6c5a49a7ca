//! The callers of a load test: threads that take calls from a common schedule until it ends.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::failure::{Failure, Outcome};
use crate::random::SplitMix64;

use super::workload::{Calling, Workload};

/// The number of calls without --requests and --duration.
const REQUESTS: usize = 1000;
/// A call that waits longer than this for a caller is late; a thread that sleeps wakes up sooner.
const LATE: Duration = Duration::from_millis(1);
/// The seed of the arrivals is another than that of the inputs.
const ARRIVALS: u64 = 0x5eed;

/// Who calls, and how often.
pub struct Load {
    /// Threads.
    pub callers: usize,
    /// Calls per second in an open loop; `None` for a closed one.
    pub rate: Option<f64>,
    /// At most so many calls.
    pub requests: Option<usize>,
    /// No call begins after so many seconds.
    pub duration: Option<f64>,
    pub calling: Calling,
    pub seed: u64,
}

/// What the calls of one run gave.
pub struct Tally {
    pub calls: usize,
    pub tokens: usize,
    /// Results with other bits than those of their input alone.
    pub differences: usize,
    /// Calls that found all callers busy (open loop).
    pub late: usize,
    pub errors: BTreeMap<String, usize>,
    /// The first error's message.
    pub error: Option<String>,
    /// From the first call to the end of the last one.
    pub seconds: f64,
    pub latency: Histogram<u64>,
    pub first_token: Histogram<u64>,
    /// One value per call: its mean time per token after the first.
    pub output_token: Histogram<u64>,
}

impl Tally {
    pub fn new() -> Outcome<Self> {
        // Nanoseconds, up to an hour, within 0.1 %.
        let histogram = || Histogram::new_with_bounds(1, 3_600_000_000_000, 3).map_err(Failure::new);
        Ok(Self {
            calls: 0,
            tokens: 0,
            differences: 0,
            late: 0,
            errors: BTreeMap::new(),
            error: None,
            seconds: 0.0,
            latency: histogram()?,
            first_token: histogram()?,
            output_token: histogram()?,
        })
    }

    /// Makes one call and records it. `arrival` is when it should have begun.
    pub fn call(
        this: &Mutex<Self>,
        workload: &Workload,
        input: usize,
        calling: Calling,
        wanted: Option<u64>,
        arrival: Instant,
    ) -> u64 {
        let begun = Instant::now();
        let result = workload.call(input, calling);
        let latency = arrival.elapsed();
        let waited = begun - arrival;
        let mut tally = this.lock().unwrap_or_else(PoisonError::into_inner);
        tally.late += usize::from(waited > LATE);
        let answer = match result {
            Ok(answer) => answer,
            Err(error) => {
                *tally.errors.entry(format!("{:?}", error.status())).or_default() += 1;
                tally.error.get_or_insert_with(|| error.to_string());
                return 0;
            }
        };
        tally.calls += 1;
        tally.tokens += answer.tokens;
        tally.differences += usize::from(wanted.is_some_and(|wanted| wanted != answer.hash));
        tally.latency.saturating_record(nanoseconds(latency));
        if let Some((first, last)) = answer.stream {
            tally.first_token.saturating_record(nanoseconds(waited + first));
            if answer.tokens > 1 {
                let each = (last - first) / (answer.tokens as u32 - 1);
                tally.output_token.saturating_record(nanoseconds(each));
            }
        }
        answer.hash
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1)
}

/// Which call is next, and when it begins.
struct Schedule {
    requests: usize,
    seconds: f64,
    rate: Option<f64>,
    start: Instant,
    next: usize,
    /// When the next call arrives, in seconds from the start (open loop).
    arrival: f64,
    random: SplitMix64,
}

impl Schedule {
    fn new(load: &Load, start: Instant) -> Self {
        let mut random = SplitMix64(load.seed ^ ARRIVALS);
        Self {
            requests: load.requests.unwrap_or(if load.duration.is_some() { usize::MAX } else { REQUESTS }),
            seconds: load.duration.unwrap_or(f64::INFINITY),
            rate: load.rate,
            start,
            next: 0,
            arrival: load.rate.map_or(0.0, |rate| random.exponential() / rate),
            random,
        }
    }

    /// The number of the next call and, in an open loop, when it arrives.
    fn take(&mut self) -> ControlFlow<(), (usize, Option<Instant>)> {
        let at = if self.rate.is_some() { self.arrival } else { self.start.elapsed().as_secs_f64() };
        if self.next == self.requests || at >= self.seconds {
            return ControlFlow::Break(());
        }
        let number = self.next;
        self.next += 1;
        let arrival = self.rate.map(|rate| {
            self.arrival += self.random.exponential() / rate;
            self.start + Duration::from_secs_f64(at)
        });
        ControlFlow::Continue((number, arrival))
    }
}

/// Runs all calls of the schedule. `wanted` has the hash of each input's result alone.
pub fn run(load: &Load, workload: &Workload, wanted: &[u64]) -> Outcome<Tally> {
    let tally = Mutex::new(Tally::new()?);
    // The threads wait here, so that none calls while others are being started.
    let gate = RwLock::new(None::<Instant>);
    let schedule = Mutex::new(Schedule::new(load, Instant::now()));
    let seconds = std::thread::scope(|scope| {
        let mut closed = gate.write().unwrap_or_else(PoisonError::into_inner);
        for i in 0..load.callers {
            let caller = || {
                if gate.read().unwrap_or_else(PoisonError::into_inner).is_none() {
                    return;
                }
                let take = || schedule.lock().unwrap_or_else(PoisonError::into_inner).take();
                while let ControlFlow::Continue((number, arrival)) = take() {
                    let input = number % wanted.len();
                    let begin =
                        match arrival.map(|arrival| (arrival, arrival.saturating_duration_since(Instant::now()))) {
                            Some((arrival, Duration::ZERO)) => arrival,
                            Some((_, early)) => {
                                std::thread::sleep(early);
                                Instant::now()
                            }
                            None => Instant::now(),
                        };
                    Tally::call(&tally, workload, input, load.calling, Some(wanted[input]), begin);
                }
            };
            let spawned = std::thread::Builder::new().name(format!("caller-{i}")).spawn_scoped(scope, caller);
            spawned.map_err(|error| Failure::new(format!("--callers: only {i} threads could be started: {error}")))?;
        }
        let start = Instant::now();
        *schedule.lock().unwrap_or_else(PoisonError::into_inner) = Schedule::new(load, start);
        *closed = Some(start);
        Ok::<_, Failure>(start)
    })?
    .elapsed()
    .as_secs_f64();
    let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Tally { seconds, ..tally })
}
