//! One replica, call by call. As in the library, passes and steps follow one another on all threads; a pass takes the texts that wait when it
//! begins, and a generation joins between two steps.

use std::collections::VecDeque;

use crate::random::SplitMix64;

use super::service::Times;

/// The most sequences that share a pass or step, as in the library.
const SEQUENCES: usize = 256;

/// The most arrivals during a pass that make it longer; further ones cost nothing. Fitted to load tests of MiniLM.
const ARRIVALS: usize = 5;

/// What the calls of a simulation met. Times are in seconds.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Calls per second.
    pub rate: f64,
    /// The latencies in ascending order.
    pub latencies: Vec<f64>,
    /// The share of the time in which the replica works.
    pub busy: f64,
}

impl Figures {
    pub fn mean(&self) -> f64 {
        self.latencies.iter().sum::<f64>() / self.latencies.len() as f64
    }

    /// A quantile from 0 to 1: the smallest latency that so many calls do not exceed.
    pub fn quantile(&self, share: f64) -> f64 {
        let rank = (share * self.latencies.len() as f64).ceil() as usize;
        self.latencies[rank.clamp(1, self.latencies.len()) - 1]
    }
}

struct Call {
    arrival: f64,
    tokens: f64,
    /// Tokens that it still writes; an embedding is done after one pass.
    left: usize,
}

/// Where calls come from.
trait Source {
    /// When the next call arrives, if it is known.
    fn next(&self) -> Option<f64>;
    fn take(&mut self);
    /// A call has ended.
    fn ended(&mut self, at: f64);
}

/// Arrivals at random times (a Poisson process).
struct Open {
    random: SplitMix64,
    rate: f64,
    next: f64,
}

impl Source for Open {
    fn next(&self) -> Option<f64> {
        Some(self.next)
    }

    fn take(&mut self) {
        self.next += self.random.exponential() / self.rate;
    }

    fn ended(&mut self, _: f64) {}
}

/// Callers that call again as soon as their call has ended.
struct Closed {
    arrivals: VecDeque<f64>,
}

impl Source for Closed {
    fn next(&self) -> Option<f64> {
        self.arrivals.front().copied()
    }

    fn take(&mut self) {
        self.arrivals.pop_front();
    }

    fn ended(&mut self, at: f64) {
        self.arrivals.push_back(at);
    }
}

/// Calls that arrive at random with so many per second on average.
pub fn open(times: &Times, rate: f64, calls: usize, seed: u64) -> Figures {
    let mut random = SplitMix64(seed);
    let next = random.exponential() / rate;
    run(times, &mut Open { random, rate, next }, calls, seed)
}

/// Callers that call again at once.
pub fn closed(times: &Times, callers: usize, calls: usize, seed: u64) -> Figures {
    run(times, &mut Closed { arrivals: (0..callers).map(|_| 0.0).collect() }, calls, seed)
}

fn run(times: &Times, source: &mut impl Source, calls: usize, seed: u64) -> Figures {
    let mut lengths = SplitMix64(seed ^ 0x7e57);
    let (low, high) = times.input_tokens;
    let (mut queue, mut active) = (VecDeque::<Call>::new(), Vec::<Call>::new());
    let mut latencies = Vec::with_capacity(calls);
    let (mut now, mut busy, mut idle) = (0.0, 0.0, 0.0);
    while latencies.len() < calls {
        let mut arrive = |queue: &mut VecDeque<Call>, until: f64| {
            let arrival = source.next().filter(|&arrival| arrival <= until)?;
            source.take();
            let tokens = lengths.between(low, high + 1) as f64;
            queue.push_back(Call { arrival, tokens, left: times.output_tokens.max(1) });
            Some(())
        };
        while arrive(&mut queue, now).is_some() {}
        if queue.is_empty() && active.is_empty() {
            match source.next() {
                Some(arrival) => (now, idle) = (arrival, arrival - now),
                None => break,
            }
            continue;
        }
        let continued = active.len();
        let (mut joining, mut tokens) = (0, 0.0);
        for call in queue.iter().take(SEQUENCES - continued) {
            if joining > 0 && times.pass_tokens > 0.0 && tokens + call.tokens > times.pass_tokens {
                break;
            }
            (joining, tokens) = (joining + 1, tokens + call.tokens);
        }
        active.extend(queue.drain(..joining));
        let mut time = times.step(continued) + times.pass(joining, tokens) + times.cold(idle);
        idle = 0.0;
        // A caller that arrives takes a core from the pass. Those of closed loops call when a pass has ended, so that what they cost is in the
        // time of larger passes: more than a few do not count.
        let mut arrived = 0;
        while arrive(&mut queue, now + time).is_some() {
            time += if arrived < ARRIVALS { times.arrival } else { 0.0 };
            arrived += 1;
        }
        now += time;
        busy += time;
        active.retain_mut(|call| {
            call.left -= 1;
            if call.left == 0 {
                latencies.push(now - call.arrival);
                source.ended(now);
            }
            call.left > 0
        });
    }
    let rate = latencies.len() as f64 / now;
    // The calls of the beginning found an empty replica.
    latencies.drain(..latencies.len() / 20);
    latencies.sort_by(f64::total_cmp);
    Figures { rate, latencies, busy: busy / now }
}

