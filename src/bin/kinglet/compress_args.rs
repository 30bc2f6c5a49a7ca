//! The options of `kinglet compress`.

use std::path::PathBuf;

use clap::Args;
use kinglet::{CompressMethod, CompressOptions, CompressUnit};

use crate::args::ModelArgs;
use crate::values::{at_least_one, choice, rate};
use crate::verb_args::CallArgs;

/// Shorten a document: drop the words or sentences that matter least
#[derive(Args)]
#[command(after_help = "\
A token classifier keeps words by the probability of its label (LLMLingua-2), a decoder drops what it expects (Selective Context), and an
embedder keeps sentences that are relevant and new (maximal marginal relevance). Documents of any length are read in windows.

Examples:
  kinglet compress -m llmlingua-2-xlm-roberta-large -p int8 --ratio 4 --force-digits report.txt
  kinglet compress -m all-MiniLM-L6-v2 --max-tokens 500 --query 'where do kinglets nest?' < book.txt
  kinglet compress -m SmolLM2.gguf --ratio 8 --jsonl body --json articles.jsonl")]
#[command(group(clap::ArgGroup::new("budget").required(true).args(["ratio", "max_tokens"])))]
pub struct Compress {
    /// File with the document; - or none reads standard input
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    #[command(flatten)]
    pub compression: CompressionArgs,
    /// Read one JSON object per line, with the document in this field
    #[arg(long, value_name = "FIELD")]
    pub jsonl: Option<String>,
    /// Print one JSON object per document
    #[arg(long)]
    pub json: bool,
    /// Print tokens per second, peak memory, and how much was retained; without --json on standard error
    #[arg(long)]
    pub measure: bool,
    /// With --measure: compare the embeddings of document and result by this model
    #[arg(long, value_name = "PATH", requires = "measure")]
    pub embedder: Option<PathBuf>,
    #[command(flatten)]
    pub call: CallArgs,
    #[command(flatten)]
    pub model: ModelArgs,
}

// How documents are compressed.
#[derive(Args)]
pub struct CompressionArgs {
    /// Keep one token of every R
    #[arg(short, long, value_name = "R", value_parser = rate)]
    pub ratio: Option<f64>,
    /// Keep at most N tokens, as the model's tokenizer counts them
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub max_tokens: Option<usize>,
    /// How words or sentences are scored [default: by the model]
    #[arg(long, value_name = "METHOD", value_parser = choice(CompressMethod::ALL.map(|m| (m.name(), m))))]
    pub method: Option<CompressMethod>,
    /// What is kept or dropped as a whole [default: word for a token classifier, else sentence]
    #[arg(long, value_name = "UNIT", value_parser = choice(CompressUnit::ALL.map(|u| (u.name(), u))))]
    pub unit: Option<CompressUnit>,
    /// Keep sentences that are relevant to TEXT, and not to the whole document (sentence_embeddings)
    #[arg(long, value_name = "TEXT")]
    pub query: Option<String>,
    /// How much relevance counts, from above 0 to 1; novelty has the rest (sentence_embeddings) [default: 0.7]
    #[arg(long, value_name = "X")]
    pub relevance: Option<f32>,
    /// The label of tokens to keep (token_classifier) [default: the one that is named so, else the second of two]
    #[arg(long, value_name = "LABEL")]
    pub keep_label: Option<String>,
    /// Let the model read N tokens at once, special tokens included [default: as many as it takes, at most 2048]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub window: Option<usize>,
    /// Let windows share N tokens [default: an eighth of a window]
    #[arg(long, value_name = "N")]
    pub overlap: Option<usize>,
    /// Keep what has a digit
    #[arg(long)]
    pub force_digits: bool,
    /// Keep words that begin with a capital letter and are not the first of a sentence
    #[arg(long)]
    pub force_capitalized: bool,
    /// Keep this word, or these words in sequence, wherever they are; repeat for more
    #[arg(long = "force-token", value_name = "TEXT")]
    pub force_tokens: Vec<String>,
}

impl CompressionArgs {
    pub fn options(&self) -> CompressOptions {
        CompressOptions {
            ratio: self.ratio,
            max_tokens: self.max_tokens,
            method: self.method,
            unit: self.unit,
            query: self.query.clone(),
            relevance: self.relevance,
            keep_label: self.keep_label.clone(),
            window: self.window,
            overlap: self.overlap,
            force_digits: self.force_digits,
            force_capitalized: self.force_capitalized,
            force_tokens: self.force_tokens.clone(),
            ..CompressOptions::default()
        }
    }
}
