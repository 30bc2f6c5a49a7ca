//! The options of `load-test` and `plan`.

use std::path::PathBuf;

use clap::Args;
use kinglet::Priority;

use crate::args::{CallArgs, ModelArgs};
use crate::values::{at_least_one, callers, choice, day, peak, rate, span};

#[derive(Clone, Copy, PartialEq)]
pub enum Task {
    Embed,
    Generate,
}

/// What each call does.
#[derive(Args, Clone)]
#[command(next_help_heading = "Workload")]
pub struct WorkloadArgs {
    /// Measure this task
    #[arg(long, default_value = "embed", value_name = "TASK", value_parser = choice([
        ("embed", Task::Embed), ("generate", Task::Generate),
    ]))]
    pub task: Task,
    /// Different inputs, which the calls use in turn
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = at_least_one)]
    pub inputs: usize,
    /// Tokens per input, special tokens included, or the range that they are drawn from
    #[arg(long, default_value = "12", value_name = "N|LO-HI", value_parser = span)]
    pub input_tokens: (usize, usize),
    /// Tokens to generate, exactly (--task generate)
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = at_least_one)]
    pub output_tokens: usize,
    /// Beams (--task generate)
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = at_least_one)]
    pub beams: usize,
    /// Sample with a fixed seed (--task generate)
    #[arg(long, conflicts_with = "beams")]
    pub sample: bool,
    /// Seed of the inputs, of the arrivals and of the sampling
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
}

/// Measure many callers at once, and compare each result with that of its input alone
#[derive(Args)]
#[command(after_help = "\
The callers are threads of this process. Without --rate each of them calls again as soon as its call has returned (closed loop); with it,
calls arrive at random times, whether earlier ones have returned or not (open loop, Poisson), and a call that finds all callers busy
counts its wait. Beside --bulk the callers are interactive and the bulk call has the lowest priority, unless options say otherwise. Every input also runs alone and in one batch of the size of --callers: the figures to compare with. If a result differs
from its input's alone by a single bit, the exit status is 1.

Examples:
  kinglet load-test -m all-MiniLM-L6-v2 -p int8 --callers 64
  kinglet load-test -m gpt2 -p int8 --task generate --callers 8 --input-tokens 128 --output-tokens 64
  kinglet load-test -m all-MiniLM-L6-v2 -p int8 --callers 4 --rate 20 --duration 60 --bulk 5000")]
pub struct LoadTest {
    /// Threads that call, 1 to 1024
    #[arg(short, long, default_value_t = 8, value_name = "N", value_parser = callers)]
    pub callers: usize,
    /// Calls per second, all callers together [default: as many as they can make]
    #[arg(long, value_name = "X", value_parser = rate)]
    pub rate: Option<f64>,
    /// Calls to make [default: 1000, or no limit with --duration]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub requests: Option<usize>,
    /// Begin no call after SECONDS
    #[arg(long, value_name = "SECONDS", value_parser = rate)]
    pub duration: Option<f64>,
    /// Beside the callers, make one call of N inputs again and again (mixed load); the callers are measured without it first
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub bulk: Option<usize>,
    /// The bulk call's priority
    #[arg(long, default_value = "bulk", requires = "bulk", value_name = "NAME", value_parser = choice(Priority::ALL.map(|p| (p.name(), p))))]
    pub bulk_priority: Priority,
    /// Format of the report: a table, one JSON object, or CSV of one header line and one line of values
    #[arg(long, default_value = "table", value_name = "FORMAT", value_parser = choice([
        ("table", ReportFormat::Table), ("json", ReportFormat::Json), ("csv", ReportFormat::Csv),
    ]))]
    pub output_format: ReportFormat,
    /// Short for --output-format json
    #[arg(long, conflicts_with = "output_format")]
    pub json: bool,
    /// Priority and deadline of the callers' calls; beside --bulk they are interactive by default
    #[command(flatten)]
    pub call: CallArgs,
    #[command(flatten)]
    pub workload: WorkloadArgs,
    #[command(flatten)]
    pub model: ModelArgs,
}

impl LoadTest {
    /// The callers' priority.
    pub fn priority(&self) -> Priority {
        let default = if self.bulk.is_some() { Priority::Interactive } else { Priority::Normal };
        self.call.priority.unwrap_or(default)
    }
}

#[derive(Clone, Copy, PartialEq)]
pub enum ReportFormat {
    Table,
    Json,
    Csv,
}

/// Plan the machines of a service: measure this machine, and simulate a day of a fleet
#[derive(Args)]
#[command(after_help = "\
The times of passes and steps are measured first, with 1 to 64 callers; let nothing else run meanwhile. One replica is then simulated call by
call at loads from 5 to 95 %, and a fleet of them in steps of 15 seconds for 30 days: requests follow a daily curve, replicas fail, and an autoscaler
adds and removes them. --check measures some loads on this machine and prints them beside what the simulation says of them.

Examples:
  kinglet plan -m minilm.kinglet --input-tokens 8-60 --requests-per-day 1e9 --p99 20 --price 0.05
  kinglet plan -m gpt2.kinglet --task generate --input-tokens 128 --output-tokens 64 --save-times gpt2.json
  kinglet plan --times gpt2.json --requests-per-day 2e7 --peak 4 --start-time 300
  kinglet plan -m minilm.kinglet --input-tokens 8-60 --check")]
pub struct Plan {
    /// Requests of a day, up to 1e12; without it only one replica is simulated
    #[arg(long, value_name = "X", value_parser = day)]
    pub requests_per_day: Option<f64>,
    /// Rate at the peak of the day over the day's mean, 1 to 20
    #[arg(long, default_value_t = 3.0, value_name = "X", value_parser = peak)]
    pub peak: f64,
    /// The objective: the highest p99 in milliseconds [default: five times the mean of a request alone, and at least twice the lowest p99
    /// of all simulated loads]
    #[arg(long, value_name = "MS", value_parser = rate)]
    pub p99: Option<f64>,
    /// Price of a replica for an hour, in any currency
    #[arg(long, value_name = "X", value_parser = rate)]
    pub price: Option<f64>,
    /// Seconds from the autoscaler's decision until a replica takes requests; a failed one is replaced in that time too
    #[arg(long, default_value_t = 60.0, value_name = "SECONDS", value_parser = rate)]
    pub start_time: f64,
    /// Hours between two failures of a replica
    #[arg(long, default_value_t = 720.0, value_name = "HOURS", value_parser = rate)]
    pub mtbf: f64,
    /// Replicas beyond those that the load needs
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub spare: usize,
    /// Zones over which the replicas are spread, of which one may be lost
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = at_least_one)]
    pub zones: usize,
    /// Read the times that --save-times wrote, instead of measuring a model (--model or KINGLET_MODEL)
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "model", "save_times", "check", "task", "inputs", "input_tokens", "output_tokens", "beams", "sample",
    ])]
    pub times: Option<PathBuf>,
    /// Write the measured times to FILE
    #[arg(long, value_name = "FILE")]
    pub save_times: Option<PathBuf>,
    /// Compare the simulation of this machine with load tests of it
    #[arg(long)]
    pub check: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub workload: WorkloadArgs,
    #[command(flatten)]
    pub model: Option<ModelArgs>,
}
