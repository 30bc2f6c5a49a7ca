//! The options of `kinglet fill-mask`, `kinglet sparse-embed` and `kinglet zero-shot`.

use clap::Args;

use crate::args::{CallArgs, ModelArgs, PromptArgs, TextArgs};
use crate::values::at_least_one;

/// Fill the mask tokens in texts with a masked language model
#[derive(Args)]
#[command(after_help = "\
Each token for a mask is a line: its probability, the token, and the text with it. An empty line ends a mask.

Examples:
  kinglet fill-mask -m bert-base-uncased 'Paris is the [MASK] of France.'
  kinglet fill-mask -m xlm-roberta-base --targets bon,beau --json 'Il fait <mask> temps.'")]
pub struct FillMask {
    /// Print this many tokens per mask
    #[arg(short = 'k', long, default_value_t = 5, value_name = "N", value_parser = at_least_one)]
    pub top_k: usize,
    /// Look only at these tokens, with commas between them
    #[arg(long, value_name = "TOKENS", value_delimiter = ',')]
    pub targets: Vec<String>,
    /// Truncate texts to N tokens, special tokens included
    #[arg(long, value_name = "N")]
    pub max_length: Option<usize>,
    #[command(flatten)]
    pub call: CallArgs,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub input: TextArgs,
}

/// Embed texts as weights of tokens of the vocabulary, with a sparse encoder (SPLADE)
#[derive(Args)]
#[command(after_help = "\
A line has the weights of a text, the largest first, as token:weight; with --json the token ids and the weights, by ascending ids. How well
two texts match is the dot product of their weights: the sum over their common tokens. --query prints it.

Examples:
  kinglet sparse-embed -m splade-v3 'a small bird'
  kinglet sparse-embed -m splade-v3 --max-active-dims 64 --json < documents.txt
  kinglet sparse-embed -m splade-v3 --query 'what flies?' 'a stone falls' 'a bird flies'")]
pub struct SparseEmbed {
    /// Keep only the N largest weights of each text [default: the model's own setting, else all]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub max_active_dims: Option<usize>,
    /// Print the dot product with the embedding of this text, and no weights
    #[arg(short, long, value_name = "TEXT")]
    pub query: Option<String>,
    /// Truncate texts to N tokens, special tokens included
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

/// Classify texts by labels of your own, with a model of natural language inference
#[derive(Args)]
#[command(after_help = "\
Each label of a text is a line: its score, the label, and the text; the likeliest first. An empty line ends a text.

Examples:
  kinglet zero-shot -m deberta-v3-base-zeroshot-v2.0 --labels politics,sport 'The match ended 3 to 1.'
  kinglet zero-shot -m bart-large-mnli-onnx --labels urgent,phone --multi-label --json < messages.txt")]
pub struct ZeroShot {
    /// The labels, with commas between them
    #[arg(short, long, required = true, value_name = "LABELS", value_delimiter = ',')]
    pub labels: Vec<String>,
    /// The hypothesis about a label, which takes the place of {} [default: This example is {}.]
    #[arg(long, value_name = "TEXT")]
    pub hypothesis_template: Option<String>,
    /// Let a text have several labels: each score is between 0 and 1 on its own
    #[arg(long)]
    pub multi_label: bool,
    /// Truncate texts to N tokens, a hypothesis and special tokens included
    #[arg(long, value_name = "N")]
    pub max_length: Option<usize>,
    #[command(flatten)]
    pub call: CallArgs,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub input: TextArgs,
}
