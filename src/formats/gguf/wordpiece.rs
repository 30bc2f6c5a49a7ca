//! BERT's WordPiece vocabulary in a GGUF file. llama.cpp's converter marks the tokens that begin a word, where BERT's own vocabulary marks
//! those that continue one.

use serde_json::{Value, json};

use super::metadata::Metadata;
use super::tokenizer::{Model, Parts, Tokenizer};
use super::vocabulary::{self, Kind, Special, Vocabulary, contradiction};
use crate::base::error::Result;
use crate::formats::quoted;

/// Before a token that begins a word: SentencePiece's space.
const BEGINS: &str = "\u{2581}";
/// Before a token that continues a word, in BERT's vocabularies.
const CONTINUES: &str = "##";

/// The ids of `[CLS]`, `[SEP]` and `[MASK]`.
struct Roles {
    cls: u32,
    sep: u32,
    mask: Option<u32>,
}

pub(super) fn read(metadata: &Metadata) -> Result<Tokenizer> {
    let mut vocabulary = Vocabulary::read(metadata)?;
    let named = |key: &str| vocabulary::id(metadata, key, vocabulary.tokens);
    let listed = |name: &str| vocabulary.ids.get(name).copied();
    // The converter's spelling is the first; old files have only the ids of the beginning and the end.
    let sep = match named("tokenizer.ggml.seperator_token_id")? {
        None => named("tokenizer.ggml.separator_token_id")?,
        found => found,
    };
    let cls = named("tokenizer.ggml.cls_token_id")?.or(vocabulary.special.bos).or_else(|| listed("[CLS]"));
    let sep = sep.or(vocabulary.special.eos).or_else(|| listed("[SEP]"));
    let mask = named("tokenizer.ggml.mask_token_id")?.or_else(|| listed("[MASK]"));
    let (Some(cls), Some(sep)) = (cls, sep) else {
        return Err(contradiction(metadata, "it names no [CLS] and no [SEP] token"));
    };
    let found = Special { unknown: listed("[UNK]"), pad: listed("[PAD]"), ..Special::default() };
    vocabulary.assume(found);
    let roles = Roles { cls, sep, mask };
    let tokens = tokens(metadata, &vocabulary)?;
    // No file says so. Vocabularies of lower-cased text have no capital letter in an ordinary token.
    let cased = (0..tokens.len()).any(|id| {
        vocabulary.kinds[id] == Kind::Normal && !in_brackets(&tokens[id]) && tokens[id].chars().any(char::is_uppercase)
    });
    let Some(unknown) = vocabulary.special.unknown else {
        return Err(contradiction(metadata, "it names no unknown token"));
    };
    let post = template(&vocabulary, &roles);
    let model = Model::WordPiece {
        unk_token: vocabulary.text(unknown).to_owned(),
        continuing_subword_prefix: CONTINUES,
        max_input_chars_per_word: 100,
        vocab: tokens
            .iter()
            .enumerate()
            .filter(|(_, token)| !token.is_empty())
            .map(|(id, t)| (t.clone(), id))
            .collect(),
    };
    let parts = Parts {
        normalizer: json!({
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": !cased,
        }),
        pre_tokenizer: json!({"type": "BertPreTokenizer"}),
        decoder: json!({"type": "WordPiece", "prefix": CONTINUES, "cleanup": true}),
        add_bos: false,
        add_eos: false,
        strips_after: &[],
        post: Some(post),
    };
    let mut added = vocabulary.added();
    for id in [Some(roles.cls), Some(roles.sep), roles.mask].into_iter().flatten() {
        vocabulary.add_special(&mut added, id);
    }
    let mut made = parts.assemble(metadata, &vocabulary, added, model)?;
    made.config["cls_token"] = vocabulary.text(roles.cls).into();
    made.config["sep_token"] = vocabulary.text(roles.sep).into();
    if let Some(mask) = roles.mask {
        made.config["mask_token"] = vocabulary.text(mask).into();
    }
    Ok(made)
}

fn in_brackets(token: &str) -> bool {
    token.starts_with('[') && token.ends_with(']')
}

/// The tokens as BERT's vocabulary has them.
fn tokens(metadata: &Metadata, vocabulary: &Vocabulary) -> Result<Vec<String>> {
    let mut seen = std::collections::HashSet::new();
    let mut tokens = Vec::with_capacity(vocabulary.kinds.len());
    for (id, token) in vocabulary.tokens.iter().enumerate() {
        let token = match token.strip_prefix(BEGINS) {
            Some(word) if !word.is_empty() => word.to_owned(),
            _ if token.is_empty() || in_brackets(token) || vocabulary.is_special(id as u32) => token.to_owned(),
            _ => format!("{CONTINUES}{token}"),
        };
        if !token.is_empty() && !seen.insert(token.clone()) {
            return Err(contradiction(metadata, format!("{} is in it twice", quoted(&token))));
        }
        tokens.push(token);
    }
    Ok(tokens)
}

/// `[CLS] A [SEP]`, and for a pair `[CLS] A [SEP] B [SEP]` with the second text and its end of type 1.
fn template(vocabulary: &Vocabulary, roles: &Roles) -> Value {
    let token = |id: u32, type_id: u32| json!({"SpecialToken": {"id": vocabulary.text(id), "type_id": type_id}});
    let text = |id: &str, type_id: u32| json!({"Sequence": {"id": id, "type_id": type_id}});
    let special = |id: u32| json!({"id": vocabulary.text(id), "ids": [id], "tokens": [vocabulary.text(id)]});
    let (cls, sep) = (roles.cls, roles.sep);
    json!({
        "type": "TemplateProcessing",
        "single": [token(cls, 0), text("A", 0), token(sep, 0)],
        "pair": [token(cls, 0), text("A", 0), token(sep, 0), text("B", 1), token(sep, 1)],
        "special_tokens": {vocabulary.text(cls): special(cls), vocabulary.text(sep): special(sep)},
    })
}
