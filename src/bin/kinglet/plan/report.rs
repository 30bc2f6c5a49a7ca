//! The report of a plan: one JSON value, which the table is made of.

use serde_json::{Value, json};

use crate::args::Plan;
use crate::failure::Outcome as Written;
use crate::output::Output;

use super::fleet::{Demand, Outcome, Replica};
use super::service::Times;

/// A load, simulated and measured: (expected, measured).
pub struct Checked {
    pub callers: usize,
    /// Calls per second of an open loop.
    pub rate: Option<f64>,
    pub requests_per_s: (f64, f64),
    pub mean_ms: (f64, f64),
    pub p50_ms: (f64, f64),
    pub p99_ms: (f64, f64),
}

pub struct Fleets {
    pub demand: Demand,
    /// Of the size that the peak needs.
    pub fixed: Outcome,
    pub automatic: Outcome,
    /// Requests per second.
    pub peak: f64,
    /// Of the fixed fleet, over the capacity.
    pub load_at_peak: f64,
    /// The same when a zone is lost; none if there is only one.
    pub load_without_zone: Option<f64>,
}

pub struct Report<'a> {
    pub args: &'a Plan,
    pub times: &'a Times,
    pub replica: &'a Replica,
    /// Seconds.
    pub objective: f64,
    /// The load that keeps it.
    pub load: Option<f64>,
    pub fleets: Option<Fleets>,
    pub checked: Option<Vec<Checked>>,
}

fn round(value: f64) -> Option<f64> {
    value.is_finite().then(|| (value * 1e4).round() / 1e4)
}

fn fleet(outcome: &Outcome, report: &Report<'_>, per_day: f64) -> Value {
    let cost = report.args.price.map(|price| outcome.replica_hours_per_day * price * 1e6 / per_day);
    json!({
        "fewest_replicas": outcome.fewest,
        "most_replicas": outcome.most,
        "replica_hours_per_day": round(outcome.replica_hours_per_day),
        "replica_hours_per_million": round(outcome.replica_hours_per_day * 1e6 / per_day),
        "cost_per_million": cost.and_then(round),
        "p99_ms": round(1e3 * outcome.p99),
        "share_beyond_planned_load": round(outcome.beyond_objective),
        "share_overloaded": round(outcome.overloaded),
        "highest_load": round(outcome.highest_load),
        "failures_per_day": round(outcome.failures_per_day),
    })
}

fn value(report: &Report<'_>) -> Value {
    let Report { times, replica, .. } = report;
    let (low, high) = times.input_tokens;
    let p99_at = |load: f64| if load < 1.0 { round(1e3 * replica.at(load).quantile(0.99)) } else { None };
    let levels = replica.levels.iter().map(|(load, figures)| {
        json!({
            "load": round(*load),
            "requests_per_s": round(load * replica.capacity),
            "busy": round(figures.busy),
            "mean_ms": round(1e3 * figures.mean()),
            "p50_ms": round(1e3 * figures.quantile(0.5)),
            "p99_ms": round(1e3 * figures.quantile(0.99)),
        })
    });
    let fleets = report.fleets.as_ref().map(|fleets| {
        let demand = &fleets.demand;
        json!({
            "requests_per_day": demand.per_day,
            "mean_requests_per_s": round(demand.mean()),
            "peak_requests_per_s": round(fleets.peak),
            "start_seconds": demand.start,
            "mtbf_hours": demand.mtbf / 3600.0,
            "zones": demand.zones,
            "spare": demand.spare,
            "fixed": fleet(&fleets.fixed, report, demand.per_day),
            "autoscaled": fleet(&fleets.automatic, report, demand.per_day),
            "at_peak": { "load": round(fleets.load_at_peak), "p99_ms": p99_at(fleets.load_at_peak) },
            "at_peak_without_a_zone": fleets.load_without_zone.map(|load| json!({ "load": round(load), "p99_ms": p99_at(load) })),
        })
    });
    let check = report.checked.as_ref().map(|checked| {
        let pair = |(expected, measured): (f64, f64)| json!({ "expected": round(expected), "measured": round(measured), "ratio": round(expected / measured) });
        checked
            .iter()
            .map(|each| {
                json!({
                    "callers": each.callers,
                    "rate": each.rate.map(round),
                    "requests_per_s": pair(each.requests_per_s),
                    "mean_ms": pair(each.mean_ms),
                    "p50_ms": pair(each.p50_ms),
                    "p99_ms": pair(each.p99_ms),
                })
            })
            .collect::<Vec<_>>()
    });
    json!({
        "task": times.task,
        "input_tokens": if low == high { low.to_string() } else { format!("{low}-{high}") },
        "output_tokens": (times.output_tokens > 0).then_some(times.output_tokens),
        "precision": times.precision,
        "threads": times.threads,
        "isa": times.isa,
        "replica": {
            "capacity_requests_per_s": round(replica.capacity),
            "alone_ms": round(1e3 * replica.alone.mean()),
            "objective_p99_ms": round(1e3 * report.objective),
            "load_within_objective": report.load.and_then(round),
            "levels": levels.collect::<Vec<_>>(),
        },
        "fleet": fleets,
        "check": check,
    })
}

