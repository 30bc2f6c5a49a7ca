//! The command line: `kinglet VERB --model PATH …`. Each verb has a file; what they compute is the library's.

mod args;
mod bench;
mod chat;
mod classify;
mod devices;
mod embed;
mod evaluate;
mod failure;
mod generate;
mod generate_args;
mod hidden;
mod input;
mod inspect;
mod logits;
mod metrics;
mod output;
mod progress;
mod quantize;
mod tokenize;

use std::process::ExitCode;

use clap::Parser;
use kinglet::{LoadOptions, Model};

use args::{Cli, ModelArgs, Verb};
use failure::{Failure, Outcome};
use progress::Progress;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            let text = error.to_string();
            output::note(text.strip_prefix("error: ").unwrap_or(&text).trim_end());
            return ExitCode::FAILURE;
        }
        // --help and --version; a reader that has gone does not matter.
        Err(help) => {
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
    };
    match run(&cli) {
        Ok(()) | Err(Failure::ReaderGone) => ExitCode::SUCCESS,
        Err(Failure::Message(message)) => {
            output::note(&message);
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Outcome<()> {
    if let Verb::Quantize(args) = &cli.verb {
        return quantize::run(args);
    }
    if let Verb::Devices(args) = &cli.verb {
        return devices::run(args);
    }
    let Some(args) = cli.verb.model() else { return Ok(()) };
    let model = load(args)?;
    match &cli.verb {
        Verb::Generate(args) => generate::run(&model, args),
        Verb::Chat(args) => chat::run(&model, args),
        Verb::Logits(args) => logits::run(&model, args),
        Verb::Evaluate(args) => evaluate::run(&model, args),
        Verb::Quantize(_) | Verb::Devices(_) => Ok(()),
        Verb::Embed(args) => embed::run(&model, args),
        Verb::Classify(args) => classify::run(&model, args),
        Verb::Tokenize(args) => tokenize::run(&model, args),
        Verb::Inspect(args) => inspect::run(&model, args),
        Verb::Hidden(args) => hidden::run(&model, args),
        Verb::Bench(args) => bench::run(&model, args),
    }?;
    if let Some(format) = cli.counters {
        output::to_stderr(&model.counters().export(format));
    }
    Ok(())
}

fn load(args: &ModelArgs) -> Outcome<Model> {
    // In thousandths: the library reports shares.
    let mut bar = Progress::new("loading", Some(1000), false);
    let mut progress = |share: f32| {
        bar.set((share * 1000.0) as u64);
        true
    };
    let options = LoadOptions {
        device: args.device,
        device_index: args.device_index,
        precision: Some(args.precision),
        threads: args.threads,
        memory_limit: args.memory_limit,
        answer_cache: args.answer_cache as usize,
        progress: Some(&mut progress),
        onnxruntime: args.onnxruntime.as_deref(),
        ..LoadOptions::default()
    };
    Ok(Model::load(&args.model, options)?)
}
