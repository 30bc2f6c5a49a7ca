//! `kinglet plan`: how many machines a service needs, by measured times and a simulation.

mod check;
mod fleet;
mod replica;
mod report;
mod service;

use std::path::Path;

use kinglet::Model;

use crate::args::Plan;
use crate::failure::{Failure, Outcome};

use fleet::{Demand, Replica, Scaling};
use report::{Checked, Fleets, Report};
use service::Times;

/// Without an objective: so many times what a request takes alone, and at least so many times the least p99.
const OBJECTIVE: (f64, f64) = (5.0, 2.0);

/// Measures the model, and plans.
pub fn measure(model: &Model, args: &Plan) -> Outcome<()> {
    let times = Times::measure(model, &args.workload)?;
    if let Some(path) = &args.save_times {
        times.write(path)?;
    }
    let replica = Replica::simulate(&times, args.workload.seed);
    let checked = if args.check { Some(check::run(model, args, &times, &replica)?) } else { None };
    plan(args, &times, &replica, checked)
}

/// Plans with measured times from a file.
pub fn read(args: &Plan) -> Outcome<()> {
    let Some(path) = &args.times else {
        return Err(Failure::usage("plan needs a model (--model), or the times of one (--times)"));
    };
    let times = Times::read(Path::new(path))?;
    plan(args, &times, &Replica::simulate(&times, args.workload.seed), None)
}

fn plan(args: &Plan, times: &Times, replica: &Replica, checked: Option<Vec<Checked>>) -> Outcome<()> {
    let unless_given = (OBJECTIVE.0 * replica.alone.mean()).max(OBJECTIVE.1 * replica.least());
    let objective = args.p99.map_or(unless_given, |ms| ms / 1e3);
    let load = replica.most(objective);
    let fleets = match (args.requests_per_day, load) {
        (None, _) => None,
        (Some(_), None) => {
            let least = 1e3 * replica.least();
            let what = format!("--p99: a replica has {least:.3} ms at the best load; no fleet keeps the objective");
            return Err(Failure::new(what));
        }
        (Some(per_day), Some(load)) => Some(fleets(args, replica, per_day, load)),
    };
    report::print(&Report { args, times, replica, objective, load, fleets, checked })
}

fn fleets(args: &Plan, replica: &Replica, per_day: f64, load: f64) -> Fleets {
    let demand = Demand {
        per_day,
        peak: args.peak,
        load,
        spare: args.spare,
        zones: args.zones,
        start: args.start_time,
        mtbf: 3600.0 * args.mtbf,
        seed: args.workload.seed,
    };
    let peak = demand.peak * demand.mean();
    let replicas = demand.needed(peak, replica.capacity) + demand.spare;
    let left = replicas - replicas.div_ceil(demand.zones);
    Fleets {
        fixed: fleet::simulate(replica, &demand, Scaling::Fixed(replicas)),
        automatic: fleet::simulate(replica, &demand, Scaling::Automatic),
        peak,
        load_at_peak: peak / (replicas as f64 * replica.capacity),
        load_without_zone: (left > 0).then(|| peak / (left as f64 * replica.capacity)),
        demand,
    }
}
