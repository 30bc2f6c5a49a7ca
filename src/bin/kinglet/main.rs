//! The command line: `kinglet VERB --model PATH …`. Each verb is a file that calls the library.

mod args;
mod bench;
mod bench_args;
mod bulk;
mod chat;
mod check;
mod classify;
mod compress;
mod compress_args;
mod devices;
mod embed;
mod evaluate;
mod failure;
mod files;
mod fill_mask;
mod generate;
mod generate_args;
mod hidden;
mod input;
mod inspect;
mod interrupt;
mod load_args;
mod load_test;
mod logits;
mod machine;
mod masked_args;
mod metrics;
mod output;
mod plan;
mod progress;
mod quantize;
mod random;
mod reference;
mod rerank;
mod run_args;
mod search;
mod search_args;
mod sparse_embed;
mod suggest_batch_size;
mod suite;
mod tokenize;
mod values;
mod verb_args;
mod words;
mod zero_shot;

use std::process::ExitCode;

use clap::FromArgMatches;
use clap::error::ErrorKind;
use kinglet::{LoadOptions, Log, LogLevel, Model};

use args::{Cli, ModelArgs, Verb};
use bench_args::BenchVerb;
use failure::{Failure, Outcome};
use progress::Meter;

/// The status for a command line that is wrong.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let parsed = reference::command().try_get_matches().and_then(|matches| {
        let mut cli = Cli::from_arg_matches(&matches)?;
        if let (Verb::Run(run), Some((_, matches))) = (&mut cli.verb, matches.subcommand()) {
            run.look_at(matches);
        }
        Ok(cli)
    });
    let cli = match parsed {
        Ok(cli) => cli,
        // --help and --version; a reader that has closed the pipe does not matter.
        Err(help) if !help.use_stderr() || help.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            output::to_stdout(&help.to_string());
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            let text = error.to_string();
            output::note(text.strip_prefix("error: ").unwrap_or(&text).trim_end());
            return ExitCode::from(USAGE);
        }
    };
    match run(&cli) {
        Ok(()) | Err(Failure::ReaderGone) => ExitCode::SUCCESS,
        Err(Failure::Usage(message)) => {
            output::note(&message);
            ExitCode::from(USAGE)
        }
        Err(Failure::Verdict(status)) => ExitCode::from(status),
        Err(Failure::Message(message)) => {
            output::note(&message);
            leave()
        }
    }
}

/// Ends the process after a failure. Not by `exit`, which runs the ends of all libraries and would wait for one whose beginning never ended.
fn leave() -> ExitCode {
    #[cfg(unix)]
    {
        use std::io::Write;
        let _ = std::io::stdout().flush();
        // SAFETY: nothing else is to be done.
        unsafe { libc::_exit(1) };
    }
    #[cfg(not(unix))]
    ExitCode::FAILURE
}

fn run(cli: &Cli) -> Outcome<()> {
    let with_model = |args: &ModelArgs, verb: &dyn Fn(&Model) -> Outcome<()>| {
        let model = load(args)?;
        verb(&model)?;
        if let Some(format) = cli.counters {
            output::to_stderr(&model.counters().export(format));
        }
        Ok(())
    };
    let without = match &cli.verb {
        Verb::Bench(BenchVerb::Tool(_)) => Some("the subcommands of bench have many models and processes"),
        Verb::Quantize(_) | Verb::Devices(_) | Verb::Completions(_) | Verb::Man(_) => {
            Some("this command runs no model")
        }
        Verb::Inspect(args) if args.check => Some("inspect --check has no counters"),
        Verb::Plan(args) if args.model.is_none() => Some("plan --times runs no model"),
        _ => None,
    };
    if let (Some(why), Some(_)) = (without, cli.counters) {
        return Err(Failure::usage(format!("--counters: {why}")));
    }
    match &cli.verb {
        Verb::Generate(args) => with_model(&args.model, &|model| generate::run(model, args)),
        Verb::Chat(args) => with_model(&args.model, &|model| chat::run(model, args)),
        Verb::Embed(args) => with_model(&args.model, &|model| embed::run(model, args)),
        Verb::Classify(args) => with_model(&args.model, &|model| classify::run(model, args)),
        Verb::Search(args) => with_model(&args.model, &|model| search::run(model, args)),
        Verb::Rerank(args) => with_model(&args.model, &|model| rerank::run(model, args)),
        Verb::FillMask(args) => with_model(&args.model, &|model| fill_mask::run(model, args)),
        Verb::SparseEmbed(args) => with_model(&args.model, &|model| sparse_embed::run(model, args)),
        Verb::ZeroShot(args) => with_model(&args.model, &|model| zero_shot::run(model, args)),
        Verb::Compress(args) => with_model(&args.model, &|model| compress::run(model, args)),
        Verb::Tokenize(args) => with_model(&args.model, &|model| tokenize::run(model, args)),
        Verb::Run(args) => {
            let plan = bulk::plan(args)?;
            with_model(&args.model, &|model| bulk::run(model, args, &plan))
        }
        Verb::Inspect(args) if args.check => check::run(args),
        Verb::Inspect(args) => with_model(&args.model, &|model| inspect::run(model, args)),
        Verb::Hidden(args) => with_model(&args.model, &|model| hidden::run(model, args)),
        Verb::Logits(args) => with_model(&args.model, &|model| logits::run(model, args)),
        Verb::Evaluate(args) => with_model(&args.model, &|model| evaluate::run(model, args)),
        Verb::Bench(BenchVerb::Once(args)) => with_model(&args.model, &|model| bench::run(model, args)),
        Verb::Bench(BenchVerb::Tool(tool)) => suite::run(tool),
        Verb::SuggestBatchSize(args) => with_model(&args.model, &|model| suggest_batch_size::run(model, args)),
        Verb::LoadTest(args) => with_model(&args.model, &|model| load_test::run(model, args)),
        Verb::Plan(args) => match &args.model {
            Some(model) => with_model(model, &|model| plan::measure(model, args)),
            None => plan::read(args),
        },
        Verb::Quantize(args) => quantize::run(args),
        Verb::Devices(args) => devices::run(args),
        Verb::Completions(args) => reference::completions(args),
        Verb::Man(args) => reference::man(args),
    }
}

fn load(args: &ModelArgs) -> Outcome<Model> {
    load_with_log(args, Log::new(LogLevel::Warning, |_, line| output::note(&format!("warning: {line}"))))
}

fn load_with_log(args: &ModelArgs, log: Log) -> Outcome<Model> {
    // In thousandths, because the library reports a share from 0 to 1.
    let mut bar = Meter::new("loading", Some(1000), false);
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
        map_files: args.no_mmap.then_some(false),
        max_text_bytes: args.max_text_bytes,
        answer_cache: args.answer_cache as usize,
        progress: Some(&mut progress),
        onnxruntime: args.onnxruntime.as_deref(),
        log,
        ..LoadOptions::default()
    };
    Ok(Model::load(&args.model, options)?)
}
