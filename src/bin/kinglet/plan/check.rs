//! The simulation of this machine beside load tests of it.

use kinglet::Model;

use crate::args::Plan;
use crate::failure::{Failure, Outcome};
use crate::load_test::{Load, Workload, alone, callers};

use super::fleet::Replica;
use super::replica::{self, Figures};
use super::report::Checked;
use super::service::{OPEN_CALLERS, Times, closed};

/// Seconds of each load test.
const SECONDS: f64 = 10.0;
/// Closed loops: callers.
const CLOSED: [usize; 2] = [16, 64];
/// Open loops: shares of the capacity.
const OPEN: [f64; 4] = [0.2, 0.4, 0.6, 0.8];
/// Calls of a simulation.
const CALLS: usize = 100_000;

pub fn run(model: &Model, args: &Plan, times: &Times, replica: &Replica) -> Outcome<Vec<Checked>> {
    let workload = Workload::new(model, &args.workload)?;
    let (_, wanted) = alone(&workload)?;
    let seed = args.workload.seed;
    let load = |callers, rate| Load { rate, duration: Some(SECONDS), ..closed(callers, seed) };
    let loops = CLOSED.map(|callers| (load(callers, None), replica::closed(times, callers, CALLS, seed)));
    let open = OPEN.map(|share| {
        let rate = share * replica.capacity;
        (load(OPEN_CALLERS, Some(rate)), replica::open(times, rate, CALLS, seed))
    });
    let measure = |(load, expected): (Load, Figures)| {
        let tally = callers::run(&load, &workload, &wanted)?;
        if let Some(error) = tally.error {
            return Err(Failure::new(error));
        }
        let ms = |nanoseconds: f64| nanoseconds / 1e6;
        Ok(Checked {
            callers: load.callers,
            rate: load.rate,
            requests_per_s: (expected.rate, tally.calls as f64 / tally.seconds),
            mean_ms: (1e3 * expected.mean(), ms(tally.latency.mean())),
            p50_ms: (1e3 * expected.quantile(0.5), ms(tally.latency.value_at_quantile(0.5) as f64)),
            p99_ms: (1e3 * expected.quantile(0.99), ms(tally.latency.value_at_quantile(0.99) as f64)),
        })
    };
    loops.into_iter().chain(open).map(measure).collect()
}
