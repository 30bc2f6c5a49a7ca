//! `source.spm` and `vocab.json`: SentencePiece for the source texts, and the ids of both languages, as of the opus-mt models. Their
//! `target.spm` is not needed, because `vocab.json` has all that is decoded.
//!
//! A piece of the target must not be found in a source text, and a piece that only `source.spm` has is unknown. The tokenizers crate
//! knows one vocabulary, so the former get a mark that no text has, and the latter get ids after all others.

use serde_json::{Value, json};

use super::sentencepiece::{SPACE, metaspace, normalizer, read_unigram};
use super::{Built, MAX_TOKENS, Source, assemble, need, template};
use crate::base::error::{Error, Result};
use crate::formats::quoted;
use crate::formats::sentencepiece::Kind;
use crate::text::tokenizer::SpecialTokens;

const VOCABULARY: &str = "vocab.json";
const SOURCE: &str = "source.spm";

/// Noncharacters of Unicode. The first marks tokens of the target alone, the second stands for the `>>` of a language code, which counts
/// only at the beginning of a text.
const TARGET: char = '\u{10ffff}';
const CODE: char = '\u{10fffe}';

/// `A </s>`.
pub fn marian(source: &Source, special: &mut SpecialTokens) -> Result<Built> {
    let path = source.path(VOCABULARY);
    if source.flag("separate_vocabs", false)? {
        let path = source.path("tokenizer_config.json");
        return Err(Error::unsupported(format!("{}: separate_vocabs is not supported", path.display())));
    }
    let ids = source.ids()?;
    let find = |token: &str| ids.get(token).and_then(Value::as_u64).map(|id| id as u32);
    let size = ids.values().filter_map(Value::as_u64).max().map_or(0, |id| id as usize + 1);
    // Gaps would take memory that the file does not have.
    if size > 2 * ids.len() + 1000 || size > MAX_TOKENS {
        return Err(Error::invalid_file(&path, format!("it has {} tokens, but ids up to {size}", ids.len())));
    }
    let spm = read_unigram(source, SOURCE)?;
    let mut pieces: Vec<(String, f64)> = (0..size).map(|id| (format!("{TARGET}{TARGET}{id}"), 0.0)).collect();
    let named: Vec<String> = special.variables().map(|(_, token)| token.to_owned()).collect();
    for (token, id) in &ids {
        let Some(slot) = id.as_u64().and_then(|id| pieces.get_mut(id as usize)) else { continue };
        let is_code = token.starts_with(">>") && token.ends_with("<<");
        slot.0 = match token.strip_prefix(">>") {
            Some(rest) if is_code => format!("{SPACE}{CODE}{rest}"),
            _ if named.contains(token) => token.clone(),
            _ => format!("{TARGET}{token}"),
        };
    }
    let mut extra = Vec::new();
    for piece in &spm.pieces {
        match piece.kind {
            Kind::Normal => {}
            Kind::UserDefined => {
                let what = format!("the user-defined piece {} is not supported", quoted(&piece.text));
                return Err(Error::unsupported(format!("{}: {what}", source.path(SOURCE).display())));
            }
            _ => continue,
        }
        let entry = (piece.text.clone(), f64::from(piece.score));
        match find(&piece.text).and_then(|id| pieces.get_mut(id as usize)) {
            Some(slot) if !named.contains(&piece.text) => *slot = entry,
            Some(_) => {}
            None => extra.push(entry),
        }
    }
    pieces.extend(extra);
    let [unknown, eos] = ["unk_token", "eos_token"].map(|name| special.text(name));
    let unknown = need(&path, &unknown, find(&unknown))?;
    for name in &named {
        need(&path, name, find(name))?;
    }
    let post = template(&path, &["A", &eos], &[("A", 0), ("B", 0), (&eos, 0)], find)?;
    let code = json!({"type": "Replace", "pattern": {"Regex": "^>>(?=[^<]*<<)"}, "content": CODE.to_string()});
    let steps: Vec<_> = [normalizer(&spm), code].into_iter().filter(|step| !step.is_null()).collect();
    let replace =
        |from: char, to: &str| json!({"type": "Replace", "pattern": {"String": from.to_string()}, "content": to});
    let split = |pattern: Value, behavior: &str| json!({"type": "Split", "pattern": pattern, "behavior": behavior, "invert": false});
    let pre = [
        split(json!({"Regex": format!("^{CODE}[^<]*<<")}), "Isolated"),
        split(json!({"String": " "}), "Removed"),
        metaspace(),
    ];
    // Spaces go at both ends of a text.
    let strip = json!({"type": "Strip", "content": " ", "start": 0, "stop": 1});
    let decoders = [replace(TARGET, ""), replace(CODE, ">>"), metaspace(), json!({"type": "Fuse"}), strip];
    let built = assemble(
        &path,
        [
            json!({"type": "Sequence", "normalizers": steps}),
            json!({"type": "Sequence", "pretokenizers": pre}),
            post,
            json!({"type": "Sequence", "decoders": decoders}),
            json!({"type": "Unigram", "unk_id": unknown, "vocab": pieces, "byte_fallback": false}),
        ],
    )?;
    Ok(Built { unknown: Some((size as u32, unknown)), ..built })
}
