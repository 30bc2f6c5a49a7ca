//! What is put before texts: sentence-transformers' prompts.

use crate::base::call::Call;
use crate::base::error::{Error, Result, quoted};
use crate::engine::Engine;
use crate::families::SentenceTransformers;
use crate::text::tokenizer::EncodeOptions;

/// A call's prompt, or none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prompt<'a>(Option<&'a str>);

impl<'a> Prompt<'a> {
    /// The prompt that the caller gives, or else the one that the caller names, or else the files' default.
    ///
    /// # Errors
    /// A name that the files do not have.
    pub fn choose(settings: &'a SentenceTransformers, prompt: Option<&'a str>, name: Option<&str>) -> Result<Self> {
        let text = match (prompt, name.or(settings.default_prompt_name.as_deref())) {
            (Some(prompt), _) => Some(prompt),
            (None, Some(name)) => match settings.prompts.get(name) {
                Some(text) => text.as_deref(),
                None => {
                    let names: Vec<_> = settings.prompts.keys().map(|name| quoted(name)).collect();
                    let names = if names.is_empty() { "none".into() } else { names.join(", ") };
                    return Err(Error::invalid_argument(format!(
                        "prompt_name: {} is unknown; the model's prompts (config_sentence_transformers.json) are {names}",
                        quoted(name)
                    )));
                }
            },
            (None, None) => None,
        };
        Ok(Self(text.filter(|text| !text.is_empty())))
    }

    pub fn text(self) -> Option<&'a str> {
        self.0
    }

    /// The texts with the prompt before each; None if there is no prompt.
    pub fn before(self, texts: &[&str]) -> Option<Vec<String>> {
        self.0.map(|prompt| texts.iter().map(|text| format!("{prompt}{text}")).collect())
    }

    /// How many of a text's first tokens are the prompt's, as sentence-transformers counts them: those of the prompt alone, without
    /// a special token at its end.
    pub fn tokens(self, engine: &Engine, options: &EncodeOptions, call: Call<'_>) -> Result<usize> {
        let Some(prompt) = self.0 else { return Ok(0) };
        let encoding = engine.encode(&[prompt], None, options, call)?;
        let last = encoding.ids().last();
        let special = last.is_some_and(|&id| engine.tokenizer.is_special(id));
        Ok(encoding.tokens() - usize::from(special))
    }
}

/// Texts as they are or with something before each.
pub(super) fn refs<'a>(made: &'a Option<Vec<String>>, texts: &[&'a str]) -> Vec<&'a str> {
    match made {
        Some(made) => made.iter().map(String::as_str).collect(),
        None => texts.to_vec(),
    }
}
