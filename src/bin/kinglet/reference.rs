//! `kinglet completions`, `kinglet man`, and what `--version` prints: generated from the definition of the command line.

use std::fs;

use clap::{Command, CommandFactory};

use crate::args::{Cli, Completions, Man};
use crate::failure::{Failure, Outcome};
use crate::output::Output;

/// The definition of the command line, with a `--version` that a bug report can quote.
pub fn command() -> Command {
    let kernels = kinglet::kernels::select().map_or_else(|why| why, |kernel| kernel.name().to_string());
    let features = [
        ("candle", cfg!(feature = "candle")),
        ("cuda", cfg!(feature = "cuda")),
        ("metal", cfg!(feature = "metal")),
        ("onnx", cfg!(feature = "onnx")),
    ];
    let features: Vec<_> = features.into_iter().filter_map(|(name, on)| on.then_some(name)).collect();
    let (version, abi) = (env!("CARGO_PKG_VERSION"), kinglet::ffi::KINGLET_ABI_VERSION);
    let onnx =
        if cfg!(feature = "onnx") { "\nonnxruntime: 1.17 or newer, opened when an ONNX model is loaded" } else { "" };
    Cli::command().long_version(format!(
        "{version}\nabi:         {abi}\nkernels:     {kernels}\nfeatures:    {}{onnx}",
        features.join(" ")
    ))
}

pub fn completions(args: &Completions) -> Outcome<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command(), "kinglet", &mut script);
    let mut out = Output::new();
    out.line(String::from_utf8_lossy(&script).trim_end())?;
    out.flush()
}

pub fn man(args: &Man) -> Outcome<()> {
    let write = || {
        fs::create_dir_all(&args.output)?;
        clap_mangen::generate_to(command().disable_help_subcommand(true), &args.output)
    };
    write().map_err(|error| Failure::new(format!("{}: {error}", args.output.display())))
}
