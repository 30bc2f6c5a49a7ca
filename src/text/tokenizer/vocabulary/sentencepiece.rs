//! `spiece.model`, `sentencepiece.bpe.model` and `tokenizer.model`: SentencePiece, whose ids each class moves in its own way.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokenizers::AddedToken;

use super::byte_level::surround;
use super::{Built, Source, assemble, need, template};
use crate::base::error::{Error, Result};
use crate::formats::sentencepiece::{Algorithm, Kind, Vocabulary};
use crate::formats::{base64, quoted};
use crate::text::tokenizer::SpecialTokens;

/// SentencePiece's character for a space.
pub const SPACE: &str = "\u{2581}";

/// The maximum of `extra_ids`.
const MAX_EXTRA: usize = 10_000;

const MBART: [&str; 25] = [
    "ar_AR", "cs_CZ", "de_DE", "en_XX", "es_XX", "et_EE", "fi_FI", "fr_XX", "gu_IN", "hi_IN", "it_IT", "ja_XX",
    "kk_KZ", "ko_KR", "lt_LT", "lv_LV", "my_MM", "ne_NP", "nl_XX", "ro_RO", "ru_RU", "si_LK", "tr_TR", "vi_VN",
    "zh_CN",
];

/// The languages that mBART-50 has beside those.
const MBART50: [&str; 27] = [
    "af_ZA", "az_AZ", "bn_IN", "fa_IR", "he_IL", "hr_HR", "id_ID", "ka_GE", "km_KH", "mk_MK", "ml_IN", "mn_MN",
    "mr_IN", "pl_PL", "ps_AF", "pt_XX", "sv_SE", "sw_KE", "ta_IN", "te_IN", "th_TH", "tl_XX", "uk_UA", "ur_PK",
    "xh_ZA", "gl_ES", "sl_SI",
];

/// A unigram vocabulary: tokens and their log-probabilities by id.
struct Unigram {
    path: PathBuf,
    normalizer: Value,
    pieces: Vec<(String, f64)>,
    ids: HashMap<String, u32>,
}

/// Reads a file, and refuses what the classes of unigram vocabularies do not do.
pub fn read_unigram(source: &Source, file: &str) -> Result<Vocabulary> {
    let path = source.path(file);
    let found = Vocabulary::parse(&path, &source.bytes(file)?)?;
    let refused = [
        (found.algorithm != Algorithm::Unigram, "a model_type other than unigram"),
        (found.byte_fallback, "byte_fallback"),
        (found.space_is_suffix, "treat_whitespace_as_suffix"),
        (!found.adds_prefix, "add_dummy_prefix false"),
        (!found.removes_spaces, "remove_extra_whitespaces false"),
    ];
    match refused.iter().find(|(refused, _)| *refused) {
        Some((_, what)) => {
            Err(Error::unsupported(format!("{}: {what} is not supported in this class of tokenizer", path.display())))
        }
        None => Ok(found),
    }
}

pub fn normalizer(vocabulary: &Vocabulary) -> Value {
    match vocabulary.charsmap.as_slice() {
        [] => Value::Null,
        table => json!({"type": "Precompiled", "precompiled_charsmap": base64::encode(table)}),
    }
}

/// Matches control and user-defined pieces in the text before it is split, as transformers does.
fn add_pieces(vocabulary: &Vocabulary, special: &mut SpecialTokens) {
    for piece in &vocabulary.pieces {
        if matches!(piece.kind, Kind::Control | Kind::UserDefined) {
            special.add(AddedToken::from(&*piece.text, piece.kind == Kind::Control).normalized(false));
        }
    }
}

