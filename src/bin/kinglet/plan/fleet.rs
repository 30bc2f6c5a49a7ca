//! A fleet of replicas, in steps of seconds: requests follow a daily curve, an autoscaler adds and removes replicas, some fail. Requests are
//! spread evenly, and a replica's latencies at its load are those of [`super::replica`].

use std::collections::VecDeque;

use crate::random::SplitMix64;

use super::replica::{self, Figures};
use super::service::Times;

/// Seconds between two decisions of the autoscaler, as of Kubernetes'.
const STEP: f64 = 15.0;
/// The autoscaler sees the mean rate of so many steps.
const SEEN: usize = 4;
/// Replicas are removed when so many steps have asked for fewer (five minutes, as in Kubernetes).
const STABLE: usize = 20;
const DAY: f64 = 86_400.0;
/// The days that are simulated, after one in which the fleet finds its size.
const DAYS: usize = 30;
/// A replica never gets less than this share of its capacity, nor can it be planned with more.
const LOADS: (f64, f64) = (0.05, 0.95);
const LEVELS: usize = 19;
/// Calls of a simulation at one load.
const CALLS: usize = 60_000;

/// What one replica can do.
pub struct Replica {
    /// Requests per second at full load.
    pub capacity: f64,
    /// The latencies of a request alone.
    pub alone: Figures,
    /// At loads from 5 to 95 % of the capacity.
    pub levels: Vec<(f64, Figures)>,
}

impl Replica {
    pub fn simulate(times: &Times, seed: u64) -> Self {
        let capacity = times.capacity;
        let level = |i: usize| {
            let load = LOADS.0 + (LOADS.1 - LOADS.0) * i as f64 / (LEVELS - 1) as f64;
            (load, replica::open(times, load * capacity, CALLS, seed))
        };
        Self { capacity, alone: replica::closed(times, 1, CALLS / 10, seed), levels: (0..LEVELS).map(level).collect() }
    }

    /// The largest load at which 99 of 100 requests take at most so many seconds.
    pub fn most(&self, objective: f64) -> Option<f64> {
        // A replica that is nearly idle may be slower than a busier one, because its caches are cold.
        let kept = self.levels.iter().rposition(|(_, figures)| figures.quantile(0.99) <= objective)?;
        let (low, figures) = &self.levels[kept];
        let Some((high, beyond)) = self.levels.get(kept + 1) else { return Some(*low) };
        let (a, b) = (figures.quantile(0.99), beyond.quantile(0.99));
        Some(low + (high - low) * (objective - a) / (b - a))
    }

    /// The least p99 of all loads, in seconds.
    pub fn least(&self) -> f64 {
        self.levels.iter().map(|(_, figures)| figures.quantile(0.99)).fold(f64::INFINITY, f64::min)
    }

    /// The latencies at a load; above the highest level those of that level.
    pub fn at(&self, load: f64) -> &Figures {
        &self.levels[self.levels.partition_point(|level| level.0 < load).min(LEVELS - 1)].1
    }
}

/// What is asked of a fleet.
#[derive(Clone)]
pub struct Demand {
    pub per_day: f64,
    /// The peak's rate over the mean.
    pub peak: f64,
    /// The share of a replica's capacity that is planned with.
    pub load: f64,
    pub spare: usize,
    pub zones: usize,
    /// Seconds until a new replica takes requests.
    pub start: f64,
    /// Seconds between two failures of a replica.
    pub mtbf: f64,
    pub seed: u64,
}

impl Demand {
    pub fn mean(&self) -> f64 {
        self.per_day / DAY
    }

    /// Requests per second at a time of the day: mean · e^(k cos) / I0(k), whose largest value is `peak` times the mean.
    fn curve(&self) -> impl Fn(f64) -> f64 {
        let k = sharpness(self.peak);
        let (mean, scale) = (self.mean(), bessel(k));
        move |seconds| mean * (k * (std::f64::consts::TAU * seconds / DAY).cos()).exp() / scale
    }

    /// The replicas that a rate needs, without the spare ones.
    pub fn needed(&self, rate: f64, capacity: f64) -> usize {
        (rate / (self.load * capacity)).ceil().max(1.0) as usize
    }
}

/// The modified Bessel function of the first kind of order 0, by its series.
fn bessel(k: f64) -> f64 {
    let (mut term, mut sum, mut i) = (1.0, 1.0, 1.0);
    while term > 1e-15 * sum {
        term *= (k / (2.0 * i)).powi(2);
        sum += term;
        i += 1.0;
    }
    sum
}

