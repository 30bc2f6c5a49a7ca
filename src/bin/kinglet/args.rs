//! What the command line takes. Values are checked here, so that a mistake is told before a model is loaded.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use kinglet::{Aggregation, Device, Format, Pooling, Precision, ScoreFunction};

use crate::generate_args::{GenerationArgs, LookupArgs};

/// Runs small language models: text generation, chat, embeddings, classification, from an unconverted Hugging Face directory.
#[derive(Parser)]
#[command(name = "kinglet", version, arg_required_else_help = false)]
pub struct Cli {
    #[command(subcommand)]
    pub verb: Verb,
    /// Prints the timing counters to standard error after the work
    #[arg(long, global = true, value_name = "FORMAT", value_parser = choice([
        ("json", Format::Json), ("csv", Format::Csv), ("prometheus", Format::Prometheus),
    ]))]
    pub counters: Option<Format>,
}

#[derive(Subcommand)]
pub enum Verb {
    /// Generates texts from prompts, or from source texts
    Generate(Generate),
    /// Holds a conversation
    Chat(Chat),
    /// Embeds texts
    Embed(Embed),
    /// Classifies texts, pairs of texts, or the tokens of texts, as the model's head has it
    Classify(Classify),
    /// Turns texts into token ids, or ids back into texts
    Tokenize(Tokenize),
    /// Tells what a model is and how it would run here
    Inspect(Inspect),
    /// Prints the last hidden states of token ids
    Hidden(Hidden),
    /// Prints the logits of token ids
    Logits(Logits),
    /// Packs a model into one .kinglet file that loads at once
    Quantize(Quantize),
    /// Measures answers to a set of questions against those expected, and how long they take
    Evaluate(Evaluate),
    /// Lists the devices that models can run on
    Devices(Devices),
    /// Measures speed on random token ids
    Bench(Bench),
}

impl Verb {
    /// The model that the verb loads, if it does.
    pub fn model(&self) -> Option<&ModelArgs> {
        match self {
            Self::Quantize(_) | Self::Devices(_) => None,
            Self::Generate(Generate { model, .. })
            | Self::Chat(Chat { model, .. })
            | Self::Logits(Logits { model, .. })
            | Self::Evaluate(Evaluate { model, .. })
            | Self::Embed(Embed { model, .. })
            | Self::Classify(Classify { model, .. })
            | Self::Tokenize(Tokenize { model, .. })
            | Self::Inspect(Inspect { model, .. })
            | Self::Hidden(Hidden { model, .. })
            | Self::Bench(Bench { model, .. }) => Some(model),
        }
    }
}

#[derive(Args)]
pub struct Devices {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    /// A Hugging Face directory (config.json, tokenizer.json, model.safetensors), a .gguf or .kinglet file, or an ONNX export
    #[arg(long, value_name = "PATH")]
    pub model: PathBuf,
    /// Where it runs
    #[arg(long, default_value = "cpu", value_parser = choice(Device::ALL.map(|d| (d.name(), d))))]
    pub device: Device,
    /// Which of the devices of that kind
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub device_index: usize,
    /// What weights are held and multiplied in; auto is what the checkpoint holds
    #[arg(long, default_value = "auto", value_parser = choice(Precision::ALL.map(|p| (p.name(), p))))]
    pub precision: Precision,
    /// Threads to use; 0 is as many as there are cores
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub threads: usize,
    /// Refuses a model that needs more memory than this many bytes; K, M and G count in 1024s
    #[arg(long, default_value = "0", hide_default_value = true, value_name = "SIZE", value_parser = size)]
    pub memory_limit: u64,
    /// Remembers answers in this many bytes; K, M and G count in 1024s
    #[arg(long, default_value = "0", hide_default_value = true, value_name = "SIZE", value_parser = size)]
    pub answer_cache: u64,
    /// ONNX Runtime's shared library, which .onnx files need [default: what ORT_DYLIB_PATH names, else the system's]
    #[arg(long, value_name = "PATH")]
    pub onnxruntime: Option<PathBuf>,
}

#[derive(Args)]
#[command(next_help_heading = "Input and output")]
pub struct TextArgs {
    /// The texts; without any, they are read from standard input, one a line
    #[arg(value_name = "TEXT")]
    pub texts: Vec<String>,
    /// Standard input is JSON objects, one a line; the text is this field
    #[arg(long, value_name = "FIELD", conflicts_with = "texts")]
    pub jsonl: Option<String>,
    /// Texts that go through the model together
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = at_least_one)]
    pub batch_size: usize,
    /// Prints one JSON object a line
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
#[command(next_help_heading = "Pairs")]
pub struct PairArgs {
    /// Texts come in pairs: arguments two by two, lines with a tab between
    #[arg(long)]
    pub pairs: bool,
    /// With --jsonl: the field of each pair's second text
    #[arg(long, value_name = "FIELD", requires = "jsonl")]
    pub pair_field: Option<String>,
}

// In what follows a verb's own options come first: those after a group would stand under the group's heading.

