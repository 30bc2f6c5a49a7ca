//! Constrained decoding: output that matches a JSON schema, a regular expression or a Lark grammar. Before each token the logits of
//! tokens that cannot continue the text are set to -∞. Parsing is llguidance's; the vocabulary comes from the tokenizer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use llguidance::api::{GrammarInit, GrammarWithLexer, TopLevelGrammar};
use llguidance::earley::lexerspec::LexerSpec;
use llguidance::earley::{Grammar as Rules, SlicedBiasComputer};
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Logger, Matcher, ParserFactory, TokenParser};
use tokenizers::Tokenizer;

use crate::base::error::{Error, Result};
use crate::base::panics::guarded;
use crate::base::thread::with_stack;
use crate::formats::shortened;

use super::search::FinishReason;

mod grammar;
mod intersections;
mod limits;
mod schema;
mod vocabulary;

pub use grammar::{Grammar, SchemaMode};
pub use limits::GrammarLimits;

use grammar::Parsed;
use schema::{Document, LeftToCheck};
use vocabulary::{Spelling, words};

/// The maximum length of a grammar's source, in bytes.
const MAX_SOURCE: usize = 256 << 10;
/// The maximum vocabulary size; the token trie can number four times as many.
const MAX_VOCABULARY: usize = 1 << 20;
/// The stack size of the thread that compiles a grammar. The compiler recurses over nested rules, of which the longest source has some
/// ten thousand; only touched pages take memory.
const COMPILER_STACK: usize = 256 << 20;

/// The maximum number of subschemas that are compiled to find the one that an error is about.
const MAX_TRIES: usize = 100;
/// The maximum length of what is compiled for that, in bytes.
const TRIED: usize = 2 << 20;