/// The `k` for which e^k / I0(k) is a ratio.
fn sharpness(peak: f64) -> f64 {
    let (mut low, mut high) = (0f64, 700f64);
    for _ in 0..80 {
        let k = (low + high) / 2.0;
        if k.exp() / bessel(k) < peak { low = k } else { high = k }
    }
    (low + high) / 2.0
}

/// What a simulated fleet did.
#[derive(Debug)]
pub struct Outcome {
    pub fewest: usize,
    pub most: usize,
    pub replica_hours_per_day: f64,
    /// Seconds of 99 of 100 of all requests.
    pub p99: f64,
    /// The share of requests that arrived while the load was beyond the planned one.
    pub beyond_objective: f64,
    /// The share of requests that found more work than the fleet can do, and waited for more than a step.
    pub overloaded: f64,
    pub failures_per_day: f64,
    /// The largest load of a replica, over its capacity.
    pub highest_load: f64,
}

/// The size of a fleet.
#[derive(Clone, Copy)]
pub enum Scaling {
    Fixed(usize),
    /// By the rate of the last minute.
    Automatic,
}

/// Simulates thirty days.
pub fn simulate(replica: &Replica, demand: &Demand, scaling: Scaling) -> Outcome {
    let rate_at = demand.curve();
    let mut random = SplitMix64(demand.seed);
    let first = match scaling {
        Scaling::Fixed(replicas) => replicas,
        Scaling::Automatic => demand.needed(rate_at(0.0), replica.capacity) + demand.spare,
    };
    let (mut ready, mut starting) = (first, VecDeque::<f64>::new());
    let (mut seen, mut wanted) = (VecDeque::new(), VecDeque::new());
    let mut backlog = 0.0;
    let (mut requests, mut beyond, mut overloaded) = (0.0, 0.0, 0.0);
    let (mut fewest, mut most, mut failures, mut replica_seconds, mut highest) = (usize::MAX, 0, 0, 0.0, 0f64);
    // Requests at each level of load, and those that waited longer than any level says.
    let mut weights = vec![0.0; LEVELS];
    let steps = (DAY / STEP) as usize;
    for step in 0..(DAYS + 1) * steps {
        let now = step as f64 * STEP;
        let counted = step >= steps;
        while starting.front().is_some_and(|&at| at <= now) {
            starting.pop_front();
            ready += 1;
        }
        // Each replica fails on its own: the number of failures in a step is nearly Poisson.
        let mut at = random.exponential();
        while at < ready as f64 * STEP / demand.mtbf && ready > 0 {
            at += random.exponential();
            ready -= 1;
            starting.push_back(now + demand.start);
            failures += usize::from(counted);
        }
        let rate = rate_at(now);
        if let Scaling::Automatic = scaling {
            seen.push_back(rate);
            if seen.len() > SEEN {
                seen.pop_front();
            }
            let mean = seen.iter().sum::<f64>() / seen.len() as f64;
            wanted.push_back(demand.needed(mean, replica.capacity) + demand.spare);
            if wanted.len() > STABLE {
                wanted.pop_front();
            }
            let (last, all) = (*wanted.back().unwrap_or(&1), ready + starting.len());
            let largest = wanted.iter().copied().max().unwrap_or(1);
            (all..last).for_each(|_| starting.push_back(now + demand.start));
            // Those that are about to start are not stopped, and one replica stays.
            ready -= all.saturating_sub(largest).min(ready.saturating_sub(1));
        }
        let capacity = ready as f64 * replica.capacity * STEP;
        let arrived = rate * STEP;
        let work = arrived + backlog;
        let load = if capacity > 0.0 { work / capacity } else { f64::INFINITY };
        backlog = (work - capacity).max(0.0);
        if !counted {
            continue;
        }
        requests += arrived;
        fewest = fewest.min(ready);
        most = most.max(ready + starting.len());
        replica_seconds += (ready + starting.len()) as f64 * STEP;
        highest = highest.max(load);
        // The planned load is met within the rounding of a replica.
        beyond += if load > demand.load * (1.0 + 1e-9) { arrived } else { 0.0 };
        if load > 1.0 {
            overloaded += arrived;
        } else {
            weights[replica.levels.partition_point(|level| level.0 < load).min(LEVELS - 1)] += arrived;
        }
    }
    Outcome {
        fewest,
        most,
        replica_hours_per_day: replica_seconds / 3600.0 / DAYS as f64,
        p99: mixture(replica, &weights, requests, 0.99),
        beyond_objective: beyond / requests,
        overloaded: overloaded / requests,
        failures_per_day: failures as f64 / DAYS as f64,
        highest_load: highest,
    }
}

