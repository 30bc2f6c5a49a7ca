//! Chats: prompts by the model's template, answers read by its format, and answers that must call tools.

use std::borrow::Cow;

use crate::base::call::Cancellation;
use crate::base::error::{Error, Result, quoted};
use crate::text::chat::{ChatOptions, Habits, Message, Response, Rules, Setup, ToolChoice, is_marker};

use super::Generator;
use super::constraint::{Grammar, GrammarLimits};
use super::detokenize::finished;
use super::options::GenerateOptions;
use super::search::{FinishReason, Output};
use super::tool_grammar::ToolGrammar;

impl Generator {
    /// As [`crate::Model::apply_chat_template`].
    pub fn apply_chat_template(
        &self,
        messages: &[Message],
        options: &ChatOptions,
        cancellation: Option<&Cancellation>,
    ) -> Result<String> {
        self.chat_template()?.prompt(messages, &options.read()?, cancellation)
    }

    /// As [`crate::Model::parse_response`].
    pub fn parse_response(&self, text: &str, prefix: &str, options: &ChatOptions) -> Result<Message> {
        let setup = options.read()?;
        let habits = self.chat_template()?.habits(&setup)?;
        Ok(Response::read(text, rules(&setup, &habits, prefix)).message(0))
    }

    /// The grammar of a reply by the choice of tools; None if the model decides.
    pub(super) fn tool_grammar(
        &self,
        setup: &Setup,
        habits: &Habits,
        prompt: &str,
        options: &GenerateOptions,
    ) -> Result<Option<Grammar>> {
        let choice = &options.tool_choice;
        let functions: Vec<_> = match choice {
            ToolChoice::Auto | ToolChoice::None => return Ok(None),
            ToolChoice::Required => setup.functions().iter().collect(),
            ToolChoice::Function(name) => setup.functions().iter().filter(|function| function.name == *name).collect(),
        };
        if setup.functions().is_empty() {
            return Err(Error::invalid_argument("tool_choice: the chat has no tools"));
        }
        if let (ToolChoice::Function(name), true) = (choice, functions.is_empty()) {
            let what =
                format!("tool_choice: {} is neither a tool of the chat nor auto, none or required", quoted(name));
            return Err(Error::invalid_argument(what));
        }
        let Some(format) = habits.tools else {
            let origin = self.chat_template()?.origin().display();
            return Err(Error::unsupported(format!(
                "tool_choice: {origin} has none of the known formats of calls; name it with tool_format"
            )));
        };
        let once = matches!(choice, ToolChoice::Function(_));
        let is_thinking = is_thinking(habits, prompt);
        let (tokenizer, default) = (&self.engine.tokenizer, GrammarLimits::default());
        let limits = GrammarLimits {
            work: options.grammar_work_limit.unwrap_or(default.work),
            memory: options.grammar_memory_limit.unwrap_or(default.memory),
        };
        ToolGrammar { tokenizer, format, habits: *habits, functions, once, is_thinking, limits }.grammar().map(Some)
    }

    /// The text of a reply with those special tokens that belong to a format of calls or of thoughts.
    pub(super) fn marked_text<'o>(&self, output: &'o Output, options: &GenerateOptions) -> Result<Cow<'o, str>> {
        let tokenizer = &self.engine.tokenizer;
        let is_marker = |id: u32| tokenizer.special_text(id).is_some_and(|text| is_marker(&text));
        let skips = options.skip_special_tokens.unwrap_or(true);
        if skips && !output.tokens.iter().any(|&id| is_marker(id)) {
            return Ok(Cow::Borrowed(&output.text));
        }
        let kept = output.tokens.iter().copied().filter(|&id| !tokenizer.is_special(id) || is_marker(id));
        let stops = match output.finish_reason {
            FinishReason::StopString => options.stop_strings.clone().or(self.defaults.options.stop_strings.clone()),
            _ => None,
        };
        let kept: Vec<u32> = kept.collect();
        finished(&[], &kept, tokenizer, &stops.unwrap_or_default(), false).map(Cow::Owned)
    }
}

/// How an answer to `prompt` is read.
pub(super) fn rules<'a>(setup: &'a Setup, habits: &Habits, prompt: &str) -> Rules<'a> {
    let is_thinking = is_thinking(habits, prompt);
    Rules { format: habits.tools, functions: setup.functions(), thoughts: habits.thoughts, is_thinking }
}

/// Whether a prompt ends where a thought has begun.
fn is_thinking(habits: &Habits, prompt: &str) -> bool {
    habits.thoughts.is_some_and(|(begin, _)| prompt.trim_end().ends_with(begin))
}
