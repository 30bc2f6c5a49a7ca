//! Tokenisation and detokenisation by Hugging Face's `tokenizers`, run on our threads, with a packed result.

pub mod byte_alphabet;
pub mod encoding;
pub mod tokenizer;
