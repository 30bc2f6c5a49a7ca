//! Constrained decoding: output that matches a JSON schema, a regular expression or a Lark grammar. Before each token the logits of
//! tokens that cannot continue the text are set to -∞. Parsing is llguidance's; the vocabulary comes from the tokenizer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use llguidance::api::{GrammarInit, GrammarWithLexer, ParserLimits, TopLevelGrammar};
use llguidance::earley::SlicedBiasComputer;
use llguidance::earley::lexerspec::LexerSpec;
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie};
use llguidance::{JsonCompileOptions, Matcher, ParserFactory, TokenParser};
use serde_json::{Deserializer, Value};
use tokenizers::Tokenizer;

use crate::base::error::{Error, Result};
use crate::base::panics::guarded;
use crate::formats::shortened;

mod intersections;
mod schema;

/// The maximum length of a grammar's source, in bytes.
const MAX_SOURCE: usize = 256 << 10;
/// The maximum vocabulary size; the token trie can number four times as many.
const MAX_VOCABULARY: usize = 1 << 20;
/// The maximum size of all tokens in the trie, in bytes.
const MAX_TOKEN_BYTES: usize = 1 << 22;
/// The maximum length of a token in bytes. Longer ones, mostly runs of spaces, are never allowed.
const MAX_TOKEN: usize = 512;
/// The stack size of the thread that compiles a grammar. The compiler recurses over nested rules, of which the longest source has some
/// ten thousand; only touched pages take memory.
const COMPILER_STACK: usize = 256 << 20;

/// The maximum of the sum, over a schema's objects, of the squared number of properties, to which the compile time is proportional:
/// 2,000 properties in one object take half a second.
const MAX_PROPERTIES_SQUARED: usize = 2000 * 2000;

/// The maximum number of Unicode classes (`\w`, `\p{…}` and the like) in a source: each takes 7 KB and some 15 µs.
const MAX_UNICODE_CLASSES: usize = 10_000;

/// The whitespace between the parts of JSON: enough for lines with indentation, but limited, because models can get stuck in endless
/// whitespace.
const WHITESPACE: &str = r"[\x20\x0A\x0D\x09]{1,32}";

/// A constraint on the output. Sources may come from untrusted users: size and compile time are limited.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Grammar {
    /// A JSON schema: the output is JSON that satisfies it.
    JsonSchema(String),
    /// A regular expression that the whole output matches.
    Regex(String),
    /// A grammar in llguidance's variant of Lark, whose first rule is `start`.
    Lark(String),
}

