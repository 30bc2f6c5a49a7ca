//! `kinglet bench` and its subcommands: without one, one workload is measured.

use std::path::PathBuf;

use clap::builder::TypedValueParser;
use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand};

use crate::suite::figure::SuiteName;
use crate::values::choice;
use crate::verb_args::Bench;

pub enum BenchVerb {
    Once(Box<Bench>),
    Tool(BenchTool),
}

// Not derived: options that are required must not be where there is a subcommand.
impl Args for BenchVerb {
    fn augment_args(command: Command) -> Command {
        BenchTool::augment_subcommands(Bench::augment_args(command))
            .subcommand_required(false)
            .arg_required_else_help(false)
            .subcommand_negates_reqs(true)
            .args_conflicts_with_subcommands(true)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for BenchVerb {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        match matches.subcommand_name() {
            Some(_) => BenchTool::from_arg_matches(matches).map(Self::Tool),
            None => Bench::from_arg_matches(matches).map(|bench| Self::Once(Box::new(bench))),
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[derive(Subcommand)]
pub enum BenchTool {
    Suite(SuiteArgs),
    Compare(CompareArgs),
    Pair(PairArgs),
    History(HistoryArgs),
    /// One round of a suite: reads a plan from standard input
    #[command(hide = true)]
    Round,
}

/// Measure loading, tokenising, inference, documents, many callers and more, and write reports
#[derive(Args)]
#[command(after_help = "\
The configuration is a TOML file; what it does not say is as docs/benchmark-suite.md describes. Every round is a process of its own.
Exit status 1 if nothing could be measured, or if a figure is beyond a limit of the configuration.

Examples:
  kinglet bench suite --model all-MiniLM-L6-v2 --output bench
  kinglet bench suite --config suite.toml --suite inference --suite load --output bench --history bench-history")]
pub struct SuiteArgs {
    #[command(flatten)]
    pub what: WhatArgs,
    /// Folder for the reports; it is created if it is missing
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// Append the figures to the history in DIR
    #[arg(long, value_name = "DIR")]
    pub history: Option<PathBuf>,
    /// Compare with this report, or the one in this folder, as bench compare does; the reports then have the comparison
    #[arg(long, value_name = "REPORT")]
    pub compare_with: Option<PathBuf>,
    /// With --compare-with: fail for this and for what is worse
    #[arg(long, default_value = "critical", requires = "compare_with", value_name = "LEVEL", value_parser = fail_on())]
    pub fail_on: FailOn,
}

/// What is measured.
#[derive(Args)]
pub struct WhatArgs {
    /// Configuration [default: one that is in the program]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Run this suite only; repeat for more [default: those of the configuration]
    #[arg(long = "suite", value_name = "NAME", value_parser = choice(SuiteName::ALL.map(|s| (s.name(), s))))]
    pub suites: Vec<SuiteName>,
    /// Measure this model; repeat for more [default: those of the configuration]
    #[arg(short, long = "model", value_name = "PATH")]
    pub models: Vec<PathBuf>,
}

#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
pub enum FailOn {
    Unclear,
    Warning,
    Critical,
}

fn fail_on() -> impl TypedValueParser<Value = FailOn> {
    choice([("unclear", FailOn::Unclear), ("warning", FailOn::Warning), ("critical", FailOn::Critical)])
}

/// Compare two reports of `bench suite`, figure by figure
#[derive(Args)]
#[command(after_help = "\
A figure is worse if its change is beyond the threshold, beyond the noise between the rounds of both reports, and its 95 % interval does
not contain 'no change'. A change beyond the threshold that is not beyond noise is unclear. Times of a busy machine are unclear.

Exit status: 0 nothing is worse, 1 a warning (with --fail-on warning) or the comparison could not be made, 2 a critical change, or the
command line is wrong.

Example:
  kinglet bench compare bench-main/report.json bench-branch/report.json --fail-on warning")]
pub struct CompareArgs {
    /// Report to compare with, or its folder
    #[arg(value_name = "BASE")]
    pub base: PathBuf,
    /// Report to judge, or its folder
    #[arg(value_name = "NEW")]
    pub new: PathBuf,
    /// Take thresholds and limits of noise from this configuration [default: NEW's]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Compare reports of different machines
    #[arg(long)]
    pub other_machine: bool,
    #[command(flatten)]
    pub told: TellArgs,
}

/// How changes are told.
#[derive(Args)]
pub struct TellArgs {
    /// Fail for this and for what is worse
    #[arg(long, default_value = "critical", value_name = "LEVEL", value_parser = fail_on())]
    pub fail_on: FailOn,
    /// Print a line for GitHub's annotations for each figure that is worse
    #[arg(long, conflicts_with = "json")]
    pub annotations: bool,
    /// Write the comparison to FILE in Markdown
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Measure two builds of this program in turns, and compare them pair by pair
#[derive(Args)]
#[command(after_help = "\
Rounds run in the order old, new, new, old: both meet the same machine, and neighbouring rounds of one program are a control. A change counts
if the 95 % interval of the ratio within pairs is beyond 'no change', and if the control finds no difference between equal programs. Verdicts
and exit status are those of bench compare. scripts/bench-against builds another revision and runs this.

Example:
  kinglet bench pair build-main/kinglet --model all-MiniLM-L6-v2 --suite inference")]
pub struct PairArgs {
    /// Program to compare with: a kinglet that has `bench suite`
    #[arg(value_name = "OLD")]
    pub old: PathBuf,
    /// Program to judge [default: this one]
    #[arg(value_name = "NEW")]
    pub new: Option<PathBuf>,
    /// Pairs of rounds
    #[arg(long, default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(u64).range(3..=1000))]
    pub pairs: u64,
    #[command(flatten)]
    pub what: WhatArgs,
    #[command(flatten)]
    pub told: TellArgs,
}

/// Show, check, export, prune or copy a history of suites
#[derive(Args)]
#[command(after_help = "\
A history is a folder with one file of JSON lines per kind of machine, to which `bench suite --history DIR` appends. Lines that are
damaged are reported and skipped, never removed; the exit status is then 1.

Examples:
  kinglet bench history bench-history
  kinglet bench history bench-history --export history.csv
  kinglet bench history bench-history --prune 12 --backup bench-history-copy")]
pub struct HistoryArgs {
    /// Folder of the history
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Write all figures to FILE as CSV
    #[arg(long, value_name = "FILE")]
    pub export: Option<PathBuf>,
    /// Copy the files to DIR first, which must not have them yet
    #[arg(long, value_name = "DIR")]
    pub backup: Option<PathBuf>,
    /// Remove entries older than MONTHS of 30 days
    #[arg(long, value_name = "MONTHS", value_parser = clap::value_parser!(u64).range(1..=1200))]
    pub prune: Option<u64>,
    /// Write a page with the trends to FILE
    #[arg(long, value_name = "FILE")]
    pub page: Option<PathBuf>,
}
