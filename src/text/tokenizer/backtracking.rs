//! Regular expressions that can backtrack. The crate's engine gives up on a text that needs too many steps, and the crate then leaves the
//! rest of the text as it is, without an error. So the same expressions run here before, on the same text.

use std::sync::OnceLock;

use fancy_regex::Regex;
use serde::Deserialize;
use serde_json::Value;
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::{
    NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizer, PreTokenizerWrapper,
    Tokenizer as HfTokenizer,
};

use crate::base::error::{Error, Result};
use crate::formats::quoted;

/// Called between two matches; its error ends the check.
pub type Poll<'a> = &'a (dyn Fn() -> Result<()> + Sync);

/// Whether the engine may give up on a text. What is a plain regular expression runs in linear time, and so does what most published
/// tokenizers have beside one: the last space before a word is split from the others.
pub fn may_fail(expression: &str) -> bool {
    regex_syntax::parse(&expression.replace(r"\s+(?!\S)", r"\s+")).is_err()
}

/// A step of a tokenizer, with its expression if that may fail.
struct Step<T>(T, Option<Regex>);

/// The steps of a tokenizer. Both lists are empty if no expression may fail.
#[derive(Default)]
pub struct Backtracking {
    normalizers: Vec<Step<NormalizerWrapper>>,
    pre_tokenizers: Vec<Step<PreTokenizerWrapper>>,
}

impl Backtracking {
    pub fn of(tokenizer: &HfTokenizer) -> Result<Self, String> {
        let value = |part: serde_json::Result<Value>| part.map_err(|e| e.to_string());
        let normalizers = steps(value(serde_json::to_value(tokenizer.get_normalizer()))?, "normalizers")?;
        let pre_tokenizers = steps(value(serde_json::to_value(tokenizer.get_pre_tokenizer()))?, "pretokenizers")?;
        let some =
            normalizers.iter().any(|step| step.1.is_some()) || pre_tokenizers.iter().any(|step| step.1.is_some());
        Ok(if some { Self { normalizers, pre_tokenizers } } else { Self::default() })
    }

    /// Fails if an expression gives up on a text.
    pub fn check(&self, tokenizer: &HfTokenizer, text: &str, poll: Poll<'_>) -> Result<()> {
        if self.normalizers.is_empty() && self.pre_tokenizers.is_empty() {
            return Ok(());
        }
        let checked = Checked { steps: &self.normalizers, poll, failure: OnceLock::new() };
        let mut split = tokenizer.get_added_vocabulary().extract_and_normalize(Some(&checked), text);
        if let Some(error) = checked.failure.into_inner() {
            return Err(error);
        }
        for Step(step, expression) in &self.pre_tokenizers {
            if let Some(expression) = expression {
                let parts = split.get_splits(OffsetReferential::Normalized, OffsetType::None);
                // What is a token already is not split any more.
                let texts = parts.into_iter().filter(|(_, _, tokens)| tokens.is_none()).map(|(text, ..)| text);
                texts.into_iter().try_for_each(|text| run(expression, text, poll))?;
            }
            step.pre_tokenize(&mut split).map_err(super::untokenizable)?;
        }
        Ok(())
    }
}

fn run(expression: &Regex, text: &str, poll: Poll<'_>) -> Result<()> {
    for found in expression.find_iter(text) {
        poll()?;
        if let Err(error) = found {
            let expression = quoted(expression.as_str());
            let what = format!("the tokenizer's expression {expression} fails on it: {error}");
            return Err(super::untokenizable(what.into()));
        }
    }
    Ok(())
}

/// The normalizers, with a check before each.
struct Checked<'a> {
    steps: &'a [Step<NormalizerWrapper>],
    poll: Poll<'a>,
    /// The crate drops a normalizer's error.
    failure: OnceLock<Error>,
}

impl Normalizer for Checked<'_> {
    fn normalize(&self, text: &mut NormalizedString) -> tokenizers::Result<()> {
        for Step(step, expression) in self.steps {
            if let Some(expression) = expression
                && let Err(error) = run(expression, text.get(), self.poll)
            {
                // The first failure stays.
                let _ = self.failure.set(error);
                return Ok(());
            }
            step.normalize(text)?;
        }
        Ok(())
    }
}

/// The steps of a sequence of sequences. The recursion is limited: the file was read by serde_json.
fn steps<T: for<'a> Deserialize<'a>>(part: Value, list: &str) -> Result<Vec<Step<T>>, String> {
    match part {
        Value::Null => Ok(Vec::new()),
        Value::Object(mut object) if object.contains_key(list) => {
            let parts = object.remove(list).unwrap_or_default();
            let Value::Array(parts) = parts else { return Err(format!("{list} is not a list")) };
            let parts = parts.into_iter().map(|part| steps(part, list)).collect::<Result<Vec<_>, _>>()?;
            Ok(parts.into_iter().flatten().collect())
        }
        part => {
            let pattern = part.get("pattern").and_then(|pattern| pattern.get("Regex")).and_then(Value::as_str);
            let expression = pattern.filter(|pattern| may_fail(pattern)).map(Regex::new).transpose();
            let expression = expression.map_err(|e| e.to_string())?;
            Ok(vec![Step(serde_json::from_value(part).map_err(|e| e.to_string())?, expression)])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_of_published_tokenizers_are_not_run_twice() {
        for expression in [
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
            r"\s+",
        ] {
            assert!(!may_fail(expression), "{expression}");
        }
        assert!(may_fail(r"(?:(?=x)x+)+(?=y)z|[a-z]") && may_fail(r"(a)\1"));
    }
}
