//! The options of each verb. A verb's own options come first: after a group they would be listed under the group's heading.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use clap::builder::TypedValueParser;
use clap_complete::Shell;
use kinglet::{Aggregation, EmbeddingType, Pooling, Precision, Priority, ScoreFunction, ToolFormat};

use crate::args::{ModelArgs, PairArgs, TextArgs};
use crate::generate_args::{GenerationArgs, LookupArgs};
use crate::load_args::Task;
use crate::values::{Ids, at_least_one, choice, ids, milliseconds, rate, resamples, score_function, size, span};

/// Generate text from prompts or source texts
#[derive(Args)]
#[command(after_help = "\
Examples:
  kinglet generate -m gpt2 -p int8 -n 40 --stream 'Once upon a time'
  kinglet generate -m flan-t5-base --num-beams 4 --jsonl question --json < questions.jsonl
  kinglet generate -m SmolLM2.gguf --json-schema person.schema.json 'Invent a person.'")]
pub struct Generate {
    /// Print each text while it is generated
    #[arg(long, conflicts_with_all = ["json", "output_format"])]
    pub stream: bool,
    /// Print each text on one line, with control characters escaped
    #[arg(long, conflicts_with_all = ["stream", "json", "output_format"])]
    pub one_line: bool,
    /// Put TEXT before each prompt; its KV cache is computed once
    #[arg(long, value_name = "TEXT")]
    pub prefix: Option<String>,
    #[command(flatten)]
    pub call: CallArgs,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub input: TextArgs,
    #[command(flatten)]
    pub generation: GenerationArgs,
}

/// Chat interactively
#[derive(Args)]
#[command(after_help = "\
Ctrl-C stops a reply; at the prompt it ends the program, as Ctrl-D does. Without a terminal, each line of standard input is one
message. If a reply calls tools, /tool RESULT answers the calls one after the other.

Examples:
  kinglet chat -m SmolLM2-135M-Instruct.Q4_1.gguf -p int8 -s 'Answer in one sentence.'
  echo 'What is the capital of France?' | kinglet chat -m SmolLM2-135M-Instruct.Q4_1.gguf
  kinglet chat -m Qwen3-0.6B --tools tools.json --messages chat.json --tool-choice required")]
pub struct Chat {
    /// Begin the chat with this system message
    #[arg(short, long, value_name = "TEXT")]
    pub system: Option<String>,
    /// Answer the chat in FILE, a JSON array of messages, once, and print the reply as a JSON message; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["system", "verbose"])]
    pub messages: Option<PathBuf>,
    /// With --messages: print the prompt and generate nothing
    #[arg(long, requires = "messages")]
    pub render: bool,
    /// The functions that the model may call: a JSON array in FILE, as transformers' apply_chat_template takes them
    #[arg(long, value_name = "FILE")]
    pub tools: Option<PathBuf>,
    /// Which tool to call: auto, none, required, or the name of one
    #[arg(long, value_name = "NAME", requires = "tools")]
    pub tool_choice: Option<String>,
    /// How the model writes its calls [default: as the chat template says]
    #[arg(long, value_parser = choice(ToolFormat::ALL.map(|format| (format.name(), format))))]
    pub tool_format: Option<ToolFormat>,
    /// Documents for the chat template: a JSON array in FILE
    #[arg(long, value_name = "FILE")]
    pub documents: Option<PathBuf>,
    /// Further variables of the chat template: a JSON object, for instance '{"enable_thinking": false}'
    #[arg(long, value_name = "JSON")]
    pub template_variables: Option<String>,
    /// Print the size of the KV cache after each reply
    #[arg(short, long)]
    pub verbose: bool,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub generation: GenerationArgs,
}

/// Print the logits of token ids
#[derive(Args)]
#[command(after_help = "\
Example:
  kinglet logits -m gpt2 --ids 464,2159 --json")]