impl Grammar {
    fn kind(&self) -> &'static str {
        match self {
            Self::JsonSchema(_) => "JSON schema",
            Self::Regex(_) => "regular expression",
            Self::Lark(_) => "Lark grammar",
        }
    }

    fn source(&self) -> &str {
        match self {
            Self::JsonSchema(source) | Self::Regex(source) | Self::Lark(source) => source,
        }
    }

    fn error(&self, what: impl std::fmt::Display) -> Error {
        Error::invalid_argument(format!(
            "grammar: the {} cannot be used: {}",
            self.kind(),
            shortened(first_lines(what))
        ))
    }

    fn parsed(&self) -> Result<GrammarWithLexer> {
        Ok(match self {
            Self::JsonSchema(source) => {
                let mut schema: Value = serde_json::from_str(source).map_err(|e| self.error(e))?;
                schema::rewrite(&mut schema);
                self.check_schema(&schema)?;
                match schema.as_object_mut().map(|schema| schema.get_mut("x-guidance")) {
                    // llguidance's options within the schema.
                    Some(Some(options)) => {
                        if let Some(options) = options.as_object_mut() {
                            options.entry("whitespace_pattern").or_insert_with(|| WHITESPACE.into());
                        }
                    }
                    Some(None) => {
                        let whitespace_pattern = Some(WHITESPACE.to_owned());
                        JsonCompileOptions { whitespace_pattern, ..Default::default() }.apply_to(&mut schema);
                    }
                    None => {}
                }
                GrammarWithLexer::from_json_schema(schema)
            }
            Self::Regex(source) => match without_anchors(source) {
                "" => GrammarWithLexer::from_lark("start: \"\"".into()),
                source => GrammarWithLexer::from_regex(source),
            },
            Self::Lark(source) => {
                // A grammar may contain schemas: `%json {…}`.
                for (at, keyword) in source.match_indices("%json") {
                    let after = &source[at + keyword.len()..];
                    if let Some(Ok(schema)) = Deserializer::from_str(after).into_iter::<Value>().next() {
                        self.check_schema(&schema)?;
                    }
                }
                intersections::check_lark(source).map_err(|what| self.error(what))?;
                GrammarWithLexer::from_lark(source.clone())
            }
        })
    }

    fn check_schema(&self, schema: &Value) -> Result<()> {
        // The recursion is limited: serde_json refuses more than 128 levels.
        fn squares(value: &Value) -> usize {
            match value {
                Value::Array(items) => items.iter().map(squares).sum(),
                Value::Object(object) => object.len() * object.len() + object.values().map(squares).sum::<usize>(),
                _ => 0,
            }
        }
        if squares(schema) > MAX_PROPERTIES_SQUARED {
            return Err(self.error("its objects have too many properties"));
        }
        intersections::check_schema(schema).map_err(|what| self.error(what))
    }
}

/// A model's vocabulary as bytes: built once per model and shared by its calls.
pub struct GrammarVocabulary {
    factory: ParserFactory,
    size: usize,
    /// Whether the decoder drops a space at the beginning of a text. The output may then begin with a token that has one.
    drops_first_space: bool,
}

impl GrammarVocabulary {
    /// `vocabulary_size` is the number of logits; tokens of the tokenizer beyond it are ignored. `eos` are the end tokens.
    pub fn new(tokenizer: &Tokenizer, vocabulary_size: usize, eos: &[u32]) -> Result<Self> {
        if vocabulary_size == 0 || vocabulary_size > MAX_VOCABULARY {
            let what = format!("a vocabulary of {vocabulary_size} tokens; from 1 to {MAX_VOCABULARY} are supported");
            return Err(Error::unsupported(what));
        }
        let Some(&first_eos) = eos.first() else {
            return Err(Error::unsupported("grammar: constrained decoding needs an end token, and the model has none"));
        };
        if let Some(token) = eos.iter().find(|token| **token as usize >= vocabulary_size) {
            let what = format!("the end token {token} is not in the vocabulary of {vocabulary_size} tokens");
            return Err(Error::invalid_argument(what));
        }
        let spelling = Spelling::of(tokenizer)?;
        let words = words(tokenizer, &spelling, vocabulary_size, eos)?;
        let info = TokRxInfo::new(vocabulary_size as u32, first_eos);
        let trie = TokTrie::from(&info, &words).with_eos_tokens(eos);
        let environment: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let mut factory =
            ParserFactory::new(&environment, InferenceCapabilities::default(), &SlicedBiasComputer::general_slices())
                .map_err(|e| Error::internal(format!("the vocabulary cannot be indexed: {}", first_lines(e))))?;
        factory.quiet();
        *factory.limits_mut() = limits();
        Ok(Self { factory, size: vocabulary_size, drops_first_space: spelling.drops_first_space })
    }