pub fn print(report: &Report<'_>) -> Written<()> {
    let value = value(report);
    let mut out = Output::new();
    if report.args.json {
        out.json(&value)?;
    } else {
        table(&mut out, &value)?;
    }
    out.flush()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn table(out: &mut Output, value: &Value) -> Written<()> {
    let replica = &value["replica"];
    let output = value["output_tokens"].as_u64().map_or_else(String::new, |n| format!(", {n} output tokens"));
    let (task, input, precision) = (text(&value["task"]), text(&value["input_tokens"]), text(&value["precision"]));
    let (threads, isa) = (text(&value["threads"]), text(&value["isa"]));
    out.line(format_args!("{task}, {input} input tokens{output}; {precision}, {threads} threads, {isa}"))?;
    let mut row = |name: &str, cells: &[&Value]| {
        let cells: String = cells.iter().map(|cell| format!("{:>16}", text(cell))).collect();
        out.line(format_args!("{name:<34}{cells}"))
    };
    row("requests/s of a replica at most", &[&replica["capacity_requests_per_s"]])?;
    row("ms of a request alone", &[&replica["alone_ms"]])?;
    row("objective: p99 in ms", &[&replica["objective_p99_ms"]])?;
    row("load that keeps it", &[&replica["load_within_objective"]])?;
    let fleet = &value["fleet"];
    if fleet.is_object() {
        row("requests/s on average", &[&fleet["mean_requests_per_s"]])?;
        row("requests/s at the peak", &[&fleet["peak_requests_per_s"]])?;
        row("load at the peak", &[&fleet["at_peak"]["load"]])?;
        row("  p99 in ms", &[&fleet["at_peak"]["p99_ms"]])?;
        row("  load without one zone", &[&fleet["at_peak_without_a_zone"]["load"]])?;
        row("  p99 in ms", &[&fleet["at_peak_without_a_zone"]["p99_ms"]])?;
        row("\nthirty days", &[&"fixed".into(), &"autoscaled".into()])?;
        for (name, key) in [
            ("replicas, fewest", "fewest_replicas"),
            ("replicas, most", "most_replicas"),
            ("replica hours a day", "replica_hours_per_day"),
            ("replica hours per million", "replica_hours_per_million"),
            ("cost of a million", "cost_per_million"),
            ("p99 in ms", "p99_ms"),
            ("requests beyond the planned load", "share_beyond_planned_load"),
            ("requests that met an overload", "share_overloaded"),
            ("highest load", "highest_load"),
            ("failed replicas a day", "failures_per_day"),
        ] {
            row(name, &[&fleet["fixed"][key], &fleet["autoscaled"][key]])?;
        }
    }
    let columns = ["load", "requests_per_s", "busy", "mean_ms", "p50_ms", "p99_ms"];
    let cells = |cell: &dyn Fn(&str) -> String| columns.map(|name| format!("{:>16}", cell(name))).concat();
    out.line(format_args!("\n{}", cells(&str::to_string)))?;
    for level in replica["levels"].as_array().into_iter().flatten() {
        out.line(cells(&|name| text(&level[name])))?;
    }
    if let Some(checked) = value["check"].as_array() {
        let measures = ["requests_per_s", "mean_ms", "p50_ms", "p99_ms"];
        let head: String = measures.map(|name| format!("{name:>28}")).concat();
        out.line(format_args!(
            "\n{:<24}{head}\n{:<24}{}",
            "",
            "expected, measured",
            "   expected measured ratio".repeat(4)
        ))?;
        for each in checked {
            let rate = each["rate"].as_f64().map(|rate| format!("{rate:.1}/s"));
            let name = rate.unwrap_or_else(|| format!("{} callers", each["callers"]));
            let cell = |measure: &str| {
                let number = |key: &str| each[measure][key].as_f64().unwrap_or(f64::NAN);
                format!("{:>11.2}{:>10.2}{:>7.2}", number("expected"), number("measured"), number("ratio"))
            };
            out.line(format_args!("{name:<24}{}", measures.map(cell).concat()))?;
        }
    }
    Ok(())
}