pub struct Logits {
    /// Token ids of the source text or, for a model without an encoder, of the text
    #[arg(long, required = true, value_name = "ID,ID…", value_parser = ids)]
    pub ids: Ids,
    /// Token ids of the decoder, its start token first
    #[arg(long, value_name = "ID,ID…", value_parser = ids)]
    pub decoder_ids: Option<Ids>,
    /// Run one token per step, as generation does
    #[arg(long)]
    pub stepwise: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub model: ModelArgs,
}

/// Convert a model into one .kinglet file, which loads by mapping it
#[derive(Args)]
#[command(after_help = "\
Examples:
  kinglet quantize flan-t5-base flan-t5-base.kinglet
  kinglet quantize all-MiniLM-L6-v2 minilm.kinglet --calibrate queries.jsonl --text-field query")]
pub struct Quantize {
    /// Hugging Face directory or .gguf file to read
    #[arg(value_name = "SRC")]
    pub source: PathBuf,
    /// .kinglet file to write
    #[arg(value_name = "DST")]
    pub destination: PathBuf,
    /// Number format of the weights
    #[arg(short, long, default_value = "int8", value_parser = choice([
        ("int8", Precision::Int8), ("int4", Precision::Int4), ("bf16", Precision::Bf16), ("f16", Precision::F16),
        ("f32", Precision::F32),
    ]))]
    pub precision: Precision,
    /// Texts like those that the model will get, from which factors are chosen that make int8 and int4 more exact: JSON Lines (.jsonl),
    /// or one text per line. 128 of them are used, evenly spaced
    #[arg(long, value_name = "FILE")]
    pub calibrate: Option<PathBuf>,
    /// Field of the JSON Lines that holds the text
    #[arg(long, value_name = "NAME", default_value = "text", requires = "calibrate")]
    pub text_field: String,
    /// Print one JSON object: the size and what calibration chose for each layer
    #[arg(long)]
    pub json: bool,
}

/// What is evaluated.
#[derive(Clone, Copy, PartialEq)]
pub enum EvaluationTask {
    Generate,
    Classify,
    Similarity,
    Retrieval,
    Perplexity,
}

/// Score a model on cases with expected answers, with confidence intervals and latency
#[derive(Args)]
#[command(after_help = "\
Each line of the file is a JSON object with a case. Tasks, their fields (defaults) and figures:
  generate    input, expected: exact match, F1, BLEU, chrF, ROUGE-1, -2, -L and -Lsum
  classify    text, label: accuracy, macro F1
  similarity  sentence1, sentence2, score: Spearman's and Pearson's correlation with the cosine of embeddings
  retrieval   query, relevant (a list of ids, or an object of ids and gains): nDCG@10, MRR, recall@10
  perplexity  text: perplexity over windows of at most 512 tokens

Examples:
  kinglet evaluate -m examples/models/t5-ir.kinglet --limit 100 eval.jsonl
  kinglet evaluate -m gpt2 --task perplexity --against-precision int8 prose.jsonl
  kinglet evaluate -m all-MiniLM-L6-v2 --task retrieval --corpus corpus.jsonl queries.jsonl")]
pub struct Evaluate {
    /// File with one JSON object per line [default: standard input]
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// What to evaluate
    #[arg(long, default_value = "generate", value_parser = choice([
        ("generate", EvaluationTask::Generate), ("classify", EvaluationTask::Classify), ("similarity", EvaluationTask::Similarity),
        ("retrieval", EvaluationTask::Retrieval), ("perplexity", EvaluationTask::Perplexity),
    ]))]
    pub task: EvaluationTask,
    /// Field that holds the input
    #[arg(long, value_name = "FIELD")]
    pub input_field: Option<String>,
    /// Field that holds the second text of a pair
    #[arg(long, value_name = "FIELD")]
    pub pair_field: Option<String>,
    /// Field that holds the expected answer, label, score or documents
    #[arg(long, value_name = "FIELD")]
    pub expected_field: Option<String>,
    /// Documents to retrieve from: one JSON object per line, with id (or _id), text and perhaps title
    #[arg(long, value_name = "FILE")]
    pub corpus: Option<PathBuf>,
    /// Compare with this model on the same cases, by a paired bootstrap test
    #[arg(long, value_name = "PATH")]
    pub against_model: Option<PathBuf>,
    /// Compare with this precision of the model
    #[arg(long, value_name = "PRECISION", value_parser = choice(Precision::ALL.map(|p| (p.name(), p))))]
    pub against_precision: Option<Precision>,
    /// Draw this many bootstrap samples for the 95 % intervals; 0 for none
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = resamples)]
    pub resamples: usize,
    /// Ask this many questions together; latencies are then per batch
    #[arg(short, long, default_value_t = 1, value_name = "N", value_parser = at_least_one)]
    pub batch_size: usize,
    /// Ask only the first N questions
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub limit: Option<usize>,
    /// Write each question and answer to FILE, one JSON object per line
    #[arg(long, value_name = "FILE")]
    pub answers: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub generation: GenerationArgs,
}