#[cfg(test)]
mod tests {
    use super::super::service::tests::simple;
    use super::*;

    /// A server without merging: each further text takes as long as the first.
    fn one_by_one() -> Times {
        let mut times = simple(0);
        times.passes = vec![(1.0, 1e-3), (2.0, 2e-3)];
        times
    }

    #[test]
    fn a_caller_alone_waits_for_its_own_pass() {
        let figures = closed(&one_by_one(), 1, 1000, 1);
        assert!((figures.mean() - 1e-3).abs() < 1e-9 && (figures.rate - 1000.0).abs() < 2.0, "{figures:?}");
        assert!((figures.quantile(0.5) - 1e-3).abs() < 1e-9 && (figures.quantile(1.0) - 1e-3).abs() < 1e-9);
    }

    #[test]
    fn a_queue_has_the_wait_of_theory() {
        // Without a gain from merging, a call waits for the pass that runs as it arrives: for u S / (2 (1 - u)) at a load u and a pass of S, as
        // with M/D/1. With a heavy load that is more, because calls of one pass end together.
        let times = one_by_one();
        let light = open(&times, 50.0, 50_000, 1);
        // At a load of 0.05: 1 ms, and a wait of 0.026 ms, and a little for those that end together.
        assert!((1.02e-3..1.08e-3).contains(&light.mean()), "{}", light.mean());
        assert!((light.busy - 0.05).abs() < 0.003 && (light.rate - 50.0).abs() < 1.0, "{} {}", light.busy, light.rate);
        let heavy = open(&times, 900.0, 50_000, 1);
        assert!((heavy.busy - 0.9).abs() < 0.02 && heavy.mean() > 4e-3, "{} {}", heavy.busy, heavy.mean());
        assert!(heavy.quantile(0.99) > heavy.quantile(0.9) && heavy.quantile(0.9) > heavy.quantile(0.5));
    }

    #[test]
    fn merged_passes_carry_more_than_one_text_at_a_time() {
        let times = simple(0);
        // Half a millisecond for each further text: the limit is 2,000 per second, twice that of single texts.
        let figures = open(&times, 1500.0, 50_000, 1);
        assert!((figures.rate - 1500.0).abs() < 30.0 && figures.busy < 0.99, "{figures:?}");
        assert!(closed(&times, 64, 20_000, 1).rate > 1800.0);
    }

    #[test]
    fn a_pass_has_no_more_tokens_than_it_may() {
        let times = simple(0);
        let mut short = simple(0);
        // Three texts of ten tokens; with ten callers the fourth to the tenth wait for further passes.
        short.pass_tokens = 30.0;
        let [wide, narrow] = [&times, &short].map(|times| closed(times, 10, 10_000, 1));
        assert!((wide.rate / (10.0 / 5.5e-3) - 1.0).abs() < 1e-2, "{}", wide.rate);
        assert!((narrow.rate / (3.0 / 2e-3) - 1.0).abs() < 1e-2, "{}", narrow.rate);
    }

    #[test]
    fn generations_share_steps_and_join_between_them() {
        let times = simple(11);
        let alone = closed(&times, 1, 200, 1);
        // A prompt of 1 ms and ten steps of 1 ms.
        assert!((alone.mean() - 11e-3).abs() < 1e-9, "{}", alone.mean());
        let five = closed(&times, 5, 1000, 1);
        // Five prompts of 3 ms together, ten steps of 3 ms.
        assert!((five.mean() - 33e-3).abs() < 1e-6, "{}", five.mean());
        assert!((five.rate - 5.0 / 33e-3).abs() < 2.0, "{}", five.rate);
    }
}