/// The maximum number of bytes of the text so far, and of allowed tokens, that an error names.
const MAX_TAIL: usize = 60;
const MAX_NAMED: usize = 8;

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
        Ok(Self { factory, size: vocabulary_size, drops_first_space: spelling.drops_first_space })
    }

    /// For tests and fuzz targets.
    #[doc(hidden)]
    pub fn of(tokenizer: &crate::text::tokenizer::Tokenizer, vocabulary_size: usize, eos: &[u32]) -> Result<Self> {
        Self::new(tokenizer.inner()?, vocabulary_size, eos)
    }

    /// The state before the first token. `cancelled` is read between the stages and between the bytes that are tried; each stage has a
    /// limit on its work.
    pub fn constraint(
        &self,
        grammar: &Grammar,
        mode: SchemaMode,
        limits: GrammarLimits,
        cancelled: Option<&AtomicBool>,
    ) -> Result<Constraint> {
        let length = grammar.source().len();
        if length > MAX_SOURCE {
            return Err(grammar.error(format!("it has {length} bytes, and at most {MAX_SOURCE} are accepted")));
        }
        let classes = grammar.source().as_bytes().windows(2);
        let most = limits.unicode_classes();
        if classes.filter(|pair| matches!(pair, [b'\\', b'w' | b'W' | b'p' | b'P'])).count() > most {
            return Err(grammar.error(format!("it has more than {most} Unicode classes such as \\w")));
        }
        let terms = Terms { mode, limits, cancelled };
        let compile = || guarded(|| self.compile(grammar, &terms));
        let parser = with_stack("kinglet-grammar", COMPILER_STACK, compile);
        let (matcher, check) = match parser {
            Ok(Ok(Ok((parser, check)))) => (Matcher::new(Ok(parser)), check),
            Ok(Ok(Err(error))) => return Err(error),
            Ok(Err(_)) => return Err(grammar.error("its compiler failed")),
            Err(e) => return Err(Error::out_of_memory(format!("no thread for the compiler of grammars: {e}"))),
        };
        match matcher.get_error() {
            Some(what) => Err(grammar.error(what)),
            None => Ok(Constraint { matcher, size: self.size, check, tail: Vec::new() }),
        }
    }

    fn compile(&self, grammar: &Grammar, terms: &Terms<'_>) -> Result<(TokenParser, Option<Arc<Document>>)> {
        let mut left = LeftToCheck::default();
        let (rules, lexemes, check) = loop {
            terms.check()?;
            let Parsed { grammar: inner, check } = grammar.parsed(terms.mode, terms.limits, left)?;
            terms.check()?;
            match self.rules(inner, terms.limits) {
                Ok((rules, lexemes)) => break (rules, lexemes, check),
                Err(what) => match left.after(&what) {
                    Some(more) => left = more,
                    None => return Err(self.located(grammar, terms, left, &what)?),
                },
            }
        };
        self.try_first_bytes(grammar, &lexemes, terms)?;
        let (logger, capabilities) = (Logger::new(0, 0), InferenceCapabilities::default());
        let init = GrammarInit::Internal(rules, lexemes);
        let parser = self.factory.create_parser_from_init_ext(init, logger, capabilities, terms.limits.parser());
        terms.check()?;
        Ok((parser.map_err(|e| grammar.error(e))?, check))
    }

    fn rules(
        &self,
        mut inner: GrammarWithLexer,
        limits: GrammarLimits,
    ) -> std::result::Result<(Rules, LexerSpec), String> {
        let mut grammars = Vec::new();
        if self.drops_first_space {
            inner.name = Some("answer".into());
            grammars.push(GrammarWithLexer::from_lark("start: \" \"? @answer".into()));
        }
        grammars.push(inner);
        let grammars = TopLevelGrammar { grammars, max_tokens: None };
        let environment = self.factory.tok_env().clone();
        GrammarInit::Serialized(grammars).to_internal(Some(environment), limits.parser()).map_err(first_lines)
    }

    /// The error of llguidance's compiler, with the JSON pointer of the smallest subschema that has it alone.
    fn located(&self, grammar: &Grammar, terms: &Terms<'_>, left: LeftToCheck, what: &str) -> Result<Error> {
        let Grammar::JsonSchema(source) = grammar else { return Ok(grammar.error(what)) };
        let Ok(document) = serde_json::from_str(source).map(Document::new) else { return Ok(grammar.error(what)) };
        let fails = |pointer: &str| {
            let lowered = grammar.lowered(&document, pointer, terms.mode, terms.limits, left);
            lowered.is_ok_and(|(schema, _)| {
                self.rules(GrammarWithLexer::from_json_schema(schema), terms.limits).is_err_and(|e| e == what)
            })
        };
        // A long source takes long to compile.
        let (mut pointer, mut tries) = (String::new(), MAX_TRIES.min(TRIED / source.len().max(1)));
        while let Some(inner) = document.subschemas(&pointer).into_iter().find(|inner| {
            let more = tries > 0 && terms.check().is_ok();
            tries -= usize::from(tries > 0);
            more && fails(inner)
        }) {
            pointer = inner;
        }
        terms.check()?;
        Ok(match pointer.is_empty() {
            true => grammar.error(what),
            false => grammar.error(format!("{pointer}: {what}")),
        })
    }

    /// Tries all first bytes with a limit on the work. llguidance limits the work for each byte except the first, which it tries while
    /// it builds a parser: an intersection of two small expressions can take hours there.
    fn try_first_bytes(&self, grammar: &Grammar, lexemes: &LexerSpec, terms: &Terms<'_>) -> Result<()> {
        terms.check()?;
        let mut limits = terms.limits.parser();
        let mut lexemes = lexemes.clone();
        lexemes.add_extra_lexemes(&self.factory.extra_lexemes());
        let mut automaton = lexemes.to_regex_vec(&mut limits).map_err(|e| grammar.error(e))?;
        automaton.set_fuel(limits.initial_lexer_fuel.max(1));
        automaton.set_max_states(limits.max_lexer_states);
        let start = automaton.initial_state(&lexemes.all_lexemes());
        for byte in 0..=u8::MAX {
            terms.check()?;
            automaton.transition(start, byte);
            if automaton.has_error() {
                return Err(grammar.error("finding the possible first bytes takes too much work"));
            }
        }
        Ok(())
    }
}

/// How a grammar is compiled.
struct Terms<'a> {
    mode: SchemaMode,
    limits: GrammarLimits,
    cancelled: Option<&'a AtomicBool>,
}

