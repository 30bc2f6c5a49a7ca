//! Pre-tokenisation, which splits text into words before byte-level BPE. GGUF names the model family whose rule applies.
//! The regular expressions are from the models' own `tokenizer.json` where llama.cpp approximates them, else as llama.cpp has them.

use serde_json::{Value, json};

use super::metadata::Metadata;
use crate::base::error::{Error, Result};
use crate::formats::quoted;

const KEY: &str = "tokenizer.ggml.pre";

pub(super) struct Splitting {
    pub normalizer: Value,
    pub pre_tokenizer: Value,
    /// Whether a word that is itself a token becomes that token without merges.
    pub ignore_merges: bool,
    pub add_bos: bool,
}

macro_rules! contractions {
    () => {
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    };
}
macro_rules! space {
    () => {
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    };
}
/// As in GPT-4 and Llama 3; the argument says how many digits are one word.
macro_rules! gpt4 {
    ($digits:literal) => {
        concat!(contractions!(), r"|[^\r\n\p{L}\p{N}]?\p{L}+|", $digits, r"| ?[^\s\p{L}\p{N}]+[\r\n]*", space!())
    };
}
/// Capitals, then small letters, each a set of characters; an ending, the digits, and what follows punctuation.
macro_rules! cased {
    ($upper:literal, $lower:literal, $end:expr, $digits:literal, $after:literal) => {
        concat!(
            r"[^\r\n\p{L}\p{N}]?",
            $upper,
            "*",
            $lower,
            "+",
            $end,
            r"|[^\r\n\p{L}\p{N}]?",
            $upper,
            "+",
            $lower,
            "*",
            $end,
            "|",
            $digits,
            r"| ?[^\s\p{L}\p{N}]+",
            $after,
            space!()
        )
    };
    ($end:expr, $digits:literal) => {
        cased!(r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]", $end, $digits, r"[\r\n/]*")
    };
}