#[derive(Args)]
pub struct Generate {
    /// Prints texts as they grow
    #[arg(long, conflicts_with = "json")]
    pub stream: bool,
    /// Prints each text on one line, control characters as escapes
    #[arg(long, conflicts_with_all = ["stream", "json"])]
    pub one_line: bool,
    /// What all prompts begin with: computed once
    #[arg(long, value_name = "TEXT")]
    pub prefix: Option<String>,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub input: TextArgs,
    #[command(flatten)]
    pub generation: GenerationArgs,
}

#[derive(Args)]
pub struct Chat {
    /// What the conversation begins with
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// Tells after each answer what is held
    #[arg(long)]
    pub verbose: bool,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub generation: GenerationArgs,
}

#[derive(Args)]
pub struct Logits {
    /// Token ids of the source text or, without an encoder, of the text
    #[arg(long, required = true, value_name = "ID,ID…", value_parser = ids)]
    pub ids: Ids,
    /// Token ids of the decoder, its start token first
    #[arg(long, value_name = "ID,ID…", value_parser = ids)]
    pub decoder_ids: Option<Ids>,
    /// Runs the tokens one at a time, as generation does
    #[arg(long)]
    pub stepwise: bool,
    /// Prints one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub model: ModelArgs,
}

#[derive(Args)]
pub struct Quantize {
    /// A Hugging Face directory, or a .gguf file
    #[arg(value_name = "SRC")]
    pub source: PathBuf,
    /// The .kinglet file to write
    #[arg(value_name = "DST")]
    pub destination: PathBuf,
    /// What the weights are stored and run in
    #[arg(long, default_value = "int8", value_parser = choice([
        ("int8", Precision::Int8), ("bf16", Precision::Bf16), ("f16", Precision::F16), ("f32", Precision::F32),
    ]))]
    pub precision: Precision,
}

#[derive(Args)]
pub struct Evaluate {
    /// JSON objects, one a line; without it they are read from standard input
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The field of the question
    #[arg(long, default_value = "input", value_name = "FIELD")]
    pub input_field: String,
    /// The field of the answer that is expected
    #[arg(long, default_value = "expected", value_name = "FIELD")]
    pub expected_field: String,
    /// Questions that are asked together; latencies are then those of whole batches
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = at_least_one)]
    pub batch_size: usize,
    /// Asks only the first questions
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub limit: Option<usize>,
    /// Writes every question and answer to this file, JSON a line
    #[arg(long, value_name = "FILE")]
    pub answers: Option<PathBuf>,
    /// Prints one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub generation: GenerationArgs,
}

#[derive(Args)]
pub struct Embed {
    /// From tokens to a text, instead of what the model's files say; none gives a line a token
    #[arg(long, value_parser = choice(Pooling::ALL.map(|p| (p.name(), p))))]
    pub pooling: Option<Pooling>,
    /// Scales embeddings to length 1; auto is what the model's files say
    #[arg(long, default_value = "auto", value_parser = choice([
        ("auto", Normalize(None)), ("yes", Normalize(Some(true))), ("no", Normalize(Some(false))),
    ]))]
    pub normalize: Normalize,
    /// Cuts texts to this many tokens, special ones counted
    #[arg(long, value_name = "N")]
    pub max_length: Option<usize>,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub input: TextArgs,
}

/// `Some` where the command line overrules the model's files.
#[derive(Clone, Copy)]
pub struct Normalize(pub Option<bool>);

#[derive(Args)]
pub struct Classify {
    /// Scores pairs with a cross-encoder: how well the second text answers the first
    #[arg(long)]
    pub score: bool,
    /// Classifies tokens (the default for a model whose head does so)
    #[arg(long, conflicts_with_all = ["score", "pairs", "pair_field"])]
    pub tokens: bool,
    /// From logits to scores, instead of what the model's files say
    #[arg(long, value_parser = choice([
        ("none", ScoreFunction::None), ("sigmoid", ScoreFunction::Sigmoid), ("softmax", ScoreFunction::Softmax),
    ]))]
    pub function: Option<ScoreFunction>,
    /// From tokens to entities: one a token, or neighbours of one kind joined (the default)
    #[arg(long, conflicts_with_all = ["score", "pairs", "pair_field"], value_parser = choice([
        ("none", Aggregation::None), ("simple", Aggregation::Simple),
    ]))]
    pub aggregation: Option<Aggregation>,
    /// Cuts texts or pairs to this many tokens, special ones counted
    #[arg(long, value_name = "N")]
    pub max_length: Option<usize>,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub input: TextArgs,
    #[command(flatten)]
    pub pair: PairArgs,
}

#[derive(Args)]
pub struct Tokenize {
    /// Tells where each token lies in its text, in bytes
    #[arg(long)]
    pub offsets: bool,
    /// Turns ids back into texts: each argument, line or JSON field is the ids of one text
    #[arg(long, conflicts_with_all = ["offsets", "pairs", "pair_field", "max_length"])]
    pub decode: bool,
    /// Adds no special tokens; with --decode, leaves them out of the text
    #[arg(long)]
    pub no_special_tokens: bool,
    /// Cuts texts to this many tokens, special ones counted; the default is what the model takes
    #[arg(long, value_name = "N")]
    pub max_length: Option<usize>,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub input: TextArgs,
    #[command(flatten)]
    pub pair: PairArgs,
}

