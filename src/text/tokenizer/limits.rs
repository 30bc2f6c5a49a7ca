//! Limits on what a `tokenizer.json` may ask of memory and time. The crate that runs it knows none: normalizers that each make a text
//! longer multiply, and a table of replacements is allocated by the size that it states.

use std::borrow::Cow;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::formats::{base64, charsmap, quoted, shortened};

/// The maximum factor by which the normalizers may make a text longer. Those of published files stay below 10.
const MAX_GROWTH: f64 = 64.0;
/// The maximum length of a regular expression in bytes. The longest published one has about 1,000.
const MAX_EXPRESSION: usize = 16 << 10;
/// The maximum number of normalizers or pre-tokenizers.
const MAX_STEPS: usize = 64;
/// The maximum length of a Unigram piece in bytes: the model looks for pieces at every character of a text.
const MAX_PIECE: usize = 512;

/// The types that the crate reads. Its own error for another one does not say which part it is.
const MODELS: &[&str] = &["BPE", "WordPiece", "WordLevel", "Unigram"];
const NORMALIZERS: &[&str] = &[
    "BertNormalizer",
    "ByteLevel",
    "Lowercase",
    "NFC",
    "NFD",
    "NFKC",
    "NFKD",
    "Nmt",
    "Precompiled",
    "Prepend",
    "Replace",
    "Sequence",
    "Strip",
    "StripAccents",
];
const PRE_TOKENIZERS: &[&str] = &[
    "BertPreTokenizer",
    "ByteLevel",
    "CharDelimiterSplit",
    "Delimiter",
    "Digits",
    "FixedLength",
    "Metaspace",
    "Punctuation",
    "Sequence",
    "Split",
    "UnicodeScripts",
    "Whitespace",
    "WhitespaceSplit",
];
const POST_PROCESSORS: &[&str] =
    &["BertProcessing", "ByteLevel", "RobertaProcessing", "Sequence", "TemplateProcessing"];
const DECODERS: &[&str] = &[
    "BPEDecoder",
    "ByteFallback",
    "ByteLevel",
    "CTC",
    "Fuse",
    "Metaspace",
    "Replace",
    "Sequence",
    "Strip",
    "WordPiece",
];

#[derive(Deserialize)]
struct Parts {
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(default)]
    decoder: Value,
    #[serde(default)]
    model: Model,
}

#[derive(Default, Deserialize)]
struct Model {
    #[serde(default, rename = "type")]
    kind: Value,
    #[serde(default)]
    vocab: LongestPiece,
}

/// The length in bytes of the longest piece of a Unigram vocabulary. The other vocabularies are objects.
#[derive(Default)]
struct LongestPiece(usize);

impl<'de> Deserialize<'de> for LongestPiece {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pieces;
        impl<'de> Visitor<'de> for Pieces {
            type Value = LongestPiece;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a vocabulary")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut pieces: A) -> Result<LongestPiece, A::Error> {
                let mut longest = 0;
                while let Some((piece, IgnoredAny)) = pieces.next_element::<(Cow<str>, IgnoredAny)>()? {
                    longest = longest.max(piece.len());
                }
                Ok(LongestPiece(longest))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut tokens: A) -> Result<LongestPiece, A::Error> {
                while tokens.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(LongestPiece(0))
            }
        }
        deserializer.deserialize_any(Pieces)
    }
}