impl Terms<'_> {
    fn check(&self) -> Result<()> {
        match self.cancelled.is_some_and(|cancelled| cancelled.load(Ordering::Relaxed)) {
            true => Err(Error::cancelled()),
            false => Ok(()),
        }
    }
}

/// The parser's state for one sequence. Clones are independent.
#[derive(Clone)]
pub struct Constraint {
    matcher: Matcher,
    size: usize,
    /// The schema that the finished text is to be checked against, if the grammar does not enforce all of it.
    check: Option<Arc<Document>>,
    /// The last bytes of the text so far, for errors.
    tail: Vec<u8>,
}

impl Constraint {
    /// Sets the logits of forbidden tokens to -∞, including padding beyond the vocabulary.
    pub fn mask(&mut self, logits: &mut [f32]) -> Result<()> {
        if logits.len() < self.size {
            let what = format!("{} logits for a vocabulary of {} tokens", logits.len(), self.size);
            return Err(Error::internal(what));
        }
        let allowed = self.matcher.compute_mask_or_eos().map_err(|what| stuck(what, &self.tail))?;
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
        self.matcher.consume_token(token).map_err(|what| stuck(what, &self.tail))?;
        if let Ok(environment) = self.matcher.tok_env() {
            self.tail.extend_from_slice(environment.tok_trie().token(token));
            let excess = self.tail.len().saturating_sub(MAX_TAIL);
            self.tail.drain(..excess);
        }
        Ok(())
    }

    /// What the grammar allows next, for the error of a run in which other options forbid all of it.
    pub fn expected(&mut self) -> String {
        let allowed = self.matcher.compute_mask_or_eos();
        let (Ok(allowed), Ok(environment)) = (allowed, self.matcher.tok_env()) else { return "nothing".into() };
        let (trie, count) = (environment.tok_trie(), allowed.num_set());
        let tokens = (0..self.size as u32).filter(|&token| allowed.is_allowed(token)).take(MAX_NAMED);
        let names: Vec<String> = tokens.map(|token| format!("{:?}", trie.token_str(token))).collect();
        let more = count.saturating_sub(names.len());
        let more = if more > 0 { format!(" and {more} more tokens") } else { String::new() };
        format!("{}{more}, after {:?}", names.join(", "), String::from_utf8_lossy(&self.tail))
    }

    /// Whether only an end token may follow.
    pub fn is_finished(&self) -> bool {
        self.matcher.is_stopped() && !self.matcher.is_error()
    }

    /// The reason of a text that ended by itself.
    pub fn finish_reason(&self, text: impl FnOnce() -> Result<String>) -> Result<FinishReason> {
        Ok(match self.check.is_some() && self.is_mismatch(&text()?) {
            true => FinishReason::SchemaMismatch,
            false => FinishReason::Eos,
        })
    }

    /// Whether a finished text does not satisfy the schema, of which the grammar does not enforce all.
    fn is_mismatch(&self, text: &str) -> bool {
        let satisfies = |schema| serde_json::from_str(text).is_ok_and(|value| schema::satisfies(schema, &value));
        self.check.as_ref().is_some_and(|schema| !satisfies(schema))
    }

    /// Whether the text so far is a complete match.
    #[cfg(test)]
    pub fn may_end(&mut self) -> bool {
        self.is_finished() || self.matcher.is_accepting().unwrap_or(false)
    }

    fn is_end(&self, token: u32) -> bool {
        self.matcher.tok_env().is_ok_and(|environment| environment.tok_trie().eos_tokens().contains(&token))
    }
}

/// `tail` is the end of the text so far.
fn stuck(what: impl std::fmt::Display, tail: &[u8]) -> Error {
    let what = match first_lines(what).as_str() {
        "NoExtensionBias" => "no token of the vocabulary may follow".to_owned(),
        what => shortened(what),
    };
    Error::invalid_argument(format!(
        "grammar: the text cannot be continued after {:?}: {what}",
        String::from_utf8_lossy(tail)
    ))
}

/// A message without the backtrace that llguidance adds to some.
fn first_lines(what: impl std::fmt::Display) -> String {
    let what = what.to_string();
    what.split("\n<").next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests;