#[derive(Args)]
pub struct Inspect {
    /// Prints one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub model: ModelArgs,
}

#[derive(Args)]
pub struct Hidden {
    /// Token ids of a sequence, special tokens included; give it again for another sequence
    #[arg(long, required = true, value_name = "ID,ID…", value_parser = ids)]
    pub ids: Vec<Ids>,
    /// Token types, one an id; once for each --ids
    #[arg(long, value_name = "TYPE,TYPE…", value_parser = ids)]
    pub type_ids: Vec<Ids>,
    /// Prints one JSON object a sequence
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub model: ModelArgs,
}

#[derive(Args)]
pub struct Bench {
    /// What to measure
    #[arg(long, default_value = "embed", value_name = "TASK", value_parser = choice([
        ("embed", Task::Embed), ("generate", Task::Generate),
    ]))]
    pub task: Task,
    /// Sequences in a batch
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = at_least_one)]
    pub batch: usize,
    /// Tokens of each sequence, or the bounds that they are drawn between
    #[arg(long, default_value = "128", value_name = "N|LO-HI", value_parser = span)]
    pub input_tokens: (usize, usize),
    /// Tokens to generate, no more and no fewer (--task generate)
    #[arg(long, default_value_t = 32, value_name = "N")]
    pub output_tokens: usize,
    /// Beams to generate with (--task generate)
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = at_least_one)]
    pub beams: usize,
    #[command(flatten)]
    pub lookup: LookupArgs,
    /// Runs to measure, after one that warms up
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = at_least_one)]
    pub repeat: usize,
    /// Prints the figures as one line of JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub model: ModelArgs,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Task {
    Embed,
    Generate,
}

/// A sequence of token ids; a type of its own, because clap takes a `Vec` for an option given repeatedly.
#[derive(Clone)]
pub struct Ids(pub Vec<u32>);

/// A value that is one of a few names.
pub fn choice<T, const N: usize>(choices: [(&'static str, T); N]) -> impl TypedValueParser<Value = T>
where
    T: Copy + Send + Sync + 'static,
{
    let names = PossibleValuesParser::new(choices.map(|(name, _)| name));
    names.try_map(move |given| {
        let found = choices.iter().find(|(name, _)| *name == given);
        found.map(|&(_, value)| value).ok_or("not one of the possible values")
    })
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&n| n > 0).ok_or_else(|| "expected a whole number from 1".into())
}

fn size(text: &str) -> Result<u64, String> {
    let shift = match text.to_ascii_uppercase().bytes().last() {
        Some(b'K') => 10,
        Some(b'M') => 20,
        Some(b'G') => 30,
        _ => 0,
    };
    let number = if shift == 0 { text } else { &text[..text.len() - 1] };
    let bytes = number.parse::<u64>().ok().and_then(|n| n.checked_mul(1 << shift));
    bytes.ok_or_else(|| "expected bytes as a whole number, with K, M or G after it or not".into())
}

/// Ids with commas or spaces between them; a JSON list will do too.
pub fn ids(text: &str) -> Result<Ids, String> {
    let text = text.trim();
    let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    let parts = inner.split([',', ' ', '\t']).filter(|part| !part.is_empty());
    let ids = parts.map(|part| part.parse().map_err(|_| format!("{part:?} is not a token id; expected 101,2023,102")));
    ids.collect::<Result<_, _>>().map(Ids)
}

fn span(text: &str) -> Result<(usize, usize), String> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    match (low.parse(), high.parse()) {
        (Ok(low), Ok(high)) if 0 < low && low <= high => Ok((low, high)),
        _ => Err("expected a number of tokens, or two with - between, the lesser first".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definition_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes() {
        assert_eq!(size("12"), Ok(12));
        assert_eq!(size("3k"), Ok(3 << 10));
        assert_eq!(size("512M"), Ok(512 << 20));
        assert_eq!(size("2G"), Ok(2 << 30));
        for bad in ["", "M", "-1", "1.5G", "12 M", "99999999999G", "é"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn spans_and_ids() {
        assert_eq!(span("128"), Ok((128, 128)));
        assert_eq!(span("8-256"), Ok((8, 256)));
        for bad in ["", "0", "9-8", "8-", "-8", "a-b"] {
            assert!(span(bad).is_err(), "{bad}");
        }
        for good in ["1,2,3", "[1,2,3]", " 1 2\t3 ", "[1, 2, 3]"] {
            assert_eq!(ids(good).map(|ids| ids.0), Ok(vec![1, 2, 3]));
        }
        assert_eq!(ids("").map(|ids| ids.0), Ok(vec![]));
        assert!(ids("1,x").is_err() && ids("-1").is_err());
    }
}