/// Embed texts
#[derive(Args)]
#[command(after_help = "\
Examples:
  kinglet embed -m all-MiniLM-L6-v2 'a small bird' 'the quickest of its woods'
  kinglet embed -m bge-small-en -p int8 --jsonl body --json < documents.jsonl
  kinglet embed -m embeddinggemma-300m --prompt-name query --truncate-dim 256 --normalize yes 'where do kinglets nest?'")]
pub struct Embed {
    /// How token vectors are pooled into one vector per text; none prints one line per token [default: the model's own setting]
    #[arg(long, value_parser = choice(Pooling::ALL.map(|p| (p.name(), p))))]
    pub pooling: Option<Pooling>,
    /// Scale vectors to length 1; auto is the model's own setting
    #[arg(long, default_value = "auto", value_parser = choice([
        ("auto", Normalize(None)), ("yes", Normalize(Some(true))), ("no", Normalize(Some(false))),
    ]))]
    pub normalize: Normalize,
    /// Keep only the first N values of each vector [default: the model's own setting, else all]
    #[arg(long, value_name = "N")]
    pub truncate_dim: Option<usize>,
    /// Truncate texts to N tokens, special tokens included
    #[arg(long, value_name = "N")]
    pub max_length: Option<usize>,
    /// Print embeddings in this type; int8 and uint8 take the ranges of all texts of the run, and print when all are read
    #[arg(long = "type", default_value = "float32", value_parser = embedding_type())]
    pub kind: EmbeddingType,
    #[command(flatten)]
    pub prompt: PromptArgs,
    #[command(flatten)]
    pub call: CallArgs,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub input: TextArgs,
}

/// The types of codes that the command line writes and searches.
pub fn embedding_type() -> impl TypedValueParser<Value = EmbeddingType> {
    use EmbeddingType::{Binary, Float32, Int8, Ubinary, Uint8};
    choice([Float32, Int8, Uint8, Binary, Ubinary].map(|kind| (kind.name(), kind)))
}

/// How urgent the calls of a verb are.
#[derive(Args)]
pub struct CallArgs {
    /// How urgent the calls are; it matters where calls share a model, and it names their counters
    #[arg(long, value_name = "NAME", value_parser = choice(Priority::ALL.map(|p| (p.name(), p))))]
    pub priority: Option<Priority>,
    /// End each call after MS milliseconds, waiting included
    #[arg(long = "deadline", value_name = "MS", value_parser = milliseconds)]
    pub limit: Option<Duration>,
}

impl CallArgs {
    /// The end of a call that begins now.
    pub fn deadline(&self) -> Option<Instant> {
        self.limit.map(|limit| Instant::now() + limit)
    }
}

#[derive(Args)]
pub struct PromptArgs {
    /// Put the prompt of this name in the model's config_sentence_transformers.json before each text, or before the first of each pair
    /// [default: its default_prompt_name]
    #[arg(long, value_name = "NAME")]
    pub prompt_name: Option<String>,
    /// Put TEXT there instead; an empty text for no prompt
    #[arg(long, value_name = "TEXT", conflicts_with = "prompt_name")]
    pub prompt: Option<String>,
}