    /// The state before the first token. `cancelled` is read between the stages and between the bytes that are tried; each stage has a
    /// limit on its work.
    pub fn constraint(&self, grammar: &Grammar, cancelled: Option<&AtomicBool>) -> Result<Constraint> {
        let length = grammar.source().len();
        if length > MAX_SOURCE {
            return Err(grammar.error(format!("it has {length} bytes, and at most {MAX_SOURCE} are accepted")));
        }
        let classes = grammar.source().as_bytes().windows(2);
        if classes.filter(|pair| matches!(pair, [b'\\', b'w' | b'W' | b'p' | b'P'])).count() > MAX_UNICODE_CLASSES {
            return Err(grammar.error(format!("it has more than {MAX_UNICODE_CLASSES} Unicode classes such as \\w")));
        }
        let parser = thread::scope(|scope| {
            let compiler = thread::Builder::new().name("kinglet-grammar".into()).stack_size(COMPILER_STACK);
            let compiled = compiler.spawn_scoped(scope, || guarded(|| self.compile(grammar, cancelled)));
            compiled.map(|thread| thread.join().and_then(|outcome| outcome))
        });
        let matcher = match parser {
            Ok(Ok(Ok(parser))) => Matcher::new(Ok(parser)),
            Ok(Ok(Err(error))) => return Err(error),
            Ok(Err(_)) => return Err(grammar.error("its compiler failed")),
            Err(e) => return Err(Error::out_of_memory(format!("no thread for the compiler of grammars: {e}"))),
        };
        match matcher.get_error() {
            Some(what) => Err(grammar.error(what)),
            None => Ok(Constraint { matcher, size: self.size }),
        }
    }

    fn compile(&self, grammar: &Grammar, cancelled: Option<&AtomicBool>) -> Result<TokenParser> {
        let mut inner = grammar.parsed()?;
        let mut grammars = Vec::new();
        if self.drops_first_space {
            inner.name = Some("answer".into());
            grammars.push(GrammarWithLexer::from_lark("start: \" \"? @answer".into()));
        }
        grammars.push(inner);
        let grammars = TopLevelGrammar { grammars, max_tokens: None };
        let (limits, environment) = (self.factory.limits().clone(), self.factory.tok_env().clone());
        let rules = GrammarInit::Serialized(grammars).to_internal(Some(environment), limits);
        let (rules, lexemes) = rules.map_err(|e| grammar.error(e))?;
        self.try_first_bytes(grammar, &lexemes, cancelled)?;
        let parser = self.factory.create_parser_from_init_default(GrammarInit::Internal(rules, lexemes));
        parser.map_err(|e| grammar.error(e))
    }

    /// Tries all first bytes with a limit on the work. llguidance limits the work for each byte except the first, which it tries while
    /// it builds a parser: an intersection of two small expressions can take hours there.
    fn try_first_bytes(&self, grammar: &Grammar, lexemes: &LexerSpec, cancelled: Option<&AtomicBool>) -> Result<()> {
        let check = || match cancelled.is_some_and(|cancelled| cancelled.load(Ordering::Relaxed)) {
            true => Err(Error::cancelled()),
            false => Ok(()),
        };
        check()?;
        let mut limits = self.factory.limits().clone();
        let mut lexemes = lexemes.clone();
        lexemes.add_extra_lexemes(&self.factory.extra_lexemes());
        let mut automaton = lexemes.to_regex_vec(&mut limits).map_err(|e| grammar.error(e))?;
        automaton.set_fuel(limits.initial_lexer_fuel.max(1));
        automaton.set_max_states(limits.max_lexer_states);
        let start = automaton.initial_state(&lexemes.all_lexemes());
        for byte in 0..=u8::MAX {
            check()?;
            automaton.transition(start, byte);
            if automaton.has_error() {
                return Err(grammar.error("finding the possible first bytes takes too much work"));
            }
        }
        Ok(())
    }
}

/// The parser's state for one sequence. Clones are independent.
#[derive(Clone)]
pub struct Constraint {
    matcher: Matcher,
    size: usize,
}

