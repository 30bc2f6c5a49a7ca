//! The command line's verbs and the options that they share. Values are checked here, so that a mistake is reported before a model is
//! loaded.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use kinglet::{Device, Format, Precision};

use crate::bench_args::BenchVerb;
use crate::compress_args::Compress;
pub use crate::load_args::*;
pub use crate::masked_args::{FillMask, SparseEmbed, ZeroShot};
use crate::run_args::Run;
pub use crate::search_args::{Rerank, Search};
use crate::values::{at_least_one, choice, size};
pub use crate::verb_args::*;

/// Run small language models: generate text, chat, embed, classify, shorten documents.
///
/// PATH is a model as it is published: a Hugging Face directory, a GGUF file, an ONNX export, or a .kinglet file; or the name of a
/// model that is in the local cache of the Hugging Face hub, where this puts it:
///
///   hf download sentence-transformers/all-MiniLM-L6-v2
#[derive(Parser)]
#[command(
    name = "kinglet",
    version,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "\
Exit status: 0 success, 1 the work failed, 2 the command line is wrong.

Examples:
  kinglet embed -m sentence-transformers/all-MiniLM-L6-v2 -p int8 'a small bird'
  kinglet chat -m SmolLM2-135M-Instruct.Q4_1.gguf -p int8
  kinglet generate -m flan-t5-base -p int8 --num-beams 4 'translate English to German: a small bird'
  KINGLET_MODEL=bge-reranker kinglet classify --score 'what flies?' 'a bird flies'"
)]
pub struct Cli {
    #[command(subcommand)]
    pub verb: Verb,
    /// Print the timing counters to standard error after the work
    #[arg(long, global = true, value_name = "FORMAT", value_parser = choice([
        ("json", Format::Json), ("csv", Format::Csv), ("prometheus", Format::Prometheus),
    ]))]
    pub counters: Option<Format>,
}

#[derive(Subcommand)]
pub enum Verb {
    Generate(Generate),
    Chat(Chat),
    Embed(Embed),
    Classify(Classify),
    ZeroShot(ZeroShot),
    FillMask(FillMask),
    SparseEmbed(SparseEmbed),
    Compress(Compress),
    Search(Search),
    Rerank(Rerank),
    Tokenize(Tokenize),
    Run(Box<Run>),
    Inspect(Inspect),
    Hidden(Hidden),
    Logits(Logits),
    Quantize(Quantize),
    Evaluate(Evaluate),
    Devices(Devices),
    /// Measure speed on random token ids, or run suites and compare their reports
    Bench(BenchVerb),
    LoadTest(LoadTest),
    Plan(Box<Plan>),
    SuggestBatchSize(SuggestBatchSize),
    Completions(Completions),
    Man(Man),
}

#[derive(Args, Clone)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    /// Load this model: a Hugging Face directory, a .gguf or .kinglet file, an ONNX export, or a name in the hub's local cache
    #[arg(short, long, value_name = "PATH", env = "KINGLET_MODEL")]
    pub model: PathBuf,
    /// Run on this kind of device
    #[arg(short, long, default_value = "cpu", value_parser = choice(Device::ALL.map(|d| (d.name(), d))))]
    pub device: Device,
    /// Use this device of its kind, counted from 0
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub device_index: usize,
    /// Number format of the weights and matrix products; auto keeps the checkpoint's
    #[arg(short, long, default_value = "auto", value_parser = choice(Precision::ALL.map(|p| (p.name(), p))))]
    pub precision: Precision,
    /// Use this many threads; 0 uses all CPUs available to the process
    #[arg(short, long, default_value_t = 0, value_name = "N")]
    pub threads: usize,
    /// Refuse a model that needs more memory than SIZE bytes (suffixes K, M, G)
    #[arg(long, default_value = "0", hide_default_value = true, value_name = "SIZE", value_parser = size)]
    pub memory_limit: u64,
    /// Read the files into memory instead of mapping them, so that nothing that happens to them later reaches the process
    #[arg(long)]
    pub no_mmap: bool,
    /// Refuse texts longer than SIZE bytes (suffixes K, M, G) [default: 256M]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_text_bytes: Option<u64>,
    /// Cache finished generations in SIZE bytes (suffixes K, M, G)
    #[arg(long, default_value = "0", hide_default_value = true, value_name = "SIZE", value_parser = size)]
    pub answer_cache: u64,
    /// Shared library of ONNX Runtime, which ONNX models need [default: ORT_DYLIB_PATH, else the system's]
    #[arg(long, value_name = "PATH")]
    pub onnxruntime: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq)]
pub enum InputFormat {
    Lines,
    Jsonl,
}

#[derive(Clone, Copy, PartialEq)]
pub enum OutputFormat {
    Text,
    Jsonl,
}

#[derive(Args)]
#[command(next_help_heading = "Input and output")]
pub struct TextArgs {
    /// Texts to process; without any, they are read from standard input
    #[arg(value_name = "TEXT")]
    pub texts: Vec<String>,
    /// Format of standard input: one text per line, or one JSON object per line
    #[arg(long, default_value = "lines", conflicts_with = "texts", value_name = "FORMAT", value_parser = choice([
        ("lines", InputFormat::Lines), ("jsonl", InputFormat::Jsonl),
    ]))]
    input_format: InputFormat,
    /// With --input-format jsonl: the field that holds the text [default: text; with --decode ids]
    #[arg(long, conflicts_with_all = ["texts", "jsonl"], value_name = "FIELD")]
    text_field: Option<String>,
    /// Short for --input-format jsonl --text-field FIELD
    #[arg(long, value_name = "FIELD", conflicts_with = "texts")]
    jsonl: Option<String>,
    /// Format of standard output: plain text, or one JSON object per line
    #[arg(long, default_value = "text", value_name = "FORMAT", value_parser = choice([
        ("text", OutputFormat::Text), ("jsonl", OutputFormat::Jsonl),
    ]))]
    output_format: OutputFormat,
    /// Short for --output-format jsonl
    #[arg(long)]
    json: bool,
    /// Run this many texts together
    #[arg(short, long, default_value_t = 64, value_name = "N", value_parser = at_least_one)]
    pub batch_size: usize,
}

impl TextArgs {
    /// The field of the text, if standard input is JSON objects; `default` where none is named.
    pub fn field<'a>(&'a self, default: &'a str) -> Option<&'a str> {
        let named = self.jsonl.as_deref().or(self.text_field.as_deref());
        (named.is_some() || self.input_format == InputFormat::Jsonl).then(|| named.unwrap_or(default))
    }

    pub fn json(&self) -> bool {
        self.json || self.output_format == OutputFormat::Jsonl
    }
}

#[derive(Args)]
#[command(next_help_heading = "Pairs")]
pub struct PairArgs {
    /// Read texts in pairs: two arguments each, or lines with a tab between the texts
    #[arg(long)]
    pub pairs: bool,
    /// With JSON input: the field that holds the second text [default: pair]
    #[arg(long, value_name = "FIELD", conflicts_with = "texts")]
    pub pair_field: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definition_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