/// `Some` overrules the model's files.
#[derive(Clone, Copy)]
pub struct Normalize(pub Option<bool>);

/// Classify texts, pairs of texts, or the tokens of texts
#[derive(Args)]
#[command(after_help = "\
Examples:
  kinglet classify -m distilbert-sst2 'a fine film' 'a dull film'
  kinglet classify -m ms-marco-MiniLM --score 'what flies?' 'a bird flies' 'what flies?' 'a stone falls'
  kinglet classify -m bert-base-NER --json 'Ada Lovelace lived in London'")]
pub struct Classify {
    /// Score pairs with a cross-encoder: how well the second text answers the first
    #[arg(long)]
    pub score: bool,
    /// Classify tokens (the default for a model with a token classification head)
    #[arg(long, conflicts_with_all = ["score", "pairs", "pair_field"])]
    pub tokens: bool,
    /// Function from logits to scores [default: the model's own setting]
    #[arg(long, value_parser = score_function())]
    pub function: Option<ScoreFunction>,
    /// Print one entity per token, or join neighbouring tokens of one kind [default: simple]
    #[arg(long, conflicts_with_all = ["score", "pairs", "pair_field"], value_parser = choice([
        ("none", Aggregation::None), ("simple", Aggregation::Simple),
    ]))]
    pub aggregation: Option<Aggregation>,
    /// Truncate texts or pairs to N tokens, special tokens included
    #[arg(long, value_name = "N")]
    pub max_length: Option<usize>,
    #[command(flatten)]
    pub prompt: PromptArgs,
    #[command(flatten)]
    pub call: CallArgs,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub input: TextArgs,
    #[command(flatten)]
    pub pair: PairArgs,
}

/// Convert texts to token ids, or ids back to texts
#[derive(Args)]
#[command(after_help = "\
Examples:
  kinglet tokenize -m all-MiniLM-L6-v2 'a small bird'
  kinglet tokenize -m all-MiniLM-L6-v2 --decode '101,1037,2235,4743,102'")]
pub struct Tokenize {
    /// Print where each token is in its text, in bytes
    #[arg(long)]
    pub offsets: bool,
    /// Detokenise: each argument, line or JSON field holds the ids of one text
    #[arg(long, conflicts_with_all = ["offsets", "pairs", "pair_field", "max_length"])]
    pub decode: bool,
    /// Add no special tokens; with --decode, leave them out of the text
    #[arg(long)]
    pub no_special_tokens: bool,
    /// Truncate texts to N tokens, special tokens included [default: the model's limit]
    #[arg(long, value_name = "N")]
    pub max_length: Option<usize>,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub input: TextArgs,
    #[command(flatten)]
    pub pair: PairArgs,
}

/// Show a model's properties and the kernels that would run it
#[derive(Args)]
#[command(after_help = "\
Examples:
  kinglet inspect -m all-MiniLM-L6-v2 -p int8
  kinglet inspect --check -m all-MiniLM-L6-v2")]
pub struct Inspect {
    /// Load the model, try each verb, and print which work, why others do not, and what of the files is not honoured; the exit status is
    /// 1 if none works
    #[arg(long)]
    pub check: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub model: ModelArgs,
}

/// Print the last hidden states of token ids
#[derive(Args)]
#[command(after_help = "\
Example:
  kinglet hidden -m all-MiniLM-L6-v2 --ids 101,2235,4743,102 --json")]
pub struct Hidden {
    /// Token ids of one sequence, special tokens included; repeat for more sequences
    #[arg(long, required = true, value_name = "ID,ID…", value_parser = ids)]
    pub ids: Vec<Ids>,
    /// Token types, one per id; once for each --ids
    #[arg(long, value_name = "TYPE,TYPE…", value_parser = ids)]
    pub type_ids: Vec<Ids>,
    /// Print one JSON object per sequence
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub model: ModelArgs,
}