impl Constraint {
    /// Sets the logits of forbidden tokens to -∞, including padding beyond the vocabulary.
    pub fn mask(&mut self, logits: &mut [f32]) -> Result<()> {
        if logits.len() < self.size {
            let what = format!("{} logits for a vocabulary of {} tokens", logits.len(), self.size);
            return Err(Error::internal(what));
        }
        let allowed = self.matcher.compute_mask_or_eos().map_err(stuck)?;
        let bits = allowed.as_slice();
        for (i, block) in logits.chunks_mut(32).enumerate() {
            let mut word = bits.get(i).copied().unwrap_or(0);
            // The last word's bits beyond the vocabulary are undefined.
            let left = self.size.saturating_sub(i * 32);
            if left < 32 {
                word &= (1 << left) - 1;
            }
            if word == u32::MAX {
                continue;
            }
            for (bit, logit) in block.iter_mut().enumerate() {
                if word >> bit & 1 == 0 {
                    *logit = f32::NEG_INFINITY;
                }
            }
        }
        Ok(())
    }

    /// Advances by the chosen token, which [`Constraint::mask`] must have left.
    pub fn accept(&mut self, token: u32) -> Result<()> {
        if self.is_finished() && self.is_end(token) {
            return Ok(());
        }
        self.matcher.consume_token(token).map_err(stuck)
    }

    /// Whether only an end token may follow.
    pub fn is_finished(&self) -> bool {
        self.matcher.is_stopped() && !self.matcher.is_error()
    }

    /// Whether the text so far is a complete match.
    #[cfg(test)]
    fn may_end(&mut self) -> bool {
        self.is_finished() || self.matcher.is_accepting().unwrap_or(false)
    }

    fn is_end(&self, token: u32) -> bool {
        self.matcher.tok_env().is_ok_and(|environment| environment.tok_trie().eos_tokens().contains(&token))
    }
}

fn stuck(what: impl std::fmt::Display) -> Error {
    let what = match first_lines(what).as_str() {
        "NoExtensionBias" => "no token of the vocabulary may follow".to_owned(),
        what => shortened(what),
    };
    Error::invalid_argument(format!("grammar: the text cannot be continued: {what}"))
}

/// A message without the backtrace that llguidance adds to some.
fn first_lines(what: impl std::fmt::Display) -> String {
    let what = what.to_string();
    what.split("\n<").next().unwrap_or_default().trim().to_owned()
}

/// The expression without `^` and `$` around it: the whole output is matched anyway.
fn without_anchors(source: &str) -> &str {
    let source = source.strip_prefix('^').unwrap_or(source);
    match source.strip_suffix('$') {
        Some(inner) if (inner.len() - inner.trim_end_matches('\\').len()) % 2 == 0 => inner,
        _ => source,
    }
}

/// The limits of llguidance. Fuel is counted in its own steps, some ten thousand per millisecond.
fn limits() -> ParserLimits {
    ParserLimits {
        max_items_in_row: 2000,
        initial_lexer_fuel: 1_000_000,
        step_lexer_fuel: 200_000,
        step_max_items: 50_000,
        // A state takes one or two KiB.
        max_lexer_states: 50_000,
        max_grammar_size: 250_000,
        precompute_large_lexemes: true,
        verbose_errors: false,
    }
}

/// How a tokenizer's vocabulary spells bytes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Spelling {
    /// Each character of a token is a byte in GPT-2's byte-to-Unicode table.
    byte_level: bool,
    /// `<0xAB>` is the byte AB.
    byte_fallback: bool,
    /// The replacement of a space.
    space: Option<String>,
    drops_first_space: bool,
}

impl Spelling {
    /// From the tokenizer's decoder, or else from its pre-tokenizer.
    fn of(tokenizer: &Tokenizer) -> Result<Self> {
        let unreadable = |e| Error::internal(format!("the tokenizer's decoder cannot be read: {e}"));
        let mut spelling = Self::default();
        let decoder = match (tokenizer.get_decoder(), tokenizer.get_pre_tokenizer()) {
            (Some(decoder), _) => serde_json::to_value(decoder),
            (None, Some(pre_tokenizer)) => serde_json::to_value(pre_tokenizer),
            (None, None) => return Ok(spelling),
        };
        spelling.read(&decoder.map_err(unreadable)?)?;
        Ok(spelling)
    }