/// Why a file is refused, by the field. Checked before the crate reads the file: it frees a vocabulary's pieces by one call per byte,
/// which overflows the stack for long ones.
pub fn fault(json: &[u8]) -> Option<String> {
    let Parts { normalizer, pre_tokenizer, post_processor, decoder, model } = match serde_json::from_slice(json) {
        Ok(parts) => parts,
        // What is given twice, too: the crate would use what was not looked at.
        Err(error) => return Some(format!("not a tokenizer: {}", shortened(error))),
    };
    let of_parts = [
        ("normalizer", "normalizers", &normalizer, NORMALIZERS),
        ("pre_tokenizer", "pretokenizers", &pre_tokenizer, PRE_TOKENIZERS),
        ("post_processor", "processors", &post_processor, POST_PROCESSORS),
        ("decoder", "decoders", &decoder, DECODERS),
    ];
    let unknown = |name: &str, kind: &str, known: &[&str]| {
        (!kind.is_empty() && !known.contains(&kind)).then(|| {
            format!(
                "{name}: its type {} is not known; it may be of a later version of tokenizers than 0.23",
                quoted(kind)
            )
        })
    };
    let found = unknown("model", model.kind.as_str().unwrap_or_default(), MODELS).or_else(|| {
        of_parts
            .into_iter()
            .find_map(|(name, list, part, known)| each(part, list, &mut |part| unknown(name, kind(part), known)))
    });
    if found.is_some() {
        return found;
    }
    let LongestPiece(longest) = model.vocab;
    if longest > MAX_PIECE {
        return Some(format!("model: a piece has {longest} bytes; the maximum is {MAX_PIECE}"));
    }
    if let Some(fault) = each(&decoder, "decoders", &mut fault_of_decoder) {
        return Some(format!("decoder: {fault}"));
    }
    let (mut steps, mut growth) = (0, 1.0);
    each(&normalizer, "normalizers", &mut |part| {
        steps += 1;
        growth *= grows(part);
        fault_of_step(part)
    })
    .or_else(|| (steps > MAX_STEPS).then(|| format!("{steps} normalizers; the maximum is {MAX_STEPS}")))
    .or_else(|| {
        let times = format!("they could make a text {growth:.0} times as long; the maximum is {MAX_GROWTH}");
        (growth > MAX_GROWTH).then_some(times)
    })
    .map(|what| format!("normalizer: {what}"))
    .or_else(|| {
        let mut steps = 0;
        each(&pre_tokenizer, "pretokenizers", &mut |part| {
            steps += 1;
            fault_of_step(part)
        })
        .or_else(|| (steps > MAX_STEPS).then(|| format!("{steps} pre-tokenizers; the maximum is {MAX_STEPS}")))
        .map(|what| format!("pre_tokenizer: {what}"))
    })
}

/// Visits the steps of a sequence of sequences and returns the first fault. The recursion is limited: serde_json refuses more than 128
/// levels.
fn each(part: &Value, list: &str, visit: &mut dyn FnMut(&Value) -> Option<String>) -> Option<String> {
    match part.get(list).and_then(Value::as_array) {
        Some(parts) => parts.iter().find_map(|part| each(part, list, visit)),
        None if part.is_null() => None,
        None => visit(part),
    }
}

fn kind(part: &Value) -> &str {
    part.get("type").and_then(Value::as_str).unwrap_or_default()
}

fn text<'a>(part: &'a Value, key: &str) -> Option<&'a str> {
    part.get("pattern").and_then(|pattern| pattern.get(key)).and_then(Value::as_str)
}

fn fault_of_step(part: &Value) -> Option<String> {
    let kind = kind(part);
    if let Some(table) = part.get("precompiled_charsmap").and_then(Value::as_str) {
        let Some(bytes) = base64::decode(table) else { return Some("precompiled_charsmap: not base64".into()) };
        return charsmap::fault(&bytes)
            .map(|fault| format!("precompiled_charsmap: not a table of replacements: {fault}"));
    }
    if text(part, "String").or_else(|| text(part, "Regex")) == Some("") {
        return Some(format!("{}: its pattern is empty", quoted(kind)));
    }
    let length = text(part, "Regex").map_or(0, str::len);
    (length > MAX_EXPRESSION)
        .then(|| format!("{}: a regular expression of {length} bytes; the maximum is {MAX_EXPRESSION}", quoted(kind)))
}

/// Expressions that can backtrack are checked while a text is split ([`super::backtracking`]), but not when tokens are decoded.
fn fault_of_decoder(part: &Value) -> Option<String> {
    let expression = text(part, "Regex").filter(|expression| super::backtracking::may_fail(expression))?;
    fault_of_step(part)
        .or_else(|| Some(format!("{}: the expression {} looks around", quoted(kind(part)), quoted(expression))))
}

