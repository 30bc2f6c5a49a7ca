//! Chat templates: the Jinja source that a model brings along, which makes one prompt out of a chat's messages.
//!
//! The language is Jinja's as Transformers sets it up, and the interpreter is our own. The engines at hand count the
//! instructions of a template and not the bytes: a string that doubles forty times takes their host down with it.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use crate::error::{Error, Result, Status};

mod ast;
mod budget;
mod date;
mod evaluator;
mod filters;
mod json;
mod lexer;
mod methods;
mod operators;
mod parser;
#[cfg(test)]
mod tests;
mod value;

use budget::{Cause, Fault};
use value::Value;

/// The longest source. Published templates have up to 20 KiB.
const MAX_SOURCE: usize = 256 << 10;

/// One message of a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `system`, `user`, `assistant`, `tool`, or what else the template knows.
    pub role: String,
    pub content: String,
}

impl Message {
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }
}

/// A chat template, parsed and ready to render any number of chats, from any number of threads.
#[derive(Debug)]
pub struct ChatTemplate {
    template: ast::Template,
    special: Vec<(String, String)>,
    origin: PathBuf,
}

impl ChatTemplate {
    /// Parses `source`. `special` are pairs of name and text such as `("bos_token", "<s>")`, which the template sees as
    /// variables; `origin` is the file that errors name.
    pub fn new(source: &str, special: &[(&str, &str)], origin: &Path) -> Result<Self> {
        if source.len() > MAX_SOURCE {
            let what = format!("the chat template has {} bytes, and at most {MAX_SOURCE} are accepted", source.len());
            return Err(Error::invalid_file(origin, what));
        }
        let source = lexer::normalized(source);
        let mut lexer = lexer::Lexer::new(&source);
        let tokens = lexer.run().map_err(|fault| error(origin, lexer.line, &fault))?;
        let mut parser = parser::Parser::new(tokens);
        let template = parser.run().map_err(|fault| error(origin, parser.line(), &fault))?;
        let special = special.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
        Ok(Self { template, special, origin: origin.to_owned() })
    }

    /// The prompt for a chat. `tools` is the list of tool descriptions that the template is given, if any.
    ///
    /// Fails with `InvalidArgument` where the template refuses the messages by `raise_exception`, and with `InvalidFile`
    /// where the template itself fails, asks for undefined things, or takes more work or memory than a prompt may.
    pub fn render(&self, messages: &[Message], tools: Option<&Json>, add_generation_prompt: bool) -> Result<String> {
        let mut evaluator = evaluator::Evaluator::new(&self.template);
        let mut rendered = || {
            let budget = evaluator.budget();
            let mut chat = Vec::with_capacity(messages.len());
            for Message { role, content } in messages {
                let entries = [("role", role), ("content", content)];
                chat.push(Value::dict(
                    entries.map(|(name, text)| (Value::str(name), Value::str(&**text))).into(),
                    budget,
                )?);
            }
            let chat = Value::list(chat, budget)?;
            let tools = tools.map_or(Ok(Value::None), |tools| Value::from_json(tools, budget))?;
            for (name, text) in &self.special {
                evaluator.define(&**name, Value::str(&**text));
            }
            evaluator.define("messages", chat);
            evaluator.define("tools", tools);
            evaluator.define("documents", Value::None);
            evaluator.define("add_generation_prompt", Value::Bool(add_generation_prompt));
            evaluator.run()
        };
        let result = rendered();
        result.map_err(|fault| error(&self.origin, evaluator.line(), &fault))
    }

    /// The template's source: the text of `chat_template.jinja` if there is such a file, else `chat_template` of
    /// `tokenizer_config.json`, which is a string or a list of named templates, of which `default` is taken.
    pub fn source_of(jinja_file: Option<&str>, tokenizer_config: Option<&Json>) -> Option<String> {
        if let Some(source) = jinja_file {
            return Some(source.to_owned());
        }
        match tokenizer_config?.get("chat_template")? {
            Json::String(source) => Some(source.clone()),
            Json::Array(named) => {
                let default = named.iter().find(|entry| entry.get("name").and_then(Json::as_str) == Some("default"))?;
                default.get("template")?.as_str().map(str::to_owned)
            }
            _ => None,
        }
    }
}

fn error(origin: &Path, line: u32, fault: &Fault) -> Error {
    let place = origin.display();
    match fault.cause {
        Cause::Template => Error::invalid_file(origin, format!("chat template, line {line}: {}", fault.message)),
        Cause::Messages => Error::new(
            Status::InvalidArgument,
            format!("{place}: the chat template, line {line}, refuses the messages: {}", fault.message),
        ),
    }
}
