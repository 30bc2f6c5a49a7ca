//! `vocab.txt`: WordPiece, one token per line, as of BERT.

use std::collections::HashMap;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::{Built, MAX_TOKENS, Source, assemble, need, template};
use crate::base::error::{Error, Result};
use crate::text::tokenizer::SpecialTokens;

const FILE: &str = "vocab.txt";

/// Ids by token.
struct Words {
    path: PathBuf,
    ids: HashMap<String, u32>,
}

impl Words {
    fn read(source: &Source) -> Result<Self> {
        let (path, text) = (source.path(FILE), source.text(FILE)?);
        if text.lines().count() > MAX_TOKENS {
            return Err(Error::invalid_file(&path, format!("it has more than {MAX_TOKENS} tokens")));
        }
        let ids = (0..).zip(text.lines()).map(|(id, line)| (line.trim_end().to_owned(), id)).collect();
        Ok(Self { path, ids })
    }

    fn assemble(self, source: &Source, unknown: &str, post: Value) -> Result<Built> {
        let normalizer = json!({
            "type": "BertNormalizer",
            "clean_text": true,
            "handle_chinese_chars": source.flag("tokenize_chinese_chars", true)?,
            "strip_accents": source.flag_opt("strip_accents")?,
            "lowercase": source.flag("do_lower_case", true)?,
        });
        need(&self.path, unknown, self.ids.get(unknown).copied())?;
        let vocabulary: Map<String, Value> = self.ids.into_iter().map(|(token, id)| (token, id.into())).collect();
        let model = json!({
            "type": "WordPiece", "unk_token": unknown, "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
            "vocab": vocabulary,
        });
        let decoder = json!({"type": "WordPiece", "prefix": "##", "cleanup": true});
        assemble(&self.path, [normalizer, json!({"type": "BertPreTokenizer"}), post, decoder, model])
    }
}

/// `[CLS] A [SEP]`, with type ids.
pub fn bert(source: &Source, special: &mut SpecialTokens) -> Result<Built> {
    let words = Words::read(source)?;
    let [unknown, cls, sep] = ["unk_token", "cls_token", "sep_token"].map(|name| special.text(name));
    let (single, pair) = ([&cls, "A", &sep], [(&*cls, 0), ("A", 0), (&sep, 0), ("B", 1), (&sep, 1)]);
    let post = template(&words.path, &single, &pair, |token| words.ids.get(token).copied())?;
    words.assemble(source, &unknown, post)
}

/// `<s> A </s>`, or `<s> A </s></s> B </s>`, without type ids.
pub fn mpnet(source: &Source, special: &mut SpecialTokens) -> Result<Built> {
    let words = Words::read(source)?;
    special.strip_before("mask_token");
    let [unknown, cls, sep] = ["unk_token", "cls_token", "sep_token"].map(|name| special.text(name));
    let id = |token: &str| need(&words.path, token, words.ids.get(token).copied());
    let post = json!({
        "type": "RobertaProcessing", "sep": [sep, id(&sep)?], "cls": [cls, id(&cls)?], "trim_offsets": true, "add_prefix_space": false,
    });
    words.assemble(source, &unknown, post)
}