pub fn metaspace() -> Value {
    json!({"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "always", "split": true})
}

impl Unigram {
    /// The pieces of `file` from `skipped` on, after `first` and before `last`.
    fn read(
        source: &Source,
        special: &mut SpecialTokens,
        file: &str,
        [first, last]: [&[(&str, f64)]; 2],
        skipped: usize,
    ) -> Result<Self> {
        let path = source.path(file);
        let vocabulary = read_unigram(source, file)?;
        add_pieces(&vocabulary, special);
        let normalizer = normalizer(&vocabulary);
        let owned = |&(token, score): &(&str, f64)| (token.to_owned(), score);
        let own = vocabulary.pieces.into_iter().skip(skipped).map(|piece| (piece.text, f64::from(piece.score)));
        let pieces: Vec<_> = first.iter().map(owned).chain(own).chain(last.iter().map(owned)).collect();
        let mut ids = HashMap::with_capacity(pieces.len());
        for (id, (token, _)) in (0..).zip(&pieces) {
            if ids.insert(token.clone(), id).is_some() {
                return Err(Error::invalid_file(&path, format!("the token {} would appear twice", quoted(token))));
            }
        }
        Ok(Self { path, normalizer, pieces, ids })
    }

    fn template(&self, single: &[&str], pair: &[&str]) -> Result<Value> {
        let pair: Vec<_> = pair.iter().map(|part| (*part, 0)).collect();
        template(&self.path, single, &pair, |token| self.ids.get(token).copied())
    }

    /// Words are split at white space, and each begins with a space.
    fn by_words(self, unknown: &str, post: Value) -> Result<Built> {
        let pre = json!({"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace()]});
        self.assemble(pre, unknown, post)
    }

    fn assemble(self, pre: Value, unknown: &str, post: Value) -> Result<Built> {
        let unknown = need(&self.path, unknown, self.ids.get(unknown).copied())?;
        let model = json!({"type": "Unigram", "unk_id": unknown, "vocab": self.pieces, "byte_fallback": false});
        assemble(&self.path, [self.normalizer, pre, post, metaspace(), model])
    }
}

/// `A </s>`; tokens for omitted spans, `extra_ids` of them, come last.
pub fn t5(source: &Source, special: &mut SpecialTokens) -> Result<Built> {
    let count = source.config.map_or(Ok(100), |config| config.usize_or("extra_ids", 100))?;
    if let Some(config) = source.config.filter(|_| count > MAX_EXTRA) {
        return Err(config.invalid("extra_ids", format!("is {count}; at most {MAX_EXTRA} are supported")));
    }
    let names: Vec<String> = (0..count).rev().map(|i| format!("<extra_id_{i}>")).collect();
    let last: Vec<_> = names.iter().map(|name| (name.as_str(), 0.0)).collect();
    let unigram = Unigram::read(source, special, "spiece.model", [&[], &last], 0)?;
    for name in &names {
        special.add(AddedToken::from(&**name, true));
    }
    let [unknown, eos] = ["unk_token", "eos_token"].map(|name| special.text(name));
    let post = unigram.template(&["A", &eos], &["A", &eos, "B", &eos])?;
    unigram.by_words(&unknown, post)
}

/// The first four tokens are fairseq's, which replace the first three pieces; more follow the pieces.
fn fairseq(source: &Source, special: &mut SpecialTokens, languages: &[&str]) -> Result<Unigram> {
    let names = ["cls_token", "pad_token", "eos_token", "unk_token", "mask_token"].map(|name| special.text(name));
    let [first @ .., mask] = &names;
    let first: Vec<_> = first.iter().map(|token| (token.as_str(), 0.0)).collect();
    let last: Vec<_> = languages.iter().copied().chain([mask.as_str()]).map(|token| (token, 0.0)).collect();
    let unigram = Unigram::read(source, special, "sentencepiece.bpe.model", [&first, &last], 3)?;
    for language in languages {
        special.add(AddedToken::from(*language, true));
    }
    Ok(unigram)
}

/// `<s> A </s>`, or `<s> A </s></s> B </s>`.
pub fn xlm_roberta(source: &Source, special: &mut SpecialTokens) -> Result<Built> {
    let unigram = fairseq(source, special, &[])?;
    let [bos, eos, unknown] = ["bos_token", "eos_token", "unk_token"].map(|name| special.text(name));
    let post = unigram.template(&[&bos, "A", &eos], &[&bos, "A", &eos, &eos, "B", &eos])?;
    unigram.by_words(&unknown, post)
}

/// As [`xlm_roberta`], but the vocabulary has `<s>` and `</s>` among its pieces.
pub fn camembert(source: &Source, special: &mut SpecialTokens) -> Result<Built> {
    special.strip_before("mask_token");
    let names = ["bos_token", "eos_token", "pad_token", "unk_token", "mask_token"].map(|name| special.text(name));
    let [bos, eos, pad, unknown, mask] = names.each_ref().map(String::as_str);
    let first = [("<s>NOTUSED", 0.0), (pad, 0.0), ("</s>NOTUSED", 0.0), (unknown, 0.0), ("<unk>NOTUSED", -100.0)];
    let unigram = Unigram::read(source, special, "sentencepiece.bpe.model", [&first, &[(mask, 0.0)]], 1)?;
    let post = unigram.template(&[bos, "A", eos], &[bos, "A", eos, eos, "B", eos])?;
    unigram.by_words(unknown, post)
}

/// The code of the language of texts to translate.
fn language(source: &Source, path: &Path, ids: &HashMap<String, u32>) -> Result<String> {
    let name = source.name("src_lang")?.unwrap_or("en_XX");
    need(path, name, ids.get(name).copied())?;
    Ok(name.to_owned())
}

/// `A </s> en_XX`.
pub fn mbart(source: &Source, special: &mut SpecialTokens) -> Result<Built> {
    special.strip_before("mask_token");
    let unigram = fairseq(source, special, &MBART)?;
    let [eos, unknown] = ["eos_token", "unk_token"].map(|name| special.text(name));
    let code = language(source, &unigram.path, &unigram.ids)?;
    let post = unigram.template(&["A", &eos, &code], &["A", "B", &eos, &code])?;
    unigram.by_words(&unknown, post)
}

/// `en_XX A </s>`; spaces are merged, but those at the ends stay.
pub fn mbart50(source: &Source, special: &mut SpecialTokens) -> Result<Built> {
    special.strip_before("mask_token");
    let mut unigram = fairseq(source, special, &[&MBART[..], &MBART50].concat())?;
    let [eos, unknown] = ["eos_token", "unk_token"].map(|name| special.text(name));
    let code = language(source, &unigram.path, &unigram.ids)?;
    let post = unigram.template(&[&code, "A", &eos], &[&code, "A", "B", &eos])?;
    let merge = json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "});
    let steps: Vec<_> = [unigram.normalizer.take(), merge].into_iter().filter(|step| !step.is_null()).collect();
    unigram.normalizer = json!({"type": "Sequence", "normalizers": steps});
    unigram.assemble(metaspace(), &unknown, post)
}

/// Llama 2's BPE of characters, with tokens of bytes for the rest.
pub fn llama(source: &Source, special: &mut SpecialTokens) -> Result<Built> {
    const FILE: &str = "tokenizer.model";
    let path = source.path(FILE);
    let vocabulary = Vocabulary::parse(&path, &source.bytes(FILE)?)?;
    if vocabulary.algorithm != Algorithm::Bpe || !vocabulary.charsmap.is_empty() {
        let what = "only BPE without a table of replacements is supported in this class of tokenizer";
        return Err(Error::unsupported(format!("{}: {what}", path.display())));
    }
    add_pieces(&vocabulary, special);
    let ids: HashMap<&str, u32> = (0..).zip(&vocabulary.pieces).map(|(id, piece)| (piece.text.as_str(), id)).collect();
    let merges = merges(&path, &vocabulary, &ids)?;
    let prefix = source.flag("add_prefix_space", true)?;
    let scheme = match (prefix, source.flag("legacy", false)?) {
        (false, _) => "never",
        (true, true) => "always",
        (true, false) => "first",
    };
    let pre = json!({"type": "Metaspace", "replacement": SPACE, "prepend_scheme": scheme, "split": false});
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if prefix {
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    let post = surround(source, special, &path, |token| ids.get(token).copied())?;
    let model = json!({
        "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
        "fuse_unk": true, "byte_fallback": true, "ignore_merges": false, "vocab": ids, "merges": merges,
    });
    assemble(&path, [Value::Null, pre, post, json!({"type": "Sequence", "decoders": decoders}), model])
}

/// Every way to make a piece of two others, by the id of the piece, then by the length of the first.
fn merges<'a>(path: &Path, vocabulary: &'a Vocabulary, ids: &HashMap<&str, u32>) -> Result<Vec<[&'a str; 2]>> {
    /// Longer pieces, in bytes, get no merges; published ones have up to 48.
    const LONGEST: usize = 256;
    /// The maximum number of merges per piece, on average. Published vocabularies have two or three.
    const MOST: usize = 16;
    let mut merges = Vec::new();
    for piece in vocabulary.pieces.iter().filter(|piece| piece.text.len() <= LONGEST) {
        for (at, _) in piece.text.char_indices().skip(1) {
            let (left, right) = piece.text.split_at(at);
            if ids.contains_key(left) && ids.contains_key(right) {
                merges.push([left, right]);
            }
        }
        if merges.len() / MOST > vocabulary.pieces.len() {
            return Err(Error::invalid_file(path, "its pieces have implausibly many merges"));
        }
    }
    Ok(merges)
}
