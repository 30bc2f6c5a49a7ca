//! Tokenisation and detokenisation by Hugging Face's `tokenizers`, run on our threads, with a packed result.

pub mod encoding;
pub mod tokenizer;
