//! The options of `kinglet run`.

use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command};
use kinglet::{Aggregation, Pooling, ScoreFunction};

use crate::args::{ModelArgs, Normalize, PromptArgs};
use crate::compress_args::CompressionArgs;
use crate::generate_args::GenerationArgs;
use crate::values::{at_least_one, choice, score_function};

#[derive(Clone, Copy, PartialEq)]
pub enum BulkTask {
    Embed,
    Classify,
    Score,
    Generate,
    Tokenize,
    Compress,
}

impl BulkTask {
    pub const ALL: [Self; 6] =
        [Self::Embed, Self::Classify, Self::Score, Self::Generate, Self::Tokenize, Self::Compress];

    pub fn name(self) -> &'static str {
        match self {
            Self::Embed => "embed",
            Self::Classify => "classify",
            Self::Score => "score",
            Self::Generate => "generate",
            Self::Tokenize => "tokenize",
            Self::Compress => "compress",
        }
    }
}

/// The format of a file of rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RowFormat {
    Jsonl,
    Csv,
    Text,
    Parquet,
    /// Arrow's IPC file, and as an input its stream too.
    Arrow,
}

impl RowFormat {
    pub const ALL: [Self; 5] = [Self::Jsonl, Self::Csv, Self::Text, Self::Parquet, Self::Arrow];

    /// Whether a file has columns with types, and no lines.
    pub fn has_columns(self) -> bool {
        matches!(self, Self::Parquet | Self::Arrow)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Text => "text",
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
        }
    }
}

/// Run a task over files of any length, and resume after an interruption
#[derive(Args)]
#[command(after_help = "\
Each row of the input gives one row of the output, in the same order: its own fields, and those of the task:
  embed     embedding (a list; with --pooling none a list per token)
  classify  label, score, scores; with a token classifier: entities
  score     score (of the fields of --text-field and --pair-field)
  generate  generated_text, finish_reason (lists with --num-return-sequences)
  tokenize  input_ids
  compress  compressed_text, tokens_before, tokens_after, ratio; all options of kinglet compress
and truncated, if the text was too long. Rows that cannot be read or processed go to the file of --rejected with the reason.

While it runs, results are in OUTPUT.partial and the place reached in OUTPUT.manifest.json. The same command goes on from there after
Ctrl-C, a crash or a kill: no row is lost or done twice.

Examples:
  kinglet run --task embed -m all-MiniLM-L6-v2 -p int8 --input 'docs/*.jsonl' --text-field body --output vectors.jsonl
  kinglet run --task embed -m all-MiniLM-L6-v2 -i 'docs/*.parquet' --text-field body --keep id -o vectors.parquet
  kinglet run --task classify -m distilbert-sst2 --input reviews.csv --text-field review --output labels.csv
  zcat prompts.jsonl.gz | kinglet run --task generate -m flan-t5-small -n 40 --input - --output answers.jsonl")]
pub struct Run {
    /// What to do with each row
    #[arg(long, value_parser = choice(BulkTask::ALL.map(|task| (task.name(), task))))]
    pub task: BulkTask,
    /// Files to read, patterns with *, ? and [...], or - for standard input; repeatable. The files of a pattern are in the order of their names
    #[arg(short, long, required = true, value_name = "FILE", num_args = 1..)]
    pub input: Vec<String>,
    /// File to write: .jsonl, .csv, .parquet or .arrow
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// File for the rows that cannot be processed, with the reason [default: OUTPUT.rejected.jsonl]
    #[arg(long, value_name = "FILE")]
    pub rejected: Option<PathBuf>,
    /// Format of the input; text has one text per line [default: by the name: .jsonl, .csv, .txt, .parquet, .arrow; jsonl for standard input]
    #[arg(long, value_name = "FORMAT", value_parser = choice(RowFormat::ALL.map(|format| (format.name(), format))))]
    pub input_format: Option<RowFormat>,
    /// Field or column of the text
    #[arg(long, value_name = "FIELD", default_value = "text")]
    pub text_field: String,
    /// Field or column of the second text of a pair (classify, score, tokenize)
    #[arg(long, value_name = "FIELD")]
    pub pair_field: Option<String>,
    /// Keep only this field of the input in the output; repeatable [default: all]
    #[arg(long, value_name = "FIELD")]
    pub keep: Vec<String>,
    /// Keep no field of the input in the output
    #[arg(long, conflicts_with = "keep")]
    pub keep_none: bool,
    /// Read and process this many rows together
    #[arg(short, long, default_value_t = 512, value_name = "N", value_parser = at_least_one)]
    pub batch_size: usize,
    /// End a row group of a Parquet output after N rows, or after 64 MB
    #[arg(long, default_value_t = 131_072, value_name = "N", value_parser = at_least_one)]
    pub row_group_size: usize,
    /// Replace an output that is there
    #[arg(long)]
    pub overwrite: bool,
    /// Begin again where an unfinished run is there
    #[arg(long)]
    pub restart: bool,
    /// Print the counts and the rate as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Truncate texts to N tokens, special tokens included (embed, classify, score, tokenize)
    #[arg(long, value_name = "N")]
    pub max_length: Option<usize>,
    /// embed: how token vectors are pooled [default: the model's own setting]
    #[arg(long, value_parser = choice(Pooling::ALL.map(|p| (p.name(), p))))]
    pub pooling: Option<Pooling>,
    /// embed: scale vectors to length 1 [default: the model's own setting]
    #[arg(long, value_parser = choice([
        ("auto", Normalize(None)), ("yes", Normalize(Some(true))), ("no", Normalize(Some(false))),
    ]))]
    pub normalize: Option<Normalize>,
    /// embed: keep only the first N values of each vector
    #[arg(long, value_name = "N")]
    pub truncate_dim: Option<usize>,
    /// classify, score: function from logits to scores [default: the model's own setting]
    #[arg(long, value_parser = score_function())]
    pub function: Option<ScoreFunction>,
    /// classify, with a token classifier: one entity per token, or neighbouring tokens of one kind joined [default: simple]
    #[arg(long, value_parser = choice([("none", Aggregation::None), ("simple", Aggregation::Simple)]))]
    pub aggregation: Option<Aggregation>,
    #[command(flatten)]
    pub prompt: PromptArgs,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub generation: GenerationArgs,
    #[command(flatten, next_help_heading = "Compression")]
    pub compression: CompressionArgs,
    /// The first option of generation that was given, and that of compression.
    #[arg(skip)]
    pub first_of_generation: Option<String>,
    #[arg(skip)]
    pub first_of_compression: Option<String>,
}

impl Run {
    /// Takes from the command line what its values do not tell: which options were given at all.
    pub fn look_at(&mut self, matches: &ArgMatches) {
        let given = |arg: &&Arg| matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
        let first =
            |of: Command| of.get_arguments().find(given).and_then(Arg::get_long).map(|name| format!("--{name}"));
        self.first_of_generation = first(GenerationArgs::augment_args(Command::new("generation")));
        self.first_of_compression = first(CompressionArgs::augment_args(Command::new("compression")));
    }
}