/// The factor by which a normalizer may make a text longer, in bytes.
fn grows(part: &Value) -> f64 {
    match kind(part) {
        "Replace" => {
            let content = part.get("content").and_then(Value::as_str).map_or(0, str::len);
            let least = match text(part, "String") {
                Some(pattern) => pattern.len(),
                // An expression that the other crate alone can read counts as one byte.
                None => text(part, "Regex")
                    .and_then(|expression| regex_syntax::parse(expression).ok())
                    .and_then(|expression| expression.properties().minimum_len())
                    .unwrap_or(1),
            };
            // A match of nothing is one insertion per byte.
            f64::max(1.0, if least == 0 { content as f64 + 1.0 } else { content as f64 / least as f64 })
        }
        "ByteLevel" => 2.0,
        // Lower case of İ, and spaces around each ideograph.
        "Lowercase" | "BertNormalizer" => 2.0,
        // The decomposition of U+0390 and of U+FDFA.
        "NFD" | "NFC" => 3.0,
        "NFKD" | "NFKC" => 11.0,
        _ => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::formats::charsmap::tests::table;

    fn replace(pattern: Value, content: &str) -> Value {
        json!({"type": "Replace", "pattern": pattern, "content": content})
    }

    fn sequence(parts: Vec<Value>) -> Value {
        json!({"type": "Sequence", "normalizers": parts})
    }

    fn of(normalizer: Value, pre_tokenizer: Value) -> Option<String> {
        fault(json!({"normalizer": normalizer, "pre_tokenizer": pre_tokenizer}).to_string().as_bytes())
    }

    #[test]
    fn what_asks_for_too_much_is_refused_by_its_field() {
        let sixteen = replace(json!({"String": "a"}), &"a".repeat(16));
        let charsmap = |bytes: &[u8]| json!({"type": "Precompiled", "precompiled_charsmap": base64::encode(bytes)});
        for (normalizer, reason) in [
            (sequence(vec![sixteen.clone(); 12]), "times as long"),
            (sequence(vec![sequence(vec![sixteen.clone(); 2]); 2]), "times as long"),
            (sequence(vec![json!({"type": "ByteLevel"}); 50]), "times as long"),
            (replace(json!({"Regex": "x?"}), &"a".repeat(100)), "times as long"),
            (sequence(vec![json!({"type": "Strip"}); 65]), "65 normalizers"),
            (replace(json!({"String": ""}), "a"), "its pattern is empty"),
            (replace(json!({"Regex": ""}), "a"), "its pattern is empty"),
            (json!({"type": "Precompiled", "precompiled_charsmap": "AAAA////"}), "precompiled_charsmap: not a table"),
            (json!({"type": "Precompiled", "precompiled_charsmap": "?"}), "not base64"),
            (charsmap(&table(3)), "not a table of replacements"),
        ] {
            let fault = of(normalizer.clone(), Value::Null).unwrap_or_default();
            assert!(fault.starts_with("normalizer: ") && fault.contains(reason), "{normalizer}: {fault:?}");
        }
        let split = json!({"type": "Split", "pattern": {"Regex": "(?=a)".repeat(200_000)}, "behavior": "Isolated"});
        let fault = of(Value::Null, split).unwrap_or_default();
        assert!(fault.starts_with("pre_tokenizer: ") && fault.contains("1000000 bytes"), "{fault:?}");
        assert_eq!(of(sequence(vec![sixteen; 1]), Value::Null), None);
        assert_eq!(of(charsmap(&table(0)), Value::Null), None);
        let unigram =
            |length: usize| json!({"model": {"type": "Unigram", "vocab": [["a", 0.0], ["b".repeat(length), -1]]}});
        assert!(super::fault(unigram(2000).to_string().as_bytes()).is_some_and(|fault| fault.contains("2000 bytes")));
        assert_eq!(super::fault(unigram(500).to_string().as_bytes()), None);
        let twice =
            br#"{"normalizer": {"type": "Replace", "pattern": {"String": ""}, "content": ""}, "normalizer": null}"#;
        assert!(super::fault(twice).is_some_and(|fault| fault.contains("duplicate field")));
        let decoder = json!({"decoder": {"type": "Replace", "pattern": {"Regex": "(?<=a)b"}, "content": ""}});
        assert!(
            super::fault(decoder.to_string().as_bytes()).is_some_and(|fault| fault.starts_with("decoder: `Replace`: "))
        );
    }
}
