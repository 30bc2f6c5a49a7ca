//! Text to token ids and back: Hugging Face's `tokenizers`, run on our threads, and its packed result.

pub mod encoding;
pub mod tokenizer;
