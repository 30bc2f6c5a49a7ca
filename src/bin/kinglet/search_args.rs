//! The options of `kinglet search` and `kinglet rerank`.

use std::path::PathBuf;

use clap::Args;
use kinglet::{EmbeddingType, ScoreFunction, Similarity};

use crate::args::{CallArgs, InputFormat, ModelArgs, PromptArgs, TextArgs, embedding_type};
use crate::values::{at_least_one, choice, score_function};

/// Find the texts of a file that are most similar to queries
#[derive(Args)]
#[command(after_help = "\
Each hit is a line: its score, its number in the file (counted from 0), and its text.

Examples:
  kinglet search -m all-MiniLM-L6-v2 --corpus birds.txt 'the quickest of its woods'
  kinglet embed -m bge-small-en --jsonl text --json < documents.jsonl > embedded.jsonl
  kinglet search -m bge-small-en --corpus embedded.jsonl --corpus-format jsonl --type int8 --json < queries.txt")]
pub struct Search {
    /// Search in the texts of this file
    #[arg(long, required = true, value_name = "FILE")]
    pub corpus: PathBuf,
    /// Format of the file: one text per line, or one JSON object per line with text and perhaps embedding, as embed --json prints them
    #[arg(long, default_value = "lines", value_name = "FORMAT", value_parser = choice([
        ("lines", InputFormat::Lines), ("jsonl", InputFormat::Jsonl),
    ]))]
    pub corpus_format: InputFormat,
    /// Put the model's prompt of this name before each text of the file [default: its default_prompt_name]
    #[arg(long, value_name = "NAME")]
    pub corpus_prompt_name: Option<String>,
    /// Put TEXT there instead; an empty text for no prompt
    #[arg(long, value_name = "TEXT", conflicts_with = "corpus_prompt_name")]
    pub corpus_prompt: Option<String>,
    /// Print this many hits per query
    #[arg(short = 'k', long, default_value_t = 10, value_name = "N", value_parser = at_least_one)]
    pub top_k: usize,
    /// What makes embeddings similar [default: cosine; dot for int8 and uint8; hamming for binary types]
    #[arg(long, value_parser = choice(Similarity::ALL.map(|s| (s.name(), s))))]
    pub similarity: Option<Similarity>,
    /// Compare embeddings in this type; hits are then rescored with the query's own values
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

/// Sort documents by how well they answer a query, with a cross-encoder
#[derive(Args)]
#[command(after_help = "\
Each document is a line: its score, its number among the documents (counted from 0), and its text.

Examples:
  kinglet rerank -m ms-marco-MiniLM --query 'what flies?' 'a stone falls' 'a bird flies'
  kinglet rerank -m bge-reranker -p int8 --query 'what flies?' --top-n 3 --json < documents.txt")]
pub struct Rerank {
    /// The query
    #[arg(short, long, required = true, value_name = "TEXT")]
    pub query: String,
    /// Print only the N best documents
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub top_n: Option<usize>,
    /// Function from logits to scores [default: the model's own setting]
    #[arg(long, value_parser = score_function())]
    pub function: Option<ScoreFunction>,
    /// Truncate pairs to N tokens, special tokens included
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
}