/// The quantile of requests at several levels of load. Requests without a level waited longer than all others.
fn mixture(replica: &Replica, weights: &[f64], all: f64, share: f64) -> f64 {
    let below = |latency: f64| -> f64 {
        let of = |(weight, (_, figures)): (&f64, &(f64, Figures))| {
            weight * figures.latencies.partition_point(|&each| each <= latency) as f64 / figures.latencies.len() as f64
        };
        weights.iter().zip(&replica.levels).map(of).sum()
    };
    let longest = replica.levels.iter().map(|(_, figures)| figures.quantile(1.0)).fold(0.0, f64::max);
    if below(longest) < share * all {
        return f64::INFINITY;
    }
    let (mut low, mut high) = (0.0, longest);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if below(middle) < share * all { low = middle } else { high = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::super::service::tests::simple;
    use super::*;

    fn demand() -> Demand {
        Demand { per_day: 1e9, peak: 3.0, load: 0.6, spare: 1, zones: 3, start: 60.0, mtbf: 720.0 * 3600.0, seed: 1 }
    }

    #[test]
    fn the_daily_curve_has_its_mean_and_its_peak() {
        for peak in [1.0, 1.5, 3.0, 20.0] {
            let demand = Demand { peak, ..demand() };
            let rate = demand.curve();
            let mean = (0..1440).map(|minute| rate(60.0 * f64::from(minute))).sum::<f64>() / 1440.0;
            assert!((mean / demand.mean() - 1.0).abs() < 1e-6, "{peak}: {mean}");
            assert!((rate(0.0) / demand.mean() / peak - 1.0).abs() < 1e-6, "{peak}: {}", rate(0.0));
        }
    }

    #[test]
    fn a_load_within_the_objective_is_found_between_two_levels() {
        let replica = Replica::simulate(&simple(0), 1);
        let objective = 4e-3;
        let load = replica.most(objective).unwrap();
        assert!((0.2..0.95).contains(&load), "{load}");
        let p99 = replica::open(&simple(0), load * replica.capacity, CALLS, 7).quantile(0.99);
        assert!((p99 / objective - 1.0).abs() < 0.1, "{p99}");
        assert_eq!(replica.most(1e-4), None);
        assert_eq!(replica.most(1e9), Some(0.95));
    }

    #[test]
    fn an_autoscaled_fleet_keeps_the_load_and_costs_less_than_a_fixed_one() {
        let (replica, demand) = (Replica::simulate(&simple(0), 1), demand());
        let peak = demand.needed(demand.peak * demand.mean(), replica.capacity) + demand.spare;
        let fixed = simulate(&replica, &demand, Scaling::Fixed(peak));
        let automatic = simulate(&replica, &demand, Scaling::Automatic);
        assert!((fixed.replica_hours_per_day / (24.0 * peak as f64) - 1.0).abs() < 0.01, "{fixed:?}");
        // The mean rate is a third of the peak's.
        let saved = automatic.replica_hours_per_day / fixed.replica_hours_per_day;
        assert!((0.33..0.5).contains(&saved), "{automatic:?}");
        assert!(automatic.most <= peak + 2 && automatic.fewest < peak / 10, "{automatic:?}");
        assert_eq!((fixed.overloaded, automatic.overloaded), (0.0, 0.0));
        // Thirty failures of a thousand replicas a day, about.
        assert!((fixed.failures_per_day / (peak as f64 / 30.0) - 1.0).abs() < 0.2, "{fixed:?}");
        assert!(automatic.p99 < 0.01 && automatic.p99 > 1e-3, "{automatic:?}");
    }

    #[test]
    fn a_fleet_that_is_too_small_is_overloaded() {
        let (replica, demand) = (Replica::simulate(&simple(0), 1), demand());
        let few = demand.needed(demand.mean(), replica.capacity);
        let outcome = simulate(&replica, &demand, Scaling::Fixed(few));
        assert!(outcome.overloaded > 0.2 && outcome.highest_load > 1.0 && outcome.p99.is_infinite(), "{outcome:?}");
    }

    #[test]
    fn replicas_that_start_slowly_are_too_late_for_a_steep_morning() {
        let replica = Replica::simulate(&simple(0), 1);
        let quick = simulate(&replica, &Demand { peak: 20.0, spare: 0, ..demand() }, Scaling::Automatic);
        let slow = simulate(&replica, &Demand { peak: 20.0, spare: 0, start: 1800.0, ..demand() }, Scaling::Automatic);
        assert!(slow.beyond_objective > quick.beyond_objective + 0.02, "{quick:?} {slow:?}");
    }
}
