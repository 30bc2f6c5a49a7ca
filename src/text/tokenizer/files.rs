//! The files of a tokenizer, read and not yet parsed.

use std::path::PathBuf;

use crate::base::error::Result;
use crate::formats::files::Files;
use crate::formats::json::Config;

use super::fields;
use super::special::SpecialTokens;
use super::vocabulary::{self, Built, Found};

/// The maximum size of `tokenizer.json`; the largest published files have about 40 MB.
const FILE_LIMIT: u64 = 256 << 20;

/// The longest text in bytes, if the load does not say otherwise.
const MAX_TEXT_BYTES: u64 = 256 << 20;

/// The files of a tokenizer.
pub(crate) struct TokenizerFiles {
    /// `tokenizer.json`, or its equivalent; empty if there is none.
    pub json: Vec<u8>,
    /// The path of the file that has the vocabulary, for errors.
    pub(super) path: PathBuf,
    pub(super) unknown: Option<(u32, u32)>,
    /// Why there is no tokenizer, and what helps; empty if there is one.
    pub(super) absent: String,
    pub(super) config: Option<Config>,
    /// Puts texts in lower case first (`do_lower_case` of sentence-transformers).
    pub(super) lower_case: bool,
    pub(super) max_text_bytes: u64,
    pub(super) special: SpecialTokens,
    /// The class of the tokenizer, if tokenizer.json is there, and whether the files name it.
    pub(super) class: Option<(String, bool)>,
}

impl TokenizerFiles {
    /// None means the default.
    pub fn max_text_bytes(self, bytes: Option<u64>) -> Self {
        Self { max_text_bytes: bytes.unwrap_or(MAX_TEXT_BYTES), ..self }
    }

    /// The fields of `tokenizer_config.json` that are not known and not used.
    pub fn unknown_fields(&self) -> Vec<String> {
        self.config.as_ref().map(fields::unknown).unwrap_or_default()
    }

    pub fn lower_case(self, lower_case: bool) -> Self {
        Self { lower_case, ..self }
    }

    pub fn read(files: &Files) -> Result<Self> {
        const FILE: &str = "tokenizer.json";
        let path = files.name(FILE);
        let mut special = SpecialTokens::read(files)?;
        let config = files.config("tokenizer_config.json")?;
        if let Some(config) = &config {
            fields::check(config)?;
        }
        let has_json = files.has(FILE);
        let class = if has_json { vocabulary::class_beside(files, config.as_ref())? } else { None };
        let (json, path, unknown, absent) = match files.bytes(FILE, FILE_LIMIT)? {
            Some(json) => (json, path, None, String::new()),
            None => match vocabulary::build(files, config.as_ref(), &mut special)? {
                Found::Vocabulary(Built { json, path, unknown }) => (json, path, unknown, String::new()),
                Found::Nothing(absent) => (Vec::new(), path, None, absent),
            },
        };
        let max_text_bytes = MAX_TEXT_BYTES;
        Ok(Self { json, path, unknown, absent, config, special, lower_case: false, max_text_bytes, class })
    }
}
