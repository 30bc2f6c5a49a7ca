//! Tokenisation and detokenisation by Hugging Face's `tokenizers`, run on our threads, with a packed result; and chat templates.

pub mod byte_alphabet;
pub mod chat;
pub mod encoding;
pub mod tokenizer;