/// List the devices that models can run on
#[derive(Args)]
pub struct Devices {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// List only devices that need no other library: libkinglet_cuda is not opened
    #[arg(long)]
    pub no_open_libraries: bool,
}

/// Measure speed on random token ids
#[derive(Args)]
#[command(after_help = "\
Examples:
  kinglet bench -m all-MiniLM-L6-v2 -p int8 --batch 32 --input-tokens 128
  kinglet bench -m gpt2 -p int8 --task generate --batch 1 --input-tokens 128 --output-tokens 64")]
pub struct Bench {
    /// Measure this task
    #[arg(long, default_value = "embed", value_name = "TASK", value_parser = choice([
        ("embed", Task::Embed), ("generate", Task::Generate),
    ]))]
    pub task: Task,
    /// Sequences per batch
    #[arg(short, long, default_value_t = 32, value_name = "N", value_parser = at_least_one)]
    pub batch: usize,
    /// Tokens per sequence, or the range that they are drawn from
    #[arg(long, default_value = "128", value_name = "N|LO-HI", value_parser = span)]
    pub input_tokens: (usize, usize),
    /// Tokens to generate, exactly (--task generate)
    #[arg(long, default_value_t = 32, value_name = "N")]
    pub output_tokens: usize,
    /// Beams (--task generate)
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = at_least_one)]
    pub beams: usize,
    #[command(flatten)]
    pub lookup: LookupArgs,
    /// Runs to measure, after one warm-up run
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = at_least_one)]
    pub repeat: usize,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub model: ModelArgs,
}

/// Suggest a batch size for a workload on this machine
#[derive(Args)]
#[command(after_help = "\
A calibration runs the model for some seconds; let nothing else run meanwhile. The suggestion is the smallest size with nearly the best
throughput, within --latency or --memory where one is given. If no size keeps the bound, the exit status is 1. With --sweep the sizes are
also measured, and the report says how much of the best throughput the suggestion reaches.

Examples:
  kinglet suggest-batch-size -m all-MiniLM-L6-v2 -p int8 --input-tokens 40 --input-spread 15
  kinglet suggest-batch-size -m gpt2 -p int8 --input-tokens 128 --output-tokens 64 --latency 2000 --calibration gpt2.json")]
pub struct SuggestBatchSize {
    /// Tokens per input, special tokens included: the mean
    #[arg(long, default_value_t = 128.0, value_name = "X", value_parser = rate)]
    pub input_tokens: f64,
    /// Their standard deviation
    #[arg(long, default_value_t = 0.0, value_name = "X")]
    pub input_spread: f64,
    /// Tokens to generate per input; 0 to embed or classify
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub output_tokens: usize,
    /// Beams per input
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = at_least_one)]
    pub beams: usize,
    /// A batch may take at most MS milliseconds
    #[arg(long, value_name = "MS", value_parser = milliseconds)]
    pub latency: Option<Duration>,
    /// The model may take at most SIZE bytes (suffixes K, M, G)
    #[arg(long, value_name = "SIZE", value_parser = size, conflicts_with = "latency")]
    pub memory: Option<u64>,
    /// Keep the calibration in FILE, and read it from there the next time
    #[arg(long, value_name = "FILE")]
    pub calibration: Option<PathBuf>,
    /// The most time of a calibration
    #[arg(long, default_value_t = 4.0, value_name = "SECONDS", value_parser = rate)]
    pub calibration_time: f64,
    /// Measure nothing: assume costs by the size of the weights
    #[arg(long)]
    pub no_calibration: bool,
    /// Also measure batches of 1, 2, 4, … texts and compare
    #[arg(long)]
    pub sweep: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub model: ModelArgs,
}

/// Print a completion script for a shell
#[derive(Args)]
#[command(after_help = "\
Example:
  kinglet completions bash > ~/.local/share/bash-completion/completions/kinglet")]
pub struct Completions {
    /// The shell
    pub shell: Shell,
}

/// Write the man pages, one per verb
#[derive(Args)]
pub struct Man {
    /// Folder to write to; it is created if it is missing
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
}