    fn read(&mut self, part: &Value) -> Result<()> {
        let text = |key: &str| part[key].as_str();
        match text("type").unwrap_or_default() {
            "Sequence" => {
                let parts = part["decoders"].as_array().or_else(|| part["pretokenizers"].as_array());
                for part in parts.into_iter().flatten() {
                    self.read(part)?;
                }
            }
            "ByteLevel" => self.byte_level = true,
            "ByteFallback" => self.byte_fallback = true,
            "Metaspace" => {
                self.space = text("replacement").map(str::to_owned);
                self.drops_first_space = text("prepend_scheme") != Some("never");
            }
            "Replace" if text("content") == Some(" ") => {
                self.space = part["pattern"]["String"].as_str().map(str::to_owned)
            }
            "Strip" => self.drops_first_space = text("content") == Some(" ") && part["start"].as_u64() > Some(0),
            "Fuse" | "Split" | "Digits" | "Punctuation" | "WhitespaceSplit" | "Replace" => {}
            other => {
                let what =
                    format!("constrained output with a tokenizer whose decoder is {}", crate::formats::quoted(other));
                return Err(Error::unsupported(what));
            }
        }
        Ok(())
    }

    /// The bytes of a token that is not special.
    fn bytes(&self, token: &str) -> Vec<u8> {
        if self.byte_level
            && let Some(bytes) = token.chars().map(byte_of).collect::<Option<Vec<u8>>>()
        {
            return bytes;
        }
        if self.byte_fallback
            && let Some(digits) = token.strip_prefix("<0x").and_then(|token| token.strip_suffix('>'))
            && digits.len() == 2
            && let Ok(byte) = u8::from_str_radix(digits, 16)
        {
            return vec![byte];
        }
        match &self.space {
            Some(space) if !space.is_empty() => token.replace(space, " ").into_bytes(),
            _ => token.as_bytes().to_vec(),
        }
    }
}

/// The byte of a character in GPT-2's byte-to-Unicode table: printable Latin-1 characters are themselves, and the other bytes in order
/// are the characters from U+0100 on.
fn byte_of(c: char) -> Option<u8> {
    let printable = |byte: u32| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    match u32::from(c) {
        code if code < 0x100 => printable(code).then_some(code as u8),
        code => (0..0x100).filter(|byte| !printable(*byte)).nth(code as usize - 0x100).map(|byte| byte as u8),
    }
}

/// The bytes of each token; none for ids without a token. Special tokens begin with a marker byte that no text has.
fn words(tokenizer: &Tokenizer, spelling: &Spelling, size: usize, eos: &[u32]) -> Result<Vec<Vec<u8>>> {
    let marked = |token: &str| [&[TokTrie::SPECIAL_TOKEN_MARKER], token.as_bytes()].concat();
    let mut words = vec![Vec::new(); size];
    let added = tokenizer.get_added_tokens_decoder();
    for (token, id) in tokenizer.get_vocab(true) {
        let Some(word) = words.get_mut(id as usize) else { continue };
        *word = match added.get(&id) {
            Some(added) if added.special => marked(&token),
            Some(_) => token.into_bytes(),
            None => spelling.bytes(&token),
        };
    }
    for &id in eos {
        let word = &mut words[id as usize];
        if word.first() != Some(&TokTrie::SPECIAL_TOKEN_MARKER) {
            *word = marked(&format!("<end {id}>"));
        }
    }
    for word in &mut words {
        if word.len() > MAX_TOKEN {
            word.clear();
        }
    }
    match words.iter().map(Vec::len).sum::<usize>() {
        total if total < MAX_TOKEN_BYTES => Ok(words),
        total => Err(Error::unsupported(format!(
            "constrained output with a vocabulary of {total} bytes; fewer than {MAX_TOKEN_BYTES} are supported"
        ))),
    }
}

#[cfg(test)]
mod tests;