const DIGIT: &str = r"\p{N}";
const DIGITS3: &str = r"\p{N}{1,3}";
/// GPT-2's, for rules that have something else after it.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const LLAMA3: &str = gpt4!(r"\p{N}{1,3}");
const QWEN2: &str = gpt4!(r"\p{N}");
const QWEN35: &str =
    concat!(contractions!(), r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*", space!());
const TEKKEN: &str = cased!("", r"\p{N}");
const GPT4O: &str = cased!(concat!(contractions!(), "?"), r"\p{N}{1,3}");
const YOUTU: &str = cased!(concat!(contractions!(), "?"), r"\p{N}");
const KIMI: &str = concat!(
    r"[\p{Han}]+|",
    cased!(
        r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]",
        r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]",
        concat!(contractions!(), "?"),
        r"\p{N}{1,3}",
        r"[\r\n]*"
    )
);
/// Chinese characters, Hiragana and Katakana.
const CHINESE: &str = r"[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+";
/// What DeepSeek's first models take for Chinese, Japanese and Korean.
const ASIAN: &str = r"[\x{4E00}-\x{9FA5}\x{0800}-\x{4E00}\x{AC00}-\x{D7FF}]+";
const DEEPSEEK3: &str = concat!(
    r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"##,
    space!()
);
const SPARK: &str = concat!(
    r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+"##,
    r"|[\r\n]|\s+(?!\S)|\s+"
);
/// A white space before letters that have a case, as Unicode had them.
const CASED_LETTERS: &str = concat!(
    r"\s?[A-Za-z\x{00B5}\x{00C0}-\x{00D6}\x{00D8}-\x{00F6}\x{00F8}-\x{01BA}\x{01BC}-\x{01BF}\x{01C4}-\x{0293}",
    r"\x{0295}-\x{02AF}\x{0370}-\x{0373}\x{0376}\x{0377}\x{037B}-\x{037D}\x{037F}\x{0386}\x{0388}-\x{038A}\x{038C}",
    r"\x{038E}-\x{03A1}\x{03A3}-\x{03F5}\x{03F7}-\x{0481}\x{048A}-\x{052F}\x{0531}-\x{0556}\x{10A0}-\x{10C5}",
    r"\x{13A0}-\x{13F5}\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}",
    r"\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}",
    r"\x{1F5B}\x{1F5D}\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC}",
    r"\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}\x{2102}\x{2107}",
    r"\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124}\x{2126}\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139}",
    r"\x{213C}-\x{213F}\x{2145}-\x{2149}\x{214E}\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}\x{2CEB}-\x{2CEE}",
    r"\x{2CF2}\x{2CF3}\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F}\x{A771}-\x{A787}\x{A78B}-\x{A78E}",
    r"\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}\x{10400}-\x{1044F}",
    r"\x{104B0}-\x{104D3}\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF}",
    r"\x{1E900}-\x{1E943}]+"
);
const BLOOM: &str = r" ?[^(\s|.,!?…。，、।۔،)]+";
const JAIS2: &str = concat!(
    contractions!(),
    r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+",
    r"|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)",
    r"|\s{1,2}(?!\S)|\s{1}"
);
const BAILING: &str = concat!(
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*",
    r"|\s*[\r\n]|\s+(?!\S)|\s+"
);
const SEED: &str = concat!(contractions!(), r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+", space!());
const EXAONE_MOE: &str = concat!(
    contractions!(),
    r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?",
    r"|\s*[\r\n]|\s+(?!\S)|\s+"
);
const UFAKZEKA: &str = concat!(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*", space!());

/// The rule that a file names; GPT-2's if it names none or "default". Fails with Unsupported for an unknown rule: a wrong one
/// would silently give other tokens and worse output. Not here are llama.cpp's rules without byte-level BPE, those of encoders with
/// other special tokens, and those whose expressions take quadratic time (`afmoe`, `superbpe`, `tiny_aya`).
pub(super) fn find(metadata: &Metadata) -> Result<Splitting> {
    let bytes = |use_regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex});
    let plain = |pre_tokenizer: Value| Splitting {
        normalizer: Value::Null,
        pre_tokenizer,
        ignore_merges: false,
        add_bos: false,
    };
    let steps = |patterns: &[&str]| {
        let split = |pattern: &&str| json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
        let all: Vec<Value> = patterns.iter().map(split).chain([bytes(false)]).collect();
        plain(json!({"type": "Sequence", "pretokenizers": all}))
    };
    let whole = |splitting: Splitting| Splitting { ignore_merges: true, ..splitting };
    let name = metadata.text_opt(KEY)?.unwrap_or("default");
    Ok(match name {
        "" | "default" | "gpt-2" | "phi-2" | "mpt" | "olmo" | "jais" | "exaone4" | "trillion" | "granite-docling"
        | "jina-es" | "jina-de" | "jina-v2-es" | "jina-v2-de" | "gigachat" | "a.x-4.0" | "mellum" | "modern-bert" => {
            plain(bytes(true))
        }
        "smollm" | "starcoder" | "refact" | "codeshell" | "exaone" | "minerva-7b" | "command-r" | "mellum2" => {
            let digits = json!({"type": "Digits", "individual_digits": true});
            plain(json!({"type": "Sequence", "pretokenizers": [digits, bytes(true)]}))
        }
        "llama-bpe" | "llama3" | "llama-v3" | "falcon3" | "falcon-h1" | "pixtral" | "midm-2.0" | "lfm2"
        | "jina-v5-nano" => Splitting { add_bos: true, ..whole(steps(&[LLAMA3])) },
        "dbrx" | "smaug-bpe" | "chatglm-bpe" | "glm4" => steps(&[LLAMA3]),
        "qwen2" => Splitting { normalizer: json!({"type": "NFC"}), ..steps(&[QWEN2]) },
        "deepseek-r1-qwen" | "megrez" | "stablelm2" | "hunyuan" | "solar-open" | "kormo" | "f2llmv2" | "grok-2" => {
            steps(&[QWEN2])
        }
        "qwen35" => steps(&[QWEN35]),
        "tekken" => Splitting { add_bos: true, ..whole(steps(&[TEKKEN])) },
        "gpt-4o" | "llama4" | "kanana2" | "talkie" | "minimax-m2" => steps(&[GPT4O]),
        "granite-embed-multi-97m" => whole(steps(&[GPT4O])),
        "kimi-k2" => steps(&[KIMI]),
        "deepseek-llm" => steps(&[
            r"[\r\n]",
            CASED_LETTERS,
            r"\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+",
            r"\s+$",
            ASIAN,
            r"\p{N}+",
        ]),
        "deepseek-coder" => steps(&[r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", ASIAN, DIGIT]),
        "deepseek-v3" | "hunyuan-dense" | "joyai-llm" | "hy_v4" => steps(&[DIGITS3, CHINESE, DEEPSEEK3]),
        "spark2_5" => steps(&[DIGITS3, CHINESE, SPARK, DIGIT]),
        "falcon" => steps(&[r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"]),
        "bloom" | "poro-chat" | "gpt3-finnish" => steps(&[BLOOM]),
        "viking" => steps(&[BLOOM, DIGIT]),
        "chameleon" => Splitting {
            add_bos: true,
            ..steps(&[
                "<sentinel:[0-9]+>",
                "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
                r"([\t\n]|    |  )",
                DIGIT,
                r"[\p{P}!-/:-@\[-`{-~]",
                GPT2,
            ])
        },
        "bailingmoe" | "bailingmoe2" | "llada-moe" => steps(&[BAILING]),
        "seed-coder" => steps(&[SEED]),
        "ufakzeka" => steps(&[UFAKZEKA]),
        "laguna" => steps(&[r"[^\n]+|[\n]+", QWEN2]),
        "exaone-moe" => steps(&[EXAONE_MOE]),
        "minicpm5" => whole(steps(&[DIGITS3, gpt4!(r"\p{N}+")])),
        "youtu" => whole(steps(&[
            r"[\x{AC00}-\x{D7A3}\x{3131}-\x{318E}]+|[！…“”‘’—：；，、-〿︰-﹏]+|[\x{3105}-\x{312F}]+|[\x{4E00}-\x{9FA5}\x{3040}-\x{30FF}]+",
            YOUTU,
        ])),
        "jais-2" => steps(&[JAIS2]),
        other => {
            let (path, other) = (metadata.path().display(), quoted(other));
            let what = format!("the pre-tokenizer {other} (field `{KEY}`) is not supported");
            return Err(Error::unsupported(format!("{path}: {what}")));
        }
    })
}
